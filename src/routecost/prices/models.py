"""What a model costs: dated rates per token kind, context tiers and request variants, as plain values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

# `input` to `reasoning` in USD per million tokens, `request` in USD per request.
KINDS: Final = ("input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning", "request")

# What a request may need of a model: tools to call, images to read, an answer that keeps to a JSON schema.
CAPABILITIES: Final = ("tools", "vision", "json")

# A base rate and the rates of the context tiers: (threshold, rate), ascending. A tier holds for *all* tokens of a
# request whose total input is above its threshold.
Rate = tuple[float, tuple[tuple[int, float], ...]]
Rates = Mapping[str, Rate]
# The rates that one request pays, its context tier already chosen.
FlatRates = dict[str, float]


@dataclass(frozen=True)
class ModelRef:
    """What a (provider, model) pair means in the book.

    key: unique, "provider/model". context_window and max_output in tokens, null when unknown. token_ratio: tokens that
    this model's tokenizer makes of a text, relative to the tokenizer of a model with ratio 1. capabilities: those of
    CAPABILITIES that the model has; null when unknown, which is not the same as none. retired: the first UTC day on
    which the provider no longer serves it (it refuses, or answers with another model); null when no day is known.
    deprecated: genai-prices says so, without a day.
    """

    key: str
    provider: str
    model: str
    tier: str | None = None
    context_window: int | None = None
    token_ratio: float = 1.0
    capabilities: frozenset[str] | None = None
    max_output: int | None = None
    retired: dt.date | None = None
    deprecated: bool = False

    @property
    def ratio(self) -> Fraction:
        return exact_ratio(self.token_ratio)


@dataclass(frozen=True)
class When:
    """When a price holds, in UTC: from `start` on, and (where `minutes` is given) between two minutes of the day."""

    start: dt.date | None = None
    minutes: tuple[int, int] | None = None

    def active(self, day: dt.date, minute: int) -> bool:
        if self.start is not None and day < self.start:
            return False
        if self.minutes is None:
            return True
        first, end = self.minutes
        return minute >= first or minute < end if end < first else first <= minute < end


@dataclass(frozen=True)
class Period:
    when: When
    rates: Rates


@dataclass(frozen=True)
class Variant:
    """Rates that replace the standard ones when the request's context has all of `context`
    (`processing: batch`, `service_tier: flex`)."""

    context: Mapping[str, str]
    when: When
    rates: Rates
    source: str = ""


@dataclass(frozen=True)
class Model:
    """The prices of one model. The last active period counts. source: where the periods come from.

    open_start: the first period also holds where none is active, as genai-prices defines it; without it the model has
    no price there.
    """

    key: str
    provider: str
    id: str
    periods: tuple[Period, ...]
    variants: tuple[Variant, ...] = ()
    context_window: int | None = None
    open_start: bool = True
    source: str = ""
    deprecated: bool = False

    def standard(self, day: dt.date, minute: int) -> Rates | None:
        for period in reversed(self.periods):
            if period.when.active(day, minute):
                return period.rates
        return self.periods[0].rates if self.open_start and self.periods else None

    def has_variant(self, day: dt.date, minute: int, name: str, value: str) -> bool:
        return any(v.context.get(name) == value and v.when.active(day, minute) for v in self.variants)

    def rates(self, day: dt.date, minute: int, context: Mapping[str, str]) -> Rates | None:
        """The rates in a request context: for each kind the first variant that gives it, else the standard rate."""
        standard = self.standard(day, minute)
        if standard is None:
            return None
        chosen: dict[str, Rate] = {}
        for variant in self.variants:
            if variant.when.active(day, minute) and all(context.get(k) == v for k, v in variant.context.items()):
                for kind, rate in variant.rates.items():
                    chosen.setdefault(kind, rate)
        return {**standard, **chosen} if chosen else standard

    def source_of(self, day: dt.date, minute: int, name: str, value: str) -> str:
        """Where the rates in a context come from."""
        active = (v for v in self.variants if v.context.get(name) == value and v.when.active(day, minute))
        return next((variant.source for variant in active), self.source)

    @property
    def starts(self) -> tuple[dt.date, ...]:
        """Days on which a price of this model may change, ascending."""
        return tuple(sorted({when.start for when in self._whens() if when.start is not None}))

    @property
    def slots(self) -> tuple[int, ...]:
        """Minutes of the UTC day at which a price may change, ascending from 0."""
        return tuple(sorted({0}.union(*(when.minutes for when in self._whens() if when.minutes is not None))))

    @property
    def thresholds(self) -> tuple[int, ...]:
        """Thresholds of the context tiers, ascending."""
        parts: tuple[Period | Variant, ...] = (*self.periods, *self.variants)
        return tuple(sorted({start for part in parts for _, tiers in part.rates.values() for start, _ in tiers}))

    def _whens(self) -> Iterator[When]:
        yield from (period.when for period in self.periods)
        yield from (variant.when for variant in self.variants)


def exact_ratio(token_ratio: float) -> Fraction:
    """A token ratio as it was written, so that thresholds are compared exactly."""
    return Fraction(repr(float(token_ratio)))


def flat(rates: Rates, total: Fraction | int) -> FlatRates:
    """The rates that a request with this total input (cached tokens included) pays."""
    return {kind: _at(rate, total) for kind, rate in rates.items()}


def with_fallbacks(rates: FlatRates) -> FlatRates:
    """Kinds without a rate of their own are billed as the kind they are a part of, as genai-prices counts them."""
    full = dict(rates)
    for kind, general in (
        ("cache_read", "input"),
        ("cache_write", "input"),
        ("cache_write_1h", "cache_write"),
        ("reasoning", "output"),
    ):
        if kind not in full and general in full:
            full[kind] = full[general]
    return full


def to_plain(model: Model) -> dict[str, Any]:
    """A model as JSON; `from_plain` reads it back to an equal value."""
    plain: dict[str, Any] = {"id": model.id, "periods": [_plain_part(period) for period in model.periods]}
    if model.variants:
        plain["variants"] = [{"context": dict(v.context), **_plain_part(v)} for v in model.variants]
    if model.context_window is not None:
        plain["context_window"] = model.context_window
    if model.deprecated:
        plain["deprecated"] = True
    return plain


def from_plain(provider: str, plain: Mapping[str, Any], source: str) -> Model:
    return Model(
        key=f"{provider}/{plain['id']}",
        provider=provider,
        id=plain["id"],
        periods=tuple(Period(_when(part), _rates(part)) for part in plain["periods"]),
        variants=tuple(
            Variant(part["context"], _when(part), _rates(part), source) for part in plain.get("variants", ())
        ),
        context_window=plain.get("context_window"),
        source=source,
        deprecated=plain.get("deprecated", False),
    )


def _at(rate: Rate, total: Fraction | int) -> float:
    base, tiers = rate
    for threshold, value in reversed(tiers):
        if total > threshold:
            return value
    return base


def _plain_part(part: Period | Variant) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    if part.when.start is not None:
        plain["start"] = part.when.start.isoformat()
    if part.when.minutes is not None:
        plain["minutes"] = list(part.when.minutes)
    plain["rates"] = {
        kind: [base, [list(tier) for tier in tiers]] if tiers else base for kind, (base, tiers) in part.rates.items()
    }
    return plain


def _when(plain: Mapping[str, Any]) -> When:
    start, minutes = plain.get("start"), plain.get("minutes")
    return When(
        None if start is None else dt.date.fromisoformat(start), None if minutes is None else (minutes[0], minutes[1])
    )


def _rates(plain: Mapping[str, Any]) -> Rates:
    return {
        kind: (rate[0], tuple((tier[0], tier[1]) for tier in rate[1])) if isinstance(rate, list) else (rate, ())
        for kind, rate in plain["rates"].items()
    }
