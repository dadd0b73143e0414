"""WildChat and LMSYS-Chat: conversations without token counts.

Sources: the dataset cards of allenai/WildChat-1M and lmsys/lmsys-chat-1m.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from routecost.logs.dialects.shapes import mapping
from routecost.logs.fields import (
    OURS,
    Dialect,
    Numbered,
    Reading,
    Record,
    opened,
)


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
