"""What money buys: expected quality against cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["mode", "single", "today", "random", "frontier"]


@dataclass(frozen=True)
class Point:
    """One way to serve the traffic: what it costs, and how good its answers are expected to be (0-1).

    kind: a mode of the recommended table, everything on a single model, today's table, the same spend split at random,
    or a table on the frontier. low, high: the 95 % interval of the quality; null where it is not known.
    """

    name: str
    kind: Kind
    cost_usd: float
    quality: float
    low: float | None = None
    high: float | None = None
