"""Helicone's export (`npx @helicone/export`, or its query API).

The bodies are the provider's own; the columns beside them leave cached tokens and reasoning out. Sources:
Helicone/helicone packages/llm-mapper/types.ts and packages/cost/usage.
"""

from __future__ import annotations

from collections.abc import Sequence

from routecost.logs.dialects.pairs import request_fields, response_fields, stream_if_asked, unless_counted
from routecost.logs.fields import (
    Dialect,
    Reading,
    Record,
    count,
    either,
    has,
    http_status,
    labels,
    number,
    plus,
    text,
    verbatim,
)

_NO_CACHE = "00000000-0000-0000-0000-000000000000"


def _reading(_: Sequence[Record]) -> Reading:
    asked, said = request_fields("request_body"), response_fields("response_body")
    marked = labels("request_properties", "properties")
    return Reading(
        {
            **either(marked, asked, said),
            "request_id": text("request_id", "response_id"),
            "ts": text("request_created_at"),
            "provider": text("provider"),
            "model_requested": text("request_model") | asked["model_requested"],
            "model": text("response_model") | said["model"] | text("model_override", "model"),
            "input_tokens": said["input_tokens"] | unless_counted(said, count("prompt_tokens")),
            "cache_read_tokens": said["cache_read_tokens"] | count("prompt_cache_read_tokens"),
            "written_tokens": said["written_tokens"] | count("prompt_cache_write_tokens"),
            "output_tokens": said["output_tokens"]
            | unless_counted(said, plus(count("completion_tokens"), count("reasoning_tokens"))),
            "reasoning_tokens": said["reasoning_tokens"] | unless_counted(said, count("reasoning_tokens")),
            "cost_usd": number("costUSD", "cost"),
            "latency_ms": number("delay_ms", "latency"),
            "ttft_ms": number("time_to_first_token"),
            "status": http_status(count("response_status")),
            "stream": stream_if_asked("request_body"),
            "user_id": text("request_user_id") | marked["user_id"],
            "session_id": text("request_properties.Helicone-Session-Id") | marked["session_id"],
            "feature": marked["feature"] | text("prompt_id"),
            "feedback": verbatim("feedback_rating"),
            "gateway_cache_hit": text("cache_reference_id").map(lambda value: value != _NO_CACHE),
        }
    )


DIALECT = Dialect(
    name="helicone",
    title="Helicone export",
    signature="`response_id`, `request_created_at` and `request_properties`",
    matches=has("response_id", "request_created_at", "request_properties"),
    reading=_reading,
    carries="tokens, cached tokens, cost, latency, users, sessions, feedback; prompts with --include-body",
)
