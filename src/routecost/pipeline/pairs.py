"""The same requests on two sides, priced on one day: what `routecost check` knows best from."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from secrets import token_hex

import polars as pl

from routecost import savings
from routecost.errors import InputError
from routecost.pipeline.intake import Intake, Options, read
from routecost.prices import Book
from routecost.usage import Keyed, is_usage_file, joined, pairs_path

# Fewer pairs than this part of either side say little of the traffic as a whole.
LEAST_SHARE = 0.5


@dataclass(frozen=True)
class Evidence:
    """Requests that stand on both sides and have a price on both.

    rows: task, feature, model and group of the base, base_usd and current_usd; None where the sides cannot be paired,
    or too little of them. notes: why, or what they are.
    """

    rows: pl.DataFrame | None
    notes: tuple[str, ...] = ()


def pairs_of(paths: Sequence[str], book: Book, options: Options | None = None) -> Keyed | None:
    """The requests of logs, or those that `tally --pairs` wrote beside usage files, one by one; None where a usage file
    has none."""
    return read(paths, book, options=replace(options or Options(), pairs=True)).pairs


def asked(options: Options, base: str, current: Sequence[str]) -> Options:
    """Options under which the requests of both sides are kept one by one, if the sides can be paired at all.

    Where both are logs nothing outlasts the comparison, and neither does the salt.
    """
    files = [p for p in (base, *current) if p != "-" and is_usage_file(p)]
    if not all(pairs_path(p).exists() for p in files):
        return replace(options, pairs=False)
    return replace(options, pairs=True, salt=options.salt or (None if files else token_hex()))


def evidence(base: Intake, current: Intake, book: Book, day: dt.date | None) -> Evidence:
    """What the requests that stand on both sides cost on either, as of one day (None: each on its own day)."""
    if base.pairs is None or current.pairs is None:
        return Evidence(None)
    try:
        found = joined(base.pairs, current.pairs)
    except InputError as error:
        return Evidence(None, (f"Not compared request by request: {error}",))
    if not found.rows.height:
        return Evidence(None)
    notes = [_found(found.by_id, found.by_prompt)]
    if found.repeated:
        notes.append(f"{found.repeated:,} requests stand more often on one side than on the other, and are not paired.")
    if found.share < LEAST_SHARE:
        few = f"That is {found.share:.0%} of the larger side: too little, so that the sides are compared as wholes."
        return Evidence(None, (*notes, few))
    rows = found.rows.select(
        "group_base",
        *(pl.col(f"{c}_base").alias(c) for c in ("task", "feature", "model")),
        *(_cost(found.rows, side, book, day).alias(f"{side}_usd") for side in ("base", "current")),
    ).rename({"group_base": "group"})
    priced = rows.drop_nulls(["base_usd", "current_usd"])
    if priced.height < rows.height:
        notes.append(f"{rows.height - priced.height:,} of them have no price on one side or on both, and are left out.")
    return Evidence(priced if priced.height else None, tuple(notes))


def _found(by_id: int, by_prompt: int) -> str:
    how = " and ".join(f"{n:,} by {what}" for n, what in ((by_id, "id"), (by_prompt, "prompt")) if n)
    return f"Paired requests: {how}."


def _cost(rows: pl.DataFrame, side: str, book: Book, day: dt.date | None) -> pl.Series:
    one = rows.select(pl.col(f"^.*_{side}$").name.map(lambda c: c.removesuffix(f"_{side}")))
    if day is not None:
        # as cells are: a request without a day keeps none, so that prices by the time of day stay unknown for it
        one = one.with_columns(day=pl.when(pl.col("day").is_not_null()).then(pl.lit(day)))
    return savings.today(one.with_columns(requests=pl.lit(1, pl.Int64)), book, as_of=day)["today_usd"]
