"""Requests counted into cells, groups and histograms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from routecost import schema
from routecost.errors import InputError
from routecost.schema import (
    CELL_KEY,
    CELL_VALUES,
    FEES,
    GROUP_KEY,
    GROUP_VALUES,
    GROUPS,
    INPUT_KINDS,
    REQUEST,
    TOKEN_KINDS,
)

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
    """What a tally depends on; two usages merge only when these agree. ids: tells the salt of hashed ids from others,
    None where no id is hashed."""

    edges: tuple[int, ...] = ()
    slots: tuple[int, ...] = (0,)
    by: tuple[str, ...] = ()
    unit: Unit = "auto"
    group_features: bool = False
    salt: str = "routecost"
    rules: Mapping[str, str] = field(default_factory=dict)
    classifier: str | None = None
    task_rules: str | None = None
    ids: str | None = None


@dataclass(frozen=True)
class Usage:
    """Exact counts of requests.

    cells: schema.CELL_KEY (+ settings.by) and schema.CELL_VALUES, one row a key.
    groups: schema.GROUP_KEY, `group` (0-63) and schema.GROUP_VALUES, for variance.
    histograms: HISTOGRAM_KEY and `n`. carry: CARRY_KEY, requests and cache_read_tokens, by what came before.
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
    have = {s.name for s in requests if s.null_count() < s.len()}
    frame = requests.with_columns(
        _total=pl.sum_horizontal(*(_count(c, have) for c in INPUT_KINDS)),
        _minute=schema.minute_of_day(pl.col("ts")) if "ts" in have else pl.lit(None, pl.Int16),
    )
    known = [pl.col(c).is_not_null() for c in ("input_tokens", "output_tokens")]
    any_tokens = pl.any_horizontal(*(pl.col(c).is_not_null() for c in TOKEN_KINDS if c in have), pl.lit(False))
    # tokens first: without them no model has a price for it; without a model the one that it is routed to has
    problem = (
        pl.when(~pl.all_horizontal(known) if {"input_tokens", "output_tokens"} <= have else pl.lit(True))
        .then(pl.lit(schema.NO_TOKENS))
        .when(pl.col("model").is_null() if "model" in have else pl.lit(True))
        .then(pl.lit(schema.NO_MODEL))
    )
    cost = _present("cost_usd", have)
    feedback = _present("feedback", have)
    attempt = _present("attempt", have)
    columns: dict[str, pl.Expr] = {
        "day": schema.day(pl.col("ts")) if "ts" in have else pl.lit(None, pl.Date),
        "slot": schema.slot(pl.col("_minute"), settings.slots),
        "band": schema.band(pl.col("_total"), settings.edges),
        "problem": problem,
        "status": pl.col("status").fill_null("ok") if "status" in have else pl.lit("ok"),
        "total_input": pl.when(any_tokens).then(pl.col("_total")),
        "total_output": pl.col("output_tokens") if "output_tokens" in have else pl.lit(None, pl.Int64),
        "requests": pl.lit(1, pl.Int64),
        **{c: _count(c, have) for c in (*TOKEN_KINDS, "reasoning_tokens", *FEES)},
        "logged_cost_pico": _integer(cost, PICO).fill_null(0),
        "logged_cost_n": _integer(cost, PICO).is_not_null().cast(pl.Int64),
        "feedback_n": feedback.is_not_null().cast(pl.Int64),
        "feedback_positive": (feedback > 0).fill_null(False).cast(pl.Int64),
        "feedback_negative": (feedback < 0).fill_null(False).cast(pl.Int64),
        "feedback_micro": _integer(feedback, MICRO).fill_null(0),
        "feedback_square_micro": _integer(feedback * feedback, MICRO).fill_null(0),
        "truncated": (
            pl.col("finish_reason").is_in(_TRUNCATED).fill_null(False).cast(pl.Int64)
            if "finish_reason" in have
            else pl.lit(0, pl.Int64)
        ),
        "retried": (attempt > 1).fill_null(False).cast(pl.Int64),
        "attempts": attempt.fill_null(1).cast(pl.Int64),
        "group": _group(requests, settings, have),
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


@dataclass(frozen=True)
class Counted:
    """A tally, and which row of `usage.cells` each prepared row was counted in (u32)."""

    usage: Usage
    cell: np.ndarray[Any, Any]


def tally(prepared: pl.DataFrame, settings: Settings) -> Usage:
    """Prepared rows -> usage, without carry (see Sessions): it needs the whole session."""
    return count(prepared, settings).usage


def count(prepared: pl.DataFrame, settings: Settings) -> Counted:
    """As `tally`, and tells the cell of each row.

    Grouping by the wide key is done once; groups and histograms follow from each row's cell by arithmetic.
    """
    base = empty(settings)
    if prepared.height == 0:
        return Counted(base, np.empty(0, np.uint32))
    cells, cell = _summed_with_rows(prepared, list(cell_key(settings)), CELL_VALUES)
    usage = replace(
        base,
        cells=cells.select(base.cells.columns),
        groups=_groups(prepared, cells, cell, settings).select(base.groups.columns),
        histograms=_histograms(prepared, cells, cell),
    )
    return Counted(usage, cell)


def _summed_with_rows(
    frame: pl.DataFrame, keys: Sequence[str], values: Sequence[str]
) -> tuple[pl.DataFrame, np.ndarray[Any, Any]]:
    """`_summed`, and the position among its rows of each row of `frame`."""
    constant, varying, zero = _split(frame, keys, values)
    sums = [pl.col(c).sum() for c in values if c not in zero]
    if varying:
        grouped = frame.with_row_index("_row").group_by(varying).agg(*sums, "_row")
        of_row = np.empty(frame.height, np.uint32)
        sizes = grouped["_row"].list.len().to_numpy()
        of_row[grouped["_row"].explode().to_numpy()] = np.repeat(np.arange(grouped.height, dtype=np.uint32), sizes)
        grouped = grouped.drop("_row")
    else:
        grouped = frame.select(sums)
        of_row = np.zeros(frame.height, np.uint32)
    return _rejoined(grouped, constant, zero).select(*keys, *values), of_row


def _coarse(cells: pl.DataFrame, keys: Sequence[str]) -> tuple[pl.DataFrame, np.ndarray[Any, Any]]:
    """The distinct values of a coarser key, and for each cell which of them is its own."""
    distinct, of_cell = _summed_with_rows(cells.with_columns(_n=pl.lit(0, pl.Int64)), keys, ("_n",))
    return distinct.drop("_n"), of_cell.astype(np.int64)


def _groups(
    prepared: pl.DataFrame, cells: pl.DataFrame, cell: np.ndarray[Any, Any], settings: Settings
) -> pl.DataFrame:
    keyed = cells if settings.group_features else cells.with_columns(feature=pl.lit(None, pl.String))
    keys, of_cell = _coarse(keyed, GROUP_KEY)
    code = pl.Series("_code", of_cell[cell] * GROUPS) + prepared["group"].cast(pl.Int64)
    sums = _summed(prepared.select(code.alias("_code"), *GROUP_VALUES), ["_code"], GROUP_VALUES)
    return sums.with_columns(
        keys[(sums["_code"] // GROUPS).cast(pl.UInt32)].get_columns(), group=(pl.col("_code") % GROUPS).cast(pl.Int16)
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
            settings=replace(
                first.settings,
                classifier=_all_of(p.settings.classifier for p in parts),
                task_rules=_all_of(p.settings.task_rules for p in parts),
            ),
            counts=counts,
            sources=tuple(sorted((s for p in parts for s in p.sources), key=lambda s: sorted(map(str, s.items())))),
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
    if a.ids != b.ids:
        raise InputError(
            "usage with ids hashed with different salts, or with some hashed and some not, cannot be merged: the same "
            "user would count as two. Tally the logs again with one --salt (ROUTECOST_SALT)."
        )
    for name in ("edges", "slots", "by", "unit", "salt", "rules", "group_features"):
        left, right = getattr(a, name), getattr(b, name)
        if left != right:
            raise InputError(
                f"usage tallied with different {name.replace('_', ' ')} cannot be merged: {left!r} and {right!r}. "
                "Tally the logs again with the same options and price book."
            )


def _all_of(versions: Iterable[str | None]) -> str | None:
    """Every version that the parts of a usage name, in an order that does not depend on theirs."""
    return " + ".join(sorted({one for version in versions if version for one in version.split(" + ")})) or None


def _added(frames: Sequence[pl.DataFrame], values: Sequence[str]) -> pl.DataFrame:
    whole = pl.concat([f for f in frames if f.height] or list(frames[:1]))
    keys = [c for c in whole.columns if c not in values]
    return _summed(whole, keys, values).select(whole.columns)


def _sorted(usage: Usage) -> Usage:
    return replace(
        usage,
        cells=in_key_order(usage.cells, CELL_VALUES),
        groups=in_key_order(usage.groups, GROUP_VALUES),
        histograms=in_key_order(usage.histograms, ("n",)),
        carry=in_key_order(usage.carry, ("requests", "cache_read_tokens")),
    )


def in_key_order(frame: pl.DataFrame, values: Sequence[str]) -> pl.DataFrame:
    """A frame sorted by all columns but `values`."""
    # constant keys change nothing about the order, and cost as much as the others
    keys = [c for c in frame.columns if c not in values and not (frame.height and _is_constant(frame[c]))]
    return frame.sort(keys) if keys else frame


def _summed(frame: pl.DataFrame, keys: Sequence[str], values: Sequence[str]) -> pl.DataFrame:
    """`frame` grouped by `keys` with sums of `values`."""
    if frame.height == 0:
        return frame.select(*keys, *values)
    constant, varying, zero = _split(frame, keys, values)
    sums = [pl.col(c).sum() for c in values if c not in zero]
    grouped = frame.group_by(varying).agg(sums) if varying else frame.select(sums)
    return _rejoined(grouped, constant, zero).select(*keys, *values)


def _split(
    frame: pl.DataFrame, keys: Sequence[str], values: Sequence[str]
) -> tuple[dict[str, pl.Series], list[str], list[str]]:
    """Keys that are constant (with their value) and that vary, and values that are all 0: hashing constant columns is
    most of the cost of a wide key."""
    constant = {c: frame[c].slice(0, 1) for c in keys if _is_constant(frame[c])}
    varying = [c for c in keys if c not in constant]
    zero = [c for c in values if frame[c].min() == 0 == frame[c].max()]
    # sums of nothing have no height
    return constant, varying, zero if varying or len(zero) < len(values) else zero[1:]


def _rejoined(grouped: pl.DataFrame, constant: Mapping[str, pl.Series], zero: Sequence[str]) -> pl.DataFrame:
    height = grouped.height
    return grouped.with_columns(
        *(s.new_from_index(0, height).alias(c) for c, s in constant.items()),
        *(pl.lit(0, pl.Int64).alias(c) for c in zero),
    )


def _is_constant(values: pl.Series) -> bool:
    nulls = values.null_count()
    if nulls:
        return nulls == values.len()
    # most columns that vary do so at once
    if values.len() > 64 and values.slice(0, 64).n_unique() > 1:
        return False
    return bool((values == values[0]).all())


def _histograms(prepared: pl.DataFrame, cells: pl.DataFrame, cell: np.ndarray[Any, Any]) -> pl.DataFrame:
    names = [c for c in HISTOGRAM_KEY if c not in ("metric", "bucket")]
    keys, of_cell = _coarse(cells.with_columns(week=pl.col("day").dt.truncate("1w")), names)
    of_row = of_cell[cell]
    measures = {
        "latency_ms": "latency_ms",
        "ttft_ms": "ttft_ms",
        "input_tokens": "total_input",
        "output_tokens": "total_output",
        "confidence": "confidence",
    }
    hits = prepared["gateway_cache_hit"].fill_null(False) if prepared["gateway_cache_hit"].any() else None
    parts = [empty_histogram()]
    for metric, column in measures.items():
        values = prepared[column]
        if hits is not None and metric in ("latency_ms", "ttft_ms"):
            # what the gateway's cache takes says nothing of the model that is named beside it
            values = pl.select(pl.when(~hits).then(values)).to_series()
        if values.null_count() == values.len():
            continue
        known = values.is_not_null().to_numpy()
        code = of_row if known.all() else of_row[known]
        place = buckets(values.drop_nulls().cast(pl.Float64).to_numpy()).astype(np.int64)
        low = int(place.min())
        width = int(place.max()) - low + 1
        if width * keys.height <= 1 << 22:
            counts = np.bincount(code * width + (place - low))
            found = np.flatnonzero(counts)
            n = counts[found]
        else:
            found, n = np.unique(code * width + (place - low), return_counts=True)
        parts.append(
            keys[found // width]
            .with_columns(
                metric=pl.lit(metric),
                bucket=pl.Series(found % width + low).cast(pl.Int16),
                n=pl.Series(n).cast(pl.Int64),
            )
            .select(*HISTOGRAM_KEY, "n")
        )
    return pl.concat(parts)


def empty_histogram() -> pl.DataFrame:
    return pl.DataFrame(schema={**HISTOGRAM_KEY, "n": pl.Int64()})


def buckets(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The log-spaced bucket (i16) of each value; ZERO_BUCKET for 0 and below."""
    positive = values > 0
    places = np.floor(np.log(values, where=positive, out=np.zeros(len(values))) / math.log(BUCKET_BASE))
    # a latency of 1e-300 or 1e300 is damage; it must not overflow
    return np.where(positive, places.clip(ZERO_BUCKET + 1, -ZERO_BUCKET - 1), ZERO_BUCKET).astype(np.int16)


def _present(column: str, have: set[str]) -> pl.Expr:
    return pl.col(column).cast(pl.Float64) if column in have else pl.lit(None, pl.Float64)


def _count(column: str, have: set[str]) -> pl.Expr:
    return pl.col(column).fill_null(0) if column in have else pl.lit(0, pl.Int64)


def _integer(value: pl.Expr, scale: float) -> pl.Expr:
    """In whole units of 1 / scale; null for what does not fit, such as a cost of ten million dollars a request."""
    return (value * scale).round().cast(pl.Int64, strict=False)


def _by(column: str, have: set[str]) -> pl.Expr:
    if column == "hour":
        return pl.col("ts").dt.strftime("%H")
    name = column if column in have else f"raw:{column}"
    return pl.col(name).cast(pl.String) if name in have else pl.lit(None, pl.String)


def _group(requests: pl.DataFrame, settings: Settings, have: set[str]) -> pl.Expr:
    """The salted hash, modulo 64, of what varies together: the user, else the session, else the request."""
    seed = sum(byte * 257**i for i, byte in enumerate(settings.salt.encode())) % (1 << 63)
    choice = {
        "auto": ("user_id", "session_id", "request_id"),
        "user": ("user_id",),
        "session": ("session_id",),
        "request": ("request_id",),
    }[settings.unit]
    units: list[pl.Expr] = []
    for column in choice:
        if column not in have:
            continue
        if requests[column].null_count() == 0:
            units.append(pl.col(column).hash(seed))
            break
        units.append(pl.when(pl.col(column).is_not_null()).then(pl.col(column).hash(seed)))
    else:
        # A request without any id is a unit of its own; its content stands in for an id, so that order is nothing.
        # Not the prompt: whether it is read depends on the labels of others. A column without values in this chunk
        # counts as null, as it would in a larger one.
        content = ("ts", "model", *TOKEN_KINDS, "latency_ms", "ttft_ms", "cost_usd")
        columns = [pl.col(c) if c in have else pl.lit(None, REQUEST[c]).alias(c) for c in content]
        units.append(pl.struct(columns).hash(seed))
    return (pl.coalesce(*units) % GROUPS).cast(pl.Int16)
