"""Requests counted into cells, groups and histograms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import polars as pl

from routecost import schema
from routecost.errors import InputError
from routecost.schema import CELL_KEY, CELL_VALUES, FEES, GROUP_KEY, GROUP_VALUES, GROUPS, INPUT_KINDS, TOKEN_KINDS

Unit = Literal["auto", "request", "session", "user"]

MAX_CELLS: Final = 1_000_000
PICO: Final = 1e12
MICRO: Final = 1e6
# Buckets grow by 2 %, so that their geometric middle is within 1 % of every value in them.
BUCKET_BASE: Final = 1.02
ZERO_BUCKET: Final = -32768

HISTOGRAM_KEY: Final[dict[str, pl.DataType]] = {
    "metric": pl.String(),
    "task": pl.String(),
    "model": pl.String(),
    "arm": pl.String(),
    "week": pl.Date(),
    "bucket": pl.Int16(),
}
# What decides where the previous request of a session would have been sent.
CLASS_KEY: Final = ("task", "provider", "model", "band", "mode", "model_override", "rule", "feature")
CARRY_KEY: Final = (*CLASS_KEY, "first", *(f"previous_{c}" for c in CLASS_KEY))
_TRUNCATED: Final = ("length", "max_tokens", "max_output_tokens", "MAX_TOKENS")


@dataclass(frozen=True)
class Settings:
    """What a tally depends on; two usages merge only when these agree."""

    edges: tuple[int, ...] = ()
    slots: tuple[int, ...] = (0,)
    by: tuple[str, ...] = ()
    unit: Unit = "auto"
    group_features: bool = False
    salt: str = "routecost"
    rules: Mapping[str, str] = field(default_factory=dict)
    classifier: str | None = None
    task_rules: str | None = None


@dataclass(frozen=True)
class Usage:
    """Exact counts of requests.

    cells: schema.CELL_KEY (+ settings.by) and schema.CELL_VALUES, one row a key.
    groups: schema.GROUP_KEY, `group` (0-63) and schema.GROUP_VALUES, for variance.
    histograms: HISTOGRAM_KEY and `n`. carry: CARRY_KEY, requests and cache_read_tokens, by what preceded in the session.
    counts: lines, rejected, duplicates, ... (integers, summed on merge). sources: name, requests of each file.
    """

    cells: pl.DataFrame
    groups: pl.DataFrame
    histograms: pl.DataFrame
    carry: pl.DataFrame
    settings: Settings
    counts: Mapping[str, int] = field(default_factory=dict)
    sources: tuple[Mapping[str, Any], ...] = ()

    def to_polars(self) -> pl.DataFrame:
        """The cells."""
        return self.cells

    @property
    def requests(self) -> int:
        return int(self.cells["requests"].sum())


def cell_key(settings: Settings) -> dict[str, pl.DataType]:
    """The key of the cells under these settings: schema.CELL_KEY, and what `--by` adds, as text."""
    return {**CELL_KEY, **{c: pl.String() for c in settings.by if c not in CELL_KEY}}


def empty(settings: Settings) -> Usage:
    """A usage of no requests."""
    integers = dict.fromkeys(CELL_VALUES, pl.Int64())
    return Usage(
        cells=pl.DataFrame(schema={**cell_key(settings), **integers}),
        groups=pl.DataFrame(
            schema={
                **{c: CELL_KEY[c] for c in GROUP_KEY},
                "group": pl.Int16(),
                **dict.fromkeys(GROUP_VALUES, pl.Int64()),
            }
        ),
        histograms=pl.DataFrame(schema={**HISTOGRAM_KEY, "n": pl.Int64()}),
        carry=pl.DataFrame(schema=carry_schema()),
        settings=settings,
    )


def carry_schema() -> dict[str, pl.DataType]:
    types = {c: CELL_KEY[c] for c in CLASS_KEY}
    return {
        **types,
        "first": pl.Boolean(),
        **{f"previous_{c}": t for c, t in types.items()},
        "requests": pl.Int64(),
        "cache_read_tokens": pl.Int64(),
    }


def prepare(requests: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Requests (schema.REQUEST, with task, rule and confidence where known) -> one row each of the cell key and the
    cell values, `total_input`, `group`, and the measures that histograms take."""
    frame = requests
    have = set(frame.columns)
    total = pl.sum_horizontal(*(_count(c, have) for c in INPUT_KINDS))
    known = pl.col("input_tokens").is_not_null() & pl.col("output_tokens").is_not_null()
    any_tokens = pl.any_horizontal(*(pl.col(c).is_not_null() for c in TOKEN_KINDS if c in have))
    problem = (
        pl.when(pl.col("model").is_null())
        .then(pl.lit(schema.NO_MODEL))
        .when(~known if {"input_tokens", "output_tokens"} <= have else pl.lit(True))
        .then(pl.lit(schema.NO_TOKENS))
    )
    cost = _present("cost_usd", have)
    feedback = _present("feedback", have)
    attempt = _present("attempt", have)
    columns: dict[str, pl.Expr] = {
        "day": schema.day(pl.col("ts")),
        "slot": schema.slot(pl.col("ts"), settings.slots),
        "band": schema.band(total, settings.edges),
        "problem": problem,
        "status": pl.col("status").fill_null("ok") if "status" in have else pl.lit("ok"),
        "total_input": pl.when(any_tokens).then(total),
        "requests": pl.lit(1, pl.Int64),
        **{c: _count(c, have) for c in (*TOKEN_KINDS, "reasoning_tokens", *FEES)},
        "logged_cost_pico": _integer(cost, PICO),
        "logged_cost_n": cost.is_not_null().cast(pl.Int64),
        "feedback_n": feedback.is_not_null().cast(pl.Int64),
        "feedback_positive": (feedback > 0).fill_null(False).cast(pl.Int64),
        "feedback_negative": (feedback < 0).fill_null(False).cast(pl.Int64),
        "feedback_micro": _integer(feedback, MICRO),
        "feedback_square_micro": _integer(feedback**2, MICRO),
        "truncated": (
            pl.col("finish_reason").is_in(_TRUNCATED).fill_null(False).cast(pl.Int64)
            if "finish_reason" in have
            else pl.lit(0, pl.Int64)
        ),
        "retried": (attempt > 1).fill_null(False).cast(pl.Int64),
        "attempts": attempt.fill_null(1).cast(pl.Int64),
        "group": _group(settings, have),
    }
    for column, dtype in CELL_KEY.items():
        if column not in columns:
            columns[column] = pl.col(column) if column in have else pl.lit(None, dtype)
    for column in settings.by:
        if column not in CELL_KEY:
            columns[column] = _by(column, have)
    measures = ("latency_ms", "ttft_ms", "confidence")
    return frame.select(
        *(expr.alias(name) for name, expr in columns.items()),
        *(_present(m, have).alias(m) for m in measures),
    )


