"""Drift: distances by hand and against scipy, what chance does, change points, and the command on small logs."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from sklearn.metrics import roc_auc_score

from conftest import Run
from routecost.drift import distance
from routecost.drift.points import Series, change_points
from routecost.drift.result import LIMITS, Limits, Signal, Span, worst
from routecost.drift.signals import Side, compare, judged
from routecost.drift.words import GROUPS, Texts, area_under_curve, new_words, words_signal
from routecost.stats.shares import (
    chance_of,
    design_effect,
    kolmogorov_upper,
    mean_design_effect,
    moved_shares,
    share_error,
)

TASKS = ("simple", "code", "reasoning", "complex")
START = dt.date(2026, 9, 7)

# --- distances --------------------------------------------------------------------------------------------------------


def test_stability_index_by_hand() -> None:
    # 99.5 + 0.5 of 200 + 1 each: 0.5 and 0.5 against 0.75 and 0.25
    seen = distance.stability_index([99.5, 99.5], [149.5, 49.5])
    assert seen == pytest.approx(0.25 * math.log(1.5) + (-0.25) * math.log(0.5))
    assert distance.effect_size([99.5, 99.5], [149.5, 49.5]) == pytest.approx(0.5)


counts = st.lists(st.integers(0, 1000), min_size=2, max_size=6)


@given(counts, st.randoms())
def test_stability_index_is_symmetric_and_zero_only_for_the_same(base: list[int], random: object) -> None:
    current = list(reversed(base))
    there, back = distance.stability_index(base, current), distance.stability_index(current, base)
    assert there == pytest.approx(back)
    assert there >= 0
    assert distance.stability_index(base, base) == pytest.approx(0, abs=1e-12)


@given(
    st.dictionaries(st.integers(0, 40), st.integers(1, 50), min_size=1),
    st.dictionaries(st.integers(0, 40), st.integers(1, 50), min_size=1),
)
def test_histogram_distances_are_scipys(base: dict[int, int], current: dict[int, int]) -> None:
    rows = [np.repeat(list(c), list(c.values())) for c in (base, current)]
    a, b = distance.aligned(base, current)
    assert distance.distribution_distance(a, b) == pytest.approx(scipy_stats.ks_2samp(*rows).statistic)
    assert distance.transport_distance(a, b) == pytest.approx(scipy_stats.wasserstein_distance(*rows) * distance.STEP)


def test_values_of_zero_stand_below_all_others() -> None:
    a, b = distance.aligned({-32_768: 2, 3: 1}, {3: 3})
    assert a.tolist() == [2, 1]
    assert b.tolist() == [0, 3]
    assert [x.tolist() for x in distance.aligned({-32_768: 2}, {-32_768: 1})] == [[2.0], [1.0]]


# --- chance -----------------------------------------------------------------------------------------------------------


def _sessions(rng: np.random.Generator, sessions: int, size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Requests by group and task, all of a session with one task."""
    found = np.zeros((64, 3))
    task, group = rng.choice(3, sessions, p=[0.5, 0.3, 0.2]), rng.integers(0, 64, sessions)
    np.add.at(found, (group, task), size)
    return found


def test_requests_alone_move_as_a_chi_square_does() -> None:
    rng = np.random.default_rng(1)
    moved = moved_shares(_sessions(rng, 20_000, 1), _sessions(rng, 20_000, 1), paired=True)
    chance = chance_of(moved)
    assert chance is not None
    assert chance.upper(0.05) == pytest.approx(scipy_stats.chi2.isf(0.05, 2) * 2 / 20_000, rel=0.35)
    assert chance.p_value(chance.upper(0.05)) == pytest.approx(0.05)


def test_a_session_of_alike_requests_counts_once() -> None:
    rng = np.random.default_rng(2)
    effects = []
    for _ in range(20):
        moved = moved_shares(_sessions(rng, 1000, 30), _sessions(rng, 1000, 30), paired=True)
        effects.append(design_effect(moved, 30_000, 30_000) or 0)
    assert np.mean(effects) == pytest.approx(30, rel=0.15)


def test_what_users_do_on_both_sides_is_no_change() -> None:
    side = _sessions(np.random.default_rng(3), 500, 30)
    paired, apart = (moved_shares(side, side * 2, paired=p) for p in (True, False))
    assert paired.covariance is not None
    assert apart.covariance is not None
    assert np.allclose(paired.covariance, 0)
    assert apart.covariance[0, 0] > 0


