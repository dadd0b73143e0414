"""The messages of a request: what the user said last, what the system prompt is, whether there are images."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from routecost.logs.fields import MESSAGES, opened

# What LiteLLM writes where prompts are not to be logged.
REDACTED: Final = "redacted-by-litellm"
_USERS: Final = ("user", "human")
_SYSTEMS: Final = ("system", "developer")
# a message is a part of what the Responses API answers
_TEXT_PARTS: Final = ("text", "input_text", "output_text", "message")
_IMAGE_KEYS: Final = ("image", "image_url", "inlineData", "inline_data", "fileData")
_LIST: Final = r"^\s*\["


def speech(messages: pl.Series, *, said: bool = True) -> pl.DataFrame:
    """Messages (fields.MESSAGES) -> prompt, system, previous_prompt, n_messages, vision and (if asked for) said, the
    text of all; a row each.

    The prompt is the last user turn that has text (one of tool results alone has none), and previous_prompt the one
    with text before it. System and developer texts are joined by an empty line.
    """
    height = messages.len()
    rows = pl.int_range(height, eager=True, dtype=pl.UInt32)
    lengths = messages.list.len()
    inside = messages.explode(empty_as_null=False, keep_nulls=False)
    row = rows.repeat_by(lengths.fill_null(0)).explode(empty_as_null=False)
    # a turn of Gemini may come without a role, and is the user's
    role = inside.struct.field("role").str.to_lowercase().fill_null("user")
    content, parts = inside.struct.field("content"), inside.struct.field("parts")
    text, image = _contents(
        content if parts.null_count() == parts.len() else content.zip_with(content.is_not_null(), parts)
    )
    text = text.set((text == REDACTED).fill_null(False), None)
    spoken = text.is_not_null()
    found = {
        **_users(row, text, (role.is_in(_USERS) & spoken).arg_true(), height),
        "system": _joined(row, text, (role.is_in(_SYSTEMS) & spoken & (text != "")).arg_true(), height, "\n\n"),
        "n_messages": lengths.cast(pl.Int64),
        "vision": pl.Series([False]).new_from_index(0, height).scatter(row.filter(image).unique(), True),
    }
    if said:
        found["said"] = _joined(row, text, spoken.arg_true(), height, "\n")
    return pl.DataFrame(found)


def images(messages: pl.Series) -> pl.Series:
    """Whether the messages of each row have an image: all that is needed of them where no text is."""
    height = messages.len()
    seen = pl.Series([False]).new_from_index(0, height)
    inside = messages.explode(empty_as_null=False, keep_nulls=False)
    texts = [inside.struct.field(name) for name in ("content", "parts")]
    nested = [text.str.contains(_LIST).fill_null(False) for text in texts]
    if not any(found.any() for found in nested):
        return seen
    rows = pl.int_range(height, eager=True, dtype=pl.UInt32)
    row = rows.repeat_by(messages.list.len().fill_null(0)).explode(empty_as_null=False)
    for text, found in zip(texts, nested, strict=True):
        at = found.arg_true()
        image = pl.Series([_of_json(value)[1] for value in text.gather(at)], dtype=pl.Boolean)
        seen = seen.scatter(row.gather(at).filter(image).unique(), True)
    return seen


def _users(row: pl.Series, text: pl.Series, at: pl.Series, height: int) -> dict[str, pl.Series]:
    """The last of the user's texts in each row, and the one before."""
    mine, following = row.gather(at), row.gather(at).shift(-1)
    last = at.filter(mine.ne_missing(following))
    before = at.filter((mine == following).fill_null(False) & (mine != mine.shift(-2)).fill_null(True))
    return {
        "prompt": _placed(row.gather(last), text.gather(last), height),
        "previous_prompt": _placed(row.gather(before), text.gather(before), height),
    }


def _joined(row: pl.Series, text: pl.Series, at: pl.Series, height: int, between: str) -> pl.Series:
    """The texts of each row in their order, joined."""
    mine, texts = row.gather(at), text.gather(at)
    if mine.len() and (mine == mine.shift(1)).any():
        whole = pl.DataFrame({"row": mine, "text": texts}).group_by("row").agg(pl.col("text").str.join(between))
        mine, texts = whole["row"], whole["text"]
    return _placed(mine, texts, height)


def _placed(rows: pl.Series, texts: pl.Series, height: int) -> pl.Series:
    return pl.Series([None], dtype=pl.String).new_from_index(0, height).scatter(rows, texts)


def words(content: pl.Series) -> pl.Series:
    """The text of contents that may be JSON of parts; null where there is none."""
    return _contents(content)[0]


