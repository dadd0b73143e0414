"""A roll-out: its steps, what they can show, what was seen, and the guided example."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Run
from routecost.errors import InputError, UndecidedError, UsageError
from routecost.pipeline import rollout, rollout_status
from routecost.pipeline.effects import design_effect, found, latency_harm, rate_harm, unit_size
from routecost.pipeline.rollout import Before, Margins, Schedule, schedule_steps
from routecost.pipeline.rollout_file import read_schedule, to_yaml
from routecost.pipeline.rollout_status import Criterion
from routecost.stats import Grades, Interval

MONDAY = dt.date(2026, 6, 1)
TABLE = "name: t\ndefault: gpt-5.4\nroutes: {simple: gpt-5.4-mini, code: gpt-5.4}\n"


def days(n: int) -> dt.date:
    return MONDAY + dt.timedelta(days=n)


# --- steps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        ((2, 0.10, 0.20, 0.0), [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]),
        ((1, 0.05, 0.10, 0.0), [0.0, 0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95, 1.0]),
        # the last increase lands on the end: no step of its own for it
        ((1, 0.10, 0.30, 0.0), [0.0, 0.1, 0.4, 0.7, 1.0]),
        ((1, 0.10, 0.20, 0.05), [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95]),
        ((1, 0.10, 1.00, 0.0), [0.0, 0.1, 1.0]),
    ],
)
def test_shares_rise_to_all_but_the_holdout(options: tuple[int, float, float, float], shares: list[float]) -> None:
    steps = schedule_steps(MONDAY, *options)
    assert [s.share for s in steps] == shares
    assert [s.phase for s in steps] == ["shadow", "canary", *["gradual"] * (len(shares) - 3), "full"]


def test_a_step_begins_where_the_one_before_ends() -> None:
    steps = schedule_steps(MONDAY, 2, 0.1, 0.2)
    assert [s.since for s in steps[:3]] == [MONDAY, days(14), days(21)]
    assert all(a.until == b.since for a, b in itertools.pairwise(steps))
    assert steps[-1].until is None


@pytest.mark.parametrize(
    ("start", "options", "said"),
    [
        (days(1), (2, 0.1, 0.2), "is a Tuesday, expected a Monday, such as 2026-06-08"),
        (MONDAY, (0, 0.1, 0.2), "--shadow-weeks: saw 0"),
        (MONDAY, (1, 0.0, 0.2), "--canary 0.0%"),
        (MONDAY, (1, 0.1, 0.0), "--increase 0.0%"),
        (MONDAY, (1, 0.1, 0.2, 0.5), "--holdout 50.0%"),
        (MONDAY, (1, 0.95, 0.2, 0.05), "--canary 95.0%"),
    ],
)
def test_wrong_steps_are_told(start: dt.date, options: tuple[Any, ...], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        schedule_steps(start, *options)


# --- what can be shown ------------------------------------------------------------------------------------------------


def latencies(*values: float) -> pl.DataFrame:
    return pl.DataFrame({"middle": list(values), "n": [1] * len(values)})


def test_four_against_six_percent_takes_1860_an_arm() -> None:
    shown = found(
        1860, 1860, rated=1.0, thumbs_down=0.04, errors=None, latency=latencies(), effect=1.0, effect_rated=1.0
    )
    assert shown.thumbs_down == pytest.approx(0.02, rel=0.005)
    assert (shown.errors, shown.latency) == (None, None)


def test_nobody_to_compare_with_shows_nothing() -> None:
    shown = found(
        9000, 0, rated=1.0, thumbs_down=0.04, errors=0.01, latency=latencies(1, 2), effect=1.0, effect_rated=1.0
    )
    assert (shown.thumbs_down, shown.errors, shown.latency) == (None, None, None)


@given(st.integers(60, 10**6), st.integers(60, 10**6), st.floats(0.0, 0.3))
def test_more_requests_never_show_less(treated: int, control: int, rate: float) -> None:
    def least(times: int) -> float:
        n = treated * times, control * times
        shown = found(*n, rated=1, thumbs_down=rate, errors=None, latency=latencies(), effect=1.0, effect_rated=1.0)
        return shown.thumbs_down if shown.thumbs_down is not None else 1.0

    assert least(4) <= least(1)


def test_units_are_measured_by_how_their_groups_vary() -> None:
    one = pl.DataFrame({"group": list(range(64)), "requests": [100] * 64})
    assert unit_size(one) == 1.0
    # 64 units of 50 requests, two in every second group
    many = pl.DataFrame({"group": list(range(64)), "requests": [100, 0] * 32})
    assert unit_size(many) == pytest.approx(50 * 64 / 63)
    assert design_effect(50, 0.05) == pytest.approx(3.45)


def test_harm_has_bounds_on_both_sides() -> None:
    harm = rate_harm(Grades(1000, 0.06), Grades(1000, 0.04), 1.0, 0.025)
    assert harm is not None
    assert harm.low < 0.02 < harm.high
    # twice as alike is half as many
    wider = rate_harm(Grades(1000, 0.06), Grades(1000, 0.04), 2.0, 0.025)
    assert wider is not None
    assert wider.low < harm.low
    assert harm.high < wider.high
    assert rate_harm(Grades(29, 0.0), Grades(1000, 0.0), 1.0, 0.025) is None


def test_latency_is_compared_by_its_95th_percentile() -> None:
    slow, fast = latencies(*(float(i) for i in range(2, 2002, 2))), latencies(*(float(i) for i in range(1, 1001)))
    harm = latency_harm(slow, fast, 1.0, 0.025)
    assert harm is not None
    assert (harm.treatment, harm.control) == (1900.0, 950.0)
    assert harm.harm == pytest.approx(1.0)
    assert harm.low < 1.0 < harm.high
    assert latency_harm(latencies(1.0, 2.0), fast, 1.0, 0.025) is None


# --- the file ---------------------------------------------------------------------------------------------------------


def schedule(steps: tuple[rollout.Step, ...]) -> Schedule:
    before = Before("simple", 100.0, 0.01, 0.008, 1.0, 0.01, None, 0.0)
    return Schedule("t.yaml", None, MONDAY, Margins(), 0.05, steps, (before,), Interval(56.0, 50.0, None))


@given(st.integers(1, 4), st.floats(0.01, 0.5), st.floats(0.05, 1.0), st.floats(0.0, 0.3))
@settings(max_examples=30)
def test_a_plan_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, weeks: int, canary: float, increase: float, holdout: float
) -> None:
    path = tmp_path_factory.getbasetemp() / "plan.yaml"
    planned = schedule(schedule_steps(MONDAY, weeks, canary, increase, holdout))
    path.write_text(to_yaml(planned))
    assert read_schedule(path) == planned


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rollout: 1", "table_of: 1", "not a roll-out plan"),
        ("rollout: 1", "rollout: 2", "rollout: Input should be less than or equal to 1"),
        ("share: 0.1", "share: 10", "steps.1.share"),
        ("phase: canary", "phase: canari", "steps.1.phase"),
        ("until: '2026-06-15'", "until: '2026-06-16'", "a step ends where the next begins"),
        ("correlation: 0.05", "corelation: 0.05", "correlation: Field required"),
        ("steps:", "steps: [", "not YAML"),
    ],
)
def test_a_wrong_plan_is_told(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = to_yaml(schedule(schedule_steps(MONDAY, 1, 0.1, 0.2)))
    assert old in text
    (tmp_path / "plan.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=re.escape(said)):
        read_schedule(tmp_path / "plan.yaml")


def test_a_missing_plan_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Write one with `routecost rollout plan"):
        read_schedule(tmp_path / "none.yaml")


# --- status -----------------------------------------------------------------------------------------------------------


def rows(
    first: int, n_days: int, share: float, *, per_day: int = 400, bad: float = 0.05, arm: bool = True
) -> list[dict[str, Any]]:
    """Every request costs the same on each side, and every so many are rated badly: no chance in it."""
    found = []
    for day in range(first, first + n_days):
        for i in range(per_day):
            moved = i < share * per_day
            # in every tenth, evenly spread; one in four of the moved where bad is 0.25
            worse = (i * 7 + day) % 100 < (100 * bad if moved else 5)
            found.append(
                {
                    "request_id": f"{day}-{i}",
                    "user_id": f"u{day}-{i}",
                    "ts": f"{days(day)}T{i % 24:02}:00:00Z",
                    "model": "gpt-5.4-mini" if moved else "gpt-5.4",
                    "task": "simple",
                    "input_tokens": 1000,
                    "output_tokens": 100,
                    "latency_ms": 500 + i % 50,
                    "feedback": -1 if worse else 1,
                    **({"arm": "treatment" if moved else "control"} if arm else {}),
                }
            )
    return found


def write(path: Path, requests: Sequence[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(r) + "\n" for r in requests))
    return str(path)


@pytest.fixture
def planned(tmp_path: Path) -> Path:
    """A plan from a week of traffic: shadow in the second week, canary of 25 % in the third."""
    (tmp_path / "t.yaml").write_text(TABLE)
    log = write(tmp_path / "before.jsonl", rows(0, 7, 0.0, arm=False))
    made = rollout.plan(
        [log], tmp_path / "t.yaml", start=days(7), shadow_weeks=1, canary=0.25, increase=0.25,
        margins=Margins(0.05, 0.05, 0.2),
    )  # fmt: skip
    (tmp_path / "rollout.yaml").write_text(to_yaml(made.schedule))
    return tmp_path


def test_a_plan_counts_arms_and_saving(planned: Path) -> None:
    made = read_schedule(planned / "rollout.yaml")
    (task,) = made.tasks
    # gpt-5.4: 2.5 and 15 dollars a million, gpt-5.4-mini: 0.75 and 4.5
    assert task.usd == pytest.approx(0.004)
    assert task.saving_usd == pytest.approx(0.0028)
    assert made.saving_week.estimate == pytest.approx(0.0028 * 2800)
    assert made.expected(made.steps[1]).estimate == pytest.approx(0.0028 * 700)
    assert made.expected(made.steps[1], 1).estimate == pytest.approx(0.0028 * 100)


def status(folder: Path, today: int, *requests: dict[str, Any]) -> rollout_status.RolloutStatus:
    return rollout_status.status(folder / "rollout.yaml", [write(folder / "now.jsonl", requests)], today=days(today))


def test_saved_so_far_is_what_control_would_have_cost(planned: Path) -> None:
    seen = status(planned, 21, *rows(14, 7, 0.25))
    assert seen.verdict == "go"
    assert seen.saved.estimate == pytest.approx(0.0028 * 700)
    assert seen.saved.low == pytest.approx(0.0028 * 700)
    (step,) = seen.steps
    assert (step.step.phase, step.days, step.treated, step.share.estimate) == ("canary", 7, 700, 0.25)
    assert seen.following is not None
    assert (seen.following.share, seen.following.since) == (0.5, days(21))


@pytest.mark.parametrize(
    ("today", "requests", "verdict", "code"),
    [
        (14, rows(7, 7, 0.0), "go", 0),
        (14, rows(7, 7, 0.3), "no-go", 1),  # something is dispatched in the shadow
        (15, rows(14, 1, 0.25), "too early", 4),
        (21, rows(14, 7, 0.25), "go", 0),
        (21, rows(14, 7, 0.25, bad=0.25), "no-go", 1),
        (20, rows(14, 6, 0.25, bad=0.25), "no-go", 1),  # certain before the week is over
        (21, rows(14, 7, 0.6), "no-go", 1),  # more than was planned
        (21, rows(14, 7, 0.25, per_day=40), "hold", 4),
    ],
)
def test_verdicts(planned: Path, today: int, requests: list[dict[str, Any]], verdict: str, code: int) -> None:
    seen = status(planned, today, *requests)
    assert (seen.verdict, seen.exit_code) == (verdict, code)


def test_treatment_that_is_not_on_the_tables_model_is_told(planned: Path) -> None:
    requests = [r | {"model": "gpt-5.4"} for r in rows(14, 7, 0.25)]
    states = {c.name: c.state for c in status(planned, 21, *requests).criteria}
    assert states["treatment on the table's models"] == "not met"


def test_without_arms_the_models_tell(planned: Path) -> None:
    seen = status(planned, 21, *rows(14, 7, 0.25, arm=False))
    assert seen.arms == "model"
    assert seen.steps[0].share.estimate == 0.25
    assert any("Log an arm" in note for note in seen.notes)


def test_days_after_the_log_are_not_known(planned: Path) -> None:
    seen = status(planned, 21, *rows(14, 3, 0.25))
    assert (seen.verdict, seen.until) == ("too early", days(17))
    assert any("The log ends on 2026-06-17" in note for note in seen.notes)


def test_without_a_holdout_the_end_is_compared_with_the_weeks_before(planned: Path) -> None:
    weeks = [r for i, share in enumerate((0.25, 0.5, 0.75, 1.0)) for r in rows(14 + 7 * i, 7, share)]
    seen = status(planned, 42, *weeks)
    assert (seen.step.phase, seen.verdict) == ("full", "go")
    assert any("Nobody is held out" in note for note in seen.notes)


def test_what_cannot_be_judged_is_told(planned: Path) -> None:
    with pytest.raises(UndecidedError, match="begins on 2026-06-08"):
        status(planned, 7, *rows(0, 1, 0.0))
    with pytest.raises(UndecidedError, match="no request from"):
        status(planned, 21, *rows(0, 1, 0.0))
    with pytest.raises(UsageError, match="Name it: --control blue"):
        status(planned, 21, *({**r, "arm": "blue"} for r in rows(14, 1, 0.25)))


@given(st.lists(st.tuples(st.sampled_from(["met", "not met", "open"]), st.booleans()), min_size=1), st.booleans())
def test_only_what_decides_holds_up_and_any_harm_stops(states: list[tuple[Any, bool]], complete: bool) -> None:
    criteria = [Criterion("c", None, state, None, None, None, "", decides) for state, decides in states]
    verdict = rollout_status._verdict(criteria, complete)
    assert (verdict == "no-go") == any(state == "not met" for state, _ in states)
    if verdict == "go":
        assert complete
        assert not any(state == "open" and decides for state, decides in states)


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_plans_and_judges(cli: Run, planned: Path) -> None:
    (planned / "<i>.yaml").write_text(TABLE)
    done = cli(
        "rollout", "plan", "before.jsonl", "--table", "<i>.yaml", "--start", "2026-06-08", "--canary", "25%",
        "--margin", "5%", "--error-margin", "5%", "-o", "plan.yaml", "--html", "plan.html", "--format", "json",
        cwd=planned,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert [s["phase"] for s in data["steps"]][:3] == ["shadow", "canary", "gradual"]
    assert "<i>" not in (planned / "plan.html").read_text()
    write(planned / "now.jsonl", rows(21, 7, 0.25))
    now = ("rollout", "status", "plan.yaml", "now.jsonl", "--today")
    done = cli(*now, "2026-06-29", "--html", "now.html", cwd=planned)
    assert done.returncode == 0, done.stderr
    assert "GO: the step has ended" in done.stdout
    assert "Saved so far" in (planned / "now.html").read_text()
    done = cli(*now, "2026-06-24", cwd=planned)
    assert done.returncode == 4
    assert "TOO EARLY" in done.stdout


def test_a_usage_file_cannot_be_cut(cli: Run, planned: Path) -> None:
    write(planned / "now.jsonl", rows(7, 14, 0.25))
    assert cli("tally", "now.jsonl", "-o", "u.parquet", cwd=planned).returncode == 0
    done = cli("rollout", "status", "rollout.yaml", "u.parquet", "--today", "2026-06-22", cwd=planned)
    assert done.returncode == 3
    assert "give the logs" in done.stderr


def test_a_margin_of_nothing_is_refused(cli: Run, planned: Path) -> None:
    done = cli("rollout", "plan", "before.jsonl", "--table", "t.yaml", "--margin", "0%", cwd=planned)
    assert done.returncode == 2
    assert "can never be shown" in done.stderr


# --- the guided example -----------------------------------------------------------------------------------------------

COMMAND = re.compile(r"^(?:routecost|python) .*$", re.MULTILINE)
EXIT = re.compile(r"# exit (\d)")


def test_the_guided_example_runs_from_shadow_to_all(cli: Run, root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "examples" / "rollout"
    shutil.copytree(root / "examples" / "rollout", folder, ignore=shutil.ignore_patterns("logs", "__pycache__"))
    shutil.copy(root / "examples" / "sample_texts.txt", folder.parent)
    commands = COMMAND.findall((folder / "README.md").read_text(encoding="utf-8"))
    assert len(commands) >= 12
    for command in commands:
        line, _, _ = command.partition(" #")
        program, *arguments = shlex.split(line)
        if program == "python":
            subprocess.run([sys.executable, *arguments], cwd=folder, check=True)
            continue
        arguments = [x for a in arguments for x in (sorted(map(str, folder.glob(a))) if "*" in a or "[" in a else [a])]
        done = cli(*arguments, cwd=folder)
        expected = EXIT.search(command)
        assert done.returncode == (int(expected[1]) if expected else 0), f"{command}\n{done.stdout}{done.stderr}"
    assert (folder / "status.html").exists()
