"""The quality table: grades of models at tasks, and of two models on the same requests."""

from __future__ import annotations

import datetime as dt
import io
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from routecost.errors import InputError, UsageError, did_you_mean
from routecost.whole import whole_file

# One row a KEY. A row without `versus` grades a model; a row with it says how its scores differ from that model's.
COLUMNS: Final[dict[str, pl.DataType]] = {
    "task": pl.String(),
    "model": pl.String(),
    "versus": pl.String(),
    "n": pl.Int64(),
    "score": pl.Float64(),
    "squares": pl.Float64(),
    "successes": pl.Int64(),
    "source": pl.String(),
    "date": pl.String(),
    "latency_p50_ms": pl.Float64(),
    "latency_p95_ms": pl.Float64(),
    "latency_p99_ms": pl.Float64(),
    "output_ratio": pl.Float64(),
    "cost_usd": pl.Float64(),
    "error_rate": pl.Float64(),
    "truncation_rate": pl.Float64(),
    "retry_rate": pl.Float64(),
    "regenerate_rate": pl.Float64(),
}
KEY: Final = ("task", "model", "versus", "source")
LATENCIES: Final = ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms")
RATES: Final = ("error_rate", "truncation_rate", "retry_rate", "regenerate_rate")
# What no sum over requests gives: taken from one row, not from several.
_OF_ONE: Final = (*LATENCIES, "output_ratio", "cost_usd", *RATES)

_PAIR: Final = pl.col("versus").is_not_null()
# Sums of squares were rounded by whoever wrote them down.
_TOLERANCE: Final = 1e-6
_NOTES: Final = b"routecost.notes"
_YAML: Final = (".yaml", ".yml", ".json")
_PARQUET: Final = (".parquet", ".pq")


def read_quality(path: Path | str) -> pl.DataFrame:
    """A quality table (CSV, YAML, Parquet) with all COLUMNS. score and squares are filled in from successes.

    Raises InputError that names the row and column.
    """
    frame = _loaded(path)
    for column in frame.columns:
        if column not in COLUMNS:
            raise InputError(
                f"{path}: unknown column {column!r}.{did_you_mean(column, COLUMNS)} Known: {', '.join(COLUMNS)}."
            )
    typed = pl.DataFrame([_typed(path, frame, c, t) for c, t in COLUMNS.items()])
    _check(path, typed)
    success = pl.col("successes").is_not_null()
    typed = typed.with_columns(
        score=pl.when(success & pl.col("score").is_null()).then(pl.col("successes") / pl.col("n")).otherwise("score"),
        squares=pl.when(success & pl.col("squares").is_null())
        .then(pl.col("successes").cast(pl.Float64))
        .otherwise("squares"),
    )
    _check_once(path, typed)
    return typed


def read_notes(path: Path | str) -> tuple[str, ...]:
    """The remarks that `write_quality` put into a table: comment lines on top, or metadata of a Parquet file."""
    if Path(path).suffix.lower() in _PARQUET:
        try:
            text = pl.read_parquet_metadata(path).get(_NOTES.decode(), "")
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InputError(f"{path}: not a quality table that can be read ({_first_line(error)}).") from None
        return tuple(text.split("\n")) if text else ()
    notes = []
    for line in _text(path).splitlines():
        if not line.startswith("#"):
            break
        notes.append(line.removeprefix("#").strip())
    return tuple(notes)


def write_quality(frame: pl.DataFrame, path: Path | str, *, notes: Sequence[str] = ()) -> None:
    """Write a table so that `read_quality` gives it back: CSV, YAML or Parquet by its name, without the columns that
    say nothing. notes: remarks that stand in it (as comments where the format has them)."""
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in (".csv", ".yaml", ".yml", *_PARQUET):
        raise UsageError(f"-o {path}: name it .csv, .yaml or .parquet, so that it is clear what to write.")
    said = [c for c in COLUMNS if c in ("task", "model") or frame[c].null_count() < frame.height]
    rows = frame.select(said)
    remarks = [" ".join(note.split()) for note in notes]
    comments = "".join(f"# {remark}\n" for remark in remarks)
    with whole_file(target) as part:
        if suffix in _PARQUET:
            rows.write_parquet(part, metadata={_NOTES.decode(): "\n".join(remarks)})
        elif suffix in _YAML:
            import yaml

            listed = [{k: v for k, v in row.items() if v is not None} for row in rows.iter_rows(named=True)]
            part.write_text(comments + yaml.safe_dump(listed, sort_keys=False, allow_unicode=True), "utf-8")
        else:
            # a task that begins with # must not become a comment
            hostile = any(t.startswith("#") for t in rows["task"])
            part.write_text(comments + rows.write_csv(quote_style="non_numeric" if hostile else "necessary"), "utf-8")


