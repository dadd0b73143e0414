"""Requests to models: what a routing table would have done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import and_, or_
from typing import Final

import polars as pl

from routecost.errors import UsageError, did_you_mean
from routecost.routing.table import CELL_GLOBS, PATTERNS, REQUEST_GLOBS, Override, Table
from routecost.schema import INPUT_KINDS

ROUTED: Final[dict[str, pl.DataType]] = {
    "routed_model": pl.String(),
    "routed_mode": pl.String(),
    "route_reason": pl.String(),
    "speculative_model": pl.String(),
}
_READ = (*CELL_GLOBS.values(), "model_override", "rule")


def route(
    cells: pl.DataFrame, table: Table, *, mode: str | None = None, in_catalogue: Callable[[str], bool]
) -> pl.DataFrame:
    """Add routed_model (as the table names it; null: stays on its logged model), routed_mode, route_reason and
    speculative_model (the fallback that is fired as well, else null). Same rows, same order.

    `mode` routes all traffic in one mode. A pinned model that is in the catalogue wins, and no second call is fired
    beside it; then the first override, the task's row, the default. Reasons: pinned, `override:<key>`, route, default,
    unrouted. A table without any route moves nothing, pinned requests neither. Columns that the frame lacks count as
    null. Raises UsageError for a mode that the table does not have.
    """
    if table.is_empty:
        return cells.with_columns(
            pl.lit(None, pl.String).alias("routed_model"),
            _mode_of(cells, table, mode).alias("routed_mode"),
            pl.lit("unrouted").alias("route_reason"),
            pl.lit(None, pl.String).alias("speculative_model"),
        )
    modes = table.modes()
    if mode is not None and mode not in modes:
        raise UsageError(
            f"the routing table {table.name} has no mode {mode}; it has {', '.join(modes)}."
            f"{did_you_mean(mode, modes)} Choose one of them with --mode."
        )
    missing = pl.repeat(None, cells.height, dtype=pl.String)
    keys = cells.select(
        pl.col(name).cast(pl.String) if name in cells.columns else missing.alias(name) for name in _READ
    )
    keys = keys.with_columns(_mode_of(keys, table, mode).alias("mode"))
    modes = modes if table.default_mode in modes else (*modes, table.default_mode)

    # Every answer that the table can give is one row, option by option and mode by mode; a cell looks up its own.
    answers = _answers(table, modes)
    tasks = list(table.routes)
    option: pl.Expr = pl.lit(len(table.overrides) + len(tasks), pl.Int32)
    for i, task in enumerate(tasks):
        option = pl.when(pl.col("task") == task).then(pl.lit(len(table.overrides) + i, pl.Int32)).otherwise(option)
    for i, override in reversed(list(enumerate(table.overrides))):
        option = pl.when(_overrides(override, modes)).then(pl.lit(i, pl.Int32)).otherwise(option)
    in_mode: pl.Expr = pl.lit(0, pl.Int32)
    for i, name in enumerate(modes):
        in_mode = pl.when(pl.col("mode") == name).then(pl.lit(i, pl.Int32)).otherwise(in_mode)
    row = keys.select(row=option * len(modes) + in_mode)["row"]

    pins = [pin for pin in keys["model_override"].drop_nulls().unique().to_list() if in_catalogue(pin)]
    pinned = keys["model_override"].is_in(pins).fill_null(False)
    given = answers.select(pl.all().gather(row)).with_columns(keys["model_override"], pinned.alias("pinned"))
    columns = given.select(
        pl.when("pinned").then("model_override").otherwise("routed_model").alias("routed_model"),
        "routed_mode",
        pl.when("pinned").then(pl.lit("pinned")).otherwise("route_reason").alias("route_reason"),
        pl.when(~pl.col("pinned")).then("speculative_model").alias("speculative_model"),
    )
    return cells.with_columns(columns.get_columns())


def holding(requests: pl.DataFrame, table: Table, *, mode: str | None = None) -> pl.DataFrame:
    """Whether each override's conditions hold, a Boolean column an override (`0`, `1`, ...), whichever comes first.

    requests: as for `route`, with the columns that conditions on the request itself read (prompt, user_id, ...)."""
    missing = pl.repeat(None, requests.height, dtype=pl.String)
    needed = dict.fromkeys((*_READ, *REQUEST_GLOBS.values(), *PATTERNS.values()))
    text = requests.select(
        pl.col(name).cast(pl.String) if name in requests.columns else missing.alias(name) for name in needed
    )
    counts = (requests[k] if k in requests.columns else missing.cast(pl.Int64).alias(k) for k in INPUT_KINDS)
    frame = text.with_columns(*counts, mode=_mode_of(text, table, mode))
    if table.request_rules():
        frame = frame.with_columns(rule_expression(table.request_rules()))
    modes = table.modes()
    return frame.select(_overrides(o, modes).fill_null(False).alias(str(i)) for i, o in enumerate(table.overrides))


def rule_expression(overrides: Sequence[Override]) -> pl.Expr:
    """`rule` of a request frame: the sorted keys, joined by commas, of the overrides whose request-level conditions
    hold; null when none does. Conditions on cells are left to `route`; overrides without others are ignored."""
    parts = {o.request_part.key: o.request_part for o in overrides if o.needs_request}
    if not parts:
        return pl.lit(None, pl.String).alias("rule")
    keys = [pl.when(_request_condition(parts[key])).then(pl.lit(key)) for key in sorted(parts)]
    joined = pl.concat_str(keys, separator=",", ignore_nulls=True)
    return pl.when(joined != "").then(joined).alias("rule")


def _mode_of(frame: pl.DataFrame, table: Table, mode: str | None) -> pl.Expr:
    if mode is not None:
        return pl.lit(mode)
    if "mode" not in frame.columns:
        return pl.lit(table.default_mode)
    own = pl.col("mode").cast(pl.String)
    known = pl.lit(False)
    for name in table.modes():
        known = known | (own == name)
    return pl.when(known).then(own).otherwise(pl.lit(table.default_mode))


def _answers(table: Table, modes: Sequence[str]) -> pl.DataFrame:
    """The options (each override, each task's row, the default) by mode, with the columns that `route` adds."""
    rows: list[dict[str, str | None]] = []

    def add(models: Mapping[str, str], reason: str) -> None:
        default = table.default or {}
        for mode in modes:
            model, why = models.get(mode), reason
            if model is None and not reason.startswith("override:"):
                model = default.get(mode)
                why = "unrouted" if model is None else "default"
            others = table.fallbacks.get(model, ()) if model is not None and mode in table.speculative else ()
            second = others[0] if others else None
            rows.append(dict(zip(ROUTED, (model, mode, why, second), strict=True)))

    for override in table.overrides:
        add(override.targets(modes), f"override:{override.key}")
    for models in table.routes.values():
        add(models, "route")
    add({}, "default")
    return pl.DataFrame(rows, schema=ROUTED)


def _overrides(override: Override, modes: Sequence[str]) -> pl.Expr:
    """Whether the override decides a cell, given its `rule` key; `mode` holds the mode that it is routed in."""
    tests = [_any_glob(pl.col(CELL_GLOBS[name]), globs) for name, globs in _globs(override, CELL_GLOBS)]
    if override.needs_request:
        # Keys have a fixed length and commas are not hexadecimal, so a key is never found across two others.
        tests.append(pl.col("rule").str.contains(override.request_part.key, literal=True))
    if isinstance(override.target, Mapping):
        tests.append(_any_glob(pl.col("mode"), tuple(override.targets(modes))))
    return _all(tests)


def _request_condition(override: Override) -> pl.Expr:
    tests = [_any_glob(pl.col(REQUEST_GLOBS[name]), globs) for name, globs in _globs(override, REQUEST_GLOBS)]
    for name, column in PATTERNS.items():
        if isinstance(pattern := override.conditions.get(name), str):
            tests.append(pl.col(column).str.contains(pattern))
    if override.min_input_tokens is not None or override.max_input_tokens is not None:
        known = reduce(or_, (pl.col(kind).is_not_null() for kind in INPUT_KINDS))
        total = pl.when(known).then(pl.sum_horizontal(*INPUT_KINDS, ignore_nulls=True))
        if override.min_input_tokens is not None:
            tests.append(total >= override.min_input_tokens)
        if override.max_input_tokens is not None:
            tests.append(total <= override.max_input_tokens)
    return _all(tests)


def _globs(override: Override, names: Mapping[str, str]) -> list[tuple[str, tuple[str, ...]]]:
    return [(name, v) for name, v in override.conditions.items() if name in names and isinstance(v, tuple)]


def _all(tests: Sequence[pl.Expr]) -> pl.Expr:
    return reduce(and_, (test.fill_null(False) for test in tests), pl.lit(True))


def _any_glob(column: pl.Expr, globs: Sequence[str]) -> pl.Expr:
    return reduce(or_, (_glob(column, glob) for glob in globs), pl.lit(False))


def _glob(column: pl.Expr, glob: str) -> pl.Expr:
    """Whether a glob matches; null for null."""
    parts = glob.split("*")
    if len(parts) == 1:
        return column == glob
    if len(parts) == 2:
        both = column.str.len_bytes() >= len((parts[0] + parts[1]).encode())
        return column.str.starts_with(parts[0]) & column.str.ends_with(parts[1]) & both
    return column.str.contains("(?s)^" + ".*".join(pl.escape_regex(part) for part in parts) + "$")
