"""What holds for every log, book and table: the laws that the rest relies on, as properties."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import math
import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routecost import savings, stats
from routecost.pipeline.analysis import saving_of
from routecost.pipeline.intake import Intake, Options, read
from routecost.prices import Book, price, read_prices
from routecost.routing import Override, Table, empty_table
from routecost.schema import REQUEST
from routecost.usage import Settings, Usage, prepare, read_usage, tally, write_usage

AS_OF = dt.date(2026, 11, 24)
MIDNIGHT = dt.datetime(2026, 10, 10, tzinfo=dt.UTC)

# A price book is part of every failing example, and a long one: the assertion shall be seen all the same.
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")

few = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def book() -> Book:
    return read_prices()


# Changes on a day, above a threshold, by the request, with a discount, fees, and tokens of another size.
OVERLAY = """
models:
  acme/private:
    token_ratio: 1.3
    prices:
      - {input: 2, cache_read: 0.5, output: 8, request: 0.001, above: {5000: {input: 4, output: 16}}}
      - {from: 2026-10-15, input: 1, output: 6, reasoning: 7}
    batch: {input: 0.5}
    service_tiers: {flex: {input: 0.4, output: 2}}
    fees: {web_searches: 0.01}
  openai/gpt-5.4: {token_ratio: 0.7, discount: 0.15, fees: {images: 0.04}}
providers: {anthropic: {discount: 0.05}}
"""


@pytest.fixture(scope="module")
def overlaid(tmp_path_factory: pytest.TempPathFactory) -> Book:
    path = tmp_path_factory.mktemp("pricing") / "own.yaml"
    path.write_text(OVERLAY)
    return read_prices([path])


SERVED = (
    ("openai", "gpt-5.4"),
    ("azure", "gpt-5.4"),
    (None, "gpt-5.4"),
    (None, "gpt-5.4-mini"),
    ("anthropic", "claude-sonnet-4-5"),
    (None, "deepseek-v4-flash"),  # its price depends on the time of day
    ("mistral", "codestral-latest"),
    (None, "groq/llama-3.1-8b-instant"),
    (None, "acme/private"),  # only the overlay knows it
    (None, "no-such-model"),
    (None, None),
)


@st.composite
def request(draw: st.DrawFn) -> dict[str, Any]:
    """One request of the canonical form, with everything that a price or a table may depend on."""
    provider, model = draw(st.sampled_from(SERVED))
    minutes = draw(st.one_of(st.none(), st.integers(0, 20 * 1440 - 1)))
    count = st.one_of(st.integers(0, 3000), st.integers(0, 300_000), st.none())
    return {
        **dict.fromkeys(REQUEST),
        "ts": None if minutes is None else MIDNIGHT + dt.timedelta(minutes=minutes),
        "provider": provider,
        "model": model,
        "input_tokens": draw(count),
        "cache_read_tokens": draw(count),
        "cache_write_tokens": draw(st.sampled_from([None, 0, 700])),
        "output_tokens": draw(count),
        "web_searches": draw(st.sampled_from([None, 0, 2])),
        "images": draw(st.sampled_from([None, 1])),
        "latency_ms": draw(st.one_of(st.none(), st.floats(0, 1e5))),
        "cost_usd": draw(st.one_of(st.none(), st.floats(0, 10))),
        "feedback": draw(st.sampled_from([None, -1.0, 0.25, 1.0])),
        "status": draw(st.sampled_from(["ok", "ok", "error"])),
        "service_tier": draw(st.sampled_from([None, None, "flex", "default"])),
        "batch": draw(st.sampled_from([None, None, False, True])),
        "gateway_cache_hit": draw(st.sampled_from([None, None, None, True])),
        "task": draw(st.sampled_from(["simple", "code", "reasoning", "complex", None])),
        "mode": draw(st.sampled_from([None, "eco", "sport", "turbo"])),
        "feature": draw(st.sampled_from([None, "billing", "chat"])),
        "model_override": draw(st.sampled_from([None, None, "gpt-5.4", "no-such-model"])),
        "session_id": draw(st.sampled_from([None, "s1", "s2", "s3"])),
        "user_id": draw(st.sampled_from([None, "u1", "u2"])),
    }


logs = st.lists(request(), min_size=1, max_size=20)


def frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=REQUEST)


def counted(rows: Sequence[Mapping[str, Any]], book: Book) -> tuple[pl.DataFrame, Usage]:
    """The requests, ready to price each by itself, and their usage."""
    how = Settings(edges=book.edges, slots=book.slots)
    prepared = prepare(frame(rows), how)
    return prepared, tally(prepared, how)


def jsonl(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps({k: v for k, v in r.items() if v is not None}, default=str) + "\n" for r in rows)


def usage_bytes(usage: Usage) -> bytes:
    """The usage file of a usage."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "usage.parquet"
        write_usage(usage, path, book_version="book")
        return path.read_bytes()


