"""Usage, prices and graded answers to the routing table to use, with the evidence for every cell."""

from __future__ import annotations

import collections
import datetime as dt
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from routecost import savings
from routecost.errors import InputError, UndecidedError, UsageError
from routecost.pipeline.analysis import (
    Coverage,
    Period,
    Saving,
    Scale,
    coverage_of,
    nothing,
    period_of,
    require_known,
    require_valid,
    saving_of,
    scale_of,
    task_order,
)
from routecost.pipeline.intake import Intake, require_prices
from routecost.pipeline.misrouting import Mistakes, misrouting
from routecost.pipeline.offers import Limits, Traffic
from routecost.pipeline.plane import Plane, Single, Worth
from routecost.prices import Book, ModelRef
from routecost.recommend.choose import ALPHA, MARGINS, Choice, Offer, choose
from routecost.recommend.evidence import Evidence, Shrunk, gather
from routecost.recommend.frontier import Point
from routecost.recommend.solve import solve
from routecost.recommend.tiers import by_tier, kind_of
from routecost.routing import Table
from routecost.routing.table import Made
from routecost.schema import MODES
from routecost.stats import Interval

Policy = Literal["evidence", "tiers"]

# Providers announce the end of a model some months before: this is when somebody should have a successor.
SOON_DAYS: Final = 60


