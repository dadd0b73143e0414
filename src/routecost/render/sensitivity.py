"""What mistakes of the classifier cost, and how a saving falls with its accuracy, as tables."""

from __future__ import annotations

from typing import Any

from routecost.pipeline.misrouting import Misrouting
from routecost.pipeline.sensitivity import Point, Sensitivity
from routecost.render import Column, Document, Section, usd
from routecost.render.intake import many
from routecost.stats import Interval

BAR = 30


def misrouting_section(found: Misrouting, saving_usd: float, factor: float, unit: str) -> Section:
    """The corrected task mix, and what is to be taken off the saving."""
    rows: list[dict[str, Any]] = [
        {"task": m.task, "given": m.given, "true": m.true.estimate, "within": _percents(m.true)} for m in found.mix
    ]
    net = saving_usd - found.cost_usd
    notes = [
        f"Of the {many(found.classified, 'request')} that the classifier decided, by its mistakes on "
        f"{found.confusion.source}; what the log and rules say is taken as right.",
        "Under-routed (to a cheaper model than the table has for the true task): "
        f"{_share(found.under, found.requests)} of all requests. Asked again on today's model "
        f"({times(found.retry_rate)} each, both calls paid): "
        f"{_usd(found.retry_usd, factor)} {unit}"
        + (f"; harm at ${found.harm_usd_each:g} each: {_usd(found.harm_usd, factor)}" if found.harm_usd_each else "")
        + ".",
        f"Over-routed (to a dearer one): {_share(found.over, found.requests)}; right tasks would save "
        f"{_usd(found.over_usd, factor)} {unit} more.",
        f"The saving less what mistakes cost: {usd(net * factor)} {unit}.",
    ]
    columns = (
        Column("task", "Task"),
        Column("given", "As classified", "percent"),
        Column("true", "Corrected", "percent"),
        Column("within", "95% interval", "span"),
    )
    return Section("Mistakes of the classifier", columns, rows, notes=notes)


def sensitivity_document(result: Sensitivity) -> Document:
    """`sensitivity`: saving, misrouted traffic and quality by accuracy, drawn, and the break-even."""
    name = f"{result.table}, {result.mode} mode" if result.mode else result.table
    best, worst = result.points[0], result.points[-1]
    lines = [
        f"Table {name} on {many(result.requests, 'request')} that cost {usd(result.today_usd)}.",
        f"With every task right it saves {_part(best)}; at an accuracy of {worst.accuracy:.0%}, {_part(worst)}.",
        _break_even(result),
    ]
    if result.measured is not None:
        lines.append(f"The classifier's own accuracy at this mix of tasks, as it was measured: {result.measured:.1%}.")
    top = max((abs(p.share.estimate) for p in result.points), default=0.0)
    rows = [
        {
            "accuracy": p.accuracy,
            "saving": p.saving.estimate,
            "part": p.share.estimate,
            "within": _percents(p.share),
            "bar": _bar(p.share.estimate, top),
            "misrouted": p.misrouted,
            "under": p.under,
            "quality": p.quality,
        }
        for p in result.points
    ]
    columns = (
        Column("accuracy", "Accuracy", "percent"),
        Column("saving", "Saving", "usd"),
        Column("part", "of now", "percent"),
        Column("bar", "", "span"),
        Column("within", "95% interval", "span", optional=True),
        Column("misrouted", "Misrouted", "percent"),
        Column("under", "Under-routed", "percent"),
        Column("quality", "Quality", "percent"),
    )
    section = Section(f"Saving by accuracy (USD in all, {name})", columns, rows)
    spread = "on the other tasks alike" if result.errors == "uniform" else "as in the confusion matrix"
    notes = (
        f"Mistakes fall {spread}. The tasks of the log are taken as true.",
        f"An under-routed request is asked again on today's model {times(result.retry_rate)}, and both calls are paid"
        + (f"; each costs ${result.harm_usd:g} besides." if result.harm_usd else "."),
        f"Quality: {result.quality_from}.",
    )
    return Document("sensitivity", lines, [section], _data(result), section, notes)


def times(rate: float) -> str:
    return {0.0: "never", 1.0: "once", 2.0: "twice"}.get(rate, f"{rate:g} times")


def _break_even(result: Sensitivity) -> str:
    if result.break_even is not None:
        return f"Break-even: below an accuracy of {result.break_even:.1%} the table costs money."
    if result.pays:
        return f"No break-even: it saves money at any accuracy down to {result.lowest:.0%}; what falls is quality."
    return "No break-even: it saves nothing at any accuracy."


def _part(p: Point) -> str:
    return f"{usd(p.saving.estimate)} ({p.share.estimate:.1%})"


def _bar(share: float, top: float) -> str:
    width = round(abs(share) / top * BAR) if top else 0
    return ("█" if share >= 0 else "░") * width


def _percents(interval: Interval) -> str | None:
    if interval.low is None or interval.high is None:
        return None
    return f"{interval.low * 100:.1f}% to {interval.high * 100:.1f}%"


def _share(count: Interval, requests: int) -> str:
    shares = count.scaled(1 / requests) if requests else count
    return f"{shares.estimate:.1%} ({_percents(shares)})"


def _usd(amount: Interval, factor: float) -> str:
    scaled = amount.scaled(factor)
    if scaled.low is None or scaled.high is None:
        return usd(scaled.estimate)
    return f"{usd(scaled.estimate)} ({usd(scaled.low)} to {usd(scaled.high)})"


def _data(result: Sensitivity) -> dict[str, Any]:
    return {
        "table": result.table,
        "mode": result.mode,
        "requests": result.requests,
        "today_usd": result.today_usd,
        "errors": result.errors,
        "retry_rate": result.retry_rate,
        "harm_usd": result.harm_usd,
        "break_even": result.break_even,
        "pays": result.pays,
        "measured_accuracy": result.measured,
        "quality_from": result.quality_from,
        "points": [
            {
                "accuracy": p.accuracy,
                "saving_usd": p.saving.as_dict(),
                "saving_share": p.share.as_dict(),
                "misrouted": p.misrouted,
                "under_routed": p.under,
                "quality": p.quality,
            }
            for p in result.points
        ],
    }
