"""The chunks of a file: parsed fast where a chunk is clean, line by line only where it is not."""

from __future__ import annotations

import codecs
import contextlib
import functools
import itertools
import json
import os
import re
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np
import orjson
import polars as pl

from routecost.errors import InputError, did_you_mean
from routecost.logs import dialects, mapped
from routecost.logs.fields import Dialect, Reading, Type, find, has_path
from routecost.logs.files import (
    CHUNK_BYTES,
    DamagedError,
    Source,
    first_bytes,
    is_object_store,
    is_utf16,
    raw_blocks,
    remote_error,
)
from routecost.logs.flat import Layout, canonical, detect_layout, json_schema, wanted_of
from routecost.schema import REQUEST

SAMPLE_RECORDS: Final = 500
_PARQUET_SAMPLE: Final = 20
SAMPLE_BYTES: Final = 1 << 20
MAX_LINE_BYTES: Final = 256 << 20
# A CSV record beyond this is a quote that never closes.
MAX_CSV_RECORD_BYTES: Final = 32 << 20
PARQUET_ROWS: Final = 65_536
# Rows with text in them, or of which Python objects are made, are far larger.
NESTED_ROWS: Final = 8_192
# A file that is read at once.
MAX_WHOLE_BYTES: Final = 1 << 30
_BOM: Final = b"\xef\xbb\xbf"
# So few lines are looked at one by one when they do not parse together.
_FEW_LINES: Final = 32
_FAILURES: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


@dataclass(frozen=True)
class Reject:
    """A line that is not a request: its place in the chunk (0-based), a stable reason code, what was seen, the text."""

    row: int
    code: str
    reason: str
    text: str


@dataclass(frozen=True)
class Parsed:
    """What a chunk holds: requests (see flat.canonical; `row` is their place in the chunk) and rejected lines.

    Of a dialect also: records (lines; one may hold several calls or none), those that are no call, lines that repeat a
    call, and counts that the arithmetic guard corrected, by what it did.
    """

    requests: pl.DataFrame
    rejects: tuple[Reject, ...] = ()
    records: int | None = None
    skipped: int = 0
    repeated: int = 0
    corrected: Mapping[str, int] = field(default_factory=dict)

    @property
    def lines(self) -> int:
        return self.requests.height + len(self.rejects) if self.records is None else self.records


@dataclass(frozen=True)
class Chunk:
    """A part of a file, not parsed yet. `parse(columns)` may run in any thread, and more than once."""

    ordinal: int
    size: int
    parse: Callable[[Sequence[str]], Parsed]


@dataclass(frozen=True)
class _Block:
    """Whole records, as bytes when asked for. lines: where each stands in the file (1-based), if not one a line."""

    ordinal: int
    size: int
    read: Callable[[], bytes]
    lines: Sequence[int] | None = None

    @classmethod
    def of(cls, ordinal: int, data: bytes, lines: Sequence[int] | None = None) -> _Block:
        return cls(ordinal, len(data), lambda: data, lines)


def layout_of(
    source: Source,
    given: Layout | None = None,
    extra: Sequence[str] = (),
    log_format: str | None = None,
    *,
    estimates: bool = True,
) -> Layout:
    """The layout of a source from a sample of its records: of the dialect named, or of the one that they are of, or
    (with a map, or where they are of none) flat. Raises InputError when nothing is recognised."""
    try:
        records, lines, head = _sample(source)
        dialect = None
        if log_format is not None:
            dialect = dialects.by_name(log_format)
        elif given is None:
            dialect = dialects.detect(records)
        if dialect is not None:
            return _dialect_layout(source, dialect, records, lines, extra, estimates=estimates)
        if source.kind == "parquet":
            # the types of its columns say all that values would
            layout = detect_layout(source.name, [dict.fromkeys(_parquet(source)[1])], given, extra)
        elif source.kind == "csv":
            layout = _csv_layout(source, head, given, extra)
        else:
            layout = detect_layout(source.name, records, given, extra)
        return replace(layout, estimates=estimates)
    except DamagedError:
        # `chunks` comes upon it again
        return detect_layout(source.name, [], given, extra)


def sample_of(source: Source) -> list[dict[str, Any]]:
    """The first records of a source, with values of any type. Raises DamagedError."""
    return _sample(source)[0]


def _sample(source: Source) -> tuple[list[dict[str, Any]], list[bytes], _CsvHead | None]:
    """The first records, their lines where they are JSON, and what a CSV file's beginning says."""
    if source.kind == "parquet":
        plan, names = _parquet(source)
        try:
            rows = list(_dicts(plan.head(_PARQUET_SAMPLE).collect(engine="in-memory")))
        except (*_FAILURES, OSError) as error:
            raise _not_parquet(source, error) from error
        return rows or [dict.fromkeys(names)], [], None
    if source.kind == "csv":
        head = _csv_head(source)
        if head is None:
            return [], [], None
        return (
            [dict(zip(head.header, row, strict=True)) for row in head.sample] or [dict.fromkeys(head.header)],
            [],
            head,
        )
    records, lines = _json_sample(source)
    return records, lines, None


