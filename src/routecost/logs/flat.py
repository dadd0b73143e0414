"""Flat logs: one record a request, under our column names, common other ones, or a field map."""

from __future__ import annotations

import datetime as dt
import fnmatch
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import polars as pl

from routecost.errors import InputError, did_you_mean
from routecost.logs import finish
from routecost.schema import INPUT_KINDS, REQUEST, TOKEN_KINDS

if TYPE_CHECKING:
    from routecost.logs.fields import Dialect, Reading
    from routecost.logs.mapped import Joined, Usual

# Targets of a map beside the columns of a request: what they become is worked out in `canonical`.
EXTRA_TARGETS: Final[dict[str, pl.DataType]] = {
    "total_input_tokens": pl.Int64(),  # includes cached reads and cache writes, as OpenAI counts
    "latency_s": pl.Float64(),
    "ttft_s": pl.Float64(),
    "response_text": pl.String(),  # counts that are missing are estimated from it
}

# Other names for a column, the likeliest first. A name stands once only.
ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "request_id": ("request_id", "id", "requestId", "call_id"),
    "session_id": ("session_id", "conversation_id", "sessionId", "thread_id"),
    "user_id": ("user_id", "user", "userId", "end_user"),
    "ts": ("ts", "timestamp", "time", "created_at", "start_time", "startTime", "datetime", "created", "date"),
    "provider": ("provider", "custom_llm_provider", "provider_name"),
    "model": ("model", "model_name", "response_model"),
    "prompt": ("prompt", "user_message", "query", "question", "input"),
    "system": ("system", "system_prompt", "instructions"),
    "input_tokens": ("input_tokens",),
    "total_input_tokens": ("total_input_tokens", "prompt_tokens", "tokens_prompt", "tokens_in", "request_tokens"),
    "cache_read_tokens": ("cache_read_tokens", "cache_read_input_tokens", "cached_tokens", "cached_input_tokens"),
    "cache_write_tokens": ("cache_write_tokens", "cache_creation_input_tokens"),
    "output_tokens": ("output_tokens", "completion_tokens", "tokens_completion", "tokens_out", "response_tokens"),
    "reasoning_tokens": ("reasoning_tokens", "tokens_reasoning"),
    "cost_usd": ("cost_usd", "cost", "spend", "total_cost", "response_cost"),
    "latency_ms": ("latency_ms", "duration_ms", "response_time_ms"),
    "latency_s": ("latency_s", "duration_s", "latency_seconds", "duration_seconds"),
    "ttft_ms": ("ttft_ms", "time_to_first_token_ms"),
    "status": ("status", "status_code"),
    "feature": ("feature", "endpoint", "prompt_name", "tag"),
    "project": ("project", "project_id", "team"),
    "task": ("task", "task_type"),
    "model_override": ("model_override", "pinned_model"),
    "feedback": ("feedback", "rating", "thumbs"),
    "response_text": ("response_text", "response", "completion", "answer", "output", "generated_text"),
    "batch": ("batch", "is_batch"),
    "gateway_cache_hit": ("gateway_cache_hit", "cache_hit"),
}

# OpenAI's name for cached tokens means that its input count includes them; Anthropic's means that it does not
# (https://platform.openai.com/docs/guides/prompt-caching, https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching).
_INCLUSIVE_CACHE_NAMES = ("cached_tokens", "cached_input_tokens")

_OK_WORDS = ("ok", "success", "succeeded", "successful", "completed", "complete", "true", "done", "incomplete")
_THUMBS = {"up": 1.0, "thumbs_up": 1.0, "positive": 1.0, "down": -1.0, "thumbs_down": -1.0, "negative": -1.0}
_MISSING = ("", "null", "none", "nan", "na", "n/a")
_INTERNAL = ("file", "line", "request_hash")
_COUNTS = (*TOKEN_KINDS, "total_input_tokens", "reasoning_tokens", "web_searches", "images", "audio_seconds")
# A single request beyond these is damage, and sums of them could overflow.
MAX_COUNT: Final = 1 << 40
MAX_AMOUNT: Final[dict[str, float]] = {"cost_usd": 1e5, "latency_ms": 1e10, "ttft_ms": 1e10}
# Microseconds of the years in which a request can have been made (1684 to 2255): no calendar overflows.
_MAX_MICROS: Final = 9 * 10**15


class NotRecognisedError(InputError):
    """A file in which no request is recognised."""


