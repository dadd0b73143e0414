"""Gateway logs of Azure API Management with bodies.

Source: https://learn.microsoft.com/azure/api-management/api-management-howto-llm-logs.
"""

from __future__ import annotations

from collections.abc import Sequence

from routecost.logs.dialects.pairs import failed, request_fields, response_fields
from routecost.logs.fields import (
    Dialect,
    Reading,
    Record,
    count,
    either,
    fixed,
    http_status,
    number,
    text,
)


def _matches(record: Record) -> bool:
    return record.get("category") == "GatewayLogs" and "properties" in record


def _reading(_: Sequence[Record]) -> Reading:
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


DIALECT = Dialect(
    name="azure-apim-gateway",
    title="Azure API Management gateway logs with bodies (GatewayLogs)",
    signature="`category: GatewayLogs` with `properties`",
    matches=_matches,
    reading=_reading,
    carries="tokens and prompts as far as bodies are logged (they are cut at 8 KiB)",
)
