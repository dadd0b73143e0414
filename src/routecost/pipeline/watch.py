"""Where answers are called bad more often since a change, which requests were probably misclassified, and the rules
that send what failed back up."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from routecost import logs, tasks
from routecost.errors import InputError, UndecidedError, UsageError
from routecost.pipeline.feedback import Feedback, Joining, note, read_feedback
from routecost.pipeline.intake import Options, Progress, TasksFrom
from routecost.pipeline.labelling import SAMPLED, Typist, Writer, open_paths, over
from routecost.pipeline.recommendation import list_price
from routecost.prices import Book, read_prices
from routecost.routing import Override, Table, read_table, to_yaml
from routecost.schema import REQUEST
from routecost.stats.rises import Rise, largest, rise, searched
from routecost.tasks import Rules, read_rules
from routecost.whole import whole_file

Dimension = Literal["all", "task", "feature", "model"]
Verdict = Literal["rose", "fell", "no change shown", "too few", "only before", "only after"]

ALPHA: Final = 0.05
# Rated requests a side below which a slice is not tested: the choice looks at numbers only, never at what was said.
LEAST: Final = 20
# A day is only taken for the change where at least this share of a slice's rated requests is on either side.
TRIM: Final = 0.1
BELOW: Final = 0.6
STRATUM: Final = "bad and unsure"
_DIMENSIONS: Final[tuple[Dimension, ...]] = ("all", "task", "feature", "model")
_KEY: Final = ("task", "feature", "model", "period")
_USED: Final = ("feedback", "feature", "model", "user_id", "session_id", "prompt", "request_id", "ts")
_US_A_DAY: Final = 86_400_000_000


@dataclass(frozen=True)
class Slice:
    """Requests of one task, feature or model, before and after the change. requests, rated and negative: (before,
    after). rise: of the share among the rated, with bounds that hold for all slices at once; None where untested.
    model_before, model_after: what served most of it."""

    dimension: Dimension
    name: str | None
    requests: tuple[int, int]
    rated: tuple[int, int]
    negative: tuple[int, int]
    model_before: str | None
    model_after: str | None
    rise: Rise | None

    @property
    def verdict(self) -> Verdict:
        if not all(self.requests):
            return "only before" if self.requests[0] else "only after"
        if self.rise is None or self.rise.low is None or self.rise.high is None:
            return "too few"
        return "rose" if self.rise.low > 0 else "fell" if self.rise.high < 0 else "no change shown"

    def of_rated(self, side: int) -> float | None:
        return self.negative[side] / self.rated[side] if self.rated[side] else None

    def of_all(self, side: int) -> float | None:
        return self.negative[side] / self.requests[side] if self.requests[side] else None


@dataclass(frozen=True)
class Up:
    """A rule for a slice that failed, and why it names this model; rule is None where no better model is known."""

    slice: Slice
    rule: Override | None
    why: str


@dataclass(frozen=True)
class Watched:
    """The answer of `quality watch`. change: the first moment after it; chosen: found in the data, not given. tested:
    how many slices the bounds hold for at once. doubtful: requests that somebody called bad and whose task the
    classifier gives less than `below`; labelled: how many of them were written to `output`. output and overrides are
    None where there was nothing to write."""

    change: dt.datetime
    chosen: bool
    slices: tuple[Slice, ...]
    tested: int
    ups: tuple[Up, ...]
    requests: int
    rated: int
    undated: int
    repeated: int
    rejected: int
    below: float
    doubtful: int
    output: Path | None
    labelled: int
    overrides: Path | None
    damaged: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def rose(self) -> tuple[Slice, ...]:
        return tuple(s for s in self.slices if s.verdict == "rose")


def watch(
    paths: Sequence[str],
    *,
    change: dt.datetime | None = None,
    feedback: Sequence[str | Path] = (),
    feedback_scale: str | None = None,
    output: Path | None = None,
    n: int = 200,
    below: float = BELOW,
    overrides: Path | None = None,
    table: str | Path | None = None,
    to: str | None = None,
    pricing: Sequence[str | Path] = (),
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    field_map: Path | None = None,
    log_format: str | None = None,
    task_rules: Path | None = None,
    classifier: Path | None = None,
    tasks_from: TasksFrom = "log",
    progress: Progress | None = None,
) -> Watched:
    """What got worse since a change (or since the day that the feedback itself points to), by task, feature and model.

    output: where to write up to n requests to label; overrides: where to write a table with the rules that route what
    failed up, in front of those of `table`; to: the model that they name. Raises InputError without feedback,
    UndecidedError where there is too little on one side.
    """
    from routecost.classifier import load

    typist = Typist(
        load(classifier) if tasks_from != "rules" else None,
        read_rules(task_rules) if tasks_from != "classifier" else Rules(),
        ignore_log=tasks_from != "log",
    )
    book, base = read_prices(pricing), None if table is None else read_table(table)
    if to is not None and book.resolve(None, to) is None:
        near = ", ".join(book.nearest(to))
        raise UsageError(f"--to {to}: the price book does not know this model; the nearest: {near}.")
    # a name that says no format is told before the log is read
    writer = Writer(output, private=True) if output is not None else None
    said = read_feedback(feedback, feedback_scale)
    options = Options(since=since, until=until, field_map=field_map, log_format=log_format, feedback=said)
    seen = _seen(paths, typist, options, change, n, below, progress)
    if not seen.rated.height:
        raise InputError(
            f"no request in {', '.join(paths)} has feedback. If it is kept elsewhere, join it by request id with "
            "--feedback FILE."
        )
    chosen = change is None
    cut = _found(seen.rated) if chosen else 1
    slices = _slices(seen, cut, chosen)
    tested = sum(s.rise is not None for s in slices)
    if not tested:
        raise UndecidedError(
            f"no task, feature or model has {LEAST} rated requests before and after {_moment(change, cut):%Y-%m-%d}: "
            f"{seen.rated.height:,} of {seen.requests:,} requests are rated. Name another day with "
            "--since-change, or a longer log."
        )
    ups = tuple(_ups(seen, cut, slices, _level(tested, chosen), book, to))
    ruled = any(up.rule is not None for up in ups)
    if overrides is not None and ruled:
        _write_rules(overrides, base, ups)
    labelled = 0
    if writer is not None and seen.doubted.height:
        rows = _to_label(seen.doubted, said)
        labelled = rows.height
        with writer:
            writer.write(rows)
    return Watched(
        change=_moment(change, cut),
        chosen=chosen,
        slices=slices,
        tested=tested,
        ups=ups,
        requests=seen.requests,
        rated=seen.rated.height,
        undated=seen.undated,
        repeated=seen.repeated,
        rejected=seen.rejected,
        below=below,
        doubtful=seen.doubtful,
        output=output if labelled else None,
        labelled=labelled,
        overrides=overrides if ruled else None,
        damaged=seen.damaged,
        notes=seen.notes,
    )


def _moment(change: dt.datetime | None, cut: int) -> dt.datetime:
    return change or dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=cut)


# --- the log ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    """cells: requests by _KEY. rated: one row a rated request: _KEY, unit and bad. period: 0 before and 1 after a
    change that was given, else the day. doubted: the requests to label, the least sure first."""

    cells: pl.DataFrame
    rated: pl.DataFrame
    doubted: pl.DataFrame
    doubtful: int
    requests: int
    undated: int
    repeated: int
    rejected: int
    damaged: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Part:
    """One chunk: its keys, the id and the key's position of each request, the rated ones, and those to label."""

    keys: list[tuple[Any, ...]]
    ids: np.ndarray[Any, Any]
    codes: np.ndarray[Any, Any]
    rated: pl.DataFrame
    doubted: pl.DataFrame
    undated: int
    rejected: int


