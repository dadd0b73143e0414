"""Token counts from a provider's own usage object, whichever provider it is of."""

from __future__ import annotations

from typing import Final

import polars as pl

from routecost.logs.fields import Field, count, made, text

# OpenAI and what follows it count cached tokens inside the input, Anthropic and Bedrock beside it: each has names of
# its own, so one object tells which it is. Sources: openai-python types/completion_usage.py and
# types/responses/response_usage.py; anthropic-sdk-python types/usage.py; botocore bedrock-runtime TokenUsage;
# Gemini's usageMetadata at https://ai.google.dev/api/generate-content#UsageMetadata.
_READ: Final = (
    "prompt_tokens_details.cached_tokens",
    "input_tokens_details.cached_tokens",
    "cache_read_input_tokens",
    "cacheReadInputTokens",
    "cachedContentTokenCount",
)
_WRITTEN: Final = (
    "prompt_tokens_details.cache_write_tokens",
    "prompt_tokens_details.cache_creation_tokens",
    "input_tokens_details.cache_write_tokens",
    "cache_creation_input_tokens",
    "cacheWriteInputTokens",
)
_REASONING: Final = (
    "completion_tokens_details.reasoning_tokens",
    "output_tokens_details.reasoning_tokens",
    "output_tokens_details.thinking_tokens",
    "thoughtsTokenCount",
)


def usage(prefix: str) -> dict[str, Field]:
    """The token fields of a usage object at `prefix`, of OpenAI (chat and Responses), Anthropic, Bedrock or Gemini.

    total_input_tokens where cached tokens are counted inside, input_tokens where beside; written_tokens are all cache
    writes; total_tokens, where logged, is for the arithmetic guard.
    """

    def under(*names: str) -> tuple[str, ...]:
        return tuple(f"{prefix}.{name}" for name in names)

    total = count(*under("total_tokens"))
    details = count(*under("input_tokens_details.cached_tokens", "input_tokens_details.cache_write_tokens"))
    named = count(*under("input_tokens"))
    # Responses and Anthropic both say `input_tokens`; only Anthropic neither sums up nor has details
    inclusive = made(lambda n, t, d: pl.when(t.is_not_null() | d.is_not_null()).then(n), named, total, details)
    exclusive = made(lambda n, t, d: pl.when(t.is_null() & d.is_null()).then(n), named, total, details)
    # Gemini: what tools put into the prompt and what was thought are counted beside
    gemini_in = made(
        lambda p, t: p + t.fill_null(0), count(*under("promptTokenCount")), count(*under("toolUsePromptTokenCount"))
    )
    gemini_out = made(
        lambda c, t, p: pl.when(p.is_not_null()).then(c.fill_null(0) + t.fill_null(0)),
        count(*under("candidatesTokenCount")),
        count(*under("thoughtsTokenCount")),
        count(*under("promptTokenCount")),
    )
    return {
        "total_input_tokens": count(*under("prompt_tokens")) | inclusive | gemini_in,
        "input_tokens": exclusive | count(*under("inputTokens")),
        "cache_read_tokens": count(*under(*_READ)),
        "written_tokens": count(*under(*_WRITTEN)),
        "cache_write_1h_tokens": count(
            *under(
                "cache_creation.ephemeral_1h_input_tokens",
                "prompt_tokens_details.cache_creation_token_details.ephemeral_1h_input_tokens",
            )
        ),
        "output_tokens": count(*under("completion_tokens", "output_tokens", "outputTokens")) | gemini_out,
        "reasoning_tokens": count(*under(*_REASONING)),
        # Bedrock's and Gemini's totals need no guard: their rules are known
        "total_tokens": total,
        "web_searches": count(*under("server_tool_use.web_search_requests")),
        "service_tier": text(*under("service_tier")),
    }
