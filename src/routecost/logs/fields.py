"""What a dialect says of its records: which paths it reads, and how a column of a request is made of them.

A path goes into objects by dots; a key that has dots itself is found as well. A leaf has one of the TYPES.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final, Literal

import polars as pl

Type = Literal["text", "json", "count", "number", "flag", "messages", "choices", "answers"]

# Messages as role and content; a content that is no text is JSON. Some providers say `parts`.
MESSAGES: Final = pl.List(pl.Struct({"role": pl.String(), "content": pl.String(), "parts": pl.String()}))
TYPES: Final[Mapping[Type, pl.DataType]] = {
    "text": pl.String(),
    # an object or list of which no text is taken, only whether it is there and what keys it names
    "json": pl.String(),
    "count": pl.Int64(),
    "number": pl.Float64(),
    "flag": pl.Boolean(),
    "messages": MESSAGES,
    # OpenAI's choices: why each ended, and with what text
    "choices": pl.List(pl.Struct({"finish_reason": pl.String()})),
    "answers": pl.List(
        pl.Struct({"finish_reason": pl.String(), "text": pl.String(), "message": pl.Struct({"content": pl.String()})})
    ),
}

Record = Mapping[str, Any]
# A line that repeats a call that another line has: counted, and said.
REPEATED: Final[Record] = {"repeated": True}
# The number of a record in its chunk, and the record.
Numbered = tuple[int, Record]
Unpack = Callable[[Iterable[Numbered]], Iterator[Numbered]]


@dataclass(frozen=True)
class Field:
    """A column of a request. leaves: the paths that it reads with their types. expr: made of columns of these names."""

    leaves: Mapping[str, Type]
    expr: pl.Expr

    def __or__(self, other: Field) -> Field:
        """This, and the other where this is null."""
        return Field({**self.leaves, **other.leaves}, pl.coalesce(self.expr, other.expr))

    def map(self, change: Callable[[pl.Expr], pl.Expr]) -> Field:
        return Field(self.leaves, change(self.expr))


Fields = Mapping[str, Field]


@dataclass(frozen=True)
class Reading:
    """How the records of one file are read: the fields by target, which records are calls (null counts as yes), and
    what turns records into those that the fields are of (merging lines of a session, opening a container)."""

    fields: Fields
    calls: Field | None = None
    unpack: Unpack | None = None


@dataclass(frozen=True)
class Dialect:
    """A format of logs.

    signature: what a record of it has, in words. matches: whether a record is of it. reading: how, from a sample of
    its records. whole: a file is read at once, as its lines depend on each other. reads: the fields that `unpack`
    looks at, where it is not the fields' leaves that tell. named_by_id: files have the id of a session or request for
    their name. companion: holds requests without answers, to be joined with the dialect named.
    """

    name: str
    title: str
    signature: str
    matches: Callable[[Record], bool]
    reading: Callable[[Sequence[Record]], Reading]
    carries: str
    whole: bool = False
    reads: tuple[str, ...] = ()
    named_by_id: bool = False
    companion: str | None = None


def _first(kind: Type, paths: Sequence[str]) -> Field:
    columns = [pl.col(path) for path in paths]
    if kind in ("text", "json"):
        # an empty text says nothing
        columns = [pl.when(column != "").then(column) for column in columns]
    return Field(dict.fromkeys(paths, kind), columns[0] if len(columns) == 1 else pl.coalesce(columns))


def text(*paths: str) -> Field:
    """The first text that is there and not empty."""
    return _first("text", paths)


def nested(*paths: str) -> Field:
    """The first object or list that is there, as JSON: to tell that it is, and what keys it has."""
    return _first("json", paths)


def verbatim(path: str) -> Field:
    """A text, also an empty one."""
    return Field({path: "text"}, pl.col(path))


def count(*paths: str) -> Field:
    """The first whole number that is there."""
    return _first("count", paths)


def number(*paths: str) -> Field:
    return _first("number", paths)


def flag(*paths: str) -> Field:
    return _first("flag", paths)


def messages(*paths: str) -> Field:
    return _first("messages", paths)


def fixed(value: Any) -> Field:
    """The same for every request."""
    return Field({}, pl.lit(value))


def plus(*fields: Field) -> Field:
    """The sum of those that are there; null when none is."""
    leaves = {path: kind for field in fields for path, kind in field.leaves.items()}
    some = pl.any_horizontal(*(field.expr.is_not_null() for field in fields))
    total: pl.Expr = reduce(lambda a, b: a + b, (field.expr.fill_null(0) for field in fields))
    return Field(leaves, pl.when(some).then(total))


def made(change: Callable[..., pl.Expr], *fields: Field) -> Field:
    """What `change` makes of the fields' values."""
    leaves = {path: kind for field in fields for path, kind in field.leaves.items()}
    return Field(leaves, change(*(field.expr for field in fields)))


def milliseconds(seconds: Field) -> Field:
    """Seconds as milliseconds; to the microsecond, as a time of day in floating-point seconds has no more."""
    return seconds.map(lambda value: (value * 1000).round(3))


def between(start: Field, end: Field) -> Field:
    """Milliseconds from one moment to another, both in seconds; null where it would be negative."""
    return made(lambda a, b: pl.when(b >= a).then(((b - a) * 1000).round(3)), start, end)


