"""Make the files in sample_logs/: `python examples/make_samples.py [FOLDER]`.

Everything is invented: the prompts are put together from sample_texts.txt, the numbers are drawn. The draws are seeded,
so running it again gives the same files. Costs in the logs are list prices of the day, typed in below, so that a change
in the price book shows up as a difference between logged and computed cost and not as a different sample.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import itertools
import json
import math
import random
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEXTS = Path(__file__).with_name("sample_texts.txt")
TARGET = Path(__file__).parent.parent / "sample_logs"

Row = dict[str, Any]

# The share of the day's sessions that start in each hour (UTC) of a firm with customers in Europe and some in America.
HOURS = (4, 3, 2, 2, 3, 8, 20, 45, 80, 95, 100, 90, 78, 92, 98, 90, 76, 62, 48, 40, 34, 26, 16, 8)


@dataclass(frozen=True)
class Ask:
    """One request before it has a time and a price. `length` scales the length of the answer."""

    feature: str
    prompt: str
    length: float = 1.0


# A topic is what one person asks in a row: about one text, or a few questions of the same kind.
Topic = list[Ask]


def main(folder: Path = TARGET) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files().items():
        (folder / name).write_bytes(content)


def files() -> dict[str, bytes]:
    """Name -> content of every sample."""
    texts = read_texts()
    export = gateway_export()
    return {
        "worked-example.jsonl": _jsonl(worked_example(texts)),
        "support-month.jsonl.gz": gzip.compress(_jsonl(support_month(texts)), 9, mtime=0),
        "gateway-export.csv": _csv(export),
        "gateway-export.parquet": _parquet(export),
        "damaged.jsonl": damaged(texts),
    }


def read_texts() -> dict[str, list[str]]:
    """Section -> its items."""
    sections: dict[str, list[str]] = {}
    for part in TEXTS.read_text(encoding="utf-8").split("\n## ")[1:]:
        name, _, body = part.partition("\n")
        items = re.split(r"(?m)^%$", body) if re.search(r"(?m)^%$", body) else body.split("\n")
        sections[name] = [item.strip("\n") for item in items if item.strip()]
    return sections


# --- What people ask --------------------------------------------------------------------------------------------------

COMPARISONS = (
    "Here are two texts. Find everything that they say about responsibility and deadlines, compare the two in detail, "
    "and write a memo of two pages with what each should learn from the other.",
    "Summarise both texts on a page each, then list the ten assumptions that they share without saying so, with the "
    "evidence.",
    "I'm preparing a seminar. Use both texts: discussion questions, a model answer of 300 words for each question, and "
    "a reading guide with the passages to quote.",
    "Write a detailed comparison of both texts: who speaks, with what interest, which figures can be trusted, what is "
    "left out. End with a table and a reasoned judgement.",
)
# What asks for a word or a line gets one.
SHORT = re.compile(
    "label only|one number|yes or no|neutral / negative|ISO|true or false|macro|Which team|keywords|nothing else|"
    "headline|ticket title|20 words|120 characters|YYYY-MM-DD|One line each|one line",
    re.IGNORECASE,
)


def topics(texts: dict[str, list[str]], rng: random.Random) -> dict[str, list[Topic]]:
    """Task -> topics with 500 simple, 200 code, 200 reasoning and 100 complex asks, no prompt twice."""
    simple = [
        *_in_a_row(texts["simple.questions"], "help-center", rng, length=0.7),
        *_about(texts["simple.tickets"], texts["simple.ticket_asks"], 135, "ticket-triage", rng, length=0.35),
        *_about(texts["simple.mails"], texts["simple.mail_asks"], 80, "mail-intake", rng),
        *_about(texts["simple.passages"], texts["simple.passage_asks"], 140, "translations", rng, length=0.8),
    ]
    code = [
        *_in_a_row(texts["code.asks"], "code-assistant", rng, length=1.3),
        *_about(texts["code.snippets"], texts["code.snippet_asks"], 140, "code-assistant", rng),
    ]
    reasoning = [
        *_in_a_row(texts["reasoning.problems"], "analyst", rng),
        *_about(texts["reasoning.situations"], texts["reasoning.situation_asks"], 142, "analyst", rng, length=1.2),
    ]
    documents = texts["complex.documents"]
    pairs = rng.sample(list(itertools.combinations(documents, 2)), 16)
    long = [
        *_in_a_row(texts["complex.asks"], "reports", rng, length=1.5),
        *_about(documents, texts["complex.document_asks"], 60, "reports", rng, length=1.2),
        *_about([f"{a}\n\n* * *\n\n{b}" for a, b in pairs], COMPARISONS, 22, "reports", rng, length=1.4),
    ]
    return {"simple": simple, "code": code, "reasoning": reasoning, "complex": long}


def _in_a_row(items: Sequence[str], feature: str, rng: random.Random, length: float = 1.0) -> Iterator[Topic]:
    """Neighbours in the list are of one kind and language: one to three of them make a topic."""
    rest = list(items)
    while rest:
        n = rng.choice((1, 1, 2, 2, 3))
        yield [Ask(feature, text, length) for text in rest[:n]]
        rest = rest[n:]


def _about(
    materials: Sequence[str], asks: Sequence[str], n: int, feature: str, rng: random.Random, length: float = 1.0
) -> Iterator[Topic]:
    """`n` asks spread evenly over the materials, never the same about the same one."""
    shares = [n // len(materials) + (i < n % len(materials)) for i in range(len(materials))]
    for material, share in zip(materials, shares, strict=True):
        rest = rng.sample(list(asks), share)
        while rest:
            k = rng.choice((1, 2, 2, 3))
            own = [(ask, length * (0.06 if SHORT.search(ask) else 1)) for ask in rest[:k]]
            yield [Ask(feature, _prompt(ask, material, rng), long) for ask, long in own]
            rest = rest[k:]


def _prompt(ask: str, material: str, rng: random.Random) -> str:
    """An instruction and what it is about, in the ways that people write the two."""
    if "\n" in material:
        return rng.choice((f"{ask}\n\n{material}", f"{material}\n\n{ask}", f"{ask}\n---\n{material}\n---"))
    return rng.choice(
        (f"{ask}\n\n{material}", f'{ask}\n"{material}"', f"{material}\n\n{ask}", f"{ask}\n>>> {material}")
    )


# --- The worked example -----------------------------------------------------------------------------------------------

EXAMPLE_DAY = dt.datetime(2026, 5, 22, tzinfo=dt.UTC)
INPUT_EACH, OUTPUT_EACH = 2_000, 500
USERS = {
    "help-center": 90, "ticket-triage": 12, "mail-intake": 10, "translations": 14, "code-assistant": 24, "analyst": 16,
    "reports": 11,
}  # fmt: skip


def worked_example(texts: dict[str, list[str]]) -> list[Row]:
    """A day of 1,000 requests on gpt-5.4; tokens vary, and sum to 2,000 in and 500 out a request for each task."""
    rng = random.Random("worked-example")
    rows: list[Row] = []
    for task, own in topics(texts, rng).items():
        of_task = [row for session in _sessions(own, rng) for row in _example_session(task, session, rng)]
        floors = [len(row["prompt"]) // 3 + 160 for row in of_task]
        weights = [rng.lognormvariate(0, 0.75) for _ in of_task]
        inputs = _spread(INPUT_EACH * len(of_task), floors, weights)
        lengths = [row.pop("length") * rng.lognormvariate(0, 0.8) for row in of_task]
        outputs = _spread(OUTPUT_EACH * len(of_task), [4] * len(of_task), lengths)
        for row, read, written in zip(of_task, inputs, outputs, strict=True):
            ttft = 240 + read * 0.05 + 300 * rng.lognormvariate(0, 0.5)
            row |= {"input_tokens": read, "output_tokens": written}
            row |= {"latency_ms": round(ttft + written * rng.uniform(10, 15)), "ttft_ms": round(ttft)}
            row |= {"status": "ok", "finish_reason": "length" if written >= 1_500 and rng.random() < 0.3 else "stop"}
        rows += of_task
    rows.sort(key=lambda row: (row["ts"], row["session_id"]))
    for n, row in enumerate(rows):
        row["ts"] = _iso(row["ts"])
        row["request_id"] = f"req_{n:04d}{rng.getrandbits(32):08x}"
    order = ("request_id", "ts", "session_id", "user_id", "feature", "task", "provider", "model", "prompt")
    return [{**{k: row[k] for k in order}, **row} for row in rows]


def _sessions(own: list[Topic], rng: random.Random) -> Iterator[list[Ask]]:
    """Topics of one feature put together at random, one to three a session."""
    by_feature: dict[str, list[Topic]] = {}
    for topic in own:
        by_feature.setdefault(topic[0].feature, []).append(topic)
    for of_feature in by_feature.values():
        rng.shuffle(of_feature)
        while of_feature:
            n = rng.choice((1, 1, 2, 3))
            yield [ask for topic in of_feature[:n] for ask in topic]
            del of_feature[:n]


def _example_session(task: str, session: list[Ask], rng: random.Random) -> Iterator[Row]:
    feature = session[0].feature
    user = f"{feature.split('-')[0]}-{rng.randrange(USERS[feature]) + 1:03d}"
    session_id = f"s_{rng.getrandbits(40):010x}"
    for ask, ts in zip(session, _times(EXAMPLE_DAY, len(session), rng), strict=True):
        yield {
            "ts": ts, "session_id": session_id, "user_id": user, "feature": feature, "task": task, "provider": "openai",
            "model": "gpt-5.4", "prompt": ask.prompt, "length": ask.length,
        }  # fmt: skip


def _times(day: dt.datetime, n: int, rng: random.Random) -> list[dt.datetime]:
    """`n` moments of one session in a day, some tens of seconds to minutes apart."""
    hour = rng.choices(range(24), HOURS)[0]
    at = day + dt.timedelta(hours=hour, milliseconds=rng.randrange(3_000_000))
    moments = []
    for _ in range(n):
        moments.append(at)
        at += dt.timedelta(milliseconds=round(1000 * min(260.0, 12 + 45 * rng.lognormvariate(0, 0.7))))
    late = moments[-1] - (day + dt.timedelta(days=1)) + dt.timedelta(seconds=1)
    return [m - max(late, dt.timedelta()) for m in moments]


def _spread(total: int, floors: Sequence[int], weights: Sequence[float]) -> list[int]:
    """Whole numbers that sum to `total`: the floors, and what is left in proportion to the weights."""
    left = total - sum(floors)
    whole = sum(weights)
    shares = [left * weight / whole for weight in weights]
    counts = [floor + math.floor(share) for floor, share in zip(floors, shares, strict=True)]
    by_rest = sorted(range(len(shares)), key=lambda i: (math.floor(shares[i]) - shares[i], i))
    for i in by_rest[: total - sum(counts)]:
        counts[i] += 1
    return counts


def _iso(ts: dt.datetime) -> str:
    return ts.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- A month of a support firm ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """A model as logged; USD per million tokens (October 2026) and how fast it is."""

    provider: str
    name: str
    input: float
    cache_read: float
    cache_write: float
    output: float
    ttft_ms: float
    ms_a_token: float


GPT = Model("openai", "gpt-5.4", 2.5, 0.25, 2.5, 15, 520, 12)
MINI = Model("openai", "gpt-5.4-mini", 0.75, 0.075, 0.75, 4.5, 330, 6)
SONNET = Model("anthropic", "claude-sonnet-4-6", 3, 0.3, 3.75, 15, 780, 14)
HAIKU = Model("anthropic", "claude-haiku-4-5", 1, 0.1, 1.25, 5, 410, 7)
OPUS = Model("anthropic", "claude-opus-4-7", 5, 0.5, 6.25, 25, 1_150, 21)
FLASH = Model("google", "gemini-2.5-flash", 0.3, 0.03, 0.3, 2.5, 300, 5)
PRO = Model("google", "gemini-3.1-pro-preview", 2, 0.2, 2, 12, 1_400, 13)
LLAMA = Model("groq", "llama-3.3-70b-versatile", 0.59, 0.59, 0.59, 0.79, 190, 3)
LLAMA_SMALL = Model("groq", "llama-3.1-8b-instant", 0.05, 0.05, 0.05, 0.08, 110, 1.5)
MEDIUM = Model("mistral", "mistral-medium-3-5", 1.5, 0.15, 1.5, 7.5, 430, 9)
CODESTRAL = Model("mistral", "codestral-2508", 0.3, 0.03, 0.3, 0.9, 260, 5)

MONTH = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
DAYS = 30
MONTH_REQUESTS = 1_500
GATEWAY_UPDATE = MONTH + dt.timedelta(days=18)

# Feature: share of sessions, length of its system prompt in tokens, users, models with weights.
FEATURES: dict[str, tuple[float, int, int, tuple[tuple[Model, float], ...]]] = {
    "support-chat": (0.40, 2_600, 180, ((GPT, 6), (SONNET, 3), (LLAMA, 1), (HAIKU, 1))),
    "ticket-triage": (0.16, 900, 8, ((GPT, 5), (MINI, 2), (LLAMA_SMALL, 2))),
    "translations": (0.13, 400, 12, ((GPT, 3), (FLASH, 4), (MEDIUM, 2))),
    "code-assistant": (0.15, 3_800, 16, ((SONNET, 6), (OPUS, 1), (CODESTRAL, 2), (GPT, 2))),
    "analyst": (0.10, 1_500, 14, ((GPT, 5), (PRO, 2), (MEDIUM, 1))),
    "reports": (0.06, 2_200, 7, ((OPUS, 3), (PRO, 2), (GPT, 2))),
}


def support_month(texts: dict[str, list[str]]) -> list[Row]:
    """Thirty days on several providers, with what real logs have: caching, errors, retries, batches."""
    rng = random.Random("support-month")
    pools = _pools(texts, rng)
    rows: list[Row] = []
    while len(rows) < MONTH_REQUESTS - 66:
        feature = rng.choices([*FEATURES], [f[0] for f in FEATURES.values()])[0]
        rows += _conversation(feature, next(pools[feature]), rng)
    del rows[MONTH_REQUESTS - 66 :]
    rows += _batches(texts, rng)
    rows += _cache_hits(rows, 16, rng)
    rows += _private(texts, rng)
    errors = rng.sample([row for row in rows if row["batch"] is None and row["gateway_cache_hit"] is None], 24)
    rows += [again for n, row in enumerate(errors) if (again := _fail(row, rng, retry=n % 2 == 0)) is not None]
    rows.sort(key=lambda row: (row["ts"], row["session_id"]))
    for n, row in enumerate(rows):
        row["ts"] = _iso(row["ts"])
        row["request_id"] = f"{n:05d}-{rng.getrandbits(40):010x}"
    return [{"request_id": row["request_id"], **{k: v for k, v in row.items() if v is not None}} for row in rows]


def _pools(texts: dict[str, list[str]], rng: random.Random) -> dict[str, Iterator[Topic]]:
    """Feature -> conversations without end."""
    own = topics(texts, rng)
    by_feature: dict[str, list[Topic]] = {}
    for topic in itertools.chain.from_iterable(own.values()):
        by_feature.setdefault(topic[0].feature, []).append(topic)

    def talk(starts: list[Topic], follow: list[str], chance: float, most: int) -> Iterator[Topic]:
        while True:
            rng.shuffle(starts)
            for start in starts:
                more = rng.sample(follow, rng.randint(1, most)) if rng.random() < chance else []
                yield [*start, *(Ask(start[0].feature, text, 0.6) for text in more)]

    openers = [[Ask("support-chat", text)] for text in texts["support.openers"]]
    questions = [[Ask("support-chat", ask.prompt)] for topic in by_feature["help-center"] for ask in topic]
    return {
        "support-chat": talk(openers * 4 + questions, texts["support.followups"], 0.75, 5),
        "ticket-triage": talk(by_feature["ticket-triage"] + by_feature["mail-intake"], [], 0, 0),
        "translations": talk(by_feature["translations"], [], 0, 0),
        "code-assistant": talk(by_feature["code-assistant"], texts["support.code_followups"], 0.7, 6),
        "analyst": talk(by_feature["analyst"], texts["support.research_followups"], 0.4, 3),
        "reports": talk(by_feature["reports"], texts["support.research_followups"], 0.5, 3),
    }


def _conversation(feature: str, talk: Topic, rng: random.Random) -> Iterator[Row]:
    _, system, users, models = FEATURES[feature]
    day = rng.choices(
        range(DAYS), [1.0 if (MONTH + dt.timedelta(days=d)).weekday() < 5 else 0.25 for d in range(DAYS)]
    )[0]
    model = rng.choices([m for m, _ in models], [w for _, w in models])[0]
    user = f"{feature[:3]}{min(rng.randrange(users), rng.randrange(users)) + 1:03d}"
    session_id = f"c-{rng.getrandbits(32):08x}"
    mode = rng.choices((None, "eco", "balanced", "sport"), (60, 14, 18, 8))[0]
    pinned = "claude-opus-4-7" if feature == "reports" and rng.random() < 0.25 else None
    held = 0
    for turn, (ask, ts) in enumerate(zip(talk, _times(MONTH + dt.timedelta(days=day), len(talk), rng), strict=True)):
        fresh = len(ask.prompt) // 4 + rng.randint(12, 60)
        if turn == 0:
            fresh += round(system * rng.lognormvariate(0, 0.25))
        wanted = 260 if feature != "ticket-triage" else 40
        written = max(3, round(wanted * ask.length * rng.lognormvariate(0, 0.7) * (1.9 if feature == "reports" else 1)))
        tokens = _cached(model, held, fresh, rng)
        held += fresh + written
        cost = _cost(model, **tokens, output_tokens=written)
        if model is SONNET and ts >= GATEWAY_UPDATE:
            # what this gateway gets wrong since: it counts cached tokens of this model as if they were not cached
            cost += tokens["cache_read_tokens"] * (model.input - model.cache_read) / 1e6
        ttft = model.ttft_ms * rng.lognormvariate(0, 0.35) + tokens["input_tokens"] * 0.03
        yield _row(
            ts, session_id, user, feature, model, ask.prompt, tokens, written, cost,
            mode=mode,
            model_override=pinned,
            needs=_needs(feature, rng),
            latency_ms=round(ttft + written * model.ms_a_token * rng.uniform(0.85, 1.2)),
            ttft_ms=round(ttft),
            feedback=rng.choices((None, 1, -1), (88, 9, 3))[0],
        )  # fmt: skip


def _needs(feature: str, rng: random.Random) -> list[str] | None:
    if feature == "ticket-triage":
        return ["json"]
    return ["tools"] if feature == "code-assistant" and rng.random() < 0.4 else None


def _cached(model: Model, held: int, fresh: int, rng: random.Random) -> dict[str, int]:
    """Disjoint token counts of a turn on `held` tokens of history, as the model's provider caches."""
    total = held + fresh
    hit = held >= 1_024 and rng.random() < 0.85
    if model.provider == "anthropic":
        read = held if hit else 0
        # the last few tokens stand behind the last cache breakpoint
        write = total - read - min(fresh, rng.randint(4, 40)) if total >= 1_024 else 0
        return {"input_tokens": total - read - write, "cache_read_tokens": read, "cache_write_tokens": write}
    read = held // 128 * 128 if hit and model.provider in ("openai", "google") else 0
    return {"input_tokens": total - read, "cache_read_tokens": read, "cache_write_tokens": 0}