def _dialect_layout(
    source: Source,
    dialect: Dialect,
    records: Sequence[Mapping[str, Any]],
    lines: Sequence[bytes],
    extra: Sequence[str],
    *,
    estimates: bool,
) -> Layout:
    reading = dialect.reading(records)
    extra = tuple(c for c in extra if c not in REQUEST)
    layout = Layout({}, extra=extra, dialect=dialect, reading=reading, estimates=estimates)
    tasks = layout.paths("task")
    shown = [r for _, r in reading.unpack(enumerate(records))] if reading.unpack is not None else records
    lists = {p for one in reading.fields.values() for p, kind in one.leaves.items() if kind in ("messages", "choices")}
    for path in extra:
        if path in lists:
            raise InputError(f"{source.name}: {path} is a list: there is no grouping by it. Name a text or a number.")
        if shown and not any(has_path(r.get("", r), path) for r in shown):
            seen = sorted({key for record in records for key in record})
            near = did_you_mean(path, [*REQUEST, *seen])
            raise InputError(f"{source.name}: no field {path!r} to group by.{near} Fields seen: {', '.join(seen)}.")
    layout = replace(layout, labelled=any(find(r, path) is not None for r in shown for path in tasks))
    if reading.unpack is None and source.kind == "jsonl":
        paths, data = mapped.leaves(layout, reading.fields), b"\n".join(lines)
        for typed, any_messages in _TYPED:
            types = mapped.schema(paths, any_messages=any_messages)
            if types is not None and lines and _read_json(data, types) is not None:
                return replace(layout, typed=typed, usual=mapped.Usual.of(paths, data))
    return layout


_TYPED: Final[tuple[tuple[Literal["all", "but messages"], bool], ...]] = (("all", False), ("but messages", True))


def chunks(source: Source, layout: Layout, only: Collection[int] | None = None) -> Iterator[Chunk]:
    """The chunks of a source in order; with `only`, just those ordinals. Raises DamagedError where it is cut."""
    if source.kind == "parquet":
        yield from _parquet_chunks(source, layout, only)
        return
    head = _csv_head(source) if source.kind == "csv" else None
    last = None if only is None else max(only, default=-1)
    for block in _blocks(source, head, layout):
        if only is None or block.ordinal in only:
            yield Chunk(block.ordinal, block.size, _parser(block, head, layout))
        if last is not None and block.ordinal >= last:
            return


def _parser(block: _Block, head: _CsvHead | None, layout: Layout) -> Callable[[Sequence[str]], Parsed]:
    if layout.dialect is not None:
        if head is not None:
            return lambda columns: _dialect_table(_csv_table(block.read(), head), layout, columns)
        return lambda columns: _dialect_json(block.read(), layout, columns)
    if head is not None:
        return lambda columns: _parse_csv(block.read(), head, layout, columns)
    return lambda columns: _parse_json(block.read(), layout, columns)


