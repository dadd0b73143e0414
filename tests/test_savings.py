"""What a table would have cost: cases worked out by hand, controls, group sums, and the bounds of cache loss.

List prices in USD per million tokens, input / output (cached input): gpt-5.4 2.50 / 15 (0.25), gpt-5.4-mini 0.75 / 4.50
(0.075), codestral 0.30 / 0.90, groq's llama 8b 0.05 / 0.08, claude-opus-4-7 5 / 25 (0.50; cache write 6.25).
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routecost import savings
from routecost.errors import InputError
from routecost.pipeline.analysis import coverage_of, rebased, require_valid, saving_of
from routecost.prices import Book, read_prices
from routecost.routing import Override, Table, empty_table
from routecost.schema import CELL_KEY, CELL_VALUES, GROUP_KEY, GROUP_VALUES, GROUPS
from routecost.usage import Settings, Usage, empty
from routecost.usage.cells import CLASS_KEY, carry_schema

# A price book is part of every failing example, and a long one: the assertion shall be seen all the same.
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")

DAY = dt.date(2026, 10, 20)
INTEGERS = dict.fromkeys(CELL_VALUES, pl.Int64())


@pytest.fixture(scope="module")
def book() -> Book:
    return read_prices()


def with_overlay(tmp_path: Path, text: str) -> Book:
    (tmp_path / "own.yaml").write_text(text)
    return read_prices([tmp_path / "own.yaml"])


def cells(*rows: Mapping[str, Any]) -> pl.DataFrame:
    """1,000 requests of 2,000 input and 500 output tokens on gpt-5.4, simple, unless a row says otherwise."""
    usual: dict[str, Any] = {
        **dict.fromkeys(CELL_KEY),
        **dict.fromkeys(CELL_VALUES, 0),
        "day": DAY,
        "slot": 0,
        "band": 0,
        "task": "simple",
        "model": "gpt-5.4",
        "status": "ok",
        "requests": 1000,
        "input_tokens": 2_000_000,
        "output_tokens": 500_000,
    }
    return pl.DataFrame([{**usual, **row} for row in rows], schema={**CELL_KEY, **INTEGERS})


def one(table: Table, book: Book, row: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    sent = savings.routed(savings.today(cells(row), book), table, book, **options)
    assert sent.height == 1
    return sent.row(0, named=True)


SIMPLE = Table("t", routes={"simple": {"balanced": "gpt-5.4-mini"}})
OPUS = {"gpt-5.4": ("claude-opus-4-7",)}
ALL = {"balanced": "gpt-5.4", "sport": "gpt-5.4"}

CASES: dict[str, tuple[Table, dict[str, Any], dict[str, Any]]] = {
    # 2 M * 2.50 + 0.5 M * 15 = 12.50; 2 M * 0.75 + 0.5 M * 4.50 = 3.75
    "moved": (SIMPLE, {}, {"today_usd": 12.50, "routed_usd": 3.75, "moved": True, "to_key": "openai/gpt-5.4-mini"}),
    "another task stays": (SIMPLE, {"task": "code"}, {"today_usd": 12.50, "routed_usd": 12.50, "moved": False}),
    # 1 M * 2.50 + 1 M * 0.25 + 7.50 = 10.25; 0.75 + 0.075 + 2.25 = 3.075
    "cached tokens stay cached": (
        SIMPLE,
        {"input_tokens": 1_000_000, "cache_read_tokens": 1_000_000},
        {"today_usd": 10.25, "routed_usd": 3.075},
    ),
    # codestral has no price for cached input: it is input. 2 M * 0.30 + 0.5 M * 0.90 = 1.05
    "cached tokens at a model without a cache": (
        Table("t", default={"balanced": "codestral"}),
        {"input_tokens": 1_000_000, "cache_read_tokens": 1_000_000},
        {"today_usd": 10.25, "routed_usd": 1.05},
    ),
    "provider-aware: azure's gpt-5.4 is gpt-5.4": (
        Table("t", default=ALL),
        {"provider": "azure"},
        {"today_usd": 12.50, "routed_usd": 12.50, "moved": False, "to_key": "azure/gpt-5.4", "routed_model": "gpt-5.4"},
    ),
    "another provider of the same model, named": (
        Table("t", default={"balanced": "openai/gpt-5.4"}),
        {"provider": "azure"},
        {"routed_usd": 12.50, "moved": True, "to_key": "openai/gpt-5.4"},
    ),
    # the classifier: 1,000 * 0.0001 = 0.10
    "classifier": (
        replace(SIMPLE, classifier_cost_per_request_usd=0.0001),
        {},
        {"routed_usd": 3.85, "classifier_usd": 0.10},
    ),
    "classifier, also for what it then leaves alone": (
        replace(SIMPLE, classifier_cost_per_request_usd=0.0001),
        {"task": "code"},
        {"today_usd": 12.50, "routed_usd": 12.60, "classifier_usd": 0.10, "route_reason": "unrouted"},
    ),
    "no classifier in a table without routes": (
        Table("t", overrides=(Override("codestral", feature=("x",)),), classifier_cost_per_request_usd=0.0001),
        {},
        {"routed_usd": 12.50, "classifier_usd": 0.0},
    ),
    "a pin needs no classifier": (
        replace(SIMPLE, classifier_cost_per_request_usd=0.0001),
        {"model_override": "claude-opus-4-7"},
        # 2 M * 5 + 0.5 M * 25
        {"routed_usd": 22.50, "classifier_usd": 0.0, "route_reason": "pinned", "moved": True},
    ),
    "an override needs no classifier": (
        replace(SIMPLE, overrides=(Override("codestral", feature=("x",)),), classifier_cost_per_request_usd=0.0001),
        {"feature": "x"},
        {"routed_usd": 1.05, "classifier_usd": 0.0, "moved": True},
    ),
    "an override that keeps": (
        replace(SIMPLE, overrides=(Override(None, feature=("x",)),)),
        {"feature": "x"},
        {"routed_usd": 12.50, "moved": False, "routed_model": None},
    ),
    "answered by the gateway's cache: no model, no router": (
        replace(SIMPLE, classifier_cost_per_request_usd=0.0001),
        {"gateway_cache_hit": True},
        {"today_usd": 0.0, "routed_usd": 0.0, "classifier_usd": 0.0},
    ),
    "no model in the log": (
        SIMPLE,
        {"model": None, "problem": "no_model"},
        {"today_usd": None, "unpriced": "no_model", "routed_usd": 3.75, "routed_unpriced": None, "moved": True},
    ),
    "no tokens in the log": (
        SIMPLE,
        {"input_tokens": 0, "output_tokens": 0, "problem": "no_tokens"},
        {"today_usd": None, "unpriced": "no_tokens", "routed_usd": None, "routed_unpriced": "no_tokens"},
    ),
    "failed before any token": (
        SIMPLE,
        {"input_tokens": 0, "output_tokens": 0, "problem": "no_tokens", "status": "error"},
        {"today_usd": None, "unpriced": "not_billed", "routed_usd": None, "routed_unpriced": "not_billed"},
    ),
    "a model that the book does not know": (
        SIMPLE,
        {"model": "no-such-model"},
        {"today_usd": None, "unpriced": "unknown_model", "routed_usd": 3.75, "moved": True},
    ),
    # in batches half: 6.25 and 1.875
    "batch": (SIMPLE, {"batch": True}, {"today_usd": 6.25, "routed_usd": 1.875}),
    "batch to a model without a batch price": (
        Table("t", default={"balanced": "groq-llama-8b"}),
        {"batch": True},
        {"today_usd": 6.25, "routed_usd": None, "routed_unpriced": "no_batch_price", "moved": True},
    ),
    # flex: 2 M * 1.25 + 0.5 M * 7.50 = 6.25; 2 M * 0.375 + 0.5 M * 2.25 = 1.875
    "service tier that both have": (SIMPLE, {"service_tier": "flex"}, {"today_usd": 6.25, "routed_usd": 1.875}),
    "service tier left behind": (
        Table("t", default={"balanced": "codestral"}),
        {"service_tier": "flex"},
        {"today_usd": 6.25, "routed_usd": 1.05, "routed_unpriced": None},
    ),
    "service tier without a price, staying": (
        Table("t", default=ALL),
        {"service_tier": "flex", "provider": "azure"},
        {"today_usd": None, "unpriced": "no_tier_price", "routed_usd": None, "routed_unpriced": "no_tier_price"},
    ),
    # both are paid: 12.50 + 22.50
    "speculative": (
        Table("t", default=ALL, fallbacks=OPUS, speculative=("sport",)),
        {"mode": "sport"},
        {"routed_usd": 35.00, "speculative_usd": 22.50, "moved": False},
    ),
    "speculative in another mode": (
        Table("t", default=ALL, fallbacks=OPUS, speculative=("sport",)),
        {"mode": "balanced"},
        {"routed_usd": 12.50, "speculative_usd": 0.0},
    ),
    # 12.50 + 0.25 * 22.50
    "speculative, the loser cut off": (
        Table("t", default=ALL, fallbacks=OPUS, speculative=("sport",), loser_share=0.25),
        {"mode": "sport"},
        {"routed_usd": 18.125, "speculative_usd": 5.625},
    ),
    "speculative, the loser cut off at once": (
        Table("t", default=ALL, fallbacks=OPUS, speculative=("sport",), loser_share=0.0),
        {"mode": "sport"},
        {"routed_usd": 12.50, "speculative_usd": 0.0},
    ),
    # the second call leaves the tier behind although the first stays: 6.25 + 22.50
    "speculative at a service tier": (
        Table("t", default=ALL, fallbacks=OPUS, speculative=("sport",)),
        {"mode": "sport", "service_tier": "flex"},
        {"today_usd": 6.25, "routed_usd": 28.75, "speculative_usd": 22.50, "routed_unpriced": None},
    ),
    "speculative on a pin": (
        Table("t", default=ALL, fallbacks=OPUS, speculative=("sport",)),
        {"mode": "sport", "model_override": "gpt-5.4"},
        {"routed_usd": 12.50, "speculative_usd": 0.0},
    ),
    "speculative without a price": (
        Table("t", default=ALL, fallbacks={"gpt-5.4": ("groq-llama-8b",)}, speculative=("sport",)),
        {"mode": "sport", "batch": True},
        {"today_usd": 6.25, "routed_usd": None, "routed_unpriced": "no_batch_price"},
    ),
    "speculative, answered by the gateway's cache": (
        Table("t", default=ALL, fallbacks=OPUS, speculative=("sport",)),
        {"mode": "sport", "gateway_cache_hit": True},
        {"today_usd": 0.0, "routed_usd": 0.0, "speculative_usd": 0.0},
    ),
    # a failed call is not paid, the fallback's is: 0.98 * 3.75 + 0.02 * 1.05 = 3.696
    "failover": (
        replace(SIMPLE, fallbacks={"gpt-5.4-mini": ("codestral",)}, failover_rate=0.02),
        {},
        {"routed_usd": 3.696, "failover_usd": -0.054},
    ),
    "failover at a rate of 0": (
        replace(SIMPLE, fallbacks={"gpt-5.4-mini": ("codestral",)}, failover_rate=0.0),
        {},
        {"routed_usd": 3.75, "failover_usd": 0.0},
    ),
    "failover of what has no fallback": (
        replace(SIMPLE, fallbacks={"codestral": ("gpt-5.4-mini",)}, failover_rate=0.02),
        {},
        {"routed_usd": 3.75, "failover_usd": 0.0},
    ),
    # 0.9 * 3.75 + 0.1 * 1.05 = 3.48
    "failover from the log": (
        replace(SIMPLE, fallbacks={"gpt-5.4-mini": ("codestral",)}, failover_rate="from-log"),
        {},
        {"routed_usd": 3.48, "failover_usd": -0.27},
    ),
    "failover from a log that lacks the provider": (
        Table("t", default={"balanced": "codestral"}, fallbacks={"codestral": ("gpt-5.4",)}, failover_rate="from-log"),
        {},
        {"routed_usd": 1.05, "failover_usd": 0.0},
    ),
    "where both are fired there is nothing to fail over to": (
        Table("t", default=ALL, fallbacks=OPUS, speculative=("sport",), failover_rate=0.5),
        {"mode": "sport"},
        {"routed_usd": 35.00, "speculative_usd": 22.50, "failover_usd": 0.0},
    ),
    # all at once: 0.98 * 3.75 + 0.02 * 1.05 + 0.10
    "failover and classifier": (
        replace(
            SIMPLE,
            fallbacks={"gpt-5.4-mini": ("codestral",)},
            failover_rate=0.02,
            classifier_cost_per_request_usd=0.0001,
        ),
        {},
        {"routed_usd": 3.796, "failover_usd": -0.054, "classifier_usd": 0.10},
    ),
    "the empty table": (
        replace(empty_table(), classifier_cost_per_request_usd=0.0001, fallbacks=OPUS, failover_rate=0.5),
        {"model_override": "codestral"},
        {"today_usd": 12.50, "routed_usd": 12.50, "classifier_usd": 0.0, "failover_usd": 0.0, "moved": False},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_routed(case: str, book: Book) -> None:
    table, row, expected = CASES[case]
    seen = one(table, book, row, failure_rates={"openai": 0.1})
    assert {name: seen[name] for name in expected} == pytest.approx(expected)
    if seen["routed_usd"] is not None:
        # the parts that groups scale with are the whole
        assert sum(seen[part] for part in savings.ROUTED) == pytest.approx(seen["routed_usd"])


def test_the_mode_of_all_traffic(book: Book) -> None:
    table = Table("t", default={"eco": "groq-llama-8b", "balanced": "gpt-5.4"})
    assert one(table, book, {"mode": "balanced"}, mode="eco")["routed_usd"] == pytest.approx(0.14)
    assert one(table, book, {"mode": "turbo"})["routed_usd"] == pytest.approx(12.50)


def test_token_ratio(tmp_path: Path) -> None:
    # codestral makes 1.2 tokens of what the ratio-1 model makes 1 of; gpt-5.4 says 0.8: 1.5 times the tokens
    book = with_overlay(tmp_path, "models: {mistral/codestral: {token_ratio: 1.2}, openai/gpt-5.4: {token_ratio: 0.8}}")
    table = Table("t", default={"balanced": "codestral"})
    assert one(table, book, {})["routed_usd"] == pytest.approx(1.05 * 1.5)
    # staying is staying
    assert one(Table("t", default=ALL), book, {})["routed_usd"] == pytest.approx(12.50)
    # the second call counts its own tokens as well
    table = Table("t", default=ALL, fallbacks={"gpt-5.4": ("codestral",)}, speculative=("sport",))
    assert one(table, book, {"mode": "sport"})["routed_usd"] == pytest.approx(12.50 + 1.05 * 1.5)


def test_negotiated_prices_decide_what_staying_costs(tmp_path: Path) -> None:
    book = with_overlay(tmp_path, "providers: {azure: {discount: 0.2}}")
    seen = one(Table("t", default=ALL), book, {"provider": "azure"})
    assert (seen["today_usd"], seen["routed_usd"]) == (pytest.approx(10.0), pytest.approx(10.0))


def test_failure_rates(book: Book) -> None:
    frame = cells(
        {"requests": 90},
        {"requests": 10, "status": "error", "problem": "no_tokens"},
        {"requests": 4, "model": "gpt-5.4-mini"},
        {"requests": 1, "model": "codestral-latest", "status": "error"},
        {"requests": 3, "model": "no-such-model", "status": "error"},
        {"requests": 3, "model": None, "status": "error"},
    )
    assert savings.failure_rates(frame, book) == {"mistral": 1.0, "openai": 10 / 104, savings.ANY_PROVIDER: 11 / 105}


# --- controls -------------------------------------------------------------------------------------------------------

MIXED = (
    {"task": "simple", "requests": 1, "input_tokens": 900, "output_tokens": 50},
    {"task": "code", "requests": 1, "input_tokens": 4000, "output_tokens": 900},
    {"task": "complex", "requests": 1, "input_tokens": 30_000, "output_tokens": 2000},
    {"task": "reasoning", "requests": 1, "input_tokens": 2000, "output_tokens": 3000},
)
MIXED_TABLE = Table("t", routes={"simple": {"balanced": "gpt-5.4-mini"}, "code": {"balanced": "codestral"}})


def test_at_random_is_the_mean_of_all_ways_to_draw(book: Book) -> None:
    priced = savings.today(cells(*MIXED), book)
    sent = savings.routed(priced, MIXED_TABLE, book)
    chance = savings.at_random(priced, sent, book)
    # every request on every model, and all the ways to hand out the models that the table gives
    models = ["gpt-5.4-mini", "codestral", None, None]
    cost = {m: savings.on_model(priced, book, m)["routed_usd"].to_list() for m in set(models)}
    ways = list(itertools.permutations(models))
    mean = sum(cost[m][i] for way in ways for i, m in enumerate(way)) / len(ways)
    assert chance["routed_usd"].sum() == pytest.approx(mean, rel=1e-12)
    # the table knows that the short ones are simple, so here it does worse than chance
    assert sent["routed_usd"].sum() > chance["routed_usd"].sum()


def test_at_random_where_the_task_makes_no_difference(book: Book) -> None:
    priced = savings.today(cells({"task": "simple"}, {"task": "code"}), book)
    sent = savings.routed(priced, SIMPLE, book)
    chance = savings.at_random(priced, sent, book)
    assert chance["routed_usd"].sum() == pytest.approx(sent["routed_usd"].sum())
    assert chance["routed_usd"].to_list() == pytest.approx([8.125, 8.125])


def test_at_random_what_cannot_move_stays(book: Book) -> None:
    # half of the requests move to groq, which has no price for the others' batches: those stay at 6.25, the rest pays
    # (12.50 + 0.14) / 2. None of them falls out of the sum.
    priced = savings.today(cells({}, {"task": "code", "batch": True}), book)
    sent = savings.routed(priced, Table("t", routes={"simple": {"balanced": "groq-llama-8b"}}), book)
    chance = savings.at_random(priced, sent, book)
    assert chance["routed_usd"].to_list() == pytest.approx([6.32, 6.25])


def test_at_random_without_a_move(book: Book) -> None:
    priced = savings.today(cells(*MIXED), book)
    chance = savings.at_random(priced, savings.routed(priced, empty_table(), book), book)
    assert chance["routed_usd"].to_list() == pytest.approx(priced["today_usd"].to_list())


def test_on_model(book: Book) -> None:
    priced = savings.today(cells({}, {"model": "codestral"}, {"provider": "azure"}), book)
    everything = savings.on_model(priced, book, "gpt-5.4")
    assert everything["routed_usd"].to_list() == pytest.approx([12.50, 12.50, 12.50])
    assert everything["moved"].to_list() == [False, True, False]
    as_today = savings.on_model(priced, book, None)
    assert as_today["routed_usd"].to_list() == priced["today_usd"].to_list()
    assert not as_today["moved"].any()


def test_summarise(book: Book) -> None:
    frame = cells(
        {},
        {"provider": "azure"},
        {"feature": "x"},
        {"task": "code"},
        {"task": None, "requests": 7, "input_tokens": 0, "output_tokens": 0, "problem": "no_tokens"},
    )
    table = replace(SIMPLE, overrides=(Override("codestral", feature=("x",)),))
    sent = savings.routed(savings.today(frame, book), table, book)
    rows = {r["task"]: r for r in savings.summarise(sent, ["task"]).to_dicts()}
    assert set(rows) == {"simple", "code"}
    assert rows["simple"]["requests"] == 3000
    assert rows["simple"]["moved_requests"] == 3000
    assert rows["simple"]["saving_usd"] == pytest.approx(37.50 - 3.75 * 2 - 1.05)
    assert (rows["simple"]["routed_to"], rows["simple"]["routed_models"]) == ("gpt-5.4-mini", 2)
    assert (rows["code"]["routed_to"], rows["code"]["saving_usd"]) == ("gpt-5.4", 0.0)


# --- group sums -----------------------------------------------------------------------------------------------------

MODELS = ("gpt-5.4", "gpt-5.4-mini", "codestral", "no-such-model", None)


@st.composite
def usages(draw: st.DrawFn) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cells and their groups, counted from the same requests, with everything that changes a price."""
    rows = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "day": st.sampled_from([dt.date(2026, 10, 1), dt.date(2026, 10, 20), None]),
                    "task": st.sampled_from(["simple", "code", None]),
                    "model": st.sampled_from(MODELS),
                    "band": st.sampled_from([0, 272_000]),
                    "feature": st.sampled_from(["a", "b", None]),
                    "batch": st.sampled_from([None, True]),
                    "gateway_cache_hit": st.sampled_from([None, None, True]),
                    "service_tier": st.sampled_from([None, "flex", "no-such-tier"]),
                    "group": st.integers(0, GROUPS - 1),
                    "requests": st.integers(1, 5),
                    "input_tokens": st.integers(0, 10_000),
                    "cache_read_tokens": st.integers(0, 10_000),
                    "output_tokens": st.integers(0, 3_000),
                    "reasoning_tokens": st.just(0),
                    "web_searches": st.integers(0, 2),
                }
            ),
            min_size=1,
            max_size=25,
        )
    )
    frame = cells(*({k: v for k, v in r.items() if k != "group"} for r in rows)).with_columns(
        pl.Series("group", [r["group"] for r in rows], pl.Int16),
        problem=pl.when(pl.col("model").is_null()).then(pl.lit("no_model")),
    )
    whole = frame.group_by(list(CELL_KEY)).agg(pl.col(list(CELL_VALUES)).sum())
    pooled = frame.with_columns(feature=pl.lit(None, pl.String))
    return whole, pooled.group_by(*GROUP_KEY, "group").agg(pl.col(list(GROUP_VALUES)).sum())


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """A book with a price change inside the period, a fee, a price a request and a discount."""
    return with_overlay(
        tmp_path_factory.mktemp("book"),
        """
models:
  openai/gpt-5.4:
    prices: [{input: 5, output: 20}, {from: 2026-10-15, input: 2.5, cache_read: 0.25, output: 15, reasoning: 20}]
    fees: {web_searches: 0.01}
  openai/gpt-5.4-mini: {prices: [{input: 0.75, output: 4.5, request: 0.001}], discount: 0.1}
""",
    )


