"""LiteLLM's StandardLoggingPayload, of its s3, gcs and generic loggers.

LiteLLM counts as OpenAI does for every provider: cached tokens inside the input, reasoning inside the output. Source:
litellm types/utils.py (StandardLoggingPayload).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from routecost.logs.fields import (
    Dialect,
    Field,
    Reading,
    Record,
    between,
    choice_end,
    choice_text,
    count,
    either,
    first_tag,
    flag,
    has,
    labels,
    made,
    messages,
    nested,
    number,
    status,
    text,
)
from routecost.logs.usage_counts import usage

AUTOMATIC = "User-Agent: "


def counts(*objects: str) -> dict[str, Field]:
    """Details of a usage object; the counts themselves have columns of their own."""
    found = either(*(usage(at) for at in objects))
    parts = ("cache_read_tokens", "written_tokens", "cache_write_1h_tokens", "reasoning_tokens", "web_searches")
    return {
        **{name: found[name] for name in parts},
        "total_input_tokens": count("prompt_tokens"),
        "output_tokens": count("completion_tokens"),
        "total_tokens": count("total_tokens"),
    }


def _reading(_: Sequence[Record]) -> Reading:
    started, ended, begun = number("startTime"), number("endTime"), number("completionStartTime")
    meta = labels("metadata.requester_metadata", "metadata.spend_logs_metadata")
    return Reading(
        {
            **meta,
            **counts("metadata.usage_object"),
            "request_id": text("id", "litellm_call_id"),
            "ts": started,
            "provider": text("custom_llm_provider"),
            "model": text("model"),
            "model_requested": text("model_group"),
            "messages": messages("messages"),
            "tools": nested("model_parameters.tools"),
            "response_format": nested("model_parameters.response_format"),
            "response_text": choice_text("response.choices"),
            "finish_reason": choice_end("response.choices"),
            "cost_usd": number("response_cost"),
            "latency_ms": between(started, ended),
            # without a stream the first token is said to come at the end
            "ttft_ms": made(
                lambda ms, first, end, stream: pl.when(stream & (first < end)).then(ms),
                between(started, begun), begun, ended, flag("stream"),
            ),
            "stream": flag("stream"),
            "status": status(text("status").map(lambda value: value == "success")),
            "user_id": text("end_user", "metadata.user_api_key_user_id"),
            "session_id": text("session_id") | meta["session_id"],
            "project": meta["project"] | text("metadata.user_api_key_team_alias"),
            "feature": meta["feature"] | first_tag("request_tags", without=AUTOMATIC),
            "gateway_cache_hit": flag("cache_hit"),
            "service_tier": text("model_parameters.service_tier"),
            "attempt": count("metadata.attempted_retries").map(lambda retries: retries + 1),
        }
    )  # fmt: skip


DIALECT = Dialect(
    name="litellm",
    title="LiteLLM StandardLoggingPayload (s3, gcs and generic loggers)",
    signature="`startTime`, `endTime`, `call_type` and `custom_llm_provider` with `response_cost` or "
    "`model_map_information`",
    matches=lambda record: (
        has("startTime", "endTime", "call_type", "custom_llm_provider")(record)
        and ("response_cost" in record or "model_map_information" in record)
    ),
    reading=_reading,
    named_by_id=True,
    carries="tokens, cached tokens, cost, latency, prompts unless redacted, users, sessions, gateway cache hits",
)
