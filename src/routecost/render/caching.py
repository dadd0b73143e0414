"""The section of `simulate --cache`: what caches and routing cost together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from routecost.pipeline.caching import Caching, Stack, Stacked
from routecost.pipeline.simulation import Simulation
from routecost.render import Column, Document, Section, usd
from routecost.render.analysis import interval_text


def with_caching(document: Document, result: Caching, simulation: Simulation) -> Document:
    """The document of a simulation with the stacks behind the scenarios, and in its JSON as `caching`."""
    first, *others = document.sections
    data = {**document.data, "caching": _data(result)}
    return replace(document, sections=(first, _section(result, simulation), *others), data=data)


def _section(result: Caching, simulation: Simulation) -> Section:
    factor = 1.0 if simulation.scale.factor is None else simulation.scale.factor
    rows: list[dict[str, Any]] = []
    told: set[tuple[float, int]] = set()
    for scenario in result.scenarios:
        # what does not depend on the table stands once, for tables that are compared over the same requests
        common = (scenario.today_usd, scenario.requests)
        if common not in told:
            told.add(common)
            rows += _today(scenario, factor)
        named = scenario.table if scenario.mode is None else f"{scenario.table}, {scenario.mode}"
        rows += [_row(s, f"{s.name} ({named})", scenario, factor) for s in (scenario.routing, scenario.both)]
    unit = "a day" if simulation.scale.factor is not None else "in all"
    columns = (
        Column("name", "What stands together"),
        Column("hits", "Answered by the cache", "percent", optional=True),
        Column("cost", "Cost", "usd"),
        Column("high", "at most", "usd"),
        Column("saving", "Saving", "usd"),
        Column("part", "of now", "percent"),
        Column("within", "95% interval", "span", optional=True),
    )
    return Section(f"Caching stack (USD {unit})", columns, rows, notes=_notes(result, factor))


def _today(scenario: Stacked, factor: float) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    if scenario.uncached_usd != scenario.today_usd:
        rows.append(
            {
                "name": "without the provider's prompt cache",
                "cost": scenario.uncached_usd * factor,
                "saving": (scenario.today_usd - scenario.uncached_usd) * factor,
                "part": _part(scenario.today_usd - scenario.uncached_usd, scenario),
            }
        )
    rows.append({"name": "today", "cost": scenario.today_usd * factor})
    rows.append(_row(scenario.cache, scenario.cache.name, scenario, factor))
    return rows


def _row(stack: Stack, name: str, scenario: Stacked, factor: float) -> dict[str, Any]:
    saving = scenario.today_usd - stack.cost_usd
    return {
        "name": name,
        "hits": None if stack.hits is None or not scenario.requests else stack.hits / scenario.requests,
        "cost": stack.cost_usd * factor,
        "high": stack.cost_high_usd * factor,
        "saving": saving * factor,
        "part": _part(saving, scenario),
        "within": interval_text(stack.interval.scaled(factor)),
    }


def _part(saving: float, scenario: Stacked) -> float | None:
    return saving / scenario.today_usd if scenario.today_usd else None


def _notes(result: Caching, factor: float) -> tuple[str, ...]:
    ttl = "for ever" if result.cache.ttl_seconds is None else f"for {result.cache.ttl_seconds:,} s"
    place = {
        "before": "It stands before the router: a hit pays no classifier, and its key has no model.",
        "after": "It stands after the router: a hit has paid the classifier, and its key has the model chosen.",
    }[result.cache.order]
    notes = [
        f"The response cache keeps an answer {ttl} from when it was complete, and serves it to all users. {place} "
        "Without routing its key has the logged model.",
        "A repeat has the same texts and needs, and, where the log does not show the whole conversation, as many input "
        "tokens. Settings such as temperature are not in the log: requests that differ in them count as repeats.",
        "at most: what it costs if the provider's prompt cache loses the most that it could, by models that change and "
        "by calls that are not made any more. The interval is of the saving at Cost, with the repeats of this log.",
    ]
    if len(result.scenarios) == 1 and (only := result.scenarios[0]).overlap_usd > 0.005 * only.today_usd:
        extra = usd(only.overlap_usd * factor)
        notes.append(f"The two savings must not be added up: that would be {extra} more than they save together.")
    for count, why in (
        (result.without_text, "have no text"),
        (result.undated, "have no time"),
        (result.answered, "were answered by the gateway's own cache"),
    ):
        if count:
            notes.append(f"{count:,} of {result.requests:,} requests {why} and are not looked up.")
    return tuple(notes)


def _data(result: Caching) -> dict[str, Any]:
    return {
        "order": result.cache.order,
        "ttl_seconds": result.cache.ttl_seconds,
        "requests": result.requests,
        "looked_up": result.looked_up,
        "without_text": result.without_text,
        "undated": result.undated,
        "answered_by_gateway": result.answered,
        "scenarios": [
            {
                "table": s.table,
                "mode": s.mode,
                "requests": s.requests,
                "today_usd": s.today_usd,
                "without_prompt_cache_usd": s.uncached_usd,
                "overlap_usd": s.overlap_usd,
                "stacks": [
                    {
                        "name": stack.name,
                        "cost_usd": stack.cost_usd,
                        "cost_high_usd": stack.cost_high_usd,
                        "saving_usd": s.today_usd - stack.cost_usd,
                        "saving_interval_usd": stack.interval.as_dict(),
                        "saving_share": stack.share.as_dict(),
                        "hits": stack.hits,
                        "hit_share": None if stack.hits is None or not s.requests else stack.hits / s.requests,
                    }
                    for stack in (s.cache, s.routing, s.both)
                ],
            }
            for s in result.scenarios
        ],
    }
