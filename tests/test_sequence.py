"""Intervals for many looks: the boundary against its formulas, arms against scipy and statsmodels, and how often both
are right."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import integrate, optimize, special
from scipy import stats as scipy_stats

from routecost.stats.sequence import (
    Effect,
    Moments,
    always_below,
    always_bounds,
    difference,
    errors_allowed,
    errors_allowed_early,
    fixed_bounds,
    log_ratio,
    moments,
    progress_to,
    times_the_size,
    tuned,
)

Floats = NDArray[np.float64]

ALPHAS = [0.2, 0.05, 0.05 / 12, 1e-4]
DAYS = 30

sums = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40)), min_size=2, max_size=30)


def _known(effect: Effect | None) -> Effect:
    assert effect is not None
    return effect


# --- the boundary ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_tuning_is_the_papers_and_a_minimum(alpha: float) -> None:
    # Waudby-Smith et al., appendix B: rho^2 t = -W_-1(-alpha^2 / e) - 1
    exact = -float(special.lambertw(-(alpha**2) / math.e, -1).real) - 1
    assert tuned(alpha) == pytest.approx(exact, rel=1e-9)
    least = optimize.minimize_scalar(lambda p: errors_allowed(p, alpha), bounds=(0.1, 10), method="bounded")
    assert least.x == pytest.approx(1, abs=1e-3)
    if alpha < 0.2:  # as near as the paper's choice for one side comes
        least = optimize.minimize_scalar(lambda p: errors_allowed(p, alpha, 1), bounds=(0.1, 10), method="bounded")
        assert errors_allowed(1, alpha, 1) == pytest.approx(least.fun, rel=2e-2)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("t", [1, 30, 1000, 50_000])
def test_the_boundary_is_the_papers(t: int, alpha: float) -> None:
    planned = 1000
    rho2 = tuned(alpha) / planned
    two = math.sqrt(2 * (t * rho2 + 1) / (t * t * rho2) * math.log(math.sqrt(t * rho2 + 1) / alpha))
    assert errors_allowed(t / planned, alpha) / math.sqrt(t) == pytest.approx(two)
    rho2 = tuned(alpha, 1) / planned
    one = math.sqrt(2 * (t * rho2 + 1) / (t * t * rho2) * math.log(1 + math.sqrt(t * rho2 + 1) / (2 * alpha)))
    assert errors_allowed(t / planned, alpha, 1) / math.sqrt(t) == pytest.approx(one)


@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.01])
@pytest.mark.parametrize("progress", [0.05, 1.0, 20.0])
def test_the_mixture_has_grown_to_one_over_alpha_at_the_boundary(progress: float, alpha: float) -> None:
    # so that Ville's inequality holds: a mixture of likelihood ratios with mean 1 is ever this large with alpha
    def mixed(sides: int, low: float) -> float:
        spread = math.sqrt(tuned(alpha, 1 if sides == 1 else 2))
        place = errors_allowed(progress, alpha, 1 if sides == 1 else 2) * math.sqrt(progress)

        def of(drift: float) -> float:
            density = math.exp(-((drift / spread) ** 2) / 2) / (spread * math.sqrt(2 * math.pi)) * (2 / sides)
            return density * math.exp(drift * place - drift * drift * progress / 2)

        return float(integrate.quad(of, low, 12 * spread, limit=500)[0])

    assert mixed(2, -12 * math.sqrt(tuned(alpha))) == pytest.approx(1 / alpha, rel=1e-6)
    # on one side the paper's closed form is a little wide
    assert 1 / alpha <= mixed(1, 0.0) <= 2 / alpha


def test_five_percent() -> None:
    assert errors_allowed(1, 0.05) == pytest.approx(3.035, abs=1e-3)
    assert 1.6449 < errors_allowed(1, 0.05, 1) < errors_allowed(1, 0.05)
    assert errors_allowed_early(1, 0.05) == pytest.approx(3.10, abs=5e-3)
    assert times_the_size(0.05, 0.8) == pytest.approx(1.980, abs=1e-3)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize("progress", [0.003, 0.05, 1.0, 20.0])
def test_two_mixtures_together_have_grown_to_one_over_alpha_too(progress: float, alpha: float) -> None:
    place = errors_allowed_early(progress, alpha) * math.sqrt(progress)

    def grown(spread: float) -> float:
        def of(drift: float) -> float:
            return math.exp(drift * place - drift * drift * progress / 2 - (drift / spread) ** 2 / 2)

        # the integrand is normal around this drift
        width = 1 / math.sqrt(progress + 1 / spread**2)
        middle = place * width**2
        whole = integrate.quad(of, middle - 12 * width, middle + 12 * width, limit=500)[0]
        return float(whole) / (spread * math.sqrt(2 * math.pi))

    spread = math.sqrt(tuned(alpha))
    assert 0.8 * grown(spread) + 0.2 * grown(10 * spread) == pytest.approx(1 / alpha, rel=1e-6)
    # long before the plan it is the tighter one, and at the plan not much wider
    assert (errors_allowed_early(progress, alpha) < errors_allowed(progress, alpha)) == (progress < 0.1)
    assert errors_allowed_early(progress, alpha) < 1.04 * errors_allowed(progress, alpha)


@settings(deadline=None)
@given(st.floats(1e-3, 1e3), st.floats(1e-6, 0.3), st.floats(3, 1e4))
def test_more_looks_more_certainty_or_fewer_units_are_wider(progress: float, alpha: float, df: float) -> None:
    z = errors_allowed(progress, alpha)
    assert z > scipy_stats.norm.isf(alpha / 2)
    assert z > errors_allowed(1, alpha) - 1e-9
    assert errors_allowed_early(progress, alpha / 2) > errors_allowed_early(progress, alpha)
    assert errors_allowed(progress, alpha / 2) > z
    assert errors_allowed(progress, alpha, df=df) >= z


def test_a_look_with_nothing_in_it_has_no_bounds() -> None:
    assert errors_allowed(0, 0.05) == math.inf
    assert errors_allowed(math.inf, 0.05) == math.inf
    assert errors_allowed_early(0, 0.05) == errors_allowed_early(math.inf, 0.05) == math.inf
    # what was wrong: Student's t has no digits where the normal tail is 1e-240
    assert errors_allowed(1e-3, 0.004, df=1816) == math.inf
    for alpha, sides in ((0.0, 2), (1.0, 2), (0.5, 1)):
        with pytest.raises(ValueError, match="expected an alpha between"):
            tuned(alpha, 1 if sides == 1 else 2)


def test_nothing_that_varies_is_certain() -> None:
    effect = _known(difference(moments([2, 4], [1, 2]), moments([3, 6], [1, 2])))
    progress = progress_to(0.01, effect, 0.05)
    assert progress == math.inf
    assert always_bounds(effect, progress, 0.05) == (1, 1)
    assert always_below(effect, progress, 0.05) == 1


def test_progress_to_a_width_is_one_where_the_bounds_are_that_wide() -> None:
    effect = Effect(0.3, 0.01 / errors_allowed_early(1, 0.05), math.inf)
    assert progress_to(0.01, effect, 0.05) == pytest.approx(1)
    assert always_bounds(effect, 1, 0.05) == pytest.approx((0.29, 0.31))
    # half the error is four times the information
    assert progress_to(0.01, Effect(0.3, effect.standard_error / 2, math.inf), 0.05) == pytest.approx(4)


# --- two arms -------------------------------------------------------------------------------------------------------


def _single(values: Any) -> Moments:
    return moments(values, np.ones(len(values)))


def test_requests_apart_are_scipys_welch() -> None:
    rng = np.random.default_rng(1)
    old, new = rng.lognormal(0, 1, 40), rng.lognormal(0.2, 0.5, 70)
    effect = _known(difference(_single(old), _single(new)))
    welch = scipy_stats.ttest_ind(new, old, equal_var=False)
    interval = welch.confidence_interval(0.95)
    assert effect.estimate / effect.standard_error == pytest.approx(welch.statistic)
    assert effect.df == pytest.approx(welch.df)
    assert fixed_bounds(effect, 0.05) == pytest.approx((interval.low, interval.high))


def _rows(rng: np.random.Generator, units: int) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Values, and the unit of each; units of 1 to 9 requests that have much in common."""
    sizes = rng.integers(1, 10, units)
    unit = np.repeat(np.arange(units), sizes)
    values = rng.normal(3, 1, units)[unit] + rng.normal(0, 1, len(unit))
    return values, np.ones(len(unit)), unit


