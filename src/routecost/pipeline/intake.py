"""Logs and usage files to one usage, with every line accounted for."""

from __future__ import annotations

import collections
import datetime as dt
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np
import polars as pl

from routecost import logs, tasks
from routecost.errors import InputError, UsageError
from routecost.pipeline.feedback import Feedback, Joining
from routecost.pipeline.feedback import note as feedback_note
from routecost.prices import Book
from routecost.routing import Override, Table, rule_expression
from routecost.schema import CELL_KEY, REQUEST, TASKS
from routecost.usage import (
    Sessions,
    Settings,
    Usage,
    empty,
    hashed,
    is_id,
    is_pairs_file,
    is_usage_file,
    machine_salt,
    merge,
    pairs_path,
    prepare,
    read_pairs,
    read_usage,
    subtract,
    tally,
)
from routecost.usage.cells import Unit, check_size, count
from routecost.usage.pairs import Keyed, keyed, merged, rows_of, secret_of, totals, with_keys
from routecost.usage.sessions import ROW_BITS, Narrow, narrow, place, unplace

if TYPE_CHECKING:
    from routecost import classifier

EXAMPLES = 3
# Of the counts by source of tasks: requests that a rule decided, by its task and the classifier's.
PAIR = "rules:"
# Of the counts: how often the logged arithmetic corrected a count, by what it did (logs.CORRECTIONS).
CORRECTED = "corrected_"
# Breakdowns that follow from a cell's day, so that every usage file has them.
CALENDAR = ("week", "month")
_TEXT = ("prompt", "system", "previous_prompt")
_COMPACT_ROWS = 150_000
_BATCH_ROWS = 65_536
_DUPLICATE_ROWS = 1_000_000
# Columns that no command of the present asks a log for.
_UNUSED = ("file", "line", "request_hash")
# Columns that are only read when somebody groups by them.
_SELDOM = ("model_requested", "stream")
# Columns that only task rules, and overrides on the request itself, look at.
_ASKED_BY_RULES = ("n_messages", "project")

Progress = Callable[[int, int], None]
# Where task types come from. log: its own label, then rules, then the classifier; else its labels are set aside.
TasksFrom = Literal["log", "rules", "classifier", "both"]
T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where something stands: a file and a line."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Fault:
    """A kind of trouble with the input: its code, how often, a sentence for the first one, and where the first are."""

    code: str
    count: int
    reason: str
    places: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Options:
    """How logs are read and counted. See the command line's help for each.

    group_features: keep features apart in the groups, so that the cost of each can be told with its uncertainty.
    hash_ids: hash ids that `by` names, with `salt` or else the one of the account on this machine.
    pairs: also keep requests one by one, by keyed hashes under that salt (it reads prompts, which takes longer).
    feedback: what people said later (feedback.read_feedback), in the place of what the log says.
    """

    by: tuple[str, ...] = ()
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    field_map: Path | None = None
    task_rules: Path | None = None
    classify: bool = True
    classifier: Path | None = None
    tasks_from: TasksFrom = "log"
    unit: Unit = "auto"
    rejects: Path | None = None
    workers: int | None = None
    log_format: str | None = None
    estimates: bool = True
    group_features: bool = False
    hash_ids: bool = False
    salt: str | None = None
    pairs: bool = False
    feedback: Feedback | None = None


@dataclass(frozen=True)
class Intake:
    """What was read: the usage, what was rejected and why, ids that stood twice, remarks, and how many of the files are
    of which format. pairs: the requests one by one, where options ask for them and every file has them."""

    usage: Usage
    rejected: tuple[Fault, ...] = ()
    duplicates: tuple[Place, ...] = ()
    damaged: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    files: int = 0
    book_version: str | None = None
    formats: Mapping[str, int] = field(default_factory=dict)
    pairs: Keyed | None = None

    @property
    def counts(self) -> Mapping[str, int]:
        return self.usage.counts

    def to_polars(self) -> pl.DataFrame:
        """The cells."""
        return self.usage.cells


