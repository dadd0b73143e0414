"""The answer of `analyze` and `estimate` as a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from routecost.pipeline.analysis import DAYS_PER_MONTH, Analysis, Saving, Scale, as_rows
from routecost.pipeline.intake import PAIR
from routecost.pipeline.misrouting import Misrouting, as_data
from routecost.render import Column, Document, Section, usd
from routecost.render.intake import (
    NOBODY,
    correction_notes,
    fault_section,
    intake_data,
    intake_lines,
    many,
    model_names,
    task_name,
    unpriced_section,
)
from routecost.render.sensitivity import misrouting_section
from routecost.schema import TOKEN_KINDS
from routecost.stats import Interval

ASSUMPTIONS = (
    "A rerouted request keeps its token counts (scaled where an overlay gives a token ratio) and needs no retry, apart "
    "from what is told of the classifier's mistakes.",
    "Prices are list prices unless an overlay says otherwise. Days are UTC; a month is 30 days.",
)
MAX_ROWS = 40


def analysis_document(result: Analysis, command: str = "analyze") -> Document:
    """Sentences, then tables: tasks, task by model, breakdowns, savings, residual, what is left out."""
    lines = intake_lines(result.intake, result.period, result.coverage, result.book_version)
    lines += _money_lines(result)
    sections = [
        _mix(result),
        _costs(result),
        *(_breakdown(by, frame, result.scale) for by, frame in result.breakdowns.items()),
        saving_section(result.saving, result.scale),
        *mistakes_sections(result.misrouting, result.saving, result.scale),
        *_rules_against_classifier(result),
    ]
    residual = _residual(result)
    sections += [s for s in (residual, unpriced_section(result.coverage), fault_section(result.intake)) if s]
    return Document(
        command,
        lines,
        sections,
        data(result),
        _table(result),
        (*result.intake.notes, *correction_notes(result.intake), *notes(result), *ASSUMPTIONS),
    )


def _money_lines(result: Analysis) -> list[str]:
    scale, saving = result.scale, result.saving
    base = f" if all of it ran on {result.base_model}" if result.base_model else ""
    if not result.coverage.priced:
        return [f"Cost{base}: unknown, as no request has a price."]
    now = f"Cost{base}: {usd(result.cost_usd)} in all"
    if not result.intake.files:
        now = f"Cost: {usd(scale.day(result.cost_usd) or 0)} a day, {usd(scale.month(result.cost_usd) or 0)} a month"
    elif scale.factor is not None:
        now += f"; {usd(scale.day(result.cost_usd) or 0)} a day, {usd(scale.month(result.cost_usd) or 0)} a month"
    return [f"{now} ({scale.basis}).", saving_sentence(saving, scale)]


def saving_sentence(saving: Saving, scale: Scale) -> str:
    """The headline: what the table saves (or costs), with its interval."""
    unit, factor = (" a day", scale.factor) if scale.factor is not None else (" in all", 1.0)
    name = f"{saving.table}, {saving.mode} mode" if saving.mode else saving.table
    if not saving.requests:
        return f"Table {name}: nothing to compare, as no request has a price on both sides."
    if not saving.today_usd:
        return f"Table {name}: nothing to save, as these requests cost nothing today."
    # a table that costs more is told as an increase, interval and bound too
    sign = 1.0 if saving.saving_usd >= 0 else -1.0
    amount = usd(abs(saving.saving_usd) * factor)
    share = f"{abs(saving.saving_usd) / saving.today_usd:.1%}"
    text = (
        f"Table {name} saves {amount}{unit} ({share})"
        if sign > 0
        else f"Table {name} costs {amount}{unit} more ({share})"
    )
    within = interval_text(saving.interval.scaled(sign * factor))
    text += f", 95% interval {within}" if within else ", no interval (nothing here tells groups of requests apart)"
    if saving.cache_loss_usd > 0:
        worst = usd(sign * (saving.saving_usd - saving.cache_loss_usd) * factor)
        text += f"; {worst} if routing loses every prompt cache that it can"
    return text + "."


def interval_text(interval: Interval) -> str | None:
    if interval.low is None or interval.high is None:
        return None
    return f"{usd(interval.low)} to {usd(interval.high)}"


def _mix(result: Analysis) -> Section:
    rows = [
        {
            "task": task_name(r["task"]),
            "requests": r["requests"],
            "share": r["share"],
            "tokens": sum(r[k] for k in TOKEN_KINDS),
            "cost": r["cost_usd"],
            "cost_share": r["cost_share"],
        }
        for r in result.mix.iter_rows(named=True)
    ]
    columns = (
        Column("task", "Task"),
        Column("requests", "Requests", "count"),
        Column("share", "Share", "percent"),
        Column("tokens", "Tokens", "count", optional=True),
        Column("cost", "Cost", "usd"),
        Column("cost_share", "of cost", "percent", optional=True),
    )
    return Section("Task mix", columns, rows)


def _costs(result: Analysis) -> Section:
    names = model_names(result.costs)
    rows = [
        {
            "task": task_name(r["task"]),
            "model": names[r["provider"], r["model"]],
            "requests": r["requests"],
            "input": r["input_tokens"],
            "cached": r["cache_read_tokens"],
            "written": r["cache_write_tokens"] + r["cache_write_1h_tokens"],
            "output": r["output_tokens"],
            "cost": r["cost_usd"],
            "day": result.scale.day(r["cost_usd"]),
        }
        for r in result.costs.iter_rows(named=True)
    ]
    cached = any(r["cached"] or r["written"] for r in rows)
    columns = [Column("task", "Task"), Column("model", "Model"), Column("requests", "Requests", "count")]
    columns.append(Column("input", "Input", "count"))
    if cached:
        columns += [
            Column("cached", "Cache read", "count", optional=True),
            Column("written", "Cache write", "count", optional=True),
        ]
    columns += [Column("output", "Output", "count"), Column("cost", "Cost", "usd")]
    if result.scale.factor is not None:
        columns.append(Column("day", "a day", "usd", optional=True))
    return _capped(Section("Cost by task and model (tokens are disjoint kinds)", columns, rows))


def _breakdown(by: str, frame: pl.DataFrame, scale: Scale) -> Section:
    rows = [
        {
            "key": NOBODY if r[by] is None else str(r[by]),
            "requests": r["requests"],
            "share": r["share"],
            "tokens": sum(r[k] for k in TOKEN_KINDS),
            "cost": r["cost_usd"],
            "cost_share": r["cost_share"],
            "each": r["cost_usd"] / r["priced_requests"] if r["priced_requests"] else None,
            "day": scale.day(r["cost_usd"]),
        }
        for r in frame.iter_rows(named=True)
    ]
    columns = [
        Column("key", by),
        Column("requests", "Requests", "count"),
        Column("share", "Share", "percent"),
        Column("tokens", "Tokens", "count", optional=True),
        Column("cost", "Cost", "usd"),
        Column("cost_share", "of cost", "percent", optional=True),
        Column("each", "a request", "usd", optional=True),
    ]
    if scale.factor is not None and by != "day":
        columns.append(Column("day", "a day", "usd", optional=True))
    return _capped(Section(f"Cost by {by}", columns, rows))


def saving_section(saving: Saving, scale: Scale) -> Section:
    """The table of the worked example: by task, today and routed, a day and a month (or in all without a scale)."""
    factor = 1.0 if scale.factor is None else scale.factor
    rows = []
    for r in saving.by_task.iter_rows(named=True):
        interval = saving.by_task_interval.get(r["task"])
        rows.append(
            {
                "task": task_name(r["task"]),
                "share": r["requests"] / saving.requests if saving.requests else None,
                "now": r["today_usd"] * factor,
                "routed": r["routed_usd"] * factor,
                "model": _to(r),
                "saving": r["saving_usd"] * factor,
                "within": (interval_text(interval.scaled(factor)) if interval else None),
                "part": r["saving_usd"] / r["today_usd"] if r["today_usd"] else None,
                "month": r["saving_usd"] * factor * DAYS_PER_MONTH,
            }
        )
    whole = saving.interval.scaled(factor)
    total = {
        "task": "total",
        "share": 1.0 if saving.requests else None,
        "now": saving.today_usd * factor,
        "routed": saving.routed_usd * factor,
        "model": "",
        "saving": saving.saving_usd * factor,
        "within": interval_text(whole),
        "part": saving.saving_usd / saving.today_usd if saving.today_usd else None,
        "month": saving.saving_usd * factor * DAYS_PER_MONTH,
    }
    known = any(r["within"] for r in rows)
    columns = [
        Column("task", "Task"),
        Column("share", "Share", "percent"),
        Column("now", "Now", "usd"),
        Column("routed", "Routed", "usd"),
        Column("model", "Routed to"),
        Column("saving", "Saving", "usd"),
        Column("part", "of now", "percent"),
    ]
    if known:
        columns.append(Column("within", "95% interval", "span", optional=True))
    if scale.factor is not None:
        columns.append(Column("month", "a month", "usd", optional=True))
    unit = "a day" if scale.factor is not None else "in all"
    name = f"{saving.table}, {saving.mode} mode" if saving.mode else saving.table
    return Section(f"Savings with {name} (USD {unit})", columns, rows, total, _saving_notes(saving, factor))


def mistakes_sections(found: Misrouting | None, saving: Saving, scale: Scale) -> list[Section]:
    """What mistakes of the classifier take off a saving; nothing where it decided nothing."""
    if found is None:
        return []
    factor, unit = (1.0, "in all") if scale.factor is None else (scale.factor, "a day")
    return [misrouting_section(found, saving.saving_usd, factor, unit)]


def rule_pairs(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Requests that a rule decided, by its task and what the classifier says (`--tasks-from both`)."""
    pairs = []
    for key, n in sorted(counts.items()):
        if key.startswith(f"task_from_{PAIR}"):
            task, _, said = key.removeprefix(f"task_from_{PAIR}").rpartition("/")
            pairs.append({"rule": task, "classifier": said or None, "requests": n})
    return pairs


