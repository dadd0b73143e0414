"""The worked example: 625.00 dollars a day become 356.25, from the log, the calculator, the library and the script."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import routecost
from conftest import Run

LOG = "sample_logs/worked-example.jsonl"
OPTIONS = ("--pricing", "pricing/worked-example.yaml", "--table", "routing/worked-example.yaml")
# task: USD a day now, routed, saved; as published (rounded): 313 / 94 / 219, 125 / 75 / 50, 125 / 125 / 0, 63 / 63 / 0
ROWS = {
    "simple": (312.50, 93.75, 218.75, "gpt-5.4-mini"),
    "code": (125.00, 75.00, 50.00, "codestral"),
    "reasoning": (125.00, 125.00, 0.00, "gpt-5.4"),
    "complex": (62.50, 62.50, 0.00, "gpt-5.4"),
}
SHARES = {"simple": 0.5, "code": 0.2, "reasoning": 0.2, "complex": 0.1}


def assert_exact(result: dict[str, Any]) -> None:
    saving, a_day = result["saving"], result["scale"]["per_day"]
    figures = [saving[key] * a_day for key in ("today_usd", "routed_usd", "saving_usd")]
    assert figures == pytest.approx([625.00, 356.25, 268.75], rel=1e-12)
    assert saving["saving_share"]["estimate"] == pytest.approx(0.43, rel=1e-12)
    assert [row["task"] for row in saving["by_task"]] == list(ROWS)
    for row in saving["by_task"]:
        *expected, model = ROWS[row["task"]]
        found = [row[key] * a_day for key in ("today_usd", "routed_usd", "saving_usd")]
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-9)
        assert (row["routed_to"], row["routed_models"]) == (model, 1)
        assert row["requests"] / saving["requests"] == SHARES[row["task"]]
    assert saving["left_out_requests"] == 0
    assert saving["classifier_usd"] == 0


def test_from_the_log(cli: Run) -> None:
    run = cli("analyze", LOG, *OPTIONS, "--requests", "50000/day", "--format", "json")
    assert (run.returncode, run.stderr) == (0, "")
    result = json.loads(run.stdout)
    assert_exact(result)
    assert result["input"]["requests"] == 1_000
    assert result["cost_usd"] == pytest.approx(12.50, rel=1e-12)
    assert result["coverage"]["share"] == 1.0


def test_from_a_usage_file(cli: Run, tmp_path: Path) -> None:
    usage = tmp_path / "usage.parquet"
    assert cli("tally", LOG, "-o", usage).returncode == 0
    run = cli("analyze", usage, *OPTIONS, "--requests", "50000/day", "--format", "json")
    assert run.returncode == 0, run.stderr
    assert_exact(json.loads(run.stdout))


@pytest.mark.parametrize(
    "args",
    [
        ("--example",),
        ("--requests", "50000/day", "--mix", "simple=50,code=20,reasoning=20,complex=10", "--tokens", "2000/500",
         "--model", "gpt-5.4", *OPTIONS),
    ],
    ids=["--example", "spelt out"],
)  # fmt: skip
def test_from_the_calculator(cli: Run, args: tuple[str, ...]) -> None:
    run = cli("estimate", *args, "--format", "json")
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert_exact(result)
    assert result["input"]["requests"] == 50_000


def test_as_people_read_it(cli: Run) -> None:
    text = cli("analyze", LOG, *OPTIONS, "--requests", "50000/day").stdout
    section = text[text.index("Savings with worked-example") :].splitlines()
    rows = {
        line.split()[0]: line.split() for line in section if line.split()[:1] and line.split()[0] in (*ROWS, "total")
    }
    assert rows["simple"][:6] == ["simple", "50.0%", "$312.50", "$93.75", "gpt-5.4-mini", "$218.75"]
    assert rows["code"][:6] == ["code", "20.0%", "$125.00", "$75.00", "codestral", "$50.00"]
    assert rows["reasoning"][:6] == ["reasoning", "20.0%", "$125.00", "$125.00", "gpt-5.4", "$0.00"]
    assert rows["complex"][:6] == ["complex", "10.0%", "$62.50", "$62.50", "gpt-5.4", "$0.00"]
    assert rows["total"][:6] == ["total", "100.0%", "$625.00", "$356.25", "$268.75", "43.0%"]


def test_from_the_library(root: Path) -> None:
    result = routecost.analyze(
        root / LOG,
        table=root / "routing" / "worked-example.yaml",
        pricing=[root / "pricing" / "worked-example.yaml"],
        requests_per_day=50_000,
    )
    assert result.scale.day(result.saving.saving_usd) == pytest.approx(268.75, rel=1e-12)
    # the tokens vary from request to request: an interval that is none would be wrong
    low, high = result.saving.interval.low, result.saving.interval.high
    assert low is not None
    assert high is not None
    assert low < result.saving.saving_usd < high
    assert result.to_polars()["saving_usd"].sum() * 50 == pytest.approx(268.75, rel=1e-12)


def test_the_script_prints_the_table(root: Path) -> None:
    run = subprocess.run(
        [sys.executable, str(root / "examples" / "worked_example.py")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [line.split() for line in run.stdout.splitlines()]
    assert lines[1] == ["simple", "50%", "312.50", "93.75", "gpt-5.4-mini", "218.75"]
    assert lines[-1] == ["total", "625.00", "356.25", "268.75", "43.0%"]


def test_the_log_is_what_it_says(root: Path) -> None:
    log = pl.read_ndjson(root / LOG)
    sums = log.group_by("task").agg(pl.len(), pl.col("input_tokens", "output_tokens").sum())
    found = {task: tuple(rest) for task, *rest in sums.iter_rows()}
    sizes = {"simple": 500, "code": 200, "reasoning": 200, "complex": 100}
    assert found == {task: (n, 2_000 * n, 500 * n) for task, n in sizes.items()}
    assert log["prompt"].n_unique() == log["request_id"].n_unique() == 1_000
    assert log["input_tokens"].n_unique() > 500
    assert log.select("provider", "model").unique().rows() == [("openai", "gpt-5.4")]
    assert log["ts"].str.slice(0, 10).unique().to_list() == ["2026-05-22"]
    assert log["session_id"].n_unique() < 500
