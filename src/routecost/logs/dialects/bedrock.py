"""AWS Bedrock's model invocation logs, from S3 or (as the `message` of an event) from CloudWatch.

The counters are disjoint: cached tokens are beside the input. Sources: elastic/integrations aws_bedrock; botocore
bedrock-runtime TokenUsage; AWS's page on model invocation logging.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from routecost.logs.dialects.shapes import mapping
from routecost.logs.fields import OURS, Dialect, Numbered, Reading, Record, find, first, opened, whole
from routecost.logs.messages import content_text

_METRICS: Final = "amazon-bedrock-invocationMetrics"
# `global.` stays: it has a price of its own.
_REGION: Final = re.compile(r"^(us|eu|apac|us-gov|jp|au|ca)\.(?=[a-z0-9-]+\.)")


def _matches(record: Record) -> bool:
    return _event(record).get("schemaType") == "ModelInvocationLog"


def _event(record: Record) -> Mapping[str, Any]:
    inside = opened(record.get("message"))
    return inside if isinstance(inside, Mapping) and "schemaType" in inside else record


def _unpack(records: Iterable[Numbered]) -> Iterator[Numbered]:
    for n, record in records:
        yield n, _call(_event(record))


def _call(event: Mapping[str, Any]) -> Record:
    asked = mapping(find(event, "input.inputBodyJson"))
    said = opened(find(event, "output.outputBodyJson"))
    events = [e for e in said if isinstance(e, Mapping)] if isinstance(said, list) else []
    said = said if isinstance(said, Mapping) else {}
    metrics = next((mapping(e[_METRICS]) for e in reversed(events) if _METRICS in e), {})
    operation = str(event.get("operation") or "")
    model = str(event.get("modelId") or "").rsplit("/", 1)[-1]
    meta = event.get("requestMetadata") or {}
    written = whole(find(event, "input.cacheWriteInputTokenCount"))
    return {
        "": event,
        "request_id": event.get("requestId"),
        "ts": event.get("timestamp"),
        "provider": "bedrock",
        "model": _REGION.sub("", model) or None,
        "messages": asked.get("messages") or asked.get("prompt") or asked.get("inputText"),
        "system": content_text(asked.get("system")),
        "tools": asked.get("toolConfig") or asked.get("tools"),
        "input_tokens": find(event, "input.inputTokenCount"),
        "cache_read_tokens": find(event, "input.cacheReadInputTokenCount"),
        "written_tokens": written,
        "cache_write_1h_tokens": _one_hour(said, events) if written else None,
        "output_tokens": find(event, "output.outputTokenCount"),
        "response_text": content_text(first(said, "output.message.content", "content")),
        "latency_ms": first(said, "metrics.latencyMs") or metrics.get("invocationLatency"),
        "ttft_ms": metrics.get("firstByteLatency"),
        "stream": "Stream" in operation,
        "status": "error" if event.get("errorCode") else "ok",
        "finish_reason": first(said, "stopReason", "stop_reason"),
        "user_id": first(meta, "user_id", "userId", "user") or find(asked, "metadata.user_id"),
        "session_id": first(meta, "session_id", "sessionId"),
        "feature": first(meta, "feature"),
        "project": first(meta, "project"),
        "mode": first(meta, "mode"),
        "task": first(meta, "task"),
    }


def _one_hour(said: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> int | None:
    """Tokens written for an hour: only bodies tell them from those for five minutes."""
    native = first(said, "usage.cache_creation.ephemeral_1h_input_tokens")
    for event in events:
        native = first(event, "message.usage.cache_creation.ephemeral_1h_input_tokens") or native
    if native is not None:
        return whole(native)
    details = find(said, "usage.cacheDetails")
    if not isinstance(details, list):
        return None
    return sum(whole(d.get("inputTokens")) or 0 for d in details if isinstance(d, Mapping) and d.get("ttl") == "1h")


DIALECT = Dialect(
    name="bedrock",
    title="AWS Bedrock model invocation logs",
    signature="`schemaType: ModelInvocationLog`",
    matches=_matches,
    reading=lambda _: Reading(OURS, unpack=_unpack),
    carries="tokens, cached tokens, prompts unless switched off, latency of Converse and of streams; no cost",
    reads=(
        *(
            "requestId",
            "timestamp",
            "modelId",
            "operation",
            "requestMetadata",
            "errorCode",
            "schemaType",
            "schemaVersion",
        ),
        *("input", "output", "message"),
    ),
)
