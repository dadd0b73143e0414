"""Intervals from groups, and percentiles from histograms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

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
        """Everything times a factor; a negative one turns the interval round."""
        low, high = (self.low, self.high) if factor >= 0 else (self.high, self.low)
        return Interval(
            self.estimate * factor,
            None if low is None else low * factor,
            None if high is None else high * factor,
            None if self.standard_error is None else self.standard_error * abs(factor),
            self.groups,
        )

    def as_dict(self) -> dict[str, float | int | None]:
        return {"estimate": self.estimate, "low": self.low, "high": self.high, "groups": self.groups}


def jackknife_ratio(numerator: Any, denominator: Any, scale: float = 1.0) -> Interval:
    """The interval of scale * sum(numerator) / sum(denominator), by leaving out one group at a time.

    numerator, denominator: one value a group; groups with neither are not counted. With denominator = requests and
    scale = all requests this is the interval of a total at a fixed number of requests; it respects whatever varies
    together inside a group. t distribution with groups - 1 degrees of freedom. Low and high are None where fewer than
    two groups have a denominator. (Wolter, Introduction to Variance Estimation, ch. 4.)
    """
    top = np.asarray(numerator, dtype=np.float64)
    bottom = np.asarray(denominator, dtype=np.float64)
    used = (bottom > 0) | (top != 0)
    top, bottom = top[used], bottom[used]
    groups = int(used.sum())
    if not (bottom > 0).any():
        return Interval(0.0, None, None)
    estimate = scale * top.sum() / bottom.sum()
    if (bottom > 0).sum() < 2:
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
    top = np.asarray(numerator, dtype=np.float64)
    top = top[(np.asarray(denominator) > 0) | (top != 0)]
    groups = len(top)
    squares = float(((top - top.mean()) ** 2).sum()) / (1 - 1 / groups)
    split = share * (1 - share) * squares
    error = math.sqrt(share**2 * whole.standard_error**2 + split)
    return _interval(whole.estimate * share, error, groups)


def _interval(estimate: float, error: float, groups: int) -> Interval:
    half = t_quantile(groups - 1) * error
    return Interval(estimate, estimate - half, estimate + half, error, groups)


# The 97.5 % points of Student's t for 1 to 63 degrees of freedom: all that 64 groups can ask for. scipy gives the same
# (a test compares them) and takes longer to import than everything else a command does.
_T: Final = (
    12.706204736, 4.302652730, 3.182446305, 2.776445105, 2.570581836, 2.446911851, 2.364624252, 2.306004135,
    2.262157163, 2.228138852, 2.200985160, 2.178812830, 2.160368656, 2.144786688, 2.131449546, 2.119905299,
    2.109815578, 2.100922040, 2.093024054, 2.085963447, 2.079613845, 2.073873068, 2.068657610, 2.063898562,
    2.059538553, 2.055529439, 2.051830516, 2.048407142, 2.045229642, 2.042272456, 2.039513446, 2.036933343,
    2.034515297, 2.032244509, 2.030107928, 2.028094001, 2.026192463, 2.024394164, 2.022690920, 2.021075390,
    2.019540970, 2.018081703, 2.016692199, 2.015367574, 2.014103389, 2.012895599, 2.011740514, 2.010634758,
    2.009575237, 2.008559112, 2.007583770, 2.006646805, 2.005745995, 2.004879288, 2.004044783, 2.003240719,
    2.002465459, 2.001717484, 2.000995378, 2.000297822, 1.999623585, 1.998971517, 1.998340543,
)  # fmt: skip


def t_quantile(df: int) -> float:
    """The 97.5 % point of Student's t with 1 to 63 degrees of freedom."""
    return _T[df - 1]


def percentile(middles: Array, counts: Array, share: float) -> float | None:
    """The smallest value below which a share (0-1) of a histogram lies; None when it is empty."""
    total = counts.sum()
    if total <= 0:
        return None
    order = np.argsort(middles)
    reached = np.cumsum(counts[order])
    return float(middles[order][int(np.searchsorted(reached, share * total - 1e-9 * total))])
