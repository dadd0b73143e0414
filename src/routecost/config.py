"""routecost.toml: the options of the command line, written down."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from routecost.errors import InputError, did_you_mean


def read_config(path: Path | str, options: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Any]]:
    """command -> parameter -> value, from a file that may not exist.

    At the top level stand options for every command that has them (`logs`, `pricing`, ...); under [analyze] and the
    like those of one command. options: command -> option name -> parameter name. Raises InputError for an unknown key,
    naming the nearest valid one.
    """
    file = Path(path)
    if not file.is_file():
        return {}
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: not TOML that can be read ({error}).") from error
    everywhere = sorted({name for names in options.values() for name in names})
    defaults: dict[str, dict[str, Any]] = {command: {} for command in options}
    for key, value in content.items():
        if isinstance(value, dict):
            if key not in options:
                raise InputError(
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


def _value(path: Path | str, where: str, value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(v, str | int | float) for v in value):
        return [str(v) for v in value]
    if isinstance(value, bool):
        return value
    if isinstance(value, str | int | float):
        return str(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise InputError(f"{path}: {where}: expected text, a number, true or false, or a list of texts; saw {value!r}.")


def _unknown(path: Path | str, where: str, name: str, known: Mapping[str, Any]) -> InputError:
    return InputError(f"{path}: unknown key {where!r}.{did_you_mean(name, known)} Known: {', '.join(known)}.")
