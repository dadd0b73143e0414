"""The shipped samples: what the commands make of each, and that they can be made again."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from conftest import Run

# name: exit code, lines, requests
SAMPLES = {
    "worked-example.jsonl": (0, 1_000, 1_000),
    "support-month.jsonl.gz": (0, 1_500, 1_500),
    "gateway-export.csv": (0, 200, 200),
    "gateway-export.parquet": (0, 200, 200),
    "damaged.jsonl": (3, 60, 46),
}


def analysis(cli: Run, *args: str | Path, code: int = 0) -> Any:
    run = cli("analyze", *args, "--format", "json")
    assert run.returncode == code, run.stderr
    assert "Traceback" not in run.stderr
    return json.loads(run.stdout)


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Every leaf of a JSON value by its path; floats rounded, as the order of a sum may change the last digit."""
    if isinstance(value, dict):
        return {k: v for key, inner in value.items() for k, v in _leaves(inner, f"{path}.{key}").items()}
    if isinstance(value, list):
        return {k: v for n, inner in enumerate(value) for k, v in _leaves(inner, f"{path}[{n}]").items()}
    return {path: round(value, 10) + 0.0 if isinstance(value, float) else value}


@pytest.mark.parametrize("name", SAMPLES)
def test_analyze(cli: Run, name: str) -> None:
    code, lines, requests = SAMPLES[name]
    read = analysis(cli, f"sample_logs/{name}", code=code)["input"]
    assert (read["lines"], read["requests"]) == (lines, requests)
    assert read["requests"] + read["rejected"] + read["duplicates"] == read["lines"]


@pytest.mark.parametrize("name", SAMPLES)
def test_simulate(cli: Run, name: str) -> None:
    code, _, _ = SAMPLES[name]
    run = cli("simulate", f"sample_logs/{name}", "--table", "default", "--table", "prism-v1.7-a", "--format", "json")
    assert run.returncode == code, run.stderr
    scenarios = json.loads(run.stdout)["scenarios"]
    assert {s["table"] for s in scenarios} == {"default", "prism-v1.7-a"}
    assert all(s["requests"] > 0 and s["today_usd"] > 0 for s in scenarios)


@pytest.mark.parametrize("name", SAMPLES)
def test_tally_keeps_every_figure(cli: Run, name: str, tmp_path: Path) -> None:
    code, _, _ = SAMPLES[name]
    usage = tmp_path / "usage.parquet"
    run = cli("tally", f"sample_logs/{name}", "-o", usage)
    assert run.returncode == code, run.stderr
    of_log = analysis(cli, f"sample_logs/{name}", code=code)
    of_usage = analysis(cli, usage, code=code)
    for key in ("cost_usd", "mix", "costs", "saving", "residual", "coverage", "period"):
        assert _leaves(of_usage[key]) == _leaves(of_log[key]), key
    assert of_usage["input"]["requests"] == of_log["input"]["requests"]


def test_support_month_has_what_real_logs_have(cli: Run, root: Path) -> None:
    result = analysis(cli, "sample_logs/support-month.jsonl.gz", "--by", "feature")
    assert result["period"] == {"first": "2026-10-01", "last": "2026-10-30", "days": 30}
    assert result["coverage"]["billable"] == 1_500 - 24
    unknown = result["coverage"]["unknown_models"]
    assert [(u["model"], u["requests"]) for u in unknown] == [("acme-chat-13b", 2)]
    assert result["coverage"]["unpriced"] == {"unknown_model": 2}
    assert len(result["breakdowns"]["feature"]) == 6

    # only one model's logged cost is not its list price
    off = {row["model"]: row["residual_share"] for row in result["residual"] if abs(row["residual_share"]) > 1e-3}
    assert list(off) == ["claude-sonnet-4-6"]
    assert 0.05 < off["claude-sonnet-4-6"] < 1
    assert sum(row["requests"] for row in result["residual"]) > 1_400

    log = pl.read_ndjson(
        gzip.decompress((root / "sample_logs" / "support-month.jsonl.gz").read_bytes()), infer_schema_length=None
    )
    assert "task" not in log.columns
    counted = {
        "errors": log.filter(pl.col("status") == "error").height,
        "retried": log.filter(pl.col("attempt") == 2).height,
        "batches": log["batch"].sum(),
        "cache hits": log["gateway_cache_hit"].sum(),
    }
    assert counted == {"errors": 24, "retried": 12, "batches": 36, "cache hits": 16}
    assert set(log["provider"]) == {"openai", "anthropic", "google", "groq", "mistral", "internal"}
    for column in ("cache_read_tokens", "cache_write_tokens", "mode", "model_override", "feedback", "needs"):
        assert log[column].null_count() < log.height, column


