"""Requests one by one: what each would be called and where it would go, and which of them a person should label."""

from __future__ import annotations

import collections
import datetime as dt
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import polars as pl

from routecost import logs, savings, tasks
from routecost.classifier import MAX_CLASSES, NATURAL_MIX, Classifier, evaluate
from routecost.errors import InputError, UsageError, did_you_mean
from routecost.logs.records import separator_of
from routecost.pipeline.intake import Progress
from routecost.prices import Book
from routecost.routing import Table, route, rule_expression
from routecost.schema import INPUT_KINDS, REQUEST
from routecost.usage import Settings, is_usage_file, prepare
from routecost.whole import whole_file

if TYPE_CHECKING:
    from routecost.classifier.train import Trained

T = TypeVar("T")

# Columns of requests that say what a request is, for a person and for `evaluate`.
SAMPLED: Final = (
    "request_id",
    "prompt",
    "system",
    "previous_prompt",
    "n_messages",
    "needs",
    "feature",
    "provider",
    "model",
    "ts",
    *INPUT_KINDS,
    "output_tokens",
    "service_tier",
    "batch",
    "gateway_cache_hit",
    "mode",
    "model_override",
    "user_id",
    "project",
)
# Strata by confidence: about as often wrong as right, doubtful, sure.
_BINS: Final = (0.6, 0.85)
_FEATURES: Final = 8
OTHER, NONE = "(other)", "(none)"
_ORDER_SEED: Final = 29


@dataclass(frozen=True)
class Typist:
    """How tasks are decided: the log's own label unless `ignore_log`, the rules, the classifier."""

    classifier: Classifier | None
    rules: tasks.Rules
    ignore_log: bool = False

    def decide(self, requests: pl.DataFrame) -> pl.DataFrame:
        """`requests` with task, task_source, confidence, and p_<task> of every request that has text."""
        frame = requests.with_columns(task=pl.lit(None, pl.String)) if self.ignore_log else requests
        decided = tasks.classify(frame, None, self.rules)
        if self.classifier is None:
            return decided
        said = self.classifier.predict(tasks.seen(decided))
        open_ = decided["task"].is_null()
        return decided.with_columns(
            task=decided["task"].zip_with(~open_, said["task"]),
            task_source=decided["task_source"].zip_with(
                ~open_ | said["task"].is_null(), pl.Series([tasks.CLASSIFIER]).new_from_index(0, len(open_))
            ),
            confidence=decided["confidence"].zip_with(~open_, said["confidence"]),
        ).hstack(said.select(pl.exclude("task", "confidence")))


@dataclass(frozen=True)
class Classified:
    """What `classify` wrote: requests by task and by what decided it; rejected lines; the files that were damaged;
    remarks on the files."""

    requests: int
    rejected: int
    by_task: Mapping[str | None, int]
    by_source: Mapping[str | None, int]
    by_model: Mapping[str | None, int]
    damaged: tuple[str, ...]
    notes: tuple[str, ...] = ()


