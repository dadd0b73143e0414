"""Ids that somebody groups by, hashed: a usage file tells users apart without telling who they are."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars as pl

from routecost.errors import InputError
from routecost.usage.cells import Usage, merge

# Of a request; and fields whose names end with somebody, or what tells them: `end_user`, `metadata.customerId`.
_ID_COLUMNS: Final = ("request_id", "session_id", "user_id")
_ID_NAMES: Final = re.compile(
    r"(^|[^a-z]|(?<=[a-z])(?-i:(?=[A-Z])))(user|username|session|conversation|thread|customer|client|account|member|"
    r"employee|person|visitor|email|mail|phone|ip|trace|device)s?([._-]?(id|name|email|mail|address|key|hash|ip|uuid)s?)?$",
    re.IGNORECASE,
)
# 64 bits of each: enough for a million keys, short enough for a table.
_HEX: Final = 16


def is_id(column: str) -> bool:
    """Whether the values of a column tell who somebody is, or which talk it was."""
    return column in _ID_COLUMNS or _ID_NAMES.search(column) is not None


def hashed(usage: Usage, columns: Iterable[str], salt: str) -> Usage:
    """The usage with these columns of its cells hashed with a salt (HMAC-SHA256, 16 hex digits), nulls left null.

    The salt itself is not kept, only what tells whether two are the same.
    """
    present = [c for c in columns if c in usage.cells.columns]
    if not present:
        return usage
    key = salt.encode()
    cells = usage.cells
    for column in present:
        values = cells[column].drop_nulls().unique().to_list()
        names = {value: hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:_HEX] for value in values}
        cells = cells.with_columns(pl.col(column).replace_strict(names, return_dtype=pl.String, default=None))
    mark = hmac.new(key, b"routecost", hashlib.sha256).hexdigest()[:_HEX]
    # cells are in the order of their keys, and these are others now
    return merge([replace(usage, cells=cells, settings=replace(usage.settings, ids=mark))])


def machine_salt() -> str:
    """The salt of this account on this machine: made once, readable by its owner only, so that files tallied here can
    be merged and nobody else can guess ids by hashing them. Raises InputError where it cannot be kept."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    path = Path(home) / "routecost" / "salt"
    try:
        if path.is_file() and (kept := path.read_text(encoding="utf-8").strip()):
            return kept
        path.parent.mkdir(parents=True, exist_ok=True)
        made = secrets.token_hex(16)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_text(encoding="utf-8").strip() or made
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(made + "\n")
        return made
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: the salt for ids cannot be read or kept ({error}). Give one with --salt or ROUTECOST_SALT, or "
            "keep ids as they are with --plain-ids."
        ) from error