def locate(source: Source, layout: Layout, places: Iterable[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """1-based line numbers of (chunk ordinal, row in chunk); for Parquet the 1-based row."""
    wanted: dict[int, list[int]] = {}
    for ordinal, row in places:
        wanted.setdefault(ordinal, []).append(row)
    found: dict[tuple[int, int], int] = {}
    unpacks = layout.reading is not None and layout.reading.unpack is not None
    if source.kind == "parquet":
        rows = _rows(layout)
        for ordinal, some in wanted.items():
            records = _parquet_records(source, layout, ordinal) if unpacks else None
            found.update(((ordinal, r), ordinal * rows + (records[r] if records else r) + 1) for r in some)
        return found
    head = _csv_head(source) if source.kind == "csv" and wanted else None
    line = 1 + (head.lines if head else 0)
    for block in _blocks(source, head, layout) if wanted else ():
        data = block.read()
        if block.ordinal in wanted:
            starts = block.lines or [line + n for n in _record_lines(data, head)]
            if unpacks:
                starts = [starts[n] for n in _records_behind(data, head, layout)]
            found.update(((block.ordinal, row), starts[row]) for row in wanted[block.ordinal])
        if block.ordinal >= max(wanted):
            break
        line += data.count(b"\n")
    return found


def _record_lines(data: bytes, head: _CsvHead | None) -> list[int]:
    """The line in a block at which each record starts."""
    if head is not None:
        return [record.line for record in _csv_records(head.utf8(data), head.separator, len(head.header))]
    return [n for n, line in enumerate(data.split(b"\n")) if line.strip()]


def _blocks(source: Source, head: _CsvHead | None, layout: Layout) -> Iterator[_Block]:
    if source.kind == "csv":
        return _csv_blocks(source, head) if head else iter(())
    if layout.dialect is not None and layout.dialect.whole:
        return _whole_block(source)
    return _json_blocks(source, CHUNK_BYTES)


def _whole_block(source: Source) -> Iterator[_Block]:
    """All of a file whose lines depend on each other."""
    parts: list[bytes] = []
    lines: list[int] = []
    size = 0
    damage: DamagedError | None = None
    try:
        for block in _json_blocks(source, CHUNK_BYTES):
            parts.append(block.read())
            lines.extend(block.lines or ())
            size += block.size
            if size > MAX_WHOLE_BYTES:
                raise InputError(
                    f"{source.name}: more than {MAX_WHOLE_BYTES >> 30} GB of a format that is read at once, as its "
                    "lines depend on each other. Split it where a session or a day ends."
                )
    except DamagedError as error:
        damage = error
    if parts:
        yield _Block.of(0, b"".join(parts), tuple(lines) or None)
    if damage is not None:
        raise damage


def _judged(
    raw: pl.DataFrame,
    layout: Layout,
    columns: Sequence[str],
    rows: pl.Series | None,
    texts: Callable[[list[int]], list[str]],
) -> Parsed:
    """Raw records as requests, those that are none set apart.

    rows: their places in the chunk, where some are missing. texts: how the records at these heights read.
    """
    frame = canonical(raw, layout, columns)
    frame = frame.with_columns((pl.int_range(frame.height, eager=True) if rows is None else rows).alias("row"))
    if frame["reject"].null_count() == frame.height:
        return Parsed(frame.drop("reject"))
    wrong = frame["reject"].is_not_null()
    at = wrong.arg_true().to_list()
    bad = zip(frame["row"].filter(wrong), frame["reject"].filter(wrong), texts(at), strict=True)
    return Parsed(
        frame.filter(~wrong).drop("reject"), tuple(Reject(row, "bad_value", why, text) for row, why, text in bad)
    )


def _with(parsed: Parsed, rejects: Sequence[Reject]) -> Parsed:
    return Parsed(parsed.requests, tuple(sorted((*rejects, *parsed.rejects), key=lambda reject: reject.row)))


def _shown(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r\n")


# --- JSON -------------------------------------------------------------------------------------------------------------


def _json_sample(source: Source) -> tuple[list[dict[str, Any]], list[bytes]]:
    records: list[dict[str, Any]] = []
    lines: list[bytes] = []
    with contextlib.closing(_json_blocks(source, SAMPLE_BYTES)) as blocks:
        for block in blocks:
            for line in block.read().split(b"\n"):
                with contextlib.suppress(ValueError, RecursionError):
                    record = json.loads(line)
                    if isinstance(record, dict):
                        records.append(record)
                        lines.append(line)
                if len(records) >= SAMPLE_RECORDS:
                    break
            if records:
                break
    return records, lines


def _json_blocks(source: Source, size: int) -> Generator[_Block]:
    """Whole lines in blocks of about `size` bytes. Objects of an array, or that span lines, come as one line each."""
    head = first_bytes(source, 64 << 10)
    plain = source.compression is None and not is_object_store(source.path)
    if re.match(rb"(\xef\xbb\xbf)?\s*(\[\s*([{\]]|\Z)|\{\s*\n\s*[\"}])", head):
        yield from _value_blocks(source, size)
    elif plain and not is_utf16(source):
        yield from _ranges(source, size)
    else:
        yield from _lines(source, size)


def _lines(source: Source, size: int) -> Generator[_Block]:
    """Whole lines of a stream."""
    held = b""
    ordinal = itertools.count()
    first = True
    try:
        for data in raw_blocks(source, size):
            data = data.removeprefix(_BOM) if first else data
            first = False
            cut = data.rfind(b"\n") + 1
            if cut:
                yield _Block.of(next(ordinal), held + data[:cut])
                held = data[cut:]
            else:
                held += data
                if len(held) > MAX_LINE_BYTES:
                    raise InputError(_too_long(source))
    except DamagedError:
        if held:
            yield _Block.of(next(ordinal), held)
        raise
    if held:
        yield _Block.of(next(ordinal), held)


def _ranges(source: Source, size: int) -> Generator[_Block]:
    """Whole lines of a plain file. Each block is read by whoever parses it: at once, and into memory that is reused."""
    fd = os.open(source.path, os.O_RDONLY)
    try:
        end = os.fstat(fd).st_size
        at = len(_BOM) if os.pread(fd, 3, 0) == _BOM else 0
        for ordinal in itertools.count():
            if at >= end:
                return
            cut = _line_end(fd, min(at + size, end), end, source)
            yield _Block(ordinal, cut - at, functools.partial(_read_range, source, at, cut))
            at = cut
    except OSError as error:
        raise InputError(f"{source.name}: cannot be read ({error.strerror}).") from error
    finally:
        os.close(fd)


def _read_range(source: Source, start: int, end: int) -> bytes:
    try:
        fd = os.open(source.path, os.O_RDONLY)
        try:
            return os.pread(fd, end - start, start)
        finally:
            os.close(fd)
    except OSError as error:
        raise InputError(f"{source.name}: cannot be read ({error.strerror}).") from error


def _line_end(fd: int, at: int, end: int, source: Source) -> int:
    """Just behind the first line break at or after `at`."""
    start = at
    while at < end:
        window = os.pread(fd, 64 << 10, at)
        found = window.find(b"\n")
        if found >= 0:
            return at + found + 1
        if not window:
            break
        at += len(window)
        if at - start > MAX_LINE_BYTES:
            raise InputError(_too_long(source))
    return end


def _too_long(source: Source) -> str:
    return (
        f"{source.name}: a line of more than {MAX_LINE_BYTES >> 20} MB. Expected one JSON object a line; "
        "if the file is one large object, write its records one a line first (jq -c '.[]')."
    )


def _value_blocks(source: Source, size: int) -> Generator[_Block]:
    """The elements of arrays, and values outside of any, each as one line."""
    texts: list[str] = []
    lines: list[int] = []
    held = 0
    ordinal = itertools.count()

    def block() -> _Block:
        data = "\n".join(texts).encode(errors="surrogateescape") + b"\n"
        return _Block.of(next(ordinal), data, tuple(lines))

    try:
        for line, text in _values(source, size):
            texts.append(text.replace("\n", " ").replace("\r", " "))
            lines.append(line)
            held += len(text)
            if held >= size:
                yield block()
                texts, lines, held = [], [], 0
    except DamagedError:
        if texts:
            yield block()
        raise
    if texts:
        yield block()


_BETWEEN: Final = re.compile(r"[\s,]*")
_WORD: Final = re.compile(r"[^\s,\[\]{}\"]+|.", re.DOTALL)
_BRACKETS: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]|"', re.DOTALL)
# No literal, escape or number of JSON that is cut off is longer: an error further from the end is a real one.
_NEAR_END: Final = 64


def _values(source: Source, size: int) -> Generator[tuple[int, str]]:
    """(line, text) of each JSON value of a file of arrays and values. What cannot be read as JSON goes as far as its
    brackets do, or to the next object that begins as it did, so that the values behind it are found.
    Raises DamagedError when an array is not closed."""
    decode = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape").decode
    feed = raw_blocks(source, size)
    text, at, line, inside = "", 0, 1, False
    # the blanks before a value that begins a line
    indent: str | None = ""
    damage: DamagedError | None = None
    ended = False
    while True:
        start = _BETWEEN.match(text, at).end()  # type: ignore[union-attr] # it matches nothing as well
        if start > at:
            line += text.count("\n", at, start)
            _, broken, blanks = text[at:start].rpartition("\n")
            indent = blanks if broken and not blanks.strip() else None
            at = start
        if at < len(text) and not inside and text[at] == "[":
            inside, at = True, at + 1
            continue
        if at < len(text) and inside and text[at] == "]":
            inside, at = False, at + 1
            continue
        end = _value_end(text, at, indent, ended=ended) if at < len(text) else None
        if end is not None:
            yield line, text[at:end]
            line += text.count("\n", at, end)
            at = end
            continue
        if ended:
            break
        try:
            more = next(feed, None) if len(text) - at < MAX_LINE_BYTES else None
        except DamagedError as error:
            more, damage = None, error
        ended = more is None
        text, at = text[at:] + decode(more or b"", final=ended), 0
        text = text.removeprefix("\ufeff")
    feed.close()
    if damage is not None:
        raise damage
    if inside:
        raise DamagedError(f"{source.name}: the JSON array is not closed: cut short, or a bracket or quote is missing.")


def _value_end(text: str, at: int, indent: str | None, *, ended: bool) -> int | None:
    """Where the JSON value at `at` ends; None when more text is needed to tell."""
    broken = ended
    try:
        _, end = _DECODER.raw_decode(text, at)
        # a number or word at the very end may go on
        return end if end < len(text) or ended else None
    except json.JSONDecodeError as error:
        broken |= not error.msg.startswith("Unterminated string") and error.pos < len(text) - _NEAR_END
    except (ValueError, RecursionError):
        broken = True
    if not broken:
        return None
    if text[at] not in "[{":
        end = _WORD.match(text, at).end()  # type: ignore[union-attr] # any character is one
        return end if end < len(text) or ended else None
    following = text.find(f"\n{indent}{{", at) if indent is not None else -1
    last = following if following >= 0 else len(text)
    depth = 0
    for mark in _BRACKETS.finditer(text, at, last):
        if mark[0] == '"':
            break
        depth += (mark[0] in "[{") - (mark[0] in "]}")
        if depth == 0:
            return mark.end()
    return last if ended or following >= 0 else None


_DECODER: Final = json.JSONDecoder()


def _parse_json(data: bytes, layout: Layout, columns: Sequence[str]) -> Parsed:
    strict = json_schema(layout, columns, strict=True) or {"": pl.String()}
    raw = _read_json(data, strict)
    if raw is not None:
        return _judged(raw, layout, columns, None, lambda at: _texts(_json_lines(data), at))
    lines = _json_lines(data)
    loose = json_schema(layout, columns, strict=False) or {"": pl.String()}
    places: list[int] = []
    frames = [pl.DataFrame(schema=loose)]
    rejects: list[Reject] = []
    for some, frame in _readable(lines, range(len(lines)), loose):
        if frame is not None:
            places.extend(some)
            frames.append(frame)
        else:
            rejects.extend(Reject(n, *_fault(lines[n], loose), _shown(lines[n])) for n in some)
    rows = pl.Series(places, dtype=pl.Int64)
    judged = _judged(pl.concat(frames), layout, columns, rows, lambda at: _texts(lines, [places[n] for n in at]))
    return _with(judged, rejects)


def _json_lines(data: bytes) -> list[bytes]:
    return [line.removeprefix(_BOM) for line in data.split(b"\n") if line and not line.isspace()]


def _texts(lines: Sequence[bytes], at: Iterable[int]) -> list[str]:
    return [_shown(lines[n]) for n in at]


def _read_json(data: bytes, schema: Mapping[str, pl.DataType]) -> pl.DataFrame | None:
    try:
        return pl.read_ndjson(data, schema=schema)
    except _FAILURES:
        return None


def _readable(
    lines: Sequence[bytes], some: Sequence[int], schema: Mapping[str, pl.DataType]
) -> Iterator[tuple[Sequence[int], pl.DataFrame | None]]:
    """The lines in parts that Polars reads, and those that it does not (None), found by halving: what is good is
    decided by the same reader everywhere, so that it does not depend on the neighbours of a line."""
    frame = _read_json(b"\n".join(lines[n] for n in some), schema) if some else None
    if frame is not None and frame.height == len(some):
        yield some, frame
    elif len(some) == 1:
        yield some, None
    elif len(some) > _FEW_LINES:
        middle = len(some) // 2
        yield from _readable(lines, some[:middle], schema)
        yield from _readable(lines, some[middle:], schema)
    elif some:
        # Python tells most of the bad ones at a fraction of the cost
        bad = [n for n in some if _is_surely_bad(lines[n])]
        if bad:
            yield bad, None
            yield from _readable(lines, [n for n in some if n not in bad], schema)
        else:
            for n in some:
                yield from _readable(lines, [n], schema)


def _is_surely_bad(line: bytes) -> bool:
    try:
        return not isinstance(json.loads(line.decode()), dict)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return True
    except (ValueError, RecursionError):
        return False


def _fault(line: bytes, schema: Mapping[str, pl.DataType]) -> tuple[str, str]:
    """Why a line that Polars does not read is not a record: a code and a sentence."""
    try:
        value = json.loads(line.decode(), parse_constant=_no_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        return "not_utf8", f"not UTF-8: byte {line[error.start]:#04x} at column {error.start + 1}"
    except json.JSONDecodeError as error:
        return "not_json", f"not JSON at column {error.colno}: {error.msg}"
    except RecursionError:
        return "not_json", "not JSON that can be read: nested too deeply"
    except ValueError as error:
        return "not_json", f"not JSON: {error}"
    if not isinstance(value, dict):
        return "not_an_object", f"expected a JSON object, saw {type(value).__name__}"
    wrong = _not_an_object(value, pl.Struct(schema), ())
    return (
        ("bad_value", wrong)
        if wrong
        else ("not_json", "not JSON that can be read: nested too deeply, or a number too large")
    )


# A message does not show what stands there: it may be what somebody wrote.
_KINDS: Final[dict[type, str]] = {str: "text", list: "a list", bool: "true or false"}


def _not_an_object(value: Any, dtype: pl.DataType, path: tuple[str, ...]) -> str | None:
    if not isinstance(dtype, pl.Struct) or value is None:
        return None
    if not isinstance(value, dict):
        return f"{'.'.join(path)}: expected an object, saw {_KINDS.get(type(value), 'a number')}"
    inside = (_not_an_object(value.get(f.name), f.dtype, (*path, f.name)) for f in dtype.fields)  # type: ignore[arg-type]
    return next(filter(None, inside), None)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


# --- CSV --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _CsvHead:
    """What a CSV file's beginning says of it. size, lines: bytes and line breaks before the first record."""

    header: Sequence[str] = ()
    separator: str = ","
    encoding: str = "utf-8"
    old_mac: bool = False
    size: int = 0
    lines: int = 0
    sample: Sequence[Sequence[str]] = ()

    def utf8(self, data: bytes) -> bytes:
        """The same text in UTF-8, its line breaks where they were."""
        return data if self.encoding == "utf-8" else data.decode(self.encoding, errors="replace").encode()


@dataclass(frozen=True)
class _CsvRecord:
    """A record of a block: the line that it starts at (from 0), its text, and its fields, or the code of and the
    sentence about what is wrong with them."""

    line: int
    text: bytes
    fields: list[str] | tuple[str, str]


def _csv_layout(source: Source, head: _CsvHead | None, given: Layout | None, extra: Sequence[str]) -> Layout:
    if head is None:
        return detect_layout(source.name, [], given, extra)
    records: list[dict[str, Any]] = [dict(zip(head.header, row, strict=True)) for row in head.sample]
    records = records or [dict.fromkeys(head.header)]
    layout = detect_layout(source.name, records, given, extra, head.separator)
    if head.encoding == "utf-8":
        return layout
    return replace(layout, notes=(*layout.notes, f"{source.name}: not UTF-8, so it is read as Windows-1252"))


# A byte-order mark, blank lines, and Excel's own hint.
_BEFORE_HEADER: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:[ \t]*\r?\n)*(?:(?i:sep=)([!-~\t]) *\r?\n(?:[ \t]*\r?\n)*)?", re.ASCII
)


def _csv_head(source: Source) -> _CsvHead | None:
    """What a CSV file's beginning says: separator, encoding, header. None for a file without one."""
    data = first_bytes(source, SAMPLE_BYTES)
    whole = len(data) < SAMPLE_BYTES
    old_mac = b"\r" in data and b"\n" not in data
    data = data.replace(b"\r", b"\n") if old_mac else data
    before = _BEFORE_HEADER.match(data)
    if before is None or not data[before.end() :].strip():
        return None
    separator = before[1].decode() if before[1] else separator_of(data[before.end() :])
    head = _CsvHead(separator=separator, encoding=_encoding(data, whole=whole), old_mac=old_mac)
    records = _csv_records(head.utf8(data[before.end() :]), separator, None)
    first = next(records)
    if isinstance(first.fields, tuple):
        raise InputError(f"{source.name}: the header cannot be read, {first.fields[1]}.")
    header = [name.strip() or f"column {n}" for n, name in enumerate(first.fields, 1)]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"{source.name}: the header names {', '.join(map(repr, twice))} more than once.")
    size = before.end()
    for _ in range(first.text.count(b"\n") + 1):
        size = data.find(b"\n", size) + 1 or len(data)
    rows = [record.fields for record in itertools.islice(records, SAMPLE_RECORDS)]
    sample = [row for row in rows if isinstance(row, list) and len(row) == len(header)]
    return replace(head, header=header, size=size, lines=data.count(b"\n", 0, size), sample=sample)


