"""Treatment against control: arms, metrics, verdicts, and the command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Run
from routecost.errors import InputError, UsageError
from routecost.experiment.arms import ByColumn, ByHash, assigned, held_out, named, parse_arms, parse_holdout
from routecost.experiment.compare import balance, by_unit, compared, mismatch, of_arms, together
from routecost.experiment.metrics import METRICS, Metric, parse_margins, parse_metric
from routecost.experiment.size import needed
from routecost.experiment.verdicts import decide, judge_all, slice_of
from routecost.routing import read_table
from routecost.stats.sequence import moments

DOWN = METRICS[0]
P95 = next(m for m in METRICS if m.name == "latency-p95")
COST = next(m for m in METRICS if m.name == "cost")


def rows(n: int = 4000, *, bad: float = 0.04, worse: float = 0.0, seed: int = 1, each: int = 2) -> pl.DataFrame:
    """Requests of users in two arms; thumbs-down is `worse` more likely in the treatment's code in search."""
    r = np.random.default_rng(seed)
    unit = np.repeat(np.arange(n // each), each)
    arm = np.where(unit % 2 == 0, "control", "treatment")
    task = r.choice(["simple", "code"], len(unit), p=[0.6, 0.4])
    feature = r.choice(["chat", "search"], len(unit))
    p = bad + worse * ((arm == "treatment") & (task == "code") & (feature == "search"))
    down = r.random(len(unit)) < p
    return pl.DataFrame(
        {
            "arm": arm,
            "task": task,
            "unit": pl.Series(unit, dtype=pl.UInt64),
            "feature": feature,
            "model": np.where(arm == "control", "gpt-5.4", "gpt-5.4-mini"),
            "negative": down.astype(np.int8),
            "rating": 1.0 - 2.0 * down,
            "rated": pl.Series([1] * len(unit), dtype=pl.Int8),
            "error": pl.Series([0] * len(unit), dtype=pl.Int8),
            "truncated": pl.Series([None] * len(unit), dtype=pl.Int8),
            "retried": pl.Series([None] * len(unit), dtype=pl.Int8),
            "cost": np.where(arm == "control", 2.0, 1.0) * r.uniform(0.5, 1.5, len(unit)),
            "input": r.integers(10, 1000, len(unit)),
            "output": r.integers(10, 1000, len(unit)),
            "latency": r.lognormal(6, 0.5, len(unit)).astype(np.float32),
        }
    )


def one(metric: Metric, frame: pl.DataFrame, **options: Any) -> Any:
    return compared(metric, together(by_unit(frame, [metric])), frame, **{"alpha": 0.05, **options})


# --- arms -------------------------------------------------------------------------------------------------------------


def test_arms_are_told_by_model_feature_and_day() -> None:
    frame = pl.DataFrame(
        {
            "model": ["gpt-5.4", "gpt-5.4-mini", "other", None],
            "feature": ["a", "b", "a", "b"],
            "ts": pl.Series(["2026-11-01", "2026-11-02", "2026-11-03", None]).str.to_datetime(time_zone="UTC"),
        }
    )
    by_model = parse_arms("control=model:gpt-5.4,treatment=model:gpt-5.4-*")
    assert assigned(frame, by_model).to_list() == ["control", "treatment", None, None]
    by_day = parse_arms("treatment=since:2026-11-02,control=before:2026-11-02")
    assert assigned(frame, by_day).to_list() == ["control", "treatment", "treatment", None]
    both = parse_arms("control=feature:a,treatment=model:*")
    assert assigned(frame, both).to_list() == ["(both)", "treatment", "(both)", None]


@pytest.mark.parametrize("text", ["control=model:a", "control=model,treatment=x:y", "a=model:b,c=model:d", "x"])
def test_arms_that_cannot_be_read_say_how(text: str) -> None:
    with pytest.raises(UsageError, match="--arms"):
        parse_arms(text)


@given(st.text(min_size=1, max_size=20), st.floats(0.01, 0.98))
def test_a_user_who_is_held_out_stays_so_when_the_share_grows(user: str, share: float) -> None:
    if held_out(user, share):
        assert held_out(user, share + 0.01)


def test_the_hash_holds_out_its_share_and_is_what_is_documented() -> None:
    users = [f"u{i}" for i in range(20_000)]
    share = sum(held_out(u, 0.05) for u in users) / len(users)
    assert share == pytest.approx(0.05, abs=0.006)
    assert sum(held_out(u, 0.05, "other") and held_out(u, 0.05) for u in users) < 100
    frame = pl.DataFrame({"user_id": ["u1", None, "u2"]})
    found = assigned(frame, ByHash(0.999999)).to_list()
    assert found == ["control", None, "control"]


def test_the_control_is_known_by_its_name_or_asked_for() -> None:
    assert named(["routed", "holdout"], ByColumn()) == ("holdout", "routed")
    assert named(["x", "y"], ByColumn(treatment="x")) == ("y", "x")
    with pytest.raises(InputError, match="--control NAME"):
        named(["x", "y"], ByColumn())
    with pytest.raises(InputError, match="--treatment NAME"):
        named(["control", "y", "z"], ByColumn())
    with pytest.raises(InputError, match="no request has it"):
        named(["control", "y"], ByColumn(control="q"))
    with pytest.raises(InputError, match="--holdout"):
        named([], ByColumn())


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_margins() -> None:
    assert parse_margins([], METRICS) == {"thumbs-down": 0.01, "errors": 0.01}
    asked = parse_margins(["2%", "errors=none", "cost=5%", "truncated=.005"], METRICS)
    assert asked == {"thumbs-down": 0.02, "cost": 0.05, "truncated": 0.005}
    for wrong in ("cots=5%", "output-tokens=5%", "thumbs-down=0", "abc", "150%"):
        with pytest.raises(UsageError, match="--margin"):
            parse_margins([wrong], METRICS)
    assert parse_metric("resolved:higher-is-better").better == "higher"
    for wrong in ("resolved", "resolved:up", "cost:lower-is-better"):
        with pytest.raises(UsageError, match="--metric"):
            parse_metric(wrong)


def test_holdout_shares() -> None:
    assert parse_holdout("5%", "s") == ByHash(0.05, "s")
    assert parse_holdout("0.1", "s").share == 0.1
    for wrong in ("0", "100%", "x"):
        with pytest.raises(UsageError, match="--holdout"):
            parse_holdout(wrong, "s")


# --- comparisons ------------------------------------------------------------------------------------------------------


def test_a_rate_of_single_requests_has_the_score_interval() -> None:
    # 10 of 100 against 20 of 100: Miettinen and Nurminen's bounds, with the restricted estimate maximised by scipy
    frame = pl.DataFrame(
        {
            "arm": ["control"] * 100 + ["treatment"] * 100,
            "task": ["t"] * 200,
            "unit": pl.Series(range(200), dtype=pl.UInt64),
            "negative": [1] * 10 + [0] * 90 + [1] * 20 + [0] * 80,
        }
    )
    found = one(DOWN, frame)
    assert found.effect == pytest.approx(0.1)
    assert found.fixed == pytest.approx((0.000808, 0.201766), abs=2e-6)
    assert found.always[0] < found.fixed[0]
    assert found.always[1] > found.fixed[1]
    assert found.n == (100, 100)


def test_the_mean_of_clusters_is_the_delta_method_on_raw_rows() -> None:
    frame = rows(600, each=3)
    control, _ = of_arms(together(by_unit(frame, [COST])), "cost")
    mine = frame.filter(pl.col("arm") == "control").group_by("unit").agg(pl.col("cost").sum(), n=pl.len())
    s, n = mine["cost"].to_numpy(), mine["n"].to_numpy().astype(float)
    mean = s.sum() / n.sum()
    expected = len(s) / (len(s) - 1) * float(((s - mean * n) ** 2).sum()) / n.sum() ** 2
    assert control.mean == pytest.approx(mean)
    assert control.variance == pytest.approx(expected)
    found = one(COST, frame)
    assert found.effect == pytest.approx(-0.5, abs=0.05)
    assert found.always[0] < found.fixed[0] < found.effect < found.fixed[1] < found.always[1] < 0


def test_repeated_requests_of_a_user_are_no_new_evidence() -> None:
    frame = rows(2000, each=1)
    thrice = pl.concat([frame] * 3)
    alone, again = one(DOWN, frame), one(DOWN, thrice)
    assert again.effect == pytest.approx(alone.effect)
    width = [x.fixed[1] - x.fixed[0] for x in (alone, again)]
    assert width[1] == pytest.approx(width[0], rel=0.05)


def test_a_quantile_has_woodruffs_interval() -> None:
    frame = rows(8000, each=1).with_columns(
        latency=pl.when(pl.col("arm") == "treatment").then(pl.col("latency") * 1.5).otherwise("latency")
    )
    found = one(P95, frame)
    assert found.effect == pytest.approx(0.5, abs=0.12)
    assert found.fixed[0] < 0.5 < found.fixed[1]
    # the large-sample error of the log of a lognormal's 95 % point: 0.5 * sqrt(p (1 - p)) / (phi(1.645) sqrt(n))
    error = 0.5 * math.sqrt(0.05 * 0.95 / 4000) / 0.1031 * math.sqrt(2)
    width = math.log1p(found.fixed[1]) - math.log1p(found.fixed[0])
    assert width == pytest.approx(2 * 1.96 * error, rel=0.25)
    few = one(P95, frame.head(40))
    assert few.effect is None
    assert "too few" in few.reason


def test_unknown_is_null_and_says_why() -> None:
    frame = rows(400)
    blank = frame.with_columns(pl.lit(None, pl.Int8).alias("negative"))
    found = one(DOWN, blank)
    assert found.effect is None
    assert found.control is None
    assert "no request with thumbs-down" in found.reason
    half = frame.with_columns(negative=pl.when(pl.col("arm") == "control").then("negative"))
    assert "in the treatment" in one(DOWN, half).reason
    lonely = frame.with_columns(unit=pl.when(pl.col("arm") == "control").then(0).otherwise("unit").cast(pl.UInt64))
    assert one(DOWN, lonely).reason == "fewer than two units in an arm"


def test_an_interval_that_is_planned_is_tightest_there() -> None:
    frame = rows(8000)
    widths = [one(DOWN, frame, planned=n).always for n in (40, 4000, 400_000)]
    sizes = [high - low for low, high in widths]
    assert sizes[1] == min(sizes)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 60), st.integers(0, 60))
