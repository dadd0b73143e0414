"""What a routing table is worth beside running everything on one model, and beside chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from routecost.recommend.evidence import Shrunk
from routecost.stats import Array, Interval

DRAWS: Final = 2000
_SEED: Final = 11
# An expected quality is told where this much of it is known.
ENOUGH: Final = 0.8


@dataclass(frozen=True)
class Scores:
    """Scores of models at tasks: mean, and standard errors of each alone and in common with the model's other tasks;
    all (tasks, models), NaN where a model was not graded."""

    tasks: tuple[str, ...]
    models: tuple[str, ...]
    mean: Array
    error: Array
    shared: Array

    def draws(self) -> Array:
        """(DRAWS, tasks, models) scores that the grades allow; the same ones every time."""
        rng = np.random.default_rng(_SEED)
        alone = self.error * rng.standard_normal((DRAWS, *self.mean.shape))
        drawn = self.mean + alone + self.shared * rng.standard_normal((DRAWS, 1, self.mean.shape[1]))
        return np.clip(drawn, 0.0, 1.0)


def scores_of(shrunk: Mapping[tuple[str, str], Shrunk], tasks: Sequence[str], models: Sequence[str]) -> Scores:
    """The scores as arrays."""
    unknown = Shrunk(*[float("nan")] * 3)
    found = [[shrunk.get((t, m), unknown) for m in models] for t in tasks]
    shape = (len(tasks), len(models))
    mean, error, shared = (
        np.array([[getattr(s, part) for s in row] for row in found]).reshape(shape)
        for part in ("score", "error", "shared")
    )
    return Scores(tuple(tasks), tuple(models), mean, error, shared)


def by_given(scores: Array, truly: Array) -> tuple[Array, Array]:
    """Expected quality of each model at each task *as given*: scores (..., tasks, models) averaged over the true tasks
    behind it, truly (given, true). Where a model lacks a grade for some of the true tasks the rest speaks for it, and
    the second array says how much that is (given, models); NaN where it is less than ENOUGH."""
    known = np.isfinite(scores)
    weight = truly @ known.astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (truly @ np.where(known, scores, 0.0)) / weight
    return np.where(weight >= ENOUGH, mean, np.nan), weight


def of_picks(quality: Array, picks: Array, weights: Array) -> Array:
    """Mean quality (...) of traffic: quality (..., tasks, models), picks (tasks, models) the share of each task that
    each model serves, weights (tasks) that sum to 1. NaN where a model that serves some has no score."""
    shares = (picks * weights[:, None]).ravel()
    used = np.flatnonzero(shares)
    whole: Array = quality.reshape(*quality.shape[:-2], -1)[..., used] @ shares[used]
    return whole


def mixture(costs: Array, quality: Array, cost: float) -> Array:
    """Shares (references) of the random split between two references that has the best quality at no more than `cost`;
    costs and quality (references). Below the cheapest of them that one, though it costs more."""
    best, shares = -np.inf, np.zeros(len(costs))
    inside = costs <= max(cost, costs.min())
    for i in np.flatnonzero(inside):
        if quality[i] > best:
            best, shares = quality[i], np.eye(len(costs))[i]
        for j in np.flatnonzero(~inside):
            share = (cost - costs[i]) / (costs[j] - costs[i])
            if share > 0 and (1 - share) * quality[i] + share * quality[j] > best:
                best = (1 - share) * quality[i] + share * quality[j]
                shares = np.eye(len(costs))[i] * (1 - share) + np.eye(len(costs))[j] * share
    return shares


def interval(point: float, drawn: Array) -> Interval:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(point), float(low), float(high))
