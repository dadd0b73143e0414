"""Defaults of options from routecost.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def load_defaults(ctx: typer.Context) -> None:
    """Give the commands the options of ./routecost.toml as defaults; what stands on the command line wins."""
    defaults = _defaults(ctx.command, Path("routecost.toml"))
    if defaults:
        ctx.default_map = defaults


def load_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """The callback of --config: the options of another file take the place of ./routecost.toml. Raises UsageError."""
    from routecost.errors import UsageError

    if path is not None:
        if not path.is_file():
            raise UsageError(f"--config {path}: there is no such file.")
        ctx.default_map = _defaults(ctx.find_root().command, path).get(ctx.info_name or "", {})
    return path


def _defaults(group: Any, path: Path) -> dict[str, dict[str, Any]]:
    from routecost.config import read_config

    commands: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        commands.update({name: command} if inner is None else {f"{name} {sub}": c for sub, c in inner.items()})
    defaults = read_config(path, {name: _option_names(command) for name, command in commands.items()})
    for name, values in defaults.items():
        # one text stands for a list of one
        lists = {p.name for p in commands[name].params if getattr(p, "multiple", False) or p.nargs == -1}
        values.update({k: [v] for k, v in values.items() if k in lists and not isinstance(v, list)})
    nested: dict[str, dict[str, Any]] = {}
    for name, values in defaults.items():
        first, _, second = name.partition(" ")
        if second:
            nested.setdefault(first, {})[second] = values
        else:
            nested[name] = values
    return nested


def _option_names(command: Any) -> dict[str, str]:
    """Option (as typed, without dashes) -> the parameter's name; `logs` is what a command's paths are called."""
    names: dict[str, str] = {}
    for parameter in command.params:
        if parameter.name in ("paths", "current") and parameter.nargs == -1:
            names["logs"] = parameter.name
        for option in getattr(parameter, "opts", ()):
            if option.startswith("--") and option not in ("--help", "--config"):
                names[option.removeprefix("--")] = parameter.name
    return names
