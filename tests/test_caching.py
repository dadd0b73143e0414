"""Response caches: what is a repeat, how long an answer lasts, and what a cache, prompt caching and routing cost
together."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Run
from routecost.errors import InputError, UsageError
from routecost.pipeline import commands
from routecost.pipeline.caching import Caching, caching
from routecost.pipeline.intake import Options
from routecost.pipeline.repeats import VALUES, Cache, Order, gather, hits, parse_cache
from routecost.routing import Override, Table
from routecost.usage import Settings

NOON = dt.datetime(2026, 11, 2, 12, tzinfo=dt.UTC)
AS_OF = dt.date(2026, 11, 2)
SIMPLE = Table("simple", routes={"simple": {"balanced": "gpt-5.4-mini"}})
# one request of 2,000 / 500 tokens on gpt-5.4, and on gpt-5.4-mini
TODAY, MINI = 0.0125, 0.00375


def write(path: Path, *rows: Mapping[str, Any]) -> Path:
    """A request a minute of the same question on gpt-5.4, simple, unless a row says otherwise."""
    with path.open("w") as file:
        for i, row in enumerate(rows):
            usual = {
                "request_id": f"r{i}",
                "ts": (NOON + dt.timedelta(minutes=i)).isoformat(),
                "user_id": f"u{i % 7}",
                "provider": "openai",
                "model": "gpt-5.4",
                "task": "simple",
                "prompt": "Where is my order?",
                "input_tokens": 2000,
                "output_tokens": 500,
            }
            file.write(json.dumps({k: v for k, v in {**usual, **row}.items() if v is not None}) + "\n")
    return path


def run(path: Path | Sequence[Path], cache: Cache, *tables: Table, **options: Any) -> Caching:
    tables = tables or (SIMPLE,)
    paths = [str(p) for p in ([path] if isinstance(path, Path) else path)]
    simulation = commands.simulate(paths, tables, modes=["balanced"], as_of=AS_OF, **options)
    return caching(paths, simulation, tables, cache)


# --- what is asked for ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("exact", None),
        ("exact:90", 90),
        ("exact:30s", 30),
        ("exact:10m", 600),
        ("exact:1h", 3600),
        ("exact:7d", 604_800),
    ],
)
def test_a_cache_as_text(text: str, seconds: int | None) -> None:
    assert parse_cache(text, "before") == Cache(seconds, "before")


@pytest.mark.parametrize("text", ["", "semantic", "exact:", "exact:0", "exact:1y", "exact:-3", "exact:1h30m"])
def test_another_cache_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected exact"):
        parse_cache(text)


# --- how long an answer lasts ---------------------------------------------------------------------------------------


def rows(*requests: tuple[int | None, float | None, float, bool]) -> pl.DataFrame:
    """(key, second, latency in seconds, stored)"""
    return pl.DataFrame(
        {
            "key": pl.Series([r[0] for r in requests], dtype=pl.UInt64),
            "ts": pl.Series([None if r[1] is None else int(r[1] * 1e6) for r in requests], dtype=pl.Int64),
            "latency": pl.Series([int(r[2] * 1e6) for r in requests], dtype=pl.Int64),
            "stored": pl.Series([r[3] for r in requests], dtype=pl.Boolean),
            "cell": pl.Series([0] * len(requests), dtype=pl.Int64),
            **{c: pl.Series([0] * len(requests), dtype=pl.Int64) for c in VALUES},
        }
    )


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        # kept for 10 s, and a hit does not prolong it: what comes at 10 s asks again
        ([(1, 0, 0, True), (1, 9, 0, True), (1, 9.999, 0, True), (1, 10, 0, True), (1, 19, 0, True)], [0, 1, 1, 0, 1]),
        # another request, and one without text
        ([(1, 0, 0, True), (2, 1, 0, True), (None, 2, 0, True), (None, 3, 0, True)], [0, 0, 0, 0]),
        # the answer takes 3 s: what comes meanwhile asks as well, and it lasts from then on
        ([(1, 0, 3, True), (1, 2, 3, True), (1, 3, 3, True), (1, 14.9, 3, True), (1, 15, 3, True)], [0, 0, 1, 1, 0]),
        # an error is no answer
        ([(1, 0, 0, False), (1, 1, 0, True), (1, 2, 0, True)], [0, 0, 1]),
        ([(1, 0, 0, False), (1, 1, 0, False)], [0, 0]),
        ([], []),
    ],
)
def test_hits(requests: list[tuple[int | None, float, float, bool]], expected: list[int]) -> None:
    assert hits(rows(*requests), Cache(10)).to_list() == [bool(e) for e in expected]


def test_without_a_time_to_live() -> None:
    found = hits(rows((1, 0, 0, True), (1, 1e9, 0, True), (2, None, 5, True), (2, None, 5, True)), Cache(None))
    assert found.to_list() == [False, True, False, True]


def _slow(requests: Sequence[tuple[int, int, int, bool]], ttl: int) -> list[bool]:
    """Every answer that was ever stored is looked at."""
    answers: list[tuple[int, int]] = []
    found = []
    for key, ts, latency, stored in requests:
        hit = any(k == key and start <= ts < start + ttl for k, start in answers)
        if not hit and stored:
            answers.append((key, ts + latency))
        found.append(hit)
    return found


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.sampled_from([0, 2]), st.booleans()), max_size=30),
    st.integers(1, 12),
)
def test_hits_are_those_of_a_cache(requests: list[tuple[int, int, int, bool]], ttl: int) -> None:
    # one request a moment and key: which of two at the same moment comes first is nobody's business
    once = {(key, ts): (key, ts, latency, stored) for key, ts, latency, stored in requests}
    ordered = sorted(once.values(), key=lambda r: r[1])
    shuffled = random.Random(0).sample(range(len(ordered)), len(ordered))
    found = hits(rows(*(ordered[i] for i in shuffled)), Cache(ttl)).to_list()
    expected = _slow(ordered, ttl)
    assert found == [expected[i] for i in shuffled]


# --- what is a repeat -----------------------------------------------------------------------------------------------


def looked_up(tmp_path: Path, *requests: Mapping[str, Any], cache: Cache | None = None) -> list[bool]:
    cache = cache or Cache(None)
    found = gather([str(write(tmp_path / "log.jsonl", *requests))], Settings(), [], Options(), cache)
    ordered = found.rows.sort("ts")
    return hits(ordered, cache).to_list()


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({}, {}, True),
        ({}, {"user_id": "another", "session_id": "another"}, True),
        ({}, {"prompt": "Where is my parcel?"}, False),
        ({"system": "Be short."}, {"system": "Be kind."}, False),
        ({"system": "Be short.", "feature": "a"}, {"system": "Be short.", "feature": "b"}, True),
        # without a system prompt in the log, each feature may have its own
        ({"feature": "a"}, {"feature": "b"}, False),
        # what the log does not show of a conversation, its length may
        ({}, {"input_tokens": 2001}, False),
        ({}, {"request_id": "r0"}, None),
    ],
)
def test_a_repeat(tmp_path: Path, first: dict[str, Any], second: dict[str, Any], same: bool | None) -> None:
    expected = [False] if same is None else [False, same]
    assert looked_up(tmp_path, first, second) == expected


def test_whole_messages_need_no_token_counts(tmp_path: Path) -> None:
    whole = {"system": "Be short.", "n_messages": 2}
    longer = {"system": "Be short.", "n_messages": 4}
    # two models count the same text differently; of a longer conversation only a part is known
    found = looked_up(
        tmp_path, whole, {**whole, "input_tokens": 2010}, longer, {**longer, "input_tokens": 2010}, longer
    )
    assert found == [False, True, False, False, True]


# --- what it costs --------------------------------------------------------------------------------------------------


def test_the_stack_is_computed_and_not_added_up(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", {}, {}, {}, {"prompt": "Another question"})
    result = run(path, Cache(3600))
    (only,) = result.scenarios
    assert only.today_usd == pytest.approx(4 * TODAY)
    assert only.cache.cost_usd == pytest.approx(2 * TODAY)
    assert only.routing.cost_usd == pytest.approx(4 * MINI)
    assert only.both.cost_usd == pytest.approx(2 * MINI)
    assert (only.cache.hits, only.routing.hits, only.both.hits) == (2, None, 2)
    # 50 % and 70 %, and not 120 %: 85 %
    assert only.overlap_usd == pytest.approx(4 * TODAY * (0.5 + 0.7 - 0.85))
    assert only.uncached_usd == pytest.approx(only.today_usd)
    assert only.cache.cost_high_usd == pytest.approx(only.cache.cost_usd)
    assert result.to_polars()["stack"].to_list() == ["response cache", "routing", "response cache and routing"]


def test_the_time_to_live(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", *[{}] * 6)
    # a minute apart: at 0, 2 and 4 minutes it is asked anew
    assert run(path, Cache(120)).scenarios[0].both.hits == 3
    assert run(path, Cache(60)).scenarios[0].both.hits == 0
    assert run(path, Cache(61)).scenarios[0].both.hits == 3


@pytest.mark.parametrize(("order", "classified"), [("before", 2), ("after", 4)])
def test_a_hit_before_the_router_pays_no_classifier(tmp_path: Path, order: Order, classified: int) -> None:
    path = write(tmp_path / "log.jsonl", {}, {}, {}, {"prompt": "Another question"})
    table = Table("simple", routes=SIMPLE.routes, classifier_cost_per_request_usd=0.001)
    (only,) = run(path, Cache(3600, order), table).scenarios
    assert only.both.cost_usd == pytest.approx(2 * MINI + classified * 0.001)
    assert only.routing.cost_usd == pytest.approx(4 * (MINI + 0.001))
    assert only.cache.cost_usd == pytest.approx(2 * TODAY)


def test_the_key_has_the_model_behind_the_router_only(tmp_path: Path) -> None:
    path = write(
        tmp_path / "log.jsonl", {"feature": "a", "system": "Be short."}, {"feature": "b", "system": "Be short."}
    )
    table = Table("b stays", overrides=(Override(None, feature=("b",)),), routes=SIMPLE.routes)
    (after,) = run(path, Cache(3600, "after"), table).scenarios
    assert after.both.hits == 0
    assert after.both.cost_usd == pytest.approx(MINI + TODAY)
    (before,) = run(path, Cache(3600, "before"), table).scenarios
    assert before.both.hits == 1
    assert before.both.cost_usd == pytest.approx(MINI)
    # without routing the key has the logged model, under whatever name
    names = write(
        tmp_path / "names.jsonl", {"model": "gpt-5.4"}, {"model": "openai/gpt-5.4"}, {"model": "gpt-5.4-mini"}
    )
    (only,) = run(names, Cache(3600, "before")).scenarios
    assert only.cache.hits == 1
    assert only.both.hits == 2


def test_what_is_not_looked_up(tmp_path: Path) -> None:
    path = write(
        tmp_path / "log.jsonl",
        {},
        {"gateway_cache_hit": True},
        {"prompt": None},
        {"prompt": None},
        {"ts": None},
        {"status": "error", "output_tokens": 0, "prompt": "x"},
        {"prompt": "x"},
    )
    result = run(path, Cache(3600))
    assert (result.requests, result.looked_up) == (7, 3)
    assert (result.answered, result.without_text, result.undated) == (1, 2, 1)
    assert result.scenarios[0].both.hits == 0
    assert run(path, Cache(None)).undated == 0


def test_a_part_of_the_log(tmp_path: Path) -> None:
    path = str(write(tmp_path / "log.jsonl", *[{}] * 10))
    options = Options(since=NOON + dt.timedelta(minutes=3), until=NOON + dt.timedelta(minutes=7))
    assert gather([path], Settings(), [], options, Cache(None)).rows.height == 4


def test_prompt_caching_is_in_it_and_bounded(tmp_path: Path) -> None:
    cached = {"input_tokens": 1000, "cache_read_tokens": 9000}
    path = write(tmp_path / "log.jsonl", *[cached] * 3, {**cached, "prompt": "Another"}, {**cached, "prompt": "More"})
    (only,) = run(path, Cache(3600), Table("nothing moves", routes={"code": {"balanced": "gpt-5.4-mini"}})).scenarios
    with_cache = (1000 * 2.5 + 9000 * 0.25 + 500 * 15) / 1e6
    without = (10_000 * 2.5 + 500 * 15) / 1e6
    assert only.today_usd == pytest.approx(5 * with_cache)
    assert only.uncached_usd == pytest.approx(5 * without)
    assert only.cache.cost_usd == pytest.approx(3 * with_cache)
    # two calls fewer: at most two of the three that are left find it cold
    assert only.cache.cost_high_usd == pytest.approx(with_cache + 2 * without)
    assert only.routing.cost_high_usd == pytest.approx(only.today_usd)
    (moved,) = run(path, Cache(3600)).scenarios
    mini_with, mini_without = with_cache * 0.3, without * 0.3
    assert moved.both.cost_usd == pytest.approx(3 * mini_with)
    # what routing loses and what goes cold are the same tokens
    assert moved.both.cost_high_usd == pytest.approx(3 * mini_without)


def test_intervals_are_those_of_the_simulation(tmp_path: Path) -> None:
    log = [{"prompt": f"q{i % 23}", "task": ("simple", "code")[i % 2], "output_tokens": 100 + i} for i in range(200)]
    path = write(tmp_path / "log.jsonl", *log)
    simulation = commands.simulate([path], [SIMPLE], modes=["balanced"], as_of=AS_OF)
    result = caching([str(path)], simulation, [SIMPLE], Cache(None))
    routing, saving = result.scenarios[0].routing, simulation.scenarios[0].saving
    assert routing.cost_usd == pytest.approx(saving.routed_usd)
    assert routing.interval.estimate == pytest.approx(saving.saving_usd)
    assert routing.interval.standard_error == pytest.approx(saving.interval.standard_error)
    both = result.scenarios[0].both
    assert both.interval.low is not None
    assert both.interval.high is not None
    assert both.interval.low < result.scenarios[0].today_usd - both.cost_usd < both.interval.high


@pytest.mark.parametrize("cache", [Cache(None, "before"), Cache(3600, "after")])
def test_the_order_of_lines_and_files_is_nothing(tmp_path: Path, cache: Cache) -> None:
    log = [
        {
            "request_id": f"r{i}",
            "ts": (NOON + dt.timedelta(minutes=i)).isoformat(),
            "user_id": f"u{i % 5}",
            "prompt": f"q{i % 9}",
            "task": ("simple", "code", None)[i % 3],
            "feature": f"f{i % 2}",
        }
        for i in range(120)
    ]
    whole = write(tmp_path / "whole.jsonl", *log)
    random.Random(1).shuffle(log)
    parts = [write(tmp_path / "a.jsonl", *log[:50]), write(tmp_path / "b.jsonl", *log[50:])]
    one, other = run(whole, cache).scenarios[0], run(parts, cache).scenarios[0]
    for a, b in ((one.cache, other.cache), (one.routing, other.routing), (one.both, other.both)):
        assert a.hits == b.hits
        assert a.cost_usd == pytest.approx(b.cost_usd, rel=1e-12)
        assert a.interval.standard_error == pytest.approx(b.interval.standard_error)
    assert one.both.hits


def test_two_tables_of_one_name(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", {}, {}, {"prompt": "Another"})
    other = Table("simple", routes={"simple": {"balanced": "gpt-5.4"}})
    first, second = run(path, Cache(None), SIMPLE, other).scenarios
    assert first.both.cost_usd == pytest.approx(2 * MINI)
    assert second.both.cost_usd == pytest.approx(2 * TODAY)


def test_a_base_model(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", {"model": "gpt-5.4-mini"}, {"model": None, "provider": None})
    (only,) = run(path, Cache(None), base_model="gpt-5.4").scenarios
    assert only.today_usd == pytest.approx(2 * TODAY)
    assert only.cache.hits == 1


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command(cli: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", {}, {}, {}, {"prompt": "Another question"})
    (tmp_path / "t.yaml").write_text("name: ours\nroutes: {simple: gpt-5.4-mini}\n")
    done = cli("simulate", path, "--table", tmp_path / "t.yaml", "--cache", "exact:1h", "--cache-order", "before")
    assert done.returncode == 0, done.stderr
    assert "Caching stack (USD a day)" in done.stdout
    assert "The two savings must not be added up: that would be $0.0175 more" in done.stdout
    assert "before the router: a hit pays no classifier" in done.stdout
    done = cli("simulate", path, "--table", tmp_path / "t.yaml", "--cache", "exact", "--format", "json")
    told = json.loads(done.stdout)["caching"]
    assert (told["order"], told["ttl_seconds"]) == ("after", None)
    stacks = {s["name"]: s for s in told["scenarios"][0]["stacks"]}
    assert stacks["response cache and routing"]["hit_share"] == 0.5
    assert "caching" not in json.loads(cli("simulate", path, "--format", "json").stdout)


def test_what_has_no_requests_is_refused(cli: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", {}, {})
    usage = tmp_path / "usage.parquet"
    assert cli("tally", path, "-o", usage).returncode == 0
    done = cli("simulate", usage, "--cache", "exact:1h")
    assert done.returncode == 3
    assert "usage file: it keeps counts and no request" in done.stderr
    assert cli("simulate", "-", "--cache", "exact", input=path.read_text()).returncode == 2
    assert cli("simulate", path, "--cache", "fuzzy").returncode == 2
    silent = cli("simulate", write(tmp_path / "silent.jsonl", {"prompt": None}), "--cache", "exact")
    assert silent.returncode == 3
    assert "can be looked up in a response cache: that takes its text" in silent.stderr
    nothing = tmp_path / "empty.jsonl"
    nothing.write_text("")
    with pytest.raises(InputError, match="no request"):
        gather([str(nothing)], Settings(), [], Options(), Cache(None))
