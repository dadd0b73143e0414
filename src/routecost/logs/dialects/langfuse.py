"""Langfuse observations: the UI's export, the events export, and the blob-storage export; JSON, CSV or Parquet.

Usage details are disjoint buckets, whatever the provider counts. Source: langfuse/langfuse
worker/src/features/database-read-stream and packages/shared/src/server/ingestion/types.ts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from routecost.logs.dialects.shapes import head, mapping
from routecost.logs.fields import OURS, Dialect, Numbered, Reading, Record, find, first, opened, whole
from routecost.logs.messages import normalised, system_of

_CALLS: Final = ("GENERATION", "EMBEDDING")
_READ: Final = ("input_cached_tokens", "cache_read_input_tokens", "input_cache_read")
_WRITTEN: Final = ("input_cache_write_tokens", "cache_creation_input_tokens", "input_cache_creation")
# Every score has a column of its own: those whose names speak of what users thought.
_FEEDBACK: Final = ("feedback", "thumb", "rating", "helpful", "satisf")


def _matches(record: Record) -> bool:
    camel = all(key in record for key in ("traceId", "type", "startTime", "usageDetails"))
    return camel or all(key in record for key in ("trace_id", "usage_details", "provided_model_name"))


def _unpack(records: Iterable[Numbered]) -> Iterator[Numbered]:
    for n, record in records:
        if record.get("type") in _CALLS:
            yield n, _call(record)


def _call(record: Record) -> Record:
    asked = opened(record.get("input"))
    meta = mapping(record.get("metadata"))
    params = mapping(first(record, "modelParameters", "model_parameters"))
    tags = opened(first(record, "tags", "traceTags", "trace_tags"))
    events = "latencyMs" in record or "providedModelName" in record
    return {
        "": record,
        **_tokens(opened(first(record, "usageDetails", "usage_details"))),
        "request_id": record.get("id"),
        "ts": first(record, "startTime", "start_time"),
        "provider": first(meta, "ls_provider"),
        "model": first(record, "providedModelName", "provided_model_name", "model"),
        "messages": normalised(asked),
        "system": system_of(asked),
        "tools": find(asked, "tools") if isinstance(asked, Mapping) else find(params, "tools"),
        "response_text": record.get("output") if isinstance(record.get("output"), str) else None,
        "cost_usd": first(record, "totalCost", "total_cost"),
        "latency_ms": _ms(record, "latencyMs", "latency"),
        "ttft_ms": _ms(record, "timeToFirstTokenMs", "timeToFirstToken", "time_to_first_token"),
        # only the events export gives all parameters
        "stream": bool(find(params, "stream")) if events else None,
        "status": "error" if record.get("level") == "ERROR" else "ok",
        "user_id": first(record, "userId", "user_id"),
        "session_id": first(record, "sessionId", "session_id"),
        "feature": first(meta, "feature") or head(tags) or first(record, "traceName", "trace_name"),
        "mode": first(meta, "mode"),
        "task": first(meta, "task"),
        "project": first(meta, "project"),
        "feedback": _feedback(record),
    }


def _ms(record: Record, in_ms: str, *in_seconds: str) -> Any:
    value = first(record, in_ms)
    if value is not None:
        return value
    seconds = first(record, *in_seconds)
    try:
        return None if seconds is None else round(float(seconds) * 1000, 3)
    except (TypeError, ValueError):
        return None


def _tokens(details: Any) -> Record:
    """Buckets as counts. An empty object means that nothing was reported, whatever zeros stand beside it."""
    counts = {k: n for k, v in details.items() if (n := whole(v)) is not None} if isinstance(details, Mapping) else {}
    if not counts:
        return {}
    one_hour = {k: n for k, n in counts.items() if k.endswith("_1h")}
    read = [n for k, n in counts.items() if k in _READ]
    written = [n for k, n in counts.items() if k.removesuffix("_5m").removesuffix("_1h") in _WRITTEN]
    cached = sum(read) + sum(written)
    inside = [n for k, n in counts.items() if "input" in k]
    out = [n for k, n in counts.items() if "output" in k]
    return {
        "input_tokens": sum(inside) - cached if inside else None,
        "cache_read_tokens": sum(read) if read else None,
        "written_tokens": sum(written) if written else None,
        "cache_write_1h_tokens": sum(one_hour.values()) if one_hour else None,
        "output_tokens": sum(out) if out else None,
        "reasoning_tokens": counts.get("output_reasoning_tokens", counts.get("output_reasoning")),
        # Buckets that overlap sum up to more than the total: their cached tokens were inside the input all along.
        "total_tokens": _total(counts, cached),
    }


def _total(counts: Mapping[str, int], cached: int) -> int | None:
    total = counts.get("total")
    plain = counts.get("input", 0) + counts.get("output", 0)
    return total if total is not None and cached and total == plain else None


def _feedback(record: Record) -> float | None:
    """The first score whose name speaks of feedback, from 0 to 1 onto -1 to 1."""
    for name, value in record.items():
        if any(word in name.lower() for word in _FEEDBACK):
            values = opened(value)
            score = values[0] if isinstance(values, list) and values else values
            number = whole(score) if not isinstance(score, float | bool) else float(score)
            if number is not None and 0 <= number <= 1:
                return 2 * number - 1
    return None


DIALECT = Dialect(
    name="langfuse",
    title="Langfuse observations (UI, events and blob-storage exports)",
    signature="`traceId`, `type`, `startTime` and `usageDetails`, or `trace_id`, `usage_details` and "
    "`provided_model_name`",
    matches=_matches,
    reading=lambda _: Reading(OURS, unpack=_unpack),
    carries="tokens, cached tokens, cost, latency, prompts, users, feedback",
    reads=(
        *(
            "id",
            "traceId",
            "trace_id",
            "type",
            "startTime",
            "start_time",
            "input",
            "output",
            "metadata",
            "level",
            "tags",
        ),
        *("modelParameters", "model_parameters", "traceTags", "trace_tags", "usageDetails", "usage_details", "userId"),
        *("user_id", "sessionId", "session_id", "model", "providedModelName", "provided_model_name", "totalCost"),
        *("total_cost", "latencyMs", "latency", "timeToFirstTokenMs", "timeToFirstToken", "time_to_first_token"),
        *("traceName", "trace_name"),
    ),
)
