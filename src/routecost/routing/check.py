"""What is wrong with a routing table, and what two tables do differently."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from routecost.routing.table import EVERY_TASK, Override, Table, in_order
from routecost.schema import MODES, TASKS

Level = Literal["error", "warning", "note"]
_LEVELS: Final = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """Something to look at: where in the table, what it is, and how to mend it (`fix` may be empty)."""

    level: Level
    where: str
    message: str
    fix: str = ""


@dataclass(frozen=True)
class Change:
    """One difference: `old` and `new` are what stands there, null where nothing does."""

    kind: Literal["added", "removed", "changed", "moved"]
    where: str
    old: str | None
    new: str | None


class Resolved(Protocol):
    """What a model name means in the price book."""

    @property
    def key(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def tier(self) -> str | None: ...
    @property
    def context_window(self) -> int | None: ...


def validate(
    table: Table,
    resolve: Callable[[str], Resolved | None],
    nearest: Callable[[str], list[str]],
    candidates: Callable[[str], Sequence[Resolved]] | None = None,
) -> list[Finding]:
    """Everything found in a table, errors first; a table without an error can be simulated.

    resolve: a model name -> what it means, or None when it has no price; nearest: the known names like it;
    candidates: a tier -> the models in it by name, from which fallbacks are suggested.
    """
    known = {model: resolve(model) for model in table.models()}
    findings = [
        *_models(table, known, nearest),
        *_settings(table),
        *_modes(table),
        *_names(table),
        *_fallbacks(table, known, candidates),
        *_speculative(table, known, candidates),
        *_overrides(table),
        *_ratios(table, resolve, nearest),
        *_gaps(table),
    ]
    return sorted(findings, key=lambda finding: _LEVELS.index(finding.level))


def diff(old: Table, new: Table) -> list[Change]:
    """What changes from one table to the other: cell by cell, default, overrides (by their conditions; `moved` when
    their order changes), fallbacks, settings, lengths of answers, how it came about."""
    modes = in_order((*old.modes(), *new.modes()))
    changes: list[Change] = []

    def add(where: str, before: str | None, after: str | None) -> None:
        if before != after:
            kind: Literal["added", "removed", "changed"] = "changed"
            kind = "added" if before is None else "removed" if after is None else kind
            changes.append(Change(kind, where, before, after))

    for task in dict.fromkeys((*old.routes, *new.routes)):
        for mode in modes:
            add(f"routes.{task}.{mode}", old.routes.get(task, {}).get(mode), new.routes.get(task, {}).get(mode))
    for mode in modes:
        add(f"default.{mode}", (old.default or {}).get(mode), (new.default or {}).get(mode))
    changes += _override_changes(old, new)
    for model in dict.fromkeys((*old.fallbacks, *new.fallbacks)):
        add(f"fallbacks.{model}", _joined(old.fallbacks.get(model)), _joined(new.fallbacks.get(model)))
    for name, value in _plain_settings(old).items():
        add(name, value, _plain_settings(new)[name])
    for said in (_ratios_by_place, _made_by_place):
        was, now = said(old), said(new)
        for where in dict.fromkeys((*was, *now)):
            add(where, was.get(where), now.get(where))
    return changes


# --- validate ------------------------------------------------------------------------------------------------------


def _models(
    table: Table, known: Mapping[str, Resolved | None], nearest: Callable[[str], list[str]]
) -> Iterator[Finding]:
    places = _places(table)
    for model, resolved in known.items():
        if resolved is None:
            near = nearest(model)
            fix = f"Did you mean {', '.join(near)}? Otherwise" if near else "Check the name, or"
            yield Finding(
                "error",
                ", ".join(places[model]),
                f"the model {model} is not in the price book.",
                f"{fix} give it a price, or an alias, in an overlay (--pricing FILE).",
            )


def _settings(table: Table) -> Iterator[Finding]:
    rate = table.failover_rate
    if isinstance(rate, int | float) and not 0 <= rate <= 1:
        yield Finding("error", "failover_rate", f"{rate:g} is not a share", "Give a number from 0 to 1, or from-log.")
    if not 0 <= table.loser_share <= 1:
        yield Finding(
            "error",
            "loser_share",
            f"{table.loser_share:g} is not a share",
            "Give a number from 0 (a call that loses costs nothing) to 1 (it is paid in full).",
        )
    for name, value in (
        ("classifier.cost_per_request_usd", table.classifier_cost_per_request_usd),
        ("classifier.latency_ms", table.classifier_latency_ms),
    ):
        if value is not None and not 0 <= value < float("inf"):
            yield Finding("error", name, f"{value:g} is not an amount", "Give a number of 0 or more.")
    if rate is not None and not table.fallbacks:
        yield Finding(
            "warning",
            "failover_rate",
            "there are no fallbacks, so no failed call is paid anywhere",
            "Add fallbacks, or remove failover_rate.",
        )


def _modes(table: Table) -> Iterator[Finding]:
    modes = table.modes()
    if table.default_mode not in modes:
        yield Finding(
            "error",
            "default_mode",
            f"{table.default_mode} is not one of the table's modes ({', '.join(modes)}), so requests without a mode "
            "have no model",
            f"Set default_mode to one of {', '.join(modes)}{_or_near(table.default_mode, modes)}.",
        )
    for mode in table.speculative:
        if mode not in modes:
            yield Finding(
                "warning",
                "speculative",
                f"{mode} is not one of the table's modes ({', '.join(modes)}), so nothing is fired twice",
                f"Name one of {', '.join(modes)}{_or_near(mode, modes)}, or remove it.",
            )


def _names(table: Table) -> Iterator[Finding]:
    """Tasks and modes that are spelled like a usual one but are not it."""
    tasks = [(f"routes.{task}", task) for task in table.routes]
    tasks += [
        (f"output_ratios.{model}.{task}", task)
        for model, ratios in table.output_ratios.items()
        for task in ratios
        if task != EVERY_TASK
    ]
    modes = [("modes", mode) for mode in table.modes()]
    for i, override in enumerate(table.overrides, 1):
        tasks += [(f"override {i}.task", task) for task in override.task if "*" not in task]
        modes += [(f"override {i}.mode", mode) for mode in override.mode if "*" not in mode]
    for what, seen, usual in (("task", tasks, TASKS), ("mode", modes, MODES)):
        for where, name in dict.fromkeys(seen):
            if name not in usual and (near := _near(name, usual)):
                yield Finding(
                    "warning",
                    where,
                    f"the {what} {name} is not one of {', '.join(usual)}",
                    f"Did you mean {near}? Requests of the {what} {near} do not get here.",
                )


def _fallbacks(
    table: Table,
    known: Mapping[str, Resolved | None],
    candidates: Callable[[str], Sequence[Resolved]] | None,
) -> Iterator[Finding]:
    used = _used(table)
    for model, others in table.fallbacks.items():
        first = known[model]
        if model not in used:
            same = [name for name in used if first and (r := known[name]) and r.key == first.key]
            if same:
                yield Finding(
                    "error",
                    f"fallbacks.{model}",
                    f"the table calls this model {same[0]}, so its fallback is never found",
                    f"Write it as {same[0]}.",
                )
            else:
                yield Finding("note", f"fallbacks.{model}", "the table sends nothing to this model", "Remove it.")
        for other in others:
            second = known[other]
            if first is None or second is None:
                continue
            where, fix = f"fallbacks.{model}", _suggestion(first, candidates)
            if second.provider == first.provider:
                yield Finding(
                    "error",
                    where,
                    f"{other} is served by {second.provider} as well, and fails with it",
                    fix or "Name a model of another provider.",
                )
            elif first.tier is None or second.tier is None:
                nameless = model if first.tier is None else other
                yield Finding(
                    "warning",
                    where,
                    f"{nameless} has no tier, so it is not known whether {other} is equivalent to {model}",
                    "Give it a tier in an overlay (--pricing FILE).",
                )
            elif second.tier != first.tier:
                yield Finding(
                    "error",
                    where,
                    f"{other} is a {second.tier} model and {model} a {first.tier} one; a fallback must be equivalent",
                    fix or f"Name a {first.tier} model of another provider.",
                )


def _speculative(
    table: Table,
    known: Mapping[str, Resolved | None],
    candidates: Callable[[str], Sequence[Resolved]] | None,
) -> Iterator[Finding]:
    for mode in table.speculative:
        for model in _used(table, [mode]):
            if not table.fallbacks.get(model):
                resolved = known[model]
                fix = _suggestion(resolved, candidates) if resolved else ""
                yield Finding(
                    "error",
                    f"fallbacks.{model}",
                    f"{mode} is speculative, where both calls are paid, and {model} is used in it; without a fallback "
                    "there is nothing to fire",
                    fix or f"Add a fallback for {model}, of another provider and the same tier.",
                )


def _overrides(table: Table) -> Iterator[Finding]:
    decided: list[tuple[int, Override, set[str]]] = []
    modes = in_order((*table.modes(), table.default_mode))
    for i, override in enumerate(table.overrides, 1):
        active = _active_modes(override, modes)
        where = f"override {i} ({override})"
        low, high = override.min_input_tokens, override.max_input_tokens
        if low is not None and high is not None and low > high:
            yield Finding(
                "warning",
                where,
                f"it never matches: min_input_tokens {low} is above max_input_tokens {high}",
                "Exchange the two, or remove the override.",
            )
        elif not active:
            yield Finding(
                "warning",
                where,
                f"it never matches: no mode of the table ({', '.join(modes)}) meets its condition"
                + (" and is one that its models are named for" if isinstance(override.target, Mapping) else ""),
                "Correct the mode, or remove the override.",
            )
        else:
            for j, earlier, earlier_modes in decided:
                if active <= earlier_modes and _covers(earlier, override):
                    yield Finding(
                        "warning",
                        where,
                        f"override {j} ({earlier}) comes first and takes everything that it would match",
                        f"Move it above override {j}, or remove it.",
                    )
                    break
            decided.append((i, override, active))


def _ratios(
    table: Table, resolve: Callable[[str], Resolved | None], nearest: Callable[[str], list[str]]
) -> Iterator[Finding]:
    for model in table.output_ratios:
        if resolve(model) is None:
            near = nearest(model)
            yield Finding(
                "warning",
                f"output_ratios.{model}",
                f"the model {model} is not in the price book, so its ratio is never used",
                f"Did you mean {', '.join(near)}? Otherwise remove it." if near else "Check the name, or remove it.",
            )


def _gaps(table: Table) -> Iterator[Finding]:
    if table.is_empty:
        yield Finding("warning", "routes", "the table routes nothing", "Add routes, or a default.")
        return
    default = table.default or {}
    modes = table.modes()
    for task, row in table.routes.items():
        if missing := [mode for mode in modes if mode not in row]:
            with_default = [mode for mode in missing if mode in default]
            without = [mode for mode in missing if mode not in default]
            parts = [f"the default is used in {', '.join(with_default)}"] if with_default else []
            parts += [f"requests stay on the model they were logged with in {', '.join(without)}"] if without else []
            yield Finding("note", f"routes.{task}", f"it names no model for every mode: {'; '.join(parts)}")
    if missing := [mode for mode in modes if mode not in default]:
        yield Finding(
            "note",
            "default",
            f"there is none for {', '.join(missing)}: requests that no route covers (unclassified ones, too) stay on "
            "the model they were logged with",
        )


def _places(table: Table) -> dict[str, list[str]]:
    """model -> where the table names it; a row that is one model for every mode is one place."""
    modes, places = table.modes(), dict[str, list[str]]()
    rows = [(f"routes.{task}", row) for task, row in table.routes.items()]
    rows.append(("default", table.default or {}))
    rows += [(f"override {i}", override.targets(modes)) for i, override in enumerate(table.overrides, 1)]
    for where, row in rows:
        if len(row) > 1 and len(set(row.values())) == 1:
            places.setdefault(next(iter(row.values())), []).append(where)
        else:
            for mode, model in row.items():
                places.setdefault(model, []).append(f"{where}.{mode}")
    for model, others in table.fallbacks.items():
        for name in (model, *others):
            places.setdefault(name, []).append(f"fallbacks.{model}")
    return places


def _used(table: Table, modes: Iterable[str] | None = None) -> list[str]:
    """The models that requests in these modes (default: any) can be sent to, in the order of the table."""
    named: list[str] = []
    for mode in modes if modes is not None else in_order((*table.modes(), table.default_mode)):
        named += [row[mode] for row in (*table.routes.values(), table.default or {}) if mode in row]
        named += [model for override in table.overrides for model in override.targets([mode]).values()]
    return list(dict.fromkeys(named))


def _suggestion(model: Resolved, candidates: Callable[[str], Sequence[Resolved]] | None) -> str:
    if candidates is None or model.tier is None:
        return ""
    # One a provider: a list of one provider's versions is no choice.
    # One a provider, its last, which is the newest where versions are in the name; first the same model elsewhere.
    last = {other.provider: other for other in candidates(model.tier) if other.provider != model.provider}
    best = sorted(last.values(), key=lambda other: model.model not in other.model)[:3]
    return f"For example {', '.join(f'{other.provider}/{other.model}' for other in best)}." if best else ""


def _active_modes(override: Override, modes: Sequence[str]) -> set[str]:
    active = {m for m in modes if not override.mode or any(_glob_covers(glob, m) for glob in override.mode)}
    return active & set(override.targets(modes)) if isinstance(override.target, Mapping) else active


def _covers(earlier: Override, later: Override) -> bool:
    """Whether every request that meets the later conditions meets the earlier ones; modes aside."""
    mine = later.conditions
    for name, value in earlier.conditions.items():
        if name == "mode":
            continue
        other = mine.get(name)
        if isinstance(value, tuple):
            if not isinstance(other, tuple) or not all(any(_glob_covers(g, o) for g in value) for o in other):
                return False
        elif isinstance(value, int):
            if not isinstance(other, int) or (other < value if name == "min_input_tokens" else other > value):
                return False
        elif other != value:
            return False
    return True


def _glob_covers(glob: str, other: str) -> bool:
    """Whether `glob` matches whatever `other` matches: it does when it matches it as text, because a `*` in `other`
    can only have been matched by a `*`."""
    first, *rest = glob.split("*")
    if not rest:
        return glob == other
    if not other.startswith(first):
        return False
    at = len(first)
    for part in rest[:-1]:
        found = other.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(other) - at >= len(rest[-1]) and other.endswith(rest[-1])


def _near(name: str, usual: Sequence[str]) -> str | None:
    near = difflib.get_close_matches(name.lower(), usual, n=1, cutoff=0.7)
    return near[0] if near else None


def _or_near(name: str, usual: Sequence[str]) -> str:
    near = _near(name, usual)
    return f" (did you mean {near}?)" if near else ""


# --- diff ----------------------------------------------------------------------------------------------------------


def _override_changes(old: Table, new: Table) -> Iterator[Change]:
    # The first of two overrides with the same conditions decides.
    before = {o.key: (i, o) for i, o in reversed(list(enumerate(old.overrides, 1)))}
    after = {o.key: (i, o) for i, o in reversed(list(enumerate(new.overrides, 1)))}
    before, after = (dict(sorted(side.items(), key=lambda item: item[1][0])) for side in (before, after))
    kept = [key for key in before if key in after]
    order = [key for key in after if key in before]
    steady = {
        key
        for block in difflib.SequenceMatcher(None, kept, order, autojunk=False).get_matching_blocks()
        for key in kept[block.a : block.a + block.size]
    }
    for key, (_, override) in before.items():
        if key not in after:
            yield Change("removed", f"override {override}", _target(override), None)
    for key, (place, override) in after.items():
        where, now = f"override {override}", _target(override)
        if key not in before:
            yield Change("added", where, None, now)
            continue
        old_place, was = before[key][0], _target(before[key][1])
        if was != now:
            yield Change("changed", where, was, now)
        if key not in steady:
            yield Change("moved", where, f"number {old_place}", f"number {place}")


def _target(override: Override) -> str:
    if override.target is None:
        return "keep"
    if isinstance(override.target, str):
        return override.target
    return ", ".join(f"{mode}: {override.target[mode]}" for mode in in_order(override.target))


def _joined(models: tuple[str, ...] | None) -> str | None:
    return None if models is None else ", ".join(models)


def _plain_settings(table: Table) -> dict[str, str | None]:
    def plain(value: float | str | None) -> str | None:
        return None if value is None else value if isinstance(value, str) else f"{value:g}"

    return {
        "default_mode": table.default_mode,
        "failover_rate": plain(table.failover_rate),
        "speculative": ", ".join(in_order(table.speculative)) or None,
        "loser_share": plain(table.loser_share),
        "classifier.cost_per_request_usd": plain(table.classifier_cost_per_request_usd),
        "classifier.latency_ms": plain(table.classifier_latency_ms),
    }


def _ratios_by_place(table: Table) -> dict[str, str]:
    return {
        f"output_ratios.{model}" if task == EVERY_TASK else f"output_ratios.{model}.{task}": f"{ratio:g}"
        for model, ratios in table.output_ratios.items()
        for task, ratio in ratios.items()
    }


def _made_by_place(table: Table) -> dict[str, str]:
    made = table.made
    if made is None:
        return {}
    until = made.evidence_until
    plain = {
        "date": made.date.isoformat(),
        "by": made.by,
        "reference": made.reference,
        "book": made.book,
        "evidence_until": until.isoformat() if until else None,
    }
    said = {f"made.{name}": value for name, value in plain.items() if value is not None}
    for model, price in made.prices.items():
        said[f"made.prices.{model}"] = ", ".join(f"{kind} {usd:g}" for kind, usd in price.items())
    for task, by_mode in made.evidence.items():
        said |= {f"made.evidence.{task}.{mode}": text for mode, text in by_mode.items()}
    return said
