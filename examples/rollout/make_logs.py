"""Make the logs of the roll-out: `python examples/rollout/make_logs.py [FOLDER]` (default: ./logs).

An assistant of 6,000 users, all on gpt-5.4 until simple requests and code move to smaller models. The draws are seeded,
so running it again gives the same files:

before     two weeks as it was
shadow     a week in which the router only watches
canary, gradual-1 to gradual-4      a week each; `arm` says who was moved
full       three weeks with a hold-out of 5 %
bad        a canary week with a small model that answers code badly: what a no-go looks like
"""

from __future__ import annotations

import gzip
import json
import random
import sys
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

TEXTS = Path(__file__).parent.parent / "sample_texts.txt"
USERS, SESSIONS_A_DAY = 6000, 900
START = datetime(2026, 6, 1, tzinfo=UTC)
# name -> first day, days, share that is moved
WEEKS = {
    "before": (0, 14, 0.0),
    "shadow": (14, 7, 0.0),
    "canary": (21, 7, 0.10),
    "gradual-1": (28, 7, 0.30),
    "gradual-2": (35, 7, 0.50),
    "gradual-3": (42, 7, 0.70),
    "gradual-4": (49, 7, 0.90),
    "full": (56, 21, 0.95),
    "bad": (21, 7, 0.10),
}
SECTIONS = {
    "simple": "simple.questions",
    "code": "code.asks",
    "reasoning": "reasoning.problems",
    "complex": "complex.asks",
}
MIX = {"simple": 0.58, "code": 0.27, "reasoning": 0.10, "complex": 0.05}
FEATURES = {"simple": "help", "code": "snippets", "reasoning": "planner", "complex": "reports"}
TOKENS = {"simple": (700, 160), "code": (1600, 480), "reasoning": (1200, 700), "complex": (5200, 900)}
MOVED = {"simple": "gpt-5.4-mini", "code": "codestral"}
RATED, THUMBS_DOWN, ERRORS = 0.4, 0.05, 0.006


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("logs")
    folder.mkdir(parents=True, exist_ok=True)
    texts = read_texts()
    for name in WEEKS:
        lines = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows(name, texts))
        with open(folder / f"{name}.jsonl.gz", "wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
            file.write(lines.encode())


def read_texts() -> dict[str, list[str]]:
    """Task -> prompts."""
    parts = TEXTS.read_text(encoding="utf-8").split("\n## ")[1:]
    sections = {part.partition("\n")[0]: part.partition("\n")[2].splitlines() for part in parts}
    return {task: [line for line in sections[name] if line and line != "%"] for task, name in SECTIONS.items()}


def rows(name: str, texts: dict[str, list[str]]) -> Iterator[dict[str, object]]:
    first, days, share = WEEKS[name]
    rng = random.Random(zlib.crc32(name.encode()))
    n = 0
    for day in range(first, first + days):
        for session in range(SESSIONS_A_DAY):
            user = rng.randrange(USERS)
            # the same users stay moved as the share grows
            arm = "treatment" if zlib.crc32(b"user-%d" % user) / 2**32 < share else "control"
            (task,) = rng.choices(list(MIX), list(MIX.values()))
            at = START + timedelta(days=day, seconds=rng.randrange(86_000))
            for turn in range(rng.choice((1, 1, 2, 2, 4))):
                n += 1
                row = request(rng, task, arm == "treatment", name == "bad")
                row |= {
                    "request_id": f"{name}-{n}",
                    "ts": (at + timedelta(seconds=90 * turn)).isoformat().replace("+00:00", "Z"),
                    "user_id": f"user-{user}",
                    "session_id": f"{name}-{day}-{session}",
                    "feature": FEATURES[task],
                }
                if name in ("before", "shadow"):
                    row["prompt"] = rng.choice(texts[task])
                else:
                    # the router logs what it took the request for
                    row |= {"task": task, "arm": arm}
                yield row


def request(rng: random.Random, task: str, moved: bool, bad: bool) -> dict[str, object]:
    """What one call cost, and what became of it."""
    size, answer = TOKENS[task]
    moved = moved and task in MOVED
    worse = bad and moved and task == "code"
    row: dict[str, object] = {
        "model": MOVED[task] if moved else "gpt-5.4",
        "input_tokens": int(size * rng.lognormvariate(-0.1, 0.45)),
        "output_tokens": 1 + int(answer * rng.lognormvariate(-0.1, 0.45)),
        "latency_ms": round((500 if moved else 900) * rng.lognormvariate(0, 0.5)),
        "status": "error" if rng.random() < ERRORS else "ok",
    }
    if rng.random() < RATED:
        row["feedback"] = -1 if rng.random() < (0.4 if worse else THUMBS_DOWN) else 1
    return row


if __name__ == "__main__":
    main()
