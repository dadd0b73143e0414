"""Tables side by side: controls, shares, modes, latency, and everything on one model."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from routecost.errors import InputError, UsageError
from routecost.pipeline.intake import Intake
from routecost.pipeline.simulation import Simulation, simulate
from routecost.prices import Book, read_prices
from routecost.quality import COLUMNS
from routecost.routing import Table, empty_table
from routecost.schema import REQUEST
from routecost.usage import Settings, empty, prepare, tally

NOON = dt.datetime(2026, 11, 2, 12, tzinfo=dt.UTC)
AS_OF = dt.date(2026, 11, 2)


@pytest.fixture(scope="module")
def book() -> Book:
    return read_prices()


def log(book: Book, *rows: Mapping[str, Any], times: int = 1) -> Intake:
    """Requests of 2,000 input and 500 output tokens on gpt-5.4, simple, unless a row says otherwise."""
    usual = {"ts": NOON, "model": "gpt-5.4", "task": "simple", "input_tokens": 2000, "output_tokens": 500}
    full = [
        {**dict.fromkeys(REQUEST), **usual, "request_id": f"{i}.{n}", **row}
        for i, row in enumerate(rows)
        for n in range(times)
    ]
    settings = Settings(edges=book.edges, slots=book.slots)
    return Intake(tally(prepare(pl.DataFrame(full, schema=REQUEST), settings), settings))


def run(intake: Intake, book: Book, *tables: Table, **options: Any) -> Simulation:
    return simulate(intake, book, tables, as_of=AS_OF, **options)


SIMPLE = Table("simple", routes={"simple": {"balanced": "gpt-5.4-mini"}})
# one request today, and on gpt-5.4-mini, codestral
TODAY, MINI, CODESTRAL = 0.0125, 0.00375, 0.00105


# --- scenarios and controls -----------------------------------------------------------------------------------------


def test_a_scenario_beside_chance(book: Book) -> None:
    long = {"task": "code", "input_tokens": 20_000, "output_tokens": 5000}
    result = run(log(book, {}, long, times=100), book, SIMPLE)
    scenario = result.scenarios[0]
    assert result.today_usd == pytest.approx(100 * 11 * TODAY)
    assert scenario.saving.routed_usd == pytest.approx(100 * (MINI + 10 * TODAY))
    # chance moves half of everything
    assert scenario.random_usd == pytest.approx(100 * 11 * (TODAY + MINI) / 2)
    assert scenario.over_random_usd < 0
    assert scenario.share == 1.0
    assert scenario.shared.estimate == pytest.approx(scenario.saving.saving_usd)
    assert scenario.shared.standard_error == pytest.approx(scenario.saving.interval.standard_error)


def test_controls(book: Book) -> None:
    mistrals = [
        {"model": "codestral-latest", "provider": "mistral"},
        {"model": "codestral"},
        {"model": "codestral-latest"},
    ]
    intake = log(book, {"provider": "openai"}, {"provider": None}, *mistrals, times=10)
    result = run(intake, book, SIMPLE, Table("other", default={"balanced": "claude-opus-4-7"}))
    most, cheapest = result.controls
    # codestral is the most used, under three names
    assert (most.name, most.model) == ("all on the most used model", "mistral/codestral")
    assert most.cost_usd == pytest.approx(50 * CODESTRAL)
    assert most.today_usd == pytest.approx(20 * TODAY + 30 * CODESTRAL)
    assert (cheapest.name, cheapest.model) == ("all on the cheapest candidate", "gpt-5.4-mini")
    assert cheapest.cost_usd == pytest.approx(50 * MINI)
    assert cheapest.interval.estimate == pytest.approx(cheapest.today_usd - cheapest.cost_usd)
    assert result.to_polars()["name"].to_list() == ["simple", "other", most.name, cheapest.name]


def test_the_cheapest_candidate_must_take_all_of_the_traffic(book: Book) -> None:
    # groq is cheaper, but has no price for batches
    table = Table("t", routes={"simple": {"balanced": "groq-llama-8b"}, "code": {"balanced": "gpt-5.4-mini"}})
    result = run(log(book, {}, {"task": "code", "batch": True}, times=10), book, table)
    assert [(c.model, c.requests) for c in result.controls] == [("openai/gpt-5.4", 20), ("gpt-5.4-mini", 20)]
    # nor can chance send a batch there: it stays
    assert result.scenarios[0].random_usd > result.scenarios[0].saving.routed_usd


def test_a_table_that_moves_nothing(book: Book) -> None:
    scenario = run(log(book, {}, times=5), book, empty_table()).scenarios[0]
    assert scenario.saving.saving_usd == 0.0
    assert scenario.over_random_usd == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.0001, float("nan"), float("inf")])
def test_a_share_is_a_part(share: float, book: Book) -> None:
    with pytest.raises(UsageError, match=r"^--share: saw .*, expected a part of the traffic above 0 and up to 1"):
        run(log(book, {}), book, SIMPLE, share=share)


def test_a_share_of_the_traffic(book: Book) -> None:
    intake = log(book, {}, {"task": "code"}, times=400)
    whole, part = (run(intake, book, SIMPLE, share=s).scenarios[0] for s in (1.0, 0.1))
    assert part.shared.estimate == pytest.approx(whole.saving.saving_usd / 10)
    assert part.saving.saving_usd == whole.saving.saving_usd
    assert part.shared.standard_error is not None
    assert whole.saving.interval.standard_error is not None
    # the draw adds to a tenth of the whole's uncertainty: 400 requests of 0.00875, 0.1 * 0.9 of them squared
    split = (TODAY - MINI) * math.sqrt(400 * 0.1 * 0.9)
    expected = math.hypot(split, whole.saving.interval.standard_error / 10)
    assert part.shared.standard_error == pytest.approx(expected, rel=0.3)


def test_no_groups_no_interval(book: Book) -> None:
    intake = log(book, {}, times=5)
    bare = Intake(replace(intake.usage, groups=empty(Settings()).groups))
    shared = run(bare, book, SIMPLE, share=0.5).scenarios[0].shared
    assert shared.estimate == pytest.approx(5 * (TODAY - MINI) / 2)
    assert (shared.low, shared.high, shared.groups) == (None, None, 0)


def test_nothing_to_simulate(book: Book) -> None:
    with pytest.raises(InputError, match="no request in the input"):
        run(Intake(empty(Settings())), book, SIMPLE)


# --- modes ----------------------------------------------------------------------------------------------------------

MODES = Table("modes", default={"eco": "codestral", "balanced": "gpt-5.4-mini", "sport": "gpt-5.4"})


@pytest.mark.parametrize(
    ("table", "logged", "asked", "expected"),
    [
        # all of the table's own; first as logged, where the log declares some
        (MODES, None, (), ["eco", "balanced", "sport"]),
        (MODES, "eco", (), [None, "eco", "balanced", "sport"]),
        # a mode that the log lacks, and one that only the log has: it is routed in the default mode
        (MODES, "eco", ("sport",), ["sport"]),
        (MODES, "turbo", (), [None, "eco", "balanced", "sport"]),
        # every mode the same: once
        (Table("t", default=dict.fromkeys(("eco", "balanced", "sport"), "codestral")), "eco", (), [None]),
        (SIMPLE, None, (), [None]),
        (empty_table(), "eco", (), [None]),
    ],
)
def test_modes(table: Table, logged: str | None, asked: Sequence[str], expected: list[str | None], book: Book) -> None:
    result = run(log(book, {"mode": logged}), book, table, modes=asked)
    assert [s.mode for s in result.scenarios] == expected


def test_the_cost_of_each_mode(book: Book) -> None:
    result = run(log(book, {"mode": "eco"}, {"mode": "turbo"}, {}), book, MODES)
    costs = {s.mode: s.saving.routed_usd for s in result.scenarios}
    assert costs == pytest.approx(
        {None: CODESTRAL + 2 * MINI, "eco": 3 * CODESTRAL, "balanced": 3 * MINI, "sport": 3 * TODAY}
    )


def test_a_mode_that_the_table_lacks(book: Book) -> None:
    with pytest.raises(UsageError, match=r"the routing table modes has no mode spotr.*Did you mean sport"):
        run(log(book, {}), book, MODES, modes=["spotr"])


# --- latency --------------------------------------------------------------------------------------------------------


def exact(values: np.ndarray[Any, Any], share: float) -> float:
    return float(np.sort(values)[math.ceil(share * len(values)) - 1])


def latencies(seed: int, median: float, n: int = 3000) -> np.ndarray[Any, Any]:
    return median * np.exp(0.7 * np.random.default_rng(seed).standard_normal(n))


def timed(book: Book, *groups: tuple[Mapping[str, Any], np.ndarray[Any, Any]]) -> Intake:
    return log(book, *({**row, "latency_ms": v} for row, values in groups for v in values.tolist()))


def test_percentiles_are_those_of_the_requests(book: Book) -> None:
    slow, fast = latencies(1, 900), latencies(2, 150)
    intake = timed(book, ({}, slow), ({"model": "gpt-5.4-mini"}, fast), ({"task": "code"}, slow / 3))
    result = run(intake, book, SIMPLE, empty_table())
    assert result.latency_today == pytest.approx(
        [exact(np.concatenate([slow, fast, slow / 3]), p) for p in (0.5, 0.95, 0.99)], rel=0.0101
    )
    table = {(r["task"], r["model"]): r for r in result.latency_by_model.to_dicts()}
    for key, values in (
        (("simple", "openai/gpt-5.4"), slow),
        (("simple", "openai/gpt-5.4-mini"), fast),
        (("code", "openai/gpt-5.4"), slow / 3),
    ):
        assert table[key]["n"] == 3000
        seen = [table[key][f"p{p}_ms"] for p in (50, 95, 99)]
        assert seen == pytest.approx([exact(values, p / 100) for p in (50, 95, 99)], rel=0.0101)
    # routed, all that is simple is as fast as gpt-5.4-mini is today: as often as it is called then
    moved, unmoved = result.scenarios
    both = np.concatenate([fast, fast, slow / 3])
    assert moved.latency_routed == pytest.approx([exact(both, p) for p in (0.5, 0.95, 0.99)], rel=0.0101)
    assert moved.latency_known_share == 1.0
    assert unmoved.latency_routed == result.latency_today


def test_unknown_latency_is_null(book: Book) -> None:
    intake = timed(book, ({}, latencies(3, 900, 50)), ({"task": "code"}, latencies(4, 100, 50)))
    scenario = run(intake, book, SIMPLE).scenarios[0]
    assert scenario.latency_routed == (None, None, None)
    assert scenario.latency_known_share == 0.5
    assert {r["task"]: r["source"] for r in scenario.latency.to_dicts()} == {"simple": None, "code": "log"}
    bare = run(log(book, {}), book, SIMPLE)
    assert bare.latency_today == (None, None, None)
    assert bare.scenarios[0].latency_known_share == 0.0


def quality(*rows: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{**dict.fromkeys(COLUMNS), **row} for row in rows], schema=COLUMNS)


def test_latency_from_a_quality_table(book: Book) -> None:
    intake = timed(book, ({}, latencies(5, 900, 200)))
    given = {"task": "simple", "latency_p50_ms": 200.0, "latency_p95_ms": 600.0, "latency_p99_ms": 800.0}
    # any name of the model will do
    for model in ("gpt-5.4-mini", "openai/gpt-5.4-mini"):
        scenario = run(intake, book, SIMPLE, quality=quality({**given, "model": model})).scenarios[0]
        row = scenario.latency.row(0, named=True)
        assert [row["p50_ms"], row["p95_ms"], row["p99_ms"], row["source"]] == [200.0, 600.0, 800.0, "quality table"]
        # over all: a log-normal through the median and the 95th percentile
        assert scenario.latency_routed[:2] == pytest.approx((200.0, 600.0), rel=0.01)
        assert scenario.latency_known_share == 1.0
    # what is in the log is known better
    both = timed(book, ({}, latencies(5, 900, 200)), ({"model": "gpt-5.4-mini"}, latencies(6, 50, 200)))
    seen = run(both, book, SIMPLE, quality=quality({**given, "model": "gpt-5.4-mini"})).scenarios[0]
    assert seen.latency["source"].to_list() == ["log"]


@pytest.mark.parametrize(
    ("row", "source"),
    [
        ({"latency_p50_ms": 200.0}, "quality table"),
        ({"latency_p95_ms": 200.0}, "quality table"),
        ({"latency_p50_ms": 200.0, "latency_p95_ms": 100.0}, "quality table"),
        ({"score": 0.9}, None),
    ],
)
def test_half_of_a_latency_is_told_but_not_added_up(row: dict[str, Any], source: str | None, book: Book) -> None:
    table = quality({"task": "simple", "model": "gpt-5.4-mini", **row})
    scenario = run(timed(book, ({}, latencies(7, 900, 20))), book, SIMPLE, quality=table).scenarios[0]
    assert scenario.latency["source"].to_list() == [source]
    assert scenario.latency_routed == (None, None, None)
    assert scenario.latency_known_share == 0.0


def test_answers_of_the_gateways_cache_are_no_models_latency(book: Book) -> None:
    slow = latencies(8, 900, 300)
    intake = timed(book, ({}, slow), ({"gateway_cache_hit": True}, np.full(2000, 2.0)))
    result = run(intake, book, empty_table())
    assert result.latency_today[0] == pytest.approx(exact(slow, 0.5), rel=0.0101)
    assert result.scenarios[0].latency_routed == result.latency_today


def test_the_classifiers_latency(book: Book) -> None:
    tables = [Table("a", routes=SIMPLE.routes, classifier_latency_ms=10.0), Table("b", routes=SIMPLE.routes)]
    assert run(log(book, {}), book, *tables).classifier_latency_ms == {"a": 10.0}


# --- as if all of it had run on one model -----------------------------------------------------------------------------


def test_base_model(book: Book) -> None:
    slow, fast = latencies(9, 900, 500), latencies(10, 100, 500)
    intake = timed(book, ({}, slow), ({"model": "gpt-5.4-mini"}, fast))
    result = run(intake, book, SIMPLE, base_model="gpt-5.4")
    assert result.base_model == "gpt-5.4"
    assert result.today_usd == pytest.approx(1000 * TODAY)
    assert result.scenarios[0].saving.routed_usd == pytest.approx(1000 * MINI)
    assert result.scenarios[0].saving.interval.estimate == pytest.approx(1000 * (TODAY - MINI))
    # what the log knows of each model's latency holds, whatever all of it is thought to run on
    assert result.latency_today[0] == pytest.approx(exact(slow, 0.5), rel=0.0101)
    assert result.scenarios[0].latency_routed[0] == pytest.approx(exact(fast, 0.5), rel=0.0101)
    elsewhere = run(intake, book, SIMPLE, base_model="claude-opus-4-7")
    assert elsewhere.today_usd == pytest.approx(1000 * 0.0225)
    assert elsewhere.latency_today == (None, None, None)


def test_base_model_keeps_the_logs_failure_rates(book: Book) -> None:
    table = Table(
        "t", default={"balanced": "codestral"}, fallbacks={"codestral": ("gpt-5.4-mini",)}, failover_rate="from-log"
    )
    rows = [{"model": "codestral"}] * 3 + [{"model": "codestral", "status": "error"}]
    result = run(log(book, *rows), book, table, base_model="gpt-5.4")
    # a quarter of mistral's calls fail
    assert result.scenarios[0].saving.routed_usd == pytest.approx(4 * (0.75 * CODESTRAL + 0.25 * MINI))


def test_an_unknown_base_model(book: Book) -> None:
    with pytest.raises(InputError, match=r"^--base-model: the price book does not know 'gpt-5\.44'"):
        run(log(book, {}), book, SIMPLE, base_model="gpt-5.44")
