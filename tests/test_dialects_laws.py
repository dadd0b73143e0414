"""What holds for every dialect of logs, whatever stands in the records: one result on every path, tokens that add up,
every line accounted for, and no record that stops the reading."""

from __future__ import annotations

import copy
import csv
import functools
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from routecost import logs
from routecost.errors import InputError
from routecost.logs import dialects, finish
from routecost.pipeline.intake import Intake, Options, read
from routecost.prices import read_prices
from routecost.schema import INPUT_KINDS, REQUEST, TOKEN_KINDS

SAMPLES = Path(__file__).parent.parent / "sample_logs" / "dialects"
# All that a command may ask for.
COLUMNS = [c for c in REQUEST if c not in ("file", "line", "request_hash")]

Line = Mapping[str, Any] | str
Typed = Literal["all", "but messages", "nothing"]


def examples(number: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    phases = [phase for phase in Phase if phase is not Phase.explain]
    return settings(max_examples=number, deadline=None, derandomize=True, suppress_health_check=checks, phases=phases)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


def written(folder: Path, lines: Sequence[Line], name: str = "log.jsonl") -> logs.Source:
    path = folder / name
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    [source] = logs.find_sources([str(path)])
    return source


def parsed(source: logs.Source, layout: logs.Layout) -> logs.Parsed:
    [chunk] = logs.chunks(source, layout)
    return chunk.parse(COLUMNS)


def shown(of: logs.Parsed) -> tuple[Any, ...]:
    """All that a chunk says, to be compared."""
    return of.requests.to_dicts(), of.rejects, of.lines, of.skipped, of.repeated, dict(of.corrected)


# --- the fast path equals the slow one, and lines do not depend on each other -----------------------------------------

counts = st.one_of(st.integers(0, 40), st.integers(0, 200_000))
maybe_count = st.one_of(st.none(), counts)
# What looks like the JSON of parts or messages, but somebody wrote; and what may go wrong on the way.
TRICKY = (
    *("", " ", "[", "[1]", "{", '{"a": 1}', '["a", "b"]', '[{"role": "user", "content": "x"}]', '{"text": "x"}'),
    *('[{"type": "text", "text": "q"}]', '[{"type": "input_text"}]', "[]", "null", "a\tb\nc\r", "\x00\x1b\x7f"),
    *("😀 é \u202e", 'say "hi" \\ \\n', r"C:\new\table", r"\ud800", r'["\ud800"]', '{"messages": ["x"]}', "user"),
    *("1e5", "redacted-by-litellm"),
)
text = st.one_of(st.text(max_size=12), st.sampled_from(TRICKY))
# Texts that are not JSON, so that they are nothing but themselves.
plain_text = st.text(min_size=1, max_size=12).filter(lambda t: t.strip()[:1] not in ("[", "{", ""))
part = st.one_of(
    st.builds(lambda t: {"type": "text", "text": t}, text),
    st.builds(lambda t: {"type": "input_text", "text": t}, text),
    st.just({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}),
    st.just({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}),
    st.builds(lambda t: {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": t}]}, text),
    st.just({"type": "thinking", "thinking": "...", "signature": "c2ln"}),
)
content = st.one_of(text, st.none(), st.lists(part, max_size=3))
message = st.builds(
    lambda role, said, called: {"role": role, "content": said, **called},
    st.sampled_from(["user", "assistant", "system", "developer", "tool"]),
    content,
    st.sampled_from([{}, {}, {"tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f"}}]}]),
)
messages = st.lists(message, max_size=4)
model = st.sampled_from([None, "gpt-4.1-mini-2025-04-14", "claude-haiku-4-5", "o4-mini", "own/model"])


def without_nulls(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if value is not None}


@st.composite
def chat_body(draw: st.DrawFn) -> dict[str, Any]:
    asked = {
        "model": draw(model),
        "messages": draw(messages),
        "stream": draw(st.sampled_from([None, True, False])),
        "user": draw(st.one_of(st.none(), plain_text)),
        "tools": draw(st.sampled_from([None, [], [{"type": "function", "function": {"name": "f"}}]])),
        "response_format": draw(st.sampled_from([None, {"type": "text"}, {"type": "json_object"}])),
        "metadata": draw(st.sampled_from([None, {}, {"feature": "faq"}, {"feature": 7}])),
    }
    return without_nulls(asked)


@st.composite
def chat_answer(draw: st.DrawFn) -> dict[str, Any]:
    prompt, completion = draw(counts), draw(counts)
    used = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": draw(st.sampled_from([prompt + completion, prompt + completion, None])),
        "prompt_tokens_details": draw(st.one_of(st.none(), st.builds(lambda n: {"cached_tokens": n}, maybe_count))),
        "completion_tokens_details": draw(st.one_of(st.none(), st.builds(lambda n: {"reasoning_tokens": n}, counts))),
    }
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": draw(content)}}
    return {
        "id": f"chatcmpl-{draw(st.integers(0, 99))}",
        "object": "chat.completion",
        "created": draw(st.integers(1_772_000_000, 1_775_000_000)),
        "model": draw(model),
        "choices": draw(st.sampled_from([[choice], [choice], [], None])),
        "usage": draw(st.sampled_from([without_nulls(used), without_nulls(used), None])),
    }


