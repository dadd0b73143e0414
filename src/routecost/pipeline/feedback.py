"""What people said of requests, where it arrives later and elsewhere than the log: a value by request id."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import polars as pl

from routecost.errors import InputError
from routecost.logs.records import separator_of
from routecost.quality import Scale, parse_scale
from routecost.stats import CONFIDENCE, Array, Grades, score_bounds

OPTION: Final = "--feedback-scale"
COUNTED: Final = "feedback_"

_NAMES: Final = {
    "id": ("request_id", "id"),
    "value": ("value", "feedback", "rating", "thumbs", "score"),
    "time": ("ts", "time", "timestamp", "created_at"),
    "comment": ("comment", "comments", "note"),
    "ticket": ("ticket", "ticket_id"),
}
_UP: Final = ("up", "thumbs_up", "thumbsup", "thumbs-up", "👍", "positive", "good", "like", "liked", "true", "yes")
_DOWN: Final = ("down", "thumbs_down", "thumbsdown", "thumbs-down", "👎", "negative", "bad", "dislike", "disliked")
_WORDS: Final = {**dict.fromkeys(_UP, 1.0), **dict.fromkeys((*_DOWN, "false", "no"), -1.0)}
_SEED: Final = 31
_LONG_AGO: Final = -(1 << 62)


@dataclass(frozen=True, eq=False)
class Feedback:
    """One row a request id, sorted by `keys` (a hash of the id, u64).

    values: -1 (bad) to 1, NaN where only a ticket or a comment came. rows: as they stood in the files. superseded:
    rows with a value that a later one of the same request takes the place of. unread: rows without an id or with a
    value that is none; first_unread says what is wrong with the first of them.
    """

    files: tuple[str, ...]
    keys: np.ndarray[Any, Any]
    values: Array
    tickets: pl.Series
    comments: pl.Series
    rows: int
    superseded: int
    unread: int
    first_unread: str | None

    def find(self, ids: pl.Series) -> np.ndarray[Any, Any]:
        """The position of each request id, -1 where nobody said anything of it."""
        if not self.keys.size:
            return np.full(len(ids), -1)
        hashes = ids.hash(_SEED).to_numpy()
        at = np.minimum(np.searchsorted(self.keys, hashes), self.keys.size - 1)
        return np.where((self.keys[at] == hashes) & ids.is_not_null().to_numpy(), at, -1)


def read_feedback(paths: Sequence[str | Path], scale: str | None = None) -> Feedback | None:
    """Files with request_id and value (and time, comment, ticket where they have them): CSV, JSONL or JSON, or .gz of
    these; None where there is no path. The last value of a request counts: the latest where they have times, else the
    one that stands last.

    scale: such as `1-5`: what ratings range over; without one a value is -1 to 1, true / false or up / down. Raises
    InputError where a file is not that, UsageError for a scale that is none.
    """
    grades = parse_scale(scale, OPTION) if scale is not None else None
    if not paths:
        return None
    found = _Rows()
    for path in paths:
        _read(Path(path), grades, found)
    frame = pl.DataFrame(
        {
            "key": pl.Series(found.ids, dtype=pl.String).hash(_SEED),
            "value": pl.Series(found.values, dtype=pl.Float64),
            "time": pl.Series(found.times, dtype=pl.Int64),
            "comment": pl.Series(found.comments, dtype=pl.String),
            "ticket": pl.Series(found.tickets, dtype=pl.String),
        }
    )
    last = (
        frame.sort("time", maintain_order=True)
        .group_by("key")
        .agg(pl.col(c).drop_nulls().last() for c in ("value", "comment", "ticket"))
        .sort("key")
    )
    return Feedback(
        files=tuple(str(path) for path in paths),
        keys=last["key"].to_numpy(),
        values=last["value"].fill_null(math.nan).to_numpy(),
        tickets=last["ticket"],
        comments=last["comment"],
        rows=frame.height,
        superseded=frame["value"].count() - last["value"].count(),
        unread=found.unread,
        first_unread=found.first_unread,
    )


class Joining:
    """Feedback on its way to the requests of one pass, and which of it met any. Threads may share it."""

    def __init__(self, feedback: Feedback) -> None:
        self.feedback = feedback
        self._met = np.zeros(feedback.keys.size, bool)
        self._counted = np.zeros(feedback.keys.size, bool)
        self._replaced = np.zeros(feedback.keys.size, bool)

    def join(self, requests: pl.DataFrame) -> pl.DataFrame:
        """Requests with what was said later in the place of what the log says; the rest as it was."""
        if "request_id" not in requests.columns:
            return requests
        at = self.feedback.find(requests["request_id"])
        rows = np.flatnonzero(at >= 0)
        if not rows.size:
            return requests
        self._met[at[rows]] = True
        said = np.full(requests.height, math.nan)
        said[rows] = self.feedback.values[at[rows]]
        later = pl.Series("feedback", said).fill_nan(None)
        if "feedback" not in requests.columns:
            return requests.with_columns(later)
        logged = requests["feedback"]
        differs = (later.is_not_null() & logged.is_not_null() & (later != logged)).fill_null(False).to_numpy()
        self._replaced[at[differs]] = True
        return requests.with_columns(later.zip_with(later.is_not_null(), logged))

    def count(self, requests: pl.DataFrame) -> None:
        """Tell which requests are in the period that was asked for."""
        if "request_id" in requests.columns:
            at = self.feedback.find(requests["request_id"])
            self._counted[at[at >= 0]] = True

    def counts(self, *, all_counted: bool) -> dict[str, int]:
        """Requests that somebody said something of, by what became of it; all_counted: no period was asked for."""
        counted = self._met if all_counted else self._counted
        numbers = {
            "requests": self._met.size,
            "joined": counted.sum(),
            "outside": (self._met & ~counted).sum(),
            "unmatched": (~self._met).sum(),
            "replaced": (self._replaced & counted).sum(),
            "unread": self.feedback.unread,
        }
        return {f"{COUNTED}{name}": int(n) for name, n in numbers.items()}


def note(feedback: Feedback, counts: Mapping[str, int]) -> str:
    """What became of the feedback, in a sentence or two."""
    n = {name: counts[f"{COUNTED}{name}"] for name in ("requests", "joined", "outside", "unmatched", "replaced")}
    parts = [f"{n['joined']:,} of {n['requests']:,} requests that it names were found in the log"]
    if n["outside"]:
        parts.append(f"{n['outside']:,} are outside the period")
    if n["unmatched"]:
        parts.append(f"{n['unmatched']:,} are not in the log (unmatched)")
    if n["replaced"]:
        parts.append(f"{n['replaced']:,} take the place of another value in the log")
    if feedback.superseded:
        parts.append(f"{feedback.superseded:,} earlier values of the same requests are left out")
    if feedback.unread:
        parts.append(f"{feedback.unread:,} rows cannot be read (the first: {feedback.first_unread})")
    return f"Feedback of {', '.join(Path(f).name for f in feedback.files)}: {'; '.join(parts)}."


@dataclass(frozen=True)
class Rate:
    """How often answers were called bad. low, high: 95 % interval (score) of the share among the rated, None where
    nobody rated one. mean: of the values, -1 to 1. whole: of all requests, not of a task and model."""

    task: str | None
    provider: str | None
    model: str | None
    requests: int
    rated: int
    negative: int
    mean: float | None
    low: float | None
    high: float | None
    whole: bool = False

    @property
    def of_rated(self) -> float | None:
        return self.negative / self.rated if self.rated else None

    @property
    def of_all(self) -> float | None:
        return self.negative / self.requests if self.requests else None


def rates(cells: pl.DataFrame) -> list[Rate]:
    """Feedback by task and model, then of everything, from the cells of a usage."""
    sums = [pl.col(c).sum() for c in ("requests", "feedback_n", "feedback_negative", "feedback_micro")]
    by = ("task", "provider", "model")
    parts = (
        cells.group_by(by).agg(sums).sort("feedback_negative", "feedback_n", *by, descending=[True, True, *[False] * 3])
    )
    return [
        *(_rate(row, whole=False) for row in parts.iter_rows(named=True)),
        *(_rate(row, whole=True) for row in cells.select(sums).iter_rows(named=True)),
    ]


def _rate(row: Mapping[str, Any], *, whole: bool) -> Rate:
    n, bad = row["feedback_n"], row["feedback_negative"]
    low, high = score_bounds([Grades(n, bad / n)], (1 - CONFIDENCE) / 2)[:, 0].tolist() if n else (None, None)
    return Rate(
        row.get("task"),
        row.get("provider"),
        row.get("model"),
        row["requests"],
        n,
        bad,
        row["feedback_micro"] / 1e6 / n if n else None,
        low,
        high,
        whole=whole,
    )


# --- files ------------------------------------------------------------------------------------------------------------


class _Rows:
    """What is read, column by column."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.values: list[float | None] = []
        self.times: list[int] = []
        self.comments: list[str | None] = []
        self.tickets: list[str | None] = []
        self.unread = 0
        self.first_unread: str | None = None

    def bad(self, where: str, reason: str) -> None:
        self.unread += 1
        self.first_unread = self.first_unread or f"{where}: {reason}"


