"""What is called bad more often since a change: the statistics, the rules, the requests to label, the command."""

from __future__ import annotations

import csv
import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest

from conftest import Run
from routecost.errors import InputError, UndecidedError, UsageError
from routecost.pipeline.labelling import read_labels
from routecost.pipeline.watch import Watched, watch
from routecost.routing import read_table
from routecost.stats import Grades, difference_bounds
from routecost.stats.rises import largest, rise, searched

CHANGE = dt.datetime(2026, 10, 11, tzinfo=dt.UTC)
TASKS = {
    "simple": "What is the capital of France?",
    "code": "Write a Python function that sorts a list of numbers.",
}


def written(
    folder: Path,
    *,
    bad: Callable[[str, int, int], bool],
    model: Callable[[str, int], str] = lambda task, day: "gpt-5.4",
    users: int = 10_000,
    each: int = 30,
    rated: bool = True,
) -> list[str]:
    """20 days of `each` requests of both tasks a day, all rated; bad(task, day, number in the day)."""
    path = folder / "log.jsonl"
    lines: list[str] = []
    for day in range(1, 21):
        for task, prompt in TASKS.items():
            for i in range(each):
                number = len(lines)
                row = {
                    "request_id": f"r{number}",
                    "ts": f"2026-10-{day:02}T12:00:00Z",
                    "user_id": f"u{number % users}",
                    "feature": "ide" if task == "code" else ("chat", "mail")[i % 2],
                    "task": task,
                    "provider": "openai",
                    "model": model(task, day),
                    "prompt": prompt,
                    "input_tokens": 100,
                    "output_tokens": 10,
                    "feedback": (-1 if bad(task, day, i) else 1) if rated else None,
                }
                lines.append(json.dumps(row) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return [str(path)]


def worse_code(task: str, day: int, i: int) -> bool:
    """One bad answer in 30; nine for code from the change on."""
    return i < (9 if task == "code" and day >= CHANGE.day else 1)


def cheaper_code(task: str, day: int) -> str:
    return "gpt-5.4-mini" if task == "code" and day >= CHANGE.day else "gpt-5.4"


def verdicts(found: Watched) -> dict[tuple[str, str | None], str]:
    return {(s.dimension, s.name): s.verdict for s in found.slices}


# --- statistics -------------------------------------------------------------------------------------------------------


def test_without_clusters_the_bounds_are_those_of_the_score_test() -> None:
    ones, zeros = np.ones(4000), np.zeros(4000)
    before_bad = np.r_[np.ones(80), np.zeros(3920)]
    after_bad = np.r_[np.ones(160), np.zeros(3840)]
    found = rise(np.r_[ones, zeros], np.r_[before_bad, zeros], np.r_[zeros, ones], np.r_[zeros, after_bad], 0.025)
    assert found.effect == pytest.approx(1.0, abs=0.01)
    assert found.low == pytest.approx(difference_bounds([Grades(4000, 0.04)], [Grades(4000, 0.02)], 0.025)[0], abs=2e-4)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.change < found.high


def test_clusters_widen_the_bounds_as_fewer_requests_would() -> None:
    """Each user rates ten times alike: a tenth of the requests says as much."""
    n = np.full(200, 10.0)
    bad0, bad1 = np.r_[np.full(10, 10.0), np.zeros(190)], np.r_[np.full(30, 10.0), np.zeros(170)]
    none = np.zeros(200)
    found = rise(np.r_[n, none], np.r_[bad0, none], np.r_[none, n], np.r_[none, bad1], 0.025)
    alone = difference_bounds([Grades(200, 0.15)], [Grades(200, 0.05)], 0.025)[0]
    assert found.effect == pytest.approx(10, rel=0.02)
    assert found.low == pytest.approx(alone, abs=0.002)


def test_users_on_both_sides_take_what_they_share_out_of_the_difference() -> None:
    """Half of the users call everything bad, always: nothing changed, and that is sure."""
    n, bad = np.full(100, 10.0), np.r_[np.full(50, 10.0), np.zeros(50)]
    found = rise(n, bad, n, bad, 0.025)
    assert found.change == 0
    assert found.effect == 1.0


def test_one_cluster_says_nothing() -> None:
    assert rise([40], [0], [40], [40], 0.025).low is None


def test_the_level_after_a_search_is_that_of_the_tables() -> None:
    """Andrews (Econometrica 1993, table 1; corrected 2003): 8.85 at 5 % for 15 % trimming, 9.84 for 5 %."""
    z = NormalDist()
    assert z.inv_cdf(1 - searched(0.05, 0.15)) ** 2 == pytest.approx(8.85, abs=0.1)
    assert z.inv_cdf(1 - searched(0.05, 0.05)) ** 2 == pytest.approx(9.84, abs=0.12)
    assert searched(0.05, 0.15) < searched(0.10, 0.15) < 0.05


def test_the_largest_rise_is_found_on_its_day() -> None:
    n, bad = [50] * 12, [2] * 7 + [9] * 5
    found = largest(n, bad, 1.0, 0.1)
    assert found is not None
    assert found[0] == 7
    assert largest(n, [0] * 12, 1.0, 0.1) is None
    assert largest([50], [3], 1.0, 0.1) is None
    wider = largest(n, bad, 4.0, 0.1)
    assert wider is not None
    assert wider[1] == pytest.approx(found[1] / 2)


# --- slices and rules -------------------------------------------------------------------------------------------------


def test_what_rose_is_named_and_goes_back_to_the_model_of_before(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    found = watch(written(tmp_path, bad=worse_code, model=cheaper_code), change=CHANGE, overrides=rules)
    said = verdicts(found)
    assert said["task", "code"] == said["feature", "ide"] == said["all", None] == "rose"
    assert said["task", "simple"] == said["feature", "chat"] == said["feature", "mail"] == "no change shown"
    assert (said["model", "gpt-5.4"], said["model", "gpt-5.4-mini"]) == ("no change shown", "only after")
    assert found.tested == 7
    # the task and the feature are the same requests: one rule
    assert [(up.slice.dimension, up.rule.target) for up in found.ups if up.rule] == [("task", "gpt-5.4")]
    assert [o.task for o in read_table(rules).overrides] == [("code",)]


def test_rates_are_over_the_rated_and_over_all(tmp_path: Path) -> None:
    paths = written(tmp_path, bad=worse_code, rated=False)
    rows = "".join(f"r{i},{'down' if i < 200 and i % 4 == 0 else 'up'}\n" for i in range(0, 1200, 2))
    file = tmp_path / "feedback.csv"
    file.write_text("request_id,value\n" + rows)
    found = watch(paths, change=CHANGE, feedback=[file])
    everything = found.slices[0]
    assert (everything.requests, everything.rated, everything.negative) == ((600, 600), (300, 300), (50, 0))
    assert (everything.of_rated(0), everything.of_all(0)) == (50 / 300, 50 / 600)
    assert everything.verdict == "fell"
    assert not found.ups
    assert found.notes[0].startswith("Feedback of feedback.csv: 600 of 600")


def test_the_day_of_the_change_is_found(tmp_path: Path) -> None:
    found = watch(written(tmp_path, bad=worse_code))
    assert (found.change, found.chosen) == (CHANGE, True)
    assert verdicts(found)["task", "code"] == "rose"
    given = watch(written(tmp_path, bad=worse_code), change=CHANGE)
    searched_low, given_low = (next(s.rise for s in w.slices if s.name == "code") for w in (found, given))
    assert searched_low is not None
    assert given_low is not None
    assert searched_low.low is not None
    assert given_low.low is not None
    assert searched_low.low < given_low.low


def test_nothing_is_raised_where_nothing_changed(tmp_path: Path) -> None:
    for change in (CHANGE, None):
        found = watch(written(tmp_path, bad=lambda task, day, i: (i * 7 + day * 3) % 30 == 0), change=change)
        assert not found.rose
        assert not found.ups


def test_few_unhappy_users_are_no_change(tmp_path: Path) -> None:
    """The same number of bad answers, but of two users of 40."""

    def of_two(task: str, day: int, i: int) -> bool:
        return task == "code" and day >= CHANGE.day and i % 20 in (3, 4)

    many = watch(written(tmp_path, bad=of_two), change=CHANGE)
    few = watch(written(tmp_path, bad=of_two, users=20), change=CHANGE)
    assert verdicts(many)["task", "code"] == "rose"
    assert verdicts(few)["task", "code"] == "no change shown"


def test_the_same_model_goes_one_up_and_to_names_another(tmp_path: Path) -> None:
    def mini(task: str, day: int) -> str:
        return "gpt-5.4-nano" if task == "code" else "gpt-5.4-mini" if day % 2 else "gpt-5.4"

    paths = written(tmp_path, bad=worse_code, model=mini)
    assert [up.rule.target for up in watch(paths, change=CHANGE).ups if up.rule] == ["gpt-5.4-mini"]
    assert [up.rule.target for up in watch(paths, change=CHANGE, to="gpt-5.4").ups if up.rule] == ["gpt-5.4"]
    with pytest.raises(UsageError, match="--to gpt-99"):
        watch(paths, change=CHANGE, to="gpt-99")
    dearest = watch(written(tmp_path, bad=worse_code), change=CHANGE).ups
    assert [up.rule for up in dearest] == [None]
    assert "--to MODEL" in dearest[0].why


def test_rules_stand_in_front_of_those_of_a_table(tmp_path: Path) -> None:
    base, out = tmp_path / "base.yaml", tmp_path / "out.yaml"
    base.write_text("name: ours\ndefault: gpt-5.4-mini\noverrides:\n  - {feature: ide, model: codestral}\n")
    watch(written(tmp_path, bad=worse_code, model=cheaper_code), change=CHANGE, overrides=out, table=base)
    table = read_table(out)
    assert (table.name, [o.target for o in table.overrides]) == ("ours", ["gpt-5.4", "codestral"])


def test_requests_that_stand_twice_count_once(tmp_path: Path) -> None:
    paths = written(tmp_path, bad=worse_code)
    once = watch(paths, change=CHANGE)
    Path(paths[0]).write_text(Path(paths[0]).read_text() * 2)
    twice = watch(paths, change=CHANGE)
    assert (twice.requests, twice.rated, twice.repeated) == (once.requests, once.rated, 1200)
    assert twice.slices == once.slices


def test_too_little_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--feedback FILE"):
        watch(written(tmp_path, bad=worse_code, rated=False), change=CHANGE)
    with pytest.raises(UndecidedError, match="20 rated requests before and after 2026-11-01"):
        watch(written(tmp_path, bad=worse_code), change=dt.datetime(2026, 11, 1, tzinfo=dt.UTC))
    with pytest.raises(UndecidedError, match="--since-change"):
        watch(written(tmp_path, bad=lambda *_: False))


# --- to label ---------------------------------------------------------------------------------------------------------


def test_unsure_and_bad_is_written_ready_to_label(tmp_path: Path) -> None:
    """The log says simple; the classifier gives that little, and the person was unhappy."""
    paths = written(tmp_path, bad=lambda task, day, i: i == 0)
    lines = [json.loads(line) for line in Path(paths[0]).read_text().splitlines()]
    for row in lines[:200]:
        row |= {"task": "simple", "prompt": TASKS["code"]}
    Path(paths[0]).write_text("".join(json.dumps(row) + "\n" for row in lines))
    said = tmp_path / "said.csv"
    said.write_text("request_id,value,comment\nr0,down,does not compile\n")
    out = tmp_path / "to_label.csv"
    found = watch(paths, change=CHANGE, feedback=[said], output=out)
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert found.doubtful == found.labelled == len(rows) == 7
    assert {row["given"] for row in rows} == {"simple"}
    assert {row["task"] for row in rows} == {""}
    assert all(float(row["confidence"]) < 0.6 for row in rows)
    assert [row["comment"] for row in rows if row["request_id"] == "r0"] == ["does not compile"]
    assert watch(paths, change=CHANGE, output=out, n=3).labelled == 3
    labelled = tmp_path / "labelled.csv"
    pl.DataFrame(rows).with_columns(task=pl.lit("code")).write_csv(labelled)
    assert read_labels([labelled]).frame.height == 7


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command(cli: Run, tmp_path: Path) -> None:
    paths = written(tmp_path, bad=worse_code, model=cheaper_code)
    shown = cli("quality", "watch", *paths, "--since-change", "2026-10-11")
    assert shown.returncode == 0, shown.stderr
    assert "Bad answers rose: all requests, task code, feature ide." in shown.stdout
    assert "task code -> gpt-5.4" in shown.stdout
    assert "Change: 2026-10-11 (as given)" in shown.stdout
    strict = cli("quality", "watch", *paths, "--strict", "--format", "json", "--overrides", tmp_path / "o.yaml")
    assert strict.returncode == 1
    data = json.loads(strict.stdout)
    assert (data["change"], data["change_chosen"]) == ("2026-10-11T00:00:00+00:00", True)
    assert {"by": "task", "name": "code"} in data["rose"]
    assert data["overrides"][0]["rule"] == {"task": ["code"], "model": "gpt-5.4"}
    for fmt in ("csv", "markdown"):
        assert cli("quality", "watch", *paths, "--format", fmt).returncode == 0
    quiet = cli(
        "quality", "watch", *written(tmp_path, bad=lambda task, day, i: i == 0), "--overrides", tmp_path / "n.yaml"
    )
    assert (quiet.returncode, (tmp_path / "n.yaml").exists()) == (0, False)
    assert "nothing to write to" in quiet.stderr
    alone = cli("quality", "watch", *paths, "--table", "default")
    assert (alone.returncode, "--overrides FILE" in alone.stderr) == (2, True)


def test_usage_files_are_refused(cli: Run, tmp_path: Path) -> None:
    usage = tmp_path / "usage.parquet"
    assert cli("tally", *written(tmp_path, bad=worse_code), "-o", usage).returncode == 0
    refused = cli("quality", "watch", usage)
    assert refused.returncode == 3
    assert "it holds counts and no request" in refused.stderr
