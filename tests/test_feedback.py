"""Feedback that arrives later and elsewhere: files, the join, what is counted, the commands."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import math
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Run
from routecost.errors import InputError, UsageError
from routecost.pipeline import commands
from routecost.pipeline.feedback import Feedback, Joining, read_feedback

CSV = "request_id,value,ts,comment,ticket\n"


def log(folder: Path, n: int = 8, **more: object) -> Path:
    path = folder / "log.jsonl"
    rows = [
        {
            "request_id": f"r{i}",
            "ts": f"2026-10-0{1 + i % 2}T10:00:0{i % 10}Z",
            "provider": "openai",
            "model": "gpt-5.4",
            "task": "simple" if i % 2 else "code",
            "prompt": "What is it?",
            "input_tokens": 100,
            "output_tokens": 10,
            **more,
        }
        for i in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def written(folder: Path, text: str, name: str = "feedback.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def said(feedback: Feedback | None) -> dict[str, float]:
    """Of r0 to r9: what the feedback says."""
    assert feedback is not None
    ids = [f"r{i}" for i in range(10)]
    at = feedback.find(pl.Series(ids))
    return {name: float(feedback.values[i]) for name, i in zip(ids, at, strict=True) if i >= 0}


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "value"),
    [("up", 1), ("DOWN", -1), ("true", 1), ("false", -1), ("-1", -1), ("1", 1), ("0.5", 0.5), ("👎", -1), ("yes", 1)],
)
def test_words_and_numbers_are_thumbs(tmp_path: Path, word: str, value: float) -> None:
    assert said(read_feedback([written(tmp_path, f"request_id,value\nr1,{word}\n")])) == {"r1": value}


def test_ratings_range_over_their_scale(tmp_path: Path) -> None:
    path = written(tmp_path, "request_id,rating\nr1,1\nr2,3\nr3,5\nr4,down\nr5,9\n")
    feedback = read_feedback([path], "1-5")
    assert said(feedback) == {"r1": -1, "r2": 0, "r3": 1, "r4": -1}
    assert feedback is not None
    assert (feedback.unread, feedback.first_unread) == (1, "feedback.csv:6: the value '9' is no feedback")


def test_json_lines_keep_true_numbers_and_different_keys(tmp_path: Path) -> None:
    rows = [
        {"request_id": "r1", "value": True},
        {"request_id": "r2", "value": -1, "comment": "no"},
        {"request_id": "r3", "ticket": "T-7"},
        {"value": 1},
        ["r4", 1],
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows) + "{broken\n\n"
    path = tmp_path / "feedback.jsonl.gz"
    path.write_bytes(gzip.compress(text.encode()))
    feedback = read_feedback([path])
    assert feedback is not None
    values = said(feedback)
    assert (values.pop("r1"), values.pop("r2")) == (1, -1)
    assert math.isnan(values.pop("r3"))
    assert not values
    assert feedback.unread == 3
    assert feedback.tickets.drop_nulls().to_list() == ["T-7"]
    assert feedback.comments.drop_nulls().to_list() == ["no"]


def test_a_json_array_is_read_too(tmp_path: Path) -> None:
    path = written(tmp_path, '[{"request_id": 12, "value": "down"}]', "feedback.json")
    feedback = read_feedback([path])
    assert feedback is not None
    assert feedback.find(pl.Series(["12"])).tolist() == [0]


def test_the_latest_value_of_a_request_counts(tmp_path: Path) -> None:
    first = written(
        tmp_path, CSV + "r1,up,2026-10-03,,\nr1,down,2026-10-02,,\nr2,up,,,\nr3,down,1760000000,,\n", "a.csv"
    )
    second = written(tmp_path, CSV + "r2,down,,,\nr3,up,1759990000000,,\n", "b.csv")
    feedback = read_feedback([first, second])
    assert said(feedback) == {"r1": 1, "r2": -1, "r3": -1}
    assert feedback is not None
    assert feedback.superseded == 3


def test_a_spreadsheet_of_another_language_is_read(tmp_path: Path) -> None:
    path = tmp_path / "feedback.csv"
    path.write_bytes('\ufeffRequest_ID;Value;Comment\r\nr1;down;"a; b"\r\n'.encode())
    assert said(read_feedback([path])) == {"r1": -1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id_of_it,value\nr1,up\n", "expected the columns request_id and value"),
        ("request_id,value\nr1,4\n", "--feedback-scale 1-5"),
        ("request_id,value\nr1,0\nr2,1\n", "--feedback-scale 0-1"),
        ("request_id,value\nr1,hm\n", "no row that can be read"),
        ("", "it has none"),
    ],
)
def test_what_is_no_feedback_is_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_feedback([written(tmp_path, text)])


def test_a_missing_file_and_a_bad_scale_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the feedback"):
        read_feedback([tmp_path / "none.csv"])
    with pytest.raises(UsageError, match="--feedback-scale: saw '5-1'"):
        read_feedback([], "5-1")


# --- the join ---------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.sampled_from([f"r{i}" for i in range(6)]), st.sampled_from([-1.0, 0.5, 1.0])), min_size=1),
    st.lists(st.sampled_from([f"r{i}" for i in range(9)]) | st.none(), max_size=12),
)
def test_the_join_is_that_of_a_dict(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, float]], ids: list[str | None]
) -> None:
    path = written(tmp_path_factory.mktemp("f"), "request_id,value\n" + "".join(f"{i},{v}\n" for i, v in rows))
    feedback = read_feedback([path])
    assert feedback is not None
    joining = Joining(feedback)
    frame = joining.join(pl.DataFrame({"request_id": pl.Series(ids, dtype=pl.String)}))
    last = dict(rows)
    wanted = [last.get(i) if i is not None else None for i in ids]
    assert (frame["feedback"].to_list() if "feedback" in frame.columns else [None] * len(ids)) == wanted
    counts = joining.counts(all_counted=True)
    assert counts["feedback_joined"] == len(last.keys() & set(ids))
    assert counts["feedback_joined"] + counts["feedback_unmatched"] == len(last)


def test_feedback_replaces_what_the_log_says_and_only_that(tmp_path: Path) -> None:
    path = log(tmp_path, feedback=1)
    file = written(tmp_path, CSV + "r0,down,,,\nr1,up,,,\nr2,,,,T-1\nnobody,down,,,\n")
    intake = commands.tally(path, feedback=[file])
    cells = intake.usage.cells
    assert (cells["feedback_n"].sum(), cells["feedback_negative"].sum()) == (8, 1)
    counts = {k: n for k, n in intake.counts.items() if k.startswith("feedback_")}
    assert counts == {
        "feedback_requests": 4,
        "feedback_joined": 3,
        "feedback_outside": 0,
        "feedback_unmatched": 1,
        "feedback_replaced": 1,
        "feedback_unread": 0,
    }
    assert intake.notes[0].startswith("Feedback of feedback.csv: 3 of 4 requests that it names were found in the log")


def test_a_period_leaves_feedback_outside_that_is_not_unmatched(tmp_path: Path) -> None:
    path, file = log(tmp_path), written(tmp_path, CSV + "r0,down,,,\nr1,down,,,\nr99,up,,,\n")

    intake = commands.tally(path, feedback=[file], since=dt.datetime(2026, 10, 2, tzinfo=dt.UTC))
    assert [intake.counts[f"feedback_{k}"] for k in ("joined", "outside", "unmatched")] == [1, 1, 1]
    assert intake.usage.cells["feedback_negative"].sum() == 1


def test_a_request_that_stands_twice_is_rated_once(tmp_path: Path) -> None:
    path, file = log(tmp_path), written(tmp_path, CSV + "r0,down,,,\n")
    path.write_text(path.read_text() * 2)
    intake = commands.tally(path, feedback=[file])
    assert intake.usage.requests == 8
    assert intake.usage.cells["feedback_n"].sum() == 1
    assert (intake.usage.cells["feedback_n"] >= 0).all()


def test_what_is_tallied_with_feedback_is_what_a_log_with_it_says(tmp_path: Path) -> None:
    file = written(tmp_path, CSV + "".join(f"r{i},down,,,\n" for i in range(8)))
    joined = commands.tally(log(tmp_path), feedback=[file]).usage
    logged = commands.tally(log(tmp_path, feedback=-1)).usage
    assert joined.cells.equals(logged.cells)
    assert joined.groups.equals(logged.groups)


# --- the commands -----------------------------------------------------------------------------------------------------


def test_analyze_and_simulate_show_rates_over_rated_and_over_all(cli: Run, tmp_path: Path) -> None:
    path, file = log(tmp_path), written(tmp_path, CSV + "r0,down,,,\nr2,up,,,\n")
    for command in ("analyze", "simulate"):
        found = cli(command, path, "--feedback", file, "--format", "json")
        assert found.returncode == 0, found.stderr
        feedback = json.loads(found.stdout)["feedback"]
        assert (feedback["joined"], feedback["unmatched"]) == (2, 0)
        code = next(r for r in feedback["rates"] if r.get("task") == "code")
        assert (code["requests"], code["rated"], code["negative"]) == (4, 2, 1)
        assert (code["negative_of_rated"], code["negative_of_all"]) == (0.5, 0.25)
        assert code["low"] == pytest.approx(0.0945, abs=1e-3)
    shown = cli("analyze", path, "--feedback", file).stdout
    assert "Feedback\n" in shown
    assert "Of rated" in shown


def test_without_the_option_nothing_of_it_is_said(cli: Run, tmp_path: Path) -> None:
    shown = cli("analyze", log(tmp_path, feedback=1), "--format", "json").stdout
    assert "feedback" not in json.loads(shown)
    assert not any("Feedback" in note for note in json.loads(shown)["input"]["notes"])


def test_from_logs_grades_by_feedback_of_a_file(cli: Run, tmp_path: Path) -> None:
    path, file = (
        log(tmp_path),
        written(tmp_path, "request_id,value\n" + "".join(f"r{i},{1 + i % 5}\n" for i in range(8))),
    )
    out = tmp_path / "quality.csv"
    found = cli(
        "quality", "from-logs", path, "--feedback", file, "--feedback-scale", "1-5", "-o", out, "--format", "json"
    )
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["graded"] == 8
    assert (
        "8 of 8 requests"
        in cli("quality", "from-logs", path, "--feedback", file, "--feedback-scale", "1-5", "-o", out).stdout
    )


def test_a_usage_file_cannot_be_joined_but_keeps_what_was(cli: Run, tmp_path: Path) -> None:
    path, file, usage = log(tmp_path), written(tmp_path, CSV + "r0,down,,,\n"), tmp_path / "usage.parquet"
    made = cli("tally", path, "--feedback", file, "-o", usage)
    assert made.returncode == 0, made.stderr
    assert "1 of 1 requests" in made.stderr
    refused = cli("analyze", usage, "--feedback", file)
    assert refused.returncode == 3
    assert "keeps no request ids" in refused.stderr
    assert "Feedback\n" in cli("analyze", usage).stdout
