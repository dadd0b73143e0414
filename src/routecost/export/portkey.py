"""Routing tables as Portkey configs (https://portkey.ai/docs/product/ai-gateway/conditional-routing).

A request says what it is in its metadata, `x-portkey-metadata: {"task": "simple", "mode": "eco"}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from routecost.errors import InputError
from routecost.export.cells import DEFAULT, Cell, Exported, Resolve, cells, heading, left_out
from routecost.export.providers import deployments
from routecost.routing import Table


def to_portkey(table: Table, resolve: Resolve, *, names: Mapping[str, str] | None = None) -> Exported:
    """A config of conditional routing by the metadata `task` and `mode`, with a nested fallback where there are
    fallbacks.

    A target names its provider as in the Model Catalog, `@openai`; names: a provider of the price book -> its slug
    there. JSON has no comments: what a reader should know stands under `routecost`, which Portkey does not read.
    """
    routed = {(cell.task, cell.mode): cell for cell in cells(table)}
    mode = table.default_mode
    if (DEFAULT, mode) not in routed:
        raise InputError(
            f"the table {table.name} has no default in {mode} mode, and a Portkey config must have one: add `default`."
        )
    names_of: dict[str, tuple[str, str]] = {}
    for key, cell in routed.items():
        name = f"{cell.task}-{cell.mode}"
        if name in names_of:
            raise InputError(f"two targets would be called {name} (TASK-MODE). Give the task or the mode another name.")
        names_of[name] = key
    models = [model for cell in routed.values() for model in (cell.model, *cell.fallbacks)]
    served = deployments(models, resolve, "portkey", names or {})
    left = left_out(table)
    config = {
        "strategy": {
            "mode": "conditional",
            "conditions": [_condition(cell, mode) for cell in _in_order(table, routed)],
            "default": f"{DEFAULT}-{mode}",
        },
        "targets": [_target(cell, served) for cell in routed.values()],
        "routecost": {
            "about": heading(table, left),
            "evidence": {name: said for name, key in names_of.items() if (said := routed[key].evidence)},
        },
    }
    return Exported(json.dumps(config, indent=2, ensure_ascii=False) + "\n", left)


def _in_order(table: Table, routed: Mapping[tuple[str, str], Cell]) -> list[Cell]:
    """The first condition that holds decides, so a task's default mode comes last: it also takes the requests without
    a mode of the table. The default in the default mode is no condition."""
    last = table.default_mode
    modes = [*(mode for mode in table.modes() if mode != last), last]
    found = [routed[task, mode] for task in [*table.routes, DEFAULT] for mode in modes if (task, mode) in routed]
    return [cell for cell in found if (cell.task, cell.mode) != (DEFAULT, last)]


def _condition(cell: Cell, default_mode: str) -> dict[str, Any]:
    tests: list[dict[str, Any]] = []
    if cell.task != DEFAULT:
        tests.append({"metadata.task": {"$eq": cell.task}})
    if cell.mode != default_mode:
        tests.append({"metadata.mode": {"$eq": cell.mode}})
    return {"query": tests[0] if len(tests) == 1 else {"$and": tests}, "then": f"{cell.task}-{cell.mode}"}


def _target(cell: Cell, served: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    name = f"{cell.task}-{cell.mode}"
    calls = [
        {"provider": f"@{provider.removeprefix('@')}", "override_params": {"model": model}}
        for provider, model in (served[model] for model in (cell.model, *cell.fallbacks))
    ]
    if len(calls) == 1:
        return {"name": name, **calls[0]}
    return {"name": name, "strategy": {"mode": "fallback"}, "targets": calls}
