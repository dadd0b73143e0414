"""Routing tables as YAML, with comments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from routecost.routing.table import Made, Override, Table, in_order, standard_modes

DEFAULT: Final = "default"


def to_yaml(
    table: Table,
    *,
    header: Sequence[str] = (),
    notes: Mapping[tuple[str, str], Sequence[str]] | None = None,
) -> str:
    """The table as `read_table` reads it back. header: comment lines on top. notes: (task, mode) -> comment lines above
    that cell; the task `default` is the default row."""
    notes = notes or {}
    modes = table.modes() if _can_shorten(table, notes) else ()
    lines = [*_comments(header, ""), f"name: {_text(table.name)}"]
    if table.description is not None:
        lines.append(f"description: {_text(table.description)}")
    lines.append(f"default_mode: {_text(table.default_mode)}")
    if table.default:
        lines += _row(DEFAULT, table.default, modes, notes, "")
    # a row without a model says what its absence says, and cannot be written
    if routes := {task: row for task, row in table.routes.items() if row}:
        lines.append("routes:")
        for task, row in routes.items():
            lines += _row(task, row, modes, notes, "  ")
    if table.overrides:
        lines.append("overrides:")
        lines += [f"  - {flow(_override(o))}" for o in table.overrides]
    if table.fallbacks:
        lines.append("fallbacks:")
        lines += [f"  {_text(model)}: {flow(list(others))}" for model, others in table.fallbacks.items()]
    if table.failover_rate is not None:
        lines.append(f"failover_rate: {flow(table.failover_rate)}")
    if table.speculative:
        lines.append(f"speculative: {flow(list(table.speculative))}")
    if table.loser_share != 1.0:
        lines.append(f"loser_share: {flow(table.loser_share)}")
    fee, delay = table.classifier_cost_per_request_usd, table.classifier_latency_ms
    if fee or delay is not None:
        lines.append(f"classifier: {flow({'cost_per_request_usd': fee, 'latency_ms': delay})}")
    if table.output_ratios:
        lines.append("output_ratios:")
        for model, ratios in table.output_ratios.items():
            every = ratios.get("*") if list(ratios) == ["*"] else None
            lines.append(f"  {_text(model)}: {flow(dict(ratios) if every is None else every)}")
    if table.made is not None:
        lines += ["made:", *_made(table.made)]
    return "\n".join(lines) + "\n"


def _can_shorten(table: Table, notes: Mapping[tuple[str, str], Sequence[str]]) -> bool:
    """Whether rows that are one model may be written as one: the reader expands them to the modes that others name."""
    rows = [(DEFAULT, table.default or {}), *table.routes.items()]
    named = [mode for name, row in rows if not _is_one(name, row, table.modes(), notes) for mode in row]
    named += [mode for o in table.overrides if isinstance(o.target, Mapping) for mode in o.target]
    usual = standard_modes(table.default_mode, table.speculative)
    read = in_order((*named, table.default_mode)) if named else usual
    return set(read) == set(table.modes())


def _is_one(
    name: str, row: Mapping[str, str], modes: Sequence[str], notes: Mapping[tuple[str, str], Sequence[str]]
) -> bool:
    noted = any(notes.get((name, mode)) for mode in row)
    return not noted and len(set(row.values())) == 1 and set(row) == set(modes)


def _row(
    name: str,
    row: Mapping[str, str],
    modes: Sequence[str],
    notes: Mapping[tuple[str, str], Sequence[str]],
    indent: str,
) -> list[str]:
    if modes and _is_one(name, row, modes, notes):
        return [f"{indent}{_text(name)}: {_text(next(iter(row.values())))}"]
    if not any(notes.get((name, mode)) for mode in row):
        return [f"{indent}{_text(name)}: {flow(dict(row))}"]
    lines = [f"{indent}{_text(name)}:"]
    for mode, model in row.items():
        lines += _comments(notes.get((name, mode), ()), indent + "  ")
        lines.append(f"{indent}  {_text(mode)}: {_text(model)}")
    return lines


def _override(override: Override) -> dict[str, Any]:
    target: dict[str, Any] = {"keep": True}
    if override.target is not None:
        target = {"model": override.target if isinstance(override.target, str) else dict(override.target)}
    conditions = {k: list(v) if isinstance(v, tuple) else v for k, v in override.conditions.items()}
    return {**conditions, **target}


def _made(made: Made) -> list[str]:
    lines = [f"  date: {made.date.isoformat()}"]
    for key in ("by", "reference", "book"):
        value = getattr(made, key)
        if value is not None:
            lines.append(f"  {key}: {_text(value)}")
    if made.evidence_until is not None:
        lines.append(f"  evidence_until: {made.evidence_until.isoformat()}")
    if made.prices:
        lines.append("  prices: # USD per million tokens on that day")
        lines += [f"    {_text(model)}: {flow(dict(price))}" for model, price in made.prices.items()]
    if made.evidence:
        lines.append("  evidence:")
        for task, by_mode in made.evidence.items():
            lines.append(f"    {_text(task)}:{'' if by_mode else ' {}'}")
            lines += [f"      {_text(mode)}: {_text(said)}" for mode, said in by_mode.items()]
    return lines


def _comments(lines: Sequence[str], indent: str) -> list[str]:
    # a line break in a model's name must not end the comment; \x85 and the like are line breaks to YAML too
    return [f"{indent}# {_printable(part)}".rstrip() for line in lines for part in line.splitlines() or [""]]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _text(value: str) -> str:
    return flow(value)


def flow(value: Any) -> str:
    """A value on one line, quoted where YAML would read something else."""
    import yaml

    class OneLine(yaml.SafeDumper):
        pass

    # a line break may stand in a quoted text, but not in a quoted key: so it is always escaped
    def text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        style = None if text.isprintable() else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    OneLine.add_representer(str, text_node)
    written = yaml.dump(
        value, Dumper=OneLine, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf")
    )
    return str(written).removesuffix("\n").removesuffix("\n...")