def find_paths(paths: Sequence[str]) -> list[str]:
    """The paths given, or what a command without a path means. Raises UsageError naming the ways to give one."""
    if paths:
        return list(paths)
    if os.path.exists("usage.parquet"):
        return ["usage.parquet"]
    found = sorted(str(p) for p in Path().glob("logs*") if p.is_dir() or p.suffix in _ENDINGS)
    if found:
        return found
    raise UsageError(
        "no log given, and none found here. Name one (`routecost analyze logs.jsonl`), pipe one in "
        "(`... | routecost analyze -`), set `logs` in routecost.toml, or keep a usage.parquet or logs* in this folder."
    )


_ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".parquet", ".gz", ".zst")


def read(
    paths: Sequence[str],
    book: Book,
    *,
    tables: Sequence[Table] = (),
    options: Options | None = None,
    progress: Progress | None = None,
) -> Intake:
    """Everything in `paths` (logs and usage files) as one usage, counted for these tables and this price book.

    Raises InputError where a file is not what it should be, or a usage file lacks what a table or option needs.
    """
    options = options or Options()
    once = {p if p == "-" or logs.is_object_store(p) else os.path.realpath(p): p for p in paths}
    usage_files = [p for p in once.values() if p != "-" and is_usage_file(p)]
    log_paths = [p for p in once.values() if p not in usage_files]
    sources: list[logs.Source] = []
    for source in logs.find_sources(log_paths):
        if source.kind == "parquet" and is_usage_file(source.path):
            usage_files.append(source.path)
        elif source.kind != "parquet" or not is_pairs_file(source.path):
            # what stands beside a usage file holds nothing that the file does not count
            sources.append(source)
    overrides = _request_rules(tables)
    if options.feedback is not None and usage_files:
        raise InputError(
            f"{usage_files[0]} keeps no request ids, so feedback cannot be joined to it. Name the log itself, or tally "
            "it again with the feedback:  routecost tally LOG... --feedback FILE -o usage.parquet"
        )
    tallied = [_filtered(read_usage(p), options, p) for p in usage_files]
    if tallied:
        settings = tallied[0].settings
        _require(tallied, usage_files, overrides, options)
    else:
        settings = Settings(
            edges=book.edges,
            slots=book.slots,
            by=tuple(sorted({b for b in options.by if b not in (*CELL_KEY, *CALENDAR)})),
            unit=options.unit,
            group_features=options.group_features or any("feature" in t.cell_keys() for t in tables),
            rules={o.key: str(o) for o in overrides},
        )
    if not sources and not tallied:
        raise InputError("nothing to read: no file among " + ", ".join(paths))
    parts = list(tallied)
    intake = Intake(empty(settings))
    if sources:
        if settings.ids is not None:
            # beside a file with hashed ids, those of a log are hashed as well
            options = replace(options, hash_ids=True)
        intake = _read_logs(sources, replace(settings, ids=None), overrides, options, progress)
        parts.append(intake.usage)
    usage = parts[0] if len(parts) == 1 else merge(parts)
    check_size(usage.cells, usage.settings)
    notes = intake.notes
    if tallied and len(parts) > 1:
        notes = (
            *notes,
            "Usage files keep no ids: what stands in two of the files merged here, or in a log too, counts twice.",
        )
    pairs = intake.pairs
    if options.pairs and tallied:
        sides = [pairs_beside(file, usage, options) for file, usage in zip(usage_files, tallied, strict=True)]
        sides += [(pairs, ())] if sources else []
        known = [found for found, _ in sides if found is not None]
        pairs = merged(known) if len(known) == len(sides) else None
        notes = (*notes, *(note for _, said in sides for note in said))
    files = sum(intake.formats.values()) + len(tallied)
    return replace(intake, usage=usage, files=files, notes=notes, pairs=pairs)