def classify(
    paths: Sequence[str],
    output: Path,
    typist: Typist,
    *,
    table: Table | None = None,
    mode: str | None = None,
    book: Book | None = None,
    keep_prompts: bool = False,
    field_map: Path | None = None,
    log_format: str | None = None,
    progress: Progress | None = None,
) -> Classified:
    """Write a row for each request, in the order of the log: request_id, task, task_source, confidence, p_<task>, and
    with a table routed_model, routed_mode and route_reason. The file is Parquet, CSV or JSONL by its name.

    Raises InputError where a path cannot be read or `output` not be written, UsageError for another kind of file.
    """
    by_task: collections.Counter[str | None] = collections.Counter()
    by_source: collections.Counter[str | None] = collections.Counter()
    by_model: collections.Counter[str | None] = collections.Counter()
    rule = rule_expression(table.request_rules()) if table is not None and table.request_rules() else None
    columns = tuple(REQUEST) if table is not None else tuple(c for c in REQUEST if c in _SEEN_BY_RULES)
    kept = ["request_id", *(["prompt"] if keep_prompts else []), "task", "task_source", "confidence"]
    if typist.classifier is not None:
        kept += [f"p_{c}" for c in typist.classifier.classes]

    def work(chunk: logs.Chunk, _: int) -> tuple[pl.DataFrame, int]:
        parsed = chunk.parse(columns)
        frame = typist.decide(parsed.requests)
        names = list(kept)
        if table is not None:
            assert book is not None
            frame = frame if rule is None else frame.with_columns(rule.alias("rule"))
            frame = route(frame, table, mode=mode, in_catalogue=lambda name: book.resolve(None, name) is not None)
            frame = frame.with_columns(routed_model=pl.coalesce("routed_model", "model"))
            names += ["routed_model", "routed_mode", "route_reason"]
        return frame.select(pl.col(c) if c in frame.columns else pl.lit(None, pl.String).alias(c) for c in names), len(
            parsed.rejects
        )

    rejected = requests = 0
    damaged: list[str] = []
    opened = open_paths(paths, field_map, log_format)
    with Writer(output, private=True) as writer:
        for frame, rejects in over(opened, work, damaged, progress):
            rejected += rejects
            requests += frame.height
            for counter, column in ((by_task, "task"), (by_source, "task_source"), (by_model, "routed_model")):
                if column in frame.columns:
                    counter.update(dict(frame[column].value_counts().iter_rows()))
            writer.write(frame)
        if not requests:
            what = f": all {rejected:,} lines were rejected" if rejected else ""
            raise InputError(f"no request in {', '.join(paths)}{what}.")
    return Classified(requests, rejected, by_task, by_source, by_model, tuple(damaged), tuple(opened.notes))


_SEEN_BY_RULES: Final = (
    "request_id",
    "prompt",
    "system",
    "previous_prompt",
    "n_messages",
    "needs",
    "feature",
    "model",
    "provider",
    "project",
    "file",
    *INPUT_KINDS,
    "task",
)


def open_paths(
    paths: Sequence[str],
    field_map: Path | None,
    log_format: str | None = None,
    extra: Sequence[str] = (),
    *,
    estimates: bool = True,
) -> logs.Opened:
    """Logs with how they are read. Raises InputError where there is none."""
    given = logs.read_map(field_map) if field_map else None
    sources = list(logs.find_sources(paths))
    for source in sources:
        if source.kind == "parquet" and is_usage_file(source.path):
            raise InputError(f"{source.name} is a usage file: it holds counts and no request. Name the log itself.")
    if not sources:
        raise InputError("nothing to read: no file among " + ", ".join(paths))
    return logs.open_logs(sources, given, extra, log_format, estimates=estimates)


def over(
    opened: logs.Opened,
    work: Callable[[logs.Chunk, int], T],
    damaged: list[str],
    progress: Progress | None,
    only: Mapping[int, set[int]] | None = None,
) -> Iterator[T]:
    """`work` on every chunk and the number of its source, in threads; its results in order. only: the chunks of each
    source that are wanted."""
    threads = min(8, (os.cpu_count() or 1) + 1)
    total = 0 if any(s.compression for s in opened.sources) else sum(s.size for s in opened.sources)
    waiting: collections.deque[tuple[int, Future[T]]] = collections.deque()
    done = 0

    def take() -> T:
        nonlocal done
        size, future = waiting.popleft()
        result = future.result()
        done += size
        if progress is not None:
            progress(done, total)
        return result

    with ThreadPoolExecutor(threads) as pool:
        for index, (source, layout) in enumerate(zip(opened.sources, opened.layouts, strict=True)):
            if only is not None and index not in only:
                continue
            try:
                for chunk in logs.chunks(source, layout, only[index] if only else None):
                    waiting.append((chunk.size, pool.submit(work, chunk, index)))
                    if len(waiting) > threads:
                        yield take()
            except logs.DamagedError as error:
                damaged.append(str(error))
        while waiting:
            yield take()


