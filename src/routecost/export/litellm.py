"""Routing tables as LiteLLM proxy configs, and back.

Every task and mode is a model group, `simple-eco`; so is the default, `default-eco`. A group without its mode
(`simple`, `default`) is an alias for the table's default mode. The client, or routecost's callback, asks for a group by
its name. Fallbacks are groups that carry the model's own name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from routecost.errors import InputError
from routecost.export.cells import Cell, Exported, Resolve, cells, comment_lines, heading, left_out
from routecost.export.litellm_read import from_litellm
from routecost.export.providers import LITELLM_SETTINGS, deployments
from routecost.routing import Table
from routecost.routing.write import flow

__all__ = ["from_litellm", "to_litellm"]

# how many fallbacks LiteLLM's router tries when its settings do not say
_TRIED: Final = 5


def to_litellm(table: Table, resolve: Resolve, *, names: Mapping[str, str] | None = None) -> Exported:
    """A config with `model_list` and `router_settings`; keys are read from the environment by LiteLLM.

    names: a provider of the price book -> LiteLLM's prefix for it, where it is not known.
    """
    routed = cells(table)
    others = list(dict.fromkeys(other for cell in routed for other in cell.fallbacks))
    aliases = _aliases(table, routed)
    _check_unique(routed, others, aliases)
    served = deployments([*(cell.model for cell in routed), *others], resolve, "litellm", names or {})
    left = left_out(table)
    lines = [*comment_lines(heading(table, left)), "model_list:"]
    for cell in routed:
        if cell.evidence:
            lines += comment_lines([cell.evidence], "  # ")
        info: dict[str, Any] = {"task": cell.task, "mode": cell.mode, "model": cell.model}
        lines += _deployment(_group(cell), served[cell.model], info | ({"inherited": True} if cell.inherited else {}))
    if others:
        lines.append("  # what is called when a group's model fails")
    for model in others:
        lines += _deployment(model, served[model], {"model": model})
    if not routed:
        lines[-1] += " []"
    lines += ["router_settings:", f"  model_group_alias: {flow(aliases)}", *_fallbacks(routed, aliases)]
    return Exported("\n".join(lines) + "\n", left)


def _group(cell: Cell) -> str:
    return f"{cell.task}-{cell.mode}"


def _aliases(table: Table, routed: Sequence[Cell]) -> dict[str, str]:
    return {cell.task: _group(cell) for cell in routed if cell.mode == table.default_mode}


def _check_unique(routed: Sequence[Cell], others: Sequence[str], aliases: Mapping[str, str]) -> None:
    # a name used twice would share out requests at random between two models
    seen = set()
    for name in [*map(_group, routed), *others, *aliases]:
        if name in seen:
            raise InputError(
                f"two model groups would be called {name}: a group is named TASK-MODE, and a fallback by its model. "
                "Give the task or the mode another name."
            )
        seen.add(name)


def _deployment(group: str, served: tuple[str, str], info: Mapping[str, Any]) -> Iterator[str]:
    provider, model = served
    called = f"{provider}/{model}"
    settings = {key: f"os.environ/{name}" for key, name in LITELLM_SETTINGS.get(provider, {}).items()}
    yield f"  - model_name: {flow(group)}"
    yield f"    litellm_params: {flow({'model': called, **settings})}"
    yield f"    model_info: {flow({'routecost': {**info, 'called': called}})}"


def _fallbacks(routed: Sequence[Cell], aliases: Mapping[str, str]) -> Iterator[str]:
    given = [cell for cell in routed if cell.fallbacks]
    if not given:
        return
    most = max(len(cell.fallbacks) for cell in given)
    if most > _TRIED:
        yield f"  max_fallbacks: {most}"
    yield "  fallbacks:"
    for cell in given:
        # LiteLLM looks fallbacks up by the name that was asked for, alias or not
        for name in (_group(cell), *(alias for alias, group in aliases.items() if group == _group(cell))):
            yield f"    - {flow({name: list(cell.fallbacks)})}"
