"""The answers of `check` and `diff` as documents."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from routecost.gate.result import Change, Check, Why
from routecost.render import Column, Document, Section, usd

VERDICTS = {
    "pass": "PASS: no rule is broken, and a regression that matters would have been seen.",
    "fail": "FAIL: requests got dearer than they may.",
    "undecided": "UNDECIDED: this cannot be decided.",
}
MOST = 20


def check_document(check: Check) -> Document:
    """The verdict, rules with what was seen, what changed by task and feature, and why."""
    lines = [VERDICTS[check.verdict], *_lines(check)]
    if check.verdict == "undecided" and check.on_undecided != "undecided":
        lines.append(f"--on-undecided {check.on_undecided}: CI is told {check.on_undecided}.")
    sections = [_rules(check), *_sections(check)]
    return Document("check", lines, sections, check_data(check), _table(check), check.notes)


def diff_document(check: Check) -> Document:
    """The same comparison, without a verdict."""
    data = {k: v for k, v in check_data(check).items() if k not in ("verdict", "exit_code", "rules", "on_undecided")}
    return Document("diff", _lines(check), _sections(check), data, _table(check), check.notes)


def _lines(check: Check) -> list[str]:
    base, current = check.sides["base"], check.sides["current"]
    since = ""
    if check.baseline.updated is not None:
        by = f" by {check.baseline.by}" if check.baseline.by else ""
        reason = f": {check.baseline.reason}" if check.baseline.reason else ""
        since = f" (accepted {check.baseline.updated:%Y-%m-%d}{by}{reason})"
    lines = [
        f"{check.current}: {current['requests']:,.0f} requests, {usd(current['cost_usd'])}; against "
        f"{check.baseline.path}{since}: {base['requests']:,.0f} requests, {usd(base['cost_usd'])}.",
        f"Both sides at the prices of {check.priced_on} ({check.book_version}).",
    ]
    whole = check.changes[0]
    if whole.increase is not None:
        detectable = "nothing could be told" if whole.detectable is None else f"{whole.detectable:.1%}"
        how = f"{whole.groups} groups of the same requests" if whole.paired else f"{whole.groups} groups a side"
        lines.append(
            f"Cost per request {whole.increase:+.1%} ({usd(whole.base_usd or 0)} to {usd(whole.current_usd or 0)})"
            + _between(whole)
            + f". Smallest increase that would be found (80 % power): {detectable} ({how})."
        )
    lines.append(check.why.headline)
    return lines


def _between(change: Change) -> str:
    return "" if change.low is None or change.high is None else f", between {change.low:+.1%} and {change.high:+.1%}"


def _rules(check: Check) -> Section:
    rows = [
        {
            "verdict": o.verdict,
            "rule": _rule(o.rule.key, o.rule.limit, o.rule.name),
            "seen": o.message,
            "do": o.to_do or None,
        }
        for o in check.outcomes
    ]
    columns = (
        Column("verdict", "Verdict", "span"),
        Column("rule", "Rule"),
        Column("seen", "Seen"),
        Column("do", "To do"),
    )
    return Section("Rules", columns, rows)


def _rule(key: str, limit: Any, name: str | None) -> str:
    where = f" {name}" if name else ""
    return f"{key.replace('_', ' ')}{where}" + (f": {limit}" if limit is not None else "")


def _sections(check: Check) -> list[Section]:
    sections = [_changes(check, "task"), _changes(check, "feature"), _why(check.why), *_movers(check.why)]
    return [s for s in sections if s is not None]


def _changes(check: Check, scope: str) -> Section | None:
    rows = [_change(c) for c in check.changes if c.scope == scope]
    if not rows:
        return None
    rows.sort(key=lambda r: -abs(r["moved"] or 0.0)) if scope == "feature" else None
    columns = (
        Column("name", scope.capitalize()),
        Column("base_n", "Requests before", "count"),
        Column("current_n", "now", "count"),
        Column("base", "A request before", "usd"),
        Column("current", "now", "usd"),
        Column("increase", "Change", "percent"),
        Column("within", "At least, at most", "span", optional=True),
        Column("detectable", "Would be found", "percent"),
    )
    return Section(f"Cost per request by {scope}", columns, rows[:MOST])


def _change(c: Change) -> dict[str, Any]:
    within = None if c.low is None or c.high is None else f"{c.low:+.1%} to {c.high:+.1%}"
    return {
        "name": c.name or "(none)",
        "base_n": c.base_requests,
        "current_n": c.current_requests,
        "base": c.base_usd,
        "current": c.current_usd,
        "increase": c.increase,
        "within": within,
        "detectable": c.detectable,
        "moved": (c.difference_usd or 0.0) * c.current_requests,
    }


def _why(why: Why) -> Section:
    parts = [*why.parts, *([why.live_prices] if why.live_prices else [])]
    rows = [{"part": _live(why, p.kind, p is why.live_prices), "usd": p.usd, "share": p.share} for p in parts if p.usd]
    columns = (Column("part", "Part"), Column("usd", "USD", "usd"), Column("share", "Points", "percent"))
    total = {"part": "total", "usd": why.total_usd}
    notes = ("Points: of what the baseline would cost at the current number of requests.",)
    return Section("Why the total changed", columns, rows, total=total, notes=notes)


def _live(why: Why, kind: str, live: bool) -> str:
    return "list prices since the baseline (not in the total)" if live else kind


def _movers(why: Why) -> list[Section]:
    sections = []
    for title, movers in (("Cells that moved most", why.cells), ("Features that moved most", why.features)):
        if movers:
            rows = [{"name": m.name, "usd": m.usd, "share": m.share, "what": m.sentence} for m in movers]
            columns = (
                Column("name", "Which"),
                Column("usd", "USD", "usd"),
                Column("share", "Points", "percent"),
                Column("what", "What happened"),
            )
            sections.append(Section(title, columns, rows))
    return sections


def check_data(check: Check) -> dict[str, Any]:
    """The whole result as plain values."""
    return {
        "verdict": check.verdict,
        "exit_code": check.exit_code,
        "on_undecided": check.on_undecided,
        "current": check.current,
        "baseline": asdict(check.baseline),
        "priced_on": check.priced_on,
        "book": check.book_version,
        "alpha": check.alpha,
        "detect": check.detect,
        "sides": {k: dict(v) for k, v in check.sides.items()},
        "rules": [asdict(o) for o in check.outcomes],
        "changes": [asdict(c) for c in check.changes],
        "why": asdict(check.why),
        "notes": list(check.notes),
    }


def _table(check: Check) -> Section:
    rows = [asdict(c) for c in check.changes]
    return Section("changes", [Column(k, k) for k in rows[0]], rows)
