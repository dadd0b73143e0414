"""Arize Phoenix's spans dataframe (Parquet or CSV), and other tables of OpenInference attributes.

Source: Arize-ai/openinference spec/semantic_conventions.md; phoenix Client.get_spans_dataframe.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from routecost.logs.dialects.shapes import head, mapping, span_ms
from routecost.logs.fields import OURS, Dialect, Numbered, Reading, Record, find, first, opened
from routecost.logs.messages import normalised

_AT = "attributes."


def _unpack(records: Iterable[Numbered]) -> Iterator[Numbered]:
    for n, span in records:
        kind = first(span, "span_kind", f"{_AT}openinference.span.kind")
        if kind in ("LLM", "EMBEDDING"):
            yield n, _call(span)


def _call(span: Record) -> Record:
    def said(*names: str) -> Any:
        return first(span, *(f"{_AT}{name}" for name in names))

    params, meta = mapping(said("llm.invocation_parameters")), mapping(said("metadata"))
    tags = opened(said("tag.tags"))
    asked = said("llm.request.model_name") or params.get("model")
    streamed = params.get("stream")
    return {
        "": span,
        "request_id": first(span, "context.span_id", "span_id"),
        "ts": span.get("start_time"),
        "provider": said("llm.provider", "llm.system"),
        "model": said("llm.response.model_name", "llm.model_name") or asked,
        "model_requested": asked,
        "messages": _messages(said("llm.input_messages")),
        "tools": said("llm.tools"),
        "total_input_tokens": said("llm.token_count.prompt"),
        "cache_read_tokens": said(
            "llm.token_count.prompt_details.cache_read", "llm.token_count.prompt_details.cache_input"
        ),
        "written_tokens": said("llm.token_count.prompt_details.cache_write"),
        "output_tokens": said("llm.token_count.completion"),
        "reasoning_tokens": said("llm.token_count.completion_details.reasoning"),
        "total_tokens": said("llm.token_count.total"),
        "cost_usd": said("llm.cost.total"),
        "latency_ms": span_ms(span.get("start_time"), span.get("end_time")),
        "stream": bool(streamed) if streamed is not None else None,
        "status": "error" if span.get("status_code") == "ERROR" else "ok",
        "session_id": said("session.id"),
        "user_id": said("user.id"),
        "feature": meta.get("feature") or head(tags),
        "response_text": said("output.value"),
    }


def _messages(value: Any) -> Any:
    """Messages with keys like `message.role`, as the dataframe has them."""
    value = opened(value)
    if not isinstance(value, list):
        return None
    return normalised([_message(item) for item in value if isinstance(item, Mapping)])


def _message(item: Mapping[str, Any]) -> dict[str, Any]:
    role, content = find(item, "message.role"), find(item, "message.content")
    parts = find(item, "message.contents")
    if content is None and isinstance(parts, list):
        content = [
            {"type": find(p, "message_content.type"), "text": find(p, "message_content.text")}
            for p in parts
            if isinstance(p, Mapping)
        ]
    return {"role": role, "content": content}


DIALECT = Dialect(
    name="phoenix",
    title="Arize Phoenix spans dataframe",
    signature="columns `context.span_id` and `attributes.llm.token_count.prompt`",
    matches=lambda record: (
        "context.span_id" in record and any(key.startswith(f"{_AT}llm.") or key == f"{_AT}llm" for key in record)
    ),
    reading=lambda _: Reading(OURS, unpack=_unpack),
    carries="tokens, cached tokens, latency, prompts, users, sessions",
    reads=("context.span_id", "start_time", "end_time", "span_kind", "status_code", "attributes"),
)
