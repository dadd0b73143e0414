"""Which model a cell of the routing table gets: the cheapest that is shown not to be worse, task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from routecost.recommend.evidence import Comparison, Evidence, Shrunk
from routecost.stats import Grades, more_answers, score_bounds

Reason = Literal["cheapest", "best", "reference", "single", "not_proven", "no_evidence", "budget", "floor", "tiers"]

ALPHA: Final = 0.05
MARGINS: Final[Mapping[str, float]] = {"eco": 0.10, "balanced": 0.03}
BEST: Final = "sport"
# Lower bounds that are this near are alike: latency, then cost, decides between them.
ALIKE: Final = 0.001


@dataclass(frozen=True)
class Offer:
    """A model for a task: what the task's traffic would cost on it in all (USD; the first with every prompt cache lost
    that routing can lose, the second with none lost), its p95 latency, and why it cannot serve the task (null: it
    can)."""

    model: str
    cost_usd: float
    kept_usd: float
    latency_ms: float | None = None
    blocked: str | None = None


@dataclass(frozen=True)
class Rival:
    """Another model for a cell, and why it lost. more: graded answers of each model (pairs, where it is paired) that
    would show that it is not worse; null: they would not, or it is not a question of evidence."""

    model: str
    why: str
    cost_usd: float | None
    comparison: Comparison | None = None
    more: int | None = None


@dataclass(frozen=True)
class Choice:
    """The model of one cell.

    eligible: the models that may serve it, cheapest first. tried: how many candidates the bounds are corrected for.
    comparison: of the chosen model with the reference, null where it is the reference. lower: the lower bound of the
    chosen model's own score at this task, where it has one. runner_up: what came second. closest: a cheaper model that
    lacks evidence, and needs the least of it.
    """

    task: str
    mode: str
    model: str
    reason: Reason
    offer: Offer | None
    eligible: tuple[str, ...]
    tried: int
    margin: float | None
    comparison: Comparison | None = None
    grades: Grades | None = None
    lower: float | None = None
    runner_up: Rival | None = None
    closest: Rival | None = None


def choose(
    task: str,
    mode: str,
    offers: Sequence[Offer],
    reference: str,
    evidence: Evidence,
    *,
    margins: Mapping[str, float] = MARGINS,
    alpha: float = ALPHA,
    shrunk: Mapping[tuple[str, str], Shrunk] | None = None,
) -> Choice:
    """The choice for one cell. offers: every model that is considered, the reference among them.

    A mode with a margin takes the cheapest model whose difference from the reference at this task has a lower bound
    above minus the margin; each bound is at alpha / (number of candidates that are cheaper, can serve it and have been
    graded beside the reference), which does not depend on any grade. So the chance that a model which is worse by the
    margin gets the cell is at most alpha. Any other mode takes the highest lower bound of quality.
    """
    if mode in margins:
        return _not_worse(task, mode, offers, reference, evidence, margins[mode], alpha, shrunk or {})
    return _best(task, mode, offers, reference, evidence, alpha)


def _not_worse(
    task: str,
    mode: str,
    offers: Sequence[Offer],
    reference: str,
    evidence: Evidence,
    margin: float,
    alpha: float,
    shrunk: Mapping[tuple[str, str], Shrunk],
) -> Choice:
    own = next(o for o in offers if o.model == reference)

    def order(offer: Offer) -> tuple[float, float, str]:
        drawn = shrunk.get((task, offer.model))
        return offer.cost_usd, -drawn.score if drawn else 0.0, offer.model

    cheaper = sorted((o for o in offers if o.model != reference and o.cost_usd < own.cost_usd), key=order)
    able = [o for o in cheaper if o.blocked is None]
    tried = [o for o in able if evidence.shares_evidence(task, o.model, reference)]
    level = alpha / max(len(tried), 1)
    compared = evidence.compare(task, [o.model for o in tried], reference, level)
    good = [o for o in tried if compared[o.model].bound > -margin]
    chosen = good[0] if good else own
    comparison = compared.get(chosen.model)
    has = evidence.best(task, reference) is not None or any(t == task for t, _, _ in evidence.paired)
    reason: Reason = "cheapest" if good else "no_evidence" if not has else "not_proven" if tried else "reference"
    rivals = [_lost(o, chosen, compared.get(o.model), evidence, margin, level) for o in cheaper if o is not chosen]
    short = [r for r in rivals if r.more is not None and r.cost_usd is not None and r.cost_usd < chosen.cost_usd]
    eligible = tuple(o.model for o in [*good, own])
    grades = evidence.best(task, chosen.model, comparison.source if comparison else None, among=comparison is not None)
    if len(eligible) > 1:
        next_best = good[1] if len(good) > 1 else own
        why = "dearer" if next_best is not own else "the reference: dearer"
        runner_up: Rival | None = Rival(next_best.model, why, next_best.cost_usd, compared.get(next_best.model))
    else:
        runner_up = max(
            (r for r in rivals if r.comparison is not None), key=lambda r: r.comparison.bound if r.comparison else -1.0,
            default=rivals[0] if rivals else None,
        )  # fmt: skip
    return Choice(
        task, mode, chosen.model, reason, chosen, eligible, len(tried), margin, comparison,
        grades.grades if grades else None,
        float(score_bounds([grades.grades], alpha)[0, 0]) if grades else None,
        runner_up,
        min(short, key=lambda r: (r.more or 0, r.model), default=None),
    )  # fmt: skip


def _lost(
    offer: Offer, chosen: Offer, comparison: Comparison | None, evidence: Evidence, margin: float, level: float
) -> Rival:
    if offer.blocked is not None:
        return Rival(offer.model, offer.blocked, offer.cost_usd)
    if comparison is None:
        # two more answers are needed than candidates are there: one more candidate is one more to correct for
        return Rival(offer.model, "not graded beside the reference at this task", offer.cost_usd)
    if comparison.bound > -margin:
        return Rival(offer.model, f"dearer than {chosen.model}", offer.cost_usd, comparison)
    mine, other = _grades(evidence, comparison)
    more = more_answers(mine, other, margin, level, comparison.pairs)
    why = f"may be {-comparison.bound:.3f} worse, more than {margin:g}"
    return Rival(offer.model, why, offer.cost_usd, comparison, more)


def _grades(evidence: Evidence, comparison: Comparison) -> tuple[Grades | None, Grades | None]:
    mine = evidence.best(comparison.task, comparison.candidate, comparison.source, among=True)
    other = evidence.best(comparison.task, comparison.reference, comparison.source, among=True)
    return (mine.grades if mine else None), (other.grades if other else None)


def _best(task: str, mode: str, offers: Sequence[Offer], reference: str, evidence: Evidence, alpha: float) -> Choice:
    own = next(o for o in offers if o.model == reference)
    source = evidence.main_source(task, reference)
    graded = {o.model: g.grades for o in offers if (g := evidence.best(task, o.model, source, among=True)) is not None}
    able = [o for o in offers if o.model in graded and (o.blocked is None or o is own)]
    if reference not in graded:
        # nothing can be said to be better than what nobody graded
        return Choice(task, mode, reference, "no_evidence", own, (reference,), 0, None)
    level = alpha / len(able)
    lows = dict(
        zip((o.model for o in able), score_bounds([graded[o.model] for o in able], level)[0].tolist(), strict=True)
    )
    top = max(lows.values())
    alike = [o for o in able if lows[o.model] >= top - ALIKE]
    unknown = float("inf")
    alike.sort(key=lambda o: (unknown if o.latency_ms is None else o.latency_ms, o.cost_usd, o.model))
    chosen = alike[0]
    others = sorted((o for o in able if o is not chosen), key=lambda o: (-lows[o.model], o.cost_usd, o.model))
    runner_up = None
    if others:
        second = others[0]
        if second in alike:
            slower = (second.latency_ms or unknown) > (chosen.latency_ms or unknown)
            why = "as good, slower" if slower else "as good, dearer"
        else:
            why = f"its quality may be as low as {lows[second.model]:.3f}"
        runner_up = Rival(second.model, why, second.cost_usd)
    comparison = None
    if chosen is not own:
        comparison = evidence.compare(task, [chosen.model], reference, level).get(chosen.model)
    return Choice(
        task, mode, chosen.model, "best", chosen, tuple(o.model for o in alike), len(able), None, comparison,
        graded[chosen.model], lows[chosen.model], runner_up,
    )  # fmt: skip
