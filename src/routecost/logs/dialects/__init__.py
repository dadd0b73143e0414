"""The formats of logs that are known, one small file each.

To add one: a module with a `Dialect`, its place in ALL (the first that matches wins), a sample in
sample_logs/dialects and its expected requests in tests/dialects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from routecost.errors import UsageError, did_you_mean
from routecost.logs.dialects import (
    anthropic_batch,
    azure_apim,
    azure_apim_gateway,
    azure_openai,
    azure_trace,
    bedrock,
    braintrust,
    burstgpt,
    claude_code,
    cloudflare,
    codex,
    conversations,
    helicone,
    kong,
    langfuse,
    langsmith,
    litellm,
    litellm_spend,
    mooncake,
    openai_batch,
    openai_stored,
    openrouter,
    openrouter_activity,
    otel,
    pairs,
    phoenix,
    portkey,
    vercel,
    vertex,
    weave,
)
from routecost.logs.fields import Dialect, Record

# In the order in which they are tried.
ALL: Final[tuple[Dialect, ...]] = (
    otel.DIALECT,
    bedrock.DIALECT,
    anthropic_batch.DIALECT,
    openai_batch.DIALECT,
    openai_batch.REQUESTS,
    anthropic_batch.REQUESTS,
    codex.DIALECT,
    claude_code.DIALECT,
    litellm.DIALECT,
    litellm_spend.DIALECT,
    langfuse.DIALECT,
    helicone.DIALECT,
    portkey.DIALECT,
    openrouter_activity.DIALECT,
    vercel.DIALECT,
    openrouter.DIALECT,
    cloudflare.DIALECT,
    kong.DIALECT,
    azure_openai.DIALECT,
    azure_apim.DIALECT,
    azure_apim_gateway.DIALECT,
    vertex.DIALECT,
    langsmith.DIALECT,
    braintrust.DIALECT,
    weave.DIALECT,
    phoenix.DIALECT,
    openai_stored.DIALECT,
    pairs.DIALECT,
    burstgpt.DIALECT,
    azure_trace.DIALECT,
    mooncake.DIALECT,
    conversations.WILDCHAT,
    conversations.LMSYS,
)
FLAT: Final = "flat"
NAMES: Final = (*(dialect.name for dialect in ALL), FLAT)
# So many records tell what a file is.
_TOLD_BY: Final = 20


def detect(sample: Sequence[Record]) -> Dialect | None:
    """The dialect that most of the first records are of; None when they are of none."""
    found = [next((d for d in ALL if d.matches(record)), None) for record in sample[:_TOLD_BY]]
    known = [dialect for dialect in found if dialect is not None]
    if not known:
        return None
    return max(known, key=lambda dialect: (known.count(dialect), -ALL.index(dialect)))


def by_name(name: str) -> Dialect | None:
    """The dialect of this name, None for `flat`. Raises UsageError for another."""
    if name == FLAT:
        return None
    for dialect in ALL:
        if dialect.name == name:
            return dialect
    near = did_you_mean(name, NAMES)
    raise UsageError(f"unknown log format {name!r}.{near} `routecost formats` lists them.")