def test_swapped_arms_swap_the_bounds(a: int, b: int) -> None:
    def frame(x: int, y: int) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "arm": ["control"] * 60 + ["treatment"] * 60,
                "task": ["t"] * 120,
                "unit": pl.Series(range(120), dtype=pl.UInt64),
                "negative": [1] * x + [0] * (60 - x) + [1] * y + [0] * (60 - y),
            }
        )

    there, back = one(DOWN, frame(a, b)), one(DOWN, frame(b, a))
    for bounds, turned in ((there.fixed, back.fixed), (there.always, back.always)):
        assert bounds == pytest.approx((-turned[1], -turned[0]), abs=1e-6)
        assert bounds[0] - 1e-9 <= there.effect <= bounds[1] + 1e-9


def test_sample_ratio_mismatch_is_the_chi_square() -> None:
    # scipy.stats.chisquare([4500, 5500], [5000, 5000]): 100, p 1.5e-23
    found = mismatch(4500, 5500, 0.5)
    assert found.chi_square == pytest.approx(100)
    assert found.p == pytest.approx(1.5e-23, rel=0.02)
    assert found.is_broken
    assert not mismatch(4970, 5030, 0.5).is_broken


def test_balance_sees_a_task_that_is_in_one_arm_only() -> None:
    frame = rows(4000)
    assert not any(b.is_off for b in balance(frame, ["simple", "code"]))
    off = frame.filter(~((pl.col("arm") == "treatment") & (pl.col("task") == "code") & (pl.col("unit") % 3 == 0)))
    assert any(b.is_off and b.name == "share of code" for b in balance(off, ["simple", "code"]))


