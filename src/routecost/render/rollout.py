"""A roll-out's plan and its status as documents, and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from routecost.pipeline.rollout import Expected, RolloutPlan, Step
from routecost.pipeline.rollout_status import Criterion, RolloutStatus, Seen
from routecost.render import Column, Document, Section, usd
from routecost.render.pictures import BESIDE, WIDTHS, Figure, theme
from routecost.stats import Interval

if TYPE_CHECKING:
    import altair

NAMES = {"shadow": "1 shadow", "canary": "2 canary", "gradual": "3 gradual", "full": "4 all"}
ENDS = {
    "shadow": "nothing is dispatched; the table saves for certain; 95% or more of the requests have a price; a spot "
    "check of labels is as you want it (`routecost classifier sample`)",
    "canary": "thumbs-down, errors and p95 latency are shown to be within their margins, and no task is harmed",
    "gradual": "as the canary, at every step; where one task is harmed, roll that one back and go on with the others",
    "full": "as the canary, against the hold-out (or, without one, the weeks before); then every quarter",
}


def plan_document(plan: RolloutPlan) -> Document:
    """Phases with dates and shares, what each must show and can show, and what it should save."""
    schedule = plan.schedule
    margins = schedule.margins
    week = schedule.saving_week
    lines = [
        f"Rolling out {schedule.table}" + (f" in {schedule.mode} mode" if schedule.mode else "") + ":"
        f" {_money(week)} of {usd(plan.today_week)} a week saved in the end.",
        f"From {plan.requests:,} requests of {plan.period.first} to {plan.period.last}. Treatment may be worse by"
        f" {margins.thumbs_down * 100:.3g} points of thumbs-down, {margins.errors * 100:.3g} points of errors,"
        f" {margins.latency:.0%} of p95 latency.",
    ]
    if plan.cache_loss_week > 0:
        lines.append(f"Lost prompt caches can take up to {usd(plan.cache_loss_week)} a week of it.")
    phases = dict.fromkeys(s.phase for s in schedule.steps)
    criteria = Section(
        "To go on",
        (Column("phase", "Phase", "span"), Column("go", "Go to the next when")),
        [{"phase": NAMES[phase], "go": ENDS[phase]} for phase in phases],
        notes=[
            "Stop at once (no-go) where harm is certain and looks larger than its margin; before a step has ended only "
            "at a level of 0.1%, so that looking every day does no harm.",
        ],
    )
    of_tasks = [e for e in plan.by_task if e.step.phase == "canary"]
    sections = [_phases(plan.steps, schedule.steps), criteria]
    if of_tasks:
        columns = (Column("task", "Task"), *_ARMS, *_FOUND)
        rows = [{**_found_row(e), "task": e.task or "unclassified"} for e in of_tasks]
        sections.append(Section("What the canary shows of each task that moves", columns, rows, notes=_power(plan)))
    data = {
        "schedule": asdict(schedule),
        "saving_usd_a_week": week.as_dict(),
        "today_usd_a_week": plan.today_week,
        "cache_loss_usd_a_week": plan.cache_loss_week,
        "requests_of_a_unit": plan.unit_size,
        "steps": [_expected_row(e) for e in plan.steps],
        "by_task": [{**_expected_row(e), "task": e.task} for e in plan.by_task],
        "notes": list(plan.notes),
    }
    return Document("rollout plan", lines, sections, data, sections[0], plan.notes)


_ARMS = (Column("treated", "Treatment", "count"), Column("control", "Control", "count"))
_FOUND = (
    Column("thumbs_down", "Thumbs-down"),
    Column("errors", "Errors"),
    Column("latency", "Latency p95"),
)
_PHASE = (
    Column("phase", "Phase", "span"),
    Column("since", "From", "span"),
    Column("until", "Until", "span"),
    Column("share", "Share", "percent"),
)


def _phases(steps: Sequence[Expected], _: Sequence[Step]) -> Section:
    columns = (*_PHASE, *_ARMS, *_FOUND, Column("saving", "Saved in it"), Column("sum", "Saved in all"))
    rows = [
        {**_step_row(e.step), **_found_row(e), "saving": _money(e.saving), "sum": _money(e.cumulated)} for e in steps
    ]
    notes = [
        "Treatment, control: requests of tasks that move. Thumbs-down, errors, latency: the smallest harm that a step "
        "finds with 80% power at 5%; where it is above the margin, the step cannot show that there is none.",
        "Until is not part of a step. The last one has no end; its first week is shown.",
    ]
    return Section("Phases", columns, rows, notes=notes)


def _power(plan: RolloutPlan) -> list[str]:
    return [
        f"Requests of one user or session (here {plan.unit_size:,.3g} on average over requests) are alike: a "
        f"correlation of {plan.schedule.correlation:g} is assumed (--correlation). `routecost experiment` measures it.",
    ]


def _step_row(step: Step) -> dict[str, Any]:
    return {
        "phase": NAMES[step.phase],
        "since": str(step.since),
        "until": None if step.until is None else str(step.until),
        "share": step.share,
    }


def _found_row(e: Expected) -> dict[str, Any]:
    f = e.found
    return {
        "treated": e.treated,
        "control": e.control,
        "thumbs_down": _points(f.thumbs_down),
        "errors": _points(f.errors),
        "latency": None if f.latency is None else f"+{f.latency:.0%}",
    }


def _expected_row(e: Expected) -> dict[str, Any]:
    return {
        **asdict(e.step),
        "treated": e.treated,
        "control": e.control,
        "found": asdict(e.found),
        "saving_usd": None if e.saving is None else e.saving.as_dict(),
        "cumulated_usd": None if e.cumulated is None else e.cumulated.as_dict(),
    }


def _points(value: float | None) -> str | None:
    return None if value is None else f"+{value * 100:.2g} points"


def _money(interval: Interval | None) -> str | None:
    if interval is None:
        return None
    if interval.low is None or interval.high is None:
        return f"{usd(interval.estimate)} (no interval)"
    if interval.low == interval.high:
        return usd(interval.estimate)
    return f"{usd(interval.estimate)} ({usd(interval.low)} to {usd(interval.high)})"


VERDICTS = {
    "go": "GO: the step has ended and every criterion is met.",
    "no-go": "NO-GO: a criterion is not met. Roll back what is harmed.",
    "hold": "HOLD: the step has ended, and not everything is shown. Keep the share, and ask again in some days.",
    "too early": "TOO EARLY: the step has not ended. Nothing speaks for stopping it.",
}


def status_document(status: RolloutStatus) -> Document:
    """Where the roll-out is, what was criterion by criterion, and what it has saved against the plan."""
    step = status.step
    share = f"share {step.share:.0%}"
    span = f"{step.since} to {step.until}" if step.until else f"from {step.since}"
    lines = [VERDICTS[status.verdict], f"Phase {NAMES[step.phase]} ({share}, {span}), seen until {status.until}."]
    if status.steps:
        lines.append(f"Saved so far: {_money(status.saved)}; planned until then: {_money(status.expected)}.")
    if status.verdict == "go" and status.following is not None:
        following = status.following
        lines.append(f"Next: {NAMES[following.phase]}, share {following.share:.0%}, from {following.since}.")
    criteria = Section(
        "Criteria",
        (
            Column("criterion", "Criterion", "span"), Column("task", "Task"), Column("state", "State"),
            Column("seen", "Seen"), Column("interval", "Interval"), Column("wanted", "Wanted"),
        ),
        [_criterion_row(c) for c in status.criteria],
        notes=[
            "Of single tasks only certain harm decides. "
            + ("" if status.complete else "Before the end, intervals are at 99.9%. ")
            + "`routecost experiment` judges each task with intervals that hold at every look."
        ],
    )  # fmt: skip
    sections = [criteria]
    if status.steps:
        sections.append(_steps(status.steps))
    planned = sum(t.requests_per_day for t in status.schedule.tasks)
    notes = [
        *status.notes,
        f"{status.requests_per_day:,.0f} requests a day; the plan counted on {planned:,.0f}.",
    ]
    data = {
        "verdict": status.verdict,
        "exit_code": status.exit_code,
        "until": status.until,
        "step": asdict(step),
        "next": None if status.following is None else asdict(status.following),
        "complete": status.complete,
        "arms": status.arms,
        "criteria": [asdict(c) for c in status.criteria],
        "saved_usd": status.saved.as_dict(),
        "expected_usd": status.expected.as_dict(),
        "steps": [_seen_data(s) for s in status.steps],
        "requests_per_day": status.requests_per_day,
        "notes": notes,
    }
    return Document("rollout status", lines, sections, data, criteria, notes)


def _criterion_row(c: Criterion) -> dict[str, Any]:
    return {
        "criterion": c.name,
        "task": c.task or "all",
        "state": c.state if c.decides or c.state != "open" else "open (does not decide)",
        "seen": _seen(c, c.seen),
        "interval": None if c.low is None or c.high is None else f"{_seen(c, c.low)} to {_seen(c, c.high)}",
        "wanted": c.wanted,
    }


def _seen(c: Criterion, value: float | None) -> str | None:
    if value is None:
        return None
    if c.name in ("thumbs-down", "errors"):
        return f"{value * 100:+.2f} points"
    return f"{value:+.1%}" if c.name == "latency p95" else f"{value:.1%}"


def _steps(steps: Sequence[Seen]) -> Section:
    columns = (
        Column("phase", "Phase", "span"), Column("since", "From", "span"), Column("days", "Days", "count"),
        Column("requests", "Requests", "count"), Column("planned", "Share planned", "percent"),
        Column("share", "Share seen", "percent"), Column("interval", "Interval", "span"),
        Column("saved", "Saved"), Column("expected", "Saved as planned"),
    )  # fmt: skip
    rows = [
        {
            **_step_row(s.step),
            "days": s.days,
            "requests": s.requests,
            "planned": s.step.share,
            "share": s.share.estimate,
            "interval": _span(s.share),
            "saved": _money(s.saved),
            "expected": _money(s.expected),
        }
        for s in steps
    ]
    note = "Saved: treated requests times how much cheaper one of a task is than in control, less the router's cost."
    return Section("What has moved and what it saved", columns, rows, notes=[note])


def _span(interval: Interval) -> str | None:
    if interval.low is None or interval.high is None:
        return None
    return f"{interval.low:.1%} to {interval.high:.1%}"


def _seen_data(s: Seen) -> dict[str, Any]:
    return {
        **asdict(s.step),
        "days": s.days,
        "requests": s.requests,
        "treated": s.treated,
        "share_seen": s.share.as_dict(),
        "saved_usd": s.saved.as_dict(),
        "expected_usd": s.expected.as_dict(),
    }


# --- drawn ------------------------------------------------------------------------------------------------------------


def plan_figure(plan: RolloutPlan) -> Figure:
    """The saving cumulated as planned."""
    rows = [
        {"day": str(e.step.since if i == 0 else _end(e.step)), "what": "planned", **_drawn(e.cumulated)}
        for i, e in enumerate(plan.steps)
    ]
    start = {"day": str(plan.steps[0].step.since), "what": "planned", **_drawn(Interval(0.0, 0.0, 0.0))}
    rows = [start, *rows[1:]] if len(rows) > 1 else [start]
    about = f"The saving cumulated over the roll-out: {_money(plan.steps[-1].cumulated)} after the first full week."
    return _figure("Saving as planned", about, rows, _phases(plan.steps, plan.schedule.steps))


def status_figure(status: RolloutStatus) -> Figure:
    """The saving cumulated, as seen and as planned, step by step."""
    first = status.steps[0].step.since if status.steps else status.step.since
    rows = [{"day": str(first), "what": w, **_drawn(Interval(0.0, 0.0, 0.0))} for w in ("planned", "seen")]
    sums = {"planned": [0.0, 0.0, 0.0], "seen": [0.0, 0.0, 0.0]}
    for s in status.steps:
        end = min(status.until, s.step.until or status.until)
        for what, part in (("planned", s.expected), ("seen", s.saved)):
            drawn = _drawn(part)
            sums[what] = [a + b for a, b in zip(sums[what], drawn.values(), strict=True)]
            rows.append({"day": str(end), "what": what, **dict(zip(drawn, sums[what], strict=True))})
    about = f"Saved until {status.until}: {_money(status.saved)}, planned: {_money(status.expected)}."
    return _figure("Saved so far", about, rows, _steps(status.steps))


def _end(step: Step) -> Any:
    import datetime as dt

    return step.until or step.since + dt.timedelta(days=step.days())


def _drawn(interval: Interval | None) -> dict[str, float]:
    if interval is None:
        return {"usd": 0.0, "low": 0.0, "high": 0.0}
    e = interval.estimate
    return {
        "usd": e,
        "low": e if interval.low is None else interval.low,
        "high": e if interval.high is None else interval.high,
    }


def _figure(title: str, about: str, rows: Sequence[dict[str, Any]], table: Section) -> Figure:
    return Figure(title, about, [_chart(rows, width) for width in WIDTHS], table)


def _chart(rows: Sequence[dict[str, Any]], width: int) -> altair.LayerChart:
    import altair as alt

    kinds = list(dict.fromkeys(r["what"] for r in rows))
    inks: list[Any] = [alt.ExprRef({"planned": "quiet", "seen": "strong"}[k]) for k in kinds]
    scale = alt.Scale(domain=kinds, range=inks)
    # or it would be as faint as the areas
    legend = alt.Legend(title=None, orient="bottom", offset=14, symbolOpacity=1)
    color = alt.Color("what:N", scale=scale, legend=legend)
    base = alt.Chart(alt.InlineData(values=list(rows))).encode(
        x=alt.X("day:T", title=None, axis=alt.Axis(format="%d %b", tickCount=4 if width < 480 else 8))
    )
    y = alt.Y("usd:Q", title="Saved, USD", axis=alt.Axis(format="~s", titleAngle=0, titleAlign="left",
        titleAnchor="end", titleX=-40, titleY=-14, minExtent=34, maxExtent=34))  # fmt: skip
    tooltip = [
        alt.Tooltip("day:T"),
        alt.Tooltip("what:N"),
        alt.Tooltip("usd:Q", title="saved, USD", format=",.2f"),
        alt.Tooltip("low:Q", format=",.2f"),
        alt.Tooltip("high:Q", format=",.2f"),
    ]
    layers = [
        base.mark_area(opacity=0.16).encode(y=alt.Y("low:Q"), y2="high:Q", color=color),
        base.mark_line(strokeWidth=2.5, strokeJoin="round").encode(y=y, color=color),
        base.mark_point(filled=True, size=60, opacity=1).encode(y=y, color=color, tooltip=tooltip),
    ]
    chart = alt.layer(*layers, width=width - BESIDE, height=300, padding=8, config=alt.Config(**theme()))
    assert isinstance(chart, alt.LayerChart)
    return chart
