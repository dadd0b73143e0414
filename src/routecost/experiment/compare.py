"""Two arms compared metric by metric, from a table of requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from routecost.experiment.arms import CONTROL, TREATMENT
from routecost.experiment.metrics import Metric
from routecost.experiment.result import Balance, Bounds, Compared, Mismatch
from routecost.stats.change import t_upper
from routecost.stats.grades import Grades, difference_bounds
from routecost.stats.sequence import (
    Effect,
    Moments,
    always_bounds,
    difference,
    fixed_bounds,
    log_ratio,
    moments,
    progress_to,
)

FIXED: Final = 0.05
# Balance is looked at for many things, and a chance find must not send anybody looking for a fault.
_OFF: Final = 0.001
# The logarithm of a ratio that says nothing any more.
_MOST: Final = 50.0
SIDES: Final = (CONTROL, TREATMENT)


def by_unit(rows: pl.DataFrame, metrics: Sequence[Metric]) -> pl.DataFrame:
    """Sums (`NAME`) and numbers of known values (`NAME_n`) of every metric but quantiles, by arm, task and unit."""
    columns = dict.fromkeys(m.column for m in metrics if m.kind != "quantile" and m.column in rows.columns)
    return rows.group_by("arm", "task", "unit", maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("requests"),
        *(pl.col(c).cast(pl.Float64).sum().alias(c) for c in columns),
        *(pl.col(c).count().cast(pl.Int64).alias(f"{c}_n") for c in columns),
    )


def together(units: pl.DataFrame) -> pl.DataFrame:
    """The units of all tasks: a unit's requests vary together whatever their task."""
    return units.group_by("arm", "unit", maintain_order=True).agg(pl.exclude("arm", "unit", "task").sum())


def of_arms(units: pl.DataFrame, column: str) -> tuple[Moments, Moments]:
    """The moments of one measure in the control and the treatment; units: one row a unit and arm, of one task
    (`by_unit`) or of all (`together`)."""
    found = []
    for side in SIDES:
        mine = units.filter(pl.col("arm") == side)
        if column not in mine.columns:
            found.append(Moments())
            continue
        found.append(moments(mine[column].to_numpy(), mine[f"{column}_n"].to_numpy()))
    return found[0], found[1]


def compared(
    metric: Metric,
    units: pl.DataFrame,
    rows: pl.DataFrame,
    *,
    alpha: float,
    margin: float | None = None,
    planned: float | None = None,
) -> Compared:
    """One metric of some traffic. units, rows: of that traffic only. planned: requests an arm at which the always-valid
    interval is tightest; None: where its half width is the margin, or the metric's scale."""
    if metric.kind == "quantile":
        return _quantile(metric, rows, alpha, margin, planned)
    control, treatment = of_arms(units, metric.column)
    n = int(control.n), int(treatment.n)
    bare = Compared(metric, control.mean, treatment.mean, n, None, None, None, FIXED, alpha, margin)
    if not all(n):
        return replace(bare, reason=f"no request with {metric.name} in the {SIDES[n.index(0)]}")
    if metric.is_relative:
        effect = log_ratio(control, treatment)
    else:
        effect = difference(control, treatment, rate=metric.kind == "rate")
    if effect is None:
        few = min(control.units, treatment.units) < 2
        return replace(bare, reason="fewer than two units in an arm" if few else "it is not above 0 in both arms")
    single = control.units == control.n and treatment.units == treatment.n
    fixed = _score(control, treatment) if metric.kind == "rate" and single else fixed_bounds(effect, FIXED)
    return _filled(bare, effect, fixed, planned)


def _filled(bare: Compared, effect: Effect, fixed: Bounds, planned: float | None) -> Compared:
    always = always_bounds(effect, progress(bare, effect, planned), bare.alpha)
    if bare.metric.is_relative:
        return replace(bare, effect=math.expm1(effect.estimate), fixed=_grown(fixed), always=_grown(always))
    if bare.metric.kind == "rate":
        fixed, always = ((max(low, -1.0), min(high, 1.0)) for low, high in (fixed, always))
    return replace(bare, effect=effect.estimate, fixed=fixed, always=always)


def progress(bare: Compared, effect: Effect, planned: float | None) -> float:
    """How far along its plan a comparison is: by requests, or else by information."""
    if planned is not None:
        return 2 / (1 / bare.n[0] + 1 / bare.n[1]) / planned
    width = bare.margin or bare.metric.scale
    return progress_to(math.log1p(width) if bare.metric.is_relative else width, effect, bare.alpha)


def _grown(bounds: Bounds) -> Bounds:
    low, high = bounds
    return math.expm1(low), math.expm1(high) if high < _MOST else math.inf


