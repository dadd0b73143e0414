"""Values of records as what they should be, where they may be anything: nothing of it for anything else."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from routecost.logs.fields import opened

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
