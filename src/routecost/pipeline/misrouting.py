"""What a classifier's mistakes do to the task mix and to the bill."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from routecost import savings
from routecost.confusion import Confusion
from routecost.prices import Book
from routecost.routing import Table
from routecost.stats import Interval
from routecost.usage import Usage

Array = npt.NDArray[np.float64]

DRAWS: Final = 400
_ITERATIONS: Final = 400
_SEED: Final = 7
# Half a request more in each cell of the confusion matrix: a mistake that was not seen may still happen.
_PRIOR: Final = 0.5


@dataclass(frozen=True)
class Mistakes:
    """What is assumed of mistakes: the confusion matrix (made when it is needed; None: unknown), the share of
    under-routed requests that are asked again, and the harm of each in USD."""

    confusion: Callable[[], Confusion | None]
    retry_rate: float = 1.0
    harm_usd: float = 0.0


@dataclass(frozen=True)
class Corrected:
    """A task's share of the requests that the classifier decided: as given, and as it is likely to be."""

    task: str
    given: float
    true: Interval


@dataclass(frozen=True)
class Misrouting:
    """What mistakes cost under a table, of the requests that the classifier decided (what logs and rules say is taken
    as right). Sums are over the whole period; intervals come from the number of labels behind the confusion matrix.

    under: requests sent to a cheaper model than the table has for their true task; retry_usd: asking those again on
    today's model, retry_rate times; harm_usd: what the harm of each is put at. over: requests sent to a dearer one;
    over_usd: what that costs more, which the routed cost already contains.
    """

    confusion: Confusion
    classified: int
    requests: int
    mix: tuple[Corrected, ...]
    under: Interval
    over: Interval
    retry_usd: Interval
    harm_usd: Interval
    over_usd: Interval
    retry_rate: float
    harm_usd_each: float

    @property
    def cost_usd(self) -> float:
        """What is to be taken off the saving."""
        return self.retry_usd.estimate + self.harm_usd.estimate


@dataclass(frozen=True)
class Costs:
    """Of the cells of one task as given: sums when they are routed as each task. W[given][true] and so on; tasks in
    the order of `tasks`. under and over count requests, today the money that under-routed ones cost today."""

    tasks: tuple[str, ...]
    under: Array
    under_today: Array
    over: Array
    over_usd: Array


def misrouting(
    priced: pl.DataFrame,
    sent: pl.DataFrame,
    usage: Usage,
    table: Table,
    book: Book,
    mistakes: Mistakes | None,
    *,
    mode: str | None = None,
    failure_rates: Mapping[str, float] | None = None,
    as_of: dt.date | None = None,
) -> Misrouting | None:
    """None where the classifier decided nothing, or nothing is known of its mistakes. priced, sent: the cells of
    `usage` as savings.today and savings.routed give them."""
    decided = classified(usage)
    confusion = mistakes.confusion() if mistakes and decided else None
    if mistakes is None or confusion is None or not any(decided.get(c) for c in confusion.classes):
        return None
    classes = confusion.classes
    given = np.array([float(decided.get(c, 0)) for c in classes])
    whole = dict(usage.cells.group_by("task").agg(pl.col("requests").sum()).iter_rows())
    part = np.array([min(decided.get(c, 0) / whole[c], 1.0) if whole.get(c) else 0.0 for c in classes])
    costs = route_as(priced, sent, table, book, classes, mode=mode, failure_rates=failure_rates, as_of=as_of)
    best, draws = _rates(confusion)
    point = _amounts(best[None], given, part, costs)
    spread = _amounts(draws, given, part, costs)

    def interval(name: str, factor: float = 1.0, at: int | None = None) -> Interval:
        values = spread[name] if at is None else spread[name][:, at]
        estimate = point[name][0] if at is None else point[name][0, at]
        low, high = np.quantile(values, [0.025, 0.975])
        return Interval(float(estimate) * factor, float(low) * factor, float(high) * factor)

    return Misrouting(
        confusion=confusion,
        classified=int(given.sum()),
        requests=usage.requests,
        mix=tuple(Corrected(c, float(given[i] / given.sum()), interval("mix", at=i)) for i, c in enumerate(classes)),
        under=interval("under"),
        over=interval("over"),
        retry_usd=interval("under_today", mistakes.retry_rate),
        harm_usd=interval("under", mistakes.harm_usd),
        over_usd=interval("over_usd"),
        retry_rate=mistakes.retry_rate,
        harm_usd_each=mistakes.harm_usd,
    )


def classified(usage: Usage) -> dict[str, int]:
    """Requests whose task the classifier decided, by task: those that have a confidence."""
    rows = usage.histograms.filter((pl.col("metric") == "confidence") & pl.col("task").is_not_null())
    return dict(rows.group_by("task").agg(pl.col("n").sum()).sort("task").iter_rows())