def status(good: Field) -> Field:
    """`ok` or `error` of a flag; null where it is."""
    return good.map(lambda ok: pl.when(ok).then(pl.lit("ok")).when(~ok).then(pl.lit("error")))


def http_status(*fields: Field) -> Field:
    """`error` for a status of HTTP that is not 2xx."""
    return status(reduce(Field.__or__, fields).map(lambda code: code.is_between(200, 299)))


def first_tag(path: str, *, without: str | None = None) -> Field:
    """The first text of a list, leaving out those that begin with `without`."""

    def first(tags: pl.Expr) -> pl.Expr:
        listed = tags.str.starts_with("[")
        found = tags.str.extract_all(r'"(?:[^"\\]|\\.)*"').list.eval(pl.element().str.slice(1).str.head(-1))
        if without is not None:
            found = found.list.eval(pl.element().filter(~pl.element().str.starts_with(without)))
        tag: pl.Expr = pl.when(listed).then(found.list.first().str.replace_all(r"\\(.)", "${1}"))
        tag = pl.coalesce(tag, pl.when(~listed & ~tags.str.starts_with("{")).then(tags))
        return pl.when(tag != "").then(tag)

    return text(path).map(first)


def choice_end(choices: str) -> Field:
    """Why the first of OpenAI's choices ended."""
    return Field({choices: "choices"}, pl.col(choices).list.first().struct.field("finish_reason"))


def choice_text(choices: str) -> Field:
    """The text of the first of OpenAI's choices."""
    first = pl.col(choices).list.first()
    return Field(
        {choices: "answers"},
        pl.coalesce(first.struct.field("message").struct.field("content"), first.struct.field("text")),
    )


# What teams put into the metadata of a request, by the column that it becomes.
_LABELS: Final = {
    "feature": ("feature", "Feature"),
    "session_id": ("session_id", "sessionId", "conversation_id", "thread_id"),
    "user_id": ("user_id", "userId"),
    "project": ("project",),
    "mode": ("mode",),
    "task": ("task", "task_type"),
    "arm": ("arm",),
    "model_override": ("model_override",),
}


def labels(*prefixes: str) -> dict[str, Field]:
    """What an object of metadata says: feature, session, user, project, mode, task, arm and pinned model."""
    return {
        target: text(*(f"{prefix}.{name}" for prefix in prefixes for name in names))
        for target, names in _LABELS.items()
    }


def either(*many: Fields) -> dict[str, Field]:
    """For each target the first of the fields that is there."""
    found: dict[str, Field] = {}
    for fields in many:
        for target, field in fields.items():
            found[target] = found[target] | field if target in found else field
    return found


_OURS: Final[Mapping[Type, tuple[str, ...]]] = {
    "text": (
        *("request_id", "session_id", "user_id", "ts", "provider", "model", "model_requested", "status", "feature"),
        *("finish_reason", "service_tier", "project", "mode", "task", "arm", "model_override", "feedback", "needs"),
        *("tools", "response_format"),
    ),
    "count": (
        *("input_tokens", "total_input_tokens", "cache_read_tokens", "written_tokens", "cache_write_1h_tokens"),
        *("output_tokens", "reasoning_tokens", "total_tokens", "web_searches", "attempt", "n_messages"),
    ),
    "number": ("cost_usd", "latency_ms", "ttft_ms"),
    "flag": ("stream", "batch", "gateway_cache_hit"),
    "messages": ("messages",),
}
# Records that a dialect's own `unpack` made have our names.
OURS: Final[Fields] = {
    **{name: _first(kind, (name,)) for kind, names in _OURS.items() for name in names},
    **{name: verbatim(name) for name in ("prompt", "system", "previous_prompt", "response_text")},
}


# --- on Python records, where a dialect unpacks -----------------------------------------------------------------------


def find(record: Any, path: str) -> Any:
    """The value at a path of nested objects, None when there is none. JSON in text is gone into."""
    value = record
    while True:
        value = opened(value)
        if not isinstance(value, Mapping):
            return None
        if path in value:
            return value[path]
        key, dot, rest = path.partition(".")
        while dot and key not in value:
            more, dot, rest = rest.partition(".")
            key = f"{key}.{more}"
        if not dot:
            return None
        value, path = value[key], rest


def has_path(record: Any, path: str) -> bool:
    """Whether a record has a path, be it null."""
    above, _, last = path.rpartition(".")
    holder = opened(find(record, above)) if above else record
    return find(record, path) is not None or (isinstance(holder, Mapping) and last in holder) or path in record


def first(record: Any, *paths: str) -> Any:
    """The first value that is there: neither null nor an empty text."""
    for path in paths:
        value = find(record, path)
        if value is not None and value != "":
            return value
    return None


def opened(value: Any) -> Any:
    """The object or list that a text of JSON holds; anything else as it is."""
    if not isinstance(value, str):
        return value
    if value[:2] in ('"{', '"['):
        # quoted twice, as some exports to CSV do
        value = value[1:-1].replace('""', '"')
    if value[:1] in ("{", "["):
        import orjson

        with contextlib.suppress(ValueError):
            return orjson.loads(value)
    return value


def whole(value: Any) -> int | None:
    """A count, also from text; None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
        return int(number) if number == int(number) else None
    except (TypeError, ValueError, OverflowError):
        return None


def has(*keys: str) -> Callable[[Record], bool]:
    """A test for records that have all these keys."""
    return lambda record: all(key in record for key in keys)
