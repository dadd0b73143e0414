"""What got worse since a change, as a document."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from routecost.pipeline.watch import LEAST, TRIM, Slice, Up, Watched
from routecost.render import Column, Document, Section
from routecost.render.intake import many
from routecost.routing import Override

_COLUMNS = (
    Column("what", "By"),
    Column("name", "Name", "span"),
    Column("rated_before", "Rated before", "count", optional=True),
    Column("rated_after", "After", "count", optional=True),
    Column("before", "Bad before", "percent"),
    Column("after", "After", "percent"),
    Column("change", "Change", "span"),
    Column("interval", "[ ]", "span"),
    Column("of_all_before", "Of all before", "percent", optional=True),
    Column("of_all_after", "After", "percent", optional=True),
    Column("model", "Model", "span", optional=True),
    Column("verdict", "Verdict"),
)


def watched_document(result: Watched) -> Document:
    """`quality watch`: the rates before and after, the rules, and the requests to label."""
    rows = [_row(s) for s in result.slices if s.rated != (0, 0)]
    sections = [Section("Bad answers, of the rated", _COLUMNS, rows, notes=_rate_notes(result))]
    if result.ups:
        columns = (Column("slice", "Slice"), Column("rule", "Rule", "span"), Column("why", "Why"))
        up_rows = [{"slice": _named(up.slice), "rule": _rule(up.rule), "why": up.why} for up in result.ups]
        sections.append(Section("Route up", columns, up_rows))
    data = {
        "change": result.change.isoformat(),
        "change_chosen": result.chosen,
        "requests": result.requests,
        "rated": result.rated,
        "undated": result.undated,
        "repeated": result.repeated,
        "rejected": result.rejected,
        "tested": result.tested,
        "rose": [{"by": s.dimension, "name": s.name} for s in result.rose],
        "slices": [_data(s) for s in result.slices],
        "overrides": [_up_data(up) for up in result.ups],
        "probably_misclassified": result.doubtful,
        "below": result.below,
        "output": str(result.output) if result.output else None,
        "written": result.labelled,
        "notes": list(result.notes),
    }
    table = Section("Slices", [Column(key, key) for key in _data(result.slices[0])], [_data(s) for s in result.slices])
    return Document("quality watch", _lines(result), sections, data, table=table, notes=result.notes)


def _lines(result: Watched) -> list[str]:
    whole_day = result.change.time() == dt.time()
    day = f"{result.change:%Y-%m-%d}" if whole_day else f"{result.change:%Y-%m-%d %H:%M}"
    how = "the day around which it differs most; name another with --since-change" if result.chosen else "as given"
    lines = [
        f"{many(result.requests, 'request')}, {result.rated:,} of them rated "
        f"({result.rated / result.requests:.1%}). Change: {day} ({how}).",
    ]
    left = [
        f"{n:,} {what}"
        for n, what in (
            (result.undated, "without a timestamp"),
            (result.repeated, "repeated request ids (counted once)"),
            (result.rejected, "rejected lines"),
        )
        if n
    ]
    if left:
        lines.append(f"  Left out: {'; '.join(left)}.")
    rose = [_named(s) for s in result.rose]
    lines.append(f"Bad answers rose: {', '.join(rose)}." if rose else "No rise of bad answers is shown.")
    if result.doubtful:
        where = f"; wrote {result.labelled:,} to {result.output}" if result.output else "; -o to_label.csv writes them"
        lines.append(
            f"Probably misclassified: {many(result.doubtful, 'request')} that people called bad and whose task the "
            f"classifier gives less than {result.below:g}{where}."
        )
    if result.output:
        lines.append(
            f"  Fill in `task`, then: routecost classifier train {result.output} -o own.classifier. They are no "
            "random sample: train on them, but do not measure on them."
        )
    if result.overrides:
        rules = sum(up.rule is not None for up in result.ups)
        lines.append(f"Wrote {result.overrides} with {many(rules, 'rule')}.")
    return lines


def _rate_notes(result: Watched) -> tuple[str, ...]:
    searched = " and for the search for the day" if result.chosen else ""
    notes = (
        "Bad: a thumb down, or a rating below the middle; of the rated requests. Of all: out of every request, rated "
        "or not.",
        f"[ ]: interval of the change in points that holds at 95 % for all {result.tested} slices at once{searched}; "
        "requests of one user (or session) count as one cluster.",
        f"Too few: less than {LEAST} rated requests on a side"
        + (f", or less than {TRIM:.0%} of them." if result.chosen else "."),
    )
    if any(s.dimension == "all" for s in result.rose) and not result.ups:
        return (
            *notes,
            "Only all requests together show it, no task, feature or model alone: there is no rule to write.",
        )
    return notes


def _row(found: Slice) -> dict[str, Any]:
    rise = found.rise
    moved = found.model_before != found.model_after and None not in (found.model_before, found.model_after)
    bounds = (
        None
        if rise is None or rise.low is None or rise.high is None
        else f"[{_points(rise.low)}, {_points(rise.high)}]"
    )
    return {
        "what": found.dimension,
        "name": found.name,
        "rated_before": found.rated[0],
        "rated_after": found.rated[1],
        "before": found.of_rated(0),
        "after": found.of_rated(1),
        "change": None if rise is None else _points(rise.change),
        "interval": bounds,
        "of_all_before": found.of_all(0),
        "of_all_after": found.of_all(1),
        "model": f"{found.model_before} -> {found.model_after}" if moved else found.model_after or found.model_before,
        "verdict": found.verdict,
    }


def _points(share: float) -> str:
    return f"{share * 100:+.1f}"


def _named(found: Slice) -> str:
    return "all requests" if found.dimension == "all" else f"{found.dimension} {found.name}"


def _rule(rule: Override | None) -> str | None:
    return None if rule is None else f"{rule} -> {rule.target}"


def _data(found: Slice) -> Mapping[str, Any]:
    rise = found.rise
    return {
        "by": found.dimension,
        "name": found.name,
        "requests_before": found.requests[0],
        "requests_after": found.requests[1],
        "rated_before": found.rated[0],
        "rated_after": found.rated[1],
        "negative_before": found.negative[0],
        "negative_after": found.negative[1],
        "of_rated_before": found.of_rated(0),
        "of_rated_after": found.of_rated(1),
        "of_all_before": found.of_all(0),
        "of_all_after": found.of_all(1),
        "change": rise.change if rise else None,
        "low": rise.low if rise else None,
        "high": rise.high if rise else None,
        "design_effect": rise.effect if rise else None,
        "model_before": found.model_before,
        "model_after": found.model_after,
        "verdict": found.verdict,
    }


def _up_data(up: Up) -> Mapping[str, Any]:
    rule = up.rule
    return {
        "by": up.slice.dimension,
        "name": up.slice.name,
        "rule": None if rule is None else {**rule.conditions, "model": rule.target},
        "why": up.why,
    }
