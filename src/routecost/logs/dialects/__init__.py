"""The formats of logs that are known, one small file each or a few of a family.

To add one: a module with a `Dialect`, its place in ALL (the first that matches wins), a sample in
sample_logs/dialects and its expected requests in tests/dialects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from routecost.errors import UsageError, did_you_mean
from routecost.logs.dialects import (
    anthropic_batch,
    azure,
    bedrock,
    datasets,
    gateways,
    helicone,
    langfuse,
    litellm,
    openai_batch,
    openai_stored,
    openrouter,
    otel,
    pairs,
    phoenix,
    portkey,
    sessions,
    tracing,
    vertex,
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
    sessions.CODEX,
    sessions.CLAUDE_CODE,
    litellm.PAYLOAD,
    litellm.SPEND_LOGS,
    langfuse.DIALECT,
    helicone.DIALECT,
    portkey.DIALECT,
    openrouter.ACTIVITY,
    gateways.VERCEL,
    openrouter.GENERATION,
    gateways.CLOUDFLARE,
    gateways.KONG,
    azure.OPENAI,
    azure.LLM_LOG,
    azure.GATEWAY_LOG,
    vertex.DIALECT,
    tracing.LANGSMITH,
    tracing.BRAINTRUST,
    tracing.WEAVE,
    phoenix.DIALECT,
    openai_stored.DIALECT,
    pairs.DIALECT,
    datasets.BURSTGPT,
    datasets.AZURE_TRACE,
    datasets.MOONCAKE,
    datasets.WILDCHAT,
    datasets.LMSYS,
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
