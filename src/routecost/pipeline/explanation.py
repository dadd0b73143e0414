"""Why a request is called what it is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from routecost import tasks
from routecost.classifier import Term
from routecost.pipeline.labelling import Typist


@dataclass(frozen=True)
class Explanation:
    """What decided a request's task. rule: the one that fired (its number counts from 1), None where the classifier
    decided; also: other rules that hold. probabilities and terms are the classifier's, whether or not it decided."""

    task: str | None
    rule_number: int | None
    rule: str | None
    also: tuple[tuple[int, str], ...]
    confidence: float | None
    probabilities: Mapping[str, float]
    terms: tuple[Term, ...]


def explain(
    text: str, typist: Typist, *, system: str | None = None, previous_prompt: str | None = None, terms: int = 15
) -> Explanation:
    """One prompt, as `analyze` would see it in a log without other columns."""
    columns = {"prompt": [text], "system": [system], "previous_prompt": [previous_prompt]}
    request = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    holding = tasks.holding(request, typist.rules)
    first = holding[0] if holding else None
    model = typist.classifier
    said = model.classify(text, system=system, previous_prompt=previous_prompt) if model else None
    weighed: list[Term] = []
    if model and said and said.task:
        weighed = model.explain(text, system=system, previous_prompt=previous_prompt)[:terms]
    return Explanation(
        task=first[1].task if first else (said.task if said else None),
        rule_number=first[0] if first else None,
        rule=str(first[1]) if first else None,
        also=tuple((n, str(rule)) for n, rule in holding[1:]),
        confidence=said.confidence if said else None,
        probabilities=said.probabilities if said else {},
        terms=tuple(weighed),
    )
