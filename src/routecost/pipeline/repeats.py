"""Which requests an exact-match response cache would have answered: the same request again while its answer is kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import polars as pl

from routecost import logs, tasks
from routecost.errors import InputError, UsageError
from routecost.pipeline.intake import Options, Progress
from routecost.pipeline.labelling import open_paths, over
from routecost.routing import Table, rule_expression
from routecost.schema import CELL_KEY, FEES, REQUEST, TOKEN_KINDS
from routecost.usage import Settings, is_usage_file, prepare

if TYPE_CHECKING:
    from routecost.classifier import Classifier

Order = Literal["before", "after"]

VALUES: Final = (*TOKEN_KINDS, "reasoning_tokens", *FEES)
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SECOND: Final = 1_000_000
_NEVER: Final = 1 << 62
_LEFT_OUT: Final = ("file", "line", "request_hash", "feedback")


@dataclass(frozen=True)
class Cache:
    """An exact-match response cache. ttl_seconds: how long an answer is kept, None: for ever. order: whether it stands
    before the router (its key has no model) or after it (its key has the model that was chosen)."""

    ttl_seconds: int | None
    order: Order = "after"


@dataclass(frozen=True)
class Repeats:
    """The requests of a log, narrow: what tells a repeat, and what it costs.

    cells: a row for each distinct schema.CELL_KEY. rows: `cell` (a row of cells), key (null: never looked up), ts and
    latency (microseconds), stored (whether the answer would be kept), group, VALUES; each request once. without_text,
    undated, answered: requests that are not looked up, as they have no text or no time, or as the gateway's own cache
    has answered them.
    """

    cells: pl.DataFrame
    rows: pl.DataFrame
    without_text: int
    undated: int
    answered: int
    damaged: tuple[str, ...] = ()


def parse_cache(text: str, order: Order = "after") -> Cache:
    """`exact`, `exact:1h`, `exact:30m`, `exact:7d`. Raises UsageError."""
    match = re.fullmatch(r"exact(?::(\d+)([smhdw]?))?", text.strip())
    if match is None or match[1] == "0" * len(match[1] or " "):
        raise UsageError(
            f"--cache: saw {text!r}, expected exact, or exact with how long an answer is kept, such as exact:1h or "
            "exact:30m (s, m, h, d, w). A cache that also answers similar requests cannot be judged by a log."
        )
    return Cache(None if match[1] is None else int(match[1]) * _UNITS[match[2]], order)


def require_logs(paths: Sequence[str]) -> None:
    """Refuse what cannot be read for single requests. Raises InputError or UsageError."""
    for path in paths:
        if path == "-":
            raise UsageError("--cache reads the log once more, which stdin cannot give: write it to a file first.")
        if is_usage_file(path):
            raise InputError(
                f"{path} is a usage file: it keeps counts and no request, so no repeat can be found in it. Give "
                "--cache the log itself:  routecost simulate LOG... --cache exact:1h"
            )


def gather(
    paths: Sequence[str],
    settings: Settings,
    tables: Sequence[Table],
    options: Options,
    cache: Cache,
    progress: Progress | None = None,
) -> Repeats:
    """One pass over the logs, with the tasks, rules and cells that `intake.read` gives them."""
    require_logs(paths)
    opened = open_paths(paths, options.field_map, options.log_format, estimates=options.estimates)
    typed = _Typing(options)
    rules = [rule for table in tables for rule in table.request_rules()]
    rule = rule_expression(rules) if rules else None
    columns = [c for c in REQUEST if c not in _LEFT_OUT]

    def work(chunk: logs.Chunk, _: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        frame = typed.decide(_inside(chunk.parse(columns).requests, options))
        frame = frame if rule is None else frame.with_columns(rule.alias("rule"))
        return _narrow(frame, prepare(frame, settings), cache)

    damaged: list[str] = []
    cells: list[pl.DataFrame] = []
    rows: list[pl.DataFrame] = []
    known = 0
    for some, narrow in over(opened, work, damaged, progress):
        rows.append(narrow.with_columns(pl.col("cell") + known))
        cells.append(some)
        known += some.height
    if not rows or not known:
        raise InputError(f"no request in {', '.join(paths)}, so there is nothing to repeat.")
    distinct, found = _distinct(pl.concat(cells), pl.concat(rows))
    found = _once(found)
    if found["key"].null_count() == found.height:
        raise InputError(
            f"no request in {', '.join(paths)} can be looked up in a response cache: that takes its text, and with a "
            "time to live its time. Give --cache a log with prompts (--map FILE names their column), or leave it out."
        )
    counts = found.select(pl.col("_text", "_time", "_answered").sum()).row(0)
    return Repeats(
        distinct,
        found.drop("_text", "_time", "_answered", "_id"),
        int(counts[0]),
        int(counts[1]),
        int(counts[2]),
        tuple(damaged),
    )


class _Typing:
    """Tasks as `intake` decides them: the log's label, the rules, the classifier."""

    def __init__(self, options: Options) -> None:
        self._anew = options.tasks_from != "log"
        self._rules = tasks.Rules() if options.tasks_from == "classifier" else tasks.read_rules(options.task_rules)
        self._path = options.classifier
        self._predict = self._classified if options.classify and options.tasks_from != "rules" else None
        self._classifier: Classifier | None = None

    def decide(self, frame: pl.DataFrame) -> pl.DataFrame:
        if self._anew:
            frame = frame.with_columns(task=pl.lit(None, pl.String))
        return tasks.classify(frame, self._predict, self._rules)

    def _classified(self, requests: pl.DataFrame) -> pl.DataFrame:
        # a log with labels never asks, and loading takes a while
        if self._classifier is None:
            from routecost.classifier import load

            self._classifier = load(self._path)
        return self._classifier.predict(requests)


