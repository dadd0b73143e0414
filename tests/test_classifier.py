"""The bundled classifier: its file, its predictions, its quality."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import unicodedata
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
from routecost.classifier import Classifier, characters, evaluate, features, kernel, load, train
from routecost.classifier.model import SHIPPED
from routecost.errors import InputError
from routecost.pipeline.labelling import read_labels

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
    shares = {f"p_{task}": pl.Float64 for task in schema.TASKS}
    assert found.schema == {"task": pl.String, "confidence": pl.Float64, **shares}
    assert (found.height, found["task"].null_count()) == (len(prompts), len(prompts))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.none() | st.text(), max_size=6))
def test_any_text_gets_a_probability(prompts: list[str | None]) -> None:
    found = load_once().predict(pl.Series(prompts, dtype=pl.String))
    assert found.height == len(prompts)
    for prompt, (task, confidence, *shares) in zip(prompts, found.rows(), strict=True):
        if task is None:
            assert confidence is None
            assert shares == [None] * 4
            assert not prompt or not any(visible(character) for character in prompt)
        else:
            assert task in schema.TASKS
            assert 0.25 <= confidence <= 1
            assert confidence == max(shares)
            assert sum(shares) == pytest.approx(1)
            assert any(visible(character) for character in prompt or "")


def visible(character: str) -> bool:
    kind, _ = characters.tables()
    code = ord(character)
    return code >= characters.SIZE or kind[code] not in (characters.SPACE, characters.NEWLINE, characters.IGNORED)


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


def test_only_head_and_tail_of_a_long_prompt_are_read(model: Classifier) -> None:
    head, tail = "Tell me a joke. " * 40, " And then stop." * 40
    one, other = (head + middle * 400 + tail for middle in ("def f(): return\n", "Prove the lemma "))
    assert len(head) > kernel.HEAD
    assert len(tail) > kernel.TAIL
    assert model.classify(one) == model.classify(other)
    assert model.classify(one) != model.classify(head + tail)


# --- the kernel is the model ------------------------------------------------------------------------------------------

wild = st.text() | st.text(st.characters(codec=None, exclude_categories=()), max_size=60)
numbers = st.none() | st.integers(0, 10**6)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


def replaced(value: Any) -> Any:
    """Text with the replacement character where half a surrogate pair stands."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else value


def own_scores(model: Classifier, frame: pl.DataFrame) -> np.ndarray[Any, Any]:
    """What the trained model says of the features that training sees, by plain matrix products."""
    x = features.matrix(frame)
    n = 2**kernel.BITS
    hashed = np.asarray(x[:, :n] @ (model.weights * model.scale))
    scores: np.ndarray[Any, Any] = hashed + np.asarray(x[:, n:] @ model.shape) + model.bias
    return scores


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(wild, maybe(wild), maybe(wild), numbers, numbers, maybe(st.booleans())), max_size=6))
def test_the_kernel_scores_what_the_model_scores(rows: list[tuple[Any, ...]]) -> None:
    model = load_once()
    frame = pl.DataFrame([[replaced(x) for x in row] for row in rows], schema=features.CONTEXT, orient="row")
    found = model.predict(frame)
    scores = own_scores(model, frame) if rows else np.empty((0, 4))
    for row, said, score in zip(rows, found.rows(), scores, strict=True):
        if said[0] is None:
            continue
        share = np.exp(score - score.max())
        np.testing.assert_allclose(said[2:], share / share.sum(), atol=1e-4)
        best = np.sort(score)
        if best[-1] - best[-2] > 1e-4:
            assert said[0] == model.classes[score.argmax()]
        text, system, previous, messages, tokens, tools = row
        one = model.classify(
            text, system=system, previous_prompt=previous, n_messages=messages, input_tokens=tokens, tools=tools
        )
        assert (one.task, one.confidence) == said[:2]


