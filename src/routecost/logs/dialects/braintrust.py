"""Braintrust project logs. Parents carry the sums of what is below them, so that only spans of models count.

Source: braintrust logger and wrappers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from routecost.logs.dialects.shapes import ended_as, head, mapping, real, score
from routecost.logs.fields import OURS, Dialect, Numbered, Reading, Record, find, first, has, opened
from routecost.logs.messages import normalised, system_of


def _unpack(records: Iterable[Numbered]) -> Iterator[Numbered]:
    for n, span in records:
        if find(span, "span_attributes.type") != "llm":
            continue
        metrics, meta = mapping(span.get("metrics")), mapping(span.get("metadata"))
        begun, ended = real(metrics.get("start")), real(metrics.get("end"))
        ttft = real(metrics.get("time_to_first_token"))
        scores = [s for s in mapping(span.get("scores")).values() if s is not None]
        tags = opened(span.get("tags"))
        yield (
            n,
            {
                "": span,
                "request_id": span.get("id") or span.get("span_id"),
                "ts": begun if begun is not None else span.get("created"),
                "provider": first(meta, "provider"),
                "model": first(meta, "model"),
                "finish_reason": ended_as(span.get("output")),
                "messages": normalised(span.get("input")),
                "system": system_of(span.get("input")),
                "tools": first(meta, "tools"),
                "response_format": first(meta, "response_format"),
                "total_input_tokens": find(metrics, "prompt_tokens"),
                "output_tokens": find(metrics, "completion_tokens"),
                "total_tokens": find(metrics, "tokens"),
                "cache_read_tokens": find(metrics, "prompt_cached_tokens"),
                "written_tokens": find(metrics, "prompt_cache_creation_tokens"),
                "reasoning_tokens": find(metrics, "completion_reasoning_tokens"),
                "cost_usd": find(metrics, "estimated_cost"),
                "latency_ms": round((ended - begun) * 1000, 3) if begun is not None and ended is not None else None,
                "ttft_ms": round(ttft * 1000, 3) if ttft is not None else None,
                "stream": first(meta, "stream"),
                "status": "error" if span.get("error") else "ok",
                "user_id": first(meta, "user_id", "userId"),
                "session_id": first(meta, "session_id", "thread_id", "conversation_id"),
                "feature": first(meta, "feature") or head(tags) or find(span, "span_attributes.name"),
                "feedback": score(scores[0]) if scores else None,
            },
        )


def _matches(record: Record) -> bool:
    return has("span_id", "root_span_id", "metrics", "span_attributes")(record)


DIALECT = Dialect(
    name="braintrust",
    title="Braintrust project logs",
    signature="`span_id`, `root_span_id`, `metrics` and `span_attributes`",
    matches=_matches,
    reading=lambda _: Reading(OURS, unpack=_unpack),
    carries="tokens, cached tokens, latency, prompts, scores; a cost only where one is logged",
    reads=(
        *("id", "span_id", "root_span_id", "span_parents", "created", "input", "output", "error", "scores", "metadata"),
        *("tags", "metrics", "span_attributes"),
    ),
)
