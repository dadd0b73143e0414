"""Make the Parquet files in sample_logs/dialects/: `python examples/make_dialect_parquet.py [FOLDER]`.

Everything is invented and stands below as it is written; the columns and their types are those of the tools whose
exports these files imitate.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any

import polars as pl

TARGET = Path(__file__).parent.parent / "sample_logs" / "dialects"

Row = dict[str, Any]
UTC_US = pl.Datetime("us", "UTC")


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


# A spans frame of Phoenix. Counts are floats there, because rows without a count are NaN or null in pandas.
_CONTENT = pl.Struct(
    {"message_content.type": pl.String, "message_content.text": pl.String, "message_content.image.image.url": pl.String}
)
_CALL = pl.Struct({"tool_call.function.name": pl.String, "tool_call.function.arguments": pl.String})
_MESSAGE = pl.Struct(
    {
        "message.role": pl.String,
        "message.content": pl.String,
        "message.contents": pl.List(_CONTENT),
        "message.tool_calls": pl.List(_CALL),
    }
)
PHOENIX: dict[str, Any] = {
    "context.span_id": pl.String,
    "context.trace_id": pl.String,
    "parent_id": pl.String,
    "name": pl.String,
    "span_kind": pl.String,
    "start_time": UTC_US,
    "end_time": UTC_US,
    "status_code": pl.String,
    "status_message": pl.String,
    "attributes.input.value": pl.String,
    "attributes.output.value": pl.String,
    "attributes.llm.provider": pl.String,
    "attributes.llm.model_name": pl.String,
    "attributes.llm.request.model_name": pl.String,
    "attributes.llm.invocation_parameters": pl.String,
    "attributes.llm.input_messages": pl.List(_MESSAGE),
    "attributes.llm.output_messages": pl.List(_MESSAGE),
    "attributes.llm.tools": pl.List(pl.Struct({"tool.json_schema": pl.String})),
    "attributes.llm.token_count.prompt": pl.Float64,
    "attributes.llm.token_count.completion": pl.Float64,
    "attributes.llm.token_count.total": pl.Float64,
    "attributes.llm.token_count.prompt_details.cache_read": pl.Float64,
    "attributes.llm.token_count.prompt_details.cache_write": pl.Float64,
    "attributes.llm.token_count.completion_details.reasoning": pl.Float64,
    "attributes.llm.cost.total": pl.Float64,
    "attributes.session.id": pl.String,
    "attributes.user.id": pl.String,
    "attributes.metadata": pl.String,
}


def said(role: str, content: str | None, *, parts: list[Row] | None = None, calls: list[Row] | None = None) -> Row:
    return {"message.role": role, "message.content": content, "message.contents": parts, "message.tool_calls": calls}


def span(number: int, kind: str, start: str, end: str, **attributes: object) -> Row:
    row: Row = {
        "context.span_id": f"5ea000000000000{number}",
        "context.trace_id": "cc" * 16,
        "span_kind": kind,
        "start_time": at(start),
        "end_time": at(end),
        "status_code": "OK",
        "status_message": "",
    }
    names = {name.replace(".", "_"): name for name in PHOENIX}
    for short, value in attributes.items():
        row[names[short] if short in names else names[f"attributes_{short}"]] = value
    return row


_CALLED = {"tool_call.function.name": "read_depth", "tool_call.function.arguments": '{"place": "cove"}'}
_PICTURE = [
    {"message_content.type": "text", "message_content.text": "Name this fish."},
    {"message_content.type": "image", "message_content.image.image.url": "https://cove.example/fish.png"},
]
SPANS = [
    # the parent repeats the counts of its first child
    span(
        0, "CHAIN", "2026-03-27T06:00:00.000", "2026-03-27T06:00:07.000",
        name="guide", input_value="How deep is the cove?", output_value="Twelve metres.",
        llm_token_count_prompt=812, llm_token_count_completion=96, llm_token_count_total=908,
        session_id="cove-1", user_id="diver-1",
    ),
    span(
        1, "LLM", "2026-03-27T06:00:00.250", "2026-03-27T06:00:01.750",
        name="ChatCompletion", parent_id="5ea0000000000000",
        llm_provider="openai", llm_model_name="gpt-4o-mini-2024-07-18", llm_request_model_name="gpt-4o-mini",
        llm_invocation_parameters=json.dumps({"model": "gpt-4o-mini", "stream": True}),
        llm_input_messages=[said("system", "You guide divers."), said("user", "How deep is the cove?")],
        llm_output_messages=[said("assistant", "Twelve metres.")],
        llm_token_count_prompt=812, llm_token_count_completion=96, llm_token_count_total=908,
        llm_token_count_prompt_details_cache_read=512, llm_token_count_completion_details_reasoning=0,
        llm_cost_total=0.000141,
        session_id="cove-1", user_id="diver-1", metadata=json.dumps({"feature": "depths"}),
    ),
    span(
        2, "TOOL", "2026-03-27T06:00:01.800", "2026-03-27T06:00:01.900",
        name="read_depth", parent_id="5ea0000000000000", input_value='{"place": "cove"}', output_value="12",
    ),
    span(
        3, "LLM", "2026-03-27T06:00:02.000", "2026-03-27T06:00:06.750",
        name="messages.create", parent_id="5ea0000000000000",
        llm_provider="anthropic", llm_model_name="claude-sonnet-4-5-20250929",
        llm_invocation_parameters=json.dumps({"max_tokens": 500}),
        llm_input_messages=[
            said("user", "How deep is the cove?"),
            said("assistant", None, calls=[_CALLED]),
            said("tool", "12"),
            said("assistant", "Twelve metres."),
            said("user", "And is the wreck safe?"),
        ],
        llm_output_messages=[said("assistant", "Not in a swell.")],
        llm_tools=[{"tool.json_schema": json.dumps({"name": "read_depth", "input_schema": {"type": "object"}})}],
        llm_token_count_prompt=5500, llm_token_count_completion=210, llm_token_count_total=5710,
        llm_token_count_prompt_details_cache_read=4096, llm_token_count_prompt_details_cache_write=1024,
        session_id="cove-1", user_id="diver-1",
    ),
    span(
        4, "LLM", "2026-03-27T06:01:00.000", "2026-03-27T06:01:00.060",
        name="ChatCompletion", status_code="ERROR", status_message="RateLimitError: 429",
        llm_provider="openai", llm_model_name="gpt-4o-mini",
        llm_input_messages=[said("user", "Any sharks?")],
    ),
    span(
        5, "LLM", "2026-03-27T06:02:00.000", "2026-03-27T06:02:08.000",
        name="ChatCompletion", status_code="UNSET",
        llm_provider="openai", llm_model_name="o4-mini-2025-04-16",
        llm_input_messages=[said("user", None, parts=_PICTURE)],
        llm_output_messages=[said("assistant", "A wrasse.")],
        llm_token_count_prompt=1250, llm_token_count_completion=640, llm_token_count_total=1890,
        llm_token_count_prompt_details_cache_read=0, llm_token_count_completion_details_reasoning=512,
        session_id="cove-2",
    ),
]  # fmt: skip


# WildChat: a row is a conversation; only turns of the assistant carry a time.
WILDCHAT: dict[str, Any] = {
    "conversation_hash": pl.String,
    "model": pl.String,
    "timestamp": UTC_US,
    "conversation": pl.List(
        pl.Struct(
            {
                "content": pl.String,
                "country": pl.String,
                "hashed_ip": pl.String,
                "header": pl.Struct({"accept-language": pl.String, "user-agent": pl.String}),
                "language": pl.String,
                "redacted": pl.Boolean,
                "role": pl.String,
                "state": pl.String,
                "timestamp": UTC_US,
                "toxic": pl.Boolean,
                "turn_identifier": pl.Int64,
            }
        )
    ),
    "turn": pl.Int64,
    "language": pl.String,
    "openai_moderation": pl.List(pl.Struct({"flagged": pl.Boolean})),
    "detoxify_moderation": pl.List(pl.Struct({"toxicity": pl.Float64})),
    "toxic": pl.Boolean,
    "redacted": pl.Boolean,
}


def turn(role: str, content: str, time: str | None = None, *, redacted: bool = False) -> Row:
    asked: Row = {"country": "Iceland", "hashed_ip": "5eed", "header": {"accept-language": "en", "user-agent": "tea/1"}}
    row = {"role": role, "content": content, "language": "English", "redacted": redacted, "toxic": False}
    row |= {"timestamp": at(time) if time else None, "turn_identifier": 100001}
    return row | (asked if role == "user" else {})


def conversation(id_: str, model: str, time: str, turns: list[Row]) -> Row:
    checks: Row = {
        "openai_moderation": [{"flagged": False} for _ in turns],
        "detoxify_moderation": [{"toxicity": 0.01} for _ in turns],
    }
    return checks | {
        "conversation_hash": id_,
        "model": model,
        "timestamp": at(time),
        "conversation": turns,
        "turn": sum(turn["role"] == "user" for turn in turns),
        "language": "English",
        "toxic": False,
        "redacted": any(turn["redacted"] for turn in turns),
    }


CONVERSATIONS = [
    conversation(
        "c0ffee01",
        "gpt-4o-mini-2024-07-18",
        "2026-03-28T12:01:05",
        [
            turn("user", "Name a tea that is good at night."),
            turn("assistant", "Camomile.", "2026-03-28T12:00:20"),
            turn("user", "And one for the morning?"),
            turn("assistant", "Assam, with milk.", "2026-03-28T12:01:05"),
        ],
    ),
    conversation(
        "c0ffee02",
        "gpt-4.1-mini-2025-04-14",
        "2026-03-28T13:30:00.250",
        [
            turn("user", "Übersetze: the kettle is on."),
            turn("assistant", "Das Wasser wird heiß. 🫖", "2026-03-28T13:30:00.250"),
            turn("user", "Danke"),  # never answered: not a call
        ],
    ),
    conversation(
        "c0ffee03",
        "gpt-4o-mini-2024-07-18",
        "2026-03-28T14:00:00",
        [
            turn("user", "Write to NAME_1 that the cups are here.", redacted=True),
            turn("assistant", "", "2026-03-28T14:00:00"),
        ],
    ),
]


LMSYS: dict[str, Any] = {
    "conversation_id": pl.String,
    "model": pl.String,
    "conversation": pl.List(pl.Struct({"content": pl.String, "role": pl.String})),
    "turn": pl.Int64,
    "language": pl.String,
    "openai_moderation": pl.List(pl.Struct({"flagged": pl.Boolean})),
    "redacted": pl.Boolean,
}


def chat(id_: str, model: str, *contents: str, redacted: bool = False) -> Row:
    turns = [{"role": ("user", "assistant")[n % 2], "content": content} for n, content in enumerate(contents)]
    row: Row = {"conversation_id": id_, "model": model, "conversation": turns, "turn": len(turns) // 2}
    return row | {"language": "English", "openai_moderation": [{"flagged": False} for _ in turns], "redacted": redacted}


CHATS = [
    chat("a11ce001", "vicuna-13b", "What is a haiku?", "A poem of three lines."),
    chat(
        "a11ce002",
        "gpt-4",
        "Sort these by age: oak, fern, moss.",
        "Moss, fern, oak.",
        "Now by height.",
        "Oak, fern, moss.",
    ),
    chat("a11ce003", "claude-2", "Say hello to NAME_1.", "Hello, NAME_1!", redacted=True),
]


def main(target: Path = TARGET) -> None:
    for name, rows, schema in (
        ("phoenix", SPANS, PHOENIX),
        ("wildchat", CONVERSATIONS, WILDCHAT),
        ("lmsys", CHATS, LMSYS),
    ):
        whole = [{column: row.get(column) for column in schema} for row in rows]
        pl.DataFrame(whole, schema=schema).write_parquet(target / f"{name}.parquet")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
