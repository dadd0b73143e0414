"""The bundled classifier: its file, its predictions, its quality."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routecost import classifier, schema
from routecost.classifier import SHIPPED, Classifier, evaluate, features, load, train
from routecost.errors import InputError

GOLD = Path(__file__).parents[2] / "shared/data/corpus/gold_public.jsonl"
MODEL = Path(classifier.__file__).with_name(SHIPPED)


@pytest.fixture(scope="module")
def model() -> Classifier:
    return load()


@pytest.mark.parametrize(
    ("prompt", "task"),
    [
        ("What is the capital of France?", "simple"),
        ("Translate 'good morning' into Italian", "simple"),
        ("Write a Python function that reverses a linked list", "code"),
        ("git rebase fails with a merge conflict, how do I abort it?", "code"),
        ("A train leaves at 9:15 at 80 km/h, another at 9:45 at 100 km/h. When does it catch up?", "reasoning"),
        ("Write a comprehensive business plan for a bakery with market analysis, financials and marketing", "complex"),
    ],
)
def test_plain_cases(model: Classifier, prompt: str, task: str) -> None:
    assert model.predict(pl.Series([prompt]))["task"].to_list() == [task]


def test_null_and_blank_prompts_have_no_task(model: Classifier) -> None:
    found = model.predict(pl.Series([None, "Hello", "", " \n", None]))
    assert found["task"].to_list() == [None, "simple", None, None, None]
    assert found["confidence"].is_null().to_list() == [True, False, True, True, True]


@pytest.mark.parametrize(
    "prompts",
    [
        pl.Series([], dtype=pl.String),
        pl.Series([None], dtype=pl.String),
        pl.Series([None, None]),
        pl.Series([1, 2]),
        pl.Series([["a"], ["b"]]),
    ],
    ids=["empty", "null", "untyped", "numbers", "lists"],
)
def test_what_is_not_text_is_null(model: Classifier, prompts: pl.Series) -> None:
    found = model.predict(prompts)
    assert found.schema == {"task": pl.String, "confidence": pl.Float64}
    assert (found.height, found["task"].null_count()) == (len(prompts), len(prompts))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.none() | st.text(), max_size=6))
def test_any_text_gets_a_probability(prompts: list[str | None]) -> None:
    found = load_once().predict(pl.Series(prompts, dtype=pl.String))
    assert found.height == len(prompts)
    for prompt, (task, confidence) in zip(prompts, found.rows(), strict=True):
        if task is None:
            assert confidence is None
            assert not prompt or not pl.Series([prompt]).str.strip_chars().item()
        else:
            assert task in schema.TASKS
            assert 0.25 <= confidence <= 1


@settings(deadline=None, max_examples=20)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=8), st.integers(1, 4))
def test_batches_do_not_change_the_result(prompts: list[str], size: int) -> None:
    series = pl.Series(prompts, dtype=pl.String)
    parts = [load_once().predict(series.slice(i, size)) for i in range(0, len(prompts), size)]
    assert pl.concat(parts).equals(load_once().predict(series))


def test_one_prompt_alone_is_what_it_is_among_others(model: Classifier) -> None:
    prompts = pl.Series([f"{'Who was it? ' * n}{n * n} = x;" for n in range(1, 60)])
    alone = pl.concat([model.predict(prompts[i : i + 1]) for i in range(len(prompts))])
    assert alone.equals(model.predict(prompts))


def load_once(found: list[Classifier] = []) -> Classifier:  # noqa: B006 - hypothesis cannot take a fixture of this scope
    if not found:
        found.append(load())
    return found[0]


def test_threads_share_one_classifier(model: Classifier) -> None:
    prompts = pl.Series([f"Write a {n} line poem; def f{n}(): return {n}" for n in range(200)])
    alone = model.predict(prompts)
    with ThreadPoolExecutor(4) as pool:
        assert all(found.equals(alone) for found in pool.map(model.predict, [prompts] * 8))


def test_more_than_one_batch_keeps_the_order(model: Classifier) -> None:
    prompts = pl.Series(["Who was Ada Lovelace?", None, "Write a Python class"] * 400)
    found = model.predict(prompts)["task"].to_list()
    assert found == ["simple", None, "code"] * 400


def test_only_head_and_tail_of_a_long_prompt_are_read() -> None:
    long = "a" * features.HEAD + "b" * 10_000 + "c" * features.TAIL
    exact = "é" * (features.HEAD + features.TAIL)
    assert features.excerpt(pl.Series([long, exact])).to_list() == [
        "a" * features.HEAD + "\n" + "c" * features.TAIL,
        exact,
    ]


def test_a_failing_batch_fails_open(model: Classifier) -> None:
    broken = replace(model, bias=model.bias[:2])
    found = broken.predict(pl.Series(["Hello", "Hello"]))
    assert found.rows() == [(None, None), (None, None)]


def test_the_shipped_file_holds_no_pickle_and_is_small() -> None:
    assert MODEL.stat().st_size <= 1_500_000
    with np.load(MODEL, allow_pickle=False) as arrays:
        assert all(arrays[name].dtype.kind in "iuf" for name in arrays.files)


def test_the_shipped_file_says_what_it_is(model: Classifier) -> None:
    assert (model.name, model.classes) == ("hashed-linear", schema.TASKS)
    assert model.version == f"{features.REVISION}-{model.version.split('-')[1]}"
    assert {"corpus", "scikit_learn", "held_out_accuracy", "natural_mix"} <= set(model.metadata)
    assert model.confusion is not None
    for true in schema.TASKS:
        assert sum(model.confusion[true].values()) == pytest.approx(1, abs=1e-3)


class Bomb:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return pytest.fail, ("the pickle was executed",)


def rewritten(path: Path, **changes: Any) -> Path:
    with np.load(MODEL, allow_pickle=False) as arrays:
        content = {name: arrays[name] for name in arrays.files}
    metadata = json.loads(content.pop("metadata").tobytes()) | changes.pop("metadata", {})
    content = {"metadata": np.frombuffer(json.dumps(metadata).encode(), np.uint8), **content, **changes}
    np.savez_compressed(path, **{name: array for name, array in content.items() if array is not None})
    return path


def test_a_pickled_array_is_refused_and_not_run(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "m.npz", words=np.array([Bomb()], dtype=object))
    with pytest.raises(InputError, match="not a classifier model"):
        load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": None}, "words"),
        ({"words": np.zeros((3, 4), np.int8)}, r"`words` is int8 \(3, 4\)"),
        ({"bias": np.array([0, 0, 0, np.nan])}, "not finite"),
        ({"bias": np.array(["a", "b", "c", "d"])}, "not finite"),
        ({"metadata": {"format": 99}}, "format 99"),
        ({"metadata": {"features": 0}}, "features 0"),
        ({"metadata": {"classes": ["code", "simple"]}}, "not finite numbers"),
        ({"metadata": {"classes": ["code", "code", "simple", "x"]}}, "different"),
        ({"metadata": {"classes": 4}}, "not a classifier model"),
        ({"padding": np.zeros(70_000_000, np.uint8)}, "bytes unpacked"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(rewritten(tmp_path / "m.npz", **changes))


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"\x93NUMPY", pickle.dumps([1])], ids=["empty", "zip", "npy", "pickle"]
)
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a classifier model"):
        load(path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    content = bytearray(MODEL.read_bytes())
    with zipfile.ZipFile(MODEL) as archive:
        start = archive.getinfo("words.npy").header_offset + 2_000
    content[start : start + 400] = bytes(400)
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a classifier model"):
        load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.npz: cannot be read"):
        load(tmp_path / "none.npz")


WORDS = {"simple": "capital", "code": "function", "reasoning": "apples", "complex": "chapter"}


def corpus() -> pl.DataFrame:
    rows = [(f"tell {word} {i % 7}", task, f"source-{i % 5}") for i in range(25) for task, word in WORDS.items()]
    return pl.DataFrame(rows, schema=["prompt", "task_type", "source"], orient="row")


def test_train_writes_what_load_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus().write_parquet(tmp_path / "c.parquet")
    out = tmp_path / "m.npz"
    assert train.main(["--corpus", str(tmp_path / "c.parquet"), "-o", str(out)]) == 0
    trained = load(out)
    assert trained.version in capsys.readouterr().out
    assert trained.predict(pl.Series(list(WORDS.values())))["task"].to_list() == list(WORDS)
    first = out.read_bytes()
    train.main(["--corpus", str(tmp_path / "c.parquet"), "-o", str(out)])
    assert out.read_bytes() == first


def test_train_refuses_a_corpus_that_lacks_something(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.parquet"
    for frame, message in (
        (corpus().filter(pl.col("task_type") != "code"), "needs all of simple, code"),
        (corpus().with_columns(source=pl.lit("one")), "at least 5 sources"),
        (corpus().drop("source"), "expected a Parquet file with prompt, task_type, source"),
    ):
        frame.write_parquet(path)
        with pytest.raises(SystemExit) as exit_:
            train.main(["--corpus", str(path), "-o", str(tmp_path / "m.npz")])
        assert exit_.value.code == 3
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("right", "n", "low", "high"), [(0, 0, 0, 1), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (81, 263, 0.2553, 0.3662)]
)
def test_wilson_interval(right: int, n: int, low: float, high: float) -> None:
    assert evaluate.interval(right, n) == pytest.approx((low, high), abs=5e-5)


def test_score_counts_first_and_second_labels() -> None:
    labelled = pl.DataFrame(
        {"task_type": ["code", "code", "simple", "simple"], "alt": ["simple", None, "complex", "complex"]}
    )
    found = evaluate.score(labelled, pl.Series(["simple", None, "simple", "complex"]))
    assert (found.n, found.first, found.accepted) == (4, 1, 3)
    assert found.recall == {"simple": 0.5, "code": 0.0}
    assert found.recall_accepted == {"simple": 1.0, "code": 0.5}


def test_evaluate_prints_both_and_every_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gold.jsonl"
    path.write_text('{"prompt": "Who was Ada?", "task_type": "simple"}\n')
    assert evaluate.main([str(path)]) == 0
    out = capsys.readouterr().out
    assert "first label     1.000 [0.207, 1.000]" in out
    assert "rule 10 simple        1 /     1  1.000" in out


def test_evaluate_says_when_it_measures_the_training_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, said in (("train.parquet", True), ("other.parquet", False)):
        pl.DataFrame({"prompt": ["Who was Ada?"], "task_type": ["simple"]}).write_parquet(tmp_path / name)
        evaluate.main([str(tmp_path / name)])
        assert ("was trained on this file" in capsys.readouterr().out) is said


@pytest.mark.skipif(not GOLD.exists(), reason="the labelled corpus is not beside the checkout")
def test_quality_on_gold(model: Classifier) -> None:
    labelled = evaluate.read_labelled(GOLD)
    found = evaluate.score(labelled, model.predict(labelled["prompt"])["task"])
    assert found.accepted / found.n >= 0.85
    assert found.first / found.n >= 0.74
    assert min(found.recall_accepted.values()) >= 0.6