def _cost(
    model: Model, input_tokens: int, output_tokens: int, cache_read_tokens: int = 0, cache_write_tokens: int = 0
) -> float:
    micro = input_tokens * model.input + cache_read_tokens * model.cache_read
    return (micro + cache_write_tokens * model.cache_write + output_tokens * model.output) / 1e6


def _row(
    ts: dt.datetime, session_id: str, user: str, feature: str, model: Model, prompt: str, tokens: dict[str, int],
    written: int, cost: float | None, **more: Any,
) -> Row:  # fmt: skip
    """A request; what is null is left out of the log later."""
    row: Row = {
        "ts": ts, "session_id": session_id, "user_id": user, "feature": feature, "provider": model.provider,
        "model": model.name, "prompt": prompt, **{k: v or None for k, v in tokens.items()}, "output_tokens": written,
        "cost_usd": None if cost is None else round(cost, 8), "status": "ok", "finish_reason": "stop", "attempt": None,
        "batch": None, "gateway_cache_hit": None, "mode": None, "model_override": None, "needs": None,
        "latency_ms": None, "ttft_ms": None, "feedback": None, **more,
    }  # fmt: skip
    row["input_tokens"] = tokens["input_tokens"]
    if written > 900:
        row["finish_reason"] = "length"
    return row


