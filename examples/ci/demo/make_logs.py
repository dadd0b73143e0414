"""Make the logs of the demonstration: an assistant's evaluation run on the main branch and on three others.

    python examples/ci/demo/make_logs.py [FOLDER]

Each run answers the same kind of questions with other random ones: 2,000 requests of 400 users in 800 sessions, most of
them cheap, few very long.

main          what is accepted
noise         a branch that changes no prompt and no model
regression    a prompt that asks for the reasoning to be written out: answers to `code` are 1.7 times as long
improvement   a shorter system prompt, and `simple` on a small model
"""

from __future__ import annotations

import gzip
import json
import random
import sys
from pathlib import Path

SEEDS = {"main": 11, "noise": 12, "regression": 13, "improvement": 14}
MIX = {"simple": 0.5, "code": 0.25, "reasoning": 0.15, "complex": 0.1}
TOKENS = {"simple": (600, 150), "code": (1800, 500), "reasoning": (1200, 700), "complex": (5000, 900)}
FEATURES = {"simple": "faq", "code": "snippets", "reasoning": "planner", "complex": "research"}


def rows(branch: str, n: int = 2000) -> list[dict[str, object]]:
    rng = random.Random(SEEDS[branch])
    found = []
    for i in range(n):
        (task,) = rng.choices(list(MIX), list(MIX.values()))
        size, answer = TOKENS[task]
        longer = 1.7 if branch == "regression" and task == "code" else 1.0
        shorter = 0.8 if branch == "improvement" else 1.0
        session = rng.randrange(800)
        found.append(
            {
                "request_id": f"{branch}-{i:04}",
                "ts": f"2026-11-{10 + i * 7 // n:02}T{i % 24:02}:{i % 60:02}:00Z",
                "user_id": f"user-{session % 400}",
                "session_id": f"session-{session}",
                "model": "gpt-5.4-mini" if branch == "improvement" and task == "simple" else "gpt-5.4",
                "task": task,
                "feature": FEATURES[task],
                "input_tokens": int(size * rng.lognormvariate(-0.3, 0.8) * shorter),
                "output_tokens": 1 + int(answer * rng.lognormvariate(-0.3, 0.8) * longer),
                "latency_ms": round(200 + rng.expovariate(1 / 900)),
            }
        )
    return found


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for branch in SEEDS:
        text = "".join(json.dumps(row) + "\n" for row in rows(branch))
        with open(folder / f"{branch}.jsonl.gz", "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
            file.write(text.encode())


if __name__ == "__main__":
    main()
