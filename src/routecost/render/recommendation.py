"""The answer of `recommend`: a document, and the table with its evidence as comments."""

from __future__ import annotations

from typing import Any

from routecost.pipeline.misrouting import as_data
from routecost.pipeline.plane import Worth
from routecost.pipeline.recommendation import REASONS, Cell, Recommendation, row
from routecost.recommend.choose import Rival
from routecost.render import Column, Document, Section, usd
from routecost.render.analysis import ASSUMPTIONS, interval_text, saving_data, saving_sentence
from routecost.render.intake import (
    correction_notes,
    fault_section,
    intake_data,
    intake_lines,
    many,
    task_name,
    unpriced_section,
)
from routecost.render.pictures import plot
from routecost.routing import to_yaml
from routecost.stats import Interval

NO_EVIDENCE = (
    "No quality evidence: the models are chosen by tier and price alone (simple to a small model, code to a code "
    "model, reasoning and complex to a large one). What this does to the answers is unknown: grade a sample first."
)
GRADES = (
    "Grades are taken as independent, and as what users will get: graded prompts that are easier than the traffic make "
    "every model look good.",
    "A bound is one-sided: 95 % over all candidates of a cell together. Expected quality is over the true tasks behind "
    "each cell, each score drawn towards the model's overall one; its interval is 95 %.",
)
PICTURE_WIDTH = 76


def recommendation_document(result: Recommendation, *, ascii: bool = False) -> Document:
    """Sentences, the table, why each cell, what would flip it, and the plane of cost and quality."""
    lines = intake_lines(result.intake, result.period, result.coverage, result.book_version)
    lines += [*_lines(result)]
    sections = [_table(result), _why(result)]
    sections += [s for s in (_break_even(result), _more(result), _beside(result), _blocked(result)) if s is not None]
    sections += [s for s in (unpriced_section(result.coverage), fault_section(result.intake)) if s]
    points = result.points()
    picture = plot(points, width=PICTURE_WIDTH, ascii=ascii, unit=_factor(result)[1]) if len(points) > 1 else []
    notes = [*result.notes, *result.intake.notes, *correction_notes(result.intake)]
    notes += [*(GRADES if result.policy == "evidence" else ()), *ASSUMPTIONS]
    return Document(
        "recommend",
        lines,
        sections,
        _data(result),
        Section("cells", [Column(k, k) for k in row(result.cells[0])], [row(c) for c in result.cells]),
        tuple(notes),
        tuple(picture),
    )


def _lines(result: Recommendation) -> list[str]:
    now = f"Cost: {usd(result.today_usd)} in all"
    if not result.intake.files and result.scale.factor is not None:
        now = f"Cost: {usd(result.scale.day(result.today_usd) or 0)} a day"
    elif result.scale.factor is not None:
        now += f"; {usd(result.scale.day(result.today_usd) or 0)} a day"
    lines = [f"{now} ({result.scale.basis})."]
    if result.policy == "tiers":
        lines.append(NO_EVIDENCE)
    worth = result.preferred
    lines.append(saving_sentence(worth.saving, result.scale))
    if worth.mode in result.wishes.margins and worth.saving.saving_usd < -1e-9 * worth.saving.today_usd:
        lines.append(
            f"  It costs more, as part of today's traffic runs on models that are not shown to be as good as "
            f"{result.reference}. If they are, grade them, widen the margin, or name another --reference."
        )
    if worth.misrouting is not None and worth.misrouting.cost_usd:
        net = worth.saving.saving_usd - worth.misrouting.cost_usd
        lines.append(
            f"  Less what the classifier's mistakes cost (asked again on today's model): {_money(result, net)}."
        )
    if worth.quality is not None and result.policy == "evidence":
        lines.append(_quality_line(result, worth))
    if worth.added is not None:
        lines.append(_added_line(result, worth))
    changed = [c for c in result.cells if c.choice.mode == result.wishes.prefer and c.name != result.reference]
    if not changed:
        lines.append(
            f"Keep {result.reference} for everything in {result.wishes.prefer} mode: nothing cheaper is shown not to "
            "be worse. What would decide it stands below."
        )
    if result.limited:
        lines.append(f"Not met: {result.limited}.")
    return lines


