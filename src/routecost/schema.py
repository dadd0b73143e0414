"""Column names, types and keys that cross a module boundary."""

from __future__ import annotations

from typing import Final

import polars as pl

SCHEMA_VERSION: Final = 2

TASKS: Final = ("simple", "code", "reasoning", "complex")
MODES: Final = ("eco", "balanced", "sport")
TIERS: Final = ("small", "mid", "large", "frontier")

# Disjoint: every billed token is counted in exactly one of them. `reasoning_tokens` is a part of `output_tokens`.
TOKEN_KINDS: Final = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
)
INPUT_KINDS: Final = TOKEN_KINDS[:4]

# What providers bill beside tokens. Unpriced unless an overlay gives a price.
FEES: Final = ("web_searches", "images", "audio_seconds")

# One row per request, whatever the dialect of the log.
REQUEST: Final[dict[str, pl.DataType]] = {
    "request_id": pl.String(),
    "session_id": pl.String(),
    "user_id": pl.String(),
    "ts": pl.Datetime("us", "UTC"),
    "provider": pl.String(),
    "model": pl.String(),
    "model_requested": pl.String(),
    "prompt": pl.String(),
    "system": pl.String(),
    "input_tokens": pl.Int64(),
    "cache_read_tokens": pl.Int64(),
    "cache_write_tokens": pl.Int64(),
    "cache_write_1h_tokens": pl.Int64(),
    "output_tokens": pl.Int64(),
    "reasoning_tokens": pl.Int64(),
    "tokens_estimated": pl.Boolean(),
    "web_searches": pl.Int64(),
    "images": pl.Int64(),
    "audio_seconds": pl.Int64(),
    "cost_usd": pl.Float64(),
    "latency_ms": pl.Float64(),
    "ttft_ms": pl.Float64(),
    "stream": pl.Boolean(),
    "status": pl.String(),
    "finish_reason": pl.String(),
    "attempt": pl.Int64(),
    "service_tier": pl.String(),
    "batch": pl.Boolean(),
    "gateway_cache_hit": pl.Boolean(),
    "needs": pl.String(),
    "n_messages": pl.Int64(),
    "previous_prompt": pl.String(),
    "request_hash": pl.UInt64(),
    "project": pl.String(),
    "feature": pl.String(),
    "mode": pl.String(),
    "model_override": pl.String(),
    "arm": pl.String(),
    "feedback": pl.Float64(),
    "task": pl.String(),
    "file": pl.String(),
    "line": pl.Int64(),
}

# What a cell is keyed by; `--by` adds to it. `slot` is the first minute of its part of the UTC day, `band` the edge
# that the total input is above (0 when above none): both are values, not indices, so that a file explains itself.
CELL_KEY: Final[dict[str, pl.DataType]] = {
    "day": pl.Date(),
    "slot": pl.Int16(),
    "task": pl.String(),
    "provider": pl.String(),
    "model": pl.String(),
    "band": pl.Int64(),
    "mode": pl.String(),
    "model_override": pl.String(),
    "rule": pl.String(),
    "needs": pl.String(),
    "service_tier": pl.String(),
    "batch": pl.Boolean(),
    "gateway_cache_hit": pl.Boolean(),
    "tokens_estimated": pl.Boolean(),
    "feature": pl.String(),
    "arm": pl.String(),
    "status": pl.String(),
    "problem": pl.String(),
}

# Integers, so that sums are exact in any order: cost in 1e-12 USD, feedback and its square in 1e-6.
CELL_VALUES: Final = (
    "requests",
    *TOKEN_KINDS,
    "reasoning_tokens",
    *FEES,
    "logged_cost_pico",
    "logged_cost_n",
    "feedback_n",
    "feedback_positive",
    "feedback_negative",
    "feedback_micro",
    "feedback_square_micro",
    "truncated",
    "retried",
    "attempts",
)

# What a group (for variance) is keyed by, beside `group` itself.
GROUP_KEY: Final = ("task", "provider", "model", "band", "mode", "model_override", "rule", "feature", "arm", "status")
GROUP_VALUES: Final = ("requests", *TOKEN_KINDS, "reasoning_tokens", *FEES)
GROUPS: Final = 64

# Why a request cannot be priced before any price is looked at.
NO_MODEL: Final = "no_model"
NO_TOKENS: Final = "no_tokens"


def day(ts: pl.Expr) -> pl.Expr:
    """UTC day of a timestamp, as Date."""
    # on the integer behind it: the calendar functions go through time zones, ten times slower
    return (ts.to_physical() // 86_400_000_000).cast(pl.Int32).cast(pl.Date)


def minute_of_day(ts: pl.Expr) -> pl.Expr:
    """Minute of the UTC day (Int16, 0-1439) of a timestamp."""
    return (ts.to_physical() // 60_000_000 % 1440).cast(pl.Int16)


def slot(minute: pl.Expr, slots: tuple[int, ...]) -> pl.Expr:
    """First minute (Int16) of the part of the UTC day that a minute of it lies in; `slots` ascend from 0."""
    first: pl.Expr = pl.when(minute.is_not_null()).then(pl.lit(slots[0], pl.Int16))
    for start in slots[1:]:
        first = pl.when(minute >= start).then(pl.lit(start, pl.Int16)).otherwise(first)
    return first


def band(total_input: pl.Expr, edges: tuple[int, ...]) -> pl.Expr:
    """The highest edge (Int64) strictly below `total_input`, 0 when there is none: providers bill a context tier when
    the total is *above* its threshold."""
    edge: pl.Expr = pl.when(total_input.is_not_null()).then(pl.lit(0, pl.Int64))
    for start in edges:
        edge = pl.when(total_input > start).then(pl.lit(start, pl.Int64)).otherwise(edge)
    return edge