def route_as(
    priced: pl.DataFrame,
    sent: pl.DataFrame,
    table: Table,
    book: Book,
    classes: Sequence[str],
    *,
    mode: str | None = None,
    failure_rates: Mapping[str, float] | None = None,
    as_of: dt.date | None = None,
) -> Costs:
    """The cells of each task, routed as if they were of each other task."""
    n = len(classes)
    sums: dict[str, Array] = {name: np.zeros((n, n)) for name in ("under", "under_today", "over", "over_usd")}
    position = {c: i for i, c in enumerate(classes)}
    for j, true in enumerate(classes):
        there = savings.routed(
            priced.with_columns(task=pl.lit(true)), table, book, mode=mode, failure_rates=failure_rates, as_of=as_of
        )
        both = pl.DataFrame(
            {
                "task": sent["task"],
                "requests": sent["requests"],
                "today": sent["today_usd"],
                "given": sent["routed_usd"],
                "true": there["routed_usd"],
                "same": sent["to_key"].eq_missing(there["to_key"]),
            }
        ).filter(~pl.col("same") & pl.all_horizontal(pl.col("today", "given", "true").is_not_null()))
        cheaper, dearer = pl.col("given") < pl.col("true"), pl.col("given") > pl.col("true")
        found = both.group_by("task").agg(
            under=pl.col("requests").filter(cheaper).sum(),
            under_today=pl.col("today").filter(cheaper).sum(),
            over=pl.col("requests").filter(dearer).sum(),
            over_usd=(pl.col("given") - pl.col("true")).filter(dearer).sum(),
        )
        for row in found.iter_rows(named=True):
            if (i := position.get(row["task"])) is not None:
                for name in sums:
                    sums[name][i, j] = row[name]
    return Costs(tuple(classes), **sums)


def _rates(confusion: Confusion) -> tuple[Array, Array]:
    """Rates of mistakes, (classes, classes) true x given: the likeliest, and (DRAWS, ...) that the labels allow."""
    counts = np.array(confusion.counts) + _PRIOR
    best = counts / counts.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(_SEED)
    drawn = rng.standard_gamma(np.broadcast_to(counts, (DRAWS, *counts.shape)))
    return best, drawn / drawn.sum(axis=2, keepdims=True)


def _amounts(rates: Array, given: Array, part: Array, costs: Costs) -> dict[str, Array]:
    """By draw: the true mix (shares), and the sums that mistakes make."""
    mix = true_mix(rates, given)
    # of the requests given task k, the share that is truly i
    joint = mix[:, :, None] * rates
    truly = np.swapaxes(joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-300), 1, 2)
    weighted = truly * part[None, :, None]
    found = {
        name: (weighted * getattr(costs, name)[None]).sum(axis=(1, 2))
        for name in ("under", "under_today", "over", "over_usd")
    }
    return {"mix": mix, **found}


def true_mix(rates: Array, given: Array) -> Array:
    """The likeliest shares of true tasks behind the numbers given, (draws, classes), by expectation-maximisation: no
    share is below zero, as it could be when the confusion matrix is inverted. rates: (draws, true, given)."""
    observed = given / given.sum()
    mix = np.full(rates.shape[:2], 1 / rates.shape[1])
    for _ in range(_ITERATIONS):
        joint = mix[:, :, None] * rates
        mix = (joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-300) * observed[None, None, :]).sum(axis=2)
    return mix


def true_tasks(usage: Usage, confusion: Confusion | None) -> dict[str, dict[str, float]]:
    """task as given -> true task -> share, of all requests with that task: what logs and rules say is taken as right,
    what the classifier decided is spread as its confusion matrix and the mix behind it have it."""
    found = {task: {task: 1.0} for task in usage.cells["task"].drop_nulls().unique().to_list()}
    decided = classified(usage)
    if confusion is None or not any(decided.get(c) for c in confusion.classes):
        return found
    classes = confusion.classes
    given = np.array([float(decided.get(c, 0)) for c in classes])
    whole = dict(usage.cells.group_by("task").agg(pl.col("requests").sum()).iter_rows())
    best, _ = _rates(confusion)
    joint = true_mix(best[None], given)[0][:, None] * best
    for k, name in enumerate(classes):
        if not given[k] or not whole.get(name):
            continue
        part = min(given[k] / whole[name], 1.0)
        shares = part * joint[:, k] / joint[:, k].sum()
        shares[k] += 1 - part
        found[name] = dict(zip(classes, shares.tolist(), strict=True))
    return found


def as_data(found: Misrouting | None) -> dict[str, Any] | None:
    """For JSON."""
    if found is None:
        return None
    return {
        "classified": found.classified,
        "requests": found.requests,
        "mix": [{"task": m.task, "given": m.given, "true": m.true.as_dict()} for m in found.mix],
        "under_routed": found.under.as_dict(),
        "over_routed": found.over.as_dict(),
        "retry_usd": found.retry_usd.as_dict(),
        "harm_usd": found.harm_usd.as_dict(),
        "over_usd": found.over_usd.as_dict(),
        "retry_rate": found.retry_rate,
        "harm_usd_each": found.harm_usd_each,
        "confusion": found.confusion.to_json(),
    }