FULL = Table(
    "full",
    default={"eco": "codestral", "balanced": "gpt-5.4", "sport": "gpt-5.4"},
    routes={
        "simple": {"eco": "groq-llama-8b", "balanced": "gpt-5.4-mini", "sport": "claude-opus-4-7"},
        "code": {"balanced": "deepseek-v4-flash"},
    },
    overrides=(Override("claude-sonnet-4-5", feature=("bill*",)),),
    fallbacks={"gpt-5.4": ("claude-opus-4-7",), "gpt-5.4-mini": ("codestral",)},
    failover_rate=0.03,
    speculative=("sport",),
    classifier_cost_per_request_usd=0.0001,
)


# --- 1. merge(tally(parts)) == tally(whole) -------------------------------------------------------------------------


@few
@given(rows=logs, data=st.data())
def test_1_any_partition_of_sessions_is_the_whole(book: Book, rows: list[dict[str, Any]], data: st.DataObject) -> None:
    # half of the requests carry an id; a session is in one part, and so are the copies of a request
    rows = [{**row, "request_id": f"r{i}" if i % 2 else None} for i, row in enumerate(rows)]
    rows += [dict(row) for row in rows if row["request_id"] and data.draw(st.integers(0, 3)) == 0]
    units = list(dict.fromkeys(r["session_id"] or r["request_id"] or str(i) for i, r in enumerate(rows)))
    parts_of = {unit: data.draw(st.integers(0, 2)) for unit in units}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "whole.jsonl").write_text(jsonl(rows))
        whole = read([str(folder / "whole.jsonl")], book).usage
        files = []
        for part in range(3):
            own = [r for i, r in enumerate(rows) if parts_of[r["session_id"] or r["request_id"] or str(i)] == part]
            if own:
                (folder / "part.jsonl").write_text(jsonl(own))
                files.append(str(folder / f"{part}.parquet"))
                write_usage(read([str(folder / "part.jsonl")], book).usage, files[-1])
        data.draw(st.randoms()).shuffle(files)
        merged = read(files, book).usage
    for table in ("cells", "groups", "histograms", "carry"):
        assert getattr(merged, table).equals(getattr(whole, table)), table
    # keys that this log has no use for are zero on both sides
    names = {*merged.counts, *whole.counts}
    assert {n: merged.counts.get(n, 0) for n in names} == {n: whole.counts.get(n, 0) for n in names}


# --- 2. pricing commutes with counting ------------------------------------------------------------------------------


def sums(priced: pl.DataFrame, cost: str, unpriced: str) -> tuple[dict[Any, float], dict[Any, int]]:
    """Cost by model, and requests by the reason why they have no price."""
    costs = priced.filter(pl.col(cost).is_not_null()).group_by("model", "task").agg(pl.col(cost).sum())
    reasons = priced.group_by(unpriced).agg(pl.col("requests").sum())
    return {row[:2]: row[2] for row in costs.iter_rows()}, dict(reasons.iter_rows())


def assert_same(left: tuple[dict[Any, float], dict[Any, int]], right: tuple[dict[Any, float], dict[Any, int]]) -> None:
    assert left[1] == right[1]
    assert left[0] == pytest.approx(right[0], rel=1e-9, abs=1e-15)