@dataclass(frozen=True)
class Layout:
    """How the records of one file map to requests.

    fields: our column -> the path of theirs. constants: our column -> the value for every row.
    start, time_unit: what numeric times count from, and in. extra: raw fields that a `--by` asks for.
    numeric: their top-level fields that held only numbers in the sample (JSON).
    decimal_comma, day_first: how a spreadsheet wrote amounts, and days with slashes (None: the sample does not tell).
    dialect, reading: of a log that is not flat, in place of `fields`. typed: what of its sample Polars reads by the
    types of its leaves (messages have several shapes). usual: the keys that its sample has. joined: the requests that
    its records answer. estimates: whether missing counts are estimated. labelled: whether
    some of the sample has a task type.
    """

    fields: Mapping[str, tuple[str, ...]]
    constants: Mapping[str, Any] = field(default_factory=dict)
    by_file: Sequence[tuple[str, Mapping[str, Any]]] = ()
    start: dt.datetime | None = None
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    extra: tuple[str, ...] = ()
    numeric: frozenset[str] = frozenset()
    decimal_comma: bool = False
    day_first: bool | None = None
    notes: tuple[str, ...] = ()
    dialect: Dialect | None = None
    reading: Reading | None = None
    typed: Literal["all", "but messages", "nothing"] = "nothing"
    usual: Usual | None = None
    joined: Joined | None = None
    estimates: bool = True
    labelled: bool = True

    def paths(self, column: str) -> tuple[str, ...]:
        """The fields of a record that a column of a request is read from."""
        if self.reading is not None:
            made = self.reading.fields.get(column)
            return tuple(made.leaves) if made is not None else ()
        return (".".join(self.fields[column]),) if column in self.fields else ()

    def for_file(self, name: str) -> Layout:
        """The constants that the map gives for this file added to the general ones."""
        added: dict[str, Any] = dict(self.constants)
        for pattern, values in self.by_file:
            if fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(Path(name).name, pattern):
                added.update(values)
        return replace(self, constants=added)