def merged(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Several tables as one. Rows of the same KEY are added up: n, scores and squares; what cannot be added (latency,
    cost, rates) is the newest row's. A row that stands twice word for word is one row."""
    whole = _one_way_round(pl.concat([f.select(*COLUMNS) for f in frames] or [pl.DataFrame(schema=COLUMNS)]))
    whole = whole.unique(maintain_order=True)
    newest = whole.with_row_index("_row").sort("date", "_row", descending=True, nulls_last=True, maintain_order=True)
    graded = pl.col("n").is_not_null() & pl.col("score").is_not_null()
    n = pl.col("n").filter(graded)
    total = n.sum()
    sums = {
        # a row with a score of unknown n cannot be weighed: it counts where nothing else does
        "n": pl.when(graded.any()).then(total).otherwise(pl.col("n").drop_nulls().first()),
        "score": pl.when(graded.any())
        .then((pl.col("score").filter(graded) * n).sum() / total)
        .otherwise(pl.col("score").drop_nulls().first()),
        "squares": _all_or_null("squares", graded),
        "successes": _all_or_null("successes", graded),
        "date": pl.col("date").filter(graded).drop_nulls().min().fill_null(pl.col("date").drop_nulls().min()),
    }
    # one row is left as it is: sums of one may round
    grouped = newest.group_by(KEY, maintain_order=True).agg(
        pl.col("_row").min(),
        *(pl.when(pl.len() == 1).then(pl.col(c).first()).otherwise(e).alias(c) for c, e in sums.items()),
        *(pl.col(c).drop_nulls().first() for c in _OF_ONE),
    )
    return grouped.sort("_row").select(*COLUMNS).cast(dict(COLUMNS))  # type: ignore[arg-type]


def one_each(frame: pl.DataFrame) -> pl.DataFrame:
    """One grade row a (task, model), that of the most answers; where it has no latency, that of the next which has."""
    ranked = frame.filter(pl.col("versus").is_null()).sort(
        pl.col("score").is_null(), pl.col("n"), descending=[False, True], nulls_last=True, maintain_order=True
    )
    timed = pl.any_horizontal(pl.col(LATENCIES).is_not_null())
    return (
        ranked.group_by("task", "model", maintain_order=True)
        .agg(
            # the three of one source, never of two
            *(
                pl.col(c).filter(timed).first() if c in LATENCIES else pl.col(c).first()
                for c in COLUMNS
                if c not in ("task", "model")
            ),
        )
        .select(*COLUMNS)
    )


def _one_way_round(frame: pl.DataFrame) -> pl.DataFrame:
    """Every pair of models as it stands first: a against b is b against a with the other sign."""
    models = (pl.col("model"), pl.col("versus"))
    pair = ("task", pl.min_horizontal(models), pl.max_horizontal(models), "source")
    turned = _PAIR & (pl.col("model") != pl.col("model").first().over(pair))
    return frame.with_columns(
        model=pl.when(turned).then("versus").otherwise("model"),
        versus=pl.when(turned).then("model").otherwise("versus"),
        score=pl.when(turned).then(-pl.col("score")).otherwise("score"),
    )


def _all_or_null(column: str, graded: pl.Expr) -> pl.Expr:
    """The sum over the graded rows, unknown where one of them does not tell."""
    mine = pl.col(column).filter(graded)
    return pl.when((mine.len() > 0) & (mine.null_count() == 0)).then(mine.sum())


# --- reading ----------------------------------------------------------------------------------------------------------


def _loaded(path: Path | str) -> pl.DataFrame:
    """The file's columns, as text except in Parquet."""
    suffix = Path(path).suffix.lower()
    try:
        if suffix in _PARQUET:
            return pl.read_parquet(path)
        if suffix in _YAML:
            return _from_rows(path)
        frame = pl.read_csv(
            io.BytesIO(_text(path).encode()), infer_schema=False, comment_prefix="#", separator=_separator(_text(path))
        )
        return frame.rename(str.strip)
    except InputError:
        raise
    except (ValueError, OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path}: not a quality table that can be read ({_first_line(error)}).") from error


def _from_rows(path: Path | str) -> pl.DataFrame:
    import yaml

    try:
        rows = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML that can be read ({' '.join(str(error).split())}).") from None
    if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
        raise InputError(
            f"{path}: a quality table is a list of rows, each with task and model. Results of a benchmark or an eval "
            f"become one with:  routecost quality import {path} -o quality.csv"
        )
    for i, row in enumerate(rows, 1):
        for name, value in row.items():
            if isinstance(value, list | dict):
                raise InputError(f"{path}: row {i}, {name}: saw {value!r}, expected one value.")
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    return pl.DataFrame(
        {name: [_as_text(row.get(name)) for row in rows] for name in names}, schema=dict.fromkeys(names, pl.String)
    )


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return value.isoformat() if isinstance(value, dt.date) else repr(value) if isinstance(value, float) else str(value)


def _text(path: Path | str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: it is not UTF-8 text. Save it as UTF-8.") from None
    except OSError as error:
        raise InputError(f"{path}: not a quality table that can be read ({error.strerror or error}).") from None


def _separator(text: str) -> str:
    """A spreadsheet separates by what its language leaves free."""
    head = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    return max(",;\t", key=head.count)


def _first_line(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else None
    return reason or next(iter(str(error).splitlines()), type(error).__name__)


def _typed(path: Path | str, frame: pl.DataFrame, column: str, dtype: pl.DataType) -> pl.Series:
    if column not in frame.columns:
        return pl.Series(column, [None] * frame.height, dtype)
    given = frame[column]
    if given.dtype.is_temporal():
        given = given.cast(pl.Date)
    if given.dtype == pl.String or not dtype.is_numeric():
        try:
            text = given.cast(pl.String).str.strip_chars()
        except pl.exceptions.PolarsError:
            raise InputError(f"{path}: {column}: expected text or a number, found {given.dtype}.") from None
        given = pl.select(pl.when(text != "").then(text).alias(column)).to_series()
    if not dtype.is_numeric():
        return given
    try:
        # NaN is how data frames write that they do not know
        number = given.cast(pl.Float64, strict=False).fill_nan(None)
    except pl.exceptions.PolarsError:
        raise InputError(f"{path}: {column}: expected a number, found {given.dtype}.") from None
    spelt = given.cast(pl.String).str.to_lowercase()
    wrong = number.is_null() & given.is_not_null() & (spelt != "nan")
    expected = "a number"
    if dtype.is_integer():
        wrong = wrong | (number.round() != number).fill_null(False)
        expected = "a whole number"
    if wrong.any():
        row = wrong.arg_max() or 0
        raise InputError(f"{path}: row {row + 1}, {column}: saw {given[row]!r}, expected {expected}.")
    return number.cast(dtype, strict=False).alias(column)


# What a row must not be: the column that is wrong, when, and what to say. {share}, {least} and {most} are computed.
_WRONG: Final[tuple[tuple[str, pl.Expr, str], ...]] = (
    *((c, pl.col(c).is_null(), f"every row needs a {c}.") for c in ("task", "model")),
    (
        "versus",
        pl.col("versus") == pl.col("model"),
        "{model} is compared with itself. Name another model, or leave versus empty for plain grades.",
    ),
    ("n", pl.col("n") < 1, "saw {n}, expected 1 or more. Leave n and score empty where nothing was graded."),
    (
        "score",
        ~_PAIR & ~pl.col("score").is_between(0, 1),
        "saw {score:g}, expected a mean score from 0 (all bad) to 1 (all good).",
    ),
    (
        "score",
        _PAIR & ~pl.col("score").is_between(-1, 1),
        "saw {score:g}; a row with versus takes the mean of the scores of model less those of versus, -1 to 1.",
    ),
    (
        "successes",
        _PAIR & pl.col("successes").is_not_null(),
        "a row with versus has no successes: give score (the mean difference), and as squares the number of requests "
        "that only one of the two answered well.",
    ),
    (
        "successes",
        pl.col("successes").is_not_null() & pl.col("n").is_null(),
        "{successes} successes of how many? Give n as well.",
    ),
    ("successes", ~pl.col("successes").is_between(0, pl.col("n")), "saw {successes}, expected 0 to n, which is {n}."),
    (
        "score",
        (pl.col("score") - pl.col("share")).abs() > _TOLERANCE,
        "saw {score:g}, but {successes} successes of {n} are {share:g}. Give one of score and successes.",
    ),
    (
        "squares",
        pl.col("squares").is_not_null() & pl.any_horizontal(pl.col("n", "filled").is_null()),
        "a sum of squares says nothing without n and score. Give both, or leave it empty.",
    ),
    (
        "squares",
        ~pl.col("squares").is_between(
            pl.col("least") - _TOLERANCE * pl.col("n"), pl.col("most") + _TOLERANCE * pl.col("n")
        ),
        "saw {squares:g}, but the squares of {n} numbers with a mean of {filled:g} add up to {least:g} to {most:g}. It "
        "is the plain sum of each score (with versus: each difference) squared; leave it empty if you do not know it.",
    ),
    (
        "date",
        pl.col("date").is_not_null() & pl.col("date").str.to_date("%Y-%m-%d", strict=False).is_null(),
        "saw {date!r}, expected a day such as 2026-10-31.",
    ),
    *((c, ~pl.col(c).is_between(0, 1), f"saw {{{c}:g}}, expected a share of the requests, 0 to 1.") for c in RATES),
    *(
        (c, (pl.col(c) < 0) | pl.col(c).is_infinite(), f"saw {{{c}:g}}, expected 0 or more.")
        for c in (*LATENCIES, "cost_usd")
    ),
    *(
        (high, pl.col(low) > pl.col(high), f"saw {{{high}:g}}, less than {low}, which is {{{low}:g}}.")
        for low, high in itertools.combinations(LATENCIES, 2)
    ),
    (
        "output_ratio",
        (pl.col("output_ratio") <= 0) | pl.col("output_ratio").is_infinite(),
        "saw {output_ratio:g}, expected more than 0: the length of its answers against a common yardstick (1.0).",
    ),
)


def _check(path: Path | str, frame: pl.DataFrame) -> None:
    n, score = pl.col("n"), pl.col("filled")
    rows = (
        frame.with_row_index("_row", 1)
        .with_columns(share=pl.col("successes") / n)
        .with_columns(filled=pl.col("score").fill_null(pl.col("share")))
        .with_columns(least=n * score**2, most=pl.when(_PAIR).then(n.cast(pl.Float64)).otherwise(n * score))
    )
    for column, wrong, message in _WRONG:
        found = rows.filter(wrong.fill_null(False))
        if found.height:
            row = found.row(0, named=True)
            hint = _scale(frame) if column == "score" and row["versus"] is None else ""
            said = message.format_map(row)
            raise InputError(f"{path}: row {row['_row']} ({_name(row)}), {column}: {said}{hint}")


def _check_once(path: Path | str, frame: pl.DataFrame) -> None:
    """A pair is one pair whichever of its models comes first."""
    ordered = frame.select(
        "task",
        pl.when(pl.col("versus") < pl.col("model")).then("versus").otherwise("model").alias("a"),
        pl.when(pl.col("versus") < pl.col("model")).then("model").otherwise("versus").alias("b"),
        "source",
    )
    twice = ordered.is_duplicated()
    if not twice.any():
        return
    key = ordered.filter(twice).row(0)
    rows = [i + 1 for i, other in enumerate(ordered.rows()) if other == key]
    first = frame.row(rows[0] - 1, named=True)
    raise InputError(
        f"{path}: {_name(first)} stands more than once"
        + (f" of source {first['source']!r}" if first["source"] is not None else " without a source")
        + f" (rows {', '.join(map(str, rows))}). Add them up into one row, or give each its own source."
    )


def _name(row: dict[str, Any]) -> str:
    versus = f" against {row['versus']}" if row["versus"] is not None else ""
    return f"{row['task'] or '?'} / {row['model'] or '?'}{versus}"


def _scale(frame: pl.DataFrame) -> str:
    """What to do with scores of another scale, if these look like one."""
    highest = float(frame.filter(~_PAIR)["score"].max() or 0.0)  # type: ignore[arg-type]
    if 1 < highest <= 10:
        top = 5 if highest <= 5 else 10
        return f" Grades of 1 to {top}? Write (grade - 1) / {top - 1} (`quality import --judge-scale 1-{top}` does)."
    if 10 < highest <= 100:
        return " Percent, or 0 to 100? Divide by 100 (`quality import --judge-scale 0-100` does)."
    return ""
