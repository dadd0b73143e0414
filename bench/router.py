"""How long one decision of `Router` takes, and how many fit into a second from many threads.

python bench/router.py --write        # figures into bench/ROUTER.md
"""

from __future__ import annotations

import argparse
import datetime as dt
import platform
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl

from routecost import tasks
from routecost.pipeline import labelling
from routecost.router import Router
from routecost.routing import Override, read_table
from routecost.schema import REQUEST

ROOT = Path(__file__).parent.parent
SHORT = "Tell me something about bees that children like"
SENTENCES = [
    "The quarterly report shows that revenue grew by 12 percent in the region.",
    "We should ask the supplier why the second delivery was late again.",
    "In 2024 the team moved three services, and nobody noticed.",
    "Über die Straße ging gestern niemand mehr.",
]


def text(characters: int) -> str:
    """Prose of a length; the same each time."""
    chosen = random.Random(0)
    words: list[str] = []
    while sum(map(len, words)) + len(words) < characters:
        words.append(chosen.choice(SENTENCES))
    return " ".join(words)[:characters]


def cases(router: Router, pinned: Router) -> dict[str, Callable[[], Any]]:
    two, six, twenty = text(2_000), text(5_900), text(20_000)
    code = f"Why does this fail?\n```python\ndef f(x):\n    return x + 1\n```\n{two}"
    turns = [
        {"role": "system", "content": "You are the assistant of a shop."},
        *({"role": ("user", "assistant")[i % 2], "content": text(300)} for i in range(10)),
        {"role": "user", "content": [{"type": "text", "text": SHORT}]},
    ]
    return {
        "a short prompt": lambda: router.route(SHORT),
        "2 kB of prose": lambda: router.route(two, mode="eco", input_tokens=500),
        "5.9 kB of prose, the longest that the classifier is asked for": lambda: router.route(six),
        "20 kB of prose": lambda: router.route(twenty, mode="eco", input_tokens=5_000),
        "a table with 20 overrides by pattern, 20 kB": lambda: pinned.route(twenty),
        "2 kB with code in it": lambda: router.route(code),
        "12 messages": lambda: router.route(turns, input_tokens=900, tools=True),
        "a pinned model": lambda: router.route(SHORT, model_override="gpt-5.4"),
        "a table with 20 overrides by pattern, 2 kB": lambda: pinned.route(two),
    }


def timed(call: Callable[[], Any], n: int) -> list[float]:
    """Microseconds of each of n calls, in order of size."""
    for _ in range(min(n, 200)):
        call()
    found = []
    for _ in range(n):
        start = time.perf_counter_ns()
        call()
        found.append((time.perf_counter_ns() - start) / 1_000)
    return sorted(found)


def at(values: Sequence[float], share: float) -> float:
    return values[min(int(len(values) * share), len(values) - 1)]


def on_batches(prompts: Sequence[str]) -> float:
    """Microseconds a request where Polars is asked for one request at a time, as `classify` asks for a chunk."""
    typist = labelling.Typist(None, tasks.read_rules())
    start = time.perf_counter()
    for prompt in prompts:
        typist.decide(pl.DataFrame({"prompt": [prompt]}))
    return (time.perf_counter() - start) / len(prompts) * 1e6


def sampled() -> list[str]:
    """The prompts of the shipped month of support."""
    opened = labelling.open_paths([str(ROOT / "sample_logs" / "support-month.jsonl.gz")], None)
    frames = list(labelling.over(opened, lambda chunk, _: chunk.parse(tuple(REQUEST)).requests, [], None))
    return [prompt for frame in frames for prompt in frame["prompt"].drop_nulls().to_list()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=20_000)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()

    start = time.perf_counter()
    router = Router("default")
    built = time.perf_counter() - start
    patterns = tuple(Override("gpt-5.4", pattern=rf"(?i)\b(?:secret|project)[- ]{i}\b") for i in range(20))
    table = read_table("default")
    many = Router(type(table)(**{**vars(table), "overrides": patterns}))

    lines = [
        "# Router: what a decision takes",
        "",
        f"`python bench/router.py --write`, {options.n:,} calls each, {dt.date.today()}, Python "
        f"{platform.python_version()}, Polars {pl.__version__}, table `default`, shipped rules and classifier.",
        "",
        "| request | median | p95 | p99 |",
        "|---|---:|---:|---:|",
    ]
    for name, call in cases(router, many).items():
        found = timed(call, options.n)
        lines.append(f"| {name} | {at(found, 0.5):.0f} µs | {at(found, 0.95):.0f} µs | {at(found, 0.99):.0f} µs |")
    prompts = sampled()
    found = sorted(timed(lambda p=p: router.route(p), 20)[10] for p in prompts)  # type: ignore[misc]
    lines.append(
        f"| the {len(prompts):,} prompts of `support-month`, median of each | {at(found, 0.5):.0f} µs | "
        f"{at(found, 0.95):.0f} µs | {at(found, 0.99):.0f} µs |"
    )
    with ThreadPoolExecutor(16) as pool:
        start = time.perf_counter()
        list(pool.map(lambda _: [router.route(SHORT) for _ in range(1_000)], range(64)))
        rate = 64_000 / (time.perf_counter() - start)
    lines += [
        "",
        f"From 16 threads together: {rate:,.0f} short requests a second. Building a `Router`: {built:.2f} s, of which "
        "most is the price book and the classifier.",
        "",
        f"Polars asked for the rules of one request at a time takes {on_batches(prompts[:300]):,.0f} µs, so the router "
        "does not ask it: patterns are compiled ahead by Pydantic, which is built on the same engine (the Rust crate "
        "`regex`), and `tests/test_router.py` compares the answers.",
    ]
    report = "\n".join(lines) + "\n"
    print(report)
    if options.write:
        (ROOT / "bench" / "ROUTER.md").write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