def read_map(path: Path | str) -> Layout:
    """A field map (YAML) as a layout. Raises InputError naming the file and the field.

    columns: {THEIR_FIELD: our_column}  a dot in THEIR_FIELD goes into an object
    constants: {our_column: value}      for every request
    by_file: {"*_code.csv": {task: code}}
    start: 2023-11-16T00:00:00Z         the moment from which numeric times count, in time_unit (s, ms, us, ns)
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: the field map cannot be read ({error.strerror}).") from error
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not a YAML field map ({' '.join(str(error).split())[:200]}).") from error
    keys = ("columns", "constants", "by_file", "start", "time_unit")
    if not isinstance(content, dict):
        raise InputError(f"{path}: a field map is a YAML mapping with {', '.join(keys)}; saw {type(content).__name__}.")
    for key in content:
        if key not in keys:
            near = did_you_mean(str(key), keys)
            raise InputError(f"{path}: unknown key {key!r}.{near} Expected {', '.join(keys)}.")
    columns = _mapping(path, "columns", content.get("columns") or {})
    constants = _mapping(path, "constants", content.get("constants") or {})
    by_file = [
        (str(p), _mapping(path, f"by_file.{p}", v))
        for p, v in _mapping(path, "by_file", content.get("by_file") or {}).items()
    ]
    for where, target in [
        *(("columns", t) for t in columns.values()),
        *(("constants", t) for t in constants),
        *((f"by_file.{p}", t) for p, v in by_file for t in v),
    ]:
        _check_target(path, where, target)
    twice = {t for t in columns.values() if list(columns.values()).count(t) > 1}
    if twice:
        raise InputError(f"{path}: columns: {', '.join(sorted(twice))} is mapped from more than one field; keep one.")
    both = sorted(set(columns.values()) & set(constants))
    if both:
        raise InputError(f"{path}: {both[0]} is mapped from a field and given as a constant as well; keep one.")
    for where, values in [("constants", constants), *((f"by_file.{p}", v) for p, v in by_file)]:
        for target, value in values.items():
            _check_constant(path, where, target, value)
    unit = content.get("time_unit")
    if unit not in (None, "s", "ms", "us", "ns"):
        raise InputError(f"{path}: time_unit: saw {unit!r}, expected s, ms, us or ns.")
    return Layout(
        fields={target: tuple(str(theirs).split(".")) for theirs, target in columns.items()},
        constants=constants,
        by_file=by_file,
        start=_start(path, content.get("start")),
        time_unit=unit,
    )


def _mapping(path: Path | str, where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{path}: {where}: expected a mapping, saw {value!r}.")
    return value


def _check_target(path: Path | str, where: str, target: Any) -> None:
    targets = [*(c for c in REQUEST if c not in _INTERNAL), *EXTRA_TARGETS]
    if target not in targets:
        near = did_you_mean(str(target), targets)
        raise InputError(f"{path}: {where}: {target!r} is not a column of a request.{near}")


def _check_constant(path: Path | str, where: str, target: str, value: Any) -> None:
    ours = {"total_input_tokens": "input_tokens", "latency_s": "latency_ms", "ttft_s": "ttft_ms"}.get(target, target)
    try:
        got = canonical(pl.DataFrame({"": [None]}), Layout(fields={}, constants={target: value}), [ours])
        usable = got[ours][0] is not None
    except (pl.exceptions.PolarsError, TypeError, OverflowError, ValueError):
        usable = False
    if not usable:
        what = "a whole number of at least 0" if target in _COUNTS else f"a value of type {REQUEST[ours]}"
        raise InputError(f"{path}: {where}: {target}: saw {value!r}, expected {what}.")


def _start(path: Path | str, value: Any) -> dt.datetime | None:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError as error:
            raise InputError(f"{path}: start: saw {value!r}, expected a moment like 2026-01-31T00:00:00Z.") from error
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)
    if not isinstance(value, dt.datetime):
        raise InputError(f"{path}: start: saw {value!r}, expected a moment like 2026-01-31T00:00:00Z.")
    return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def detect_layout(
    name: str,
    records: Sequence[Mapping[str, Any]],
    given: Layout | None,
    extra: Sequence[str] = (),
    separator: str | None = None,
) -> Layout:
    """The layout of a file from a sample of its records (values of any type), over the map that was `given`.

    extra: raw fields that a `--by` asks for. separator: of a CSV file, for what it tells about numbers.
    Raises InputError when nothing of a request is recognised.
    """
    seen: dict[str, set[type]] = {}
    for record in records:
        for key, value in record.items():
            seen.setdefault(key, set()).add(type(value))
    spelled = {_spelling(key): key for key in reversed(seen)}
    base = (given or Layout(fields={})).for_file(name)
    # a dot may also be a part of a name, as in flattened exports
    fields = {c: (".".join(p),) if ".".join(p) in seen else p for c, p in base.fields.items()}
    lacking = [path for path in fields.values() if path[0] not in seen] if records else []
    notes = [f"{name}: the map reads {'.'.join(p)}, not seen so far.{did_you_mean(p[0], seen)}" for p in lacking]
    taken = {path[0] for path in fields.values()}
    for column in [c for c in (*REQUEST, *EXTRA_TARGETS) if c not in _INTERNAL]:
        if column in fields or column in base.constants:
            continue
        names = ALIASES.get(column, (column,))
        spellings = [*names, *(spelled[n] for n in map(_spelling, names) if n in spelled)]
        theirs = next((n for n in spellings if n in seen and n not in taken), None)
        # A column that the sample lacks may still come later, under our own name.
        if theirs is None and names[0] not in taken and column not in EXTRA_TARGETS:
            theirs = names[0]
        if theirs is not None:
            fields[column] = (theirs,)
            taken.add(theirs)
    if records:
        _require_something(name, fields, base.constants, seen)
        inclusive = fields.get("cache_read_tokens", ("",))[-1] in _INCLUSIVE_CACHE_NAMES
        if inclusive and fields.get("input_tokens") == ("input_tokens",) and "input_tokens" not in base.fields:
            cached = fields["cache_read_tokens"]
            if "input_tokens" in seen and cached[0] in seen:
                fields["total_input_tokens"] = fields.pop("input_tokens")
                notes.append(
                    f"{name}: input_tokens is read as the total that includes {'.'.join(cached)} "
                    "(OpenAI's way of counting); a --map with `columns: {input_tokens: input_tokens}` says otherwise"
                )
    if "response_text" in fields and not _some_uncounted(records, fields):
        # the text of answers is only read where it is needed
        del fields["response_text"]
    if "total_input_tokens" in fields and fields["total_input_tokens"][0] in seen:
        unsampled = fields.get("input_tokens")
        if unsampled is not None and unsampled[0] not in seen:
            del fields["input_tokens"]
    missing = [c for c in extra if c not in REQUEST and c not in seen]
    if missing and records:
        near = did_you_mean(missing[0], [*REQUEST, *seen])
        raise InputError(f"{name}: no field {missing[0]!r} to group by.{near} Fields seen: {', '.join(sorted(seen))}.")
    numbers, nothing = {int, float, type(None)}, {type(None)}
    return replace(
        base,
        fields=fields,
        extra=tuple(c for c in extra if c not in REQUEST),
        numeric=frozenset(k for k, types in seen.items() if types <= numbers and types != nothing),
        decimal_comma=separator is not None and _decimal_comma(records, fields, separator),
        day_first=_day_first(_sampled(records, fields.get("ts", ("",)))),
        notes=tuple(notes),
        labelled="task" in base.constants or ("task" in fields and fields["task"][0] in seen) or not records,
    )


def _some_uncounted(records: Sequence[Mapping[str, Any]], fields: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether some of the sample lacks a count of its input or output."""
    sides = (("input_tokens", "total_input_tokens"), ("output_tokens",))
    paths = [[fields[c] for c in side if c in fields] for side in sides]
    return any(
        not any(len(path) > 1 or record.get(path[0]) not in (None, "") for path in side)
        for record in records
        for side in paths
    )


