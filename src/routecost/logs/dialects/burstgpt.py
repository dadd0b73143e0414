"""BurstGPT's traces. Source: HPMLL/BurstGPT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from routecost.logs.fields import (
    Dialect,
    Reading,
    Record,
    count,
    has,
    milliseconds,
    number,
    status,
    text,
)

_MODELS: Final = {"ChatGPT": "gpt-3.5-turbo", "GPT-4": "gpt-4"}


def _reading(_: Sequence[Record]) -> Reading:
    answered = count("Response tokens")
    return Reading(
        {
            "session_id": text("Session ID"),
            "model": text("Model").map(lambda model: model.replace(_MODELS)),
            "total_input_tokens": count("Request tokens"),
            "output_tokens": answered,
            "latency_ms": milliseconds(number("Elapsed time")),
            # a failure has an empty answer
            "status": status(answered.map(lambda n: n > 0)),
            "feature": text("Log Type"),
        }
    )


DIALECT = Dialect(
    name="burstgpt",
    title="BurstGPT",
    signature="columns `Timestamp`, `Model`, `Request tokens` and `Response tokens`",
    matches=has("Timestamp", "Model", "Request tokens", "Response tokens"),
    reading=_reading,
    carries="tokens, models, sessions, latency; times relative to a start that a --map can give",
)
