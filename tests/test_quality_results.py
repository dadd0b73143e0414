"""Results of benchmarks and judges, and what becomes of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routecost.errors import InputError, UsageError
from routecost.quality import (
    GRADED,
    Scale,
    Settings,
    output_ratios,
    parse_map,
    parse_scale,
    read_prompts,
    read_quality,
    read_results,
    table_of,
    write_quality,
)

REPORTS = Path(__file__).parent / "quality"


def answers(*rows: Mapping[str, Any]) -> pl.DataFrame:
    usual = {**dict.fromkeys(GRADED), "task": "code", "source": "s", "weight": 1.0}
    return pl.DataFrame([{**usual, **row} for row in rows], schema=GRADED)


def scored(model: str, *scores: float | None, **more: Any) -> list[dict[str, Any]]:
    return [{"model": model, "id": str(i), "score": s, **more} for i, s in enumerate(scores)]


def only(frame: pl.DataFrame, **key: Any) -> dict[str, Any]:
    return frame.filter(*(pl.col(k).eq_missing(pl.lit(v)) for k, v in key.items())).row(0, named=True)


# --- answers to a table -----------------------------------------------------------------------------------------------


def test_grades_and_pairs_by_hand() -> None:
    frame = table_of(answers(*scored("a", 1.0, 1.0, 0.0, 1.0), *scored("b", 1.0, 0.0, 0.0)))
    a, b = only(frame, model="a", versus=None), only(frame, model="b", versus=None)
    assert (a["n"], a["score"], a["squares"], a["successes"]) == (4, 0.75, 3.0, 3)
    assert (b["n"], b["score"], b["successes"]) == (3, pytest.approx(1 / 3), 1)
    pair = only(frame, model="a", versus="b")
    # on the three ids that both answered: one discordant
    assert (pair["n"], pair["score"], pair["squares"]) == (3, pytest.approx(1 / 3), pytest.approx(1.0))


def test_weights_are_how_many_requests_an_id_stands_for() -> None:
    rows = [{"model": "a", "id": str(i), "score": s, "weight": w} for i, (s, w) in enumerate([(1.0, 3.0), (0.0, 1.0)])]
    row = table_of(answers(*rows)).row(0, named=True)
    # Kish: 16 / 10, rounded down
    assert (row["n"], row["score"], row["squares"], row["successes"]) == (1, 0.75, 0.75, None)
    equal = table_of(answers(*({**r, "weight": 0.1} for r in rows))).row(0, named=True)
    assert (equal["n"], equal["score"], equal["successes"]) == (2, 0.5, 1)


def test_repeated_answers_to_one_id_are_one() -> None:
    rows = [*scored("a", 1.0, 0.0), *scored("a", 0.0, 0.0), *scored("b", 1.0, 1.0)]
    frame = table_of(answers(*rows))
    assert only(frame, model="a", versus=None)["score"] == 0.25
    assert only(frame, model="a", versus="b")["score"] == pytest.approx(-0.75)


def test_models_of_different_sources_are_no_pair() -> None:
    frame = table_of(answers(*scored("a", 1.0, source="x"), *scored("b", 1.0, source="y")))
    assert frame["versus"].null_count() == frame.height == 2


def test_what_is_not_graded_still_tells_latency_cost_and_length() -> None:
    rows = [
        {"model": "a", "id": str(i), "latency_ms": 100.0 + i, "cost_usd": 0.1, "output_tokens": 10.0}
        for i in range(100)
    ]
    row = table_of(answers(*rows)).row(0, named=True)
    assert (row["n"], row["score"], row["cost_usd"]) == (None, None, pytest.approx(0.1))
    assert (row["latency_p50_ms"], row["latency_p95_ms"], row["latency_p99_ms"]) == (149.0, 194.0, 198.0)
    assert table_of(answers(*rows[:99])).row(0, named=True)["latency_p99_ms"] is None


graded = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([1.0, 2.5])),
    min_size=1,
    max_size=30,
)


@given(graded)
def test_a_table_of_any_answers_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, float, float]]
) -> None:
    weights = {i: w for _, i, _, w in rows}
    frame = table_of(answers(*({"model": m, "id": str(i), "score": s, "weight": weights[i]} for m, i, s, _ in rows)))
    path = tmp_path_factory.mktemp("t") / "q.csv"
    write_quality(frame, path)
    assert read_quality(path).equals(frame)


# --- lengths ----------------------------------------------------------------------------------------------------------


def lengths(*rows: tuple[str, str, int, float]) -> dict[str, float]:
    frame = pl.DataFrame(rows, schema=["item", "model", "n", "tokens"], orient="row").with_columns(task=pl.lit("code"))
    return {m: r for _, m, r, _ in output_ratios(frame).iter_rows()}


def test_lengths_are_compared_on_what_several_models_answered() -> None:
    # b answers the long item only: its mean is high, its ratio is not
    found = lengths(("short", "a", 2, 20.0), ("long", "a", 2, 200.0), ("long", "b", 1, 50.0), ("alone", "b", 9, 9000.0))
    assert found == {"a": 1.0, "b": pytest.approx(0.5)}


def test_models_are_compared_by_way_of_others() -> None:
    found = lengths(
        ("x", "a", 3, 30.0), ("x", "b", 1, 20.0), ("y", "b", 1, 10.0), ("y", "c", 1, 30.0), ("z", "d", 1, 1.0),
        ("z", "e", 1, 1.0),
    )  # fmt: skip
    assert found == {"a": 1.0, "b": pytest.approx(2.0), "c": pytest.approx(6.0)}
    assert lengths(("x", "a", 1, 5.0)) == {}


@given(st.lists(st.floats(0.2, 5), min_size=2, max_size=4), st.lists(st.floats(5, 500), min_size=1, max_size=6))
def test_true_ratios_are_found(ratios: list[float], sizes: list[float]) -> None:
    rows = [(str(i), str(m), 1, size * r) for i, size in enumerate(sizes) for m, r in enumerate(ratios)]
    found = lengths(*rows)
    assert found == {str(m): pytest.approx(r / ratios[0], rel=1e-6) for m, r in enumerate(ratios)}


# --- reports ----------------------------------------------------------------------------------------------------------


def test_promptfoo() -> None:
    found = read_results([REPORTS / "promptfoo.json"], Settings())
    frame = table_of(found.answers)
    large, small = only(frame, model="gpt-5.4"), only(frame, model="gpt-5.4-mini", versus=None)
    assert (large["task"], large["source"], large["date"]) == ("code", "promptfoo", "2026-10-20")
    # four graded answers and one from the cache; the one without an assertion says nothing
    assert (large["n"], large["score"], large["error_rate"]) == (5, pytest.approx(0.9), 0.0)
    assert (small["n"], small["score"], small["error_rate"]) == (3, pytest.approx(1.75 / 3), 0.25)
    assert (large["output_ratio"], small["output_ratio"]) == (1.0, pytest.approx(0.5))
    assert only(frame, versus="gpt-5.4-mini")["n"] == 3
    assert [note.split(":")[0] for note in found.notes] == [
        "Failed calls",
        "Answers from promptfoo's cache",
        "Answers without an assertion",
    ]


def test_promptfoo_by_pass_and_by_named_score(tmp_path: Path) -> None:
    report = [REPORTS / "promptfoo.json"]
    passed = table_of(read_results(report, Settings(metric="success")).answers)
    assert only(passed, model="gpt-5.4-mini", versus=None)["successes"] == 2
    named = table_of(read_results(report, Settings(metric="style")).answers)
    assert only(named, model="gpt-5.4", versus=None)["score"] == 1.0
    with pytest.raises(InputError, match=r"no metric 'stile'\. It has style"):
        read_results(report, Settings(metric="stile"))
    # the same as JSONL, a result a line
    rows = json.loads(report[0].read_text())["results"]["results"]
    (tmp_path / "out.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lines = table_of(read_results([tmp_path / "out.jsonl"], Settings()).answers)
    assert lines.drop("date").equals(table_of(read_results(report, Settings()).answers).drop("date"))


@pytest.mark.parametrize(
    ("provider", "label", "model"),
    [
        ("openai:chat:gpt-5.4", "", "gpt-5.4"),
        ("openai:gpt-5.4", None, "gpt-5.4"),
        ("anthropic:messages:claude-sonnet-4-6", "", "claude-sonnet-4-6"),
        ("openrouter:meta-llama/llama-3.3-70b", "", "meta-llama/llama-3.3-70b"),
        ("bedrock:anthropic.claude-haiku-4-5-20251001-v1:0", "", "anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("ollama:chat:llama3:8b", "", "llama3:8b"),
        ("file://provider.py", "our agent", "our agent"),
    ],
)
def test_models_of_promptfoo_providers(provider: str, label: str | None, model: str, tmp_path: Path) -> None:
    content = json.loads((REPORTS / "promptfoo.json").read_text())
    row = content["results"]["results"][0]
    row["provider"] = {"id": provider, "label": label}
    content["results"]["results"] = [row]
    (tmp_path / "r.json").write_text(json.dumps(content))
    assert read_results([tmp_path / "r.json"], Settings()).answers["model"].to_list() == [model]
    renamed = Settings(models={provider: "ours"})
    assert read_results([tmp_path / "r.json"], renamed).answers["model"].to_list() == ["ours"]


MAP = {"gsm8k": "reasoning", "mmlu*": "simple"}


def test_lm_eval_answers_and_totals() -> None:
    found = read_results([REPORTS / "lm-eval"], Settings(tasks=MAP))
    frame = pl.concat([table_of(found.answers), found.totals])
    gsm8k = only(frame, model="openai/gpt-5.4-mini", source="lm-eval gsm8k")
    assert (gsm8k["task"], gsm8k["n"], gsm8k["successes"], gsm8k["date"]) == ("reasoning", 8, 5, "2026-10-21")
    # 2 and 5 differ one way, 6 the other
    pair = only(frame, versus="openai/gpt-5.4-mini")
    assert (pair["n"], pair["score"], pair["squares"]) == (8, 0.125, 3.0)
    # a group is the sum of its parts, which stand beside it
    assert found.totals["source"].to_list() == ["lm-eval mmlu_anatomy"] * 2
    assert found.totals["successes"].to_list() == [34, 30]
    assert "Left out, as --task-map does not name it: truthfulqa_mc2." in found.notes
    assert any("it also has exact_match,flexible-extract" in note for note in found.notes)


def test_lm_eval_totals_alone(tmp_path: Path) -> None:
    (report,) = (REPORTS / "lm-eval" / "openai__gpt-5.4").glob("results_*.json")
    totals = read_results([report], Settings(tasks={"gsm8k": "reasoning", "truthfulqa*": "simple"})).totals
    assert only(totals, source="lm-eval gsm8k")["successes"] == 6
    # graded by degrees: as much spread as the standard error tells
    row = only(totals, source="lm-eval truthfulqa_mc2")
    assert row["n"] == 817
    other = read_results([report], Settings(tasks={"gsm8k": "reasoning"}, metric="exact_match,flexible-extract")).totals
    assert other["successes"].to_list() == [7]
    # without n-samples the standard error tells how many they were
    content = json.loads(report.read_text())
    del content["n-samples"]
    (tmp_path / report.name).write_text(json.dumps(content))
    bare = read_results([tmp_path / report.name], Settings(tasks={"gsm8k": "reasoning"}))
    assert (bare.totals["n"].to_list(), bare.totals["successes"].to_list()) == ([8], [6])
    assert any("taken from the standard error" in note for note in bare.notes)


def test_lm_eval_squares_follow_from_the_standard_error(tmp_path: Path) -> None:
    values = {"f1,none": 0.5, "f1_stderr,none": 0.1}
    content = {"results": {"drop": values}, "n-samples": {"drop": {"effective": 10}}, "model_name": "m"}
    (tmp_path / "results.json").write_text(json.dumps(content))
    row = read_results([tmp_path / "results.json"], Settings(tasks={"drop": "reasoning"})).totals.row(0, named=True)
    # variance n * 0.01 = 0.1 of (n - 1), and n * 0.25
    assert (row["n"], row["score"], row["squares"], row["successes"]) == (10, 0.5, pytest.approx(3.4), None)


def test_judges(tmp_path: Path) -> None:
    found = read_results([REPORTS / "judge.csv"], Settings(scale=Scale(1, 5)))
    frame = table_of(found.answers)
    row = only(frame, model="gpt-5.4-mini", versus=None)
    assert (row["source"], row["n"], row["score"]) == ("judge", 3, 0.5)
    assert (row["latency_p50_ms"], row["cost_usd"], row["output_ratio"]) == (
        400.0,
        pytest.approx(0.0015),
        pytest.approx(1.5),
    )
    assert any("not read: judge_comment" in note for note in found.notes)
    with pytest.raises(InputError, match=r"score 5, expected 0 \(bad\) to 1 \(good\).*--judge-scale 1-5"):
        read_results([REPORTS / "judge.csv"], Settings())
    with pytest.raises(InputError, match="grade 5 is outside of --judge-scale 1-4"):
        read_results([REPORTS / "judge.csv"], Settings(scale=Scale(1, 4)))


def test_prompts_give_task_and_weight(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"id": "x", "task": "code", "weight": 7.5}\n\n{"id": "y", "task": "simple"}\n')
    (tmp_path / "r.jsonl").write_text(
        '{"id": "x", "model": "a", "score": true}\n{"id": "y", "model": "a", "score": "fail"}\n'
        '{"id": "z", "model": "a", "score": 1}\n{"id": "x", "model": "b", "score": null}\n'
    )
    prompts = read_prompts(tmp_path / "p.jsonl")
    assert prompts == {"x": ("code", 7.5), "y": ("simple", 1.0)}
    found = read_results([tmp_path / "r.jsonl"], Settings(prompts=prompts))
    assert found.answers.select("task", "id", "model", "score", "weight").rows() == [
        ("code", "x", "a", 1.0, 7.5),
        ("simple", "y", "a", 0.0, 1.0),
        ("code", "x", "b", None, 7.5),
    ]
    assert found.notes == (
        "Results left out, as their ids are not among --prompts: 1.",
        "Answers without a score, so not graded: 1.",
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("r.csv", "id,task,model,score\n1,code,a,x\n", "score 'x' is no number"),
        ("r.csv", "id,task,modle,score\n1,code,a,1\n", "no column 'model' .*Did you mean modle"),
        ("r.csv", "id,task,model,score\n,code,a,1\n", "row 1 has no id"),
        ("r.csv", "id,model,score\n1,a,1\n", "row 1 .1. has no task. Add a column `task`, or .* --prompts"),
        ("r.csv", "id,task,model,score,cost_usd\n1,code,a,1,-2\n", "cost_usd -2, expected 0 or more"),
        ("r.csv", "id,task,model,score,weight\n1,code,a,1,0\n", "weight 0, expected more than 0"),
        ("r.csv", "id,task,model,score,latency_ms\n1,code,a,1,fast\n", "latency_ms 'fast' is no number"),
        ("r.csv", "id,task,model,score\n", "no result in"),
        ("r.jsonl", "{\n", "line 1: not JSON"),
        ("r.jsonl", "[1]\n", "expected a JSON object"),
        ("r.json", '{"a": 1}', "not results that are known"),
        ("r.json", '{"results": {"gsm8k": {"exact_match,none": 1}}}', "Say it with --task-map"),
        ("r.parquet", "PAR1", "not results that can be read"),
    ],
)
def test_reports_that_cannot_be_read(name: str, content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=said):
        read_results([tmp_path / name], Settings())


def test_a_map_that_names_nothing_is_told() -> None:
    found = read_results(
        [REPORTS / "judge.csv"], Settings(scale=Scale(1, 5), models={"gpt-9": "x"}, tasks={"simple": "faq"})
    )
    assert found.answers["task"].unique().to_list() == ["faq"]
    assert "Nothing in the results is called gpt-9, which a map names." in found.notes


def test_scales_and_maps() -> None:
    assert [parse_scale(t) for t in ("1-5", "0..100", "-1-1", "0 to 1.5")] == [
        Scale(1, 5), Scale(0, 100), Scale(-1, 1), Scale(0, 1.5)
    ]  # fmt: skip
    assert parse_map("--task-map", ["a=b, c=d", "e=f"]) == {"a": "b", "c": "d", "e": "f"}
    for text in ("5", "5-1", "good-bad"):
        with pytest.raises(UsageError, match="--judge-scale"):
            parse_scale(text)
    with pytest.raises(UsageError, match="expected THEIRS=OURS"):
        parse_map("--task-map", ["gsm8k"])