def _spelling(name: str) -> str:
    """`Input Tokens`, `input-tokens` and `INPUT_TOKENS` are one name."""
    return re.sub(r"[\s\-]+", "_", name.strip()).lower()


def _sampled(records: Sequence[Mapping[str, Any]], path: tuple[str, ...]) -> list[str]:
    return [str(record[path[0]]) for record in records if len(path) == 1 and record.get(path[0]) is not None]


def _decimal_comma(records: Sequence[Mapping[str, Any]], fields: Mapping[str, tuple[str, ...]], separator: str) -> bool:
    """Whether a comma is the decimal sign. Digits in threes may also be thousands, so they say nothing; a file with
    semicolons has a comma for its decimal sign unless some number shows a point."""
    numeric = [c for c in fields if c in _COUNTS or (REQUEST.get(c) or EXTRA_TARGETS.get(c)) == pl.Float64()]
    cells = [cell.strip() for column in numeric for cell in _sampled(records, fields[column])]
    comma = any(re.fullmatch(r"-?(\d+,(\d{1,2}|\d{4,})|0,\d+|\d{1,3}(\.\d{3})+,\d+)", cell) for cell in cells)
    point = any(re.fullmatch(r"-?(\d+\.(\d{1,2}|\d{4,})|0\.\d+|\d{1,3}(,\d{3})+\.\d+)", cell) for cell in cells)
    return (comma or separator == ";") and not point


def _day_first(moments: Sequence[str]) -> bool | None:
    """Whether 3/4/2026 is the third of April: told by a day beyond 12, None when there is none (or of both kinds)."""
    pairs = [(int(m[1]), int(m[2])) for text in moments if (m := re.match(r"(\d{1,2})/(\d{1,2})/\d{4}\b", text))]
    day_first, month_first = any(a > 12 for a, _ in pairs), any(b > 12 for _, b in pairs)
    return day_first if day_first != month_first else None


def _require_something(
    name: str, fields: Mapping[str, tuple[str, ...]], constants: Mapping[str, Any], seen: Mapping[str, Any]
) -> None:
    anchors = ("model", "input_tokens", "total_input_tokens", "output_tokens", "prompt", "cost_usd", "task")
    if any(c in constants or (c in fields and fields[c][0] in seen) for c in anchors):
        return
    raise NotRecognisedError(
        f"{name}: no request recognised. Fields seen: {', '.join(sorted(seen)) or 'none'}. Expected some of model, "
        "input_tokens (or prompt_tokens), output_tokens (or completion_tokens), ts, prompt. If they have other names, "
        "write a field map and pass it with --map:  columns: {THEIR_FIELD: input_tokens, ...}"
    )


def json_schema(layout: Layout, columns: Sequence[str], *, strict: bool) -> dict[str, pl.DataType]:
    """The Polars schema that reads these columns of a JSON line.

    strict: counts and amounts are numbers, so that a line that breaks the rule fails the fast way; else everything is
    text and `canonical` judges it.
    """
    tree: dict[str, Any] = {}
    wanted = [(layout.fields[c], c) for c in wanted_of(layout, columns) if c in layout.fields]
    for path, column in [*wanted, *(((c,), "") for c in layout.extra)]:
        node = tree
        for step in path[:-1]:
            node = node.setdefault(step, {})
            if not isinstance(node, dict):
                raise InputError(f"the map reads {'.'.join(path)} as well as {step} itself: map one of them.")
        if isinstance(node.get(path[-1]), dict):
            raise InputError(f"the map reads {'.'.join(path)} as well as a field inside it: map one of them.")
        node[path[-1]] = _json_type(column, path, layout) if strict else pl.String()
    return {name: _struct(value) for name, value in tree.items()}


def wanted_of(layout: Layout, columns: Sequence[str]) -> tuple[str, ...]:
    """The targets that these columns need: those that they are derived from as well."""
    texts = ("prompt", "system", "status") if "response_text" in layout.fields and layout.estimates else ()
    return tuple(dict.fromkeys((*columns, *EXTRA_TARGETS, *texts)))


def _struct(value: Any) -> pl.DataType:
    if isinstance(value, dict):
        return pl.Struct({name: _struct(v) for name, v in value.items()})
    return value  # type: ignore[no-any-return]