@settings(max_examples=40, deadline=None)
@given(both=usages())
def test_group_sums_are_the_cells_sums(changing: Book, both: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    whole, groups = both
    table = Table(
        "t",
        routes={"simple": {"balanced": "gpt-5.4-mini"}},
        overrides=(Override("codestral", feature=("a",)),),
        fallbacks={"gpt-5.4-mini": ("gpt-5.4",)},
        failover_rate=0.1,
        classifier_cost_per_request_usd=0.0001,
    )
    sent = savings.routed(savings.today(whole, changing), table, changing)
    by_group = savings.by_group(sent, groups, pooled_features=True)
    expected = savings.summarise(sent, ["task"]).sort("task")
    summed = by_group.group_by("task").agg(pl.col("requests", "today_usd", "routed_usd").sum()).sort("task")
    assert summed["task"].to_list() == expected["task"].to_list()
    for column in ("requests", "today_usd", "routed_usd"):
        assert summed[column].to_list() == pytest.approx(expected[column].to_list(), rel=1e-9, abs=1e-12), column


def test_group_sums_follow_the_tokens(book: Book) -> None:
    # two groups of one key: 3 / 4 of the tokens are in the first
    sent = savings.routed(savings.today(cells({}), book), SIMPLE, book)
    key: dict[str, Any] = {**dict.fromkeys(GROUP_KEY), "task": "simple", "model": "gpt-5.4", "band": 0, "status": "ok"}
    counts = dict.fromkeys(GROUP_VALUES, 0)
    groups = pl.DataFrame(
        [
            {**key, "group": 1, **counts, "requests": 500, "input_tokens": 1_500_000, "output_tokens": 375_000},
            {**key, "group": 2, **counts, "requests": 500, "input_tokens": 500_000, "output_tokens": 125_000},
        ],
        schema={**{c: CELL_KEY[c] for c in GROUP_KEY}, "group": pl.Int16, **dict.fromkeys(GROUP_VALUES, pl.Int64)},
    )
    by_group = savings.by_group(sent, groups, pooled_features=True).sort("group")
    assert by_group["today_usd"].to_list() == pytest.approx([9.375, 3.125])
    assert by_group["routed_usd"].to_list() == pytest.approx([2.8125, 0.9375])
    assert by_group["requests"].to_list() == [500, 500]


# --- the provider's prompt cache ------------------------------------------------------------------------------------

# 1 M cached tokens on gpt-5.4-mini cost 0.075, without the cache 0.75: 0.675 lost; on gpt-5.4 2.50 - 0.25 = 2.25
CACHED = {"input_tokens": 0, "cache_read_tokens": 1_000_000, "output_tokens": 0}


def carry(*rows: tuple[str | None, str | None]) -> pl.DataFrame:
    """1 M cached tokens each, of requests on gpt-5.4: (task, the previous request's task or None for the first)."""
    kind = {**dict.fromkeys(CLASS_KEY), "model": "gpt-5.4", "band": 0}
    return pl.DataFrame(
        [
            {
                **kind,
                "task": task,
                "first": before is None,
                **{f"previous_{c}": None if before is None else v for c, v in kind.items()},
                "previous_task": before,
                "requests": 1,
                "cache_read_tokens": 1_000_000,
            }
            for task, before in rows
        ],
        schema=carry_schema(),
    )


@pytest.mark.parametrize(
    ("tasks", "sessions", "lost"),
    [
        # no session ids: in the worst case everything is lost, also of what stays
        (["simple"], [], 0.675),
        (["simple", "code"], [], 0.675 + 2.25),
        # moved: the first of a session, after one that stayed, after one that went to the same model
        (["simple"], [("simple", None)], 0.675),
        (["simple"], [("simple", "code")], 0.675),
        (["simple"], [("simple", "simple")], 0.0),
        # stays: the first, after one that stayed too, after one that moved away
        (["simple", "code"], [("simple", "simple"), ("code", None)], 0.0),
        (["simple", "code"], [("simple", "simple"), ("code", "code")], 0.0),
        (["simple", "code"], [("simple", "simple"), ("code", "simple")], 2.25),
        # half of the tokens without a session
        (["simple", "simple"], [("simple", "simple")], 0.675),
        # nothing moves, nothing is lost
        (["code"], [("code", "code")], 0.0),
        (["code"], [], 0.0),
    ],
)
def test_cache_loss(tasks: list[str], sessions: list[tuple[str, str | None]], lost: float, book: Book) -> None:
    sent = savings.routed(savings.today(cells(*({**CACHED, "task": t} for t in tasks)), book), SIMPLE, book)
    assert savings.cache_loss(sent, carry(*sessions), SIMPLE, book) == pytest.approx(lost)


def test_cache_loss_is_a_cache_write_where_that_is_dearer(book: Book) -> None:
    # claude-opus-4-7: 6.25 for a cache write, 0.50 for a cached token; also where it lacks the service tier
    table = Table("t", default={"balanced": "claude-opus-4-7"})
    for tier in (None, "flex"):
        sent = savings.routed(savings.today(cells({**CACHED, "service_tier": tier}), book), table, book)
        assert savings.cache_loss(sent, carry(), table, book) == pytest.approx(5.75)


def test_no_cache_loss_without_cached_tokens(book: Book) -> None:
    sent = savings.routed(savings.today(cells({}, {**CACHED, "gateway_cache_hit": True}), book), SIMPLE, book)
    assert savings.cache_loss(sent, carry(), SIMPLE, book) == 0.0


def test_cache_loss_is_never_more_than_everything(book: Book) -> None:
    # the same model under two names is the same cache
    table = Table("t", routes={"simple": {"balanced": "gpt-5.4-mini"}, "code": {"balanced": "openai/gpt-5.4-mini"}})
    sent = savings.routed(savings.today(cells({**CACHED}, {**CACHED, "task": "code"}), book), table, book)
    assert savings.cache_loss(sent, carry(("simple", "code"), ("code", "simple")), table, book) == 0.0
    assert savings.cache_loss(sent, carry(("simple", None), ("code", None)), table, book) == pytest.approx(1.35)


# --- as if all of it had run on one model -----------------------------------------------------------------------------


def usage_of(frame: pl.DataFrame, **parts: pl.DataFrame) -> Usage:
    return replace(empty(Settings()), cells=frame, **parts)  # type: ignore[arg-type]


def test_rebased(book: Book) -> None:
    usage = usage_of(
        cells(
            {"model": "codestral", "provider": "mistral"},
            {"model": "no-such-model"},
            {"model": None, "problem": "no_model"},
            {"model": None, "problem": "no_tokens", "input_tokens": 0, "output_tokens": 0},
        ),
        carry=carry(("simple", "code"), ("simple", None)),
    )
    whole = rebased(usage, "gpt-5.4")
    priced = savings.today(whole.cells, book)
    assert priced["today_usd"].to_list() == pytest.approx([12.50, 12.50, 12.50, None])
    coverage = coverage_of(priced, book)
    assert (coverage.requests, coverage.priced, dict(coverage.reasons)) == (4000, 3000, {"no_tokens": 1000})
    assert set(whole.carry["model"]) == {"gpt-5.4"}
    assert set(whole.carry["previous_model"]) == {"gpt-5.4"}
    sent = savings.routed(priced, SIMPLE, book)
    saving = saving_of(sent, whole, SIMPLE, book)
    assert saving.saving_usd == pytest.approx(3 * 8.75)
    assert saving.uncomparable == 1000
    assert (saving.interval.low, saving.interval.high) == (None, None)


def test_models_that_a_person_names_must_be_known(book: Book) -> None:
    require_valid(book, [SIMPLE], "gpt-5.4")
    with pytest.raises(InputError, match=r"^--base-model: .* does not know 'gtp-5\.4'\. Did you mean .*gpt-5\.4"):
        require_valid(book, [SIMPLE], "gtp-5.4")
