"""The usage file: all tables of a usage in one Parquet file, with its settings as metadata. No prompt, no id."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from routecost import schema
from routecost.errors import InputError
from routecost.usage.cells import Settings, Usage, empty
from routecost.whole import whole_file

_KEY = "routecost"
_TABLES = ("cells", "groups", "histograms", "carry")


def is_usage_file(path: Path | str) -> bool:
    """Whether a file is a Parquet file that `write_usage` made."""
    try:
        with open(path, "rb") as file:
            if file.read(4) != b"PAR1":
                return False
        return _KEY in pl.read_parquet_metadata(path)
    except (OSError, pl.exceptions.PolarsError):
        return False


def write_usage(
    usage: Usage, path: Path | str, *, book_version: str | None = None, baseline: Mapping[str, str | None] | None = None
) -> None:
    """Write a usage to one Parquet file: the tables below each other, told apart by the column `table`.

    baseline: who made it what others are compared with, when and why; in `read_about` again. The same usage gives the
    same bytes. Nobody ever sees a half-written file under this name. Raises InputError.
    """
    frames = []
    for name in _TABLES:
        frame: pl.DataFrame = getattr(usage, name)
        frames.append(frame.select(pl.lit(name).alias("table"), pl.all()))
    whole = pl.concat(frames, how="diagonal")
    settings = usage.settings
    meta = {
        "schema_version": schema.SCHEMA_VERSION,
        "edges": settings.edges,
        "slots": settings.slots,
        "by": settings.by,
        "unit": settings.unit,
        "group_features": settings.group_features,
        "salt": settings.salt,
        "rules": dict(settings.rules),
        "classifier": settings.classifier,
        "task_rules": settings.task_rules,
        "ids": settings.ids,
        "book": book_version,
        "counts": dict(usage.counts),
        "sources": [dict(s) for s in usage.sources],
    }
    if baseline is not None:
        meta["baseline"] = dict(baseline)
    with whole_file(path) as part:
        try:
            whole.write_parquet(part, compression="zstd", metadata={_KEY: json.dumps(meta, sort_keys=True)})
        except pl.exceptions.PolarsError as error:
            raise OSError(str(error).splitlines()[0]) from error


@dataclass(frozen=True)
class About:
    """What a usage file says of itself: its version, the price book it was tallied for, and, in a baseline, who made it
    one, when and why (`updated`, `by`, `reason`, `commit`)."""

    schema_version: int | None
    book_version: str | None
    baseline: Mapping[str, str | None]


def read_about(path: Path | str) -> About:
    """What a usage file of any version says of itself, without its counts. Raises InputError when it is not one."""
    meta = _meta(path)
    version, book, baseline = meta.get("schema_version"), meta.get("book"), meta.get("baseline")
    return About(
        version if isinstance(version, int) else None,
        book if isinstance(book, str) else None,
        {str(k): v if v is None else str(v) for k, v in baseline.items()} if isinstance(baseline, Mapping) else {},
    )


def _meta(path: Path | str) -> Mapping[str, Any]:
    try:
        meta = json.loads(pl.read_parquet_metadata(path)[_KEY])
        if not isinstance(meta, Mapping):
            raise ValueError(_KEY)
    except (OSError, KeyError, ValueError, pl.exceptions.PolarsError) as error:
        raise _unreadable(path) from error
    return meta


def _unreadable(path: Path | str) -> InputError:
    return InputError(f"{path}: no usage file that can be read. Expected one that `routecost tally` wrote.")


def read_usage(path: Path | str) -> Usage:
    """The usage in a file. Raises InputError when it is not one, or of another version."""
    meta = _meta(path)
    try:
        whole = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _unreadable(path) from error
    version = meta.get("schema_version")
    if version != schema.SCHEMA_VERSION:
        raise InputError(
            f"{path}: usage file of version {version}, this program reads {schema.SCHEMA_VERSION}. "
            "Tally the log again, or update routecost."
        )
    try:
        settings = Settings(
            edges=tuple(meta["edges"]),
            slots=tuple(meta["slots"]),
            by=tuple(meta["by"]),
            unit=meta["unit"],
            group_features=meta["group_features"],
            salt=meta["salt"],
            rules=meta["rules"],
            classifier=meta["classifier"],
            task_rules=meta["task_rules"],
            ids=meta["ids"],
        )
        counts = {k: int(v) for k, v in meta["counts"].items()}
        sources = tuple(meta["sources"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unreadable(path) from error
    base = empty(settings)

    def table(name: str) -> pl.DataFrame:
        wanted: pl.DataFrame = getattr(base, name)
        missing = [c for c in wanted.columns if c not in whole.columns]
        if missing:
            raise InputError(f"{path}: the usage file lacks the column {missing[0]!r}. Tally the log again.")
        return whole.filter(pl.col("table") == name).select(wanted.columns).cast(wanted.schema)

    return Usage(
        cells=table("cells"),
        groups=table("groups"),
        histograms=table("histograms"),
        carry=table("carry"),
        settings=settings,
        counts=counts,
        sources=sources,
    )
