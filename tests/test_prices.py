"""Prices: parity with genai-prices, overlays, reasons, laws."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import (
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
    Usage,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from routecost import schema, shipped
from routecost.errors import InputError
from routecost.prices import (
    CAPABILITIES,
    COST_KINDS,
    Book,
    check,
    freeze,
    list_tiers,
    price,
    price_kinds,
    rates,
    read_prices,
    show_model,
)
from routecost.prices.check import models_in_table
from routecost.prices.models import When
from routecost.prices.overlay import digest

COUNTS = (*schema.TOKEN_KINDS, "reasoning_tokens", *schema.FEES)
TODAY = dt.date(2026, 11, 24)


@pytest.fixture(scope="module")
def book() -> Book:
    return read_prices()


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    """Requests with defaults: 1,000 input and 100 output tokens of gpt-5.4 on a dated, successful call."""
    defaults: dict[str, Any] = {
        "day": dt.date(2026, 10, 20),
        "slot": 0,
        "band": 0,
        "provider": None,
        "model": "gpt-5.4",
        "requests": 1,
        **dict.fromkeys(COUNTS, 0),
        "input_tokens": 1000,
        "output_tokens": 100,
        "service_tier": None,
        "batch": None,
        "gateway_cache_hit": None,
        "status": "ok",
        "problem": None,
    }
    types = {**schema.CELL_KEY, "requests": pl.Int64(), **dict.fromkeys(COUNTS, pl.Int64())}
    return pl.DataFrame([{**defaults, **row} for row in rows], schema={name: types[name] for name in defaults})


def overlay(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def one(book: Book, **row: Any) -> tuple[float | None, str | None]:
    priced = price(frame(row), book, as_of=TODAY)
    return priced["cost_usd"][0], priced["unpriced"][0]


# --- parity with genai-prices -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One request, as genai-prices and as we see it."""

    provider: Provider
    model: ModelInfo
    ts: dt.datetime
    counts: dict[str, int]
    batch: bool
    service_tier: str | None

    @property
    def total(self) -> int:
        return sum(self.counts[kind] for kind in schema.INPUT_KINDS)

    @property
    def context(self) -> dict[str, str]:
        context = {"processing": "batch"} if self.batch else {}
        return context | ({"service_tier": self.service_tier} if self.service_tier else {})

    def expected(self) -> float:
        counts = self.counts
        usage = Usage(
            input_tokens=self.total,
            cache_read_tokens=counts["cache_read_tokens"],
            cache_write_tokens=counts["cache_write_tokens"] + counts["cache_write_1h_tokens"],
            cache_write_1h_tokens=counts["cache_write_1h_tokens"],
            output_tokens=counts["output_tokens"],
            output_reasoning_tokens=counts["reasoning_tokens"],
        )
        priced = self.model.calc_price(
            usage, self.provider, genai_request_timestamp=self.ts, price_context=self.context or None
        )
        return float(priced.total_price)


def parts(model: ModelInfo) -> list[ModelPrice]:
    standard = [model.prices] if isinstance(model.prices, ModelPrice) else [part.prices for part in model.prices]
    return [*standard, *(variant.prices for variant in model.price_variants or ())]


def thresholds(model: ModelInfo) -> set[int]:
    tiered = [v for part in parts(model) for v in vars(part).values() if isinstance(v, TieredPrices)]
    return {tier.start for price in tiered for tier in price.tiers}


def starts(model: ModelInfo) -> set[dt.date]:
    conditions = [*(model.prices if isinstance(model.prices, list) else ()), *(model.price_variants or ())]
    return {c.constraint.start_date for c in conditions if isinstance(c.constraint, StartDateConstraint)}


def active(case: Case, name: str, value: str) -> bool:
    return any(
        v.when.get(name) == value and (v.constraint is None or v.constraint.active(case.ts))
        for v in case.model.price_variants or ()
    )


def differs_on_purpose(case: Case) -> bool:
    """Where genai-prices says 0 or the standard price, and we say that the price is unknown.

    A kind of token that was used and has no rate costs 0 there; so does a model without any rate. A batch or a service
    tier without a variant (or before the variant's first day) costs the standard price there.
    """
    standard = case.model.get_prices(case.ts, case.context or None)
    if standard.input_mtok is None or standard.output_mtok is None:
        return True
    if case.batch and not active(case, "processing", "batch"):
        return True
    return case.service_tier is not None and not active(case, "service_tier", case.service_tier)