def _read(path: Path, scale: Scale | None, found: _Rows) -> None:
    start = len(found.ids)
    known: dict[str, float | None] = {}
    for line, row in _records(path):
        where = f"{path.name}:{line}"
        if row is None:
            found.bad(where, "not a JSON object")
            continue
        request, word = _text(row.get("id")), _text(row.get("value"))
        comment, ticket = _text(row.get("comment")), _text(row.get("ticket"))
        if request is None:
            found.bad(where, "no request_id")
            continue
        if word is not None and word not in known:
            known[word] = _graded(word.lower(), scale, path, line)
        value = None if word is None else known[word]
        if value is None and (word is not None or not (comment or ticket)):
            found.bad(where, "no value" if word is None else f"the value {word!r} is no feedback")
            continue
        found.ids.append(request)
        found.values.append(value)
        found.times.append(_time(row.get("time")))
        found.comments.append(comment)
        found.tickets.append(ticket)
    numbers = {value for word, value in known.items() if word.lower() not in _WORDS}
    if scale is None and 0.0 in numbers and numbers <= {0.0, 1.0, None}:
        raise InputError(
            f"{path}: its values are 0 and 1. A thumb down is -1 or false, and 0 would be neither good nor bad: if 0 "
            f"is the worst here, say {OPTION} 0-1."
        )
    if len(found.ids) == start and found.unread:
        raise InputError(
            f"{path}: no row that can be read ({found.first_unread}). Expected request_id and value: -1 or 1, true or "
            f"false, up or down; or ratings with {OPTION} 1-5."
        )


