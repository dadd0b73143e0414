"""The answer of `routes check` as a document."""

from __future__ import annotations

from routecost.pipeline.analysis import DAYS_PER_MONTH
from routecost.pipeline.staleness import Staleness
from routecost.render import Column, Document, Section, usd


def staleness_document(result: Staleness) -> Document:
    """A verdict, what the table leaves, and each finding."""
    when = f", made on {result.made_on}" if result.made_on else ""
    stale = sum(s.level == "stale" for s in result.found)
    verdict = f"stale ({stale} finding{'s' if stale != 1 else ''})" if stale else "nothing stale"
    lines = [f"{result.table}{when}, as of {result.as_of} ({result.book_version}): {verdict}."]
    monthly = result.scale is not None and result.scale.factor is not None
    factor = result.scale.factor * DAYS_PER_MONTH if result.scale is not None and result.scale.factor else 1.0
    unit = "a month" if monthly else "in all"
    if result.left_usd is not None and result.left_usd * factor >= 0.005:
        lines.append(f"Your table leaves {usd(result.left_usd * factor)} {unit} on the table.")
    rows = [
        {
            "level": s.level,
            "where": s.where,
            "message": s.message,
            "usd": None if s.usd is None else s.usd * factor,
            "fix": s.fix or None,
        }
        for s in result.found
    ]
    columns = (
        Column("level", "Level"),
        Column("where", "Where", "span"),
        Column("message", "What"),
        Column("usd", f"Costs more ({unit})", "usd"),
        Column("fix", "To do"),
    )
    section = Section("Findings", columns, rows)
    data = {
        "table": result.table,
        "stale": result.is_stale,
        "made_on": result.made_on,
        "as_of": result.as_of,
        "book": result.book_version,
        "left_usd": result.left_usd,
        "left_usd_a_month": result.left_usd * factor if result.left_usd is not None and monthly else None,
        "findings": [
            {"level": s.level, "where": s.where, "message": s.message, "fix": s.fix, "usd": s.usd} for s in result.found
        ],
    }
    return Document("routes check", lines, [section] if rows else [], data, section)
