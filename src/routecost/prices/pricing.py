"""The cost of requests and cells: rates for each row, then counts times rates."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import polars as pl

from routecost.prices.book import Book
from routecost.prices.models import FlatRates, ModelRef, flat, with_fallbacks
from routecost.schema import FEES, NO_MODEL, NO_TOKENS, TOKEN_KINDS

UNKNOWN_MODEL: Final = "unknown_model"
NO_RATE: Final = "no_rate"
NO_BATCH_PRICE: Final = "no_batch_price"
NO_TIER_PRICE: Final = "no_tier_price"
TIME_UNKNOWN: Final = "time_unknown"
NOT_BILLED: Final = "not_billed"

# Every reason that `unpriced` may name, and what it says to a person.
REASONS: Final = {
    NO_MODEL: "no model in the log",
    NO_TOKENS: "no token counts in the log",
    UNKNOWN_MODEL: "the price book does not know the model",
    NO_RATE: "the model has no price for a kind of token that was used",
    NO_BATCH_PRICE: "sent as a batch, and the book has no batch price",
    NO_TIER_PRICE: "sent at a service tier that the book has no price for",
    TIME_UNKNOWN: "the price depends on the time of day, and the request has none",
    NOT_BILLED: "failed without using tokens",
}

# What a free variant of a model answers costs nothing.
FREE_TIER: Final = "free"
STANDARD_TIERS: Final = ("", "default", "standard", "auto", "on_demand")

_RATES: Final = tuple(f"rate_{kind}" for kind in TOKEN_KINDS)
_FEE_RATES: Final = tuple(f"rate_{fee}" for fee in FEES)
_ALL_RATES: Final = (*_RATES, "rate_reasoning_extra", "rate_request", *_FEE_RATES)
_OPTIONAL: Final[dict[str, pl.DataType]] = {
    "day": pl.Date(),
    "slot": pl.Int16(),
    "service_tier": pl.String(),
    "batch": pl.Boolean(),
    "gateway_cache_hit": pl.Boolean(),
    "status": pl.String(),
    "problem": pl.String(),
}
_NEEDED: Final = {"band", *_OPTIONAL}


def rates(
    frame: pl.DataFrame,
    book: Book,
    *,
    provider: str = "provider",
    model: str = "model",
    unpriced: str = "unpriced",
    logged: tuple[str, str] | None = None,
    as_of: dt.date | None = None,
) -> pl.DataFrame:
    """Add what each row pays: Float64 `rate_<kind>` for each token kind and `rate_reasoning_extra` (on top of the
    output rate, for each reasoning token) in USD per token, `rate_request` in USD per request, `rate_<fee>` in USD
    per unit; null where the book has no such price. And String `unpriced`: why no rate can be told, null when priced.

    Needs `provider`, `model` and `band`; `day`, `slot`, `service_tier`, `batch`, `gateway_cache_hit`, `status` and
    `problem` where the frame has them. Rows without a day are priced as of `as_of` (default: today in UTC). Rows that
    the gateway answered from its cache have rates of exactly 0.

    logged: (provider, model) columns of the model whose tokenizer made the counts, when they are to be priced on
    another; rates and context tiers are scaled by the models' token ratios.
    """
    as_of = as_of or dt.datetime.now(dt.UTC).date()
    optional = (pl.lit(None, dtype).alias(name) for name, dtype in _OPTIONAL.items() if name not in frame.columns)
    pairs = list(dict.fromkeys([(provider, model), logged or (provider, model)]))
    wide = frame.select({name for pair in pairs for name in pair} | (_NEEDED & {*frame.columns})).with_columns(optional)
    wide, refs = _with_refs(wide, book, provider, model, "__ref")
    if logged:
        wide, logged_refs = _with_refs(wide, book, *logged, "__logged")
    else:
        wide, logged_refs = wide.with_columns(__logged=pl.lit(-1, pl.Int64)), []
    starts = sorted({dt.date.min}.union(*(book.model(ref).starts for ref in refs)))
    period = pl.Series(starts, dtype=pl.Date).search_sorted(wide["day"].fill_null(as_of), side="right")
    tier = pl.col("service_tier").str.strip_chars().str.to_lowercase()
    hit = pl.col("gateway_cache_hit").fill_null(False)
    keys = wide.select(
        "__ref",
        "__logged",
        __period=period.cast(pl.Int64) - 1,
        __slot=pl.when(pl.col("day").is_not_null()).then("slot"),
        __band=pl.col("band").fill_null(0),
        __batch=pl.col("batch").fill_null(False) | (tier == "batch").fill_null(False),
        __tier=pl.when(~tier.is_in([*STANDARD_TIERS, "batch"])).then(tier),
        __hit=hit,
        __reason=pl.when(~hit).then(_reason_before_prices(model)),
    )
    cases = keys.unique()
    known = keys.join(
        pl.concat([cases, _rates_of_cases(cases, book, refs, logged_refs, starts)], how="horizontal"),
        on=keys.columns,
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )
    return frame.with_columns(known.select(*_ALL_RATES, pl.col("__unpriced").alias(unpriced)).get_columns())


def price(
    frame: pl.DataFrame,
    book: Book,
    *,
    provider: str = "provider",
    model: str = "model",
    cost: str = "cost_usd",
    unpriced: str = "unpriced",
    unpriced_fees: str = "unpriced_fees",
    logged: tuple[str, str] | None = None,
    as_of: dt.date | None = None,
) -> pl.DataFrame:
    """Add `cost` in USD (null where the book has no price, never zero), `unpriced` (why) and Int64 `unpriced_fees`
    (web searches, images and seconds without a price, which `cost` leaves out).

    Linear in the counts, so that it prices one request and one cell alike. A count that is null counts as 0, unless all
    counts of the row are. See `rates` for the columns it needs.
    """
    kinds = price_kinds(
        frame, book, provider=provider, model=model, unpriced=unpriced, unpriced_fees=unpriced_fees, logged=logged,
        as_of=as_of,
    )  # fmt: skip
    return frame.with_columns(
        kinds.select(
            pl.sum_horizontal(COST_KINDS, ignore_nulls=False).alias(cost), unpriced, unpriced_fees
        ).get_columns()
    )


COST_KINDS: Final = (*(f"cost_{kind}" for kind in TOKEN_KINDS), "cost_requests", "cost_fees")


def price_kinds(
    frame: pl.DataFrame,
    book: Book,
    *,
    provider: str = "provider",
    model: str = "model",
    unpriced: str = "unpriced",
    unpriced_fees: str = "unpriced_fees",
    logged: tuple[str, str] | None = None,
    as_of: dt.date | None = None,
) -> pl.DataFrame:
    """As `price`, with the cost in its parts: `cost_<kind>` for each token kind (output with what reasoning costs on
    top), `cost_requests` and `cost_fees`; all null where the row is unpriced."""
    missing = [name for name in ("reasoning_tokens", *FEES) if name not in frame.columns]
    counts = frame.with_columns(pl.lit(0, pl.Int64).alias(name) for name in missing)
    if "requests" not in frame.columns:
        counts = counts.with_columns(requests=pl.lit(1, pl.Int64))
    rated = rates(counts, book, provider=provider, model=model, unpriced="__reason", logged=logged, as_of=as_of)
    lacking = pl.any_horizontal(
        *((pl.col(kind) > 0) & pl.col(rate).is_null() for kind, rate in zip(TOKEN_KINDS, _RATES, strict=True))
    ).fill_null(False)
    hit = pl.col("gateway_cache_hit").fill_null(False) if "gateway_cache_hit" in frame.columns else pl.lit(False)
    uncounted = pl.all_horizontal(pl.col(kind).is_null() for kind in TOKEN_KINDS) & ~hit
    reason = pl.coalesce("__reason", pl.when(uncounted).then(pl.lit(NO_TOKENS)).when(lacking).then(pl.lit(NO_RATE)))
    parts = {
        **{f"cost_{kind}": _times(kind, rate) for kind, rate in zip(TOKEN_KINDS, _RATES, strict=True)},
        "cost_requests": _times("requests", "rate_request"),
        "cost_fees": pl.sum_horizontal(_times(fee, rate) for fee, rate in zip(FEES, _FEE_RATES, strict=True)),
    }
    parts["cost_output_tokens"] += _times("reasoning_tokens", "rate_reasoning_extra")
    fees = pl.sum_horizontal(
        pl.when(pl.col(rate).is_null()).then(pl.col(fee).fill_null(0)).otherwise(0)
        for fee, rate in zip(FEES, _FEE_RATES, strict=True)
    )
    added = rated.select(
        *(pl.when(reason.is_null()).then(part).alias(name) for name, part in parts.items()),
        reason.alias(unpriced),
        fees.cast(pl.Int64).alias(unpriced_fees),
    )
    return frame.with_columns(added.get_columns())


def rates_at(
    book: Book,
    ref: ModelRef,
    day: dt.date,
    minute: int | None,
    total: Fraction | int,
    *,
    batch: bool = False,
    service_tier: str | None = None,
) -> FlatRates | str:
    """The rates (USD per million tokens; `request` per request), discounts taken off, that a model charges on a day, at
    a minute of the UTC day (None: unknown) for a request with this total input; or the reason why there is none."""
    model = book.model(ref)
    if minute is None:
        choices = [
            rates_at(book, ref, day, slot, total, batch=batch, service_tier=service_tier) for slot in model.slots
        ]
        return choices[0] if all(choice == choices[0] for choice in choices) else TIME_UNKNOWN
    context = {"service_tier": service_tier or "default"} | ({"processing": "batch"} if batch else {})
    off, batch_off, full_price = book.discount(ref), 0.0, frozenset[str]()
    if service_tier is not None and not model.has_variant(day, minute, "service_tier", service_tier):
        return NO_TIER_PRICE
    if batch and not model.has_variant(day, minute, "processing", "batch"):
        share = book.batch_discount(ref)
        # A discount is off the standard price; off that of another tier it would be a guess.
        if share is None or service_tier is not None:
            return NO_BATCH_PRICE
        batch_off, full_price = share, book.batch_full_price(ref)
    tiered = model.rates(day, minute, context)
    if not tiered:
        return NO_RATE
    return {
        kind: rate * (1 - off) * (1 if kind in full_price else 1 - batch_off)
        for kind, rate in with_fallbacks(flat(tiered, total)).items()
    }


def _reason_before_prices(model: str) -> pl.Expr:
    """Why a row cannot be priced, as far as its own columns say."""
    not_billed = (pl.col("status") == "error") & (pl.col("problem") == NO_TOKENS)
    return (
        pl.when(not_billed.fill_null(False))
        .then(pl.lit(NOT_BILLED))
        .when(pl.col("problem").is_not_null())
        .then("problem")
        .when(pl.col(model).is_null())
        .then(pl.lit(NO_MODEL))
        .when(pl.col("__ref") < 0)
        .then(pl.lit(UNKNOWN_MODEL))
    )


def _rates_of_cases(
    cases: pl.DataFrame, book: Book, refs: list[ModelRef], logged_refs: list[ModelRef], starts: list[dt.date]
) -> pl.DataFrame:
    """One row of rates, and `__unpriced`, for each case. Cases that no price of the model tells apart share their
    rates: the book is asked once for each that differ."""
    shapes: dict[tuple[int, int], tuple[list[dt.date], list[int], list[int], Fraction]] = {}
    places: dict[tuple[object, ...], int] = {}
    distinct: list[Sequence[float | str | None]] = []
    indices: list[int] = []
    for of, by, period, minute, band, batch, tier, hit, reason in cases.iter_rows():
        place: tuple[object, ...] = (hit, reason)
        if not hit and reason is None:
            if (of, by) not in shapes:
                prices = book.model(refs[of])
                scale = refs[of].ratio / logged_refs[by].ratio if by >= 0 else Fraction(1)
                edges = [int(threshold / scale) for threshold in prices.thresholds]
                shapes[of, by] = [*prices.starts], [*prices.slots], edges, scale
            model_starts, model_slots, edges, scale = shapes[of, by]
            part = None if minute is None else bisect_right(model_slots, minute)
            place = (of, by, bisect_right(model_starts, starts[period]), part, bisect_right(edges, band), batch, tier)
        if place not in places:
            places[place] = len(distinct)
            if hit:
                distinct.append([*[0.0] * len(_ALL_RATES), None])
            elif reason is None and tier == FREE_TIER and (by < 0 or refs[of] == logged_refs[by]):
                # it is free where it was sent, not where it would be sent instead
                distinct.append([*[0.0] * len(_ALL_RATES), None])
            elif reason is not None:
                distinct.append([*[None] * len(_ALL_RATES), reason])
            else:
                distinct.append(_rates_of_case(book, refs[of], scale, starts[period], minute, band, batch, tier))
        indices.append(places[place])
    schema = {**dict.fromkeys(_ALL_RATES, pl.Float64), "__unpriced": pl.String}
    return pl.DataFrame(distinct, schema=schema, orient="row")[pl.Series(indices, dtype=pl.UInt32)]


def _rates_of_case(
    book: Book,
    ref: ModelRef,
    scale: Fraction,
    day: dt.date,
    minute: int | None,
    band: int,
    batch: bool,
    service_tier: str | None,
) -> Sequence[float | str | None]:
    # The smallest whole total of the band stands for all of it: no threshold lies inside a band.
    found = rates_at(book, ref, day, minute, (band + 1) * scale, batch=batch, service_tier=service_tier)
    if isinstance(found, str):
        return [*[None] * len(_ALL_RATES), found]
    fees = book.fees(ref)
    per_token = float(scale) / 1e6
    kinds = [kind.removesuffix("_tokens") for kind in TOKEN_KINDS]
    tokens = [None if (rate := found.get(kind)) is None else rate * per_token for kind in kinds]
    reasoning, output = found.get("reasoning"), found.get("output")
    extra = None if reasoning is None or output is None else (reasoning - output) * per_token
    return [*tokens, extra, found.get("request"), *(fees.get(fee) for fee in FEES), None]


def _with_refs(
    frame: pl.DataFrame, book: Book, provider: str, model: str, name: str
) -> tuple[pl.DataFrame, list[ModelRef]]:
    """Add `name`: the index of the row's model in the returned list, -1 when the book does not know it."""
    # A column without any value may have the type Null, which has no place in a join.
    frame = frame.with_columns(pl.col(provider, model).cast(pl.String))
    pairs = frame.select(provider, model).unique()
    indices: dict[ModelRef, int] = {}
    found = [
        -1 if (ref := book.resolve(*pair)) is None else indices.setdefault(ref, len(indices))
        for pair in pairs.iter_rows()
    ]
    lookup = pairs.with_columns(pl.Series(name, found, dtype=pl.Int64))
    joined = frame.join(lookup, on=[provider, model], how="left", nulls_equal=True, maintain_order="left")
    return joined, list(indices)


def _times(count: str, rate: str) -> pl.Expr:
    """A count without a rate adds nothing here; rows where that would be wrong are marked before."""
    return (pl.col(count) * pl.col(rate)).fill_null(0.0)
