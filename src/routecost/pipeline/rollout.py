"""A roll-out in four phases: when, with which share, what it can show and what it should save."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import polars as pl

from routecost import savings, stats
from routecost.errors import InputError, UsageError
from routecost.pipeline.analysis import Coverage, Period, coverage_of, nothing, period_of, require_valid, saving_of
from routecost.pipeline.effects import Found, design_effect, found, unit_size
from routecost.pipeline.intake import Intake, Options, Progress, read, require_prices
from routecost.pipeline.simulation import latency_counts
from routecost.prices import read_prices
from routecost.routing import Table, read_table

PhaseName = Literal["shadow", "canary", "gradual", "full"]
PHASES: Final[tuple[PhaseName, ...]] = ("shadow", "canary", "gradual", "full")
WEEK: Final = 7
# A task of which the table moves less than this stays, and nothing of it has to be compared.
MOVES: Final = 0.5


@dataclass(frozen=True)
class Margins:
    """How much worse treatment may be than control: thumbs-down and errors in points (0.01 is one in a hundred), the
    95th percentile of latency as a part of control's."""

    thumbs_down: float = 0.01
    errors: float = 0.01
    latency: float = 0.20


@dataclass(frozen=True)
class Step:
    """A part of a phase with one share. until is exclusive; None: for good."""

    phase: PhaseName
    since: dt.date
    until: dt.date | None
    share: float

    def days(self) -> int:
        """Days that it is judged on: a week where it has no end."""
        return WEEK if self.until is None else (self.until - self.since).days


@dataclass(frozen=True)
class Before:
    """A task before the roll-out: requests a day, cost a request today and what the table saves of it, the share that
    moves, and what was seen of errors and thumbs (of rated requests)."""

    task: str | None
    requests_per_day: float
    usd: float
    saving_usd: float
    moved: float
    errors: float | None
    thumbs_down: float | None
    rated: float

    @property
    def moves(self) -> bool:
        return self.moved >= MOVES


@dataclass(frozen=True)
class Schedule:
    """What a roll-out was planned to be; a file keeps it. saving_week: at a share of 100 %."""

    table: str
    mode: str | None
    made: dt.date
    margins: Margins
    correlation: float
    steps: tuple[Step, ...]
    tasks: tuple[Before, ...]
    saving_week: stats.Interval

    def expected(self, step: Step, days: int | None = None) -> stats.Interval:
        """The saving of (the first days of) a step."""
        return self.saving_week.scaled(step.share * (step.days() if days is None else days) / WEEK)


@dataclass(frozen=True)
class Expected:
    """A step and, for all tasks that move and for each: requests of both arms and the smallest harm that they show."""

    step: Step
    task: str | None
    treated: float
    control: float
    found: Found
    saving: stats.Interval | None = None
    cumulated: stats.Interval | None = None


@dataclass(frozen=True)
class RolloutPlan:
    """The answer of `routecost rollout plan`. cache_loss_week: the most of the saving that lost prompt caches take."""

    schedule: Schedule
    steps: tuple[Expected, ...]
    by_task: tuple[Expected, ...]
    period: Period
    requests: int
    today_week: float
    cache_loss_week: float
    unit_size: float
    coverage: Coverage
    intake: Intake
    book_version: str
    notes: tuple[str, ...]


