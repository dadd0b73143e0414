"""What a log is taken for, and why: before a bill is made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from routecost import logs
from routecost.errors import InputError
from routecost.logs.fields import opened
from routecost.schema import REQUEST, TOKEN_KINDS
from routecost.usage import is_usage_file

ROWS: Final = 3
FLAT_TITLE: Final = "flat: our own column names, their common aliases, or a field map"
# Text and ids: shown by their length only.
HIDDEN: Final = ("prompt", "system", "previous_prompt", "request_id", "session_id", "user_id")
_FIELDS: Final = 200


@dataclass(frozen=True)
class Inspected:
    """One file: its format, why it is taken for it, what the first part of it holds, and which fields are not read.

    rows: the first requests as they are mapped (schema.REQUEST). mapped: column -> the fields it is read from.
    ignored: fields of the sample that nothing reads, with how many records have them. requests, lines, skipped,
    repeated, rejected: of the first part (up to 16 MB). with_tokens: requests with input and output counts; estimated:
    those of them whose counts are estimated. answered_by: the format of the file that has the answers.
    """

    name: str
    format: str
    title: str
    why: str
    carries: str
    fast: bool
    rows: pl.DataFrame
    mapped: Mapping[str, tuple[str, ...]]
    ignored: Mapping[str, int]
    sample: int
    requests: int
    lines: int
    skipped: int
    repeated: int
    rejected: int
    first_reject: str | None
    with_tokens: int
    estimated: int
    corrected: Mapping[str, int]
    notes: tuple[str, ...]
    answered_by: str | None = None


def inspect(
    paths: Sequence[str], *, field_map: Path | None = None, log_format: str | None = None, estimates: bool = True
) -> list[Inspected]:
    """What each file is taken for. Raises InputError where one cannot be read or nothing is recognised."""
    given = logs.read_map(field_map) if field_map else None
    sources = logs.find_sources(paths)
    for source in sources:
        if source.kind == "parquet" and is_usage_file(source.path):
            raise InputError(f"{source.name} is a usage file: it holds counts and no request. Name the log itself.")
    return [_inspected(source, given, log_format, estimates=estimates) for source in sources]


def _inspected(source: logs.Source, given: logs.Layout | None, log_format: str | None, *, estimates: bool) -> Inspected:
    layout = logs.layout_of(source, given, (), log_format, estimates=estimates)
    sample = logs.sample_of(source)
    dialect = layout.dialect
    if dialect is None:
        fields: dict[str, tuple[str, ...]] = {column: (".".join(path),) for column, path in layout.fields.items()}
        seen = {key for record in sample for key in record}
        mapped = {column: paths for column, paths in fields.items() if paths[0].partition(".")[0] in seen}
        read = [path for paths in mapped.values() for path in paths]
        name, title, carries = logs.FLAT, FLAT_TITLE, "what its columns say"
        why = _named(mapped) if given is None else "a field map was given"
    else:
        name, title, carries = dialect.name, dialect.title, dialect.carries
        why = f"named with --log-format {name}" if log_format else f"its records have {dialect.signature}"
        read = list(logs.understood(layout))
        mapped = _shown_paths(layout, sample)
    chunk = None if dialect is not None and dialect.companion else next(iter(logs.chunks(source, layout)), None)
    parsed = chunk.parse(tuple(REQUEST)) if chunk is not None else None
    requests = parsed.requests if parsed is not None else pl.DataFrame(schema=REQUEST)
    known = requests.filter(pl.col("input_tokens").is_not_null() & pl.col("output_tokens").is_not_null())
    return Inspected(
        source.name,
        name,
        title,
        why,
        carries,
        layout.typed != "nothing" or dialect is None,
        requests.head(ROWS),
        mapped,
        _ignored(sample, read),
        len(sample),
        requests.height,
        parsed.lines if parsed else 0,
        parsed.skipped if parsed else 0,
        parsed.repeated if parsed else 0,
        len(parsed.rejects) if parsed else 0,
        parsed.rejects[0].reason if parsed and parsed.rejects else None,
        known.height,
        int(known["tokens_estimated"].fill_null(False).sum()),
        parsed.corrected if parsed else {},
        layout.notes,
        dialect.companion if dialect is not None else None,
    )


def _named(mapped: Mapping[str, tuple[str, ...]]) -> str:
    telling = [f"`{paths[0]}`" for column, paths in mapped.items() if column in ("model", "prompt", *TOKEN_KINDS)]
    return f"no other format matches, and it has {', '.join(telling) or 'columns that we know'}"


def _shown_paths(layout: logs.Layout, sample: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """For each column the fields that it is read from and that the sample has."""
    reading = layout.reading
    if reading is None or reading.unpack is not None:
        return {}
    has = {path for path in logs.understood(layout) if any(_has(record, path) for record in sample)}
    found = {}
    for column, field in reading.fields.items():
        paths = tuple(path for path in field.leaves if path in has)
        if paths:
            found[column] = paths
    return found


def _has(record: Any, path: str) -> bool:
    from routecost.logs.fields import find

    return find(record, path) is not None


def _ignored(sample: Sequence[Mapping[str, Any]], read: Sequence[str]) -> dict[str, int]:
    """Fields that nothing reads, most frequent first: objects as a whole where nothing inside them is read."""
    counts: dict[str, int] = {}
    for record in sample:
        for path in _unread(record, "", read):
            counts[path] = counts.get(path, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return dict(ordered[:_FIELDS])


def _unread(value: Any, at: str, read: Sequence[str]) -> Iterator[str]:
    for key, inner in value.items():
        path = f"{at}{key}"
        if inner is None or inner == "" or any(path == r or path.startswith(f"{r}.") for r in read):
            continue
        if any(r.startswith(f"{path}.") for r in read):
            inside = opened(inner)
            if isinstance(inside, Mapping):
                yield from _unread(inside, f"{path}.", read)
            continue
        yield path
