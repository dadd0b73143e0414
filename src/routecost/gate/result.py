"""What a check finds, as values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["pass", "fail", "undecided"]
Side = Literal["base", "current"]
Scope = Literal["all", "task", "feature", "model"]


@dataclass(frozen=True)
class Change:
    """What a request of some traffic cost before and costs now, in USD, over the requests that have a price.

    increase: of the mean cost (0.18: 18 % more); None where the baseline has nothing. difference_usd: the same in USD.
    low, high: the one-sided lower and upper bounds of `increase` at level alpha. detectable: the smallest increase that
    would be found in 80 % of repeats with so many requests; None where nothing can be told. paired: from the same
    requests on both sides. groups: how many independent units stand behind it (the smaller side).
    """

    scope: Scope
    name: str | None
    base_requests: int
    current_requests: int
    base_usd: float | None
    current_usd: float | None
    increase: float | None
    difference_usd: float | None
    low: float | None
    high: float | None
    detectable: float | None
    alpha: float
    paired: bool = False
    groups: int = 0


@dataclass(frozen=True)
class Rule:
    """One line of a policy. key: as it stands in routecost.toml (`max_increase`, `max_usd_per_request`, ...); name:
    what it is applied to (a task, a feature, a model; None: everything); limit: in the unit of the key."""

    key: str
    limit: float | str | None
    name: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a rule. message: one sentence with what was seen, and against what. to_do: how to go on."""

    rule: Rule
    verdict: Verdict
    message: str
    to_do: str = ""
    change: Change | None = None


@dataclass(frozen=True)
class Part:
    """A part of the change of total cost: `kind` is one of decompose.KINDS; all parts sum to the whole exactly."""

    kind: str
    usd: float
    share: float | None


@dataclass(frozen=True)
class Mover:
    """A cell (task and model) or a feature and what it adds to the change, with a sentence that says why."""

    scope: Literal["cell", "feature"]
    name: str
    usd: float
    share: float | None
    sentence: str


@dataclass(frozen=True)
class Why:
    """The change of the total cost at the current number of requests, taken apart. total_usd: current less base, both
    priced on the same day, per the current volume; headline: the change in words."""

    total_usd: float
    parts: tuple[Part, ...]
    cells: tuple[Mover, ...]
    features: tuple[Mover, ...]
    headline: str
    live_prices: Part | None = None


@dataclass(frozen=True)
class Baseline:
    """Where the baseline comes from: what `baseline update` wrote beside its counts, null where nothing did."""

    path: str
    updated: dt.datetime | None = None
    by: str | None = None
    reason: str | None = None
    commit: str | None = None


@dataclass(frozen=True)
class Check:
    """The answer of `routecost check`.

    verdict: fail where a rule fails, else undecided where one is, else pass. exit_code: 0, 1 or 4, with --on-undecided
    already applied. changes: overall first, then by task and by feature. priced_on: the day whose prices both sides
    have. sides: requests, priced requests and cost of each.
    """

    verdict: Verdict
    exit_code: int
    outcomes: tuple[Outcome, ...]
    changes: tuple[Change, ...]
    why: Why
    baseline: Baseline
    current: str
    priced_on: dt.date
    book_version: str
    alpha: float
    detect: float
    sides: Mapping[Side, Mapping[str, float]]
    on_undecided: Verdict = "undecided"
    notes: tuple[str, ...] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
