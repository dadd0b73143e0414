"""How a saving falls as the classifier gets worse."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from routecost import savings
from routecost.confusion import Confusion
from routecost.errors import UsageError
from routecost.pipeline.analysis import intervals, nothing, rebased, require_valid
from routecost.pipeline.intake import Intake, require_prices
from routecost.pipeline.misrouting import Array
from routecost.prices import Book
from routecost.quality import one_each
from routecost.routing import Table
from routecost.schema import TASKS
from routecost.stats import Interval

Errors = Literal["uniform", "measured"]
Mask = npt.NDArray[np.bool_]
STEP: Final = 0.05
FIRST_ANSWERS: Final = "share first answered by the model that the table has for their task, or by a dearer one"


@dataclass(frozen=True)
class Point:
    """At one accuracy: the saving after retries and harm, its part of today's cost, the share of requests that go to
    another model than with right tasks (misrouted) and to a cheaper one (under), and the expected quality."""

    accuracy: float
    saving: Interval
    share: Interval
    misrouted: float
    under: float
    quality: float | None


@dataclass(frozen=True)
class Sensitivity:
    """The answer of `routecost sensitivity`; money is USD over the whole period.

    break_even: the accuracy below which the table costs money; None where it pays down to `lowest` (pays) or never.
    errors: how mistakes fall on the other tasks. measured: accuracy of the confusion matrix at this mix of tasks.
    quality_from: what `quality` is.
    """

    table: str
    mode: str | None
    points: tuple[Point, ...]
    break_even: float | None
    pays: bool
    lowest: float
    requests: int
    today_usd: float
    errors: Errors
    measured: float | None
    retry_rate: float
    harm_usd: float
    quality_from: str


def sensitivity(
    intake: Intake,
    book: Book,
    table: Table,
    *,
    mode: str | None = None,
    confusion: Confusion | None = None,
    errors: Errors = "uniform",
    lowest: float = 0.25,
    retry_rate: float = 1.0,
    harm_usd: float = 0.0,
    quality: pl.DataFrame | None = None,
    base_model: str | None = None,
    as_of: dt.date | None = None,
) -> Sensitivity:
    """The tasks of the usage are taken as the true ones; a classifier of each accuracy then mixes them up.

    uniform: a mistake is any other task alike; measured: as the confusion matrix spreads them. An under-routed request
    (sent to a cheaper model than the table has for its task) is asked again on today's model, retry_rate times, and
    both calls are paid. Everything is linear in the accuracy, so the break-even is exact.
    """
    if not 0 <= lowest < 1:
        raise UsageError(f"--to: saw {lowest:g}, expected an accuracy of 0 or more and less than 1, such as 0.25.")
    if intake.usage.cells.height == 0:
        raise nothing(intake)
    as_of = as_of or dt.datetime.now(dt.UTC).date()
    require_valid(book, [table], base_model)
    usage = rebased(intake.usage, base_model) if base_model else intake.usage
    require_prices(usage, book, table.models())
    priced = savings.today(usage.cells, book, as_of=as_of)
    rates = savings.failure_rates(intake.usage.cells, book) if table.failover_rate == "from-log" else None
    classes = confusion.classes if errors == "measured" and confusion else _classes(usage.cells)
    routed = {
        c: savings.routed(
            priced.with_columns(task=pl.lit(c)), table, book, mode=mode, failure_rates=rates, as_of=as_of
        ).with_columns(task=priced["task"])
        for c in classes
    }
    right = savings.routed(priced, table, book, mode=mode, failure_rates=rates, as_of=as_of)
    pattern = _pattern(classes, confusion if errors == "measured" else None)
    pooled = not usage.settings.group_features
    usable = right["today_usd"].is_not_null() & right["routed_usd"].is_not_null()
    for frame in routed.values():
        usable = usable & frame["routed_usd"].is_not_null()
    n = int(right.filter(usable)["requests"].sum())
    today_usd = float(right.filter(usable)["today_usd"].sum())

    # a classifier that is always right, and one that is always wrong: all others lie between
    scores = _scores(quality, book) if quality is not None else None
    ends = []
    for accuracy in (1.0, 0.0):
        shares = {
            true: accuracy * (np.arange(len(classes)) == i) + (1 - accuracy) * pattern[i]
            for i, true in enumerate(classes)
        }
        ends.append(_mixture(right, routed, shares, classes, usable, retry_rate, harm_usd, scores))
    groups = _by_group(right, routed, usage.groups, ends, classes, pooled, usable, retry_rate, harm_usd)
    steps = np.round(np.arange(1.0, lowest - 1e-9, -STEP), 10).tolist()
    if steps[-1] > lowest + 1e-9:
        steps.append(lowest)
    points = []
    for accuracy in steps:
        cost = accuracy * ends[0].cost + (1 - accuracy) * ends[1].cost
        mixed = groups[0].with_columns(
            routed_usd=accuracy * groups[0]["routed_usd"] + (1 - accuracy) * groups[1]["routed_usd"]
        )
        interval, share, _ = intervals(mixed, n, today_usd, cost)
        points.append(
            Point(
                accuracy,
                interval,
                share,
                (1 - accuracy) * ends[1].misrouted,
                (1 - accuracy) * ends[1].under,
                _between(accuracy, ends[0].quality, ends[1].quality),
            )
        )
    best, worst = today_usd - ends[0].cost, today_usd - ends[1].cost
    break_even = worst / (worst - best) if worst < best and worst < 0 <= best else None
    break_even = break_even if break_even is not None and break_even >= lowest else None
    return Sensitivity(
        table=table.name,
        mode=mode,
        points=tuple(points),
        break_even=break_even,
        pays=break_even is None and points[-1].saving.estimate > 0,
        lowest=lowest,
        requests=n,
        today_usd=today_usd,
        errors=errors,
        measured=_measured(confusion, right.filter(usable)),
        retry_rate=retry_rate,
        harm_usd=harm_usd,
        quality_from="mean score of the quality table" if scores is not None else FIRST_ANSWERS,
    )


def _classes(cells: pl.DataFrame) -> tuple[str, ...]:
    """The tasks that a classifier tells apart: the usual ones, and those of the log."""
    return (*TASKS, *sorted(set(cells["task"].drop_nulls().to_list()) - set(TASKS)))


def _pattern(classes: Sequence[str], confusion: Confusion | None) -> Array:
    """Where the mistakes of each true task go, (true, given); a row sums to 1."""
    n = len(classes)
    off = np.ones((n, n)) if confusion is None else np.array(confusion.counts) + 0.5
    off[np.arange(n), np.arange(n)] = 0.0
    pattern: Array = off / off.sum(axis=1, keepdims=True)
    return pattern


@dataclass(frozen=True)
class _End:
    """One end of the line: cost with retries and harm; shares of requests; mean quality; and who is given what."""

    cost: float
    misrouted: float
    under: float
    quality: float | None
    shares: Mapping[str, Array]


def _mixture(
    right: pl.DataFrame,
    routed: Mapping[str, pl.DataFrame],
    shares: Mapping[str, Array],
    classes: Sequence[str],
    usable: pl.Series,
    retry_rate: float,
    harm_usd: float,
    scores: Mapping[tuple[str, str], float] | None,
) -> _End:
    requests = right["requests"].to_numpy().astype(float) * usable.to_numpy()
    whole = requests.sum()
    cost = misrouted = under = 0.0
    quality: float | None = 0.0 if scores is not None else None
    for k, given in enumerate(classes):
        part = right.select(_parts(shares, k)).to_series().to_numpy()
        there = routed[given]
        low, other = _under(right, there)
        weight = requests * part
        money = there["routed_usd"].fill_null(0.0).to_numpy() * usable.to_numpy() * part
        today = right["today_usd"].fill_null(0.0).to_numpy() * usable.to_numpy() * part
        cost += float(money.sum() + retry_rate * today[low].sum() + harm_usd * weight[low].sum())
        misrouted += float(weight[other].sum())
        under += float(weight[low].sum())
        if scores is not None and quality is not None:
            found = [
                scores.get((t, m)) for t, m in zip(right["task"].to_list(), there["to_key"].to_list(), strict=True)
            ]
            if any(f is None and w > 0 for f, w in zip(found, weight, strict=True)):
                quality = None
            else:
                quality += float(sum((f or 0.0) * w for f, w in zip(found, weight, strict=True)))
    if not whole:
        return _End(0.0, 0.0, 0.0, None, shares)
    mean = 1 - under / whole if scores is None else (None if quality is None else quality / whole)
    return _End(cost, misrouted / whole, under / whole, mean, shares)


def _parts(shares: Mapping[str, Array], k: int) -> pl.Expr:
    """The share of a row's `task` that is given task k. Rows of no task stay unclassified, whatever the accuracy."""
    fixed = {task: float(row[k]) for task, row in shares.items()}
    first = 1.0 if k == 0 else 0.0
    return pl.col("task").replace_strict(fixed, default=first, return_dtype=pl.Float64).fill_null(first)


