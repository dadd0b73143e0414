"""What a log tells of quality, and the prompts that stand for it."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from conftest import Run
from routecost.errors import InputError, UsageError
from routecost.pipeline import evidence, grading
from routecost.quality import read_notes, read_quality

Rows = list[dict[str, Any]]

USUAL: dict[str, Any] = {
    "provider": "openai",
    "model": "gpt-5.4",
    "task": "code",
    "prompt": "Why does this loop never end?",
    "input_tokens": 100,
    "output_tokens": 50,
    "latency_ms": 1000,
    "status": "ok",
    "finish_reason": "stop",
}
MINI, LARGE = "openai/gpt-5.4-mini", "openai/gpt-5.4"


def write(path: Path, *rows: Mapping[str, Any]) -> str:
    lines = [
        json.dumps({"request_id": f"r{i}", "ts": f"2026-10-05T10:{i // 60:02}:{i % 60:02}Z", **USUAL, **row})
        for i, row in enumerate(rows)
    ]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def graded(tmp_path: Path, *rows: Mapping[str, Any], **options: Any) -> pl.DataFrame:
    log = write(tmp_path / "log.jsonl", *rows)
    return evidence.from_logs([log], tmp_path / "q.csv", **options).frame


def only(frame: pl.DataFrame, **key: Any) -> dict[str, Any]:
    return frame.filter(*(pl.col(k).eq_missing(pl.lit(v)) for k, v in key.items())).row(0, named=True)


def test_feedback_is_a_score_from_0_to_1(tmp_path: Path) -> None:
    rows: Rows = [{"feedback": f} for f in (1, 1, 1, -1)] + [{}]
    row = only(graded(tmp_path, *rows), model=LARGE)
    assert (row["n"], row["score"], row["squares"], row["successes"]) == (4, 0.75, 3.0, 3)
    assert (row["source"], row["date"]) == ("feedback", "2026-10-05")
    assert row["latency_p50_ms"] == pytest.approx(1000, rel=0.01)
    # 100 at $2.50 and 50 at $15 a million
    assert row["cost_usd"] == pytest.approx(0.001)
    rated = only(graded(tmp_path, {"feedback": 0.5}, {"feedback": -1}), model=LARGE)
    assert (rated["score"], rated["squares"], rated["successes"]) == (0.375, 0.5625, None)


def test_what_is_written_reads_back_with_its_caveats(tmp_path: Path) -> None:
    frame = graded(tmp_path, *({"feedback": 1} for _ in range(3)), *({} for _ in range(7)))
    assert read_quality(tmp_path / "q.csv").equals(frame)
    notes = read_notes(tmp_path / "q.csv")
    assert notes[0].startswith("3 of 10 requests (30.0%) have feedback.")
    assert any("Who got which model was not random" in note for note in notes)


def test_requests_that_are_not_alike_are_told(tmp_path: Path) -> None:
    rows: Rows = [{"model": "gpt-5.4-mini", "input_tokens": 100}, {"input_tokens": 300}] * 30
    graded(tmp_path, *rows)
    assert any(
        f"At code, {LARGE} was given requests 3.0 times as long as {MINI}" in n for n in read_notes(tmp_path / "q.csv")
    )


def test_rates(tmp_path: Path) -> None:
    rows: Rows = [
        {"status": "error", "output_tokens": 0},
        {"finish_reason": "length"},
        {"attempt": 2},
        {},
        {},
    ]
    row = only(graded(tmp_path, *rows), model=LARGE)
    assert (row["error_rate"], row["truncation_rate"], row["retry_rate"]) == (0.2, 0.25, 0.2)
    # no session: nobody knows what was asked again
    assert row["regenerate_rate"] is None


def test_fields_that_the_log_lacks_are_unknown_not_zero(tmp_path: Path) -> None:
    bare: Rows = [{"status": None, "finish_reason": None}] * 2
    row = only(graded(tmp_path, *bare), model=LARGE)
    assert (row["error_rate"], row["truncation_rate"], row["retry_rate"]) == (None, None, None)


def test_requests_without_task_or_model_and_cache_answers_are_left_out_and_counted(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", {}, {"model": None}, {"gateway_cache_hit": True, "feedback": -1})
    result = evidence.from_logs([log], tmp_path / "q.csv")
    assert (result.requests, result.unplaced, result.cached, result.graded) == (1, 1, 1, 0)
    empty = write(tmp_path / "none.jsonl", {"model": None})
    with pytest.raises(InputError, match="no request of a known task and model"):
        evidence.from_logs([empty], tmp_path / "q.csv")


# --- asked again ------------------------------------------------------------------------------------------------------

LONG = "Please write a short function in Python that removes all empty lines from a text file"


def again(tmp_path: Path, first: Mapping[str, Any], second: Mapping[str, Any], seconds: int = 60) -> bool:
    minute, second_of = divmod(seconds, 60)
    rows: Rows = [
        {"session_id": "s", "ts": "2026-10-05T10:00:00Z", **first},
        {"session_id": "s", "ts": f"2026-10-05T10:{minute:02}:{second_of:02}Z", **second},
    ]
    frame = graded(tmp_path, *rows, signal="outcome")
    return bool(frame.filter(pl.col("versus").is_null())["regenerate_rate"].max() == 0.5)


@pytest.mark.parametrize(
    ("first", "second", "seconds", "said"),
    [
        ({}, {}, 60, True),
        ({}, {}, 600, True),
        ({}, {}, 601, False),
        # sent before the first answer was there: two calls side by side
        ({"latency_ms": 90_000}, {}, 60, False),
        ({}, {"session_id": "other"}, 60, False),
        ({}, {"prompt": "why does this  loop never end"}, 60, True),
        ({}, {"prompt": "Why does this loop ever end?"}, 60, False),
        ({"prompt": LONG}, {"prompt": LONG.replace("short", "shorter")}, 60, True),
        # another question about the same text
        ({"prompt": LONG + " with 3 lines"}, {"prompt": LONG + " with 4 lines"}, 60, False),
        ({"prompt": f"Translate this: {LONG}"}, {"prompt": f"Shorten this: {LONG}"}, 60, False),
        # what failed is asked again by itself
        ({"status": "error"}, {}, 60, False),
        # steps of an agent: the conversation has grown, the message stands in it once
        ({"n_messages": 2}, {"n_messages": 4}, 60, False),
        ({"n_messages": 2}, {"n_messages": 2}, 60, True),
        ({"n_messages": 2}, {"n_messages": 4, "previous_prompt": USUAL["prompt"]}, 60, True),
        ({"finish_reason": "tool_calls"}, {}, 60, False),
        ({}, {"input_tokens": 900}, 60, True),
        # where the log tells what was said before, tokens tell that the conversation has grown
        ({"previous_prompt": "Hi"}, {"previous_prompt": "Hi", "input_tokens": 900}, 60, False),
        ({"previous_prompt": "Hi"}, {"previous_prompt": "Hi"}, 60, True),
    ],
)
def test_asked_again(
    first: Mapping[str, Any], second: Mapping[str, Any], seconds: int, said: bool, tmp_path: Path
) -> None:
    assert again(tmp_path, first, second, seconds) is said


def test_a_line_that_stands_twice_is_not_asked_again(tmp_path: Path) -> None:
    row = {"request_id": "one", "session_id": "s", "feedback": 1}
    found = only(graded(tmp_path, row, row), model=LARGE)
    assert (found["n"], found["regenerate_rate"]) == (1, 0.0)


def test_outcome_is_what_went_wrong(tmp_path: Path) -> None:
    rows: Rows = [
        {},
        {"status": "error"},
        {"finish_reason": "length"},
        {"session_id": "s", "ts": "2026-10-05T11:00:00Z"},
        {"session_id": "s", "ts": "2026-10-05T11:01:00Z"},
    ]
    row = only(graded(tmp_path, *rows, signal="outcome"), model=LARGE)
    assert (row["n"], row["successes"], row["score"], row["source"]) == (5, 2, 0.4, "outcome")


# --- overlaps ---------------------------------------------------------------------------------------------------------


def test_pairs_are_templates_that_two_models_served(tmp_path: Path) -> None:
    order = "Where is order {}? It was due on 3 May, says 'Anna'."
    rows: Rows = [
        {"prompt": order.format(1), "feedback": 1, "output_tokens": 100},
        {"prompt": order.format("A-77"), "feedback": 1, "output_tokens": 100},
        {"prompt": order.format(99), "feedback": -1, "model": "gpt-5.4-mini", "output_tokens": 150},
        {"prompt": "Say hello", "feedback": 1, "output_tokens": 10},
        {"prompt": "Say hello", "feedback": 1, "model": "gpt-5.4-mini", "output_tokens": 15},
        # served by one, or graded on one
        {"prompt": "Alone", "feedback": -1, "output_tokens": 9000},
        {"prompt": "Half", "feedback": 1},
        {"prompt": "Half", "model": "gpt-5.4-mini"},
        {"prompt": "Say hello", "system": "Be brief.", "feedback": -1},
    ]
    frame = graded(tmp_path, *rows)
    pair = only(frame, versus=MINI)
    # differences 1 (weight 2/3) and 0 (weight 1/2): Kish 1.96
    assert (pair["model"], pair["n"], pair["score"]) == (LARGE, 1, pytest.approx(4 / 7))
    assert pair["squares"] == pytest.approx(4 / 7)
    large, small = only(frame, model=LARGE, versus=None), only(frame, model=MINI)
    # r solves 215 = r * (350 / (2 + r) + 25 / (1 + r) + 100 / (1 + r)): the third template has 50 tokens each
    assert (large["output_ratio"], small["output_ratio"]) == (1.0, pytest.approx(1.3755, abs=1e-4))


def test_more_requests_than_are_kept_are_sampled_by_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: Rows = [{"session_id": f"s{i // 2}", "prompt": f"words {'abcdefgh'[i % 8]}"} for i in range(400)]
    log = write(tmp_path / "log.jsonl", *rows)
    monkeypatch.setattr(grading, "MOST_ROWS", 150)
    result = evidence.from_logs([log], tmp_path / "q.csv", signal="outcome")
    row = only(result.frame, model=LARGE)
    # whole sessions, and the rates are of all requests
    assert 0 < row["n"] <= 150
    assert row["n"] % 2 == 0
    assert row["error_rate"] == 0.0
    assert any("of the sessions, drawn by hash" in note for note in result.notes)


# --- usage files ------------------------------------------------------------------------------------------------------


def test_a_usage_file_tells_the_same_but_for_what_it_does_not_keep(cli: Run, tmp_path: Path) -> None:
    rows: Rows = [
        {"feedback": 1},
        {"feedback": -1},
        {"finish_reason": "length"},
        {"status": "error"},
        {"attempt": 3},
    ]
    log = write(tmp_path / "log.jsonl", *rows)
    assert cli("tally", log, "-o", tmp_path / "u.parquet").returncode == 0
    of_log = evidence.from_logs([log], tmp_path / "a.csv")
    of_file = evidence.from_logs([str(tmp_path / "u.parquet")], tmp_path / "b.csv")
    assert of_file.frame.equals(of_log.frame)
    assert any("A usage file keeps no prompts" in note for note in of_file.notes)
    outcome = evidence.from_logs([str(tmp_path / "u.parquet")], tmp_path / "b.csv", signal="outcome")
    assert outcome.frame["successes"].to_list() == [3]
    assert any("takes the log" in note for note in outcome.notes)


# --- prompt sets ------------------------------------------------------------------------------------------------------


def prompts(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_prompt_set_stands_for_the_log(tmp_path: Path) -> None:
    rows: Rows = [{"task": "simple", "prompt": f"What is {i} plus one?", "feature": "chat"} for i in range(300)]
    rows += [{"task": "code", "prompt": f"Fix line {i}", "feature": f"f{i % 12}"} for i in range(60)]
    log = write(tmp_path / "log.jsonl", *rows, {"prompt": " "})
    result = evidence.sample([log], 20, tmp_path / "p.jsonl", per_task=True)
    drawn = prompts(tmp_path / "p.jsonl")
    assert (result.prompts, result.requests, result.left_out) == (40, 360, 1)
    assert list(drawn[0]) == ["id", "task", "prompt", "system", "previous_prompt", "weight"]
    for task, size in (("simple", 300), ("code", 60)):
        assert sum(p["weight"] for p in drawn if p["task"] == task) == pytest.approx(size)
    assert stat.S_IMODE((tmp_path / "p.jsonl").stat().st_mode) == 0o600
    # in all, by size
    evidence.sample([log], 36, tmp_path / "p.jsonl")
    assert sum(p["task"] == "simple" for p in prompts(tmp_path / "p.jsonl")) == 30


def test_the_same_seed_draws_the_same_whatever_the_order(tmp_path: Path) -> None:
    rows: Rows = [{"request_id": f"x{i}", "ts": None, "prompt": f"What is {i}?"} for i in range(50)]
    one, two = write(tmp_path / "a.jsonl", *rows), write(tmp_path / "b.jsonl", *reversed(rows))
    for log, out in ((one, "1.jsonl"), (two, "2.jsonl")):
        evidence.sample([log], 10, tmp_path / out)
    assert (tmp_path / "1.jsonl").read_text() == (tmp_path / "2.jsonl").read_text()
    evidence.sample([one], 10, tmp_path / "3.jsonl", seed=1)
    assert (tmp_path / "1.jsonl").read_text() != (tmp_path / "3.jsonl").read_text()


def test_a_prompt_drawn_twice_is_one_with_both_weights(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", *[{}] * 10)
    evidence.sample([log], 5, tmp_path / "p.jsonl")
    (only_one,) = prompts(tmp_path / "p.jsonl")
    assert only_one["weight"] == pytest.approx(10)


HOSTILE = ("file:///etc/passwd", "package:x:y", "Fill in {{prompt}} and {% if x %}", "plain: #1\n- no: list")


def test_promptfoo_takes_prompts_as_they_are(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", *({"prompt": p, "system": "Be {{ kind }}."} for p in HOSTILE))
    result = evidence.sample([log], 10, tmp_path / "p.jsonl", promptfoo=True)
    assert result.promptfoo == tmp_path / "p.promptfoo.yaml"
    assert stat.S_IMODE(result.promptfoo.stat().st_mode) == 0o600
    tests = yaml.safe_load(result.promptfoo.read_text())
    assert {t["metadata"]["id"] for t in tests} == {p["id"] for p in prompts(tmp_path / "p.jsonl")}
    written = [t["vars"]["rc_prompt"] for t in tests]
    # what would be loaded begins with a space; nothing else is changed
    assert not any(text.startswith(("file:", "package:")) for text in written)
    assert sorted(text.lstrip() for text in written) == sorted(HOSTILE)
    # promptfoo replaces the names of variables inside of variables
    assert not any(name in text for text in written for name in tests[0]["vars"])


def test_a_log_without_text_gives_no_prompt(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", {"prompt": None})
    with pytest.raises(InputError, match="no request with a task and text"):
        evidence.sample([log], 10, tmp_path / "p.jsonl")
    with pytest.raises(UsageError, match=r"name it .*p\.jsonl"):
        evidence.sample([log], 10, tmp_path / "p.csv")
