"""OpenAI's Batch API: the output and error files, and the input file that holds their requests.

Source: openai-openapi BatchRequestInput and BatchRequestOutput; https://platform.openai.com/docs/guides/batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from routecost.logs.dialects.pairs import failed, request_fields, response_fields
from routecost.logs.fields import Dialect, Reading, Record, fixed, made, text


def _reading(_: Sequence[Record]) -> Reading:
    said = response_fields("response.body")
    return Reading(
        {
            **said,
            "custom_id": text("custom_id"),
            "request_id": text("id"),
            "provider": fixed("openai"),
            "status": made(
                lambda inside, beside: pl.when(beside.is_not_null()).then(pl.lit("error")).otherwise(inside),
                failed("response.body", "response.status_code"),
                text("error"),
            ),
            "stream": fixed(False),
            "batch": fixed(True),
            # a time of creation within a batch says nothing of how long a request took
            "latency_ms": fixed(None),
        }
    )


def _requests(_: Sequence[Record]) -> Reading:
    return Reading({**request_fields("body"), "custom_id": text("custom_id")})


DIALECT = Dialect(
    name="openai-batch",
    title="OpenAI Batch API output and error files",
    signature="`custom_id` beside `response` and `error`",
    matches=lambda record: "custom_id" in record and "response" in record and "error" in record,
    reading=_reading,
    carries="tokens, cached tokens, the batch price; prompts from the input file in the same folder",
)
REQUESTS = Dialect(
    name="openai-batch-input",
    title="OpenAI Batch API input file",
    signature="`custom_id` beside `method`, `url` and `body`",
    matches=lambda record: all(key in record for key in ("custom_id", "method", "url", "body")),
    reading=_requests,
    carries="requests without answers, joined with the output by custom_id",
    companion="openai-batch",
)