def _contents(content: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The text of each content, and whether it has an image."""
    nested = content.str.contains(_LIST).fill_null(False)
    vision = pl.Series([False]).new_from_index(0, content.len())
    if not nested.any():
        return content, vision
    places = nested.arg_true()
    found = [_of_json(value) for value in content.gather(places)]
    text = content.scatter(places, pl.Series([t for t, _ in found], dtype=pl.String))
    return text, vision.scatter(places, pl.Series([v for _, v in found], dtype=pl.Boolean))


def _of_json(text: str) -> tuple[str | None, bool]:
    try:
        value = _loaded(text)
    except (ValueError, RecursionError):
        return text, False
    if not isinstance(value, list) or not _are_parts(value):
        return text, False
    return content_text(value), any(is_image(part) for part in value)


_PART_TYPES: Final = frozenset(
    [
        "text",
        "input_text",
        "output_text",
        "refusal",
        "image",
        "image_url",
        "input_image",
        "input_audio",
        "audio",
        "file",
        "input_file",
        "document",
        "video",
        "tool_use",
        "tool_result",
        "tool_call",
        "tool_call_response",
        "server_tool_use",
        "web_search_tool_result",
        "function_call",
        "function_call_output",
        "message",
        "thinking",
        "redacted_thinking",
        "reasoning",
        "reasoning_text",
        "search_result",
        "blob",
        "uri",
    ]
)
_UNTYPED_PARTS: Final = frozenset(
    [
        "text",
        "image",
        "document",
        "video",
        "toolUse",
        "toolResult",
        "cachePoint",
        "guardContent",
        "reasoningContent",
        "inlineData",
        "inline_data",
        "fileData",
        "functionCall",
        "functionResponse",
        "executableCode",
        "codeExecutionResult",
        "thought",
    ]
)


def _are_parts(items: Sequence[Any]) -> bool:
    """Whether a list is the parts of a content, and not JSON that somebody wrote."""
    if not items or not all(isinstance(item, Mapping) for item in items):
        return False
    if all(isinstance(item.get("type"), str) for item in items):
        return any(item["type"] in _PART_TYPES for item in items)
    return all("type" not in item and _UNTYPED_PARTS & item.keys() for item in items)


def _loaded(text: str) -> Any:
    """The value of a text of JSON. Raises ValueError and RecursionError."""
    # Polars leaves control characters as they are in the JSON text that it makes of nested values
    value = json.loads(text, strict=False)
    # half of a surrogate pair, as a cut in the middle of an emoji leaves it, cannot be written as UTF-8
    return _sound(value) if r"\ud" in text.lower() else value


def _sound(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, list):
        return [_sound(item) for item in value]
    return {_sound(key): _sound(item) for key, item in value.items()} if isinstance(value, dict) else value


def dumped(value: Any) -> str | None:
    """A value as JSON text; None where it is nested too deeply."""
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return None


def content_text(value: Any) -> str | None:
    """The text of a content: itself, or its text parts, a line each; None where there is none, or it is nested without
    end."""
    try:
        return _content_text(value)
    except RecursionError:
        return None


def _content_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, Sequence):
        return None
    found: list[str] = []
    for part in value:
        if isinstance(part, str):
            found.append(part)
        elif isinstance(part, Mapping) and part.get("type", "text") in _TEXT_PARTS:
            inner = next((part[key] for key in ("text", "content", "parts") if part.get(key) is not None), None)
            inner = _content_text(inner)
            if inner is not None:
                found.append(inner)
    return "\n".join(found) if found else None


def is_image(part: Any) -> bool:
    """Whether a part of a content is an image."""
    if not isinstance(part, Mapping):
        return False
    kind = part.get("type")
    return (isinstance(kind, str) and "image" in kind) or any(key in part for key in _IMAGE_KEYS)


def normalised(value: Any) -> list[dict[str, str | None]] | None:
    """Messages in any of the shapes that logs hold, as fields.MESSAGES: a list of them (also in a list, as batches
    are), an object with them, LangChain's serialised ones, texts alone, a single text (the user's)."""
    try:
        return _normalised(value)
    except RecursionError:
        return None


def _normalised(value: Any) -> list[dict[str, str | None]] | None:
    value = opened(value)
    if isinstance(value, str):
        if value[:1] in ("[", "{"):
            with contextlib.suppress(ValueError, RecursionError):
                return _normalised(_loaded(value))
        return [_message("user", value)] if value and value != REDACTED else None
    if isinstance(value, Mapping):
        if "role" in value or ("kwargs" in value and "id" in value):
            return _normalised([value])
        for key in ("messages", "contents", "input", "prompt"):
            if value.get(key) is not None:
                return _normalised(value[key])
        return None
    if not isinstance(value, list):
        return None
    while len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    return [found for item in value if (found := _normal(item)) is not None]


def system_of(request: Any) -> str | None:
    """The system prompt that stands beside the messages of a request object."""
    request = opened(request)
    if not isinstance(request, Mapping):
        return None
    for key in ("system", "instructions", "systemInstruction"):
        if request.get(key):
            value = request[key]
            return content_text(value.get("parts", value) if isinstance(value, Mapping) else value)
    return None


def _normal(item: Any) -> dict[str, str | None] | None:
    if isinstance(item, str):
        return _message("user", item)
    if not isinstance(item, Mapping):
        # it is a message, whatever it says
        return _message(None, None)
    if "kwargs" in item and isinstance(item["kwargs"], Mapping):
        # LangChain: {"lc": 1, "id": [..., "HumanMessage"], "kwargs": {"content": ...}}
        name = str(item["id"][-1]) if isinstance(item.get("id"), list) and item["id"] else ""
        return _message(_LANGCHAIN.get(name, "assistant"), item["kwargs"].get("content"))
    role = item.get("role")
    if role is None:
        role = _LANGCHAIN.get(str(item.get("type")))
    content = item.get("content")
    return _message(None if role is None else str(role), item.get("parts") if content is None else content)


_LANGCHAIN: Final = {"HumanMessage": "user", "human": "user", "SystemMessage": "system", "system": "system",
                     "ToolMessage": "tool", "tool": "tool", "AIMessage": "assistant", "ai": "assistant"}  # fmt: skip


def _message(role: str | None, content: Any) -> dict[str, str | None]:
    if content is None or isinstance(content, str):
        return {"role": role, "content": content, "parts": None}
    return {"role": role, "content": dumped(content), "parts": None}


def column(values: Sequence[Any]) -> pl.Series:
    """Logged messages of any shape as a column of fields.MESSAGES."""
    return pl.Series("", [normalised(value) for value in values], MESSAGES)
