"""A message as an application has it, read as a log of it would be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from routecost.logs.messages import REDACTED, column, content_text, speech

__all__ = ["NOTHING", "Said", "read", "sound"]


@dataclass(frozen=True)
class Said:
    """What messages say: the last text of the user, the one before it, the system prompts, how many they are."""

    prompt: str | None = None
    previous_prompt: str | None = None
    system: str | None = None
    n_messages: int | None = None


NOTHING: Final = Said()

_USERS: Final = ("user", "human")
_SYSTEMS: Final = ("system", "developer")
_TEXTS: Final = ("text", "input_text")
_OTHERS: Final = ("image_url", "input_image", "image", "input_audio", "file", "input_file", "tool_use", "document")


def read(message: str | Sequence[Any] | None, system: Any = None) -> Said:
    """A prompt, or messages as OpenAI's and Anthropic's interfaces take them. Raises TypeError for anything else.

    A system prompt beside messages comes before those among them, as `logs.messages.speech` and its callers have it.
    """
    head = sound(system if system is None or isinstance(system, str) else content_text(system))
    if message is None or isinstance(message, str):
        return Said(prompt=sound(message), system=head)
    if isinstance(message, Mapping) or not isinstance(message, Sequence) or isinstance(message, bytes | bytearray):
        raise TypeError(f"a message is a text or a list of messages, not {type(message).__name__}")
    said = _plain(message) if all(_is_plain(item) for item in message) else _any(message)
    inside = said.system
    both = "\n\n".join(text for text in (head, inside) if text)
    return Said(sound(said.prompt), sound(said.previous_prompt), sound(both) or None, said.n_messages)


def sound(text: str | None) -> str | None:
    """Text that can be written as UTF-8: half of a surrogate pair, as a cut inside an emoji leaves it, is a `?`."""
    if text is None or text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text


def _is_plain(item: Any) -> bool:
    """Whether a message is one of the usual shapes, which need no second look."""
    if not isinstance(item, Mapping) or not isinstance(item.get("role"), str) or "kwargs" in item:
        return False
    content = item.get("content")
    if isinstance(content, str):
        # a text in brackets may be parts in JSON
        return not content.lstrip().startswith("[")
    if content is None:
        return "parts" not in item
    return isinstance(content, list) and bool(content) and all(_is_plain_part(part) for part in content)


def _is_plain_part(part: Any) -> bool:
    if not isinstance(part, Mapping):
        return False
    kind = part.get("type")
    return (kind in _TEXTS and isinstance(part.get("text"), str)) or kind in _OTHERS


def _plain(messages: Sequence[Any]) -> Said:
    prompts: list[str] = []
    systems: list[str] = []
    for item in messages:
        role, content = item["role"].lower(), item.get("content")
        if role not in _USERS and role not in _SYSTEMS:
            continue
        text = content if isinstance(content, str) else content_text(content)
        if text is None or text == REDACTED:
            continue
        (prompts if role in _USERS else systems).append(text)
    return Said(
        prompts[-1] if prompts else None,
        prompts[-2] if len(prompts) > 1 else None,
        "\n\n".join(text for text in systems if text) or None,
        len(messages),
    )


def _any(messages: Sequence[Any]) -> Said:
    """Messages of any shape that logs hold."""
    found = speech(column([_deeply_sound(list(messages))]), said=False).row(0, named=True)
    return Said(found["prompt"], found["previous_prompt"], found["system"], found["n_messages"])


def _deeply_sound(value: Any) -> Any:
    if isinstance(value, str):
        return sound(value)
    if isinstance(value, Mapping):
        return {_deeply_sound(key): _deeply_sound(inner) for key, inner in value.items()}
    return [_deeply_sound(inner) for inner in value] if isinstance(value, list | tuple) else value
