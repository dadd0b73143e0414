"""OpenAI's stored completions, as `GET /v1/chat/completions` lists them: pages of responses without their requests.

Source: openai-openapi, ListChatCompletions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from routecost.logs.dialects import pairs
from routecost.logs.dialects.shapes import mappings
from routecost.logs.fields import Dialect, Numbered, Reading, Record, fixed


def _matches(record: Record) -> bool:
    data = record.get("data")
    return record.get("object") == "list" and isinstance(data, list) and (not data or pairs.is_response(data[0]))


def _unpack(records: Iterable[Numbered]) -> Iterator[Numbered]:
    for n, page in records:
        for item in mappings(page.get("data")):
            yield n, item


def _reading(sample: Sequence[Record]) -> Reading:
    inside = pairs.reading([item for _, item in _unpack(enumerate(sample))])
    # whether the answer was streamed is not kept
    return replace(inside, fields={**inside.fields, "stream": fixed(None)}, unpack=_unpack)


DIALECT = Dialect(
    name="openai-stored",
    title="OpenAI stored completions (API pages)",
    signature="`object: list` with completions in `data`",
    matches=_matches,
    reading=_reading,
    carries="tokens, cached tokens, users and features from metadata; no prompts",
    reads=("object", "data", "first_id", "last_id", "has_more"),
)