def separator_of(data: bytes) -> str:
    """What separates the fields of CSV, by its first line."""
    line = re.sub(rb'"[^"]*"', b"", data).partition(b"\n")[0]
    return max((",", ";", "\t", "|"), key=lambda separator: line.count(separator.encode()))


def _encoding(data: bytes, *, whole: bool) -> str:
    """utf-8, or cp1252 when most of what is not ASCII is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")
    try:
        decoder().decode(data, final=whole)
    except UnicodeDecodeError:
        text = decoder(errors="replace").decode(data)
        bad = text.count("\ufffd")
        return "utf-8" if len(text) - bad - len(text.encode("ascii", errors="ignore")) > bad else "cp1252"
    return "utf-8"


def _csv_blocks(source: Source, head: _CsvHead) -> Iterator[_Block]:
    """Whole records: a line break ends one where the quotes before it are even."""
    held = b""
    skip = head.size
    ordinal = itertools.count()
    try:
        for data in raw_blocks(source, CHUNK_BYTES):
            data = data.replace(b"\r", b"\n") if head.old_mac else data
            data, skip = held + data[skip:], max(0, skip - len(data))
            cut = _csv_cut(data)
            if cut:
                yield _Block.of(next(ordinal), data[:cut])
            elif len(data) > MAX_LINE_BYTES:
                raise InputError(f"{source.name}: a line of more than {MAX_LINE_BYTES >> 20} MB. Is it CSV?")
            held = data[cut:]
    except DamagedError:
        if held:
            yield _Block.of(next(ordinal), held)
        raise
    if held:
        yield _Block.of(next(ordinal), held)


def _csv_cut(data: bytes) -> int:
    """Behind the last line break outside quotes, 0 if there is none; where a quote never closes, behind the last."""
    cut = whole = data.rfind(b"\n") + 1
    odd = data.count(b'"', 0, cut) % 2
    while cut and odd:
        before = data.rfind(b"\n", 0, cut - 1) + 1
        odd ^= data.count(b'"', before, cut) % 2
        cut = before
    return cut or (whole if len(data) > MAX_CSV_RECORD_BYTES else 0)


@dataclass(frozen=True)
class _Table:
    """A block of a table: rows of text, their places in the block, what is none, and how the row at a place reads."""

    raw: pl.DataFrame
    places: Sequence[int] | None
    rejects: Sequence[Reject]
    text: Callable[[Sequence[int]], list[str]]


def _csv_table(data: bytes, head: _CsvHead) -> _Table:
    data = head.utf8(data)
    width = len(head.header)
    raw = _read_csv(data, head)
    if raw is not None:
        return _Table(raw, None, (), lambda at: _texts([r.text for r in _csv_records(data, head.separator, width)], at))
    records = list(_csv_records(data, head.separator, width))
    rejects = [
        Reject(row, *record.fields, _shown(record.text))
        for row, record in enumerate(records)
        if isinstance(record.fields, tuple)
    ]
    good = [(row, record.fields) for row, record in enumerate(records) if isinstance(record.fields, list)]
    raw = pl.DataFrame([f for _, f in good], schema=dict.fromkeys(head.header, pl.String()), orient="row")
    return _Table(raw, [row for row, _ in good], rejects, lambda at: _texts([record.text for record in records], at))


def _parse_csv(data: bytes, head: _CsvHead, layout: Layout, columns: Sequence[str]) -> Parsed:
    table = _csv_table(data, head)
    places = table.places
    if places is None:
        return _judged(table.raw, layout, columns, None, table.text)
    rows = pl.Series(places, dtype=pl.Int64)
    judged = _judged(table.raw, layout, columns, rows, lambda at: table.text([places[n] for n in at]))
    return _with(judged, table.rejects)


def _read_csv(data: bytes, head: _CsvHead) -> pl.DataFrame | None:
    """A block the fast way; None when a record is not as it should be, or may be a blank line.

    Polars forgives what we do not: quotes that go on behind their end, too few fields, one too many in the last line.
    """
    mark = re.escape(head.separator.encode())
    data = data if data.endswith(b"\n") else data + b"\n"
    bare = data
    if b'"' in data:
        # quoted fields out, then no other field may begin with a quote
        bare = re.sub(rb'"(?<![^%b\n]")[^"]*+(?:""[^"]*+)*+"(?=\r?[%b\n])' % (mark, mark), b"", data)
        if re.search(rb'"(?<![^%b\n]")' % mark, bare):
            return None
    try:
        raw = pl.read_csv(data, has_header=False, new_columns=head.header, infer_schema=False, separator=head.separator)
    except _FAILURES:
        return None
    between = raw.width - 1
    if between == 0 or bare.count(head.separator.encode()) != raw.height * between:
        return None
    maybe_blank = min(raw.null_count().row(0)) > 0
    return None if maybe_blank and raw.select(pl.all_horizontal(pl.all().is_null()).any()).item() else raw


def _csv_records(data: bytes, separator: str, width: int | None) -> Iterator[_CsvRecord]:
    """The records of a block, blank lines left out. Of a record that spans lines and is not one, only the first line
    is given up: a stray quote shall not take the lines behind it along."""
    mark = separator.encode()
    field = re.compile(
        rb'"([^"]*+(?:""[^"]*+)*+)"\r?(?=[%b\n]|\Z)|(?!")([^%b\n]*)' % (re.escape(mark), re.escape(mark))
    )
    at = line = 0
    while at < len(data):
        start = at
        fields: list[bytes] = []
        while found := field.match(data, at):
            # a carriage return at the end of any field goes, as in Polars
            fields.append(found[2].removesuffix(b"\r") if found[1] is None else found[1].replace(b'""', b'"'))
            at = found.end()
            if data[at : at + 1] != mark:
                break
            at += 1
        wrong: tuple[str, str] | None = None
        if found is None:
            wrong = "not_csv", "not CSV: a quote that is not closed, or goes on behind its end"
        elif width is not None and len(fields) != width:
            wrong = "wrong_fields", f"expected {width} fields as in the header, saw {len(fields)}"
        at = data.find(b"\n", start if wrong else at) + 1 or len(data)
        text = data[start:at].removesuffix(b"\n").removesuffix(b"\r")
        first, line = line, line + data.count(b"\n", start, at)
        if not text.strip(mark) or not text.strip(b" "):
            continue
        if wrong is None:
            try:
                yield _CsvRecord(first, text, [value.decode() for value in fields])
                continue
            except UnicodeDecodeError as error:
                wrong = "not_utf8", f"not UTF-8: byte {error.object[error.start]:#04x}"
        yield _CsvRecord(first, text, wrong)


# --- Parquet ----------------------------------------------------------------------------------------------------------


def _parquet(source: Source) -> tuple[pl.LazyFrame, list[str]]:
    """A Parquet file and the names of its columns. Raises DamagedError."""
    try:
        plan = pl.scan_parquet(source.path, glob=is_object_store(source.path))
        return plan, plan.collect_schema().names()
    except (*_FAILURES, OSError) as error:
        raise _not_parquet(source, error) from error


def _not_parquet(source: Source, error: BaseException) -> InputError:
    if is_object_store(source.path):
        return remote_error(source, error)
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return DamagedError(f"{source.name}: not a Parquet file that can be read ({said}). Was it cut short?")


def _rows(layout: Layout) -> int:
    """Rows of a chunk of Parquet."""
    return PARQUET_ROWS if layout.dialect is None else min(NESTED_ROWS, PARQUET_ROWS)


def _parquet_chunks(source: Source, layout: Layout, only: Collection[int] | None) -> Iterator[Chunk]:
    plan, names = _parquet(source)
    try:
        height = plan.select(pl.len()).collect().item()
    except (*_FAILURES, OSError) as error:
        raise _not_parquet(source, error) from error
    rows = _rows(layout)
    parts = -(-height // rows)
    for ordinal in range(parts) if only is None else sorted(only):
        parse = functools.partial(_parse_parquet, source, plan, ordinal, names, layout)
        yield Chunk(ordinal, source.size // parts, parse)


def _parse_parquet(
    source: Source, plan: pl.LazyFrame, ordinal: int, names: Sequence[str], layout: Layout, columns: Sequence[str]
) -> Parsed:
    if layout.dialect is not None:
        return _dialect_table(_parquet_table(source, plan, ordinal, names, layout), layout, columns)
    fields = {layout.fields[c][0] for c in wanted_of(layout, columns) if c in layout.fields} | set(layout.extra)
    raw = _parquet_part(source, plan, ordinal, [n for n in names if n in fields] or names[:1], layout)
    return _judged(raw, layout, columns, None, lambda at: raw[at].write_ndjson().rstrip("\n").split("\n"))


def _parquet_part(
    source: Source, plan: pl.LazyFrame, ordinal: int, names: Sequence[str], layout: Layout
) -> pl.DataFrame:
    rows = _rows(layout)
    try:
        return plan.slice(ordinal * rows, rows).select(names).collect(engine="in-memory")
    except (*_FAILURES, OSError) as error:
        raise _not_parquet(source, error) from error


def _parquet_table(source: Source, plan: pl.LazyFrame, ordinal: int, names: Sequence[str], layout: Layout) -> _Table:
    assert layout.reading is not None
    wanted = list(names)
    if layout.reading.unpack is None:
        paths = mapped.leaves(layout, layout.reading.fields)
        wanted = [n for n in names if any(path == n or path.startswith(f"{n}.") for path in paths)] or list(names[:1])
    raw = _parquet_part(source, plan, ordinal, wanted, layout)
    return _Table(raw, None, (), lambda at: raw[list(at)].write_ndjson().rstrip("\n").split("\n"))


def _dicts(frame: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows as Python objects; moments as text, as Python's calendar is shorter than that of Parquet."""
    return frame.with_columns(pl.selectors.temporal().cast(pl.String)).iter_rows(named=True)