# --- verdicts ---------------------------------------------------------------------------------------------------------

MARGINS = {"thumbs-down": 0.01}


def judged(frame: pl.DataFrame, margins: dict[str, float] | None = None, **options: Any) -> Any:
    return judge_all(frame, ["simple", "code"], METRICS, margins or MARGINS, alpha=0.05, **options)


def test_the_failing_task_goes_back_and_the_other_grows() -> None:
    whole, tasks, tests = judged(rows(60_000, worse=0.2))
    assert tests == 3
    assert [(t.task, t.verdict) for t in tasks] == [("simple", "expand"), ("code", "roll back")]
    assert whole.verdict == "roll back"
    assert whole.slice is None
    assert (tasks[1].slice.task, tasks[1].slice.feature, tasks[1].slice.model) == ("code", "search", "gpt-5.4")


def test_a_task_that_fails_in_every_feature_goes_back_as_a_whole() -> None:
    frame = rows(40_000, worse=0.2)
    frame = frame.with_columns(feature=pl.when(pl.col("unit") % 4 < 2).then(pl.lit("a")).otherwise(pl.lit("b")))
    found = slice_of(frame.filter(pl.col("task") == "code"), "code", DOWN, 0.01, 0.05, None)
    assert found is not None
    assert (found.task, found.feature, found.model) == ("code", None, "gpt-5.4")


