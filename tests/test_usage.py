"""Usage: exact counts, groups, histograms, sessions, duplicates, and the file that holds them."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routecost.errors import InputError
from routecost.pipeline.intake import Options, read, require_prices
from routecost.prices import Book, read_prices
from routecost.routing import Override, Table
from routecost.schema import CELL_KEY, CELL_VALUES, GROUPS, REQUEST
from routecost.usage import (
    Settings,
    Usage,
    cells,
    empty,
    is_usage_file,
    merge,
    prepare,
    read_usage,
    sessions,
    subtract,
    tally,
    write_usage,
)

NOON = dt.datetime(2026, 11, 2, 12, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def book() -> Book:
    return read_prices()


def requests(*rows: Mapping[str, Any]) -> pl.DataFrame:
    usual = {"ts": NOON, "model": "gpt-5.4", "input_tokens": 100, "output_tokens": 10}
    return pl.DataFrame([{**dict.fromkeys(REQUEST), **usual, **row} for row in rows], schema=REQUEST)


def usage(*rows: Mapping[str, Any], **options: Any) -> Usage:
    how = Settings(**options)
    return tally(prepare(requests(*rows), how), how)


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def line(**fields: Any) -> dict[str, Any]:
    return {
        "ts": "2026-11-02T12:00:00Z",
        "model": "gpt-5.4",
        "input_tokens": 100,
        "output_tokens": 10,
        "task": "simple",
        **fields,
    }


# --- cells ----------------------------------------------------------------------------------------------------------


def test_everything_is_counted_in_whole_numbers() -> None:
    rows: list[dict[str, Any]] = [
        {"cost_usd": 0.1, "feedback": 1.0, "finish_reason": "length", "attempt": 3},
        {"cost_usd": 0.2, "feedback": -0.5, "finish_reason": "stop"},
        {"cost_usd": None, "feedback": 0.0, "attempt": 1},
        {"cost_usd": 1e-12},
    ]
    cell = usage(*rows).cells.row(0, named=True)
    expected = {
        "requests": 4,
        "input_tokens": 400,
        # 0.1 + 0.2 is 0.3 here: in 1e-12 USD
        "logged_cost_pico": 300_000_000_001,
        "logged_cost_n": 3,
        "feedback_n": 3,
        "feedback_positive": 1,
        "feedback_negative": 1,
        "feedback_micro": 500_000,
        "feedback_square_micro": 1_250_000,
        "truncated": 1,
        "retried": 1,
        "attempts": 6,
    }
    assert {name: cell[name] for name in expected} == expected
    assert cell["day"] == NOON.date()
    assert all(usage(*rows).cells.schema[c] == pl.Int64 for c in CELL_VALUES)


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=30))
def test_logged_cost_sums_exactly(micro_usd: list[int]) -> None:
    cell = usage(*({"cost_usd": n / 1e6} for n in micro_usd)).cells.row(0, named=True)
    assert cell["logged_cost_pico"] == sum(micro_usd) * 10**6
    assert cell["logged_cost_n"] == len(micro_usd)


def test_a_cost_that_cannot_be_is_not_counted_as_zero() -> None:
    cell = usage({"cost_usd": 1e9}, {"cost_usd": 2.0}).cells.row(0, named=True)
    assert (cell["logged_cost_pico"], cell["logged_cost_n"]) == (2 * 10**12, 1)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({}, None),
        ({"input_tokens": 0, "output_tokens": 0}, None),
        ({"model": None}, "no_model"),
        ({"input_tokens": None}, "no_tokens"),
        ({"output_tokens": None}, "no_tokens"),
        # no model may be put right by a routing table; no tokens by nothing
        ({"model": None, "output_tokens": None}, "no_tokens"),
    ],
)
def test_problems(row: Mapping[str, Any], problem: str | None) -> None:
    assert usage(row).cells["problem"].to_list() == [problem]
    # beside a good one
    assert set(usage(row, {}).cells["problem"]) == {problem, None}


@pytest.mark.parametrize(("total", "band"), [(0, 0), (200, 0), (201, 200), (1000, 200), (1001, 1000), (5000, 1000)])
def test_bands(total: int, band: int) -> None:
    row = {"input_tokens": total // 2, "cache_read_tokens": total - total // 2}
    assert usage(row, edges=(200, 1000)).cells["band"].to_list() == [band]


@pytest.mark.parametrize(
    ("time", "slot"), [("00:00:00", 0), ("00:29:59", 0), ("00:30:00", 30), ("16:29:59", 30), ("16:30:00", 990)]
)
def test_slots(time: str, slot: int) -> None:
    ts = dt.datetime.fromisoformat(f"2026-11-02T{time}+00:00")
    assert usage({"ts": ts}, slots=(0, 30, 990)).cells["slot"].to_list() == [slot]


def test_no_time_no_day() -> None:
    cell = usage({"ts": None}).cells.row(0, named=True)
    assert (cell["day"], cell["slot"]) == (None, None)


def test_by_adds_a_key() -> None:
    frame = requests({"user_id": "u"}, {"user_id": "v"}, {}).with_columns(pl.Series("raw:team", ["a", "a", None]))
    how = Settings(by=("user_id", "team", "hour"))
    counted = tally(prepare(frame, how), how).cells
    assert set(counted.select("user_id", "team", "hour", "requests").rows()) == {
        ("u", "a", "12", 1),
        ("v", "a", "12", 1),
        (None, None, "12", 1),
    }


def test_an_empty_frame() -> None:
    how = Settings(by=("hour",))
    counted = tally(prepare(requests(), how), how)
    assert (counted.cells.height, counted.groups.height, counted.histograms.height) == (0, 0, 0)
    assert counted.cells.schema == empty(how).cells.schema


def test_more_than_a_million_cells_are_refused(tmp_path: Path, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    log = write(tmp_path / "log.jsonl", (line(user_id=f"u{i}", feature=f"f{i % 2}") for i in range(5)))
    monkeypatch.setattr(cells, "MAX_CELLS", 4)
    with pytest.raises(
        InputError, match=r"^5 different cells, more than the 4 .*'user_id' \(5\)\. Leave it out of --by"
    ):
        read([log], book, options=Options(by=("user_id",)))
    monkeypatch.setattr(cells, "MAX_CELLS", 1)
    with pytest.raises(InputError, match=r"^2 different cells, .*'feature' \(2\)\. Map fewer distinct values to it"):
        read([log], book)
    monkeypatch.setattr(cells, "MAX_CELLS", 5)
    assert read([log], book, options=Options(by=("user_id",))).usage.cells.height == 5


# --- groups ---------------------------------------------------------------------------------------------------------


def groups_of(rows: Sequence[Mapping[str, Any]], **options: Any) -> list[int]:
    """The group of each row."""
    return prepare(requests(*rows), Settings(**options))["group"].to_list()


def test_the_unit_of_a_group() -> None:
    rows = [
        {"user_id": "u", "session_id": f"s{i % 5}", "request_id": f"r{i}", "latency_ms": float(i)} for i in range(40)
    ]
    by_session = groups_of(rows, unit="session")
    assert len(set(groups_of(rows))) == len(set(groups_of(rows, unit="user"))) == 1
    assert by_session == by_session[:5] * 8
    assert 1 < len(set(by_session)) <= 5
    assert len(set(groups_of(rows, unit="request"))) > 20
    # auto: the user, else the session, else the request, else what the request is
    assert groups_of([{**r, "user_id": None} for r in rows]) == by_session
    assert groups_of([{"request_id": r["request_id"]} for r in rows]) == groups_of(rows, unit="request")
    assert len(set(groups_of([{"latency_ms": r["latency_ms"]} for r in rows]))) > 20
    # another salt, other groups
    assert groups_of(rows, unit="request", salt="other") != groups_of(rows, unit="request")
    assert all(0 <= g < GROUPS for g in groups_of(rows, unit="request"))


def test_a_group_does_not_depend_on_the_requests_beside_it() -> None:
    rows: list[dict[str, Any]] = [
        {},
        {"latency_ms": 5.0},
        {"latency_ms": 5.0, "prompt": "hello"},
        {"cost_usd": 0.1, "ts": None},
        {"model": None, "input_tokens": None},
        {"session_id": "s"},
        {"user_id": "u"},
        {"request_id": "r"},
    ]
    together = groups_of(rows)
    assert [groups_of([row])[0] for row in rows] == together
    # whether prompts are read at all depends on the labels of others
    assert together[1] == together[2]


def test_the_groups_are_the_cells() -> None:
    rows = [{"request_id": f"r{i}", "feature": f"f{i % 3}", "task": "code" if i % 2 else None} for i in range(50)]
    counted = usage(*rows)
    assert counted.groups["feature"].null_count() == counted.groups.height
    named = usage(*rows, group_features=True)
    assert set(named.groups["feature"]) == {"f0", "f1", "f2"}
    for each in (counted, named):
        assert each.groups["requests"].sum() == 50
        assert each.groups["input_tokens"].sum() == each.cells["input_tokens"].sum()


# --- histograms -----------------------------------------------------------------------------------------------------


def middle(bucket: int) -> float:
    return 0.0 if bucket == cells.ZERO_BUCKET else cells.BUCKET_BASE ** (bucket + 0.5)


@settings(deadline=None)
@given(st.floats(1e-6, 1e12))
def test_a_bucket_is_within_one_percent(value: float) -> None:
    found = middle(int(cells.buckets(np.array([value]))[0]))
    assert abs(found / value - 1) <= 0.01


@pytest.mark.parametrize("value", [1e-300, 5e-324, 1e300, math.inf])
def test_a_bucket_of_damage_does_not_overflow(value: float) -> None:
    bucket = int(cells.buckets(np.array([value]))[0])
    assert (bucket > 0) == (value > 1)
    assert bucket != cells.ZERO_BUCKET


def test_histograms() -> None:
    rows: list[dict[str, Any]] = [
        {"latency_ms": 0.0, "task": "code"},
        {"latency_ms": 500.0, "task": "code"},
        {"latency_ms": 501.0, "task": "code", "ttft_ms": 10.0},
        # Sunday belongs to the week before
        {"latency_ms": 500.0, "task": "code", "ts": NOON - dt.timedelta(days=1)},
        {"latency_ms": 500.0, "ts": None, "arm": "treatment", "output_tokens": None},
        # the gateway's cache is not the model
        {"latency_ms": 1.0, "ttft_ms": 1.0, "gateway_cache_hit": True},
    ]
    seen = usage(*rows).histograms
    of = {
        (r["metric"], r["task"], r["arm"], r["week"], round(middle(r["bucket"]))): r["n"]
        for r in seen.filter(pl.col("metric").is_in(["latency_ms", "ttft_ms"])).to_dicts()
    }
    monday, before = dt.date(2026, 11, 2), dt.date(2026, 10, 26)
    around = round(middle(int(cells.buckets(np.array([500.0]))[0])))
    assert of == {
        ("latency_ms", "code", None, monday, 0): 1,
        ("latency_ms", "code", None, monday, around): 2,
        ("latency_ms", "code", None, before, around): 1,
        ("latency_ms", None, "treatment", None, around): 1,
        ("ttft_ms", "code", None, monday, round(middle(int(cells.buckets(np.array([10.0]))[0])))): 1,
    }
    sums = dict(seen.group_by("metric").agg(pl.col("n").sum()).iter_rows())
    # an unknown output is not an output of 0
    assert sums == {"latency_ms": 5, "ttft_ms": 1, "input_tokens": 6, "output_tokens": 5}


# --- merge ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "left", "right", "name"),
    [
        ("edges", (200,), (300,), "edges"),
        ("slots", (0,), (0, 30), "slots"),
        ("by", ("user_id",), (), "by"),
        ("unit", "auto", "request", "unit"),
        ("salt", "a", "b", "salt"),
        ("rules", {"k": "pattern x"}, {}, "rules"),
        ("group_features", True, False, "group features"),
    ],
)
def test_usage_that_was_counted_differently_does_not_merge(option: str, left: Any, right: Any, name: str) -> None:
    with pytest.raises(
        InputError, match=f"^usage tallied with different {name} cannot be merged: .*Tally the logs again"
    ):
        merge([usage({}, **{option: left}), usage({}, **{option: right})])


def test_merge_adds_counts_and_sources_in_any_order() -> None:
    def part(n: int, rules: str | None) -> Usage:
        return replace(
            usage({"latency_ms": float(n)}, task_rules=rules),
            counts={"lines": n, f"only {n}": 1},
            sources=({"name": "log.jsonl", "lines": n},),
        )

    parts = [part(1, "one"), part(2, None), part(3, "two"), part(4, "one")]
    whole = merge(parts)
    assert whole.counts == {"lines": 10, "only 1": 1, "only 2": 1, "only 3": 1, "only 4": 1}
    # the same name more than once: two folders may hold a log.jsonl each
    assert [s["lines"] for s in whole.sources] == [1, 2, 3, 4]
    assert whole.settings.task_rules == "one + two"
    assert merge(parts[::-1]).sources == whole.sources
    assert merge([merge(parts[2:]), merge(parts[:2])]).settings == whole.settings


def test_subtract_leaves_what_the_rest_would_be() -> None:
    rows = [{"request_id": f"r{i}", "feature": f"f{i % 3}", "latency_ms": 100.0 * (i % 2)} for i in range(10)]
    whole, part, rest = usage(*rows), usage(*rows[:4]), usage(*rows[4:])
    left = subtract(whole, part)
    for name in ("cells", "groups", "histograms"):
        assert getattr(left, name).equals(getattr(merge([rest]), name)), name


# --- duplicates and sessions ------------------------------------------------------------------------------------------


def test_duplicates_are_resolved_by_what_they_say(tmp_path: Path, book: Book) -> None:
    # the earliest of the same id stays, wherever it stands; the others are counted
    first = line(request_id="a", ts="2026-11-02T10:00:00Z", input_tokens=1)
    copies = [
        line(request_id="a", ts="2026-11-02T11:00:00Z", input_tokens=2),
        line(request_id="a", ts="2026-11-02T11:00:00Z", input_tokens=3),
        line(request_id="a", ts=None, input_tokens=4),
    ]
    others = [line(request_id="b", input_tokens=10), line(request_id=None, input_tokens=20)]
    same = [line(request_id="c", input_tokens=5, session_id=s) for s in ("x", "y", "x")]
    rows = [first, *copies, *others, *same]
    seen = set()
    for n, order in enumerate((rows, rows[::-1], rows[4:] + rows[:4], copies + same + [first] + others)):
        half = len(order) // 2
        files = [
            write(tmp_path / f"{n}.{part}.jsonl", part_rows)
            for part, part_rows in enumerate((order[:half], order[half:]))
        ]
        intake = read(files, book)
        assert intake.counts["duplicates"] == 5
        assert intake.usage.requests == 4
        seen.add(int(intake.usage.cells["input_tokens"].sum()))
    assert seen == {1 + 10 + 20 + 5}


def conversation(*turns: tuple[int, str, str], session: str = "s") -> list[dict[str, Any]]:
    """(minute, id, task) of requests with 100 cached tokens each."""
    return [
        line(ts=f"2026-11-02T12:{m:02}:00Z", request_id=i, task=t, session_id=session, cache_read_tokens=100)
        for m, i, t in turns
    ]


def carried(intake_usage: Usage) -> set[tuple[Any, ...]]:
    return set(intake_usage.carry.select("task", "first", "previous_task", "requests", "cache_read_tokens").rows())


def test_what_came_before_in_a_session(tmp_path: Path, book: Book) -> None:
    rows = [
        *conversation((0, "a", "simple"), (1, "b", "code"), (2, "c", "code"), (3, "d", "simple")),
        *conversation((0, "e", "simple"), (1, "f", "code"), session="t"),
        # without a time nobody knows what came before; without a session neither
        {**conversation((0, "g", "code"))[0], "ts": None},
        {**conversation((0, "h", "code"))[0], "session_id": None},
        # a copy of the first turn, said to be later: it is not a turn
        *conversation((9, "a", "simple")),
    ]
    expected = {
        ("simple", True, None, 2, 200),
        ("code", False, "simple", 2, 200),
        ("code", False, "code", 1, 100),
        ("simple", False, "code", 1, 100),
    }
    for n, order in enumerate((rows, rows[::-1], rows[3:] + rows[:3])):
        assert carried(read([write(tmp_path / f"{n}.jsonl", order)], book).usage) == expected


def test_requests_of_a_session_at_the_same_moment(tmp_path: Path, book: Book) -> None:
    rows = conversation((0, "a", "simple"), (0, "b", "code"), (0, "c", "complex"))
    seen = {
        frozenset(carried(read([write(tmp_path / f"{n}.jsonl", order)], book).usage))
        for n, order in enumerate((rows, rows[::-1], rows[1:] + rows[:1]))
    }
    assert len(seen) == 1
    assert len(next(iter(seen))) == 3


def test_sessions_that_were_spilled(tmp_path: Path, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        turn
        for s in range(40)
        for turn in conversation(*((m, f"{s}.{m}", ("simple", "code")[(s + m) % 2]) for m in range(5)), session=f"s{s}")
    ]
    log = write(tmp_path / "log.jsonl", [*rows, rows[7], rows[90]])
    in_memory = read([log], book)
    monkeypatch.setattr(sessions, "_BUFFER_ROWS", 10)
    monkeypatch.setattr("routecost.logs.records.CHUNK_BYTES", 2000)
    spilled = read([log], book)
    assert in_memory.counts["duplicates"] == spilled.counts["duplicates"] == 2
    assert carried(spilled.usage) == carried(in_memory.usage)
    assert spilled.usage.cells.equals(in_memory.usage.cells)


@pytest.mark.parametrize("where", [(0, 0, 0), (1, 2, 3), (20_000, 5, 8_000_000), (900_000, 900_000, 16_000_000)])
def test_places(where: tuple[int, int, int]) -> None:
    number = sessions.place(*where)
    assert number < 1 << 64
    assert sessions.unplace(number) == where


# --- the file -------------------------------------------------------------------------------------------------------


def test_write_and_read(tmp_path: Path) -> None:
    whole = merge(
        [
            replace(
                usage(
                    {"user_id": "u", "batch": True, "latency_ms": 3.0},
                    edges=(200, 1000),
                    slots=(0, 30),
                    by=("user_id",),
                    rules={"k": "pattern x"},
                    classifier="c 1",
                    task_rules="t",
                    group_features=True,
                    unit="user",
                ),
                counts={"lines": 1},
                sources=({"name": "a.jsonl", "lines": 1},),
            )
        ]
    )
    path = tmp_path / "usage.parquet"
    write_usage(whole, path, book_version="book")
    again = read_usage(path)
    assert is_usage_file(path)
    assert again.settings == whole.settings
    assert (again.counts, again.sources) == (whole.counts, whole.sources)
    for name in ("cells", "groups", "histograms", "carry"):
        assert getattr(again, name).equals(getattr(whole, name)), name
        assert getattr(again, name).schema == getattr(whole, name).schema
    first = path.read_bytes()
    write_usage(again, path, book_version="book")
    assert path.read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["usage.parquet"]


def test_what_is_not_a_usage_file(tmp_path: Path) -> None:
    parquet = tmp_path / "log.parquet"
    requests({}).write_parquet(parquet)
    text = tmp_path / "log.jsonl"
    text.write_text("{}")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and no more")
    for path in (parquet, text, broken, tmp_path / "missing.parquet"):
        assert not is_usage_file(path)
        with pytest.raises(
            InputError, match=r"no usage file that can be read\. Expected one that `routecost tally` wrote"
        ):
            read_usage(path)
    with pytest.raises(InputError, match="cannot write"):
        write_usage(usage({}), tmp_path / "no such folder" / "usage.parquet")


def test_a_usage_file_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "usage.parquet"
    monkeypatch.setattr("routecost.schema.SCHEMA_VERSION", 99)
    write_usage(usage({}), path)
    monkeypatch.undo()
    with pytest.raises(
        InputError, match=r"usage file of version 99, this program reads 2\. Tally the log again, or update"
    ):
        read_usage(path)


CANARY = "canary-7f3a"


def test_a_usage_file_holds_no_prompt_and_no_id(tmp_path: Path, book: Book) -> None:
    names = ("request_id", "session_id", "user_id", "prompt", "system", "project", "previous_prompt", "unknown_field")
    rows = [line(**{n: f"{CANARY} {n} {i}" for n in names}, cache_read_tokens=5, latency_ms=10) for i in range(20)]
    rows += rows[:2]
    folder = tmp_path / CANARY
    folder.mkdir()
    rejects = "not json " + CANARY
    (folder / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows) + rejects + "\n")
    table = Table("t", overrides=(Override("codestral", pattern="7f3a"), Override("codestral", user=("*u*",))))
    path = tmp_path / "usage.parquet"
    intake = read([str(folder)], book, tables=[table])
    write_usage(intake.usage, path)
    assert intake.usage.requests == 20
    # compressed bytes prove nothing, so all of the values and the metadata
    everything = json.dumps([pl.read_parquet(path).to_dicts(), pl.read_parquet_metadata(path)], default=str)
    assert "log.jsonl" in everything
    assert CANARY not in everything
    # a canary can be found this way
    write_usage(read([str(folder)], book, options=Options(by=("user_id",))).usage, path)
    assert CANARY in json.dumps(pl.read_parquet(path).to_dicts(), default=str)


@pytest.fixture
def tallied(tmp_path: Path, book: Book) -> str:
    rows = [line(ts=f"2026-11-0{d}T12:00:00Z", user_id="u", prompt="hello", request_id=f"{d}") for d in (1, 2, 3)]
    write_usage(read([write(tmp_path / "log.jsonl", rows)], book).usage, tmp_path / "usage.parquet")
    return str(tmp_path / "usage.parquet")


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (
            Table("t", overrides=(Override("codestral", pattern="legal"), Override("codestral", user=("u",)))),
            Options(),
            r"was tallied without the rules .*pattern legal.*: they read the request itself, which a usage file "
            r"does not keep\. Tally .*:  routecost tally LOG\.\.\. --table TABLE\.yaml -o usage\.parquet",
        ),
        (
            Table("t", overrides=(Override("codestral", min_input_tokens=5),)),
            Options(),
            r"was tallied without the rule min_input_tokens 5: they read the request itself",
        ),
        (
            None,
            Options(by=("feature", "user_id")),
            r"was tallied without the key 'user_id'\. It has day, .*routecost tally LOG\.\.\. --by user_id -o",
        ),
        (
            None,
            Options(unit="request"),
            r"was tallied with the unit 'auto', not 'request'\. Tally .*routecost tally LOG\.\.\. --unit request -o",
        ),
        (
            None,
            Options(since=dt.datetime(2026, 11, 2, 6, tzinfo=dt.UTC)),
            r"keeps days, so --since must be the beginning of one; saw 2026-11-02T06:00:00",
        ),
        (
            None,
            Options(until=dt.datetime(2026, 11, 2, 6, tzinfo=dt.UTC)),
            r"keeps days, so --until must be the beginning of one",
        ),
    ],
)
def test_what_a_usage_file_lacks(table: Table | None, options: Options, message: str, tallied: str, book: Book) -> None:
    with pytest.raises(InputError, match=message) as error:
        read([tallied], book, tables=[table] if table else [], options=options)
    assert str(error.value).startswith(tallied)


def test_what_a_usage_file_has(tallied: str, book: Book) -> None:
    by_cell = Table("t", overrides=(Override("codestral", feature=("x",), task=("code",)),))
    intake = read([tallied], book, tables=[by_cell], options=Options(by=("feature", "day", "week", "month")))
    assert intake.usage.requests == 3


@pytest.mark.parametrize(
    ("since", "until", "requests_inside"),
    [(None, None, 3), (2, None, 2), (None, 2, 1), (2, 3, 1), (1, 4, 3), (4, None, 0)],
)
def test_whole_days_of_a_usage_file(
    since: int | None, until: int | None, requests_inside: int, tallied: str, book: Book
) -> None:
    day = {n: dt.datetime(2026, 11, n, tzinfo=dt.UTC) for n in (1, 2, 3, 4)}
    options = Options(since=day[since] if since else None, until=day[until] if until else None)
    inside = read([tallied], book, options=options)
    assert inside.usage.requests == requests_inside
    assert inside.usage.requests + inside.counts.get("outside", 0) == inside.counts["lines"] == 3
    # a part of the groups would be a wrong interval: all or none
    assert inside.usage.groups.height == (inside.usage.groups.height if requests_inside == 3 else 0)


def test_edges_and_slots_that_a_usage_lacks(book: Book) -> None:
    bare = usage({}, edges=(), slots=(0,))
    # gpt-5.4 changes its price above 272,000 tokens, deepseek by the time of day
    with pytest.raises(
        InputError, match=r"without the context bands 272,000 that this price book needs\. .*routecost tally"
    ):
        require_prices(bare, book, [])
    small = replace(bare, cells=bare.cells.with_columns(model=pl.lit("gpt-5.4-mini")))
    require_prices(small, book, ["gpt-5.4-mini"])
    with pytest.raises(InputError, match=r"without the context bands .*272,000"):
        require_prices(small, book, ["gpt-5.4"])
    with pytest.raises(InputError, match=r"without the times of day [\d, ]+ that this price book needs"):
        require_prices(replace(small, settings=Settings(edges=book.edges)), book, ["deepseek-v4-flash"])
    require_prices(usage({}, edges=book.edges, slots=book.slots), book, ["deepseek-v4-flash", "gpt-5.4"])


def test_keys_are_all_there() -> None:
    assert usage({}).cells.columns == [*CELL_KEY, *CELL_VALUES]
    assert re.fullmatch(r"[a-z_]+", "".join(CELL_KEY))