def _json_type(column: str, path: tuple[str, ...], layout: Layout) -> pl.DataType:
    dtype = REQUEST.get(column) or EXTRA_TARGETS.get(column) or pl.String()
    if column in _COUNTS or column in ("attempt", "n_messages"):
        return pl.Int64()
    if dtype == pl.Float64() and column != "feedback":
        return pl.Float64()
    if column == "ts" and len(path) == 1 and path[0] in layout.numeric:
        return pl.Float64()
    return pl.String()


def canonical(raw: pl.DataFrame, layout: Layout, columns: Sequence[str]) -> pl.DataFrame:
    """Records as requests: `columns` of schema.REQUEST with their types, the extra raw fields as text under `raw:NAME`,
    and `reject`, the reason why a record is not a request (null when it is). Of a dialect, texts and needs are as they
    shall be."""
    out: dict[str, pl.Series] = {}
    reject = _nulls("reject", pl.String(), raw.height)
    for column, name, values in _values(raw, layout, columns):
        if column in _COUNTS:
            out[column], wrong = _count(values, layout)
            if wrong is not None:
                seen = shown(_text(values)).fill_null("what is no text")
                reject = _rejected(reject, wrong, f"{name}: expected a whole number of at least 0, saw " + seen)
        elif column == "ts":
            out[column] = _moment(values, layout)
        elif column == "status":
            out[column] = _status(values)
        elif column == "feedback":
            out[column] = _feedback(values, layout)
        elif column == "needs" and layout.dialect is None:
            out[column] = _needs(values)
        elif column in ("prompt", "system", "previous_prompt", "response_text") and layout.dialect is None:
            out[column] = _plain(_speech(_text(values)), pl.String(), layout)
        else:
            out[column] = _plain(values, REQUEST.get(column) or EXTRA_TARGETS[column], layout)
    reject = _derive(out, reject)
    if "response_text" in out and layout.estimates and "tokens_estimated" in columns:
        _estimate(out, raw.height)
    for column, most in MAX_AMOUNT.items():
        high = out[column].max() if column in out else None
        if high is not None and high > most:  # type: ignore[operator]
            out[column] = out[column].set(out[column] > most, None)
    ours = [out[c].alias(c) if c in out else _nulls(c, REQUEST[c], raw.height) for c in columns]
    theirs = [
        _plain(_simple(raw[c], c), pl.String(), layout).alias(c)
        if c in raw.columns
        else _nulls(c, pl.String(), raw.height)
        for c in layout.extra
    ]
    return pl.DataFrame([*ours, *(s.alias(f"raw:{s.name}") for s in theirs), reject])


# Numbers gone wrong, and what is too short to tell anything: the rest may be what somebody wrote.
_HARMLESS: Final = r"(?s)^(.{0,8}|[-+]?[\d.,_' ]+([eE][-+]?\d+)?)$"


def shown(texts: pl.Series) -> pl.Series:
    """Values that are not what they should be, as a message may show them: text only by its length."""
    short = texts.str.slice(0, 40)
    return pl.select(
        pl.when(pl.lit(short).str.contains(_HARMLESS))
        .then(pl.lit(short))
        .otherwise(pl.format("text of {} characters", pl.lit(texts).str.len_chars()))
    ).to_series()


def _rejected(reject: pl.Series, wrong: pl.Series, reason: pl.Series) -> pl.Series:
    """The reasons so far, and this one where it is the first."""
    return reject.zip_with(~wrong | reject.is_not_null(), reason)


def _values(raw: pl.DataFrame, layout: Layout, columns: Sequence[str]) -> list[tuple[str, str, pl.Series]]:
    """(our column, their name for it, the values), for those that have any."""
    wanted = set(wanted_of(layout, columns))
    found: list[tuple[str, str, pl.Series]] = []
    for column, path in layout.fields.items():
        if column not in wanted or path[0] not in raw.columns or column in layout.constants:
            continue
        values = raw[path[0]]
        for step in path[1:]:
            inside = isinstance(values.dtype, pl.Struct) and step in [f.name for f in values.dtype.fields]
            values = values.struct.field(step) if inside else _nulls("", pl.Null(), raw.height)
        if values.null_count() < values.len():
            found.append((column, ".".join(path), _simple(values, column)))
    for column, value in layout.constants.items():
        if column in wanted and raw.height:
            found.append((column, column, _simple(pl.Series([value]).new_from_index(0, raw.height), column)))
    return found


def _simple(values: pl.Series, column: str) -> pl.Series:
    """The types that only columnar files have, as those that everything else has."""
    dtype = values.dtype
    if dtype == pl.Categorical or dtype == pl.Enum or dtype == pl.Time:
        return values.cast(pl.String)
    if isinstance(dtype, pl.Decimal):
        return values.cast(pl.Float64)
    if dtype == pl.Duration:
        return values.dt.total_microseconds() / (1e6 if column.endswith("_s") else 1e3)
    if dtype == pl.Binary:
        texts = [None if value is None else value.decode(errors="replace") for value in values.to_list()]
        return pl.Series(values.name, texts, pl.String)
    return values