def _quality_line(result: Recommendation, worth: Worth) -> str:
    assert worth.quality is not None
    known = (
        f" of the {result.judged_share:.0%} of the traffic that has evidence" if result.judged_share < 0.9995 else ""
    )
    own = next((s for s in result.singles if s.name == result.reference), None)
    beside = f"; all on {result.reference}: {_score(own.quality)}" if own is not None and own.quality else ""
    return f"Expected quality{known}: {_score(worth.quality)}{beside}."


def _added_line(result: Recommendation, worth: Worth) -> str:
    assert worth.added is not None
    within = f"{worth.added.low:+.3f} to {worth.added.high:+.3f}"
    if worth.best_single is not None or len({c.name for c in result.cells if c.choice.mode == worth.mode}) == 1:
        name = next(c.name for c in result.cells if c.choice.mode == worth.mode)
        return f"One model for everything, {name}: routing by task adds nothing at this price."
    certain = "" if (worth.added.low or 0.0) > 0 else " (not certain to be more than nothing)"
    return (
        f"Routing by task adds {worth.added.estimate:+.3f} of quality (95% interval {within}{certain}) to the best "
        "random split between the controls (single models, today) at the same cost."
    )


def _score(value: Interval) -> str:
    if value.low is None or value.high is None:
        return f"{value.estimate:.3f}"
    return f"{value.estimate:.3f} ({value.low:.3f} to {value.high:.3f})"


def _money(result: Recommendation, amount: float) -> str:
    if result.scale.factor is None:
        return f"{usd(amount)} in all"
    return f"{usd(amount * result.scale.factor)} a day"


def _factor(result: Recommendation) -> tuple[float, str]:
    return (1.0, "in all") if result.scale.factor is None else (result.scale.factor, "a day")


def _table(result: Recommendation) -> Section:
    factor, unit = _factor(result)
    modes = result.table.modes()
    rows = []
    for cell in result.cells:
        if cell.choice.mode != result.wishes.prefer:
            continue
        task = cell.choice.task
        rows.append(
            {
                "task": task_name(task),
                **{m: result.cell(task, m).name for m in modes},
                "today": None if cell.today_usd is None else cell.today_usd * factor,
                "routed": None if cell.routed_usd is None else cell.routed_usd * factor,
                "saving": None if cell.saving is None else cell.saving.estimate * factor,
                "within": None if cell.saving is None else interval_text(cell.saving.scaled(factor)),
            }
        )
    columns = (
        Column("task", "Task"),
        *(Column(m, f"{m}*" if m == result.wishes.prefer else m, "span") for m in modes),
        Column("today", "Now", "usd"),
        Column("routed", "Routed", "usd"),
        Column("saving", "Saving", "usd"),
        Column("within", "95% interval", "span", optional=True),
    )
    default = result.table.default or {}
    notes = (
        f"* preferred; the money is of this mode (USD {unit}). Unclassified: {default.get(result.wishes.prefer)}.",
    )
    return Section("Recommended table", columns, rows, notes=notes)


def _why(result: Recommendation) -> Section:
    rows = []
    for cell in result.cells:
        c, cmp = cell.choice, cell.choice.comparison
        rows.append(
            {
                "task": task_name(c.task),
                "mode": c.mode,
                "model": cell.name,
                "why": REASONS[c.reason],
                "n": cmp.n if cmp else c.grades.n if c.grades else None,
                "pairs": None if cmp is None else "pairs" if cmp.paired else "apart",
                "difference": _signed(cmp.difference) if cmp else None,
                "bound": _signed(cmp.bound) if cmp else None,
                "margin": f"-{c.margin:g}" if c.margin is not None else None,
                "quality": cell.quality,
                "second": _second(result, c.runner_up),
            }
        )
    columns = (
        Column("task", "Task"),
        Column("mode", "Mode"),
        Column("model", "Model", "span"),
        Column("why", "Why"),
        *(
            (
                Column("n", "Graded", "count"),
                Column("pairs", "How", optional=True),
                Column("difference", "Against reference", "span"),
                Column("bound", "At least", "span"),
                Column("margin", "Margin", "span"),
                Column("quality", "Expected quality", "number", optional=True),
            )
            if result.policy == "evidence"
            else ()
        ),
        Column("second", "Second, and why it lost", optional=True),
    )
    return Section(f"Why (reference: {result.reference})", columns, rows)


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _second(result: Recommendation, rival: Rival | None) -> str | None:
    if rival is None:
        return None
    more = f"; {many(rival.more, 'more graded answer')} would decide" if rival.more else ""
    return f"{_name(result, rival.model)}: {rival.why}{more}"


