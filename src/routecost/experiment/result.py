"""What a comparison of two arms finds, as values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from routecost.experiment.metrics import Metric

Verdict = Literal["expand", "roll back", "hold"]
EXIT: Final[Mapping[Verdict, int]] = {"expand": 0, "roll back": 1, "hold": 4}
Bounds = tuple[float, float]


@dataclass(frozen=True)
class Arm:
    """One arm: its name in the log, requests, units (users, sessions), and the model that most of it ran on."""

    name: str
    requests: int
    units: int
    model: str | None


@dataclass(frozen=True)
class Compared:
    """One metric of some traffic in both arms.

    control, treatment: the value in each arm, None where nothing is known; n: how many requests have one. effect:
    treatment - control, or treatment / control - 1 where the metric is relative. fixed: its two-sided interval at level
    `alpha_fixed`, for somebody who looks once at one figure; always: at level `alpha`, at every look at once. margin:
    how much worse is fine. Nulls where an arm has too little, and `reason` says what.
    """

    metric: Metric
    control: float | None
    treatment: float | None
    n: tuple[int, int]
    effect: float | None
    fixed: Bounds | None
    always: Bounds | None
    alpha_fixed: float
    alpha: float
    margin: float | None = None
    reason: str | None = None

    @property
    def harm(self) -> tuple[float, float, float] | None:
        """Estimate, lower and upper always-valid bound of how much worse the treatment is."""
        if self.effect is None or self.always is None or self.metric.better is None:
            return None
        if self.metric.better == "lower":
            return self.effect, *self.always
        return -self.effect, -self.always[1], -self.always[0]


@dataclass(frozen=True)
class Slice:
    """Traffic to send back: a task (None: all), in a feature where it is only one, to the control's model."""

    task: str | None
    feature: str | None
    model: str


@dataclass(frozen=True)
class Judged:
    """All metrics of a task (or of everything: `is_whole`), and what follows. slice: what to roll back."""

    task: str | None
    is_whole: bool
    requests: tuple[int, int]
    units: tuple[int, int]
    metrics: tuple[Compared, ...]
    verdict: Verdict
    reason: str
    slice: Slice | None = None


@dataclass(frozen=True)
class Mismatch:
    """Units in each arm against the share that was meant for the control. Below p = 0.001 something loses or moves
    units, and no comparison of the arms means anything."""

    expected: float
    seen: float
    chi_square: float
    p: float

    @property
    def is_broken(self) -> bool:
        return self.p < 0.001


@dataclass(frozen=True)
class Balance:
    """What the treatment cannot have changed, in both arms: a task's share of requests, or the mean of log(1 + input
    tokens). effect: as a difference of shares, or relative; p: that it is chance, by cluster-robust errors."""

    name: str
    control: float
    treatment: float
    effect: float
    p: float
    is_off: bool


@dataclass(frozen=True)
class Experiment:
    """The answer of `routecost experiment`. alpha: over all tasks and guards; tests: how many of these there are, so
    that each has alpha / tests. days: the first and the last. counts: requests that are in no arm, in both, and so on.
    damaged: files that could not be read to their end.
    """

    verdict: Verdict
    exit_code: int
    arms: tuple[Arm, Arm]
    whole: Judged
    tasks: tuple[Judged, ...]
    mismatch: Mismatch | None
    balance: tuple[Balance, ...]
    alpha: float
    tests: int
    unit: str
    days: tuple[dt.date, dt.date] | None
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    book_version: str | None = None

    @property
    def slices(self) -> tuple[Slice, ...]:
        return tuple(s for s in (*(t.slice for t in self.tasks), self.whole.slice) if s is not None)
