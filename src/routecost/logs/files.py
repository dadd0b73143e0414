"""From what a person types to the files that it means, and their bytes."""

from __future__ import annotations

import codecs
import contextlib
import glob
import gzip
import itertools
import os
import sys
import tempfile
import zlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal

from routecost.errors import InputError, did_you_mean

Kind = Literal["jsonl", "csv", "parquet"]

# Blocks of bytes parse as fast as a memory-mapped scan of the whole file (bench/NOTES.md). Up to 32 MB the allocator
# gives the same memory out again; beyond, every block costs its page faults.
CHUNK_BYTES = 16 << 20
_READ_BYTES = 64 << 10

_KINDS: dict[str, Kind] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".log": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_COMPRESSION: dict[str, Literal["gzip", "zstd"]] = {".gz": "gzip", ".zst": "zstd"}
_MAGIC: dict[bytes, Literal["gzip", "zstd"]] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
# What people name by mistake, told by its first bytes.
_NOT_LOGS: dict[bytes, str] = {
    b"PK\x03\x04": "a zip archive (an Excel workbook is one): save the sheet as CSV, or unpack it",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save the sheet as CSV",
    b"BZh": "compressed with bzip2: unpack it in a pipe, `bzcat FILE | routecost analyze -`",
    b"\xfd7zXZ": "compressed with xz: unpack it in a pipe, `xzcat FILE | routecost analyze -`",
    b"SQLite format": "a SQLite database: export the table as CSV",
    b"Obj\x01": "an Avro file: convert it to Parquet or JSON lines",
    b"ORC": "an ORC file: convert it to Parquet",
    b"ARROW1": "an Arrow file: convert it to Parquet",
}
_SCHEMES = (
    *("s3://", "s3a://", "gs://", "gcs://", "az://", "azure://", "abfs://", "abfss://", "adl://"),
    *("http://", "https://", "hf://"),
)


class DamagedError(InputError):
    """A stream that ends too early; what came before the damage has been read."""


@dataclass(frozen=True)
class Source:
    """One file of a log. `name` is how it is shown; `path` is where its bytes are (a spool file for stdin). found: in a
    folder or by a pattern, not named."""

    name: str
    path: str
    kind: Kind
    compression: Literal["gzip", "zstd"] | None = None
    found: bool = False

    @property
    def size(self) -> int:
        """Bytes on disk, 0 where that is not known."""
        try:
            return os.stat(self.path).st_size
        except OSError:
            return 0


def is_object_store(path: str) -> bool:
    """Whether Polars should fetch it."""
    return path.startswith(_SCHEMES)


def find_sources(paths: Sequence[str]) -> list[Source]:
    """Every file meant by `paths` (files, globs, directories, `-`, object-store URLs), in name order, each once.

    Raises InputError for a path that does not exist, a directory or glob without a log, or an unreadable file.
    """
    found: dict[str, Source] = {}
    for path in dict.fromkeys(paths):
        for source in _expand(path):
            key = source.path if is_object_store(source.path) else os.path.realpath(source.path)
            found.setdefault(key, source)
    return sorted(found.values(), key=lambda source: source.name)


def _expand(path: str) -> list[Source]:
    if path == "-":
        return [spool_stdin()]
    if is_object_store(path):
        return [_remote(path)]
    if os.path.isdir(path):
        inside = [str(p) for p in sorted(Path(path).rglob("*")) if _is_log(p, Path(path))]
        if not inside:
            raise InputError(
                f"{path}: no log in this directory. Expected files ending in {', '.join(_KINDS)}, plain or .gz / .zst."
            )
        return [replace(_local(p), found=True) for p in inside]
    if os.path.exists(path):
        return [_local(path)]
    if glob.has_magic(path):
        matches = sorted(p for p in glob.glob(path, recursive=True) if os.path.isfile(p))
        if not matches:
            raise InputError(f"{path}: no file matches this pattern. Check the folder, or quote it for the shell.")
        return [replace(_local(p), found=True) for p in matches]
    if os.path.islink(path):
        raise InputError(f"{path}: a link to {os.readlink(path)}, which does not exist.")
    parent = Path(path).parent
    try:
        near = did_you_mean(Path(path).name, (p.name for p in parent.iterdir()))
    except OSError:
        near = "" if parent.exists() else f" There is no folder {parent} either."
    raise InputError(f"{path}: no such file.{near}")


