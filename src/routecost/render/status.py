"""The answer of `status` as a document."""

from __future__ import annotations

from dataclasses import asdict

from routecost.pipeline.status import Item, Status
from routecost.render import Column, Document, Section


def status_document(result: Status) -> Document:
    """How much is due, and each part with its age and the command that renews it."""
    due = len(result.due)
    soon = sum(item.level == "soon" for item in result.items)
    verdict = f"{due} due" if due else "nothing due"
    if soon:
        verdict += f", {soon} soon"
    rows = [asdict(item) for item in result.items]
    columns = (
        Column("level", "State", "span"),
        Column("name", "What", "span"),
        Column("subject", "Which", optional=True),
        Column("message", "How old"),
        Column("due_on", "Due on", "span", optional=True),
    )
    shown = Section("Status", columns, rows)
    keys = tuple(Item.__dataclass_fields__)
    todo = list(dict.fromkeys((i.name, i.command) for i in result.items if i.level != "ok" and i.command))
    data = {
        "as_of": result.as_of,
        "book": result.book_version,
        "due": due,
        "soon": soon,
        "items": rows,
    }
    picture = [f"{name + ':':<12}{command}" for name, command in todo]
    if picture:
        picture.insert(0, "What renews it, or tells more:")
    lines = [f"As of {result.as_of}: {verdict}."]
    return Document(
        "status",
        lines,
        [shown],
        data,
        Section("status", [Column(k, k) for k in keys], rows),
        picture=picture,
    )
