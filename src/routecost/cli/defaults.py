"""Defaults of options from routecost.toml."""

from __future__ import annotations

from typing import Any

import typer


def load_defaults(ctx: typer.Context) -> None:
    """Give the commands the options of ./routecost.toml as defaults; what stands on the command line wins."""
    from routecost.config import read_config

    group: Any = ctx.command
    commands: dict[str, Any] = group.commands
    options = {name: _option_names(command) for name, command in commands.items() if not hasattr(command, "commands")}
    defaults = read_config("routecost.toml", options)
    for name, values in defaults.items():
        # one text stands for a list of one
        lists = {p.name for p in commands[name].params if getattr(p, "multiple", False) or p.nargs == -1}
        values.update({k: [v] for k, v in values.items() if k in lists and not isinstance(v, list)})
    if defaults:
        ctx.default_map = defaults


def _option_names(command: Any) -> dict[str, str]:
    """Option (as typed, without dashes) -> the parameter's name; `logs` is what a command's paths are called."""
    names: dict[str, str] = {}
    for parameter in command.params:
        if parameter.name == "paths":
            names["logs"] = "paths"
        for option in getattr(parameter, "opts", ()):
            if option.startswith("--") and option != "--help":
                names[option.removeprefix("--")] = parameter.name
    return names
