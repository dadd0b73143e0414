"""LiteLLM's SpendLogs table: a CSV, JSON or Parquet dump of its proxy's database.

Sources: litellm proxy/schema.prisma and proxy/spend_tracking/spend_tracking_utils.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from routecost.logs.dialects.litellm import AUTOMATIC, counts
from routecost.logs.fields import (
    Dialect,
    Reading,
    Record,
    choice_end,
    choice_text,
    count,
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

_HIT = {"true": True, "false": False}


def _reading(_: Sequence[Record]) -> Reading:
    started, ended = text("startTime"), text("endTime")
    meta = labels("metadata.spend_logs_metadata")
    streamed = flag("proxy_server_request.stream")
    asked = text("proxy_server_request.model")
    return Reading(
        {
            **meta,
            **counts("metadata.usage_object", "metadata.additional_usage_values"),
            "request_id": text("request_id"),
            "ts": started,
            "provider": text("custom_llm_provider"),
            "model": text("model"),
            "model_requested": text("model_group"),
            "messages": messages("proxy_server_request.messages", "proxy_server_request.input"),
            "system": text("proxy_server_request.system", "proxy_server_request.instructions"),
            "tools": nested("proxy_server_request.tools"),
            "response_format": nested("proxy_server_request.response_format"),
            "response_text": choice_text("response.choices"),
            "finish_reason": choice_end("response.choices"),
            "cost_usd": number("spend"),
            "attempt": count("metadata.attempted_retries").map(lambda retries: retries + 1),
            "latency_ms": number("request_duration_ms") | made(_milliseconds, started, ended),
            "ttft_ms": made(
                lambda ms, whole, stream: pl.when(stream & (ms < whole)).then(ms),
                made(_milliseconds, started, text("completionStartTime")),
                made(_milliseconds, started, ended),
                streamed,
            ),
            # a stored request that does not say `stream` was not one
            "stream": made(
                lambda stream, model: pl.coalesce(stream, pl.when(model.is_not_null()).then(pl.lit(False))),
                streamed, asked,
            ),
            "status": status(
                text("status", "metadata.status").map(lambda value: value.fill_null("success") != "failure")
            ),
            "user_id": text("end_user", "user"),
            "session_id": text("session_id"),
            "project": meta["project"] | text("team_id"),
            "feature": meta["feature"] | first_tag("request_tags", without=AUTOMATIC),
            "gateway_cache_hit": text("cache_hit").map(
                lambda hit: hit.str.to_lowercase().replace_strict(_HIT, default=None, return_dtype=pl.Boolean)
            ),
        }
    )  # fmt: skip


def _milliseconds(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    """From one moment in text to another."""
    begun, ended = (moment.str.replace("T", " ").str.replace(r"(Z|\+00:00)$", "") for moment in (start, end))
    form = "%Y-%m-%d %H:%M:%S%.f"
    span = ended.str.strptime(pl.Datetime("us"), form, strict=False) - begun.str.strptime(
        pl.Datetime("us"), form, strict=False
    )
    return span.dt.total_microseconds() / 1000


DIALECT = Dialect(
    name="litellm-spend",
    title="LiteLLM SpendLogs table (CSV, JSON or Parquet dump)",
    signature="`request_id`, `spend`, `startTime`, `call_type` and `model_group`",
    matches=has("request_id", "spend", "startTime", "call_type", "model_group"),
    reading=_reading,
    carries="tokens, cached tokens, cost, latency, users, gateway cache hits; prompts only where the proxy stores them",
)