@st.composite
def chat_pair(draw: st.DrawFn) -> dict[str, Any]:
    wrapper = {
        "timestamp": draw(st.sampled_from([None, "2026-03-16T08:40:00.250Z", "2026-03-16 08:41"])),
        "latency_ms": draw(st.one_of(st.none(), st.floats(0, 1e5), st.integers(0, 9000))),
        "session_id": draw(st.one_of(st.none(), plain_text)),
        "feedback": draw(st.sampled_from([None, 1, -1, 0.5, "up"])),
        "status_code": draw(st.sampled_from([None, 200, 429])),
    }
    error = {"error": {"message": draw(text), "type": "server_error"}}
    answer = draw(st.one_of(chat_answer(), chat_answer(), st.just(error)))
    return {**without_nulls(wrapper), "request": draw(chat_body()), "response": answer}


@st.composite
def responses_pair(draw: st.DrawFn) -> dict[str, Any]:
    asked = {
        "model": draw(model),
        "input": draw(st.one_of(text, messages)),
        "instructions": draw(st.one_of(st.none(), text)),
    }
    used = {
        "input_tokens": draw(counts),
        "input_tokens_details": {"cached_tokens": draw(counts)},
        "output_tokens": draw(counts),
        "output_tokens_details": {"reasoning_tokens": draw(counts)},
        "total_tokens": draw(maybe_count),
    }
    said = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": draw(text)}]}]
    answer = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_773_000_000,
        "status": draw(st.sampled_from(["completed", "incomplete", "failed", "queued"])),
        "model": draw(model),
        "output": said,
        "usage": without_nulls(used),
    }
    return {"request": without_nulls(asked), "response": answer}


@st.composite
def anthropic_pair(draw: st.DrawFn) -> dict[str, Any]:
    asked = {
        "model": draw(model),
        "messages": draw(messages),
        "system": draw(st.one_of(st.none(), text, st.lists(st.just({"type": "text", "text": "s"}), max_size=2))),
    }
    five, hour = draw(counts), draw(counts)
    used = {
        "input_tokens": draw(counts),
        "cache_read_input_tokens": draw(maybe_count),
        "cache_creation_input_tokens": five + hour,
        "cache_creation": {"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": hour},
        "output_tokens": draw(counts),
        "service_tier": "standard",
    }
    said = [{"type": "text", "text": draw(text)}]
    answer = {"id": "msg_1", "type": "message", "model": draw(model), "content": said, "usage": without_nulls(used)}
    return {"request": without_nulls(asked), "response": answer}


@st.composite
def litellm_record(draw: st.DrawFn) -> dict[str, Any]:
    answer = draw(chat_answer())
    started = 1_774_116_000.25
    return {
        "id": answer["id"],
        "call_type": "acompletion",
        "custom_llm_provider": draw(st.sampled_from([None, "openai", "bedrock"])),
        "startTime": started,
        "endTime": started + draw(st.floats(0, 100)),
        "completionStartTime": started,
        "stream": draw(st.sampled_from([None, True, False])),
        "response_cost": draw(st.one_of(st.none(), st.floats(0, 1))),
        "status": draw(st.sampled_from(["success", "failure"])),
        "prompt_tokens": draw(counts),
        "completion_tokens": draw(counts),
        "total_tokens": draw(maybe_count),
        "model": answer["model"],
        "model_group": "g",
        "messages": draw(st.one_of(messages, text)),
        "response": {"choices": answer["choices"]},
        "request_tags": draw(st.sampled_from([None, [], ["User-Agent: x", "faq"], "a"])),
        "metadata": {"usage_object": answer["usage"], "requester_metadata": draw(st.sampled_from([None, {}]))},
    }


@st.composite
def batch_line(draw: st.DrawFn) -> dict[str, Any]:
    body = draw(chat_answer())
    response = {"status_code": draw(st.sampled_from([200, 200, 400])), "request_id": "r", "body": body}
    return {"id": "batch_req_1", "custom_id": draw(plain_text), "response": response, "error": draw(st.none())}


@st.composite
def helicone_record(draw: st.DrawFn) -> dict[str, Any]:
    whole = {**draw(chat_pair()), **draw(st.one_of(st.just({}), anthropic_pair()))}
    return {
        "response_id": "res-1",
        "request_id": "hel-1",
        "request_created_at": "2026-03-25T14:00:00.250Z",
        "request_body": whole["request"],
        "response_body": draw(st.sampled_from([whole["response"], None])),
        "request_properties": draw(st.sampled_from([None, {}, {"feature": "x", "Helicone-Session-Id": "s"}])),
        "response_status": draw(st.sampled_from([200, 429])),
        "provider": "OPENAI",
        "prompt_tokens": draw(maybe_count),
        "completion_tokens": draw(maybe_count),
        "reasoning_tokens": draw(maybe_count),
        "prompt_cache_read_tokens": draw(maybe_count),
        "delay_ms": draw(maybe_count),
        "cache_reference_id": draw(st.sampled_from([None, "", "00000000-0000-0000-0000-000000000000", "hit"])),
    }


