"""The answer of `simulate` as a document."""

from __future__ import annotations

from typing import Any

from routecost.pipeline.analysis import as_rows
from routecost.pipeline.misrouting import as_data
from routecost.pipeline.simulation import Scenario, Simulation
from routecost.render import Column, Document, Section, usd
from routecost.render.analysis import (
    ASSUMPTIONS,
    interval_text,
    mistakes_sections,
    saving_data,
    saving_section,
    saving_sentence,
)
from routecost.render.intake import (
    correction_notes,
    fault_section,
    intake_data,
    intake_lines,
    task_name,
    unpriced_section,
)
from routecost.stats import Interval

FULL = 2  # up to so many scenarios get a table each


def simulation_document(result: Simulation) -> Document:
    """Sentences, then scenarios beside controls, each table by task, and latency."""
    lines = intake_lines(result.intake, result.period, result.coverage, result.book_version)
    base = f" if all of it ran on {result.base_model}" if result.base_model else ""
    now = f"Cost{base}: {usd(result.today_usd)} in all"
    if result.scale.factor is not None:
        now += f"; {usd(result.scale.day(result.today_usd) or 0)} a day"
    lines.append(f"{now} ({result.scale.basis}).")
    if len(result.scenarios) <= FULL:
        lines += [saving_sentence(s.saving, result.scale) for s in result.scenarios]
    sections = [_scenarios(result)]
    shared = _shared(result)
    sections += [s for s in (shared,) if s]
    if len(result.scenarios) <= FULL:
        for s in result.scenarios:
            sections += [
                saving_section(s.saving, result.scale),
                *mistakes_sections(s.misrouting, s.saving, result.scale),
            ]
    else:
        sections.append(_by_task(result))
    sections += _latency(result)
    sections += [s for s in (unpriced_section(result.coverage), fault_section(result.intake)) if s]
    return Document(
        "simulate",
        lines,
        sections,
        _data(result),
        _table(result),
        (*result.intake.notes, *correction_notes(result.intake), *ASSUMPTIONS),
    )


def _scenarios(result: Simulation) -> Section:
    factor = 1.0 if result.scale.factor is None else result.scale.factor
    rows: list[dict[str, Any]] = [
        {"name": "today", "cost": result.today_usd * factor, "requests": result.coverage.priced},
        *(
            {
                "name": _name(s),
                **_money(s.saving.today_usd, s.saving.routed_usd, s.saving.interval, factor),
                "moved": s.saving.moved_requests / s.saving.requests if s.saving.requests else None,
                "random": (s.saving.today_usd - s.random_usd) * factor,
                "over": s.over_random_usd * factor,
                "requests": s.saving.requests,
            }
            for s in result.scenarios
        ),
        *(
            {
                "name": f"{c.name} ({c.model})",
                **_money(c.today_usd, c.cost_usd, c.interval, factor),
                "requests": c.requests,
            }
            for c in result.controls
        ),
    ]
    unit = "a day" if result.scale.factor is not None else "in all"
    columns = (
        Column("name", "Scenario"),
        Column("cost", "Cost", "usd"),
        Column("saving", "Saving", "usd"),
        Column("part", "of now", "percent"),
        Column("within", "95% interval", "span", optional=True),
        Column("moved", "Moved", "percent", optional=True),
        Column("random", "at random", "usd", optional=True),
        Column("over", "by task", "usd", optional=True),
        Column("requests", "Compared", "count", optional=True),
    )
    notes = (
        "at random: the saving when the same shares of requests go to the same models whatever their task. "
        "by task: what knowing the task adds to it, before the classifier's cost (negative: chance saves more money, "
        "as it also moves the long requests; what that does to quality is another matter).",
    )
    return Section(f"Scenarios (USD {unit})", columns, rows, notes=notes)


def _by_task(result: Simulation) -> Section:
    """Saving by task, one column a scenario: when there are too many for a table each."""
    factor = 1.0 if result.scale.factor is None else result.scale.factor
    tasks = list(dict.fromkeys(t for s in result.scenarios for t in s.saving.by_task["task"].to_list()))
    savings = [dict(s.saving.by_task.select("task", "saving_usd").iter_rows()) for s in result.scenarios]
    rows = [
        {
            "name": _name(s),
            **{str(task): saved[task] * factor if saved.get(task) is not None else None for task in tasks},
        }
        for s, saved in zip(result.scenarios, savings, strict=True)
    ]
    columns = (Column("name", "Scenario"), *(Column(str(t), task_name(t), "usd") for t in tasks))
    unit = "a day" if result.scale.factor is not None else "in all"
    note = "One --table and --mode shows the models and intervals; --format json has all of them."
    return Section(f"Saving by task (USD {unit})", columns, rows, notes=(note,))