def test_little_is_held_and_so_is_what_nobody_rated() -> None:
    _, tasks, _ = judged(rows(400))
    assert {t.verdict for t in tasks} == {"hold"}
    assert "the margin is 1.00 points" in tasks[0].reason
    _, tasks, _ = judged(rows(400).with_columns(negative=pl.lit(None, pl.Int8)))
    assert {t.verdict for t in tasks} == {"hold"}
    assert "no request with thumbs-down" in tasks[0].reason


def test_arms_that_lose_units_are_never_judged() -> None:
    _, tasks, _ = judged(rows(60_000, worse=0.2), mismatch=mismatch(4500, 5500, 0.5))
    assert {t.verdict for t in tasks} == {"hold"}
    assert "sample-ratio mismatch" in tasks[0].reason


def test_less_of_what_should_be_more_is_harm() -> None:
    fine = Metric("fine", "negative", "rate", "higher")
    found = one(fine, rows(60_000, worse=0.2), margin=0.01)
    assert found.effect > 0
    assert found.harm[0] == pytest.approx(-found.effect)
    assert found.harm[1] <= found.harm[0] <= found.harm[2]
    assert decide([found])[0] == "expand"
    dearer = one(COST, rows(4000).with_columns(cost=3 - pl.col("cost")), margin=0.05)
    assert decide([dearer])[0] == "roll back"


def test_the_worst_guard_decides() -> None:
    frame = rows(60_000)
    _, tasks, _ = judged(frame, {"thumbs-down": 0.01, "cost": 0.05})
    assert {t.verdict for t in tasks} == {"expand"}
    _, tasks, _ = judged(
        frame.with_columns(error=(pl.col("arm") == "treatment").cast(pl.Int8)), {**MARGINS, "errors": 0.01}
    )
    assert {t.verdict for t in tasks} == {"roll back"}
    assert tasks[0].reason.startswith("errors")


# --- sizes ------------------------------------------------------------------------------------------------------------


def size(rate: float, change: float, n: int = 10_000, **options: Any) -> Any:
    seen = moments([1] * round(rate * n) + [0] * (n - round(rate * n)), [1] * n)
    given = {"spread": None, "treatment": 0.5, "alpha": 0.05, "power": 0.8, "per_day": 1000.0, **options}
    return needed("t", DOWN, seen, n, change, **given)


def test_four_against_six_percent_takes_1860_requests_an_arm() -> None:
    found = size(0.04, 0.02)
    assert found.fixed[0] == found.fixed[1] == pytest.approx(1860, abs=3)
    assert found.peeking[0] / found.fixed[0] <= 2.2
    assert found.days_fixed == pytest.approx(3.72, abs=0.01)
    assert found.cluster == pytest.approx(1, abs=0.01)
    # as many as the plan asks for show just what the plan was for
    assert size(0.04, 0.02, 3720).detectable == pytest.approx(0.02, rel=0.02)


def test_a_small_treatment_takes_longer_and_a_smaller_change_too() -> None:
    even, tenth = size(0.04, 0.02), size(0.04, 0.02, treatment=0.1)
    assert tenth.fixed[1] < even.fixed[1] < tenth.fixed[0]
    assert tenth.days_fixed > even.days_fixed
    assert size(0.04, 0.01).days_fixed > 3 * even.days_fixed
    assert size(0.99, 0.02).fixed is None


def test_users_who_answer_alike_are_worth_fewer_requests() -> None:
    seen = moments([10] * 4 + [0] * 96, [10] * 100)
    found = needed(
        "t", DOWN, seen, 2000, 0.02, spread=None, treatment=0.5, alpha=0.05, power=0.8, per_day=None
    )  # fmt: skip
    assert found.cluster == pytest.approx(10, rel=0.02)
    # and only every second request is rated
    assert found.fixed is not None
    assert found.fixed[0] == pytest.approx(1860 * 10 * 2, rel=0.03)
    assert found.days_fixed is None


# --- the command ------------------------------------------------------------------------------------------------------


def write_log(path: Path, frame: pl.DataFrame, **columns: Any) -> Path:
    lines = [
        json.dumps(
            {
                "request_id": f"r{i}",
                "user_id": f"u{r['unit']}",
                "ts": f"2026-11-{1 + i % 14:02d}T12:00:00Z",
                "status": "ok",
                "input_tokens": r["input"],
                "output_tokens": r["output"],
                "latency_ms": r["latency"],
                "feedback": r["rating"],
                "resolved": not r["negative"],
                **{c: r[c] for c in ("arm", "task", "feature", "model")},
                **columns,
            }
        )
        for i, r in enumerate(frame.iter_rows(named=True))
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def bad_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("logs") / "bad.jsonl", rows(12_000, worse=0.4))