@dataclass(frozen=True)
class Wishes:
    """What is asked of a recommendation. See the command line's help for each.

    reference: the model that others are measured against; None: the most used one. allow, deny: globs over
    `provider/model`. max_latency_ms: mode -> p95. budget_usd: of the preferred mode over the whole period; floor: its
    least mean quality. prefer: the table's default mode. current: today's table, whose overrides are kept.
    """

    reference: str | None = None
    prefer: str = "balanced"
    margins: Mapping[str, float] = field(default_factory=lambda: dict(MARGINS))
    alpha: float = ALPHA
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    max_latency_ms: Mapping[str, float] = field(default_factory=dict)
    budget_usd_per_day: float | None = None
    floor: float | None = None
    policy: Policy = "evidence"
    current: Table | None = None
    classifier_cost_usd: float = 0.0
    classifier_latency_ms: float | None = None
    name: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A model that was considered: its name in the table, and task -> why it cannot serve it."""

    key: str
    name: str
    blocked: Mapping[str, str]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class BreakEven:
    """How far things may move before the choice of a cell flips; None where it cannot be told, or never.

    score: how much lower the model's score may be (its bound then meets the margin). price: the factor that its price
    may grow by, and next_model that would then be cheaper. accuracy: that of the classifier below which the expected
    quality over the true tasks is worse than the reference by the margin; now: what it is (share of requests given
    this task that are of it).
    """

    score: float | None = None
    price: float | None = None
    next_model: str | None = None
    accuracy: float | None = None
    now: float | None = None


@dataclass(frozen=True)
class Cell:
    """One cell of the table: the choice, its name there, and what it is worth. quality: expected over the true tasks
    behind it; reference_quality the same of the reference; known: how much of the true tasks that rests on. Costs are
    USD over the whole period. saving: None where the traffic has nothing to compare."""

    choice: Choice
    name: str
    requests: int
    today_usd: float | None
    routed_usd: float | None
    saving: Interval | None
    quality: float | None
    reference_quality: float | None
    known: float | None
    shrunk: Shrunk | None
    break_even: BreakEven


@dataclass(frozen=True)
class Recommendation:
    """The answer of `routecost recommend`; money is unrounded USD over the whole period."""

    intake: Intake
    period: Period
    scale: Scale
    coverage: Coverage
    today_usd: float
    table: Table
    reference: str
    policy: Policy
    wishes: Wishes
    evidence: Evidence
    candidates: tuple[Candidate, ...]
    cells: tuple[Cell, ...]
    modes: tuple[Worth, ...]
    singles: tuple[Single, ...]
    today: Single
    current: Single | None
    frontier: tuple[Point, ...]
    judged_share: float
    notes: tuple[str, ...]
    book_version: str
    as_of: dt.date
    limited: str | None = None

    @property
    def preferred(self) -> Worth:
        return next(m for m in self.modes if m.mode == self.wishes.prefer)

    def cell(self, task: str, mode: str) -> Cell:
        return next(c for c in self.cells if (c.choice.task, c.choice.mode) == (task, mode))

    def points(self) -> list[Point]:
        """Everything in the plane of cost (a day, where the log tells days) and quality."""
        factor = 1.0 if self.scale.factor is None else self.scale.factor

        def point(name: str, kind: str, cost: float, quality: Interval | None) -> list[Point]:
            if quality is None:
                return []
            return [Point(name, kind, cost * factor, quality.estimate, quality.low, quality.high)]  # type: ignore[arg-type]

        found = [replace(p, cost_usd=p.cost_usd * factor) for p in self.frontier]
        for s in self.singles:
            found += point(s.name, "single", s.cost_usd, s.quality)
        for s in [self.today, *([self.current] if self.current else [])]:
            found += point(s.name, "today", s.cost_usd, s.quality)
        for m in self.modes:
            found += point(m.mode, "mode", m.cost_usd, m.quality)
            if m.added is not None and abs(m.added.estimate) > 1e-9:
                found += point(f"at random for the cost of {m.mode}", "random", m.cost_usd, m.mixture)
        return found

    def to_polars(self) -> pl.DataFrame:
        """One row a cell."""
        return pl.DataFrame([row(c) for c in self.cells], infer_schema_length=None)


def row(cell: Cell) -> dict[str, Any]:
    """A cell as plain values."""
    c = cell.choice
    cmp = c.comparison
    return {
        "task": c.task,
        "mode": c.mode,
        "model": cell.name,
        "reason": c.reason,
        "requests": cell.requests,
        "n": cmp.n if cmp else c.grades.n if c.grades else None,
        "score": c.grades.score if c.grades else None,
        "difference": cmp.difference if cmp else None,
        "bound": cmp.bound if cmp else None,
        "paired": cmp.paired if cmp else None,
        "margin": c.margin,
        "today_usd": cell.today_usd,
        "routed_usd": cell.routed_usd,
        "saving_usd": cell.saving.estimate if cell.saving else None,
        "saving_low_usd": cell.saving.low if cell.saving else None,
        "saving_high_usd": cell.saving.high if cell.saving else None,
        "quality": cell.quality,
        "reference_quality": cell.reference_quality,
    }


def recommend(
    intake: Intake,
    book: Book,
    quality: pl.DataFrame | None,
    wishes: Wishes,
    *,
    requests_per_day: float | None = None,
    as_of: dt.date | None = None,
    mistakes: Mistakes | None = None,
    version: str | None = None,
) -> Recommendation:
    """Usage, prices and a quality table -> the table to use. See Recommendation.

    Raises InputError for a reference without a price, UndecidedError where no task of the log has any evidence.
    """
    if intake.usage.cells.height == 0:
        raise nothing(intake)
    as_of = as_of or dt.datetime.now(dt.UTC).date()
    if wishes.prefer not in MODES:
        raise UsageError(f"--prefer: saw {wishes.prefer!r}, expected one of {', '.join(MODES)}.")
    usage = intake.usage
    priced = savings.today(usage.cells, book, as_of=as_of)
    reference, reference_name = _reference(priced, book, wishes)
    evidence = gather(quality, lambda name: ref.key if (ref := book.resolve(None, name)) is not None else name)
    if wishes.reference is None:
        reference_name = evidence.names.get(reference, reference_name)
    if wishes.policy == "evidence" and evidence.is_empty:
        raise UsageError(NO_EVIDENCE)
    refs, unpriced_names = _candidates(evidence, priced, book, wishes, reference, as_of)
    names = {key: evidence.names.get(key, key) for key in refs}
    names[reference] = reference_name
    require_prices(usage, book, [*refs])
    if wishes.current is not None:
        require_valid(book, [wishes.current], None)

    period = period_of(usage.cells)
    scale = scale_of(period, usage.requests, requests_per_day)
    base = _base(wishes, names, evidence, reference, reference_name)
    tasks = _tasks(priced)
    traffic = Traffic.of(priced, usage, book, base, tasks, list(refs), wishes.prefer, as_of)
    limits = Limits.of(usage, book, tasks, evidence, as_of)
    offers = {
        (task, mode): [
            Offer(
                key,
                traffic.cost(task, key, reference),
                traffic.kept(task, key, reference),
                limits.latency(task, key),
                limits.blocked(task, ref, mode, wishes.max_latency_ms, traffic) if key != reference else None,
            )
            for key, ref in refs.items()
        ]
        for task in tasks
        for mode in MODES
    }
    shrunk = evidence.shrunk(reference)
    kinds = {key: kind_of(key, ref.tier) for key, ref in refs.items()}

    def pick(task: str, mode: str) -> Choice:
        if wishes.policy == "tiers":
            return by_tier(task, mode, offers[task, mode], kinds, reference)
        return choose(
            task, mode, offers[task, mode], reference, evidence, margins=wishes.margins, alpha=wishes.alpha,
            shrunk=shrunk,
        )  # fmt: skip

    choices = {(task, mode): pick(task, mode) for task in tasks for mode in MODES}
    judged = [t for t in tasks if evidence.best(t, reference) is not None]
    if wishes.policy == "evidence" and not judged and not any(t in tasks for t, _, _ in evidence.paired):
        raise UndecidedError(_no_overlap(evidence, tasks, names, reference))

    plane = Plane.of(usage, shrunk, traffic, judged, list(refs), reference, mistakes)
    limited = None
    if wishes.budget_usd_per_day is not None or wishes.floor is not None:
        choices, limited = _within(choices, offers, plane, traffic, wishes, scale, judged, reference)
    singles = {
        mode: _single(mode, choices, offers, plane, traffic, wishes, judged, tasks, reference)
        for mode in MODES
        if wishes.policy == "evidence"
    }
    for mode, single in singles.items():
        if single is not None:
            choices.update({(t, mode): _on_single(choices[t, mode], offers[t, mode], single) for t in tasks})

    table = _table(choices, tasks, names, base, wishes, book)
    require_valid(book, [table], None)
    rates = savings.failure_rates(usage.cells, book) if table.failover_rate == "from-log" else None
    own, current = None, None
    if wishes.current is not None and (own := plane.routed(wishes.current, wishes.prefer, book)) is not None:
        name = f"today's table ({wishes.current.name}, {wishes.prefer})"
        current = Single(name, own[0], plane.quality_of(own[1]))
    worths, cells = [], []
    for mode in MODES:
        sent = savings.routed(priced, table, book, mode=mode, failure_rates=rates, as_of=as_of)
        saving = saving_of(sent, usage, table, book, mode=mode, as_of=as_of)
        wrong = misrouting(priced, sent, usage, table, book, mistakes, mode=mode, failure_rates=rates, as_of=as_of)
        picks = {t: choices[t, mode].model for t in judged}
        worths.append(plane.worth(mode, saving, wrong, picks, singles.get(mode), own))
        by_task = {r["task"]: r for r in saving.by_task.iter_rows(named=True)}
        for task in tasks:
            found = by_task.get(task)
            cells.append(_cell(choices[task, mode], names, found, saving, plane, offers[task, mode], reference))
    return Recommendation(
        intake=intake,
        period=period,
        scale=scale,
        coverage=coverage_of(priced, book),
        today_usd=float(priced["today_usd"].sum()),
        table=_with_made(table, cells, evidence, reference_name, book, as_of, version, wishes),
        reference=reference_name,
        policy=wishes.policy,
        wishes=wishes,
        evidence=evidence,
        candidates=tuple(
            Candidate(
                key,
                names[key],
                {t: o.blocked for t in tasks for o in offers[t, wishes.prefer] if o.model == key and o.blocked},
                limits.unknown(ref),
            )
            for key, ref in refs.items()
        ),
        cells=tuple(cells),
        modes=tuple(worths),
        singles=plane.singles(names, choices, wishes.margins),
        today=plane.today(),
        current=current,
        frontier=plane.frontier(choices, names),
        judged_share=plane.share,
        notes=(*unpriced_names, *_single_notes(singles, names), *_ending_notes(table, book, as_of)),
        book_version=book.version,
        as_of=as_of,
        limited=limited,
    )


NO_EVIDENCE: Final = (
    "no quality evidence: a table that is cheaper can only be recommended with grades of its models. Give them with "
    "--quality FILE (`routecost quality import RESULTS`, from a benchmark or an eval; `routecost quality from-logs "
    "LOG`, from feedback), or take the tiers as a first guess with --policy tiers."
)


def _no_overlap(evidence: Evidence, tasks: Sequence[str], names: Mapping[str, str], reference: str) -> str:
    if not tasks:
        return (
            "no request of the log has a task type, so there is nothing to route by. Name a log with prompts, give it "
            "a column `task`, or write rules (--task-rules)."
        )
    graded = ", ".join(dict.fromkeys(t for t, m in evidence.graded if m == reference)) or "no task"
    return (
        f"the quality table grades the reference {names[reference]} at {graded}, and the log has "
        f"{', '.join(tasks) or 'no classified request'}: nothing can be compared. Grade it at these tasks, or name "
        "another model with --reference."
    )


def _reference(priced: pl.DataFrame, book: Book, wishes: Wishes) -> tuple[str, str]:
    """The key of the reference, and the name to write."""
    if wishes.reference is not None:
        require_known(book, wishes.reference, "--reference")
        ref = book.resolve(None, wishes.reference)
        assert ref is not None
        return ref.key, wishes.reference
    used: collections.Counter[str] = collections.Counter()
    logged = (
        priced.filter(pl.col("today_usd").is_not_null()).group_by("provider", "model").agg(pl.col("requests").sum())
    )
    for provider, model, n in logged.sort("provider", "model").iter_rows():
        if (found := book.resolve(provider, model)) is not None:
            used[found.key] += n
    if not used:
        raise InputError("no request has a price, so there is no model to start from. Name it with --reference MODEL.")
    key = min(used, key=lambda k: (-used[k], k))
    return key, key


def _candidates(
    evidence: Evidence, priced: pl.DataFrame, book: Book, wishes: Wishes, reference: str, as_of: dt.date
) -> tuple[dict[str, ModelRef], list[str]]:
    """key -> model of all that are considered, the reference first; and remarks about those that cannot be."""
    own = book.resolve(None, reference)
    assert own is not None
    found = {reference: own}
    notes: list[str] = []
    if wishes.policy == "tiers":
        providers = {r.provider for p, m in _logged(priced) if (r := book.resolve(p, m)) is not None} | {own.provider}
        for ref in book.refs():
            wanted = wishes.allow or ref.provider in providers
            if wanted and kind_of(ref.key, ref.tier) and ref.tier and not _gone(ref, as_of):
                found.setdefault(ref.key, ref)
    else:
        for key, name in evidence.names.items():
            known = book.resolve(None, key)
            if known is None:
                near = book.nearest(name)
                hint = f" Did you mean {', '.join(near)}?" if near else ""
                notes.append(f"{name} is graded, but has no price, so it cannot be chosen.{hint}")
            elif known.retired is not None and known.retired <= as_of:
                notes.append(f"{name} is left out: its provider retired it on {known.retired}.")
            else:
                found.setdefault(known.key, known)
    # today's table is a control, and its models may be chosen where they are graded
    for name in wishes.current.models() if wishes.current is not None else ():
        if (known := book.resolve(None, name)) is not None:
            found.setdefault(known.key, known)
    kept = {k: r for k, r in found.items() if k == reference or _allowed(r, wishes)}
    return kept, notes


def _gone(ref: ModelRef, as_of: dt.date) -> bool:
    """Nobody should start with a model that ends within weeks."""
    return ref.deprecated or (ref.retired is not None and (ref.retired - as_of).days <= SOON_DAYS)


def _ending_notes(table: Table, book: Book, as_of: dt.date) -> list[str]:
    found = []
    for name in table.models():
        ref = book.resolve(None, name)
        if ref is not None and ref.retired is not None and (ref.retired - as_of).days <= SOON_DAYS:
            found.append(
                f"{name}: its provider retires it on {ref.retired}. Grade a successor before you switch to it."
            )
    return found


def _allowed(ref: ModelRef, wishes: Wishes) -> bool:
    def matches(globs: Sequence[str]) -> bool:
        names = (ref.key.lower(), ref.model.lower(), ref.provider.lower())
        return any(fnmatch.fnmatchcase(name, glob.lower()) for glob in globs for name in names)

    return (not wishes.allow or matches(wishes.allow)) and not matches(wishes.deny)


def _logged(priced: pl.DataFrame) -> list[tuple[str | None, str | None]]:
    return [(p, m) for p, m in priced.select("provider", "model").unique().iter_rows()]


def _tasks(priced: pl.DataFrame) -> list[str]:
    return [t for t in priced.select("task").unique().sort(task_order(), "task")["task"].to_list() if t is not None]


def _base(wishes: Wishes, names: Mapping[str, str], evidence: Evidence, reference: str, name: str) -> Table:
    """What every table of the search has: the default, today's overrides, lengths of answers, the classifier."""
    lengths: dict[str, dict[str, float]] = {}
    for (task, key), ratio in evidence.ratios.items():
        if key in names:
            lengths.setdefault(names[key], {})[task] = ratio
    current = wishes.current
    return Table(
        name=wishes.name or "recommended",
        default_mode=wishes.prefer,
        default=dict.fromkeys(MODES, name),
        overrides=current.overrides if current else (),
        output_ratios=lengths,
        failover_rate=current.failover_rate if current else None,
        classifier_cost_per_request_usd=wishes.classifier_cost_usd,
        classifier_latency_ms=wishes.classifier_latency_ms,
    )