def _name(result: Recommendation, key: str) -> str:
    return next((c.name for c in result.candidates if c.key == key), key)


def _break_even(result: Recommendation) -> Section | None:
    if result.policy != "evidence":
        return None
    rows = [
        {
            "task": task_name(c.choice.task),
            "mode": c.choice.mode,
            "model": c.name,
            "score": c.break_even.score,
            "price": None if c.break_even.price is None else f"x {c.break_even.price:.2f}",
            "then": c.break_even.next_model,
            "now": c.break_even.now,
            "accuracy": c.break_even.accuracy,
        }
        for c in result.cells
        if c.name != result.reference and c.choice.mode in (*result.wishes.margins, result.wishes.prefer)
    ]
    if not rows:
        return None
    columns = (
        Column("task", "Task"),
        Column("mode", "Mode"),
        Column("model", "Model", "span"),
        Column("score", "Score may fall by", "number"),
        Column("price", "Price may grow", "span"),
        Column("then", "Then", "span"),
        Column("now", "Rightly classified", "percent"),
        Column("accuracy", "Flips below", "percent"),
    )
    notes = (
        "Flips below: the share of requests given this task that are of it, below which the expected quality is worse "
        "than the reference by the margin (-: it is not, whatever they are, or the other tasks have no grades).",
    )
    return Section("Break-even: how far things may move before a choice flips", columns, rows, notes=notes)


def _more(result: Recommendation) -> Section | None:
    """What more evidence would decide, cell by cell."""
    factor, unit = _factor(result)
    rows = []
    for cell in result.cells:
        rival, offer = cell.choice.closest, cell.choice.offer
        if rival is None or rival.cost_usd is None or offer is None:
            continue
        rows.append(
            {
                "task": task_name(cell.choice.task),
                "mode": cell.choice.mode,
                "model": _name(result, rival.model),
                "more": rival.more,
                "how": "pairs" if rival.comparison and rival.comparison.paired else "of each",
                "saves": (offer.cost_usd - rival.cost_usd) * factor,
                "bound": _signed(rival.comparison.bound) if rival.comparison else None,
            }
        )
    if not rows:
        return None
    columns = (
        Column("task", "Task"),
        Column("mode", "Mode"),
        Column("model", "Cheaper model", "span"),
        Column("more", "More answers", "count"),
        Column("how", "How"),
        Column("bound", "At least, now", "span"),
        Column("saves", f"Would save (USD {unit})", "usd"),
    )
    note = (
        "More graded answers that would show it not to be worse, in 80 % of repeats, if its scores stay what they are."
    )
    return Section("What more evidence would decide", columns, rows, notes=(note,))


