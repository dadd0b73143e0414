"""Nested logs: a bare Polars scan and `routecost analyze` on the same file, as whole processes in turn.

    python bench/dialects.py [--rows 200000 --rows 800000] [--runs 5] [--data bench/data] [--write]

OpenAI chat pairs and LiteLLM payloads, with messages of several turns, tools and whole answers. `bare` sums what
`analyze` reads of them (of text, the byte lengths); `bare, counts alone` sums the token counts only. With task labels
in the metadata the classifier has nothing to do; without, every prompt is classified. --write keeps the tables in
bench/DIALECTS.md. Times are medians, ratios medians pair by pair, memory the peak of RssAnon.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
from run import Run, measure, pairs

HERE = Path(__file__).parent
PROMPTS = HERE.parent / "training" / "prompts.jsonl"
MODELS = {"gpt-4o-mini": "gpt-4o-mini-2024-07-18", "gpt-4.1": "gpt-4.1-2025-04-14", "o4-mini": "o4-mini-2025-04-16"}
TASKS = ("simple", "simple", "simple", "code", "reasoning", "complex")
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look up an article in the shop.",
        "parameters": {"type": "object", "properties": {"sku": {"type": "string"}}},
    },
}
SENTENCES = (
    "You answer customers of a bicycle shop in one paragraph. ",
    "Prices include tax; never promise a day of delivery. ",
    "If a part is discontinued, name the nearest one that fits. ",
    "Quote the manual by its chapter and line. ",
)
ANSWERS = ("Yes, that fits. ", "It takes about two working days. ", "See chapter four of the manual for the torque. ")


def messages(rnd: random.Random, prompts: list[str]) -> list[dict[str, Any]]:
    """A system prompt, up to three earlier turns, and a question; one in ten has an image."""
    said: list[dict[str, Any]] = [{"role": "system", "content": "".join(rnd.choices(SENTENCES, k=rnd.randint(2, 12)))}]
    for _ in range(rnd.randint(0, 3)):
        said.append({"role": "user", "content": rnd.choice(prompts)})
        said.append({"role": "assistant", "content": "".join(rnd.choices(ANSWERS, k=rnd.randint(1, 12)))})
    question: Any = rnd.choice(prompts)
    if rnd.random() < 0.1:
        question = [
            {"type": "text", "text": question},
            {"type": "image_url", "image_url": {"url": "https://img.example/1.jpg"}},
        ]
    return [*said, {"role": "user", "content": question}]


def usage(rnd: random.Random) -> dict[str, Any]:
    given, out = rnd.randint(100, 4000), rnd.randint(1, 900)
    return {
        "prompt_tokens": given,
        "completion_tokens": out,
        "total_tokens": given + out,
        "prompt_tokens_details": {"cached_tokens": given // 128 * 128 if rnd.random() < 0.3 else 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def chat_pair(rnd: random.Random, n: int, prompts: list[str], *, labelled: bool) -> dict[str, Any]:
    model, served = rnd.choice(list(MODELS.items()))
    meta = {"feature": rnd.choice(("chat", "search", "mail")), "session_id": f"s-{n // 4}"}
    return {
        "timestamp": f"2026-03-{1 + n % 28:02d}T09:{n // 60 % 60:02d}:{n % 60:02d}.{n % 1000:03d}Z",
        "latency_ms": rnd.randint(300, 9000),
        "request": {
            "model": model,
            "messages": messages(rnd, prompts),
            "temperature": 0.2,
            "user": f"u-{n % 997}",
            "tools": [TOOL] if n % 3 == 0 else None,
            "metadata": meta | ({"task": rnd.choice(TASKS)} if labelled else {}),
        },
        "response": {
            "id": f"chatcmpl-{n:012d}",
            "object": "chat.completion",
            "created": 1772442905 + n,
            "model": served,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "".join(rnd.choices(ANSWERS, k=rnd.randint(1, 30)))},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": usage(rnd),
            "service_tier": "default",
        },
    }


def litellm_payload(rnd: random.Random, n: int, prompts: list[str], *, labelled: bool) -> dict[str, Any]:
    model = rnd.choice(list(MODELS))
    counts, begun = usage(rnd), 1772442905 + n * 0.5
    meta: dict[str, Any] = {"feature": rnd.choice(("chat", "search", "mail"))}
    return {
        "id": f"chatcmpl-{n:012d}",
        "trace_id": f"tr-{n}",
        "session_id": f"s-{n // 4}",
        "litellm_call_id": f"call-{n}",
        "call_type": "acompletion",
        "stream": False,
        "response_cost": counts["total_tokens"] * 1e-6,
        "status": "success",
        "custom_llm_provider": "openai",
        "total_tokens": counts["total_tokens"],
        "prompt_tokens": counts["prompt_tokens"],
        "completion_tokens": counts["completion_tokens"],
        "startTime": begun,
        "endTime": begun + 1.25,
        "completionStartTime": begun + 1.25,
        "response_time": 1.25,
        "model_map_information": {"model_map_key": model, "model_map_value": {"max_tokens": 16384, "mode": "chat"}},
        "model": model,
        "model_id": "1f3a9c7e5d",
        "model_group": "fast",
        "api_base": "https://api.example/v1",
        "metadata": {
            "user_api_key_hash": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
            "user_api_key_alias": "shop",
            "user_api_key_team_id": "team-a",
            "spend_logs_metadata": None,
            "requester_metadata": meta | ({"task": rnd.choice(TASKS)} if labelled else {}),
            "usage_object": counts,
        },
        "cache_hit": False,
        "request_tags": ["User-Agent: AsyncOpenAI/Python 1.99.0", "web"],
        "end_user": f"u-{n % 997}",
        "messages": messages(rnd, prompts),
        "response": {
            "id": f"chatcmpl-{n:012d}",
            "created": 1772442905 + n,
            "model": MODELS[model],
            "object": "chat.completion",
            "choices": [
                {
                    "finish_reason": "stop",
                    "index": 0,
                    "message": {"role": "assistant", "content": "".join(rnd.choices(ANSWERS, k=rnd.randint(1, 30)))},
                }
            ],
        },
        "error_str": None,
        "error_information": {"error_code": "", "error_class": "", "llm_provider": "", "error_message": ""},
        "model_parameters": {"temperature": 0.2, "stream": False, "tools": [TOOL] if n % 3 == 0 else None},
        "hidden_params": {"model_id": "1f3a9c7e5d", "litellm_model_name": model, "response_cost": 0.000171},
    }


KINDS = {"pairs": chat_pair, "litellm": litellm_payload}


def generate(kind: str, rows: int, folder: Path, *, labelled: bool) -> Path:
    """A log of one format, made once; the same bytes each time."""
    path = folder / f"{kind}-{'labelled' if labelled else 'bare'}-{rows}.jsonl"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with PROMPTS.open(encoding="utf-8") as file:
        prompts = [json.loads(line)["prompt"] for line in file]
    rnd = random.Random(7)
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as out:
        for n in range(rows):
            out.write(json.dumps(KINDS[kind](rnd, n, prompts, labelled=labelled)) + "\n")
    part.replace(path)
    return path


# --- the limit --------------------------------------------------------------------------------------------------------

TEXT, COUNT, AMOUNT = pl.String(), pl.Int64(), pl.Float64()
USAGE = pl.Struct(
    {
        "prompt_tokens": COUNT,
        "completion_tokens": COUNT,
        "total_tokens": COUNT,
        "prompt_tokens_details": pl.Struct({"cached_tokens": COUNT}),
        "completion_tokens_details": pl.Struct({"reasoning_tokens": COUNT}),
    }
)
MESSAGES = pl.List(pl.Struct({"role": TEXT, "content": TEXT}))
CHOICES = pl.List(pl.Struct({"finish_reason": TEXT}))
META = pl.Struct({"feature": TEXT, "session_id": TEXT, "task": TEXT})
SCHEMAS: dict[str, dict[str, pl.DataType]] = {
    "pairs": {
        "timestamp": TEXT,
        "latency_ms": AMOUNT,
        "request": pl.Struct({"model": TEXT, "messages": MESSAGES, "user": TEXT, "tools": TEXT, "metadata": META}),
        "response": pl.Struct(
            {"id": TEXT, "model": TEXT, "choices": CHOICES, "usage": USAGE, "service_tier": TEXT, "created": TEXT}
        ),
    },
    "litellm": {
        **dict.fromkeys(
            ("id", "session_id", "status", "custom_llm_provider", "model", "model_group", "end_user"), TEXT
        ),
        **dict.fromkeys(("total_tokens", "prompt_tokens", "completion_tokens"), COUNT),
        **dict.fromkeys(("startTime", "endTime", "completionStartTime", "response_cost"), AMOUNT),
        "stream": pl.Boolean(),
        "cache_hit": pl.Boolean(),
        "request_tags": TEXT,
        "messages": MESSAGES,
        "metadata": pl.Struct({"requester_metadata": META, "usage_object": USAGE}),
        "model_parameters": pl.Struct({"tools": TEXT}),
        "response": pl.Struct({"choices": CHOICES}),
    },
}
COUNTS: dict[str, dict[str, pl.DataType]] = {
    "pairs": {"response": pl.Struct({"usage": USAGE})},
    "litellm": {"metadata": pl.Struct({"usage_object": USAGE})},
}


def sums(values: pl.Expr, dtype: pl.DataType, name: str) -> Iterator[pl.Expr]:
    """The sum of every leaf: of text its bytes."""
    if isinstance(dtype, pl.Struct):
        for inner in dtype.fields:
            yield from sums(values.struct.field(inner.name), inner.dtype, f"{name}.{inner.name}")  # type: ignore[arg-type]
    elif isinstance(dtype, pl.List):
        yield from sums(values.explode(), dtype.inner, name)  # type: ignore[arg-type]
    else:
        yield (values.str.len_bytes() if dtype == TEXT else values).sum().alias(name)


def bare(path: str, kind: str, *, counts_alone: bool) -> None:
    schema = (COUNTS if counts_alone else SCHEMAS)[kind]
    every = [one for name, dtype in schema.items() for one in sums(pl.col(name), dtype, name)]
    print(pl.scan_ndjson(path, schema=schema).select(pl.len(), *every).collect(engine="streaming"))


# --- in turn ----------------------------------------------------------------------------------------------------------


def ratio(first: list[Run], second: list[Run]) -> str:
    ratios = [b.wall_s / a.wall_s for a, b in zip(first, second, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, action="append", help="requests in the log; repeatable")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--write", action="store_true", help="keep the table in bench/DIALECTS.md")
    parser.add_argument("--bare", nargs=3, metavar=("PATH", "KIND", "WHAT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.bare:
        bare(args.bare[0], args.bare[1], counts_alone=args.bare[2] == "counts")
        return
    routecost = str(Path(sys.executable).with_name("routecost"))
    lines = [
        "| log | bare, s | analyze, s | ratio (min - max) | to bare, counts alone | analyze CPU, s | RssAnon, MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    print("\n".join(lines), flush=True)
    for rows in args.rows or [200_000]:
        for kind in KINDS:
            for labelled in (True, False):
                path = generate(kind, rows, args.data, labelled=labelled)
                scan = [sys.executable, __file__, "--bare", str(path), kind]
                ours = [routecost, "analyze", str(path)]
                whole, mine = pairs([*scan, "all"], ours, args.runs)
                counts = [measure([*scan, "counts"]) for _ in range(args.runs)]
                line = (
                    f"| {rows:,} {kind}, {'labelled' if labelled else 'to be classified'} "
                    f"({path.stat().st_size / 1e9:.2f} GB) "
                    f"| {statistics.median(r.wall_s for r in whole):.2f} "
                    f"| {statistics.median(r.wall_s for r in mine):.2f} | {ratio(whole, mine)} | {ratio(counts, mine)} "
                    f"| {statistics.median(r.cpu_s for r in mine):.2f} | {max(r.anon_mb for r in mine):.0f} |"
                )
                lines.append(line)
                print(line, flush=True)
    if args.write:
        write(lines, args.rows or [200_000], args.runs)


def write(lines: list[str], rows: list[int], runs: int) -> None:
    machine = (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, Polars {pl.__version__}"
    )
    sizes = " ".join(f"--rows {n}" for n in rows)
    text = [
        "# Nested logs",
        "",
        f"`python bench/dialects.py {sizes} --runs {runs} --write` on {machine}.",
        "",
        "Whole processes in turn, page cache warm; medians, and ratios pair by pair. `bare` is a Polars scan that sums",
        "the leaves that `analyze` reads (of text, its bytes); `counts alone` sums only the token counts.",
        "",
        *lines,
        "",
    ]
    (HERE / "DIALECTS.md").write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