def _within(
    choices: Mapping[tuple[str, str], Choice],
    offers: Mapping[tuple[str, str], Sequence[Offer]],
    plane: Plane,
    traffic: Traffic,
    wishes: Wishes,
    scale: Scale,
    judged: Sequence[str],
    reference: str,
) -> tuple[dict[tuple[str, str], Choice], str | None]:
    """The preferred mode under a budget (the best quality that it pays for) or a floor (the least cost that meets it),
    over models that are eligible cell by cell; and why it cannot be met, where it cannot."""
    mode = wishes.prefer
    found = dict(choices)
    if wishes.budget_usd_per_day is not None and scale.factor is None:
        raise UsageError("--budget needs to know a day's traffic: the log has no timestamps. Give --requests N/day.")
    able = [
        [j for j, m in enumerate(plane.models) if m in choices[t, mode].eligible and np.isfinite(plane.quality[i, j])]
        for i, t in enumerate(judged)
    ]
    if not judged or not all(able):
        missing = [t for t, a in zip(judged, able, strict=True) if not a]
        return (
            found,
            f"the expected quality of {', '.join(missing) or 'every task'} is unknown, so no limit can be kept",
        )
    gain = [[-float(plane.weights[i] * plane.quality[i, j]) for j in a] for i, a in enumerate(able)]
    cost = [[float(plane.cost[i, j]) for j in a] for i, a in enumerate(able)]
    if wishes.budget_usd_per_day is not None:
        assert scale.factor is not None
        other = sum(traffic.cost(t, reference, reference) for t in traffic.requests if t not in judged)
        limit = wishes.budget_usd_per_day / scale.factor - other
        cells = [list(zip(g, c, strict=True)) for g, c in zip(gain, cost, strict=True)]
        solution = solve(cells, limit)
        least = (sum(min(c) for c in cost) + other) * scale.factor
        failed = f"no table that is shown not to be worse fits the budget: the cheapest costs ${least:,.2f} a day"
    else:
        assert wishes.floor is not None
        cells = [list(zip(c, g, strict=True)) for g, c in zip(gain, cost, strict=True)]
        solution = solve(cells, -wishes.floor)
        most = -sum(min(g) for g in gain)
        failed = f"no table reaches a mean quality of {wishes.floor:g}: the best has {most:.3f}"
    if solution is None:
        return found, failed
    reason: Literal["budget", "floor"] = "budget" if wishes.budget_usd_per_day is not None else "floor"
    for i, (task, k) in enumerate(zip(judged, solution.picks, strict=True)):
        key = plane.models[able[i][k]]
        if key != choices[task, mode].model:
            found[task, mode] = _instead(choices[task, mode], offers[task, mode], key, reason)
    return found, None