@few
@given(rows=logs)
@pytest.mark.parametrize("which", ["book", "overlaid"])
def test_2_pricing_commutes_with_counting(
    which: str, rows: list[dict[str, Any]], request: pytest.FixtureRequest
) -> None:
    book: Book = request.getfixturevalue(which)
    each, usage = counted(rows, book)
    one, many = price(each, book, as_of=AS_OF), price(usage.cells, book, as_of=AS_OF)
    assert_same(sums(one, "cost_usd", "unpriced"), sums(many, "cost_usd", "unpriced"))
    assert one["unpriced_fees"].sum() == many["unpriced_fees"].sum()
    # and on the models that a table sends them to, across token ratios
    sent = [savings.routed(savings.today(f, book, as_of=AS_OF), FULL, book, as_of=AS_OF) for f in (each, usage.cells)]
    for cost, unpriced in (("today_usd", "unpriced"), ("routed_usd", "routed_unpriced")):
        assert_same(sums(sent[0], cost, unpriced), sums(sent[1], cost, unpriced))


# --- 3. staying saves exactly nothing -------------------------------------------------------------------------------


def identity(**options: Any) -> Table:
    """Every request to the model it used."""
    models = [model for _, model in SERVED if model is not None]
    return Table("identity", overrides=tuple(Override(m, logged_model=(m,)) for m in dict.fromkeys(models)), **options)


@few
@given(rows=logs)
@pytest.mark.parametrize("which", ["book", "overlaid"])
@pytest.mark.parametrize("table", [identity(), empty_table()], ids=["identity", "empty"])
def test_3_staying_saves_exactly_nothing(
    table: Table, which: str, rows: list[dict[str, Any]], request: pytest.FixtureRequest
) -> None:
    book: Book = request.getfixturevalue(which)
    if table.routes or table.overrides:
        rows = [{**row, "model_override": None} for row in rows]
    _, usage = counted(rows, book)
    sent = savings.routed(savings.today(usage.cells, book, as_of=AS_OF), table, book, as_of=AS_OF)
    assert sent["routed_usd"].to_list() == sent["today_usd"].to_list()
    # a model that nobody knows may not be known where it goes either, and has no price on both sides
    assert not sent["moved"].any()
    saving = saving_of(sent, usage, table, book, as_of=AS_OF)
    assert (saving.saving_usd, saving.moved_requests, saving.cache_loss_usd) == (0.0, 0, 0.0)
    assert saving.interval.estimate == 0.0
    assert saving.interval.low in (None, 0.0)
    assert saving.share.estimate == 0.0
    assert all(s == 0.0 for s in saving.by_task["saving_usd"])


@few
@given(rows=logs)
def test_3_but_for_what_is_declared(book: Book, rows: list[dict[str, Any]]) -> None:
    rows = [{**row, "model": "gpt-5.4", "model_override": None, "batch": None} for row in rows]
    table = Table(
        "t",
        routes={"simple": dict.fromkeys(("eco", "balanced", "sport"), "gpt-5.4")},
        default=dict.fromkeys(("eco", "balanced", "sport"), "gpt-5.4"),
        classifier_cost_per_request_usd=0.0002,
        fallbacks={"gpt-5.4": ("claude-opus-4-7",)},
        speculative=("sport",),
    )
    _, usage = counted(rows, book)
    sent = savings.routed(savings.today(usage.cells, book, as_of=AS_OF), table, book, as_of=AS_OF)
    saving = saving_of(sent, usage, table, book, as_of=AS_OF)
    assert saving.saving_usd == pytest.approx(-saving.classifier_usd - saving.speculative_usd, abs=1e-12)
    asked = savings.comparable(sent).filter(~pl.col("gateway_cache_hit").fill_null(False))
    assert saving.classifier_usd == pytest.approx(0.0002 * int(asked["requests"].sum()))
    assert saving.cache_loss_usd == 0.0


# --- 4. every line is accounted for ---------------------------------------------------------------------------------

