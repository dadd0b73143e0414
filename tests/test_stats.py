"""Intervals: the jackknife against bootstraps and brute force, its coverage, and what it does at the edges."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from routecost import savings, stats
from routecost.pipeline.analysis import intervals
from routecost.prices import Book, read_prices
from routecost.routing import Table
from routecost.schema import GROUPS, REQUEST
from routecost.usage import Settings, prepare, tally

Floats = NDArray[np.float64]

DAY = dt.date(2026, 11, 2)
TABLE = Table("cheap", routes={"simple": {"balanced": "gpt-5.4-mini"}})


@pytest.fixture(scope="module")
def book() -> Book:
    return read_prices()


# --- the closed form ------------------------------------------------------------------------------------------------


def test_jackknife_by_hand() -> None:
    # sum 6 of 2: 3 a request. Without one group the other is left: 4 and 2, mean 3.
    # variance = (2 - 1) / 2 * (1 + 1) = 1; t with 1 degree of freedom is 12.706
    interval = stats.jackknife_ratio([2.0, 4.0], [1, 1])
    assert (interval.estimate, interval.standard_error, interval.groups) == (3.0, 1.0, 2)
    assert interval.low == pytest.approx(3 - 12.7062, abs=1e-4)
    assert interval.high == pytest.approx(3 + 12.7062, abs=1e-4)


def test_jackknife_of_a_ratio_by_hand() -> None:
    # 10 / 5 = 2. Without each: 8 / 4 = 2, 7 / 3, 5 / 3; mean 2, squares 0 + 1/9 + 1/9; times 2 / 3
    interval = stats.jackknife_ratio([2.0, 3.0, 5.0], [1, 2, 2])
    assert interval.estimate == 2.0
    assert interval.standard_error == pytest.approx(math.sqrt(2 / 3 * 2 / 9))


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=64))
def test_jackknife_of_a_mean_is_its_standard_error(values: list[float]) -> None:
    interval = stats.jackknife_ratio(values, np.ones(len(values)))
    expected = np.std(values, ddof=1) / math.sqrt(len(values))
    # a group of 0 / 1 counts, too: it has a denominator
    assert interval.groups == len(values)
    assert interval.standard_error == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_t_quantile_is_that_of_scipy() -> None:
    from scipy.special import stdtrit

    for df in range(1, GROUPS):
        assert stats.t_quantile(df) == pytest.approx(float(stdtrit(df, 0.975)), abs=1e-8)


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [
        # nothing at all, and groups without anything in them
        ([], [], (0.0, None, None, 0)),
        ([0.0, 0.0], [0, 0], (0.0, None, None, 0)),
        # one group: an estimate without an interval
        ([5.0], [2], (2.5, None, None, 1)),
        ([5.0, 0.0, 0.0], [2, 0, 0], (2.5, None, None, 1)),
        # all the same: no uncertainty to see
        ([3.0, 3.0, 3.0], [2, 2, 2], (1.5, 1.5, 1.5, 3)),
        ([0.0, 0.0], [2, 3], (0.0, 0.0, 0.0, 2)),
    ],
)
def test_jackknife_at_the_edges(numerator: list[float], denominator: list[int], expected: tuple[Any, ...]) -> None:
    interval = stats.jackknife_ratio(numerator, denominator)
    assert (interval.estimate, interval.low, interval.high, interval.groups) == expected
    split = stats.split_interval(numerator, denominator, 1.0, 0.5)
    assert split.estimate == expected[0] / 2
    assert (split.low is None) == (expected[1] is None)


def test_a_group_with_a_saving_but_no_cost_stays_in_the_estimate() -> None:
    # the share of a saving: a group that cost nothing today (all answered by a cache) and costs 1 when routed
    interval = stats.jackknife_ratio([4.0, 5.0, -1.0], [10.0, 10.0, 0.0])
    assert interval.estimate == 8 / 20
    assert interval.groups == 3
    # nothing to leave out where one group has all of the denominator
    alone = stats.jackknife_ratio([4.0, -1.0], [10.0, 0.0])
    assert (alone.estimate, alone.low, alone.high) == (0.3, None, None)


def test_scaled_and_as_dict() -> None:
    interval = stats.jackknife_ratio([2.0, 4.0], [1, 1]).scaled(10)
    assert (interval.estimate, interval.standard_error, interval.groups) == (30.0, 10.0, 2)
    assert stats.Interval(1.0, None, None).scaled(2) == stats.Interval(2.0, None, None)
    assert stats.Interval(1.0, 0.5, 1.5, 0.2, 7).as_dict() == {"estimate": 1.0, "low": 0.5, "high": 1.5, "groups": 7}


@pytest.mark.parametrize(
    ("middles", "counts", "share", "expected"),
    [
        ([], [], 0.5, None),
        ([1.0, 2.0], [0, 0], 0.5, None),
        ([7.0], [1], 0.99, 7.0),
        # at n and n + 1: half of 4 is reached by the second
        ([1.0, 2.0, 3.0, 4.0], [1, 1, 1, 1], 0.5, 2.0),
        ([1.0, 2.0, 3.0, 4.0], [1, 1, 1, 1], 0.51, 3.0),
        ([4.0, 1.0, 3.0, 2.0], [1, 1, 1, 1], 1.0, 4.0),
        ([2.0, 1.0], [1, 99], 0.99, 1.0),
        ([2.0, 1.0], [2, 98], 0.99, 2.0),
    ],
)
def test_percentile(middles: list[float], counts: list[float], share: float, expected: float | None) -> None:
    assert stats.percentile(np.array(middles), np.array(counts, dtype=float), share) == expected


# --- against bootstraps, on the real way from requests to a saving ---------------------------------------------------


def traffic(rng: np.random.Generator, sessions: int, each: int, correlation: float) -> pl.DataFrame:
    """Requests whose tokens have this intra-session correlation; half of the sessions' requests are simple."""
    n = sessions * each
    session = np.repeat(np.arange(sessions), each)
    common, own = rng.standard_normal(sessions)[session], rng.standard_normal(n)
    size = np.clip(1 + 0.25 * (math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own), 0.05, None)
    return pl.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(n)],
            "session_id": [f"s{i}" for i in session],
            "ts": [dt.datetime(2026, 11, 2, 12, tzinfo=dt.UTC)] * n,
            "model": ["gpt-5.4"] * n,
            "task": ["simple"] * n,
            "input_tokens": np.rint(2000 * size).astype(np.int64),
            "output_tokens": np.rint(500 * size).astype(np.int64),
        },
        schema_overrides={"ts": REQUEST["ts"]},
    ).select(
        pl.col(c) if c in ("request_id", "session_id", "ts", "model", "task", "input_tokens", "output_tokens")
        else pl.lit(None, t).alias(c)
        for c, t in REQUEST.items()
    )  # fmt: skip


