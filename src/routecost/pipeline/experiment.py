"""Two arms of a log to a verdict: the composition behind `routecost experiment`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from routecost.errors import UsageError
from routecost.experiment.arms import BOTH, CONTROL, TREATMENT, ByColumn, ByExpression, ByHash, named
from routecost.experiment.arms import Arms as ArmsBy
from routecost.experiment.compare import balance, by_unit, mismatch, of_arms, together
from routecost.experiment.metrics import DEFAULT_MARGINS, METRICS, THUMBS_DOWN, parse_margins, parse_metric
from routecost.experiment.result import EXIT, Arm, Experiment
from routecost.experiment.size import Needed, Plan, needed
from routecost.experiment.verdicts import judge_all, main_model, verdict_of
from routecost.pipeline.analysis import task_order
from routecost.pipeline.experiment_rows import Rows, days_of, read_rows
from routecost.pipeline.intake import Options, Progress
from routecost.prices import Book, read_prices

# Of a guard that nobody asked for, which a log may say nothing of.
_UNKNOWN: Final = "The log says nothing of {name}, so that is no guard (ask for it with --margin {name}=1%)."


def experiment(
    paths: Sequence[str],
    arms: ArmsBy | None = None,
    *,
    metrics: Sequence[str] = (),
    margins: Sequence[str] = (),
    alpha: float = 0.05,
    planned: float | None = None,
    split: float | None = None,
    pricing: Sequence[str | Path] = (),
    options: Options | None = None,
    progress: Progress | None = None,
) -> Experiment:
    """Treatment against control in logs, by task. metrics, margins: as on the command line. planned: requests an arm at
    which the always-valid intervals are tightest. split: the share of units that was meant for the control.

    Raises RoutecostError (a subclass says what kind).
    """
    arms = arms or ByColumn()
    measured = (*METRICS, *(parse_metric(m) for m in metrics))
    limits = parse_margins(margins, measured)
    if not limits:
        raise UsageError("every guard was set to none, so nothing could be decided. Give one with --margin 1%.")
    book = read_prices(pricing)
    rows = read_rows(paths, book, measured, arms, options or Options(), progress)
    asked = {text.rpartition("=")[0].strip() or THUMBS_DOWN for text in margins}
    return compare(rows, book, arms, limits, alpha=alpha, planned=planned, split=split, asked=asked)


def compare(
    rows: Rows,
    book: Book,
    arms: ArmsBy,
    margins: Mapping[str, float],
    *,
    alpha: float,
    planned: float | None,
    split: float | None,
    asked: set[str] | frozenset[str] = frozenset(),
) -> Experiment:
    """A table of requests to an Experiment. asked: guards that somebody named: nothing known of them is no pass."""
    frame = rows.frame
    present = frame["arm"].drop_nulls().cast(pl.String).value_counts().sort("count", "arm", descending=[True, False])
    control, treatment = named([v for v in present["arm"].to_list() if v != BOTH], arms)
    sizes = dict(present.iter_rows())
    frame = frame.with_columns(
        arm=pl.col("arm").cast(pl.String).replace_strict({control: CONTROL, treatment: TREATMENT}, default=None)
    )
    counts = {**rows.counts, "in_no_arm": frame["arm"].null_count() - sizes.get(BOTH, 0), "in_both": sizes.get(BOTH, 0)}
    frame = frame.filter(pl.col("arm").is_not_null())
    notes = list(rows.notes)
    guards = dict(margins)
    for metric in rows.metrics:
        unsaid = metric.name in DEFAULT_MARGINS and metric.name not in asked and metric.name != THUMBS_DOWN
        if metric.name in guards and unsaid and frame[metric.column].null_count() == frame.height:
            del guards[metric.name]
            notes.append(_UNKNOWN.format(name=metric.name))
    units = frame.group_by("arm").agg(pl.col("unit").n_unique(), pl.len())
    size = {arm: (int(n), int(requests)) for arm, n, requests in units.iter_rows()}
    expected = arms.share if isinstance(arms, ByHash) else split
    drawn = None
    if expected is not None:
        drawn = mismatch(size[CONTROL][0], size[TREATMENT][0], expected)
    names = frame.select(pl.col("task").cast(pl.String)).unique().sort(task_order(), "task")["task"].to_list()
    whole, tasks, tests = judge_all(
        frame, names, rows.metrics, guards, alpha=alpha, planned=planned, mismatch=drawn
    )  # fmt: skip
    notes += _notes(frame, arms, counts, drawn is not None, rows)
    verdict = verdict_of(whole, tasks)
    first, last = frame["day"].min(), frame["day"].max()
    return Experiment(
        verdict=verdict,
        exit_code=EXIT[verdict],
        arms=(
            Arm(control, size[CONTROL][1], size[CONTROL][0], main_model(frame, CONTROL)),
            Arm(treatment, size[TREATMENT][1], size[TREATMENT][0], main_model(frame, TREATMENT)),
        ),
        whole=whole,
        tasks=tasks,
        mismatch=drawn,
        balance=balance(frame, names),
        alpha=alpha,
        tests=tests,
        unit=rows.unit,
        days=(first, last) if isinstance(first, dt.date) and isinstance(last, dt.date) else None,
        counts=counts,
        notes=tuple(notes),
        damaged=rows.damaged,
        book_version=book.version,
    )


def _notes(frame: pl.DataFrame, arms: ArmsBy, counts: Mapping[str, int], tested: bool, rows: Rows) -> list[str]:
    notes = []
    both = frame.group_by("unit").agg(pl.col("arm").n_unique()).filter(pl.col("arm") > 1).height
    if both and not isinstance(arms, ByExpression):
        notes.append(
            f"{both:,} {rows.unit}s have requests in both arms: they were not drawn by {rows.unit}, or something moved "
            "them. Intervals take the arms to be independent; --unit request or session may be what was drawn."
        )
    if isinstance(arms, ByExpression) and {arms.control.kind, arms.treatment.kind} & {"before", "since"}:
        notes.append("Arms by time also differ in whatever else changed then; only a random hold-out rules that out.")
    if not tested and not isinstance(arms, ByExpression):
        notes.append(
            "Whether the arms have the sizes that were meant is not tested: say the control's with --split 5%."
        )
    for name, what in (("in_no_arm", "in no arm"), ("in_both", "in both arms")):
        if counts[name]:
            notes.append(f"{counts[name]:,} requests are {what} and left out.")
    if counts["duplicates"]:
        notes.append(f"{counts['duplicates']:,} requests stood twice (same id) and count once.")
    if counts["rejected"]:
        notes.append(
            f"{counts['rejected']:,} of {counts['lines']:,} lines were rejected (`routecost inspect` says why)."
        )
    unpriced = frame["cost"].null_count()
    if unpriced:
        notes.append(f"{unpriced:,} requests have no price and are no part of the cost.")
    return notes


def plan(
    paths: Sequence[str],
    *,
    changes: Sequence[str] = (),
    metrics: Sequence[str] = (),
    treatment: float = 0.5,
    alpha: float = 0.05,
    power: float = 0.8,
    pricing: Sequence[str | Path] = (),
    options: Options | None = None,
    progress: Progress | None = None,
) -> Plan:
    """How many requests and days it takes, by task, to find a change with this power, from a log as it is today.

    changes: as margins are given (`thumbs-down=2%`); those of the default margins where none is. treatment: its share.
    """
    measured = (*METRICS, *(parse_metric(m) for m in metrics))
    asked = {text.rpartition("=")[0].strip() or THUMBS_DOWN for text in changes}
    sizes = parse_margins(changes, measured, "--change")
    wanted = {name: size for name, size in sizes.items() if name in asked} if asked else sizes
    for metric in measured:
        if metric.name in wanted and metric.kind == "quantile":
            raise UsageError(f"--change: {metric.name} is a quantile, which is not planned for; take cost, a rate, ...")
    book = read_prices(pricing)
    rows = read_rows(paths, book, measured, None, options or Options(), progress)
    frame = rows.frame.with_columns(arm=pl.lit(CONTROL))
    days = len(days_of(frame)) or None
    names = frame.select(pl.col("task").cast(pl.String)).unique().sort(task_order(), "task")["task"].to_list()
    chosen = [(m, wanted[m.name]) for m in rows.metrics if m.name in wanted]
    tests = (len(names) + (len(names) > 1)) * len(chosen)
    units = by_unit(frame, [m for m, _ in chosen])
    found: list[Needed] = []
    for task in [*names, *([None] if len(names) > 1 else [])]:
        whole = len(found) >= len(names) * len(chosen)
        mine = pl.lit(True) if whole else pl.col("task").eq_missing(pl.lit(task, frame["task"].dtype))
        some, part = frame.filter(mine), together(units) if whole else units.filter(mine)
        for metric, change in chosen:
            spread = some[metric.column].cast(pl.Float64).var()
            found.append(
                needed(
                    "(all)" if whole else task,
                    metric,
                    of_arms(part, metric.column)[0],
                    some.height,
                    change,
                    spread=spread if isinstance(spread, float) else None,
                    treatment=treatment,
                    alpha=alpha / tests,
                    power=power,
                    per_day=some.height / days if days else None,
                )
            )
    return Plan(
        tuple(found), frame.height, days, frame.height / days if days else None, treatment, alpha, power, tests,
        rows.unit, rows.notes, rows.damaged,
    )  # fmt: skip