GOOD = {"model": "gpt-5.4", "task": "simple", "input_tokens": 5, "output_tokens": 1}
BROKEN = (
    b"{",
    b"not json",
    b'{"model": "gpt-5.4", "input_tokens": 5',
    b"[1, 2]",
    b"7",
    b"null",
    b'"text"',
    b'{"model": "caf\xe9", "input_tokens": 5}',
    b'{"model": "gpt-5.4", "input_tokens": -5, "output_tokens": 1}',
    b'{"model": "gpt-5.4", "input_tokens": "many", "output_tokens": 1}',
    b'{"model": "gpt-5.4", "input_tokens": 1.5, "output_tokens": 1}',
    b'{"model": "gpt-5.4", "input_tokens": NaN, "output_tokens": 1}',
    b'{"model": "gpt-5.4"}{"model": "gpt-5.4"}',
)
BLANK = (b"", b"   ", b"\r", b"\t")

a_line = st.one_of(
    st.builds(
        lambda i, minute, extra: json.dumps(
            {**GOOD, "request_id": i, "ts": f"2026-11-0{1 + minute // 60}T12:{minute % 60:02}:00Z", **extra}
        ).encode(),
        st.one_of(st.none(), st.sampled_from([f"r{n}" for n in range(6)])),
        st.integers(0, 119),
        st.sampled_from([{}, {"output_tokens": None}, {"model": None}, {"ts": None}, {"input_tokens": "12"}]),
    ),
    st.sampled_from(BROKEN),
    st.sampled_from(BLANK),
)
REJECTED = set(BROKEN)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    lines=st.lists(a_line, max_size=25),
    end=st.sampled_from([b"\n", b""]),
    bom=st.booleans(),
    crlf=st.booleans(),
    since=st.booleans(),
    size=st.sampled_from([16 << 20, 300]),
)
def test_4_every_line_is_accounted_for(
    book: Book, lines: list[bytes], end: bytes, bom: bool, crlf: bool, since: bool, size: int
) -> None:
    lines = [json.dumps(GOOD).encode(), *lines]
    content = (b"\xef\xbb\xbf" if bom else b"") + (b"\r\n" if crlf else b"\n").join(lines) + end
    expected = [line for line in lines if line.strip()]
    options = Options(since=dt.datetime(2026, 11, 2, tzinfo=dt.UTC) if since else None)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr("routecost.logs.records.CHUNK_BYTES", size)
        path = Path(name) / "log.jsonl"
        path.write_bytes(content)
        intake = read([str(path)], book, options=options)
    counts = intake.counts
    assert counts["lines"] == len(expected)
    assert counts.get("rejected", 0) == sum(line in REJECTED for line in expected)
    assert counts.get("rejected", 0) == sum(fault.count for fault in intake.rejected)
    parts = [counts.get(n, 0) for n in ("rejected", "duplicates", "outside")]
    assert intake.usage.requests + sum(parts) == counts["lines"]
    assert intake.usage.groups["requests"].sum() == intake.usage.requests
    if not since:
        assert counts.get("outside", 0) == 0
        ids = [json.loads(line).get("request_id") for line in expected if line not in REJECTED]
        known = [i for i in ids if i is not None]
        assert counts.get("duplicates", 0) == len(known) - len(set(known))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    records=st.lists(
        st.tuples(
            st.sampled_from(["r1", "r2", ""]),
            st.sampled_from(["gpt-5.4", "", 'a "quoted", name', "two\nlines"]),
            st.sampled_from(["5", "1,234", "", "-3", "x"]),
            st.sampled_from(["7", ""]),
        ),
        max_size=15,
    ),
    torn=st.lists(st.sampled_from(["one", "a,b,c,d,e"]), max_size=2),
    size=st.sampled_from([16 << 20, 100]),
)
def test_4_every_record_of_a_csv(book: Book, records: list[tuple[str, ...]], torn: list[str], size: int) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["request_id", "model", "input_tokens", "output_tokens"])
    writer.writerows([("first", "gpt-5.4", "1", "1"), *records])
    text.write("".join(f"{line}\n" for line in torn))
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr("routecost.logs.records.CHUNK_BYTES", size)
        path = Path(name) / "log.csv"
        path.write_text(text.getvalue())
        intake = read([str(path)], book, options=Options(classify=False))
    counts = intake.counts
    # a record of empty fields is a blank line
    records = [r for r in records if any(r)]
    bad = [r for r in records if r[2] in ("-3", "x")]
    known = [r[0] for r in records if r[0] and r not in bad]
    assert counts["lines"] == 1 + len(records) + len(torn)
    assert counts.get("rejected", 0) == len(bad) + len(torn)
    assert counts.get("duplicates", 0) == len(known) - len(set(known))
    assert intake.usage.requests == counts["lines"] - counts.get("rejected", 0) - counts.get("duplicates", 0)


