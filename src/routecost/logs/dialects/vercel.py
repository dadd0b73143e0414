"""Generation records of Vercel's AI Gateway. Source: https://vercel.com/docs/ai-gateway."""

from __future__ import annotations

from collections.abc import Sequence

from routecost.logs.dialects.openrouter import inside
from routecost.logs.dialects.shapes import mapping
from routecost.logs.fields import (
    Dialect,
    Reading,
    Record,
    count,
    flag,
    number,
    status,
    text,
)


def _matches(record: Record) -> bool:
    data = mapping(record.get("data")) or record
    return "native_tokens_prompt" in data and str(data.get("id", "")).startswith("gen_")


def _reading(sample: Sequence[Record]) -> Reading:
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
            "written_tokens": count(f"{at}native_tokens_cache_creation"),
            "output_tokens": count(f"{at}native_tokens_completion"),
            "reasoning_tokens": count(f"{at}native_tokens_reasoning"),
            "web_searches": count(f"{at}billable_web_search_calls"),
            "cost_usd": number(f"{at}total_cost"),
            # its `latency` is the time to the first token
            "ttft_ms": number(f"{at}latency"),
            "latency_ms": number(f"{at}generation_time"),
            "stream": flag(f"{at}streamed"),
            "status": status(finish.map(lambda value: (value != "error").fill_null(True))),
            "finish_reason": finish,
        }
    )


DIALECT = Dialect(
    name="vercel-gateway",
    title="Vercel AI Gateway generation records",
    signature="`native_tokens_prompt`, with an id that begins with `gen_`",
    matches=_matches,
    reading=_reading,
    carries="tokens, cached tokens, cost, time to first token; no prompts",
)
