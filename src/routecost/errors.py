"""What a person did wrong, with the exit code it ends in."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "RoutecostError", "UndecidedError", "UsageError", "did_you_mean"]


class RoutecostError(Exception):
    """Base of every error a person can cause. The message says what was seen, what was expected and what to do."""

    exit_code = 3


class UsageError(RoutecostError):
    """The command line was wrong (exit 2)."""

    exit_code = 2


class InputError(RoutecostError):
    """A file could not be read or is not what it should be (exit 3)."""

    exit_code = 3


class UndecidedError(RoutecostError):
    """There is too little evidence, or too much of the traffic is unpriced (exit 4)."""

    exit_code = 4


def did_you_mean(seen: str, known: Iterable[str], n: int = 3) -> str:
    """` Did you mean a, b?` with the nearest known names, or an empty string."""
    near = difflib.get_close_matches(seen, list(dict.fromkeys(known)), n=n, cutoff=0.5)
    return f" Did you mean {', '.join(near)}?" if near else ""
