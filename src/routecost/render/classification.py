"""What a classifier said, how good it is, and why it says so, as documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routecost.classifier.evaluate import ADJACENT, Measured, Share
from routecost.classifier.train import Trained
from routecost.pipeline.explanation import Explanation
from routecost.pipeline.labelling import Classified, Evaluation, Misrouted, Sampled
from routecost.render import Column, Document, Section
from routecost.render.intake import many, task_name


def classified_document(result: Classified, output: str) -> Document:
    """`classify`: how many requests of each task were written."""
    sources = {"log": "the log", "rules": "rules", "classifier": "the classifier", None: "nothing (unclassified)"}
    decided = ", ".join(f"{sources.get(k, k)} ({n:,})" for k, n in sorted(result.by_source.items(), key=_by_count))
    lines = [f"Wrote {output}: {many(result.requests, 'request')}.", f"Task types come from {decided}."]
    if result.rejected:
        lines.append(f"{many(result.rejected, 'line')} rejected.")
    rows = [
        {"task": task_name(t), "n": n, "share": n / result.requests}
        for t, n in sorted(result.by_task.items(), key=_by_count)
    ]
    columns = [Column("task", "Task"), Column("n", "Requests", "count"), Column("share", "Share", "percent")]
    sections = [Section("Tasks", columns, rows)]
    if result.by_model:
        models = [
            {"model": m, "n": n, "share": n / result.requests}
            for m, n in sorted(result.by_model.items(), key=_by_count)
        ]
        sections.append(Section("Would go to", [Column("model", "Model"), *columns[1:]], models))
    data = {
        "output": output,
        "requests": result.requests,
        "rejected": result.rejected,
        "tasks": [{"task": t, "requests": n} for t, n in sorted(result.by_task.items(), key=_by_count)],
        "task_sources": [{"source": s, "requests": n} for s, n in sorted(result.by_source.items(), key=_by_count)],
        "routed_models": [{"model": m, "requests": n} for m, n in sorted(result.by_model.items(), key=_by_count)],
    }
    return Document("classify", lines, sections, data, notes=result.notes)


def _by_count(item: tuple[str | None, int]) -> tuple[int, str]:
    return -item[1], item[0] or ""


def sampled_document(result: Sampled, output: str) -> Document:
    """`classifier sample`: the strata and how many rows each gave."""
    lines = [
        f"Wrote {output}: {many(result.rows, 'row')} of {many(result.requests, 'request')} with text.",
        "Fill in the column `task` (and `alt`, where a second one is as good), then: "
        f"routecost classifier evaluate {output}",
    ]
    notes = ["Keep `weight` and `stratum`: with them the labels speak for the whole log."]
    if result.without_text:
        notes.append(f"{many(result.without_text, 'request')} without text cannot be labelled and are left out.")
    columns = [
        Column("by_task", "Predicted"),
        Column("by_feature", "Feature"),
        Column("by_confidence", "Confidence"),
        Column("size", "Requests", "count"),
        Column("drawn", "Rows", "count"),
        Column("sure", "Mean confidence", "percent"),
    ]
    rows = result.strata.to_dicts()
    data = {
        "output": output,
        "rows": result.rows,
        "requests": result.requests,
        "without_text": result.without_text,
        "strata": rows,
    }
    return Document("classifier sample", lines, [Section("Strata", columns, rows)], data, notes=notes)


def evaluation_document(result: Evaluation) -> Document:
    """`classifier evaluate`: accuracy with intervals, per task, the confusion matrix, the true mix, the mistakes."""
    alone, system = result.alone, result.system
    lines = [
        f"{result.classifier} on {many(alone.n, 'label')} of {result.labels.file}.",
        f"Right (first or accepted second label): {_share(alone.accepted)}; by the first label: {_share(alone.first)}.",
    ]
    if result.labels.unlabelled:
        lines.append(f"{many(result.labels.unlabelled, 'row')} without a label left out.")
    accuracy = [
        _accuracy("classifier", alone),
        _accuracy("rules, then classifier", system),
        *([_accuracy("classifier, at the natural mix", result.natural)] if result.natural else []),
    ]
    sections = [
        Section(
            "Accuracy",
            [
                Column("what", "Decided by"),
                Column("accepted", "Right"),
                Column("first", "First label"),
                Column("macro", "Macro recall", "percent"),
                Column("macro_first", "First label only", "percent"),
                Column("ece", "Calibration error", "percent", optional=True),
                *(
                    Column(f"{a}/{b}", f"{a}/{b} mixed up", "percent", optional=True)
                    for a, b in ADJACENT
                    if (a, b) in alone.adjacent
                ),
            ],
            accuracy,
            notes=[
                "Right: given the label, or the second one that a reader accepts. [ ]: 95 % interval.",
                *(
                    ["Natural mix: the same labels weighted to 78 % simple, 10 % code, 7 % reasoning, 5 % complex."]
                    if result.natural
                    else []
                ),
            ],
        ),
        Section(
            "Tasks",
            [
                Column("task", "Task"),
                Column("n", "Labels", "count"),
                Column("recall", "Recall"),
                Column("first", "First label"),
                Column("precision", "Precision"),
                Column("mix", "True share"),
                Column("given", "Classified as", "percent"),
            ],
            [
                {
                    "task": c,
                    "n": alone.recall[c].n if c in alone.recall else 0,
                    "recall": _share(alone.recall_accepted.get(c)),
                    "first": _share(alone.recall.get(c)),
                    "precision": _share(alone.precision[c]),
                    "mix": _share(alone.mix[c]),
                    "given": alone.given[c],
                }
                for c in alone.confusion.classes
            ],
            notes=["True share: from the labels alone, weighted; the corrected task mix."],
        ),
        _confusion_section(alone),
    ]
    if result.misrouted:
        sections.append(_misrouted_section(result.misrouted))
    for name, frame in result.by.items():
        rows = [
            {name: r[name], "n": r["n"], "right": _text(r["accepted"], r["low"], r["high"])} for r in frame.to_dicts()
        ]
        title = {"source": "By source", "lang": "By language"}[name]
        sections.append(
            Section(
                title, [Column(name, name.capitalize()), Column("n", "Labels", "count"), Column("right", "Right")], rows
            )
        )
    sections.append(
        Section(
            "Calibration",
            [
                Column("low", "Confidence from", "percent"),
                Column("n", "Labels", "count"),
                Column("claimed", "Claimed", "percent"),
                Column("right", "Right", "percent"),
            ],
            result.bins.to_dicts(),
        )
    )
    if result.worst.height:
        mistakes = [{**r, "prompt": " ".join(str(r["prompt"]).split())[:80]} for r in result.worst.to_dicts()]
        sections.append(
            Section(
                "The surest mistakes",
                [
                    Column("task", "Label"),
                    Column("alt", "Second", optional=True),
                    Column("given", "Classified as"),
                    Column("confidence", "Confidence", "percent"),
                    Column("prompt", "Prompt"),
                ],
                mistakes,
            )
        )
    data = {
        "classifier": result.classifier,
        "labels": alone.n,
        "unlabelled": result.labels.unlabelled,
        "alone": _plain(alone),
        "system": _plain(system),
        "natural": _plain(result.natural) if result.natural else None,
        "calibration": result.bins.to_dicts(),
        "by": {name: frame.to_dicts() for name, frame in result.by.items()},
        "worst": result.worst.to_dicts(),
        "misrouted": _plain_misrouted(result.misrouted) if result.misrouted else None,
    }
    return Document("classifier evaluate", lines, sections, data, sections[1])


def _accuracy(what: str, m: Measured) -> dict[str, Any]:
    return {
        "what": what,
        "accepted": _share(m.accepted),
        "first": _share(m.first),
        "macro": m.macro_recall_accepted,
        "macro_first": m.macro_recall,
        "ece": m.calibration_error,
        **{f"{a}/{b}": v for (a, b), v in m.adjacent.items()},
    }


def _confusion_section(m: Measured) -> Section:
    classes = m.confusion.classes
    rows = []
    for task, given in m.confusion.rates().items():
        rows.append({"task": task, **given})
    return Section(
        "Confusion",
        [Column("task", "Label"), *(Column(c, f"as {c}", "percent") for c in classes)],
        rows,
        notes=["Share of each label's requests; an accepted second label counts as right."],
    )


def _misrouted_section(m: Misrouted) -> Section:
    factor = 1 / m.priced if m.priced else 0.0
    rows = [
        {"what": "Cost today", "share": None, "usd": m.today_usd * factor},
        {"what": f"Routed by {m.table}, tasks as classified", "share": None, "usd": m.given_usd * factor},
        {"what": f"Routed by {m.table}, tasks as labelled", "share": None, "usd": m.label_usd * factor},
        {
            "what": "Under-routed: to a cheaper model than the label's; asked again on today's model",
            "share": _share(m.under),
            "usd": m.under_today_usd * factor,
        },
        {
            "what": "Over-routed: to a dearer model than the label's",
            "share": _share(m.over),
            "usd": m.over_usd * factor,
        },
    ]
    return Section(
        "What the mistakes cost",
        [Column("what", "What"), Column("share", "Requests"), Column("usd", "USD a request", "usd")],
        rows,
        notes=[
            f"Rules, then classifier; {m.priced / m.requests:.0%} of the labelled traffic has a price. "
            "Per request of all that have one."
        ],
    )


def trained_document(trained: Trained, held: Measured, output: str, size: int) -> Document:
    """`classifier train`: what was trained and how it did on labels that it had not seen."""
    model = trained.classifier
    lines = [
        f"Wrote {output}: {model.name} {model.version}, {len(model.classes)} tasks, {size:,} bytes.",
        f"On labels that it had not seen (cross-validated): {_share(held.accepted)} right, at the mix of the labels.",
    ]
    rows = [
        {
            "task": c,
            "n": int((trained.held_out["task"] == c).sum()),
            "recall": _share(held.recall_accepted.get(c)),
            "precision": _share(held.precision[c]),
        }
        for c in model.classes
    ]
    columns = [
        Column("task", "Task"),
        Column("n", "Labels", "count"),
        Column("recall", "Recall"),
        Column("precision", "Precision"),
    ]
    data = {"output": output, "metadata": dict(model.metadata), "held_out": _plain(held)}
    sections = [Section("Held-out labels", columns, rows), _confusion_section(held)]
    return Document("classifier train", lines, sections, data)


def explanation_document(result: Explanation) -> Document:
    """`classify --explain`: what decided, and what weighed most."""
    lines = []
    if result.rule is not None:
        lines.append(f"{result.task}: rule {result.rule_number} decides: {result.rule}.")
    elif result.task is None:
        lines.append("unclassified: there is no text that the rules or the classifier could read.")
    else:
        lines.append(f"{result.task}: no rule holds; the classifier gives it {result.confidence:.1%}.")
    for number, rule in result.also:
        lines.append(f"  Rule {number} holds as well ({rule}), but comes later.")
    sections = []
    if result.probabilities:
        sections.append(
            Section(
                "Classifier",
                [Column("task", "Task"), Column("p", "Probability", "percent")],
                [{"task": c, "p": p} for c, p in sorted(result.probabilities.items(), key=lambda item: -item[1])],
            )
        )
        classes = list(result.probabilities)
        sections.append(
            Section(
                "What weighed most",
                [Column("term", "In the request"), *(Column(c, c, "number") for c in classes)],
                [{"term": t.text, **{c: _signed(w) for c, w in t.weight.items()}} for t in result.terms],
                notes=["Log odds for and against each task; ( ) is the shape of the text, not a word in it."],
            )
        )
    data = {
        "task": result.task,
        "rule": None if result.rule is None else {"number": result.rule_number, "rule": result.rule},
        "also": [{"number": n, "rule": r} for n, r in result.also],
        "confidence": result.confidence,
        "probabilities": dict(result.probabilities),
        "terms": [{"text": t.text, "weight": dict(t.weight)} for t in result.terms],
    }
    return Document("classify --explain", lines, sections, data)


def _signed(value: float) -> float:
    return round(value, 3)


def _share(share: Share | None) -> str | None:
    return None if share is None or share.value is None else _text(share.value, share.low, share.high)


def _text(value: float, low: float, high: float) -> str:
    return f"{value * 100:.1f}% [{low * 100:.1f}, {high * 100:.1f}]"


def _plain(m: Measured) -> dict[str, Any]:
    return {
        "n": m.n,
        "first": _plain_share(m.first),
        "accepted": _plain_share(m.accepted),
        "recall": {c: _plain_share(s) for c, s in m.recall.items()},
        "recall_accepted": {c: _plain_share(s) for c, s in m.recall_accepted.items()},
        "precision": {c: _plain_share(s) for c, s in m.precision.items()},
        "mix": {c: _plain_share(s) for c, s in m.mix.items()},
        "given": dict(m.given),
        "macro_recall": m.macro_recall,
        "macro_recall_accepted": m.macro_recall_accepted,
        "adjacent": {f"{a}/{b}": v for (a, b), v in m.adjacent.items()},
        "calibration_error": m.calibration_error,
        "undecided": m.undecided,
        "confusion": m.confusion.to_json(),
    }


def _plain_share(s: Share) -> dict[str, float | int | None]:
    return {"value": s.value, "low": s.low, "high": s.high, "n": s.n}


def _plain_misrouted(m: Misrouted) -> Mapping[str, Any]:
    return {
        "table": m.table,
        "mode": m.mode,
        "requests": m.requests,
        "priced": m.priced,
        "today_usd": m.today_usd,
        "given_usd": m.given_usd,
        "label_usd": m.label_usd,
        "under": _plain_share(m.under),
        "under_today_usd": m.under_today_usd,
        "over": _plain_share(m.over),
        "over_usd": m.over_usd,
    }