def plan(
    paths: Sequence[str],
    table: str | Path,
    *,
    mode: str | None = None,
    start: dt.date | None = None,
    shadow_weeks: int = 2,
    canary: float = 0.10,
    increase: float = 0.20,
    holdout: float = 0.0,
    margins: Margins | None = None,
    correlation: float = 0.05,
    pricing: Sequence[str | Path] = (),
    options: Options | None = None,
    as_of: dt.date | None = None,
    progress: Progress | None = None,
) -> RolloutPlan:
    """A log of today's traffic and a table -> the plan. start: a Monday, as latency is kept by week; else the first one
    after the log. holdout: the share that never moves, so that the end can still be compared."""
    book, routing = read_prices(pricing), read_table(table)
    if routing.is_empty:
        raise UsageError(f"--table {table}: the table moves nothing, so there is nothing to roll out.")
    intake = read(paths, book, tables=[routing], options=options, progress=progress)
    usage = intake.usage
    if usage.cells.height == 0:
        raise nothing(intake)
    require_valid(book, [routing], None)
    require_prices(usage, book, routing.models())
    period = period_of(usage.cells)
    if period.days is None or period.last is None:
        raise InputError("a plan has weeks, and nothing in this log has a timestamp. Name its column in a field map.")
    margins = margins or Margins()
    steps = schedule_steps(start or _monday_after(period.last), shadow_weeks, canary, increase, holdout)
    priced = savings.today(usage.cells, book, as_of=as_of)
    failing = savings.failure_rates(usage.cells, book)
    sent = savings.routed(priced, routing, book, mode=mode, failure_rates=failing, as_of=as_of)
    saving = saving_of(sent, usage, routing, book, mode=mode, as_of=as_of)
    week = WEEK / period.days
    schedule = Schedule(
        table=str(table),
        mode=mode,
        made=as_of or dt.datetime.now(dt.UTC).date(),
        margins=margins,
        correlation=correlation,
        steps=steps,
        tasks=_before(sent, period.days),
        saving_week=saving.interval.scaled(week),
    )
    size = unit_size(usage.groups)
    latency = latency_counts(usage, book).select("task", "middle", "n")
    whole, by_task = _expected(schedule, size, latency)
    return RolloutPlan(
        schedule=schedule,
        steps=whole,
        by_task=by_task,
        period=period,
        requests=usage.requests,
        today_week=saving.today_usd * week,
        cache_loss_week=saving.cache_loss_usd * week,
        unit_size=size,
        coverage=coverage_of(priced, book),
        intake=intake,
        book_version=book.version,
        notes=_notes(schedule, whole, period, saving.interval),
    )


def schedule_steps(
    start: dt.date, shadow_weeks: int, canary: float, increase: float, holdout: float = 0.0
) -> tuple[Step, ...]:
    """Shadow, canary for a week, then more every week, then all (but the hold-out)."""
    if start.weekday():
        monday = start + dt.timedelta(days=7 - start.weekday())
        raise UsageError(
            f"--start: {start} is a {start:%A}, expected a Monday, such as {monday}: latencies are kept by week."
        )
    if shadow_weeks < 1:
        raise UsageError(f"--shadow-weeks: saw {shadow_weeks}, expected 1 or more (1 or 2 is usual).")
    most = 1.0 - holdout
    if not 0 <= holdout < 0.5 or not 0 < canary < most or not 0 < increase <= 1:
        raise UsageError(
            f"saw --canary {canary:.1%}, --increase {increase:.1%} and --holdout {holdout:.1%}, expected a canary "
            "above 0 and below what is not held out, an increase above 0, a hold-out below 50%: such as 10%, 20%, 5%."
        )
    steps: list[Step] = []
    at = start

    def add(phase: PhaseName, weeks: int | None, share: float) -> None:
        nonlocal at
        until = None if weeks is None else at + dt.timedelta(weeks=weeks)
        steps.append(Step(phase, at, until, round(share, 6)))
        at = until or at

    add("shadow", shadow_weeks, 0.0)
    add("canary", 1, canary)
    # counted, not added up: a sum of tenths would miss the end by its rounding
    for i in range(1, math.ceil(round((most - canary) / increase, 9))):
        add("gradual", 1, canary + i * increase)
    add("full", None, most)
    return tuple(steps)


def _monday_after(last: dt.date) -> dt.date:
    return last + dt.timedelta(days=7 - last.weekday())


def _before(sent: pl.DataFrame, days: int) -> tuple[Before, ...]:
    sums = (
        sent.group_by("task")
        .agg(
            pl.col("requests", "feedback_n", "feedback_negative").sum(),
            errors=pl.col("requests").filter(pl.col("status") == "error").sum(),
            moved=pl.col("requests").filter("moved").sum(),
            billed=pl.col("requests").filter(_billed()).sum(),
            today_usd=pl.col("today_usd").filter(_billed()).sum(),
            routed_usd=pl.col("routed_usd").filter(_billed()).sum(),
        )
        .sort("requests", "task", descending=[True, False], nulls_last=True)
    )
    return tuple(
        Before(
            task=row["task"],
            requests_per_day=row["requests"] / days,
            usd=row["today_usd"] / row["billed"] if row["billed"] else 0.0,
            saving_usd=(row["today_usd"] - row["routed_usd"]) / row["billed"] if row["billed"] else 0.0,
            moved=row["moved"] / row["requests"],
            errors=row["errors"] / row["requests"],
            thumbs_down=row["feedback_negative"] / row["feedback_n"] if row["feedback_n"] else None,
            rated=row["feedback_n"] / row["requests"],
        )
        for row in sums.iter_rows(named=True)
    )


