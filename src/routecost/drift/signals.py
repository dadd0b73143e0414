"""Each signal of drift: how far it moved, how far it moves by chance, and what that means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from routecost.drift import distance
from routecost.drift.result import LIMITS, Lengths, Limits, Mix, MixTest, Name, Signal, Span, Verdict
from routecost.stats import Array, Grades, percentile, score_bounds, t_upper
from routecost.stats.shares import (
    Moved,
    chance_of,
    design_effect,
    kolmogorov_upper,
    mean_design_effect,
    moved_shares,
    share_error,
)

# Below so many days a side, how much days differ cannot be told from the days.
LEAST_DAYS: Final = 5
_UNSURE: Final = math.log(0.6) / distance.STEP
_SEEN_ON: Final = 95


@dataclass(frozen=True)
class Side:
    """One side, counted. groups: group, task, requests, input_tokens, output_tokens; days: the same by day.
    histograms: metric -> bucket -> n. names: feature and model -> name -> requests."""

    span: Span
    groups: pl.DataFrame
    days: pl.DataFrame
    histograms: Mapping[str, dict[int, int]]
    names: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Compared:
    """Signals, and what stands behind them. effect: how many requests count as one, the largest that was found."""

    signals: tuple[Signal, ...]
    mix: tuple[Mix, ...]
    test: MixTest
    lengths: tuple[Lengths, ...]
    names: tuple[Name, ...]
    effect: float | None


def compare(base: Side, current: Side, alpha: float, *, paired: bool = True) -> Compared:
    """All signals that counts give. alpha: the chance that any of them passes what chance explains (by Bonferroni).

    Chance is measured twice: with groups of units (a user's or session's requests are alike) and, where both sides have
    days enough, with days (all requests of a day are alike); the larger one counts.
    """
    sides = (base, current)
    tasks = sorted({t for s in sides for t in s.groups["task"].to_list()}, key=lambda t: (t is None, t or ""))
    by_group = moved_shares(*(_matrix(s.groups, "group", tasks, range(64)) for s in sides), paired=paired)
    moves = [by_group]
    if all(s.span.days >= LEAST_DAYS for s in sides):
        dated = [s.days.filter(pl.col("day").is_not_null()) for s in sides]
        days = [d["day"].unique().sort().to_list() for d in dated]
        matrices = [_matrix(d, "day", tasks, of) for d, of in zip(dated, days, strict=True)]
        moves.append(moved_shares(*matrices, paired=False))
    n = (base.span.requests, current.span.requests)
    degrees = min(m.degrees for m in moves)
    effects = [design_effect(m, *n) for m in moves]
    of_length: dict[Literal["input", "output"], float | None] = {}
    kinds: tuple[Literal["input", "output"], ...] = ("input", "output")
    for metric in kinds:
        own = [e for s in sides if (e := _effect(s, f"{metric}_tokens")) is not None]
        of_length[metric] = max(own) if len(own) == 2 and degrees >= 1 else None
        effects += own
    known = [e for e in effects if e is not None]
    effect = max(known) if known and degrees >= 1 else None
    mix, test = _task_mix(tasks, base, current, moves, alpha)
    shares = _Shares(n, effect, degrees, alpha)
    lengths = [_length(f"{m} length", f"{m}_tokens", sides, e, degrees, alpha) for m, e in of_length.items()]
    names, signals = _names(base, current, shares)
    rows = _mixes(tasks, by_group)
    every = (mix, *lengths, *_sure(sides, shares), _unclassified(tasks, by_group, shares), *signals)
    told = [_told(kind, sides, e, degrees) for kind, e in of_length.items()]
    return Compared(every, rows, test, tuple(t for t in told if t is not None), names, effect)


def judged(size: float | None, chance: float | None, limits: Limits) -> Verdict:
    """A signal is raised where it reaches a limit, and is more than chance explains."""
    if size is None or chance is None:
        return "unknown"
    if size <= chance or size < limits.watch:
        # where chance alone goes beyond the last limit, a drift could not have been seen
        return "fine" if chance <= (limits.retrain or limits.watch) else "unknown"
    return "retrain" if limits.retrain is not None and size >= limits.retrain else "watch"


def signal(
    name: str,
    size: float | None,
    chance: float | None,
    half: float | None,
    *,
    base: float | None = None,
    current: float | None = None,
    why: str = "",
) -> Signal:
    """half: of the 95 % interval of size."""
    limits = LIMITS[name]
    verdict = judged(size, chance, limits)
    low = None if size is None or half is None else size - half
    high = None if size is None or half is None else size + half
    if verdict == "unknown" and chance is not None:
        why = _NOISY
    return Signal(name, base, current, size, low, high, chance, limits, verdict, why if verdict == "unknown" else "")


def clipped(found: Signal, least: float, most: float = math.inf) -> Signal:
    """A signal whose interval keeps to values that there can be."""
    low = None if found.low is None else max(found.low, least)
    return replace(found, low=low, high=None if found.high is None else min(found.high, most))


_NOISY: Final = "chance alone moves it beyond the limit: compare more units (users, sessions) or days"
_FEW: Final = "the units (users, sessions) or days are too few to tell chance from change"


# --- task mix ---------------------------------------------------------------------------------------------------------


def _matrix(frame: pl.DataFrame, rows: str, tasks: list[str | None], order: Any) -> Array:
    """Requests by group or day, and task."""
    order = {value: i for i, value in enumerate(order)}
    place = {task: i for i, task in enumerate(tasks)}
    found = np.zeros((len(order), len(tasks)))
    for row, task, n in frame.select(rows, "task", "requests").iter_rows():
        found[order[row], place[task]] += n
    return found


def _task_mix(
    tasks: list[str | None], base: Side, current: Side, moves: list[Moved], alpha: float
) -> tuple[Signal, MixTest]:
    sides = [_matrix(s.groups, "group", tasks, range(64)).sum(axis=0) for s in (base, current)]
    size = distance.stability_index(*sides)
    w = distance.effect_size(*sides)
    moved = moves[0]
    chances = [c for c in map(chance_of, moves) if c is not None]
    if len(tasks) < 2:
        return signal("task mix", None, None, None, why="there is only one task"), MixTest(None, None, w, None)
    if moved.covariance is None or not chances:
        return signal("task mix", size, None, None, why=_FEW), MixTest(None, None, w, None)
    used = moved.mean > 0
    seen = float((moved.difference[used] ** 2 / moved.mean[used]).sum())
    p, f = max((c.p_value(seen), -seen / c.scale) for c in chances)
    effect = max(design_effect(m, base.span.requests, current.span.requests) or 1.0 for m in moves)
    # the index is a squared distance, so that its root obeys the triangle inequality
    half = math.sqrt(max(c.upper(1 - _SEEN_ON / 100) for c in chances))
    limits = LIMITS["task mix"]
    chance = max(c.upper(alpha / _TESTS) for c in chances)
    root = math.sqrt(size)
    verdict = judged(size, chance, limits)
    found = Signal(
        "task mix", None, None, size, max(root - half, 0.0) ** 2, (root + half) ** 2, chance, limits, verdict,
        _NOISY if verdict == "unknown" else "",
    )  # fmt: skip
    return found, MixTest(-f, p, w, effect)


# Signals of counts: each is tested at alpha over so many.
_TESTS: Final = len(LIMITS)


def _mixes(tasks: list[str | None], moved: Moved) -> tuple[Mix, ...]:
    rows = []
    for i, task in enumerate(tasks):
        half = None
        if moved.covariance is not None:
            half = t_upper(0.025, moved.degrees) * math.sqrt(max(float(moved.covariance[i, i]), 0.0))
        d = float(moved.difference[i])
        low, high = (None, None) if half is None else (d - half, d + half)
        rows.append(Mix(task, float(moved.base[i]), float(moved.current[i]), low, high))
    return tuple(rows)


# --- lengths ----------------------------------------------------------------------------------------------------------


def _effect(side: Side, metric: str) -> float | None:
    """How many requests count as one, from how much groups and days differ in their mean length."""
    counts = side.histograms.get(metric, {})
    buckets = np.array([b for b in counts if b > -32_768], dtype=np.float64)
    n = np.array([counts[int(b)] for b in buckets], dtype=np.float64)
    if not n.sum():
        return None
    values = np.exp((buckets + 0.5) * distance.STEP)
    mean = float((values * n).sum() / n.sum())
    # within a bucket values differ by up to 2 %: lengths that are all alike must not look certain
    variance = max(float(((values - mean) ** 2 * n).sum() / n.sum()), (0.02 * mean) ** 2)
    found = []
    for by, frame in (("group", side.groups), ("day", side.days)):
        sums = frame.drop_nulls(by).group_by(by).agg(pl.col("requests", metric).sum())
        if by == "group" or sums.height >= LEAST_DAYS:
            found.append(mean_design_effect(sums[metric], sums["requests"], variance))
    return max((f for f in found if f is not None), default=None)


def _length(
    name: str, metric: str, sides: tuple[Side, Side], effect: float | None, degrees: int, alpha: float
) -> Signal:
    base, current = distance.aligned(*(s.histograms.get(metric, {}) for s in sides))
    n = float(base.sum()), float(current.sum())
    if not all(n):
        return signal(name, None, None, None, why="a side has no token counts")
    size = distance.transport_distance(base, current)
    if effect is None:
        return signal(name, size, None, None, why=_FEW)
    error = distance.transport_spread(base, current) * math.sqrt(effect * (1 / n[0] + 1 / n[1]))
    return clipped(signal(name, size, t_upper(alpha / _TESTS, degrees) * error, t_upper(0.025, degrees) * error), 0.0)


def _told(
    kind: Literal["input", "output"], sides: tuple[Side, Side], effect: float | None, degrees: int
) -> Lengths | None:
    counts = [s.histograms.get(f"{kind}_tokens", {}) for s in sides]
    if not all(counts):
        return None
    base, current = distance.aligned(*counts)
    seen = distance.distribution_distance(base, current)
    medians = [_median(c) for c in counts]
    if effect is None:
        return Lengths(kind, medians[0], medians[1], seen, None, None)
    half = kolmogorov_upper(0.05, float(base.sum()), float(current.sum()), effect, degrees)
    return Lengths(kind, medians[0], medians[1], seen, max(seen - half, 0.0), min(seen + half, 1.0))


def _median(counts: Mapping[int, int]) -> float | None:
    middles = [math.exp((b + 0.5) * distance.STEP) if b > -32_768 else 0.0 for b in counts]
    return percentile(np.array(middles), np.array(list(counts.values()), dtype=np.float64), 0.5)


# --- shares -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Shares:
    """What the error of a share depends on."""

    requests: tuple[int, int]
    effect: float | None
    degrees: int
    alpha: float

    def signal(
        self,
        name: str,
        base: float,
        current: float,
        n: tuple[float, float] | None = None,
        variance: float | None = None,
    ) -> Signal:
        """How much a share rose, of n requests a side. variance: of a mean that fell, then, not a share that rose."""
        moved = current - base if variance is None else base - current
        if self.effect is None:
            return signal(name, moved, None, None, base=base, current=current, why=_FEW)
        n = n or (float(self.requests[0]), float(self.requests[1]))
        share = (base * n[0] + current * n[1]) / sum(n)
        error = share_error(share, *n, self.effect)
        if variance is not None:
            error = math.sqrt(variance * self.effect * (1 / n[0] + 1 / n[1]))
        t = t_upper(self.alpha / _TESTS, self.degrees), t_upper(0.025, self.degrees)
        return clipped(signal(name, moved, t[0] * error, t[1] * error, base=base, current=current), -1.0, 1.0)


def _sure(sides: tuple[Side, Side], shares: _Shares) -> tuple[Signal, Signal]:
    """Mean confidence, which is the accuracy to expect of a calibrated classifier, and the share that is not sure."""
    found = [s.histograms.get("confidence", {}) for s in sides]
    n = tuple(float(sum(c.values())) for c in found)
    names = "estimated accuracy", "confidence under 0.6"
    if not all(n):
        why = "a side has no confidence: its tasks do not come from the classifier (--tasks-from classifier)"
        return signal(names[0], None, None, None, why=why), signal(names[1], None, None, None, why=why)
    mean, variance = zip(*(_moments(c) for c in found), strict=True)
    unsure = [sum(k for b, k in c.items() if b < math.floor(_UNSURE)) / m for c, m in zip(found, n, strict=True)]
    pair = (n[0], n[1])
    accuracy = shares.signal(names[0], mean[0], mean[1], pair, max(variance))
    return accuracy, shares.signal(names[1], unsure[0], unsure[1], pair)


def _moments(counts: Mapping[int, int]) -> tuple[float, float]:
    """Mean and variance of a histogram of values up to 1."""
    buckets = np.array(list(counts), dtype=np.float64)
    n = np.array(list(counts.values()), dtype=np.float64)
    values = np.minimum(np.exp((buckets + 0.5) * distance.STEP), 1.0)
    mean = float((values * n).sum() / n.sum())
    return mean, float(((values - mean) ** 2 * n).sum() / n.sum())


def _unclassified(tasks: list[str | None], moved: Moved, shares: _Shares) -> Signal:
    base, current = (float(side[tasks.index(None)]) if None in tasks else 0.0 for side in (moved.base, moved.current))
    return shares.signal("unclassified", base, current)


def _names(base: Side, current: Side, shares: _Shares) -> tuple[tuple[Name, ...], tuple[Signal, ...]]:
    """Features and models that only one side has."""
    rows: list[Name] = []
    signals = []
    scopes: tuple[tuple[Literal["feature", "model"], str], ...] = (("feature", "features"), ("model", "models"))
    for scope, plural in scopes:
        sides = [dict(s.names.get(scope, {})) for s in (base, current)]
        cases: tuple[tuple[Literal["new", "gone"], int], ...] = (("new", 1), ("gone", 0))
        for what, side in cases:
            name = f"{what} {plural}"
            if not any(sides):
                signals.append(signal(name, None, None, None, why=f"no request names its {scope}"))
                continue
            only = {k: n for k, n in sides[side].items() if k not in sides[1 - side]}
            total = shares.requests[side]
            share = sum(only.values()) / total if total else 0.0
            found = shares.signal(name, 0.0, share)
            signals.append(clipped(replace(found, base=None, current=None), 0.0, 1.0))
            for one, n in sorted(only.items(), key=lambda item: (-item[1], item[0])):
                rows.append(_name(scope, what, one, n, total, shares))
    return tuple(rows), tuple(signals)


def _name(
    scope: Literal["feature", "model"], what: Literal["new", "gone"], name: str, n: int, total: int, shares: _Shares
) -> Name:
    if shares.effect is None:
        return Name(scope, what, name, n, n / total, None, None)
    low, high = score_bounds([Grades(max(round(total / shares.effect), 1), n / total)], 0.025)[:, 0].tolist()
    return Name(scope, what, name, n, n / total, low, high)