def test_one_group_or_one_task_tells_nothing() -> None:
    one = np.zeros((64, 2))
    one[3] = (5, 5)
    moved = moved_shares(one, one, paired=True)
    assert moved.covariance is None
    assert chance_of(moved) is None
    assert design_effect(moved, 10, 10) is None
    assert mean_design_effect([10.0], [5.0], 1.0) is None
    assert mean_design_effect([10.0, 12.0], [5.0, 5.0], 0.0) is None
    same = np.full((64, 2), (4, 0))
    assert chance_of(moved_shares(same, same, paired=True)) is None


def test_bounds_of_distances() -> None:
    # without groups that is scipy's Kolmogorov distribution, nearly
    upper = kolmogorov_upper(0.05, 1000, 1000, 1.0, 10_000)
    assert upper == pytest.approx(scipy_stats.kstwobign.isf(0.05) * math.sqrt(2 / 1000), rel=0.01)
    assert share_error(0.0, 1000, 1000, 1.0) > 0
    assert share_error(0.3, 1000, 1000, 4.0) == pytest.approx(2 * share_error(0.3, 1000, 1000, 1.0), rel=0.02)


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "chance", "verdict"),
    [
        (0.0999, 0.01, "fine"),
        (0.1, 0.01, "watch"),
        (0.2499, 0.01, "watch"),
        (0.25, 0.01, "retrain"),
        (0.2, 0.2, "fine"),
        (0.3, 0.3, "unknown"),
        (0.31, 0.3, "retrain"),
        (0.01, 0.26, "unknown"),
        (None, 0.1, "unknown"),
        (0.3, None, "unknown"),
    ],
)
def test_a_signal_needs_its_limit_and_more_than_chance(size: float | None, chance: float | None, verdict: str) -> None:
    assert judged(size, chance, Limits(0.1, 0.25)) == verdict


def test_without_a_limit_to_retrain_a_signal_is_watched() -> None:
    assert judged(9.0, 0.1, Limits(0.1)) == "watch"


def test_the_worst_signal_decides() -> None:
    def signals(*verdicts: str) -> tuple[Signal, ...]:
        return tuple(Signal("words", None, None, None, None, None, None, LIMITS["words"], v) for v in verdicts)  # type: ignore[arg-type]

    assert worst(()) == "unknown"
    assert worst(signals("unknown", "fine")) == "fine"
    assert worst(signals("watch", "fine", "unknown")) == "watch"
    assert worst(signals("watch", "retrain")) == "retrain"


def _side(rng: np.random.Generator, *, days: int = 7, n: int = 7000, confidence: int = -5) -> Side:
    frame = pl.DataFrame(
        {
            "day": pl.Series([START + dt.timedelta(days=d) for d in range(days)])[rng.integers(0, days, n)],
            "group": rng.integers(0, 64, n),
            "task": pl.Series(TASKS)[rng.integers(0, 4, n)],
            "requests": np.ones(n, np.int64),
            "input_tokens": np.full(n, 1000),
            "output_tokens": np.full(n, 100),
        }
    )
    sums = pl.col("requests", "input_tokens", "output_tokens").sum()
    return Side(
        Span("side", n, START, START + dt.timedelta(days=days - 1), days, 64),
        frame.group_by("group", "task").agg(sums),
        frame.group_by("day", "task").agg(sums),
        {"input_tokens": {340: n}, "output_tokens": {230: n}, "confidence": {confidence: n}},
        {"feature": {"help": n}, "model": {}},
    )


def test_every_signal_has_a_verdict_and_unknown_says_why() -> None:
    rng = np.random.default_rng(5)
    found = compare(_side(rng), _side(rng), 0.05)
    assert [s.name for s in found.signals] == [n for n in LIMITS if n not in ("words", "accuracy on labels")]
    verdicts = {s.name: s.verdict for s in found.signals}
    assert verdicts["task mix"] == verdicts["estimated accuracy"] == verdicts["new features"] == "fine"
    assert verdicts["new models"] == "unknown"
    assert all(bool(s.why) == (s.verdict == "unknown") for s in found.signals)
    for s in found.signals:
        if s.size is not None and s.low is not None and s.high is not None:
            assert s.low <= s.size <= s.high


