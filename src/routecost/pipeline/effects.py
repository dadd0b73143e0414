"""How small a harm two arms of a given size can show, and what they have shown of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import polars as pl

from routecost import stats
from routecost.stats import Grades, difference_bounds

_TWO_SIDED: Final = NormalDist().inv_cdf(0.975)
_POWER: Final = NormalDist().inv_cdf(0.80)
P95: Final = 0.95
# A look before the end of a step decides only at this level, so that the one at the end keeps nearly all of its own.
# (Haybittle 1971, https://doi.org/10.1259/0007-1285-44-526-793; Peto et al. 1976.)
EARLY_ALPHA: Final = 0.0005
ALPHA: Final = 0.025
LEAST: Final = 30  # answers an arm below which a rate is not judged


@dataclass(frozen=True)
class Found:
    """The smallest harm that would be found with 80 % power at 5 % (two-sided): points of thumbs-down (of rated
    requests) and of errors, and how much higher the 95th percentile of latency. None: cannot be told."""

    thumbs_down: float | None
    errors: float | None
    latency: float | None


@dataclass(frozen=True)
class Harm:
    """How much worse treatment is than control, with bounds at ALPHA each, or EARLY_ALPHA before the end."""

    treatment: float
    control: float
    harm: float
    low: float
    high: float


def unit_size(groups: pl.DataFrame) -> float:
    """How many requests the unit of a request (its user or session) has, on average over requests.

    Units are spread over groups by hash, so the spread of the groups' sums tells the sum of the units' squares.
    """
    sums = groups.group_by("group").agg(pl.col("requests").sum())["requests"].cast(pl.Float64)
    total, g = float(sums.sum()), len(sums)
    if g < 2 or total <= 0:
        return 1.0
    squares = float(((sums - sums.mean()) ** 2).sum()) / (1 - 1 / g)
    return max(1.0, squares / total)


def design_effect(size: float, correlation: float) -> float:
    """By how much requests of the same unit count for less. (Kish, Survey Sampling, 1965.)"""
    return 1 + max(size - 1, 0.0) * correlation


def found(
    treated: float,
    control: float,
    *,
    rated: float,
    thumbs_down: float | None,
    errors: float | None,
    latency: pl.DataFrame,
    effect: float,
    effect_rated: float,
) -> Found:
    """What arms of these sizes would show. latency: middle, n."""
    pair = (treated / effect, control / effect)
    few = (treated * rated / effect_rated, control * rated / effect_rated)
    return Found(_rate(thumbs_down, *few), _rate(errors, *pair), _p95(latency, *pair))


def _rate(before: float | None, treated: float, control: float) -> float | None:
    """The rise of a rate that is found."""
    if before is None or min(treated, control) < LEAST:
        return None
    rise = 0.0
    for _ in range(50):
        worse = min(before + rise, 0.5)
        # nothing seen is not nothing: one in all that there are
        base = max(before, 1 / (treated + control))
        variance = worse * (1 - worse) / treated + base * (1 - base) / control
        rise = (_TWO_SIDED + _POWER) * math.sqrt(variance)
    return rise if before + rise < 1 else None


def _p95(latency: pl.DataFrame, treated: float, control: float) -> float | None:
    """From how steep the distribution is around its 95th percentile."""
    if latency.height == 0 or min(treated, control) < LEAST / (1 - P95):
        return None
    middles, counts = latency["middle"].to_numpy(), latency["n"].to_numpy().astype(float)
    ends = [stats.percentile(middles, counts, p) for p in (0.93, 0.97)]
    if None in ends or not ends[0] or ends[1] is None:
        return None
    slope = math.log(ends[1] / ends[0]) / 0.04
    error = slope * math.sqrt(P95 * (1 - P95) * (1 / treated + 1 / control))
    return math.expm1((_TWO_SIDED + _POWER) * error)


def rate_harm(treated: Grades, control: Grades, effect: float, alpha: float) -> Harm | None:
    """The rise of a rate of bad requests, by the score test. Grades: all, and the share that is bad, of each arm."""
    one, two = (Grades(round(g.n / effect), g.score) for g in (treated, control))
    if min(one.n, two.n) < LEAST:
        return None
    low = float(difference_bounds([one], [two], alpha)[0])
    high = -float(difference_bounds([two], [one], alpha)[0])
    return Harm(one.score, two.score, one.score - two.score, low, high)


def latency_harm(treated: pl.DataFrame, control: pl.DataFrame, effect: float, alpha: float) -> Harm | None:
    """How much higher the 95th percentile is, from order statistics of both histograms (middle, n)."""
    arms = [_quantile(frame, effect, alpha) for frame in (treated, control)]
    one, two = arms
    if one is None or two is None:
        return None
    # intervals of both, put together on the scale of logarithms (Zou and Donner, Stat. Med. 2008)
    ratio = math.log(one[1] / two[1])
    low = ratio - math.hypot(math.log(one[1] / one[0]), math.log(two[2] / two[1]))
    high = ratio + math.hypot(math.log(one[2] / one[1]), math.log(two[1] / two[0]))
    return Harm(one[1], two[1], math.expm1(ratio), math.expm1(low), math.expm1(high))


def _quantile(frame: pl.DataFrame, effect: float, alpha: float) -> tuple[float, float, float] | None:
    """Low, estimate and high of the 95th percentile."""
    total = float(frame["n"].sum())
    n = total / effect
    half = NormalDist().inv_cdf(1 - alpha) * math.sqrt(P95 * (1 - P95) / n) if n > 0 else 1.0
    if P95 + half >= 1:
        return None
    middles, counts = frame["middle"].to_numpy(), frame["n"].to_numpy().astype(float)
    ends = [stats.percentile(middles, counts, p) for p in (P95 - half, P95, P95 + half)]
    low, middle, high = ends
    return (low, middle, high) if low and middle and high else None
