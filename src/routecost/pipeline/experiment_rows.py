"""Logs to a narrow table with a row for each request: its arm, unit and task, and what is measured of it."""

from __future__ import annotations

import collections
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl

from routecost import logs, savings, schema, tasks
from routecost.errors import InputError
from routecost.experiment.arms import Arms as ArmsBy
from routecost.experiment.arms import ByColumn, ByHash, assigned
from routecost.experiment.metrics import Metric
from routecost.pipeline.feedback import Joining
from routecost.pipeline.feedback import note as feedback_note
from routecost.pipeline.intake import Options, Progress
from routecost.pipeline.labelling import Typist, open_paths, over
from routecost.prices import Book
from routecost.schema import REQUEST, TASKS
from routecost.usage import Settings, prepare
from routecost.usage.cells import Unit
from routecost.usage.sessions import place

_TEXT: Final = ("prompt", "system", "previous_prompt", "n_messages", "project")
_UNUSED: Final = ("file", "line", "request_hash", "model_requested", "stream")
_UNITS: Final[Mapping[str, tuple[str, ...]]] = {
    "auto": ("user_id", "session_id", "request_id"),
    "user": ("user_id",),
    "session": ("session_id",),
    "request": ("request_id",),
}
# Words of a column of truths; anything else has to be a number.
_TRUTHS: Final = {"true": "1", "yes": "1", "false": "0", "no": "0"}
_CATEGORIES: Final = ("arm", "task", "feature", "model")
# What a log says of a request only where something is: without any, nothing is known of the others either.
_SAID: Final = {"error": "status", "truncated": "finish_reason", "retried": "attempt"}


@dataclass(frozen=True)
class Rows:
    """A row a request: arm, task, unit (u64), day, feature, model, and a column for each metric (null: unknown).

    unit: what the units are (user, session, request, or a mixture). counts: requests, rejected, duplicates, outside.
    About 70 bytes a request, so that ten million fit in memory.
    """

    frame: pl.DataFrame
    metrics: tuple[Metric, ...]
    unit: str
    counts: Mapping[str, int]
    notes: tuple[str, ...]
    damaged: tuple[str, ...]


def read_rows(
    paths: Sequence[str],
    book: Book,
    metrics: Sequence[Metric],
    arms: ArmsBy | None,
    options: Options,
    progress: Progress | None = None,
) -> Rows:
    """One pass over the logs. arms: None where there are none to tell. Raises InputError."""
    own = {m.column: m.column.removeprefix("own:") for m in metrics if m.column.startswith("own:")}
    asked = [*own.values(), *([arms.column] if isinstance(arms, ByColumn) else [])]
    opened = open_paths(
        paths,
        options.field_map,
        options.log_format,
        [c for c in dict.fromkeys(asked) if c not in REQUEST],
        estimates=options.estimates,
    )
    settings = Settings(edges=book.edges, slots=book.slots)
    joining = Joining(options.feedback) if options.feedback is not None else None
    unit: Unit = "user" if isinstance(arms, ByHash) else options.unit
    typist = functools.lru_cache(maxsize=1)(lambda: _typist(options))
    every = tuple(c for c in REQUEST if c not in _UNUSED or c in asked)
    lean = tuple(c for c in every if c not in _TEXT or c in asked)
    text = options.tasks_from != "log" or not all(layout.labelled for layout in opened.layouts)

    def work(chunk: logs.Chunk, source: int) -> tuple[pl.DataFrame, collections.Counter[str]]:
        parsed = chunk.parse(every if text else lean)
        requests = parsed.requests
        if options.tasks_from != "log" or not _labelled(requests):
            requests = requests if text else chunk.parse(every).requests
            requests = typist().decide(requests)
        requests = requests if joining is None else joining.join(requests)
        inside = _inside(requests, options)
        if joining is not None:
            joining.count(inside)
        counts = collections.Counter(
            lines=parsed.lines, rejected=len(parsed.rejects), outside=requests.height - inside.height
        )
        for kind in ("user_id", "session_id"):
            counts[kind] = inside.height - inside[kind].null_count() if kind in inside.columns else 0
        return _narrow(inside, book, settings, arms, own, unit, place(source, chunk.ordinal, 0)), counts

    parts: list[pl.DataFrame] = []
    counts: collections.Counter[str] = collections.Counter()
    damaged: list[str] = []
    for part, some in over(opened, work, damaged, progress):
        counts.update(some)
        if part.height:
            parts.append(part)
    if not parts:
        raise InputError(
            f"no request in {', '.join(paths)}: {counts['rejected']:,} lines were rejected, {counts['outside']:,} "
            "requests lie outside --since and --until."
        )
    frame = pl.concat(parts)
    height = frame.height
    frame = _once(frame)
    counts["requests"], counts["duplicates"] = frame.height, height - frame.height
    frame, metrics = _known(frame, metrics)
    notes = list(opened.notes)
    if joining is not None and options.feedback is not None:
        counts.update(joining.counts(all_counted=options.since is None and options.until is None))
        notes.append(feedback_note(options.feedback, counts))
    return Rows(frame, tuple(metrics), _unit_name(unit, counts, height), counts, tuple(notes), tuple(damaged))


