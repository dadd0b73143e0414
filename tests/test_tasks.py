"""Task types: the log first, then rules in order, then the classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routecost import tasks
from routecost.errors import InputError
from routecost.pipeline.labelling import read_labels
from routecost.tasks import Rule, Rules, classify, read_rules

CORPUS = Path(__file__).parents[2] / "shared/data/corpus"


class Fake:
    """Says `reasoning` with 0.7 for every prompt, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str | None]] = []

    def __call__(self, requests: pl.DataFrame) -> pl.DataFrame:
        assert tuple(requests.columns) == tasks.SEEN
        prompts = requests["prompt"]
        self.asked.append(prompts.to_list())
        some = pl.when(prompts.is_not_null() & (prompts != ""))
        return pl.select(task=some.then(pl.lit("reasoning")), confidence=some.then(0.7))


def rules(*given: dict[str, Any]) -> Rules:
    return Rules(tuple(Rule(**rule) for rule in given))


def decided(frame: pl.DataFrame, some: Rules, predict: tasks.Predict | None = None) -> list[tuple[Any, ...]]:
    return classify(frame, predict, some).select("task", "task_source", "confidence").rows()


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tasks.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("rule", "row", "matches"),
    [
        ({"pattern": "def "}, {"prompt": "a\ndef f"}, True),
        ({"pattern": "def "}, {"prompt": "define"}, False),
        ({"pattern": "def "}, {"prompt": None}, False),
        ({"pattern": "(?i)LEGAL"}, {"prompt": "legal"}, True),
        ({"system_pattern": "^You review"}, {"system": "You review code"}, True),
        ({"system_pattern": "^You review"}, {"system": None}, False),
        ({"feature": "faq-*"}, {"feature": "faq-billing"}, True),
        ({"feature": "faq-*"}, {"feature": "my-faq-billing"}, False),
        ({"feature": "faq-*"}, {"feature": None}, False),
        ({"feature": "faq"}, {"feature": "faq-2"}, False),
        ({"feature": "faq"}, {"feature": "FAQ"}, False),
        ({"feature": "a.c?"}, {"feature": "abcd"}, False),
        ({"feature": "a.c?"}, {"feature": "a.cd"}, True),
        ({"feature": "[x]*"}, {"feature": "[x]\ny"}, True),
        ({"model": "gpt-*"}, {"model": "gpt-5.4"}, True),
        ({"provider": "groq"}, {"provider": "groq"}, True),
        ({"project": "web*"}, {"project": "website"}, True),
        ({"file": "*code*.csv"}, {"file": "logs/azure_code_2023.csv"}, True),
        ({"min_input_tokens": 100}, {"input_tokens": 100}, True),
        ({"min_input_tokens": 100}, {"input_tokens": 99}, False),
        ({"min_input_tokens": 100}, {"input_tokens": 60, "cache_read_tokens": 40}, True),
        ({"min_input_tokens": 100}, {"input_tokens": None, "cache_write_1h_tokens": 100}, True),
        ({"max_input_tokens": 100}, {"input_tokens": 100}, True),
        ({"max_input_tokens": 100}, {"input_tokens": 101}, False),
        ({"max_input_tokens": 100}, {"input_tokens": None}, False),
        ({"max_input_tokens": 0}, {"input_tokens": 0}, True),
        ({"min_prompt_chars": 3}, {"prompt": "äöü"}, True),
        ({"min_prompt_chars": 4}, {"prompt": "äöü"}, False),
        ({"max_prompt_chars": 3}, {"prompt": "abcd"}, False),
        ({"max_prompt_chars": 3}, {"prompt": None}, False),
        ({"min_messages": 2}, {"n_messages": 2}, True),
        ({"max_messages": 1}, {"n_messages": 2}, False),
        ({"pattern": "a", "feature": "f"}, {"prompt": "a", "feature": "f"}, True),
        ({"pattern": "a", "feature": "f"}, {"prompt": "a", "feature": "g"}, False),
        ({"pattern": "a", "feature": "f"}, {"prompt": "a", "feature": None}, False),
        ({"pattern": "a", "feature": "f"}, {"prompt": "b", "feature": "f"}, False),
    ],
)
def test_a_rule_holds_when_every_condition_does(rule: dict[str, Any], row: dict[str, Any], matches: bool) -> None:
    found = decided(pl.DataFrame([row]), rules({"task": "code", **rule}))
    assert found == [("code", "rules", None) if matches else (None, None, None)]