def _inside(frame: pl.DataFrame, options: Options) -> pl.DataFrame:
    if options.since is not None:
        frame = frame.filter((pl.col("ts") >= options.since).fill_null(False))
    if options.until is not None:
        frame = frame.filter((pl.col("ts") < options.until).fill_null(False))
    return frame


def _narrow(frame: pl.DataFrame, prepared: pl.DataFrame, cache: Cache) -> tuple[pl.DataFrame, pl.DataFrame]:
    keys = list(CELL_KEY)
    grouped = prepared.select(keys).with_row_index("_row").group_by(keys).agg("_row").with_row_index("cell")
    place = grouped.select(pl.col("cell").cast(pl.Int64), "_row").explode("_row").sort("_row")["cell"]
    have = [c for c in ("system", "previous_prompt", "needs") if c in frame.columns]
    single = pl.col("n_messages").is_not_null() & pl.col("previous_prompt").is_null() & (pl.col("n_messages") <= 2)
    # a longer conversation is not read as a whole, nor all of a flat log: equal counts of input tokens stand for it
    tokens = pl.when(~single.fill_null(False)).then(prepared["total_input"])
    feature = pl.when(pl.col("system").is_null()).then("feature")
    content = pl.struct("prompt", *have, "n_messages", tokens.alias("_tokens"), feature.alias("_feature")).hash(17)
    has_text = pl.col("prompt").is_not_null()
    answered = pl.col("gateway_cache_hit").fill_null(False)
    dated = pl.col("ts").is_not_null() if cache.ttl_seconds is not None else pl.lit(True)
    rows = frame.select(
        place.alias("cell"),
        _id=pl.when(pl.col("request_id").is_not_null()).then(pl.col("request_id").hash(13)),
        key=pl.when(has_text & dated & ~answered).then(content),
        ts=pl.col("ts").to_physical(),
        latency=(pl.col("latency_ms").clip(0, None) * 1000).cast(pl.Int64, strict=False).fill_null(0),
        stored=(pl.col("status").fill_null("ok") == "ok"),
        group=prepared["group"],
        _text=~has_text & ~answered,
        _time=has_text & ~dated & ~answered,
        _answered=answered,
        **{c: prepared[c] for c in VALUES},
    )
    return grouped.select(keys), rows


def _distinct(cells: pl.DataFrame, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cells of all chunks once each, in the order of their keys, and rows that point at them."""
    keys = list(CELL_KEY)
    merged = cells.with_row_index("_old").group_by(keys).agg("_old").sort(keys, nulls_last=False)
    places = merged.with_row_index("_new").select(pl.col("_new").cast(pl.Int64), "_old").explode("_old").sort("_old")
    return merged.select(keys), rows.with_columns(places["_new"].gather(rows["cell"]).alias("cell"))


def _once(rows: pl.DataFrame) -> pl.DataFrame:
    """Each request once: a line that stands twice is no repeat. The earliest stays, as when a log is counted."""
    order = ["ts", "cell", *VALUES, "latency"]
    ordered = rows.sort("_id", *order, nulls_last=True)
    return ordered.filter((pl.col("_id") != pl.col("_id").shift(1)).fill_null(True))


def hits(rows: pl.DataFrame, cache: Cache) -> pl.Series:
    """Whether each of some rows (key, ts, latency, stored, VALUES, cell) finds its answer in the cache.

    An answer is there from the moment that it was complete, for as long as the cache keeps it; a hit does not make it
    last longer (as Redis and LiteLLM have it). Requests without a time count as one after another.
    """
    numbered = rows.with_row_index("_row").with_columns(
        latency=pl.when(pl.col("ts").is_not_null()).then("latency").otherwise(0), ts=pl.col("ts").fill_null(0)
    )
    again = numbered.filter(pl.col("key").is_not_null()).filter(pl.col("key").is_duplicated())
    again = again.sort("key", "ts", "cell", *VALUES, "latency")
    ttl = _NEVER if cache.ttl_seconds is None else cache.ttl_seconds * _SECOND
    found = np.zeros(rows.height, bool)
    last, ready, until = None, _NEVER, 0
    columns = (again[c].to_list() for c in ("_row", "key", "ts", "latency", "stored"))
    for row, key, ts, latency, stored in zip(*columns, strict=True):
        if key != last:
            last, ready, until = key, _NEVER, 0
        if ready <= ts < until:
            found[row] = True
        elif stored:
            # while the first answer is under way, others are asked for as well
            ready = min(ready, ts + latency) if ts < ready else ts + latency
            until = max(until, ts + latency + ttl)
    return pl.Series("hit", found)
