"""Public conversation sets and traces: WildChat, LMSYS-Chat, Azure's and Mooncake's traces, BurstGPT.

Sources: the dataset cards of allenai/WildChat-1M and lmsys/lmsys-chat-1m; Azure/AzurePublicDataset;
kvcache-ai/Mooncake; HPMLL/BurstGPT.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from routecost.logs.dialects.shapes import mapping
from routecost.logs.fields import (
    OURS,
    Dialect,
    Numbered,
    Reading,
    Record,
    count,
    has,
    milliseconds,
    number,
    opened,
    status,
    text,
)

_BURST_MODELS: Final = {"ChatGPT": "gpt-3.5-turbo", "GPT-4": "gpt-4"}


def _conversations(records: Iterable[Numbered]) -> Iterator[Numbered]:
    """A call for each turn of the assistant: its input is all that was said before. The counts are estimated."""
    for n, record in records:
        turns = opened(record.get("conversation"))
        if not isinstance(turns, list):
            continue
        # not unique in WildChat, so it stands for the session only with its line
        session = record.get("conversation_hash") or record.get("conversation_id")
        for place, turn in enumerate(turns):
            if not isinstance(turn, Mapping) or turn.get("role") != "assistant":
                continue
            moment = turn.get("timestamp") or record.get("timestamp")
            yield (
                n,
                {
                    "": record,
                    "request_id": f"{session}#{n}.{place}" if session else None,
                    "session_id": session,
                    "ts": moment,
                    "model": record.get("model"),
                    "messages": [
                        {"role": t.get("role"), "content": t.get("content")} for t in map(mapping, turns[:place])
                    ],
                    "response_text": turn.get("content"),
                    "user_id": _user(turns),
                    "status": "ok",
                },
            )


def _user(turns: Sequence[Any]) -> Any:
    return next((t["hashed_ip"] for t in turns if isinstance(t, Mapping) and t.get("hashed_ip")), None)


def _is_wildchat(record: Record) -> bool:
    return "conversation" in record and "conversation_hash" in record


def _is_lmsys(record: Record) -> bool:
    return "conversation" in record and "conversation_id" in record and "model" in record


def _burst(_: Sequence[Record]) -> Reading:
    answered = count("Response tokens")
    return Reading(
        {
            "session_id": text("Session ID"),
            "model": text("Model").map(lambda model: model.replace(_BURST_MODELS)),
            "total_input_tokens": count("Request tokens"),
            "output_tokens": answered,
            "latency_ms": milliseconds(number("Elapsed time")),
            # a failure has an empty answer
            "status": status(answered.map(lambda n: n > 0)),
            "feature": text("Log Type"),
        }
    )


def _azure(_: Sequence[Record]) -> Reading:
    return Reading(
        {
            "ts": text("TIMESTAMP"),
            "total_input_tokens": count("ContextTokens"),
            "output_tokens": count("GeneratedTokens"),
        }
    )


def _mooncake(_: Sequence[Record]) -> Reading:
    # its time is relative: only a --map with `start` makes it one of a calendar
    return Reading({"total_input_tokens": count("input_length"), "output_tokens": count("output_length")})


WILDCHAT = Dialect(
    name="wildchat",
    title="WildChat conversations",
    signature="`conversation` and `conversation_hash`",
    matches=_is_wildchat,
    reading=lambda _: Reading(OURS, unpack=_conversations),
    carries="prompts, models, times, users (hashed addresses); no tokens: they are estimated",
    reads=("conversation", "conversation_hash", "model", "timestamp"),
)
LMSYS = Dialect(
    name="lmsys",
    title="LMSYS-Chat conversations",
    signature="`conversation`, `conversation_id` and `model`",
    matches=_is_lmsys,
    reading=lambda _: Reading(OURS, unpack=_conversations),
    carries="prompts, models; no times; no tokens: they are estimated",
    reads=("conversation", "conversation_id", "model"),
)
AZURE_TRACE = Dialect(
    name="azure-trace",
    title="Azure LLM inference traces",
    signature="columns `TIMESTAMP`, `ContextTokens` and `GeneratedTokens`",
    matches=has("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
    reading=_azure,
    carries="tokens and times; no models: give one with --base-model",
)
MOONCAKE = Dialect(
    name="mooncake",
    title="Mooncake traces",
    signature="`hash_ids`, `input_length` and `output_length`",
    matches=has("hash_ids", "input_length", "output_length"),
    reading=_mooncake,
    carries="tokens; no models, and times relative to a start that a --map can give",
)
BURSTGPT = Dialect(
    name="burstgpt",
    title="BurstGPT",
    signature="columns `Timestamp`, `Model`, `Request tokens` and `Response tokens`",
    matches=has("Timestamp", "Model", "Request tokens", "Response tokens"),
    reading=_burst,
    carries="tokens, models, sessions, latency; times relative to a start that a --map can give",
)
