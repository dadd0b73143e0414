"""The chunks of a file: parsed fast where a chunk is clean, line by line only where it is not."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from routecost.errors import InputError
from routecost.logs.files import CHUNK_BYTES, Source, is_object_store, raw_blocks
from routecost.logs.flat import EXTRA_TARGETS, Layout, canonical, detect_layout, json_schema

SAMPLE_RECORDS: Final = 500
MAX_LINE_BYTES: Final = 256 << 20
PARQUET_ROWS: Final = 131_072
_BOM: Final = b"\xef\xbb\xbf"
# A chunk that does not parse is cut into pieces of this size; only a piece that fails is read line by line.
_PIECE_BYTES: Final = 256 << 10


@dataclass(frozen=True)
class Reject:
    """A line that is not a request: its place in the chunk (0-based), a stable reason code, what was seen, the text."""

    row: int
    code: str
    reason: str
    text: str


@dataclass(frozen=True)
class Parsed:
    """What a chunk holds: requests (see flat.canonical; `row` is their place in the chunk) and rejected lines."""

    requests: pl.DataFrame
    rejects: tuple[Reject, ...] = ()

    @property
    def lines(self) -> int:
        return self.requests.height + len(self.rejects)


@dataclass(frozen=True)
class Chunk:
    """A part of a file, not parsed yet. `parse(columns)` may run in any thread, and more than once."""

    ordinal: int
    size: int
    parse: Callable[[Sequence[str]], Parsed]


def layout_of(source: Source, given: Layout | None, extra: Sequence[str] = ()) -> Layout:
    """The layout of a source from a sample of its records. Raises InputError when nothing is recognised."""
    if source.kind == "parquet":
        head = _parquet(source).head(SAMPLE_RECORDS)
        try:
            frame = head.collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _not_parquet(source, error) from error
        # an empty column says that the field exists
        records: list[dict[str, Any]] = frame.to_dicts() or [dict.fromkeys(frame.columns)]
        return detect_layout(source.name, records, given, extra)
    if source.kind == "csv":
        text = _csv_head(source)
        rows = list(itertools.islice(text.records, SAMPLE_RECORDS)) if text else []
        records = [dict(zip(text.header, row, strict=False)) for row in rows] if text else []
        if text and not records:
            records = [dict.fromkeys(text.header)]
        return detect_layout(source.name, records, given, extra)
    records = []
    for _, block in _json_blocks(source, 1 << 20):
        for line in block.splitlines():
            record = _object(line)
            if isinstance(record, dict):
                records.append(record)
            if len(records) >= SAMPLE_RECORDS:
                break
        if records:
            break
    return detect_layout(source.name, records, given, extra)


def chunks(source: Source, layout: Layout, only: Collection[int] | None = None) -> Iterator[Chunk]:
    """The chunks of a source in order; with `only`, just those ordinals."""
    if source.kind == "parquet":
        yield from _parquet_chunks(source, layout, only)
        return
    if source.kind == "csv":
        head = _csv_head(source)
        if head is None:
            return
        for ordinal, block in enumerate(_csv_blocks(source, head)):
            if only is None or ordinal in only:
                yield Chunk(ordinal, len(block), _csv_parser(block, head, layout))
        return
    for ordinal, block in _json_blocks(source, CHUNK_BYTES):
        if only is None or ordinal in only:
            yield Chunk(ordinal, len(block), _json_parser(block, layout))


def locate(source: Source, places: Iterable[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """1-based line numbers of (chunk ordinal, row in chunk); for Parquet the 1-based row."""
    wanted: dict[int, list[int]] = {}
    for ordinal, row in places:
        wanted.setdefault(ordinal, []).append(row)
    found: dict[tuple[int, int], int] = {}
    if not wanted:
        return found
    if source.kind == "parquet":
        return {(o, r): o * PARQUET_ROWS + r + 1 for o, rows in wanted.items() for r in rows}
    last = max(wanted)
    if source.kind == "csv":
        head = _csv_head(source)
        blocks: Iterable[tuple[int, bytes]] = enumerate(_csv_blocks(source, head)) if head else ()
        line = 1 + (head.header_lines if head else 0)
    else:
        blocks = _json_blocks(source, CHUNK_BYTES)
        line = 1
    for ordinal, block in blocks:
        if ordinal in wanted:
            starts = _record_lines(block, is_csv=source.kind == "csv")
            for row in wanted[ordinal]:
                found[ordinal, row] = line + (starts[row] if row < len(starts) else 0)
        if ordinal >= last:
            break
        line += block.count(b"\n")
    return found


def _record_lines(block: bytes, *, is_csv: bool) -> list[int]:
    """The line offset inside the block at which each non-blank record starts."""
    if not is_csv:
        return [n for n, line in enumerate(block.split(b"\n")) if line.strip()]
    starts, quoted = [], False
    for n, line in enumerate(block.split(b"\n")):
        if not quoted and line.strip():
            starts.append(n)
        quoted ^= line.count(b'"') % 2 == 1
    return starts


# --- JSON -------------------------------------------------------------------------------------------------------------


def _json_blocks(source: Source, size: int) -> Iterator[tuple[int, bytes]]:
    """Whole lines in blocks of about `size` bytes. A JSON array of objects comes as one line an element."""
    if source.compression is None and not is_object_store(source.path):
        with open(source.path, "rb") as file:
            head = file.read(4096).removeprefix(_BOM).lstrip()
        if head and head[:1] != b"[" and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
            yield from _ranges(source, size)
            return
    held = b""
    ordinal = 0
    first = True
    for block in raw_blocks(source, size):
        if first:
            block = block.removeprefix(_BOM)
            if not block.strip():
                continue
            first = False
            if block.lstrip()[:1] == b"[":
                rest = itertools.chain([block], _after_first(source, size))
                yield from _array_blocks(source, rest, size)
                return
        cut = block.rfind(b"\n") + 1
        if cut == 0:
            held += block
            if len(held) > MAX_LINE_BYTES:
                raise InputError(_too_long(source))
            continue
        yield ordinal, held + block[:cut] if held else block[:cut]
        ordinal += 1
        held = block[cut:]
    if held.strip():
        yield ordinal, held


def _ranges(source: Source, size: int) -> Iterator[tuple[int, bytes]]:
    """Whole lines of a plain file, each block read once and copied once."""
    fd = os.open(source.path, os.O_RDONLY)
    try:
        end = os.fstat(fd).st_size
        at = len(_BOM) if os.pread(fd, 3, 0) == _BOM else 0
        for ordinal in itertools.count():
            if at >= end:
                return
            cut = _line_end(fd, min(at + size, end), end, source)
            yield ordinal, os.pread(fd, cut - at, at)
            at = cut
    except OSError as error:
        raise InputError(f"{source.name}: cannot be read ({error.strerror}).") from error
    finally:
        os.close(fd)


def _line_end(fd: int, at: int, end: int, source: Source) -> int:
    """Just behind the first line break at or after `at`."""
    start = at
    while at < end:
        window = os.pread(fd, 64 << 10, at)
        found = window.find(b"\n")
        if found >= 0:
            return at + found + 1
        at += len(window)
        if not window or at - start > MAX_LINE_BYTES:
            raise InputError(_too_long(source))
    return end


def _too_long(source: Source) -> str:
    return (
        f"{source.name}: a line of more than {MAX_LINE_BYTES >> 20} MB. Expected one JSON object a line; "
        "if the file is one large object, write its records one a line first (jq -c '.[]')."
    )


def _after_first(source: Source, size: int) -> Iterator[bytes]:
    started = False
    for block in raw_blocks(source, size):
        if not started:
            started = bool(block.removeprefix(_BOM).strip())
            continue
        yield block


def _array_blocks(source: Source, blocks: Iterable[bytes], size: int) -> Iterator[tuple[int, bytes]]:
    import codecs

    decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
    scan = json.JSONDecoder().raw_decode
    text, at, ordinal = "", 0, 0
    out: list[str] = []
    held = 0
    opened = False
    feed = iter(blocks)
    while True:
        if not opened:
            text = decode(next(feed))
            at = text.index("[") + 1
            opened = True
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        if at >= len(text) or text[at] != "]":
            try:
                _, end = scan(text, at)
                # a number or word at the very end may go on in the next block
                complete = end < len(text)
            except ValueError:
                complete = False
            if complete:
                out.append(text[at:end].replace("\n", " ").replace("\r", " "))
                held += end - at
                at = end
                if held >= size:
                    yield ordinal, ("\n".join(out) + "\n").encode()
                    ordinal, out, held = ordinal + 1, [], 0
                continue
            more = next(feed, None)
            if more is not None and len(text) - at < MAX_LINE_BYTES:
                text, at = text[at:] + decode(more), 0
                continue
            if text[at:].strip():
                # cut short or not JSON: the rest is one rejected record
                out.append(text[at:].replace("\n", " ").replace("\r", " "))
        break
    if out:
        yield ordinal, ("\n".join(out) + "\n").encode()


def _json_parser(block: bytes, layout: Layout) -> Callable[[Sequence[str]], Parsed]:
    return lambda columns: _parse_json(block, layout, columns)


def _parse_json(block: bytes, layout: Layout, columns: Sequence[str]) -> Parsed:
    strict = json_schema(layout, columns, strict=True) or {"_": pl.String()}
    raw = _try_json(block, strict)
    if raw is None:
        loose = json_schema(layout, columns, strict=False) or {"_": pl.String()}
        raw = _try_json(block, loose)
        if raw is None:
            return _parse_pieces(block, loose, layout, columns)
    return _judged(raw, layout, columns, lambda: [line for line in block.split(b"\n") if line.strip()])


def _try_json(block: bytes, schema: Mapping[str, pl.DataType]) -> pl.DataFrame | None:
    try:
        return pl.read_ndjson(block, schema=schema)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None


def _parse_pieces(block: bytes, schema: Mapping[str, pl.DataType], layout: Layout, columns: Sequence[str]) -> Parsed:
    """A chunk with at least one line that is not a JSON object."""
    frames: list[pl.DataFrame] = []
    rejects: list[Reject] = []
    row = 0
    for piece in _pieces(block):
        raw = _try_json(piece, schema)
        if raw is None:
            lines = [line for line in piece.split(b"\n") if line.strip()]
            good: list[bytes] = []
            places: list[int] = []
            for n, line in enumerate(lines):
                fault = _fault(line) or _field_fault(line, schema)
                if fault is None:
                    good.append(line)
                    places.append(row + n)
                else:
                    rejects.append(Reject(row + n, *fault, _shown(line)))
            raw = _try_json(b"\n".join(good) + b"\n", schema) if good else None
            if raw is None and good:
                singles = [(_try_json(line + b"\n", schema), line, place) for line, place in zip(good, places, strict=True)]
                rejects.extend(
                    Reject(place, "not_json", "not a JSON object that can be read", _shown(line))
                    for frame, line, place in singles
                    if frame is None
                )
                kept = [(frame, place) for frame, _, place in singles if frame is not None]
                raw = pl.concat([frame for frame, _ in kept]) if kept else None
                places = [place for _, place in kept]
            height = len(lines)
        else:
            height = raw.height
            places = list(range(row, row + height))
        if raw is not None:
            frames.append(raw.with_columns(pl.Series("row", places, pl.Int64)))
        row += height
    empty = pl.DataFrame(schema={**schema, "row": pl.Int64()})
    raw = pl.concat(frames) if frames else empty
    lines_again = [line for line in block.split(b"\n") if line.strip()]
    judged = _judged(raw.drop("row"), layout, columns, lambda: [lines_again[r] for r in raw["row"]], raw["row"])
    together = sorted((*rejects, *judged.rejects), key=lambda r: r.row)
    return Parsed(judged.requests, tuple(together))


def _pieces(block: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(block):
        end = block.find(b"\n", min(at + _PIECE_BYTES, len(block) - 1))
        end = len(block) if end < 0 else end + 1
        yield block[at:end]
        at = end


def _object(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _fault(line: bytes) -> tuple[str, str] | None:
    """Why a line is not a JSON object: a code and a sentence; None when it is one."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return "not_utf8", f"not UTF-8: byte {line[error.start]:#04x} at column {error.start + 1}"
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        return "not_json", "not JSON that can be read: nested too deeply"
    except ValueError as error:
        where = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        return "not_json", f"not JSON{where}: {why}"
    if not isinstance(value, dict):
        return "not_an_object", f"expected a JSON object, saw {type(value).__name__}"
    return None


def _field_fault(line: bytes, schema: Mapping[str, pl.DataType]) -> tuple[str, str] | None:
    record = json.loads(line)
    for name, dtype in schema.items():
        value = record.get(name)
        if isinstance(dtype, pl.Struct) and value is not None and not isinstance(value, dict):
            return "bad_value", f"{name}: expected an object, saw {json.dumps(value)[:40]}"
    return None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _shown(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r\n")


def _judged(
    raw: pl.DataFrame,
    layout: Layout,
    columns: Sequence[str],
    lines: Callable[[], Sequence[bytes]],
    rows: pl.Series | None = None,
) -> Parsed:
    """Raw records as requests, those that are none set apart. `lines` gives their text where it is needed."""
    frame = canonical(raw, layout, columns)
    rows = pl.int_range(frame.height, eager=True) if rows is None else rows
    frame = frame.with_columns(rows.alias("row"))
    if frame["reject"].null_count() == frame.height:
        return Parsed(frame.drop("reject"))
    bad = frame.with_row_index("at").filter(pl.col("reject").is_not_null())
    text = lines()
    rejects = tuple(
        Reject(row, "bad_value", reason, _shown(text[at]))
        for at, row, reason in bad.select("at", "row", "reject").iter_rows()
    )
    return Parsed(frame.filter(pl.col("reject").is_null()).drop("reject"), rejects)


# --- CSV --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _CsvHead:
    header: list[str]
    separator: str
    encoding: str
    header_bytes: int
    header_lines: int
    records: Iterable[list[str]]


def _csv_head(source: Source) -> _CsvHead | None:
    """What a CSV file's beginning says of it: separator, encoding, header. None for an empty file."""
    block = next(raw_blocks(source, 1 << 20), b"")
    start = len(_BOM) if block.startswith(_BOM) else 0
    body = block[start:]
    if not body.strip():
        return None
    skipped, lines = 0, 0
    first, _, _ = body.partition(b"\n")
    separator = ""
    if first.strip().lower().startswith(b"sep=") and len(first.strip()) == 5:
        # Excel's own hint
        separator = first.strip()[4:].decode("latin-1")
        skipped, lines = len(first) + 1, 1
        first = body[skipped:].partition(b"\n")[0]
    encoding = "utf-8"
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.end < len(body) - 4 or len(block) < 1 << 20:
            encoding = "cp1252"
    text = body[skipped:].decode(encoding, errors="replace")
    header_text = _first_record(text)
    if not separator:
        counts = {s: header_text.count(s) for s in (",", ";", "\t", "|")}
        separator = max(counts, key=lambda s: counts[s])
        separator = separator if counts[separator] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    header = [name.strip() for name in next(reader, [])]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"{source.name}: the header names {', '.join(map(repr, twice))} more than once.")
    length = len(header_text.encode(encoding))
    return _CsvHead(header, separator, encoding, start + skipped + length, lines + header_text.count("\n"), reader)


def _first_record(text: str) -> str:
    """The header with its line end; a quoted name may hold line breaks."""
    quoted = False
    for n, char in enumerate(text):
        if char == '"':
            quoted = not quoted
        elif char == "\n" and not quoted:
            return text[: n + 1]
    return text


def _csv_blocks(source: Source, head: _CsvHead) -> Iterator[bytes]:
    """Whole records in blocks: a line break ends a record where the quotes before it are even."""
    held = b""
    skip = head.header_bytes
    for block in raw_blocks(source, CHUNK_BYTES):
        if skip:
            used = min(skip, len(block))
            block, skip = block[used:], skip - used
        data = held + block if held else block
        cut = len(data)
        while True:
            cut = data.rfind(b"\n", 0, cut)
            if cut < 0 or data.count(b'"', 0, cut) % 2 == 0:
                break
        if cut < 0:
            held = data
            if len(held) > MAX_LINE_BYTES:
                raise InputError(
                    f"{source.name}: a record of more than {MAX_LINE_BYTES >> 20} MB: a quote that never closes?"
                )
            continue
        yield data[: cut + 1]
        held = data[cut + 1 :]
    if held.strip():
        yield held


def _csv_parser(block: bytes, head: _CsvHead, layout: Layout) -> Callable[[Sequence[str]], Parsed]:
    return lambda columns: _parse_csv(block, head, layout, columns)


def _parse_csv(block: bytes, head: _CsvHead, layout: Layout, columns: Sequence[str]) -> Parsed:
    if head.encoding != "utf-8":
        block = block.decode(head.encoding, errors="replace").encode()
    # a blank line, a wrong number of fields or a bad byte changes the number of rows or fails: then the slow way
    try:
        raw = pl.read_csv(
            block, has_header=False, new_columns=head.header, infer_schema=False, separator=head.separator,
            missing_utf8_is_empty_string=False,
        )  # fmt: skip
        clean = raw.width == len(head.header) and b"\n\n" not in block and b"\n\r\n" not in block
    except pl.exceptions.PolarsError:
        clean = False
    if clean:
        return _judged(raw, layout, columns, lambda: _csv_lines(block))
    rejects: list[Reject] = []
    rows: list[list[str | None]] = []
    places: list[int] = []
    texts: list[bytes] = []
    for n, record in enumerate(_csv_lines(block)):
        try:
            fields = next(csv.reader(io.StringIO(record.decode(), newline=""), delimiter=head.separator, strict=True), [])
        except UnicodeDecodeError:
            rejects.append(Reject(n, "not_utf8", "not UTF-8", _shown(record)))
            continue
        except csv.Error as error:
            rejects.append(Reject(n, "not_csv", f"not a CSV record: {error}", _shown(record)))
            continue
        if len(fields) != len(head.header):
            reason = f"expected {len(head.header)} fields as in the header, saw {len(fields)}"
            rejects.append(Reject(n, "wrong_fields", reason, _shown(record)))
            continue
        rows.append([value if value != "" else None for value in fields])
        places.append(n)
        texts.append(record)
    raw = pl.DataFrame(rows, schema=dict.fromkeys(head.header, pl.String), orient="row")
    judged = _judged(raw, layout, columns, lambda: texts, pl.Series(places, dtype=pl.Int64))
    return Parsed(judged.requests, tuple(sorted((*rejects, *judged.rejects), key=lambda r: r.row)))


def _csv_lines(block: bytes) -> list[bytes]:
    """The records of a block as bytes, blank lines left out."""
    records: list[bytes] = []
    open_record = b""
    for line in block.split(b"\n"):
        joined = open_record + b"\n" + line if open_record else line
        if joined.count(b'"') % 2:
            open_record = joined
            continue
        open_record = b""
        if joined.strip():
            records.append(joined.rstrip(b"\r"))
    if open_record.strip():
        records.append(open_record)
    return records


# --- Parquet ----------------------------------------------------------------------------------------------------------


def _parquet(source: Source) -> pl.LazyFrame:
    try:
        return pl.scan_parquet(source.path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _not_parquet(source, error) from error


def _not_parquet(source: Source, error: BaseException) -> InputError:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return InputError(f"{source.name}: not a Parquet file that can be read ({first[:200]}). Was it cut short?")


def _parquet_chunks(source: Source, layout: Layout, only: Collection[int] | None) -> Iterator[Chunk]:
    plan = _parquet(source)
    try:
        height = plan.select(pl.len()).collect().item()
        names = set(plan.collect_schema().names())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _not_parquet(source, error) from error
    for ordinal in range(-(-height // PARQUET_ROWS)):
        if only is None or ordinal in only:
            yield Chunk(ordinal, 0, _parquet_parser(source, plan, ordinal, names, layout))


def _parquet_parser(
    source: Source, plan: pl.LazyFrame, ordinal: int, names: set[str], layout: Layout
) -> Callable[[Sequence[str]], Parsed]:
    def parse(columns: Sequence[str]) -> Parsed:
        fields = {layout.fields[c][0] for c in (*columns, *EXTRA_TARGETS) if c in layout.fields} | set(layout.extra)
        theirs = sorted(fields & names) or sorted(names)[:1]
        part = plan.slice(ordinal * PARQUET_ROWS, PARQUET_ROWS)
        try:
            raw = part.select(theirs).collect(engine="in-memory")
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _not_parquet(source, error) from error
        return _judged(raw, layout, columns, lambda: [json.dumps(r, default=str).encode() for r in raw.to_dicts()])

    return parse

