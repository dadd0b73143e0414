"""Logs of N requests for the benchmarks: JSONL of about 1.2 KB a line, and the same requests as Parquet.

python bench/generate.py 1000000 bench/data
"""

from __future__ import annotations

import datetime as dt
import json
import random
import re
import sys
from pathlib import Path

import polars as pl

MODELS = (
    ("openai", "gpt-5.4", 0.42),
    ("openai", "gpt-5.4-mini", 0.2),
    ("anthropic", "claude-sonnet-4-5", 0.16),
    ("google", "gemini-2.5-flash", 0.12),
    ("mistral", "codestral-latest", 0.06),
    ("groq", "llama-3.1-8b-instant", 0.04),
)
TASKS = ("simple", "code", "reasoning", "complex")
FEATURES = (
    "chat",
    "search-answer",
    "ticket-triage",
    "summary",
    "code-review",
    "sql-helper",
    "report",
    "translation",
    "onboarding",
    "agent-step",
    "billing-faq",
    "release-notes",
)
OPENINGS = (
    "Summarise the thread below for a colleague who was away",
    "Why does this query return duplicates",
    "Translate",
    "Write a unit test for the function below",
    "Compare the two offers and say which one to take",
    "Extract the order",
    "What changed between these releases",
    "Draft a polite answer to this complaint",
    "Plan the migration step by step",
    "Classify the ticket as billing, bug or question",
    "Explain the stack trace",
    "Turn the notes into a report",
)
WORDS = re.findall(
    r"\w+",
    """
    the service returns an error when a customer changes the plan before the invoice is paid and the job that sends the
    reminder runs twice because the lock expires while the export is still writing to the bucket so the second worker
    reads a partial file then the dashboard shows a total that does not match what finance expects we saw it on the
    staging cluster after the upgrade of the client library and again this morning with a different tenant please check
    whether the retry policy is the cause or the new index which the team added last week for search
    """,
)
DAYS = 30
BATCH = 100_000


def prompts(rnd: random.Random, n: int) -> list[str]:
    """Texts with the lengths of real prompts (log-normal, median about 500 characters)."""
    made = []
    for _ in range(n):
        words = max(8, int(rnd.lognormvariate(4.5, 0.5)))
        made.append(f"{rnd.choice(OPENINGS)}: " + " ".join(rnd.choices(WORDS, k=min(words, 600))))
    return made


def records(rnd: random.Random, start: int, n: int, total: int, pool: list[str]) -> list[dict[str, object]]:
    first = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
    step = DAYS * 86_400 / total
    weights = [w for _, _, w in MODELS]
    out: list[dict[str, object]] = []
    for i in range(start, start + n):
        provider, model, _ = rnd.choices(MODELS, weights)[0]
        cached = rnd.random() < 0.3
        size = int(rnd.lognormvariate(7.0, 0.9)) + 20
        out.append(
            {
                "request_id": f"req_{i:012x}",
                "session_id": f"ses_{i // 6:09x}",
                "user_id": f"usr_{(i // 6) % 40_009:06d}",
                "ts": (first + dt.timedelta(seconds=i * step))
                .isoformat(timespec="milliseconds")
                .replace("+00:00", "Z"),
                "provider": provider,
                "model": model,
                "feature": FEATURES[rnd.randrange(len(FEATURES))],
                "task": TASKS[rnd.choices((0, 1, 2, 3), (55, 20, 15, 10))[0]],
                "system": "You are the assistant of a software company. Answer in the language of the question. " * 3,
                "prompt": rnd.choice(pool),
                "input_tokens": size if not cached else size // 3,
                "cache_read_tokens": size - size // 3 if cached else 0,
                "cache_write_tokens": 0,
                "output_tokens": int(rnd.lognormvariate(5.3, 0.8)) + 1,
                "cost_usd": round(rnd.random() * 0.01, 8),
                "latency_ms": round(rnd.lognormvariate(6.6, 0.6), 1),
                "ttft_ms": round(rnd.lognormvariate(5.4, 0.5), 1),
                "status": "ok",
                "finish_reason": "stop",
            }
        )
    return out


def generate(n: int, folder: Path) -> tuple[Path, Path]:
    """The JSONL and the Parquet file of n requests; made only when they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    lines, table = folder / f"requests-{n}.jsonl", folder / f"requests-{n}.parquet"
    if not lines.exists():
        rnd = random.Random(n)
        pool = prompts(rnd, 5_000)
        part = lines.with_suffix(".part")
        with part.open("w", encoding="utf-8") as file:
            for start in range(0, n, BATCH):
                rows = records(rnd, start, min(BATCH, n - start), n, pool)
                file.writelines(json.dumps(row) + "\n" for row in rows)
        part.replace(lines)
    if not table.exists():
        part = table.with_suffix(".part")
        plan = pl.scan_ndjson(lines).with_columns(pl.col("ts").str.strptime(pl.Datetime("us", "UTC"), "%+"))
        plan.sink_parquet(part, compression="zstd")
        part.replace(table)
    return lines, table


if __name__ == "__main__":
    for made in generate(int(sys.argv[1]), Path(sys.argv[2])):
        print(made, f"{made.stat().st_size / 1e9:.2f} GB")
