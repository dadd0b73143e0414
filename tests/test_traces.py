"""Public production traces, priced as if they had run on gpt-5.4. Skipped where they are not beside the checkout."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Run

TRACES = Path(__file__).parent.parent.parent / "shared" / "data" / "traces"
INPUT_USD, OUTPUT_USD = 2.50 / 1e6, 15.00 / 1e6

pytestmark = pytest.mark.skipif(
    not TRACES.is_dir(), reason="the traces are not part of the project (../shared/data/traces)"
)

# trace, map, requests, input tokens, output tokens, task
CASES = [
    ("AzureLLMInferenceTrace_conv.csv", "azure-llm-2023.yaml", 19_366, 22_361_870, 4_088_665, "simple"),
    ("AzureLLMInferenceTrace_code.csv", "azure-llm-2023.yaml", 8_819, 18_059_974, 245_896, "code"),
    ("mooncake_conversation.jsonl", "mooncake.yaml", 12_031, 144_793_823, 4_122_048, "simple"),
]


def tokens(trace: Path) -> Iterator[tuple[int, int]]:
    """Input and output of each request, by other means than the program's."""
    with trace.open(encoding="utf-8") as file:
        if trace.suffix == ".csv":
            for row in csv.DictReader(file):
                yield int(row["ContextTokens"]), int(row["GeneratedTokens"])
        else:
            for line in file:
                record = json.loads(line)
                yield record["input_length"], record["output_length"]


def analysis(cli: Run, *args: str | Path) -> Any:
    run = cli("analyze", *args, "--format", "json")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize(("name", "field_map", "requests", "read", "written", "task"), CASES)
def test_price(cli: Run, name: str, field_map: str, requests: int, read: int, written: int, task: str) -> None:
    pairs = list(tokens(TRACES / name))
    assert (len(pairs), sum(i for i, _ in pairs), sum(o for _, o in pairs)) == (requests, read, written)
    # a larger input would be billed in another tier
    assert max(i for i, _ in pairs) <= 272_000

    result = analysis(cli, TRACES / name, "--map", f"examples/maps/{field_map}")
    assert (result["input"]["requests"], result["input"]["rejected"]) == (requests, 0)
    [row] = result["costs"]
    assert (row["task"], row["provider"], row["model"]) == (task, "openai", "gpt-5.4")
    assert (row["input_tokens"], row["output_tokens"], row["cache_read_tokens"]) == (read, written, 0)
    assert result["cost_usd"] == pytest.approx(read * INPUT_USD + written * OUTPUT_USD, rel=1e-9)
    assert result["coverage"]["share"] == 1.0
    assert result["input"]["undated"] == 0


def test_both_azure_traces_at_once(cli: Run) -> None:
    result = analysis(cli, str(TRACES / "Azure*.csv"), "--map", "examples/maps/azure-llm-2023.yaml", "--by", "feature")
    assert result["period"] == {"first": "2023-11-16", "last": "2023-11-16", "days": 1}
    assert {r["task"]: r["requests"] for r in result["mix"]} == {"simple": 19_366, "code": 8_819}
    assert {r["feature"]: r["requests"] for r in result["breakdowns"]["feature"]} == {
        "chat": 19_366,
        "completion": 8_819,
    }


def test_mooncake_lasts_an_hour_from_the_start_that_the_map_gives(cli: Run) -> None:
    trace, field_map = TRACES / "mooncake_conversation.jsonl", "examples/maps/mooncake.yaml"
    with trace.open(encoding="utf-8") as file:
        moments = [json.loads(line)["timestamp"] for line in file]
    first_half = sum(m < 30 * 60_000 for m in moments)
    result = analysis(cli, trace, "--map", field_map, "--until", "2026-05-22T09:30:00Z")
    assert result["input"]["requests"] == first_half
    assert analysis(cli, trace, "--map", field_map, "--since", "2026-05-22")["input"]["requests"] == len(moments)