def _summed(values: Floats, ones: Floats, unit: NDArray[np.int64]) -> Moments:
    return moments(np.bincount(unit, values), np.bincount(unit, ones))


def test_units_are_statsmodels_cluster_robust_regression() -> None:
    regression = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(2)
    old, new = _rows(rng, 25), _rows(rng, 25)
    effect = _known(difference(_summed(*old), _summed(*new)))
    design = np.column_stack([np.ones(len(old[0]) + len(new[0])), np.repeat([0.0, 1.0], [len(old[0]), len(new[0])])])
    fitted = regression.OLS(np.concatenate([old[0], new[0]]), design).fit(
        cov_type="cluster",
        cov_kwds={"groups": np.concatenate([old[2], new[2] + 25]), "use_correction": False},
    )
    assert effect.estimate == pytest.approx(fitted.params[1])
    assert effect.standard_error == pytest.approx(fitted.bse[1] * math.sqrt(25 / 24))


def test_few_events_are_statsmodels_agresti_and_caffo() -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    old, new = np.repeat([1.0, 0.0], [1, 299]), np.repeat([1.0, 0.0], [0, 200])
    effect = _known(difference(_single(old), _single(new), rate=True))
    low, high = proportion.confint_proportions_2indep(0, 200, 1, 300, method="agresti-caffo", compare="diff")
    z = scipy_stats.norm.isf(0.025)
    assert effect.standard_error == pytest.approx((high - low) / 2 / z, rel=1e-2)
    assert effect.estimate == pytest.approx(-1 / 300)


