"""Weights & Biases Weave calls. Parents sum up their children, so that only leaves count.

Source: weave trace/call.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from routecost.logs.dialects.shapes import ended_as, mapping, span_ms
from routecost.logs.fields import OURS, Dialect, Numbered, Reading, find, first, has, opened
from routecost.logs.messages import normalised, system_of
from routecost.logs.usage_counts import usage

# Operations of Weave's integrations that are calls of a provider.
_PROVIDER_OP: Final = re.compile(
    r"/op/[\w.]*(chat\.completions|completions|responses|messages|generate_content)[\w.]*:"
)


def _unpack(records: Iterable[Numbered]) -> Iterator[Numbered]:
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
                "finish_reason": ended_as(call.get("output")),
                "messages": normalised(asked),
                "system": system_of(asked),
                "tools": first(asked, "tools"),
                "response_format": first(asked, "response_format"),
                "usage": counted,
                "cost_usd": _cost(find(call, "summary.weave.costs")),
                "latency_ms": first(call, "summary.weave.latency_ms")
                or span_ms(call.get("started_at"), call.get("ended_at")),
                "stream": first(asked, "stream"),
                "status": "error" if call.get("exception") or state == "error" else "ok",
                "user_id": first(attributes, "user_id") or call.get("wb_user_id"),
                "session_id": first(call, "thread_id"),
                "feature": first(attributes, "feature") or first(call, "display_name"),
            },
        )


def _cost(costs: Any) -> float | None:
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


DIALECT = Dialect(
    name="weave",
    title="Weights & Biases Weave calls",
    signature="`op_name`, `started_at` and `summary`",
    matches=has("op_name", "started_at", "summary"),
    reading=lambda _: Reading(
        {**OURS, **{k: v for k, v in usage("usage").items() if k != "service_tier"}}, unpack=_unpack
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