def _score(control: Moments, treatment: Moments) -> Bounds:
    """Miettinen and Nurminen's interval of a difference of rates whose requests are independent."""
    old, new = (Grades(int(arm.n), arm.total / arm.n) for arm in (control, treatment))
    low = float(difference_bounds([new], [old], FIXED / 2)[0])
    high = -float(difference_bounds([old], [new], FIXED / 2)[0])
    return low, high


# --- quantiles --------------------------------------------------------------------------------------------------------


def _quantile(
    metric: Metric, rows: pl.DataFrame, alpha: float, margin: float | None, planned: float | None
) -> Compared:
    """Each arm's quantile with Woodruff's interval (JASA 1952): the share of requests below it is a mean of clustered
    requests, and its bounds are read off the distribution. The ratio of the two by their errors on the log scale."""
    assert metric.share is not None
    values, errors, frees, n = [], [], [], []
    for side in SIDES:
        mine = rows.filter((pl.col("arm") == side) & (pl.col(metric.column) > 0)).sort(metric.column)
        n.append(mine.height)
        found = _with_error(mine[metric.column].to_numpy(), mine["unit"].to_numpy(), metric.share)
        values.append(found[0])
        errors.append(found[1])
        frees.append(found[2])
    bare = Compared(metric, values[0], values[1], (n[0], n[1]), None, None, None, FIXED, alpha, margin)
    if not all(n):
        return replace(bare, reason=f"no request with a latency in the {SIDES[n.index(0)]}")
    known = [e for e in errors if e is not None]
    if len(known) < 2 or values[0] is None or values[1] is None:
        return replace(bare, reason=f"too few requests for the {metric.share:.0%} point")
    effect = Effect(math.log(values[1] / values[0]), math.hypot(*known), float(min(frees)))
    return _filled(bare, effect, fixed_bounds(effect, FIXED), planned)


def _with_error(
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
    unit: np.ndarray[tuple[int], np.dtype[np.uint64]],
    share: float,
) -> tuple[float | None, float | None, int]:
    """A quantile of sorted values, the standard error of its logarithm, and its degrees of freedom."""
    total = len(values)
    if not total:
        return None, None, 0
    at = float(values[min(math.ceil(share * total), total) - 1])
    _, of_row = np.unique(unit, return_inverse=True)
    sizes = np.bincount(of_row)
    below = moments(np.bincount(of_row, values <= at), sizes)
    if below.variance is None:
        return at, None, len(sizes) - 1
    least = share * (1 - share) / total
    t = t_upper(FIXED / 2, below.units - 1)
    half = t * math.sqrt(max(below.variance, least))
    low, high = share - half, share + half
    # where the bounds leave the data nothing bounds the quantile
    if low * total < 1 or high >= 1:
        return at, None, below.units - 1
    bounds = values[math.ceil(low * total) - 1], values[min(math.ceil(high * total), total) - 1]
    return at, float(np.log(bounds[1]) - np.log(bounds[0])) / (2 * t), below.units - 1


# --- are the arms what they should be ---------------------------------------------------------------------------------


def mismatch(control: int, treatment: int, expected: float) -> Mismatch:
    """The chi-square test of the number of units in each arm (sample-ratio mismatch; Fabijan et al., KDD 2019)."""
    whole = control + treatment
    square = (control - whole * expected) ** 2 / (whole * expected * (1 - expected))
    return Mismatch(expected, control / whole, square, math.erfc(math.sqrt(square / 2)))


def balance(rows: pl.DataFrame, tasks: Sequence[str | None]) -> tuple[Balance, ...]:
    """Task mix and input size in both arms, most different first. rows also has `input`."""
    shares = {f"share of {task or '(none)'}": pl.col("task").eq_missing(pl.lit(task, pl.String)) for task in tasks}
    if len(shares) < 2:
        shares = {}
    size = "log input tokens"
    measures: dict[str, pl.Expr] = {**shares, size: (pl.col("input") + 1).log()}
    frame = rows.group_by("arm", "unit", maintain_order=True).agg(
        *(e.cast(pl.Float64).sum().alias(name) for name, e in measures.items()),
        *(e.count().alias(f"{name}_n") for name, e in measures.items()),
    )
    found = []
    for name in measures:
        control, treatment = of_arms(frame, name)
        effect = difference(control, treatment, rate=name != size)
        if effect is None or control.mean is None or treatment.mean is None:
            continue
        z = abs(effect.estimate) / effect.standard_error if effect.standard_error > 0 else 0.0
        p = math.erfc(z / math.sqrt(2))
        found.append(Balance(name, control.mean, treatment.mean, effect.estimate, p, p < _OFF / len(measures)))
    return tuple(sorted(found, key=lambda b: b.p))
