"""Requests and responses of OpenAI (chat and Responses) and Anthropic (Messages), logged side by side.

There is no standard wrapper, so the keys that hold the two are found in the records. Sources: openai-python
types/chat/chat_completion.py and types/responses/response.py; anthropic-sdk-python types/message.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl

from routecost.logs.dialects.shapes import mapping, mappings
from routecost.logs.fields import (
    Dialect,
    Field,
    Numbered,
    Reading,
    Record,
    choice_end,
    choice_text,
    count,
    first_tag,
    fixed,
    flag,
    labels,
    made,
    messages,
    milliseconds,
    nested,
    number,
    opened,
    text,
    verbatim,
)
from routecost.logs.usage_counts import usage

RESPONSE_KEYS: Final = ("response", "res", "output", "body", "completion")
REQUEST_KEYS: Final = ("request", "req", "input", "body", "prompt")
_OBJECTS: Final = ("chat.completion", "response", "text_completion", "chat.completion.chunk")
_FAILED: Final = ("failed", "cancelled", "canceled")
_OPENAI: Final = r"^(ft:)?(gpt-|o\d|chatgpt|text-embedding-|davinci|babbage)"
# Below this, a duration without a unit in its name is of seconds.
_SECONDS_BELOW: Final = 120


def is_response(value: Any) -> bool:
    """Whether a value is a response object of OpenAI or Anthropic, one of its errors, or the events of a stream."""
    value = opened(value)
    if isinstance(value, list):
        return any(
            isinstance(item, Mapping)
            and (item.get("object") == "chat.completion.chunk" or item.get("type") == "message_start")
            for item in value[:3]
        )
    if not isinstance(value, Mapping):
        return False
    return (
        value.get("object") in _OBJECTS
        or (value.get("type") == "message" and "usage" in value)
        or value.get("type") == "error"
        or isinstance(value.get("error"), Mapping)
    )


def is_request(value: Any) -> bool:
    value = opened(value)
    return isinstance(value, Mapping) and any(key in value for key in ("messages", "input", "model", "contents"))


def _matches(record: Record) -> bool:
    if record.get("object") in _OBJECTS or (record.get("type") == "message" and "usage" in record):
        return True
    return any(
        is_response(record.get(r))
        and (is_request(record) or any(is_request(record.get(q)) for q in REQUEST_KEYS if q != r))
        for r in RESPONSE_KEYS
    )


def under(prefix: str | None, *names: str) -> tuple[str, ...]:
    """The paths of names in the object at `prefix`: the record itself when that is empty, none when there is none."""
    if prefix is None:
        return ()
    return tuple(f"{prefix}.{name}" if prefix else name for name in names)


def request_fields(at: str) -> dict[str, Field]:
    """What the request object at a path says."""
    marked = labels(*under(at, "metadata"))
    return {
        **marked,
        "model_requested": text(*under(at, "model")),
        "messages": messages(*under(at, "messages", "input")),
        "system": text(*under(at, "instructions", "system")),
        "tools": nested(*under(at, "tools", "functions")),
        "response_format": nested(*under(at, "response_format", "text.format")),
        "stream": flag(*under(at, "stream")).map(lambda value: value.fill_null(False)),
        "user_id": text(*under(at, "user", "safety_identifier")) | marked["user_id"],
    }


def response_fields(at: str) -> dict[str, Field]:
    """What the response object at a path says."""
    (choices,) = under(at, "choices")
    (speed,) = under(at, "usage.speed")
    counts = usage(under(at, "usage")[0])
    fast = text(speed).map(lambda value: pl.when(value == "fast").then(value))
    return {
        **counts,
        "request_id": text(*under(at, "id", "request_id")),
        "ts": text(*under(at, "created", "created_at")),
        "model": text(*under(at, "model")),
        "finish_reason": choice_end(choices) | text(*under(at, "stop_reason", "incomplete_details.reason")),
        "service_tier": fast | text(*under(at, "service_tier")) | counts["service_tier"],
        "session_id": text(*under(at, "conversation.id")),
        "cost_usd": number(*under(at, "usage.cost")),
        "latency_ms": milliseconds(
            made(
                lambda end, start: end.cast(pl.Float64, strict=False) - start.cast(pl.Float64, strict=False),
                text(*under(at, "completed_at")),
                text(*under(at, "created_at")),
            )
        ),
        "response_text": choice_text(choices) | text(*under(at, "content", "output")),
    }


def unless_counted(said: Mapping[str, Field], own: Field) -> Field:
    """A gateway's own count, where the response that it logged has no usage: with that goes all of a provider's."""
    counted = made(lambda a, b: a.is_not_null() | b.is_not_null(), said["total_input_tokens"], said["input_tokens"])
    return made(lambda body, value: pl.when(~body).then(value), counted, own)


def stream_if_asked(at: str) -> Field:
    """Whether the request at a path asked for a stream; null where no request is logged."""
    told = made(lambda model, said: model.is_not_null() | said.is_not_null(), text(*under(at, "model")),
                messages(*under(at, "messages", "input")))  # fmt: skip
    return made(
        lambda stream, asked: pl.coalesce(stream, pl.when(asked).then(pl.lit(False))), flag(*under(at, "stream")), told
    )


def failed(at: str, *codes: str) -> Field:
    """`error` where the response object is one, or an HTTP status is not 2xx; else `ok`."""
    (error, kind, state) = under(at, "error", "type", "status")
    bad = made(
        lambda e, t, s: e.is_not_null() | (t == "error").fill_null(False) | s.is_in(_FAILED).fill_null(False),
        nested(error), text(kind), text(state),
    )  # fmt: skip
    if codes:
        bad = made(lambda b, c: b | (c >= 400).fill_null(False), bad, count(*codes))
    return bad.map(lambda value: pl.when(value).then(pl.lit("error")).otherwise(pl.lit("ok")))


def reading(sample: Sequence[Record]) -> Reading:
    """The fields of pairs, wherever the request and the response stand in these records."""
    answer = _key(sample, RESPONSE_KEYS, is_response)
    bare = answer is None
    asked = None if bare else _key(sample, [k for k in REQUEST_KEYS if k != answer], is_request)
    if asked is None and not bare and any(is_request(record) for record in sample):
        asked = ""
    r = answer or ""
    answered = response_fields(r)
    told = request_fields(asked) if asked is not None else {}
    marked = labels("metadata", *(under(asked, "metadata") if asked else ()))
    anthropic = sum(_is_anthropic(record.get(r) if r else record) for record in sample) * 2 > len(sample)
    default = "anthropic" if anthropic else "openai"
    shape = made(
        lambda kind, model, wanted: pl.when(kind == "message")
        .then(pl.lit("anthropic"))
        .when(pl.coalesce(model, wanted).is_null())
        .then(pl.lit(default))
        .when(pl.coalesce(model, wanted).str.contains(_OPENAI))
        .then(pl.lit("openai")),
        text(*under(r, "type")), text(*under(r, "model")), told.get("model_requested", fixed(None)),
    )  # fmt: skip
    fields = {
        **told,
        **answered,
        **{target: field for target, field in marked.items() if target not in ("user_id", "session_id")},
        "model": answered["model"],
        "provider": shape,
        "status": failed(r, "status_code"),
        "session_id": marked["session_id"] | answered["session_id"],
        "user_id": (told["user_id"] | marked["user_id"]) if told else marked["user_id"],
        "feature": marked["feature"] | first_tag("tags"),
        "project": marked["project"] | text("project"),
        "task": marked["task"] | text("task", "task_type"),
    }
    if bare:
        fields |= {
            "user_id": text("input_user") | marked["user_id"],
            "tools": nested("tools"),
            "response_format": nested("response_format"),
        }
    else:
        fields |= {
            "request_id": text("request_id", "id") | answered["request_id"],
            "ts": text("timestamp", "time", "ts", "created_at", "start_time") | answered["ts"],
            "provider": text("provider") | shape,
            "session_id": text("session_id", "conversation_id") | fields["session_id"] | text("trace_id"),
            "user_id": text("user_id") | fields["user_id"] | _user(asked),
            "feature": text("feature") | fields["feature"],
            "latency_ms": number("latency_ms", "duration_ms") | _unnamed_unit(sample) | answered["latency_ms"],
            "ttft_ms": number("ttft_ms", "time_to_first_token_ms") | milliseconds(number("time_to_first_token")),
            "cost_usd": number("cost_usd", "cost") | answered["cost_usd"],
            "feedback": verbatim("feedback") | verbatim("score") | verbatim("rating"),
            "attempt": count("attempt"),
        }
    calls = text(*under(r, "status")).map(lambda state: ~state.is_in(["queued", "in_progress"]).fill_null(False))
    streamed = any(isinstance(opened(record.get(r)), list) for record in sample) if r else False
    return Reading(fields, calls, _merged(r) if streamed else None)


def _user(asked: str | None) -> Field:
    return fixed(None) if asked == "" else text("user")


def _key(sample: Sequence[Record], keys: Sequence[str], test: Any) -> str | None:
    found = [next((key for key in keys if test(record.get(key))), None) for record in sample]
    named = [key for key in found if key is not None]
    return max(named, key=named.count) if named else None


def _is_anthropic(value: Any) -> bool:
    value = opened(value)
    return isinstance(value, Mapping) and (value.get("type") in ("message", "error"))


def _unnamed_unit(sample: Sequence[Record]) -> Field:
    """A duration whose name has no unit: seconds where all of the sample would be short ones."""
    names = ("latency", "duration", "elapsed")
    seen = [value for record in sample for n in names if isinstance(value := record.get(n), int | float)]
    plain = number(*names)
    return milliseconds(plain) if seen and max(seen) < _SECONDS_BELOW else plain


def _merged(at: str) -> Any:
    """Streams logged as lists of events, merged into the response that they make."""

    def unpack(records: Iterable[Numbered]) -> Iterator[Numbered]:
        for n, record in records:
            events = opened(record.get(at))
            yield (n, {**record, at: _one(events)}) if isinstance(events, list) else (n, record)

    return unpack


def _one(events: Sequence[Any]) -> dict[str, Any]:
    """One response of the events of a stream."""
    chunks = [event for event in events if isinstance(event, Mapping)]
    return _message(chunks) if any(chunk.get("type") == "message_start" for chunk in chunks) else _completion(chunks)


def _message(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of Anthropic's events: the counts of later ones stand for those of earlier ones, never beside them."""
    whole: dict[str, Any] = {"type": "message"}
    counts: dict[str, Any] = {}
    texts: list[str] = []
    for event in events:
        begun, delta = mapping(event.get("message")), mapping(event.get("delta"))
        whole |= {k: v for k, v in begun.items() if k in ("id", "model", "stop_reason") and v}
        whole |= {k: v for k, v in delta.items() if k == "stop_reason" and v}
        for usage_of in (mapping(begun.get("usage")), mapping(event.get("usage"))):
            counts |= {k: v for k, v in usage_of.items() if v is not None}
        if isinstance(delta.get("text"), str):
            texts.append(delta["text"])
    return {**whole, "usage": counts or None, "content": [{"type": "text", "text": "".join(texts)}] if texts else None}


def _completion(chunks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of the chunks of a chat completion: usage is in the last chunk that has it."""
    whole: dict[str, Any] = {"object": "chat.completion"}
    texts, finish = [], None
    for chunk in chunks:
        whole |= {
            k: v for k, v in chunk.items() if k in ("id", "created", "model", "usage", "service_tier", "error") and v
        }
        for choice in mappings(chunk.get("choices"))[:1]:
            said = mapping(choice.get("delta")).get("content")
            texts.append(said if isinstance(said, str) else "")
            finish = choice.get("finish_reason") or finish
    return {**whole, "choices": [{"finish_reason": finish, "message": {"content": "".join(texts) or None}}]}


DIALECT = Dialect(
    name="pairs",
    title="OpenAI and Anthropic requests with their responses",
    signature="a response object (`object: chat.completion` or `response`, or `type: message` with `usage`), alone or "
    "beside its request",
    matches=_matches,
    reading=reading,
    carries="tokens, cached tokens, prompts; times, users and latency as far as the wrapper has them",
)
