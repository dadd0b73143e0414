"""Azure OpenAI's diagnostic logs (RequestResponse): models and latency, without tokens and text.

Source: elastic/integrations azure_openai.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any, Final

from routecost.logs.dialects.shapes import integer
from routecost.logs.fields import (
    OURS,
    Dialect,
    Numbered,
    Reading,
    Record,
    find,
    opened,
    whole,
)

_CATEGORIES: Final = ("RequestResponse", "AzureOpenAIRequestUsage")


_TICKS_A_US: Final = 10


_YEAR_1: Final = dt.datetime(1, 1, 1, tzinfo=dt.UTC)


def _matches(record: Record) -> bool:
    return record.get("category") in _CATEGORIES and "resourceId" in record and "properties" in record


def _unpack(records: Iterable[Numbered]) -> Iterator[Numbered]:
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


DIALECT = Dialect(
    name="azure-openai",
    title="Azure OpenAI diagnostic logs (RequestResponse)",
    signature="`category: RequestResponse` with `resourceId` and `properties`",
    matches=_matches,
    reading=lambda _: Reading(OURS, unpack=_unpack),
    carries="models, latency, status; no tokens, no prompts: use API Management's log for a bill",
    reads=("time", "category", "correlationId", "durationMs", "resultSignature", "resourceId", "properties"),
)