# --- 5. unpriced is null and counted; a price is nobody else's ------------------------------------------------------


@pytest.fixture(scope="module")
def with_private() -> Book:
    return with_models("  acme/private: {prices: [{input: 1, output: 2}]}")


@few
@given(rows=logs)
def test_5_a_new_price_changes_nothing_else(book: Book, with_private: Book, rows: list[dict[str, Any]]) -> None:
    before, after = (price(counted(rows, b)[1].cells, b, as_of=AS_OF) for b in (book, with_private))
    others = pl.col("model").ne_missing("acme/private")
    assert sums(before.filter(others), "cost_usd", "unpriced") == sums(after.filter(others), "cost_usd", "unpriced")
    for priced in (before, after):
        # null or a number, never both a number and a reason, and everything is one of them
        assert priced["cost_usd"].is_null().to_list() == priced["unpriced"].is_not_null().to_list()
        assert priced["requests"].sum() == len(rows)
    own = before.filter(~others)
    hits = own["gateway_cache_hit"].fill_null(False)
    assert own.filter(~hits)["cost_usd"].null_count() == own.height - hits.sum()


def with_models(text: str) -> Book:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "own.yaml"
        path.write_text(f"models:\n{text}\n")
        return read_prices([path])


# --- 6. twice the prices, twice the cost ----------------------------------------------------------------------------


def times(factor: float) -> Book:
    """A book of two models, a fee and a price a request, all prices times a factor."""
    f = factor
    return with_models(
        f"  acme/private: {{prices: [{{input: {f}, cache_read: {f / 2}, output: {3 * f}, request: {f / 100}}}], "
        f"fees: {{web_searches: {f / 10}, images: {f / 7}}}}}\n"
        f"  acme/small: {{prices: [{{input: {f / 8}, output: {f / 3}, above: {{9000: {{input: {f / 4}}}}}}}]}}"
    )


@pytest.fixture(scope="module")
def once_and_twice() -> tuple[Book, Book]:
    return times(1.0), times(2.0)


@few
@given(rows=logs)
def test_6_twice_the_prices_twice_the_cost(once_and_twice: tuple[Book, Book], rows: list[dict[str, Any]]) -> None:
    served = ("acme/private", "acme/small")
    rows = [
        {**row, "provider": None, "model": served[i % 2], "model_override": None, "batch": None, "service_tier": None}
        for i, row in enumerate(rows)
    ]
    seen = []
    for factor, book in zip((1.0, 2.0), once_and_twice, strict=True):
        table = Table(
            "t",
            routes={"simple": {"balanced": "acme/small"}, "code": {"balanced": "acme/private"}},
            fallbacks={"acme/small": ("acme/private",)},
            failover_rate=0.1,
            classifier_cost_per_request_usd=0.001 * factor,
        )
        _, usage = counted(rows, book)
        sent = savings.routed(savings.today(usage.cells, book, as_of=AS_OF), table, book, as_of=AS_OF)
        saving = saving_of(sent, usage, table, book, as_of=AS_OF)
        comparable = savings.comparable(sent).select(*usage.cells.columns, *savings.TODAY, "today_usd")
        chance = savings.at_random(comparable, sent, book, as_of=AS_OF)
        error = saving.interval.standard_error
        seen.append(
            [
                saving.today_usd,
                saving.routed_usd,
                saving.saving_usd,
                saving.interval.estimate,
                0.0 if error is None else error,
                saving.cache_loss_usd,
                saving.classifier_usd,
                saving.failover_usd,
                float(chance["routed_usd"].sum()),
            ]
        )
    assert seen[1] == pytest.approx([2 * x for x in seen[0]], rel=1e-9, abs=1e-9)


