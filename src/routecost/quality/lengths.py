"""How long each model's answers are, from requests that several models answered."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

_ROUNDS: Final = 200
_CLOSE: Final = 1e-9


def output_ratios(answers: pl.DataFrame) -> pl.DataFrame:
    """Answers (task, item, model, n, tokens: the output tokens of n answers together) -> task, model, output_ratio, n.

    An item is what several models answered: a prompt, or a template. Tokens are taken as length of the item times ratio
    of the model, and both fitted so that each model's total is met: ratios of totals are what a bill asks for. The
    model with most such answers at a task has 1.0. A model that shares no item with it, not even by way of others, has
    no ratio.
    """
    known = answers.filter(pl.col("tokens").is_not_null() & (pl.col("n") > 0))
    shared = known.filter(pl.col("model").n_unique().over("task", "item") > 1)
    rows: list[tuple[str, str, float, int]] = []
    for (task,), part in shared.group_by("task", maintain_order=True):
        sums = part.group_by("item", "model").agg(pl.col("n", "tokens").sum())
        for model, ratio, n in _fitted(sums):
            rows.append((str(task), model, ratio, n))
    types = {"task": pl.String(), "model": pl.String(), "output_ratio": pl.Float64(), "n": pl.Int64()}
    return pl.DataFrame(rows, schema=types, orient="row").sort("task", "model")


def _fitted(sums: pl.DataFrame) -> list[tuple[str, float, int]]:
    by_model = sums.group_by("model").agg(pl.col("n").sum()).sort("n", "model", descending=[True, False])
    models = by_model["model"].to_list()
    position = {model: i for i, model in enumerate(models)}
    column = sums["model"].replace_strict(position, return_dtype=pl.Int64).to_numpy()
    row = sums["item"].rank("dense").cast(pl.Int64).to_numpy() - 1
    n = sums["n"].to_numpy().astype(np.float64)
    tokens = sums["tokens"].to_numpy().astype(np.float64)
    items = int(row.max()) + 1
    together = _connected(row, column, items, len(models))
    used = together[column]
    row, column, n, tokens = row[used], column[used], n[used], tokens[used]
    totals = np.bincount(column, tokens, len(models))
    lengths = np.bincount(row, tokens, items)
    ratios = np.ones(len(models))
    for _ in range(_ROUNDS):
        weighed = np.bincount(row, n * ratios[column], items)
        item_length = np.divide(lengths, weighed, out=np.zeros(items), where=weighed > 0)
        expected = np.bincount(column, n * item_length[row], len(models))
        fresh = np.divide(totals, expected, out=np.ones(len(models)), where=expected > 0)
        done = bool(np.max(np.abs(fresh - ratios)) < _CLOSE)
        ratios = fresh
        if done:
            break
    if ratios[0] <= 0:
        return []
    ratios = ratios / ratios[0]
    return [
        (model, float(ratios[i]), int(by_model["n"][i]))
        for i, model in enumerate(models)
        if together[i] and totals[i] > 0
    ]


def _connected(
    row: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    column: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    items: int,
    models: int,
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Which models share items with the first, or with one that does."""
    reached = np.zeros(models, bool)
    reached[0] = True
    while True:
        touched = np.zeros(items, bool)
        touched[row[reached[column]]] = True
        fresh = reached.copy()
        fresh[column[touched[row]]] = True
        if (fresh == reached).all():
            return reached
        reached = fresh