def _beside(result: Recommendation) -> Section | None:
    """The modes beside everything on one model, today, and chance."""
    if result.policy != "evidence":
        return None
    factor, unit = _factor(result)
    rows: list[dict[str, Any]] = [
        {
            "name": f"{m.mode} mode",
            "cost": m.cost_usd * factor,
            "quality": m.quality.estimate if m.quality else None,
            "within": _within(m.quality),
            "mixture": m.mixture.estimate if m.mixture else None,
            "added": _signed(m.added.estimate) if m.added else None,
            "added_within": _within(m.added, signed=True),
        }
        for m in result.modes
    ]
    rows += [
        {"name": s.name, "cost": s.cost_usd * factor, "quality": _estimate(s.quality), "within": _within(s.quality)}
        for s in [result.today, *([result.current] if result.current else [])]
    ]
    rows += [
        {
            "name": f"all on {s.name}",
            "cost": s.cost_usd * factor,
            "quality": _estimate(s.quality),
            "within": _within(s.quality),
            "worse": "not worse (" + ", ".join(s.not_worse) + ")" if s.not_worse else "not proven",
        }
        for s in result.singles
    ]
    columns = (
        Column("name", "What", "span"),
        Column("cost", f"Cost (USD {unit})", "usd"),
        Column("quality", "Expected quality", "number"),
        Column("within", "95% interval", "span", optional=True),
        Column("mixture", "Random, same cost", "number", optional=True),
        Column("added", "Routing adds", "span"),
        Column("added_within", "95% interval", "span", optional=True),
        Column("worse", "At every task", optional=True),
    )
    notes = [
        "Costs are of the tasks with evidence; those of the modes with every prompt cache lost that routing can lose. "
        "Random, same cost: the best quality of a random split between the others at the mode's cost.",
    ]
    return Section("Beside the controls", columns, rows, notes=notes)


def _estimate(value: Interval | None) -> float | None:
    return value.estimate if value else None


def _within(value: Interval | None, *, signed: bool = False) -> str | None:
    if value is None or value.low is None or value.high is None:
        return None
    form = "+.3f" if signed else ".3f"
    return f"{value.low:{form}} to {value.high:{form}}"


def _blocked(result: Recommendation) -> Section | None:
    rows = [
        {"model": c.name, "task": task_name(task), "why": why}
        for c in result.candidates
        for task, why in c.blocked.items()
    ]
    if not rows or result.policy == "tiers":
        return None
    columns = (Column("model", "Model", "span"), Column("task", "Task"), Column("why", "Why not"))
    return Section("Models that cannot serve a task", columns, rows)


def _data(result: Recommendation) -> dict[str, Any]:
    return {
        **intake_data(result.intake, result.period, result.scale, result.coverage),
        "book": result.book_version,
        "as_of": result.as_of,
        "policy": result.policy,
        "reference": result.reference,
        "prefer": result.wishes.prefer,
        "margins": dict(result.wishes.margins),
        "alpha": result.wishes.alpha,
        "today_usd": result.today_usd,
        "not_met": result.limited,
        "table": {
            "name": result.table.name,
            "default": dict(result.table.default or {}),
            "routes": {t: dict(r) for t, r in result.table.routes.items()},
            "fallbacks": {k: list(v) for k, v in result.table.fallbacks.items()},
            "output_ratios": {k: dict(v) for k, v in result.table.output_ratios.items()},
        },
        "cells": [_cell_data(result, c) for c in result.cells],
        "modes": [
            {
                "mode": m.mode,
                **saving_data(m.saving, result.scale),
                "cost_with_evidence_usd": m.cost_usd,
                "quality": m.quality.as_dict() if m.quality else None,
                "random_quality": m.mixture.as_dict() if m.mixture else None,
                "routing_adds": m.added.as_dict() if m.added else None,
                "best_single": _name(result, m.best_single) if m.best_single else None,
                "misrouting": as_data(m.misrouting),
            }
            for m in result.modes
        ],
        "controls": [
            {
                "name": s.name,
                "cost_usd": s.cost_usd,
                "quality": s.quality.as_dict() if s.quality else None,
                "not_worse_in": list(s.not_worse),
            }
            for s in (result.today, *((result.current,) if result.current else ()), *result.singles)
        ],
        "frontier": [
            {"name": p.name, "cost_usd": p.cost_usd, "quality": p.quality, "low": p.low, "high": p.high}
            for p in result.frontier
        ],
        "judged_share": result.judged_share,
        "candidates": [
            {"model": c.name, "key": c.key, "blocked": dict(c.blocked), "unknown": list(c.unknown)}
            for c in result.candidates
        ],
        "notes": list(result.notes),
        "assumptions": [*(GRADES if result.policy == "evidence" else (NO_EVIDENCE,)), *ASSUMPTIONS],
    }


