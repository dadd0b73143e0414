"""A document for a terminal or a pipe, by Rich."""

from __future__ import annotations

import io

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from routecost.render import TEXT, Document, Section, cell


def to_console(document: Document, *, width: int, color: bool) -> str:
    """Plain text when `color` is false; never wraps a number."""
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=color, no_color=not color, highlight=False, soft_wrap=False, markup=False
    )
    for line in document.lines:
        console.print(Text(line))
    for section in document.sections:
        console.print()
        console.print(Text(section.title, style="bold"))
        console.print(_table(section))
        for note in section.notes:
            console.print(Text(f"  {note}", style="dim"))
    if document.notes:
        console.print()
        for note in document.notes:
            console.print(Text(note, style="dim"))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _table(section: Section) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_footer=False, pad_edge=False, header_style="bold", padding=(0, 1))
    for column in section.columns:
        if column.kind in TEXT:
            table.add_column(Text(column.header), overflow="fold", no_wrap=column.kind == "span")
        else:
            table.add_column(Text(column.header), justify="right", no_wrap=True)
    for row in section.rows:
        table.add_row(*(Text(cell(column, row.get(column.key))) for column in section.columns))
    if section.total:
        table.add_section()
        table.add_row(
            *(
                Text("" if column.key not in section.total else cell(column, section.total[column.key]), style="bold")
                for column in section.columns
            )
        )
    return table
