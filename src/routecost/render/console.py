"""A document for a terminal or a pipe, by Rich."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from routecost.render import TEXT, Column, Document, Section, cell

WIDEST = 400
LONGEST_TEXT = 60


def to_console(document: Document, *, width: int, color: bool) -> str:
    """Plain text when `color` is false. Sentences are wrapped at `width`; tables leave out optional columns to fit, and
    are wider than it rather than cut a number or a name."""
    out = io.StringIO()
    console = Console(
        file=out, width=WIDEST, force_terminal=color, no_color=not color, highlight=False, soft_wrap=False, markup=False
    )

    def say(text: str, indent: str = "", style: str = "") -> None:
        for line in textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent) or [""]:
            console.print(Text(line, style=style))

    for line in document.lines:
        say(line.strip(), indent=line[: len(line) - len(line.lstrip())])
    for section in document.sections:
        console.print()
        console.print(Text(section.title, style="bold"))
        console.print(_fitting(section, console, width))
        for note in section.notes:
            say(note, indent="  ", style="dim")
    if document.picture:
        console.print()
        for line in document.picture:
            console.print(Text(line))
    if document.notes:
        console.print()
        for note in document.notes:
            say(note, style="dim")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _fitting(section: Section, console: Console, width: int) -> Table:
    """The table without as many optional columns, the last ones first, as it takes to fit."""
    columns = list(section.columns)
    while True:
        table = _table(section, columns)
        optional = [column for column in columns if column.optional]
        if not optional or Measurement.get(console, console.options, table).maximum <= width:
            return table
        columns.remove(optional[-1])


def _table(section: Section, columns: Sequence[Column]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_footer=False, pad_edge=False, header_style="bold", padding=(0, 1))
    for column in columns:
        if column.kind in TEXT:
            broken = column.kind == "text"
            table.add_column(
                Text(column.header), overflow="fold", no_wrap=not broken, max_width=LONGEST_TEXT if broken else None
            )
        else:
            table.add_column(Text(column.header), justify="right", no_wrap=True)
    for row in section.rows:
        table.add_row(*(Text(cell(column, row.get(column.key))) for column in columns))
    if section.total:
        total = section.total
        table.add_section()
        table.add_row(*(Text("" if c.key not in total else cell(c, total[c.key]), style="bold") for c in columns))
    return table
