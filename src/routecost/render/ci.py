"""A check where people look at it: annotations, a pull-request comment, and the reports that CI systems read.

Names of models, tasks and features come from logs. Each format escapes them by its own rules, so that a name cannot
start a workflow command, mention a person, close an element, or be taken for a link.
"""

from __future__ import annotations

import hashlib
import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import PurePath
from typing import Any, Literal
from urllib.parse import quote
from xml.etree import ElementTree

from routecost.gate.result import Change, Check, Outcome, Rule, Verdict, Why
from routecost.render import UNKNOWN, Document, usd
from routecost.render import to_json as document_json

MARKER = "<!-- routecost-check -->"
"""Hidden in the comment, so that the next run finds it and writes over it."""

Level = Literal["error", "warning", "notice"]

_LEVELS: Mapping[Verdict, Level] = {"fail": "error", "undecided": "warning", "pass": "notice"}
_ICONS: Mapping[Verdict, str] = {"pass": "✅", "fail": "❌", "undecided": "⚠️"}
_SENTENCES: Mapping[Verdict, str] = {
    "pass": "every rule holds",
    "fail": "a rule is broken",
    "undecided": "too little evidence to decide",
}
_SHARES = ("increase", "saving", "share", "unpriced")  # in the keys of rules whose limit is a part of something
_ROWS = 20  # of a table in a comment
_COMMENT = 60_000  # characters: GitHub refuses a comment of more than 65,536
_NAME = 120  # characters of a name that are shown
_TEXT = 600  # characters of a sentence
_ANNOTATIONS = 10  # of each level are shown by GitHub for a step, the rest are dropped without a word


# annotations


def to_github(check: Check) -> str:
    """Workflow commands, one a line: an annotation for each rule that does not hold, one notice for those that do.

    https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
    """
    lines: list[str] = []
    for level in _LEVELS.values():
        found = [o for o in check.outcomes if o.verdict != "pass" and _level(check, o) == level]
        room = _ANNOTATIONS if len(found) <= _ANNOTATIONS else _ANNOTATIONS - 1
        lines += [_command(level, _title(o), _advice(o)) for o in found[:room]]
        if found[room:]:
            rest = ", ".join(rule_name(o.rule) for o in found[room:])
            lines.append(_command(level, f"routecost check: {len(found) - room} more", rest))
    lines.append(_command("notice", f"routecost check: {check.verdict}", _overall(check)))
    return "\n".join(lines) + "\n"


def _level(check: Check, outcome: Outcome) -> Level:
    """An undecided rule counts as loudly as --on-undecided says."""
    verdict = check.on_undecided if outcome.verdict == "undecided" else outcome.verdict
    return _LEVELS[verdict]


def _title(outcome: Outcome) -> str:
    return f"routecost check: {rule_name(outcome.rule)} ({outcome.verdict})"


def _advice(outcome: Outcome) -> str:
    return "\n".join(part for part in (outcome.message, outcome.to_do) if part)


def _overall(check: Check) -> str:
    """Verdict, change and power in one sentence for each."""
    held = sum(o.verdict == "pass" for o in check.outcomes)
    parts = [f"rules that hold: {held} of {len(check.outcomes)}", check.why.headline]
    if (overall := _whole(check)) is not None and overall.detectable is not None:
        parts.append(f"smallest increase that would be found: {_percent(overall.detectable)}")
    return "; ".join(part.rstrip(".") for part in parts if part) + "."


def _whole(check: Check) -> Change | None:
    return next((change for change in check.changes if change.scope == "all"), None)


def _command(level: str, title: str, message: str) -> str:
    return f"::{level} title={_property(title)}::{_data(message)}"


def _data(value: str) -> str:
    # % first: it is what the others are written with
    return _printable(value, _TEXT).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")


# the comment


def to_markdown(check: Check) -> str:
    """The pull-request comment: `summary` under the marker by which it is found again."""
    return f"{MARKER}\n{summary(check)}"


def summary(check: Check) -> str:
    """Verdict, rules, costs, why and what to do as markdown, short enough for a comment."""
    body = ""
    for rows in (_ROWS, 5, 1):
        # what is escaped grows, so only the result tells whether it fits
        body = "\n\n".join(block for block in _blocks(check, rows) if block) + "\n"
        if len(body) <= _COMMENT:
            break
    return body