def _rules_against_classifier(result: Analysis) -> list[Section]:
    pairs = rule_pairs(result.intake.counts)
    if not pairs:
        return []
    whole = sum(p["requests"] for p in pairs)
    agree = sum(p["requests"] for p in pairs if p["rule"] == p["classifier"])
    rows = [{**p, "classifier": task_name(p["classifier"]), "share": p["requests"] / whole} for p in pairs]
    columns = (
        Column("rule", "Rules say"),
        Column("classifier", "Classifier says"),
        Column("requests", "Requests", "count"),
        Column("share", "Share", "percent"),
    )
    note = f"They agree on {agree / whole:.1%} of the {many(whole, 'request')} that a rule decides."
    return [Section("Rules against the classifier", columns, rows, notes=(note,))]


def _to(row: Mapping[str, Any]) -> str:
    name = row["routed_to"] or NOBODY
    more = row["routed_models"] - 1
    return f"{name} and {more} more" if more > 0 else str(name)


def _saving_notes(saving: Saving, factor: float) -> tuple[str, ...]:
    notes = []
    for amount, text in (
        (saving.classifier_usd, "classifier"),
        (saving.speculative_usd, "speculative second calls"),
        (saving.failover_usd, "failed calls paid at the fallback's price"),
    ):
        if amount:
            notes.append(f"Routed includes {usd(amount * factor)} for {text}.")
    if saving.uncomparable:
        notes.append(
            f"{many(saving.uncomparable, 'request')} without a price on one of the sides left out of this table."
        )
    pinned = saving.routed_reasons.get("pinned")
    if pinned:
        notes.append(f"{many(pinned, 'request')} pinned to a model by the caller.")
    if saving.cache_loss_usd > 0:
        notes.append(
            f"Prompt caches belong to a model: {usd(saving.cache_loss_usd * factor)} of the saving could be lost with "
            "them (all cached tokens, unless the request before went to the same model)."
        )
    return tuple(notes)


