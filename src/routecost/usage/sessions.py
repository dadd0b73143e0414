"""What needs more than one request: ids seen twice, and what came before in a session; in flat memory."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Final

import numpy as np
import polars as pl

from routecost.schema import CELL_KEY
from routecost.usage.cells import CARRY_KEY, CLASS_KEY, Counted, carry_schema, in_key_order

_PARTITIONS: Final = 64
_BUFFER_ROWS: Final = 1 << 18
# One array a field: sorting gathers a few of them, and a gather from one array reads an eighth of what records would.
Columns = dict[str, np.ndarray[Any, Any]]
_ID: Final = {"key": np.uint64, "place": np.uint64}
_SESSION: Final = {
    "key": np.uint64,
    "ts": np.int64,
    "tie": np.uint64,
    "class": np.uint64,
    "cached": np.int64,
    "place": np.uint64,
}
_PAIR: Final[dict[str, pl.DataType]] = {
    "class": pl.UInt64(),
    "first": pl.Boolean(),
    "previous": pl.UInt64(),
    "requests": pl.Int64(),
    "cache_read_tokens": pl.Int64(),
}
_PAIR_ROWS: Final = 200_000
# 16 million rows a chunk, a million chunks a file, a million files.
ROW_BITS: Final = 24
_CHUNK_BITS: Final = 20


@dataclass(frozen=True)
class Narrow:
    """What `Sessions` keeps of one chunk."""

    ids: Columns
    sessions: Columns
    classes: pl.DataFrame


@dataclass
class Sessions:
    """Narrow columns of every request, partitioned by hash and spilled to a temporary file.

    `add` each chunk, then ask `repeated`, then `carry`.
    """

    _ids: _Spill = field(default_factory=lambda: _Spill(_ID))
    _sessions: _Spill = field(default_factory=lambda: _Spill(_SESSION))
    _classes: list[pl.DataFrame] = field(default_factory=list)
    _cached: bool = False

    def add(self, narrow: Narrow) -> None:
        self._ids.add(narrow.ids)
        self._sessions.add(narrow.sessions)
        self._cached = self._cached or bool((narrow.sessions["cached"] > 0).any())
        self._classes.append(narrow.classes)
        if len(self._classes) > 64:
            self._classes = [pl.concat(self._classes).unique()]

    def repeated(self) -> np.ndarray[Any, Any]:
        """Places of all requests whose id stands more than once, ascending."""
        found = [np.empty(0, np.uint64)]
        for part in self._ids.partitions():
            keys = np.sort(part["key"])
            twice = keys[1:][keys[1:] == keys[:-1]]
            if twice.size:
                found.append(part["place"][np.isin(part["key"], twice)])
        return np.sort(np.concatenate(found))

    def carry(self, dropped: np.ndarray[Any, Any]) -> pl.DataFrame:
        """Cached tokens by the class of their request and of the request before it in the session (CARRY_KEY)."""
        if not self._cached:
            return pl.DataFrame(schema=carry_schema())
        sums = pl.DataFrame(schema=_PAIR)
        waiting: list[pl.DataFrame] = []
        for part in self._sessions.partitions():
            if dropped.size:
                kept = ~np.isin(part["place"], dropped)
                part = {name: values[kept] for name, values in part.items()}
            waiting.append(_pairs(part))
            if sum(frame.height for frame in waiting) > _PAIR_ROWS:
                sums = _added(sums, *waiting)
                waiting = []
        sums = _added(sums, *waiting)
        classes = pl.concat(self._classes).unique()
        before = classes.rename({c: f"previous_{c}" for c in CLASS_KEY} | {"class": "previous"})
        carried = sums.join(classes, on="class", how="left").join(before, on="previous", how="left")
        return in_key_order(
            carried.select(*CARRY_KEY, "requests", "cache_read_tokens"), ("requests", "cache_read_tokens")
        )


def _pairs(part: Columns) -> pl.DataFrame:
    """Requests and cached tokens of some whole sessions, by class and by the class before (_PAIR); only where tokens
    were cached."""
    if not (part["cached"] > 0).any():
        return pl.DataFrame(schema=_PAIR)
    order = _in_order(part)
    key, kind, tokens = (part[name][order] for name in ("key", "class", "cached"))
    first = np.ones(key.size, bool)
    first[1:] = key[1:] != key[:-1]
    previous = np.zeros(key.size, np.uint64)
    previous[1:] = kind[:-1]
    cached = tokens > 0
    pairs = pl.DataFrame(
        {
            "class": kind[cached],
            "first": first[cached],
            "previous": previous[cached],
            "requests": np.ones(int(cached.sum()), np.int64),
            "cache_read_tokens": tokens[cached],
        }
    )
    return _added(pairs.with_columns(previous=pl.when(~pl.col("first")).then(pl.col("previous"))))


def _added(*frames: pl.DataFrame) -> pl.DataFrame:
    whole = pl.concat(frames)
    return whole.group_by("class", "first", "previous").agg(pl.col("requests", "cache_read_tokens").sum())


def _in_order(part: Columns) -> np.ndarray[Any, Any]:
    """The order by session, then time; among equal times by request id and content, so that the log's order is nothing.

    Sorting one packed integer is twenty times faster than sorting five columns; it is enough where the log is in
    order of time, no session has two requests at once, and no two hashes share their upper bits.
    """
    rows = part["key"].size
    bits = np.uint64(max(1, (rows - 1).bit_length()))
    packed = (part["key"] >> bits << bits) | np.arange(rows, dtype=np.uint64)
    packed.sort()
    order = packed & ((np.uint64(1) << bits) - np.uint64(1))
    key, ts = part["key"][order], part["ts"][order]
    together = key[1:] >> bits == key[:-1] >> bits
    if (together & ((key[1:] != key[:-1]) | (ts[1:] <= ts[:-1]))).any():
        return np.lexsort((part["cached"], part["class"], part["tie"], part["ts"], part["key"]))
    return order


def narrow(requests: pl.DataFrame, prepared: pl.DataFrame, counted: Counted) -> Narrow:
    """The narrow columns of some requests; their `place` tells them apart."""
    places = requests["place"].to_numpy()
    ids = _columns(requests["request_id"], {"place": places})
    session = requests["session_id"]
    if session.null_count() == session.len():
        classes = pl.DataFrame(schema={**{c: CELL_KEY[c] for c in CLASS_KEY}, "class": pl.UInt64()})
        return Narrow(ids, {name: np.empty(0, kind) for name, kind in _SESSION.items()}, classes)
    # the class follows from the cell, so it is hashed once a cell
    classes = counted.usage.cells.select(*CLASS_KEY, _class_hash().alias("class"))
    if requests["ts"].null_count():
        # without a time nobody knows what came before
        session = pl.select(pl.when(requests["ts"].is_not_null()).then(session)).to_series()
    sessions = _columns(
        session,
        {
            "ts": requests["ts"].to_physical().fill_null(0).to_numpy(),
            "tie": requests["request_id"].hash(7).to_numpy(),
            "class": classes["class"].to_numpy()[counted.cell],
            "cached": prepared["cache_read_tokens"].to_numpy(),
            "place": places,
        },
    )
    return Narrow(ids, sessions, classes.unique())


def place(source: int, chunk: int, row: int) -> int:
    """One number for a place in the input."""
    return (source << (ROW_BITS + _CHUNK_BITS)) | (chunk << ROW_BITS) | row


def unplace(number: int) -> tuple[int, int, int]:
    """Source, chunk and row of a place."""
    return (
        number >> (ROW_BITS + _CHUNK_BITS),
        (number >> ROW_BITS) & ((1 << _CHUNK_BITS) - 1),
        number & ((1 << ROW_BITS) - 1),
    )


def _class_hash() -> pl.Expr:
    # one seed a column, so that equal values in two columns do not cancel out
    hashes = [pl.col(c).hash(seed) for seed, c in enumerate(CLASS_KEY)]
    mixed = hashes[0]
    for h in hashes[1:]:
        mixed = mixed ^ h
    return mixed


def _columns(ids: pl.Series, columns: Columns) -> Columns:
    """The columns, and the hash of the id as `key`, of the rows that have an id."""
    key = ids.drop_nulls().hash(11).to_numpy()
    if ids.null_count() == 0:
        return {"key": key, **columns}
    present = ids.is_not_null().to_numpy()
    return {"key": key, **{name: values[present] for name, values in columns.items()}}


class _Spill:
    """Columns of integers in hash partitions, in memory while they are few and in an unnamed file beyond that."""

    def __init__(self, types: Mapping[str, Any]) -> None:
        self._types = types
        self._held: list[Columns] = []
        self._rows = 0
        self._file: IO[bytes] | None = None
        # for each flush: where each column begins, and the first row of each partition
        self._segments: list[tuple[list[int], np.ndarray[Any, Any]]] = []

    def add(self, columns: Columns) -> None:
        rows = columns["key"].size
        if rows:
            self._held.append(columns)
            self._rows += rows
            if self._rows >= _BUFFER_ROWS:
                self._flush()

    def _flush(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="routecost-")  # noqa: SIM115 - it lives as long as the spill
            weakref.finalize(self, self._file.close)
        part = (np.concatenate([c["key"] for c in self._held]) >> np.uint64(58)).astype(np.uint8)
        order = np.argsort(part, kind="stable")
        bounds = np.concatenate([[0], np.cumsum(np.bincount(part, minlength=_PARTITIONS))])
        starts = []
        for name in self._types:
            starts.append(self._file.tell())
            self._file.write(np.concatenate([c[name] for c in self._held])[order].data)
        self._segments.append((starts, bounds))
        self._held, self._rows = [], 0

    def partitions(self) -> Iterator[Columns]:
        """The columns, a partition at a time: all rows with the same key are in the same one."""
        if self._file is None:
            if self._held:
                yield {name: np.concatenate([c[name] for c in self._held]) for name in self._types}
            return
        if self._held:
            self._flush()
        self._file.flush()
        fd = self._file.fileno()
        for p in range(_PARTITIONS):
            part: Columns = {}
            for n, (name, kind) in enumerate(self._types.items()):
                pieces = [
                    os.pread(fd, int(bounds[p + 1] - bounds[p]) * 8, starts[n] + int(bounds[p]) * 8)
                    for starts, bounds in self._segments
                ]
                part[name] = np.frombuffer(b"".join(pieces), kind)
            if part["key"].size:
                yield part