def _seen(
    paths: Sequence[str],
    typist: Typist,
    options: Options,
    change: dt.datetime | None,
    n: int,
    below: float,
    progress: Progress | None,
) -> _Seen:
    joining = Joining(options.feedback) if options.feedback is not None else None
    in_period = options.since is not None or options.until is not None

    def look(chunk: logs.Chunk, index: int) -> _Part:
        parsed = chunk.parse(tuple(REQUEST))
        requests = _filled(parsed.requests)
        requests = requests if joining is None else joining.join(requests)
        undated = requests["ts"].null_count()
        requests = requests.filter(pl.col("ts").is_not_null(), *_inside(options))
        if joining is not None and in_period:
            joining.count(requests)
        return _part(_typed(requests, typist), f"{index}/{chunk.ordinal}/", typist, change, below, undated, parsed)

    opened = open_paths(paths, options.field_map, options.log_format)
    damaged: list[str] = []
    codes: dict[tuple[Any, ...], int] = {}
    ids, of_key = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)]
    rated: list[pl.DataFrame] = []
    doubted: list[pl.DataFrame] = []
    undated = rejected = 0
    doubtful: set[int] = set()
    for part in over(opened, look, damaged, progress):
        ours = np.array([codes.setdefault(key, len(codes)) for key in part.keys], np.uint32)
        ids.append(part.ids)
        of_key.append(ours[part.codes] if part.codes.size else np.empty(0, np.uint32))
        undated, rejected = undated + part.undated, rejected + part.rejected
        if part.rated.height:
            rated.append(part.rated)
        if part.doubted.height:
            doubtful.update(part.doubted["_id"].to_list())
            doubted = [_least_sure([*doubted, part.doubted], n)]
    every, first = np.unique(np.concatenate(ids), return_index=True)
    counts = np.bincount(np.concatenate(of_key)[first], minlength=len(codes))
    requests = int(every.size)
    if not requests:
        raise InputError(f"no request with a time in {', '.join(paths)}, so there is no before and after.")
    cells = pl.DataFrame(list(codes), schema=dict(zip(_KEY, (pl.String,) * 3 + (pl.Int32,), strict=True)), orient="row")
    whole = pl.concat(rated) if rated else pl.DataFrame(schema={**dict.fromkeys(_KEY, pl.Null), "_id": pl.UInt64})
    notes = list(opened.notes)
    if options.feedback is not None and joining is not None:
        notes.insert(0, note(options.feedback, joining.counts(all_counted=not in_period)))
    return _Seen(
        cells=cells.with_columns(requests=pl.Series(counts, dtype=pl.Int64)),
        rated=whole.unique("_id", keep="first", maintain_order=True),
        doubted=doubted[0] if doubted else pl.DataFrame(),
        doubtful=len(doubtful),
        requests=requests,
        undated=undated,
        repeated=sum(len(part) for part in ids) - requests,
        rejected=rejected,
        damaged=tuple(dict.fromkeys(damaged)),
        notes=tuple(notes),
    )