def _is_log(path: Path, root: Path) -> bool:
    """Whether a file in a directory is read: by its ending; `.x` and `_x` are not data, as in Hive and Spark."""
    parts = path.relative_to(root).parts
    if any(part.startswith((".", "_")) for part in parts) or not path.is_file():
        return False
    if _BEDROCK in path.parts and ("data" in path.parts[path.parts.index(_BEDROCK) :] or path.name == _BEDROCK_CHECK):
        # bodies that were too large for the log stand beside it, and the mark of a permission check
        return False
    return _named_kind(path.name) is not None or (not path.suffix and _begins_like_json(path))


_BEDROCK = "BedrockModelInvocationLogs"
_BEDROCK_CHECK = "amazon-bedrock-logs-permission-check"


def _begins_like_json(path: Path) -> bool:
    """Whether a file without an ending, as some loggers write objects, begins as a JSON object or array."""
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
    except OSError:
        return False


def _named_kind(name: str) -> Kind | None:
    stem, ending = os.path.splitext(name.lower())
    if ending in _COMPRESSION:
        ending = os.path.splitext(stem)[1]
    return _KINDS.get(ending)


def _local(path: str, name: str | None = None) -> Source:
    if not os.path.isfile(path):
        raise InputError(f"{path}: not a regular file. Pipe it in instead: `cat {path} | routecost analyze -`.")
    shown = name or path
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError as error:
        raise InputError(f"{shown}: cannot be read ({error.strerror}).") from error
    for magic, what in _NOT_LOGS.items():
        if start.startswith(magic):
            raise InputError(f"{shown}: {what}. Expected JSON lines, CSV or Parquet, plain or .gz / .zst.")
    kind = "parquet" if start[:4] == b"PAR1" else _named_kind(shown)
    if kind == "parquet" and start[:4] != b"PAR1":
        raise InputError(
            f"{shown}: named as Parquet but does not begin like one (saw {start[:4]!r}, expected b'PAR1')."
        )
    compression = next((c for magic, c in _MAGIC.items() if start.startswith(magic)), None)
    if kind is None:
        kind = _sniffed_kind(Source(shown, path, "jsonl", compression))
    return Source(shown, path, kind, compression)


def _sniffed_kind(source: Source) -> Kind:
    try:
        start = first_bytes(source, 1 << 16).lstrip(b"\xef\xbb\xbf \t\r\n")
    except DamagedError:
        return "jsonl"
    if b"\0" in start:
        raise InputError(f"{source.name}: not text. Expected JSON lines, CSV or Parquet, plain or .gz / .zst.")
    return "jsonl" if not start or start[:1] in b"{[" else "csv"


def _remote(url: str) -> Source:
    path = url.split("?", 1)[0] if url.startswith("http") else url
    kind = _named_kind(path) or "jsonl"
    if kind == "csv" and (glob.has_magic(path) or path.endswith("/")):
        raise InputError(
            f"{url}: name each CSV file of an object store; only Parquet and JSON lines can be globbed there."
        )
    return Source(url, url, kind, _COMPRESSION.get(os.path.splitext(path.lower())[1]))


def spool_stdin() -> Source:
    """Standard input as a file: a log is read twice where duplicates are found, and a pipe cannot be."""
    if sys.stdin.isatty():
        raise InputError("-: nothing is piped in. Use `routecost analyze -` behind a pipe, or name a file.")
    spool = tempfile.NamedTemporaryFile(prefix="routecost-stdin-", delete=False)  # noqa: SIM115 - it must outlive us
    import atexit
    import shutil

    atexit.register(Path(spool.name).unlink, missing_ok=True)
    with spool:
        shutil.copyfileobj(sys.stdin.buffer, spool, 1 << 20)
    return _local(spool.name, "stdin")


