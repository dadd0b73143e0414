"""Generation records of Vercel's AI Gateway. Source: https://vercel.com/docs/ai-gateway."""

from __future__ import annotations

from collections.abc import Sequence

from routecost.logs.dialects.openrouter import generation, inside
from routecost.logs.dialects.shapes import mapping
from routecost.logs.fields import (
    Dialect,
    Reading,
    Record,
    count,
    number,
    status,
)


def _matches(record: Record) -> bool:
    data = mapping(record.get("data")) or record
    return "native_tokens_prompt" in data and str(data.get("id", "")).startswith("gen_")


def _reading(sample: Sequence[Record]) -> Reading:
    at = inside(sample)
    said = generation(at)
    return Reading(
        {
            **said,
            "written_tokens": count(f"{at}native_tokens_cache_creation"),
            "web_searches": count(f"{at}billable_web_search_calls"),
            # its `latency` is the time to the first token
            "ttft_ms": number(f"{at}latency"),
            "latency_ms": number(f"{at}generation_time"),
            "status": status(said["finish_reason"].map(lambda value: (value != "error").fill_null(True))),
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