def test_a_worse_arm_exits_with_1_and_the_rule_that_rolls_it_back(cli: Run, bad_log: Path, tmp_path: Path) -> None:
    rule = tmp_path / "override.yaml"
    done = cli("experiment", bad_log, "--metric", "resolved:higher-is-better", "--rules", rule, "--split", "50%")
    assert done.returncode == 1, done.stderr
    assert "ROLL BACK" in done.stdout
    assert "resolved" in done.stdout
    assert rule.read_text() == "overrides:\n  - {task: code, feature: search, model: gpt-5.4}\n"
    table = tmp_path / "table.yaml"
    table.write_text("default: gpt-5.4-mini\nroutes:\n  code: gpt-5.4-mini\n" + rule.read_text())
    override = read_table(table).overrides[0]
    assert (override.task, override.feature, override.target) == (("code",), ("search",), "gpt-5.4")


def test_json_has_everything_and_csv_a_line_for_each_metric(cli: Run, bad_log: Path) -> None:
    data = json.loads(cli("experiment", bad_log, "--format", "json").stdout)
    assert data["verdict"] == "roll back"
    assert data["exit_code"] == 1
    assert data["tests"] == 6
    assert data["overrides"] == [{"task": "code", "feature": "search", "model": "gpt-5.4"}]
    code = next(t for t in data["tasks"] if t["task"] == "code")
    down = code["metrics"][0]
    assert down["always"][0] < down["fixed"][0] < down["effect"]
    lines = cli("experiment", bad_log, "--format", "csv").stdout.splitlines()
    assert len(lines) == 1 + 3 * len(METRICS)


def test_hold_is_4_and_expand_is_0(cli: Run, tmp_path: Path) -> None:
    few = write_log(tmp_path / "few.jsonl", rows(300))
    assert cli("experiment", few).returncode == 4
    assert cli("experiment", few, "--margin", "90%", "--margin", "errors=90%").returncode == 0


def test_a_request_that_stands_twice_counts_once(cli: Run, tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.jsonl", rows(300))
    again = tmp_path / "b.jsonl"
    again.write_text(log.read_text())
    once = json.loads(cli("experiment", log, "--format", "json").stdout)
    twice = json.loads(cli("experiment", log, again, "--format", "json").stdout)
    assert twice["counts"]["duplicates"] == 300
    assert twice["tasks"] == once["tasks"]


def test_feedback_that_came_later_is_joined(cli: Run, tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.jsonl", rows(300), feedback=None)
    said = tmp_path / "said.csv"
    said.write_text("request_id,value\n" + "".join(f"r{i},{'down' if i % 7 == 0 else 'up'}\n" for i in range(300)))
    assert "no request with thumbs-down" in cli("experiment", log).stdout
    data = json.loads(cli("experiment", log, "--feedback", said, "--format", "json").stdout)
    assert sum(data["whole"]["metrics"][0]["n"]) == 300


def test_a_log_without_status_has_no_guard_of_errors(cli: Run, tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.jsonl", rows(300), status=None)
    assert "The log says nothing of errors" in cli("experiment", log).stdout


def test_a_usage_file_is_refused_with_what_to_do(cli: Run, tmp_path: Path) -> None:
    log, usage = write_log(tmp_path / "a.jsonl", rows(60)), tmp_path / "u.parquet"
    cli("tally", log, "-o", usage)
    done = cli("experiment", usage)
    assert done.returncode == 3
    assert "Name the log itself" in done.stderr
    wrong = cli("experiment", log, "--arms", "control=model:a", "--holdout", "5%")
    assert wrong.returncode == 2
    assert "exclude each other" in wrong.stderr


def test_the_plan_names_requests_and_days(cli: Run, bad_log: Path) -> None:
    done = cli("experiment", "plan", bad_log, "--change", "2%", "--share", "10%", "--format", "json")
    data = json.loads(done.stdout)
    assert data["treatment"] == 0.1
    assert data["days"] == 14
    assert data["tests"] == 3
    assert [n["task"] for n in data["needed"]] == ["simple", "code", "(all)"]
    assert all(n["treatment_always"] > n["treatment_fixed"] > 0 for n in data["needed"])
    assert cli("experiment", "plan", bad_log, "--change", "latency-p95=5%").returncode == 2
