"""Quality tables, and how they came about, as documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from routecost.pipeline.grading import FromLogs, Imported, Shown
from routecost.pipeline.promptset import PromptSet
from routecost.quality import COLUMNS
from routecost.render import Column, Document, Section
from routecost.render.intake import many

NO_SOURCE = "(none)"
_INTERVAL = "[ ]: 95 % interval, as if the answers were independent."


def from_logs_document(result: FromLogs) -> Document:
    """`quality from-logs`: what was written, with the caveats that stand in the file too."""
    lines = [
        f"Wrote {result.output}: {many(result.requests, 'request')} by task and model"
        + (f", {result.graded:,} of them graded by {result.signal}." if result.graded else ", none of them graded."),
    ]
    left = [
        f"{n:,} {what}"
        for n, what in (
            (result.unplaced, "without a task or a model"),
            (result.cached, "answered by a gateway's cache"),
            (result.intake.counts.get("rejected", 0), "rejected lines"),
        )
        if n
    ]
    if left:
        lines.append(f"Left out: {'; '.join(left)}.")
    data = {
        "output": str(result.output),
        "signal": result.signal,
        "requests": result.requests,
        "graded": result.graded,
        "pairs": result.pairs,
        "unplaced": result.unplaced,
        "gateway_cache_hits": result.cached,
        **_table_data(result.frame),
        "notes": list(result.notes),
    }
    sections = _sections(result.frame)
    notes = [*result.notes, *result.intake.notes]
    return Document("quality from-logs", lines, sections, data, table=_whole(result.frame), notes=notes)


def prompt_set_document(result: PromptSet) -> Document:
    """`quality sample`: prompts by task, and what to do with them."""
    lines = [
        f"Wrote {result.output}: {many(result.prompts, 'prompt')} for {many(result.requests, 'request')} with a task "
        "and text (readable by you only).",
    ]
    if result.promptfoo is not None:
        lines.append(f"Wrote {result.promptfoo}: the same as tests for promptfoo; add what grades an answer.")
    lines.append(
        "Run them on the models that you want to know about, then: "
        f"routecost quality import RESULTS --prompts {result.output}"
    )
    if result.left_out:
        lines.append(f"Left out: {many(result.left_out, 'request')} without a task or text.")
    columns = [Column("task", "Task"), Column("requests", "Requests", "count"), Column("prompts", "Prompts", "count")]
    rows = result.tasks.to_dicts()
    data = {
        "output": str(result.output),
        "promptfoo": str(result.promptfoo) if result.promptfoo else None,
        "prompts": result.prompts,
        "requests": result.requests,
        "left_out": result.left_out,
        "tasks": rows,
        "notes": list(result.notes),
    }
    return Document("quality sample", lines, [Section("Tasks", columns, rows)], data, notes=result.notes)


def imported_document(result: Imported) -> Document:
    """`quality import`: the table that was made, and what of the results is not in it."""
    single, pairs = _split(result.frame)
    lines = [
        f"Wrote {result.output}: {many(single.height, 'grade row')} and {many(pairs.height, 'pair row')}"
        + (f" from {many(result.answers, 'answer')}." if result.answers else "."),
        *(f"{file}: {kind}." for file, kind in result.kinds.items()),
    ]
    notes = list(result.notes)
    for name, near in result.unknown.items():
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        notes.append(f"The price book does not know {name!r}.{hint} Rename it with --model-map {name}=NAME.")
    data = {
        "output": str(result.output),
        "answers": result.answers,
        "files": [{"file": file, "kind": kind} for file, kind in result.kinds.items()],
        **_table_data(result.frame),
        "unknown_models": [{"model": name, "nearest": list(near)} for name, near in result.unknown.items()],
        "notes": list(result.notes),
    }
    return Document("quality import", lines, _sections(result.frame), data, table=_whole(result.frame), notes=notes)


def quality_document(result: Shown) -> Document:
    """`quality show`: grades and pairs with intervals, and the sources."""
    graded = result.grades.filter(pl.col("score").is_not_null() & pl.col("n").is_not_null())
    lines = [
        f"{', '.join(result.files)}: {many(result.grades.height, 'grade row')} ({graded.height:,} with a score and n), "
        f"{many(result.pairs.height, 'pair row')}."
    ]
    sections = []
    if result.grades.height:
        rows = [_shown(row) for row in result.grades.iter_rows(named=True)]
        sections.append(Section("Grades", _used(_GRADE, rows), rows, notes=[_INTERVAL]))
    if result.pairs.height:
        rows = [_shown(row) for row in result.pairs.iter_rows(named=True)]
        note = "Difference: mean score of the model less that of the other, on the same requests. " + _INTERVAL
        sections.append(Section("Pairs", _used(_PAIR, rows), rows, notes=[note]))
    if result.sources.height:
        rows = [{**row, "source": row["source"] or NO_SOURCE} for row in result.sources.iter_rows(named=True)]
        note = "Scores of different sources are never compared with each other."
        sections.append(Section("Sources", _SOURCE, rows, notes=[note]))
    data = {
        "files": list(result.files),
        "grades": _with_bounds(result.grades),
        "pairs": _with_bounds(result.pairs),
        "sources": result.sources.to_dicts(),
        "notes": list(result.notes),
    }
    everything = pl.concat([result.grades, result.pairs])
    table = Section("Quality", [Column(c, c) for c in (*COLUMNS, "low", "high", "age_days")], _with_bounds(everything))
    return Document("quality show", lines, sections, data, table=table, notes=result.notes)


_GRADE = (
    Column("task", "Task"),
    Column("model", "Model", "span"),
    Column("n", "Answers", "count"),
    Column("score", "Score", "number"),
    Column("interval", "[ ]"),
    Column("source", "Source"),
    Column("date", "Date", "span", optional=True),
    Column("age_days", "Days old", "count", optional=True),
    Column("latency_p50_ms", "p50", "ms", optional=True),
    Column("latency_p95_ms", "p95", "ms", optional=True),
    Column("output_ratio", "Length", "number", optional=True),
    Column("cost_usd", "A request", "usd", optional=True),
    Column("error_rate", "Errors", "percent", optional=True),
    Column("truncation_rate", "Cut off", "percent", optional=True),
    Column("retry_rate", "Retried", "percent", optional=True),
    Column("regenerate_rate", "Asked again", "percent", optional=True),
)
_PAIR = (
    Column("task", "Task"),
    Column("model", "Model", "span"),
    Column("versus", "Against", "span"),
    Column("n", "Pairs", "count"),
    Column("score", "Difference", "number"),
    Column("interval", "[ ]"),
    Column("source", "Source"),
    Column("date", "Date", "span", optional=True),
    Column("age_days", "Days old", "count", optional=True),
)
_SOURCE = (
    Column("source", "Source"),
    Column("rows", "Rows", "count"),
    Column("answers", "Answers", "count"),
    Column("oldest", "Oldest", "span"),
    Column("newest", "Newest", "span"),
)


def _sections(frame: pl.DataFrame) -> list[Section]:
    """A table as it was written, without intervals."""
    single, pairs = _split(frame)
    sections = []
    if single.height:
        rows = single.to_dicts()
        sections.append(Section("Grades", _used(_GRADE, rows), rows))
    if pairs.height:
        rows = pairs.to_dicts()
        sections.append(Section("Pairs", _used(_PAIR, rows), rows))
    return sections


def _used(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The columns that say something."""
    return [
        c for c in columns if c.key in ("task", "model", "n", "score") or any(r.get(c.key) is not None for r in rows)
    ]


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    low, high = row["low"], row["high"]
    interval = None if low is None or high is None else f"[{low:.3f}, {high:.3f}]"
    return {**row, "interval": interval, "source": row["source"] or NO_SOURCE}


def _split(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    pair = pl.col("versus").is_not_null()
    return frame.filter(~pair), frame.filter(pair)


def _table_data(frame: pl.DataFrame) -> dict[str, Any]:
    single, pairs = _split(frame)
    return {"grades": single.to_dicts(), "pair_rows": pairs.to_dicts()}


def _with_bounds(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.select(*COLUMNS, "low", "high", "age_days").to_dicts()


def _whole(frame: pl.DataFrame) -> Section:
    return Section("Quality", [Column(c, c) for c in COLUMNS], frame.to_dicts())