class Writer:
    """A table written part by part: complete under its name, or not at all. private: for its owner only."""

    def __init__(self, path: Path, *, private: bool = False) -> None:
        kinds = {".parquet": self._parquet, ".pq": self._parquet, ".csv": self._csv, ".jsonl": self._jsonl}
        if path.suffix.lower() not in kinds:
            raise UsageError(f"-o {path}: name it .parquet, .csv or .jsonl, so that it is clear what to write.")
        self._kind = kinds[path.suffix.lower()]
        self._whole = whole_file(path, private=private)
        self._parquet_writer: Any = None
        self._first = True

    def __enter__(self) -> Writer:
        self._file = self._whole.__enter__().open("wb")
        return self

    def write(self, frame: pl.DataFrame) -> None:
        self._kind(frame)
        self._first = False

    def __exit__(self, *failed: Any) -> None:
        try:
            if self._parquet_writer is not None:
                self._parquet_writer.close()
            self._file.close()
        finally:
            self._whole.__exit__(*failed)

    def _parquet(self, frame: pl.DataFrame) -> None:
        import pyarrow.parquet as pq

        table = frame.to_arrow()
        if self._parquet_writer is None:
            self._parquet_writer = pq.ParquetWriter(self._file, table.schema, compression="zstd")
        self._parquet_writer.write_table(table)

    def _csv(self, frame: pl.DataFrame) -> None:
        frame.write_csv(self._file, include_header=self._first)

    def _jsonl(self, frame: pl.DataFrame) -> None:
        frame.write_ndjson(self._file)


# --- a sample to label ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sampled:
    """What `sample` wrote: rows of `requests` requests with text; those without; strata with their size, the number of
    rows that were drawn, and the mean confidence."""

    rows: int
    requests: int
    without_text: int
    strata: pl.DataFrame
    damaged: tuple[str, ...]


def sample(
    paths: Sequence[str],
    n: int,
    output: Path,
    typist: Typist,
    *,
    seed: int = 0,
    field_map: Path | None = None,
    log_format: str | None = None,
    progress: Progress | None = None,
) -> Sampled:
    """Write n requests for a person to label, as CSV, JSONL or Parquet: an empty `task`, and `weight` and `stratum`.

    Strata are predicted task x feature (the eight largest; the rest together) x confidence. Each gives rows by its size
    and by how unsure its predictions are, drawn without replacement; a row's weight is how many requests it stands
    for, so that weighted shares estimate those of the whole log without bias. The same seed draws the same rows from
    the same requests, in whatever order files and lines stand.
    """
    opened = open_paths(paths, field_map, log_format)
    narrow: list[pl.DataFrame] = []
    sums: list[pl.DataFrame] = []
    damaged: list[str] = []
    without = 0

    def look(chunk: logs.Chunk, index: int) -> tuple[pl.DataFrame, pl.DataFrame, int]:
        requests = typist.decide(chunk.parse(tuple(REQUEST)).requests)
        height = requests.height
        requests = _with_text(requests)
        rows = _stratified(requests, seed).with_columns(
            source=pl.lit(index, pl.UInt32), ordinal=pl.lit(chunk.ordinal, pl.UInt32)
        )
        sizes = rows.group_by("by_task", "by_feature", "by_confidence").agg(
            size=pl.len(), sure=pl.col("confidence").fill_null(1.0).sum()
        )
        return _lowest(rows, n), sizes, height - rows.height

    for rows, sizes, empty in over(opened, look, damaged, progress):
        narrow.append(rows)
        sums.append(sizes)
        without += empty
        if len(narrow) > 32:
            narrow = [_lowest(pl.concat(narrow), n)]
            sums = [_summed(pl.concat(sums))]
    if not narrow or not (rows := pl.concat(narrow)).height:
        raise InputError(f"no request with text in {', '.join(paths)}, so there is nothing to label.")
    sizes = _summed(pl.concat(sums))
    rows, sizes = _merged(rows, sizes, n)
    sizes = _allocated(sizes, n)
    chosen = (
        _lowest(rows, n)
        .join(sizes.select(*_STRATUM, "stratum", "drawn", "size"), on=list(_STRATUM))
        .with_columns(rank=pl.col("priority").rank("ordinal").over("stratum"))
        .filter(pl.col("rank") <= pl.col("drawn"))
        .with_columns(weight=pl.col("size") / pl.col("drawn"))
        .select("source", "ordinal", "row", "stratum", "weight", "priority")
    )
    wanted: dict[int, set[int]] = {}
    for source, ordinal in chosen.select("source", "ordinal").unique().iter_rows():
        wanted.setdefault(source, set()).add(ordinal)

    def fetch(chunk: logs.Chunk, index: int) -> pl.DataFrame:
        mine = chosen.filter((pl.col("source") == index) & (pl.col("ordinal") == chunk.ordinal))
        requests = chunk.parse(tuple(REQUEST)).requests.with_columns(pl.col("row").cast(pl.Int64))
        return typist.decide(requests.join(mine, on="row", how="inner", maintain_order="left"))

    found = pl.concat(over(opened, fetch, damaged, None, wanted), how="diagonal").sort("priority")
    frame = found.select(
        pl.lit(None, pl.String).alias("task"),
        pl.lit(None, pl.String).alias("alt"),
        *(pl.col(c) for c in SAMPLED if c in found.columns and found[c].null_count() < found.height),
        pl.col("task").alias("given"),
        pl.col("task_source").alias("given_by"),
        "confidence",
        "stratum",
        "weight",
    )
    with Writer(output, private=True) as writer:
        writer.write(frame)
    strata = sizes.select(*_STRATUM, "size", "drawn", sure=pl.col("sure") / pl.col("size")).sort(_STRATUM)
    return Sampled(frame.height, int(sizes["size"].sum()), without, strata, tuple(dict.fromkeys(damaged)))


