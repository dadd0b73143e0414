"""Any log as canonical Parquet, so that the slow read is done once."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from routecost import logs
from routecost.errors import InputError
from routecost.pipeline.intake import Locate, Progress, RejectWriter
from routecost.pipeline.labelling import Writer, open_paths, over
from routecost.schema import REQUEST

# Where a request stands in a file that need not be there any more.
_LEFT_OUT: Final = ("line", "request_hash")


@dataclass(frozen=True)
class Converted:
    """What `convert` wrote: requests; records that were none and lines that repeat a call; rejected lines; requests
    with estimated counts; files by format; damaged files."""

    requests: int
    lines: int
    skipped: int
    repeated: int
    rejected: int
    estimated: int
    formats: Mapping[str, int] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def convert(
    paths: Sequence[str],
    output: Path,
    *,
    by: Sequence[str] = (),
    field_map: Path | None = None,
    log_format: str | None = None,
    estimates: bool = True,
    rejects: Path | None = None,
    progress: Progress | None = None,
) -> Converted:
    """Write every request with the columns of schema.REQUEST, in the order of the log, duplicates as well. by: fields
    of the log to keep besides, under their own names. The file is private to its owner: it holds prompts.

    Raises InputError where a path cannot be read or `output` not be written, UsageError for another kind of file.
    """
    columns = tuple(c for c in REQUEST if c not in _LEFT_OUT)
    extra = tuple(b for b in by if b not in REQUEST)
    opened = open_paths(paths, field_map, log_format, extra, estimates=estimates)
    names = [Path(source.name).name for source in opened.sources]
    refused = RejectWriter(rejects)

    def work(chunk: logs.Chunk, index: int) -> tuple[int, int, logs.Parsed, pl.DataFrame]:
        parsed = chunk.parse(columns)
        frame = parsed.requests.with_columns(file=pl.lit(names[index]))
        theirs = {f"raw:{b}": b for b in by if f"raw:{b}" in frame.columns}
        return index, chunk.ordinal, parsed, frame.select(*columns, *theirs).rename(theirs)

    counts: collections.Counter[str] = collections.Counter()
    damaged: list[str] = []
    with Writer(output, private=True) as writer:
        for index, ordinal, parsed, frame in over(opened, work, damaged, progress):
            counts["lines"] += parsed.lines
            counts["skipped"] += parsed.skipped
            counts["repeated"] += parsed.repeated
            counts["rejected"] += len(parsed.rejects)
            counts["requests"] += frame.height
            counts["estimated"] += int(frame["tokens_estimated"].fill_null(False).sum())
            for reject in parsed.rejects:
                refused.add(index, ordinal, reject)
            if frame.height:
                writer.write(frame)
        if not counts["requests"]:
            what = f": all {counts['rejected']:,} lines were rejected" if counts["rejected"] else ""
            raise InputError(f"no request in {', '.join(paths)}{what}.")
    refused.finish(Locate(opened.sources, opened.layouts))
    formats = collections.Counter(layout.dialect.name if layout.dialect else logs.FLAT for layout in opened.layouts)
    return Converted(
        counts["requests"],
        counts["lines"],
        counts["skipped"],
        counts["repeated"],
        counts["rejected"],
        counts["estimated"],
        dict(sorted(formats.items())),
        tuple(damaged),
        tuple(opened.notes),
    )