def pairs_beside(file: str, usage: Usage, options: Options | None = None) -> tuple[Keyed | None, tuple[str, ...]]:
    """The requests that `tally --pairs` wrote beside a usage file, cut to the days of the options as its usage is, and
    why there are none. Raises InputError where they cannot be read."""
    path = pairs_path(file)
    if not path.exists():
        return None, (f"{file} was tallied without --pairs, so its requests cannot be found again one by one.",)
    found = read_pairs(path)
    inside = _inside(options or Options())
    if inside is not None:
        found = replace(found, rows=found.rows.filter(inside))
    if totals(found.rows) != totals(usage.cells):
        return None, (f"{path} does not belong to {file}, which counts other requests: left out. Tally with --pairs.",)
    return found, ()


def _inside(options: Options) -> pl.Expr | None:
    """Days between since and until; None where neither is given."""
    if options.since is None and options.until is None:
        return None
    inside = pl.lit(True)
    if options.since is not None:
        inside = inside & (pl.col("day") >= options.since.date())
    if options.until is not None:
        inside = inside & (pl.col("day") < options.until.date())
    return inside.fill_null(False)


def _request_rules(tables: Sequence[Table]) -> tuple[Override, ...]:
    rules = {o.key: o for table in tables for o in table.request_rules()}
    return tuple(rules[key] for key in sorted(rules))


def _require(usages: Sequence[Usage], files: Sequence[str], overrides: Sequence[Override], options: Options) -> None:
    """Refuse usage files that lack what is asked of them, with the command that adds it."""
    for usage, file in zip(usages, files, strict=True):
        lacking = [o for o in overrides if o.key not in usage.settings.rules]
        if lacking:
            raise InputError(
                f"{file} was tallied without the rule{'s' if len(lacking) > 1 else ''} "
                f"{'; '.join(str(o) for o in lacking)}: they read the request itself, which a usage file does not "
                "keep. Tally the log again with the table:  routecost tally LOG... --table TABLE.yaml -o usage.parquet"
            )
        missing = [b for b in options.by if b not in (*CELL_KEY, *CALENDAR, *usage.settings.by)]
        if missing:
            raise InputError(
                f"{file} was tallied without the key {missing[0]!r}. "
                f"It has {', '.join([*CELL_KEY, *usage.settings.by])}. "
                f"Tally the log again:  routecost tally LOG... --by {missing[0]} -o usage.parquet"
            )
        if options.unit != "auto" and usage.settings.unit != options.unit:
            raise InputError(
                f"{file} was tallied with the unit {usage.settings.unit!r}, not {options.unit!r}. "
                f"Tally the log again:  routecost tally LOG... --unit {options.unit} -o usage.parquet"
            )


def require_prices(usage: Usage, book: Book, models: Sequence[str]) -> None:
    """Refuse a usage whose bands or slots do not tell apart what the prices of its models, and of `models`, do."""
    pairs = usage.cells.select("provider", "model").unique().rows()
    refs = {ref.key: ref for p, m in [*pairs, *((None, m) for m in models)] if (ref := book.resolve(p, m)) is not None}
    for what, needed, have in (
        ("context bands", book.edges_of(refs.values()), usage.settings.edges),
        ("times of day", book.slots_of(refs.values()), usage.settings.slots),
    ):
        lacking = sorted(set(needed) - set(have))
        if lacking:
            raise InputError(
                f"the usage was tallied without the {what} {', '.join(f'{x:,}' for x in lacking)} that this price book "
                "needs. Tally the log again with it:  routecost tally LOG... [--pricing FILE] -o usage.parquet"
            )


def _filtered(usage: Usage, options: Options, file: str) -> Usage:
    """A usage file cut to whole days. Its groups and histograms cannot be cut, so that needs the log."""
    inside = _inside(options)
    if inside is None:
        return usage
    for name, moment in (("--since", options.since), ("--until", options.until)):
        if moment is not None and moment.time() != dt.time():
            raise InputError(f"{file} keeps days, so {name} must be the beginning of one; saw {moment.isoformat()}.")
    cells = usage.cells.filter(inside)
    if cells.height == usage.cells.height:
        return usage
    outside = usage.requests - int(cells["requests"].sum())
    counts = {**usage.counts, "outside": usage.counts.get("outside", 0) + outside}
    bare = empty(usage.settings)
    # without groups there is no interval, and the output says so: a part of the groups would be a wrong one
    return replace(usage, cells=cells, groups=bare.groups, histograms=bare.histograms, carry=bare.carry, counts=counts)