def test_csv_and_parquet_say_the_same(cli: Run) -> None:
    of_csv = analysis(cli, "sample_logs/gateway-export.csv", "--by", "user_id")
    of_parquet = analysis(cli, "sample_logs/gateway-export.parquet", "--by", "user_id")
    for key in ("cost_usd", "costs", "breakdowns", "residual", "period", "coverage"):
        assert of_csv[key] == of_parquet[key], key
    assert sum(row["cache_read_tokens"] for row in of_csv["costs"]) > 0
    assert all(abs(row["residual_share"]) < 1e-3 for row in of_csv["residual"])


def test_damaged_says_what_and_where(cli: Run, tmp_path: Path) -> None:
    kept = tmp_path / "rejects.jsonl"
    result = analysis(cli, "sample_logs/damaged.jsonl", "--rejects", kept, code=3)
    assert (result["input"]["rejected"], result["input"]["duplicates"], result["input"]["undated"]) == (12, 2, 2)
    assert {r["code"]: r["count"] for r in result["input"]["rejects"]} == {
        "bad_value": 5, "not_an_object": 1, "not_json": 5, "not_utf8": 1,
    }  # fmt: skip
    assert result["coverage"]["unpriced"] == {"no_model": 2, "no_tokens": 2, "unknown_model": 1}
    assert [place.rpartition(":")[2] for place in result["input"]["duplicate_places"]] == ["51", "52"]
    lines = [json.loads(line)["line"] for line in kept.read_text(encoding="utf-8").splitlines()]
    assert lines == [5, 9, 13, 16, 19, 22, 26, 29, 32, 35, 38, 61]


def test_damaged_is_accepted_with_a_higher_bar(cli: Run) -> None:
    assert cli("analyze", "sample_logs/damaged.jsonl", "--max-bad", "0.2").returncode == 0
    run = cli("analyze", "sample_logs/damaged.jsonl")
    assert run.returncode == 3
    assert "--max-bad" in run.stderr
    assert "sample_logs/damaged.jsonl" in run.stderr


def test_the_readme_names_every_sample_and_its_commands_run(cli: Run, root: Path, tmp_path: Path) -> None:
    readme = (root / "sample_logs" / "README.md").read_text(encoding="utf-8")
    commands = dict(re.findall(r"(?m)^\| `([^`]+)` \|.*\| `routecost ([^`]+)` \|$", readme))
    shipped = {path.name for path in (root / "sample_logs").iterdir()} - {"README.md", "dialects"}
    assert set(commands) == shipped == {*SAMPLES, "quality.csv"}
    for name, command in commands.items():
        run = cli(*shlex.split(command.replace("rejects.jsonl", str(tmp_path / "rejects.jsonl"))))
        assert run.returncode == (SAMPLES[name][0] if name in SAMPLES else 0), (command, run.stderr)


def test_the_generator_makes_the_shipped_files(root: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(root / "examples" / "make_samples.py"), str(tmp_path)], timeout=60, check=True)
    assert {path.name for path in tmp_path.iterdir()} == set(SAMPLES)
    for name in SAMPLES:
        made, shipped = tmp_path / name, root / "sample_logs" / name
        # how a compressor packs the same content is its own affair
        if name.endswith(".gz"):
            assert gzip.decompress(made.read_bytes()) == gzip.decompress(shipped.read_bytes()), name
        elif name.endswith(".parquet"):
            assert pl.read_parquet(made).equals(pl.read_parquet(shipped), null_equal=True), name
        else:
            assert made.read_bytes() == shipped.read_bytes(), name


def test_the_comparison_script_runs(root: Path) -> None:
    script = root / "examples" / "compare_tables.py"
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True)
    assert "1,500 requests" in run.stdout
    assert "prism-v1.7-a, eco" in run.stdout
