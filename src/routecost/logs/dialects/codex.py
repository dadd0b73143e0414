"""Session files of Codex. Counts are cumulative, and a spawned session begins with a copy of its parent's history.

Source: ryoppippi/ccusage rust adapter codex, and its issues on forked sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from routecost.logs.dialects.shapes import mapping
from routecost.logs.fields import OURS, REPEATED, Dialect, Numbered, Reading, Record, find, first, whole
from routecost.logs.messages import content_text

_TYPES: Final = ("session_meta", "turn_context", "response_item", "event_msg")


# What Codex itself says as the user.
_NOT_SAID: Final = (
    "<environment_context>",
    "<user_instructions>",
    "<turn_aborted>",
    "<permissions",
    "# AGENTS.md",
    "<INSTRUCTIONS>",
)


def _matches(record: Record) -> bool:
    return record.get("type") in _TYPES and "payload" in record


def _parent(meta: Mapping[str, Any]) -> str | None:
    """The session that a session was forked from, or spawned by."""
    found = first(meta, "forked_from_id", "source.subagent.thread_spawn.parent_thread_id", "parent_thread_id")
    return str(found) if found is not None else None


# Digits of an ISO moment to the second.
_SECOND: Final = 19


def _is_replay(records: Iterable[Numbered]) -> Callable[[Any], bool]:
    """Whether a count of tokens at a moment is of a parent's history, which a spawned or forked session begins with.

    Some versions keep the moments of the parent, which are before the session's own; others give all of the history
    the second of the copying.
    """
    moments = [
        str(record.get("timestamp"))
        for _, record in records
        if isinstance(find(record, "payload.info.total_token_usage"), Mapping)
    ]
    begun = next((str(r.get("timestamp")) for _, r in records if r.get("type") == "session_meta"), "")
    copied = moments[0][:_SECOND] if len(moments) > 1 and moments[0][:_SECOND] == moments[1][:_SECOND] else None
    return lambda moment: str(moment) < begun or str(moment)[:_SECOND] == copied


def _unpack(records: Iterable[Numbered]) -> Iterator[Numbered]:
    """One call a count of tokens whose cumulative total is new. What a session repeats of its parent has the parent's
    ids, so that it counts once whether or not the parent's file is there."""
    records = list(records)
    parent: str | None = None
    replayed = _is_replay(records)
    copies = 0
    session, model, cwd, system = "", None, None, None
    provider: Any = "openai"
    said: list[str] = []
    total: Record = {}
    calls = 0
    for n, record in records:
        payload = record.get("payload")
        if not isinstance(payload, Mapping):
            continue
        kind, inner = record.get("type"), payload.get("type")
        if kind == "session_meta" and not session:
            session = str(first(payload, "id", "session_id") or "")
            cwd, provider = payload.get("cwd"), payload.get("model_provider") or "openai"
            system = first(payload, "base_instructions.text", "instructions")
            parent = _parent(payload)
        elif kind == "turn_context":
            model, cwd = payload.get("model") or model, payload.get("cwd") or cwd
        elif kind == "response_item" and inner == "message" and payload.get("role") == "user":
            text = content_text(payload.get("content"))
            if text is not None and not text.lstrip().startswith(_NOT_SAID):
                said = [*said[-1:], text]
        elif kind == "event_msg" and inner == "token_count":
            info = payload.get("info")
            if not isinstance(info, Mapping):
                continue
            now = mapping(info.get("total_token_usage"))
            if now == total:
                yield n, REPEATED
                continue
            used = mapping(info.get("last_token_usage")) or {
                k: (whole(v) or 0) - (whole(total.get(k)) or 0) for k, v in now.items()
            }
            total = now
            owner = session
            if parent is not None and replayed(record.get("timestamp")):
                copies += 1
                owner, place = parent, copies
            else:
                calls += 1
                place = calls
            yield (
                n,
                {
                    "": {**payload, "cwd": cwd},
                    "request_id": f"{owner}#{place}" if owner else None,
                    "ts": record.get("timestamp"),
                    "provider": provider,
                    "model": first(info, "model") or model,
                    "prompt": said[-1] if said else None,
                    "previous_prompt": said[-2] if len(said) > 1 else None,
                    "system": system,
                    "total_input_tokens": used.get("input_tokens"),
                    "cache_read_tokens": used.get("cached_input_tokens"),
                    "written_tokens": used.get("cache_write_input_tokens"),
                    "output_tokens": used.get("output_tokens"),
                    "reasoning_tokens": used.get("reasoning_output_tokens"),
                    "total_tokens": used.get("total_tokens"),
                    "status": "ok",
                    "session_id": owner or None,
                    "feature": cwd,
                },
            )


DIALECT = Dialect(
    name="codex",
    title="Codex session files (~/.codex/sessions)",
    signature="`type` of session_meta, turn_context, response_item or event_msg, with `payload`",
    matches=_matches,
    reading=lambda _: Reading(OURS, unpack=_unpack),
    named_by_id=True,
    carries="tokens, cached tokens, prompts, sessions, folders; no latency",
    whole=True,
    reads=("timestamp", "type", "payload"),
)