# --- logs -------------------------------------------------------------------------------------------------------------


class _Once(Generic[T]):
    """A value made when a thread first asks for it: most labelled logs never need rules or a classifier."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: list[T] = []

    def __call__(self) -> T:
        with self._lock:
            if not self._made:
                self._made.append(self._make())
        return self._made[0]

    @property
    def made(self) -> T | None:
        return self._made[0] if self._made else None


@dataclass
class _Work:
    """What all chunks of a run share."""

    settings: Settings
    options: Options
    rules: _Once[tasks.Rules]
    rule: pl.Expr | None
    columns: list[str]
    lean_columns: list[str]
    classifier: _Once[classifier.Classifier] | None
    needs_text: bool
    keep: pl.Expr | None
    secret: bytes | None = None
    joining: Joining | None = None


@dataclass(frozen=True)
class _Part:
    """The requests of one chunk, ready to be counted, and what is said of the chunk itself."""

    requests: pl.DataFrame
    rejects: tuple[logs.Reject, ...]
    lines: int
    outside: int
    undated: int
    tasks_from: Mapping[str, int]
    others: Mapping[str, int]


@dataclass
class _Account:
    """What is counted beside usage while reading."""

    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    faults: dict[str, list[Any]] = field(default_factory=dict)
    per_file: collections.Counter[int] = field(default_factory=collections.Counter)
    damaged: list[str] = field(default_factory=list)


def _read_logs(
    sources: Sequence[logs.Source],
    settings: Settings,
    overrides: Sequence[Override],
    options: Options,
    progress: Progress | None,
) -> Intake:
    given = logs.read_map(options.field_map) if options.field_map else None
    raw_by = tuple(b for b in settings.by if b not in REQUEST and b != "hour")
    opened = logs.open_logs(sources, given, raw_by, options.log_format, estimates=options.estimates)
    sources, layouts = opened.sources, opened.layouts
    account = _Account()
    # without labels in the sample, text is read from the start: a chunk that lacks them is read twice else
    labelled = all(layout.labelled for layout in layouts)
    work = _work(settings, overrides, options, labelled=labelled)
    secret = work.secret
    sessions = Sessions()
    parts: list[Usage] = []
    rows: list[pl.DataFrame] = []
    # what a compressed file holds is only known at its end
    total = 0 if any(s.compression for s in sources) else sum(s.size for s in sources)
    done = 0
    writer = RejectWriter(options.rejects)

    def note(index: int, chunk: logs.Chunk, part: _Part) -> None:
        nonlocal done
        _count(account, index, chunk.ordinal, part, writer)
        done += chunk.size
        if progress is not None:
            progress(done, total)

    for usage, narrowed, one_by_one in _tallied(sources, layouts, work, account, note, options.workers):
        parts.append(usage)
        if one_by_one is not None:
            rows.append(one_by_one)
        sessions.add(narrowed)
        if sum(p.cells.height + p.histograms.height for p in parts[1:]) > _COMPACT_ROWS:
            parts = [merge(parts)]
            check_size(parts[0].cells, settings)
    repeated = sessions.repeated()
    dropped = np.empty(0, np.uint64)
    duplicates: tuple[Place, ...] = ()
    extra: Usage | None = None
    locate = Locate(sources, layouts)
    if repeated.size:
        extra, dropped = _later_copies(repeated, sources, layouts, work)
        duplicates = locate.places([unplace(int(p)) for p in dropped[:EXAMPLES]])
        account.counts["duplicates"] = len(dropped)
    with ThreadPoolExecutor(1) as aside:
        carried = aside.submit(sessions.carry, dropped)
        usage = merge(parts) if parts else empty(settings)
        usage = usage if extra is None else subtract(usage, extra)
        carry = carried.result()
    if work.joining is not None:
        account.counts.update(work.joining.counts(all_counted=work.keep is None))
    pairs = None
    if secret is not None:
        later = pl.Series("place", dropped)
        pairs = keyed([part.filter(~pl.col("place").is_in(later.implode())) for part in rows], settings, secret)
    usage = replace(
        usage,
        carry=carry,
        counts=dict(account.counts),
        sources=_public_sources(sources, layouts, account.per_file),
        settings=replace(
            usage.settings,
            task_rules=rules.version if (rules := work.rules.made) else None,
            classifier=f"{c.name} {c.version}" if work.classifier and (c := work.classifier.made) else None,
        ),
    )
    rejected = tuple(
        Fault(code, n, reason, locate.places(places)) for code, (n, reason, places) in sorted(account.faults.items())
    )
    ids = [b for b in settings.by if is_id(b) or _is_id_field(b, layouts)] if options.hash_ids else []
    notes = list(opened.notes)
    if options.feedback is not None:
        notes.append(feedback_note(options.feedback, account.counts))
    if ids:
        usage = hashed(usage, ids, options.salt or machine_salt())
        notes.append(f"Hashed with a salt: {', '.join(ids)} (--plain-ids keeps them as they are).")
    writer.finish(locate)
    formats = collections.Counter(layout.dialect.name if layout.dialect else logs.FLAT for layout in layouts)
    known = dict(sorted(formats.items()))
    return Intake(usage, rejected, duplicates, tuple(account.damaged), tuple(notes), formats=known, pairs=pairs)


def _is_id_field(name: str, layouts: Sequence[logs.Layout]) -> bool:
    """Whether a raw field is what some log's user, session or request id is read from."""
    return any(name in layout.paths(column) for layout in layouts for column in ("user_id", "session_id", "request_id"))