def _blocks(check: Check, rows: int) -> list[str]:
    return [
        f"## {_ICONS[check.verdict]} Cost check: {_SENTENCES[check.verdict]}",
        f"**{_markdown(check.why.headline)}**" if check.why.headline else "",
        _rules(check.outcomes, rows),
        _costs(check, rows),
        _list([_markdown(note) for note in check.notes], rows),
        *_why(check.why, rows),
        *_to_do(check, rows),
        _origin(check),
    ]


def _rules(outcomes: Sequence[Outcome], rows: int) -> str:
    order: Sequence[Verdict] = ("fail", "undecided", "pass")
    body = [
        (
            _rule(o.rule),
            _limit(o.rule),
            f"{_ICONS[o.verdict]} {o.verdict}",
            _markdown(o.message),
        )
        for o in sorted(outcomes, key=lambda o: order.index(o.verdict))
    ]
    return _table(("Rule", "Limit", "Verdict", "What was seen"), ":-::", body, rows)


def _costs(check: Check, rows: int) -> str:
    body = [
        (
            "all requests" if c.scope == "all" or c.name is None else f"{c.scope} {_code(c.name)}",
            _money(c.base_usd),
            _money(c.current_usd),
            _percent(c.increase),
            f"{_percent(c.low)} to {_percent(c.high)}",
            _percent(c.detectable),
            f"{c.base_requests:,} / {c.current_requests:,}{' (pairs)' if c.paired else ''}",
        )
        for c in check.changes
    ]
    header = ("Cost per request", "Baseline", "Now", "Change", "Between", "Would be found", "Requests, before / now")
    table = _table(header, ":------", body, rows)
    return (
        f"{table}\n\nBetween: one-sided bounds, each wrong in at most {_percent(check.alpha, signed=False)} of checks "
        "over all rules. Would be found: the smallest increase that so many requests show in 4 of 5 checks."
    )


def _why(why: Why, rows: int) -> list[str]:
    body = [(_markdown(p.kind), _money(p.usd, signed=True), _points(p.share)) for p in why.parts if p.usd]
    live = why.live_prices
    if not body and not live:
        return []
    body.append(("**all**", f"**{_money(why.total_usd, signed=True)}**", ""))
    moved = [f"{_markdown(m.sentence)} ({_money(m.usd, signed=True)})" for m in (*why.cells, *why.features)]
    return [
        "### Why",
        _table(("Part of the change", "USD", "Points"), ":--", body, len(body)),
        f"Apart from this, at today's prices: {_markdown(live.kind)}: {_money(live.usd, signed=True)}." if live else "",
        f"<details><summary>What moved most</summary>\n\n{_list(moved, rows)}\n\n</details>" if moved else "",
    ]


def _points(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share * 100:+,.1f}"


def _to_do(check: Check, rows: int) -> list[str]:
    advice = dict.fromkeys(o.to_do for o in check.outcomes if o.verdict != "pass" and o.to_do)
    lines = [_markdown(line) for line in advice]
    lines += [f"{_markdown(what)}: {_code(command, _TEXT)}" for what, command in check.commands.items()]
    return ["### What to do", _list(lines, rows)] if lines else []


def _origin(check: Check) -> str:
    """Where both sides and their prices come from."""
    base = check.baseline
    parts = [f"Baseline {_code(base.path)}"]
    if base.updated is not None:
        parts.append(f"of {base.updated:%Y-%m-%d}")
    if base.by:
        parts.append(f"by {_markdown(base.by)}")
    if base.commit:
        parts.append(f"at {_code(base.commit[:12])}")
    if base.reason:
        parts.append(f"({_markdown(base.reason)})")
    return (
        f"<sub>{' '.join(parts)}; current {_code(check.current)}. "
        f"Both at the list prices of {check.priced_on} ({_markdown(check.book_version)}).</sub>"
    )


def _table(header: Sequence[str], align: str, body: Sequence[Sequence[str]], rows: int) -> str:
    """align: a character a column, `-` for numbers."""
    if not body:
        return ""
    lines = [_row(header), _row(["---:" if a == "-" else "---" for a in align]), *map(_row, body[:rows])]
    more = f"\n\n{len(body) - rows} more are in the JSON result." if len(body) > rows else ""
    return "\n".join(lines) + more


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _list(lines: Sequence[str], rows: int) -> str:
    return "\n".join(f"- {line}" for line in lines[:rows])