def _instead(choice: Choice, offers: Sequence[Offer], key: str, reason: Literal["budget", "floor", "single"]) -> Choice:
    """The cell on another model: what it was becomes the runner-up."""
    from routecost.recommend.choose import Rival

    offer = next(o for o in offers if o.model == key)
    why = {
        "budget": "within the budget another is better on the whole",
        "floor": "below the floor on the whole",
        "single": "one model for everything costs no more",
    }[reason]
    runner = Rival(choice.model, why, choice.offer.cost_usd if choice.offer else None, choice.comparison)
    return replace(
        choice, model=key, reason=reason, offer=offer, comparison=None, grades=None, lower=None, runner_up=runner
    )


def _on_single(choice: Choice, offers: Sequence[Offer], key: str) -> Choice:
    return choice if choice.model == key else _instead(choice, offers, key, "single")


def _single(
    mode: str,
    choices: Mapping[tuple[str, str], Choice],
    offers: Mapping[tuple[str, str], Sequence[Offer]],
    plane: Plane,
    traffic: Traffic,
    wishes: Wishes,
    judged: Sequence[str],
    tasks: Sequence[str],
    reference: str,
) -> str | None:
    """The model that may serve every task, for no more than the table costs with its classifier and its lost caches."""
    if mode not in wishes.margins or not tasks or wishes.budget_usd_per_day is not None or wishes.floor is not None:
        return None
    if len({choices[t, mode].model for t in tasks}) < 2:
        return None
    routed = sum(traffic.cost(t, choices[t, mode].model, reference) for t in tasks)
    routed += wishes.classifier_cost_usd * sum(traffic.requests.values())
    able = set.intersection(*(set(choices[t, mode].eligible) for t in tasks))
    costs = {m: sum(traffic.kept(t, m, reference) for t in tasks) for m in able}
    best = min(costs, key=lambda m: (costs[m], m), default=None)
    return best if best is not None and costs[best] <= routed else None