def test_lengths_that_are_all_alike_are_not_noise() -> None:
    # a bucket is 2 % wide: the spread of values in one is not known, and is not 0 either
    rng = np.random.default_rng(5)
    found = {s.name: s for s in compare(_side(rng), _side(rng), 0.05).signals}
    assert found["input length"].verdict == "fine"
    assert found["unclassified"].chance == pytest.approx(0.0, abs=0.01)


def test_lower_confidence_is_lower_accuracy() -> None:
    rng = np.random.default_rng(6)
    # buckets of 2 %: 0.91 and 0.79
    found = {s.name: s for s in compare(_side(rng), _side(rng, confidence=-12), 0.05).signals}
    accuracy = found["estimated accuracy"]
    assert accuracy.verdict == "retrain"
    assert accuracy.base == pytest.approx(1.02**-4.5)
    assert accuracy.current == pytest.approx(1.02**-11.5)


# --- words ------------------------------------------------------------------------------------------------------------


def test_area_under_the_curve_is_scikit_learns() -> None:
    rng = np.random.default_rng(7)
    later = rng.random(400) < 0.4
    scores = np.round(rng.normal(later * 0.5, 1), 1)
    area, error, degrees = area_under_curve(scores, later, rng.integers(0, GROUPS, 400))
    assert area == pytest.approx(roc_auc_score(later, scores))
    assert error is not None
    # the error of independent scores, nearly (Hanley and McNeil 1982)
    assert 0.015 < error < 0.045
    assert 40 < degrees < 64
    assert area_under_curve(scores, later, np.zeros(400, np.int64))[1:] == (None, 0)


