"""Portkey's logs export, of today and older ones, and the objects of a self-hosted log store.

Its cost is in US cents. Sources: Portkey-AI/docs-core product/observability/logs-export.mdx; Portkey-AI/openapi
LogExportsRequestedData.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from routecost.logs.dialects.pairs import request_fields, response_fields, stream_if_asked, unless_counted
from routecost.logs.fields import (
    Dialect,
    Field,
    Reading,
    Record,
    count,
    either,
    flag,
    http_status,
    labels,
    made,
    number,
    opened,
    status,
    text,
)


def _matches(record: Record) -> bool:
    who = any(key in record for key in ("ai_org", "ai_model", "ai_provider"))
    return who and any(key in record for key in ("req_units", "request_tokens")) and "response_time" in record


def _reading(sample: Sequence[Record]) -> Reading:
    # the body is the object itself, or in one of headers and body
    inside = any(isinstance(body := opened(r.get("response")), dict) and "body" in body for r in sample)
    at = (
        ("request.body", "response.body")
        if inside or any("response.body" in r for r in sample)
        else ("request", "response")
    )
    asked, said = request_fields(at[0]), response_fields(at[1])
    marked = either(labels("metadata"), _arrays("metadata.key", "metadata.value"))
    return Reading(
        {
            **either(marked, asked, said),
            "request_id": text("id", "_id"),
            "ts": text("created_at"),
            "provider": text("ai_org", "ai_provider"),
            "model": said["model"] | text("ai_model"),
            "total_input_tokens": said["total_input_tokens"]
            | unless_counted(said, count("req_units", "request_tokens")),
            "output_tokens": said["output_tokens"] | unless_counted(said, count("res_units", "response_tokens")),
            "total_tokens": said["total_tokens"] | unless_counted(said, count("total_units", "total_tokens")),
            "cost_usd": number("cost").map(lambda cents: cents / 100),
            "latency_ms": number("response_time"),
            "ttft_ms": Field({}, pl.lit(None, pl.Float64)),
            "status": status(text("is_success").map(lambda value: value.str.to_lowercase().is_in(["1", "1.0", "true"])))
            | http_status(count("response_status_code", "status_code")),
            "stream": stream_if_asked(at[0]) | flag("stream_mode"),
            "user_id": text("metadata._user") | marked["user_id"],
            "feature": marked["feature"] | text("prompt_slug"),
            "gateway_cache_hit": text("cache_status").map(lambda value: value.is_in(["HIT", "SEMANTIC HIT"])),
            "attempt": count("retry_success_count").map(lambda retries: retries + 1),
        }
    )


def _arrays(keys: str, values: str) -> dict[str, Field]:
    """Metadata as two lists, one of keys and one of values."""

    def named(*names: str) -> Field:
        def pick(k: pl.Expr, v: pl.Expr) -> pl.Expr:
            found = pl.lit(None, pl.String)
            listed_k, listed_v = (x.str.extract_all(r'"((?:[^"\\]|\\.)*)"') for x in (k, v))
            for name in reversed(names):
                where = listed_k.list.eval(pl.element() == f'"{name}"').list.arg_max()
                held = listed_k.list.contains(f'"{name}"')
                one = listed_v.list.get(where, null_on_oob=True).str.strip_chars('"')
                found = pl.when(held).then(one).otherwise(found)
            return found

        return made(pick, text(keys), text(values))

    return {
        "feature": named("feature"),
        "session_id": named("session_id", "session"),
        "user_id": named("_user", "user_id"),
        "mode": named("mode"),
    }


DIALECT = Dialect(
    name="portkey",
    title="Portkey logs export",
    signature="`ai_org` or `ai_model`, with `req_units` or `request_tokens`, and `response_time`",
    matches=_matches,
    reading=_reading,
    carries="tokens, cached tokens from bodies, cost, latency, users, gateway cache hits; prompts with bodies",
)
