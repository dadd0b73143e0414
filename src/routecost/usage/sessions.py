"""What needs more than one request: ids seen twice, and what came before in a session; in flat memory."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from typing import IO, Any, Final

import numpy as np
import polars as pl

from routecost.schema import CELL_KEY
from routecost.usage.cells import CARRY_KEY, CLASS_KEY, Counted, carry_schema

_PARTITIONS: Final = 64
_BUFFER_ROWS: Final = 1 << 20
_ID: Final = np.dtype([("key", "<u8"), ("place", "<u8")])
_SESSION: Final = np.dtype(
    [("key", "<u8"), ("ts", "<i8"), ("tie", "<u8"), ("class", "<u8"), ("cached", "<i8"), ("place", "<u8")]
)
# 16 million rows a chunk, a million chunks a file, a million files.
_ROW_BITS: Final = 24
_CHUNK_BITS: Final = 20


@dataclass(frozen=True)
class Narrow:
    """What `Sessions` keeps of one chunk."""

    ids: np.ndarray[Any, Any]
    sessions: np.ndarray[Any, Any]
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
        parts = []
        for part in self._sessions.partitions():
            if dropped.size:
                part = part[~np.isin(part["place"], dropped)]
            if not (part["cached"] > 0).any():
                continue
            part = part[_in_order(part)]
            first = np.ones(part.size, bool)
            first[1:] = part["key"][1:] != part["key"][:-1]
            previous = np.zeros(part.size, np.uint64)
            previous[1:] = part["class"][:-1]
            cached = part["cached"] > 0
            parts.append(
                pl.DataFrame(
                    {
                        "class": part["class"][cached],
                        "first": first[cached],
                        "previous": previous[cached],
                        "cached": part["cached"][cached],
                    }
                )
                .with_columns(previous=pl.when(~pl.col("first")).then(pl.col("previous")))
                .group_by("class", "first", "previous")
                .agg(requests=pl.len().cast(pl.Int64), cache_read_tokens=pl.col("cached").sum())
            )
        if not parts:
            return pl.DataFrame(schema=carry_schema())
        sums = (
            pl.concat(parts).group_by("class", "first", "previous").agg(pl.col("requests", "cache_read_tokens").sum())
        )
        classes = pl.concat(self._classes).unique()
        before = classes.rename({c: f"previous_{c}" for c in CLASS_KEY} | {"class": "previous"})
        return (
            sums.join(classes, on="class", how="left")
            .join(before, on="previous", how="left")
            .select(*CARRY_KEY, "requests", "cache_read_tokens")
        )


def _in_order(part: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The order by session, then time; among equal times by request id and content, so that the log's order is nothing.

    Sorting one packed integer is twenty times faster than sorting five columns; it is enough where the log is in
    order of time, no session has two requests at once, and no two hashes share their upper bits.
    """
    bits = np.uint64(max(1, int(part.size - 1).bit_length()))
    packed = (part["key"] >> bits << bits) | np.arange(part.size, dtype=np.uint64)
    packed.sort()
    order = packed & ((np.uint64(1) << bits) - np.uint64(1))
    key, ts = part["key"][order], part["ts"][order]
    together = key[1:] >> bits == key[:-1] >> bits
    if (together & ((key[1:] != key[:-1]) | (ts[1:] <= ts[:-1]))).any():
        return np.lexsort((part["cached"], part["class"], part["tie"], part["ts"], part["key"]))
    return order