def tally(prepared: pl.DataFrame, settings: Settings) -> Usage:
    """Prepared rows -> usage, without carry (see Sessions): it needs the whole session."""
    base = empty(settings)
    cells = _summed(prepared, list(cell_key(settings)), CELL_VALUES)
    features = [] if settings.group_features else [pl.lit(None, pl.String).alias("feature")]
    grouped = prepared.with_columns(features) if features else prepared
    groups = _summed(grouped, [*GROUP_KEY, "group"], GROUP_VALUES)
    return replace(
        base,
        cells=cells.select(base.cells.columns),
        groups=groups.select(base.groups.columns),
        histograms=_histograms(prepared),
    )


def merge(parts: Sequence[Usage]) -> Usage:
    """The sum of usages with the same settings, in the order of their keys: any partition gives the whole.

    Raises InputError when edges, slots, rules, unit or keys differ.
    """
    first = parts[0]
    for part in parts[1:]:
        _same_settings(first.settings, part.settings)
    if len(parts) == 1:
        return _sorted(first)
    counts: dict[str, int] = {}
    for part in parts:
        for name, n in part.counts.items():
            counts[name] = counts.get(name, 0) + n
    return _sorted(
        Usage(
            cells=_added([p.cells for p in parts], CELL_VALUES),
            groups=_added([p.groups for p in parts], GROUP_VALUES),
            histograms=_added([p.histograms for p in parts], ("n",)),
            carry=_added([p.carry for p in parts], ("requests", "cache_read_tokens")),
            settings=first.settings,
            counts=counts,
            sources=tuple(sorted((s for p in parts for s in p.sources), key=lambda s: str(s.get("name")))),
        )
    )