RECORDS: Mapping[str, st.SearchStrategy[dict[str, Any]]] = {
    "pairs": st.one_of(chat_pair(), responses_pair(), anthropic_pair()),
    "litellm": litellm_record(),
    "openai-batch": batch_line(),
    "helicone": helicone_record(),
}


def layouts(source: logs.Source, name: str) -> list[logs.Layout]:
    """The layouts that differ in nothing but the path: by Polars wholly or but for messages, and one by one."""
    layout = logs.layout_of(source, log_format=name)
    each: tuple[Typed, ...] = ("all", "but messages", "nothing")
    return [replace(layout, typed=typed) for typed in each]


@pytest.mark.parametrize("name", RECORDS)
def test_the_fast_path_equals_the_slow_one(folder: Path, name: str) -> None:
    @examples(30)
    @given(st.lists(RECORDS[name], min_size=1, max_size=4))
    def law(records: list[dict[str, Any]]) -> None:
        source = written(folder, records)
        fast, middle, slow = (shown(parsed(source, layout)) for layout in layouts(source, name))
        assert fast == slow
        assert middle == slow

    law()


COUNTS_AT = {
    "pairs": ("response", "usage", "prompt_tokens"),
    "litellm": ("prompt_tokens",),
    "openai-batch": ("response", "body", "usage", "prompt_tokens"),
    "helicone": ("response_body", "usage", "prompt_tokens"),
}
MESSAGES_AT = {"pairs": ("request", "messages"), "litellm": ("messages",), "helicone": ("request_body", "messages")}


