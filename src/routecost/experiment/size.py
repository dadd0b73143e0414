"""How many requests it takes to tell two arms apart."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

from routecost.experiment.metrics import Metric
from routecost.stats.sequence import Moments, times_the_size


@dataclass(frozen=True)
class Needed:
    """What it takes to find a change of one metric of a task.

    baseline: what the log has; change: in points, or relative; share: of requests that have the metric (are rated).
    cluster: how much larger the variance is than that of independent requests. fixed, peeking: requests of the control
    and of the treatment for one look at the end, and for looking all along; days: that these take at the log's volume.
    detectable, detectable_peeking: the smallest change that the log's own requests would show, split as planned; None
    where none that is possible would.
    Nulls where the log does not say, and `reason` says what is missing.
    """

    task: str | None
    metric: Metric
    change: float
    n: int
    baseline: float | None
    share: float | None
    cluster: float | None
    fixed: tuple[int, int] | None
    peeking: tuple[int, int] | None
    days_fixed: float | None
    days_peeking: float | None
    detectable: float | None
    detectable_peeking: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Plan:
    """The answer of `routecost experiment plan`. treatment: its share of requests; tests: over which alpha is split;
    per_day: requests of the log a day, None where it has no dates."""

    needed: tuple[Needed, ...]
    requests: int
    days: int | None
    per_day: float | None
    treatment: float
    alpha: float
    power: float
    tests: int
    unit: str
    notes: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()

    @property
    def days_for_all(self) -> float | None:
        """Until the slowest test with peeking is done; None where one never is or nothing is known."""
        days = [n.days_peeking for n in self.needed]
        known = [d for d in days if d is not None]
        return max(known) if known and len(known) == len(days) else None


def needed(
    task: str | None,
    metric: Metric,
    seen: Moments,
    requests: int,
    change: float,
    *,
    spread: float | None,
    treatment: float,
    alpha: float,
    power: float,
    per_day: float | None,
) -> Needed:
    """From the metric's moments in a log to the requests that each arm needs. requests: of the task, with the metric or
    not; spread: the variance of one request's value (None: a rate's); per_day: of the task."""
    n = int(seen.n)
    bare = Needed(task, metric, change, n, seen.mean, None, None, None, None, None, None, None, None)
    if seen.mean is None or seen.variance is None:
        return _without(bare, f"no {metric.name} in the log" if not n else "fewer than two units in the log")
    control = max(seen.mean, 0.5 / (n + 1)) if metric.kind == "rate" else seen.mean
    if metric.is_relative and control <= 0:
        return _without(bare, f"{metric.name} is not above 0")
    alone = control * (1 - control) if metric.kind == "rate" else spread or 0.0
    cluster = max(seen.variance * n / alone, 1.0) if alone > 0 else 1.0
    delta = control * change if metric.is_relative else change
    worse = control + (delta if metric.better == "lower" else -delta)
    if metric.kind == "rate" and not 0 < worse < 1:
        return _without(bare, f"it cannot change by {change:.1%} from {control:.1%}")
    arms = (alone * cluster, (worse * (1 - worse) if metric.kind == "rate" else alone) * cluster)
    z = NormalDist().inv_cdf
    once = z(1 - alpha / 2) + z(power)
    # n such that the variance of the difference is (delta / once)^2
    whole = (arms[0] / (1 - treatment) + arms[1] / treatment) * (once / delta) ** 2
    share = n / requests
    more = times_the_size(alpha, power)
    here = delta * math.sqrt(whole / n) / (control if metric.is_relative else 1.0)
    return Needed(
        task, metric, change, n, seen.mean, share, cluster,
        _split(whole / share, treatment),
        _split(whole * more / share, treatment),
        whole / share / per_day if per_day else None,
        whole * more / share / per_day if per_day else None,
        _possible(here, control, metric),
        _possible(here * math.sqrt(more), control, metric),
    )  # fmt: skip


def _possible(change: float, control: float, metric: Metric) -> float | None:
    """A change that can be at all: a rate ends at 0 and 1."""
    room = (1 - control if metric.better == "lower" else control) if metric.kind == "rate" else math.inf
    return change if change <= room else None


def _without(bare: Needed, reason: str) -> Needed:
    return replace(bare, reason=reason)


def _split(whole: float, treatment: float) -> tuple[int, int]:
    return math.ceil(whole * (1 - treatment) - 1e-9), math.ceil(whole * treatment - 1e-9)