def _single_notes(singles: Mapping[str, str | None], names: Mapping[str, str]) -> list[str]:
    return [
        f"{mode}: {names[key]} for everything costs no more than routing task by task, with the classifier and lost "
        "caches counted, and is shown not to be worse at any task: that is what the table says."
        for mode, key in singles.items()
        if key is not None
    ]


# --- the table, and why -----------------------------------------------------------------------------------------------


def _table(
    choices: Mapping[tuple[str, str], Choice],
    tasks: Sequence[str],
    names: Mapping[str, str],
    base: Table,
    wishes: Wishes,
    book: Book,
) -> Table:
    routes = {t: {m: names[choices[t, m].model] for m in MODES} for t in tasks}
    used = {model for row in routes.values() for model in row.values()} | set((base.default or {}).values())
    lengths = {model: ratios for model, ratios in base.output_ratios.items() if model in used}
    fallbacks = _fallbacks(choices, tasks, names, book)
    if wishes.current is not None:
        fallbacks = {**{k: v for k, v in wishes.current.fallbacks.items() if k in used}, **fallbacks}
    logged_names = [n for n in base.output_ratios if n not in used]
    # answers are measured against those of the model that a request was logged with, so its ratio is needed too
    lengths.update({n: base.output_ratios[n] for n in logged_names})
    every = {m for row in routes.values() for m in row.values()}
    if len(every) == 1 and every == set((base.default or {}).values()):
        return replace(base, routes={}, fallbacks=fallbacks, output_ratios=lengths, classifier_cost_per_request_usd=0.0)
    return replace(base, routes=routes, fallbacks=fallbacks, output_ratios=lengths)


