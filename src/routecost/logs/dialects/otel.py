"""OpenTelemetry spans of model calls, as the collector's file exporter writes them (OTLP/JSON).

Attributes of the GenAI conventions (today's and older ones), OpenLLMetry, OpenInference and Vercel's AI SDK. Sources:
opentelemetry-semantic-conventions _incubating/attributes/gen_ai_attributes.py; traceloop/openllmetry
opentelemetry-semantic-conventions-ai; Arize-ai/openinference spec/semantic_conventions.md;
https://ai-sdk.dev/docs/ai-sdk-core/telemetry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from routecost.logs.dialects.shapes import head, integer, mapping, mappings, real
from routecost.logs.fields import OURS, Dialect, Numbered, Reading, Record, opened
from routecost.logs.messages import content_text, normalised

_CALLS: Final = ("chat", "generate_content", "text_completion", "embeddings")
_CONTAINERS: Final = ("resourceSpans", "resourceLogs", "resourceMetrics")

_PROVIDER: Final = (
    "gen_ai.provider.name",
    "llm.provider",
    "gen_ai.system",
    "gen_ai.model.provider",
    "ai.model.provider",
    "llm.system",
)
_ASKED: Final = ("gen_ai.request.model", "llm.request.model_name", "ai.model.id")
_SERVED: Final = ("gen_ai.response.model", "llm.response.model_name", "llm.model_name", "ai.response.model")
_INPUT: Final = (
    *("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt", "llm.usage.prompt_tokens"),
    *("ai.usage.inputTokens", "ai.usage.promptTokens"),
)
_READ: Final = (
    *(
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.input_tokens.cached",
    ),
    *("llm.token_count.prompt_details.cache_read", "llm.token_count.prompt_details.cache_input"),
    *("ai.usage.cachedInputTokens", "ai.usage.inputTokenDetails.cacheReadTokens"),
)
_WRITTEN: Final = (
    *("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens"),
    *("llm.token_count.prompt_details.cache_write", "ai.usage.inputTokenDetails.cacheWriteTokens"),
)
_OUTPUT: Final = (
    *("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"),
    *("llm.usage.completion_tokens", "ai.usage.outputTokens", "ai.usage.completionTokens"),
)
_REASONING: Final = (
    *("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens", "gen_ai.usage.output_tokens.reasoning"),
    *("llm.token_count.completion_details.reasoning", "ai.usage.reasoningTokens"),
)
_TOTAL: Final = ("llm.usage.total_tokens", "gen_ai.usage.total_tokens", "llm.token_count.total")
_COST: Final = ("gen_ai.usage.cost", "gen_ai.usage.total_cost", "llm.cost.total")
_PROMPT: Final = (
    "gen_ai.input.messages",
    "ai.prompt.messages",
    "gen_ai.prompt",
    "gen_ai.prompt_json",
    "ai.prompt",
    "input.value",
)
_ASSOCIATED: Final = "traceloop.association.properties."
_TELEMETRY: Final = "ai.telemetry.metadata."


@dataclass
class _Span:
    line: int
    trace: str
    id: str
    parent: str
    span: Mapping[str, Any]
    attributes: dict[str, Any]


def _unpack(records: Iterable[Numbered]) -> Iterator[Numbered]:
    spans = [span for n, record in records for span in _spans(n, record)]
    calls = [span for span in spans if _is_call(span.attributes)]
    # two instruments on one client, or a router over its attempts, make a call of a call: the innermost counts
    parents = {(span.trace, span.id): span.parent for span in spans}
    kept = {(span.trace, span.id) for span in calls}
    outer: set[tuple[str, str]] = set()
    for span in calls:
        above, seen = span.parent, set()
        while above and above not in seen:
            seen.add(above)
            if (span.trace, above) in kept:
                outer.add((span.trace, above))
            above = parents.get((span.trace, above), "")
    for span in calls:
        if (span.trace, span.id) not in outer:
            yield span.line, _call(span)


def _spans(n: int, record: Record) -> Iterator[_Span]:
    for resource in mappings(record.get("resourceSpans")):
        for scope in mappings(resource.get("scopeSpans") or resource.get("instrumentationLibrarySpans")):
            for span in mappings(scope.get("spans")):
                trace, own, parent = (str(span.get(key) or "") for key in ("traceId", "spanId", "parentSpanId"))
                yield _Span(n, trace, own, parent, span, _attributes(span.get("attributes")))


def _attributes(pairs: Any) -> dict[str, Any]:
    return {str(pair["key"]): _value(pair.get("value")) for pair in mappings(pairs) if "key" in pair}


def _value(value: Any) -> Any:
    """The value of OTLP/JSON's `AnyValue`."""
    if not isinstance(value, Mapping) or not value:
        return None
    kind, inside = next(iter(value.items()))
    if kind == "intValue":
        exact = integer(inside)
        return inside if exact is None else exact
    if kind == "arrayValue":
        values = mapping(inside).get("values")
        return [_value(item) for item in values] if isinstance(values, list) else []
    if kind == "kvlistValue":
        return _attributes(mapping(inside).get("values"))
    return inside


def _is_call(said: Mapping[str, Any]) -> bool:
    return (
        said.get("gen_ai.operation.name") in _CALLS
        or bool(said.get("llm.request.type"))
        or said.get("openinference.span.kind") in ("LLM", "EMBEDDING")
        or str(said.get("ai.operationId") or "").endswith((".doGenerate", ".doStream", ".doEmbed"))
    )


