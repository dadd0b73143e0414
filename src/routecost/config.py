"""routecost.toml: the options of the command line, written down."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from routecost.errors import UsageError, did_you_mean


def read_config(path: Path | str, options: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Any]]:
    """command -> parameter -> value, from a file that may not exist.

    At the top level stand options for every command that has them (`logs`, `pricing`, ...); under [analyze], and under
    [baseline.update] for a command of a group, those of one command. options: command (`baseline update`) -> option
    name -> parameter name. Raises UsageError for an unknown key, naming the nearest valid one.
    """
    file = Path(path)
    if not file.is_file():
        return {}
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: not TOML that can be read ({error}).") from error
    everywhere = sorted({name for names in options.values() for name in names})
    defaults: dict[str, dict[str, Any]] = {command: {} for command in options}
    groups = {command.partition(" ")[0] for command in options if " " in command}
    for key, value in _flat(content, groups):
        if isinstance(value, dict):
            if key not in options:
                raise UsageError(
                    f"{path}: no command [{key}].{did_you_mean(key, options)} Commands: {', '.join(options)}."
                )
            for name, inner in value.items():
                if name not in options[key]:
                    raise _unknown(path, f"[{key}] {name}", name, options[key])
                defaults[key][options[key][name]] = _value(path, f"[{key}] {name}", inner)
        elif key in everywhere:
            for command, names in options.items():
                if key in names:
                    defaults[command].setdefault(names[key], _value(path, key, value))
        else:
            raise _unknown(path, key, key, dict.fromkeys([*everywhere, *options]))
    return {command: values for command, values in defaults.items() if values}


def _flat(content: Mapping[str, Any], groups: set[str]) -> Iterator[tuple[str, Any]]:
    """The tables of a group's commands under the name that a person types: [baseline.update] as `baseline update`."""
    for key, value in content.items():
        if key in groups and isinstance(value, dict):
            yield from ((f"{key} {name}", inner) for name, inner in value.items())
        else:
            yield key, value


def _value(path: Path | str, where: str, value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(v, str | int | float) for v in value):
        return [str(v) for v in value]
    if isinstance(value, bool):
        return value
    if isinstance(value, str | int | float):
        return str(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise UsageError(f"{path}: {where}: expected text, a number, true or false, or a list of texts; saw {value!r}.")


def _unknown(path: Path | str, where: str, name: str, known: Mapping[str, Any]) -> UsageError:
    return UsageError(f"{path}: unknown key {where!r}.{did_you_mean(name, known)} Known: {', '.join(known)}.")
