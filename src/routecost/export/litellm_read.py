"""LiteLLM proxy configs as routing tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from routecost.errors import InputError
from routecost.export.cells import DEFAULT
from routecost.export.providers import LITELLM
from routecost.routing import Table, table_of
from routecost.schema import MODES, TASKS

# codestral/ is Mistral's own endpoint for it, vertex_ai/ and gemini/ are both Google's
_OURS: Final = {theirs: ours for ours, theirs in LITELLM.items()} | {"vertex_ai": "google", "cohere_chat": "cohere"}


@dataclass(frozen=True)
class _Group:
    name: str
    model: str
    task: str | None
    mode: str | None
    inherited: bool


def from_litellm(path: Path) -> tuple[Table, tuple[str, ...]]:
    """The table in a LiteLLM config, and what of the config is not in it.

    What `to_litellm` wrote is read back as it was. In other configs a group is a cell when it is called as ours are
    (`simple-eco`, `default-balanced`) or as a task is (`simple`, `default`: every mode); other groups give only
    fallbacks.
    """
    config = _config(path)
    settings = {**_mapping(config, "litellm_settings", path), **_mapping(config, "router_settings", path)}
    groups, notes = _groups(config, path)
    routes: dict[str, Any] = {}
    for group in groups.values():
        if group.task is not None and not group.inherited:
            _put(routes, group, notes)
    fallbacks: dict[str, Any] = {}
    aliases = _mapping(settings, "model_group_alias", path)
    for name, others in _fallbacks(settings, path):
        if name in aliases:
            continue
        if name not in groups:
            notes.append(f"fallbacks of {name}, which is not in model_list")
            continue
        model, models = groups[name].model, [groups[o].model if o in groups else _ours(o) for o in others]
        if fallbacks.setdefault(model, models) != models:
            notes.append(f"other fallbacks of {model}, for {name}: a table has one list for a model")
    mode = _default_mode(aliases, groups)
    content: dict[str, Any] = {"routes": {task: row for task, row in routes.items() if task != DEFAULT}}
    content |= {"fallbacks": fallbacks} if fallbacks else {}
    content |= {"default": routes[DEFAULT]} if DEFAULT in routes else {}
    content |= {"default_mode": mode} if mode else {}
    if not routes:
        notes.append(
            "any route: no group is called TASK-MODE, as in simple-eco, or as a task is "
            f"({', '.join((*TASKS, DEFAULT))}); the groups are {', '.join(groups) or 'none'}"
        )
    notes += [f"{key}" for key in ("context_window_fallbacks", "content_policy_fallbacks") if settings.get(key)]
    return table_of(content, path), tuple(notes)


def _config(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from error
    except (UnicodeDecodeError, yaml.YAMLError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is not YAML, as a LiteLLM config is: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_list"), list):
        raise InputError(f"{path} is not a LiteLLM config: it has no list `model_list`.")
    return config


def _mapping(config: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    value = config.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{path}: {key} is not a mapping.")
    return value


def _groups(config: Mapping[str, Any], path: Path) -> tuple[dict[str, _Group], list[str]]:
    groups, notes = dict[str, _Group](), list[str]()
    for i, entry in enumerate(config["model_list"], 1):
        params = entry.get("litellm_params") if isinstance(entry, dict) else None
        called = params.get("model") if isinstance(params, dict) else None
        name = entry.get("model_name") if isinstance(entry, dict) else None
        if not isinstance(called, str) or not isinstance(name, str):
            raise InputError(f"{path}: entry {i} of model_list has no model_name, or no litellm_params.model.")
        if name in groups:
            notes.append(f"{called}, a further deployment of {name}: a table has one model there")
            continue
        info = entry.get("model_info")
        groups[name] = _group(name, called, info.get("routecost") if isinstance(info, dict) else None)
    return groups, notes


def _group(name: str, called: str, ours: object) -> _Group:
    if isinstance(ours, dict):
        # somebody may have changed the deployment and not what we noted of it
        model = ours.get("model") if ours.get("called") == called else None
        return _Group(
            name,
            model if isinstance(model, str) else _ours(called),
            ours.get("task"),
            ours.get("mode"),
            ours.get("inherited") is True and ours.get("called") == called,
        )
    task, dash, mode = name.rpartition("-")
    if dash and task and mode in MODES:
        return _Group(name, _ours(called), task, mode, False)
    return _Group(name, _ours(called), name if name in (*TASKS, DEFAULT) else None, None, False)


def _ours(called: str) -> str:
    """Our name of a LiteLLM model: its prefix is our provider's name."""
    prefix, slash, model = called.partition("/")
    return f"{_OURS.get(prefix, prefix)}/{model}" if slash else called


def _put(routes: dict[str, Any], group: _Group, notes: list[str]) -> None:
    assert group.task is not None
    row = routes.get(group.task)
    if group.mode is None and row is None:
        routes[group.task] = group.model
    elif group.mode is not None and isinstance(row, dict | None):
        routes.setdefault(group.task, {})[group.mode] = group.model
    else:
        notes.append(f"{group.name}: {group.task} has a group for every mode and groups for some")


def _fallbacks(settings: Mapping[str, Any], path: Path) -> Iterator[tuple[str, list[str]]]:
    given = settings.get("fallbacks") or []
    problem = InputError(f"{path}: fallbacks are not a list such as [{{simple-eco: [claude-sonnet-4-6]}}].")
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise problem
    for one in given:
        for name, others in one.items():
            if not isinstance(others, list) or not all(isinstance(other, str) for other in others):
                raise problem
            yield name, others


def _default_mode(aliases: Mapping[str, Any], groups: Mapping[str, _Group]) -> str | None:
    """The mode that a task's name alone stands for, as in `simple: simple-eco`."""
    for task, name in aliases.items():
        group = groups.get(name) if isinstance(name, str) else None
        if group is not None and group.task == task and group.mode is not None:
            return group.mode
    return None
