"""Quality evidence: from the log itself, from results of a benchmark, and what a table of it says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import polars as pl

from routecost import logs, savings, stats
from routecost.errors import InputError
from routecost.pipeline.feedback import Joining
from routecost.pipeline.intake import Intake, Options, Progress, read
from routecost.pipeline.labelling import Typist, open_paths, over
from routecost.pipeline.simulation import PERCENTILES, latency_counts
from routecost.prices import Book
from routecost.quality import (
    COLUMNS,
    effective,
    merged,
    output_ratios,
    read_notes,
    read_quality,
    read_results,
    table_of,
    traits,
    write_quality,
)
from routecost.quality import Settings as ResultSettings
from routecost.quality.table import LATENCIES
from routecost.schema import INPUT_KINDS, REQUEST
from routecost.stats import Grades, Pairs
from routecost.usage import Usage, is_usage_file

Signal = Literal["feedback", "outcome"]
# The source of a row with rates and latencies only.
LOG: Final = "log"

# The same message again within this time says that the answer was not good enough.
AGAIN_SECONDS: Final = 600
# ... among so many requests of the session that follow: others may run beside it.
_AHEAD: Final = 3
# Where nobody knows how long an answer took: sooner than this after it was asked, nobody has read it.
_UNREAD_MS: Final = 1_000.0
# So many requests are kept as numbers; of more, a part of the sessions, drawn by hash, speaks for all.
MOST_ROWS: Final = 4_000_000
# A hint at how unlike the requests are that two models got.
_UNLIKE: Final = 1.5
_FOR_HINT: Final = 30

_NARROW: Final[dict[str, pl.DataType]] = {
    "key": pl.UInt64(),
    "id": pl.UInt64(),
    "session": pl.UInt64(),
    "ts": pl.Int64(),
    "task": pl.Categorical(),
    "model": pl.Categorical(),
    "template": pl.UInt64(),
    "same": pl.UInt64(),
    "frame": pl.UInt64(),
    **{f"lane_{i}": pl.UInt16() for i in range(traits.LANES)},
    "n_messages": pl.Int32(),
    "total_input": pl.Int64(),
    "repeats": pl.Boolean(),
    "ok": pl.Boolean(),
    "cut": pl.Boolean(),
    "tool": pl.Boolean(),
    "feedback": pl.Float64(),
    "latency_ms": pl.Float32(),
    "output_tokens": pl.Int64(),
}
# The answer asks for a tool: what follows goes on with it, and is no second try.
_TOOL_CALLS: Final = ("tool_use", "tool_calls", "function_call", "tool_call")
_TRUNCATED: Final = ("length", "max_tokens", "max_output_tokens", "MAX_TOKENS")


@dataclass(frozen=True)
class FromLogs:
    """What `from_logs` wrote. requests: of a model and task; graded: those with a score; pairs: templates that grade
    two models; unplaced: without task or model; cached: answered by a gateway's cache. notes: what the scores do not
    say."""

    frame: pl.DataFrame
    output: Path
    signal: Signal
    requests: int
    graded: int
    pairs: int
    unplaced: int
    cached: int
    notes: tuple[str, ...]
    intake: Intake


def from_logs(
    paths: Sequence[str],
    output: Path,
    book: Book,
    typist: Typist,
    options: Options,
    *,
    signal: Signal = "feedback",
    source: str | None = None,
    as_of: dt.date | None = None,
    progress: Progress | None = None,
) -> FromLogs:
    """Write a quality table from logs and usage files: scores, rates, latency and cost by task and model; and from logs
    how often an answer was asked for again, lengths of answers and pairs where several models served one template.

    Raises InputError where there is no request of a known task and model.
    """
    paths = [logs.spool_stdin().path if p == "-" else p for p in paths]
    intake = read(paths, book, options=options, progress=progress)
    usage = intake.usage
    cells = usage.cells.with_columns(key=_keys(usage.cells, book))
    cached = cells.filter(pl.col("gateway_cache_hit").fill_null(False))
    placed = cells.filter(
        ~pl.col("gateway_cache_hit").fill_null(False), pl.col("task").is_not_null(), pl.col("key").is_not_null()
    )
    requests = int(placed["requests"].sum())
    if not requests:
        raise InputError(
            f"no request of a known task and model in {', '.join(paths)}, so there is nothing to grade. "
            "`routecost analyze` tells what is missing."
        )
    log_paths = _logs_of(paths)
    seen = _looked(log_paths, book, typist, options, progress) if log_paths else None
    only_logs = seen is not None and not _usage_files(paths)
    rates = _rates(placed, seen if only_logs else None)
    if signal == "feedback":
        scores = _of_feedback(placed)
    elif only_logs and seen is not None:
        scores = _of_outcome(seen)
    else:
        scores = _of_cells(placed)
    name = source or signal
    day = usage.cells["day"].max()
    table = (
        rates.join(scores, on=["task", "key"], how="left")
        .join(_latencies(usage, book), on=["task", "key"], how="left")
        .join(_costs(placed, book, as_of), on=["task", "key"], how="left")
        .join(_ratios(seen), on=["task", "key"], how="left")
        .rename({"key": "model"})
        .with_columns(
            source=pl.when(pl.col("score").is_not_null()).then(pl.lit(name)).otherwise(pl.lit(LOG)),
            date=pl.lit(day.isoformat() if isinstance(day, dt.date) else None, pl.String),
        )
    )
    pairs = _overlaps(seen, signal, name, table["date"][0])
    frame = pl.concat([_shaped(table), _shaped(pairs)]).sort(
        "task", "model", pl.col("versus").is_not_null(), "versus", maintain_order=True
    )
    graded = int(scores["n"].sum() or 0)
    notes = tuple(_caveats(placed, signal, graded, requests, pairs, seen, only_logs=only_logs))
    write_quality(frame, output, notes=notes)
    return FromLogs(
        frame=frame,
        output=output,
        signal=signal,
        requests=requests,
        graded=graded,
        pairs=int(pairs["n"].sum() or 0),
        unplaced=int(cells["requests"].sum()) - requests - int(cached["requests"].sum()),
        cached=int(cached["requests"].sum()),
        notes=notes,
        intake=intake,
    )


def _keys(frame: pl.DataFrame, book: Book) -> pl.Series:
    """The book's key of each row's model, or the model as logged where the book does not know it."""
    pairs = frame.select("provider", "model").unique()
    known = pairs.with_columns(
        key=pl.Series(
            [ref.key if (ref := book.resolve(p, m)) is not None else m for p, m in pairs.iter_rows()], dtype=pl.String
        )
    )
    joined = frame.select("provider", "model").join(
        known, on=["provider", "model"], how="left", nulls_equal=True, maintain_order="left"
    )
    return joined["key"]


def _shaped(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        pl.col(c).cast(t) if c in frame.columns else pl.lit(None, t).alias(c) for c, t in COLUMNS.items()
    )


def _usage_files(paths: Sequence[str]) -> list[str]:
    return [s.path for s in logs.find_sources(paths) if s.kind == "parquet" and is_usage_file(s.path)]


def _logs_of(paths: Sequence[str]) -> list[str]:
    return [s.path for s in logs.find_sources(paths) if not (s.kind == "parquet" and is_usage_file(s.path))]


# --- from cells -------------------------------------------------------------------------------------------------------


def _rates(placed: pl.DataFrame, seen: _Seen | None) -> pl.DataFrame:
    """By task and key: how often it failed, was cut off, retried and (from a log) asked again. Null where the log has
    no such field, as far as that can be told: none of all its requests says so."""
    failed = (pl.col("status") != "ok").cast(pl.Int64) * pl.col("requests")
    sums = placed.group_by("task", "key", maintain_order=True).agg(
        pl.col("requests").sum(),
        failed=failed.sum(),
        cut=pl.col("truncated").sum(),
        retried=pl.col("retried").sum(),
    )
    tells_cut = seen.tells_cut if seen else bool(sums["cut"].sum())
    tells_status = seen.tells_status if seen else bool(sums["failed"].sum())
    tells_attempt = seen.tells_attempt if seen else bool(sums["retried"].sum())
    answered = pl.col("requests") - pl.col("failed")
    found = sums.select(
        "task",
        "key",
        error_rate=pl.when(tells_status).then(pl.col("failed") / pl.col("requests")),
        truncation_rate=pl.when(pl.lit(tells_cut) & (answered > 0)).then((pl.col("cut") / answered).clip(0.0, 1.0)),
        retry_rate=pl.when(tells_attempt).then(pl.col("retried") / pl.col("requests")),
    )
    again = seen.again() if seen else None
    if again is None:
        return found.with_columns(regenerate_rate=pl.lit(None, pl.Float64))
    return found.join(again, on=["task", "key"], how="left")


def _of_feedback(placed: pl.DataFrame) -> pl.DataFrame:
    """Thumbs and ratings, -1 to 1, as scores 0 to 1."""
    total, squares, n = pl.col("feedback_micro") / 1e6, pl.col("feedback_square_micro") / 1e6, pl.col("feedback_n")
    thumbs = pl.col("feedback_positive") + pl.col("feedback_negative")
    return (
        placed.group_by("task", "key")
        .agg(pl.col(c).sum() for c in placed.columns if c.startswith("feedback_"))
        .filter(n > 0)
        .with_columns(score=((total / n + 1) / 2).clip(0.0, 1.0))
        .select(
            "task",
            "key",
            "score",
            n=n,
            squares=pl.min_horizontal(
                pl.max_horizontal((squares + 2 * total + n) / 4, n * pl.col("score") ** 2), n * pl.col("score")
            ),
            # thumbs only, up or down: right or wrong
            successes=pl.when((thumbs == n) & (squares == n)).then("feedback_positive"),
        )
    )


def _of_cells(placed: pl.DataFrame) -> pl.DataFrame:
    """1 for an answer that neither failed nor was cut off: what a usage file tells of outcomes."""
    ok = pl.col("status") == "ok"
    return (
        placed.group_by("task", "key")
        .agg(n=pl.col("requests").sum(), successes=(pl.col("requests") - pl.col("truncated")).filter(ok).sum())
        .pipe(_of_successes)
    )


def _of_successes(counts: pl.DataFrame) -> pl.DataFrame:
    return counts.select(
        "task",
        "key",
        "n",
        "successes",
        score=pl.col("successes") / pl.col("n"),
        squares=pl.col("successes").cast(pl.Float64),
    )


def _latencies(usage: Usage, book: Book) -> pl.DataFrame:
    rows = []
    for (task, key), part in latency_counts(usage, book).group_by("task", "key", maintain_order=True):
        middles, counts = part["middle"].to_numpy(), part["n"].to_numpy().astype(float)
        rows.append((task, key, *(stats.percentile(middles, counts, p) for p in PERCENTILES)))
    types = {"task": pl.String(), "key": pl.String(), **dict.fromkeys(LATENCIES, pl.Float64())}
    return pl.DataFrame(rows, schema=types, orient="row")


def _costs(placed: pl.DataFrame, book: Book, as_of: dt.date | None) -> pl.DataFrame:
    """Mean cost of a request, over those that have a price."""
    priced = savings.today(placed, book, as_of=as_of or dt.datetime.now(dt.UTC).date())
    return (
        priced.filter(pl.col("today_usd").is_not_null())
        .group_by("task", "key")
        .agg(cost_usd=pl.col("today_usd").sum() / pl.col("requests").sum())
    )


# --- from the requests of a log ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    """Requests of a log as numbers (_NARROW), each id once, with `again`: whether the same was asked again (null where
    nobody can know). part: the share of the sessions that stands for all. tells_*: fields that the log has."""

    rows: pl.DataFrame
    part: float
    tells_status: bool
    tells_cut: bool
    tells_attempt: bool

    def again(self) -> pl.DataFrame:
        """Share of answers that were asked for again, by task and key."""
        return (
            self.rows.filter(pl.col("again").is_not_null())
            .group_by("task", "model")
            .agg(regenerate_rate=pl.col("again").mean())
            .select(pl.col("task").cast(pl.String), pl.col("model").cast(pl.String).alias("key"), "regenerate_rate")
        )


def _looked(paths: Sequence[str], book: Book, typist: Typist, options: Options, progress: Progress | None) -> _Seen:
    opened = open_paths(paths, options.field_map, options.log_format, estimates=options.estimates)
    joining = Joining(options.feedback) if options.feedback is not None else None
    has = dict.fromkeys(("status", "finish_reason", "attempt", "previous_prompt"), False)

    def work(chunk: logs.Chunk, index: int) -> tuple[pl.DataFrame, dict[str, bool]]:
        requests = typist.decide(_within(chunk.parse(tuple(REQUEST)).requests, options))
        requests = requests if joining is None else joining.join(requests)
        filled = {c: c in requests.columns and requests[c].null_count() < requests.height for c in has}
        return _narrowed(requests, book, index, chunk.ordinal), filled

    kept: list[pl.DataFrame] = [pl.DataFrame(schema=_NARROW)]
    bits = 0
    # what is damaged was told when the same files were counted
    for rows, filled in over(opened, work, [], progress):
        kept.append(_sampled(rows, bits))
        has = {c: has[c] or filled[c] for c in has}
        while sum(frame.height for frame in kept) > MOST_ROWS:
            bits += 1
            kept = [_sampled(pl.concat(kept), bits)]
    return _Seen(
        _with_again(_once(pl.concat(kept)), by_tokens=has["previous_prompt"]),
        0.5**bits,
        has["status"],
        has["finish_reason"],
        has["attempt"],
    )


def _within(requests: pl.DataFrame, options: Options) -> pl.DataFrame:
    if options.since is not None:
        requests = requests.filter((pl.col("ts") >= options.since).fill_null(False))
    if options.until is not None:
        requests = requests.filter((pl.col("ts") < options.until).fill_null(False))
    return requests


def _sampled(rows: pl.DataFrame, bits: int) -> pl.DataFrame:
    return rows if not bits else rows.filter(pl.col("key") & ((1 << bits) - 1) == 0)


def _narrowed(requests: pl.DataFrame, book: Book, source: int, ordinal: int) -> pl.DataFrame:
    """Requests of a known task and model, not answered by a cache, as _NARROW."""
    wanted = (*_USED, "task")
    frame = requests.with_columns(pl.lit(None, REQUEST[c]).alias(c) for c in wanted if c not in requests.columns)
    frame = frame.with_columns(key=_keys(frame, book)).filter(
        pl.col("task").is_not_null(),
        pl.col("key").is_not_null(),
        ~pl.col("gateway_cache_hit").fill_null(False),
    )
    prompt = pl.when(pl.col("prompt").str.strip_chars() != "").then("prompt")
    in_session = pl.col("session_id").is_not_null() & pl.col("ts").is_not_null()
    frame = frame.with_columns(
        _plain=pl.when(in_session).then(traits.plain(prompt)),
        _before=pl.when(in_session).then(traits.plain(pl.col("previous_prompt"))),
        _place=pl.concat_str(pl.lit(f"{source}/{ordinal}/"), pl.col("row").cast(pl.String)),
    )
    return frame.select(
        # a null has a hash too
        key=pl.coalesce("session_id", "request_id", "_place").hash(5),
        id=pl.when(pl.col("request_id").is_not_null()).then(pl.col("request_id").hash(11)),
        session=pl.when(in_session).then(pl.col("session_id").hash(7)),
        ts=pl.col("ts").to_physical(),
        task=pl.col("task").cast(pl.Categorical),
        model=pl.col("key").cast(pl.Categorical),
        template=traits.template(pl.col("system"), prompt),
        same=traits.same(pl.col("_plain")),
        frame=traits.frame(pl.col("_plain")),
        **{f"lane_{i}": lane for i, lane in enumerate(traits.sketch(pl.col("_plain")))},
        n_messages=pl.col("n_messages").cast(pl.Int32),
        total_input=pl.when(pl.any_horizontal(pl.col(INPUT_KINDS).is_not_null())).then(
            pl.sum_horizontal(pl.col(INPUT_KINDS).fill_null(0))
        ),
        repeats=(pl.col("_plain") == pl.col("_before")).fill_null(False),
        ok=pl.col("status").fill_null("ok") == "ok",
        cut=pl.col("finish_reason").is_in(_TRUNCATED).fill_null(False),
        tool=pl.col("finish_reason").is_in(_TOOL_CALLS).fill_null(False),
        feedback=pl.col("feedback"),
        latency_ms=pl.col("latency_ms").cast(pl.Float32),
        output_tokens=pl.col("output_tokens"),
    ).cast(dict(_NARROW))  # type: ignore[arg-type]


_USED: Final = (
    "request_id",
    "session_id",
    "ts",
    "provider",
    "model",
    "prompt",
    "system",
    "previous_prompt",
    "n_messages",
    "status",
    "finish_reason",
    "feedback",
    "latency_ms",
    *INPUT_KINDS,
    "output_tokens",
    "gateway_cache_hit",
)


def _once(rows: pl.DataFrame) -> pl.DataFrame:
    """Each request id once: a line that stands twice is no second question."""
    named = rows.filter(pl.col("id").is_not_null()).unique("id", keep="first", maintain_order=True)
    return pl.concat([named, rows.filter(pl.col("id").is_null())])


def _with_again(rows: pl.DataFrame, *, by_tokens: bool) -> pl.DataFrame:
    """`again`: the session sent the same message again within AGAIN_SECONDS, after it had the answer.

    An agent sends the same last message with every step that its tools take: where the conversation has grown, the
    message must stand in it twice. Null without session, time or text, where there was no answer, and where it calls a
    tool. by_tokens: how long the conversation is may be told from its tokens, as the log tells what was said before.
    """
    ordered = rows.sort("session", "ts", "id", nulls_last=True, maintain_order=True)
    again: pl.Expr = pl.lit(False)
    answered = pl.col("ts") + (pl.col("latency_ms").fill_null(_UNREAD_MS).cast(pl.Float64) * 1000).cast(pl.Int64)
    for step in range(1, _AHEAD + 1):
        later = {
            c: pl.col(c).shift(-step)
            for c in ("session", "ts", "same", "frame", "n_messages", "total_input", "repeats")
        }
        lanes = [pl.col(f"lane_{i}") == pl.col(f"lane_{i}").shift(-step) for i in range(traits.LANES)]
        agree = pl.sum_horizontal(lane.fill_null(False).cast(pl.Int8) for lane in lanes) >= traits.AGREE
        alike = (pl.col("same") == later["same"]) | ((pl.col("frame") == later["frame"]) & agree)
        longer = later["total_input"] > pl.col("total_input")
        grown = (later["n_messages"] > pl.col("n_messages")).fill_null(longer if by_tokens else pl.lit(False))
        again = again | (
            (later["session"] == pl.col("session"))
            & (later["ts"] >= answered)
            & (later["ts"] - pl.col("ts") <= AGAIN_SECONDS * 1_000_000)
            & alike
            & (~grown.fill_null(False) | later["repeats"])
        ).fill_null(False)
    can_know = pl.col("session").is_not_null() & pl.col("same").is_not_null() & pl.col("ok") & ~pl.col("tool")
    return ordered.with_columns(again=pl.when(can_know).then(again))


def _of_outcome(seen: _Seen) -> pl.DataFrame:
    """1 for an answer that did not fail, was not cut off and was not asked for again."""
    good = pl.col("ok") & ~pl.col("cut") & ~pl.col("again").fill_null(False)
    return (
        seen.rows.group_by("task", "model")
        .agg(n=pl.len().cast(pl.Int64), successes=good.sum().cast(pl.Int64))
        .select(pl.col("task").cast(pl.String), pl.col("model").cast(pl.String).alias("key"), "n", "successes")
        .pipe(_of_successes)
    )


def _ratios(seen: _Seen | None) -> pl.DataFrame:
    empty = pl.DataFrame(schema={"task": pl.String, "key": pl.String, "output_ratio": pl.Float64})
    if seen is None:
        return empty
    answers = (
        _shared(seen.rows.filter(pl.col("ok") & ~pl.col("cut") & pl.col("output_tokens").is_not_null()))
        .group_by("task", "model", item="template")
        .agg(n=pl.len().cast(pl.Int64), tokens=pl.col("output_tokens").sum())
    )
    found = output_ratios(answers)
    return found.select("task", pl.col("model").alias("key"), "output_ratio") if found.height else empty


def _shared(rows: pl.DataFrame) -> pl.DataFrame:
    """Requests of templates that several models served."""
    several = rows.filter(pl.col("template").is_not_null()).filter(
        pl.col("model").n_unique().over("task", "template") > 1
    )
    return several.with_columns(pl.col("task", "model").cast(pl.String))


def _overlaps(seen: _Seen | None, signal: Signal, source: str, date: str | None) -> pl.DataFrame:
    """Pair rows: for each template that two models served with grades, the difference of their mean scores.

    A template is one observation, however often it was used: what is easy or hard about it both models share. It counts
    by how well its difference is known (half the harmonic mean of the two numbers of grades), and n is the number of
    equal observations that would tell as much.
    """
    empty = pl.DataFrame(schema=COLUMNS)
    if seen is None:
        return empty
    score = (
        (pl.col("feedback") + 1) / 2
        if signal == "feedback"
        else (pl.col("ok") & ~pl.col("cut") & ~pl.col("again").fill_null(False)).cast(pl.Float64)
    )
    graded = _shared(seen.rows.with_columns(score=score).filter(pl.col("score").is_not_null()))
    means = graded.group_by("task", "template", "model").agg(pl.col("score").mean(), n=pl.len().cast(pl.Float64))
    both = (
        means.join(means, on=["task", "template"], suffix="_other")
        .filter(pl.col("model") < pl.col("model_other"))
        .sort("task", "model", "model_other", "template")
        .with_columns(
            difference=pl.col("score") - pl.col("score_other"),
            weight=pl.col("n") * pl.col("n_other") / (pl.col("n") + pl.col("n_other")),
        )
    )
    rows = []
    for (task, model, other), part in both.group_by("task", "model", "model_other", maintain_order=True):
        weights = part["weight"].to_numpy()
        n = effective(weights)
        mean, squares = (
            float((part["weight"] * v).sum()) / weights.sum() for v in (part["difference"], part["difference"] ** 2)
        )
        rows.append(
            dict.fromkeys(COLUMNS)
            | {"task": task, "model": model, "versus": other, "n": n, "score": mean, "squares": n * squares}
            | {"source": source, "date": date}
        )
    return pl.DataFrame(rows, schema=COLUMNS) if rows else empty


def _caveats(
    placed: pl.DataFrame,
    signal: Signal,
    graded: int,
    requests: int,
    pairs: pl.DataFrame,
    seen: _Seen | None,
    *,
    only_logs: bool,
) -> Iterator[str]:
    """What the reader of the table must know of how its grades came about."""
    if signal == "feedback":
        if not graded:
            yield "No request has feedback, so there are no scores. --signal outcome grades by what went wrong instead."
        else:
            yield (
                f"{graded:,} of {requests:,} requests ({graded / requests:.1%}) have feedback. Those who give it are "
                "not like those who do not, and their share may differ by model."
            )
    elif only_logs:
        yield (
            "A score of 1 means that an answer did not fail, was not cut off and was not asked for again: it says that "
            "nothing went visibly wrong, not that the answer was good."
        )
    else:
        yield (
            "A score of 1 means that an answer did not fail and was not cut off. Whether it was asked for again takes "
            "the log: a usage file does not keep who asked what."
        )
    yield (
        "Who got which model was not random: a model that was given the harder requests scores lower for it. Rows with "
        "`versus` compare models on the same templates; plain scores compare models on what each was given."
    )
    yield from _unlike(placed)
    if graded and signal == "feedback":
        yield "Scores count each answer once. Answers to one user vary together, so the true uncertainty is larger."
    if seen is None:
        yield "A usage file keeps no prompts: pairs, lengths of answers and what was asked again take the log."
    elif not pairs.height:
        yield "No prompt template was served and graded on two models, so there are no pairs."
    if seen is not None and seen.part < 1:
        yield (
            f"Pairs, lengths and what was asked again are of {seen.part:.2%} of the sessions, drawn by hash: the log "
            f"has more than {MOST_ROWS:,} requests."
        )
    if seen is not None and seen.rows["session"].null_count() == seen.rows.height:
        yield "The log has no session ids with times, so nobody can tell what was asked again."


def _unlike(placed: pl.DataFrame) -> Iterator[str]:
    """How far the requests differ that the models of a task got, by their mean length."""
    means = (
        placed.filter(pl.col("problem").is_null() | (pl.col("problem") == "no_model"))
        .group_by("task", "key")
        .agg(pl.col("requests").sum(), tokens=pl.sum_horizontal(pl.col(INPUT_KINDS).sum()))
        .filter(pl.col("requests") >= _FOR_HINT)
        .with_columns(mean=pl.col("tokens") / pl.col("requests"))
        .sort("task", "mean", "key")
    )
    for (task,), part in means.group_by("task", maintain_order=True):
        short, long = part.row(0, named=True), part.row(-1, named=True)
        if part.height > 1 and short["mean"] > 0 and long["mean"] >= _UNLIKE * short["mean"]:
            yield (
                f"At {task}, {long['key']} was given requests {long['mean'] / short['mean']:.1f} times as long as "
                f"{short['key']} ({long['mean']:,.0f} against {short['mean']:,.0f} input tokens)."
            )


# --- results of a benchmark -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Imported:
    """What `import_results` wrote. answers: graded one by one; kinds: file -> what it was taken for; unknown: models
    that the price book does not know, with the nearest that it does."""

    frame: pl.DataFrame
    output: Path
    answers: int
    kinds: Mapping[str, str]
    unknown: Mapping[str, Sequence[str]]
    notes: tuple[str, ...]


def import_results(paths: Sequence[Path], output: Path, settings: ResultSettings, book: Book) -> Imported:
    """Write a quality table from results of benchmarks and judges. Raises InputError where they cannot be read."""
    found = read_results(paths, settings)
    frame = merged([table_of(found.answers), found.totals])
    names = pl.concat([frame["model"], frame["versus"].drop_nulls()]).unique(maintain_order=True).to_list()
    unknown = {name: book.nearest(name) for name in names if book.resolve(None, name) is None}
    notes = list(found.notes)
    weights = found.answers["weight"]
    if weights.n_unique() > 1:
        notes.append(
            "Scores are weighted by how many requests a prompt stands for; n is the number of equally weighted answers "
            "that would tell as much."
        )
    write_quality(frame, output, notes=notes)
    return Imported(frame, output, found.answers.height, found.kinds, unknown, tuple(notes))


# --- what a table says ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """A quality table with 95 % intervals. grades and pairs: its rows with low, high and age_days (of today; null
    without a date). sources: source, rows, answers, oldest, newest. notes: as they stand in the files."""

    files: tuple[str, ...]
    grades: pl.DataFrame
    pairs: pl.DataFrame
    sources: pl.DataFrame
    notes: tuple[str, ...]


def show(paths: Sequence[Path], *, today: dt.date | None = None) -> Shown:
    """Quality tables, added up where they are several, with intervals. Raises InputError."""
    frames = [read_quality(path) for path in paths]
    frame = frames[0] if len(frames) == 1 else merged(frames)
    day = today or dt.datetime.now(dt.UTC).date()
    aged = frame.with_columns(
        age_days=(pl.lit(day) - pl.col("date").str.to_date("%Y-%m-%d", strict=False)).dt.total_days()
    )
    single, pair = aged.filter(pl.col("versus").is_null()), aged.filter(pl.col("versus").is_not_null())
    graded = pl.col("n").is_not_null() & pl.col("score").is_not_null()
    sources = (
        aged.group_by("source", maintain_order=True)
        .agg(
            rows=pl.len().cast(pl.Int64),
            answers=pl.col("n").filter(pl.col("versus").is_null() & pl.col("score").is_not_null()).sum(),
            oldest=pl.col("date").min(),
            newest=pl.col("date").max(),
        )
        .sort("answers", "source", descending=[True, False], nulls_last=True)
    )
    notes = dict.fromkeys(note for path in paths for note in read_notes(path))
    return Shown(
        files=tuple(str(path) for path in paths),
        grades=_bounded(single, graded, _grade_bounds),
        pairs=_bounded(pair, graded, _pair_bounds),
        sources=sources,
        notes=tuple(notes),
    )


_TAIL: Final = 0.025


def _bounded(
    frame: pl.DataFrame, graded: pl.Expr, bounds: Callable[[pl.DataFrame], tuple[list[float], list[float]]]
) -> pl.DataFrame:
    numbered = frame.with_row_index("_at")
    known = numbered.filter(graded)
    low, high = bounds(known) if known.height else ([], [])
    found = known.select("_at", low=pl.Series(low, dtype=pl.Float64), high=pl.Series(high, dtype=pl.Float64))
    return numbered.join(found, on="_at", how="left", maintain_order="left").drop("_at")


def _grade_bounds(rows: pl.DataFrame) -> tuple[list[float], list[float]]:
    grades = [Grades(n, score, squares) for n, score, squares in rows.select("n", "score", "squares").iter_rows()]
    low, high = stats.score_bounds(grades, _TAIL).tolist()
    return low, high


def _pair_bounds(rows: pl.DataFrame) -> tuple[list[float], list[float]]:
    pairs = [Pairs(n, score, squares) for n, score, squares in rows.select("n", "score", "squares").iter_rows()]
    turned = [Pairs(p.n, -p.difference, p.squares) for p in pairs]
    return stats.paired_bounds(pairs, _TAIL).tolist(), [-b for b in stats.paired_bounds(turned, _TAIL).tolist()]