def changed(record: Mapping[str, Any], at: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy of a record with a value at a path, objects made where there are none."""
    key, *rest = at
    inner = record.get(key)
    return {**record, key: changed(inner if isinstance(inner, dict) else {}, rest, value) if rest else value}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_does_not_depend_on_its_neighbours(folder: Path, name: str) -> None:
    @examples(10)
    @given(st.lists(RECORDS[name], min_size=3, max_size=4), st.permutations(range(5)))
    def law(records: list[dict[str, Any]], order: list[int]) -> None:
        clean = written(folder, records)
        layout = logs.layout_of(clean, log_format=name)
        odd: list[Line] = [
            '{"cut short',
            "[1]",
            changed(records[0], MESSAGES_AT.get(name, ("custom_id",)), "only text"),
            changed(records[1], COUNTS_AT[name], "12"),
            changed(records[2], COUNTS_AT[name], "many"),
        ]
        lines: list[Line] = [*records, *(odd[n] for n in order)]
        whole = parsed(written(folder, lines), layout)
        bad = {
            len(records) + order.index(n): code for n, code in ((0, "not_json"), (1, "not_an_object"), (4, "bad_value"))
        }
        assert {reject.row: reject.code for reject in whole.rejects} == bad
        assert [reject.text for reject in whole.rejects] == [
            line if isinstance(line := lines[row], str) else json.dumps(line) for row in sorted(bad)
        ]
        alone = [parsed(written(folder, [line]), layout) for line in lines]
        rows = [{**row, "row": n} for n, one in enumerate(alone) for row in one.requests.to_dicts()]
        assert whole.requests.to_dicts() == rows
        assert whole.lines == len(lines)
        assert whole.skipped == sum(one.skipped for one in alone)

    law()


@pytest.mark.parametrize("said", [t for t in TRICKY if t.strip() and t != "redacted-by-litellm"])
def test_what_a_user_wrote_is_not_read_as_anything_else(folder: Path, said: str) -> None:
    turns = [{"role": "system", "content": said}, {"role": "user", "content": said}, {"role": "user", "content": "so?"}]
    answer = {"object": "chat.completion", "model": "gpt-4.1", "usage": {"prompt_tokens": 9, "completion_tokens": 1}}
    record = {"request": {"model": "gpt-4.1", "messages": turns}, "response": answer}
    source = written(folder, [record])
    parts = [{"type": "text", "text": "q"}]
    for layout in layouts(source, "pairs"):
        [request] = parsed(source, layout).requests.to_dicts()
        # as some clients write a content of parts as text, text that is one is read as it
        meant = "q" if said == json.dumps(parts) else None if said == '[{"type": "input_text"}]' else said
        assert (request["prompt"], request["previous_prompt"], request["system"]) == ("so?", meant, meant)


# --- tokens -----------------------------------------------------------------------------------------------------------

TRUE_TOKENS = st.fixed_dictionaries(
    {
        "input": counts,
        "read": maybe_count,
        "written": maybe_count,
        "hour": maybe_count,
        "said": counts,
        "reasoning": maybe_count,
    }
)
Tokens = Mapping[str, int | None]


def n(value: int | None) -> int:
    return value or 0


def openai_chat(t: Tokens) -> dict[str, Any]:
    prompt, completion = n(t["input"]) + cached(t), n(t["said"]) + n(t["reasoning"])
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": t["read"], "cache_write_tokens": all_written(t)},
        "completion_tokens_details": {"reasoning_tokens": t["reasoning"]},
    }


def openai_responses(t: Tokens) -> dict[str, Any]:
    prompt, completion = n(t["input"]) + cached(t), n(t["said"]) + n(t["reasoning"])
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": t["read"], "cache_write_tokens": all_written(t)},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": t["reasoning"]},
        "total_tokens": prompt + completion,
    }


def anthropic(t: Tokens) -> dict[str, Any]:
    return {
        "input_tokens": t["input"],
        "cache_read_input_tokens": t["read"],
        "cache_creation_input_tokens": all_written(t),
        "cache_creation": {"ephemeral_5m_input_tokens": t["written"], "ephemeral_1h_input_tokens": t["hour"]},
        "output_tokens": n(t["said"]) + n(t["reasoning"]),
        "output_tokens_details": {"thinking_tokens": t["reasoning"]},
    }


def xai(t: Tokens) -> dict[str, Any]:
    """OpenAI's shape, with reasoning beside what was said."""
    used = openai_chat(t)
    return {**used, "completion_tokens": t["said"]}


def converse_as_openai(t: Tokens) -> dict[str, Any]:
    """OpenAI's shape around Bedrock's counts: cached tokens beside the input, and in the total."""
    return {**openai_chat(t), "prompt_tokens": t["input"]}


def converse(t: Tokens) -> dict[str, Any]:
    return {
        "inputTokens": t["input"],
        "outputTokens": n(t["said"]) + n(t["reasoning"]),
        "totalTokens": n(t["input"]) + cached(t) + n(t["said"]) + n(t["reasoning"]),
        "cacheReadInputTokens": t["read"],
        "cacheWriteInputTokens": all_written(t),
    }


def gemini(t: Tokens) -> dict[str, Any]:
    return {
        "promptTokenCount": n(t["input"]) + n(t["read"]),
        "cachedContentTokenCount": t["read"],
        "candidatesTokenCount": t["said"],
        "thoughtsTokenCount": t["reasoning"],
        "totalTokenCount": n(t["input"]) + n(t["read"]) + n(t["said"]) + n(t["reasoning"]),
    }


def cached(t: Tokens) -> int:
    return n(t["read"]) + n(all_written(t))


def all_written(t: Tokens) -> int | None:
    return None if t["written"] is None and t["hour"] is None else n(t["written"]) + n(t["hour"])


SHAPES = {f.__name__: f for f in (openai_chat, openai_responses, anthropic, xai, converse_as_openai, converse, gemini)}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_tokens_of_a_usage_object_are_those_that_were_used(folder: Path, shape: str) -> None:
    @examples(12)
    @given(st.lists(TRUE_TOKENS, min_size=1, max_size=12))
    def law(many: list[dict[str, int | None]]) -> None:
        # cached tokens and reasoning of one size cannot be told apart by a sum
        many = [t for t in many if not (0 < n(t["reasoning"]) == cached(t))]
        assume(many)
        if shape != "anthropic":
            many = [{**t, "hour": None} for t in many]
        if shape == "gemini":
            many = [{**t, "written": None} for t in many]
        body = SHAPES[shape]
        lines = [
            {"id": "r", "custom_id": "c", "error": None, "response": {"status_code": 200, "body": {"usage": body(t)}}}
            for t in many
        ]
        source = written(folder, lines)
        for layout in layouts(source, "openai-batch"):
            got = parsed(source, layout).requests
            # Converse has one counter for all of the output
            told = shape != "converse"
            assert got.select(*TOKEN_KINDS, "reasoning_tokens").rows() == [
                (
                    t["input"],
                    t["read"],
                    None if all_written(t) is None else n(t["written"]),
                    t["hour"],
                    n(t["said"]) + n(t["reasoning"]),
                    t["reasoning"] if told else None,
                )
                for t in many
            ]

    law()


def restated(t: Mapping[str, int | None]) -> tuple[int | None, ...]:
    """The arithmetic guard on one request, in Python: input, read, written for 5 minutes and for an hour, output.

    A total of input and output means that all else is inside them. A total with reasoning or cached tokens on top means
    that these are beside. Without a total, what is larger than its whole is beside it.
    """
    inclusive = t["total_input_tokens"] is not None
    given = t["total_input_tokens"] if inclusive else t["input_tokens"]
    out, total = t["output_tokens"], t["total_tokens"]
    reasoning, inside = n(t["reasoning_tokens"]), n(t["cache_read_tokens"]) + n(t["written_tokens"])
    reasoning_beside, cache_beside = False, not inclusive
    if given is not None and out is not None and total is not None:
        extra = total - given - out
        if extra == 0:
            cache_beside = not inclusive and not 0 < inside <= given
        else:
            reasoning_beside = 0 < reasoning == extra or (inclusive and 0 < inside == extra - reasoning)
            cache_beside = cache_beside or 0 < inside == extra or (reasoning > 0 and 0 < inside == extra - reasoning)
    reasoning_beside |= out is not None and reasoning > out
    cache_beside |= given is not None and inside > given
    hour = t["cache_write_1h_tokens"]
    hour = None if n(hour) > n(t["written_tokens"]) else hour
    return (
        None if given is None else given if cache_beside else given - inside,
        t["cache_read_tokens"],
        None if t["written_tokens"] is None else n(t["written_tokens"]) - n(hour),
        hour,
        None if out is None else out + reasoning if reasoning_beside else out,
    )


@st.composite
def logged_tokens(draw: st.DrawFn) -> dict[str, int | None]:
    # small ones, so that parts are of one size now and then
    few = st.one_of(st.none(), st.integers(0, 4), counts)
    found: dict[str, int | None] = {name: draw(few) for name in finish.TOKENS}
    kind = draw(st.sampled_from(["total_input_tokens", "input_tokens"]))
    found["input_tokens" if kind == "total_input_tokens" else "total_input_tokens"] = None
    if not draw(st.integers(0, 3)):
        # of one size, so that a sum does not tell which of them it has
        found["reasoning_tokens"] = n(found["cache_read_tokens"]) + n(found["written_tokens"])
    given, out = found[kind], found["output_tokens"]
    if given is not None and out is not None and draw(st.integers(0, 4)):
        extra = [0, n(found["reasoning_tokens"]), n(found["cache_read_tokens"]) + n(found["written_tokens"])]
        found["total_tokens"] = given + out + draw(st.sampled_from([*extra, sum(extra)]))
    return found


def guarded(rows: Sequence[Mapping[str, int | None]]) -> pl.DataFrame:
    return finish.guarded(pl.DataFrame(list(rows), schema=dict.fromkeys(finish.TOKENS, pl.Int64())))[0]


def is_ambiguous(t: Mapping[str, int | None]) -> bool:
    return 0 < n(t["reasoning_tokens"]) == n(t["cache_read_tokens"]) + n(t["written_tokens"])


@examples(60)
@given(st.lists(logged_tokens(), min_size=1, max_size=20))
def test_the_guard_is_the_rule(rows: list[dict[str, int | None]]) -> None:
    rows = [row for row in rows if not is_ambiguous(row)]
    assume(rows)
    frame = guarded(rows)
    assert frame.select(TOKEN_KINDS).rows() == [restated(row) for row in rows]


@examples(60)
@given(st.lists(logged_tokens(), min_size=1, max_size=20))
def test_guarded_tokens_are_disjoint_and_add_up_to_a_total_that_they_explain(rows: list[dict[str, int | None]]) -> None:
    for row, got in zip(rows, guarded(rows).to_dicts(), strict=True):
        assert all(got[kind] is None or got[kind] >= 0 for kind in TOKEN_KINDS), row
        if got["output_tokens"] is not None and got["reasoning_tokens"] is not None:
            assert got["reasoning_tokens"] <= got["output_tokens"], row
        whole, out, total = row["total_input_tokens"], row["output_tokens"], row["total_tokens"]
        if whole is None or out is None or total is None:
            continue
        reasoning, inside = n(row["reasoning_tokens"]), n(row["cache_read_tokens"]) + n(row["written_tokens"])
        if reasoning > out or inside > whole:
            # what cannot be inside is beside, whatever the total says
            continue
        if total - whole - out in (0, reasoning, inside, reasoning + inside):
            assert sum(n(got[kind]) for kind in TOKEN_KINDS) == total, row
        else:
            assert sum(n(got[kind]) for kind in INPUT_KINDS) == whole, row
            assert got["output_tokens"] == out, row


# --- accounts ---------------------------------------------------------------------------------------------------------


@functools.cache
def samples() -> Mapping[str, tuple[str, list[dict[str, Any]]]]:
    """Of each sample file: its dialect, and its records with values of any type."""
    found = {}
    for path in sorted(SAMPLES.iterdir()):
        if path.suffix in (".jsonl", ".json", ".csv", ".parquet"):
            [source] = logs.find_sources([str(path)])
            layout = logs.layout_of(source)
            assert layout.dialect is not None, path.name
            records = json.loads(json.dumps(logs.sample_of(source), default=str))
            found[path.name] = layout.dialect.name, records
    return found


NAMES = [path.name for path in sorted(SAMPLES.iterdir()) if path.suffix in (".jsonl", ".json", ".csv", ".parquet")]


def test_every_dialect_has_a_sample() -> None:
    assert {dialect.name for dialect in logs.DIALECTS} == {name for name, _ in samples().values()}


def check_accounts(source: logs.Source, layout: logs.Layout) -> None:
    """Each line is a request, rejected, skipped or a repetition; tokens are not negative; every place is found."""
    assert layout.reading is not None
    for chunk in logs.chunks(source, layout):
        of = chunk.parse(COLUMNS)
        accounted = of.requests.height + len(of.rejects) + of.skipped + of.repeated
        # where records are opened or merged, one line may hold many calls
        assert accounted == of.lines if layout.reading.unpack is None else accounted >= of.lines
        for kind in (*TOKEN_KINDS, "reasoning_tokens"):
            assert not (of.requests[kind] < 0).any(), kind
        assert not (of.requests["reasoning_tokens"] > of.requests["output_tokens"]).any()
        places = [(chunk.ordinal, row) for row in (*(r.row for r in of.rejects), *of.requests["row"].to_list())]
        lines = logs.locate(source, layout, places)
        assert set(lines) == set(places)
        if source.path.endswith(".jsonl"):
            text = Path(source.path).read_text().split("\n")
            assert all(text[lines[chunk.ordinal, r.row] - 1] == r.text for r in of.rejects)


@pytest.mark.parametrize("name", NAMES)
def test_every_line_of_a_sample_is_accounted_for(name: str) -> None:
    [source] = logs.find_sources([str(SAMPLES / name)])
    check_accounts(source, logs.layout_of(source))


def conversation(key: str, turns: Sequence[tuple[int, int, bool]]) -> list[list[dict[str, Any]]]:
    """Lines of Claude Code, a list a call: what the user said, and a line a block of the answer, whose counts grow.
    turns: blocks, output tokens, whether it is in a side chain."""
    lines = []
    above = None
    for place, (blocks, output, side) in enumerate(turns):
        common = {"sessionId": key, "cwd": f"/projects/{key}", "isSidechain": side}
        asked = {**common, "type": "user", "uuid": f"{key}-u{place}", "parentUuid": above}
        asked["message"] = {"role": "user", "content": f"question {place} of {key}"}
        block = []
        above = asked["uuid"]
        for at in range(blocks):
            used = {"input_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 10 * place}
            used["output_tokens"] = output if at == blocks - 1 else output * at // blocks
            line = {**common, "type": "assistant", "uuid": f"{key}-a{place}.{at}", "parentUuid": above}
            line["message"] = {"id": f"msg-{key}-{place}", "model": "claude-haiku-4-5", "usage": used}
            line["timestamp"] = f"2026-03-29T16:{place:02}:00Z"
            block.append(line)
            above = line["uuid"]
        lines.append([asked, *block])
    return lines


TURNS = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 500), st.booleans()), min_size=1, max_size=4)


