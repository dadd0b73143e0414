"""From what a person types to the files that it means, and their bytes."""

from __future__ import annotations

import codecs
import glob
import io
import itertools
import os
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from routecost.errors import InputError, did_you_mean

Kind = Literal["jsonl", "csv", "parquet"]

# 16 MB of bytes parse as fast as a memory-mapped scan of the whole file (bench/RESULTS.md) and keep memory flat.
CHUNK_BYTES = 16 << 20

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
_SCHEMES = ("s3://", "s3a://", "gs://", "gcs://", "az://", "azure://", "abfs://", "abfss://", "adl://", "http://", "https://", "hf://")  # fmt: skip


class DamagedError(InputError):
    """A stream that ends too early; what came before the damage has been read."""


@dataclass(frozen=True)
class Source:
    """One file of a log. `name` is how it is shown; `path` is where its bytes are (a spool file for stdin)."""

    name: str
    path: str
    kind: Kind
    compression: Literal["gzip", "zstd"] | None = None

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
    for path in paths:
        for source in _expand(path):
            key = source.path if is_object_store(source.path) else os.path.realpath(source.path)
            found.setdefault(key, source)
    return sorted(found.values(), key=lambda source: source.name)


def _expand(path: str) -> list[Source]:
    if path == "-":
        return [spool_stdin()]
    if is_object_store(path):
        if not any(c in path for c in "*?["):
            return [_remote(path)]
        return [_remote(path)]
    if os.path.isdir(path):
        inside = [p for p in sorted(Path(path).rglob("*")) if p.is_file() and _named_kind(p.name) is not None]
        if not inside:
            raise InputError(
                f"{path}: no log in this directory. Expected files ending in {', '.join(_KINDS)}, plain or .gz / .zst."
            )
        return [_local(str(p)) for p in inside]
    if os.path.exists(path):
        return [_local(path)]
    if glob.has_magic(path):
        matches = sorted(p for p in glob.glob(path, recursive=True) if os.path.isfile(p))
        if not matches:
            raise InputError(f"{path}: no file matches this pattern. Check the folder, or quote it for the shell.")
        return [_local(p) for p in matches]
    parent = Path(path).parent
    near = did_you_mean(Path(path).name, (p.name for p in parent.iterdir())) if parent.is_dir() else ""
    raise InputError(f"{path}: no such file.{near}")


def _named_kind(name: str) -> Kind | None:
    stem, ending = os.path.splitext(name.lower())
    if ending in _COMPRESSION:
        ending = os.path.splitext(stem)[1]
    return _KINDS.get(ending)


def _local(path: str, name: str | None = None) -> Source:
    if not os.path.isfile(path):
        raise InputError(f"{path}: not a regular file. Pipe it in instead: `cat {path} | routecost analyze -`.")
    try:
        with open(path, "rb") as file:
            head = file.read(4)
            compression = next((c for magic, c in _MAGIC.items() if head.startswith(magic)), None)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    shown = name or path
    kind = "parquet" if head == b"PAR1" else _named_kind(shown)
    source = Source(shown, path, kind or "jsonl", compression)
    if kind is None:
        return Source(shown, path, _sniff_kind(source), compression)
    if kind == "parquet" and head != b"PAR1":
        raise InputError(f"{path}: named as Parquet but does not begin like one (saw {head!r}, expected b'PAR1').")
    return source


def _sniff_kind(source: Source) -> Kind:
    head = next(iter(raw_blocks(source, 1 << 16)), b"").lstrip(b"\xef\xbb\xbf").lstrip()
    return "jsonl" if not head or head[:1] in b"{[" else "csv"


def _remote(url: str) -> Source:
    name = url.split("?", 1)[0]
    compression = _COMPRESSION.get(os.path.splitext(name.lower())[1])
    return Source(url, url, _named_kind(name) or "jsonl", compression)


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
            import gzip

            return gzip.open(source.path, "rb")  # type: ignore[return-value]
        if source.compression == "zstd":
            import pyarrow as pa

            return pa.input_stream(source.path, compression="zstd")  # type: ignore[no-any-return]
        return open(source.path, "rb")
    except OSError as error:
        raise InputError(f"{source.name}: cannot be read ({error.strerror or error}).") from error


def raw_blocks(source: Source, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The decompressed bytes of a source in blocks of at most `size`, in order.

    Raises InputError when the compressed stream is damaged: what came before has been yielded by then.
    """
    if is_object_store(source.path):
        yield from _remote_blocks(source, size)
        return
    with open_bytes(source) as file:
        blocks = _filled(file, size, source)
        first = next(blocks, b"")
        if first[:2] in (b"\xff\xfe", b"\xfe\xff"):
            # Excel's "Unicode text" is UTF-16 with a byte-order mark
            decode = codecs.getincrementaldecoder("utf-16")(errors="replace").decode
            yield from (decode(block).encode() for block in itertools.chain([first], blocks))
            return
        if first:
            yield first
        yield from blocks


def _filled(file: IO[bytes], size: int, source: Source) -> Iterator[bytes]:
    """Blocks of exactly `size` bytes but for the last; what a damaged stream still gave comes before the error."""
    parts: list[bytes] = []
    held = 0
    while True:
        try:
            part = file.read(min(size - held, 4 << 20))
        except (OSError, EOFError, ValueError, zlib.error) as error:
            if parts:
                yield b"".join(parts)
            kind = source.compression or "file"
            raise DamagedError(f"{source.name}: the {kind} stream is damaged or cut short ({error}).") from error
        if part:
            parts.append(part)
            held += len(part)
        if (held == size or not part) and parts:
            yield parts[0] if len(parts) == 1 else b"".join(parts)
            parts, held = [], 0
        if not part:
            return


def _remote_blocks(source: Source, size: int) -> Iterator[bytes]:
    import polars as pl

    try:
        batches = pl.scan_lines(source.path, name="line").collect_batches(chunk_size=10_000, maintain_order=True)
        held = io.BytesIO()
        for batch in batches:
            held.write("\n".join(batch["line"].fill_null("").to_list()).encode() + b"\n")
            if held.tell() >= size:
                yield held.getvalue()
                held = io.BytesIO()
        if held.tell():
            yield held.getvalue()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{source.name}: cannot be read from the object store ({_first_line(error)}).") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