def _parquet_records(source: Source, layout: Layout, ordinal: int) -> list[int]:
    assert layout.reading is not None
    plan, names = _parquet(source)
    table = _parquet_table(source, plan, ordinal, names, layout)
    return mapped.unpacked(enumerate(_dicts(table.raw)), layout.reading)[0]


# --- dialects ---------------------------------------------------------------------------------------------------------


def _dialect_json(data: bytes, layout: Layout, columns: Sequence[str]) -> Parsed:
    """Lines of a dialect: by Polars where all have the types that the sample had, else one by one."""
    assert layout.reading is not None
    reading = layout.reading
    lines: list[bytes] | None = None

    def text(at: Sequence[int]) -> list[str]:
        return _texts(_json_lines(data) if lines is None else lines, at)

    def typed(paths: Mapping[str, Type]) -> _Found | None:
        nonlocal lines
        some = layout.usual.among(paths, data) if layout.usual is not None else paths
        for any_messages in {"all": (False, True), "but messages": (True,), "nothing": ()}[layout.typed]:
            types = mapped.schema(some, any_messages=any_messages)
            raw = _read_json(data, types) if types is not None else None
            if raw is None:
                continue
            leaves = mapped.flat_leaves(raw, paths)
            doubtful = mapped.doubtful(leaves, paths, escapes=_ESCAPED in data, any_messages=any_messages)
            if doubtful.null_count() or doubtful.any():
                lines = _json_lines(data)
                again = _reread(leaves, doubtful, lines, paths)
                if again is None:
                    return None
                leaves = again
            return _Found(leaves, pl.int_range(raw.height, eager=True), (), raw.height, 0, text)
        return None

    def loose(paths: Mapping[str, Type]) -> _Found:
        nonlocal lines
        lines = _json_lines(data)
        behind, records, bad, repeated = _json_records(lines, reading)
        rejects = [Reject(row, *_fault(lines[n], {}), _shown(lines[n])) for row, n in enumerate(bad)]
        if reading.unpack is None:
            # every record is its own place
            rejects = [replace(reject, row=n) for reject, n in zip(rejects, bad, strict=True)]
            rows = pl.Series(behind, dtype=pl.Int64)
        else:
            rows = pl.int_range(len(bad), len(bad) + len(records), eager=True)
        all_behind = [*bad, *behind] if reading.unpack is not None else list(range(len(lines)))
        frame, wrong = mapped.record_leaves(records, paths, layout.extra)
        found = _Found(frame, rows, rejects, len(lines), repeated, lambda at: text([all_behind[n] for n in at]))
        return _without(found, wrong)

    return _finished(lambda paths: typed(paths) or loose(paths), layout, columns)