def _residual(result: Analysis) -> Section | None:
    if result.residual.height == 0:
        return None
    names = model_names(result.residual)
    rows = [
        {
            "model": names[r["provider"], r["model"]],
            "requests": r["requests"],
            "logged": r["logged_usd"],
            "computed": r["computed_usd"],
            "residual": r["residual_usd"],
            "part": r["residual_share"],
        }
        for r in result.residual.iter_rows(named=True)
    ]
    columns = (
        Column("model", "Model"),
        Column("requests", "Requests", "count"),
        Column("logged", "Logged", "usd"),
        Column("computed", "Computed", "usd"),
        Column("residual", "Difference", "usd"),
        Column("part", "of computed", "percent"),
    )
    return _capped(Section("Cost as logged, and as computed", columns, rows))


def notes(result: Analysis) -> list[str]:
    out = []
    counts = result.intake.counts
    decided = {
        k.removeprefix("task_from_"): v for k, v in counts.items() if k.startswith("task_from_") and PAIR not in k
    }
    if decided and set(decided) != {"log"}:
        words = {"log": "the log", "rules": "rules", "classifier": "the classifier"}
        out.append("Task types come from " + ", ".join(f"{words[k]} ({n:,})" for k, n in sorted(decided.items())) + ".")
    if decided.get("classifier") and result.misrouting is None:
        out.append("Nothing is known of the classifier's mistakes, so none are taken off the saving (--labels FILE).")
    unclassified = sum(n for task, n in result.mix.select("task", "requests").iter_rows() if task is None)
    if unclassified:
        out.append(
            f"{many(unclassified, 'request')} without a task type, as there is neither a label nor a prompt: the "
            "table's default applies. A `task` column, --task-rules or a --map can give one."
        )
    if counts.get("undated"):
        out.append(f"Requests without a timestamp are priced as of {result.as_of.isoformat()} (--as-of).")
    if result.coverage.unpriced_fees:
        out.append(
            f"{result.coverage.unpriced_fees:,} fee units (web searches, images, seconds of audio) have no price and "
            "are left out; an overlay can give one."
        )
    return out


