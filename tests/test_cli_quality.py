"""`routecost quality`, as it is typed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from conftest import Run
from routecost.pipeline.feedback import read_feedback

REPORTS = Path(__file__).parent / "quality"
# Options of other commands and tools that the guide names.
OTHERS = {"--quality", "--model", "--model_args", "--tasks", "--log_samples", "--output_path", "--no-cache"}
LOG = "sample_logs/support-month.jsonl.gz"


def test_from_logs(cli: Run, tmp_path: Path) -> None:
    done = cli("quality", "from-logs", LOG, "--signal", "outcome", "-o", tmp_path / "q.csv")
    assert done.returncode == 0, done.stderr
    assert "of them graded by outcome" in done.stdout
    assert "Who got which model was not random" in done.stdout
    shown = cli("quality", "show", tmp_path / "q.csv", "--format", "json")
    found = json.loads(shown.stdout)
    assert {"code", "simple"} <= {g["task"] for g in found["grades"]}
    assert all(g["low"] - 1e-9 <= g["score"] <= g["high"] + 1e-9 for g in found["grades"])
    assert all(p["low"] - 1e-9 <= p["score"] <= p["high"] + 1e-9 for p in found["pairs"])
    assert any("Who got which model" in note for note in found["notes"])


def test_from_stdin_and_damaged(cli: Run, tmp_path: Path) -> None:
    text = Path("sample_logs/worked-example.jsonl").read_text(encoding="utf-8")
    done = cli("quality", "from-logs", "-", "-o", tmp_path / "q.csv", "--format", "json", input=text)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["requests"] == 1000
    bad = cli("quality", "from-logs", "sample_logs/damaged.jsonl", "-o", tmp_path / "d.csv")
    assert bad.returncode == 3
    assert "--max-bad" in bad.stderr


def test_sample_run_elsewhere_and_import(cli: Run, tmp_path: Path) -> None:
    drawn = cli("quality", "sample", LOG, "-n", 8, "--per-task", "-o", tmp_path / "p.jsonl", "--for", "promptfoo")
    assert drawn.returncode == 0, drawn.stderr
    # a long path is wrapped
    assert f"qualityimportRESULTS--prompts{tmp_path / 'p.jsonl'}" in "".join(drawn.stdout.split())
    ids = [json.loads(line)["id"] for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    rows = [
        json.dumps({"id": i, "model": m, "score": s, "latency_ms": 9})
        for m, s in (("gpt-5.4", 1), ("gpt-5.4-mini", 0.5))
        for i in ids
    ]
    (tmp_path / "r.jsonl").write_text("\n".join(rows))
    done = cli("quality", "import", tmp_path / "r.jsonl", "--prompts", tmp_path / "p.jsonl", "-o", tmp_path / "q.yaml")
    assert done.returncode == 0, done.stderr
    shown = json.loads(cli("quality", "show", tmp_path / "q.yaml", "--format", "json").stdout)
    assert {p["score"] for p in shown["pairs"]} == {0.5}
    assert any("weighted by how many requests a prompt stands for" in n for n in shown["notes"])


def test_import_of_several_tools(cli: Run, tmp_path: Path) -> None:
    done = cli(
        "quality", "import", REPORTS / "promptfoo.json", REPORTS / "lm-eval", "--task-map", "gsm8k=reasoning",
        "--model-map", "openai/gpt-5.4-mini=gpt-9-unknown", "-o", tmp_path / "q.parquet",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "does not know 'gpt-9-unknown'" in done.stdout
    shown = cli("quality", "show", tmp_path / "q.parquet").stdout
    assert "lm-eval gsm8k" in shown
    assert "promptfoo" in shown
    table = cli("quality", "show", tmp_path / "q.parquet", "--format", "csv").stdout.splitlines()
    assert table[0].startswith("task,model,versus,n,score,squares")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["import", REPORTS / "judge.csv"], 3, "--judge-scale 1-5"),
        (["import", REPORTS / "judge.csv", "--judge-scale", "good"], 2, "expected the worst and the best grade"),
        (["import", REPORTS / "lm-eval"], 3, "--task-map"),
        (["import", "absent.csv"], 3, "No such file"),
        (["show", "absent.csv"], 3, "No such file"),
        (["show", "sample_logs/gateway-export.csv"], 3, "unknown column"),
        (["sample", "sample_logs/gateway-export.csv"], 3, "no request with a task and text"),
        (["from-logs", "sample_logs/gateway-export.csv"], 3, "no request of a known task and model"),
        (["from-logs", "sample_logs/worked-example.jsonl", "-o", "q.txt"], 2, "name it .csv, .yaml or .parquet"),
    ],
)
def test_what_is_wrong_is_said(cli: Run, arguments: list[str | Path], code: int, said: str, root: Path) -> None:
    done = cli("quality", *arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert not (root / "quality.csv").exists()


def test_tables_of_the_guide_are_read(cli: Run, root: Path, tmp_path: Path) -> None:
    """What docs/guides/quality.md shows works as it stands there."""
    guide = (root / "docs" / "guides" / "quality.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```csv\n(.*?)```", guide, re.DOTALL)
    (feedback,) = [b for b in blocks if b.startswith("request_id")]
    table, results = [b for b in blocks if b != feedback]
    (tmp_path / "f.csv").write_text(feedback)
    assert read_feedback([tmp_path / "f.csv"]) is not None
    (tmp_path / "q.csv").write_text(table)
    assert cli("quality", "show", tmp_path / "q.csv").returncode == 0
    (tmp_path / "r.csv").write_text(results)
    (tmp_path / "p.jsonl").write_text('{"id": "ae7d2867f5b94ef8", "task": "code", "weight": 3}\n')
    done = cli("quality", "import", tmp_path / "r.csv", "--prompts", tmp_path / "p.jsonl", "-o", tmp_path / "i.csv")
    assert done.returncode == 0, done.stderr
    known = "".join(
        cli("quality", name, "--help").stdout for name in ("from-logs", "sample", "import", "show", "watch")
    )
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z_-]+", guide))
    assert {option for option in named if option not in known} <= OTHERS