def claude_requests(folder: Path, files: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for number, lines in enumerate(files):
        if lines:
            source = written(folder, lines, f"{number}.jsonl")
            of = parsed(source, logs.layout_of(source, log_format="claude-code"))
            assert of.lines == len(lines) == of.requests.height + of.skipped + of.repeated
            found += of.requests.drop("row").to_dicts()
    return sorted(found, key=lambda request: str(request["request_id"]))


@examples(25)
@given(st.lists(TURNS, min_size=1, max_size=3), st.data())
def test_claude_code_counts_a_call_once(
    folder: Path, many: list[list[tuple[int, int, bool]]], data: st.DataObject
) -> None:
    talks = [conversation(f"s{k}", turns) for k, turns in enumerate(many)]
    flat = [[line for call in talk for line in call] for talk in talks]
    whole = claude_requests(folder, [list(itertools.chain(*flat))])
    assert [r["output_tokens"] for r in whole] == [output for turns in many for _, output, _ in turns]
    assert [r["prompt"] for r in whole] == [
        f"question {at} of s{k}" for k, t in enumerate(many) for at in range(len(t))
    ]
    # whichever conversations share a file
    into = data.draw(st.lists(st.integers(0, 2), min_size=len(talks), max_size=len(talks)))
    order = data.draw(st.permutations(range(len(talks))))
    files = [list(itertools.chain(*(flat[k] for k in order if into[k] == number))) for number in range(3)]
    assert claude_requests(folder, files) == whole
    # however many lines an answer took, and however often they were written again as a session was resumed
    again = [[*lines, *data.draw(st.lists(st.sampled_from(lines), max_size=4))] for lines in flat]
    assert claude_requests(folder, [list(itertools.chain(*again))]) == whole
    one = [conversation(f"s{k}", [(1, output, side) for _, output, side in turns]) for k, turns in enumerate(many)]
    assert claude_requests(folder, [[line for talk in one for call in talk for line in call]]) == whole


def paths(value: Mapping[str, Any], at: str = "") -> list[str]:
    """The paths of a record that go through objects alone, as a `--by` has them."""
    found = []
    for key, inner in value.items():
        found.append(f"{at}{key}")
        if isinstance(inner, dict):
            found += paths(inner, f"{at}{key}.")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_field_can_be_grouped_by(name: str) -> None:
    _, records = samples()[name]
    [source] = logs.find_sources([str(SAMPLES / name)])
    of = parsed(source, logs.layout_of(source))
    for path in sorted({path for record in records for path in paths(record)} - {*REQUEST}):
        try:
            layout = logs.layout_of(source, extra=(path,))
        except InputError:
            # a field that is null in every record is as good as none
            continue
        got = parsed(source, layout).requests
        assert got.select(of.requests.columns).equals(of.requests), path
        assert got[f"raw:{path}"].dtype == pl.String, path


# --- no record stops the reading --------------------------------------------------------------------------------------


def nested(depth: int, around: Callable[[Any], Any]) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = around(value)
    return value


ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 7, 1.5, -0.5, 1e30, 1e300, 2**31, 2**62, 2**63, 2**64 - 1, 2**70, 10**400),
    *("", "x", "7", "-3", "1e999", "nan", "inf", "null", "true", "{", "[", "[1]", '{"a": 1}', "[[]]", "[null]"),
    *(
        '{"": 1}',
        '{"text": 5}',
        '["x"]',
        '"[1]',
        '"{""a"":1}"',
        '["\\ud800"]',
        '{"role": "user", "content": "\\udead"}',
    ),
    *('[{"role": null, "content": [1]}]', "2026-03-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"),
    *("user", "\ud800", "\x00\n\t", "é😀", float("nan"), float("inf"), [], [None], [1], ["x"], [[]], [{}]),
    *([{"type": "text"}], [{"type": []}], [{"type": {}}], [{"text": [1]}], [{"role": "user", "content": 5}]),
    *([{"role": ["user"], "content": "x"}], [[{"role": "user", "content": "x"}]], [None, {"finish_reason": 5}]),
    *({}, {"a": 1}, {"": None}, {"text": 5}, {"text": {"text": "x"}}, {"role": "user"}, {"x": {}}, {"messages": 5}),
    *(
        {"messages": ["x"]},
        {"content": [{"type": "image"}]},
        nested(200, lambda v: [v]),
        nested(200, lambda v: {"a": v}),
    ),
    *(
        nested(200, lambda v: {"content": v}),
        nested(200, lambda v: {"messages": v}),
        nested(90, lambda v: [{"text": v}]),
    ),
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside one."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path for key, held in inner for path in ((*at, key), *places(held, (*at, key)))]