def _nulls(name: str, dtype: pl.DataType, height: int) -> pl.Series:
    return pl.Series(name, [None], dtype).new_from_index(0, height)


def _derive(out: dict[str, pl.Series], reject: pl.Series) -> pl.Series:
    """Columns of EXTRA_TARGETS turned into ours, in place; the reject reasons with what cannot be so added."""
    for seconds, ours in (("latency_s", "latency_ms"), ("ttft_s", "ttft_ms")):
        if seconds in out:
            scaled = out.pop(seconds) * 1000
            out[ours] = out[ours].zip_with(out[ours].is_not_null(), scaled) if ours in out else scaled
    if "total_input_tokens" in out:
        total = out.pop("total_input_tokens")
        inside = pl.zeros(total.len(), pl.Int64, eager=True)
        for kind in INPUT_KINDS[1:]:
            if kind in out:
                inside = inside + out[kind].fill_null(0)
        uncached = total - inside
        wrong = (uncached < 0).fill_null(False)
        if wrong.any():
            text = "cached tokens: expected at most the whole input, saw " + inside.cast(pl.String)
            reject = _rejected(reject, wrong, text + " of " + total.cast(pl.String))
        given = out.get("input_tokens")
        out["input_tokens"] = uncached if given is None else given.zip_with(given.is_not_null(), uncached)
    if "reasoning_tokens" in out and "output_tokens" in out:
        part, whole = out["reasoning_tokens"], out["output_tokens"]
        wrong = (part > whole).fill_null(False)
        if wrong.any():
            text = "reasoning_tokens: expected at most the output, saw " + part.cast(pl.String)
            reject = _rejected(reject, wrong, text + " of " + whole.cast(pl.String))
    return reject


def _estimate(out: dict[str, pl.Series], height: int) -> None:
    """Missing counts from the text of request and answer, in place."""
    counts = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    frame = pl.DataFrame(
        {c: out[c] if c in out else _nulls(c, REQUEST[c], height) for c in (*counts, "status", "n_messages")}
    ).with_columns(
        said=pl.concat_str(
            *(out.get(c, _nulls(c, pl.String(), height)).alias(c) for c in ("system", "prompt")),
            separator="\n", ignore_nulls=True,
        ),
        response_text=out["response_text"],
        vision=pl.lit(False),
    )  # fmt: skip
    frame = frame.with_columns(said=pl.when(pl.col("said") != "").then("said"))
    made = finish.estimated(frame)
    out.update({c: made[c] for c in ("input_tokens", "output_tokens", "tokens_estimated")})


def _count(values: pl.Series, layout: Layout) -> tuple[pl.Series, pl.Series | None]:
    """The counts, null where what stands there is not one, and where that is (None: nowhere)."""
    dtype = values.dtype
    if dtype.is_integer():
        low, high = values.min(), values.max()
        if low is None or (low >= 0 and high <= MAX_COUNT):  # type: ignore[operator]
            return values.cast(pl.Int64), None
        wrong = ((values < 0) | (values > MAX_COUNT)).fill_null(False)
        return values.set(wrong, None).cast(pl.Int64), wrong
    if dtype.is_float():
        # pandas writes a missing count as NaN
        number = values.cast(pl.Float64).fill_nan(None)
        present = number.is_not_null()
    elif dtype == pl.String:
        number = _number(values, layout).fill_nan(None)
        present = number.is_not_null() | ~values.str.strip_chars().str.to_lowercase().is_in(_MISSING).fill_null(True)
    else:
        number = _nulls("", pl.Float64(), values.len())
        present = values.is_not_null()
    good = (number.is_finite() & (number >= 0) & (number <= MAX_COUNT) & (number == number.floor())).fill_null(False)
    counts = number.set(~good, None).cast(pl.Int64)
    wrong = present & ~good
    return counts, wrong if wrong.any() else None


def _number(text: pl.Series, layout: Layout) -> pl.Series:
    """Numbers in text, also with thousands separators, and with the decimal sign that the file uses; else null."""
    text = text.str.strip_chars()
    if not layout.decimal_comma:
        number = text.cast(pl.Float64, strict=False)
        if number.null_count() == text.null_count():
            return number
    point, group = (",", r"\.") if layout.decimal_comma else (r"\.", ",")
    group += r" '\x{a0}\x{202f}\x{2019}"  # also spaces that do not break, and the Swiss apostrophe
    grouped = text.str.contains(rf"^[+-]?\d{{1,3}}([{group}]\d{{3}})+({point}\d+)?$").fill_null(False)
    text = text.str.replace_all(f"[{group}]", "").zip_with(grouped, text)
    if layout.decimal_comma:
        text = text.str.replace(",", ".", literal=True)
    return text.cast(pl.Float64, strict=False)