def narrow(requests: pl.DataFrame, prepared: pl.DataFrame, counted: Counted, source: int, chunk: int) -> Narrow:
    """The narrow columns of one chunk; `row` of the requests is their place in it."""
    start = np.uint64(place(source, chunk, 0))
    places = requests["row"].to_numpy().astype(np.uint64) + start
    ids = _records(_ID, requests["request_id"], {"place": places})
    session = requests["session_id"]
    if session.null_count() == session.len():
        classes = pl.DataFrame(schema={**{c: CELL_KEY[c] for c in CLASS_KEY}, "class": pl.UInt64()})
        return Narrow(ids, np.empty(0, _SESSION), classes)
    # the class follows from the cell, so it is hashed once a cell
    classes = counted.usage.cells.select(*CLASS_KEY, _class_hash().alias("class"))
    if requests["ts"].null_count():
        # without a time nobody knows what came before
        session = pl.select(pl.when(requests["ts"].is_not_null()).then(session)).to_series()
    sessions = _records(
        _SESSION,
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
    return (source << (_ROW_BITS + _CHUNK_BITS)) | (chunk << _ROW_BITS) | row


def unplace(number: int) -> tuple[int, int, int]:
    """Source, chunk and row of a place."""
    return (
        number >> (_ROW_BITS + _CHUNK_BITS),
        (number >> _ROW_BITS) & ((1 << _CHUNK_BITS) - 1),
        number & ((1 << _ROW_BITS) - 1),
    )


def _class_hash() -> pl.Expr:
    # one seed a column, so that equal values in two columns do not cancel out
    hashes = [pl.col(c).hash(seed) for seed, c in enumerate(CLASS_KEY)]
    mixed = hashes[0]
    for h in hashes[1:]:
        mixed = mixed ^ h
    return mixed


def _records(dtype: np.dtype[Any], ids: pl.Series, columns: dict[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """A structured array of the rows that have an id."""
    everywhere = ids.null_count() == 0
    out = np.empty(ids.len() - ids.null_count(), dtype)
    present = ids.is_not_null().to_numpy()
    out["key"] = ids.drop_nulls().hash(11).to_numpy()
    for name, values in columns.items():
        out[name] = values if everywhere else values[present]
    return out


class _Spill:
    """Fixed-width records in hash partitions, in memory while they are few and in an unnamed file beyond that."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._held: list[np.ndarray[Any, Any]] = []
        self._rows = 0
        self._file: IO[bytes] | None = None
        self._segments: list[tuple[int, np.ndarray[Any, Any]]] = []

    def add(self, records: np.ndarray[Any, Any]) -> None:
        if records.size:
            self._held.append(records)
            self._rows += records.size
            if self._rows >= _BUFFER_ROWS:
                self._flush()

    def _flush(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="routecost-")  # noqa: SIM115 - it lives as long as the spill
        records, bounds = _partitioned(np.concatenate(self._held))
        self._segments.append((self._file.tell(), bounds))
        self._file.write(records.tobytes())
        self._held, self._rows = [], 0

    def partitions(self) -> list[np.ndarray[Any, Any]] | _Partitions:
        """The records, one array a partition: all with the same key are in the same one."""
        if self._file is None:
            return [np.concatenate(self._held)] if self._held else []
        if self._held:
            self._flush()
        self._file.flush()
        return _Partitions(self._file, self._dtype, self._segments)


class _Partitions:
    def __init__(self, file: IO[bytes], dtype: np.dtype[Any], segments: list[tuple[int, np.ndarray[Any, Any]]]) -> None:
        self._file, self._dtype, self._segments = file, dtype, segments

    def __iter__(self) -> Any:
        import os

        size, fd = self._dtype.itemsize, self._file.fileno()
        for p in range(_PARTITIONS):
            pieces = [
                os.pread(fd, int(bounds[p + 1] - bounds[p]) * size, offset + int(bounds[p]) * size)
                for offset, bounds in self._segments
            ]
            joined = np.frombuffer(b"".join(pieces), self._dtype)
            if joined.size:
                yield joined


def _partitioned(records: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    part = (records["key"] >> np.uint64(58)).astype(np.uint8)
    order = np.argsort(part, kind="stable")
    bounds = np.concatenate([[0], np.cumsum(np.bincount(part, minlength=_PARTITIONS))])
    return records[order], bounds