def _capped(section: Section) -> Section:
    if len(section.rows) <= MAX_ROWS:
        return section
    note = f"{len(section.rows) - MAX_ROWS:,} more rows: --format csv or json has them all."
    return Section(section.title, section.columns, section.rows[:MAX_ROWS], section.total, (*section.notes, note))


def saving_data(saving: Saving, scale: Scale) -> dict[str, Any]:
    """A saving for JSON: USD over the whole period; `per_day` where it is known."""
    return {
        "table": saving.table,
        "mode": saving.mode,
        "requests": saving.requests,
        "moved_requests": saving.moved_requests,
        "left_out_requests": saving.uncomparable,
        "today_usd": saving.today_usd,
        "routed_usd": saving.routed_usd,
        "saving_usd": saving.saving_usd,
        "saving_interval_usd": saving.interval.as_dict(),
        "saving_share": saving.share.as_dict(),
        "saving_per_day_usd": scale.day(saving.saving_usd),
        "cache_loss_bound_usd": saving.cache_loss_usd,
        "classifier_usd": saving.classifier_usd,
        "speculative_usd": saving.speculative_usd,
        "failover_usd": saving.failover_usd,
        "route_reasons": dict(saving.routed_reasons),
        "by_task": [
            {**row, "saving_interval_usd": (i.as_dict() if (i := saving.by_task_interval.get(row["task"])) else None)}
            for row in as_rows(saving.by_task)
        ],
    }


def data(result: Analysis) -> dict[str, Any]:
    return {
        **intake_data(result.intake, result.period, result.scale, result.coverage),
        "book": result.book_version,
        "as_of": result.as_of,
        "base_model": result.base_model,
        "cost_usd": result.cost_usd,
        "cost_per_day_usd": result.scale.day(result.cost_usd),
        "mix": as_rows(result.mix),
        "costs": as_rows(result.costs),
        "breakdowns": {by: as_rows(frame) for by, frame in result.breakdowns.items()},
        "residual": as_rows(result.residual),
        "saving": saving_data(result.saving, result.scale),
        "misrouting": as_data(result.misrouting),
        "rules_against_classifier": rule_pairs(result.intake.counts),
        "assumptions": list(ASSUMPTIONS),
    }


def _table(result: Analysis) -> Section:
    return Section("detail", [Column(c, c) for c in result.detail.columns], as_rows(result.detail))