def opened(value: Any) -> Any:
    """JSON in texts opened, so that what is inside can be damaged as well."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    if isinstance(value, dict):
        return {key: opened(inner) for key, inner in value.items()}
    return [opened(inner) for inner in value] if isinstance(value, list) else value


@st.composite
def damaged(draw: st.DrawFn, record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with one to three values replaced, taken out, wrapped in a list, or written as text of JSON."""
    found = copy.deepcopy(dict(record))
    if draw(st.booleans()):
        found = {key: opened(value) for key, value in found.items()}
    for _ in range(draw(st.integers(1, 3))):
        inside = places(found)
        if not inside:
            break
        *above, last = draw(st.sampled_from(inside))
        node: Any = found
        for step in above:
            node = node[step]
        what = draw(st.sampled_from(["odd", "odd", "odd", "odd", "gone", "listed", "text"]))
        if what == "gone":
            del node[last]
        elif what == "odd":
            node[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
        else:
            node[last] = [node[last]] if what == "listed" else json.dumps(node[last])
    return found


def as_csv(folder: Path, records: Sequence[Mapping[str, Any]]) -> logs.Source:
    path = folder / "odd.csv"
    names = list(dict.fromkeys(key for record in records for key in record if key.strip()))
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        table = csv.writer(file)
        table.writerow(names)
        for record in records:
            values = [record.get(name) for name in names]
            table.writerow(["" if v is None else v if isinstance(v, str) else json.dumps(v) for v in values])
    [source] = logs.find_sources([str(path)])
    return source


@pytest.mark.parametrize("name", NAMES)
def test_no_record_stops_the_reading(folder: Path, name: str) -> None:
    dialect, records = samples()[name]
    table = name.endswith((".csv", ".parquet"))
    sound = logs.layout_of(written(folder, records), log_format=dialect)

    @examples(15)
    @given(st.data())
    def law(data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(records) - 1))
        odd = data.draw(damaged(records[at]))
        dialects.detect([odd])
        source = written(folder, [*records[:at], odd, *records[at + 1 :]], "odd.jsonl")
        layout = logs.layout_of(source, log_format=dialect)
        check_accounts(source, layout)
        # as if it came behind the sample
        check_accounts(source, replace(sound, typed=layout.typed))
        if table and any(key.strip() for key in odd):
            source = as_csv(folder, [*records[:at], odd, *records[at + 1 :]])
            check_accounts(source, logs.layout_of(source, log_format=dialect))

    law()


