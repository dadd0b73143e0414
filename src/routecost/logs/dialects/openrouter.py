"""Generation records of OpenRouter's API.

Tokens are the provider's own; cached ones are inside the input, reasoning inside the output. Source: openrouter SDK,
GetGenerationData.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from routecost.logs.dialects.shapes import mapping
from routecost.logs.fields import Dialect, Field, Reading, Record, count, flag, made, number, status, text


def good(cancelled: pl.Expr, finish: pl.Expr) -> pl.Expr:
    return ~(cancelled.fill_null(False) | (finish == "error").fill_null(False))


def inside(sample: Sequence[Record]) -> str:
    """Where the data of generation records is: under `data.`, or in the record itself."""
    return "data." if any(mapping(record.get("data")) for record in sample) else ""


def generation(at: str) -> dict[str, Field]:
    """What generation records say, of OpenRouter and of those that write as it does."""
    return {
        "request_id": text(f"{at}id"),
        "ts": text(f"{at}created_at"),
        "provider": text(f"{at}provider_name"),
        "model": text(f"{at}model"),
        "total_input_tokens": count(f"{at}native_tokens_prompt"),
        "cache_read_tokens": count(f"{at}native_tokens_cached"),
        "output_tokens": count(f"{at}native_tokens_completion"),
        "reasoning_tokens": count(f"{at}native_tokens_reasoning"),
        "cost_usd": number(f"{at}total_cost"),
        "stream": flag(f"{at}streamed"),
        "finish_reason": text(f"{at}finish_reason"),
    }


def _reading(sample: Sequence[Record]) -> Reading:
    at = inside(sample)
    said = generation(at)
    return Reading(
        {
            **said,
            "latency_ms": number(f"{at}latency"),
            "status": status(made(good, flag(f"{at}cancelled"), said["finish_reason"])),
            "session_id": text(f"{at}session_id"),
            "user_id": text(f"{at}external_user"),
            "feature": text(f"{at}origin", f"{at}http_referer"),
            "service_tier": text(f"{at}service_tier"),
        }
    )


DIALECT = Dialect(
    name="openrouter",
    title="OpenRouter generation records",
    signature="`native_tokens_prompt`, with an id that begins with `gen-`",
    matches=lambda record: "native_tokens_prompt" in (mapping(record.get("data")) or record),
    reading=_reading,
    carries="tokens, cached tokens, cost, latency, users, sessions; no prompts",
)