def _any(said: Mapping[str, Any], *names: str) -> Any:
    return next((said[name] for name in names if said.get(name) is not None and said[name] != ""), None)


def _call(span: _Span) -> Record:
    said = span.attributes
    params, meta = mapping(said.get("llm.invocation_parameters")), mapping(said.get("metadata"))
    tags = opened(said.get("tag.tags"))
    asked = _any(said, *_ASKED[:2]) or params.get("model") or said.get(_ASKED[2])
    begun, ended = (integer(span.span.get(key)) or 0 for key in ("startTimeUnixNano", "endTimeUnixNano"))
    seconds = real(_any(said, "gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token"))
    operation = str(said.get("ai.operationId") or "")
    streamed = _any(said, "gen_ai.request.stream", "llm.is_streaming", "gen_ai.is_streaming")
    if streamed is None:
        streamed = params.get("stream", operation.endswith("doStream"))
    state = mapping(span.span.get("status"))
    finish = opened(
        _any(said, "gen_ai.response.finish_reasons", "ai.response.finishReason", "gen_ai.completion.0.finish_reason")
    )
    system = opened(said.get("gen_ai.system_instructions"))
    messages = _messages(said)
    return {
        "": {**said, "name": span.span.get("name")},
        "request_id": _any(said, "gen_ai.response.id", "ai.response.id") or span.id,
        "ts": begun / 1e9 if begun else None,
        "provider": _any(said, *_PROVIDER),
        "model": _any(said, *_SERVED) or asked,
        "model_requested": asked,
        "messages": messages,
        "system": content_text(system) if system is not None else None,
        "tools": _any(
            said,
            "gen_ai.tool.definitions",
            "llm.request.functions.0.name",
            "llm.tools.0.tool.json_schema",
            "ai.prompt.tools",
        ),
        "total_input_tokens": _any(said, *_INPUT),
        "cache_read_tokens": _any(said, *_READ),
        "written_tokens": _any(said, *_WRITTEN),
        "output_tokens": _any(said, *_OUTPUT),
        "reasoning_tokens": _any(said, *_REASONING),
        "total_tokens": _any(said, *_TOTAL),
        "cost_usd": _any(said, *_COST),
        "latency_ms": round((ended - begun) / 1e6, 3) if begun and ended >= begun else None,
        "ttft_ms": round(seconds * 1000, 3)
        if seconds is not None
        else _any(said, "ai.response.msToFirstChunk", "ai.stream.msToFirstChunk"),
        "stream": bool(streamed),
        "status": "error" if state.get("code") in (2, "STATUS_CODE_ERROR") or said.get("error.type") else "ok",
        "finish_reason": finish[0] if isinstance(finish, list) and finish else finish,
        "session_id": _any(
            said, "gen_ai.conversation.id", "session.id", f"{_ASSOCIATED}session_id", f"{_TELEMETRY}sessionId"
        ),
        "user_id": _any(said, "user.id", "enduser.id", f"{_ASSOCIATED}user_id", f"{_TELEMETRY}userId"),
        "feature": meta.get("feature")
        or _any(said, f"{_ASSOCIATED}feature", f"{_TELEMETRY}feature")
        or head(tags)
        or said.get("ai.telemetry.functionId"),
        "mode": _any(said, f"{_ASSOCIATED}mode") or meta.get("mode"),
        "response_text": _any(said, "ai.response.text", "gen_ai.completion.0.content", "output.value"),
        "service_tier": _any(said, "openai.response.service_tier", "gen_ai.openai.response.service_tier"),
    }


def _messages(said: Mapping[str, Any]) -> Any:
    """What was sent: one attribute of JSON, or attributes numbered by message."""
    flat = _numbered(said, "gen_ai.prompt", "") or _numbered(said, "llm.input_messages", "message.")
    if flat and "gen_ai.input.messages" not in said:
        return normalised(flat)
    for name in _PROMPT:
        if said.get(name) is not None and (found := normalised(said[name])) is not None:
            return found
    return None


_PART: Final = re.compile(r"contents\.(\d+)\.message_content\.(.+)")


def _numbered(said: Mapping[str, Any], prefix: str, inner: str) -> list[dict[str, Any]]:
    pattern = re.compile(rf"{re.escape(prefix)}\.(\d+)\.{re.escape(inner)}(.+)")
    found: dict[int, dict[str, Any]] = {}
    for name, value in said.items():
        if m := pattern.fullmatch(name):
            found.setdefault(int(m[1]), {})[m[2]] = value
    whole = []
    for place in sorted(found):
        message = found[place]
        parts: dict[int, dict[str, Any]] = {}
        for name, value in message.items():
            if m := _PART.fullmatch(name):
                parts.setdefault(int(m[1]), {})[m[2]] = value
        content = message.get("content")
        if content is None and parts:
            content = [parts[k] for k in sorted(parts)]
        whole.append({"role": message.get("role"), "content": content})
    return whole


DIALECT = Dialect(
    name="otel",
    title="OpenTelemetry GenAI spans (OTLP/JSON); OpenLLMetry, OpenInference, AI SDK",
    signature="`resourceSpans` (or `resourceLogs`, `resourceMetrics`)",
    matches=lambda record: any(key in record for key in _CONTAINERS),
    reading=lambda _: Reading(OURS, unpack=_unpack),
    carries="tokens, cached tokens, latency, prompts where content is captured, users, sessions; seldom a cost",
    reads=_CONTAINERS,
)