def subtract(whole: Usage, part: Usage) -> Usage:
    """`whole` without the requests of `part`, which must be among them; cells that become empty vanish."""
    negative = replace(
        part,
        cells=part.cells.with_columns(-pl.col(c) for c in CELL_VALUES),
        groups=part.groups.with_columns(-pl.col(c) for c in GROUP_VALUES),
        histograms=part.histograms.with_columns(-pl.col("n")),
        counts={},
        sources=(),
    )
    left = merge([whole, negative])
    return replace(
        left,
        cells=left.cells.filter(pl.col("requests") != 0),
        groups=left.groups.filter(pl.col("requests") != 0),
        histograms=left.histograms.filter(pl.col("n") != 0),
    )


def check_size(cells: pl.DataFrame, settings: Settings) -> None:
    """Refuse more cells than a usage file should have. Raises InputError that names the key with the most values."""
    if cells.height <= MAX_CELLS:
        return
    widest = max(cell_key(settings), key=lambda c: cells[c].n_unique())
    raise InputError(
        f"{cells.height:,} different cells, more than the {MAX_CELLS:,} that a tally may have. "
        f"The key with the most values is {widest!r} ({cells[widest].n_unique():,}). "
        + ("Leave it out of --by." if widest in settings.by else "Map fewer distinct values to it with --map.")
    )


def _same_settings(a: Settings, b: Settings) -> None:
    for name in ("edges", "slots", "by", "unit", "salt", "rules", "group_features"):
        left, right = getattr(a, name), getattr(b, name)
        if left != right:
            raise InputError(
                f"usage tallied with different {name.replace('_', ' ')} cannot be merged: {left!r} and {right!r}. "
                "Tally the logs again with the same options and price book."
            )


def _added(frames: Sequence[pl.DataFrame], values: Sequence[str]) -> pl.DataFrame:
    whole = pl.concat([f for f in frames if f.height] or list(frames[:1]))
    keys = [c for c in whole.columns if c not in values]
    return _summed(whole, keys, values).select(whole.columns)


def _sorted(usage: Usage) -> Usage:
    def ordered(frame: pl.DataFrame, values: Sequence[str]) -> pl.DataFrame:
        return frame.sort([c for c in frame.columns if c not in values], nulls_last=False, maintain_order=False)

    return replace(
        usage,
        cells=ordered(usage.cells, CELL_VALUES),
        groups=ordered(usage.groups, GROUP_VALUES),
        histograms=ordered(usage.histograms, ("n",)),
        carry=ordered(usage.carry, ("requests", "cache_read_tokens")),
    )


def _summed(frame: pl.DataFrame, keys: Sequence[str], values: Sequence[str]) -> pl.DataFrame:
    """`frame` grouped by `keys` with sums of `values`. Constant columns are set aside: hashing them is most of the
    cost of a wide key."""
    if frame.height == 0:
        return frame.select(*keys, *values)
    constant = {c: frame[c].slice(0, 1) for c in keys if _is_constant(frame[c])}
    varying = [c for c in keys if c not in constant]
    zero = [c for c in values if frame.schema[c] == pl.Int64 and frame[c].min() == 0 == frame[c].max()]
    sums = [pl.col(c).sum() for c in values if c not in zero]
    grouped = frame.group_by(varying).agg(sums) if varying else frame.select(sums)
    height = grouped.height
    return grouped.with_columns(
        *(s.new_from_index(0, height).alias(c) for c, s in constant.items()),
        *(pl.lit(0, pl.Int64).alias(c) for c in zero),
    ).select(*keys, *values)


