"""Results as text: a document of titled tables, printed for a console, as markdown, JSON or CSV."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Format = Literal["console", "json", "markdown", "csv"]
Kind = Literal["text", "span", "count", "usd", "percent", "ms", "number", "rate"]

JSON_SCHEMA_VERSION = 1
UNKNOWN = "-"
TEXT = ("text", "span")


@dataclass(frozen=True)
class Column:
    """One column of a table: the key in its rows, the header, and how a value is written.

    kinds: count (integer), usd (rounded by its size), percent (a share, 0-1),
    ms, number, rate (USD per million tokens), text, span (text that is not broken). None is written as `-`.
    optional: may be left out where a terminal is too narrow.
    """

    key: str
    header: str
    kind: Kind = "text"
    optional: bool = False


@dataclass(frozen=True)
class Section:
    """A titled table. `total` is a last row set apart; `notes` stand below it, one a line."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    total: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Document:
    """What a command prints: sentences first (`lines`), then sections.

    data: the whole result for JSON, unrounded. table: the section that CSV writes, unrounded. picture: lines to be
    shown as they are.
    """

    command: str
    lines: Sequence[str] = ()
    sections: Sequence[Section] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    table: Section | None = None
    notes: Sequence[str] = ()
    picture: Sequence[str] = ()


def text(document: Document, fmt: Format, *, width: int = 110, color: bool = False) -> str:
    """The document in a format, ending in a newline."""
    if fmt == "json":
        return to_json(document)
    if fmt == "csv":
        return to_csv(document)
    if fmt == "markdown":
        return to_markdown(document)
    from routecost.render.console import to_console

    return to_console(document, width=width, color=color)


def to_json(document: Document) -> str:
    body = {"schema_version": JSON_SCHEMA_VERSION, "command": document.command, **document.data}
    return json.dumps(body, indent=2, default=_plain, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(document: Document) -> str:
    section = document.table or document.sections[0]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.key for column in section.columns])
    for row in section.rows:
        writer.writerow(["" if (v := row.get(column.key)) is None else v for column in section.columns])
    return out.getvalue()


def to_markdown(document: Document) -> str:
    blocks = ["\n".join(document.lines)] if document.lines else []
    for section in document.sections:
        header = "| " + " | ".join(_pipe(c.header) for c in section.columns) + " |"
        rule = "| " + " | ".join("---" if c.kind in TEXT else "---:" for c in section.columns) + " |"
        rows = [*section.rows, *([section.total] if section.total else [])]
        body = ["| " + " | ".join(_pipe(cell(c, row.get(c.key))) for c in section.columns) + " |" for row in rows]
        table = "\n".join([header, rule, *body])
        notes = "\n".join(f"- {_pipe(note)}" for note in section.notes)
        blocks.append("\n\n".join(part for part in (f"## {section.title}", table, notes) if part))
    if document.picture:
        blocks.append("\n".join(["```text", *document.picture, "```"]))
    if document.notes:
        blocks.append("\n".join(f"- {_pipe(note)}" for note in document.notes))
    return "\n\n".join(blocks) + "\n"


def cell(column: Column, value: Any) -> str:
    """One value as it is shown: rounded here and nowhere else."""
    if value is None:
        return UNKNOWN
    if column.kind == "count":
        return f"{value:,.0f}"
    if column.kind == "usd":
        return usd(value)
    if column.kind == "percent":
        shown = f"{value * 100:.1f}%"
        return "0.0%" if shown == "-0.0%" else shown
    if column.kind == "ms":
        return f"{value:,.0f} ms"
    if column.kind in ("number", "rate"):
        return f"{value:,.4g}"
    return str(value)


def usd(value: float) -> str:
    """Dollars with as many digits as their size deserves: $1,234, $12.34, $0.0123; negative as -$1.20."""
    size = abs(value)
    if size < 5e-9:
        # less than any request costs: what is left over when floats are subtracted
        return "$0.00"
    if size >= 1000:
        digits = f"{size:,.0f}"
    elif size >= 0.995:
        digits = f"{size:,.2f}"
    else:
        digits = f"{size:.{2 - math.floor(math.log10(float(f'{size:.2e}')))}f}"
    return f"{'-' if value < 0 else ''}${digits}"


def _pipe(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _plain(value: Any) -> Any:
    if isinstance(value, dt.date | dt.datetime):
        return value.isoformat()
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    raise TypeError(f"{type(value).__name__} in a JSON result")
