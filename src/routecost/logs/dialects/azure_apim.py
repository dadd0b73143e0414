"""LLM logs of Azure API Management, which have tokens.

Source: https://learn.microsoft.com/azure/azure-monitor/reference/tables/apimanagementgatewayllmlog.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from routecost.logs.fields import (
    OURS,
    REPEATED,
    Dialect,
    Numbered,
    Reading,
    Record,
    first,
    opened,
    whole,
)


def _matches(record: Record) -> bool:
    flat = "SequenceNumber" in record and "CorrelationId" in record and "PromptTokens" in record
    return flat or record.get("category") == "GatewayLlmLogs" or record.get("Type") == "ApiManagementGatewayLlmLog"


def _unpack(records: Iterable[Numbered]) -> Iterator[Numbered]:
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


DIALECT = Dialect(
    name="azure-apim",
    title="Azure API Management LLM logs (ApiManagementGatewayLlmLog)",
    signature="`CorrelationId`, `SequenceNumber` and `PromptTokens`, or `category: GatewayLlmLogs`",
    matches=_matches,
    reading=lambda _: Reading(OURS, unpack=_unpack),
    carries="tokens and prompts; no cached tokens, no cost",
    whole=True,
    reads=(
        *("TimeGenerated", "CorrelationId", "RequestId", "DeploymentName", "ModelName", "PromptTokens", "properties"),
        *("CompletionTokens", "TotalTokens", "IsStreamCompletion", "SequenceNumber", "RequestMessages", "category"),
        *("ResponseMessages", "time", "resourceId", "Type"),
    ),
)
