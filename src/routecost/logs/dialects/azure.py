"""Azure OpenAI's diagnostic logs, and those of Azure API Management in front of it.

The diagnostic category RequestResponse has no tokens and no text; API Management's GatewayLlmLogs has tokens, and
GatewayLogs has bodies. Sources: elastic/integrations azure_openai;
https://learn.microsoft.com/azure/azure-monitor/reference/tables/apimanagementgatewayllmlog.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from routecost.logs.dialects.pairs import failed, request_fields, response_fields
from routecost.logs.dialects.shapes import integer
from routecost.logs.fields import (
    OURS,
    REPEATED,
    Dialect,
    Numbered,
    Reading,
    Record,
    count,
    either,
    find,
    first,
    fixed,
    http_status,
    number,
    opened,
    text,
    whole,
)

_CATEGORIES: Final = ("RequestResponse", "AzureOpenAIRequestUsage")
_TICKS_A_US: Final = 10
_YEAR_1: Final = dt.datetime(1, 1, 1, tzinfo=dt.UTC)


def _is_diagnostic(record: Record) -> bool:
    return record.get("category") in _CATEGORIES and "resourceId" in record and "properties" in record


def _diagnostic(records: Iterable[Numbered]) -> Iterator[Numbered]:
    for n, record in records:
        if record.get("category") not in _CATEGORIES:
            continue
        inside = opened(record.get("properties")) or {}
        code = whole(record.get("resultSignature"))
        streamed = find(inside, "streamType")
        begun = integer(find(inside, "requestTime"))
        yield (
            n,
            {
                "": record,
                "request_id": record.get("correlationId"),
                "ts": _moment(begun) if begun else record.get("time"),
                "provider": "azure",
                "model_requested": find(inside, "modelDeploymentName"),
                "model": _versioned(find(inside, "modelName"), find(inside, "modelVersion")),
                "latency_ms": record.get("durationMs"),
                "stream": None if streamed is None else streamed == "Streaming",
                "status": None if code is None else "ok" if 200 <= code < 300 else "error",
            },
        )


def _moment(ticks: int) -> str | None:
    """A moment of .NET: ticks of 100 ns since the year 1."""
    try:
        return (_YEAR_1 + dt.timedelta(microseconds=ticks // _TICKS_A_US)).isoformat()
    except OverflowError:
        return None


def _versioned(name: Any, version: Any) -> str | None:
    return f"{name}-{version}" if name and version and str(version)[:2] == "20" else name or None


def _is_llm_log(record: Record) -> bool:
    flat = "SequenceNumber" in record and "CorrelationId" in record and "PromptTokens" in record
    return flat or record.get("category") == "GatewayLlmLogs" or record.get("Type") == "ApiManagementGatewayLlmLog"


def _llm_log(records: Iterable[Numbered]) -> Iterator[Numbered]:
    """One call has several rows: the one with tokens, and others with pieces of its messages."""
    calls: dict[str, tuple[int, dict[str, Any]]] = {}
    pieces: dict[str, dict[str, list[tuple[int, str]]]] = {}
    for n, record in records:
        row = {**record, **inside} if isinstance(inside := opened(record.get("properties")), dict) else record
        call = str(first(row, "CorrelationId", "correlationId", "RequestId") or n)
        place = whole(first(row, "SequenceNumber", "sequenceNumber")) or 0
        for name in ("RequestMessages", "ResponseMessages"):
            value = first(row, name, name[0].lower() + name[1:])
            if value is not None:
                said = value if isinstance(value, str) else _text(value)
                pieces.setdefault(call, {}).setdefault(name, []).append((place, said))
        if place == 0 and call not in calls:
            calls[call] = (n, dict(row))
        elif place == 0:
            yield n, REPEATED
    for call, (n, row) in calls.items():
        texts = {name: "".join(piece for _, piece in sorted(parts)) for name, parts in pieces.get(call, {}).items()}
        good = first(row, "IsRequestSuccess", "isRequestSuccess")
        yield (
            n,
            {
                "": row,
                "request_id": first(row, "RequestId", "requestId") or call,
                "ts": first(row, "TimeGenerated", "time"),
                "provider": "azure",
                "model_requested": first(row, "DeploymentName", "deploymentName"),
                "model": first(row, "ModelName", "modelName"),
                "total_input_tokens": first(row, "PromptTokens", "promptTokens"),
                "output_tokens": first(row, "CompletionTokens", "completionTokens"),
                "total_tokens": first(row, "TotalTokens", "totalTokens"),
                "stream": first(row, "IsStreamCompletion", "isStreamCompletion"),
                "messages": texts.get("RequestMessages"),
                "response_text": texts.get("ResponseMessages"),
                "status": "ok" if good in (None, True, "True", "true") else "error",
            },
        )


def _text(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def _is_gateway_log(record: Record) -> bool:
    return record.get("category") == "GatewayLogs" and "properties" in record


def _gateway_log(_: Sequence[Record]) -> Reading:
    asked = either(request_fields("properties.backendRequestBody"), request_fields("properties.requestBody"))
    said = response_fields("properties.backendResponseBody")
    also = response_fields("properties.responseBody")
    both = {name: said[name] | also[name] for name in said}
    return Reading(
        {
            **asked,
            **both,
            "request_id": text("correlationId") | both["request_id"],
            "ts": text("time"),
            "provider": fixed("azure"),
            "latency_ms": number("durationMs"),
            "status": http_status(count("properties.responseCode")) | failed("properties.responseBody"),
        }
    )


OPENAI = Dialect(
    name="azure-openai",
    title="Azure OpenAI diagnostic logs (RequestResponse)",
    signature="`category: RequestResponse` with `resourceId` and `properties`",
    matches=_is_diagnostic,
    reading=lambda _: Reading(OURS, unpack=_diagnostic),
    carries="models, latency, status; no tokens, no prompts: use API Management's log for a bill",
    reads=("time", "category", "correlationId", "durationMs", "resultSignature", "resourceId", "properties"),
)
LLM_LOG = Dialect(
    name="azure-apim",
    title="Azure API Management LLM logs (ApiManagementGatewayLlmLog)",
    signature="`CorrelationId`, `SequenceNumber` and `PromptTokens`, or `category: GatewayLlmLogs`",
    matches=_is_llm_log,
    reading=lambda _: Reading(OURS, unpack=_llm_log),
    carries="tokens and prompts; no cached tokens, no cost",
    whole=True,
    reads=(
        *("TimeGenerated", "CorrelationId", "RequestId", "DeploymentName", "ModelName", "PromptTokens", "properties"),
        *("CompletionTokens", "TotalTokens", "IsStreamCompletion", "SequenceNumber", "RequestMessages", "category"),
        *("ResponseMessages", "time", "resourceId", "Type"),
    ),
)
GATEWAY_LOG = replace(
    OPENAI,
    name="azure-apim-gateway",
    title="Azure API Management gateway logs with bodies (GatewayLogs)",
    signature="`category: GatewayLogs` with `properties`",
    matches=_is_gateway_log,
    reading=_gateway_log,
    carries="tokens and prompts as far as bodies are logged (they are cut at 8 KiB)",
    reads=(),
)
