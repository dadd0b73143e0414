"""Is a routing table still the one to use: its models, its prices, its evidence, and what it leaves on the table."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from routecost import savings
from routecost.pipeline.analysis import Scale, saving_of
from routecost.pipeline.intake import Intake
from routecost.pipeline.misrouting import Mistakes
from routecost.pipeline.recommendation import SOON_DAYS, Recommendation, Wishes, list_price, recommend
from routecost.prices import Book
from routecost.routing import Table
from routecost.schema import MODES

Level = Literal["stale", "soon", "note"]

# A difference in cost that is not worth a new table.
WORTH: Final = 0.01


@dataclass(frozen=True)
class Stale:
    """Something to look at: `stale` fails the check, `soon` and `note` do not. usd: what the cell costs more than it
    has to, over the whole period."""

    level: Level
    where: str
    message: str
    fix: str = ""
    usd: float | None = None


@dataclass(frozen=True)
class Staleness:
    """The answer of `routes check`. left_usd: what the table costs, in its default mode, more than the recommended one
    over the whole period; None where there is no usage or no evidence to tell."""

    table: str
    made_on: dt.date | None
    found: tuple[Stale, ...]
    left_usd: float | None
    scale: Scale | None
    as_of: dt.date
    book_version: str

    @property
    def is_stale(self) -> bool:
        return any(s.level == "stale" for s in self.found)


def check_table(
    table: Table,
    book: Book,
    *,
    intake: Intake | None = None,
    quality: pl.DataFrame | None = None,
    max_age_days: int = 90,
    requests_per_day: float | None = None,
    as_of: dt.date | None = None,
    mistakes: Mistakes | None = None,
) -> Staleness:
    """What has changed since the table was made. With usage and graded answers also which cells are dominated now."""
    as_of = as_of or dt.datetime.now(dt.UTC).date()
    found = [*_models(table, book, as_of), *_prices(table, book, as_of)]
    found += _ages(table, book, quality, max_age_days, as_of)
    left: float | None = None
    scale: Scale | None = None
    broken = any(book.resolve(None, m) is None for m in table.models())
    if intake is not None and quality is not None and not broken:
        mode = table.default_mode if table.default_mode in MODES else "balanced"
        best = recommend(
            intake,
            book,
            quality,
            Wishes(
                reference=table.made.reference if table.made else None,
                prefer=mode,
                current=table,
                classifier_cost_usd=table.classifier_cost_per_request_usd,
            ),
            requests_per_day=requests_per_day,
            as_of=as_of,
            mistakes=mistakes,
        )
        cells, left = _cells(table, best, book, mode, as_of)
        found += cells
        scale = best.scale
    elif intake is not None and not broken:
        said = "without graded answers nobody can tell whether a cell is dominated"
        found.append(Stale("note", "cells", said, "Give them with --quality FILE."))
    if table.made is None:
        found.append(
            Stale("note", "made", "the table does not say when it was made, so its prices cannot be compared",
                  "Write it with `routecost recommend -o`, or add `made: {date: 2026-11-24}`.")
        )  # fmt: skip
    order = {"stale": 0, "soon": 1, "note": 2}
    return Staleness(
        table.source or table.name,
        table.made.date if table.made else None,
        tuple(sorted(found, key=lambda s: (order[s.level], -(s.usd or 0.0)))),
        left,
        scale,
        as_of,
        book.version,
    )


def _models(table: Table, book: Book, as_of: dt.date) -> list[Stale]:
    found = []
    for name in table.models():
        ref = book.resolve(None, name)
        if ref is None:
            near = book.nearest(name)
            hint = f"Did you mean {', '.join(near)}? Else give" if near else "Give"
            fix = f"{hint} it one in an overlay (--pricing FILE)."
            found.append(Stale("stale", name, "has no price any more", fix))
        elif ref.retired is not None and ref.retired <= as_of:
            found.append(Stale("stale", name, f"its provider retired it on {ref.retired}", "Choose a successor."))
        elif ref.retired is not None and (ref.retired - as_of).days <= SOON_DAYS:
            found.append(Stale("soon", name, f"its provider retires it on {ref.retired}", "Grade a successor now."))
        elif ref.deprecated:
            found.append(Stale("soon", name, "the price list marks it as deprecated", "Look for its successor."))
    return found


def _prices(table: Table, book: Book, as_of: dt.date) -> list[Stale]:
    """Models whose price is not what it was on the day the table was made: as the table says it, else as the book has
    it for that day."""
    if table.made is None:
        return []
    found = []
    for name in table.models():
        ref = book.resolve(None, name)
        if ref is None:
            continue
        before = dict(table.made.prices.get(name) or list_price(book, ref, table.made.date))
        now = list_price(book, ref, as_of)
        changed = [k for k in before if k in now and abs(now[k] - before[k]) > 1e-9 * max(now[k], before[k])]
        if changed:
            said = ", ".join(f"{k} ${before[k]:g} -> ${now[k]:g}" for k in changed)
            found.append(
                Stale("stale", name, f"its price has changed since {table.made.date}: {said} per million tokens",
                      "Recommend again.")
            )  # fmt: skip
    return found


def _ages(table: Table, book: Book, quality: pl.DataFrame | None, max_age_days: int, as_of: dt.date) -> list[Stale]:
    """Evidence that is older than it may be: of each graded model in the table, else as the table itself says."""

    def old(day: dt.date) -> bool:
        return (as_of - day).days > max_age_days

    again = f"Grade a new sample (`routecost quality sample`); --max-age {max_age_days}d is what is allowed."
    if quality is not None:
        # one model may stand under two names
        keys = {ref.key: name for name in table.models() if (ref := book.resolve(None, name)) is not None}
        named = [keys.get(ref.key) if (ref := book.resolve(None, m)) is not None else None for m in quality["model"]]
        quality = quality.with_columns(pl.Series("model", named, pl.String)).drop_nulls("model")
        used = set(keys.values())
        dated = quality.filter(pl.col("date").is_not_null())
        found = []
        for model, newest in dated.group_by("model").agg(pl.col("date").max()).sort("model").iter_rows():
            day = _day(newest)
            if day is not None and old(day):
                age = (as_of - day).days
                found.append(Stale("stale", model, f"its newest grades are of {day}, {age} days ago", again))
        undated = used & set(quality.filter(pl.col("date").is_null())["model"]) - set(dated["model"])
        found += [Stale("note", m, "its grades have no date, so their age is unknown") for m in sorted(undated)]
        return found
    until = table.made.evidence_until if table.made else None
    if until is not None and old(until):
        return [Stale("stale", "evidence", f"its newest grades are of {until}, {(as_of - until).days} days ago", again)]
    return []


def _day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return None


def _cells(table: Table, best: Recommendation, book: Book, mode: str, as_of: dt.date) -> tuple[list[Stale], float]:
    """Cells of which another model is cheaper and not worse, and cells that the evidence no longer carries."""
    priced = savings.today(best.intake.usage.cells, book, as_of=as_of)
    found: list[Stale] = []
    left = 0.0
    for name in [m for m in table.modes() if m in MODES]:
        sent = savings.routed(priced, table, book, mode=name, as_of=as_of)
        mine = saving_of(sent, best.intake.usage, table, book, mode=name, as_of=as_of)
        other = next(w for w in best.modes if w.mode == name).saving
        costs = [dict(s.by_task.select("task", "routed_usd").iter_rows()) for s in (mine, other)]
        if name == mode:
            left = max(mine.routed_usd - other.routed_usd, 0.0)
        for cell in best.cells:
            task = cell.choice.task
            if cell.choice.mode != name:
                continue
            model = table.routes.get(task, {}).get(name) or (table.default or {}).get(name)
            if model is None or _same(book, model, cell.name):
                continue
            more = (costs[0].get(task) or 0.0) - (costs[1].get(task) or 0.0)
            where = f"routes.{task}.{name}"
            if cell.choice.reason == "best":
                found.append(
                    Stale("note", where, f"{cell.name} has the highest lower bound of quality now, not {model}")
                )
            elif more > WORTH * max(costs[1].get(task) or 0.0, 1e-12):
                said = f"{cell.name} is not worse, and cheaper than {model}"
                if cell.choice.reason in ("not_proven", "no_evidence", "reference"):
                    said = f"{cell.name}, the reference, is cheaper than {model}"
                found.append(Stale("stale", where, f"dominated: {said}", f"Use {cell.name}.", more))
            elif cell.choice.reason in ("cheapest", "not_proven", "reference", "single"):
                found.append(
                    Stale("stale", where, f"{model} is not shown to be as good as {best.reference} by these grades",
                          f"Use {cell.name}, or grade more answers.")
                )  # fmt: skip
    return found, left


def _same(book: Book, a: str, b: str) -> bool:
    first, second = book.resolve(None, a), book.resolve(None, b)
    return a == b or (first is not None and second is not None and first.key == second.key)
