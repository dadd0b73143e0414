"""Tables, single models and today in the plane of cost and expected quality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from routecost.confusion import Confusion
from routecost.pipeline.analysis import Saving
from routecost.pipeline.misrouting import Misrouting, Mistakes, true_tasks
from routecost.pipeline.offers import Traffic
from routecost.prices import Book
from routecost.recommend.choose import Choice
from routecost.recommend.evidence import Shrunk
from routecost.recommend.frontier import Point
from routecost.recommend.solve import frontier
from routecost.recommend.value import by_given, interval, mixture, of_picks, scores_of
from routecost.routing import Table
from routecost.schema import MODES
from routecost.stats import Interval
from routecost.usage import Usage


@dataclass(frozen=True)
class Worth:
    """A mode of the table: its saving against today, as `simulate` tells it, and beside the controls.

    cost_usd: of the tasks with evidence, prompt caches lost. quality: their expected quality. mixture: the best
    expected quality of a random split between single models at the same cost; added: quality above it. best_single: the
    model that serves everything for no more than the table, without being shown to be worse anywhere.
    """

    mode: str
    saving: Saving
    misrouting: Misrouting | None
    cost_usd: float
    quality: Interval | None
    mixture: Interval | None
    added: Interval | None
    best_single: str | None


@dataclass(frozen=True)
class Single:
    """Everything with evidence on one model (or as today): cost and expected quality."""

    name: str
    cost_usd: float
    quality: Interval | None
    not_worse: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plane:
    """Costs (tasks, models), quality at the tasks as given with its draws, and weights of the tasks with evidence."""

    tasks: tuple[str, ...]
    models: tuple[str, ...]
    weights: Any
    cost: Any
    kept: Any
    quality: Any
    known: Any
    own: Any
    draws: Any
    truly: Any
    today_usd: float
    today_mix: Any
    share: float
    reference: str
    shrunk: Mapping[tuple[str, str], Shrunk]

    @classmethod
    def of(
        cls,
        usage: Usage,
        shrunk: Mapping[tuple[str, str], Shrunk],
        traffic: Traffic,
        judged: Sequence[str],
        models: Sequence[str],
        reference: str,
        mistakes: Mistakes | None,
    ) -> Plane:
        confusion: Confusion | None = mistakes.confusion() if mistakes else None
        truth = true_tasks(usage, confusion)
        seen = list(dict.fromkeys([*judged, *(u for t in judged for u in truth[t])]))
        scores = scores_of(shrunk, seen, models)
        truly = np.array([[truth[t].get(u, 0.0) for u in seen] for t in judged]).reshape(len(judged), len(seen))
        quality, known = by_given(scores.mean, truly)
        drawn, _ = by_given(scores.draws(), truly)
        n = np.array([float(traffic.requests.get(t, 0)) for t in judged])
        whole = sum(traffic.requests.values())
        mix = np.array([[traffic.today_models.get(t, {}).get(m, 0.0) for m in models] for t in judged])
        mix = mix.reshape(len(judged), len(models))
        logged = np.array([sum(traffic.today_models.get(t, {}).values()) for t in judged])
        return cls(
            tuple(judged),
            tuple(models),
            n / n.sum() if n.sum() else n,
            np.array([[traffic.cost(t, m, reference) for m in models] for t in judged]).reshape(
                len(judged), len(models)
            ),
            np.array([[traffic.kept(t, m, reference) for m in models] for t in judged]).reshape(
                len(judged), len(models)
            ),
            quality,
            known,
            scores.mean[: len(judged)],
            drawn,
            truly,
            sum(traffic.today_usd.get(t, 0.0) for t in judged),
            mix / np.maximum(logged, 1.0)[:, None],
            float(n.sum() / whole) if whole else 0.0,
            reference,
            shrunk,
        )

    def picks(self, chosen: Mapping[str, str]) -> Any:
        shares = np.zeros((len(self.tasks), len(self.models)))
        for i, task in enumerate(self.tasks):
            shares[i, self.models.index(chosen[task])] = 1.0
        return shares

    def quality_of(self, shares: Any) -> Interval | None:
        point = of_picks(self.quality, shares, self.weights)
        if not self.tasks or not np.isfinite(point):
            return None
        return interval(float(point), of_picks(self.draws, shares, self.weights))

    def worth(
        self,
        mode: str,
        saving: Saving,
        wrong: Misrouting | None,
        picks: Mapping[str, str],
        single: str | None,
        own: tuple[float, Any] | None,
    ) -> Worth:
        shares = self.picks(picks)
        one_model = len(set(picks.values())) == 1
        cost = float(((self.kept if one_model else self.cost) * shares).sum()) + saving.classifier_usd * self.share
        quality = self.quality_of(shares)
        split: Interval | None = None
        added: Interval | None = None
        costs, references = self._references(own)
        if quality is not None and len(costs):
            points = np.array([of_picks(self.quality, r, self.weights) for r in references])
            at_random = np.tensordot(mixture(costs, points, cost), np.array(references), axes=1)
            split = self.quality_of(at_random)
            assert split is not None
            apart = of_picks(self.draws, shares, self.weights) - of_picks(self.draws, at_random, self.weights)
            added = interval(quality.estimate - split.estimate, apart)
        return Worth(mode, saving, wrong, cost, quality, split, added, single)

    def _references(self, own: tuple[float, Any] | None) -> tuple[Any, list[Any]]:
        """Cost, and share by task and model, of everything on each single model that is graded at every task, of
        today's traffic, and of today's table (`own`)."""
        found = [own] if own is not None and np.isfinite(of_picks(self.quality, own[1], self.weights)) else []
        for j in range(len(self.models)):
            shares = np.zeros((len(self.tasks), len(self.models)))
            shares[:, j] = 1.0
            if np.isfinite(of_picks(self.quality, shares, self.weights)):
                found.append((float(self.kept[:, j].sum()), shares))
        if np.isfinite(of_picks(self.quality, self.today_mix, self.weights)) and np.allclose(self.today_mix.sum(1), 1):
            found.append((self.today_usd, self.today_mix))
        return np.array([cost for cost, _ in found]), [shares for _, shares in found]

    def singles(
        self, names: Mapping[str, str], choices: Mapping[tuple[str, str], Choice], modes: Iterable[str]
    ) -> tuple[Single, ...]:
        """Everything on each single model; not_worse: the `modes` in which it is eligible at every task."""
        found = []
        for j, key in enumerate(self.models):
            shares = np.zeros((len(self.tasks), len(self.models)))
            shares[:, j] = 1.0
            able = tuple(m for m in modes if all(key in choices[t, m].eligible for t in self.tasks))
            found.append(Single(names[key], float(self.kept[:, j].sum()), self.quality_of(shares), able))
        return tuple(sorted(found, key=lambda s: (s.cost_usd, s.name)))

    def today(self) -> Single:
        whole = np.allclose(self.today_mix.sum(axis=1), 1) if self.tasks else False
        return Single("today", self.today_usd, self.quality_of(self.today_mix) if whole else None)

    def routed(self, table: Table, mode: str, book: Book) -> tuple[float, Any] | None:
        """Cost, and shares by task and model, of today's table in a mode; None where it leaves a task where it is."""
        chosen = {}
        for task in self.tasks:
            name = table.routes.get(task, {}).get(mode) or (table.default or {}).get(mode)
            ref = book.resolve(None, name)
            if ref is None or ref.key not in self.models:
                return None
            chosen[task] = ref.key
        shares = self.picks(chosen)
        costs = self.kept if len(set(chosen.values())) == 1 else self.cost
        return float((costs * shares).sum()), shares

    def frontier(self, choices: Mapping[tuple[str, str], Choice], names: Mapping[str, str]) -> tuple[Point, ...]:
        """Tables of which none is both cheaper and better, among models that eco's margin lets in, task by task."""
        if not self.tasks or not np.isfinite(self.quality).any():
            return ()
        able = [self._able(i, choices) for i in range(len(self.tasks))]
        if not all(able):
            return ()
        cells = [
            [(float(self.cost[i, j]), -float(self.weights[i] * self.quality[i, j])) for j in able[i]]
            for i in range(len(self.tasks))
        ]
        found = []
        for pick in frontier(cells):
            chosen = {t: self.models[able[i][k]] for i, (t, k) in enumerate(zip(self.tasks, pick, strict=True))}
            quality = self.quality_of(self.picks(chosen))
            # a single model loses no cache that it had
            costs = self.kept if len(set(chosen.values())) == 1 else self.cost
            cost = float((costs * self.picks(chosen)).sum())
            if quality is not None:
                label = ", ".join(f"{t}: {names[m]}" for t, m in chosen.items())
                found.append(Point(label, "frontier", cost, quality.estimate, quality.low, quality.high))
        return tuple(found)

    def _able(self, i: int, choices: Mapping[tuple[str, str], Choice]) -> list[int]:
        task = self.tasks[i]
        keys = {*choices[task, "eco"].eligible, *(choices[task, m].model for m in MODES)}
        return [j for j, m in enumerate(self.models) if m in keys and np.isfinite(self.quality[i, j])]
