"""Anthropic's Message Batches: the results, and the requests that they answer.

Source: anthropic-sdk-python types/messages/message_batch_individual_response.py and message_batch_*_result.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from routecost.logs.dialects.pairs import request_fields, response_fields
from routecost.logs.fields import Dialect, Reading, Record, fixed, status, text

_TYPES = ("succeeded", "errored", "canceled", "expired")


def _matches(record: Record) -> bool:
    result = record.get("result")
    return "custom_id" in record and isinstance(result, Mapping) and result.get("type") in _TYPES


def _reading(_: Sequence[Record]) -> Reading:
    said = response_fields("result.message")
    return Reading(
        {
            **said,
            "custom_id": text("custom_id"),
            "request_id": said["request_id"] | text("custom_id"),
            "provider": fixed("anthropic"),
            "status": status(text("result.type").map(lambda kind: kind == "succeeded")),
            "stream": fixed(False),
            "batch": fixed(True),
            "ts": fixed(None),
        }
    )


def _requests(_: Sequence[Record]) -> Reading:
    return Reading({**request_fields("params"), "custom_id": text("custom_id")})


DIALECT = Dialect(
    name="anthropic-batch",
    title="Anthropic Message Batches results",
    signature="`custom_id` beside `result.type` (succeeded, errored, canceled, expired)",
    matches=_matches,
    reading=_reading,
    carries="tokens, cache reads and writes, the batch price; prompts from the requests in the same folder; no times",
)
REQUESTS = Dialect(
    name="anthropic-batch-requests",
    title="Anthropic Message Batches requests",
    signature="`custom_id` beside `params`",
    matches=lambda record: "custom_id" in record and "params" in record,
    reading=_requests,
    carries="requests without answers, joined with the results by custom_id",
    companion="anthropic-batch",
)