def _is_constant(values: pl.Series) -> bool:
    nulls = values.null_count()
    if nulls:
        return nulls == values.len()
    # most columns that vary do so at once
    if values.len() > 64 and values.slice(0, 64).n_unique() > 1:
        return False
    return bool((values == values[0]).all())


def _histograms(prepared: pl.DataFrame) -> pl.DataFrame:
    keys = [c for c in HISTOGRAM_KEY if c not in ("metric", "bucket")]
    measures = {
        "latency_ms": "latency_ms",
        "ttft_ms": "ttft_ms",
        "input_tokens": "total_input",
        "output_tokens": "output_tokens",
        "confidence": "confidence",
    }
    frame = prepared.with_columns(week=pl.col("day").dt.truncate("1w"))
    parts = [empty_histogram()]
    for metric, column in measures.items():
        values = frame[column]
        if values.null_count() == values.len():
            continue
        rows = frame.select(*keys, bucket=bucket(pl.col(column).cast(pl.Float64)), n=pl.lit(1, pl.Int64))
        if values.null_count():
            rows = rows.filter(pl.col("bucket").is_not_null())
        counted = _summed(rows, [*keys, "bucket"], ("n",))
        parts.append(counted.select(pl.lit(metric).alias("metric"), *keys, "bucket", "n"))
    return pl.concat(parts)


def empty_histogram() -> pl.DataFrame:
    return pl.DataFrame(schema={**HISTOGRAM_KEY, "n": pl.Int64()})


def bucket(value: pl.Expr) -> pl.Expr:
    """The log-spaced bucket (Int16) of a value; ZERO_BUCKET for 0 and below; null for null."""
    position = (value.log() / math.log(BUCKET_BASE)).floor()
    return pl.when(value > 0).then(position).when(value <= 0).then(ZERO_BUCKET).cast(pl.Int16)


def _present(column: str, have: set[str]) -> pl.Expr:
    return pl.col(column).cast(pl.Float64) if column in have else pl.lit(None, pl.Float64)


def _count(column: str, have: set[str]) -> pl.Expr:
    return pl.col(column).fill_null(0) if column in have else pl.lit(0, pl.Int64)


def _integer(value: pl.Expr, scale: float) -> pl.Expr:
    return (value * scale).round().cast(pl.Int64, strict=False).fill_null(0)


def _by(column: str, have: set[str]) -> pl.Expr:
    if column == "month":
        return pl.col("ts").dt.strftime("%Y-%m")
    if column == "week":
        return pl.col("ts").dt.truncate("1w").dt.strftime("%Y-%m-%d")
    if column == "hour":
        return pl.col("ts").dt.strftime("%H")
    name = column if column in have else f"raw:{column}"
    return pl.col(name).cast(pl.String) if name in have else pl.lit(None, pl.String)


def _group(settings: Settings, have: set[str]) -> pl.Expr:
    """The salted hash, modulo 64, of what varies together: the user, else the session, else the request."""
    seed = sum(byte * 257**i for i, byte in enumerate(settings.salt.encode())) % (1 << 63)
    choice = {
        "auto": ("user_id", "session_id", "request_id"),
        "user": ("user_id",),
        "session": ("session_id",),
        "request": ("request_id",),
    }[settings.unit]
    # A request without any id is a unit of its own; its content stands in for an id, so that order does not matter.
    content = pl.struct(
        [pl.col(c) for c in ("ts", "model", "input_tokens", "output_tokens", "latency_ms", "prompt") if c in have]
    ).hash(seed)
    ids = [pl.col(c).hash(seed) for c in choice if c in have]
    guarded = [pl.when(pl.col(c).is_not_null()).then(h) for c, h in zip([c for c in choice if c in have], ids, strict=True)]
    return (pl.coalesce(*guarded, content) % GROUPS).cast(pl.Int16)