def _rule(rule: Rule) -> str:
    return _code(rule.key) if rule.name is None else f"{_code(rule.key)} of {_code(rule.name)}"


def _markdown(value: str) -> str:
    """A sentence with nothing but its own `code` in it: no markup, no links, nobody mentioned, one line."""
    pieces = _CODE.split(" ".join(_printable(value, _TEXT).split()))
    line = "".join(_code(piece[1:-1], _TEXT) if i % 2 else _prose(piece) for i, piece in enumerate(pieces))
    return _STARTS.sub(r"\1\\\2", line)


def _prose(value: str) -> str:
    escaped = _MARKUP.sub(lambda found: "\\" + found[0], html.escape(value, quote=False).replace("|", "&#124;"))
    # GitHub and GitLab look for these in the rendered text, where an escape is gone: only a space between breaks them
    return _LINKS.sub(lambda found: found[0] + "\N{ZERO WIDTH SPACE}", escaped)


def _code(name: str, length: int = _NAME) -> str:
    """A name as code: between backticks where that is safe, else every sign as an entity."""
    shown = " ".join(_printable(name, length).split())
    if _PLAIN.fullmatch(shown):
        return f"`{shown}`"
    return f"<code>{_SIGN.sub(lambda found: f'&#{ord(found[0])};', shown)}</code>"


_SIGN = re.compile(r"[^\w\s]|_")
_CODE = re.compile(r"(?<!`)(`[^`]+`)(?!`)")
_PLAIN = re.compile(r"[^\s`|\\<>&](?:[^`|\\<>&]*[^\s`|\\<>&])?")
_MARKUP = re.compile(r"[\\`*_\[\]~]|\$(?!\d)")
_STARTS = re.compile(r"^(\d*)([-+#=.)])(?=[-+#=\s]|$)")  # a heading, a list or a line where a sentence begins
_LINKS = re.compile(r"@(?=\w)|(?<!&)#(?=\d)|(?<=\bGH)-(?=\d)|:(?=//)|(?<=\bwww)(?=\.)", re.IGNORECASE)


# reports that programs read


def to_junit(check: Check) -> str:
    """One test case a rule. An undecided rule is an error, or skipped where --on-undecided lets it pass."""
    counts = {"failure": 0, "error": 0, "skipped": 0}
    suite = ElementTree.Element("testsuite", name="routecost check")
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in _facts(check).items():
        ElementTree.SubElement(properties, "property", name=key, value=_xml(value))
    for outcome in check.outcomes:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"routecost.{_xml(outcome.rule.key)}",
            name=_xml(rule_name(outcome.rule)),
            time="0",
        )
        if outcome.verdict == "pass":
            ElementTree.SubElement(case, "system-out").text = _xml(outcome.message)
            continue
        tag = "failure" if outcome.verdict == "fail" else _JUNIT_UNDECIDED[check.on_undecided]
        counts[tag] += 1
        kind = {} if tag == "skipped" else {"type": outcome.verdict}  # `skipped` has no type in the JUnit schema
        found = ElementTree.SubElement(case, tag, {"message": _xml(outcome.message), **kind})
        found.text = _xml("\n".join(part for part in (_advice(outcome), check.why.headline) if part))
    numbers = {
        "tests": str(len(check.outcomes)),
        "failures": str(counts["failure"]),
        "errors": str(counts["error"]),
        "skipped": str(counts["skipped"]),
        "time": "0",
    }
    suite.attrib.update(numbers)
    suites = ElementTree.Element("testsuites", {"name": "routecost check", **numbers})
    suites.append(suite)
    ElementTree.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(suites, encoding="unicode")}\n'


_JUNIT_UNDECIDED: Mapping[Verdict, str] = {"undecided": "error", "fail": "failure", "pass": "skipped"}


def _facts(check: Check) -> dict[str, str]:
    facts = {
        "verdict": check.verdict,
        "why": check.why.headline,
        "baseline": check.baseline.path,
        "current": check.current,
        "priced_on": check.priced_on.isoformat(),
        "book_version": check.book_version,
        "alpha": f"{check.alpha:g}",
    }
    if (overall := _whole(check)) is not None:
        facts["increase"] = _percent(overall.increase)
        facts["detectable"] = _percent(overall.detectable)
    return facts


def _xml(value: str) -> str:
    # what `_UNSEEN` leaves is all allowed in XML 1.0; ElementTree escapes the rest
    return _printable(value, _TEXT)


