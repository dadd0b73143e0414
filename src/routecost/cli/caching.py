"""`--cache` and `--cache-order` of `routecost simulate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from routecost.pipeline.intake import Options, Progress
    from routecost.pipeline.repeats import Cache
    from routecost.pipeline.simulation import Simulation
    from routecost.render import Document

CacheOption = Annotated[
    str | None,
    typer.Option(
        "--cache",
        help="Also with an exact-match response cache: exact (kept for ever) or exact:TTL, such as exact:1h. "
        "It reads the log once more.",
    ),
]
CacheOrderOption = Annotated[
    Literal["before", "after"],
    typer.Option(
        "--cache-order",
        help="before: a hit is not classified, and the key has no model. after: the key has the model chosen.",
    ),
]


def wanted(text: str | None, order: Literal["before", "after"], paths: Sequence[str]) -> Cache | None:
    """The cache that was asked for; a mistake in it is told before the log is read."""
    from routecost.pipeline.repeats import parse_cache, require_logs

    if text is None:
        return None
    cache = parse_cache(text, order)
    require_logs(paths)
    return cache


def cached(
    document: Document,
    result: Simulation,
    cache: Cache | None,
    paths: Sequence[str],
    tables: Sequence[str],
    options: Options,
    pricing: Sequence[Path],
    progress: Progress | None,
) -> Document:
    """The document of a simulation, with its caching stack where one was asked for."""
    from routecost.pipeline.caching import caching
    from routecost.render.caching import with_caching

    if cache is None:
        return document
    found = caching(paths, result, tables, cache, options=options, pricing=pricing, progress=progress)
    return with_caching(document, found, result)
