"""Bounds of graded answers: against statsmodels' and exact arithmetic, and their error rates by enumeration."""

from __future__ import annotations

from math import comb, lgamma, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routecost.stats import Grades, Pairs, difference_bounds, more_answers, paired_bounds, score_bounds


def binomial(n: int, p: float) -> np.ndarray:
    return np.array([comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])


def test_the_score_bound_is_wilsons() -> None:
    """scipy gives the same interval; one-sided 95 % is the end of a two-sided 90 %."""
    from scipy.stats import binomtest

    for k, n in ((0, 10), (9, 10), (270, 300), (300, 300)):
        expected = binomtest(k, n).proportion_ci(0.90, method="wilson")
        low, high = score_bounds([Grades(n, k / n)], 0.05)[:, 0]
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(
    ("a", "n", "b", "m", "expected"),
    [
        (56, 70, 48, 80, 0.0528),
        (9, 10, 3, 10, 0.1705),
        (5, 56, 0, 29, -0.0326),
    ],
)
def test_the_difference_of_two_shares(a: int, n: int, b: int, m: int, expected: float) -> None:
    """The examples of Newcombe, Stat. Med. 1998, table II, method 6 (Miettinen and Nurminen)."""
    low = difference_bounds([Grades(n, a / n)], [Grades(m, b / m)], 0.025)[0]
    assert low == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(("margin", "p"), [(0.10, 0.9), (0.10, 0.7), (0.03, 0.9), (0.03, 0.95)])
@pytest.mark.parametrize("n", [10, 20, 40, 60])
def test_a_model_that_is_worse_by_the_margin_passes_as_rarely_as_is_said(n: int, margin: float, p: float) -> None:
    """Exactly, over all outcomes: three candidates, each at a third of 5 %, pass together in at most 5 %."""
    outcomes = [(i, j) for i in range(n + 1) for j in range(n + 1)]
    lows = difference_bounds(
        [Grades(n, i / n) for i, _ in outcomes], [Grades(n, j / n) for _, j in outcomes], 0.05 / 3
    ).reshape(n + 1, n + 1)
    chance = (np.outer(binomial(n, p - margin), binomial(n, p)) * (lows > -margin)).sum()
    assert 3 * chance <= 0.056


@pytest.mark.parametrize("margin", [0.10, 0.03])
@pytest.mark.parametrize("n", [20, 60])
def test_pairs_that_are_worse_by_the_margin_pass_as_rarely_as_is_said(n: int, margin: float) -> None:
    states = [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]
    lows = paired_bounds([Pairs(n, (b - c) / n, float(b + c)) for b, c in states], 0.05 / 3)
    for better in (0.0, 0.02, 0.05):
        worse = better + margin
        chance = 0.0
        for (b, c), low in zip(states, lows.tolist(), strict=True):
            if low > -margin and (better or not b):
                ways = lgamma(n + 1) - lgamma(b + 1) - lgamma(c + 1) - lgamma(n - b - c + 1)
                odds = (b * log(better) if b else 0) + c * log(worse) + (n - b - c) * log(1 - better - worse)
                chance += float(np.exp(ways + odds))
        assert 3 * chance <= 0.056


grades = st.builds(lambda n, k: Grades(n, min(k, n) / n), st.integers(1, 500), st.integers(0, 500))


@given(grades, grades, st.floats(0.001, 0.2))
def test_a_bound_is_below_the_difference_and_falls_with_alpha(a: Grades, b: Grades, alpha: float) -> None:
    low = difference_bounds([a], [b], alpha)[0]
    assert -1 <= low <= a.score - b.score + 1e-9
    assert difference_bounds([a], [b], alpha / 2)[0] <= low + 1e-9


@given(st.integers(2, 300), st.floats(0, 1), st.floats(0, 1))
def test_pairs_bound_the_same_way_round_twice(n: int, part: float, up: float) -> None:
    apart = round(n * part)
    better = round(apart * up)
    pairs = Pairs(n, (2 * better - apart) / n, float(apart))
    low = paired_bounds([pairs], 0.05)[0]
    assert -1 <= low <= pairs.difference + 1e-9


def test_grades_that_vary_less_are_worth_more_but_never_without_having_been_seen() -> None:
    binary = Grades(200, 0.9, squares=180.0)
    assert binary.answers == pytest.approx(200, rel=0.01)
    even = Grades(200, 0.9, squares=200 * 0.81 + 199 * 0.01)
    assert 400 < even.answers < 600
    assert Grades(30, 1.0, squares=30.0).answers == 30
    assert Grades(30, 0.9, squares=30 * 0.81).answers < 40


def test_the_answers_that_are_said_to_be_needed_decide() -> None:
    """With as many as are asked for, at the same scores, the bound is above the margin."""
    for a, b, margin in ((0.88, 0.9, 0.1), (0.9, 0.9, 0.03), (0.75, 0.8, 0.1)):
        more = more_answers(Grades(100, a), Grades(100, b), margin, 0.05 / 3)
        assert more is not None
        n = 100 + more
        assert difference_bounds([Grades(n, a)], [Grades(n, b)], 0.05 / 3)[0] > -margin
    assert more_answers(Grades(100, 0.7), Grades(100, 0.9), 0.1, 0.05) is None
    pairs = Pairs(100, -0.01, 5.0)
    more = more_answers(None, None, 0.03, 0.05, pairs)
    assert more is not None
    n = 100 + more
    assert paired_bounds([Pairs(n, -0.01, 0.05 * n)], 0.05)[0] > -0.03
