"""What Kong's AI plugins add to the output of a log plugin.

Whether cached tokens are counted is not known: it hands on what the provider said. Source: Kong's reference of the
audit log of its AI plugins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from routecost.logs.dialects.pairs import request_fields, response_fields, unless_counted
from routecost.logs.dialects.shapes import mapping
from routecost.logs.fields import (
    Dialect,
    Field,
    Reading,
    Record,
    count,
    fixed,
    flag,
    http_status,
    made,
    number,
    text,
)


def _matches(record: Record) -> bool:
    plugins = mapping(record.get("ai")).values()
    return any(isinstance(plugin, Mapping) and "meta" in plugin and "usage" in plugin for plugin in plugins)


def _reading(sample: Sequence[Record]) -> Reading:
    plugins = [
        name for record in sample for name, said in mapping(record.get("ai")).items() if isinstance(said, Mapping)
    ]
    at = f"ai.{max(plugins, key=plugins.count)}" if plugins else "ai.proxy"
    asked, said = request_fields(f"{at}.payload.request"), response_fields(f"{at}.payload.response")

    def unless(*names: str) -> Field:
        return unless_counted(said, count(*(f"{at}.usage.{name}" for name in names)))

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


DIALECT = Dialect(
    name="kong",
    title="Kong AI plugins in a log plugin's output",
    signature="`ai.<plugin>` with `meta` and `usage`",
    matches=_matches,
    reading=_reading,
    carries="tokens, cost, latency; prompts where payloads are logged",
)
