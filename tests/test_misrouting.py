"""What mistakes cost: the corrected mix, retries, and the saving by accuracy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Run
from routecost.confusion import Confusion
from routecost.pipeline import commands
from routecost.pipeline.misrouting import true_mix

EXAMPLE = ("sample_logs/worked-example.jsonl", "--table", "worked-example", "--pricing", "pricing/worked-example.yaml")
MIX = (0.5, 0.2, 0.2, 0.1)


def by_hand(accuracy: float, retry: float = 1.0) -> float:
    """Share of today's cost saved in the worked example: each task has 0.0125 today; simple goes to 0.00375, code to
    0.0075, reasoning and complex stay; a mistake is any of the three other tasks alike."""
    price = (0.00375, 0.0075, 0.0125, 0.0125)
    cost = 0.0
    for i, share in enumerate(MIX):
        for k in range(4):
            p = accuracy if i == k else (1 - accuracy) / 3
            cost += share * p * (price[k] + (retry * 0.0125 if price[k] < price[i] else 0.0))
    return 1 - cost / 0.0125


@pytest.mark.parametrize("retry", [0.0, 1.0, 3.0])
def test_the_worked_example_falls_as_by_hand(cli: Run, retry: float) -> None:
    done = cli("sensitivity", *EXAMPLE, "--retry-rate", str(retry), "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    points = {p["accuracy"]: p for p in found["points"]}
    assert max(points) == 1.0
    assert min(points) == 0.25
    for accuracy, point in points.items():
        assert point["saving_share"]["estimate"] == pytest.approx(by_hand(accuracy, retry), abs=1e-9)
        assert point["saving_share"]["low"] <= point["saving_share"]["estimate"] <= point["saving_share"]["high"]
    # reasoning and complex share a model, so mistaking one for the other misroutes nothing
    assert points[0.7]["misrouted"] == pytest.approx(0.5 * 0.3 + 0.2 * 0.3 + 0.3 * 0.2)
    assert points[0.7]["under_routed"] == pytest.approx(0.2 * 0.1 + 0.3 * 0.2)
    assert points[0.7]["quality"] == pytest.approx(1 - 0.08)
    assert points[1.0]["saving_share"]["estimate"] == pytest.approx(0.43)


def test_at_70_percent_it_still_pays_about_29_percent() -> None:
    assert by_hand(0.7) == pytest.approx(0.288)


def test_the_break_even_is_where_the_saving_is_zero(cli: Run) -> None:
    found = json.loads(cli("sensitivity", *EXAMPLE, "--retry-rate", "6", "--to", "0", "--format", "json").stdout)
    assert 0 < found["break_even"] < 1
    assert by_hand(found["break_even"], 6) == pytest.approx(0, abs=1e-9)
    shown = cli("sensitivity", *EXAMPLE, "--retry-rate", "6", "--to", "0").stdout
    assert f"below an accuracy of {found['break_even']:.1%} the table costs money" in shown
    pays = cli("sensitivity", *EXAMPLE).stdout
    assert "it saves money at any accuracy down to 25%; what falls is quality" in pays


def test_harm_is_paid_for_every_under_routed_request(cli: Run) -> None:
    more = ((), ("--harm-usd", "0.01"))
    plain, harmed = (json.loads(cli("sensitivity", *EXAMPLE, *m, "--format", "json").stdout) for m in more)
    for before, after in zip(plain["points"], harmed["points"], strict=True):
        harm = 0.01 * before["under_routed"] * plain["requests"]
        lost = before["saving_usd"]["estimate"] - after["saving_usd"]["estimate"]
        assert lost == pytest.approx(harm, abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "1.5"), "--to: saw 1.5"),
        (("--retry-rate", "-1"), "--retry-rate: saw -1"),
        (("--harm-usd", "-2"), "saw -2"),
    ],
)
def test_numbers_that_make_no_sense(cli: Run, arguments: tuple[str, str], said: str) -> None:
    done = cli("sensitivity", *EXAMPLE, *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_quality_table_gives_the_expected_score(cli: Run, tmp_path: Path) -> None:
    rows = ["task,model,score"]
    for task in ("simple", "code", "reasoning", "complex"):
        for model, score in (("gpt-5.4-mini", 0.6), ("codestral", 0.8), ("gpt-5.4", 1.0)):
            rows.append(f"{task},{model},{score}")
    (tmp_path / "q.csv").write_text("\n".join(rows))
    found = json.loads(cli("sensitivity", *EXAMPLE, "--quality", tmp_path / "q.csv", "--format", "json").stdout)
    assert found["points"][0]["quality"] == pytest.approx(0.5 * 0.6 + 0.2 * 0.8 + 0.3 * 1.0)
    assert found["quality_from"] == "mean score of the quality table"


rates = st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), min_size=3, max_size=3)
shares = st.lists(st.floats(0.05, 1), min_size=3, max_size=3)


@given(rates, shares)
def test_the_corrected_mix_explains_what_was_given(off: list[list[float]], mix: list[float]) -> None:
    confusion = np.array(off) * 0.2 + np.eye(3)
    confusion /= confusion.sum(axis=1, keepdims=True)
    true = np.array(mix) / sum(mix)
    found = true_mix(confusion[None], (true @ confusion) * 1000)[0]
    assert found == pytest.approx(true, abs=0.02)
    assert found.sum() == pytest.approx(1)


def test_a_classifier_without_mistakes_corrects_nothing() -> None:
    found = true_mix(np.eye(4)[None], np.array([10.0, 20.0, 30.0, 40.0]))[0]
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_labels_take_the_place_of_the_model_card(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    row = {"model": "gpt-5.4", "input_tokens": 900, "output_tokens": 300}
    prompts = ["Who wrote Hamlet", "my docker container exits with code 137, why", "hi there"] * 20
    log.write_text("\n".join(json.dumps({**row, "prompt": p}) for p in prompts))
    labels = tmp_path / "labels.jsonl"
    question = "my docker container exits with code 137, why"
    truth = [("Who wrote Hamlet", "complex"), (question, "code"), ("hi", "simple")]
    labels.write_text("\n".join(json.dumps({"prompt": p, "task": t}) for p, t in truth * 20))
    card = commands.analyze(log, tasks_from="classifier").misrouting
    own = commands.analyze(log, tasks_from="classifier", labels=labels).misrouting
    assert card is not None
    assert own is not None
    assert "labels.jsonl" in own.confusion.source
    assert own.classified == 60
    true = {m.task: m.true for m in own.mix}
    # half of what is called simple is complex
    assert true["complex"].estimate == pytest.approx(1 / 3, abs=0.08)
    assert (true["complex"].low or 0) < true["complex"].estimate < (true["complex"].high or 1)
    assert own.under.estimate > card.under.estimate
    assert own.retry_usd.estimate == pytest.approx(own.under.estimate * (900 * 2.5e-6 + 300 * 15e-6), rel=1e-6)
    twice = commands.analyze(log, tasks_from="classifier", labels=labels, retry_rate=2, harm_usd=0.5).misrouting
    assert twice is not None
    assert twice.retry_usd.estimate == pytest.approx(2 * own.retry_usd.estimate)
    assert twice.harm_usd.estimate == pytest.approx(0.5 * own.under.estimate)


def test_what_the_log_says_is_taken_as_right(root: Path) -> None:
    assert commands.analyze(root / "sample_logs/worked-example.jsonl").misrouting is None


def test_confusion_refuses_what_is_no_matrix() -> None:
    for counts in (((1.0,),), ((1.0, -1.0), (0.0, 1.0)), ((1.0, float("nan")), (0.0, 1.0))):
        with pytest.raises(ValueError, match="confusion matrix"):
            Confusion(("a", "b"), counts, "x")
    good = Confusion.of(("a", "b"), [("a", "a"), ("a", "b"), ("b", "b"), ("c", "a")], source="x")
    assert good.counts == ((1.0, 1.0), (0.0, 1.0))
    assert Confusion.from_json(good.to_json()) == good
    assert Confusion.of(("a", "b"), [], source="x").rates()["a"] == {"a": None, "b": None}
