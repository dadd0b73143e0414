"""OpenRouter's activity export, one row a generation. Tokens are the provider's own, cached ones inside the input."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from routecost.logs.dialects.openrouter import good
from routecost.logs.fields import Dialect, Reading, Record, count, flag, has, made, number, status, text


def _reading(_: Sequence[Record]) -> Reading:
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
            "status": status(made(good, flag("cancelled"), text("finish_reason_normalized"))),
            "finish_reason": text("finish_reason_normalized"),
            "user_id": text("user"),
            "feature": text("app_name"),
            # what a free variant answers costs nothing
            "service_tier": text("variant").map(lambda variant: pl.when(variant == "free").then(variant)),
        }
    )


DIALECT = Dialect(
    name="openrouter-activity",
    title="OpenRouter activity export (CSV)",
    signature="columns `generation_id`, `cost_total`, `tokens_prompt` and `model_permaslug`",
    matches=has("generation_id", "cost_total", "tokens_prompt", "model_permaslug"),
    reading=_reading,
    carries="tokens, cached tokens, cost, latency, users, apps; no prompts",
)