def test_the_first_rule_that_holds_decides() -> None:
    some = rules({"task": "code", "pattern": "a"}, {"task": "complex", "pattern": "ab"})
    assert [row[0] for row in decided(pl.DataFrame({"prompt": ["ab", "b"]}), some)] == ["code", None]


def test_log_then_rules_then_classifier_then_null() -> None:
    frame = pl.DataFrame(
        {
            "prompt": ["x", "x", "y", None, ""],
            "task": ["simple", None, None, None, None],
            "row": [1, 2, 3, 4, 5],
        }
    )
    predict = Fake()
    found = classify(frame, predict, rules({"task": "code", "pattern": "x"}))
    assert found.select("task", "task_source", "confidence").rows() == [
        ("simple", "log", None),
        ("code", "rules", None),
        ("reasoning", "classifier", 0.7),
        (None, None, None),
        (None, None, None),
    ]
    assert found["row"].to_list() == [1, 2, 3, 4, 5]
    assert predict.asked == [["y", None, ""]]


@pytest.mark.parametrize(
    ("logged", "task"),
    [(" Code ", "code"), ("SIMPLE", "simple"), ("Creative", "creative"), ("", None), ("  ", None), (None, None)],
)
def test_a_logged_task_is_kept_whatever_its_name(logged: str | None, task: str | None) -> None:
    frame = pl.DataFrame({"task": [logged]}, schema={"task": pl.String})
    assert decided(frame, Rules()) == [(task, "log" if task else None, None)]


def test_the_classifier_sleeps_when_everything_is_decided() -> None:
    predict = Fake()
    classify(pl.DataFrame({"prompt": ["a", "b"], "task": ["code", "simple"]}), predict, Rules())
    classify(pl.DataFrame({"prompt": ["a", "a"]}), predict, rules({"task": "code", "pattern": "a"}))
    classify(pl.DataFrame({"prompt": [None, None]}, schema={"prompt": pl.String}), predict, Rules())
    classify(pl.DataFrame({"model": ["gpt-5.4"]}), predict, Rules())
    assert predict.asked == []


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame(),
        pl.DataFrame({"prompt": []}, schema={"prompt": pl.String}),
        pl.DataFrame({"prompt": [], "task": []}, schema={"prompt": pl.String, "task": pl.String}),
        pl.DataFrame({"model": ["a", "b"]}),
        pl.DataFrame({"prompt": [None, None], "task": [None, None]}),
        pl.DataFrame({"prompt": ["a"], "task": pl.Series(["code"], dtype=pl.Categorical)}),
    ],
    ids=["nothing", "no rows", "no rows, task", "columns missing", "null columns", "categorical"],
)
def test_any_frame_gains_the_same_three_columns(frame: pl.DataFrame) -> None:
    found = classify(frame, Fake(), read_rules())
    assert found.height == frame.height
    added = {"task": pl.String, "task_source": pl.String, "confidence": pl.Float64}
    assert {name: found.schema[name] for name in added} == added


PROMPT = st.sampled_from([None, "", "who was x", "def f():", "5 and 6, how many?", "hello there"])
TASK = st.sampled_from([None, None, "code", " Own "])


@settings(deadline=None)
@given(st.lists(st.tuples(PROMPT, TASK), max_size=12), st.integers(1, 5))
def test_chunks_do_not_change_the_result(given_rows: list[tuple[str | None, str | None]], size: int) -> None:
    schema = {"prompt": pl.String, "task": pl.String}
    frame = pl.DataFrame(given_rows, schema=schema, orient="row")
    whole = classify(frame, Fake(), read_rules())
    chunks = [classify(part, Fake(), read_rules()) for part in frame.iter_slices(size)] or [whole]
    assert pl.concat(chunks).equals(whole)


def test_own_rules_come_before_the_shipped_ones(tmp_path: Path) -> None:
    frame = pl.DataFrame({"prompt": ["Who was Ada?", "x" * 6000]})
    assert [row[0] for row in decided(frame, read_rules())] == ["simple", "complex"]
    own = "rules: [{task: reasoning, pattern: Ada}]"
    assert [row[0] for row in decided(frame, read_rules(written(tmp_path, own)))] == ["reasoning", "complex"]
    alone = read_rules(written(tmp_path, own + "\ndefaults: false"))
    assert [row[0] for row in decided(frame, alone)] == ["reasoning", None]