def _public_sources(
    sources: Sequence[logs.Source], layouts: Sequence[logs.Layout], lines: Mapping[int, int]
) -> tuple[Mapping[str, Any], ...]:
    """Names and lines of the files for a usage file: without folders; those whose names are ids as one."""
    found: list[dict[str, Any]] = []
    together: dict[str, int] = {}
    for index, (source, layout) in enumerate(zip(sources, layouts, strict=True)):
        if layout.dialect is not None and layout.dialect.named_by_id:
            name = f"({layout.dialect.name} files)"
            together[name] = together.get(name, 0) + lines[index]
        else:
            own = source.name == "stdin" or logs.is_object_store(source.path)
            found.append({"name": source.name if own else Path(source.name).name, "lines": lines[index]})
    return (*found, *({"name": name, "lines": n} for name, n in together.items()))


def _work(settings: Settings, overrides: Sequence[Override], options: Options, *, labelled: bool) -> _Work:
    rules = _Once(lambda: tasks.read_rules(options.task_rules))
    load = _Once(lambda: _load_classifier(options.classifier)) if options.classify else None
    if options.classifier is not None and load is not None:
        load()
    if options.task_rules is not None:
        # a mistake in it is told before the log is read
        rules()
    keep = None
    if options.since is not None:
        keep = pl.col("ts") >= options.since
    if options.until is not None:
        before = pl.col("ts") < options.until
        keep = before if keep is None else keep & before
    columns = [c for c in REQUEST if c not in (*_UNUSED, *_SELDOM) or c in settings.by]
    return _Work(
        settings,
        options,
        rules,
        rule_expression(overrides) if overrides else None,
        columns,
        [c for c in columns if c not in (*_TEXT, *_ASKED_BY_RULES) or c in settings.by],
        load,
        bool(overrides) or options.tasks_from != "log" or not labelled or options.pairs,
        keep,
        secret_of(options.salt or machine_salt()) if options.pairs else None,
        Joining(options.feedback) if options.feedback is not None else None,
    )


def _load_classifier(path: Path | None) -> classifier.Classifier:
    from routecost import classifier

    return classifier.load(path)