def test_many_events_have_the_error_of_rates() -> None:
    old, new = np.repeat([1.0, 0.0], [400, 9600]), np.repeat([1.0, 0.0], [600, 9400])
    effect = _known(difference(_single(old), _single(new), rate=True))
    assert effect.standard_error == pytest.approx(math.sqrt((0.04 * 0.96 + 0.06 * 0.94) / 9999), rel=1e-3)


def test_sessions_that_have_not_complained_have_not_shown_how_they_would() -> None:
    # what was wrong: two quiet sessions beside many loud ones had the error of 60 independent requests
    loud = moments([30] * 4 + [0] * 96, [30] * 100)
    effect = _known(difference(moments([0, 0], [30, 30]), loud, rate=True))
    alone = _known(difference(_single(np.zeros(60)), _single(np.repeat([1.0, 0.0], [120, 2880])), rate=True))
    assert effect.standard_error > 5 * alone.standard_error
    silent = moments([0] * 10, [30] * 10)
    nothing = _known(difference(silent, silent, rate=True))
    assert nothing.standard_error > 5 * _known(
        difference(_single(np.zeros(300)), _single(np.zeros(300)), rate=True)
    ).standard_error  # fmt: skip


def test_a_small_arm_varies_as_both_do_at_a_look() -> None:
    # what was wrong: ten cheap requests were sure of their low mean, as none of the dear ones was among them
    rng = np.random.default_rng(3)
    effect = _known(difference(_single(rng.normal(1, 0.01, 10)), _single(rng.lognormal(0, 1, 500))))
    assert effect.error_at_looks > 3 * effect.standard_error
    low, high = always_bounds(effect, 1, 0.05)
    assert high - low == pytest.approx(2 * errors_allowed_early(1, 0.05, effect.df) * effect.error_at_looks)
    assert always_below(effect, 1, 0.05) < high


def test_a_ratio_by_the_delta_method() -> None:
    effect = _known(log_ratio(_single([1.0, 3.0]), _single([2.0, 6.0])))
    # each mean is known to half of itself
    assert effect.estimate == pytest.approx(math.log(2))
    assert effect.standard_error == pytest.approx(math.sqrt(2) / 2)
    assert effect.df == pytest.approx(2)


@pytest.mark.parametrize(
    ("old", "new"),
    [(moments([], []), _single([1.0, 2.0])), (_single([1.0]), _single([1.0, 2.0])), (Moments(), Moments())],
)
def test_less_than_two_units_tell_nothing(old: Moments, new: Moments) -> None:
    assert difference(old, new) is None
    assert difference(new, old, rate=True) is None
    assert log_ratio(old, new) is None


def test_no_logarithm_of_nothing() -> None:
    assert log_ratio(_single([0.0, 0.0]), _single([1.0, 2.0])) is None


@settings(deadline=None)
@given(sums, sums, st.integers(0, 30))
def test_moments_of_parts_add_up(one: list[tuple[int, int]], other: list[tuple[int, int]], cut: int) -> None:
    totals, requests = (np.array(x) for x in zip(*(one + other), strict=True))
    assert moments(totals[:cut], requests[:cut]) + moments(totals[cut:], requests[cut:]) == moments(totals, requests)