def interval_of(requests: pl.DataFrame, book: Book, settings: Settings) -> stats.Interval:
    """The interval of the saving of TABLE, as `analyze` works it out."""
    usage = tally(prepare(requests, settings), settings)
    sent = savings.routed(savings.today(usage.cells, book, as_of=DAY), TABLE, book, as_of=DAY)
    groups = savings.by_group(sent, usage.groups, pooled_features=True)
    today_usd, routed_usd = float(sent["today_usd"].sum()), float(sent["routed_usd"].sum())
    return intervals(groups, requests.height, today_usd, routed_usd)[0]


def savings_of_rows(requests: pl.DataFrame, book: Book) -> Floats:
    rows = prepare(requests, Settings())
    sent = savings.routed(savings.today(rows, book, as_of=DAY), TABLE, book, as_of=DAY)
    return (sent["today_usd"] - sent["routed_usd"]).to_numpy()


def bootstrap(values: Floats, rng: np.random.Generator, draws: int = 600) -> float:
    """The standard error of the sum of independent values."""
    n = len(values)
    return float(np.std([values[rng.integers(0, n, n)].sum() for _ in range(draws)]))


def mean_error(requests: pl.DataFrame, book: Book, unit: Any, salts: int = 8) -> float:
    """The jackknife's standard error, root mean square over some ways to hash units into groups: one way alone is
    off by 1 / sqrt(2 * 63) = 9 %, eight by 3 %."""
    errors = [interval_of(requests, book, Settings(unit=unit, salt=f"salt {i}")).standard_error for i in range(salts)]
    return math.sqrt(sum(e**2 for e in errors if e is not None) / salts)