def open_bytes(source: Source) -> IO[bytes]:
    """The decompressed bytes of a local source, as a readable file."""
    try:
        if source.compression == "gzip":
            return gzip.open(source.path, "rb")  # type: ignore[return-value]
        if source.compression == "zstd":
            import pyarrow as pa

            return pa.input_stream(source.path, compression="zstd")  # type: ignore[no-any-return]
        return open(source.path, "rb")
    except OSError as error:
        raise InputError(f"{source.name}: cannot be read ({error.strerror or error}).") from error


def first_bytes(source: Source, size: int) -> bytes:
    """The first `size` decompressed bytes or fewer. Raises DamagedError when there are none for a damage."""
    with contextlib.closing(raw_blocks(source, size)) as blocks:
        return next(blocks, b"")


def is_utf16(source: Source) -> bool:
    """Whether a local file begins with the byte-order mark of UTF-16."""
    with open_bytes(source) as file:
        return file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def raw_blocks(source: Source, size: int) -> Generator[bytes]:
    """The decompressed bytes of a source in blocks of about `size`, in order; UTF-16 comes as UTF-8.

    Raises DamagedError when the compressed stream is damaged: what came before has been yielded by then.
    """
    if is_object_store(source.path):
        yield from _remote_blocks(source, size)
        return
    with open_bytes(source) as file:
        blocks = _filled(file, max(size, 2), source)
        first = next(blocks, b"")
        if first[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            # Excel's "Unicode text" is UTF-16 with a byte-order mark
            decode = codecs.getincrementaldecoder("utf-16")(errors="replace").decode
            yield from (decode(block).encode(errors="replace") for block in itertools.chain([first], blocks))
            return
        if first:
            yield first
        yield from blocks


def _filled(file: IO[bytes], size: int, source: Source) -> Generator[bytes]:
    """Blocks of exactly `size` bytes but for the last; what a damaged stream still gave comes before the error."""
    # one step of the decompressor at a time: a longer read throws away what came before a damage
    read = file.read1 if isinstance(file, gzip.GzipFile) else file.read
    most = _READ_BYTES if source.compression else size
    parts: list[bytes] = []
    held = done = 0
    while True:
        try:
            part = read(min(size - held, most))
        except (OSError, EOFError, ValueError, zlib.error) as error:
            rest = b"".join((*parts, *_bytes_from(source, done)))
            if rest:
                yield rest
            kind = source.compression or "file"
            raise DamagedError(f"{source.name}: the {kind} stream is damaged or cut short ({error}).") from error
        if part:
            parts.append(part)
            held += len(part)
            done += len(part)
        if (held == size or not part) and parts:
            yield parts[0] if len(parts) == 1 else b"".join(parts)
            parts, held = [], 0
        if not part:
            return


def _bytes_from(source: Source, at: int) -> Generator[bytes]:
    """What a damaged zstd stream gives behind `at`, byte by byte: a read of more that fails gives nothing."""
    if source.compression != "zstd":
        return
    with open_bytes(source) as file, contextlib.suppress(OSError, ValueError):
        while at:
            at -= len(file.read(min(at, _READ_BYTES)))
        while byte := file.read(1):
            yield byte


def _remote_blocks(source: Source, size: int) -> Generator[bytes]:
    import polars as pl

    try:
        batches = pl.scan_lines(source.path, name="line").collect_batches(chunk_size=10_000, maintain_order=True)
        held: list[bytes] = []
        length = 0
        for batch in batches:
            held.append(("\n".join(batch["line"].fill_null("").to_list()) + "\n").encode() if batch.height else b"")
            length += len(held[-1])
            if length >= size:
                yield b"".join(held)
                held, length = [], 0
        if length:
            yield b"".join(held)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise remote_error(source, error) from error


def remote_error(source: Source, error: BaseException) -> InputError:
    """What an object store answered, and what to do about it."""
    said = " ".join(str(error).split())
    if isinstance(error, FileNotFoundError) or "404 Not Found" in said or "expanded paths were empty" in said:
        return InputError(f"{source.name}: no such object. Check the bucket and the name.")
    said = said[:300] or type(error).__name__
    if "utf8" in said or "utf-8" in said:
        return InputError(f"{source.name}: not UTF-8. Download it first: a local file with bad bytes can be read.")
    return InputError(
        f"{source.name}: cannot be read from the object store ({said}). Access is set in the environment: "
        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL and the like."
    )
