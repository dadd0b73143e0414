"""Baselines: usage files that others are compared with, and who made them so, when and why."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from routecost import savings, schema
from routecost.errors import InputError, UsageError
from routecost.gate.result import Baseline
from routecost.pipeline.analysis import nothing
from routecost.pipeline.intake import Intake, Options, Progress, read, require_prices
from routecost.prices import Book, read_prices
from routecost.routing import read_table
from routecost.usage import (
    About,
    Settings,
    Usage,
    is_usage_file,
    pairs_path,
    read_about,
    read_usage,
    write_pairs,
    write_usage,
)


@dataclass(frozen=True)
class Difference:
    """What a request cost in one usage and costs in another, both at the prices of one day.

    by_task: task, base_requests, current_requests (all of them), base_usd, current_usd (the mean over those with a
    price, null where none has one) and increase (0.18: 18 % more). total: the same over all tasks.
    """

    by_task: pl.DataFrame
    total: Mapping[str, Any]
    priced_on: dt.date
    book_version: str

    def to_polars(self) -> pl.DataFrame:
        """One row a task."""
        return self.by_task


@dataclass(frozen=True)
class Accepted:
    """A baseline that was written, how many requests it has, and what it replaces: None where there was none before,
    or none that can be compared (notes say why)."""

    baseline: Baseline
    requests: int
    before: Baseline | None = None
    difference: Difference | None = None
    notes: tuple[str, ...] = ()

    def to_polars(self) -> pl.DataFrame:
        """The difference to the old baseline, one row a task."""
        return pl.DataFrame() if self.difference is None else self.difference.by_task


def read_baseline(path: Path | str) -> tuple[Usage, Baseline]:
    """The usage of a baseline and where it comes from; any usage file will do, one without a history has nulls.

    Raises InputError where there is no such file, or no usage file of this version.
    """
    if not Path(path).exists():
        raise InputError(
            f"{path}: no such baseline. Make one from traffic that costs what it should:  "
            f'routecost baseline update LOG... -o {path} --reason "first baseline"'
        )
    if not is_usage_file(path):
        raise InputError(
            f"{path}: no usage file, which a baseline is. Make one from this log:  "
            f'routecost baseline update {path} -o baseline.parquet --reason "first baseline"'
        )
    return read_usage(path), _history(path, read_about(path))


def comparable_settings(base: Settings, current: Settings) -> list[str]:
    """What two usages were tallied with differently, so that their costs, tasks or intervals are not of the same kind;
    empty where they can be compared.

    A classifier or rules that one side did not need (its log has labels) are no difference, nor are further --by keys.
    """
    differences = [
        f"{name}: {_listed(left)} in the baseline, {_listed(right)} now"
        for name, left, right in (
            ("context bands", base.edges, current.edges),
            ("times of day", base.slots, current.slots),
            ("unit of the groups", base.unit, current.unit),
            ("salt of the groups", base.salt, current.salt),
        )
        if left != right
    ]
    differences += [
        f"{name}: {left} in the baseline, {right} now"
        for name, left, right in (
            ("classifier", base.classifier, current.classifier),
            ("task rules", base.task_rules, current.task_rules),
        )
        if left is not None and right is not None and left != right
    ]
    if base.ids != current.ids and set(base.by) & set(current.by):
        differences.append("salt of hashed ids: another in the baseline than now, so that ids cannot be matched")
    return differences


def tally_baseline(
    paths: Sequence[str],
    *,
    tables: Sequence[str | Path] = (),
    pricing: Sequence[str | Path] = (),
    options: Options | None = None,
    progress: Progress | None = None,
) -> Intake:
    """Logs and usage files counted as a baseline is: groups keep features apart, so that each can be checked."""
    book = read_prices(pricing)
    options = replace(options or Options(), group_features=True)
    intake = read(paths, book, tables=[read_table(t) for t in tables], options=options, progress=progress)
    return replace(intake, book_version=book.version)


def update_baseline(
    intake: Intake,
    output: Path,
    *,
    reason: str,
    by: str | None = None,
    force: bool = False,
    pricing: Sequence[str | Path] = (),
) -> Accepted:
    """Write what was read as the baseline `output`, with who accepts it, when, why and at which commit.

    force: replace an old one that was tallied differently, or by another version, too. Raises InputError where it must
    not be replaced, before anything is written.
    """
    if not reason.strip():
        raise UsageError("--reason is empty. Say why these costs are accepted: the next person will ask.")
    if not intake.usage.requests:
        raise nothing(intake)
    stamp = _stamp(by, reason.strip())
    old, notes = _old(output, intake.usage.settings, force=force)
    before = difference = None
    if old is not None:
        before = _history(output, read_about(output))
        book = read_prices(pricing)
        try:
            difference = difference_of(old, intake.usage, book)
        except InputError as error:
            notes.append(f"The old baseline cannot be priced beside this one: {error}")
    write_usage(intake.usage, output, book_version=intake.book_version, baseline=stamp)
    beside = pairs_path(output)
    if intake.pairs is not None:
        write_pairs(intake.pairs, beside)
    elif beside.exists():
        # they were of the old baseline
        beside.unlink()
    return Accepted(_history(output, read_about(output)), intake.usage.requests, before, difference, tuple(notes))


def difference_of(base: Usage, current: Usage, book: Book) -> Difference:
    """What a request costs on both sides, by task, at the prices of the last day of `base`. Raises InputError where a
    side lacks what the book needs."""
    for side in (base, current):
        require_prices(side, book, ())
    last = base.cells["day"].max()
    if not isinstance(last, dt.date):
        last = current.cells["day"].max()
    day = last if isinstance(last, dt.date) else dt.datetime.now(dt.UTC).date()
    sides = {name: _priced(usage, book, day) for name, usage in (("base", base), ("current", current))}
    by_task = [_costs(cells, name, ["task"]) for name, cells in sides.items()]
    total = [_costs(cells, name, []) for name, cells in sides.items()]
    joined = by_task[0].join(by_task[1], on="task", how="full", coalesce=True, nulls_equal=True)
    return Difference(
        _compared(joined).sort("task", nulls_last=True),
        _compared(pl.concat(total, how="horizontal")).row(0, named=True),
        day,
        book.version,
    )


def _priced(usage: Usage, book: Book, day: dt.date) -> pl.DataFrame:
    return savings.today(usage.cells.with_columns(day=pl.lit(day)), book, as_of=day)


def _costs(priced: pl.DataFrame, side: str, keys: Sequence[str]) -> pl.DataFrame:
    known = pl.col("today_usd").is_not_null()
    counted = pl.col("requests").filter(known).sum()
    measures = (
        pl.col("requests").sum().alias(f"{side}_requests"),
        pl.when(counted > 0).then(pl.col("today_usd").sum() / counted).alias(f"{side}_usd"),
    )
    return priced.group_by(keys).agg(*measures) if keys else priced.select(*measures)


def _compared(frame: pl.DataFrame) -> pl.DataFrame:
    base, current = pl.col("base_usd"), pl.col("current_usd")
    return frame.select(
        *(c for c in ("task",) if c in frame.columns),
        pl.col("base_requests", "current_requests").fill_null(0),
        base,
        current,
        pl.when(base > 0).then(current / base - 1).alias("increase"),
    )


def _old(output: Path, settings: Settings, *, force: bool) -> tuple[Usage | None, list[str]]:
    """The baseline that is about to be replaced, and what sets it apart; None where there is none to compare with."""
    if not output.exists():
        return None, []
    if not is_usage_file(output):
        raise InputError(f"{output} exists and is no usage file, so it is not replaced. Name another file with -o.")
    version = read_about(output).schema_version
    if version != schema.SCHEMA_VERSION:
        differences = [f"schema version: {version} in the baseline, {schema.SCHEMA_VERSION} now"]
    else:
        old = read_usage(output)
        differences = comparable_settings(old.settings, settings)
    if not differences:
        return old, []
    if not force:
        raise InputError(
            f"{output} was tallied differently: {'; '.join(differences)}. What is compared with the new baseline must "
            "be tallied as it is. If that is meant, add --replace; else tally with the options and the price book of "
            "the old one."
        )
    if version != schema.SCHEMA_VERSION:
        return None, [f"Replaced a baseline that cannot be read any more ({differences[0]}): nothing to compare."]
    return old, [f"Tallied differently: {d}." for d in differences]


def _stamp(by: str | None, reason: str) -> dict[str, str | None]:
    return {
        "updated": _now().isoformat(),
        "by": by or _git("config", "user.name") or os.environ.get("USER") or os.environ.get("USERNAME") or None,
        "reason": reason,
        "commit": _git("rev-parse", "--verify", "HEAD"),
    }


def _now() -> dt.datetime:
    """The present second, or the one that SOURCE_DATE_EPOCH gives to builds that must not depend on it
    (https://reproducible-builds.org/specs/source-date-epoch/)."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    if not fixed:
        return dt.datetime.now(dt.UTC).replace(microsecond=0)
    try:
        return dt.datetime.fromtimestamp(int(fixed), dt.UTC)
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"SOURCE_DATE_EPOCH: saw {fixed!r}, expected seconds since 1970 such as 1790812800.") from None


def _git(*command: str) -> str | None:
    """What git says of the folder we are in; null where there is no git, or no repository."""
    try:
        done = subprocess.run(["git", *command], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _history(path: Path | str, about: About) -> Baseline:
    told = about.baseline
    return Baseline(
        path=str(path),
        updated=_moment(told.get("updated")),
        by=_line(told.get("by")),
        reason=_line(told.get("reason")),
        commit=_line(told.get("commit")),
    )


def _line(text: str | None) -> str | None:
    """A text from a file as one line without control characters: a file can come from anybody."""
    return None if text is None else "".join(c for c in " ".join(text.split()) if c.isprintable()) or None


def _listed(value: str | tuple[int, ...]) -> str:
    if isinstance(value, str):
        return value
    return ", ".join(f"{n:,}" for n in value) or "none"


def _moment(text: str | None) -> dt.datetime | None:
    """A moment as it stands in a file; null where somebody wrote something else there."""
    try:
        moment = dt.datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=dt.UTC)