def test_the_standard_error_is_that_of_a_bootstrap_over_rows(book: Book) -> None:
    rng = np.random.default_rng(1)
    requests = traffic(rng, sessions=3000, each=1, correlation=0.0)
    expected = bootstrap(savings_of_rows(requests, book), rng)
    assert mean_error(requests, book, "request") == pytest.approx(expected, rel=0.12)


def test_the_standard_error_is_that_of_a_bootstrap_over_sessions(book: Book) -> None:
    rng = np.random.default_rng(2)
    requests = traffic(rng, sessions=300, each=30, correlation=0.3)
    each = savings_of_rows(requests, book)
    by_session = each.reshape(300, 30).sum(axis=1)
    clustered, independent = bootstrap(by_session, rng), bootstrap(each, rng)
    # 1 + 29 * 0.3 = 9.7 times the variance: what an interval over rows would not see
    assert clustered / independent == pytest.approx(math.sqrt(9.7), rel=0.12)
    assert mean_error(requests, book, "session") == pytest.approx(clustered, rel=0.12)
    assert mean_error(requests, book, "auto") == pytest.approx(clustered, rel=0.12)
    assert mean_error(requests, book, "request") == pytest.approx(independent, rel=0.12)


def test_two_tasks_and_a_fixed_number_of_requests(book: Book) -> None:
    # all requests cost the same, half of them move: what varies is the share of each group that is simple
    n = 4000
    rng = np.random.default_rng(3)
    simple = rng.random(n) < 0.5
    requests = traffic(rng, sessions=n, each=1, correlation=0.0).with_columns(
        pl.Series("task", np.where(simple, "simple", "complex")),
        input_tokens=pl.lit(2000, pl.Int64),
        output_tokens=pl.lit(500, pl.Int64),
    )
    # gpt-5.4 costs 2,000 * 2.50 + 500 * 15 = $12.5 a thousand, gpt-5.4-mini 2,000 * 0.75 + 500 * 4.50 = $3.75
    each = 0.0125 - 0.00375
    assert interval_of(requests, book, Settings()).estimate == pytest.approx(each * simple.sum())
    assert mean_error(requests, book, "request") == pytest.approx(each * math.sqrt(n * 0.25), rel=0.12)


# --- coverage -------------------------------------------------------------------------------------------------------


