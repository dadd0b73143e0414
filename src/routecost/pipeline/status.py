"""What of a routing set-up is due to be renewed: table, prices, classifier, evidence, baseline."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import polars as pl

from routecost import prices
from routecost.errors import InputError, RoutecostError, UsageError, did_you_mean
from routecost.pipeline import staleness
from routecost.pipeline.baseline import read_baseline
from routecost.pipeline.drift import drift
from routecost.prices import Book, read_prices
from routecost.quality import merged, read_quality
from routecost.routing import Table, read_table

Level = Literal["due", "soon", "ok", "unknown"]

# Days after which something is due. Prices of the large providers change about once a month, models of a table about
# once a quarter; a classifier ages with what people ask.
LIMITS: Final[Mapping[str, int]] = {"table": 92, "prices": 61, "classifier": 184, "evidence": 92, "baseline": 31}
# How long before that it is said.
SOON_DAYS: Final = 14
_ORDER: Final = ("due", "soon", "unknown", "ok")


@dataclass(frozen=True)
class Item:
    """Something that ages. level: unknown where nothing says how old it is. date: of which day it is; due_on: the first
    day on which it is due by its age. command: what renews it, or tells more."""

    name: str
    level: Level
    subject: str
    message: str
    command: str
    date: dt.date | None = None
    age_days: int | None = None
    limit_days: int | None = None
    due_on: dt.date | None = None


@dataclass(frozen=True)
class Status:
    """The answer of `routecost status`: what is due first."""

    items: tuple[Item, ...]
    as_of: dt.date
    book_version: str

    @property
    def due(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.level == "due")

    def to_polars(self) -> pl.DataFrame:
        """One row an item."""
        columns = ("name", "level", "subject", "message", "command", "date", "age_days", "limit_days", "due_on")
        types = {
            **dict.fromkeys(columns, pl.String()),
            **dict.fromkeys(("date", "due_on"), pl.Date()),
            **dict.fromkeys(("age_days", "limit_days"), pl.Int64()),
        }
        return pl.DataFrame([{c: getattr(item, c) for c in columns} for item in self.items], schema=types)


def status(
    *,
    table: str | Path | None = None,
    baseline: str | Path | None = None,
    quality: Sequence[str | Path] = (),
    classifier: Path | None = None,
    logs: Sequence[str | Path] = (),
    pricing: Sequence[str | Path] = (),
    limits: Mapping[str, int] | None = None,
    as_of: dt.date | None = None,
) -> Status:
    """How old each part is, and what renews it. Logs are read where there is a baseline, to tell whether the traffic
    has drifted from it.

    limits: days by name (LIMITS), over the usual ones. Raises InputError for a file that cannot be read, UsageError for
    a limit of something else.
    """
    for name in limits or {}:
        if name not in LIMITS:
            raise UsageError(f"no limit for {name!r}.{did_you_mean(name, LIMITS)} Expected one of {', '.join(LIMITS)}.")
    allowed = {**LIMITS, **(limits or {})}
    as_of = as_of or dt.datetime.now(dt.UTC).date()
    book = read_prices(pricing)
    graded = merged([read_quality(path) for path in quality]) if quality else None
    asked = _Asked(shlex.join(map(str, logs)) or "LOG...", tuple(map(str, quality)), allowed, as_of)
    routing = None if table is None else read_table(table)
    items = [_prices(book, pricing, asked)]
    if routing is not None:
        items += _table(routing, str(table), book, asked)
    items += _evidence(routing, graded, book, asked)
    items.append(_classifier(classifier, asked))
    if baseline is not None:
        items += _baseline(baseline, asked, [str(path) for path in logs], pricing)
    return Status(tuple(sorted(items, key=lambda item: _ORDER.index(item.level))), as_of, book.version)


@dataclass(frozen=True)
class _Asked:
    logs: str
    quality: tuple[str, ...]
    limits: Mapping[str, int]
    as_of: dt.date

    def aged(self, name: str, subject: str, day: dt.date | None, said: str, command: str, unknown: str) -> Item:
        """An item by its age. said: what happened on that day; unknown: why there is none."""
        limit = self.limits[name]
        if day is None:
            return Item(name, "unknown", subject, unknown, command, limit_days=limit)
        age = (self.as_of - day).days
        level: Level = "due" if age > limit else "soon" if age > limit - SOON_DAYS else "ok"
        on = day + dt.timedelta(days=limit + 1)
        ago = f"{said} {day}, {_days(age)} ago" if age >= 0 else f"{said} {day}, which is still to come"
        return Item(name, level, subject, f"{ago} (due after {_days(limit)})", command, day, age, limit, on)


def _days(n: int) -> str:
    return f"{n:,} day{'s' if n != 1 else ''}"


def _prices(book: Book, pricing: Sequence[str | Path], asked: _Asked) -> Item:
    # the package does not say when it was made: the newest dated price does, at the least
    newest = prices.check(book, as_of=asked.as_of).newest
    frozen = next((str(p) for p in reversed(pricing) if str(p).endswith(".json")), None)
    update = "pip install --upgrade genai-prices"
    if frozen is not None:
        update += f" && routecost prices freeze -o {shlex.quote(frozen)}"
    return asked.aged("prices", book.version, newest, "newest price of", update, "no price in it has a date")


def _table(table: Table, given: str, book: Book, asked: _Asked) -> list[Item]:
    # nobody writes over a table that comes with the program
    name, output = (given, given) if Path(given).is_file() else (given, "table.yaml")
    quality = "".join(f" --quality {shlex.quote(q)}" for q in asked.quality) or " --quality FILE"
    again = f"routecost recommend {asked.logs}{quality} -o {shlex.quote(output)}"
    made = table.made.date if table.made else None
    items = [asked.aged("table", name, made, "made on", again, "it does not say when it was made")]
    # its age stands above, and that of the evidence in a line of its own
    found = staleness.check_table(table, book, as_of=asked.as_of, max_age_days=10**6).found
    levels: dict[str, Level] = {"stale": "due", "soon": "soon"}
    look = f"routecost routes check {shlex.quote(name)}"
    for one in found:
        if one.level in levels:
            what = f"{one.where} {one.message}" + (f". {one.fix}" if one.fix else "")
            items.append(Item("models", levels[one.level], name, what, look))
    return items


def _evidence(table: Table | None, graded: pl.DataFrame | None, book: Book, asked: _Asked) -> list[Item]:
    again = f"routecost quality sample {asked.logs}"
    until = table.made.evidence_until if table is not None and table.made else None
    if graded is None:
        if table is None:
            return []
        said = "the table names no grades, and no --quality is given"
        return [asked.aged("evidence", table.source or table.name, until, "newest grades of", again, said)]
    used = graded
    if table is not None:
        # one model may stand under two names
        keys = {ref.key for name in table.models() if (ref := book.resolve(None, name)) is not None}
        named = [ref is not None and ref.key in keys for ref in (book.resolve(None, m) for m in graded["model"])]
        used = graded.filter(pl.Series(named, dtype=pl.Boolean))
    subject = ", ".join(asked.quality)
    if used.height == 0:
        return [asked.aged("evidence", subject, None, "", again, "it grades no model of the table")]
    # the oldest of the models' newest grades: one fresh model does not make the others fresh
    newest = used.group_by("model").agg(pl.col("date").max()).sort("date", "model", nulls_last=False)
    model, text = newest.row(0)
    day = _day(text)
    return [asked.aged("evidence", subject, day, f"newest grades of {model} are of", again, f"{model} has no date")]


def _day(text: str | None) -> dt.date | None:
    try:
        return None if text is None else dt.date.fromisoformat(text[:10])
    except ValueError:
        return None


def _classifier(path: Path | None, asked: _Asked) -> Item:
    from routecost.classifier import load

    found = load(path)
    told = next((found.metadata[k] for k in ("date", "trained_on") if isinstance(found.metadata.get(k), str)), None)
    day, said = _day(told), "trained on"
    if path is None:
        look = f"routecost classifier sample {asked.logs} -n 300 -o to_label.csv"
        unknown = "comes with the program; whether it fits today's traffic, labels tell"
        return asked.aged("classifier", f"bundled {found.version}", day, said, look, unknown)
    if day is None:
        day, said = dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC).date(), "file written on"
    again = f"routecost classifier train LABELS... -o {shlex.quote(str(path))}"
    return asked.aged("classifier", f"{path} {found.version}", day, said, again, "")


def _baseline(path: str | Path, asked: _Asked, logs: Sequence[str], pricing: Sequence[str | Path]) -> list[Item]:
    name = shlex.quote(str(path))
    again = f'routecost baseline update {asked.logs} -o {name} --reason "..."'
    try:
        usage, told = read_baseline(path)
    except InputError as error:
        if Path(path).exists():
            raise
        return [
            Item("baseline", "due", str(path), str(error).split(". ")[0], again, limit_days=asked.limits["baseline"])
        ]
    newest = usage.cells["day"].max()
    day = told.updated.date() if told.updated else newest if isinstance(newest, dt.date) else None
    said = "updated on" if told.updated else "its last request is of"
    items = [asked.aged("baseline", str(path), day, said, again, "it has no date, and its requests have none")]
    if logs:
        items.append(_drift(str(path), logs, pricing, f"routecost drift {name} {asked.logs}"))
    return items


def _drift(baseline: str, logs: Sequence[str], pricing: Sequence[str | Path], look: str) -> Item:
    """Whether the traffic has moved away from the baseline."""
    try:
        found = drift([baseline], logs, words=False, pricing=pricing)
    except RoutecostError as error:
        return Item("drift", "unknown", shlex.join(logs), str(error).split(". ")[0], look)
    levels: Mapping[str, Level] = {"retrain": "due", "watch": "soon", "fine": "ok"}
    moved = ", ".join(s.name for s in found.signals if s.verdict in ("watch", "retrain"))
    said = f"{found.verdict}: {moved}" if moved else f"{found.verdict}: nothing moved beyond its limit"
    return Item("drift", levels.get(found.verdict, "unknown"), shlex.join(logs), said, look)
