"""Routing tables as CSV, for people and their spreadsheets."""

from __future__ import annotations

import csv
import io

from routecost.export.cells import Exported, cells, comment_lines, left_out
from routecost.routing import Table

COLUMNS = ("task", "mode", "model", "fallbacks", "evidence")


def to_csv(table: Table) -> Exported:
    """A row for every task and mode, then the default; fallbacks joined by `; `. What is not in it stands above the
    header in lines that begin with #."""
    left = left_out(table)
    text = io.StringIO()
    text.writelines(f"{line}\n" for line in comment_lines([f"Not in this file: {line}." for line in left]))
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for cell in cells(table):
        rows.writerow((cell.task, cell.mode, cell.model, "; ".join(cell.fallbacks), cell.evidence or ""))
    return Exported(text.getvalue(), left)