# A backslash in a text: Polars does not escape it again in the JSON text that it makes of nested values.
_ESCAPED: Final = b"\\\\"


def _reread(
    leaves: pl.DataFrame, doubtful: pl.Series, lines: Sequence[bytes], paths: Mapping[str, Type]
) -> pl.DataFrame | None:
    """Leaves with the rows that Polars may not read as they are meant read anew; None where that is not possible.

    doubtful: null where a row is so only if its line has a backslash in a text.
    """
    if len(lines) != leaves.height:
        return None
    maybe = doubtful.is_null().arg_true().to_list()
    at = sorted([*doubtful.fill_null(False).arg_true().to_list(), *(n for n in maybe if _ESCAPED in lines[n])])
    if not at:
        return leaves
    try:
        records = [orjson.loads(lines[n]) for n in at]
    except ValueError:
        return None
    again, wrong = mapped.record_leaves(records, paths)
    if wrong:
        return None
    order = np.arange(leaves.height, dtype=np.uint32)
    order[at] = np.arange(leaves.height, leaves.height + len(at), dtype=np.uint32)
    return pl.concat([leaves, again])[pl.Series(order)]


def _json_records(
    lines: Sequence[bytes], reading: Reading
) -> tuple[list[int], list[Mapping[str, Any]], list[int], int]:
    """The records of lines after unpacking, the line behind each, lines that are no record, and repeated lines."""
    good: list[tuple[int, Mapping[str, Any]]] = []
    bad: list[int] = []
    for n, line in enumerate(lines):
        try:
            record = orjson.loads(line)
        except ValueError:
            bad.append(n)
            continue
        if isinstance(record, dict):
            good.append((n, record))
        else:
            bad.append(n)
    behind, records, repeated = mapped.unpacked(good, reading)
    return behind, records, bad, repeated


