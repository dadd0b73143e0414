"""Records of a dialect as requests: its leaves read, its fields made, its tokens disjoint."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from routecost.logs import finish
from routecost.logs.dialects.shapes import real
from routecost.logs.fields import MESSAGES, REPEATED, TYPES, Fields, Numbered, Reading, Record, Type, find, whole
from routecost.logs.flat import Layout, canonical, shown
from routecost.logs.messages import column as messages_column
from routecost.logs.messages import dumped, words
from routecost.schema import REQUEST, TOKEN_KINDS

_TEXTS: Final = ("prompt", "system", "previous_prompt", "n_messages")
_SPOKEN: Final = (*_TEXTS, "needs", "tokens_estimated")
_SPOKEN_FROM: Final = (*_TEXTS, "messages", "tools", "response_format", "needs")
_NOTHING: Final = ("", "null", "none", "nan", "na", "n/a")
_FRAME_TYPES: Final = (pl.String(), pl.Boolean(), pl.Date())


def targets(layout: Layout, columns: Sequence[str], *, text: bool) -> Fields:
    """The fields that these columns of a request are made of. text: with the text of the answer."""
    assert layout.reading is not None
    wanted = set(columns)
    names: set[str] = set(wanted)
    if wanted & {*TOKEN_KINDS, "reasoning_tokens", "tokens_estimated"}:
        names.update(finish.TOKENS)
    if wanted & set(_SPOKEN):
        names.update(_SPOKEN_FROM)
    if wanted & {"provider", "model"}:
        names.update(("provider", "model", "model_requested"))
    if text:
        names.update(("response_text", "status"))
    if layout.joined is not None:
        names.add("custom_id")
    return {target: made for target, made in layout.reading.fields.items() if target in names}


def leaves(layout: Layout, fields: Fields) -> dict[str, Type]:
    """The paths that fields read, and those of a `--by`."""
    assert layout.reading is not None
    found: dict[str, Type] = {}
    some = [*fields.values(), *([layout.reading.calls] if layout.reading.calls is not None else [])]
    for one in some:
        for path, kind in one.leaves.items():
            # answers are choices with their text
            before = found.get(path, kind)
            assert before == kind or {before, kind} == {"choices", "answers"}, (
                f"{path} is read as {before} and as {kind}"
            )
            found[path] = kind if before == kind else "answers"
    for path in layout.extra:
        found.setdefault(path, "text")
    return found


def schema(paths: Mapping[str, Type], *, any_messages: bool = False) -> dict[str, pl.DataType] | None:
    """The Polars schema that reads these paths of a JSON line; None where one goes into another.

    any_messages: messages come as text, as they have several shapes.
    """
    tree: dict[str, Any] = {}
    for path, kind in paths.items():
        node = tree
        *above, last = path.split(".")
        for step in above:
            node = node.setdefault(step, {})
            if not isinstance(node, dict):
                return None
        if last in node:
            return None
        node[last] = pl.String() if kind == "messages" and any_messages else TYPES[kind]
    return {name: _struct(value) for name, value in tree.items()} or {"": pl.String()}


# To look for the keys of this many leaves costs as much as to read them where they are not.
_WORTH_A_LOOK: Final = 40


@dataclass(frozen=True)
class Usual:
    """The keys that a file's sample has, so that what none of its lines holds need not be looked for in every one.

    unusual: finds, in the text of other lines, the keys that the sample lacks.
    """

    paths: frozenset[str]
    unusual: str

    @classmethod
    def of(cls, paths: Iterable[str], sample: bytes) -> Usual:
        keys = {path: f'"{path.rpartition(".")[2]}"' for path in paths}
        there = frozenset(path for path, key in keys.items() if key.encode() in sample)
        return cls(there, "|".join(sorted({re.escape(key) for path, key in keys.items() if path not in there})))

    def among(self, paths: Mapping[str, Type], data: bytes) -> Mapping[str, Type]:
        """Those of the paths that lines may have."""
        if sum(path not in self.paths for path in paths) < _WORTH_A_LOOK:
            return paths
        try:
            # not through a Python text, which has up to four bytes a character
            text = pl.Series([data], dtype=pl.Binary).cast(pl.String)
        except pl.exceptions.PolarsError:
            return paths
        return paths if text.str.contains(self.unusual)[0] else {p: k for p, k in paths.items() if p in self.paths}


def _struct(value: Any) -> pl.DataType:
    if isinstance(value, dict):
        return pl.Struct({name: _struct(inner) for name, inner in value.items()})
    return value  # type: ignore[no-any-return]


def flat_leaves(raw: pl.DataFrame, paths: Mapping[str, Type]) -> pl.DataFrame:
    """The leaves of a frame that was read with the `schema` of some of them, a column each under their path; the others
    are null."""
    found: dict[str, pl.Series] = {}
    # a function that calls itself would be a cycle, and keep a chunk's text alive until the collector comes by
    open_ = [(column, raw[column]) for column in raw.columns]
    while open_:
        path, values = open_.pop()
        kind = paths.get(path)
        if kind is None:
            fields = values.struct.fields if isinstance(values.dtype, pl.Struct) else ()
            open_.extend((f"{path}.{field}", values.struct.field(field)) for field in fields)
        elif kind == "messages" and values.dtype == pl.String:
            found[path] = messages_column(values.to_list()).alias(path)
        else:
            found[path] = values.alias(path)
    return pl.DataFrame(
        [found[path] if path in found else _absent(path, kind, raw.height) for path, kind in paths.items()]
    )


def doubtful(leaves: pl.DataFrame, paths: Mapping[str, Type], *, escapes: bool, any_messages: bool) -> pl.Series:
    """Rows that Polars' reader may not give as they are meant: true where a message has no role (some say it another
    way), null where nested values with a backslash in them became text (escapes: there are such backslashes)."""
    height = leaves.height
    found = pl.Series([False]).new_from_index(0, height)
    for path, kind in paths.items():
        values = leaves[path]
        if values.null_count() == height:
            continue
        if kind == "text" and escapes:
            nested = _nested(values)
            found = found if nested is None else found.set(nested, None)
        elif kind == "messages" and any_messages:
            found = found.set(values.is_not_null(), None) if escapes else found
        elif kind == "messages":
            inside = values.explode(empty_as_null=False, keep_nulls=False)
            unsaid = inside.struct.field("role").is_null() if inside.struct.field("role").null_count() else None
            nested = _nested(inside.struct.field("content")) if escapes else None
            if unsaid is None and nested is None:
                continue
            rows = pl.int_range(height, eager=True, dtype=pl.UInt32)
            row = rows.repeat_by(values.list.len().fill_null(0)).explode(empty_as_null=False)
            if nested is not None:
                found = found.scatter(row.filter(nested).unique(), None)
            if unsaid is not None:
                found = found.scatter(row.filter(unsaid).unique(), True)
    return found


def _nested(texts: pl.Series) -> pl.Series | None:
    """Texts that were objects or lists and have a backslash in them; None where there is none."""
    nested = (texts.str.starts_with("[") | texts.str.starts_with("{")).fill_null(False)
    if not nested.any():
        return None
    at = nested.arg_true()
    escaped = texts.gather(at).str.contains("\\", literal=True)
    return nested.scatter(at, escaped) if escaped.any() else None


def _absent(path: str, kind: Type, height: int) -> pl.Series:
    return pl.Series(path, [None], TYPES[kind]).new_from_index(0, height)


def record_leaves(
    records: Sequence[Record], paths: Mapping[str, Type], extra: Sequence[str] = ()
) -> tuple[pl.DataFrame, dict[int, str]]:
    """The same from Python records of any types; and the rows with a value that cannot be what it should, and why.

    extra: paths of a `--by`, which go into the record behind what an `unpack` made as well.
    """
    wrong: dict[int, str] = {}
    found = {
        path: _column(path, [_asked(r, path) if path in extra else find(r, path) for r in records], kind, wrong)
        for path, kind in paths.items()
    }
    return pl.DataFrame(found) if found else pl.DataFrame(), wrong


def _asked(record: Record, path: str) -> Any:
    # what an `unpack` made keeps the record itself under an empty name
    return find(record.get("", record), path)


def frame_leaves(raw: pl.DataFrame, paths: Mapping[str, Type]) -> tuple[pl.DataFrame, dict[int, str]]:
    """The same from a table: columns as they are where a path is one, and objects or JSON in cells gone into."""
    wrong: dict[int, str] = {}
    found: dict[str, pl.Series] = {}
    opened: dict[str, list[Any]] = {}
    for path, kind in paths.items():
        name = next((n for n in _prefixes(path) if n in raw.columns), None)
        if name is None:
            found[path] = _absent(path, kind, raw.height)
        elif name == path and kind not in ("messages", "choices", "answers") and _is_plain(raw[name].dtype):
            found[path] = _plain_column(path, raw[name], kind, wrong)
        else:
            if name not in opened:
                opened[name] = raw[name].to_list()
            values = opened[name] if name == path else [find({name: value}, path) for value in opened[name]]
            found[path] = _column(path, values, kind, wrong)
    return pl.DataFrame(found) if found else raw.select([]), wrong


def _prefixes(path: str) -> Iterable[str]:
    steps = path.split(".")
    return (".".join(steps[:n]) for n in range(len(steps), 0, -1))


def _is_plain(dtype: pl.DataType) -> bool:
    return dtype in _FRAME_TYPES or dtype.is_numeric() or isinstance(dtype, pl.Datetime | pl.Categorical | pl.Enum)


def _plain_column(path: str, values: pl.Series, kind: Type, wrong: dict[int, str]) -> pl.Series:
    """A column of a table by Polars' own casts."""
    if isinstance(values.dtype, pl.Datetime):
        utc = (
            values if values.dtype.time_zone is None else values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        )
        values = utc.dt.to_string("%Y-%m-%dT%H:%M:%S%.f")
    if kind in ("text", "json"):
        return values.cast(pl.String).alias(path)
    if kind == "flag":
        if values.dtype == pl.Boolean:
            return values.alias(path)
        word = values.cast(pl.String).str.strip_chars().str.to_lowercase()
        return word.replace_strict(_FLAGS, default=None, return_dtype=pl.Boolean).alias(path)
    number = (
        values.cast(pl.Float64, strict=False)
        if values.dtype != pl.String
        else values.str.strip_chars().cast(pl.Float64, strict=False)
    )
    number = number.set(~number.is_finite().fill_null(True), None)
    if kind == "number":
        return number.alias(path)
    count = (
        values.cast(pl.Int64, strict=False)
        if values.dtype.is_integer()
        else number.set((number != number.floor()).fill_null(False), None).cast(pl.Int64, strict=False)
    )
    lost = count.is_null() & values.is_not_null()
    if values.dtype == pl.String:
        lost = lost & ~values.str.strip_chars().str.to_lowercase().is_in(_NOTHING).fill_null(True)
    elif values.dtype.is_float():
        lost = lost & ~values.is_nan().fill_null(True)
    for row in lost.arg_true().to_list():
        wrong.setdefault(row, _not_a_count(path, values[row]))
    return count.alias(path)


