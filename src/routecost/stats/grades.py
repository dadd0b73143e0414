"""What graded answers say of a model: bounds of its score, and of its difference from another model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from routecost.stats.intervals import Array

# Scores between 0 and 1 vary less than right-or-wrong grades of the same mean. How much less is believed as if this
# many answers more had been seen that vary as right-or-wrong does: thirty good answers do not prove that none is bad.
_BINARY_ANSWERS: Final = 100.0
_STEPS: Final = 50
_POWER: Final = 0.8
_MOST: Final = 1_000_000


@dataclass(frozen=True)
class Grades:
    """n answers graded from 0 to 1: their mean, and the sum of their squares where it is known (null: as for grades
    of right or wrong, which vary most)."""

    n: int
    score: float
    squares: float | None = None

    @property
    def answers(self) -> float:
        """How many right-or-wrong grades they are worth: n, and more where they vary less."""
        spread = self.score * (1 - self.score)
        if self.squares is None or self.n < 2 or spread <= 0:
            return float(self.n)
        variance = max(self.squares - self.n * self.score**2, 0.0) / (self.n - 1)
        ratio = (variance / spread * (self.n - 1) + _BINARY_ANSWERS) / (self.n - 1 + _BINARY_ANSWERS)
        return self.n / min(ratio, 1.0)


@dataclass(frozen=True)
class Pairs:
    """n requests graded on two models: the mean difference of the scores (-1 to 1), and the sum of its squares (for
    right-or-wrong grades the number of discordant pairs; null: unknown, and the most that it can be is taken)."""

    n: int
    difference: float
    squares: float | None = None

    @property
    def discordant(self) -> float:
        """The discordant pairs, or as many as would vary alike."""
        known = float(self.n) if self.squares is None else self.squares
        return min(max(known, self.n * self.difference**2), float(self.n))


def z_of(alpha: float) -> float:
    """The one-sided normal quantile: 1.645 for 0.05."""
    return NormalDist().inv_cdf(1 - alpha)


def score_bounds(grades: Sequence[Grades], alpha: float) -> Array:
    """(2, n): one-sided lower and upper bounds of each mean score, each at level alpha. (Wilson, JASA 1927.)"""
    n = np.array([g.answers for g in grades])
    p = np.array([g.score for g in grades])
    z = z_of(alpha)
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return np.array([np.clip(middle - half, 0.0, 1.0), np.clip(middle + half, 0.0, 1.0)])


def difference_bounds(candidates: Sequence[Grades], references: Sequence[Grades], alpha: float | Array) -> Array:
    """One-sided lower bounds, at level alpha (one for all, or one each), of score(candidate) - score(reference), both
    graded apart: where the score test would no longer reject. (Miettinen and Nurminen, Stat. Med. 1985; the restricted
    estimate is Farrington and Manning's, Stat. Med. 1990.)"""
    n1, n2 = (np.array([g.answers for g in side]) for side in (candidates, references))
    p1, p2 = (np.array([g.score for g in side]) for side in (candidates, references))
    z = np.array([z_of(a) for a in np.broadcast_to(alpha, n1.shape).tolist()])
    low, high = np.full(n1.shape, -1.0), p1 - p2
    for _ in range(_STEPS):
        middle = (low + high) / 2
        inside = (p1 - p2 - middle) <= z * np.sqrt(_apart(n1, p1, n2, p2, middle))
        low, high = np.where(inside, low, middle), np.where(inside, middle, high)
    return low


def _apart(n1: Array, p1: Array, n2: Array, p2: Array, delta: Array) -> Array:
    """Variance of the difference of two proportions that truly differ by delta, at their likeliest values."""
    theta = n2 / n1
    a = 1 + theta
    b = -(1 + theta + p1 + theta * p2 + delta * (theta + 2))
    c = delta**2 + delta * (2 * p1 + theta + 1) + p1 + theta * p2
    d = -p1 * delta * (1 + delta)
    v = (b / (3 * a)) ** 3 - b * c / (6 * a * a) + d / (2 * a)
    u = np.where(v >= 0, 1.0, -1.0) * np.sqrt(np.maximum((b / (3 * a)) ** 2 - c / (3 * a), 0.0))
    cube = np.where(u == 0, 1.0, u**3)
    w = (math.pi + np.arccos(np.clip(v / cube, -1.0, 1.0))) / 3
    first = np.clip(2 * u * np.cos(w) - b / (3 * a), np.maximum(delta, 0.0), np.minimum(1.0 + delta, 1.0))
    second = np.clip(first - delta, 0.0, 1.0)
    whole = n1 + n2
    found: Array = (first * (1 - first) / n1 + second * (1 - second) / n2) * whole / np.maximum(whole - 1, 1)
    return found


def paired_bounds(pairs: Sequence[Pairs], alpha: float | Array) -> Array:
    """As `difference_bounds`, of requests that both models were graded on. (Tango, Stat. Med. 1998, with the sum of
    squared differences in the place of the discordant pairs.)"""
    n = np.array([float(p.n) for p in pairs])
    mean = np.array([p.difference for p in pairs])
    apart = np.array([p.discordant for p in pairs])
    z = np.array([z_of(a) for a in np.broadcast_to(alpha, n.shape).tolist()])
    better, worse = (apart + n * mean) / 2, (apart - n * mean) / 2
    low, high = np.full(n.shape, -1.0), mean.copy()
    for _ in range(_STEPS):
        delta = (low + high) / 2
        b = -better - worse + (2 * n - better + worse) * delta
        c = -worse * delta * (1 - delta)
        second = (np.sqrt(np.maximum(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = np.maximum(2 * second + delta * (1 - delta), 0.0) / n
        inside = (mean - delta) <= z * np.sqrt(variance)
        low, high = np.where(inside, low, delta), np.where(inside, delta, high)
    return low


def more_answers(
    candidate: Grades | None, reference: Grades | None, margin: float, alpha: float, pairs: Pairs | None = None
) -> int | None:
    """How many more graded answers of each model (or pairs) would show that the candidate is not worse by the margin,
    in 80 % of repeats, if its scores stay what they are; None where they would not: it is worse by the margin already.

    Without a grade of one of them its score is taken to be that of the other, 0.9 where neither has one.
    """
    z = z_of(alpha) + NormalDist().inv_cdf(_POWER)
    if pairs is not None:
        room = pairs.difference + margin
        spread = max(pairs.discordant / pairs.n - pairs.difference**2, 1e-3)
        seen = pairs.n
    else:
        known = candidate or reference
        first = candidate.score if candidate else known.score if known else 0.9
        second = reference.score if reference else first
        room = first - second + margin
        # near 0 and 1 the observed variance is no guide: half a failure more than was seen
        spread = sum(
            max(s * (1 - s), 0.5 / ((g.n if g else 100) + 1)) * (g.n / g.answers if g and g.n else 1.0)
            for s, g in ((first, candidate), (second, reference))
        )
        seen = min(candidate.n if candidate else 0, reference.n if reference else 0)
    if room <= 0:
        return None
    wanted = math.ceil(z * z * spread / (room * room))
    return None if wanted > _MOST else max(wanted - seen, 1)