def grouped(values: Floats, unit: NDArray[np.int64], rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Sums and counts of 64 groups, the units spread over them at random."""
    group = rng.integers(0, GROUPS, int(unit.max()) + 1)[unit]
    top, bottom = (np.bincount(group, each, GROUPS) for each in (values, np.ones(len(unit))))
    return np.asarray(top, np.float64), np.asarray(bottom, np.float64)


def coverage(rng: np.random.Generator, trials: int, units: int, each: int, correlation: float, *, rows: bool) -> float:
    """How often the interval of a mean saving (true: 1) covers it. rows: groups of single requests."""
    unit = np.repeat(np.arange(units), each)
    hits = 0
    for _ in range(trials):
        common, own = rng.standard_normal(units)[unit], rng.standard_normal(len(unit))
        # skewed, as costs are: a log-normal of mean 1
        size = np.exp(0.8 * (math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own) - 0.32)
        top, bottom = grouped(size, np.arange(len(unit)) if rows else unit, rng)
        interval = stats.jackknife_ratio(top, bottom)
        assert interval.low is not None
        assert interval.high is not None
        hits += interval.low <= 1 <= interval.high
    return hits / trials


@pytest.mark.parametrize(
    ("units", "each", "correlation"), [(2000, 1, 0.0), (400, 30, 0.3), (100, 10, 0.5)], ids=["rows", "sessions", "few"]
)
def test_coverage(units: int, each: int, correlation: float) -> None:
    # 400 trials at 95 % have a standard error of 1.1 %; skew costs a percent or two where units are few
    assert 0.91 <= coverage(np.random.default_rng(4), 400, units, each, correlation, rows=False) <= 0.985


@pytest.mark.slow
@pytest.mark.parametrize(("units", "each", "correlation"), [(2000, 1, 0.0), (1000, 30, 0.3)])
def test_coverage_at_length(units: int, each: int, correlation: float) -> None:
    # 4,000 trials: a standard error of 0.35 %
    assert 0.935 <= coverage(np.random.default_rng(5), 4000, units, each, correlation, rows=False) <= 0.962


def test_intervals_over_rows_would_be_wrong_on_sessions() -> None:
    # that these tests can fail: groups of requests on clustered traffic cover far too rarely
    assert coverage(np.random.default_rng(6), 200, 400, 30, 0.3, rows=True) < 0.75


# --- a random share of the traffic ----------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("each", [1, 20], ids=["request", "user"])
def test_the_split_against_random_splits(share: float, each: int) -> None:
    """A share of the units drawn at random, many times, from traffic that is drawn anew each time."""
    rng = np.random.default_rng(7)
    users = 1500 if each == 1 else 300
    unit = np.repeat(np.arange(users), each)
    totals, errors = [], []
    for trial in range(1500):
        common = rng.standard_normal(users)[unit]
        size = np.exp(0.6 * (math.sqrt(0.3) * common + math.sqrt(0.7) * rng.standard_normal(len(unit))))
        by_user = np.bincount(unit, size)
        totals.append(by_user[rng.random(users) < share].sum())
        if trial % 15 == 0:
            top, bottom = grouped(size, unit, rng)
            interval = stats.split_interval(top, bottom, len(unit), share)
            assert interval.standard_error is not None
            assert interval.estimate == pytest.approx(share * size.sum())
            errors.append(interval.standard_error)
    # 1,500 totals know their spread to 2 %, the mean over 100 intervals to 1 %
    assert math.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(totals), rel=0.08)


def test_the_whole_traffic_has_no_split() -> None:
    top, bottom = [2.0, 3.0, 5.0], [1.0, 2.0, 2.0]
    whole = stats.jackknife_ratio(top, bottom, 5)
    split = stats.split_interval(top, bottom, 5, 1.0)
    assert (split.estimate, split.groups) == (whole.estimate, whole.groups)
    assert split.standard_error == pytest.approx(whole.standard_error)


def test_the_split_of_equal_savings_is_its_own_uncertainty() -> None:
    # 6,400 requests that save 1 each: no sampling error at all, but a tenth is 640 +- sqrt(6400 * 0.1 * 0.9) = 24
    # requests. The groups see that through how many requests they got: Poisson, so about 24 too.
    rng = np.random.default_rng(8)
    top, bottom = grouped(np.ones(6400), np.arange(6400), rng)
    interval = stats.split_interval(top, bottom, 6400, 0.1)
    assert interval.estimate == pytest.approx(640)
    assert interval.standard_error == pytest.approx(24, rel=0.25)


def test_a_negative_scale_turns_the_interval_round() -> None:
    turned = stats.Interval(-2.0, -3.0, -1.0, 0.5, 9).scaled(-2.0)
    assert turned == stats.Interval(4.0, 2.0, 6.0, 1.0, 9)