# --- where things stand -----------------------------------------------------------------------------------------------


def span(request_id: str, tokens: Any = 5) -> dict[str, Any]:
    said = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4.1", "gen_ai.response.id": request_id}
    attributes: list[dict[str, Any]] = [{"key": key, "value": {"stringValue": value}} for key, value in said.items()]
    attributes += [
        {"key": f"gen_ai.usage.{k}_tokens", "value": {"intValue": v}} for k, v in (("input", tokens), ("output", 2))
    ]
    ids = {"traceId": "t" + request_id, "spanId": "s" + request_id}
    return {
        **ids,
        "startTimeUnixNano": "1774263600000000000",
        "endTimeUnixNano": "1774263601000000000",
        "attributes": attributes,
    }


def otel_line(*ids: str, tokens: Any = 5) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span(key, tokens) for key in ids]}]}]}


def claude_line(*ids: str, tokens: Any = 5) -> dict[str, Any]:
    used = {"input_tokens": tokens, "output_tokens": 2}
    said = {"id": ids[0], "model": "claude-haiku-4-5", "usage": used}
    common = {"sessionId": "s", "uuid": f"u-{ids[0]}", "parentUuid": None, "timestamp": "2026-03-29T16:00:00Z"}
    return {**common, "type": "assistant", "message": said}