def _records_behind(data: bytes, head: _CsvHead | None, layout: Layout) -> list[int]:
    """For each row of a block that was unpacked, the number of its record in the block."""
    assert layout.reading is not None
    if head is not None:
        table = _csv_table(data, head)
        places = table.places if table.places is not None else range(table.raw.height)
        rows = zip(places, _dicts(table.raw), strict=True)
        bad = [reject.row for reject in table.rejects]
        return [*bad, *mapped.unpacked(rows, layout.reading)[0]]
    behind, _, wrong, _ = _json_records(_json_lines(data), layout.reading)
    return [*wrong, *behind]


def _dialect_table(table: _Table, layout: Layout, columns: Sequence[str]) -> Parsed:
    """Rows of a table of a dialect: columns as they are where nothing has to be unpacked."""
    assert layout.reading is not None
    reading = layout.reading
    places = list(table.places) if table.places is not None else list(range(table.raw.height))
    records = len(places) + len(table.rejects)

    def direct(paths: Mapping[str, Type]) -> _Found:
        frame, wrong = mapped.frame_leaves(table.raw, paths)
        rows = pl.Series(places, dtype=pl.Int64)
        at_row = {place: n for n, place in enumerate(places)}
        found = _Found(
            frame, rows, table.rejects, records, 0,
            lambda at: table.text([n if table.places is not None else at_row[n] for n in at]),
        )  # fmt: skip
        return _without(found, wrong)

    def through(paths: Mapping[str, Type]) -> _Found:
        assert reading is not None
        rows = zip(places, _dicts(table.raw), strict=True)
        behind, unpacked, repeated = mapped.unpacked(rows, reading)
        frame, wrong = mapped.record_leaves(unpacked, paths, layout.extra)
        bad = len(table.rejects)
        rejects = [replace(reject, row=n) for n, reject in enumerate(table.rejects)]
        numbers = pl.int_range(bad, bad + len(unpacked), eager=True)
        found = _Found(frame, numbers, rejects, records, repeated, lambda at: table.text([behind[n - bad] for n in at]))
        return _without(found, wrong)

    return _finished(direct if reading.unpack is None else through, layout, columns)