def _inside(options: Options) -> Iterator[pl.Expr]:
    if options.since is not None:
        yield pl.col("ts") >= options.since
    if options.until is not None:
        yield pl.col("ts") < options.until


def _filled(requests: pl.DataFrame) -> pl.DataFrame:
    return requests.with_columns(pl.lit(None, REQUEST[c]).alias(c) for c in _USED if c not in requests.columns)


def _typed(requests: pl.DataFrame, typist: Typist) -> pl.DataFrame:
    """Only what nothing else decides is put to the classifier: the rest is asked where somebody was unhappy."""
    frame = requests
    if typist.ignore_log:
        frame = frame.with_columns(task=pl.lit(None, pl.String))
    return tasks.classify(frame, typist.classifier.predict if typist.classifier else None, typist.rules)


def _part(
    frame: pl.DataFrame,
    place: str,
    typist: Typist,
    change: dt.datetime | None,
    below: float,
    undated: int,
    parsed: logs.Parsed,
) -> _Part:
    day = (pl.col("ts").to_physical() // _US_A_DAY).cast(pl.Int32)
    own = pl.concat_str(pl.lit(place), pl.col("row").cast(pl.String))
    frame = frame.with_columns(
        period=day if change is None else (pl.col("ts") >= change).cast(pl.Int32),
        # a null has a hash too
        _id=pl.when(pl.col("request_id").is_not_null()).then(pl.col("request_id").hash(11)).otherwise(own.hash(12)),
        unit=pl.coalesce("user_id", "session_id", own).hash(5),
    )
    keys = frame.select(_KEY).unique(maintain_order=True).with_row_index("_code")
    codes = frame.select(_KEY).join(keys, on=list(_KEY), how="left", nulls_equal=True, maintain_order="left")["_code"]
    said = frame.filter(pl.col("feedback").is_not_null())
    rated = said.select(*_KEY, "unit", "_id", bad=(pl.col("feedback") < 0).cast(pl.Int64))
    doubted = said.clear()
    if typist.classifier is not None:
        bad = said.filter(pl.col("feedback") < 0, (pl.col("prompt").str.strip_chars() != "").fill_null(False))
        doubted = _doubted(bad, typist).filter(pl.col("confidence") < below)
    return _Part(
        list(keys.select(_KEY).iter_rows()),
        frame["_id"].to_numpy(),
        codes.to_numpy(),
        rated,
        doubted,
        undated,
        len(parsed.rejects),
    )


def _doubted(bad: pl.DataFrame, typist: Typist) -> pl.DataFrame:
    """With `confidence`: what the classifier gives the task that the request has, whoever decided it; null for a task
    that it does not know."""
    if not bad.height or typist.classifier is None:
        return bad
    said = typist.classifier.predict(tasks.seen(bad))
    given: pl.Expr = pl.lit(None, pl.Float64)
    for task in typist.classifier.classes:
        given = pl.when(pl.col("task") == task).then(pl.lit(said[f"p_{task}"])).otherwise(given)
    return bad.with_columns(confidence=given)


def _least_sure(parts: Sequence[pl.DataFrame], n: int) -> pl.DataFrame:
    return pl.concat(parts, how="diagonal").sort("confidence", "_id").unique("_id", maintain_order=True).head(n)


def _to_label(doubted: pl.DataFrame, said: Feedback | None) -> pl.DataFrame:
    """The columns of `classifier sample`, and what the person said."""
    extra = {}
    if said is not None and "request_id" in doubted.columns:
        at = pl.Series(said.find(doubted["request_id"])).cast(pl.Int64)
        at = at.set(at < 0, None)
        extra = {"comment": said.comments.gather(at), "ticket": said.tickets.gather(at)}
    return doubted.select(
        pl.lit(None, pl.String).alias("task"),
        pl.lit(None, pl.String).alias("alt"),
        *(pl.col(c) for c in SAMPLED if c in doubted.columns and doubted[c].null_count() < doubted.height),
        pl.col("task").alias("given"),
        pl.col("task_source").alias("given_by"),
        "confidence",
        pl.lit(STRATUM).alias("stratum"),
        pl.lit(1.0).alias("weight"),
        *(values.alias(name) for name, values in extra.items() if values.null_count() < doubted.height),
    )


# --- before and after -------------------------------------------------------------------------------------------------


def _level(tested: int, chosen: bool) -> float:
    """The level of each bound, so that all of them hold at once (Bonferroni), also where the day was searched for."""
    return searched(ALPHA / tested, TRIM) if chosen else ALPHA / tested / 2


def _values(frame: pl.DataFrame, dimension: Dimension) -> Iterator[tuple[str | None, pl.DataFrame]]:
    """The parts of a frame by a dimension; what has no value there is no part."""
    if dimension == "all":
        yield None, frame
        return
    for (name,), part in frame.filter(pl.col(dimension).is_not_null()).group_by(dimension, maintain_order=True):
        yield str(name), part


def _found(rated: pl.DataFrame) -> int:
    """The day since which the rate of some slice is up the most. Raises UndecidedError."""
    best: tuple[float, int] | None = None
    for dimension in _DIMENSIONS:
        for _, part in _values(rated, dimension):
            if part.height < 2 * LEAST:
                continue
            days = part.group_by("period").agg(n=pl.len(), bad=pl.col("bad").sum()).sort("period")
            found = largest(days["n"], days["bad"], _clustering(part), TRIM)
            if found is not None and (best is None or found[1] > best[0]):
                best = found[1], int(days["period"][found[0]])
    if best is None:
        raise UndecidedError(
            f"the {rated.height:,} rated requests do not tell when something changed: name the day with "
            "--since-change, or give a longer log."
        )
    return best[1]


def _clustering(part: pl.DataFrame) -> float:
    """How many times more a rate varies than that of as many independent requests."""
    units = part.group_by("unit").agg(n=pl.len(), bad=pl.col("bad").sum()).sort("unit")
    n, bad = units["n"].to_numpy().astype(float), units["bad"].to_numpy().astype(float)
    p = bad.sum() / n.sum()
    alone = n.sum() * p * (1 - p)
    return max(float(((bad - p * n) ** 2).sum()) / alone, 1.0) if alone > 0 else 1.0


def _slices(seen: _Seen, cut: int, chosen: bool) -> tuple[Slice, ...]:
    cells = seen.cells.with_columns(after=pl.col("period") >= cut)
    rated = seen.rated.with_columns(after=pl.col("period") >= cut)
    found: list[Slice] = []
    parts: list[pl.DataFrame] = []
    for dimension in _DIMENSIONS:
        of_rated = dict(_values(rated, dimension))
        for name, cell in _values(cells, dimension):
            part = of_rated.get(name, rated.clear())
            sides = [(cell.filter(after), part.filter(after)) for after in (~pl.col("after"), pl.col("after"))]
            found.append(
                Slice(
                    dimension,
                    name,
                    _pair(int(c["requests"].sum()) for c, _ in sides),
                    _pair(r.height for _, r in sides),
                    _pair(int(r["bad"].sum()) for _, r in sides),
                    _most(sides[0][0]),
                    _most(sides[1][0]),
                    rise=None,
                )
            )
            parts.append(part)
    testable = [min(s.rated) >= LEAST and (not chosen or min(s.rated) >= TRIM * sum(s.rated)) for s in found]
    level = _level(max(sum(testable), 1), chosen)
    tested = [replace(s, rise=_rise(p, level)) if t else s for s, p, t in zip(found, parts, testable, strict=True)]
    order = {name: at for at, name in enumerate(_DIMENSIONS)}
    return tuple(
        sorted(tested, key=lambda s: (order[s.dimension], -(s.rise.low or -1.0) if s.rise else 2.0, s.name or ""))
    )


def _pair(values: Iterable[int]) -> tuple[int, int]:
    first, second = values
    return first, second


def _most(cells: pl.DataFrame) -> str | None:
    """The model of most requests."""
    by = cells.filter(pl.col("model").is_not_null()).group_by("model").agg(pl.col("requests").sum())
    return by.sort("requests", "model", descending=[True, False])["model"].first() if by.height else None  # type: ignore[return-value]


def _rise(rated: pl.DataFrame, level: float) -> Rise:
    # sorted, so that sums of floats come out the same every time
    after = pl.col("after").cast(pl.Int64)
    units = (
        rated.group_by("unit")
        .agg(
            n0=(1 - after).sum(),
            y0=(pl.col("bad") * (1 - after)).sum(),
            n1=after.sum(),
            y1=(pl.col("bad") * after).sum(),
        )
        .sort("unit")
    )
    return rise(units["n0"], units["y0"], units["n1"], units["y1"], level)


# --- up again ---------------------------------------------------------------------------------------------------------


def _ups(seen: _Seen, cut: int, slices: Sequence[Slice], level: float, book: Book, to: str | None) -> Iterator[Up]:
    """Rules for what failed, the worst first; a slice that is only bad because it holds another one gets none."""
    left = seen.rated.with_columns(after=pl.col("period") >= cut)
    failing = [s for s in slices if s.verdict == "rose" and s.dimension != "all"]
    while failing:
        worst = max(failing, key=_sureness)
        yield _up(worst, seen, cut, book, to)
        left = left.filter(pl.col(worst.dimension).ne_missing(pl.lit(worst.name)))
        failing = [s for s in failing if s is not worst and _still(left, s, level)]


def _sureness(found: Slice) -> float:
    rise = found.rise
    assert rise is not None
    assert rise.low is not None
    return rise.change / max(rise.change - rise.low, 1e-9)


def _still(left: pl.DataFrame, found: Slice, level: float) -> bool:
    part = left.filter(pl.col(found.dimension) == found.name)
    sides = part["after"].sum(), part.height - part["after"].sum()
    if min(sides) < LEAST:
        return False
    low = _rise(part, level).low
    return low is not None and low > 0


def _up(found: Slice, seen: _Seen, cut: int, book: Book, to: str | None) -> Up:
    assert found.name is not None
    served, now = found.model_before, found.model_after
    if to is not None:
        target, why = to, "named with --to"
    elif found.dimension != "model" and served is not None and served != now:
        target, why = served, "it served most of this before the change"
    else:
        dearer = _dearer(now, seen, book)
        if dearer is None:
            why = f"no model of this log is known to cost more than {now}: name one with --to MODEL"
            return Up(found, None, why)
        target, why = dearer, f"the next dearer model of this log than {now}"
    names = (found.name,)
    rule = (
        Override(target, task=names)
        if found.dimension == "task"
        else Override(target, feature=names)
        if found.dimension == "feature"
        else Override(target, logged_model=names)
    )
    return Up(found, rule, why)


def _dearer(model: str | None, seen: _Seen, book: Book) -> str | None:
    """The cheapest model of the log that costs more than this one."""
    today = dt.datetime.now(dt.UTC).date()
    prices: dict[str, float] = {}
    for name in seen.cells["model"].drop_nulls().unique().sort().to_list():
        ref = book.resolve(None, name)
        price = list_price(book, ref, today) if ref is not None else {}
        if len(price) == 2:
            prices[name] = sum(price.values())
    own = prices.get(model or "", math.inf)
    return min(
        (name for name, price in prices.items() if price > own), key=lambda name: (prices[name], name), default=None
    )


def _write_rules(path: Path, base: Table | None, ups: Sequence[Up]) -> None:
    """A routing table with the rules first: that of `base`, or of the rules alone."""
    rules = tuple(up.rule for up in ups if up.rule is not None)
    table = base if base is not None else Table(name="watch")
    header = ["Since the change more answers are called bad here. Each rule sends one slice back up."]
    header += [f"{up.rule}: {up.why}" for up in ups if up.rule is not None]
    text = to_yaml(replace(table, overrides=(*rules, *table.overrides)), header=header)
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")
