"""What is known of a model at a task, from a person's own table."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from routecost.errors import InputError, did_you_mean

COLUMNS: Final[dict[str, pl.DataType]] = {
    "task": pl.String(),
    "model": pl.String(),
    "n": pl.Int64(),
    "score": pl.Float64(),
    "source": pl.String(),
    "date": pl.String(),
    "latency_p50_ms": pl.Float64(),
    "latency_p95_ms": pl.Float64(),
    "latency_p99_ms": pl.Float64(),
}


def read_quality(path: Path | str) -> pl.DataFrame:
    """A quality table (CSV, YAML, Parquet) with COLUMNS, one row a (task, model). Raises InputError."""
    suffix = Path(path).suffix.lower()
    try:
        if suffix in (".yaml", ".yml", ".json"):
            import yaml

            rows = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
            if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
                raise InputError(f"{path}: a quality table is a list of rows, each with task and model.")
            frame = pl.DataFrame(rows, infer_schema_length=None)
        elif suffix in (".parquet", ".pq"):
            frame = pl.read_parquet(path)
        else:
            frame = pl.read_csv(path, infer_schema_length=None)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path}: not a quality table that can be read ({str(error).splitlines()[0]}).") from error
    for column in frame.columns:
        if column not in COLUMNS:
            raise InputError(
                f"{path}: unknown column {column!r}.{did_you_mean(column, COLUMNS)} Known: {', '.join(COLUMNS)}."
            )
    for column in ("task", "model"):
        if column not in frame.columns or frame[column].null_count():
            raise InputError(f"{path}: every row needs a {column}.")
    try:
        frame = frame.select(
            (pl.col(c).cast(t) if c in frame.columns else pl.lit(None, t)).alias(c) for c, t in COLUMNS.items()
        )
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path}: a number was expected ({str(error).splitlines()[0]}).") from error
    twice = frame.filter(frame.select("task", "model").is_duplicated())
    if twice.height:
        raise InputError(f"{path}: {twice['task'][0]} / {twice['model'][0]} stands more than once.")
    return frame
