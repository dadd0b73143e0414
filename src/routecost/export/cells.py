"""What a routing table says, cell by cell, and what other formats cannot say of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from routecost.errors import InputError
from routecost.routing import Table

DEFAULT: Final = "default"


class Served(Protocol):
    """What a model name means in the price book: who sells it, under which name."""

    @property
    def provider(self) -> str: ...
    @property
    def model(self) -> str: ...


Resolve = Callable[[str], Served | None]


@dataclass(frozen=True)
class Exported:
    """A file for another program, and what of the table is not in it (which the file says as well)."""

    text: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """Where requests of a task go in a mode. task: `default` for requests that no route covers. inherited: the task
    names no model for the mode, so that the default answers."""

    task: str
    mode: str
    model: str
    fallbacks: tuple[str, ...] = ()
    evidence: str | None = None
    inherited: bool = False


def cells(table: Table) -> list[Cell]:
    """Every task in every mode that has a model, then the default; a mode without a model has no cell."""
    default = dict(table.default or {})
    said: Mapping[str, Mapping[str, str]] = table.made.evidence if table.made else {}
    found = []
    if DEFAULT in table.routes:
        raise InputError(f"a task is called {DEFAULT}, as the default is in exports. Give the task another name.")
    for task, row in [*table.routes.items(), (DEFAULT, default)]:
        for mode in table.modes():
            own = row.get(mode)
            model = own if own is not None else default.get(mode)
            if model is not None:
                evidence = said.get(task if own is not None else DEFAULT, {}).get(mode)
                others = tuple(table.fallbacks.get(model, ()))
                found.append(Cell(task, mode, model, others, evidence, own is None))
    return found


def left_out(table: Table, *, stays: bool = True) -> tuple[str, ...]:
    """What no other format says: overrides, speculative calls, fallbacks of models that no cell names, what only prices
    a table. stays: also the cells in which requests stay on the model they came for."""
    lines = [f"override {i} ({override})" for i, override in enumerate(table.overrides, 1)]
    if table.speculative:
        lines.append(f"speculative calls in {', '.join(table.speculative)}: one call is made, the fallback on failure")
    named = {cell.model for cell in cells(table)}
    lines += [f"fallbacks of {model}, which no task goes to" for model in table.fallbacks if model not in named]
    if stays:
        default = table.default or {}
        rows = [*table.routes.items(), (DEFAULT, default)]
        lines += [
            f"{task} in {mode}: the table leaves such requests on the model they ask for"
            for task, row in rows
            for mode in table.modes()
            if mode not in row and mode not in default
        ]
    priced = {
        "failover_rate": table.failover_rate is not None,
        "loser_share": table.loser_share != 1,
        "classifier": bool(table.classifier_cost_per_request_usd) or table.classifier_latency_ms is not None,
        "output_ratios": bool(table.output_ratios),
    }
    if any(priced.values()):
        names = ", ".join(name for name, given in priced.items() if given)
        lines.append(f"{names}: what the table costs, not where requests go")
    return tuple(lines)


def rolled_back(table: Table, to: str | Table) -> Table:
    """The same tasks and modes with everything on one model, or on what another table has there."""
    modes = table.modes()
    if isinstance(to, str):
        row = dict.fromkeys(modes, to)
        routes = dict.fromkeys(table.routes, row)
        default, others = row, {to: table.fallbacks[to]} if to in table.fallbacks else {}
    else:
        asked = [mode if mode in to.modes() else to.default_mode for mode in modes]
        was = to.default or {}
        default = {mode: was[old] for mode, old in zip(modes, asked, strict=True) if old in was}
        routes = {
            task: {mode: row[old] for mode, old in zip(modes, asked, strict=True) if old in row}
            for task in dict.fromkeys((*table.routes, *to.routes))
            for row in [to.routes.get(task, {})]
        }
        others = dict(to.fallbacks)
    where = to if isinstance(to, str) else to.name
    return Table(
        name=f"{table.name}-rollback",
        description=f"Rollback of {table.name}: everything as before, on {where}.",
        default_mode=table.default_mode,
        default=default or None,
        routes={task: row for task, row in routes.items() if row},
        overrides=() if isinstance(to, str) else to.overrides,
        fallbacks=others,
    )


def comment_lines(lines: Sequence[str], mark: str = "# ") -> list[str]:
    """Comments of any text: one line each, whatever line breaks and control characters it holds."""
    shown = ("".join(c if c.isprintable() else " " for c in line) for line in lines)
    return [(mark + line).rstrip() for line in shown]


def heading(table: Table, left: Sequence[str]) -> list[str]:
    """What stands on top of an exported file."""
    lines = [f"Routing table {table.name}, exported by routecost."]
    if table.description:
        lines.append(table.description)
    if table.made is not None:
        made = table.made
        against = f", measured against {made.reference}" if made.reference else ""
        lines.append(f"Recommended on {made.date.isoformat()}{against}.")
    return [*lines, *(f"Not in this file: {line}." for line in left)]
