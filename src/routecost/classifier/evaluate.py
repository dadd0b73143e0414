"""How good a classifier is, from labelled requests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from routecost.confusion import Confusion

__all__ = ["ADJACENT", "Measured", "Share", "accepted", "calibration", "measure", "reweighted", "share"]

# Pairs of tasks that are taken for one another most, and cost least when they are.
ADJACENT: Final = (("simple", "code"), ("reasoning", "complex"))
BINS: Final = 10
_Z: Final = 1.959963984540054


@dataclass(frozen=True)
class Share:
    """A share of requests with its 95 % interval (Wilson's, at the effective number of requests). value: None of no
    request. n: how many were looked at."""

    value: float | None
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Measured:
    """What a classifier got right. All shares are weighted by `weight`, where the labels have one.

    first: given the label; accepted: given the label or the second one. recall, recall_accepted, precision: by task
    (precision counts an accepted second label as right). mix: share of each task by label, given: by classifier.
    adjacent: share of requests given the neighbour of their label, which was not accepted. calibration_error: expected,
    over ten equal bins of confidence. undecided: requests that were given no task; they are wrong.
    """

    n: int
    first: Share
    accepted: Share
    recall: Mapping[str, Share]
    recall_accepted: Mapping[str, Share]
    precision: Mapping[str, Share]
    mix: Mapping[str, Share]
    given: Mapping[str, float]
    macro_recall: float
    macro_recall_accepted: float
    adjacent: Mapping[tuple[str, str], float]
    calibration_error: float | None
    undecided: int
    confusion: Confusion


def measure(labelled: pl.DataFrame, *, classes: Sequence[str], source: str = "labels") -> Measured:
    """`labelled`: task (the label), given (null: undecided), and maybe alt, weight, stratum, confidence."""
    frame = _columns(labelled)
    hits = frame.with_columns(first=pl.col("given").eq_missing(pl.col("task")), accepted=accepted())
    present = [c for c in classes if (hits["task"] == c).any()]
    by_label = {c: hits.filter(pl.col("task") == c) for c in present}
    recall = {c: share(rows, "first") for c, rows in by_label.items()}
    recall_accepted = {c: share(rows, "accepted") for c, rows in by_label.items()}
    whole = float(hits["weight"].sum())
    missed = hits.filter(~pl.col("accepted"))
    adjacent = {
        pair: float(missed.filter(pl.all_horizontal(pl.col("task", "given").is_in(pair)))["weight"].sum()) / whole
        for pair in ADJACENT
        if set(pair) <= set(classes)
    }
    shown = hits.filter(pl.col("given").is_not_null())
    settled = shown.with_columns(task=pl.when("accepted").then("given").otherwise("task"))
    return Measured(
        n=hits.height,
        first=share(hits, "first"),
        accepted=share(hits, "accepted"),
        recall=recall,
        recall_accepted=recall_accepted,
        precision={c: share(hits.filter(pl.col("given") == c), "accepted") for c in classes},
        mix={c: share(hits.with_columns(is_=pl.col("task") == c), "is_") for c in classes},
        given={c: float(hits.filter(pl.col("given") == c)["weight"].sum()) / whole for c in classes},
        macro_recall=sum(s.value or 0.0 for s in recall.values()) / max(len(recall), 1),
        macro_recall_accepted=sum(s.value or 0.0 for s in recall_accepted.values()) / max(len(recall), 1),
        adjacent=adjacent,
        calibration_error=calibration(hits)[0] if hits["confidence"].null_count() < hits.height else None,
        undecided=hits["given"].null_count(),
        confusion=Confusion.of(
            classes, settled.select("task", "given").rows(), _scaled(settled).to_list(), source=source
        ),
    )


def accepted() -> pl.Expr:
    """Whether `given` is the label `task` or the second one, `alt`."""
    return pl.col("given").eq_missing(pl.col("task")) | (pl.col("given") == pl.col("alt")).fill_null(False)


def reweighted(labelled: pl.DataFrame, mix: Mapping[str, float]) -> pl.DataFrame:
    """`weight` changed so that labels occur in this mix; labels outside of it are left out."""
    frame = _columns(labelled).filter(pl.col("task").is_in(list(mix)))
    now = pl.col("weight").sum().over("task")
    target = pl.col("task").replace_strict(dict(mix), return_dtype=pl.Float64)
    return frame.with_columns(weight=pl.col("weight") / now * target * frame.height).with_columns(
        stratum=pl.lit(None, pl.String)
    )


def calibration(hits: pl.DataFrame) -> tuple[float, pl.DataFrame]:
    """Expected calibration error over ten equal-width bins of confidence, and the bins: low, n, weight, claimed, right.
    `hits`: confidence, accepted, weight."""
    width = 1 / BINS
    bins = (
        hits.filter(pl.col("confidence").is_not_null())
        .with_columns(low=(pl.col("confidence") / width).floor().clip(0, BINS - 1) * width)
        .group_by("low")
        .agg(
            n=pl.len(),
            claimed=(pl.col("confidence") * pl.col("weight")).sum() / pl.col("weight").sum(),
            right=(pl.col("accepted").cast(pl.Float64) * pl.col("weight")).sum() / pl.col("weight").sum(),
            weight=pl.col("weight").sum(),
        )
        .sort("low")
    )
    whole = float(bins["weight"].sum())
    error = float(((bins["claimed"] - bins["right"]).abs() * bins["weight"]).sum()) / whole if whole else 0.0
    return error, bins


def share(rows: pl.DataFrame, column: str) -> Share:
    """The weighted share of rows where a Boolean column holds. Sampling within strata narrows its interval."""
    n = rows.height
    if not n:
        return Share(None, 0.0, 1.0, 0)
    weight, right = rows["weight"], rows[column].cast(pl.Float64)
    whole = float(weight.sum())
    p = float((weight * right).sum()) / whole
    effective = whole**2 / float((weight**2).sum())
    if "stratum" in rows.columns and rows["stratum"].null_count() == 0:
        off = rows.with_columns(off=pl.Series(weight * (right - p)))
        spread = off.group_by("stratum").agg(n=pl.len(), v=pl.col("off").var())
        if 0 < p < 1 and spread["v"].null_count() == 0:
            variance = float((spread["n"] * spread["v"]).sum()) / whole**2
            effective = p * (1 - p) / variance if variance > 0 else effective
    low, high = interval(p * effective, effective)
    return Share(p, low, high, n)


def interval(right: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; (0, 1) when n is 0. Both may be fractions."""
    if not n:
        return 0.0, 1.0
    p, z = right / n, _Z
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _columns(labelled: pl.DataFrame) -> pl.DataFrame:
    given = {
        "given": pl.String(),
        "alt": pl.String(),
        "weight": pl.Float64(),
        "stratum": pl.String(),
        "confidence": pl.Float64(),
    }
    frame = labelled.with_columns(pl.lit(None, t).alias(c) for c, t in given.items() if c not in labelled.columns)
    return frame.with_columns(pl.col("weight").fill_null(1.0))


def _scaled(rows: pl.DataFrame) -> pl.Series:
    """Weights such that those of a task sum to its effective number of requests."""
    weight = pl.col("weight")
    return rows.select(weight * (weight.sum() / (weight**2).sum()).over("task")).to_series()