def stored_line(*ids: str, tokens: Any = 5) -> dict[str, Any]:
    used = {"prompt_tokens": tokens, "completion_tokens": 2}
    answer = {"object": "chat.completion", "created": 1_774_000_000, "model": "gpt-4.1", "choices": [], "usage": used}
    return {"object": "list", "data": [{**answer, "id": key} for key in ids], "has_more": False}


LOCATED: Mapping[str, Callable[..., dict[str, Any]]] = {
    "otel": otel_line,
    "claude-code": claude_line,
    "openai-stored": stored_line,
}


def taken(folder: Path, lines: Sequence[Line], name: str, file: str = "log.jsonl") -> Intake:
    path = written(folder, lines, file).path
    return read([path], read_prices(), options=Options(classify=False, log_format=name))


@pytest.mark.parametrize("name", LOCATED)
def test_a_call_stands_at_the_line_that_holds_it(folder: Path, name: str) -> None:
    line = LOCATED[name]
    several = name != "claude-code"

    @examples(15)
    @given(st.lists(st.sampled_from(["call", "two", "blank", "cut", "count", "other"]), min_size=1, max_size=8))
    def law(kinds: list[str]) -> None:
        lines: list[Line] = []
        expected: dict[str, int] = {}
        bad: set[int] = set()
        for number, kind in enumerate(["call", *kinds], 1):
            ids = [f"call-{number}", f"more-{number}"][: 2 if kind == "two" and several else 1]
            made: dict[str, Line] = {"blank": "", "cut": '{"cut": ', "other": {"type": "summary", "leafUuid": "x"}}
            lines.append(
                made.get(kind) or ("" if kind == "blank" else line(*ids, tokens="many" if kind == "count" else 5))
            )
            if kind in ("call", "two"):
                expected |= dict.fromkeys(ids, number)
            elif kind in ("cut", "count"):
                bad.add(number)
        source = written(folder, lines)
        layout = logs.layout_of(source, log_format=name)
        [chunk] = logs.chunks(source, layout)
        of = chunk.parse(COLUMNS)
        rows = dict(zip(of.requests["request_id"], of.requests["row"].to_list(), strict=True))
        at = logs.locate(source, layout, [(0, row) for row in (*rows.values(), *(r.row for r in of.rejects))])
        assert {key: at[0, row] for key, row in rows.items()} == expected
        assert {at[0, reject.row] for reject in of.rejects} == bad
        for reject in of.rejects:
            assert reject.text == Path(source.path).read_text().split("\n")[at[0, reject.row] - 1]

    law()


def test_a_second_copy_and_a_bad_count_are_named_by_their_lines(folder: Path) -> None:
    for name, line in LOCATED.items():
        lines: list[Line] = [
            line("a"),
            "",
            "{",
            line("b"),
            line("c", tokens="many"),
            "",
            line("d"),
            line("b"),
            line("e"),
        ]
        if name == "claude-code":
            # its lines repeat calls by themselves
            lines[7] = line("f")
        found = taken(folder, lines, name)
        assert [place.line for place in found.duplicates] == ([] if name == "claude-code" else [8]), name
        assert {fault.code: [p.line for p in fault.places] for fault in found.rejected} == {
            "not_json": [3],
            "bad_value": [5],
        }
        assert found.usage.requests == (5 if name == "claude-code" else 4)


def test_a_page_that_spans_lines_stands_at_its_first(folder: Path) -> None:
    pages = [json.dumps(stored_line(*ids), indent=1) for ids in (("a", "b"), ("c", "a"), ("d",))]
    found = taken(folder, ["[" + pages[0] + ",", "", pages[1] + ",", pages[2] + "]"], "openai-stored", "pages.json")
    second = pages[0].count("\n") + 3
    assert [place.line for place in found.duplicates] == [second]
    assert found.usage.requests == 4