@settings(deadline=None)
@given(sums, sums, st.booleans())
def test_swapped_arms_turn_the_effect_round(
    one: list[tuple[int, int]], other: list[tuple[int, int]], rate: bool
) -> None:
    old, new = (moments(*zip(*((min(k, n), n) for k, n in side), strict=True)) for side in (one, other))
    there, back = _known(difference(old, new, rate=rate)), _known(difference(new, old, rate=rate))
    assert there.estimate == -back.estimate
    assert there.error_at_looks == pytest.approx(back.error_at_looks)
    low, high = always_bounds(there, 0.3, 0.05)
    fixed = fixed_bounds(there, 0.05)
    assert low <= fixed[0] <= fixed[1] <= high
    assert always_bounds(back, 0.3, 0.05) == pytest.approx((-high, -low))


# --- how often it is right ------------------------------------------------------------------------------------------


def _allowed(boundary: str, progress: float) -> float:
    if boundary == "early":
        return errors_allowed_early(progress, 0.05)
    return errors_allowed(progress, 0.05, 1 if boundary == "one side" else 2)


@pytest.mark.slow
@pytest.mark.parametrize("boundary", ["one side", "two sides", "early"])
def test_brownian_motion_seldom_crosses(boundary: str) -> None:
    # looks from a thousandth of the plan to a thousand times as much; fewer than all, so below alpha, and not by far
    rng = np.random.default_rng(4)
    runs, times = 20_000, np.geomspace(1e-3, 1e3, 600)
    steps = np.sqrt(np.diff(times, prepend=0.0))
    allowed = [_allowed(boundary, t) * math.sqrt(t) for t in times.tolist()]
    place, crossed = np.zeros(runs), np.zeros(runs, dtype=bool)
    for step, limit in zip(steps, allowed, strict=True):
        place += rng.normal(0, step, runs)
        crossed |= (place if boundary == "one side" else np.abs(place)) > limit
    assert 0.02 < crossed.mean() < 0.05


def _looks(rng: np.random.Generator, size: int, rate: float, a_session: int) -> Iterator[Moments]:
    """An arm after each day: sessions on one day each; in those of several requests some always complain."""
    sessions = rng.multinomial(size // a_session, [1 / DAYS] * DAYS)
    whole = Moments()
    for count in sessions:
        chance = rng.beta(rate * 7 / 3, (1 - rate) * 7 / 3, count) if a_session > 1 else np.full(count, rate)
        whole += moments(rng.binomial(a_session, chance), np.full(count, a_session))
        yield whole


def _watched(sizes: tuple[int, int], rates: tuple[float, float], a_session: int, runs: int) -> tuple[float, float]:
    """The shares of runs in which the interval is apart from the truth at some look, and above 0 at some look."""
    rng = np.random.default_rng(5)
    apart = above = 0
    for _ in range(runs):
        missed = found = False
        arms = (_looks(rng, n, r, a_session) for n, r in zip(sizes, rates, strict=True))
        for old, new in zip(*arms, strict=True):
            effect = difference(old, new, rate=True)
            if effect is None:
                continue
            low, high = always_bounds(effect, 2 / (1 / old.n + 1 / new.n) / min(sizes), 0.05)
            missed |= not low <= rates[1] - rates[0] <= high
            found |= low > 0
        apart += missed
        above += found
    return apart / runs, above / runs


# 600 runs of what happens in 5 % exceed 6.7 % in one of forty
@pytest.mark.slow
@pytest.mark.parametrize(("sizes", "a_session"), [((3600, 3600), 1), ((3600, 3600), 30), ((1000, 19_000), 30)])
def test_equal_arms_looked_at_daily_differ_seldom(sizes: tuple[int, int], a_session: int) -> None:
    apart, _ = _watched(sizes, (0.04, 0.04), a_session, 600)
    assert apart <= 0.067


@pytest.mark.slow
def test_a_worse_arm_is_found_at_the_planned_size() -> None:
    planned = math.ceil(1860 * times_the_size(0.05, 0.8))
    assert planned <= 2.2 * 1860
    apart, above = _watched((planned, planned), (0.04, 0.06), 1, 400)
    assert above >= 0.8
    assert apart <= 0.067
