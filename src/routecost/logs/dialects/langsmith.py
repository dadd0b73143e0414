"""LangSmith runs. Parents carry the sums of what is below them, so that only runs of models count.

Source: langsmith schemas.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from routecost.logs.dialects.shapes import head, mapping, score, span_ms
from routecost.logs.fields import OURS, Dialect, Numbered, Reading, Record, find, first, opened, whole
from routecost.logs.messages import normalised, system_of


def _unpack(records: Iterable[Numbered]) -> Iterator[Numbered]:
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
                "feedback": score(scores[0]) if scores else None,
            },
        )


def _written(details: Any) -> int | None:
    """Cache writes; some versions give only the parts by how long they are kept."""
    parts = [whole(find(details, f"ephemeral_{kept}_input_tokens")) for kept in ("5m", "1h")]
    known = [n for n in (*parts, whole(find(details, "cache_creation"))) if n is not None]
    return max(sum(n for n in parts if n), *known) if known else None


def _matches(record: Record) -> bool:
    return "run_type" in record and "trace_id" in record and ("dotted_order" in record or "inputs" in record)


DIALECT = Dialect(
    name="langsmith",
    title="LangSmith runs",
    signature="`run_type` and `trace_id` with `dotted_order` or `inputs`",
    matches=_matches,
    reading=lambda _: Reading(OURS, unpack=_unpack),
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
