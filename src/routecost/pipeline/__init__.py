"""The compositions: logs to usage, usage to answers."""