def _tallied(
    sources: Sequence[logs.Source],
    layouts: Sequence[logs.Layout],
    work: _Work,
    account: _Account,
    note: Callable[[int, logs.Chunk, _Part], None],
    workers: int | None,
) -> Iterator[_Counted]:
    """The usage of about _BATCH_ROWS requests at a time, worked out by threads (Polars lets them run side by side).

    Chunks are parsed one by one, as they are small and prompts are large; what is left of them is counted together,
    as grouping costs the same for many rows as for few.
    """
    # one more than processors: while one thread runs Python, the others are in Polars
    threads = workers or min(8, (os.cpu_count() or 1) + 1)
    parsing: collections.deque[tuple[int, logs.Chunk, Future[_Part]]] = collections.deque()
    counting: collections.deque[Future[_Counted]] = collections.deque()
    held: list[pl.DataFrame] = []
    pool = ThreadPoolExecutor(threads)

    def take() -> None:
        index, chunk, future = parsing.popleft()
        try:
            part = future.result()
        except logs.DamagedError as error:
            account.damaged.append(str(error))
            return
        note(index, chunk, part)
        if part.requests.height:
            held.append(part.requests)

    def flush() -> None:
        if held:
            counting.append(pool.submit(_counted, tuple(held), work))
            held.clear()

    try:
        for index, (source, layout) in enumerate(zip(sources, layouts, strict=True)):
            try:
                for chunk in logs.chunks(source, layout):
                    parsing.append((index, chunk, pool.submit(_parsed, chunk, index, work)))
                    if len(parsing) > threads:
                        take()
                    if sum(frame.height for frame in held) >= _BATCH_ROWS:
                        flush()
                    while counting and (counting[0].done() or len(counting) > threads):
                        yield counting.popleft().result()
            except logs.DamagedError as error:
                account.damaged.append(str(error))
        while parsing:
            take()
        flush()
        while counting:
            yield counting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _parsed(chunk: logs.Chunk, index: int, work: _Work) -> _Part:
    parsed, requests = _requests(chunk, work)
    height = requests.height
    if work.keep is not None:
        requests = requests.filter(work.keep.fill_null(False))
        if work.joining is not None:
            work.joining.count(requests)
    source = requests["task_source"].drop_nulls().value_counts() if requests.height else None
    tasks_from = dict(source.iter_rows()) if source is not None else {}
    if "classifier_task" in requests.columns:
        pairs = requests.filter(pl.col("task_source") == tasks.RULES).group_by("task", "classifier_task").len()
        tasks_from |= {f"{PAIR}{task}/{said or ''}": n for task, said, n in pairs.iter_rows()}
        requests = requests.drop("classifier_task")
    if work.secret is not None:
        requests = with_keys(requests, work.secret)
    # what rules, the classifier and keys have looked at has done its part, and prompts are most of the bytes
    spent = [c for c in (*_TEXT, *_ASKED_BY_RULES) if c in requests.columns and c not in work.settings.by]
    return _Part(
        _placed(requests, index, chunk.ordinal).drop(spent),
        parsed.rejects,
        parsed.lines,
        height - requests.height,
        requests["ts"].null_count(),
        tasks_from,
        {
            "not_calls": parsed.skipped,
            "repeated_lines": parsed.repeated,
            **{f"{CORRECTED}{name}": n for name, n in parsed.corrected.items()},
        },
    )


def _placed(requests: pl.DataFrame, index: int, ordinal: int) -> pl.DataFrame:
    start = pl.lit(place(index, ordinal, 0), pl.UInt64)
    return requests.with_columns(place=pl.col("row").cast(pl.UInt64) + start).drop("row")


# A usage, what sessions keep of its requests, and the requests one by one where these are asked for.
_Counted = tuple[Usage, Narrow, pl.DataFrame | None]


def _counted(frames: Sequence[pl.DataFrame], work: _Work) -> _Counted:
    requests = pl.concat(frames, rechunk=True) if len(frames) > 1 else frames[0]
    prepared = prepare(requests, work.settings)
    counted = count(prepared, work.settings)
    one_by_one = None if work.secret is None else rows_of(requests, prepared)
    return counted.usage, narrow(requests, prepared, counted), one_by_one