def _batches(texts: dict[str, list[str]], rng: random.Random) -> Iterator[Row]:
    """Three nights on which the tickets of the week are classified in a batch, at half the price."""
    tickets = rng.sample(texts["simple.tickets"], 36)
    for week, night in enumerate((4, 11, 18)):
        at = MONTH + dt.timedelta(days=night, hours=2, minutes=30)
        for n, ticket in enumerate(tickets[week * 12 :][:12]):
            tokens = {"input_tokens": 900 + len(ticket) // 4, "cache_read_tokens": 0, "cache_write_tokens": 0}
            written = rng.randint(3, 9)
            cost = _cost(MINI, **tokens, output_tokens=written) / 2
            prompt = f"{texts['simple.ticket_asks'][0]}\n\n{ticket}"
            yield _row(
                at + dt.timedelta(seconds=n), f"batch-{night}", "nightly", "ticket-triage", MINI, prompt, tokens,
                written, cost, batch=True,
            )  # fmt: skip


def _cache_hits(rows: list[Row], n: int, rng: random.Random) -> list[Row]:
    """Requests that somebody else has asked before, answered by the gateway for nothing."""
    first = [row for row in rows if row["feature"] == "support-chat" and row["cache_read_tokens"] is None]
    hits = []
    for row in rng.sample(first, n):
        ts = min(row["ts"] + dt.timedelta(minutes=rng.randint(5, 600)), MONTH + dt.timedelta(days=DAYS, seconds=-1))
        again = {"ts": ts, "session_id": f"c-{rng.getrandbits(32):08x}", "user_id": f"sup{rng.randint(181, 240)}"}
        hit = {"gateway_cache_hit": True, "cost_usd": 0.0, "latency_ms": rng.randint(5, 22), "ttft_ms": None}
        hits.append({**row, **again, **hit, "feedback": None})
    return hits


def _private(texts: dict[str, list[str]], rng: random.Random) -> list[Row]:
    """A trial of a model that no price list knows."""
    own = Model("internal", "acme-chat-13b", 0, 0, 0, 0, 200, 8)
    tokens = {"input_tokens": 1_480, "cache_read_tokens": 0, "cache_write_tokens": 0}
    start = MONTH + dt.timedelta(days=20, hours=9)
    return [
        _row(
            start + dt.timedelta(minutes=3 * n), "c-trial", "sup001", "support-chat", own, prompt, tokens,
            rng.randint(90, 240), None, latency_ms=2_100 + 40 * n,
        )
        for n, prompt in enumerate(texts["support.openers"][:2])
    ]  # fmt: skip


def _fail(row: Row, rng: random.Random, *, retry: bool) -> Row | None:
    """Turn a request into one that failed; with `retry`, return its second attempt."""
    second = {**row, "ts": row["ts"] + dt.timedelta(seconds=rng.randint(1, 9)), "attempt": 2} if retry else None
    gone = (
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "cost_usd",
        "ttft_ms",
        "feedback",
    )
    row |= dict.fromkeys(gone)
    row |= {"status": "error", "finish_reason": rng.choice(("rate_limited", "timeout", "overloaded"))}
    row |= {"latency_ms": rng.choice((rng.randint(90, 400), 60_000)), "attempt": 1}
    return second


# --- What a gateway exports -------------------------------------------------------------------------------------------


def gateway_export() -> list[Row]:
    """200 rows of five days: OpenAI's way of counting (cached inside prompt_tokens), no zone, no prompts."""
    rng = random.Random("gateway-export")
    start = dt.datetime(2026, 11, 2, tzinfo=dt.UTC)
    models = ((GPT, 5), (MINI, 3), (HAIKU, 2), (FLASH, 2))
    rows = []
    for n in range(200):
        model = rng.choices([m for m, _ in models], [w for _, w in models])[0]
        total = round(1_500 * rng.lognormvariate(0, 0.6))
        cached = total // 2 // 128 * 128 if model.provider == "openai" and rng.random() < 0.4 else 0
        written = round(280 * rng.lognormvariate(0, 0.8))
        failed = n in (31, 118, 160)
        rows.append(
            {
                "id": f"gw-{n:04d}",
                "timestamp": _times(start + dt.timedelta(days=n * 5 // 200), 1, rng)[0].replace(
                    microsecond=0, tzinfo=None
                ),
                "user": f"tenant-{min(rng.randrange(25), rng.randrange(25)) + 1:02d}",
                "endpoint": rng.choice(("/chat", "/chat", "/summarize", "/extract")),
                "model": model.name,
                "prompt_tokens": None if failed else total,
                "cached_tokens": None if failed else cached,
                "completion_tokens": None if failed else written,
                "latency_ms": 30_000
                if failed
                else round(model.ttft_ms + written * model.ms_a_token * rng.uniform(0.8, 1.3)),
                "status_code": 504 if failed else 200,
                "cost": None if failed else round(_cost(model, total - cached, written, cache_read_tokens=cached), 6),
            }
        )
    return sorted(rows, key=lambda row: (row["timestamp"], row["id"]))


def _csv(rows: list[Row]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(rows: list[Row]) -> bytes:
    import polars as pl

    out = io.BytesIO()
    pl.DataFrame(rows).write_parquet(out, compression="zstd")
    return out.getvalue()


# --- What goes wrong --------------------------------------------------------------------------------------------------


def damaged(texts: dict[str, list[str]]) -> bytes:
    """60 lines, some with every kind of damage that logs have. See sample_logs/README.md for the kinds."""
    rng = random.Random("damaged")
    start = dt.datetime(2026, 10, 7, 9, tzinfo=dt.UTC)
    prompts = rng.sample(texts["simple.questions"], 60)
    good: list[Row] = [
        {
            "request_id": f"d-{n:03d}",
            "ts": _iso(start + dt.timedelta(seconds=47 * n)),
            "user_id": f"u{rng.randint(1, 12)}",
            "provider": "openai",
            "model": "gpt-5.4",
            "task": "simple",
            "prompt": prompts[n],
            "input_tokens": rng.randint(600, 2_400),
            "output_tokens": rng.randint(40, 600),
        }
        for n in range(60)
    ]

    def with_field(**fields: Any) -> Callable[[Row], bytes]:
        return lambda row: _line({**row, **fields})

    def without(*names: str) -> Callable[[Row], bytes]:
        return lambda row: _line({k: v for k, v in row.items() if k not in names})

    damage: dict[int, Callable[[Row], bytes]] = {
        # rejected: not a request
        4: lambda row: _line(row).replace(b'"user_id":', b'"user_id"', 1),
        8: lambda row: _line(row)[:-1] + b', "note": "caf\xe9"}',
        12: with_field(input_tokens=-5),
        15: with_field(output_tokens="a few"),
        18: lambda row: json.dumps([row["request_id"], row["model"]]).encode(),
        21: lambda row: b"2026-10-07 09:16:27 ERROR upstream closed the connection",
        25: with_field(input_tokens=812.5),
        28: lambda row: _line(row).replace(b'"output_tokens": ', b'"cost_usd": NaN, "output_tokens": ', 1),
        31: lambda row: _line(row) + b" " + _line(row),
        34: with_field(reasoning_tokens=9_000),
        37: with_field(input_tokens=10**15),
        59: lambda row: _line(row)[:95],
        # requests that lack something, and are counted as that
        10: with_field(model=None),
        23: without("model"),
        29: without("input_tokens", "output_tokens"),
        33: with_field(output_tokens=None),
        40: without("ts"),
        41: with_field(ts="yesterday"),
        44: with_field(model="gpt-5.4-mimi"),
        # strange, but clear
        46: with_field(input_tokens="1204", output_tokens="311"),
        48: with_field(input_tokens="1,204"),
        50: lambda row: _line(good[49]),
        51: lambda row: _line({**good[49], "ts": row["ts"]}),
        53: with_field(ts="2026-10-07 11:41:31+02:00"),
        55: lambda row: b"\n" + _line(row),
    }
    lines = [damage.get(n, _line)(row) for n, row in enumerate(good)]
    return b"\xef\xbb\xbf" + b"\n".join(lines)


def _line(row: Row) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode()


def _jsonl(rows: list[Row]) -> bytes:
    return b"".join(_line(row) + b"\n" for row in rows)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
