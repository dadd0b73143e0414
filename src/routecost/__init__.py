"""What your LLM traffic costs, and what a routing table would save, from your own request logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from routecost.pipeline.commands import analyze, classify, estimate, sensitivity, simulate, tally
    from routecost.prices import read_prices
    from routecost.router import Decision, Router
    from routecost.routing import read_table

__version__ = "0.1.0"

__all__ = [
    "Decision",
    "Router",
    "analyze",
    "classify",
    "estimate",
    "read_prices",
    "read_table",
    "sensitivity",
    "simulate",
    "tally",
]

_HOMES = {
    "Decision": "routecost.router",
    "Router": "routecost.router",
    "analyze": "routecost.pipeline.commands",
    "classify": "routecost.pipeline.commands",
    "estimate": "routecost.pipeline.commands",
    "sensitivity": "routecost.pipeline.commands",
    "simulate": "routecost.pipeline.commands",
    "tally": "routecost.pipeline.commands",
    "read_prices": "routecost.prices",
    "read_table": "routecost.routing",
}


def __getattr__(name: str) -> Any:
    # `routecost --help` must not wait for Polars
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'routecost' has no attribute {name!r}")