_FLAGS: Final = {
    **dict.fromkeys(("true", "1", "yes", "1.0", "t"), True),
    **dict.fromkeys(("false", "0", "no", "0.0", "f"), False),
}


def _not_a_count(path: str, value: Any) -> str:
    text = value if isinstance(value, str) else str(value) if isinstance(value, int | float) else None
    seen = type(value).__name__ if text is None else shown(pl.Series([text]))[0]
    return f"{path}: expected a whole number of at least 0, saw {seen}"


def _column(path: str, values: list[Any], kind: Type, wrong: dict[int, str]) -> pl.Series:
    """A column of Python values. A count that is none is told in `wrong`; anything else of a wrong type is null."""
    if kind == "messages":
        return messages_column(values).alias(path)
    if kind in ("text", "json"):
        return pl.Series(
            path, [value if value.__class__ is str or value is None else _text(value) for value in values], pl.String
        )
    if kind == "number":
        return pl.Series(path, [real(value) for value in values], pl.Float64)
    if kind == "flag":
        return pl.Series(path, [_flag(value) for value in values], pl.Boolean)
    if kind == "count":
        counts: list[int | None] = []
        for row, value in enumerate(values):
            count = value if value.__class__ is int else None if value is None else whole(value)
            if count is None and value is not None and not _says_nothing(value):
                wrong.setdefault(row, _not_a_count(path, value))
            if count is not None and abs(count) >= 1 << 62:
                wrong.setdefault(row, _not_a_count(path, count))
                count = None
            counts.append(count)
        return pl.Series(path, counts, pl.Int64)
    return pl.Series(path, [_choices(value) for value in values], TYPES[kind])


