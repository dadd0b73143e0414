"""Words that are new, and how well words tell two periods apart."""

from __future__ import annotations

import collections
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from routecost.classifier.periods import period_scores
from routecost.drift.result import LIMITS, Signal, Word
from routecost.drift.signals import clipped, signal
from routecost.stats import t_upper

GROUPS: Final = 64
# Fewer texts a side than that tell nothing.
LEAST: Final = 50
_WORD: Final = re.compile(r"[^\W\d_]{3,30}")
_MOST: Final = 10
# The weight of the prior, in words: what few units use must be used by far more to stand out.
_PRIOR: Final = 500.0
# A word is shown from here on: 0.05 over some thousand words.
_SURE_Z: Final = 4.0


@dataclass(frozen=True)
class Texts:
    """A sample of one side's prompts, and the unit (a user or session, else the request) that each comes from."""

    prompts: Sequence[str]
    unit: npt.NDArray[np.uint64]


def words_signal(base: Texts | None, current: Texts | None, alpha: float) -> Signal:
    """How well words tell the sides apart: the area under the curve, 0.5 where they do not."""
    if base is None or current is None:
        return signal("words", None, None, None, why="a side is a usage file, which keeps no text")
    if min(len(base.prompts), len(current.prompts)) < LEAST:
        return signal("words", None, None, None, why=f"a side has fewer than {LEAST} requests with text")
    later = np.repeat([False, True], [len(base.prompts), len(current.prompts)])
    group = (np.concatenate([base.unit, current.unit]) % np.uint64(GROUPS)).astype(np.int64)
    scores = period_scores([*base.prompts, *current.prompts], later, group)
    if scores is None:
        return signal("words", None, None, None, why="the units (users, sessions) are too few")
    area, error, degrees = area_under_curve(scores, later, group)
    if error is None:
        return signal("words", area, None, None, why="the units (users, sessions) are too few")
    chance = 0.5 + t_upper(alpha / len(LIMITS), degrees) * error
    return clipped(signal("words", area, chance, t_upper(0.025, degrees) * error), 0.0, 1.0)


def area_under_curve(
    scores: npt.NDArray[np.float64], later: npt.NDArray[np.bool_], group: npt.NDArray[np.int64]
) -> tuple[float, float | None, int]:
    """How often a later text scores above an earlier one (ties count half), its standard error by leaving out one group
    on both sides at a time, and the degrees of freedom."""
    early, early_group = scores[~later], group[~later]
    order = np.argsort(early, kind="stable")
    below = np.zeros((len(early) + 1, GROUPS))
    np.cumsum(np.eye(GROUPS)[early_group[order]], axis=0, out=below[1:])
    ranked = early[order]
    wins = (below[np.searchsorted(ranked, scores[later])] + below[np.searchsorted(ranked, scores[later], "right")]) / 2
    table = np.zeros((GROUPS, GROUPS))
    np.add.at(table, group[later], wins)
    sizes = [np.bincount(g, minlength=GROUPS).astype(float) for g in (early_group, group[later])]
    area = float(table.sum() / (sizes[0].sum() * sizes[1].sum()))
    degrees = min(int((s > 0).sum()) for s in sizes) - 1
    if degrees < 1:
        return area, None, 0
    left = table.sum() - table.sum(axis=0) - table.sum(axis=1) + np.diag(table)
    without = left / ((sizes[0].sum() - sizes[0]) * (sizes[1].sum() - sizes[1]))
    spread = (GROUPS - 1) / GROUPS * float(((without - without.mean()) ** 2).sum())
    return area, math.sqrt(spread), degrees


def new_words(base: Texts, current: Texts) -> tuple[Word, ...]:
    """Words that far more units of the current side use, by log-odds with a Dirichlet prior of both sides together.
    (Monroe, Colaresi and Quinn, Fightin' Words, Political Analysis 2008.) A unit counts once, however often it says so.
    """
    counts = [_units(side) for side in (base, current)]
    both = counts[0] + counts[1]
    total = sum(both.values())
    n = [sum(c.values()) for c in counts]
    found = []
    for word, k in both.items():
        if k < 5:
            continue
        prior = _PRIOR * k / total
        odds = []
        for side in (0, 1):
            y = counts[side][word] + prior
            odds.append(math.log(y / (n[side] + _PRIOR - y)))
        z = (odds[1] - odds[0]) / math.sqrt(sum(1 / (c[word] + prior) for c in counts))
        if z >= _SURE_Z:
            found.append(Word(word, counts[0][word], counts[1][word], z))
    return tuple(sorted(found, key=lambda w: (-w.z, w.word))[:_MOST])


def _units(side: Texts) -> collections.Counter[str]:
    """How many units use each word."""
    seen: dict[int, set[str]] = {}
    for prompt, unit in zip(side.prompts, side.unit.tolist(), strict=True):
        seen.setdefault(unit, set()).update(w.lower() for w in _WORD.findall(prompt))
    return collections.Counter(word for words in seen.values() for word in words)
