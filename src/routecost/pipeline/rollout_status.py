"""How a roll-out goes: the step of today, the share that moved, what it saved, and whether the next step may begin."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np
import polars as pl

from routecost import savings, stats
from routecost.errors import InputError, UndecidedError, UsageError, did_you_mean
from routecost.pipeline.analysis import Coverage, coverage_of, saving_of
from routecost.pipeline.effects import (
    ALPHA,
    EARLY_ALPHA,
    LEAST,
    Harm,
    design_effect,
    latency_harm,
    rate_harm,
    unit_size,
)
from routecost.pipeline.intake import Intake, Options, Progress, read, require_prices
from routecost.pipeline.rollout import Schedule, Step, moving_tasks, table_of
from routecost.pipeline.rollout_file import read_schedule
from routecost.prices import Book, read_prices
from routecost.routing import Table
from routecost.schema import GROUP_KEY
from routecost.stats import Grades, Interval, score_bounds, t_quantile
from routecost.usage import Usage
from routecost.usage.cells import BUCKET_BASE, ZERO_BUCKET

State = Literal["met", "not met", "open"]
Verdict = Literal["go", "no-go", "hold", "too early"]
EXIT_CODES: Final[dict[Verdict, int]] = {"go": 0, "no-go": 1, "hold": 4, "too early": 4}
CONTROL: Final = ("control", "holdout", "hold-out", "baseline")
NEAR: Final = 0.25  # a share is as planned within a quarter of it, or a point
OBEYED: Final = 0.90  # failover sends some elsewhere
PRICED: Final = 0.95
Arms = Literal["arm", "model"]


@dataclass(frozen=True)
class Criterion:
    """What must hold before the next step. decides: an open one holds the step up; of single tasks only harm does."""

    name: str
    task: str | None
    state: State
    seen: float | None
    low: float | None
    high: float | None
    wanted: str
    decides: bool = True


@dataclass(frozen=True)
class Seen:
    """A step so far: days with traffic, the share that moved with its interval, and what it saved against the plan."""

    step: Step
    days: int
    requests: int
    treated: int
    share: Interval
    saved: Interval
    expected: Interval


@dataclass(frozen=True)
class RolloutStatus:
    """The answer of `routecost rollout status`. until: the first day that is not looked at any more."""

    schedule: Schedule
    until: dt.date
    step: Step
    following: Step | None
    complete: bool
    verdict: Verdict
    criteria: tuple[Criterion, ...]
    steps: tuple[Seen, ...]
    saved: Interval
    expected: Interval
    requests_per_day: float
    arms: Arms
    coverage: Coverage
    intake: Intake
    book_version: str
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]


@dataclass(frozen=True)
class _Traffic:
    """Cells since the start with `side` (treatment, control, or null), and what belongs to them."""

    sent: pl.DataFrame
    usage: Usage
    table: Table
    arms: Arms
    schedule: Schedule
    tasks: tuple[str | None, ...]
    effect: Callable[[float], float]


def status(
    plan: Path,
    paths: Sequence[str],
    *,
    today: dt.date | None = None,
    control: Sequence[str] = CONTROL,
    pricing: Sequence[str | Path] = (),
    options: Options | None = None,
    progress: Progress | None = None,
) -> RolloutStatus:
    """A plan and the logs since -> where it stands. today: days before it are looked at (default: today, UTC).

    Treatment is what the log's arms say (all but `control`); without arms, the requests of tasks that move which are on
    the table's model already.
    """
    schedule = read_schedule(plan)
    today = today or dt.datetime.now(dt.UTC).date()
    first = schedule.steps[0].since
    if today <= first:
        raise UndecidedError(
            f"the roll-out begins on {first}, and only days before {today} are looked at: come back then."
        )
    table, book = table_of(schedule, plan), read_prices(pricing)
    # shadow traffic is no control of what comes later
    begins = next((s.since for s in schedule.steps if s.share > 0 and s.since < today), first)
    options = replace(options or Options(), since=_midnight(begins), until=_midnight(today))
    intake = read(paths, book, tables=[table], options=options, progress=progress)
    usage = intake.usage
    last = usage.cells["day"].max()
    if not isinstance(last, dt.date):
        raise UndecidedError(f"the log has no request from {begins} to {today}: give the logs of the roll-out.")
    if not usage.groups.height:
        raise InputError(
            f"a usage file that also counts days before {begins} or from {today} on cannot be cut without losing its "
            "groups, which uncertainty comes from: give the logs, or a usage file of these days only."
        )
    require_prices(usage, book, table.models())
    until = min(today, last + dt.timedelta(days=1))
    traffic = _traffic(usage, table, schedule, book, control)
    position = max(i for i, s in enumerate(schedule.steps) if s.since < until)
    step = schedule.steps[position]
    end = step.since + dt.timedelta(days=step.days())
    complete = until >= end
    criteria = (
        _shadow(traffic, usage, table, schedule, book)
        if step.share == 0
        else _routed(traffic, step, until, EARLY_ALPHA if not complete else ALPHA)
    )
    steps, saved = _saved(traffic, until)
    return RolloutStatus(
        schedule=schedule,
        until=until,
        step=step,
        following=schedule.steps[position + 1] if position + 1 < len(schedule.steps) else None,
        complete=complete,
        verdict=_verdict(criteria, complete),
        criteria=criteria,
        steps=steps,
        saved=saved,
        expected=_sum([s.expected for s in steps]),
        requests_per_day=usage.requests / max((until - begins).days, 1),
        arms=traffic.arms,
        coverage=coverage_of(traffic.sent, book),
        intake=intake,
        book_version=book.version,
        notes=_notes(traffic, today, until, step),
    )


def _verdict(criteria: Sequence[Criterion], complete: bool) -> Verdict:
    if any(c.state == "not met" for c in criteria):
        return "no-go"
    if not complete:
        return "too early"
    return "hold" if any(c.state == "open" and c.decides for c in criteria) else "go"


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def _traffic(usage: Usage, table: Table, schedule: Schedule, book: Book, control: Sequence[str]) -> _Traffic:
    priced = savings.today(usage.cells, book)
    failing = savings.failure_rates(usage.cells, book)
    sent = savings.routed(priced, table, book, mode=schedule.mode, failure_rates=failing)
    tasks = moving_tasks(schedule)
    arms: Arms = "arm" if sent["arm"].null_count() < sent.height else "model"
    if arms == "arm":
        names = sent["arm"].drop_nulls().unique().sort().to_list()
        if not set(names) & set(control):
            raise UsageError(
                f"the arms of the log are {', '.join(names)}, and none is the control ({', '.join(control)})."
                f"{did_you_mean(names[0], control)} Name it: --control {names[0]}."
            )
        is_control = pl.col("arm").is_in(list(control))
        side = pl.when(is_control).then(pl.lit("control")).when(~is_control).then(pl.lit("treatment"))
        sent = sent.with_columns(side=side)
    else:
        moving = pl.col("task").is_in(tasks, nulls_equal=True)
        side = pl.when(moving & ~pl.col("moved")).then(pl.lit("treatment")).when(moving).then(pl.lit("control"))
        sent = sent.with_columns(side=side)
    size = unit_size(usage.groups)
    return _Traffic(
        sent, usage, table, arms, schedule, tasks, lambda share: design_effect(size * share, schedule.correlation)
    )


# --- criteria ---------------------------------------------------------------------------------------------------------


def _shadow(traffic: _Traffic, usage: Usage, table: Table, schedule: Schedule, book: Book) -> tuple[Criterion, ...]:
    share = _share(traffic, traffic.sent) if traffic.arms == "arm" else None
    saving = saving_of(traffic.sent, usage, table, book, mode=schedule.mode)
    coverage = coverage_of(traffic.sent, book).share
    low, high = saving.share.low, saving.share.high
    certain: State = "open" if low is None or high is None else "met" if low > 0 else "not met" if high <= 0 else "open"
    found = [
        Criterion("the table saves", None, certain, saving.share.estimate, low, high, "above 0%"),
        Criterion(
            "requests with a price", None, "met" if coverage is not None and coverage >= PRICED else "open", coverage,
            None, None, f"{PRICED:.0%} or more",
        ),
    ]  # fmt: skip
    if share is not None:
        state: State = "met" if share.estimate <= 0.01 else "not met"
        found.insert(
            0, Criterion("share that moved", None, state, share.estimate, share.low, share.high, "nothing yet")
        )
    return tuple(found)


def _routed(traffic: _Traffic, step: Step, until: dt.date, alpha: float) -> tuple[Criterion, ...]:
    margins = traffic.schedule.margins
    now = _between(traffic.sent, step.since, until)
    compared = now.filter(pl.col("task").is_in(traffic.tasks, nulls_equal=True))
    treated = compared.filter(pl.col("side") == "treatment")
    others = now if _concurrent(step) else traffic.sent
    control = others.filter((pl.col("side") == "control") & pl.col("task").is_in(traffic.tasks, nulls_equal=True))
    found = [_share_criterion(traffic, step, now)]
    if traffic.arms == "arm":
        n = int(treated["requests"].sum())
        obeyed = int(treated.filter(~pl.col("moved"))["requests"].sum()) / n if n else None
        state: State = "open" if obeyed is None else "met" if obeyed >= OBEYED else "not met"
        found.append(
            Criterion("treatment on the table's models", None, state, obeyed, None, None, f"{OBEYED:.0%} or more")
        )
    # harm is looked for in each of these, and shown at a level that holds for all of them together
    tests = 3 + 2 * len(traffic.tasks)
    for task in (None, *(traffic.tasks if len(traffic.tasks) > 1 else ())):
        mine = [treated, control] if task is None else [f.filter(pl.col("task") == task) for f in (treated, control)]
        rated = [_rated(f) for f in mine]
        share = sum(int(f["feedback_n"].sum()) for f in mine) / max(sum(int(f["requests"].sum()) for f in mine), 1)
        for name, grades, margin, effect in (
            ("thumbs-down", rated, margins.thumbs_down, traffic.effect(share)),
            ("errors", [_errors(f) for f in mine], margins.errors, traffic.effect(1.0)),
        ):
            found.append(_harm(name, task, partial(_rates, grades[0], grades[1], effect), margin, alpha, tests))
    slow, before = (_latencies(traffic, side, step, until) for side in ("treatment", "control"))
    test = partial(latency_harm, slow, before, traffic.effect(1.0))
    found.append(_harm("latency p95", None, test, margins.latency, alpha, tests))
    return tuple(found)


def _concurrent(step: Step) -> bool:
    """Whether somebody is left to compare with; else it is those of the weeks before."""
    return step.share < 1


def _between(frame: pl.DataFrame, since: dt.date, until: dt.date) -> pl.DataFrame:
    return frame.filter((pl.col("day") >= since) & (pl.col("day") < until))


def _rated(frame: pl.DataFrame) -> Grades | None:
    n = int(frame["feedback_n"].sum())
    return Grades(n, int(frame["feedback_negative"].sum()) / n) if n else None


def _errors(frame: pl.DataFrame) -> Grades | None:
    n = int(frame["requests"].sum())
    return Grades(n, int(frame.filter(pl.col("status") == "error")["requests"].sum()) / n) if n else None


def _rates(one: Grades | None, two: Grades | None, effect: float, alpha: float) -> Harm | None:
    return None if one is None or two is None else rate_harm(one, two, effect, alpha)


def _harm(
    name: str, task: str | None, test: Callable[[float], Harm | None], margin: float, alpha: float, tests: int
) -> Criterion:
    """Met: less harm than the margin is shown. Not met: harm is certain and looks larger than the margin."""
    wanted = f"less than {margin:.1%} worse" if name == "latency p95" else f"less than {margin * 100:.3g} points worse"
    shown, strict = test(alpha), test(alpha / tests)
    if shown is None or strict is None:
        return Criterion(name, task, "open", None, None, None, wanted, task is None)
    state: State = "met" if shown.high < margin else "not met" if strict.low > 0 and shown.harm > margin else "open"
    return Criterion(name, task, state, shown.harm, shown.low, shown.high, wanted, task is None)


def _share(traffic: _Traffic, frame: pl.DataFrame) -> Interval | None:
    whole = frame if traffic.arms == "arm" else frame.filter(pl.col("side").is_not_null())
    n = int(whole["requests"].sum())
    if not n:
        return None
    treated = int(whole.filter(pl.col("side") == "treatment")["requests"].sum())
    # all requests of a unit are in one arm
    units = max(round(n / max(unit_size(traffic.usage.groups), 1.0)), 1)
    low, high = score_bounds([Grades(units, treated / n)], ALPHA)[:, 0].tolist()
    return Interval(treated / n, low, high)


def _share_criterion(traffic: _Traffic, step: Step, now: pl.DataFrame) -> Criterion:
    wanted = f"near {step.share:.1%}"
    share = _share(traffic, now)
    if share is None or share.low is None or share.high is None:
        return Criterion("share that moved", None, "open", None, None, None, wanted)
    near = abs(share.estimate - step.share) <= max(0.01, NEAR * step.share) or share.low <= step.share <= share.high
    return Criterion(
        "share that moved", None, "met" if near else "not met", share.estimate, share.low, share.high, wanted
    )


def _latencies(traffic: _Traffic, side: str, step: Step, until: dt.date) -> pl.DataFrame:
    """middle, n of the requests of one side in the weeks of a step."""
    rows = traffic.usage.histograms.filter((pl.col("metric") == "latency_ms") & (pl.col("week") < until))
    if _concurrent(step) or side == "treatment":
        rows = rows.filter(pl.col("week") >= step.since)
    keys = ["task", "model", "arm"]
    sides = (
        traffic.sent.filter(pl.col("side").is_not_null() & pl.col("task").is_in(traffic.tasks, nulls_equal=True))
        .group_by(*keys, "side")
        .agg(pl.col("requests").sum())
        .sort("requests", "side", descending=[True, False])
        .unique(keys, keep="first", maintain_order=True)
    )
    base = math.log(BUCKET_BASE)
    middle = pl.when(pl.col("bucket") == ZERO_BUCKET).then(0.0).otherwise(((pl.col("bucket") + 0.5) * base).exp())
    return (
        rows.join(sides, on=keys, how="inner", nulls_equal=True)
        .filter(pl.col("side") == side)
        .group_by(middle=middle)
        .agg(pl.col("n").sum())
        .sort("middle")
    )


# --- what it saved ----------------------------------------------------------------------------------------------------


def _saved(traffic: _Traffic, until: dt.date) -> tuple[tuple[Seen, ...], Interval]:
    """Each step so far, and all of it: treated requests times how much cheaper one of their task is than in control."""
    tasks = list(traffic.tasks)
    each, without = _cheaper(traffic, tasks)
    # logs hold what calls cost, and the router takes its own for each that it looks at
    fee = traffic.table.classifier_cost_per_request_usd
    billed = savings.comparable(traffic.sent).filter(pl.col("side") == "treatment")
    seen = []
    for step in traffic.schedule.steps:
        end = min(until, step.until or until)
        days = (end - step.since).days
        if days <= 0 or step.share == 0:
            continue
        now = _between(traffic.sent, step.since, end)
        mine = now.filter(pl.col("side") == "treatment")
        weights = _weights(_between(billed, step.since, end), tasks)
        share = _share(traffic, now) or Interval(0.0, None, None)
        n, treated = int(now["requests"].sum()), int(mine["requests"].sum())
        saved, expected = _interval(each, without, weights, fee * treated), traffic.schedule.expected(step, days)
        seen.append(Seen(step, days, n, treated, share, saved, expected))
    fees = fee * sum(s.treated for s in seen)
    return tuple(seen), _interval(each, without, _weights(billed, tasks), fees)


def _weights(billed: pl.DataFrame, tasks: Sequence[str | None]) -> stats.Array:
    counts = dict(billed.group_by("task").agg(pl.col("requests").sum()).iter_rows())
    return np.array([float(counts.get(task, 0)) for task in tasks])


def _cheaper(traffic: _Traffic, tasks: Sequence[str | None]) -> tuple[stats.Array, stats.Array]:
    """By task: control's cost a request minus treatment's; and the same without each group of units in turn."""
    pooled = not traffic.usage.settings.group_features
    keys = [c for c in GROUP_KEY if not (pooled and c == "feature")]
    groups = savings.by_group(traffic.sent, traffic.usage.groups, pooled_features=pooled, by=keys)
    sides = (
        traffic.sent.group_by(*keys, "side")
        .agg(pl.col("requests").sum())
        .sort("requests", "side", descending=[True, False], nulls_last=True)
        .unique(keys, keep="first", maintain_order=True)
    )
    sums = (
        groups.join(sides.drop("requests"), on=keys, how="left", nulls_equal=True)
        .group_by("task", "side", "group")
        .agg(pl.col("requests", "today_usd").sum())
    )
    order = sums["group"].unique().sort().to_list()
    place = {group: i for i, group in enumerate(order)}
    n, usd = np.zeros((2, len(order), len(tasks))), np.zeros((2, len(order), len(tasks)))
    for task, side, group, requests, cost in sums.iter_rows():
        if side is not None and task in tasks:
            at = (0 if side == "treatment" else 1, place[group], tasks.index(task))
            n[at], usd[at] = requests, cost
    planned = {t.task: t.usd for t in traffic.schedule.tasks}
    before = np.array([planned[task] for task in tasks])

    def cheaper(n: stats.Array, usd: stats.Array, known: stats.Array) -> stats.Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            control = np.where(known, usd[1] / n[1], before)
            return np.where(n[0] > 0, control - usd[0] / n[0], 0.0)

    whole_n, whole_usd = n.sum(axis=1), usd.sum(axis=1)
    known = whole_n[1] >= LEAST
    each = cheaper(whole_n, whole_usd, known)
    less_n, less_usd = whole_n[:, None, :] - n, whole_usd[:, None, :] - usd
    without = np.nan_to_num(cheaper(less_n, less_usd, known), nan=0.0, posinf=0.0, neginf=0.0)
    return each, without


def _interval(each: stats.Array, without: stats.Array, weights: stats.Array, fees: float) -> Interval:
    estimate = float(each @ weights) - fees
    groups = len(without)
    if groups < 2:
        return Interval(estimate, None, None)
    sums = without @ weights - fees
    error = math.sqrt((groups - 1) / groups * float(((sums - sums.mean()) ** 2).sum()))
    half = t_quantile(groups - 1) * error
    return Interval(estimate, estimate - half, estimate + half, error, groups)


def _sum(intervals: Sequence[Interval]) -> Interval:
    """Of parts that are all the same estimate times a number."""
    lows, highs = [i.low for i in intervals], [i.high for i in intervals]
    low = sum(x for x in lows if x is not None) if None not in lows and lows else None
    high = sum(x for x in highs if x is not None) if None not in highs and highs else None
    return Interval(sum(i.estimate for i in intervals), low, high)


def _notes(traffic: _Traffic, today: dt.date, until: dt.date, step: Step) -> tuple[str, ...]:
    notes = []
    if until < today:
        notes.append(f"The log ends on {until - dt.timedelta(days=1)}, so nothing is known of the days after it.")
    if traffic.arms == "model" and step.share > 0:
        notes.append(
            "The log has no arms: what is on the table's model counts as treatment, which chance did not choose. "
            "Log an arm."
        )
    if not _concurrent(step):
        notes.append(
            "Nobody is held out, so control is that of the weeks before, and what changed with the calendar counts "
            "too. `rollout plan --holdout 5%` keeps somebody."
        )
    if step.share > 0 and not int(traffic.sent["feedback_n"].sum()):
        notes.append("The log has no feedback, so thumbs-down stays open.")
    return tuple(notes)
