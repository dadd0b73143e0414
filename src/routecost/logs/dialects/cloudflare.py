"""Logs of Cloudflare's AI Gateway, as its API gives them: records, or pages of them.

Whether cached tokens are counted is not known: it hands on what the provider said. Source: cloudflare-python
types/ai_gateway/log_list_response.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from routecost.logs.dialects.shapes import mappings
from routecost.logs.fields import (
    Dialect,
    Numbered,
    Reading,
    Record,
    count,
    flag,
    has,
    http_status,
    labels,
    number,
    status,
    text,
    verbatim,
)

_KEYS = has("tokens_in", "tokens_out", "duration", "provider")


def _matches(record: Record) -> bool:
    page = record.get("result")
    if isinstance(page, list) and page and isinstance(page[0], Mapping):
        record = page[0]
    return _KEYS(record) and ("step" in record or "success" in record)


def _reading(sample: Sequence[Record]) -> Reading:
    marked = labels("metadata")
    pages = any(isinstance(record.get("result"), list) for record in sample)
    return Reading(
        {
            **marked,
            "request_id": text("id"),
            "ts": text("created_at"),
            "provider": text("provider"),
            "model": text("model"),
            "total_input_tokens": count("tokens_in"),
            "output_tokens": count("tokens_out"),
            "cost_usd": number("cost"),
            "latency_ms": number("duration"),
            "status": status(flag("success")) | http_status(count("status_code")),
            "gateway_cache_hit": flag("cached"),
            "feedback": verbatim("feedback"),
        },
        unpack=_results if pages else None,
    )


def _results(records: Iterable[Numbered]) -> Iterator[Numbered]:
    for n, record in records:
        page = record.get("result")
        yield from ((n, item) for item in mappings(page)) if isinstance(page, list) else ((n, record),)


DIALECT = Dialect(
    name="cloudflare",
    title="Cloudflare AI Gateway logs (API)",
    signature="`tokens_in`, `tokens_out`, `duration` and `provider` with `step` or `success`",
    matches=_matches,
    reading=_reading,
    carries="tokens, cost, latency, gateway cache hits, feedback; no prompts, no cached tokens",
)