def _billed() -> pl.Expr:
    return pl.col("today_usd").is_not_null() & pl.col("routed_usd").is_not_null()


def _expected(
    schedule: Schedule, size: float, latency: pl.DataFrame
) -> tuple[tuple[Expected, ...], tuple[Expected, ...]]:
    moving = [t for t in schedule.tasks if t.moves]
    whole: list[Expected] = []
    by_task: list[Expected] = []
    cumulated = 0.0
    for step in schedule.steps:
        cumulated += step.share * step.days() / WEEK
        parts = [
            _of(
                step, [t], size, schedule.correlation, latency.filter(pl.col("task").eq_missing(pl.lit(t.task))), t.task
            )
            for t in moving
        ]
        names = [t.task for t in moving]
        all_of_it = _of(step, moving, size, schedule.correlation, latency.filter(pl.col("task").is_in(names)), None)
        whole.append(
            Expected(
                step,
                None,
                all_of_it.treated,
                all_of_it.control,
                all_of_it.found,
                schedule.expected(step),
                schedule.saving_week.scaled(cumulated),
            )
        )
        by_task += parts
    return tuple(whole), tuple(by_task)


def _of(
    step: Step, tasks: Sequence[Before], size: float, correlation: float, latency: pl.DataFrame, task: str | None
) -> Expected:
    """What a step can show of some tasks together."""
    volume = sum(t.requests_per_day for t in tasks) * step.days()
    treated, control = volume * step.share, volume * (1 - step.share)
    n = sum(t.requests_per_day for t in tasks)
    rated = sum(t.requests_per_day * t.rated for t in tasks)
    negative = sum(t.requests_per_day * t.rated * (t.thumbs_down or 0.0) for t in tasks)
    failed = sum(t.requests_per_day * (t.errors or 0.0) for t in tasks)
    share = rated / n if n else 0.0
    return Expected(
        step,
        task,
        treated,
        control,
        found(
            treated,
            control,
            rated=share,
            thumbs_down=negative / rated if rated else None,
            errors=failed / n if n else None,
            latency=latency,
            effect=design_effect(size, correlation),
            effect_rated=design_effect(size * share, correlation),
        ),
    )


def _notes(schedule: Schedule, steps: Sequence[Expected], period: Period, saving: stats.Interval) -> tuple[str, ...]:
    notes = []
    if period.days is not None and period.days < WEEK:
        notes.append(f"The log has {period.days} day(s): a week is guessed from them. Two weeks or more say more.")
    if saving.low is not None and saving.low <= 0:
        notes.append("The saving is not certain to be above nothing: think again before the canary.")
    if not any(t.moves for t in schedule.tasks):
        notes.append("The table moves less than half of every task, so no task is compared.")
    if not any(t.rated for t in schedule.tasks):
        notes.append(
            "The log has no feedback, so thumbs-down cannot be judged: capture it (`--feedback`) before the canary."
        )
    canary = next(e for e in steps if e.step.phase == "canary")
    limits = vars(schedule.margins)
    weak = {k: v for k, v in vars(canary.found).items() if v is not None and v > limits[k]}
    if weak:
        # what is found falls with the root of the requests
        weeks = max(math.ceil((v / limits[k]) ** 2) for k, v in weak.items())
        names = ", ".join(name.replace("_", "-") for name in weak)
        notes.append(
            f"The canary week is too small to show the margin of {names}: {weeks} weeks of it would, or a larger share."
        )
    return tuple(notes)


def table_of(schedule: Schedule, beside: Path) -> Table:
    """The table that a schedule names: from here, or from the folder of the plan."""
    own = beside.parent / schedule.table
    return read_table(own if not Path(schedule.table).exists() and own.exists() else schedule.table)


def moving_tasks(schedule: Schedule) -> tuple[str | None, ...]:
    return tuple(t.task for t in schedule.tasks if t.moves)
