"""Intervals from groups, and percentiles from histograms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its two-sided 95 % interval; low and high are None where there are fewer than two groups."""

    estimate: float
    low: float | None
    high: float | None
    standard_error: float | None = None
    groups: int = 0

    def scaled(self, factor: float) -> Interval:
        """Everything times a positive factor."""
        return Interval(
            self.estimate * factor,
            None if self.low is None else self.low * factor,
            None if self.high is None else self.high * factor,
            None if self.standard_error is None else self.standard_error * factor,
            self.groups,
        )

    def as_dict(self) -> dict[str, float | int | None]:
        return {"estimate": self.estimate, "low": self.low, "high": self.high, "groups": self.groups}


def jackknife_ratio(numerator: Any, denominator: Any, scale: float = 1.0) -> Interval:
    """The interval of scale * sum(numerator) / sum(denominator), by leaving out one group at a time.

    numerator, denominator: one value a group; groups without a denominator are not counted. With denominator = requests
    and scale = all requests this is the interval of a total at a fixed number of requests; it respects whatever varies
    together inside a group. t distribution with groups - 1 degrees of freedom. (Wolter, Introduction to Variance
    Estimation, ch. 4.)
    """
    top = np.asarray(numerator, dtype=np.float64)
    bottom = np.asarray(denominator, dtype=np.float64)
    used = bottom > 0
    top, bottom = top[used], bottom[used]
    groups = int(used.sum())
    if groups == 0:
        return Interval(0.0, None, None)
    estimate = scale * top.sum() / bottom.sum()
    if groups < 2:
        return Interval(float(estimate), None, None, None, groups)
    without = scale * (top.sum() - top) / (bottom.sum() - bottom)
    variance = (groups - 1) / groups * float(((without - without.mean()) ** 2).sum())
    return _interval(float(estimate), math.sqrt(variance), groups)


def split_interval(numerator: Any, denominator: Any, requests: float, share: float) -> Interval:
    """The interval of the total of a random `share` of the units: sampling as in `jackknife_ratio`, and the split.

    Units are spread over groups by hash, so that the squares of the group sums estimate the sum of the units' squares.
    """
    whole = jackknife_ratio(numerator, denominator, requests)
    if whole.standard_error is None:
        return whole.scaled(share)
    top = np.asarray(numerator, dtype=np.float64)[np.asarray(denominator) > 0]
    groups = len(top)
    squares = float(((top - top.mean()) ** 2).sum()) / (1 - 1 / groups)
    split = share * (1 - share) * squares
    error = math.sqrt(share**2 * whole.standard_error**2 + split)
    return _interval(whole.estimate * share, error, groups)


def _interval(estimate: float, error: float, groups: int) -> Interval:
    half = t_quantile(groups - 1) * error
    return Interval(estimate, estimate - half, estimate + half, error, groups)


def t_quantile(df: int) -> float:
    """The 97.5 % point of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(df, 0.5 + CONFIDENCE / 2))


def percentile(middles: Array, counts: Array, share: float) -> float | None:
    """The smallest value below which a share (0-1) of a histogram lies; None when it is empty."""
    total = counts.sum()
    if total <= 0:
        return None
    order = np.argsort(middles)
    reached = np.cumsum(counts[order])
    return float(middles[order][int(np.searchsorted(reached, share * total - 1e-9 * total))])
