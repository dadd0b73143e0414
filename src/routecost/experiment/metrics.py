"""What two arms are compared on."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from routecost.errors import UsageError, did_you_mean

Better = Literal["lower", "higher"]
# rate: of requests, in points. level: a mean on a scale of its own, as a difference. mean: of an amount, as a relative
# change. quantile: as a relative change.
Kind = Literal["rate", "level", "mean", "quantile"]


@dataclass(frozen=True)
class Metric:
    """A measure of requests. column: of the table of requests; better: None where neither is.

    scale: how large a difference is looked for where there is no margin, in the effect's unit (points, a relative
    change); it decides where the always-valid interval is tightest and nothing else.
    """

    name: str
    column: str
    kind: Kind
    better: Better | None
    share: float | None = None
    scale: float = 0.01

    @property
    def is_relative(self) -> bool:
        return self.kind in ("mean", "quantile")


THUMBS_DOWN: Final = "thumbs-down"
METRICS: Final = (
    Metric(THUMBS_DOWN, "negative", "rate", "lower"),
    Metric("rating", "rating", "level", "higher", scale=0.05),
    Metric("rated", "rated", "rate", None),
    Metric("errors", "error", "rate", "lower"),
    Metric("truncated", "truncated", "rate", "lower"),
    Metric("retried", "retried", "rate", "lower"),
    Metric("cost", "cost", "mean", "lower", scale=0.05),
    Metric("output-tokens", "output", "mean", None, scale=0.05),
    Metric("latency-p50", "latency", "quantile", "lower", 0.5, 0.05),
    Metric("latency-p95", "latency", "quantile", "lower", 0.95, 0.1),
    Metric("latency-p99", "latency", "quantile", "lower", 0.99, 0.2),
)
# What no roll-out may worsen, in points of a request: each rated one, each.
DEFAULT_MARGINS: Final[Mapping[str, float]] = {THUMBS_DOWN: 0.01, "errors": 0.01}


def parse_metric(text: str) -> Metric:
    """`resolved:higher-is-better` -> a metric of the log's own column. Raises UsageError."""
    name, sign, better = text.rpartition(":")
    if not sign or not name or better not in ("lower-is-better", "higher-is-better"):
        raise UsageError(f"--metric: saw {text!r}, expected column:lower-is-better or column:higher-is-better.")
    if name in {m.name for m in METRICS}:
        raise UsageError(f"--metric: {name!r} is measured anyway. Known: {', '.join(m.name for m in METRICS)}.")
    return Metric(name, f"own:{name}", "mean", "lower" if better == "lower-is-better" else "higher", scale=0.05)


def parse_margins(texts: Sequence[str], metrics: Sequence[Metric], option: str = "--margin") -> dict[str, float]:
    """`1%` (of thumbs-down), `errors=0.5%`, `cost=5%`, `errors=none` over the defaults. Raises UsageError."""
    found = dict(DEFAULT_MARGINS)
    known = {m.name: m for m in metrics}
    for text in texts:
        name, sign, value = text.rpartition("=")
        name = name.strip() if sign else THUMBS_DOWN
        if name not in known:
            raise UsageError(f"{option}: no metric {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}.")
        if known[name].better is None:
            raise UsageError(f"{option}: neither more nor less of {name!r} is worse, so it has no margin.")
        if value.strip() == "none":
            found.pop(name, None)
            continue
        seen = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(%?)\s*", value)
        number = float(seen[1]) / (100 if seen[2] else 1) if seen else 0.0
        if not 0 < number < (math.inf if known[name].is_relative else 1):
            raise UsageError(
                f"{option}: saw {text!r}, expected how much worse is still fine, such as 1%, errors=0.5%, cost=5%."
            )
        found[name] = number
    return found
