"""Mooncake's traces. Source: kvcache-ai/Mooncake."""

from __future__ import annotations

from collections.abc import Sequence

from routecost.logs.fields import (
    Dialect,
    Reading,
    Record,
    count,
    has,
)


def _reading(_: Sequence[Record]) -> Reading:
    # its time is relative: only a --map with `start` makes it one of a calendar
    return Reading({"total_input_tokens": count("input_length"), "output_tokens": count("output_length")})


DIALECT = Dialect(
    name="mooncake",
    title="Mooncake traces",
    signature="`hash_ids`, `input_length` and `output_length`",
    matches=has("hash_ids", "input_length", "output_length"),
    reading=_reading,
    carries="tokens; no models, and times relative to a start that a --map can give",
)