def _says_nothing(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return isinstance(value, str) and value.strip().lower() in _NOTHING


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        # whole numbers as Polars writes them
        return None if not math.isfinite(value) else str(int(value)) if value == int(value) else repr(value)
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return dumped(value)


def _flag(value: Any) -> bool | None:
    if isinstance(value, bool) or value is None:
        return value
    return _FLAGS.get(str(value).strip().lower())


def _choices(value: Any) -> list[dict[str, Any]] | None:
    if not isinstance(value, list):
        return None
    found = []
    for item in value:
        item = item if isinstance(item, Mapping) else {}
        message = item.get("message")
        content = message.get("content") if isinstance(message, Mapping) else None
        if content is not None and not isinstance(content, str):
            content = dumped(content)
        said = item.get("text")
        found.append(
            {
                "finish_reason": item.get("finish_reason") if isinstance(item.get("finish_reason"), str) else None,
                "text": said if isinstance(said, str) else None,
                "message": {"content": content},
            }
        )
    return found


def unpacked(numbered: Iterable[Numbered], reading: Reading) -> tuple[list[int], list[Record], int]:
    """What `unpack` makes of records: the number of the record behind each, they themselves, and how many lines repeat
    another's call."""
    if reading.unpack is None:
        pairs = list(numbered)
        return [n for n, _ in pairs], [record for _, record in pairs], 0
    found: list[int] = []
    records: list[Record] = []
    repeated = 0
    for n, record in reading.unpack(numbered):
        if record is REPEATED:
            repeated += 1
        else:
            found.append(n)
            records.append(record)
    return found, records, repeated


def requests(
    found: pl.DataFrame, fields: Fields, layout: Layout, columns: Sequence[str], rows: pl.Series
) -> tuple[pl.DataFrame, int, dict[str, int], bool]:
    """Leaves -> requests with `row`, how many records are no call, the corrections, and whether counts are missing that
    the text of answers could tell."""
    assert layout.reading is not None
    calls = layout.reading.calls
    made = (
        found.select(
            *(one.expr.alias(target) for target, one in fields.items()),
            *(pl.col(path).cast(pl.String).alias(f"raw:{path}") for path in layout.extra),
            *([calls.expr.alias("_call")] if calls is not None else []),
        )
        if found.width or found.height
        else pl.DataFrame(schema={t: pl.Null() for t in fields})
    )
    if made.height != rows.len():
        # fields that are all fixed select to one row
        made = pl.DataFrame([s.new_from_index(0, rows.len()) if s.len() == 1 else s for s in made])
    made = made.with_columns(row=rows)
    skipped = 0
    if calls is not None:
        kept = made.filter(pl.col("_call").fill_null(True)).drop("_call")
        skipped, made = made.height - kept.height, kept
    made = _typed(made)
    if set(columns) & set(_SPOKEN):
        # the text of all is only needed to count tokens
        all_text = "response_text" in fields or layout.reading.unpack is not None
        made = finish.spoken(made, texts=all_text or bool(set(columns) & set(_TEXTS)), all_text=all_text)
    if layout.joined is not None:
        made = layout.joined.onto(made)
    made = finish.named(made, columns)
    corrected: dict[str, int] = {}
    lacking = False
    if set(columns) & {*TOKEN_KINDS, "reasoning_tokens", "tokens_estimated"}:
        absent = [c for c in finish.TOKENS if c not in made.columns]
        made = made.with_columns(pl.lit(None, pl.Int64).alias(c) for c in absent)
        made, corrected = finish.guarded(made)
        if "tokens_estimated" in columns and layout.estimates:
            answered = pl.col("status").fill_null("ok") == "ok" if "status" in made.columns else pl.lit(True)
            unknown = made.select(
                (answered & (pl.col("input_tokens").is_null() | pl.col("output_tokens").is_null())).any()
            )
            lacking = bool(unknown.item())
            if lacking and "response_text" in made.columns:
                made = made.with_columns(response_text=words(made["response_text"]))
            if lacking:
                made = finish.estimated(made)
    identity = Layout(
        fields={c: (c,) for c in made.columns if c in REQUEST},
        extra=tuple(f"raw:{p}" for p in layout.extra),
        dialect=layout.dialect,
    )
    final = canonical(made, identity, columns)
    final = final.rename({f"raw:raw:{p}": f"raw:{p}" for p in layout.extra}).with_columns(made["row"])
    return final, skipped, corrected, lacking


def _typed(made: pl.DataFrame) -> pl.DataFrame:
    """Columns that are null throughout, as literal nulls are, with the types that what follows needs."""
    casts = [
        pl.col(c).cast(MESSAGES if c == "messages" else pl.Int64() if c in finish.TOKENS else pl.String())
        for c in made.columns
        if made[c].dtype == pl.Null
    ]
    return made.with_columns(casts) if casts else made


class Joined:
    """Requests of a batch's input files, by custom_id: read when first asked for, kept as columns."""

    def __init__(self, read: Callable[[], pl.DataFrame]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._frame: pl.DataFrame | None = None

    def onto(self, made: pl.DataFrame) -> pl.DataFrame:
        """Answers with what their requests say, where they do not say it themselves."""
        with self._lock:
            if self._frame is None:
                self._frame = self._read()
        if "custom_id" not in made.columns or not self._frame.height:
            return made
        asked = self._frame.select(
            "custom_id", *(pl.col(c).alias(f"_{c}") for c in self._frame.columns if c != "custom_id")
        )
        whole = made.join(asked, on="custom_id", how="left", maintain_order="left")
        merged = [
            pl.coalesce(c, f"_{c}").alias(c) if c in made.columns else pl.col(f"_{c}").alias(c)
            for c in self._frame.columns
            if c not in ("custom_id", "vision")
        ]
        vision = (
            [(pl.col("vision") | pl.col("_vision").fill_null(False)).alias("vision")]
            if "vision" in made.columns
            else []
        )
        return whole.with_columns(*merged, *vision).select(pl.exclude(*(f"_{c}" for c in self._frame.columns)))


def asked(frames: Sequence[pl.DataFrame]) -> tuple[pl.DataFrame, int]:
    """Requests of batch inputs, one a custom_id; and how many ids stand for several different requests, which cannot be
    told apart and are left out."""
    whole = pl.concat(frames).unique(maintain_order=True)
    several = whole.filter(pl.col("custom_id").is_duplicated())["custom_id"].n_unique()
    return whole.filter(~pl.col("custom_id").is_duplicated()), several


def asking(found: pl.DataFrame, fields: Fields) -> pl.DataFrame:
    """What a batch's input file says, for `Joined`."""
    made = _typed(found.select(one.expr.alias(target) for target, one in fields.items()))
    made = finish.spoken(made)
    columns = ("custom_id", "model_requested", "prompt", "system", "previous_prompt", "n_messages", "needs", "said",
               "vision", "user_id", "session_id", "feature", "project", "mode", "task")  # fmt: skip
    return made.select(c for c in columns if c in made.columns).filter(pl.col("custom_id").is_not_null())


def understood(layout: Layout) -> tuple[str, ...]:
    """The fields of records that are read, for `inspect`."""
    assert layout.dialect is not None
    assert layout.reading is not None
    if layout.reading.unpack is not None and layout.dialect.reads:
        return layout.dialect.reads
    return tuple(sorted(leaves(layout, layout.reading.fields)))
