"""What the book says, for people: lists of models, one model in full, tiers."""

from __future__ import annotations

import datetime as dt
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from routecost.errors import InputError, UsageError, did_you_mean
from routecost.prices.book import Book
from routecost.prices.models import FlatRates, ModelRef
from routecost.prices.pricing import rates_at
from routecost.schema import TIERS

TYPICAL_INPUT: Final = 2000
TYPICAL_OUTPUT: Final = 500
# Where a price depends on the time of day, lists show one: at this minute of the UTC day.
NOON: Final = 12 * 60


@dataclass(frozen=True)
class Listed:
    """A model and its standard rates on a day (USD per million tokens, discounts taken off; empty when it has none)."""

    ref: ModelRef
    rates: FlatRates
    source: str


@dataclass(frozen=True)
class RateRow:
    """Rates that hold in one situation.

    context: `standard`, `batch` or a service tier. start: first UTC day, null from the beginning. hours: part of the
    UTC day as (first minute, end), null all day. above: total input tokens, 0 for any. rates: USD per million tokens
    and `request` in USD, discounts taken off.
    """

    context: str
    start: dt.date | None
    hours: tuple[int, int] | None
    above: int
    rates: FlatRates
    source: str


@dataclass(frozen=True)
class ModelPrices:
    """Everything the book says about a model."""

    asked: str
    ref: ModelRef
    rows: tuple[RateRow, ...]
    fees: dict[str, float]
    discount: float
    batch_discount: float | None
    source: str
    batch_source: str | None


@dataclass(frozen=True)
class TierPrices:
    """A tier: its models with a price, the range of their rates (USD per million tokens), the median cost in USD of a
    typical request, and how many times that of the tier below it is."""

    tier: str
    models: tuple[str, ...]
    input: tuple[float, float] | None
    output: tuple[float, float] | None
    typical_usd: float | None
    gap: float | None


def list_models(
    book: Book,
    *,
    provider: str | None = None,
    tier: str | None = None,
    search: str | None = None,
    everything: bool = False,
    as_of: dt.date | None = None,
) -> list[Listed]:
    """Models by key: those with a tier, or all that match when a provider or a search is given."""
    as_of = as_of or dt.datetime.now(dt.UTC).date()
    refs = book.refs()
    if tier is not None and tier not in TIERS:
        raise UsageError(f"--tier {tier}: expected one of {', '.join(TIERS)}.{did_you_mean(tier, TIERS)}")
    if provider is not None:
        known = {ref.provider for ref in refs}
        owner = provider if provider in known else book.catalogue.provider_id(provider)
        if owner not in known:
            raise UsageError(
                f"--provider {provider}: the price book has no such provider.{did_you_mean(provider, known)}"
            )
        refs = [ref for ref in refs if ref.provider == owner]
    if tier is not None or not (everything or provider or search):
        refs = [ref for ref in refs if ref.tier is not None and tier in (None, ref.tier)]
    if search is not None:
        words = search.lower().split()
        refs = [ref for ref in refs if all(word in ref.key.lower() for word in words)]
    return [Listed(ref, _rates_on(book, ref, as_of), book.model(ref).source) for ref in refs]


def show_model(book: Book, model: str) -> ModelPrices:
    """One model in full. InputError with the nearest names when the book does not know it."""
    ref = book.resolve(None, model)
    if ref is None:
        near = book.nearest(model)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise InputError(
            f"the price book ({book.version}) has no model {model!r}.{hint} "
            "`routecost prices list --search WORD` searches it; an overlay (--pricing FILE) can add it."
        )
    return ModelPrices(
        asked=model,
        ref=ref,
        rows=tuple(_rate_rows(book, ref)),
        fees=book.fees(ref),
        discount=book.discount(ref),
        batch_discount=book.batch_discount(ref),
        source=book.model(ref).source,
        batch_source=book.source(ref, "batch_discount"),
    )


def list_tiers(book: Book, as_of: dt.date | None = None) -> list[TierPrices]:
    """The tiers from small to frontier. A typical request has 2,000 input and 500 output tokens."""
    listed = list_models(book, as_of=as_of)
    tiers: list[TierPrices] = []
    for tier in TIERS:
        priced = [m for m in listed if m.ref.tier == tier and "input" in m.rates and "output" in m.rates]
        if not priced:
            tiers.append(TierPrices(tier, (), None, None, None, None))
            continue
        typical = statistics.median(
            (TYPICAL_INPUT * m.rates["input"] + TYPICAL_OUTPUT * m.rates["output"]) / 1e6 for m in priced
        )
        below = next((t.typical_usd for t in reversed(tiers) if t.typical_usd), None)
        tiers.append(
            TierPrices(
                tier=tier,
                models=tuple(m.ref.key for m in priced),
                input=_range([m.rates["input"] for m in priced]),
                output=_range([m.rates["output"] for m in priced]),
                typical_usd=typical,
                gap=None if below is None else typical / below,
            )
        )
    return tiers


def _rates_on(book: Book, ref: ModelRef, day: dt.date) -> FlatRates:
    found = rates_at(book, ref, day, NOON, 1)
    return {} if isinstance(found, str) else found


def _rate_rows(book: Book, ref: ModelRef) -> Iterator[RateRow]:
    model = book.model(ref)
    tiers = {v.context["service_tier"] for v in model.variants if "service_tier" in v.context} - {"default"}
    contexts: list[tuple[str, bool, str | None]] = [("standard", False, None), ("batch", True, None)]
    contexts += [(tier, False, tier) for tier in sorted(tiers)]
    for name, batch, tier in contexts:
        before: list[tuple[tuple[int, int] | None, int, FlatRates]] | None = None
        for start in (dt.date.min, *model.starts):
            parts = list(_parts_of_day(book, ref, start, batch, tier))
            if parts != before:
                for hours, above, rates in parts:
                    minute = hours[0] if hours else 0
                    source = model.source
                    if tier is not None:
                        source = model.source_of(start, minute, "service_tier", tier)
                    elif batch and model.has_variant(start, minute, "processing", "batch"):
                        source = model.source_of(start, minute, "processing", "batch")
                    elif batch:
                        source = book.source(ref, "batch_discount") or model.source
                    yield RateRow(name, None if start == dt.date.min else start, hours, above, rates, source)
            before = parts


def _parts_of_day(
    book: Book, ref: ModelRef, day: dt.date, batch: bool, tier: str | None
) -> Iterator[tuple[tuple[int, int] | None, int, FlatRates]]:
    """(hours, threshold, rates) that differ on a day; neighbouring parts of the day with the same rates are one."""
    slots = book.model(ref).slots
    days: list[tuple[int, list[tuple[int, FlatRates]]]] = []
    for minute in slots:
        brackets = list(_brackets(book, ref, day, minute, batch, tier))
        if not days or days[-1][1] != brackets:
            days.append((minute, brackets))
    ends = [*(minute for minute, _ in days[1:]), 24 * 60]
    for (minute, brackets), end in zip(days, ends, strict=True):
        for above, rates in brackets:
            yield (None if len(days) == 1 else (minute, end)), above, rates


def _brackets(
    book: Book, ref: ModelRef, day: dt.date, minute: int, batch: bool, tier: str | None
) -> Iterator[tuple[int, FlatRates]]:
    before: FlatRates | None = None
    for above in (0, *book.model(ref).thresholds):
        found = rates_at(book, ref, day, minute, Fraction(above + 1), batch=batch, service_tier=tier)
        if not isinstance(found, str) and found != before:
            yield above, found
            before = found


def _range(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)