def _requests(chunk: logs.Chunk, work: _Work) -> tuple[logs.Parsed, pl.DataFrame]:
    """A chunk's requests with their task and rule. Prompts are read only where something must look at them."""
    if not work.needs_text:
        parsed = chunk.parse(work.lean_columns)
        frame = parsed.requests
        if frame["task"].null_count() == 0:
            return parsed, _ruled(_typed(frame, work), work)
        # once some lack a label, later chunks are likely to as well
        work.needs_text = True
    parsed = chunk.parse(work.columns)
    return parsed, _ruled(_typed(parsed.requests, work), work)


def _typed(frame: pl.DataFrame, work: _Work) -> pl.DataFrame:
    """Task types from the log, rules and classifier, in this order; from some of them where options say so.

    With `both`, `classifier_task` is what the classifier would have said where a rule decided.
    """
    source = work.options.tasks_from
    if source != "log":
        return _typed_anew(frame, work, source)
    if frame["task"].is_in(TASKS).all() and not frame["task"].null_count():
        return frame.with_columns(task_source=pl.lit(tasks.LOG), confidence=pl.lit(None, pl.Float64))
    return tasks.classify(frame, _predictor(work.classifier), work.rules())


def _predictor(load: _Once[classifier.Classifier] | None) -> tasks.Predict | None:
    """What asks the classifier. Fails open: one that was not named and cannot be loaded leaves requests unclassified
    (one that was named is loaded before the log is read)."""
    if load is None:
        return None

    def predict(requests: pl.DataFrame) -> pl.DataFrame:
        try:
            return load().predict(requests)
        except InputError:
            nothing = pl.Series([None]).new_from_index(0, requests.height)
            return pl.DataFrame({"task": nothing.cast(pl.String), "confidence": nothing.cast(pl.Float64)})

    return predict


def _typed_anew(frame: pl.DataFrame, work: _Work, source: str) -> pl.DataFrame:
    predict = _predictor(None if source == "rules" else work.classifier)
    rules = tasks.Rules() if source == "classifier" else work.rules()
    typed = tasks.classify(frame.with_columns(task=pl.lit(None, pl.String)), predict, rules)
    if source != "both" or predict is None:
        return typed
    said = pl.Series("classifier_task", [None], pl.String).new_from_index(0, typed.height)
    by_rule = (typed["task_source"] == tasks.RULES).fill_null(False).arg_true()
    if len(by_rule):
        said = said.scatter(by_rule, predict(tasks.seen(typed[by_rule]))["task"])
    return typed.with_columns(said)


def _ruled(frame: pl.DataFrame, work: _Work) -> pl.DataFrame:
    """Requests with what was said of them later and the rule that decides them, where these are asked for."""
    if work.joining is not None:
        frame = work.joining.join(frame)
    return frame if work.rule is None else frame.with_columns(work.rule.alias("rule"))


def _count(account: _Account, index: int, ordinal: int, result: _Part, writer: RejectWriter) -> None:
    account.counts["lines"] += result.lines
    account.counts["rejected"] += len(result.rejects)
    account.counts["outside"] += result.outside
    account.counts["undated"] += result.undated
    for name, n in result.others.items():
        if n:
            account.counts[name] += n
    for source, n in result.tasks_from.items():
        account.counts[f"task_from_{source}"] += n
    account.per_file[index] += result.lines
    for reject in result.rejects:
        entry = account.faults.setdefault(reject.code, [0, reject.reason, []])
        entry[0] += 1
        if len(entry[2]) < EXAMPLES:
            entry[2].append((index, ordinal, reject.row))
        writer.add(index, ordinal, reject)


