"""Values of records as what they should be, where they may be anything: nothing of it for anything else."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from routecost.logs.fields import find, first, opened

_INTEGER: Final = re.compile(r"[+-]?\d{1,19}")


def mapping(value: Any) -> Mapping[str, Any]:
    """An object, also as JSON text; an empty one for anything else."""
    value = opened(value)
    return value if isinstance(value, Mapping) else {}


def mappings(value: Any) -> list[Mapping[str, Any]]:
    """The objects in a list, also as JSON text; what else is in it is left out."""
    value = opened(value)
    return [found for item in value if isinstance(found := opened(item), Mapping)] if isinstance(value, list) else []


def head(value: Any) -> Any:
    """The first value of a list, None for anything else."""
    return value[0] if isinstance(value, list) and value else None


def real(value: Any) -> float | None:
    """A finite number, also from text."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def integer(value: Any) -> int | None:
    """A whole number of 64 bits, also from text: exactly, as a float has only 53 bits."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63 else None


def score(value: Any) -> float | None:
    """A score of 0 to 1 as feedback of -1 to 1."""
    return 2 * value - 1 if isinstance(value, int | float) and 0 <= value <= 1 else None


def span_ms(start: Any, end: Any) -> float | None:
    """Milliseconds between two moments in ISO text, or two datetimes."""
    if start is None or end is None:
        return None
    try:
        moments = [t if isinstance(t, dt.datetime) else dt.datetime.fromisoformat(str(t)) for t in (start, end)]
        a, b = (t if t.tzinfo else t.replace(tzinfo=dt.UTC) for t in moments)
        return round((b - a).total_seconds() * 1000, 3)
    except ValueError:
        return None


def ended_as(output: Any) -> Any:
    """Why an answer ended, of OpenAI's or Anthropic's shape."""
    output = opened(output)
    choices = output if isinstance(output, list) else opened(find(output, "choices"))
    return first(head(choices), "finish_reason") or first(output, "stop_reason")