def cases_of(provider: Provider, model: ModelInfo, minutes: tuple[int, ...]) -> Iterator[Case]:
    days = {TODAY, *(start + dt.timedelta(days=shift) for start in starts(model) for shift in (-1, 0, 1))}
    totals = {1500, *(threshold + above for threshold in thresholds(model) for above in (0, 1))}
    tiers = {v.when["service_tier"] for v in model.price_variants or () if "service_tier" in v.when}
    contexts = [(False, None), (True, None), *((False, tier) for tier in sorted(tiers)), (True, "flex")]
    timed = provider.id == "deepseek"
    for day in sorted(days):
        for total in sorted(totals):
            counts = {
                "cache_read_tokens": total // 5,
                "cache_write_tokens": total // 7,
                "cache_write_1h_tokens": total // 11,
                "output_tokens": 700,
                "reasoning_tokens": 300,
            }
            counts["input_tokens"] = total - sum(counts[kind] for kind in schema.INPUT_KINDS if kind in counts)
            for minute in minutes if timed else (0,):
                ts = dt.datetime.combine(day, dt.time(minute // 60, minute % 60), dt.UTC)
                for batch, tier in contexts if model.price_variants else contexts[:1]:
                    yield Case(provider, model, ts, counts, batch, tier)


def parity_frame(cases: list[Case], book: Book) -> pl.DataFrame:
    rows = pl.DataFrame(
        {
            "ts": [case.ts for case in cases],
            "provider": [case.provider.id for case in cases],
            "model": [case.model.id for case in cases],
            "batch": [case.batch for case in cases],
            "service_tier": [case.service_tier for case in cases],
            "total": [case.total for case in cases],
            **{kind: [case.counts[kind] for case in cases] for kind in cases[0].counts},
        },
        schema_overrides={"ts": pl.Datetime("us", "UTC"), "service_tier": pl.String},
    )
    return rows.with_columns(
        day=schema.day(pl.col("ts")),
        slot=schema.slot(schema.minute_of_day(pl.col("ts")), book.slots),
        band=schema.band(pl.col("total"), book.edges),
    )


def test_parity_with_genai_prices(book: Book) -> None:
    minutes = tuple(sorted({m + shift for m in book.slots for shift in (-1, 0, 1) if 0 <= m + shift < 1440}))
    cases = [case for provider in providers for model in provider.models for case in cases_of(provider, model, minutes)]
    comparable = [case for case in cases if not differs_on_purpose(case)]
    assert len({(case.provider.id, case.model.id) for case in comparable}) > 1900
    assert sum(case.batch for case in comparable) > 200
    assert sum(case.service_tier is not None for case in comparable) > 200

    priced = price(parity_frame(comparable, book), book)

    assert priced["unpriced"].null_count() == priced.height
    for case, cost in zip(comparable, priced["cost_usd"], strict=True):
        assert cost == pytest.approx(case.expected(), rel=1e-9, abs=0), case


@pytest.mark.parametrize("hours", [(60, 240), (1320, 120), (0, 1439), (600, 600)])
def test_hours_are_those_of_genai_prices_also_over_midnight(hours: tuple[int, int]) -> None:
    first, end = (dt.time(minute // 60, minute % 60, tzinfo=dt.UTC) for minute in hours)
    theirs, ours = TimeOfDateConstraint(first, end), When(minutes=hours)
    midnight = dt.datetime(2026, 10, 20, tzinfo=dt.UTC)
    for minute in range(1440):
        assert ours.active(midnight.date(), minute) == theirs.active(midnight + dt.timedelta(minutes=minute)), minute


def test_every_model_id_means_itself(book: Book) -> None:
    missed = [
        f"{provider.id}/{model.id}"
        for provider in providers
        for model in provider.models
        if (ref := book.resolve(None, f"{provider.id}/{model.id}")) is None or ref.key != f"{provider.id}/{model.id}"
    ]
    assert missed == []


def test_names_mean_what_genai_prices_says(book: Book) -> None:
    snapshot = DataSnapshot(providers=providers, from_auto_update=False)
    names: list[tuple[str | None, str]] = [
        (None, "gpt-5.4-2026-03-05"),
        (None, "claude-sonnet-4-5-20250929"),
        (None, "gpt-5.2-20251211"),
        ("openai", "GPT-4o-mini-2024-07-18"),
        ("AWS-Bedrock", "us.anthropic.claude-sonnet-4-6-v1:0"),
        ("vertex_ai", "gemini-2.5-pro"),
        ("litellm", "groq/llama-3.1-8b-instant"),
        ("openrouter", "anthropic/claude-opus-4.7"),
        ("ollama", "llama3"),
        ("openai", "claude-opus-4-7"),
        ("google", "claude-opus-4-7"),
        (None, "no such model"),
    ]
    for provider, model in names:
        try:
            owner, info = snapshot.find_provider_model(model, None, provider, None)
            expected = f"{owner.id}/{info.id}"
        except LookupError:
            expected = None
        ref = book.resolve(provider, model)
        assert (ref.key if ref else None) == expected, (provider, model)


def test_a_borrowed_model_has_the_owners_price_and_not_its_variants(book: Book) -> None:
    ref = book.resolve("azure", "gpt-5.4")
    assert ref is not None
    assert (ref.key, ref.provider, ref.tier) == ("azure/gpt-5.4", "azure", "large")
    azure = next(provider for provider in providers if provider.id == "azure")
    openai = next(provider for provider in providers if provider.id == "openai")
    model = next(model for model in openai.models if model.id == "gpt-5.4")
    counts = {**dict.fromkeys(COUNTS, 0), "input_tokens": 1000, "output_tokens": 100}
    ts = dt.datetime(2026, 10, 20, tzinfo=dt.UTC)
    assert one(book, provider="azure")[0] == pytest.approx(Case(azure, model, ts, counts, False, None).expected())
    assert one(book, provider="azure", service_tier="flex") == (None, "no_tier_price")


# --- reasons ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"model": None, "problem": "no_model"}, "no_model"),
        ({"model": None}, "no_model"),
        ({"problem": "no_tokens"}, "no_tokens"),
        ({"problem": "no_tokens", "status": "error"}, "not_billed"),
        ({"model": "gpt-99-ultra"}, "unknown_model"),
        ({"provider": "no-such-provider"}, "unknown_model"),
        ({"model": "text-embedding-3-small", "provider": "openai"}, "no_rate"),
        ({"model": "openrouter/deepseek-chat-v3-0324:free"}, "no_rate"),
        ({"model": "groq-llama-8b", "batch": True}, "no_batch_price"),
        ({"model": "groq-llama-8b", "service_tier": "batch"}, "no_batch_price"),
        ({"service_tier": "turbo"}, "no_tier_price"),
        ({"service_tier": "flex", "day": dt.date(2026, 10, 11)}, "no_tier_price"),
        ({"model": "deepseek-v4-flash", "day": None, "slot": None}, "time_unknown"),
        ({"model": "deepseek-v4-flash", "slot": None}, "time_unknown"),
    ],
)
def test_reasons(book: Book, row: dict[str, Any], reason: str) -> None:
    assert one(book, **row) == (None, reason)


@pytest.mark.parametrize(
    ("row", "cost"),
    [
        ({}, 0.0040),
        ({"service_tier": " Default "}, 0.0040),
        ({"service_tier": ""}, 0.0040),
        ({"service_tier": "standard"}, 0.0040),
        ({"service_tier": "auto"}, 0.0040),
        ({"service_tier": "on_demand"}, 0.0040),
        ({"service_tier": "Flex"}, 0.0020),
        ({"service_tier": "priority"}, 0.0080),
        ({"batch": True}, 0.0020),
        ({"service_tier": "batch"}, 0.0020),
        ({"batch": False}, 0.0040),
        # Before genai-prices' batch price begins, the provider's documented discount.
        ({"batch": True, "day": dt.date(2026, 10, 1)}, 0.0020),
        ({"status": "error"}, 0.0040),
        ({"band": 272000, "input_tokens": 300_000}, 300_000 * 5e-6 + 100 * 22.5e-6),
        ({"model": "text-embedding-3-small", "provider": "openai", "output_tokens": 0}, 1000 * 0.02e-6),
        # Without a price for them, cached tokens are input.
        ({"model": "groq-llama-8b", "input_tokens": 0, "cache_read_tokens": 1000, "output_tokens": 0}, 1000 * 0.05e-6),
        ({"model": "perplexity/sonar-pro", "requests": 3}, 3 * 0.014 + 1000 * 3e-6 + 100 * 15e-6),
        ({"model": "perplexity/sonar-deep-research", "reasoning_tokens": 40}, 1000 * 2e-6 + 60 * 8e-6 + 40 * 3e-6),
        ({"input_tokens": 0, "output_tokens": 0}, 0.0),
    ],
)
def test_costs(book: Book, row: dict[str, Any], cost: float) -> None:
    found, reason = one(book, **row)
    assert reason is None
    assert found == pytest.approx(cost, rel=1e-12)


def test_an_undated_request_is_priced_as_of_a_date(book: Book) -> None:
    row = {"model": "claude-sonnet-4-6", "day": None, "slot": None, "band": 200000, "input_tokens": 250_000}
    before = price(frame(row), book, as_of=dt.date(2026, 3, 12))
    after = price(frame(row), book, as_of=dt.date(2026, 3, 13))
    assert before["cost_usd"][0] == pytest.approx(250_000 * 6e-6 + 100 * 22.5e-6)
    assert after["cost_usd"][0] == pytest.approx(250_000 * 3e-6 + 100 * 15e-6)


def test_a_gateway_hit_costs_nothing_whatever_it_is(book: Book) -> None:
    rows: list[dict[str, Any]] = [
        {},
        {"model": "unheard-of"},
        {"problem": "no_tokens"},
        {"model": None, "problem": "no_model"},
        {"web_searches": 3},
    ]
    priced = price(frame(*({**row, "gateway_cache_hit": True} for row in rows)), book)
    assert priced["cost_usd"].to_list() == [0.0] * len(rows)
    assert priced["unpriced"].null_count() == len(rows)
    assert priced["unpriced_fees"].to_list() == [0] * len(rows)


def test_columns_that_may_be_missing(book: Book) -> None:
    bare = frame({}).select("provider", "model", "band", *schema.TOKEN_KINDS)
    assert price(bare, book, as_of=TODAY)["cost_usd"].to_list() == pytest.approx([0.0040])


def test_counts_that_are_null(book: Book) -> None:
    uncounted = dict.fromkeys(schema.TOKEN_KINDS)
    rows = frame(uncounted, {**uncounted, "gateway_cache_hit": True}, {"cache_read_tokens": None})
    priced = price(rows.with_columns(provider=pl.lit(None)), book)
    assert priced["cost_usd"].to_list() == [None, 0.0, pytest.approx(0.0040)]
    assert priced["unpriced"].to_list() == ["no_tokens", None, None]


def test_an_empty_frame(book: Book) -> None:
    priced = price(frame({}).clear(), book)
    assert priced.height == 0
    assert priced.schema["cost_usd"] == pl.Float64
    assert priced.schema["unpriced"] == pl.String
    assert priced.schema["unpriced_fees"] == pl.Int64


def test_rows_keep_their_order_and_columns(book: Book) -> None:
    models = ["gpt-5.4", "nope", "claude-opus-4-7", None, "groq-llama-8b", "gpt-5.4"]
    before = frame(*({"model": model} for model in models))
    priced = price(before, book, cost="a", unpriced="b", unpriced_fees="c")
    assert_frame_equal(priced.drop("a", "b", "c"), before)
    assert priced["b"].to_list() == [None, "unknown_model", None, "no_model", None, None]


def test_the_parts_sum_to_the_cost(book: Book) -> None:
    row = {kind: 1000 + place for place, kind in enumerate(schema.TOKEN_KINDS)}
    cells = frame({**row, "model": "claude-opus-4-7", "requests": 5}, {**row, "model": "nope"})
    parts_ = price_kinds(cells, book)
    assert parts_.select(pl.sum_horizontal(COST_KINDS)).item(0, 0) == pytest.approx(price(cells, book)["cost_usd"][0])
    assert parts_["cost_cache_write_1h_tokens"].to_list() == [pytest.approx(1003 * 10e-6), None]
    assert parts_["unpriced"].to_list() == [None, "unknown_model"]


def test_rates_are_per_token(book: Book) -> None:
    rated = rates(frame({"model": "claude-opus-4-7"}, {"model": "nope"}), book)
    assert rated["rate_input_tokens"].to_list() == [pytest.approx(5e-6), None]
    assert rated["rate_cache_read_tokens"].to_list() == [pytest.approx(0.5e-6), None]
    assert rated["rate_request"].to_list() == [None, None]
    assert rated["unpriced"].to_list() == [None, "unknown_model"]


# --- overlays -----------------------------------------------------------------------------------------------------

PRIVATE = """
models:
  acme/private-7b:
    tier: small
    context_window: 9000
    prices:
      - {from: 2026-02-01, input: 2, cache_read: 0.5, output: 4, request: 0.001, above: {1000: {input: 20}}}
      - {from: 2026-06-01, input: 3, cache_write: 5, output: 6, reasoning: 9}
    batch: {input: 1}
    service_tiers: {flex: {input: 0.5, output: 1}}
    fees: {web_searches: 0.01}
"""


@pytest.mark.parametrize(
    ("row", "cost"),
    [
        ({"day": dt.date(2026, 1, 31)}, None),
        ({"day": dt.date(2026, 2, 1)}, 0.001 + 1000 * 2e-6 + 100 * 4e-6),
        ({"day": dt.date(2026, 5, 31)}, 0.001 + 1000 * 2e-6 + 100 * 4e-6),
        ({"day": dt.date(2026, 5, 31), "band": 1000}, 0.001 + 1000 * 20e-6 + 100 * 4e-6),
        ({"day": dt.date(2026, 6, 1)}, 1000 * 3e-6 + 100 * 6e-6),
        ({"day": dt.date(2026, 6, 1), "cache_write_1h_tokens": 10}, 1000 * 3e-6 + 100 * 6e-6 + 10 * 5e-6),
        ({"day": dt.date(2026, 6, 1), "reasoning_tokens": 10}, 1000 * 3e-6 + 90 * 6e-6 + 10 * 9e-6),
        ({"batch": True}, 1000 * 1e-6 + 100 * 6e-6),
        ({"service_tier": "flex"}, 1000 * 0.5e-6 + 100 * 1e-6),
        ({"web_searches": 2}, 1000 * 3e-6 + 100 * 6e-6 + 0.02),
    ],
)
def test_a_private_model(tmp_path: Path, row: dict[str, Any], cost: float | None) -> None:
    book = read_prices([overlay(tmp_path / "team.yaml", PRIVATE)])
    found, reason = one(book, **{"model": "acme/private-7b", **row})
    assert reason == ("no_rate" if cost is None else None)
    assert found == (None if cost is None else pytest.approx(cost, rel=1e-12))


@pytest.mark.parametrize(
    ("provider", "model"),
    [("acme", "private-7b"), (None, "acme/private-7b"), (None, "Private-7B"), ("ACME", "private-7b")],
)
def test_names_of_a_private_model(tmp_path: Path, provider: str | None, model: str) -> None:
    book = read_prices([overlay(tmp_path / "team.yaml", PRIVATE)])
    ref = book.resolve(provider, model)
    assert ref is not None
    assert (ref.key, ref.tier, ref.context_window) == ("acme/private-7b", "small", 9000)


def test_later_overlays_win_field_by_field(tmp_path: Path) -> None:
    first = overlay(
        tmp_path / "a.yaml", "models: {openai/gpt-5.4: {discount: 0.2, fees: {images: 1, web_searches: 2}}}"
    )
    second = overlay(tmp_path / "b.yaml", "models: {gpt-5.4: {tier: mid, fees: {images: 3}}}")
    book = read_prices([first, second])
    ref = book.resolve(None, "gpt-5.4")
    assert ref is not None
    assert ref.tier == "mid"
    assert book.fees(ref) == {"images": 3, "web_searches": 2}
    assert one(book)[0] == pytest.approx(0.0040 * 0.8)
    again = read_prices([second, first])
    assert again.fees(ref) == {"images": 1, "web_searches": 2}


def test_a_discount_of_a_model_is_in_place_of_its_providers(tmp_path: Path) -> None:
    text = "{providers: {openai: {discount: 0.5}}, models: {openai/gpt-5.4-mini: {discount: 0.1}}}"
    book = read_prices([overlay(tmp_path / "team.yaml", text)])
    assert one(book)[0] == pytest.approx(0.0040 * 0.5)
    assert one(book, model="gpt-5.4-mini")[0] == pytest.approx((1000 * 0.75e-6 + 100 * 4.5e-6) * 0.9)
    # Batch prices are rates too.
    assert one(book, batch=True)[0] == pytest.approx(0.0020 * 0.5)
    assert one(book, provider="azure")[0] == pytest.approx(0.0040)


def test_a_batch_discount_can_leave_cached_tokens_out(book: Book) -> None:
    row = {"model": "google/gemini-3-pro-preview", "batch": True, "cache_read_tokens": 500}
    assert one(book, **row)[0] == pytest.approx((1000 * 2e-6 + 100 * 12e-6) / 2 + 500 * 0.2e-6)


def test_overlay_prices_replace_known_ones(tmp_path: Path) -> None:
    book = read_prices([overlay(tmp_path / "team.yaml", "models: {gpt-5.4: {prices: [{input: 1, output: 2}]}}")])
    assert one(book, day=dt.date(2020, 1, 1), band=272000)[0] == pytest.approx(1000e-6 + 200e-6)
    ref = book.resolve("openai", "gpt-5.4-2026-03-05")
    assert ref is not None
    assert ref.tier == "large"
    assert book.model(ref).source == "team.yaml"


def test_a_private_model_is_not_the_one_whose_pattern_it_matches(tmp_path: Path) -> None:
    text = "models: {openai/gpt-5.4-2026-our-tuning: {prices: [{input: 100, output: 100}]}}"
    book = read_prices([overlay(tmp_path / "team.yaml", text)])
    assert one(book)[0] == pytest.approx(0.0040)
    assert one(book, model="gpt-5.4-2026-our-tuning", provider="openai")[0] == pytest.approx(1100 * 100e-6)


def test_aliases_win_and_may_name_a_provider(tmp_path: Path) -> None:
    text = """
aliases: {prod-4: gpt-5.4, gateway/prod-4: acme/private-7b, chain: prod-4, gpt-5.5: gpt-5.4-mini, openai/o3: o4-mini}
""" + PRIVATE.lstrip()
    book = read_prices([overlay(tmp_path / "team.yaml", text)])
    names: list[tuple[str | None, str]] = [
        (None, "PROD-4"),
        ("azure", "prod-4"),
        ("gateway", "prod-4"),
        (None, "chain"),
        (None, "gpt-5.5"),
        ("openai", "gpt-5.5"),
        ("openai", "o3"),
    ]
    keys = [ref.key if (ref := book.resolve(*name)) else None for name in names]
    assert keys == [
        "openai/gpt-5.4",
        "azure/gpt-5.4",
        "acme/private-7b",
        "openai/gpt-5.4",
        "openai/gpt-5.4-mini",
        # What the logged provider itself sells under a name is that, unless the alias names the provider.
        "openai/gpt-5.5",
        "openai/o4-mini",
    ]


def test_fees_without_a_price_are_counted_and_left_out(book: Book, tmp_path: Path) -> None:
    cells = frame({"web_searches": 3, "images": 4, "audio_seconds": 5}, {"model": "nope", "images": 2})
    priced = price(cells, book)
    assert priced["unpriced_fees"].to_list() == [12, 2]
    assert priced["cost_usd"].to_list() == [pytest.approx(0.0040), None]
    fees = overlay(tmp_path / "fees.yaml", "models: {openai/gpt-5.4: {fees: {web_searches: 0.01, images: 0.5}}}")
    priced = price(cells, read_prices([fees]))
    assert priced["unpriced_fees"].to_list() == [5, 2]
    assert priced["cost_usd"][0] == pytest.approx(0.0040 + 0.03 + 2.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modles: {}", ["modles", "Did you mean models"]),
        ("models: {openai/gpt-5.4: {discnt: 0.1}}", ["models.openai/gpt-5.4.discnt", "Did you mean discount"]),
        ("models: {a/b: {prices: [{inptu: 1}]}}", ["models.a/b.prices.0.inptu", "Did you mean input?", "from"]),
        ("models: {a/b: {prices: [{above: {9: {ouput: 1}}}]}}", ["above.9.ouput", "Did you mean output"]),
        ("models: {a/b: {fees: {web: 1}}}", ["models.a/b.fees.web", "web_searches"]),
        ("providers: {openai: {batch: 1}}", ["providers.openai.batch", "batch_discount"]),
        ("models: {openai/gpt-5.4: {tier: smal}}", ["tier", "'smal'", "small, mid, large, frontier", "mean small?"]),
        (
            "models: {openai/gpt-5.4: {discount: 15}}",
            ["models.openai/gpt-5.4.discount is 15", "less than or equal to 1"],
        ),
        ("models: {openai/gpt-5.4: {token_ratio: 0}}", ["token_ratio is 0", "greater than 0"]),
        ("models: {openai/gpt-5.4: {max_output: 0}}", ["max_output is 0", "greater than 0"]),
        ("models: {openai/gpt-5.4: {retired: soon}}", ["retired is 'soon'"]),
        ("models: {openai/gpt-5.4: {capabilities: tools}}", ["capabilities is 'tools'", "list"]),
        (
            "models: {openai/gpt-5.4: {capabilities: [tools, visoin]}}",
            ["capabilities.1 is 'visoin'", "tools, vision, json", "mean vision"],
        ),
        ("models: {a/b: {prices: [{input: -1}]}}", ["input is -1"]),
        ("models: {a/b: {prices: [{input: .inf}]}}", ["input is inf"]),
        ("models: {a/b: {prices: [{from: soon, input: 1}]}}", ["from is 'soon'"]),
        ("models: {a/b: {prices: [{input: 1}, {input: 2}]}}", ["two prices start at the beginning"]),
        (
            "models: {openai/gpt-5.44: {discount: 0.1}}\n",
            ["models.openai/gpt-5.44", "would do nothing", "openai/gpt-5.4"],
        ),
        ("models: {private: {prices: [{input: 1}]}}", ["models.private needs a provider"]),
        ("aliases: {mine: openai/gpt-5.44}", ["aliases.mine", "openai/gpt-5.44", "Did you mean"]),
        ("aliases: {a: b, b: a}", ["circle", "a -> b -> a"]),
        ("providers: {opnai: {discount: 0.1}}", ["providers.opnai", "Did you mean openai"]),
        ("models: {a/b: {tier: mid}, a/b: {tier: small}}", ["not YAML", "'a/b' is there twice"]),
        ("models: [", ["not YAML"]),
        ("- a\n- b", ["found a list", "aliases, providers, models"]),
        ("", ["found nothing"]),
        ("models: {openai/gpt-5.4: 3}", ["models.openai/gpt-5.4 is 3"]),
    ],
)
def test_mistakes_in_an_overlay(tmp_path: Path, text: str, said: list[str]) -> None:
    path = overlay(tmp_path / "team.yaml", text)
    with pytest.raises(InputError) as caught:
        read_prices([path])
    message = str(caught.value)
    assert str(path) in message
    for part in said:
        assert part in message


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "team.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(InputError, match="not YAML"):
        read_prices([path])


def test_a_missing_overlay(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*none\.yaml.*worked-example"):
        read_prices([tmp_path / "none.yaml"])


# --- token ratios, edges, slots -----------------------------------------------------------------------------------

RATIOS = """
models:
  acme/plain: {prices: [{input: 1, output: 1, above: {1000: {input: 10, output: 10}}}]}
  acme/dense: {token_ratio: 1.3, prices: [{input: 1, output: 1, above: {1000: {input: 10, output: 10}}}]}
  acme/coarse: {token_ratio: 0.7, prices: [{input: 1, output: 1}]}
"""


def test_edges_are_the_thresholds_where_all_ratios_are_one(book: Book) -> None:
    assert book.edges == tuple(sorted({t for p in providers for m in p.models for t in thresholds(m)}))


def test_slots_are_the_boundaries_of_every_price(book: Book) -> None:
    assert book.slots == (0, 30, 60, 240, 360, 600, 990)


@pytest.mark.parametrize("logged", ["acme/plain", "acme/dense", "acme/coarse"])
@pytest.mark.parametrize("routed", ["acme/plain", "acme/dense"])
def test_a_scaled_request_crosses_a_threshold_exactly(tmp_path: Path, logged: str, routed: str) -> None:
    book = read_prices([overlay(tmp_path / "team.yaml", RATIOS)])
    a, b = (10 * {"acme/plain": 1.0, "acme/dense": 1.3, "acme/coarse": 0.7}[model] for model in (logged, routed))
    scale = b / a
    # Whole totals around the point where total * b / a passes 1,000.
    totals = [round(1000 * a / b) + shift for shift in range(-2, 3)]
    cells = frame(*({"model": routed, "input_tokens": total, "output_tokens": 0} for total in totals)).with_columns(
        logged_provider=pl.lit(None, pl.String),
        logged_model=pl.lit(logged),
        band=schema.band(pl.col("input_tokens"), book.edges),
    )
    priced = price(cells, book, logged=("logged_provider", "logged_model"))
    for total, cost in zip(totals, priced["cost_usd"], strict=True):
        rate = 10 if round(total * b) > round(1000 * a) else 1
        assert cost == pytest.approx(total * scale * rate * 1e-6, rel=1e-12), total


def test_edges_of_a_book_with_ratios(tmp_path: Path) -> None:
    book = read_prices([overlay(tmp_path / "team.yaml", RATIOS)])
    # 1000 * a / b, rounded down, for a in 1, 1.3, 0.7 and b in 1, 1.3.
    assert set(book.edges) >= {1000, 1300, 700, 769, 538}
    plain, coarse = book.resolve(None, "acme/plain"), book.resolve(None, "acme/coarse")
    assert plain is not None
    assert coarse is not None
    assert book.edges_of([plain]) == (1000,)
    assert book.edges_of([plain, coarse]) == (700, 1000)
    assert book.edges_of([coarse]) == ()


def test_slots_of_models(book: Book) -> None:
    flash, gpt = book.resolve(None, "deepseek-v4-flash"), book.resolve(None, "gpt-5.4")
    assert flash is not None
    assert gpt is not None
    assert book.slots_of([gpt]) == (0,)
    assert book.slots_of([gpt, flash]) == (0, 60, 240, 360, 600)
    assert book.edges_of([gpt]) == (272000,)


# --- laws ---------------------------------------------------------------------------------------------------------

NAMES = ("gpt-5.4", "claude-opus-4-7", "deepseek-v4-flash", "groq-llama-8b", "perplexity/sonar-deep-research")
tokens = st.integers(0, 10**7)


@st.composite
def cells_of_one_key(draw: st.DrawFn) -> pl.DataFrame:
    key = {
        "model": draw(st.sampled_from(NAMES)),
        "day": dt.date(2025, 1, 1) + dt.timedelta(days=draw(st.integers(0, 690))),
        "slot": draw(st.sampled_from((0, 30, 60, 240, 360, 600, 990))),
        "band": draw(st.sampled_from((0, 200000, 272000))),
        "batch": draw(st.sampled_from((None, True))),
    }
    count = draw(st.integers(1, 5))
    rows: list[dict[str, Any]] = [
        {**key, "requests": draw(st.integers(1, 99)), **{kind: draw(tokens) for kind in schema.TOKEN_KINDS}}
        for _ in range(count)
    ]
    return frame(*({**row, "reasoning_tokens": row["output_tokens"] // 3} for row in rows))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=cells_of_one_key())
def test_pricing_commutes_with_adding_up(book: Book, cells: pl.DataFrame) -> None:
    keys = [name for name in cells.columns if name in schema.CELL_KEY]
    added = cells.group_by(keys).agg(pl.col("requests", *COUNTS).sum())
    apart, together = price(cells, book), price(added, book)
    assert together.height == 1
    assert together["unpriced"][0] == apart["unpriced"][0]
    if apart["unpriced"][0] is None:
        assert together["cost_usd"][0] == pytest.approx(apart["cost_usd"].sum(), rel=1e-9)


rate = st.floats(0, 1000, allow_nan=False).map(lambda value: round(value, 6))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    standard=st.tuples(rate, rate, rate), above=st.tuples(rate, rate), counts=st.lists(tokens, min_size=5, max_size=5)
)
def test_doubling_every_price_doubles_the_cost(
    tmp_path_factory: pytest.TempPathFactory,
    standard: tuple[float, float, float],
    above: tuple[float, float],
    counts: list[int],
) -> None:
    def model(factor: int) -> dict[str, Any]:
        fresh, cached, output = (factor * value for value in standard)
        tier = {"input": factor * above[0], "output": factor * above[1]}
        period = {"input": fresh, "cache_read": cached, "output": output, "request": factor, "above": {"1000": tier}}
        return {"prices": [period]}

    text = json.dumps({"models": {"acme/once": model(1), "acme/twice": model(2)}})
    book = read_prices([overlay(tmp_path_factory.mktemp("double") / "team.yaml", text)])
    row = {"band": 1000, **dict(zip(schema.TOKEN_KINDS, counts, strict=True))}
    once, twice = price(frame({**row, "model": "acme/once"}, {**row, "model": "acme/twice"}), book)["cost_usd"]
    assert once >= 1
    assert twice == pytest.approx(2 * once, rel=1e-12)


def test_adding_a_price_changes_no_other_models_cost(book: Book, tmp_path: Path) -> None:
    cells = frame(*({"model": key} for key in book.catalogue.models))
    new = overlay(
        tmp_path / "team.yaml",
        "models: {acme/gpt-5.4: {prices: [{input: 7, output: 7}]}, openai/o3: {prices: [{input: 7, output: 7}]}}",
    )
    before, after = price(cells, book), price(cells, read_prices([new]))
    others = pl.col("model") != "openai/o3"
    assert_frame_equal(before.filter(others), after.filter(others))
    assert after.filter(~others)["cost_usd"][0] == pytest.approx(1100 * 7e-6)


# --- the shipped files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "key", "tier"),
    [
        ("groq-llama-8b", "groq/llama-3.1-8b-instant", "small"),
        ("groq/llama-3.1-8b-instant", "groq/llama-3.1-8b-instant", "small"),
        ("groq-llama-70b", "groq/llama-3.3-70b-versatile", "small"),
        ("groq-qwen-32b", "groq/qwen/qwen3-32b", "small"),
        ("codestral", "mistral/codestral", "small"),
        ("mistral-medium-3-5", "mistral/mistral-medium-3-5", "mid"),
        ("mistral-medium-3.5", "mistral/mistral-medium-3-5", "mid"),
        ("claude-opus-4-7", "anthropic/claude-opus-4-7", "frontier"),
        ("claude-opus-4.7", "anthropic/claude-opus-4-7", "frontier"),
        ("claude-haiku-4.5", "anthropic/claude-haiku-4-5", "small"),
        ("claude-sonnet-4.6", "anthropic/claude-sonnet-4-6", "large"),
        ("gpt-5-4", "openai/gpt-5.4", "large"),
        ("gpt-5.4", "openai/gpt-5.4", "large"),
        ("gpt-5.4-mini", "openai/gpt-5.4-mini", "small"),
        ("gpt-5.5", "openai/gpt-5.5", "frontier"),
        ("gemini-3-pro", "google/gemini-3-pro-preview", "large"),
        ("gemini-3-pro-preview", "google/gemini-3-pro-preview", "large"),
        ("gemini-3-flash", "google/gemini-3-flash-preview", "small"),
        ("deepseek-v4-flash", "deepseek/deepseek-v4-flash", "mid"),
        ("deepseek-v4-pro", "deepseek/deepseek-v4-pro", "large"),
    ],
)
def test_names_in_use_resolve_with_a_tier(book: Book, name: str, key: str, tier: str) -> None:
    ref = book.resolve(None, name)
    assert ref is not None
    assert (ref.key, ref.tier) == (key, tier)


def test_every_entry_of_the_shipped_overlay_is_a_model(book: Book) -> None:
    assert [named.name for named in check(book).unresolved] == []


def test_the_worked_example_prices() -> None:
    from routecost import shipped

    path = shipped.named("pricing", "worked-example")
    assert path is not None
    book = read_prices([path])
    row: dict[str, Any] = {"input_tokens": 2000, "output_tokens": 500}
    costs = [one(book, model=model, **row)[0] for model in ("gpt-5.4", "gpt-5.4-mini", "codestral")]
    assert costs == pytest.approx([0.0125, 0.00375, 0.0075], rel=1e-12)


def test_tiers_ascend(book: Book) -> None:
    tiers = list_tiers(book, as_of=TODAY)
    assert [tier.tier for tier in tiers] == list(schema.TIERS)
    costs = [tier.typical_usd for tier in tiers if tier.typical_usd is not None]
    assert costs == sorted(costs)
    assert len(costs) == 4
    assert tiers[0].gap is None
    assert tiers[3].gap == pytest.approx(costs[3] / costs[2])


def test_the_version_names_every_source(tmp_path: Path) -> None:
    path = overlay(tmp_path / "team.yaml", "name: team")
    version = read_prices([path]).version
    assert version.startswith("genai-prices ")
    assert " + default.yaml@" in version
    assert version.split(" + ")[2].startswith("team.yaml@")
    overlay(path, "name: another")
    assert read_prices([path]).version != version


def test_nearest(book: Book) -> None:
    assert book.nearest("gpt-5.4-minni")[0] == "openai/gpt-5.4-mini"
    assert "groq-llama-8b" in book.nearest("groq-lama-8b")
    assert book.nearest("zzzzzzzzzz") == []


# --- what models can do, and until when ---------------------------------------------------------------------------


def test_facts_of_an_overlay(tmp_path: Path) -> None:
    text = """
models:
  openai/gpt-5.4: {capabilities: [json, tools], max_output: 9, retired: 2027-01-02}
  acme/mute: {capabilities: [], prices: [{input: 1}]}
  acme/dark: {prices: [{input: 1}]}
"""
    book = read_prices([overlay(tmp_path / "team.yaml", text)])
    known, mute, dark = (book.resolve(None, name) for name in ("gpt-5.4", "acme/mute", "acme/dark"))
    assert known is not None
    assert mute is not None
    assert dark is not None
    assert known.capabilities == frozenset({"tools", "json"})
    assert (known.max_output, known.retired, known.deprecated) == (9, dt.date(2027, 1, 2), False)
    # Nothing and unknown differ.
    assert mute.capabilities == frozenset()
    assert (dark.capabilities, dark.max_output, dark.retired, dark.deprecated) == (None, None, None, False)


def test_a_borrowed_model_can_do_the_same_but_is_offered_as_long_as_its_provider_likes(tmp_path: Path) -> None:
    text = "models: {openai/gpt-5.4: {capabilities: [vision], max_output: 9, retired: 2027-01-02}}"
    book = read_prices([overlay(tmp_path / "team.yaml", text)])
    ref = book.resolve("azure", "gpt-5.4")
    assert ref is not None
    assert (ref.key, ref.capabilities, ref.max_output, ref.retired) == ("azure/gpt-5.4", frozenset({"vision"}), 9, None)
    said = "models: {azure/gpt-5.4: {capabilities: [], retired: 2028-01-01}}"
    own = read_prices([overlay(tmp_path / "own.yaml", said)]).resolve("azure", "gpt-5.4")
    assert own is not None
    assert (own.capabilities, own.max_output, own.retired) == (frozenset(), 128000, dt.date(2028, 1, 1))


def test_deprecated_is_what_genai_prices_says(book: Book) -> None:
    said = {f"{provider.id}/{model.id}": bool(model.deprecated) for provider in providers for model in provider.models}
    assert {ref.key: ref.deprecated for ref in book.refs() if ref.key in said} == said
    assert any(said.values())


@pytest.mark.parametrize(
    ("name", "capabilities", "max_output", "context_window", "retired", "deprecated"),
    [
        ("gpt-5.4", {"tools", "vision", "json"}, 128000, 1050000, None, False),
        ("o3-mini", {"tools", "json"}, 100000, 200000, dt.date(2026, 10, 23), False),
        ("gemini-3-pro", {"tools", "vision", "json"}, 65535, 1048576, None, True),
        ("gemini-2.0-flash", None, None, 1000000, dt.date(2026, 6, 1), True),
        ("codestral", {"tools", "json"}, None, 256000, None, False),
        ("groq-llama-8b", None, None, None, None, False),
        ("openrouter/openai/gpt-5.4", None, None, 1050000, None, False),
    ],
)
def test_shipped_facts(
    book: Book,
    name: str,
    capabilities: set[str] | None,
    max_output: int | None,
    context_window: int | None,
    retired: dt.date | None,
    deprecated: bool,
) -> None:
    ref = book.resolve(None, name)
    assert ref is not None
    assert (ref.capabilities, ref.max_output, ref.context_window) == (capabilities, max_output, context_window)
    assert (ref.retired, ref.deprecated) == (retired, deprecated)


def test_shipped_facts_hang_together(book: Book) -> None:
    for ref in book.refs():
        assert ref.capabilities is None or ref.capabilities <= set(CAPABILITIES)
        if ref.max_output is not None:
            assert ref.max_output < (ref.context_window or 0), ref.key


def test_facts_change_no_price(book: Book, tmp_path: Path) -> None:
    text = "".join(
        f"  {json.dumps(ref.key)}: {{capabilities: [tools], max_output: 7, context_window: 9, retired: 2020-01-01}}\n"
        for ref in book.refs()
        if ref.tier
    )
    told = read_prices([overlay(tmp_path / "team.yaml", f"models:\n{text}")])
    cells = frame(*({"model": ref.key, "batch": batch} for ref in book.refs() if ref.tier for batch in (False, True)))
    assert (told.edges, told.slots) == (book.edges, book.slots)
    assert_frame_equal(price(cells, told), price(cells, book), check_exact=True)


def test_check_names_what_is_given_up(book: Book, tmp_path: Path) -> None:
    table = overlay(tmp_path / "table.yaml", "default: gpt-5.4\nroutes: {simple: o3-mini, code: gemini-3-pro}\n")
    ending = [(n.file, n.name, n.retired, n.deprecated) for n in check(book, [table]).ending]
    assert ending == [
        ("default.yaml", "gemini-3-pro", None, True),
        ("table.yaml", "o3-mini", dt.date(2026, 10, 23), False),
        ("table.yaml", "gemini-3-pro", None, True),
    ]


# --- frozen books -------------------------------------------------------------------------------------------------


def test_a_frozen_book_is_the_same_book(tmp_path: Path) -> None:
    team = overlay(tmp_path / "team.yaml", PRIVATE + "aliases: {mine: acme/private-7b}\n")
    live = read_prices([team])
    path = tmp_path / "book.json"
    path.write_bytes(freeze(live))
    frozen = read_prices([path])

    assert frozen.version == live.version
    assert (frozen.edges, frozen.slots) == (live.edges, live.slots)
    assert frozen.refs() == live.refs()
    assert freeze(frozen) == freeze(live) == path.read_bytes()
    names: list[tuple[str | None, str]] = [
        (None, "mine"),
        ("azure", "gpt-5.4"),
        (None, "gpt-5.2-20251211"),
        ("vertex_ai", "gemini-2.5-pro"),
        ("bedrock", "us.anthropic.claude-sonnet-4-6-v1:0"),
        *((None, key) for key in live.models),
    ]
    for name in names:
        assert frozen.resolve(*name) == live.resolve(*name)
    cells = pl.concat(
        frame(*({"provider": provider, "model": model, **row} for provider, model in names))
        for row in (
            {},
            {"slot": 360, "batch": True, "cache_read_tokens": 50},
            {"day": dt.date(2026, 2, 3), "band": 272000},
            {"service_tier": "flex"},
        )
    )
    assert_frame_equal(price(cells, frozen), price(cells, live), check_exact=True)


def test_a_frozen_book_of_before_there_were_facts(book: Book, tmp_path: Path) -> None:
    plain = json.loads(freeze(book))
    for entry in plain["overlay"]["models"].values():
        for fact in ("capabilities", "max_output", "retired"):
            entry.pop(fact, None)
    for provider in plain["providers"]:
        for model in provider["models"]:
            model.pop("deprecated", None)
    body = {key: plain[key] for key in ("version", "catalogue_version", "overlay", "providers")}
    signed = digest(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())
    path = tmp_path / "book.json"
    path.write_text(json.dumps({"format": plain["format"], "format_version": 1, "digest": signed, **body}))
    old = read_prices([path])
    for name in ("gpt-5.4", "o3-mini", "gemini-2.0-flash"):
        now, then = book.resolve(None, name), old.resolve(None, name)
        assert now is not None
        assert then == replace(now, capabilities=None, max_output=None, retired=None, deprecated=False)
    cells = frame(*({"model": ref.key} for ref in book.refs()))
    assert_frame_equal(price(cells, old), price(cells, book), check_exact=True)
    assert json.loads(freeze(old))["format_version"] == 2


def test_a_frozen_book_does_not_read_the_installed_prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "book.json"
    path.write_bytes(freeze(read_prices()))
    monkeypatch.setattr("routecost.prices.catalogue.installed", lambda: pytest.fail("read the installed prices"))
    assert one(read_prices([path]))[0] == pytest.approx(0.0040)


def test_overlays_after_a_frozen_book_win(tmp_path: Path) -> None:
    path = tmp_path / "book.json"
    path.write_bytes(freeze(read_prices()))
    team = overlay(tmp_path / "team.yaml", "models: {openai/gpt-5.4: {discount: 0.5}}")
    assert one(read_prices([path, team]))[0] == pytest.approx(0.0020)
    # And before it they are forgotten: a frozen book is whole.
    assert one(read_prices([team, path]))[0] == pytest.approx(0.0040)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((b'"output": 15.0', b'"output": 14.0'), "changed after it was written"),
        ((b'"format_version": 2', b'"format_version": 9'), "of format 9"),
        ((b"]}\n", b""), "damaged"),
    ],
)
def test_a_damaged_frozen_book(tmp_path: Path, change: tuple[bytes, bytes], said: str) -> None:
    content = freeze(read_prices())
    assert change[0] in content
    path = tmp_path / "book.json"
    path.write_bytes(content.replace(*change))
    with pytest.raises(InputError, match=said) as caught:
        read_prices([path])
    assert str(path) in str(caught.value)


# --- for people ---------------------------------------------------------------------------------------------------


def test_show_gives_every_date_threshold_and_hour(book: Book) -> None:
    shown = show_model(book, "claude-sonnet-4.6")
    standard = [(row.start, row.above, row.rates["input"]) for row in shown.rows if row.context == "standard"]
    assert standard == [(None, 0, 3.0), (None, 200000, 6.0), (dt.date(2026, 3, 13), 0, 3.0)]
    flash = show_model(book, "deepseek-v4-flash")
    last = [(row.hours, row.rates["input"]) for row in flash.rows if row.start == dt.date(2026, 9, 10)]
    assert last == [
        ((0, 60), 0.15),
        ((60, 240), 0.3),
        ((240, 360), 0.15),
        ((360, 600), 0.3),
        ((600, 1440), 0.15),
    ]


def test_show_says_where_a_rate_comes_from(tmp_path: Path) -> None:
    text = "models: {openai/gpt-5.4: {service_tiers: {slow: {input: 1}}}}"
    book = read_prices([overlay(tmp_path / "team.yaml", text)])
    sources = {row.context: row.source for row in show_model(book, "gpt-5.4").rows}
    assert sources["slow"] == "team.yaml"
    assert sources["standard"].startswith("genai-prices")
    mini = {(row.context, row.start): row.source for row in show_model(book, "azure/gpt-5.4").rows}
    assert mini["batch", None] == "default.yaml"


def test_models_in_a_table() -> None:
    table = {
        "default": {"eco": "a", "sport": "b"},
        "routes": {"simple": {"eco": "c"}, "code": "d"},
        "overrides": [{"feature": "billing", "model": "e"}, {"pattern": "x", "model": {"eco": "f"}}],
        "fallbacks": {"g": ["h", "i"]},
        "classifier": {"name": "not a model"},
    }
    assert sorted(model for _, model in models_in_table(table)) == list("abcdefghi")


def test_a_shipped_overlay_by_its_name() -> None:
    path = shipped.folder("pricing") / "worked-example.yaml"
    assert read_prices(["worked-example"]).version == read_prices([path]).version
