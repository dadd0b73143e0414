"""The calculator: what it takes for numbers, and the traffic that it makes up."""

from __future__ import annotations

import datetime as dt
import re

import polars as pl
import pytest

from routecost.errors import UsageError
from routecost.pipeline.calculator import parse_mix, parse_rate, parse_tokens, usage_of
from routecost.pipeline.commands import estimate, worked_example
from routecost.prices import Book, price, read_prices
from routecost.routing import Table

DAY = dt.date(2026, 11, 2)


@pytest.fixture(scope="module")
def book() -> Book:
    return read_prices()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50000/day", 50_000),
        ("50000", 50_000),
        (" 50,000 / day ", 50_000),
        ("50_000/d", 50_000),
        ("1,234,567.5", 1_234_567.5),
        ("1.5M/month", 50_000),
        ("3m/month", 100_000),
        ("2k/h", 48_000),
        ("3/s", 259_200),
        ("1/second", 86_400),
        ("10/min", 14_400),
        ("10/minute", 14_400),
        ("1/hour", 24),
        ("7000/week", 1_000),
        ("365000/year", 1_000),
        ("0.5/day", 0.5),
    ],
)
def test_parse_rate(text: str, expected: float) -> None:
    assert parse_rate(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--requests: saw '', expected a number and a time, such as 50000/day"),
        ("many", "--requests: saw 'many', expected a number and a time"),
        ("-5/day", "--requests: saw '-5/day', expected a number and a time"),
        ("50000/fortnight", "--requests: saw '50000/fortnight', expected a number and a time"),
        ("50000//day", "expected a number and a time"),
        ("5G/day", "expected a number and a time"),
        ("nan/day", "expected a number and a time"),
        ("0/day", "--requests: saw '0/day', expected more than 0"),
        ("1.2.3", "--requests: saw '1.2.3', expected a number."),
        ("1,5M/month", "--requests: saw '1,5', expected a number."),
        ("50,00", "--requests: saw '50,00', expected a number."),
        ("_", "--requests: saw '_', expected a number."),
        ("9999999999999999", "expected a number of at least 0"),
    ],
)
def test_parse_rate_refuses(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("simple=50,code=20,reasoning=20,complex=10", {"simple": 0.5, "code": 0.2, "reasoning": 0.2, "complex": 0.1}),
        ("simple=0.5, code=0.5", {"simple": 0.5, "code": 0.5}),
        ("simple=100%", {"simple": 1.0}),
        ("simple=1", {"simple": 1.0}),
        ("simple=33.3,code=33.3,complex=33.4", {"simple": 0.333, "code": 0.333, "complex": 0.334}),
        ("our own=60%, simple = 40%", {"our own": 0.6, "simple": 0.4}),
        ("simple=100,code=0", {"simple": 1.0, "code": 0.0}),
    ],
)
def test_parse_mix(text: str, expected: dict[str, float]) -> None:
    assert parse_mix(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--mix: saw '', expected task=percent pairs"),
        ("simple", "--mix: saw 'simple', expected task=percent pairs"),
        ("=50,code=50", "--mix: saw '=50', expected task=percent pairs"),
        ("simple=50,", "--mix: saw '', expected task=percent pairs"),
        ("simple=50,simple=50", "--mix: simple stands more than once"),
        ("simple=50,code=40", "--mix: the parts sum to 90, expected 100 (or 1)"),
        ("simple=0", "--mix: the parts sum to 0, expected 100"),
        ("simple=half,code=50", "--mix: saw 'half', expected a number"),
        ("simple=-50,code=150", "--mix: saw '-50', expected a number of at least 0"),
        ("simple=nan", "--mix: saw 'nan', expected a number of at least 0"),
        ("simple=inf", "--mix: saw 'inf', expected a number of at least 0"),
    ],
)
def test_parse_mix_refuses(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_mix(text)


MIX = {"simple": 0.5, "code": 0.5}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2000/500", {"simple": (2000, 500, 0), "code": (2000, 500, 0)}),
        # the cached tokens are inside the input
        ("2000/500/1500", {"simple": (500, 500, 1500), "code": (500, 500, 1500)}),
        ("2000/0/2000", {"simple": (0, 0, 2000), "code": (0, 0, 2000)}),
        (" 2,000 / 500 ", {"simple": (2000, 500, 0), "code": (2000, 500, 0)}),
        ("simple=800/200, code=3000/900/100", {"simple": (800, 200, 0), "code": (2900, 900, 100)}),
    ],
)
def test_parse_tokens(text: str, expected: dict[str, tuple[int, int, int]]) -> None:
    assert parse_tokens(text, MIX) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2000", "--tokens: saw '2000', expected INPUT/OUTPUT a request, such as 2000/500"),
        ("1/2/3/4", "--tokens: saw '1/2/3/4', expected INPUT/OUTPUT"),
        ("a/500", "--tokens: saw 'a', expected a number"),
        ("2000/", "--tokens: saw '', expected a number"),
        ("-1/500", "--tokens: saw '-1', expected a number of at least 0"),
        ("2000.5/500", "--tokens: saw '2000.5/500', expected whole numbers of tokens"),
        ("2000/500/2001", "--tokens: 2001 cached tokens inside an input of 2000"),
        ("simple=1/2,cod=1/2", "--tokens: 'cod' is not in the mix. Did you mean code? The mix has simple, code"),
        ("simple=1/2", "--tokens: nothing for code. Give every task of the mix"),
        ("simple=1/2,code=1/2,simple=3/4", "--tokens: simple stands more than once"),
    ],
)
def test_parse_tokens_refuses(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_tokens(text, MIX)


def test_usage_of(book: Book) -> None:
    intake = usage_of(1001, MIX, {"simple": (100, 10, 5), "code": (272_001, 1, 0)}, "gpt-5.4", book, day=DAY)
    sums = intake.usage.cells.group_by("task", "band").agg(
        pl.col("requests", "attempts", "input_tokens", "cache_read_tokens", "output_tokens").sum()
    )
    # whole requests; a total above the edge of 272,000 is in the band that begins there
    n = {r["task"]: r["requests"] for r in sums.to_dicts()}
    assert n in ({"simple": 500, "code": 500}, {"simple": 501, "code": 501}, {"simple": 500, "code": 501})
    assert sorted(sums.rows()) == sorted(
        [
            ("simple", 0, n["simple"], n["simple"], n["simple"] * 100, n["simple"] * 5, n["simple"] * 10),
            ("code", 272_000, n["code"], n["code"], n["code"] * 272_001, 0, n["code"]),
        ]
    )
    assert intake.usage.settings.edges == book.edges


def test_prices_by_the_time_of_day_are_spread_over_the_day(book: Book) -> None:
    ref = book.resolve(None, "deepseek-v4-flash")
    assert ref is not None
    assert len(book.model(ref).slots) > 1
    cells = usage_of(1440, {"simple": 1.0}, {"simple": (1000, 100, 0)}, "deepseek-v4-flash", book, day=DAY).usage.cells
    # one request a minute
    assert cells.sort("slot")["requests"].to_list() == [
        end - start for start, end in zip(book.slots, [*book.slots[1:], 1440], strict=True)
    ]
    each = [
        price(cells.filter(pl.col("slot") == slot), book)["cost_usd"][0] / n
        for slot, n in cells.select("slot", "requests").iter_rows()
    ]
    assert min(each) < max(each)
    assert price(cells, book)["cost_usd"].null_count() == 0


def test_the_worked_example() -> None:
    saving = worked_example().saving
    assert [saving.today_usd, saving.routed_usd] == pytest.approx([625.00, 356.25])
    assert saving.saving_usd == pytest.approx(268.75)
    assert saving.share.estimate == pytest.approx(0.43)
    rows = [(r["task"], r["today_usd"], r["routed_usd"], r["saving_usd"]) for r in saving.by_task.to_dicts()]
    assert rows == [
        ("simple", pytest.approx(312.5), pytest.approx(93.75), pytest.approx(218.75)),
        ("code", pytest.approx(125), pytest.approx(75), pytest.approx(50)),
        ("reasoning", pytest.approx(125), pytest.approx(125), pytest.approx(0)),
        ("complex", pytest.approx(62.5), pytest.approx(62.5), pytest.approx(0)),
    ]
    # made-up traffic has no groups, so nothing is said of its uncertainty
    assert (saving.interval.low, saving.interval.high) == (None, None)


def test_estimate() -> None:
    table = Table("t", routes={"simple": {"balanced": "gpt-5.4-mini"}})
    result = estimate("1000/day", "simple=100", "2000/500", "gpt-5.4", table=table, as_of=DAY)
    assert [result.saving.today_usd, result.saving.routed_usd] == pytest.approx([12.50, 3.75])
    assert (result.period.first, result.scale.factor) == (DAY, 1.0)
