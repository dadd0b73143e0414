"""Feedback by task and model: its rates over the rated and over all requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from routecost.pipeline.feedback import COUNTED, Rate, rates
from routecost.pipeline.intake import Intake
from routecost.render import Column, Document, Section
from routecost.render.intake import model_names, task_name

ALL = "all"
RATE_NOTE = (
    "Bad: a thumb down, or a rating below the middle. Of rated: out of the requests that somebody rated, who are not "
    "a random part of all; of all: a lower bound. [ ]: 95 % interval, as if the answers were independent."
)


def with_feedback(document: Document, intake: Intake) -> Document:
    """The document with a section on feedback where some was joined from a file, else as it was."""
    counts = {k.removeprefix(COUNTED): n for k, n in intake.counts.items() if k.startswith(COUNTED)}
    if not counts:
        return document
    cells = intake.usage.cells
    names = model_names(cells)
    found = rates(cells)
    rows = [
        {"task": task_name(r.task), "model": names[r.provider, r.model], **rate_cells(r)}
        for r in found
        if r.rated and not r.whole
    ]
    total = next(({"task": ALL, "model": None, **rate_cells(r)} for r in found if r.whole), None)
    columns = (
        Column("task", "Task"),
        Column("model", "Model", "span"),
        Column("requests", "Requests", "count"),
        Column("rated", "Rated", "count"),
        Column("negative", "Bad", "count"),
        Column("of_rated", "Of rated", "percent"),
        Column("interval", "[ ]"),
        Column("of_all", "Of all", "percent"),
        Column("mean", "Mean", "number", optional=True),
    )
    section = Section("Feedback", columns, rows, total, notes=(RATE_NOTE,))
    data = {**document.data, "feedback": {**counts, "rates": [_data(r) for r in found]}}
    return replace(document, sections=(*document.sections, section), data=data)


def rate_cells(rate: Rate) -> dict[str, Any]:
    """A rate as the cells of a row."""
    low, high = rate.low, rate.high
    return {
        "requests": rate.requests,
        "rated": rate.rated,
        "negative": rate.negative,
        "of_rated": rate.of_rated,
        "interval": None if low is None or high is None else f"[{low:.1%}, {high:.1%}]",
        "of_all": rate.of_all,
        "mean": rate.mean,
    }


def _data(rate: Rate) -> Mapping[str, Any]:
    who = {"task": rate.task, "provider": rate.provider, "model": rate.model} if not rate.whole else {}
    return {
        **who,
        "requests": rate.requests,
        "rated": rate.rated,
        "negative": rate.negative,
        "negative_of_rated": rate.of_rated,
        "low": rate.low,
        "high": rate.high,
        "negative_of_all": rate.of_all,
        "mean": rate.mean,
    }