def asked_of(source: Source, layout: Layout) -> Iterator[pl.DataFrame]:
    """The requests of a batch's input file, for `mapped.Joined`; lines that are none are left to the answers."""
    assert layout.reading is not None
    fields = layout.reading.fields
    for block in _json_blocks(source, CHUNK_BYTES):
        _, records, _, _ = _json_records(_json_lines(block.read()), layout.reading)
        frame, _ = mapped.record_leaves(records, mapped.leaves(layout, fields))
        yield mapped.asking(frame, fields)


@dataclass(frozen=True)
class _Found:
    """Leaves of the records of a block; `rows` are their places. text: how the records at places read."""

    leaves: pl.DataFrame
    rows: pl.Series
    rejects: Sequence[Reject]
    records: int
    repeated: int
    text: Callable[[Sequence[int]], list[str]]


def _without(found: _Found, wrong: Mapping[int, str]) -> _Found:
    """Records with a value that cannot be what it should are rejected."""
    if not wrong:
        return found
    at = sorted(wrong)
    places = found.rows.gather(at).to_list()
    bad = [
        Reject(place, "bad_value", wrong[n], text)
        for n, place, text in zip(at, places, found.text(places), strict=True)
    ]
    keep = pl.Series([True]).new_from_index(0, found.rows.len()).scatter(at, False)
    leaves = found.leaves.filter(keep) if found.leaves.width else found.leaves
    return replace(found, leaves=leaves, rows=found.rows.filter(keep), rejects=[*found.rejects, *bad])


def _finished(read: Callable[[Mapping[str, Type]], _Found], layout: Layout, columns: Sequence[str]) -> Parsed:
    """A block of a dialect as requests. The text of answers is only read where it tells a count that is missing."""
    assert layout.reading is not None
    answers = "response_text" in layout.reading.fields and layout.estimates and "tokens_estimated" in columns
    for text in (False, True):
        fields = mapped.targets(layout, columns, text=text)
        found = read(mapped.leaves(layout, fields))
        frame, skipped, corrected, lacking = mapped.requests(found.leaves, fields, layout, columns, found.rows)
        if not lacking or not answers:
            break
    wrong = frame["reject"].is_not_null()
    rejects = list(found.rejects)
    if wrong.any():
        places = frame["row"].filter(wrong).to_list()
        reasons = frame["reject"].filter(wrong).to_list()
        rejects += [
            Reject(*bad) for bad in zip(places, ["bad_value"] * len(places), reasons, found.text(places), strict=True)
        ]
    if layout.reading.unpack is not None:
        skipped += max(0, found.records - len(rejects) - found.repeated - found.leaves.height)
    return Parsed(
        frame.filter(~wrong).drop("reject"),
        tuple(sorted(rejects, key=lambda reject: reject.row)),
        found.records,
        skipped,
        found.repeated,
        corrected,
    )
