"""LangSmith runs, Braintrust project logs and Weights & Biases Weave calls: the calls among their spans.

Parents carry the sums of what is below them, so that only spans of model calls count. Sources: langsmith schemas.py;
braintrust logger; weave trace/call.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from routecost.logs.dialects.shapes import head, mapping, real
from routecost.logs.fields import OURS, Dialect, Numbered, Reading, Record, find, first, has, opened, whole
from routecost.logs.messages import normalised, system_of
from routecost.logs.usage_counts import usage

# Operations of Weave's integrations that are calls of a provider.
_PROVIDER_OP: Final = re.compile(
    r"/op/[\w.]*(chat\.completions|completions|responses|messages|generate_content)[\w.]*:"
)


def _score(value: Any) -> float | None:
    """A score of 0 to 1 as feedback of -1 to 1."""
    return 2 * value - 1 if isinstance(value, int | float) and 0 <= value <= 1 else None


def _langsmith(records: Iterable[Numbered]) -> Iterator[Numbered]:
    for n, run in records:
        if run.get("run_type") != "llm":
            continue
        meta = find(run, "extra.metadata") or {}
        params = find(run, "extra.invocation_params") or {}
        asked = opened(run.get("inputs"))
        scores = [s.get("avg") for s in mapping(run.get("feedback_stats")).values() if isinstance(s, Mapping)]
        tags = opened(run.get("tags"))
        yield (
            n,
            {
                "": run,
                "request_id": run.get("id"),
                "ts": run.get("start_time"),
                "provider": first(meta, "ls_provider"),
                "model": first(meta, "ls_model_name") or first(params, "model", "model_name"),
                "model_requested": first(params, "model", "model_name"),
                "messages": normalised(asked),
                "system": system_of(asked),
                "tools": first(params, "tools", "functions"),
                "total_input_tokens": run.get("prompt_tokens"),
                "output_tokens": run.get("completion_tokens"),
                "total_tokens": run.get("total_tokens"),
                "cache_read_tokens": find(run, "prompt_token_details.cache_read"),
                "written_tokens": _written(find(run, "prompt_token_details")),
                "cache_write_1h_tokens": find(run, "prompt_token_details.ephemeral_1h_input_tokens"),
                "reasoning_tokens": find(run, "completion_token_details.reasoning"),
                "cost_usd": run.get("total_cost"),
                "latency_ms": span_ms(run.get("start_time"), run.get("end_time")),
                "ttft_ms": span_ms(run.get("start_time"), run.get("first_token_time")),
                "stream": first(params, "stream"),
                "status": "error" if run.get("error") or run.get("status") == "error" else "ok",
                "user_id": first(meta, "user_id", "userId"),
                # session_id of a run is its project
                "session_id": first(meta, "session_id", "thread_id", "conversation_id"),
                "feature": first(meta, "feature") or head(tags) or run.get("name"),
                "project": run.get("session_name"),
                "feedback": _score(scores[0]) if scores else None,
            },
        )


def _written(details: Any) -> int | None:
    """Cache writes; some versions give only the parts by how long they are kept."""
    parts = [whole(find(details, f"ephemeral_{kept}_input_tokens")) for kept in ("5m", "1h")]
    known = [n for n in (*parts, whole(find(details, "cache_creation"))) if n is not None]
    return max(sum(n for n in parts if n), *known) if known else None


def span_ms(start: Any, end: Any) -> float | None:
    """Milliseconds between two moments in ISO text, or two datetimes."""
    import datetime as dt

    if start is None or end is None:
        return None
    try:
        moments = [t if isinstance(t, dt.datetime) else dt.datetime.fromisoformat(str(t)) for t in (start, end)]
        a, b = (t if t.tzinfo else t.replace(tzinfo=dt.UTC) for t in moments)
        return round((b - a).total_seconds() * 1000, 3)
    except ValueError:
        return None


def _braintrust(records: Iterable[Numbered]) -> Iterator[Numbered]:
    for n, span in records:
        if find(span, "span_attributes.type") != "llm":
            continue
        metrics, meta = mapping(span.get("metrics")), mapping(span.get("metadata"))
        begun, ended = real(metrics.get("start")), real(metrics.get("end"))
        ttft = real(metrics.get("time_to_first_token"))
        scores = [s for s in mapping(span.get("scores")).values() if s is not None]
        tags = opened(span.get("tags"))
        yield (
            n,
            {
                "": span,
                "request_id": span.get("id") or span.get("span_id"),
                "ts": begun if begun is not None else span.get("created"),
                "provider": first(meta, "provider"),
                "model": first(meta, "model"),
                "finish_reason": _finish(span.get("output")),
                "messages": normalised(span.get("input")),
                "system": system_of(span.get("input")),
                "tools": first(meta, "tools"),
                "response_format": first(meta, "response_format"),
                "total_input_tokens": find(metrics, "prompt_tokens"),
                "output_tokens": find(metrics, "completion_tokens"),
                "total_tokens": find(metrics, "tokens"),
                "cache_read_tokens": find(metrics, "prompt_cached_tokens"),
                "written_tokens": find(metrics, "prompt_cache_creation_tokens"),
                "reasoning_tokens": find(metrics, "completion_reasoning_tokens"),
                "cost_usd": find(metrics, "estimated_cost"),
                "latency_ms": round((ended - begun) * 1000, 3) if begun is not None and ended is not None else None,
                "ttft_ms": round(ttft * 1000, 3) if ttft is not None else None,
                "stream": first(meta, "stream"),
                "status": "error" if span.get("error") else "ok",
                "user_id": first(meta, "user_id", "userId"),
                "session_id": first(meta, "session_id", "thread_id", "conversation_id"),
                "feature": first(meta, "feature") or head(tags) or find(span, "span_attributes.name"),
                "feedback": _score(scores[0]) if scores else None,
            },
        )


def _weave(records: Iterable[Numbered]) -> Iterator[Numbered]:
    calls = list(records)
    parents = {parent for _, call in calls if isinstance(parent := call.get("parent_id"), str)}
    for n, call in calls:
        by_model = mapping(find(call, "summary.usage"))
        # a parent sums up its children; a call that failed has no usage, and only its operation tells what it was
        failed = not by_model and _PROVIDER_OP.search(str(call.get("op_name"))) is not None
        if str(call.get("id")) in parents or not (failed or len(by_model) == 1):
            continue
        served, counted = next(iter(by_model.items()), (None, None))
        asked, attributes = opened(call.get("inputs")), mapping(call.get("attributes"))
        state = find(call, "summary.weave.status")
        yield (
            n,
            {
                "": call,
                "request_id": call.get("id"),
                "ts": call.get("started_at"),
                "model": find(call, "output.model") or served or first(asked, "model"),
                "model_requested": first(asked, "model"),
                "finish_reason": _finish(call.get("output")),
                "messages": normalised(asked),
                "system": system_of(asked),
                "tools": first(asked, "tools"),
                "response_format": first(asked, "response_format"),
                "usage": counted,
                "cost_usd": _weave_cost(find(call, "summary.weave.costs")),
                "latency_ms": first(call, "summary.weave.latency_ms")
                or span_ms(call.get("started_at"), call.get("ended_at")),
                "stream": first(asked, "stream"),
                "status": "error" if call.get("exception") or state == "error" else "ok",
                "user_id": first(attributes, "user_id") or call.get("wb_user_id"),
                "session_id": first(call, "thread_id"),
                "feature": first(attributes, "feature") or first(call, "display_name"),
            },
        )


def _finish(output: Any) -> Any:
    """Why an answer ended, of OpenAI's or Anthropic's shape."""
    output = opened(output)
    choices = output if isinstance(output, list) else opened(find(output, "choices"))
    return first(head(choices), "finish_reason") or first(output, "stop_reason")


def _weave_cost(costs: Any) -> float | None:
    """What Weave worked out, summed over models and kinds of tokens."""
    if not isinstance(costs, Mapping) or not costs:
        return None
    found = [
        value
        for model in costs.values()
        if isinstance(model, Mapping)
        for name, value in model.items()
        if name.endswith("_total_cost") and isinstance(value, int | float)
    ]
    return sum(found) if found else None


def _braintrust_matches(record: Record) -> bool:
    return has("span_id", "root_span_id", "metrics", "span_attributes")(record)


def _langsmith_matches(record: Record) -> bool:
    return "run_type" in record and "trace_id" in record and ("dotted_order" in record or "inputs" in record)


LANGSMITH = Dialect(
    name="langsmith",
    title="LangSmith runs",
    signature="`run_type` and `trace_id` with `dotted_order` or `inputs`",
    matches=_langsmith_matches,
    reading=lambda _: Reading(OURS, unpack=_langsmith),
    carries="tokens, cached tokens, cost, latency, prompts, users, feedback",
    reads=(
        *(
            "id",
            "name",
            "run_type",
            "start_time",
            "end_time",
            "first_token_time",
            "inputs",
            "outputs",
            "error",
            "status",
        ),
        *("extra.metadata", "extra.invocation_params", "prompt_tokens", "completion_tokens", "total_tokens", "tags"),
        *("prompt_token_details", "completion_token_details", "total_cost", "feedback_stats", "session_name"),
        *("trace_id", "dotted_order", "parent_run_id"),
    ),
)
BRAINTRUST = Dialect(
    name="braintrust",
    title="Braintrust project logs",
    signature="`span_id`, `root_span_id`, `metrics` and `span_attributes`",
    matches=_braintrust_matches,
    reading=lambda _: Reading(OURS, unpack=_braintrust),
    carries="tokens, cached tokens, latency, prompts, scores; a cost only where one is logged",
    reads=(
        *("id", "span_id", "root_span_id", "span_parents", "created", "input", "output", "error", "scores", "metadata"),
        *("tags", "metrics", "span_attributes"),
    ),
)
WEAVE = Dialect(
    name="weave",
    title="Weights & Biases Weave calls",
    signature="`op_name`, `started_at` and `summary`",
    matches=has("op_name", "started_at", "summary"),
    reading=lambda _: Reading(
        {**OURS, **{k: v for k, v in usage("usage").items() if k != "service_tier"}}, unpack=_weave
    ),
    carries="tokens, latency, prompts, users",
    whole=True,
    reads=(
        *(
            "id",
            "op_name",
            "parent_id",
            "trace_id",
            "started_at",
            "ended_at",
            "inputs",
            "output",
            "exception",
            "summary",
        ),
        *("attributes", "thread_id", "wb_user_id", "display_name"),
    ),
)
