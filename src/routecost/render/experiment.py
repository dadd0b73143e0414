"""The answers of `experiment` as documents."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from routecost.experiment.metrics import Metric
from routecost.experiment.result import Bounds, Compared, Experiment, Judged
from routecost.experiment.size import Needed, Plan
from routecost.render import Column, Document, Section, usd

_VERDICTS = {
    "expand": "EXPAND: no task can be worse by its margin, whenever one looks.",
    "roll back": "ROLL BACK: some traffic is certainly worse.",
    "hold": "HOLD: not enough is known to expand, and nothing is known that has to go back.",
}
NONE = "(none)"


def experiment_document(result: Experiment) -> Document:
    """The verdict by task, what was compared, whether the arms are as they should be, and the rules that roll back."""
    control, treatment = result.arms
    lines = [
        _VERDICTS[result.verdict],
        f"{treatment.name} ({treatment.requests:,} requests, {treatment.units:,} {result.unit}s"
        f"{_on(treatment.model)}) against {control.name} ({control.requests:,} requests, {control.units:,} "
        f"{result.unit}s{_on(control.model)}){_between(result)}.",
        f"Always-valid intervals hold at every look at once, {_tests(result.tests)} together at {1 - result.alpha:.4g} "
        "(asymptotic confidence sequence with a normal mixture, Waudby-Smith et al., arXiv 2103.06476; "
        f"Bonferroni). Fixed ones are for one look at one figure (95 %). Errors are clustered by {result.unit}.",
        *_mismatch(result),
    ]
    judged = [*result.tasks, *([result.whole] if len(result.tasks) > 1 else [])]
    sections = [_verdicts(judged), *(_metrics(j) for j in reversed(judged)), *_balance(result)]
    picture = rules(result)
    if picture:
        lines.append("Roll back exactly what fails, with the overrides below, at the top of the routing table.")
    table = Section("metrics", [Column(k, k) for k in _flat(judged[0], judged[0].metrics[0])],
                    [_flat(j, c) for j in judged for c in j.metrics])  # fmt: skip
    return Document("experiment", lines, sections, experiment_data(result), table, result.notes, picture)


def rules(result: Experiment) -> list[str]:
    """The override rules (YAML) that send the failing slices back to the control's model."""
    if not result.slices:
        return []
    lines = ["overrides:"]
    for one in result.slices:
        where = {"task": one.task, "feature": one.feature, "model": one.model}
        inside = ", ".join(f"{k}: {_quoted(v)}" for k, v in where.items() if v is not None)
        lines.append(f"  - {{{inside}}}")
    return lines


def _quoted(text: str) -> str:
    plain = text.replace("-", "").replace(".", "").replace("_", "").isalnum() and text[0].isalpha()
    reserved = text.lower() in ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
    if plain and not reserved:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _on(model: str | None) -> str:
    return f", mostly {model}" if model else ""


def _between(result: Experiment) -> str:
    return f", {result.days[0]} to {result.days[1]}" if result.days else ""


def _tests(n: int) -> str:
    return f"{n} comparisons" if n > 1 else "one comparison"


def _mismatch(result: Experiment) -> list[str]:
    found = result.mismatch
    if found is None:
        return []
    says = (
        "The arms are not what they should be: nothing below can be trusted until that is explained."
        if found.is_broken
        else "as it should be."
    )
    seen = f"{found.seen:.2%} of {result.unit}s are in the control, {found.expected:.2%} were meant"
    return [f"Sample ratio: {seen} (chi-square {found.chi_square:.2f}, p {found.p:.3g}): {says}"]


def _verdicts(judged: list[Judged]) -> Section:
    rows = [
        {
            "task": _name(j, judged),
            "verdict": j.verdict,
            "control": j.requests[0],
            "treatment": j.requests[1],
            "reason": j.reason,
        }
        for j in judged
    ]
    columns = (
        Column("task", "Task"),
        Column("verdict", "Verdict", "span"),
        Column("control", "Control", "count"),
        Column("treatment", "Treatment", "count"),
        Column("reason", "Why"),
    )
    return Section("Verdicts", columns, rows)


def _name(judged: Judged, all_of: list[Judged]) -> str:
    return "all" if judged.is_whole and len(all_of) > 1 else judged.task or ("all" if judged.is_whole else NONE)