def _later_copies(
    repeated: np.ndarray[Any, Any],
    sources: Sequence[logs.Source],
    layouts: Sequence[logs.Layout],
    work: _Work,
) -> tuple[Usage, np.ndarray[Any, Any]]:
    """The usage of all but one of the requests with the same id, and their places. The one that stays is the earliest,
    and among equals the one whose content sorts first: the order of lines and files does not matter.

    The chunks with such requests are read again: once, or as often as it takes to hold only _DUPLICATE_ROWS at a time.
    """
    chunks_of: dict[int, set[int]] = {}
    for number in np.unique(repeated >> np.uint64(ROW_BITS)).tolist():
        source, ordinal, _ = unplace(number << ROW_BITS)
        chunks_of.setdefault(source, set()).add(ordinal)
    wanted = pl.Series("place", repeated).to_frame()
    passes = -(-len(repeated) // _DUPLICATE_ROWS)
    usages: list[Usage] = []
    places: list[np.ndarray[Any, Any]] = []
    for turn in range(passes):
        frames: list[pl.DataFrame] = []
        for index, ordinals in chunks_of.items():
            for chunk in logs.chunks(sources[index], layouts[index], ordinals):
                requests = _placed(_requests(chunk, work)[1], index, chunk.ordinal)
                mine = pl.col("request_id").hash(13) % passes == turn
                requests = requests.filter(mine).join(wanted, on="place", how="semi", maintain_order="left")
                prepared = prepare(requests, work.settings)
                frames.append(
                    prepared.with_columns(
                        requests["request_id"].alias("_id"),
                        requests["ts"].alias("_ts"),
                        requests["session_id"].hash(3).alias("_session"),
                        requests["place"].alias("_place"),
                    )
                )
        content = pl.struct(pl.exclude("_id", "_ts", "_place")).hash(5)
        ordered = pl.concat(frames).with_columns(_content=content)
        ordered = ordered.sort("_id", "_ts", "_content", "_place", nulls_last=True)
        later = ordered.filter(pl.col("_id") == pl.col("_id").shift(1))
        places.append(later["_place"].to_numpy())
        usages.append(tally(later.select(pl.exclude("^_.*$")), work.settings))
    return merge(usages), np.sort(np.concatenate(places))


@dataclass(frozen=True)
class Locate:
    """Where chunks and rows stand in files."""

    sources: Sequence[logs.Source]
    layouts: Sequence[logs.Layout]

    def lines(self, places: Mapping[int, Sequence[tuple[int, int]]]) -> dict[int, dict[tuple[int, int], int]]:
        """Source -> (chunk, row) -> line."""
        return {i: logs.locate(self.sources[i], self.layouts[i], some) for i, some in places.items()}

    def places(self, places: Sequence[tuple[int, int, int]]) -> tuple[Place, ...]:
        """(source, chunk, row) as files and lines."""
        by_source: dict[int, list[tuple[int, int]]] = {}
        for index, ordinal, row in places:
            by_source.setdefault(index, []).append((ordinal, row))
        lines = self.lines(by_source)
        return tuple(Place(self.sources[i].name, lines[i][o, r]) for i, o, r in places if (o, r) in lines[i])


class RejectWriter:
    """Rejected lines as JSONL (file, line, code, reason, text), readable by their owner only: they hold prompts."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        # it lives until `finish`
        self._held = tempfile.TemporaryFile("w+", encoding="utf-8") if path is not None else None  # noqa: SIM115
        self._places: dict[int, list[tuple[int, int]]] = {}

    def add(self, source: int, ordinal: int, reject: logs.Reject) -> None:
        if self._held is not None:
            self._places.setdefault(source, []).append((ordinal, reject.row))
            self._held.write(json.dumps([source, ordinal, reject.row, reject.code, reject.reason, reject.text]) + "\n")

    def finish(self, locate: Locate) -> None:
        """Line numbers are only known now: they cost a pass over the files that have rejects."""
        if self._path is None or self._held is None:
            return
        lines = locate.lines(self._places)
        self._held.seek(0)
        try:
            with open(self._path, "w", encoding="utf-8", opener=_private) as file:
                for held in self._held:
                    index, ordinal, row, code, reason, text = json.loads(held)
                    line = lines[index].get((ordinal, row))
                    entry = {
                        "file": locate.sources[index].name,
                        "line": line,
                        "code": code,
                        "reason": reason,
                        "text": text,
                    }
                    file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        except OSError as error:
            raise InputError(
                f"{self._path}: cannot be written ({error.strerror}). Choose another --rejects."
            ) from error
        finally:
            self._held.close()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
