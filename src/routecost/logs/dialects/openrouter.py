"""OpenRouter's activity export (one row a generation) and the generation records of its API.

Tokens are the provider's own; cached ones are inside the input, reasoning inside the output. Source: openrouter SDK,
GetGenerationData.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from routecost.logs.dialects.shapes import mapping
from routecost.logs.fields import Dialect, Reading, Record, count, flag, has, made, number, status, text


def _good(cancelled: pl.Expr, finish: pl.Expr) -> pl.Expr:
    return ~(cancelled.fill_null(False) | (finish == "error").fill_null(False))


def _activity(_: Sequence[Record]) -> Reading:
    return Reading(
        {
            "request_id": text("generation_id"),
            "ts": text("created_at"),
            "provider": text("provider_name"),
            "model": text("model_permaslug"),
            "total_input_tokens": count("tokens_prompt"),
            "cache_read_tokens": count("tokens_cached"),
            "output_tokens": count("tokens_completion"),
            "reasoning_tokens": count("tokens_reasoning"),
            "cost_usd": number("cost_total"),
            "latency_ms": number("generation_time_ms"),
            "ttft_ms": number("time_to_first_token_ms"),
            "stream": flag("streamed"),
            "status": status(made(_good, flag("cancelled"), text("finish_reason_normalized"))),
            "finish_reason": text("finish_reason_normalized"),
            "user_id": text("user"),
            "feature": text("app_name"),
            # what a free variant answers costs nothing
            "service_tier": text("variant").map(lambda variant: pl.when(variant == "free").then(variant)),
        }
    )


def inside(sample: Sequence[Record]) -> str:
    """Where the data of generation records is: under `data.`, or in the record itself."""
    return "data." if any(mapping(record.get("data")) for record in sample) else ""


def _generation(sample: Sequence[Record]) -> Reading:
    at = inside(sample)
    finish = text(f"{at}finish_reason")
    return Reading(
        {
            "request_id": text(f"{at}id"),
            "ts": text(f"{at}created_at"),
            "provider": text(f"{at}provider_name"),
            "model": text(f"{at}model"),
            "total_input_tokens": count(f"{at}native_tokens_prompt"),
            "cache_read_tokens": count(f"{at}native_tokens_cached"),
            "output_tokens": count(f"{at}native_tokens_completion"),
            "reasoning_tokens": count(f"{at}native_tokens_reasoning"),
            "cost_usd": number(f"{at}total_cost"),
            "latency_ms": number(f"{at}latency"),
            "stream": flag(f"{at}streamed"),
            "status": status(made(_good, flag(f"{at}cancelled"), finish)),
            "finish_reason": finish,
            "session_id": text(f"{at}session_id"),
            "user_id": text(f"{at}external_user"),
            "feature": text(f"{at}origin", f"{at}http_referer"),
            "service_tier": text(f"{at}service_tier"),
        }
    )


ACTIVITY = Dialect(
    name="openrouter-activity",
    title="OpenRouter activity export (CSV)",
    signature="columns `generation_id`, `cost_total`, `tokens_prompt` and `model_permaslug`",
    matches=has("generation_id", "cost_total", "tokens_prompt", "model_permaslug"),
    reading=_activity,
    carries="tokens, cached tokens, cost, latency, users, apps; no prompts",
)
GENERATION = Dialect(
    name="openrouter",
    title="OpenRouter generation records",
    signature="`native_tokens_prompt`, with an id that begins with `gen-`",
    matches=lambda record: "native_tokens_prompt" in (mapping(record.get("data")) or record),
    reading=_generation,
    carries="tokens, cached tokens, cost, latency, users, sessions; no prompts",
)
