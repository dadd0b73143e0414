"""How much a mean has changed from one set of requests to another, with bounds that respect groups."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from routecost.stats.intervals import jackknife_ratio

# How often the smallest detectable increase would be found.
_POWER: Final = 0.8
_STEPS: Final = 200
_TINY: Final = 1e-300


@dataclass(frozen=True)
class Ratio:
    """The change of a mean cost per request.

    increase: current / base - 1; difference: current - base in USD. low, high: one-sided bounds of `increase`, each at
    its own level alpha. detectable: the smallest increase that 80 % of repeats with such samples would find (their low
    is above zero). groups: those of the side that has fewer.

    increase is None where the base has no cost; bounds, standard error and detectable are None, too, where the current
    side has none, or a side has fewer than two groups; high and detectable also where nothing bounds them.
    """

    increase: float | None
    difference: float | None
    low: float | None
    high: float | None
    standard_error: float | None
    detectable: float | None
    groups: int


def two_sample_ratio(
    base_cost: Any, base_requests: Any, current_cost: Any, current_requests: Any, alpha: float
) -> Ratio:
    """The change from one sample of requests to another, each given as its cost and its requests a group.

    Each mean's standard error comes from leaving out one group at a time; t has as many degrees of freedom as the side
    with fewer groups. Costs have a heavy tail, and a small sample without its dearest requests has a low mean and a low
    error at once. So the side below the line of a bound (base for `low`) is believed no surer than a request's spread
    on both sides together allows, and each bound is the more careful of two (`_Spread.room`). Swapped sides swap the
    bounds.
    """
    base = jackknife_ratio(base_cost, base_requests)
    current = jackknife_ratio(current_cost, current_requests)
    groups = min(_filled(base_requests), _filled(current_requests))
    if groups == 0:
        return Ratio(None, None, None, None, None, None, 0)
    difference = current.estimate - base.estimate
    if base.estimate <= 0:
        return Ratio(None, difference, None, None, None, None, groups)
    if base.standard_error is None or current.standard_error is None or current.estimate <= 0:
        return Ratio(current.estimate / base.estimate - 1, difference, None, None, None, None, groups)
    before, after = base.standard_error / base.estimate, current.standard_error / current.estimate
    sizes = float(np.sum(base_requests)), float(np.sum(current_requests))
    pooled = ((before * sizes[0]) ** 2 + (after * sizes[1]) ** 2) / sum(sizes)
    up = _Spread(max(before**2, pooled / sizes[0]), after**2)
    down = _Spread(max(after**2, pooled / sizes[1]), before**2)
    return _bounded(current.estimate / base.estimate, difference, math.hypot(before, after), up, down, groups, alpha)


def paired_ratio(base: Any, current: Any, group: Any, alpha: float) -> Ratio:
    """The change of requests that stand on both sides: what each costs on either, and the group that it belongs to.

    Whatever makes some requests dearer than others on both sides cancels out, so that a few pairs tell what thousands
    of requests apart cannot. Bounds as in `two_sample_ratio`, with what the sides have in common.
    """
    costs = np.array([base, current], dtype=np.float64)
    n = costs.shape[1]
    if n == 0:
        return Ratio(None, None, None, None, None, None, 0)
    _, of_row = np.unique(np.asarray(group), return_inverse=True)
    sizes = np.bincount(of_row).astype(np.float64)
    sums = np.array([np.bincount(of_row, side) for side in costs])
    groups = len(sizes)
    means = costs.mean(axis=1)
    difference = float(means[1] - means[0])
    if means[0] <= 0:
        return Ratio(None, difference, None, None, None, None, groups)
    ratio = float(means[1] / means[0])
    if groups < 2 or means[1] <= 0:
        return Ratio(ratio - 1, difference, None, None, None, None, groups)
    without = (sums.sum(axis=1, keepdims=True) - sums) / (n - sizes) / means[:, None]
    apart = without - without.mean(axis=1, keepdims=True)
    (before, both), (_, after) = ((groups - 1) / groups * (apart @ apart.T)).tolist()
    # not from the three others: pairs that all change alike leave nothing, and rounding would leave something
    error = math.sqrt((groups - 1) / groups * float(((apart[1] - apart[0]) ** 2).sum()))
    spreads = _Spread(before, after, both), _Spread(after, before, both)
    return _bounded(ratio, difference, error, *spreads, groups, alpha)


@dataclass(frozen=True)
class _Spread:
    """Relative variances of what is under and over the line of a ratio, and their covariance."""

    under: float
    over: float
    both: float = 0.0

    def room(self, t: float) -> float:
        """The lower bound of the ratio as a share of it (1: certain, 0: none): the lesser of that on the scale of
        logarithms, and Fieller's, which solves (over - x under)^2 = t^2 variance(over - x under) for x."""
        t2 = t * t
        plain = self.under + self.over - 2 * self.both
        logs = math.exp(-t * math.sqrt(max(plain, 0.0)))
        rest = 1 - t2 * self.over
        if rest <= 0:
            return 0.0
        middle = 1 - t2 * self.both
        root = math.sqrt(max(t2 * plain + t2 * t2 * (self.both**2 - self.under * self.over), 0.0))
        return min(logs, rest / (middle + root))