def _fallbacks(
    choices: Mapping[tuple[str, str], Choice], tasks: Sequence[str], names: Mapping[str, str], book: Book
) -> dict[str, tuple[str, ...]]:
    """For each model an equivalent one (the same tier) of another provider: the cheapest that is eligible in all its
    cells, else the same model where another provider sells it. Where there is none the table names none."""
    cells: dict[str, list[Choice]] = {}
    for task in tasks:
        for mode in MODES:
            cells.setdefault(choices[task, mode].model, []).append(choices[task, mode])
    elsewhere: dict[str, list[ModelRef]] = {}
    for ref in book.refs():
        elsewhere.setdefault(_name_of(ref), []).append(ref)
    found: dict[str, tuple[str, ...]] = {}
    for key, own in cells.items():
        first = book.resolve(None, key)
        if first is None or first.tier is None:
            continue
        able = set.intersection(*(set(c.eligible) for c in own))
        others = [book.resolve(None, m) for m in own[0].eligible if m in able]
        others += elsewhere.get(_name_of(first), [])
        for other in others:
            if other is not None and other.provider != first.provider and other.tier == first.tier:
                found[names[key]] = (names.get(other.key, other.key),)
                break
    return found


def _name_of(ref: ModelRef) -> str:
    """A model's own name, however its seller spells it: without maker, region and version."""
    name = ref.key.lower().rpartition("/")[2]
    for maker in ("openai.", "anthropic.", "global.", "us."):
        name = name.replace(maker, "")
    return name.replace(".", "-").removesuffix("-v1:0")


