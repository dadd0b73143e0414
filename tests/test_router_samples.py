"""A router and every shipped sample: each kind of override, and the cells that `simulate` routes."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from routecost import shipped, tasks
from routecost.classifier import Classifier, load
from routecost.pipeline import intake, labelling
from routecost.prices import Book, read_prices
from routecost.router import Router
from routecost.routing import Override, Table, read_table, route, rule_expression
from routecost.schema import INPUT_KINDS, REQUEST

OVERRIDES: Final = {
    "task": Override("o", task=("reas*",), mode=("sport",)),
    "provider": Override({"eco": "o", "balanced": "p"}, provider=("mistral", "groq", "azure*")),
    "logged_model": Override("o", logged_model=("claude-*-4-6", "*haiku*", "gemini-*flash")),
    "keep": Override(None, logged_model=("codestral*",), provider=("mistral",)),
    "mode": Override("o", mode=("eco",), task=("code",)),
    "feature": Override("o", feature=("ticket-*", "help-center")),
    "user": Override("o", user=("cod00*", "tenant-0*")),
    "session": Override("o", session=("batch-1*8", "batch-4")),
    "project": Override("o", project=("team-*",)),
    "pattern": Override({"balanced": "o"}, pattern=r"(?i)\bsummar\w+|\d{2,}\s*%"),
    "system_pattern": Override("o", system_pattern=r"(?i)agent|lighthouse\.$"),
    "min_input_tokens": Override("o", min_input_tokens=4_000),
    "max_input_tokens": Override("o", max_input_tokens=40, feature=("*",)),
    "several": Override("o", min_input_tokens=900, max_input_tokens=1_100, pattern="^[A-Z]", user=("*",)),
}
ALL: Final = Table(
    name="all",
    default={"eco": "d-eco", "balanced": "d-balanced", "sport": "d-sport"},
    routes={
        "simple": {"eco": "small", "balanced": "small", "sport": "large"},
        "code": {"eco": "coder", "sport": "large"},
        "reasoning": {"balanced": "large"},
    },
    overrides=tuple(OVERRIDES.values()),
    fallbacks={"small": ("f-1", "f-2"), "o": ("f-3",), "d-balanced": ("f-4",), "claude-opus-4-7": ("f-5",)},
    speculative=("balanced", "eco"),
)
TABLES: Final = {
    **{name: read_table(name) for name in ("default", "prism-v1.7-a", "worked-example")},
    "all": ALL,
    "the other way round": replace(ALL, overrides=ALL.overrides[::-1], default=None, default_mode="turbo"),
    "empty": Table("empty", default_mode="eco"),
}
SAMPLES: Final = shipped.folder("sample_logs")
# requests of batches are in one file, and their answers in others
TOGETHER: Final = [
    ("anthropic-batch-requests.jsonl", "anthropic-batch-results.jsonl"),
    ("openai-batch-input.jsonl", "openai-batch-output.jsonl", "openai-batch-errors.jsonl"),
]
FILES: Final = [
    *(tuple(str(SAMPLES / "dialects" / name) for name in names) for names in TOGETHER),
    *(
        (str(path),)
        for path in sorted(SAMPLES.rglob("*"))
        if path.is_file() and path.suffix != ".md" and not any(path.name in names for names in TOGETHER)
    ),
]


@functools.cache
def model() -> Classifier:
    return load()


@functools.cache
def book() -> Book:
    return read_prices()


def known(name: str) -> bool:
    return book().resolve(None, name) is not None


@functools.cache
def logged(paths: tuple[str, ...]) -> pl.DataFrame:
    """The requests of files, with their tasks as `analyze` decides them."""
    opened = labelling.open_paths(paths, None)
    requests = pl.concat(labelling.over(opened, lambda chunk, _: chunk.parse(tuple(REQUEST)).requests, [], None))
    decided = tasks.classify(requests, model().predict, tasks.read_rules())
    return decided.rename({"task": "decided"}).with_columns(requests["task"])


KEYS: Final = ("task", "routed_model", "routed_mode", "route_reason", "speculative_model")


def expected(requests: pl.DataFrame, table: Table) -> list[tuple[Any, ...]]:
    ruled = requests.with_columns(rule_expression(table.request_rules()), task=pl.col("decided"))
    return route(ruled, table, in_catalogue=known).select(*KEYS, "task_source", "confidence").rows()


def found(router: Router, row: Mapping[str, Any]) -> tuple[Any, ...]:
    same = (
        "mode",
        "feature",
        "model_override",
        "system",
        "n_messages",
        "needs",
        "project",
        "provider",
        "model",
        "file",
    )
    tokens = [row[kind] for kind in INPUT_KINDS if row[kind] is not None]
    d = router.route(
        row["prompt"],
        **{name: row[name] for name in same},
        previous_message=row["previous_prompt"],
        user=row["user_id"],
        session=row["session_id"],
        input_tokens=sum(tokens) if tokens else None,
        task=row["task"],
    )
    assert d.error is None
    return d.task, d.model, d.mode, d.reason, d.speculative, d.task_source, d.confidence


@pytest.mark.parametrize("name", TABLES)
def test_every_request_of_every_sample(name: str) -> None:
    router = Router(TABLES[name], model(), book=book())
    for paths in FILES:
        requests = logged(paths)
        assert requests.height
        assert [found(router, row) for row in requests.to_dicts()] == expected(requests, TABLES[name]), paths


@pytest.mark.parametrize("kind", OVERRIDES)
def test_each_kind_of_override_alone(kind: str) -> None:
    table = replace(ALL, overrides=(OVERRIDES[kind],))
    router = Router(table, model(), book=book())
    reasons: set[str] = set()
    for paths in FILES:
        requests = logged(paths)
        rows = expected(requests, table)
        assert [found(router, row) for row in requests.to_dicts()] == rows, paths
        reasons |= {row[KEYS.index("route_reason")] for row in rows}
    assert {f"override:{OVERRIDES[kind].key}", "route", "pinned"} <= reasons


@pytest.mark.parametrize("name", ["support-month.jsonl.gz", "worked-example.jsonl", "gateway-export.csv"])
def test_the_cells_that_simulate_routes_are_the_decisions_counted(name: str) -> None:
    paths = (str(SAMPLES / name),)
    read = intake.read(paths, book(), tables=[ALL])
    assert not read.duplicates
    cells = route(read.usage.cells, ALL, in_catalogue=known)
    counted = {row[:-1]: row[-1] for row in cells.group_by(KEYS).agg(pl.col("requests").sum()).rows()}
    router = Router(ALL, model(), book=book())
    assert Counter(found(router, row)[: len(KEYS)] for row in logged(paths).to_dicts()) == counted


def test_all_samples_are_there() -> None:
    named = {Path(path).name for paths in FILES for path in paths}
    assert named == {path.name for path in SAMPLES.rglob("*") if path.is_file() and path.suffix != ".md"}
