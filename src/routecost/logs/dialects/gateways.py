"""Vercel's, Cloudflare's and Kong's gateways.

Sources: https://vercel.com/docs/ai-gateway; cloudflare-python types/ai_gateway/log_list_response.py; Kong's reference
of the audit log of its AI plugins. Whether Cloudflare and Kong count cached tokens is not known: they hand on what the
provider said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from routecost.logs.dialects.openrouter import inside
from routecost.logs.dialects.pairs import request_fields, response_fields
from routecost.logs.dialects.shapes import mapping, mappings
from routecost.logs.fields import (
    Dialect,
    Numbered,
    Reading,
    Record,
    count,
    fixed,
    flag,
    has,
    http_status,
    labels,
    made,
    number,
    status,
    text,
    verbatim,
)


def _is_vercel(record: Record) -> bool:
    data = mapping(record.get("data")) or record
    return "native_tokens_prompt" in data and str(data.get("id", "")).startswith("gen_")


def _vercel(sample: Sequence[Record]) -> Reading:
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


def _cloudflare(sample: Sequence[Record]) -> Reading:
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


_CLOUDFLARE = has("tokens_in", "tokens_out", "duration", "provider")


def _is_cloudflare(record: Record) -> bool:
    page = record.get("result")
    if isinstance(page, list) and page and isinstance(page[0], Mapping):
        record = page[0]
    return _CLOUDFLARE(record) and ("step" in record or "success" in record)


def _is_kong(record: Record) -> bool:
    plugins = mapping(record.get("ai")).values()
    return any(isinstance(plugin, Mapping) and "meta" in plugin and "usage" in plugin for plugin in plugins)


def _kong(sample: Sequence[Record]) -> Reading:
    plugins = [
        name for record in sample for name, said in mapping(record.get("ai")).items() if isinstance(said, Mapping)
    ]
    at = f"ai.{max(plugins, key=plugins.count)}" if plugins else "ai.proxy"
    asked, said = request_fields(f"{at}.payload.request"), response_fields(f"{at}.payload.response")
    # the counts of a body that was logged are the provider's own; with it goes all, without it the plugin's
    from_body = made(lambda a, b: a.is_not_null() | b.is_not_null(), said["total_input_tokens"], said["input_tokens"])

    def unless(*names: str) -> Any:
        return made(lambda body, n: pl.when(~body).then(n), from_body, count(*(f"{at}.usage.{name}" for name in names)))

    return Reading(
        {
            **asked,
            **said,
            "request_id": text("request.id", "request_id") | said["request_id"],
            "ts": text("started_at"),
            "provider": text(f"{at}.meta.provider_name"),
            "model_requested": text(f"{at}.meta.request_model"),
            "model": text(f"{at}.meta.response_model"),
            "total_input_tokens": said["total_input_tokens"] | unless("prompt_tokens", "prompt_token"),
            "output_tokens": said["output_tokens"] | unless("completion_tokens", "completion_token"),
            "total_tokens": said["total_tokens"] | unless("total_tokens"),
            "cost_usd": number(f"{at}.usage.cost"),
            "latency_ms": number(f"{at}.meta.llm_latency"),
            "ttft_ms": fixed(None),
            "status": http_status(count("response.status")),
            "stream": flag(f"{at}.payload.request.stream"),
            "user_id": text("consumer.username", "consumer.id"),
            "feature": text("route.name", "service.name"),
            "gateway_cache_hit": text(f"{at}.cache.cache_status").map(lambda value: value.str.to_lowercase() == "hit"),
        },
        # other plugins' traffic is in the same log
        calls=made(
            lambda a, b, c: a.is_not_null() | b.is_not_null() | c.is_not_null(),
            text(f"{at}.meta.provider_name"),
            text(f"{at}.meta.request_model"),
            count(f"{at}.usage.prompt_tokens", f"{at}.usage.prompt_token"),
        ),
    )


VERCEL = Dialect(
    name="vercel-gateway",
    title="Vercel AI Gateway generation records",
    signature="`native_tokens_prompt`, with an id that begins with `gen_`",
    matches=_is_vercel,
    reading=_vercel,
    carries="tokens, cached tokens, cost, time to first token; no prompts",
)
CLOUDFLARE = Dialect(
    name="cloudflare",
    title="Cloudflare AI Gateway logs (API)",
    signature="`tokens_in`, `tokens_out`, `duration` and `provider` with `step` or `success`",
    matches=_is_cloudflare,
    reading=_cloudflare,
    carries="tokens, cost, latency, gateway cache hits, feedback; no prompts, no cached tokens",
)
KONG = Dialect(
    name="kong",
    title="Kong AI plugins in a log plugin's output",
    signature="`ai.<plugin>` with `meta` and `usage`",
    matches=_is_kong,
    reading=_kong,
    carries="tokens, cost, latency; prompts where payloads are logged",
)
