"""`routecost classify` and `routecost classifier`: the real command line on real files."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest

from conftest import Run
from routecost import classifier, schema
from routecost.pipeline import commands, labelling

STARTS: tuple[Literal["bundled"], Literal["scratch"]] = ("bundled", "scratch")
PROMPTS = {
    "simple": ["Who was Ada Lovelace?", "thanks!", "Translate good morning into Italian"],
    "code": ["Write a Python function that reverses a list", "git rebase fails with a conflict, how do I abort it?"],
    "complex": ["Write a complete business plan for a bakery with market analysis, financials and marketing"],
}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    rows = []
    for i in range(120):
        task = ("simple", "simple", "simple", "code", "complex")[i % 5]
        rows.append(
            {
                "request_id": f"r{i}",
                "timestamp": f"2026-10-{1 + i % 28:02}T10:00:00Z",
                "model": "gpt-5.4",
                "prompt": f"{PROMPTS[task][i % len(PROMPTS[task])]} ({i})",
                "input_tokens": 500 + i,
                "output_tokens": 200,
                "feature": ("chat", "editor")[i % 2],
            }
        )
    rows.append({"request_id": "empty", "model": "gpt-5.4", "input_tokens": 5, "output_tokens": 5})
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\nnot json\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_row_for_every_request(cli: Run, log: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"labelled{suffix}"
    done = cli("classify", log, "-o", out, "--table", "default")
    assert done.returncode == 0, done.stderr
    readers: dict[str, Any] = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".jsonl": pl.read_ndjson}
    frame = readers[suffix](out)
    names = ["request_id", "task", "task_source", "confidence", *(f"p_{t}" for t in schema.TASKS)]
    assert frame.columns == [*names, "routed_model", "routed_mode", "route_reason"]
    assert frame["request_id"].to_list() == [*(f"r{i}" for i in range(120)), "empty"]
    assert "121 requests" in done.stdout
    assert "1 line rejected" in done.stdout
    known = frame.filter(pl.col("request_id") != "empty")
    assert known.select(pl.sum_horizontal("^p_.*$").is_between(0.999, 1.001).all()).item()
    empty = frame.row(by_predicate=pl.col("request_id") == "empty", named=True)
    # fail-open: it goes to the default
    assert (empty["task"], empty["confidence"], empty["route_reason"]) == (None, None, "default")
    assert empty["routed_model"] is not None


def test_any_chunks_give_the_same_file(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands.classify(log, tmp_path / "a.csv", table="default")
    monkeypatch.setattr("routecost.logs.records.CHUNK_BYTES", 700)
    commands.classify(log, tmp_path / "b.csv", table="default")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_it_says_the_same_as_analyze(log: Path, tmp_path: Path) -> None:
    found = commands.classify(log, tmp_path / "a.parquet", table="default")
    mix = commands.analyze(log, table="default").mix
    assert dict(mix.select("task", "requests").iter_rows()) == found.by_task


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("-o", "out.txt"), 2, "name it .parquet, .csv or .jsonl"),
        (("--mode", "eco"), 2, "name one with --table"),
        (("-o", "no/such/folder/out.csv"), 3, "cannot write"),
        (("--classifier", "none.classifier"), 3, "cannot be read as a classifier"),
        (("--explain", "hi"), 2, "reads no log"),
    ],
)
def test_what_is_wrong_is_said(
    cli: Run, log: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = cli("classify", log, *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert said in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.jsonl"]


def test_a_usage_file_has_no_requests_to_classify(cli: Run, log: Path, tmp_path: Path) -> None:
    cli("tally", log, "-o", tmp_path / "u.parquet")
    for command in (("classify",), ("classifier", "sample")):
        done = cli(*command, tmp_path / "u.parquet", "-o", tmp_path / "out.csv")
        assert done.returncode == 3
        assert "u.parquet is a usage file: it holds counts and no request" in done.stderr


def test_a_log_without_requests_leaves_no_file(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"model": 1\n')
    done = cli("classify", "bad.jsonl", "-o", "out.parquet", cwd=tmp_path)
    assert done.returncode == 3
    assert not (tmp_path / "out.parquet").exists()


def test_a_bundled_classifier_that_cannot_be_read_fails_open(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routecost.classifier.model.SHIPPED", "gone.npz")
    found = commands.analyze(log, table="default")
    mix = dict(found.mix.select("task", "requests").iter_rows())
    assert mix[None] > 50
    assert sum(mix.values()) == 121
    assert found.misrouting is None


# --- explain ----------------------------------------------------------------------------------------------------------


def test_explain_names_the_rule_that_fired(cli: Run) -> None:
    done = cli("classify", "--explain", "Write a Python function that sorts names")
    assert done.stdout.startswith("code: rule 5 decides: pattern ")
    found = json.loads(cli("classify", "--explain", "Who was Ada?", "--format", "json").stdout)
    assert (found["task"], found["rule"]["number"]) == ("simple", 10)


def test_explain_shows_the_words_that_weighed_most(cli: Run) -> None:
    done = cli("classify", "--explain", "-", "--format", "json", input="my docker container exits with code 137")
    found = json.loads(done.stdout)
    assert (found["task"], found["rule"]) == ("code", None)
    assert found["confidence"] == max(found["probabilities"].values())
    assert "docker" in [t["text"] for t in found["terms"]]


def test_explain_of_nothing(cli: Run) -> None:
    done = cli("classify", "--explain", "  ")
    assert done.returncode == 0
    assert done.stdout.startswith("unclassified")


# --- rules and classifier side by side --------------------------------------------------------------------------------


def test_tasks_from_says_who_decides(cli: Run, tmp_path: Path) -> None:
    row = {"model": "gpt-5.4", "input_tokens": 10, "output_tokens": 10, "task": "complex"}
    rows = [{**row, "prompt": p} for p in ("Who was Ada?", "Who was Bo?", "my docker container exits with code 137")]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(json.dumps(r) for r in rows))

    def mix(source: str) -> dict[str | None, int]:
        done = cli("analyze", path, "--tasks-from", source, "--format", "json")
        assert done.returncode == 0, done.stderr
        return {r["task"]: r["requests"] for r in json.loads(done.stdout)["mix"]}

    assert mix("log") == {"complex": 3}
    assert mix("rules") == {"simple": 2, None: 1}
    assert mix("classifier") == {"simple": 2, "code": 1}
    assert mix("both") == {"simple": 2, "code": 1}
    both = json.loads(cli("analyze", path, "--tasks-from", "both", "--format", "json").stdout)
    assert both["rules_against_classifier"] == [{"rule": "simple", "classifier": "simple", "requests": 2}]
    shown = cli("analyze", path, "--tasks-from", "both").stdout
    assert "They agree on 100.0% of the 2 requests that a rule decides." in shown


# --- sample, evaluate, train ------------------------------------------------------------------------------------------


def test_weights_of_a_sample_add_up_to_the_log(log: Path, tmp_path: Path) -> None:
    found = commands.sample(log, 40, tmp_path / "s.parquet")
    frame = pl.read_parquet(tmp_path / "s.parquet")
    assert (found.rows, found.requests, found.without_text) == (40, 120, 1)
    assert frame["weight"].sum() == pytest.approx(120)
    assert frame["request_id"].n_unique() == 40
    assert frame["task"].null_count() == 40
    per = frame.group_by("stratum").agg(pl.len(), pl.col("weight").sum(), pl.col("given").n_unique())
    assert per["given"].max() == 1
    assert found.strata["drawn"].sum() == 40
    assert found.strata["size"].sum() == 120


def test_the_same_seed_draws_the_same_rows(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands.sample(log, 30, tmp_path / "a.csv")
    monkeypatch.setattr("routecost.logs.records.CHUNK_BYTES", 700)
    lines = log.read_text().splitlines()
    log.write_text("\n".join(reversed(lines)))
    commands.sample(log, 30, tmp_path / "b.csv")
    a, b = (pl.read_csv(tmp_path / f"{n}.csv").sort("request_id") for n in "ab")
    assert a["request_id"].to_list() == b["request_id"].to_list()
    commands.sample(log, 30, tmp_path / "c.csv", seed=1)
    assert pl.read_csv(tmp_path / "c.csv").sort("request_id")["request_id"].to_list() != a["request_id"].to_list()


def test_a_sample_estimates_the_mix_without_bias(log: Path, tmp_path: Path) -> None:
    """Over many seeds the weighted share of a trait that the strata do not know is that of the log."""
    shares = []
    for seed in range(40):
        commands.sample(log, 24, tmp_path / "s.parquet", seed=seed)
        frame = pl.read_parquet(tmp_path / "s.parquet")
        trait = frame["request_id"].str.slice(1).cast(pl.Int64) % 3 == 0
        shares.append(float((frame["weight"] * trait).sum()) / 120)
    mean = sum(shares) / len(shares)
    spread = (sum((s - mean) ** 2 for s in shares) / 39) ** 0.5
    assert abs(mean - 40 / 120) < 4 * spread / 40**0.5


def test_more_rows_than_requests_takes_all(log: Path, tmp_path: Path) -> None:
    assert commands.sample(log, 500, tmp_path / "s.csv").rows == 120


def filled(tmp_path: Path, log: Path, n: int = 60) -> Path:
    """A sample whose `task` a person has filled in, as spreadsheets write it."""
    commands.sample(log, n, tmp_path / "s.csv")
    frame = pl.read_csv(tmp_path / "s.csv", infer_schema=False)
    label = pl.lit("simple")
    for task in ("code", "complex"):
        for prompt in PROMPTS[task]:
            label = pl.when(pl.col("prompt").str.starts_with(prompt)).then(pl.lit(f" {task.title()} ")).otherwise(label)
    path = tmp_path / "labelled.csv"
    frame.with_columns(task=label).write_csv(path)
    return path


def test_evaluate_reads_what_a_person_filled_in(cli: Run, log: Path, tmp_path: Path) -> None:
    labelled = filled(tmp_path, log)
    done = cli("classifier", "evaluate", labelled, "--table", "default", "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    mix = {task: share["value"] for task, share in found["alone"]["mix"].items()}
    assert mix["simple"] == pytest.approx(0.6, abs=0.15)
    assert found["alone"]["accepted"]["value"] > 0.9
    money = found["misrouted"]
    assert money["requests"] == pytest.approx(120)
    assert money["today_usd"] == pytest.approx(sum((500 + i) * 2.5e-6 + 200 * 15e-6 for i in range(120)), rel=0.2)
    shown = cli("classifier", "evaluate", labelled, "--table", "default").stdout
    for title in ("Accuracy", "Tasks", "Confusion", "What the mistakes cost", "Calibration"):
        assert f"\n{title}\n" in shown


def test_rows_without_a_label_are_left_out_and_stood_for(log: Path, tmp_path: Path) -> None:
    path = filled(tmp_path, log)
    frame = pl.read_csv(path, infer_schema=False)
    keep = pl.int_range(pl.len()).over("stratum") % 2 == 0
    frame.with_columns(task=pl.when(keep).then("task")).write_csv(path)
    labels = labelling.read_labels([path])
    assert labels.unlabelled > 10
    assert labels.frame["weight"].sum() == pytest.approx(120)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("prompt,task\nhello,\n", "no row has a label"),
        ("text,kind\nhello,simple\n", "expected a column `prompt` and a label in `task`; it has text, kind"),
        ("prompt,task\nhello,simpel\n", "'simpel' are no task of the classifier"),
        ("", "not labels that can be read"),
    ],
)
def test_labels_that_cannot_be_used(cli: Run, tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "l.csv"
    path.write_text(content)
    done = cli("classifier", "evaluate", path)
    assert done.returncode == 3
    assert said in done.stderr


def own_labels(tmp_path: Path, n: int = 24) -> Path:
    words = {"creative": "poem about", "technical": "the server", "other": "hello, I am"}
    rows = [{"prompt": f"{word} {i} things", "task": task} for i in range(n) for task, word in words.items()]
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(json.dumps(r) for r in rows))
    return path


def test_a_classifier_of_your_own_is_used_everywhere(cli: Run, tmp_path: Path) -> None:
    labels = own_labels(tmp_path)
    out = tmp_path / "mine.classifier"
    taxonomy = tmp_path / "t.yaml"
    taxonomy.write_text("tasks: {technical: servers, creative: poems, other: the rest}\n")
    done = cli("classifier", "train", labels, "-o", out, "--taxonomy", taxonomy)
    assert done.returncode == 0, done.stderr
    assert "On labels that it had not seen" in done.stdout
    model = classifier.load(out)
    assert model.classes == ("technical", "creative", "other")
    log = tmp_path / "log.jsonl"
    row = {"model": "gpt-5.4", "input_tokens": 10, "output_tokens": 10}
    log.write_text(json.dumps({**row, "prompt": "poem about 7 things"}))
    found = cli("analyze", log, "--classifier", out, "--tasks-from", "classifier", "--format", "json")
    assert [r["task"] for r in json.loads(found.stdout)["mix"]] == ["creative"]
    assert cli("classify", log, "--classifier", out, "-o", tmp_path / "l.csv").returncode == 0
    assert pl.read_csv(tmp_path / "l.csv")["p_creative"][0] > 0.5
    evaluated = cli("classifier", "evaluate", labels, "--classifier", out, "--format", "json")
    assert json.loads(evaluated.stdout)["alone"]["accepted"]["value"] > 0.95


@pytest.mark.parametrize("start", ["bundled", "scratch"])
def test_training_again_writes_the_same_bytes(tmp_path: Path, start: Any) -> None:
    labels = own_labels(tmp_path)
    for name in ("a.classifier", "b.classifier"):
        commands.train(labels, tmp_path / name, start=start)
    a, b = (classifier.load(tmp_path / f"{n}.classifier") for n in "ab")
    assert a.version == b.version
    assert (a.weights == b.weights).all()


def test_few_labels_go_further_from_the_bundled_classifier(root: Path, tmp_path: Path) -> None:
    frame = labelling.read_labels([root / "training/prompts.jsonl"]).frame
    frame = frame.sample(fraction=1, shuffle=True, seed=1).group_by("task", maintain_order=True).head(25)
    path = tmp_path / "l.jsonl"
    frame.select("prompt", "task").write_ndjson(path)
    bundled, scratch = (commands.train(path, tmp_path / "m", start=s)[1].accepted for s in STARTS)
    assert (bundled.value or 0) > (scratch.value or 0) + 0.1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n": 5}, "too few labels: creative has 5, other has 5, technical has 5; every task needs at least 10"),
        ({"taxonomy": "tasks: [creative, technical]"}, "the label 'other' is not in the taxonomy"),
        ({"taxonomy": "tasks: [creative]"}, "2 to 12 different names"),
        ({"taxonomy": "- a"}, "expected `tasks:`"),
        ({"start": "nowhere.classifier"}, "cannot be read as a classifier"),
    ],
)
def test_training_that_is_refused(cli: Run, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    labels = own_labels(tmp_path, change.get("n", 24))
    more: list[str | Path] = ["--start", change["start"]] if "start" in change else []
    if "taxonomy" in change:
        (tmp_path / "t.yaml").write_text(change["taxonomy"])
        more = ["--taxonomy", tmp_path / "t.yaml"]
    done = cli("classifier", "train", labels, "-o", tmp_path / "m.classifier", *more)
    assert done.returncode == 3
    assert said in done.stderr
    assert not (tmp_path / "m.classifier").exists()


def test_a_hostile_classifier_file_runs_nothing(cli: Run, log: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(tmp_path / "boom"), "w"))

    path = tmp_path / "bad.classifier"
    path.write_bytes(pickle.dumps(Bomb()))
    done = cli("analyze", log, "--classifier", path)
    assert done.returncode == 3
    assert "not a classifier of this version" in done.stderr
    assert not (tmp_path / "boom").exists()


def test_labels_that_a_spreadsheet_separated_by_semicolons(cli: Run, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text('task;prompt\nsimple;"Hello; how are you?"\ncode;"def f(x): return x"\n')
    run = cli("classifier", "evaluate", labels)
    assert run.returncode == 0, run.stderr
    assert "on 2 labels" in run.stdout
