"""How much a mix, a share and a distribution move by chance when requests come in groups."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from routecost.stats.change import t_upper
from routecost.stats.intervals import Array


@dataclass(frozen=True)
class Moved:
    """The shares of two sides, and the covariance of their difference. degrees: of freedom (groups - 1 of the side that
    has fewer); covariance is None where a side has fewer than two groups."""

    base: Array
    current: Array
    covariance: Array | None
    degrees: int

    @property
    def difference(self) -> Array:
        return self.current - self.base

    @property
    def mean(self) -> Array:
        return (self.base + self.current) / 2


def moved_shares(base: Any, current: Any, *, paired: bool) -> Moved:
    """Counts by group (rows) and category (columns) of two sides -> Moved, by leaving out one group at a time.

    paired: row i of both sides holds the same units (the same hash of a user), so it is left out on both at once: what
    a user does on either side is not independent.
    """
    sides = [np.asarray(side, dtype=np.float64) for side in (base, current)]
    shares = [side.sum(axis=0) / max(side.sum(), 1.0) for side in sides]
    degrees = min(int((side.sum(axis=1) > 0).sum()) for side in sides) - 1
    if degrees < 1:
        return Moved(shares[0], shares[1], None, max(degrees, 0))
    without = [(s.sum(axis=0) - s) / (s.sum() - s.sum(axis=1, keepdims=True)) for s in sides]
    parts = [without[1] - without[0]] if paired else without
    covariance = sum(_spread(part) for part in parts)
    return Moved(shares[0], shares[1], np.asarray(covariance, dtype=np.float64), degrees)


def _spread(without: Array) -> Array:
    apart = without - without.mean(axis=0)
    scale = (len(without) - 1) / len(without)
    found: Array = scale * (apart.T @ apart)
    return found


@dataclass(frozen=True)
class Chance:
    """The sum of squared differences over mean shares when nothing has changed: scale times an F value with `freedom`
    and `degrees` degrees of freedom (Rao and Scott's second-order correction of a chi-square)."""

    scale: float
    freedom: float
    degrees: int

    def upper(self, alpha: float) -> float:
        """What it exceeds with probability alpha."""
        from scipy.special import fdtri

        return self.scale * float(fdtri(self.freedom, self.degrees, 1 - alpha))

    def p_value(self, seen: float) -> float:
        from scipy.special import fdtrc

        return float(fdtrc(self.freedom, self.degrees, seen / self.scale))


def chance_of(moved: Moved) -> Chance | None:
    """How far a mix moves by chance; None where groups do not tell, or where only one category is there."""
    used = moved.mean > 0
    if moved.covariance is None or used.sum() < 2:
        return None
    root = np.sqrt(moved.mean[used])
    values = np.linalg.eigvalsh(moved.covariance[np.ix_(used, used)] / np.outer(root, root))
    values = values[values > 0]
    if not len(values) or values.sum() <= 1e-15:
        return None
    total = float(values.sum())
    return Chance(total, total**2 / float((values**2).sum()), moved.degrees)


def design_effect(moved: Moved, base_n: float, current_n: float) -> float | None:
    """How many times more a mix varies than that of as many independent requests; at least 1."""
    chance = chance_of(moved)
    if chance is None or not base_n or not current_n:
        return None
    alone = float((1 - moved.mean[moved.mean > 0]).sum()) * (1 / base_n + 1 / current_n)
    return max(chance.scale / alone, 1.0) if alone > 0 else None


def mean_design_effect(sums: Any, sizes: Any, variance: float) -> float | None:
    """As `design_effect`, of a mean: sums and sizes by group, and the variance of a request's value."""
    top, n = np.asarray(sums, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    top, n = top[n > 0], n[n > 0]
    if len(n) < 2 or variance <= 0:
        return None
    without = (top.sum() - top) / (n.sum() - n)
    found = (len(n) - 1) / len(n) * float(((without - without.mean()) ** 2).sum())
    return max(found * float(n.sum()) / variance, 1.0)


def share_error(share: float, base_n: float, current_n: float, effect: float) -> float:
    """The standard error of the difference of two shares that are both `share`; two requests more than there are of
    each kind, so that a share of 0 is not certain."""
    n = (base_n + current_n) / effect
    p = (share * n + 2) / (n + 4)
    return math.sqrt(p * (1 - p) * effect * (1 / base_n + 1 / current_n))


def kolmogorov_upper(alpha: float, base_n: float, current_n: float, effect: float, degrees: int) -> float:
    """What the largest distance of two distribution functions exceeds with probability alpha by chance (at most; by
    the first term of Kolmogorov's series), at the effective number of requests."""
    wider = t_upper(alpha / 2, degrees) / t_upper(alpha / 2, math.inf)
    return wider * math.sqrt(-math.log(alpha / 2) / 2 * effect * (1 / base_n + 1 / current_n))