def test_ten_megabytes_and_bytes_that_are_no_text(model: Classifier) -> None:
    big = "Summarise this. " + "word " * 2_000_000
    broken = b"caf\xe9 \xff\xfe ok".decode("utf-8", "replace")
    frame = pl.DataFrame({"prompt": [big, broken, "\ud800 half".encode("utf-8", "replace").decode()]})
    found = model.predict(frame)
    share = np.exp(own_scores(model, frame))
    share /= share.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.select("^p_.*$").to_numpy(), share, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_gives_the_same_bytes(
    model: Classifier, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    prompts = pl.Series([f"{'why ' * (n % 50)}{n} = f({n * n});" for n in range(20_000)])
    alone = pl.concat([model.predict(part) for part in (prompts[:7_001], prompts[7_001:])])
    monkeypatch.setattr("os.cpu_count", lambda: threads)
    assert model.predict(prompts).equals(alone)


def test_a_slice_of_a_series_is_read_where_it_lies(model: Classifier) -> None:
    prompts = pl.concat([pl.Series(["Hello", None, "A longer text, beyond twelve bytes"]), pl.Series(["x" * 50, ""])])
    whole = model.predict(prompts)
    assert prompts.n_chunks() == 2
    for start in range(5):
        assert model.predict(prompts[start:]).equals(whole[start:])


def test_the_expression_takes_an_empty_batch(model: Classifier) -> None:
    def task(prompts: pl.Series) -> pl.Series:
        return model.predict(prompts)["task"]

    frame = pl.LazyFrame({"prompt": ["Who was Ada Lovelace?"]}, schema={"prompt": pl.String})
    typed = frame.with_columns(
        pl.col("prompt").map_batches(task, return_dtype=pl.String, is_elementwise=True).alias("task")
    )
    assert typed.collect()["task"].to_list() == ["simple"]
    assert typed.filter(pl.col("prompt") == "nothing").collect().height == 0
    assert model.predict(pl.Series([], dtype=pl.String)).height == 0


def test_predicting_does_not_import_scikit_learn(cli_python: Callable[[str], str]) -> None:
    code = "import sys; from routecost import classifier; classifier.load().classify('Hello'); print(*sys.modules)"
    modules = cli_python(code).split()
    assert "numba" in modules
    assert "sklearn" not in modules


@pytest.fixture
def cli_python() -> Callable[[str], str]:
    def run(code: str) -> str:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    return run


def test_the_tables_of_characters_are_what_the_script_makes() -> None:
    if unicodedata.unidata_version != "14.0.0":
        pytest.skip("the tables are of Unicode 14")
    kept, made = characters.tables(), characters.build()
    assert np.array_equal(kept[0], made[0])
    assert np.array_equal(kept[1], made[1])


def test_an_explanation_adds_up_to_the_scores(model: Classifier) -> None:
    text, system = "Please write a Python function\n\nthat sorts, don't use sorted()", "You are a helpful bot"
    terms = model.explain(text, system=system, n_messages=3, tools=True, input_tokens=5000)
    context = {"system": [system], "n_messages": [3], "input_tokens": [5000], "tools": [True]}
    frame = pl.DataFrame({"prompt": [text], **context})
    score = own_scores(model, frame)[0] - model.bias
    total = np.array([[t.weight[c] for c in model.classes] for t in terms]).sum(axis=0)
    np.testing.assert_allclose(total - total.mean(), score - score.mean(), atol=1e-6)
    assert {"python", "write a", "(first word)", "(tools)", "system prompt: helpful"} <= {t.text for t in terms}


def test_a_follow_up_is_read_with_the_turn_before_it(model: Classifier) -> None:
    alone = model.classify("continue").probabilities["code"]
    after = model.classify("continue", previous_prompt="Write a Python class with unit tests").probabilities["code"]
    assert after > alone
    long = "A long question of its own needs no turn before it to be understood, " * 2
    assert model.classify(long) == model.classify(long, previous_prompt="Write a Python class")


def test_a_failing_batch_fails_open(model: Classifier) -> None:
    broken = replace(model, weights=None)  # type: ignore[arg-type]
    found = broken.predict(pl.Series(["Hello", "Hello"]))
    assert found["task"].to_list() == [None, None]


def test_the_shipped_file_holds_no_pickle_and_is_small() -> None:
    assert MODEL.stat().st_size <= 4_000_000
    with np.load(MODEL, allow_pickle=False) as arrays:
        assert all(arrays[name].dtype.kind in "iuf" for name in arrays.files)


def test_the_shipped_file_says_what_it_is(model: Classifier) -> None:
    assert (model.name, model.classes) == ("hashed-linear", schema.TASKS)
    assert model.version == f"{features.REVISION}-{model.version.split('-')[1]}"
    assert {"corpus", "scikit_learn", "held_out_accuracy", "mix"} <= set(model.metadata)
    assert model.confusion is not None
    assert model.confusion.classes == schema.TASKS


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
    path = rewritten(tmp_path / "m.npz", weights=np.array([Bomb()], dtype=object))
    with pytest.raises(InputError, match="not a classifier of this version"):
        load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": None}, "weights"),
        ({"weights": np.zeros((3, 4), np.int8)}, r"`weights` is int8 \(3, 4\)"),
        ({"bias": np.array([0, 0, 0, np.nan])}, "not finite"),
        ({"bias": np.array(["a", "b", "c", "d"])}, "not finite"),
        ({"metadata": {"format": 99}}, "format 99"),
        ({"metadata": {"features": 0}}, "features 0"),
        ({"metadata": {"classes": ["code", "simple"]}}, "not finite numbers"),
        ({"metadata": {"classes": ["code", "code", "simple", "x"]}}, "different"),
        ({"metadata": {"classes": 4}}, "not a classifier of this version"),
        ({"metadata": {"classes": ["code"]}}, "2 to 12"),
        ({"metadata": {"confusion": {"classes": ["a"], "counts": [], "source": ""}}}, "confusion matrix"),
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
    with pytest.raises(InputError, match="not a classifier of this version"):
        load(path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    content = bytearray(MODEL.read_bytes())
    with zipfile.ZipFile(MODEL) as archive:
        start = archive.getinfo("weights.npy").header_offset + 2_000
    content[start : start + 400] = bytes(400)
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a classifier of this version"):
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
    assert train.main([str(tmp_path / "c.parquet"), "-o", str(out)]) == 0
    trained = load(out)
    assert trained.version in capsys.readouterr().out
    assert trained.predict(pl.Series(list(WORDS.values())))["task"].to_list() == list(WORDS)
    first = out.read_bytes()
    train.main([str(tmp_path / "c.parquet"), "-o", str(out)])
    assert out.read_bytes() == first


def test_train_refuses_a_corpus_that_lacks_something(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.parquet"
    for frame, message in (
        (corpus().filter(pl.col("task_type") != "code"), "code has 0; every task needs at least 10"),
        (corpus().drop("prompt"), "expected JSONL or Parquet with prompt and task"),
    ):
        frame.write_parquet(path)
        with pytest.raises(SystemExit) as exit_:
            train.main([str(path), "-o", str(tmp_path / "m.npz")])
        assert exit_.value.code == 3
        assert message in capsys.readouterr().err


def test_the_kernel_scores_what_scikit_learn_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding to whole numbers of 16 bits is all that lies between the fitted model and the kernel."""
    fitted: list[Any] = []
    fit = train._fit

    def kept(*arguments: Any) -> Any:
        fitted.append(fit(*arguments))
        return fitted[-1]

    monkeypatch.setattr(train, "_fit", kept)
    labelled = corpus().rename({"task_type": "task"})
    trained = train.train(labelled, mix=dict.fromkeys(schema.TASKS, 0.25))
    coefficients, intercept = fitted[-1]
    x = train._matrix(train._prepared(labelled), None)
    x = x[:, np.unique(x.indices)]
    scores = np.asarray(x @ coefficients) + intercept
    given = np.log(trained.classifier.predict(labelled).select("^p_.*$").to_numpy())
    # the fit is followed by a factor and an addition for each task
    around_zero = (scores - scores.mean(axis=1, keepdims=True)).ravel()
    design = np.column_stack([around_zero, np.tile(np.eye(4), (len(scores), 1))])
    centred = (given - given.mean(axis=1, keepdims=True)).ravel()
    solved = np.linalg.lstsq(design, centred, rcond=None)[0]
    np.testing.assert_allclose(design @ solved, centred, atol=1e-4 * solved[0])


@pytest.mark.parametrize(
    ("right", "n", "low", "high"), [(0, 0, 0, 1), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (81, 263, 0.2553, 0.3662)]
)
def test_wilson_interval(right: int, n: int, low: float, high: float) -> None:
    assert evaluate.interval(right, n) == pytest.approx((low, high), abs=5e-5)


def test_measure_counts_first_and_second_labels() -> None:
    labelled = pl.DataFrame(
        {
            "task": ["code", "code", "simple", "simple"],
            "alt": ["simple", None, "complex", "complex"],
            "given": ["simple", None, "simple", "complex"],
        }
    )
    found = evaluate.measure(labelled, classes=schema.TASKS)
    assert (found.n, found.first.value, found.accepted.value, found.undecided) == (4, 0.25, 0.75, 1)
    assert {c: s.value for c, s in found.recall.items()} == {"simple": 0.5, "code": 0.0}
    assert {c: s.value for c, s in found.recall_accepted.items()} == {"simple": 1.0, "code": 0.5}
    assert found.macro_recall_accepted == 0.75
    # an accepted second label is no mistake, no label at all is no entry
    assert found.confusion.rates()["simple"] == {"simple": 1.0, "code": 0.0, "reasoning": 0.0, "complex": 0.0}


def test_weights_and_strata_count() -> None:
    labelled = pl.DataFrame(
        {
            "task": ["code"] * 4 + ["simple"] * 4,
            "given": ["code"] * 3 + ["simple"] + ["simple"] * 4,
            "weight": [10.0] * 4 + [30.0] * 4,
        }
    )
    plain = evaluate.measure(labelled, classes=("simple", "code"))
    assert plain.accepted.value == pytest.approx(150 / 160)
    assert plain.mix["simple"].value == pytest.approx(0.75)
    strata = evaluate.measure(labelled.with_columns(stratum="task"), classes=("simple", "code"))
    # the mix is known without error where strata are the tasks themselves
    width = strata.mix["simple"].high - strata.mix["simple"].low
    assert width <= plain.mix["simple"].high - plain.mix["simple"].low
    natural = evaluate.reweighted(labelled.with_columns(alt=None), {"simple": 0.5, "code": 0.5})
    assert evaluate.measure(natural, classes=("simple", "code")).accepted.value == pytest.approx(0.875)


def test_calibration_error_is_the_gap_between_claimed_and_right() -> None:
    confidence, accepted = [0.95, 0.95, 0.55, 1.0], [True, False, True, True]
    hits = pl.DataFrame({"confidence": confidence, "accepted": accepted, "weight": [1.0] * 4})
    error, bins = evaluate.calibration(hits)
    assert bins["n"].to_list() == [1, 3]
    assert error == pytest.approx((abs(0.55 - 1) * 1 + abs(2.9 / 3 - 2 / 3) * 3) / 4)


@pytest.mark.skipif(not GOLD.exists(), reason="the labelled corpus is not beside the checkout")
def test_quality_on_gold(model: Classifier) -> None:
    labels = read_labels([GOLD]).frame
    labels = labels.with_columns(given=model.predict(labels)["task"])
    found = evaluate.measure(labels, classes=schema.TASKS)
    assert (found.accepted.value or 0) >= 0.87
    assert (found.first.value or 0) >= 0.76
    assert found.macro_recall_accepted >= 0.8
    assert min(s.value or 0 for s in found.recall_accepted.values()) >= 0.68
