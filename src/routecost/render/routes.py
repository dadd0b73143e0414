"""Routing tables, what is wrong with them and how they differ, as documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from routecost.pipeline.rules import Checked
from routecost.render import Column, Document, Section
from routecost.routing import Change, Finding, Made, Override, Table
from routecost.routing.table import EVERY_TASK


def table_document(table: Table) -> Document:
    """`routes show`: the grid of task x mode with the default below it, overrides, fallbacks and settings."""
    modes = table.modes()
    rows = [{"task": task, **row} for task, row in table.routes.items()]
    default = {"task": "default", **{mode: (table.default or {}).get(mode) for mode in modes}}
    columns = [Column("task", "task"), *(Column(mode, mode) for mode in modes)]
    notes = []
    if any(mode not in row for row in table.routes.values() for mode in modes):
        notes.append("- in a task's row: the default is used.")
    if any(default[mode] is None for mode in modes):
        notes.append("- in the default: requests stay on the model they were logged with.")
    sections = [Section("Routes", columns, rows, total=default, notes=notes)]
    if table.overrides:
        sections.append(
            Section(
                "Overrides (the first match wins, before the task)",
                [
                    Column("n", "#", "count"),
                    Column("when", "when"),
                    Column("to", "goes to"),
                    Column("read", "read from"),
                ],
                [
                    {
                        "n": i,
                        "when": str(override),
                        "to": _target(override),
                        "read": "the log" if override.needs_request else "usage",
                    }
                    for i, override in enumerate(table.overrides, 1)
                ],
            )
        )
    if table.fallbacks:
        fallbacks = [{"model": model, "then": ", ".join(others)} for model, others in table.fallbacks.items()]
        sections.append(
            Section("Fallbacks", [Column("model", "when it fails"), Column("then", "then, in order")], fallbacks)
        )
    sections += [*_ratio_sections(table), *_made_sections(table)]
    grid = Section("Routes", columns, [*rows, default])
    return Document("routes show", _lines(table), sections, {"table": _plain(table)}, grid)


def _ratio_sections(table: Table) -> list[Section]:
    rows = [
        {"model": model, "task": "every task" if task == EVERY_TASK else task, "ratio": ratio}
        for model, ratios in table.output_ratios.items()
        for task, ratio in ratios.items()
    ]
    columns = [Column("model", "model"), Column("task", "task"), Column("ratio", "ratio", "number")]
    note = "Against a model of ratio 1, which is that of every model that is not listed."
    return [Section("Length of answers", columns, rows, notes=[note])] if rows else []


def _made_sections(table: Table) -> list[Section]:
    if table.made is None:
        return []
    evidence = [
        {"task": task, "mode": mode, "why": why}
        for task, by_mode in table.made.evidence.items()
        for mode, why in by_mode.items()
    ]
    prices = [{"model": model, **price} for model, price in table.made.prices.items()]
    sections = []
    if evidence:
        columns = [Column("task", "task"), Column("mode", "mode"), Column("why", "why")]
        sections.append(Section("Evidence", columns, evidence))
    if prices:
        kinds = [Column(kind, kind, "rate") for kind in ("input", "output")]
        title = f"Prices on {table.made.date.isoformat()} (USD per million tokens)"
        sections.append(Section(title, [Column("model", "model"), *kinds], prices))
    return sections


def findings_document(checked: Sequence[tuple[str, Sequence[Finding]]], rules: Sequence[Checked] = ()) -> Document:
    """`routes validate`: the findings of each table (by name), and whether it can be used; then those of rules."""
    lines = [f"{name}: {_verdict(findings)}" for name, findings in checked]
    columns = [Column("level", "level"), Column("where", "where"), Column("message", "what"), Column("fix", "to do")]
    sections = [
        Section(name, columns, [{**asdict(f), "fix": f.fix or None} for f in findings])
        for name, findings in checked
        if findings
    ]
    for found in rules:
        if found.requests is not None:
            counts = [Column("matches", "matches", "count"), Column("decides", "decides", "count")]
            uses = [{"n": u.number, "rule": u.rule, "matches": u.matches, "decides": u.decides} for u in found.uses]
            title = f"{found.name}, on {found.requests:,} requests"
            sections.append(Section(title, [Column("n", "#", "count"), Column("rule", "rule"), *counts], uses))
        said = [{**asdict(f), "fix": f.fix or None} for f in found.findings]
        sections += [Section(f"{found.name}: findings", columns, said)] if said else []
        lines.append(f"{found.name}: {_verdict(found.findings)}")
    rows = [{"table": name, **asdict(f)} for name, findings in checked for f in findings]
    rows += [{"table": found.name, **asdict(f)} for found in rules for f in found.findings]
    data = {
        "tables": [
            {
                "table": name,
                "valid": not any(f.level == "error" for f in findings),
                "findings": [asdict(f) for f in findings],
            }
            for name, findings in checked
        ],
        "rules": [
            {
                "name": found.name,
                "requests": found.requests,
                "uses": [asdict(u) for u in found.uses],
                "findings": [asdict(f) for f in found.findings],
            }
            for found in rules
        ],
    }
    return Document(
        "routes validate", lines, sections, data, Section("Findings", [Column("table", "table"), *columns], rows)
    )


def diff_document(old: Table, new: Table, changes: Sequence[Change]) -> Document:
    """`routes diff`: the changes from one table to another."""
    columns = [Column("kind", "change"), Column("where", "where"), Column("old", old.name), Column("new", new.name)]
    if old.name == new.name:
        columns[2:] = [Column("old", "old"), Column("new", "new")]
    rows = [asdict(change) for change in changes]
    counted = f"{len(changes)} change{'' if len(changes) == 1 else 's'}" if changes else "no difference"
    lines = [f"from {_title(old)}", f"to {_title(new)}: {counted}"]
    section = Section("Changes", columns, rows)
    data = {"old": _title(old), "new": _title(new), "changes": rows}
    return Document("routes diff", lines, [section] if changes else [], data, section)


def list_document(tables: Sequence[Table]) -> Document:
    """`routes list`: the tables that come with the program."""
    columns = [
        Column("name", "table"),
        Column("description", "what it is"),
        Column("default_mode", "default mode"),
        Column("models", "models", "count"),
    ]
    rows = [
        {
            "name": table.name,
            "description": table.description,
            "default_mode": table.default_mode,
            "models": len(table.models()),
            "source": table.source,
        }
        for table in tables
    ]
    section = Section(
        "Shipped tables",
        columns,
        rows,
        notes=["Use one by its name (--table NAME); `routecost routes show NAME` prints it."],
    )
    return Document("routes list", (), [section], {"tables": rows}, section)


def _lines(table: Table) -> list[str]:
    lines = [_title(table)]
    if table.description:
        lines.append(table.description)
    lines.append(f"Requests without a mode of the table are routed in {table.default_mode} mode.")
    if table.speculative:
        paid = "in full" if table.loser_share == 1 else f"to {table.loser_share:.0%}"
        lines.append(f"Speculative: {', '.join(table.speculative)}; the slower of the two calls is paid {paid}.")
    if table.failover_rate is not None:
        rate = table.failover_rate
        share = "the share of calls that fail in the log" if rate == "from-log" else f"{float(rate):.2%} of the calls"
        lines.append(f"Failover: {share} is paid at the fallback's price.")
    if table.classifier_cost_per_request_usd or table.classifier_latency_ms is not None:
        latency = "" if table.classifier_latency_ms is None else f", {table.classifier_latency_ms:g} ms"
        lines.append(f"Classifier: ${table.classifier_cost_per_request_usd:g} a request{latency}.")
    if table.made is not None:
        lines.append(_made_line(table.made))
    return lines


def _made_line(made: Made) -> str:
    parts = [f"Made on {made.date.isoformat()}"]
    parts += [f"by {made.by}"] if made.by else []
    parts += [f"against {made.reference}"] if made.reference else []
    parts += [f"with prices {made.book}"] if made.book else []
    parts += [f"from grades until {made.evidence_until.isoformat()}"] if made.evidence_until else []
    return f"{', '.join(parts)}."


def _title(table: Table) -> str:
    return f"{table.name} ({table.source})" if table.source else table.name


def _verdict(findings: Sequence[Finding]) -> str:
    if not findings:
        return "valid"
    counts = {level: sum(f.level == level for f in findings) for level in ("error", "warning", "note")}
    named = ", ".join(f"{n} {level}{'' if n == 1 else 's'}" for level, n in counts.items() if n)
    return f"{'not valid' if counts['error'] else 'valid'}, {named}"


def _target(override: Override) -> str:
    if override.target is None:
        return "its own model"
    if isinstance(override.target, str):
        return override.target
    return ", ".join(f"{mode}: {model}" for mode, model in override.target.items())


def _plain(table: Table) -> dict[str, Any]:
    """The table as its file would say it, nothing left to a default."""
    return {
        "name": table.name,
        "description": table.description,
        "source": table.source,
        "modes": table.modes(),
        "default_mode": table.default_mode,
        "default": None if table.default is None else dict(table.default),
        "routes": {task: dict(row) for task, row in table.routes.items()},
        "overrides": [_plain_override(override) for override in table.overrides],
        "fallbacks": {model: list(others) for model, others in table.fallbacks.items()},
        "failover_rate": table.failover_rate,
        "speculative": list(table.speculative),
        "loser_share": table.loser_share,
        "classifier": {
            "cost_per_request_usd": table.classifier_cost_per_request_usd,
            "latency_ms": table.classifier_latency_ms,
        },
        "output_ratios": {model: dict(ratios) for model, ratios in table.output_ratios.items()},
        "made": asdict(table.made) if table.made else None,
    }


def _plain_override(override: Override) -> dict[str, Any]:
    to: dict[str, Any] = {"keep": True}
    if override.target is not None:
        to = {"model": dict(override.target) if isinstance(override.target, Mapping) else override.target}
    return {"key": override.key, **override.conditions, **to, "needs_request": override.needs_request}