def to_sarif(check: Check, *, config: str = "routecost.toml") -> str:
    """SARIF 2.1.0 with a result for each rule that does not hold, located at `config`, the file where rules stand.

    Rules that hold are listed as rules and have no result: GitHub opens an alert for every result, whatever its `kind`.
    https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
    """
    keys = list(dict.fromkeys(o.rule.key for o in check.outcomes))
    driver = {
        "name": "routecost",
        "semanticVersion": _version(),
        "rules": [
            {
                "id": key,
                "shortDescription": {"text": f"routecost check: {_printable(key, _NAME)}"},
                "defaultConfiguration": {"level": "error"},
            }
            for key in keys
        ],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True, "exitCode": check.exit_code}],
        "results": [_result(check, o, keys.index(o.rule.key), config) for o in check.outcomes if o.verdict != "pass"],
        "properties": _facts(check),
    }
    body = {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }
    return _json(body)


_SARIF: Mapping[Level, str] = {"error": "error", "warning": "warning", "notice": "note"}


def _result(check: Check, outcome: Outcome, index: int, config: str) -> dict[str, Any]:
    named = f"{outcome.rule.key}\0{outcome.rule.name or ''}"
    return {
        "ruleId": outcome.rule.key,
        "ruleIndex": index,
        "level": _SARIF[_level(check, outcome)],
        # [text](target) is a link in a SARIF message
        "message": {
            "text": re.sub(r"[\\\[\]]", lambda found: "\\" + found[0], _printable(_advice(outcome), 2 * _TEXT))
        },
        "locations": [
            {"physicalLocation": {"artifactLocation": {"uri": _uri(config)}, "region": {"startLine": 1}}},
        ],
        # the rule and what it is applied to, and not the numbers: the same alert in the next run
        "partialFingerprints": {"routecostRule/v1": hashlib.sha256(named.encode("utf-8", "replace")).hexdigest()[:32]},
        "properties": {"verdict": outcome.verdict, "name": outcome.rule.name},
    }


def _uri(path: str) -> str:
    pure = PurePath(path)
    return pure.as_uri() if pure.is_absolute() else quote(pure.as_posix(), errors="replace")


def _version() -> str:
    from routecost import __version__

    return __version__


def to_json(check: Check) -> str:
    """The whole check, unrounded, as docs/check.schema.json describes it."""
    return _encodable(document_json(Document("check", data=check_data(check))))


def check_data(check: Check) -> dict[str, Any]:
    """The check as plain values; numbers that are not finite are null."""
    # asdict cannot copy every kind of mapping
    fields = asdict(replace(check, sides={}, commands={}))
    fields["sides"] = {side: dict(values) for side, values in check.sides.items()}
    fields["commands"] = dict(check.commands)
    data = _finite(fields)
    assert isinstance(data, dict)
    return data


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json(body: Mapping[str, Any]) -> str:
    return _encodable(json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _encodable(value: str) -> str:
    # a file name that is not UTF-8 reaches Python with halves of surrogates in it
    return value.encode("utf-8", "replace").decode()


# what all formats say the same way


def rule_name(rule: Rule) -> str:
    """A rule as it is called everywhere: `max_increase` or `max_increase of code`."""
    return rule.key if rule.name is None else f"{rule.key} of {_printable(rule.name, _NAME)}"


def _limit(rule: Rule) -> str:
    if rule.limit is None:
        return UNKNOWN
    if isinstance(rule.limit, str):
        return _markdown(rule.limit)
    if "usd" in rule.key:
        return usd(rule.limit)
    share = any(word in rule.key for word in _SHARES)
    return _percent(rule.limit, signed=False) if share else f"{rule.limit:,.6g}"


def _percent(value: float | None, *, signed: bool = True) -> str:
    if value is None:
        return UNKNOWN
    shown = f"{value * 100:{'+' if signed else ''},.1f}%"
    return "0.0%" if shown in ("-0.0%", "+0.0%") else shown


def _money(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return UNKNOWN
    shown = usd(value)
    return f"+{shown}" if signed and value > 0 and shown != "$0.00" else shown


def _printable(value: str, length: int) -> str:
    """Without what is not to be seen: control characters, changes of writing direction, halves of surrogates."""
    seen = _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", value.replace("\r\n", "\n").replace("\r", "\n"))
    return seen if len(seen) <= length else seen[: length - 1] + "…"


_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufffe\uffff]"
)
