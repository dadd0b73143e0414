"""What a log is, and what was made of it, as documents."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from routecost.logs import CORRECTIONS, DIALECTS, FLAT
from routecost.pipeline.conversion import Converted
from routecost.pipeline.inspection import FLAT_TITLE, HIDDEN, Inspected
from routecost.render import Column, Document, Section
from routecost.render.intake import many

_FILES_IN_DETAIL = 3
_SHOWN_FIELDS = 30
_LONGEST = 60


def formats_document() -> Document:
    """`formats`: every format that is known."""
    rows = [
        {"name": d.name, "title": d.title, "carries": d.carries, "signature": d.signature.replace("`", "")}
        for d in DIALECTS
    ]
    rows.append(
        {
            "name": FLAT,
            "title": FLAT_TITLE.partition(": ")[2],
            "carries": "what its columns say",
            "signature": "none of the others, and columns such as model, input_tokens, prompt",
        }
    )
    columns = (Column("name", "Name", "span"), Column("title", "What it is"), Column("carries", "What it carries"))
    lines = [
        f"{len(rows)} formats. A file's format is detected from its first records; --log-format NAME overrides that.",
        "docs/guides/logs.md tells how to get each file out of its source.",
    ]
    everything = Section("Formats", (*columns, Column("signature", "Recognised by")), rows)
    return Document("formats", lines, [Section("Formats", columns, rows)], {"formats": rows}, everything)


def inspected_document(files: Sequence[Inspected], *, show_text: bool = False) -> Document:
    """`inspect`: what each file is taken for, its first requests, and the fields that nothing reads."""
    lines: list[str] = []
    sections: list[Section] = []
    if len(files) > 1:
        columns = (
            Column("name", "File", "span"),
            Column("format", "Format"),
            Column("lines", "Records", "count"),
            Column("requests", "Calls", "count"),
            Column("with_tokens", "With tokens", "count"),
            Column("rejected", "Rejected", "count"),
        )
        sections.append(Section("Files", columns, [{c.key: getattr(f, c.key) for c in columns} for f in files]))
    shown: list[Inspected] = []
    for file in files:
        if file.format not in [f.format for f in shown] and len(shown) < _FILES_IN_DETAIL:
            shown.append(file)
    for file in shown:
        lines += _sentences(file)
        sections += _details(file, show_text=show_text)
    if len(shown) < len(files):
        lines.append(f"In detail: the first file of each format ({len(shown)} of {len(files)} files).")
    return Document("inspect", lines, sections, {"files": [_data(f, show_text=show_text) for f in files]})


def _sentences(file: Inspected) -> list[str]:
    lines = [
        f"{file.name}: {file.title}" + ("" if file.format == FLAT else f" ({file.format})") + ".",
        f"  Why: {file.why.replace('`', '')}.",
        f"  Carries {file.carries}.",
    ]
    if file.answered_by is not None:
        return [*lines, f"  Its answers are in another file ({file.answered_by}): name both, or the folder of both."]
    part = f"  The first part of it ({many(file.lines, 'record')}): {many(file.requests, 'call')}"
    if file.skipped:
        part += f", {many(file.skipped, 'other record')}"
    if file.repeated:
        part += f", {many(file.repeated, 'repeated line')} of a call"
    if file.rejected:
        part += f", {many(file.rejected, 'line')} rejected (the first: {file.first_reject})"
    lines.append(part + ".")
    lacking = file.requests - file.with_tokens
    if file.requests:
        counts = f"  Token counts: {many(file.with_tokens - file.estimated, 'call')} as logged"
        if file.estimated:
            counts += f", {file.estimated:,} estimated from text"
        if lacking:
            counts += f", {lacking:,} without"
        lines.append(counts + ".")
    lines += [f"  {many(n, 'call')}: {CORRECTIONS[name]}." for name, n in file.corrected.items()]
    lines += [f"  {note}" for note in file.notes]
    return lines


def _details(file: Inspected, *, show_text: bool) -> list[Section]:
    rows = file.rows.to_dicts()
    columns = [Column("column", "Column", "span")]
    if file.mapped:
        columns.append(Column("from", "Read from"))
    columns += [Column(f"row {n}", f"Request {n}") for n in range(1, len(rows) + 1)]
    table = []
    for column in file.rows.columns:
        values = [row[column] for row in rows]
        if column in ("row", "reject", "file", "line", "request_hash") or all(v is None for v in values):
            continue
        entry: dict[str, Any] = {"column": column, "from": ", ".join(_sources(file, column))}
        entry |= {f"row {n}": _shown(column, v, show_text=show_text) for n, v in enumerate(values, 1)}
        table.append(entry)
    notes = [] if show_text else ["Texts and ids are shown by their length; --show-text shows them."]
    sections = [Section(f"{file.name}: requests as mapped", columns, table, notes=notes)] if table else []
    if file.ignored:
        ignored = [{"field": f, "records": n} for f, n in list(file.ignored.items())[:_SHOWN_FIELDS]]
        more = len(file.ignored) - len(ignored)
        sections.append(
            Section(
                f"{file.name}: fields that nothing reads",
                [Column("field", "Field", "span"), Column("records", f"Records of {file.sample}", "count")],
                ignored,
                notes=[f"And {more} more (--format json lists them)."] if more else [],
            )
        )
    return sections


_FROM = {
    "input_tokens": ("input_tokens", "total_input_tokens"),
    "cache_write_tokens": ("written_tokens", "cache_write_tokens"),
    "prompt": ("prompt", "messages"),
    "previous_prompt": ("previous_prompt", "messages"),
    "system": ("system", "messages"),
    "n_messages": ("n_messages", "messages"),
    "model": ("model", "model_requested"),
}


def _sources(file: Inspected, column: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(p for name in _FROM.get(column, (column,)) for p in file.mapped.get(name, ())))


def _shown(column: str, value: Any, *, show_text: bool) -> str | None:
    if value is None:
        return None
    if column in HIDDEN and not show_text:
        return f"({len(value):,} characters)"
    if isinstance(value, dt.datetime):
        text = value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    else:
        text = f"{value:,}" if isinstance(value, int) else f"{value:,g}" if isinstance(value, float) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _data(file: Inspected, *, show_text: bool) -> dict[str, Any]:
    rows = [
        {
            column: _shown(column, value, show_text=show_text) if column in HIDDEN and not show_text else value
            for column, value in row.items()
            if column in file.rows.columns and column not in ("row", "reject", "request_hash")
        }
        for row in file.rows.to_dicts()
    ]
    return {
        "file": file.name,
        "format": file.format,
        "title": file.title,
        "why": file.why,
        "carries": file.carries,
        "records": file.lines,
        "calls": file.requests,
        "not_calls": file.skipped,
        "repeated_lines": file.repeated,
        "rejected": file.rejected,
        "with_tokens": file.with_tokens,
        "estimated": file.estimated,
        "corrected": dict(file.corrected),
        "rows": rows,
        "mapped": {column: list(paths) for column, paths in file.mapped.items()},
        "not_understood": dict(file.ignored),
        "notes": list(file.notes),
    }


def converted_document(result: Converted, output: str) -> Document:
    """`convert`: what was written and what was left out."""
    what = ", ".join(f"{n} {name}" if len(result.formats) > 1 else name for name, n in result.formats.items())
    lines = [f"Wrote {output}: {many(result.requests, 'request')} of {many(result.lines, 'record')} ({what})."]
    left = [
        f"{n:,} {text}"
        for n, text in (
            (result.skipped, "other than a model call"),
            (result.repeated, "repeated"),
            (result.rejected, "rejected"),
        )
        if n
    ]
    if left:
        lines.append(f"Left out: {', '.join(left)}.")
    if result.estimated:
        lines.append(f"{many(result.estimated, 'request')} with token counts estimated from text.")
    lines.append("It holds prompts and ids, and only you can read it.")
    data = {
        "output": output,
        "requests": result.requests,
        "records": result.lines,
        "not_calls": result.skipped,
        "repeated_lines": result.repeated,
        "rejected": result.rejected,
        "estimated": result.estimated,
        "formats": dict(result.formats),
    }
    return Document("convert", lines, [], data, notes=result.notes)