def _typist(options: Options) -> Typist:
    from routecost.classifier import load

    wanted = options.classify and options.tasks_from != "rules"
    return Typist(
        load(options.classifier) if wanted else None,
        tasks.read_rules(options.task_rules) if options.tasks_from != "classifier" else tasks.Rules(),
        ignore_log=options.tasks_from != "log",
    )


def _labelled(requests: pl.DataFrame) -> bool:
    task = requests["task"]
    return not task.null_count() and bool(task.is_in(TASKS).all())


def _inside(requests: pl.DataFrame, options: Options) -> pl.DataFrame:
    if options.since is not None:
        requests = requests.filter((pl.col("ts") >= options.since).fill_null(False))
    if options.until is not None:
        requests = requests.filter((pl.col("ts") < options.until).fill_null(False))
    return requests


def _narrow(
    requests: pl.DataFrame,
    book: Book,
    settings: Settings,
    arms: ArmsBy | None,
    own: Mapping[str, str],
    unit: Unit,
    first: int,
) -> pl.DataFrame:
    lacking = [c for c in REQUEST if c not in requests.columns]
    requests = requests.with_columns(pl.lit(None, REQUEST[c]).alias(c) for c in lacking)
    arm = pl.Series(["all"]).new_from_index(0, requests.height) if arms is None else assigned(requests, arms)
    prepared = savings.today(prepare(requests, settings), book)
    hit = requests["gateway_cache_hit"].fill_null(False)
    return requests.select(
        id=pl.col("request_id").hash(1),
        has_id=pl.col("request_id").is_not_null(),
        arm=arm,
        task=pl.col("task"),
        feature=pl.col("feature"),
        model=pl.col("model"),
        unit=_unit(unit, first),
        day=schema.day(pl.col("ts")),
        negative=(pl.col("feedback") < 0).cast(pl.Int8),
        rating=pl.col("feedback").cast(pl.Float32),
        rated=pl.col("feedback").is_not_null().cast(pl.Int8),
        error=(pl.col("status") == "error").cast(pl.Int8),
        truncated=pl.when(pl.col("finish_reason").is_not_null()).then(prepared["truncated"]).cast(pl.Int8),
        retried=(pl.col("attempt") > 1).cast(pl.Int8),
        cost=prepared["today_usd"],
        input=prepared["total_input"].cast(pl.Int64),
        output=prepared["total_output"].cast(pl.Int64),
        latency=pl.when(~hit).then(pl.col("latency_ms")).cast(pl.Float32),
        **{column: _number(name, requests) for column, name in own.items()},
    ).with_columns(pl.col(_CATEGORIES).cast(pl.Categorical))


def _unit(unit: Unit, first: int) -> pl.Expr:
    """The hash of what was drawn into an arm; a request without such an id is a unit of its own."""
    ids = [pl.when(pl.col(c).is_not_null()).then(pl.col(c).hash(i)) for i, c in enumerate(_UNITS[unit])]
    alone = (pl.int_range(pl.len(), dtype=pl.UInt64) + pl.lit(first, pl.UInt64)).hash(7)
    return pl.coalesce(*ids, alone)


def _number(name: str, requests: pl.DataFrame) -> pl.Expr:
    column = name if name in requests.columns else f"raw:{name}"
    if column not in requests.columns:
        return pl.lit(None, pl.Float32)
    if requests.schema[column] == pl.String:
        return pl.col(column).str.to_lowercase().replace(_TRUTHS).cast(pl.Float32, strict=False)
    return pl.col(column).cast(pl.Float32, strict=False)


def _once(frame: pl.DataFrame) -> pl.DataFrame:
    """Without later copies of a request with the same id."""
    named = frame.filter("has_id")
    if named["id"].n_unique() < named.height:
        named = named.unique("id", keep="first", maintain_order=True)
        frame = pl.concat([named, frame.filter(~pl.col("has_id"))])
    return frame.drop("id", "has_id")


def _known(frame: pl.DataFrame, metrics: Sequence[Metric]) -> tuple[pl.DataFrame, list[Metric]]:
    """A null status means that nothing went wrong only where the log has any; a metric of 0 and 1 is a rate."""
    said = [c for c in _SAID if frame[c].null_count() < frame.height]
    frame = frame.with_columns(pl.col(said).fill_null(0))
    found = []
    for metric in metrics:
        if metric.column.startswith("own:"):
            values = frame[metric.column].drop_nulls()
            if values.is_empty():
                name = metric.column.removeprefix("own:")
                raise InputError(f"--metric {name}: no request has a number or true/false under that name.")
            if values.is_in([0.0, 1.0]).all():
                metric = replace(metric, kind="rate", scale=0.01)
        found.append(metric)
    return frame, found


def _unit_name(unit: Unit, counts: Mapping[str, int], requests: int) -> str:
    if unit != "auto":
        return unit
    if counts["user_id"] == requests:
        return "user"
    if counts["user_id"] == 0:
        return (
            "session"
            if counts["session_id"] == requests
            else "request"
            if not counts["session_id"]
            else "session or request"
        )
    return "user, session or request"


def days_of(frame: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Requests of each calendar day from the first to the last, empty days too."""
    known = frame["day"].drop_nulls().to_physical().to_numpy()
    return np.bincount(known - known.min()) if known.size else np.zeros(0, np.int64)
