"""Azure's LLM inference traces. Source: Azure/AzurePublicDataset."""

from __future__ import annotations

from collections.abc import Sequence

from routecost.logs.fields import (
    Dialect,
    Reading,
    Record,
    count,
    has,
    text,
)


def _reading(_: Sequence[Record]) -> Reading:
    return Reading(
        {
            "ts": text("TIMESTAMP"),
            "total_input_tokens": count("ContextTokens"),
            "output_tokens": count("GeneratedTokens"),
        }
    )


DIALECT = Dialect(
    name="azure-trace",
    title="Azure LLM inference traces",
    signature="columns `TIMESTAMP`, `ContextTokens` and `GeneratedTokens`",
    matches=has("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
    reading=_reading,
    carries="tokens and times; no models: give one with --base-model",
)