def _with_made(
    table: Table,
    cells: Sequence[Cell],
    evidence: Evidence,
    reference: str,
    book: Book,
    as_of: dt.date,
    version: str | None,
    wishes: Wishes,
) -> Table:
    """The table with how it came about, so that `routes check` can tell when it is stale."""
    prices = {}
    for name in dict.fromkeys((*table.models(), reference)):
        ref = book.resolve(None, name)
        if ref is not None:
            prices[name] = list_price(book, ref, as_of)
    said: dict[str, dict[str, str]] = {}
    for cell in cells:
        said.setdefault(cell.choice.task, {})[cell.choice.mode] = sentence(cell, reference)
    made = Made(
        date=as_of,
        by=f"routecost {version}" if version else None,
        reference=reference,
        book=book.version,
        evidence_until=evidence.newest,
        prices={name: price for name, price in prices.items() if price},
        evidence=said,
    )
    return replace(table, made=made)


def list_price(book: Book, ref: ModelRef, day: dt.date) -> dict[str, float]:
    """USD per million tokens of a short request on a day: input and output; empty where the book has none."""
    from routecost.prices.pricing import rates_at

    found = rates_at(book, ref, day, 0, 1)
    return {} if isinstance(found, str) else {k: found[k] for k in ("input", "output") if k in found}


