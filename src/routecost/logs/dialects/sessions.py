"""Session files of coding agents: Claude Code's and Codex's.

A call is written over several lines, and lines are written again when a session is resumed. Sources: ryoppippi/ccusage
rust adapters claude and codex; daaain/claude-code-log models.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from routecost.logs.dialects.shapes import mapping
from routecost.logs.fields import OURS, REPEATED, Dialect, Numbered, Reading, Record, find, first, opened, whole
from routecost.logs.messages import content_text
from routecost.logs.usage_counts import usage

_CODEX: Final = ("session_meta", "turn_context", "response_item", "event_msg")
# What Codex itself says as the user.
_NOT_SAID: Final = (
    "<environment_context>",
    "<user_instructions>",
    "<turn_aborted>",
    "<permissions",
    "# AGENTS.md",
    "<INSTRUCTIONS>",
)
_SYNTHETIC: Final = "<synthetic>"


def _is_claude(record: Record) -> bool:
    if record.get("type") == "summary" and "leafUuid" in record:
        return True
    return all(key in record for key in ("sessionId", "uuid", "parentUuid", "type"))


def _claude(records: Iterable[Numbered]) -> Iterator[Numbered]:
    """One call a message id: its lines, one a block of content, repeat it with counts that grow; a copy in a side chain
    may have another request id."""
    lines = list(records)
    by_uuid = {record["uuid"]: record for _, record in lines if isinstance(record.get("uuid"), str)}
    calls: dict[str, list[Numbered]] = {}
    for n, record in lines:
        if record.get("type") == "assistant" and isinstance(opened(find(record, "message.usage")), Mapping):
            calls.setdefault(str(first(record, "message.id", "requestId", "uuid") or n), []).append((n, record))
    for found in calls.values():
        main = [(n, record) for n, record in found if not record.get("isSidechain")] or found
        n, last = main[-1]
        yield from ((m, REPEATED) for m, _ in found if m != n)
        counted = _largest([mapping(find(record, "message.usage")) for _, record in main])
        model = find(last, "message.model")
        cost = [record["costUSD"] for _, record in main if isinstance(record.get("costUSD"), int | float)]
        said = _turns(last, by_uuid)
        yield (
            n,
            {
                "": last,
                "usage": counted,
                "request_id": first(last, "message.id", "requestId", "uuid"),
                "ts": last.get("timestamp"),
                "provider": "anthropic",
                # a placeholder for an error, which is billed nowhere
                "model": None if model == _SYNTHETIC else model,
                "prompt": next(said, None),
                "previous_prompt": next(said, None),
                "status": "error" if last.get("isApiErrorMessage") else "ok",
                "finish_reason": find(last, "message.stop_reason"),
                "cost_usd": max(cost) if cost else None,
                "session_id": last.get("sessionId"),
                "feature": last.get("cwd"),
                "service_tier": "fast" if counted.get("speed") == "fast" else counted.get("service_tier"),
            },
        )


def _largest(usages: Sequence[Mapping[str, Any]], *, details: bool = True) -> dict[str, Any]:
    """The counts of the lines of one call: the largest of each, as they only grow. details: also of those inside."""
    merged: dict[str, Any] = {}
    for one in usages:
        for name, value in one.items():
            if isinstance(value, Mapping) and details:
                merged[name] = _largest([mapping(merged.get(name)), value], details=False)
            elif isinstance(value, int) and isinstance(merged.get(name), int):
                merged[name] = max(merged[name], value)
            elif value is not None:
                merged[name] = value
    return merged


def _turns(record: Record, by_uuid: Mapping[str, Record]) -> Iterator[str]:
    """What the user said before a record, the latest first: tool results and what the program adds are not said."""
    seen: set[str] = set()
    above = record.get("parentUuid")
    while isinstance(above, str) and above not in seen and above in by_uuid:
        seen.add(above)
        parent = by_uuid[above]
        if parent.get("type") == "user" and not parent.get("isMeta"):
            said = content_text(find(parent, "message.content"))
            if said is not None:
                yield said
        above = parent.get("parentUuid")


def _is_codex(record: Record) -> bool:
    return record.get("type") in _CODEX and "payload" in record


def _parent(meta: Mapping[str, Any]) -> str | None:
    """The session that a session was forked from, or spawned by."""
    found = first(meta, "forked_from_id", "source.subagent.thread_spawn.parent_thread_id", "parent_thread_id")
    return str(found) if found is not None else None


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


# Digits of an ISO moment to the second.
_SECOND: Final = 19


def _codex(records: Iterable[Numbered]) -> Iterator[Numbered]:
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


CLAUDE_CODE = Dialect(
    name="claude-code",
    title="Claude Code session files (~/.claude/projects)",
    signature="`sessionId`, `uuid`, `parentUuid` and `type`",
    matches=_is_claude,
    reading=lambda _: Reading({**OURS, **usage("usage"), "service_tier": OURS["service_tier"]}, unpack=_claude),
    carries="tokens, cache reads and writes, prompts, sessions, folders; no latency",
    whole=True,
    reads=(
        *("type", "uuid", "parentUuid", "sessionId", "timestamp", "requestId", "isSidechain", "isApiErrorMessage"),
        *("message", "cwd", "costUSD", "isMeta", "leafUuid"),
    ),
)
CODEX = Dialect(
    name="codex",
    title="Codex session files (~/.codex/sessions)",
    signature="`type` of session_meta, turn_context, response_item or event_msg, with `payload`",
    matches=_is_codex,
    reading=lambda _: Reading(OURS, unpack=_codex),
    carries="tokens, cached tokens, prompts, sessions, folders; no latency",
    whole=True,
    reads=("timestamp", "type", "payload"),
)
