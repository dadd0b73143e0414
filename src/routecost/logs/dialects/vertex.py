"""Vertex AI's request-response logging, exported from BigQuery.

Gemini counts thinking and what tools put into the prompt beside output and input. Sources: Google Cloud's page on
request-response logging; https://ai.google.dev/api/generate-content#UsageMetadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from routecost.logs.dialects.shapes import head, mapping, mappings
from routecost.logs.fields import OURS, Dialect, Numbered, Reading, Record, find, first, opened
from routecost.logs.messages import content_text, normalised
from routecost.logs.usage_counts import usage


def _matches(record: Record) -> bool:
    both = "full_request" in record and "full_response" in record
    return both and ("deployed_model_id" in record or "api_method" in record)


def _unpack(records: Iterable[Numbered]) -> Iterator[Numbered]:
    for n, record in records:
        yield n, _call(record)


def _call(record: Record) -> Record:
    asked = mapping(record.get("full_request"))
    said = _merged(opened(record.get("full_response")))
    method = str(record.get("api_method") or "")
    counted = find(said, "usageMetadata") or {}
    marked = find(asked, "labels") or {}
    candidate = mapping(head(opened(find(said, "candidates"))))
    model = first(said, "modelVersion") or str(first(record, "model") or "").rsplit("/", 1)[-1]
    system = find(asked, "systemInstruction")
    error = find(said, "error")
    return {
        "": record,
        "request_id": first(record, "request_id") or first(said, "responseId"),
        "ts": record.get("logging_time"),
        "provider": "vertex",
        "model": model or None,
        "model_requested": str(first(record, "model") or "").rsplit("/", 1)[-1] or None,
        "messages": normalised(find(asked, "contents")),
        "system": content_text(system.get("parts") if isinstance(system, Mapping) else system),
        "tools": find(asked, "tools"),
        "response_format": "json" if find(asked, "generationConfig.responseMimeType") == "application/json" else None,
        "usage": counted,
        "response_text": content_text(find(candidate, "content.parts")),
        "latency_ms": first(record, "metadata.request_latency", "request_latency"),
        "stream": "stream" in method.lower() if method else None,
        "status": "error" if error else "ok",
        "finish_reason": find(candidate, "finishReason"),
        "user_id": first(marked, "user_id", "user"),
        "session_id": first(marked, "session_id"),
        "feature": first(marked, "feature"),
    }


def _merged(value: Any) -> Mapping[str, Any]:
    """The chunks of a stream as one response: the last counts, and all of the text."""
    if not isinstance(value, list):
        return value if isinstance(value, Mapping) else {}
    chunks = [chunk for chunk in value if isinstance(chunk, Mapping)]
    whole: dict[str, Any] = {}
    parts: list[Any] = []
    finish = None
    for chunk in chunks:
        whole |= {k: v for k, v in chunk.items() if v is not None}
        for candidate in mappings(chunk.get("candidates"))[:1]:
            parts += mappings(find(candidate, "content.parts"))
            finish = candidate.get("finishReason") or finish
    return {**whole, "candidates": [{"content": {"parts": parts}, "finishReason": finish}]}


DIALECT = Dialect(
    name="vertex",
    title="Vertex AI request-response logs (BigQuery export)",
    signature="`full_request` and `full_response` with `deployed_model_id` or `api_method`",
    matches=_matches,
    reading=lambda _: Reading({**OURS, **usage("usage"), "service_tier": OURS["service_tier"]}, unpack=_unpack),
    carries="tokens, cached tokens, prompts, latency, labels; no cost",
    reads=(
        *("endpoint", "deployed_model_id", "logging_time", "request_id", "model", "model_version", "api_method"),
        *("full_request", "full_response", "metadata"),
    ),
)