def _money(today: float, cost: float, interval: Interval, factor: float) -> dict[str, Any]:
    return {
        "cost": cost * factor,
        "saving": (today - cost) * factor,
        "part": (today - cost) / today if today else None,
        "within": interval_text(interval.scaled(factor)),
    }


def _name(scenario: Scenario) -> str:
    return f"{scenario.name}, {scenario.mode or 'modes as logged'}" if scenario.by_mode else scenario.name


def _shared(result: Simulation) -> Section | None:
    if all(s.share == 1 for s in result.scenarios):
        return None
    factor = 1.0 if result.scale.factor is None else result.scale.factor
    rows = [
        {
            "name": _name(s),
            "share": s.share,
            "saving": s.shared.estimate * factor,
            "within": interval_text(s.shared.scaled(factor)),
        }
        for s in result.scenarios
    ]
    columns = (
        Column("name", "Scenario"),
        Column("share", "Share", "percent"),
        Column("saving", "Saving", "usd"),
        Column("within", "95% interval", "span", optional=True),
    )
    note = f"The interval holds the draw of the share, too (by {_unit(result.unit)})."
    return Section("Applied to a share of the traffic", columns, rows, notes=(note,))


def _unit(unit: str) -> str:
    return "user, else session, else request" if unit == "auto" else unit


def _latency(result: Simulation) -> list[Section]:
    if result.latency_today[0] is None and all(
        s.latency["source"].null_count() == s.latency.height for s in result.scenarios
    ):
        return []
    p = (Column("p50", "p50", "ms"), Column("p95", "p95", "ms"), Column("p99", "p99", "ms"))
    rows: list[dict[str, Any]] = [{"name": "today", **_percentiles(result.latency_today)}]
    for s in result.scenarios:
        row: dict[str, Any] = {"name": _name(s), **_percentiles(s.latency_routed), "known": s.latency_known_share}
        extra = result.classifier_latency_ms.get(s.name)
        median = result.latency_today[0]
        row["classifier"] = extra / median if extra is not None and median else None
        rows.append(row)
    columns = (
        Column("name", "Scenario"),
        *p,
        Column("known", "Known for", "percent"),
        Column("classifier", "Classifier, of p50", "percent"),
    )
    notes = (
        "Routed latency is told only where it is known for every task and model: from the log, or --quality FILE.",
    )
    sections = [Section("Latency", columns, rows, notes=notes)]
    if len(result.scenarios) == 1:
        only = result.scenarios[0]
        cells = [
            {**r, "task": task_name(r["task"]), "p50": r["p50_ms"], "p95": r["p95_ms"], "p99": r["p99_ms"]}
            for r in only.latency.iter_rows(named=True)
        ]
        by_cell = (
            Column("task", "Task"),
            Column("model", "Model"),
            Column("requests", "Requests", "count"),
            *p,
            Column("source", "From"),
        )
        sections.append(Section(f"Latency with {_name(only)} by task and model", by_cell, cells))
    return sections


def _percentiles(values: tuple[float | None, ...]) -> dict[str, float | None]:
    return dict(zip(("p50", "p95", "p99"), values, strict=True))


def _data(result: Simulation) -> dict[str, Any]:
    return {
        **intake_data(result.intake, result.period, result.scale, result.coverage),
        "book": result.book_version,
        "as_of": result.as_of,
        "base_model": result.base_model,
        "unit": result.unit,
        "today_usd": result.today_usd,
        "scenarios": [
            {
                **saving_data(s.saving, result.scale),
                "random_usd": s.random_usd,
                "over_random_usd": s.over_random_usd,
                "share": s.share,
                "shared_saving_usd": s.shared.as_dict(),
                "latency_ms": _percentiles(s.latency_routed),
                "latency_known_share": s.latency_known_share,
                "latency_by_task": as_rows(s.latency),
                "misrouting": as_data(s.misrouting),
            }
            for s in result.scenarios
        ],
        "controls": [
            {
                "name": c.name,
                "model": c.model,
                "requests": c.requests,
                "today_usd": c.today_usd,
                "cost_usd": c.cost_usd,
                "saving_interval_usd": c.interval.as_dict(),
                "saving_share": c.share.as_dict(),
            }
            for c in result.controls
        ],
        "latency_today_ms": _percentiles(result.latency_today),
        "latency_by_model": as_rows(result.latency_by_model),
        "classifier_latency_ms": dict(result.classifier_latency_ms),
        "assumptions": list(ASSUMPTIONS),
    }


def _table(result: Simulation) -> Section:
    frame = result.to_polars()
    return Section("scenarios", [Column(c, c) for c in frame.columns], as_rows(frame))