def _moment(values: pl.Series, layout: Layout) -> pl.Series:
    """Moments in UTC, null where what stands there is none."""
    dtype = values.dtype
    if isinstance(dtype, pl.Datetime):
        moments = values.dt.replace_time_zone("UTC") if dtype.time_zone is None else values
        moments = moments.dt.convert_time_zone("UTC").cast(pl.Datetime("us", "UTC"))
    elif dtype == pl.Date:
        moments = values.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    elif dtype.is_numeric():
        return _epoch(values.cast(pl.Float64), layout)
    else:
        text = _text(values).str.strip_chars()
        if layout.start is not None or layout.time_unit is not None:
            moments = _first(_epoch(_number(text, layout), layout), lambda: _iso(text))
        else:
            moments = _first(_iso(text), lambda: _epoch(text.cast(pl.Float64, strict=False), layout))
        moments = _first(moments, lambda: _spreadsheet(text, layout))
    micros = moments.to_physical()
    low, high = micros.min(), micros.max()
    if low is None or (low > -_MAX_MICROS and high < _MAX_MICROS):  # type: ignore[operator]
        return moments
    return moments.set((micros.abs() >= _MAX_MICROS).fill_null(False), None)


def _first(values: pl.Series, other: Callable[[], pl.Series]) -> pl.Series:
    """`values`, and `other` (worked out only when needed) where they are null."""
    return values if values.null_count() == 0 else values.zip_with(values.is_not_null(), other())


def _spreadsheet(text: pl.Series, layout: Layout) -> pl.Series:
    """Days as spreadsheets show them: 31.1.2026 12:00, and with slashes in the order that the sample told."""
    utc = pl.Datetime("us", "UTC")
    shown = text.str.contains(r"^\d{1,2}[./]\d{1,2}[./]\d{4}\b")
    if not shown.any():
        return _nulls("", utc, text.len())
    text = text.str.replace(r"^([\d./]+)[ ,T]*", "$1 ").str.replace(r" $", " 0:00")
    text = text.str.replace(r"^(\S+ \d{1,2}:\d{2})($| )", "$1:00$2").set(~shown.fill_null(False), None)
    days = ["%d.%m.%Y"]
    if layout.day_first is not None:
        days.append("%d/%m/%Y" if layout.day_first else "%m/%d/%Y")
    formats = [f"{day} {time}" for day in days for time in ("%H:%M:%S", "%I:%M:%S %p")]
    read = [text.str.strptime(pl.Datetime("us"), form, strict=False) for form in formats]
    return pl.select(pl.coalesce(read)).to_series().dt.replace_time_zone("UTC")


def _iso(text: pl.Series) -> pl.Series:
    """RFC 3339, and its common relaxations: no zone (UTC), a space for the T, no seconds, a day alone."""
    utc = pl.Datetime("us", "UTC")
    moments = text.str.strptime(utc, "%+", strict=False)
    if moments.null_count() == text.null_count():
        return moments
    loose = text.str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1}T00:00:00Z")
    loose = loose.str.replace(r"^(\d{4}-\d{2}-\d{2})[ T]+", "${1}T").str.replace(r"(?i)\s*(utc|gmt|z)$", "Z")
    loose = loose.str.replace(r"(T\d{2}:\d{2})($|[Z+-])", "$1:00$2").str.replace(r"(T\d{2}:\d{2}:\d{2}),", "$1.")
    loose = loose.str.replace(r"(T\S+)\s*([+-]\d{2}):?(\d{2})?$", "$1$2:$3").str.replace(r":$", ":00")
    zoned = loose.str.contains(r"(Z|[+-]\d{2}:\d{2})$").fill_null(False)
    return _first(moments, lambda: loose.zip_with(zoned, loose + "Z").str.strptime(utc, "%+", strict=False))


def _epoch(number: pl.Series, layout: Layout) -> pl.Series:
    """Seconds, milli-, micro- or nanoseconds since 1970 (told apart by size), or since the map's start."""
    scale = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
    n = pl.col("n")
    if layout.start is not None:
        micros = n * scale[layout.time_unit or "s"] + layout.start.timestamp() * 1e6
    elif layout.time_unit is not None:
        micros = n * scale[layout.time_unit]
    else:
        micros = pl.coalesce(
            pl.when(n > 1e17).then(n * 1e-3),
            pl.when(n > 1e14).then(n),
            pl.when(n > 1e11).then(n * 1e3),
            pl.when(n > 1e8).then(n * 1e6),
        )
    # beyond these years it is not a time, and a cast would overflow
    sane = pl.when(micros.is_finite() & (micros.abs() < _MAX_MICROS)).then(micros)
    moment = sane.round().cast(pl.Int64).cast(pl.Datetime("us", "UTC"))
    return number.alias("n").to_frame().select(moment).to_series()


