"""Has this change made requests dearer: rules, verdicts, and why."""