def _texts(words: Sequence[str], n: int, seed: int, of_unit: int = 1) -> Texts:
    rng = np.random.default_rng(seed)
    units = np.repeat(rng.integers(0, 1 << 62, n // of_unit).astype(np.uint64), of_unit)
    return Texts([" ".join(rng.choice(words, 6)) for _ in range(n)], units)


OLD = ("invoice", "refund", "please", "order", "ship", "explain", "total", "late")


def test_new_words_are_found_and_shared_ones_are_not() -> None:
    base, current = _texts(OLD, 300, 1), _texts((*OLD, "helm"), 300, 2)
    assert [w.word for w in new_words(base, current)] == ["helm"]
    assert new_words(base, _texts(OLD, 300, 3)) == ()


def test_a_word_that_one_user_repeats_is_not_new() -> None:
    current = _texts(OLD, 300, 2)
    loud = Texts([*current.prompts, *["helm helm helm"] * 200], np.append(current.unit, np.full(200, 7, np.uint64)))
    assert new_words(_texts(OLD, 300, 1), loud) == ()


def test_words_tell_periods_apart_only_where_they_differ() -> None:
    base = _texts(OLD, 200, 1)
    assert words_signal(base, _texts(OLD, 200, 2), 0.05).verdict == "fine"
    other = words_signal(base, _texts(("helm", "cluster", "deploy", "node"), 200, 3), 0.05)
    assert other.verdict == "retrain"
    assert other.high == pytest.approx(1.0)
    assert "no text" in words_signal(None, base, 0.05).why
    assert "fewer than 50" in words_signal(base, _texts(OLD, 49, 3), 0.05).why


# --- change points ----------------------------------------------------------------------------------------------------


def _daily(values: Iterable[float], what: str = "share of code") -> Series:
    each = tuple(float(v) for v in values)
    days = tuple(START + dt.timedelta(days=d) for d in range(len(each)))
    return Series(what, days, each, (100.0,) * len(each))


def test_a_change_of_level_is_found_on_its_day() -> None:
    noise = np.random.default_rng(3).normal(0, 0.02, 30)
    (point,) = change_points([_daily(noise + np.where(np.arange(30) < 12, 0.2, 0.3)), _daily(noise, "other")], 0.05)
    assert point.day == START + dt.timedelta(days=12)
    assert point.what == "share of code"
    assert point.low is not None
    assert point.high is not None
    assert point.low < 0.1 < point.high


def test_two_changes_are_both_found() -> None:
    level = np.repeat([0.2, 0.5, 0.2], 14) + np.random.default_rng(9).normal(0, 0.02, 42)
    days = [p.day for p in change_points([_daily(level)], 0.05)]
    assert days == [START + dt.timedelta(days=d) for d in (14, 28)]


def test_weekends_are_no_change() -> None:
    weekend = np.arange(42) % 7 > 4
    values = 0.4 - 0.2 * weekend + np.random.default_rng(10).normal(0, 0.02, 42)
    assert change_points([_daily(values)], 0.05) == ()


@pytest.mark.parametrize("n", [0, 1, 9])
def test_few_days_have_no_change_points(n: int) -> None:
    assert change_points([_daily([0.1] * (n // 2) + [0.9] * (n - n // 2))], 0.05) == ()


def test_a_value_that_never_moves_has_no_change_points() -> None:
    assert change_points([_daily([0.3] * 30)], 0.05) == ()


# --- the command ------------------------------------------------------------------------------------------------------

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write(name, days, mix, ...) -> a log of sessions of one request each."""

    def make(
        name: str,
        first: int,
        days: int,
        mix: Sequence[float] = (0.5, 0.2, 0.2, 0.1),
        *,
        per_day: int = 200,
        words: Sequence[str] = OLD,
        feature: str = "help",
        label: bool = True,
        users: int = 10_000,
    ) -> Path:
        rng = np.random.default_rng(first * 100 + days)
        path = tmp_path / name
        with path.open("w", encoding="utf-8") as file:
            for n in range(days * per_day):
                day = START + dt.timedelta(days=first + n // per_day)
                row = {
                    "request_id": f"{name}-{n}",
                    "ts": f"{day}T12:00:00Z",
                    "user_id": f"u{rng.integers(users)}",
                    "feature": feature,
                    "model": "gpt-5.4",
                    "prompt": " ".join(rng.choice(words, 8)),
                    "input_tokens": int(rng.lognormal(6, 0.5)) + 1,
                    "output_tokens": int(rng.lognormal(5, 0.5)) + 1,
                }
                file.write(json.dumps(row | ({"task": str(rng.choice(TASKS, p=mix))} if label else {})) + "\n")
        return path

    return make


CODE = (0.1, 0.6, 0.2, 0.1)
CLUSTER = ("helm", "cluster", "deploy", "node", "pod")


def test_two_like_weeks_are_fine(cli: Run, write: Write) -> None:
    seen = cli("drift", write("a.jsonl", 0, 7), write("b.jsonl", 7, 7), "--strict")
    assert seen.returncode == 0, seen.stderr
    assert seen.stdout.startswith("FINE")
    assert "Kolmogorov-Smirnov" in seen.stdout


def test_another_mix_asks_for_retraining(cli: Run, write: Write) -> None:
    sides = write("a.jsonl", 0, 7), write("b.jsonl", 7, 7, CODE, words=CLUSTER, feature="</script>")
    loose, strict = cli("drift", *sides), cli("drift", *sides, "--strict", "--format", "json")
    assert (loose.returncode, strict.returncode) == (0, 1)
    assert loose.stdout.startswith("RETRAIN")
    data = json.loads(strict.stdout)
    raised = {s["name"]: s["verdict"] for s in data["signals"] if s["verdict"] in ("watch", "retrain")}
    assert raised == {
        "task mix": "retrain", "new features": "retrain", "gone features": "watch", "words": "retrain",
    }  # fmt: skip
    assert {w["word"] for w in data["words"]} == set(CLUSTER)
    assert [(n["what"], n["name"], n["share"]) for n in data["names"]] == [
        ("new", "</script>", 1.0),
        ("gone", "help", 1.0),
    ]
    assert data["test"]["p"] < 0.001
    assert "&lt;/script>" in cli("drift", *sides, "--no-words", "--format", "markdown").stdout


def test_usage_files_give_what_logs_give_but_words(cli: Run, write: Write, tmp_path: Path) -> None:
    sides = write("a.jsonl", 0, 7), write("b.jsonl", 7, 7, CODE)
    files = [tmp_path / f"{s.stem}.parquet" for s in sides]
    for log, file in zip(sides, files, strict=True):
        assert cli("tally", log, "-o", file).returncode == 0
    tables = []
    for pair in (sides, files):
        seen = cli("drift", *pair, "--format", "csv")
        assert seen.returncode == 0, seen.stderr
        tables.append(list(csv.DictReader(io.StringIO(seen.stdout))))
    logs, usages = tables
    assert logs[:-1] == usages[:-1]
    assert usages[-1]["verdict"] == "unknown"
    assert "usage file" in usages[-1]["why"]


def test_one_long_log_is_searched_for_changes_and_split(cli: Run, write: Write, tmp_path: Path) -> None:
    log = tmp_path / "long.jsonl"
    log.write_text(write("a.jsonl", 0, 14).read_text() + write("b.jsonl", 14, 14, CODE).read_text())
    seen = cli("drift", log, "--format", "json")
    assert seen.returncode == 0, seen.stderr
    data = json.loads(seen.stdout)
    assert data["verdict"] == "watch"
    assert {(p["day"], p["what"]) for p in data["points"]} >= {
        ("2026-09-21", "share of code"),
        ("2026-09-21", "share of simple"),
    }
    assert "--split 2026-09-21" in cli("drift", log).stdout
    split = cli("drift", log, "--split", "2026-09-21", "--no-words", "--strict")
    assert split.returncode == 1
    assert "since 2026-09-21: 2,800 requests" in split.stdout
    usage = tmp_path / "long.parquet"
    assert cli("tally", log, "-o", usage).returncode == 0
    # a usage file that is cut has no groups, and says so instead of guessing
    cut = cli("drift", usage, "--split", "2026-09-21")
    assert cut.returncode == 4
    assert "has one group of units" in cut.stdout


def test_few_users_are_too_few_to_tell(cli: Run, write: Write) -> None:
    seen = cli("drift", write("a.jsonl", 0, 7, users=1), write("b.jsonl", 7, 7, CODE, users=1), "--no-words")
    assert seen.returncode == 4
    assert seen.stdout.startswith("UNDECIDED")


def test_few_days_are_said(cli: Run, write: Write) -> None:
    day = write("a.jsonl", 0, 1), write("b.jsonl", 1, 1)
    assert "fewer than 5" in cli("drift", *day, "--no-words").stdout
    alone = cli("drift", day[0])
    assert alone.returncode == 4
    assert "too few to find a change" in alone.stdout


def test_the_classifier_says_how_sure_it_is(cli: Run, write: Write, tmp_path: Path) -> None:
    sides = write("a.jsonl", 0, 7, label=False), write("b.jsonl", 7, 7, label=False)
    labels = tmp_path / "labels.csv"
    labels.write_text("prompt,task\n" + "Write a Python function that sorts a list,creative-writing\n" * 3)
    refused = cli("drift", *sides, "--labels", labels, "--no-words")
    assert refused.returncode == 3
    assert "creative-writing" in refused.stderr
    labels.write_text("prompt,task\n" + "Write a Python function that sorts a list,complex\n" * 200)
    seen = cli("drift", *sides, "--labels", labels, "--no-words", "--format", "json")
    assert seen.returncode == 0, seen.stderr
    signals = {s["name"]: s for s in json.loads(seen.stdout)["signals"]}
    assert signals["estimated accuracy"]["base"] > 0.5
    assert signals["accuracy on labels"]["verdict"] == "retrain"


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--alpha", "0.7"), 2, "--alpha: saw 0.7"),
        (("--split", "2026-09-08"), 2, "--split cuts one log in two"),
        (("--split", "soon"), 2, "--split: saw 'soon'"),
        (("--since", "2027-01-01", "--no-words"), 3, "no request to compare"),
    ],
)
def test_wrong_input_says_what_to_do(cli: Run, write: Write, options: tuple[str, ...], code: int, said: str) -> None:
    log = write("a.jsonl", 0, 1, per_day=5)
    seen = cli("drift", log, log, *options)
    assert seen.returncode == code
    assert said in seen.stderr


@pytest.mark.slow
def test_nothing_changed_is_seldom_an_alarm() -> None:
    rng = np.random.default_rng(11)
    alarms = 0
    for _ in range(200):
        sides = []
        for _ in range(2):
            side = _side(rng, n=2100)
            task, group = rng.choice(4, 70, p=[0.5, 0.2, 0.2, 0.1]), rng.integers(0, 64, 70)
            groups = pl.DataFrame(
                {
                    "group": group,
                    "task": pl.Series(TASKS)[task],
                    "requests": [30] * 70,
                    "input_tokens": [30_000] * 70,
                    "output_tokens": [3_000] * 70,
                }
            )
            sides.append(Side(side.span, groups, side.days, side.histograms, side.names))
        alarms += worst(compare(sides[0], sides[1], 0.05).signals) in ("watch", "retrain")
    assert alarms <= 10