def test_the_version_is_the_content(tmp_path: Path) -> None:
    one = read_rules(written(tmp_path, "defaults: false\nrules: [{task: code, pattern: a, feature: f}]"))
    same = read_rules(
        written(tmp_path, "# why\nrules:\n  - feature: f\n    task: Code\n    pattern: a\ndefaults: false")
    )
    other = read_rules(written(tmp_path, "defaults: false\nrules: [{task: code, pattern: b, feature: f}]"))
    assert one.version == same.version != other.version
    two = rules({"task": "code", "pattern": "a"}, {"task": "simple", "pattern": "b"})
    assert Rules(two.rules[::-1]).version != two.version


def test_a_file_may_name_more_tasks_and_have_a_byte_order_mark(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufefftasks: [Creative]\nrules: [{task: creative, feature: story}]\n")
    assert read_rules(path).rules[0].task == "creative"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: [{task: code, patern: a}]", "rule 1: unknown key `patern`. Did you mean pattern"),
        ("rules: [{task: code, pattern: a}, {pattern: b}]", "rule 2: `task` is missing"),
        ("rules: [{task: cod, pattern: a}]", "rule 1: unknown task `cod`. Did you mean code"),
        ("rules: [{task: creative, pattern: a}]", "name others under `tasks:`"),
        ("rules: [{task: code}]", "rule 1: no condition"),
        ("rules: [{task: code, pattern: '(a'}]", "rule 1: `pattern: (a` is not a valid regex"),
        ("rules: [{task: code, system_pattern: '(?=a)'}]", "`system_pattern: (?=a)` is not a valid regex"),
        ("rules: [{task: code, min_input_tokens: -1}]", "rule 1: `min_input_tokens`: input should be greater"),
        ("rules: [{task: code, min_input_tokens: '20k'}]", "found '20k'"),
        ("rules: [{task: code, feature: 7}]", "rule 1: `feature`: input should be a valid string, found 7"),
        ("rules: [{task: code, min_messages: 3, max_messages: 2}]", "can never match"),
        ("rules: [code]", "rule 1: "),
        ("rule: [{task: code, pattern: a}]", "unknown key `rule`. Did you mean rules"),
        ("rules: 5", "`rules`: input should be a valid list, found 5"),
        ("defaults: maybe\nrules: []", "`defaults`"),
        ("", "found nothing"),
        ("- task: code", "found list"),
        ("rules: [", "not YAML"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as error:
        read_rules(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read as a task rules file"):
        read_rules(tmp_path / "none.yaml")
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"# caf\xe9\nrules: []")
    with pytest.raises(InputError, match="byte 5 is not UTF-8"):
        read_rules(latin)


@pytest.mark.parametrize(
    ("prompt", "task"),
    [
        ("What is wrong?\n```python\ndef f(x):\n    return x\n```", "code"),
        ("Reply to ```I like cats, and you?```", None),
        ("SELECT name FROM users", "code"),
        ("select a gift from this list", None),
        ("Write a Python function that adds two numbers", "code"),
        ("Tom has 3 apples and buys 4. How many apples does Tom have?", "reasoning"),
        ("Write a 1,500-word essay on rivers", "complex"),
        ("Write a 300-word essay on rivers", None),
        ("x" * 5999, None),
        ("x" * 6000, "complex"),
        ("When did the war end?", "simple"),
        ("Write a haiku on rain", "simple"),
    ],
)
def test_shipped_rules(prompt: str, task: str | None) -> None:
    assert decided(pl.DataFrame({"prompt": [prompt]}), read_rules())[0][0] == task


@pytest.mark.parametrize(("tokens", "task"), [(31_999, None), (32_000, "complex")])
def test_long_context_is_complex(tokens: int, task: str | None) -> None:
    assert decided(pl.DataFrame({"input_tokens": [tokens]}), read_rules())[0][0] == task


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the labelled corpus is not beside the checkout")
@pytest.mark.parametrize("name", ["gold_public.jsonl", "train.parquet"])
def test_every_shipped_rule_is_nine_in_ten_right(name: str) -> None:
    labelled = read_labels([CORPUS / name]).frame.with_columns(label="task").drop("task")
    matching = []
    for rule in read_rules().rules:
        said = classify(labelled, None, Rules((rule,))).filter(pl.col("task").is_not_null())
        right = (pl.col("task") == pl.col("label")) | (pl.col("task") == pl.col("alt")).fill_null(False)
        if said.height:
            matching.append(rule)
            assert said.select(right.mean()).item() >= 0.9, rule
    # The corpus has no token counts, so the rule on them alone cannot match.
    assert len(matching) == len(read_rules().rules) - 1