# --- 7. order does not matter ---------------------------------------------------------------------------------------


def many(n: int = 400) -> list[dict[str, Any]]:
    """A log with everything whose handling could depend on order: copies, ties, sessions, requests without ids, without
    times, without labels, and columns that are empty for long stretches."""
    rng = random.Random(11)
    rows = []
    for i in range(n):
        row = {
            "ts": f"2026-11-0{rng.randint(1, 5)}T12:{rng.randint(0, 3):02}:00Z",
            "model": rng.choice(["gpt-5.4", "codestral", "claude-sonnet-4-5"]),
            "input_tokens": rng.randint(1, 3000),
            "output_tokens": rng.randint(1, 300),
            "cache_read_tokens": rng.choice([0, 0, 100]),
            "task": rng.choice(["simple", "code"]),
            "prompt": f"What is {i % 50}?",
            "session_id": rng.choice([None, f"s{i % 30}"]),
            "request_id": rng.choice([None, f"r{i % 350}"]),
            "user_id": rng.choice([None, f"u{i % 9}"]),
        }
        if i > n // 2:
            row |= {"latency_ms": rng.randint(1, 5000), "cost_usd": rng.random()}
        if i > n * 3 // 4 and i % 3 == 0:
            row["task"] = None
        if i % 17 == 0:
            row["ts"] = None
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def ordinary(book: Book, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of the usage file of `many`, in two files, read the ordinary way."""
    folder = tmp_path_factory.mktemp("ordinary")
    return usage_bytes(tally_of(write_two(many(), folder), book).usage)


def write_two(rows: Sequence[Mapping[str, Any]], folder: Path, seed: int | None = None) -> list[str]:
    """Two files of fixed names and content, their rows shuffled by the seed."""
    paths = []
    for n, part in enumerate((rows[:250], rows[250:])):
        shuffled = list(part)
        if seed is not None:
            random.Random(seed).shuffle(shuffled)
        (folder / f"{n}.jsonl").write_text(jsonl(shuffled))
        paths.append(str(folder / f"{n}.jsonl"))
    return paths


def tally_of(paths: Sequence[str], book: Book, workers: int | None = None) -> Intake:
    return read(paths, book, options=Options(workers=workers))


@pytest.mark.parametrize("seed", range(3))
def test_7_order_of_rows(seed: int, book: Book, ordinary: bytes, tmp_path: Path) -> None:
    assert usage_bytes(tally_of(write_two(many(), tmp_path, seed), book).usage) == ordinary


def test_7_order_of_files(book: Book, ordinary: bytes, tmp_path: Path) -> None:
    paths = write_two(many(), tmp_path)
    assert usage_bytes(tally_of(paths[::-1], book).usage) == ordinary
    assert usage_bytes(tally_of([str(tmp_path)], book).usage) == ordinary


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("size", [700, 9_000, 40_000])
def test_7_sizes_of_chunks_and_numbers_of_workers(
    workers: int, size: int, book: Book, ordinary: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_two(many(), tmp_path)
    monkeypatch.setattr("routecost.logs.records.CHUNK_BYTES", size)
    monkeypatch.setattr("routecost.usage.sessions._BUFFER_ROWS", size // 100)
    monkeypatch.setattr("routecost.pipeline.intake._COMPACT_ROWS", size // 20)
    assert usage_bytes(tally_of(paths, book, workers).usage) == ordinary


def test_7_chunks_of_parquet(book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log.parquet"
    pl.DataFrame(many(), infer_schema_length=None).write_parquet(log)
    seen = set()
    for rows in (131_072, 50, 7):
        monkeypatch.setattr("routecost.logs.records.PARQUET_ROWS", rows)
        seen.add(usage_bytes(tally_of([str(log)], book).usage))
    assert len(seen) == 1


def test_7_order_of_usage_files(book: Book, tmp_path: Path) -> None:
    files = []
    for n, path in enumerate(write_two(many(), tmp_path)):
        files.append(str(tmp_path / f"{n}.parquet"))
        write_usage(tally_of([path], book).usage, files[-1])
    assert usage_bytes(read(files, book).usage) == usage_bytes(read(files[::-1], book).usage)
    # a log beside a usage file, too
    log = str(tmp_path / "0.jsonl")
    mixed = [usage_bytes(read(paths, book).usage) for paths in ([files[1], log], [log, files[1]])]
    assert mixed[0] == mixed[1]


def test_7_what_is_read_is_what_was_written(book: Book, ordinary: bytes, tmp_path: Path) -> None:
    (tmp_path / "usage.parquet").write_bytes(ordinary)
    assert usage_bytes(read_usage(tmp_path / "usage.parquet")) == ordinary


# --- 8. two arms that are the same ----------------------------------------------------------------------------------


def covers(book: Book, rng: np.random.Generator, sessions: int, each: int, unit: Any) -> bool:
    """Whether the 95 % interval of the difference between two arms' savings a request covers 0, where sessions were
    assigned to the arms by chance and nothing else differs."""
    n = sessions * each
    session = np.repeat(np.arange(sessions), each)
    common, own = rng.standard_normal(sessions)[session], rng.standard_normal(n)
    correlation = 0.3 if each > 1 else 0.0
    size = np.exp(0.5 * (math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own))
    arm = np.where(rng.random(sessions) < 0.5, "control", "treatment")[session]
    requests = pl.DataFrame(
        {
            **{name: pl.Series([None] * n, dtype=dtype) for name, dtype in REQUEST.items()},
            "request_id": [f"{rng.integers(1 << 60)}" for _ in range(n)],
            "session_id": np.repeat(rng.integers(0, 1 << 60, sessions).astype(str), each),
            "model": ["gpt-5.4"] * n,
            "task": np.where(rng.random(n) < 0.6, "simple", "complex"),
            "arm": arm,
            "input_tokens": np.rint(2000 * size).astype(np.int64),
            "output_tokens": np.rint(500 * size).astype(np.int64),
        },
        schema=REQUEST,
    )
    how = Settings(edges=book.edges, slots=book.slots, unit=unit)
    usage = tally(prepare(requests, how), how)
    table = Table("t", routes={"simple": {"balanced": "gpt-5.4-mini"}})
    sent = savings.routed(savings.today(usage.cells, book, as_of=AS_OF), table, book, as_of=AS_OF)
    arms = []
    for name in ("control", "treatment"):
        own_arm = pl.col("arm") == name
        part = replace(usage, groups=usage.groups.filter(own_arm))
        saving = saving_of(sent.filter(own_arm), part, table, book, as_of=AS_OF)
        arms.append(saving.interval.scaled(1 / saving.requests))
    control, treatment = arms
    assert control.standard_error is not None
    assert treatment.standard_error is not None
    half = stats.t_quantile(min(a.groups for a in arms) - 1) * math.hypot(
        control.standard_error, treatment.standard_error
    )
    return abs(control.estimate - treatment.estimate) <= half


@pytest.mark.parametrize(("sessions", "each"), [(1500, 1), (120, 20)], ids=["requests", "sessions"])
def test_8_the_same_twice_is_not_different(sessions: int, each: int, book: Book) -> None:
    rng = np.random.default_rng(12)
    rate = sum(covers(book, rng, sessions, each, "session") for _ in range(100)) / 100
    # 100 trials at 95 % have a standard error of 2.2 %
    assert rate >= 0.885


@pytest.mark.slow
@pytest.mark.parametrize(("sessions", "each"), [(1500, 1), (120, 20)], ids=["requests", "sessions"])
def test_8_at_length(sessions: int, each: int, book: Book) -> None:
    rng = np.random.default_rng(13)
    rate = sum(covers(book, rng, sessions, each, "session") for _ in range(500)) / 500
    # a standard error of 1 %
    assert 0.92 <= rate <= 0.975


def test_8_requests_of_a_session_are_not_independent(book: Book) -> None:
    # that the law can be broken: intervals over requests find a difference far too often
    rng = np.random.default_rng(14)
    assert sum(covers(book, rng, 60, 40, "request") for _ in range(60)) / 60 < 0.85
