"""Session files of Claude Code. A call is written over several lines, and again when a session is resumed.

Sources: ryoppippi/ccusage rust adapter claude; daaain/claude-code-log models.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from routecost.logs.dialects.shapes import mapping
from routecost.logs.fields import OURS, REPEATED, Dialect, Numbered, Reading, Record, find, first, opened
from routecost.logs.messages import content_text
from routecost.logs.usage_counts import usage

_SYNTHETIC: Final = "<synthetic>"


def _matches(record: Record) -> bool:
    if record.get("type") == "summary" and "leafUuid" in record:
        return True
    return all(key in record for key in ("sessionId", "uuid", "parentUuid", "type"))


def _unpack(records: Iterable[Numbered]) -> Iterator[Numbered]:
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


DIALECT = Dialect(
    name="claude-code",
    title="Claude Code session files (~/.claude/projects)",
    signature="`sessionId`, `uuid`, `parentUuid` and `type`",
    matches=_matches,
    reading=lambda _: Reading({**OURS, **usage("usage"), "service_tier": OURS["service_tier"]}, unpack=_unpack),
    named_by_id=True,
    carries="tokens, cache reads and writes, prompts, sessions, folders; no latency",
    whole=True,
    reads=(
        *("type", "uuid", "parentUuid", "sessionId", "timestamp", "requestId", "isSidechain", "isApiErrorMessage"),
        *("message", "cwd", "costUSD", "isMeta", "leafUuid"),
    ),
)
