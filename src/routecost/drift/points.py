"""Days from which on a daily value is another one."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from routecost.drift.result import ChangePoint
from routecost.stats import Array, t_upper

# Nothing is said of fewer days than that before or after a change.
LEAST_SEGMENT: Final = 5
_SHUFFLES: Final = 1999
_SEED: Final = 20261124
_WEEKS: Final = 3


@dataclass(frozen=True)
class Series:
    """A value a day, and how many requests it is of."""

    what: str
    days: tuple[dt.date, ...]
    values: tuple[float, ...]
    requests: tuple[float, ...]


def change_points(series: Sequence[Series], alpha: float) -> tuple[ChangePoint, ...]:
    """Where series change their level, by binary segmentation: the split with the largest CUSUM, judged against days in
    random order, then each part likewise. alpha: the chance of any false one, over all series.

    With three weeks or more, days only change places with the same day of the week, so that weekends are no change.
    Days must not depend on the days before them; a value that wanders slowly has change points, and is a drift.
    """
    rng = np.random.default_rng(_SEED)
    each = alpha / max(len(series), 1)
    found = [point for one in series for point in _search(one, 0, len(one.days), each, rng)]
    return tuple(sorted(found, key=lambda p: (p.day, p.what)))


def _search(one: Series, start: int, end: int, alpha: float, rng: np.random.Generator) -> list[ChangePoint]:
    n = end - start
    if n < 2 * LEAST_SEGMENT:
        return []
    kind = np.zeros(n, dtype=np.int64)
    if len(one.days) >= 7 * _WEEKS:
        kind = np.array([d.weekday() for d in one.days[start:end]])
    values = np.asarray(one.values[start:end], dtype=np.float64)
    # the means stay what they are when days of a kind change places, so that the test is exact
    for k in set(kind.tolist()):
        values[kind == k] -= values[kind == k].mean()
    # a day with ten times the requests is not ten times as sure: days differ, too
    weights = np.sqrt(np.asarray(one.requests[start:end], dtype=np.float64))
    seen = _statistics(values, weights)
    best = int(np.argmax(seen))
    if seen[best] <= 1e-12:
        return []
    order = _orders(kind, rng)
    chance = _statistics(values[order], weights[order]).max(axis=-1)
    p = (1 + int((chance >= seen[best] - 1e-12).sum())) / (_SHUFFLES + 1)
    if p > alpha:
        return []
    split = start + best + LEAST_SEGMENT
    return [
        *_search(one, start, split, alpha / 2, rng),
        _point(one, start, split, end, p),
        *_search(one, split, end, alpha / 2, rng),
    ]


def _orders(kind: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Random orders (rows) in which days change places with days of their kind."""
    found = np.tile(np.arange(len(kind)), (_SHUFFLES, 1))
    for k in set(kind.tolist()):
        at = np.flatnonzero(kind == k)
        found[:, at] = rng.permuted(np.tile(at, (_SHUFFLES, 1)), axis=1)
    return found


def _statistics(values: Array, weights: Array) -> Array:
    """The difference of the means before and after each day of a split (columns), in the unit of its spread if nothing
    changed; rows are orders of days."""
    total = weights.sum(axis=-1, keepdims=True)
    mean = (weights * values).sum(axis=-1, keepdims=True) / total
    reached = np.cumsum(weights * (values - mean), axis=-1)[..., LEAST_SEGMENT - 1 : -LEAST_SEGMENT]
    squares = np.cumsum(weights**2, axis=-1)
    before = np.cumsum(weights, axis=-1)[..., LEAST_SEGMENT - 1 : -LEAST_SEGMENT] / total
    first = squares[..., LEAST_SEGMENT - 1 : -LEAST_SEGMENT]
    whole = squares[..., -1:]
    # the variance of the partial sum around a weighted mean that is estimated from the same days
    spread = np.sqrt(np.maximum(first * (1 - before) ** 2 + (whole - first) * before**2, 1e-300))
    found: Array = np.abs(reached) / spread
    return found


def _point(one: Series, start: int, split: int, end: int, p: float) -> ChangePoint:
    before, after = (np.asarray(one.values[a:b], dtype=np.float64) for a, b in ((start, split), (split, end)))
    difference = float(after.mean() - before.mean())
    error = math.sqrt(float(before.var(ddof=1)) / len(before) + float(after.var(ddof=1)) / len(after))
    half = t_upper(0.025, min(len(before), len(after)) - 1) * error
    base = float(before.mean())
    return ChangePoint(one.days[split], one.what, base, base + difference, difference - half, difference + half, p)
