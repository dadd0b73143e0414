"""A baseline, and the difference that accepting one makes, as documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routecost.gate.result import Baseline
from routecost.pipeline.analysis import period_of
from routecost.pipeline.baseline import Accepted, Difference
from routecost.render import Column, Document, Section
from routecost.render.intake import many, task_name
from routecost.usage import About, Usage

_COLUMNS = (
    Column("task", "Task"),
    Column("base_requests", "Requests before", "count", optional=True),
    Column("current_requests", "Requests now", "count", optional=True),
    Column("base_usd", "USD a request before", "usd"),
    Column("current_usd", "USD a request now", "usd"),
    Column("increase", "Increase", "percent"),
)


def accepted_document(result: Accepted) -> Document:
    """What was accepted, by whom and why, and what a request costs by task before and now."""
    lines = [f"{result.baseline.path}: accepted {many(result.requests, 'request')} as the baseline."]
    sections = [_histories(result.before, result.baseline)]
    if result.difference is not None:
        sections.append(_section(result.difference))
    elif result.before is None and not result.notes:
        lines.append("There was none before, so nothing is compared.")
    data = {
        "baseline": baseline_data(result.baseline),
        "requests": result.requests,
        "before": None if result.before is None else baseline_data(result.before),
        "difference": None if result.difference is None else _data(result.difference),
        "notes": list(result.notes),
    }
    table = _section(result.difference) if result.difference is not None else Section("", _COLUMNS, [])
    return Document("baseline update", lines, sections, data, table, notes=list(result.notes))


def shown_document(usage: Usage, baseline: Baseline, about: About) -> Document:
    """Whose baseline it is, and what anything compared with it must be tallied like."""
    period = period_of(usage.cells)
    when = "no dates" if period.first is None else f"{period.first} to {period.last}"
    lines = [f"{baseline.path}: {many(usage.requests, 'request')}, {when}."]
    if baseline.updated is None and baseline.reason is None:
        lines.append("Nobody said when or why it was accepted: `routecost baseline update` writes that.")
    settings = usage.settings
    rows: list[dict[str, str | None]] = [
        *({"name": name, "value": value} for name, value in _history(baseline).items()),
        {"name": "price book", "value": about.book_version},
        {"name": "context bands", "value": ", ".join(f"{e:,}" for e in settings.edges) or None},
        {"name": "times of day", "value": ", ".join(f"{s // 60:02d}:{s % 60:02d}" for s in settings.slots) or None},
        {"name": "unit of the groups", "value": settings.unit},
        {"name": "classifier", "value": settings.classifier},
        {"name": "task rules", "value": settings.task_rules},
        {"name": "further keys", "value": ", ".join(settings.by) or None},
        {"name": "files", "value": ", ".join(str(s.get("name")) for s in usage.sources[:5]) or None},
    ]
    section = Section("Baseline", (Column("name", "What"), Column("value", "Value")), rows)
    data = {
        "baseline": baseline_data(baseline),
        "requests": usage.requests,
        "first_day": period.first,
        "last_day": period.last,
        "book": about.book_version,
        "edges": settings.edges,
        "slots": settings.slots,
        "unit": settings.unit,
        "classifier": settings.classifier,
        "task_rules": settings.task_rules,
        "by": settings.by,
        "sources": [dict(s) for s in usage.sources],
    }
    return Document("baseline show", lines, [section], data, section)


def baseline_data(baseline: Baseline) -> Mapping[str, Any]:
    """Who accepted a baseline, when and why, for JSON."""
    return {
        "path": baseline.path,
        "updated": baseline.updated,
        "by": baseline.by,
        "reason": baseline.reason,
        "commit": baseline.commit,
    }


def _history(baseline: Baseline) -> dict[str, str | None]:
    return {
        "accepted": None if baseline.updated is None else f"{baseline.updated:%Y-%m-%d %H:%M} UTC",
        "by": baseline.by,
        "reason": baseline.reason,
        "commit": None if baseline.commit is None else baseline.commit[:12],
    }


def _histories(before: Baseline | None, now: Baseline) -> Section:
    old = {} if before is None else _history(before)
    rows = [{"name": name, "before": old.get(name), "now": value} for name, value in _history(now).items()]
    columns = [Column("name", "What"), Column("before", "Before"), Column("now", "Now")]
    return Section("Baseline", columns if before is not None else [columns[0], columns[2]], rows)


def _section(difference: Difference) -> Section:
    rows = [{**row, "task": task_name(row["task"])} for row in difference.by_task.iter_rows(named=True)]
    return Section(
        "What is accepted",
        _COLUMNS,
        rows,
        {"task": "all", **difference.total},
        [f"Both at the prices of {difference.priced_on} ({difference.book_version}); a mean over what has a price."],
    )


def _data(difference: Difference) -> Mapping[str, Any]:
    return {
        "priced_on": difference.priced_on,
        "book": difference.book_version,
        "total": difference.total,
        "by_task": difference.by_task.to_dicts(),
    }