_STRATUM: Final = ("by_task", "by_feature", "by_confidence")


def _with_text(requests: pl.DataFrame) -> pl.DataFrame:
    if "prompt" not in requests.columns:
        return requests.clear()
    return requests.filter((pl.col("prompt").str.strip_chars() != "").fill_null(False))


def _stratified(requests: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The stratum of each request and the order in which it would be drawn (a hash of what it is)."""
    feature = pl.col("feature") if "feature" in requests.columns else pl.lit(None, pl.String)
    names = ("under 0.6", "0.6 to 0.85", "over 0.85")
    sure = (
        pl.when(pl.col("task").is_null())
        .then(pl.lit("undecided"))
        .when(pl.col("confidence").is_null())
        .then(pl.lit("by rule or log"))
        .when(pl.col("confidence") < _BINS[0])
        .then(pl.lit(names[0]))
        .when(pl.col("confidence") < _BINS[1])
        .then(pl.lit(names[1]))
        .otherwise(pl.lit(names[2]))
    )
    identity = [c for c in ("request_id", "ts", "prompt", "user_id", "output_tokens") if c in requests.columns]
    return requests.select(
        pl.col("row").cast(pl.Int64),
        pl.col("confidence"),
        by_task=pl.col("task").fill_null(NONE),
        by_feature=feature.fill_null(NONE),
        by_confidence=sure,
        priority=pl.struct(identity).hash(_ORDER_SEED + seed),
    )


def _lowest(rows: pl.DataFrame, n: int) -> pl.DataFrame:
    """The n rows of each stratum that come first in the order of drawing."""
    return rows.sort("priority").group_by(_STRATUM, maintain_order=True).head(n)


def _summed(sizes: pl.DataFrame) -> pl.DataFrame:
    return sizes.group_by(_STRATUM).agg(pl.col("size", "sure").sum()).sort(_STRATUM)


def _merged(rows: pl.DataFrame, sizes: pl.DataFrame, n: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Small features go together, until every stratum can give two rows or more of n."""
    largest = (
        sizes.group_by("by_feature").agg(pl.col("size").sum()).sort("size", "by_feature", descending=[True, False])
    )
    for keep in range(min(_FEATURES, largest.height), -1, -1):
        names = largest["by_feature"].head(keep).to_list() if keep else []
        kept = pl.when(pl.col("by_feature").is_in(names)).then("by_feature").otherwise(pl.lit(OTHER))
        fewer = _summed(sizes.with_columns(by_feature=kept))
        if 4 * fewer.height <= n or keep == 0:
            return rows.with_columns(by_feature=kept), fewer
    raise AssertionError("a loop that ends at 0")


def _allocated(sizes: pl.DataFrame, n: int) -> pl.DataFrame:
    """How many rows each stratum gives (Neyman): by size times the deviation of being right; two at least, so that
    its variance is known, and no more than it has."""
    size = sizes["size"].to_list()
    total = sum(size)
    n = min(n, total)
    share = [s / k for s, k in zip(sizes["sure"].to_list(), size, strict=True)]
    pull = [k * math.sqrt(max(p * (1 - p), 0.03)) for k, p in zip(size, share, strict=True)]
    least = 2 if 2 * len(size) <= n else 1
    drawn = [min(k, least) for k in size]
    while (left := n - sum(drawn)) > 0:
        free = [i for i in range(len(size)) if drawn[i] < size[i]]
        wanted = {i: max(pull[i] / sum(pull[j] for j in free) * n - drawn[i], 0.0) for i in free}
        most = sum(wanted.values())
        if most <= 0:
            wanted = {i: pull[i] for i in free}
            most = sum(wanted.values())
        step = {i: min(int(w / most * left), size[i] - drawn[i]) for i, w in wanted.items()}
        if not any(step.values()):
            first = sorted(free, key=lambda i: (-wanted[i], i))[:left]
            step = dict.fromkeys(first, 1)
        for i, more in step.items():
            drawn[i] += more
    names = [" / ".join(row) for row in sizes.select(_STRATUM).iter_rows()]
    return sizes.with_columns(pl.Series("drawn", drawn, pl.Int64), pl.Series("stratum", names)).filter(
        pl.col("drawn") > 0
    )


# --- labels -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Labels:
    """Labelled requests, and what was left out. frame: requests (schema.REQUEST as far as the file has them) with the
    label `task`, alt, weight, stratum, source, lang. unlabelled: rows without a label."""

    frame: pl.DataFrame
    unlabelled: int
    file: str


_EXTRA: Final = {
    "alt": pl.String(),
    "weight": pl.Float64(),
    "stratum": pl.String(),
    "source": pl.String(),
    "lang": pl.String(),
}
_LABEL_NAMES: Final = ("task", "task_type", "label")


def read_labels(paths: Sequence[Path]) -> Labels:
    """Labelled requests: what `sample` wrote with `task` filled in, or any CSV, JSONL or Parquet file with a prompt and
    a label (task, task_type or label). Where some rows of a stratum have no label, the others stand for them.

    Raises InputError for a file without these, and where no row has a label.
    """
    frames = [_read_labels(path) for path in paths]
    frame = pl.concat(frames, how="diagonal")
    label = pl.col("task").str.strip_chars().str.to_lowercase()
    frame = frame.with_columns(label, pl.col("alt").str.strip_chars().str.to_lowercase())
    frame = frame.filter((pl.col("prompt").str.strip_chars() != "").fill_null(False))
    has = (pl.col("task") != "").fill_null(False)
    unlabelled = frame.select((~has).sum()).item()
    # where a stratum has rows without a label, those that have one stand for them
    more = (
        pl.when(pl.col("stratum").is_null()).then(1.0).otherwise(pl.len().over("stratum") / has.sum().over("stratum"))
    )
    frame = frame.with_columns(weight=pl.col("weight").fill_null(1.0) * more).filter(has)
    name = ", ".join(path.name for path in paths)
    if not frame.height:
        raise InputError(f"{name}: no row has a label. Fill in the column `task` and run this again.")
    return Labels(frame, unlabelled, name)


_HEAD_BYTES: Final = 64 << 10


def _read_labels(path: Path) -> pl.DataFrame:
    suffix = path.suffix.lower()
    try:
        if suffix in (".parquet", ".pq"):
            frame = pl.read_parquet(path)
        elif suffix == ".csv":
            # a spreadsheet separates by what its language leaves free
            separator = separator_of(path.read_bytes()[:_HEAD_BYTES])
            frame = pl.read_csv(path, infer_schema=False, encoding="utf8-lossy", separator=separator)
        else:
            frame = pl.read_ndjson(path, infer_schema_length=None)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise InputError(f"{path}: not labels that can be read ({reason}). Expected CSV, JSONL or Parquet.") from None
    label = next((name for name in _LABEL_NAMES if name in frame.columns), None)
    if label is None or "prompt" not in frame.columns:
        raise InputError(
            f"{path}: expected a column `prompt` and a label in `task`; it has {', '.join(frame.columns[:12])}. "
            "`routecost classifier sample` writes such a file."
        )
    types = {**REQUEST, **_EXTRA, "task": pl.String()}
    frame = frame.rename({label: "task"}) if label != "task" else frame
    return frame.select(
        _cast(frame, c, t) if c in frame.columns else pl.lit(None, t).alias(c) for c, t in types.items()
    )


def _cast(frame: pl.DataFrame, column: str, target: pl.DataType) -> pl.Expr:
    text = pl.col(column)
    if frame[column].dtype == pl.String and target == pl.Boolean():
        return text.str.to_lowercase().replace_strict({"true": True, "false": False}, default=None).alias(column)
    if frame[column].dtype == pl.String and isinstance(target, pl.Datetime):
        return text.str.to_datetime(time_unit=target.time_unit, time_zone="UTC", strict=False).alias(column)
    return text.cast(target, strict=False).alias(column)


@dataclass(frozen=True)
class Misrouted:
    """What wrong tasks cost under a table, over the labelled requests, each as many times as it stands for.

    Of the requests that have a price under both tasks: today_usd, given_usd (routed by the given task), label_usd
    (routed by the label). under: share of requests sent to a cheaper model than the label's, and what they cost today
    (a retry on today's model costs that again); over: sent to a dearer one, and what that costs more.
    """

    table: str
    mode: str | None
    requests: float
    priced: float
    today_usd: float
    given_usd: float
    label_usd: float
    under: evaluate.Share
    under_today_usd: float
    over: evaluate.Share
    over_usd: float


@dataclass(frozen=True)
class Evaluation:
    """The answer of `routecost classifier evaluate`.

    alone: the classifier by itself. system: the rules, then the classifier, as `analyze` decides. natural: the
    classifier with labels reweighted to NATURAL_MIX, None where a task of it is missing. by: accuracy of the classifier
    by source and by language, where the labels have them. worst: the surest mistakes. misrouted: with a table.
    """

    labels: Labels
    classifier: str
    alone: evaluate.Measured
    system: evaluate.Measured
    natural: evaluate.Measured | None
    bins: pl.DataFrame
    by: Mapping[str, pl.DataFrame]
    worst: pl.DataFrame
    misrouted: Misrouted | None


def evaluate_labels(
    labels: Labels,
    typist: Typist,
    *,
    table: Table | None = None,
    mode: str | None = None,
    book: Book | None = None,
    worst: int = 10,
    as_of: dt.date | None = None,
) -> Evaluation:
    """How the classifier, and the rules before it, do on labelled requests. Raises InputError where the labels name
    tasks that the classifier does not know."""
    model = typist.classifier
    assert model is not None
    frame = labels.frame
    seen = frame["task"].unique().to_list()
    strange = sorted(set(seen) - set(model.classes))
    if strange:
        known = ", ".join(model.classes)
        raise InputError(
            f"{labels.file}: labels {', '.join(repr(s) for s in strange[:5])} are no task of the classifier ({known})."
            f"{did_you_mean(strange[0], model.classes)} Correct them, or train a classifier on them."
        )
    requests = frame.rename({"task": "label"})
    said = model.predict(tasks.seen(requests))
    alone = frame.with_columns(given=said["task"], confidence=said["confidence"])
    decided = Typist(model, typist.rules, ignore_log=True).decide(requests)
    system = frame.with_columns(given=decided["task"], confidence=decided["confidence"])
    source = f"{frame.height:,} labels of {labels.file}"
    natural = None
    if set(NATURAL_MIX) <= set(seen):
        weighted = evaluate.reweighted(alone, NATURAL_MIX)
        natural = evaluate.measure(weighted, classes=model.classes, source=source)
    hits = alone.with_columns(accepted=evaluate.accepted())
    wrong = hits.filter(~pl.col("accepted")).sort("confidence", "prompt", descending=[True, False], nulls_last=True)
    return Evaluation(
        labels=labels,
        classifier=f"{model.name} {model.version}",
        alone=evaluate.measure(alone, classes=model.classes, source=source),
        system=evaluate.measure(system, classes=model.classes, source=source),
        natural=natural,
        bins=evaluate.calibration(weighted.with_columns(accepted=evaluate.accepted()) if natural else hits)[1],
        by={c: _accuracy_by(hits, c) for c in ("source", "lang") if hits[c].null_count() < hits.height},
        worst=wrong.select("task", "alt", "given", "confidence", "prompt").head(worst),
        misrouted=_misrouted(system, table, mode, book, as_of) if table is not None and book is not None else None,
    )


def _accuracy_by(hits: pl.DataFrame, column: str) -> pl.DataFrame:
    rows = []
    for (name,), part in hits.group_by(column, maintain_order=True):
        found = evaluate.share(part, "accepted")
        rows.append((name, part.height, found.value, found.low, found.high))
    names = {column: pl.String, "n": pl.Int64, "accepted": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    return pl.DataFrame(rows, schema=names, orient="row").sort("n", column, descending=[True, False])


def _misrouted(labelled: pl.DataFrame, table: Table, mode: str | None, book: Book, as_of: dt.date | None) -> Misrouted:
    """The requests priced twice: where the given task sends them, and where the label would."""
    settings = Settings(edges=book.edges, slots=book.slots)
    rule = rule_expression(table.request_rules()) if table.request_rules() else None
    rates = {}
    for name in ("given", "task"):
        requests = labelled.with_columns(task=pl.col(name))
        requests = requests if rule is None else requests.with_columns(rule.alias("rule"))
        priced = savings.today(prepare(requests, settings), book, as_of=as_of)
        rates[name] = savings.routed(priced, table, book, mode=mode, as_of=as_of)
    given, label = rates["given"], rates["task"]
    both = pl.DataFrame(
        {
            "weight": labelled["weight"],
            "today": given["today_usd"],
            "given": given["routed_usd"],
            "label": label["routed_usd"],
            "same": given["to_key"].eq_missing(label["to_key"]),
        }
    )
    known = both.filter(pl.all_horizontal(pl.col("today", "given", "label").is_not_null())).with_columns(
        under=~pl.col("same") & (pl.col("given") < pl.col("label")),
        over=~pl.col("same") & (pl.col("given") > pl.col("label")),
    )

    def usd(amount: pl.Expr) -> float:
        return float(known.select((amount * pl.col("weight")).sum()).item())

    return Misrouted(
        table.name,
        mode,
        float(both["weight"].sum()),
        float(known["weight"].sum()),
        usd(pl.col("today")),
        usd(pl.col("given")),
        usd(pl.col("label")),
        evaluate.share(known, "under"),
        usd(pl.when("under").then("today").otherwise(0.0)),
        evaluate.share(known, "over"),
        usd(pl.when("over").then(pl.col("given") - pl.col("label")).otherwise(0.0)),
    )


def read_taxonomy(path: Path) -> tuple[str, ...]:
    """The tasks of a taxonomy file: YAML with `tasks:`, a list of names or names with a description. Raises
    InputError."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not a taxonomy file that can be read ({str(error).splitlines()[0]}).") from None
    named = content.get("tasks") if isinstance(content, dict) else None
    names = [str(name).strip().lower() for name in named] if isinstance(named, list | dict) else []
    if not 2 <= len(names) <= MAX_CLASSES or len(set(names)) < len(names) or not all(names):
        raise InputError(
            f"{path}: expected `tasks:` with 2 to {MAX_CLASSES} different names, as a list or with a description each "
            f"(`tasks: {{simple: facts and chat, creative: stories}}`); found {named!r}."
        )
    return tuple(names)


def train_labels(
    labels: Labels,
    *,
    start: Classifier | None,
    classes: Sequence[str] | None = None,
    name: str = "own",
    seed: int = 0,
) -> tuple[Trained, evaluate.Measured]:
    """A classifier from labels, and how it did on those that it had not seen. Raises InputError for labels that are not
    among `classes`, and for a task with too few of them."""
    from routecost.classifier.train import train

    if classes is not None:
        strange = sorted(set(labels.frame["task"]) - set(classes))
        if strange:
            raise InputError(
                f"{labels.file}: the label {strange[0]!r} is not in the taxonomy ({', '.join(classes)})."
                f"{did_you_mean(strange[0], classes)} Correct the label, or add the task to the taxonomy."
            )
    context = tasks.seen(labels.frame.with_columns(task=pl.lit(None, pl.String)))
    frame = context.hstack(labels.frame.select("task", "alt", "source", "weight"))
    trained = train(frame, classes=classes, start=start, name=name, corpus=labels.file, seed=seed)
    return trained, evaluate.measure(trained.held_out, classes=trained.classifier.classes, source="held-out labels")