def _bounded(
    ratio: float, difference: float, error: float, up: _Spread, down: _Spread, groups: int, alpha: float
) -> Ratio:
    t = t_upper(alpha, groups - 1)
    above, needed = down.room(t), up.room(t + t_upper(1 - _POWER, groups - 1))
    return Ratio(
        increase=ratio - 1,
        difference=difference,
        low=ratio * up.room(t) - 1,
        high=ratio / above - 1 if above > 0 else None,
        standard_error=ratio * error,
        detectable=1 / needed - 1 if needed > 0 else None,
        groups=groups,
    )


def _filled(requests: Any) -> int:
    return int((np.asarray(requests, dtype=np.float64) > 0).sum())


def t_upper(alpha: float, df: float) -> float:
    """The value that Student's t with df degrees of freedom exceeds with probability alpha: 1.645 for 0.05 and many.

    Found by Newton's method between bounds, on the exact tail. (scipy has it, and takes longer to import than a whole
    command; a test compares the two.)
    """
    if not 0 < alpha < 1 or not df > 0:
        raise ValueError(f"expected 0 < alpha < 1 and df > 0, saw {alpha} and {df}")
    if alpha > 0.5:
        return -t_upper(1 - alpha, df)
    if math.isinf(df):
        return NormalDist().inv_cdf(1 - alpha) if alpha > 1e-9 else -NormalDist().inv_cdf(alpha)
    if alpha == 0.5:
        return 0.0
    low, high = 0.0, 1.0
    while _tail(high, df) > alpha:
        low, high = high, high * 2
    t = (low + high) / 2
    log_scale = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2
    for _ in range(_STEPS):
        tail = _tail(t, df)
        low, high = (t, high) if tail > alpha else (low, t)
        # in log(tail), which is nearly straight far out where the tail itself is flat
        slope = math.exp(log_scale - (df + 1) / 2 * math.log1p(t * t / df)) / max(tail, _TINY)
        step = math.log(max(tail, _TINY) / alpha) / slope
        new = t + step
        if not low < new < high:
            new = (low + high) / 2
        if abs(new - t) <= 1e-13 * max(t, 1e-3):
            return new
        t = new
    return t


def _tail(t: float, df: float) -> float:
    """P(T > t) for t >= 0."""
    square = t * t
    return _incomplete_beta(df / 2, 0.5, df / (df + square), square / (df + square)) / 2


def _incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """The regularised incomplete beta function at x; rest = 1 - x, given apart to keep its digits.

    By its continued fraction (DLMF 8.17.22) with Lentz's method, on the side where it converges quickly.
    """
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * _log_share(x, rest) + b * _log_share(rest, x)
    )
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, rest) / b


def _log_share(x: float, rest: float) -> float:
    return math.log(x) if x < 0.5 else math.log1p(-rest)


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, 10_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / _away(1 + term * d), _away(1 + term / c)
            found *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return found


def _away(x: float) -> float:
    return x if abs(x) > _TINY else _TINY