def _graded(word: str, scale: Scale | None, path: Path, line: int) -> float | None:
    if word in _WORDS:
        return _WORDS[word]
    try:
        number = float(word)
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    if scale is not None:
        share = (number - scale.low) / (scale.high - scale.low)
        return 2 * share - 1 if 0 <= share <= 1 else None
    if -1 <= number <= 1:
        return number
    raise InputError(
        f"{path}:{line}: saw the value {word}, expected -1 to 1, true or false, up or down. If these are ratings, say "
        f"what they range over: {OPTION} 1-5."
    )


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Line and row under our names, None where a line is no object. Raises InputError."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read the feedback {path}: {reason}.") from error
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"{":
        yield from _json(enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), 1))
    elif text[:1] == b"[":
        try:
            rows = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise InputError(f"{path} is not valid JSON: {error}.") from error
        yield from _json(enumerate(rows, 1))
    elif text.startswith(b"PAR1"):
        raise InputError(f"{path} is Parquet: feedback is read from CSV or JSONL with request_id and value.")
    else:
        reader = csv.reader(io.StringIO(text.decode(errors="replace"), newline=""), delimiter=separator_of(text))
        header = [name.strip() for name in next(reader, [])]
        names = _columns(path, header)
        for fields in reader:
            if fields:
                row = dict(zip(header, fields, strict=False))
                yield reader.line_num, {ours: row.get(theirs) for ours, theirs in names.items()}


def _json(lines: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, dict[str, Any] | None]]:
    # rows need not have the same keys: a ticket has no value
    known: dict[tuple[str, ...], dict[str, str]] = {}
    for number, line in lines:
        row = line
        if isinstance(line, bytes):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                row = None
        if not isinstance(row, dict):
            yield number, None
            continue
        keys = tuple(row)
        if keys not in known:
            known[keys] = _named(keys)
        yield number, {ours: row.get(theirs) for ours, theirs in known[keys].items()}


def _columns(path: Path, have: Sequence[str]) -> dict[str, str]:
    """As `_named`. Raises InputError where the id or anything that is said is missing."""
    names = _named(have)
    if "id" not in names or not names.keys() & {"value", "ticket", "comment"}:
        raise InputError(
            f"{path}: expected the columns request_id and value (and ts, comment, ticket, if any); it has "
            f"{', '.join(have[:12]) or 'none'}."
        )
    return names


def _named(have: Sequence[str]) -> dict[str, str]:
    """Our name -> theirs."""
    lower = {name.lower(): name for name in reversed(have)}
    return {ours: lower[n] for ours, theirs in _NAMES.items() if (n := next((t for t in theirs if t in lower), ""))}


def _text(value: Any) -> str | None:
    text = "" if value is None else str(value).strip()
    return text or None


def _time(value: Any) -> int:
    """Microseconds of a moment, or of seconds or milliseconds since 1970; long ago where it is none of these."""
    if value is None or value == "":
        return _LONG_AGO
    try:
        number = float(value)
    except (TypeError, ValueError):
        try:
            moment = dt.datetime.fromisoformat(str(value).strip())
        except ValueError:
            return _LONG_AGO
        moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        return int(moment.timestamp() * 1e6)
    if not math.isfinite(number):
        return _LONG_AGO
    return int(number * (1e6 if abs(number) < 1e11 else 1e3))
