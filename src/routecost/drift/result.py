"""What drifted, and what to do about it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from routecost.errors import UsageError

Verdict = Literal["fine", "watch", "retrain", "unknown"]
ORDER: Final[tuple[Verdict, ...]] = ("unknown", "fine", "watch", "retrain")


@dataclass(frozen=True)
class Limits:
    """From where on a signal is watched, and from where on it asks for a new classifier or table (None: never)."""

    watch: float
    retrain: float | None = None


# The population stability index has its own convention (0.1 and 0.25; Siddiqi, Credit Risk Scorecards, 2006). The
# distance of lengths is in natural logarithms: 0.22 is a quarter longer. The others are shares of requests.
LIMITS: Final[Mapping[str, Limits]] = {
    "task mix": Limits(0.1, 0.25),
    "input length": Limits(0.22),
    "output length": Limits(0.22),
    "estimated accuracy": Limits(0.02, 0.05),
    "confidence under 0.6": Limits(0.05, 0.15),
    "unclassified": Limits(0.02, 0.1),
    "new features": Limits(0.05, 0.2),
    "gone features": Limits(0.05),
    "new models": Limits(0.05),
    "gone models": Limits(0.05),
    "words": Limits(0.65, 0.8),
    "accuracy on labels": Limits(0.02, 0.05),
}


@dataclass(frozen=True)
class Signal:
    """One thing that may drift.

    base, current: what it was and is (None where it is a distance). size: how far it moved, in the unit of its limits,
    with a 95 % interval low to high. chance: how far it moves by chance in such traffic. A signal is raised where size
    reaches a limit and is above chance. verdict unknown: it cannot be told, and `why` says what is lacking.
    """

    name: str
    base: float | None
    current: float | None
    size: float | None
    low: float | None
    high: float | None
    chance: float | None
    limits: Limits
    verdict: Verdict
    why: str = ""


@dataclass(frozen=True)
class Mix:
    """The share of a task on both sides, with the 95 % interval of the difference."""

    task: str | None
    base: float
    current: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class MixTest:
    """A chi-square test of the task mix, corrected for groups: its F value and p, and Cohen's effect size w.
    design_effect: how many requests count as one."""

    f: float | None
    p: float | None
    w: float
    design_effect: float | None


@dataclass(frozen=True)
class Lengths:
    """Token counts of a kind on both sides: medians, and the largest distance of the two distribution functions
    (Kolmogorov and Smirnov's) with its 95 % interval."""

    kind: Literal["input", "output"]
    base_median: float | None
    current_median: float | None
    distance: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Name:
    """A feature or model that only one side has, and its share there. what: new or gone."""

    scope: Literal["feature", "model"]
    what: Literal["new", "gone"]
    name: str
    requests: int
    share: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Word:
    """A word, the number of units of each side that use it, and the z value of its log-odds."""

    word: str
    base: int
    current: int
    z: float


@dataclass(frozen=True)
class ChangePoint:
    """A day from which on a daily value is another one. base, current: its mean before and after; low, high: the 95 %
    interval of the difference; p: of as large a change among days in random order."""

    day: dt.date
    what: str
    base: float
    current: float
    low: float | None
    high: float | None
    p: float


@dataclass(frozen=True)
class Span:
    """One side: its name, requests, first and last day, and how many groups of units it has."""

    name: str
    requests: int
    first: dt.date | None
    last: dt.date | None
    days: int
    groups: int


@dataclass(frozen=True)
class Drift:
    """The answer of `routecost drift`. Without a current side only change points are looked for."""

    verdict: Verdict
    exit_code: int
    alpha: float
    base: Span
    current: Span | None
    signals: tuple[Signal, ...] = ()
    mix: tuple[Mix, ...] = ()
    test: MixTest | None = None
    lengths: tuple[Lengths, ...] = ()
    names: tuple[Name, ...] = ()
    words: tuple[Word, ...] = ()
    points: tuple[ChangePoint, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)


def worst(signals: tuple[Signal, ...]) -> Verdict:
    """The verdict of the signal that says most."""
    return max((s.verdict for s in signals), key=ORDER.index, default="unknown")


def require_alpha(alpha: float) -> None:
    if not 0 < alpha < 0.5:
        raise UsageError(f"--alpha: saw {alpha:g}, expected a chance above 0 and below 0.5, such as 0.05.")