def _metrics(judged: Judged) -> Section:
    rows = [
        {
            "metric": c.metric.name + ("" if c.margin is None else f" (margin {_margin(c)})"),
            "control": _value(c.metric, c.control),
            "treatment": _value(c.metric, c.treatment),
            "n": min(c.n),
            "effect": c.reason if c.effect is None else _effect(c.metric, c.effect),
            "fixed": _interval(c.metric, c.fixed),
            "always": _interval(c.metric, c.always),
        }
        for c in judged.metrics
        if any(c.n)
    ]
    columns = (
        Column("metric", "Metric", "span"),
        Column("control", "Control", "span"),
        Column("treatment", "Treatment", "span"),
        Column("n", "Fewer n", "count", optional=True),
        Column("effect", "Change", "span"),
        Column("fixed", "Fixed", "span", optional=True),
        Column("always", "Always valid", "span"),
    )
    name = "everything" if judged.is_whole else judged.task or NONE
    return Section(f"Treatment against control: {name}", columns, rows)


def _margin(compared: Compared) -> str:
    assert compared.margin is not None
    return f"{compared.margin:.3g}" if compared.metric.kind == "level" else f"{compared.margin * 100:.3g}%"


def _value(metric: Metric, value: float | None) -> str | None:
    if value is None:
        return None
    if metric.kind == "rate":
        return f"{value:.2%}"
    if metric.name == "cost":
        return usd(value)
    return f"{value:,.0f} ms" if metric.kind == "quantile" else f"{value:,.4g}"


def _effect(metric: Metric, value: float) -> str:
    if metric.kind == "level":
        return f"{value:+.3f}"
    if metric.kind == "rate":
        return f"{value * 100:+.2f} pts"
    return f"{value:+.1%}" if abs(value) < 10 else f"{value + 1:,.3g}x"


def _interval(metric: Metric, bounds: Bounds | None) -> str | None:
    if bounds is None or any(abs(b) == float("inf") for b in bounds):
        return None
    return f"{_effect(metric, bounds[0])} to {_effect(metric, bounds[1])}"


def _balance(result: Experiment) -> list[Section]:
    if not result.balance:
        return []
    rows = [
        {"what": b.name, "control": b.control, "treatment": b.treatment, "p": b.p, "off": "off" if b.is_off else "fine"}
        for b in result.balance
    ]
    columns = (
        Column("what", "What the arms should share"),
        Column("control", "Control", "number"),
        Column("treatment", "Treatment", "number"),
        Column("p", "p", "number"),
        Column("off", "Balance", "span"),
    )
    off = [b.name for b in result.balance if b.is_off]
    notes = (
        (f"The arms differ in {', '.join(off)}: compare them by task, and find out how requests came into them.",)
        if off
        else ()
    )
    return [Section("Balance of the arms", columns, rows, notes=notes)]


def experiment_data(result: Experiment) -> dict[str, Any]:
    """The whole result as plain values."""
    return {
        "verdict": result.verdict,
        "exit_code": result.exit_code,
        "arms": {"control": asdict(result.arms[0]), "treatment": asdict(result.arms[1])},
        "days": list(result.days) if result.days else None,
        "unit": result.unit,
        "alpha": result.alpha,
        "tests": result.tests,
        "whole": _judged(result.whole),
        "tasks": [_judged(t) for t in result.tasks],
        "overrides": [{k: v for k, v in asdict(s).items() if v is not None} for s in result.slices],
        "sample_ratio": None
        if result.mismatch is None
        else {**asdict(result.mismatch), "is_broken": result.mismatch.is_broken},
        "balance": [asdict(b) for b in result.balance],
        "counts": dict(result.counts),
        "book": result.book_version,
        "notes": list(result.notes),
    }


def _judged(judged: Judged) -> dict[str, Any]:
    return {
        "task": judged.task,
        "verdict": judged.verdict,
        "reason": judged.reason,
        "requests": list(judged.requests),
        "units": list(judged.units),
        "metrics": [_plain(c) for c in judged.metrics],
    }


def _plain(c: Compared) -> dict[str, Any]:
    return {
        "metric": c.metric.name,
        "better": c.metric.better,
        "relative": c.metric.is_relative,
        "control": c.control,
        "treatment": c.treatment,
        "n": list(c.n),
        "effect": c.effect,
        "fixed": _finite(c.fixed),
        "always": _finite(c.always),
        "alpha_fixed": c.alpha_fixed,
        "alpha": c.alpha,
        "margin": c.margin,
        "reason": c.reason,
    }


def _finite(bounds: Bounds | None) -> list[float | None] | None:
    return None if bounds is None else [None if abs(b) == float("inf") else b for b in bounds]