def _cell_data(result: Recommendation, cell: Cell) -> dict[str, Any]:
    c = cell.choice
    second, closest = c.runner_up, c.closest

    def rival(found: Rival | None) -> dict[str, Any] | None:
        if found is None:
            return None
        return {
            "model": _name(result, found.model),
            "why": found.why,
            "cost_usd": found.cost_usd,
            "bound": found.comparison.bound if found.comparison else None,
            "more_answers": found.more,
        }

    return {
        **row(cell),
        "why": REASONS[c.reason],
        "candidates_tried": c.tried,
        "source": c.comparison.source if c.comparison else None,
        "evidence_date": c.comparison.date if c.comparison else None,
        "shrunk_score": cell.shrunk.score if cell.shrunk else None,
        "quality_known_share": cell.known,
        "lower_bound_of_score": c.lower,
        "second": rival(second),
        "closest": rival(closest),
        "break_even": {
            "score_fall": cell.break_even.score,
            "price_factor": cell.break_even.price,
            "next_model": _name(result, cell.break_even.next_model) if cell.break_even.next_model else None,
            "rightly_classified": cell.break_even.now,
            "rightly_classified_flips_below": cell.break_even.accuracy,
        },
    }


def table_yaml(result: Recommendation) -> str:
    """The table as a file: the evidence stands above each cell as comments."""
    header = [
        f"Recommended by routecost on {result.as_of}, from {many(result.coverage.requests, 'request')}"
        + (f", {result.period.first} to {result.period.last}." if result.period.first else "."),
        f"Reference: {result.reference}. Prices: {result.book_version}.",
    ]
    if result.policy == "tiers":
        header += _wrapped(NO_EVIDENCE)
    else:
        margins = ", ".join(f"{m} {v:g}" for m, v in result.wishes.margins.items())
        header += _wrapped(
            f"A cheaper model is taken where a lower bound (one-sided {1 - result.wishes.alpha:.0%}, over all "
            "candidates of a cell) of its difference from the reference at that task is above minus the margin: "
            f"{margins}. Any other mode takes the highest lower bound of quality."
        )
    for m in result.modes:
        header += _wrapped(saving_sentence(m.saving, result.scale).removeprefix(f"Table {result.table.name}, "))
    header += _wrapped("See it again with: routecost simulate LOG --table THIS_FILE")
    notes = {(c.choice.task, c.choice.mode): _comments(result, c) for c in result.cells if result.table.routes}
    return to_yaml(result.table, header=header, notes=notes)


def _comments(result: Recommendation, cell: Cell) -> list[str]:
    c, be = cell.choice, cell.break_even
    if result.policy == "tiers":
        text = [f"no quality evidence; {REASONS[c.reason]}"]
    else:
        said = result.table.made.evidence[c.task][c.mode] if result.table.made else ""
        text = [said.partition(": ")[2]]
    if cell.saving is not None:
        factor, unit = _factor(result)
        within = interval_text(cell.saving.scaled(factor))
        text.append(f"saves {usd(cell.saving.estimate * factor)} {unit}" + (f" ({within})" if within else ""))
    if cell.quality is not None:
        text.append(f"expected quality {cell.quality:.3f}")
    flips = []
    if be.score is not None:
        flips.append(f"its score falls by {be.score:.3f}")
    if be.price is not None:
        flips.append(f"its price grows {be.price:.2f} times (then {_name(result, be.next_model or '')})")
    if be.accuracy is not None:
        flips.append(f"less than {be.accuracy:.0%} of these requests are {c.task} (now {be.now or 0:.0%})")
    if flips:
        text.append("flips when " + ", or ".join(flips))
    if c.runner_up is not None:
        text.append(f"second: {_second(result, c.runner_up)}")
    if c.closest is not None and (c.runner_up is None or c.closest.model != c.runner_up.model):
        more = many(c.closest.more or 0, "more graded answer")
        text.append(f"{_name(result, c.closest.model)} is cheaper; {more} would decide")
    return [line for part in text for line in _wrapped(part)]


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(" ".join(text.split()), 106, subsequent_indent="  ")