def _status(values: pl.Series) -> pl.Series:
    text = _text(values)
    if (text == "ok").all():
        return text
    word = pl.col("s").str.strip_chars().str.to_lowercase()
    # an object in its place is not a status, so it says nothing
    silent = word.is_null() | word.str.contains(r"^$|^[\[{]")
    good = word.is_in(["0", "0.0", *_OK_WORDS]) | word.str.contains(r"^2\d\d(\.0|\s.*)?$")
    status = pl.when(~silent).then(pl.when(good).then(pl.lit("ok")).otherwise(pl.lit("error")))
    return text.alias("s").to_frame().select(status).to_series()


def _feedback(values: pl.Series, layout: Layout) -> pl.Series:
    if values.dtype == pl.Boolean:
        number = values.cast(pl.Float64) * 2 - 1
    elif values.dtype.is_numeric():
        number = values.cast(pl.Float64)
    else:
        word = _text(values).str.strip_chars().str.to_lowercase()
        number = word.replace_strict({**_THUMBS, "true": 1.0, "false": -1.0}, default=None, return_dtype=pl.Float64)
        number = _first(number, lambda: _number(word, layout))
    return number.set(~number.is_between(-1, 1).fill_null(False), None)


def _needs(values: pl.Series) -> pl.Series:
    """Capabilities as sorted, comma-joined text: from a list, JSON text of a list, or text with commas."""
    items = _text(values).str.replace_all(r"[\[\]\"'\s]+", ",").str.split(",")
    joined = items.list.eval(pl.element().filter(pl.element() != "")).list.unique().list.sort().list.join(",")
    return joined.set((joined == "").fill_null(False), None)


def _plain(values: pl.Series, target: pl.DataType, layout: Layout) -> pl.Series:
    if target == pl.String():
        text = _text(values)
        empty = text == ""
        return text.set(empty.fill_null(False), None) if empty.any() else text
    if target == pl.Boolean():
        if values.dtype == pl.Boolean:
            return values
        word = _text(values).str.strip_chars().str.to_lowercase()
        known = {
            **dict.fromkeys(("true", "1", "yes", "1.0"), True),
            **dict.fromkeys(("false", "0", "no", "0.0"), False),
        }
        return word.replace_strict(known, default=None, return_dtype=pl.Boolean)
    if values.dtype == target:
        number = values
    elif values.dtype.is_numeric():
        number = values.cast(target, strict=False)
    else:
        number = _number(_text(values), layout).cast(target, strict=False)
    if target.is_float():
        sane = number.is_finite() & (number >= 0)
        return number if sane.all() else number.set(~sane.fill_null(True), None)
    return number


def _text(values: pl.Series) -> pl.Series:
    if values.dtype == pl.String:
        return values
    if isinstance(values.dtype, pl.Struct | pl.List | pl.Array):
        return pl.Series(values.name, [None if v is None else _json(v) for v in values.to_list()], pl.String)
    if values.dtype == pl.Object:
        return _nulls("", pl.String(), values.len())
    return values.cast(pl.String)


def _json(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def _speech(text: pl.Series) -> pl.Series:
    """The words of prompts that are JSON text of parts or messages; other text as it is."""
    parts = text.str.contains(r"^\s*[\[{]\s*[\[{\"]").fill_null(False)
    if not parts.any():
        return text
    places = parts.arg_true()
    return text.scatter(places, [_words(one) for one in text.gather(places)])


def _words(text: str) -> str:
    try:
        # Polars leaves control characters as they are in the JSON text that it makes of nested values
        said = _said(json.loads(text, strict=False))
    except (ValueError, RecursionError):
        return text
    # JSON may escape half of a pair of surrogates, which is no text
    return text if said is None else said.encode("utf-8", "replace").decode()


def _said(value: Any) -> str | None:
    """The text of a message's content, of the last user message of several, or None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return next((_said(value[key]) for key in ("text", "content", "parts") if key in value), None)
    if isinstance(value, list) and value:
        if all(isinstance(item, dict) and "role" in item for item in value):
            users = [item for item in value if item["role"] in ("user", "human")]
            return _said(users[-1]) if users else ""
        said = [_said(item) for item in value]
        typed = all(isinstance(item, dict) and "type" in item for item in value)
        if typed or None not in said:
            return "\n".join(filter(None, said))
    return None
