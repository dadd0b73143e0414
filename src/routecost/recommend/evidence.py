"""What graded answers say of each model at each task, and of two models at the same task."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from routecost.stats import Grades, Pairs, difference_bounds, paired_bounds

# A pair tells about as much as three answers of each model apart (at 5 % discordant, and scores of 0.9).
PAIR_WORTH: Final = 3


@dataclass(frozen=True)
class Graded:
    """The grades of a model at a task from one source. date: of the grades, null where the table has none."""

    task: str
    model: str
    source: str | None
    date: str | None
    grades: Grades


@dataclass(frozen=True)
class Shrunk:
    """A score drawn towards the model's overall one; the standard error that is its own, and the one that it shares
    with the model's other tasks."""

    score: float
    error: float
    shared: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """A candidate against the reference at one task.

    difference: mean score of the candidate less the reference's; bound: its lower bound, one-sided, at level alpha.
    paired: from n requests that both answered; else from n answers of the candidate and reference_n of the reference,
    all of one source.
    """

    task: str
    candidate: str
    reference: str
    source: str | None
    date: str | None
    n: int
    reference_n: int
    paired: bool
    difference: float
    bound: float
    alpha: float
    score: float | None
    reference_score: float | None
    pairs: Pairs | None = None


@dataclass(frozen=True)
class Evidence:
    """A quality table by task and the book's key of the model.

    graded: (task, model) -> source -> grades. paired: (task, model, other) -> source -> pairs, either way round once.
    names: key -> the name that the table uses. latency: (task, model) -> (p50, p95, p99) in ms. ratios: (task, model)
    -> length of its answers against a common yardstick.
    """

    graded: Mapping[tuple[str, str], Mapping[str | None, Graded]] = field(default_factory=dict)
    paired: Mapping[tuple[str, str, str], Mapping[str | None, tuple[Pairs, str | None]]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    latency: Mapping[tuple[str, str], tuple[float | None, float | None, float | None]] = field(default_factory=dict)
    ratios: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not self.graded and not self.paired

    @property
    def newest(self) -> dt.date | None:
        """The latest day that any grade has."""
        days = [d for d in map(_day, self._dates()) if d is not None]
        return max(days, default=None)

    def _dates(self) -> Iterable[str | None]:
        yield from (g.date for by_source in self.graded.values() for g in by_source.values())
        yield from (date for by_source in self.paired.values() for _, date in by_source.values())

    def best(self, task: str, model: str, source: str | None = None, *, among: bool = False) -> Graded | None:
        """The most grades of a model at a task; among: of this source only."""
        found = self.graded.get((task, model), {})
        if among:
            return found.get(source)
        return max(found.values(), key=lambda g: (g.grades.n, g.source or ""), default=None)

    def main_source(self, task: str, reference: str) -> str | None:
        """The source that grades most models at a task, the reference among them where any does."""
        sources: dict[str | None, tuple[bool, int, int]] = {}
        for (of, model), by_source in self.graded.items():
            if of == task:
                for source, g in by_source.items():
                    has, models, n = sources.get(source, (False, 0, 0))
                    sources[source] = (has or model == reference, models + 1, n + g.grades.n)
        return max(sources, key=lambda s: (*sources[s], s or ""), default=None)

    def shares_evidence(self, task: str, candidate: str, reference: str) -> bool:
        """Whether the two can be compared at all at this task."""
        return (
            self._pairs(task, candidate, reference) is not None or self._apart(task, candidate, reference) is not None
        )

    def compare(self, task: str, candidates: Sequence[str], reference: str, alpha: float) -> dict[str, Comparison]:
        """The candidates that can be compared, each bound at level alpha. Pairs are preferred where there are enough of
        them: what one request asks is the same for both models. Scores of different sources are never compared."""
        together = {c: p for c in candidates if (p := self._enough_pairs(task, c, reference)) is not None}
        apart = {c: g for c in candidates if c not in together and (g := self._apart(task, c, reference)) is not None}
        found: dict[str, Comparison] = {}
        if together:
            bounds = paired_bounds([p for p, _, _ in together.values()], alpha)
            for (c, (pairs, source, date)), bound in zip(together.items(), bounds.tolist(), strict=True):
                mine, other = (self.graded.get((task, m), {}).get(source) for m in (c, reference))
                found[c] = Comparison(
                    task, c, reference, source, date, pairs.n, pairs.n, True, pairs.difference, bound, alpha,
                    mine.grades.score if mine else None, other.grades.score if other else None, pairs,
                )  # fmt: skip
        if apart:
            bounds = difference_bounds(
                [a.grades for a, _ in apart.values()], [b.grades for _, b in apart.values()], alpha
            )
            for (c, (a, b)), bound in zip(apart.items(), bounds.tolist(), strict=True):
                found[c] = Comparison(
                    task, c, reference, a.source, _older(a.date, b.date), a.grades.n, b.grades.n, False,
                    a.grades.score - b.grades.score, bound, alpha, a.grades.score, b.grades.score,
                )  # fmt: skip
        return found

    def _enough_pairs(self, task: str, candidate: str, reference: str) -> tuple[Pairs, str | None, str | None] | None:
        """The pairs, unless answers apart are so many more that they tell more; decided by numbers, not by scores."""
        found, other = self._pairs(task, candidate, reference), self._apart(task, candidate, reference)
        if found is None or other is None:
            return found
        apart = min(other[0].grades.n, other[1].grades.n)
        return found if PAIR_WORTH * found[0].n >= apart else None

    def _pairs(self, task: str, candidate: str, reference: str) -> tuple[Pairs, str | None, str | None] | None:
        found: dict[str | None, tuple[Pairs, str | None]] = dict(self.paired.get((task, candidate, reference), {}))
        for source, (pairs, date) in self.paired.get((task, reference, candidate), {}).items():
            found.setdefault(source, (Pairs(pairs.n, -pairs.difference, pairs.squares), date))
        if not found:
            return None
        source = max(found, key=lambda s: (found[s][0].n, s or ""))
        return found[source][0], source, found[source][1]

    def _apart(self, task: str, candidate: str, reference: str) -> tuple[Graded, Graded] | None:
        mine, other = self.graded.get((task, candidate), {}), self.graded.get((task, reference), {})
        both = [s for s in mine if s in other]
        if not both:
            return None
        source = max(both, key=lambda s: (min(mine[s].grades.n, other[s].grades.n), mine[s].grades.n, s or ""))
        return mine[source], other[source]

    def shrunk(self, reference: str) -> dict[tuple[str, str], Shrunk]:
        """(task, model) -> each task's own score drawn towards the model's overall one, by how uncertain it is against
        how much a model's tasks differ (empirical Bayes). For order and display only."""
        own: dict[tuple[str, str], Grades] = {}
        sources = {task: self.main_source(task, reference) for task in {t for t, _ in self.graded}}
        for task, model in self.graded:
            found = self.best(task, model, sources[task], among=True)
            if found is not None:
                own[task, model] = found.grades
        of_model: dict[str, list[Grades]] = {}
        for (_, model), g in own.items():
            of_model.setdefault(model, []).append(g)
        overall = {m: sum(g.n * g.score for g in gs) / sum(g.n for g in gs) for m, gs in of_model.items()}
        errors = {k: _variance(g) for k, g in own.items()}
        several = [k for k in own if len(of_model[k[1]]) > 1]
        between = sum((own[k].score - overall[k[1]]) ** 2 - errors[k] for k in several) / max(len(several), 1)
        between = max(between, 1e-6)
        answers = {m: sum(g.n for g in gs) for m, gs in of_model.items()}
        common = {m: sum(g.n**2 * _variance(g) for g in gs) / answers[m] ** 2 for m, gs in of_model.items()}
        drawn = {}
        for (task, model), g in own.items():
            e = errors[task, model]
            weight = between / (between + e)
            score = weight * g.score + (1 - weight) * overall[model]
            drawn[task, model] = Shrunk(score, math.sqrt(weight * e), (1 - weight) * math.sqrt(common[model]))
        return drawn


def _variance(g: Grades) -> float:
    """Variance of a mean score; never zero, as a score of 1.0 on ten answers is not certain."""
    p = (g.score * g.answers + 1) / (g.answers + 2)
    return p * (1 - p) / g.answers


def gather(quality: pl.DataFrame | None, key_of: Callable[[str], str]) -> Evidence:
    """A quality table (quality.COLUMNS) as evidence. key_of: a model's name -> the book's key of it.

    Where two names of the table mean one model, their grades of one source are taken together.
    """
    if quality is None:
        return Evidence()
    graded: dict[tuple[str, str], dict[str | None, Graded]] = {}
    paired: dict[tuple[str, str, str], dict[str | None, tuple[Pairs, str | None]]] = {}
    names: dict[str, str] = {}
    latency: dict[tuple[str, str], tuple[float | None, float | None, float | None]] = {}
    ratios: dict[tuple[str, str], float] = {}
    for row in quality.iter_rows(named=True):
        task, model = row["task"], key_of(row["model"])
        names.setdefault(model, row["model"])
        n, score, squares = row["n"], row["score"], row["squares"]
        if row["versus"] is not None:
            other = key_of(row["versus"])
            names.setdefault(other, row["versus"])
            if n and score is not None and other != model:
                paired.setdefault((task, model, other), {})[row["source"]] = (Pairs(n, score, squares), row["date"])
            continue
        if n and score is not None:
            new = Graded(task, model, row["source"], row["date"], Grades(n, score, squares))
            before = graded.setdefault((task, model), {}).get(row["source"])
            graded[task, model][row["source"]] = new if before is None else _together(before, new)
        times = (row["latency_p50_ms"], row["latency_p95_ms"], row["latency_p99_ms"])
        if any(t is not None for t in times):
            latency.setdefault((task, model), times)
        if row["output_ratio"] is not None:
            ratios.setdefault((task, model), row["output_ratio"])
    return Evidence(graded, paired, names, latency, ratios)


def _together(a: Graded, b: Graded) -> Graded:
    n = a.grades.n + b.grades.n
    score = (a.grades.n * a.grades.score + b.grades.n * b.grades.score) / n
    squares = None if a.grades.squares is None or b.grades.squares is None else a.grades.squares + b.grades.squares
    return Graded(a.task, a.model, a.source, _older(a.date, b.date), Grades(n, score, squares))


def _older(a: str | None, b: str | None) -> str | None:
    return min(a, b) if a and b else a or b


def _day(text: str | None) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if text else None
    except ValueError:
        return None
