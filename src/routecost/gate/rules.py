"""The rules of a check, as people write them: `5%`, `task:code=10%`, `$0.0002`, `5% and $0.0002`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from routecost.errors import UsageError

Per = Literal["request", "day", "month"]

DEFAULT_INCREASE: Final = "5%"
DAYS: Final = {"day": 1.0, "week": 7.0, "month": 30.0, "year": 365.0}


@dataclass(frozen=True)
class Increase:
    """How much dearer a request may get. scope: everything, one task or one feature (a glob); share: 0.05 is 5 %; usd:
    per request. Where both are given both must be passed for the rule to fail: the first says that it matters to the
    service, the second that it matters at all."""

    scope: Literal["all", "task", "feature"]
    name: str | None
    share: float | None
    usd: float | None

    def __str__(self) -> str:
        limits: list[str] = []
        if self.share is not None:
            limits.append(f"{100 * self.share:g}%")
        if self.usd is not None:
            limits.append(f"${self.usd:g}")
        where = "" if self.scope == "all" else f"{self.scope}:{self.name}="
        return where + " and ".join(limits)


@dataclass(frozen=True)
class Budget:
    """What may be spent: USD a request, or a day or month at a given volume."""

    usd: float
    per: Per

    def __str__(self) -> str:
        return f"${self.usd:g}/{self.per}"


@dataclass(frozen=True)
class Policy:
    """Everything that a check tests. increases, budgets, total (increase of the total in USD a day or month) and
    min_saving are statistical and share alpha; the others are matters of fact.

    requests_per_day: the volume of `total` and of budgets a day or month. max_unpriced: the share of billable requests
    without a price above which nothing can be decided. on_undecided: what an undecided check is taken for.
    """

    increases: tuple[Increase, ...] = (Increase("all", None, 0.05, None),)
    budgets: tuple[Budget, ...] = ()
    total: Budget | None = None
    min_saving: float | None = None
    requests_per_day: float | None = None
    no_unpriced: bool = False
    max_unpriced: float = 0.05
    allow: tuple[str, ...] = ()
    alpha: float = 0.05
    detect: float = 0.20
    on_undecided: Literal["pass", "fail", "undecided"] = "undecided"


def parse_increase(text: str) -> Increase:
    """`5%`, `$0.0002`, `5% and $0.0002`, `task:code=10%`, `feature:billing-*=10%`. Raises UsageError."""
    where, sign, limits = text.rpartition("=")
    scope: Literal["all", "task", "feature"] = "all"
    name = None
    if sign:
        kind, colon, name = where.strip().partition(":")
        if kind not in ("task", "feature") or not colon or not name:
            raise UsageError(
                f"--max-increase: saw {text!r}, expected task:NAME=LIMIT or feature:NAME=LIMIT before the =, such as "
                "task:code=10%."
            )
        scope = "task" if kind == "task" else "feature"
    share = usd = None
    for part in re.split(r"\s+and\s+|\s*&\s*", limits.strip()):
        if (found := re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", part)) and share is None:
            share = float(found[1]) / 100
        elif (found := re.fullmatch(r"\$\s*(\d+(?:\.\d+)?(?:e-?\d+)?)", part)) and usd is None:
            usd = float(found[1])
        else:
            raise UsageError(
                f"--max-increase: saw {text!r}, expected a percentage, dollars a request, or both, such as 5%, $0.0002 "
                "or '5% and $0.0002'."
            )
    return Increase(scope, name, share, usd)


def parse_budget(option: str, text: str, *, per: Sequence[str] = ("request", "day", "month")) -> Budget:
    """`$0.004/request`, `12000/month`. Raises UsageError."""
    found = re.fullmatch(r"\$?\s*([\d,]+(?:\.\d+)?(?:e-?\d+)?)\s*([kKmM]?)\s*/\s*([a-z]+)", text.strip())
    unit = found[3] if found else ""
    if found is None or unit not in (*per, *(["week", "year"] if "day" in per else [])):
        raise UsageError(f"{option}: saw {text!r}, expected dollars per {', '.join(per)}, such as $12000/{per[-1]}.")
    usd = float(found[1].replace(",", "")) * {"": 1, "k": 1e3, "m": 1e6}[found[2].lower()]
    if unit in ("week", "year"):
        return Budget(usd / DAYS[unit], "day")
    return Budget(usd, "request" if unit == "request" else "day" if unit == "day" else "month")


def parse_share(option: str, text: str) -> float:
    """`20%` or `0.2` -> 0.2. Raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text.strip())
    value = float(found[1]) / (100 if found and found[2] else 1) if found else -1.0
    if not 0 <= value <= 1:
        raise UsageError(f"{option}: saw {text!r}, expected a share such as 20% or 0.2.")
    return value
