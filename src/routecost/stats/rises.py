"""Whether a rate rose between two sides, where requests come in clusters and the day of the change may be a guess."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from routecost.stats.change import t_upper
from routecost.stats.grades import Grades, difference_bounds

_NORMAL: Final = NormalDist()
_STEPS: Final = 60


@dataclass(frozen=True)
class Rise:
    """Two rates and bounds of the second less the first. effect: how many times more the difference varies than that
    of as many independent requests. None: one cluster says nothing of how clusters vary."""

    before: float
    after: float
    low: float | None
    high: float | None
    effect: float

    @property
    def change(self) -> float:
        return self.after - self.before


def rise(before_n: Any, before_bad: Any, after_n: Any, after_bad: Any, alpha: float) -> Rise:
    """Numbers of rated and of bad requests by cluster, the same clusters on both sides -> Rise with bounds at level
    alpha each.

    Score bounds (Miettinen and Nurminen, Stat. Med. 1985) at the effective number of requests: divided by the design
    effect of the difference (linearised by cluster, so that a user who is on both sides counts as one), and for few
    clusters by the square of t over z (Korn and Graubard, Survey Methodology 1998).
    """
    n0, y0, n1, y1 = (np.asarray(a, dtype=np.float64) for a in (before_n, before_bad, after_n, after_bad))
    total0, total1 = float(n0.sum()), float(n1.sum())
    p0, p1 = float(y0.sum()) / total0, float(y1.sum()) / total1
    clusters = int(((n0 + n1) > 0).sum())
    degrees = min(int((n0 > 0).sum()), int((n1 > 0).sum())) - 1
    if degrees < 1:
        return Rise(p0, p1, None, None, 1.0)
    apart = (y1 - p1 * n1) / total1 - (y0 - p0 * n0) / total0
    variance = clusters / (clusters - 1) * float((apart**2).sum())
    alone = p0 * (1 - p0) / total0 + p1 * (1 - p1) / total1
    effect = max(variance / alone, 1.0) if alone > 0 else 1.0
    wider = effect * (t_upper(alpha, degrees) / _NORMAL.inv_cdf(1 - alpha)) ** 2
    first, second = Grades(max(int(total0 / wider), 1), p0), Grades(max(int(total1 / wider), 1), p1)
    low = float(difference_bounds([second], [first], alpha)[0])
    high = -float(difference_bounds([first], [second], alpha)[0])
    return Rise(p0, p1, low, high, effect)


def searched(alpha: float, trim: float) -> float:
    """The one-sided level at which a bound still holds, at alpha (two-sided), for a day that was chosen because the
    rates differ most there, among those with a share of at least `trim` of the requests on either side.

    The largest standardised difference over all days behaves like a Brownian bridge over its deviation; its tail is
    Miller and Siegmund's (Biometrics 1982, https://doi.org/10.2307/2529881). At 0.05 and 0.15 it is Andrews's 2.97.
    """
    width = 2 * math.log((1 - trim) / trim)
    low, high = 1.0, 40.0
    for _ in range(_STEPS):
        c = (low + high) / 2
        tail = _NORMAL.pdf(c) * (4 / c + (c - 1 / c) * width)
        low, high = (c, high) if tail > alpha else (low, c)
    return _NORMAL.cdf(-high)


def largest(n: Any, bad: Any, effect: float, trim: float) -> tuple[int, float] | None:
    """Counts by day -> the first day of the second part of the split where the rate rose most, and by how many standard
    errors; None where no split leaves a share of `trim` on either side."""
    n, bad = np.asarray(n, dtype=np.float64), np.asarray(bad, dtype=np.float64)
    total, negative = n.sum(), bad.sum()
    before, seen = n.cumsum()[:-1], bad.cumsum()[:-1]
    share = before / max(total, 1.0)
    usable = (share >= trim) & (share <= 1 - trim)
    p = negative / max(total, 1.0)
    if not usable.any() or not 0 < p < 1:
        return None
    after = total - before
    with np.errstate(divide="ignore", invalid="ignore"):
        z = ((negative - seen) / after - seen / before) / np.sqrt(p * (1 - p) * effect * (1 / before + 1 / after))
    z = np.where(usable, z, -np.inf)
    best = int(np.argmax(z))
    return best + 1, float(z[best])