def _flat(judged: Judged, c: Compared) -> dict[str, Any]:
    plain = _plain(c)
    fixed, always, n = (plain.pop(k) or (None, None) for k in ("fixed", "always", "n"))
    return {
        "task": "(all)" if judged.is_whole else judged.task,
        "verdict": judged.verdict,
        **plain,
        "n_control": n[0], "n_treatment": n[1],
        "fixed_low": fixed[0], "fixed_high": fixed[1],
        "always_low": always[0], "always_high": always[1],
    }  # fmt: skip


# --- the plan ---------------------------------------------------------------------------------------------------------


def plan_document(plan: Plan) -> Document:
    """Requests and days by task and metric, and what the log's own requests would show."""
    per_day = f", {plan.per_day:,.0f} a day over {plan.days} days" if plan.per_day else ", without dates"
    lines = [
        f"{plan.requests:,} requests{per_day}; {plan.treatment:.0%} of them into the treatment, drawn by {plan.unit}.",
        f"A change is found with {plan.power:.0%} power; {_tests(plan.tests)} together at {1 - plan.alpha:.4g} "
        "(Bonferroni), two-sided. Once: one look at the end. Always: looked at every day.",
    ]
    if plan.days_for_all is not None:
        slow = max(plan.needed, key=lambda n: n.days_peeking or 0.0)
        lines.append(
            f"All of them take {math.ceil(plan.days_for_all):,} days, looked at every day; the longest is "
            f"{slow.metric.name} of {slow.task or NONE}."
        )
    columns = (
        Column("task", "Task"),
        Column("metric", "Metric", "span"),
        Column("baseline", "Now", "span"),
        Column("change", "To find", "span"),
        Column("fixed", "Treatment: once", "span"),
        Column("peeking", "always", "span"),
        Column("control", "Control: always", "span", optional=True),
        Column("days_fixed", "Days: once", "count"),
        Column("days_peeking", "always", "count"),
        Column("detectable", "This log shows: once", "span"),
        Column("detectable_peeking", "always", "span"),
        Column("cluster", "Cluster", "number", optional=True),
    )
    notes = (
        "Requests: all of the task, rated or not. This log shows: the smallest change that as many requests as it has "
        "would find.",
        "Cluster: how many times the variance of independent requests the metric has.",
    )
    section = Section("What it takes", columns, [_needed(n) for n in plan.needed], notes=notes)
    flat = [_plain_needed(n) for n in plan.needed]
    table = Section("plan", [Column(k, k) for k in flat[0]], flat)
    data = {
        "requests": plan.requests,
        "days": plan.days,
        "per_day": plan.per_day,
        "treatment": plan.treatment,
        "alpha": plan.alpha,
        "power": plan.power,
        "tests": plan.tests,
        "unit": plan.unit,
        "days_for_all": plan.days_for_all,
        "needed": flat,
        "notes": list(plan.notes),
    }
    return Document("experiment plan", lines, [section], data, table, plan.notes)


def _needed(n: Needed) -> dict[str, Any]:
    change = n.change if n.metric.better == "lower" or n.metric.better is None else -n.change
    return {
        "task": n.task or NONE,
        "metric": n.metric.name,
        "baseline": _value(n.metric, n.baseline),
        "change": _effect(n.metric, change),
        "fixed": n.reason if n.fixed is None else f"{n.fixed[1]:,}",
        "peeking": None if n.peeking is None else f"{n.peeking[1]:,}",
        "control": None if n.peeking is None else f"{n.peeking[0]:,}",
        "days_fixed": None if n.days_fixed is None else math.ceil(n.days_fixed),
        "days_peeking": None if n.days_peeking is None else math.ceil(n.days_peeking),
        "detectable": None if n.detectable is None else _size(n.metric, n.detectable),
        "detectable_peeking": None if n.detectable_peeking is None else _size(n.metric, n.detectable_peeking),
        "cluster": n.cluster,
    }


def _size(metric: Metric, value: float) -> str:
    return _effect(metric, value).removeprefix("+")


def _plain_needed(n: Needed) -> dict[str, Any]:
    fixed, peeking = n.fixed or (None, None), n.peeking or (None, None)
    return {
        "task": n.task,
        "metric": n.metric.name,
        "relative": n.metric.is_relative,
        "change": n.change,
        "baseline": n.baseline,
        "n": n.n,
        "share": n.share,
        "cluster": n.cluster,
        "control_fixed": fixed[0],
        "treatment_fixed": fixed[1],
        "control_always": peeking[0],
        "treatment_always": peeking[1],
        "days_fixed": n.days_fixed,
        "days_always": n.days_peeking,
        "detectable_fixed": n.detectable,
        "detectable_always": n.detectable_peeking,
        "reason": n.reason,
    }
