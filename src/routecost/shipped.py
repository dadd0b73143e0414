"""Files that come with the program: price overlays, routing tables, sample logs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

_PACKAGE = Path(__file__).parent
_CHECKOUT = _PACKAGE.parent.parent
_FOLDERS = {"pricing": "pricing", "routing": "routing_tables", "sample_logs": "sample_logs"}


def folder(kind: Literal["pricing", "routing", "sample_logs"]) -> Path:
    """Where the shipped files of a kind are: inside the installed package, or in the checkout it is run from."""
    installed = _PACKAGE / _FOLDERS[kind]
    return installed if installed.is_dir() else _CHECKOUT / kind


def named(kind: Literal["pricing", "routing", "sample_logs"], name: str) -> Path | None:
    """The shipped file with this name (with or without its ending), or None."""
    for path in sorted(folder(kind).glob("*")):
        if name in (path.name, path.stem):
            return path
    return None
