"""Answers graded one by one, as a quality table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from routecost.quality.lengths import output_ratios
from routecost.quality.table import COLUMNS

# One row an answer. score: null where it was not graded; failed: the call gave no answer (null where
# the report does not tell).
GRADED: Final[dict[str, pl.DataType]] = {
    "task": pl.String(),
    "model": pl.String(),
    "id": pl.String(),
    "source": pl.String(),
    "date": pl.String(),
    "score": pl.Float64(),
    "weight": pl.Float64(),
    "latency_ms": pl.Float64(),
    "cost_usd": pl.Float64(),
    "output_tokens": pl.Float64(),
    "failed": pl.Boolean(),
}
Array = npt.NDArray[np.float64]
# A 99th percentile of fewer answers than this is their maximum.
_FOR_P99: Final = 100


def table_of(answers: pl.DataFrame) -> pl.DataFrame:
    """Graded answers (GRADED) -> a quality table: a row a (task, model, source), and one for each two models that were
    graded on the same ids of one source.

    Several answers of a model to one id are one: their mean. With weights (how many requests an id stands for) means
    are weighted, and n is the number of equally weighted answers that would tell as much (Kish: the squared sum of the
    weights by the sum of their squares), rounded down.
    """
    once = (
        answers.filter(pl.col("score").is_not_null())
        .group_by("task", "source", "model", "id", maintain_order=True)
        .agg(pl.col("score").mean(), pl.col("weight").first(), pl.col("date").max())
    )
    rows = [*_grades(answers, once), *_pairs(once)]
    return pl.DataFrame(rows, schema=COLUMNS).sort("task", "source", pl.col("versus").is_not_null(), "model", "versus")


def _grades(answers: pl.DataFrame, once: pl.DataFrame) -> Iterator[dict[str, Any]]:
    ratios = _ratios(answers)
    scored = once.partition_by("task", "source", "model", as_dict=True)
    for key, part in answers.group_by("task", "source", "model", maintain_order=True):
        task, source, model = key
        row: dict[str, Any] = dict.fromkeys(COLUMNS)
        row |= {"task": task, "source": source, "model": model, "date": part["date"].max()}
        if (mine := scored.get(key)) is not None:
            weights = mine["weight"].to_numpy()
            row |= _moments(mine["score"].to_numpy(), weights)
            if bool(np.all(weights == weights[0])) and set(mine["score"]) <= {0.0, 1.0}:
                row["successes"] = int(mine["score"].sum())
        timed = part.filter(pl.col("latency_ms").is_not_null())
        if timed.height:
            values, weights = timed["latency_ms"].to_numpy(), timed["weight"].to_numpy()
            row["latency_p50_ms"] = _quantile(values, weights, 0.5)
            row["latency_p95_ms"] = _quantile(values, weights, 0.95)
            row["latency_p99_ms"] = _quantile(values, weights, 0.99) if timed.height >= _FOR_P99 else None
        paid = part.filter(pl.col("cost_usd").is_not_null())
        if paid.height:
            row["cost_usd"] = float(np.average(paid["cost_usd"].to_numpy(), weights=paid["weight"].to_numpy()))
        called = part.filter(pl.col("failed").is_not_null())
        if called.height:
            row["error_rate"] = float(np.average(called["failed"].to_numpy(), weights=called["weight"].to_numpy()))
        row["output_ratio"] = ratios.get((str(task), str(source), str(model)))
        yield row


def _pairs(once: pl.DataFrame) -> Iterator[dict[str, Any]]:
    for (task, source), part in once.group_by("task", "source", maintain_order=True):
        narrow = part.select("model", "id", "score", "weight", "date")
        both = narrow.join(narrow, on="id", suffix="_other").filter(pl.col("model") < pl.col("model_other"))
        for (model, other), pair in both.sort("model", "model_other").group_by(
            "model", "model_other", maintain_order=True
        ):
            row: dict[str, Any] = dict.fromkeys(COLUMNS)
            row |= {"task": task, "source": source, "model": model, "versus": other}
            row |= {"date": pair.select(pl.max_horizontal("date", "date_other").max()).item()}
            row |= _moments((pair["score"] - pair["score_other"]).to_numpy(), pair["weight"].to_numpy())
            yield row


def _moments(values: Array, weights: Array) -> dict[str, Any]:
    """n, score and squares of weighted values."""
    n = effective(weights)
    return {
        "n": n,
        "score": float(np.average(values, weights=weights)),
        "squares": float(n * np.average(values**2, weights=weights)),
    }


def effective(weights: Array) -> int:
    """How many equally weighted values tell as much as these."""
    # a whole number may come out a hair below itself
    return max(int(weights.sum() ** 2 / (weights**2).sum() + 1e-6), 1)


def _quantile(values: Array, weights: Array, share: float) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][int(np.searchsorted(reached, share * reached[-1] * (1 - 1e-9)))])


def _ratios(answers: pl.DataFrame) -> dict[tuple[str, str, str], float]:
    found: dict[tuple[str, str, str], float] = {}
    for (source,), part in answers.group_by("source", maintain_order=True):
        items = (
            part.filter(pl.col("output_tokens").is_not_null())
            .group_by("task", "model", item="id")
            .agg(
                n=pl.lit(1, pl.Int64),
                tokens=pl.col("output_tokens").mean() * pl.col("weight").first(),
                w=pl.col("weight").first(),
            )
        )
        # an id that stands for many requests counts as many
        for task, model, ratio, _ in output_ratios(items.with_columns(n=pl.col("w")).drop("w")).iter_rows():
            found[task, str(source), model] = ratio
    return found