def _under(right: pl.DataFrame, there: pl.DataFrame) -> tuple[Mask, Mask]:
    """Cells that go to a cheaper model than with the right task, and to another one at all."""
    known = right["task"].is_not_null()
    other = (~right["to_key"].eq_missing(there["to_key"])) & known
    low = other & (there["routed_usd"] < right["routed_usd"]).fill_null(False)
    return low.to_numpy(), other.to_numpy()


def _by_group(
    right: pl.DataFrame,
    routed: Mapping[str, pl.DataFrame],
    groups: pl.DataFrame,
    ends: Sequence[_End],
    classes: Sequence[str],
    pooled: bool,
    usable: pl.Series,
    retry_rate: float,
    harm_usd: float,
) -> list[pl.DataFrame]:
    """For each end: requests, today_usd and the expected routed_usd of each (task, group)."""
    keys = ["task", "group"]
    totals: list[pl.DataFrame] = []
    for k, given in enumerate(classes):
        there = routed[given].filter(usable)
        low, _ = _under(right.filter(usable), there)
        worth = (
            there.with_columns(low=pl.Series(low))
            .group_by("task")
            .agg(
                again=pl.col("today_usd").filter("low").sum() / pl.col("today_usd").sum(),
                hurt=pl.col("requests").filter("low").sum() / pl.col("requests").sum(),
            )
        )
        more = retry_rate * pl.col("today_usd") * pl.col("again").fill_nan(0.0).fill_null(0.0)
        harm = harm_usd * pl.col("requests") * pl.col("hurt").fill_nan(0.0).fill_null(0.0)
        found = savings.by_group(there, groups, pooled_features=pooled).join(
            worth, on="task", how="left", nulls_equal=True
        )
        for i, end in enumerate(ends):
            cost = (pl.col("routed_usd") + more + harm) * _parts(end.shares, k)
            mine = found.select(*keys, "requests", "today_usd", routed_usd=cost)
            if k == 0:
                totals.append(mine)
                continue
            add = mine.select(*keys, more="routed_usd")
            totals[i] = (
                totals[i]
                .join(add, on=keys, how="left", nulls_equal=True, maintain_order="left")
                .with_columns(routed_usd=pl.col("routed_usd") + pl.col("more").fill_null(0.0))
                .drop("more")
            )
    return totals


def _scores(quality: pl.DataFrame, book: Book) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for task, model, score in one_each(quality).select("task", "model", "score").iter_rows():
        ref = book.resolve(None, model)
        if score is not None:
            found[task, ref.key if ref else model] = score
    return found


def _between(accuracy: float, best: float | None, worst: float | None) -> float | None:
    return None if best is None or worst is None else accuracy * best + (1 - accuracy) * worst


def _measured(confusion: Confusion | None, cells: pl.DataFrame) -> float | None:
    """Accuracy of a confusion matrix at the mix of these cells."""
    if confusion is None:
        return None
    rates = confusion.rates()
    right = whole = 0.0
    for task, n in cells.group_by("task").agg(pl.col("requests").sum()).iter_rows():
        share = rates.get(task, {}).get(task)
        if share is not None:
            right += share * n
            whole += n
    return right / whole if whole else None
