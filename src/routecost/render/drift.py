"""What drifted, as a document."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from routecost.drift.result import Drift, Signal
from routecost.render import Column, Document, Section
from routecost.render.intake import many

VERDICTS = {
    "fine": "FINE: nothing drifted further than its limit.",
    "watch": "WATCH: something drifted. Look again in a week, or label a sample (`routecost classifier sample`).",
    "retrain": "RETRAIN: requests are no longer what the classifier and the routing table were made for.",
    "unknown": "UNDECIDED: there is too little to tell drift from chance.",
}
MOST = 12
_DISTANCES = ("task mix", "input length", "output length", "words")


def drift_document(drift: Drift) -> Document:
    """The verdict, each signal beside its limits and what chance does, and what stands behind it."""
    base, current = drift.base, drift.current
    lines = [VERDICTS[drift.verdict]]
    if current is None:
        lines.append(f"{base.name}: {many(base.requests, 'request')}, {base.first} to {base.last}.")
        if drift.points:
            day = drift.points[-1].day
            lines.append(f"Compare what was before with what is now: routecost drift {base.name} --split {day}")
    else:
        for side in (base, current):
            when = "no dates" if side.first is None else f"{side.first} to {side.last}"
            lines.append(f"{side.name}: {many(side.requests, 'request')}, {when}, {many(side.groups, 'group')}.")
        raised = [f"{s.name} ({s.verdict})" for s in drift.signals if s.verdict in ("watch", "retrain")]
        if raised:
            lines.append("Raised: " + ", ".join(raised) + ".")
    sections = [
        s for s in (_signals(drift), _mix(drift), _lengths(drift), _names(drift), _words(drift), _points(drift)) if s
    ]
    return Document("drift", lines, sections, drift_data(drift), _table(drift), drift.notes)


def _signals(drift: Drift) -> Section | None:
    if not drift.signals:
        return None
    rows = [_signal(s) for s in drift.signals]
    columns = (
        Column("verdict", "Verdict", "span"),
        Column("name", "Signal", "span"),
        Column("base", "Before", "span", optional=True),
        Column("current", "Now", "span", optional=True),
        Column("size", "Moved", "span"),
        Column("within", "95 % interval", "span", optional=True),
        Column("chance", "Chance", "span"),
        Column("watch", "Watch from", "span"),
        Column("retrain", "Retrain from", "span"),
    )
    notes = [
        "A signal is raised where it moved by its limit and by more than chance does in such traffic "
        f"({drift.alpha:.0%} false alarms over all signals).",
        "Task mix: population stability index. Lengths: mean distance of the quantiles of log tokens (0.22: a quarter "
        "longer). Words: how often they tell which side a request is from (50.0%: never better than a coin).",
    ]
    notes += [f"{s.name}: {s.why}." for s in drift.signals if s.why]
    return Section("Signals", columns, rows, notes=notes)


def _signal(s: Signal) -> dict[str, Any]:
    within = None if s.low is None or s.high is None else f"{_shown(s.name, s.low)} to {_shown(s.name, s.high)}"
    return {
        "verdict": s.verdict,
        "name": s.name,
        "base": _shown("", s.base),
        "current": _shown("", s.current),
        "size": _shown(s.name, s.size),
        "within": within,
        "chance": _shown(s.name, s.chance),
        "watch": _shown(s.name, s.limits.watch),
        "retrain": _shown(s.name, s.limits.retrain),
    }


def _shown(name: str, value: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:.3f}" if name in _DISTANCES[:3] else f"{value + 0.0:.1%}"


def _mix(drift: Drift) -> Section | None:
    if not drift.mix:
        return None
    rows: list[dict[str, Any]] = []
    for m in drift.mix:
        within = None if m.low is None or m.high is None else f"{m.low:+.1%} to {m.high:+.1%}"
        rows.append({"task": m.task or "(none)", "base": m.base, "current": m.current, "within": within})
    columns = (
        Column("task", "Task"),
        Column("base", "Before", "percent"),
        Column("current", "Now", "percent"),
        Column("within", "Change, at least, at most", "span"),
    )
    notes = []
    if drift.test is not None and drift.test.p is not None:
        p = "less than 0.001" if drift.test.p < 0.001 else f"{drift.test.p:.3f}"
        notes.append(
            f"Chi-square test corrected for groups: p {p}; effect size w {drift.test.w:.2f} (0.1 small, 0.3 medium); "
            f"{drift.test.design_effect or 1:.1f} requests count as one."
        )
    return Section("Task mix", columns, rows, notes=notes)


def _lengths(drift: Drift) -> Section | None:
    if not drift.lengths:
        return None
    rows: list[dict[str, Any]] = []
    for x in drift.lengths:
        within = None if x.low is None or x.high is None else f"{x.low:.3f} to {x.high:.3f}"
        rows.append({**asdict(x), "kind": f"{x.kind} tokens", "within": within})
    columns = (
        Column("kind", "Length"),
        Column("base_median", "Median before", "count"),
        Column("current_median", "now", "count"),
        Column("distance", "Kolmogorov-Smirnov", "number"),
        Column("within", "95 % interval", "span"),
    )
    return Section("Lengths", columns, rows)


def _names(drift: Drift) -> Section | None:
    if not drift.names:
        return None
    rows: list[dict[str, Any]] = []
    for n in drift.names[:MOST]:
        within = None if n.low is None or n.high is None else f"{n.low:.1%} to {n.high:.1%}"
        what = f"{n.what} {n.scope}"
        rows.append({"what": what, "name": n.name, "n": n.requests, "share": n.share, "within": within})
    columns = (
        Column("what", "What"),
        Column("name", "Name"),
        Column("n", "Requests", "count"),
        Column("share", "Share of its side", "percent"),
        Column("within", "95 % interval", "span", optional=True),
    )
    more = len(drift.names) - MOST
    return Section("New and gone", columns, rows, notes=(f"and {more} more (--format json).",) if more > 0 else ())


def _words(drift: Drift) -> Section | None:
    if not drift.words:
        return None
    rows = [{"word": w.word, "base": w.base, "current": w.current, "z": w.z} for w in drift.words]
    columns = (
        Column("word", "Word"),
        Column("base", "Units before", "count"),
        Column("current", "Units now", "count"),
        Column("z", "z of log-odds", "number"),
    )
    return Section("Words that are new or far more common", columns, rows)


def _points(drift: Drift) -> Section | None:
    if not drift.points:
        return None
    rows = []
    for p in drift.points:
        share = p.what.startswith("share")
        base, current = (f"{v:.1%}" if share else f"{v:,.0f}" for v in (p.base, p.current))
        within = None
        if p.low is not None and p.high is not None:
            within = f"{p.low:+.1%} to {p.high:+.1%}" if share else f"{p.low:+,.0f} to {p.high:+,.0f}"
        rows.append({"day": str(p.day), "what": p.what, "base": base, "current": current, "within": within, "p": p.p})
    columns = (
        Column("day", "From"),
        Column("what", "What"),
        Column("base", "Before", "span"),
        Column("current", "After", "span"),
        Column("within", "Change, at least, at most", "span", optional=True),
        Column("p", "p", "number"),
    )
    notes = (
        "p: of as large a change among days in random order. The interval takes the day as given, which was chosen to "
        "make the change large.",
    )
    return Section("Changes", columns, rows, notes=notes)


def drift_data(drift: Drift) -> dict[str, Any]:
    """The whole result as plain values."""
    return asdict(drift)


def _table(drift: Drift) -> Section:
    if drift.current is None:
        points = [asdict(p) for p in drift.points]
        keys: tuple[str, ...] = ("day", "what", "base", "current", "low", "high", "p")
        return Section("points", [Column(k, k) for k in keys], points)
    rows = [{**asdict(s), "watch": s.limits.watch, "retrain": s.limits.retrain} for s in drift.signals]
    keys = ("name", "verdict", "base", "current", "size", "low", "high", "chance", "watch", "retrain", "why")
    return Section("signals", [Column(k, k) for k in keys], rows)