def _cell(
    choice: Choice,
    names: Mapping[str, str],
    found: Mapping[str, Any] | None,
    saving: Saving,
    plane: Plane,
    offers: Sequence[Offer],
    reference: str,
) -> Cell:
    task, key = choice.task, choice.model
    quality = reference_quality = known = None
    if task in plane.tasks:
        i, j, r = plane.tasks.index(task), plane.models.index(key), plane.models.index(reference)
        quality, reference_quality = (_number(plane.quality[i, at]) for at in (j, r))
        known = float(plane.known[i, j])
    return Cell(
        choice=choice,
        name=names[key],
        requests=int(found["requests"]) if found else 0,
        today_usd=found["today_usd"] if found else None,
        routed_usd=found["routed_usd"] if found else None,
        saving=(saving.by_task_interval.get(task) or Interval(found["saving_usd"], None, None)) if found else None,
        quality=quality,
        reference_quality=reference_quality,
        known=known,
        shrunk=plane.shrunk.get((task, key)),
        break_even=_break_even(choice, names, plane, offers, reference),
    )


def _break_even(
    choice: Choice, names: Mapping[str, str], plane: Plane, offers: Sequence[Offer], reference: str
) -> BreakEven:
    costs = {o.model: o.cost_usd for o in offers}
    mine = costs[choice.model]
    score = choice.comparison.bound + choice.margin if choice.comparison and choice.margin is not None else None
    later = [m for m in choice.eligible if m != choice.model and costs[m] >= mine]
    following = min(later, key=lambda m: (costs[m], m), default=None)
    price = costs[following] / mine if following is not None and mine > 0 and choice.reason != "best" else None
    accuracy = now = None
    if choice.task in plane.tasks:
        i = plane.tasks.index(choice.task)
        now = float(plane.truly[i, i])
        if choice.margin is not None and choice.model != reference and now < 1:
            accuracy = _accuracy(plane, i, choice, reference)
    return BreakEven(
        score, price, names[following] if following is not None and price is not None else None, accuracy, now
    )


def _accuracy(plane: Plane, i: int, choice: Choice, reference: str) -> float | None:
    """The share of requests given this task that must be of it for the expected quality to stay within the margin,
    the others being what they are now. None where it stays so whatever they are, or cannot be told."""
    assert choice.margin is not None
    weights = plane.truly[i].copy()
    weights[i] = 0.0
    tasks = list(dict.fromkeys([*plane.tasks]))
    apart = []
    for k, w in enumerate(weights):
        if w > 0:
            name = tasks[k] if k < len(tasks) else None
            pair = [plane.shrunk.get((name, m)) for m in (choice.model, reference)] if name else [None, None]
            if pair[0] is None or pair[1] is None:
                return None
            apart.append((w, pair[0].score - pair[1].score))
    own = [plane.shrunk.get((choice.task, m)) for m in (choice.model, reference)]
    if not apart or own[0] is None or own[1] is None:
        return None
    mine = own[0].score - own[1].score
    others = sum(w * d for w, d in apart) / sum(w for w, _ in apart)
    if others >= -choice.margin or mine <= others:
        return None
    at = (-choice.margin - others) / (mine - others)
    return float(at) if 0 < at <= 1 else None


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


REASONS: Final[Mapping[str, str]] = {
    "cheapest": "the cheapest that is shown not to be worse",
    "best": "the highest lower bound of quality",
    "reference": "kept: nothing that may serve it is cheaper",
    "single": "one model for everything costs no more",
    "not_proven": "kept: nothing cheaper is shown not to be worse",
    "no_evidence": "kept: no grades at this task",
    "budget": "the best on the whole within the budget",
    "floor": "the cheapest on the whole that keeps the floor",
    "tiers": "by tier, without quality evidence",
}


def sentence(cell: Cell, reference: str) -> str:
    """Why a cell has its model, in one sentence."""
    c = cell.choice
    cmp = c.comparison
    text = f"{cell.name}: {REASONS[c.reason]}"
    if cmp is not None:
        beside = f"{cmp.n} pairs" if cmp.paired else f"n {cmp.n} beside {cmp.reference_n}"
        text += f"; {cmp.difference:+.3f} against {reference}, at least {cmp.bound:+.3f} ({beside})"
        if c.margin is not None:
            text += f", margin {c.margin:g}"
    elif c.lower is not None and c.grades is not None and c.reason == "best":
        text += f"; {c.grades.score:.3f}, at least {c.lower:.3f} (n {c.grades.n})"
    return text
