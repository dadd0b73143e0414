"""Intervals that stay right however often one looks, for differences between two sets of clustered requests."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final, Literal

import numpy as np

from routecost.stats.change import t_upper

Sides = Literal[1, 2]

_STEPS: Final = 200
# Of the mixture: weight, and variance against that of the planned size.
_SCALES: Final = ((0.8, 1.0), (0.2, 100.0))
# Of Student's t beyond this many degrees of freedom nothing is left to see.
_MANY: Final = 100_000
# A tail so thin comes at the very first looks only, which decide nothing; t_upper has no digits left there.
_LEAST: Final = 1e-100


@dataclass(frozen=True)
class Moments:
    """Sums over the units of one arm (users, sessions) of their requests n and of a measure over these: all that a
    mean of clustered requests and its error need. `+` adds other units."""

    units: int = 0
    n: float = 0.0
    total: float = 0.0
    n_square: float = 0.0
    total_square: float = 0.0
    cross: float = 0.0

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.units + other.units,
            self.n + other.n,
            self.total + other.total,
            self.n_square + other.n_square,
            self.total_square + other.total_square,
            self.cross + other.cross,
        )

    @property
    def mean(self) -> float | None:
        """Of a request; None without one."""
        return self.total / self.n if self.n > 0 else None

    @property
    def variance(self) -> float | None:
        """Of the mean, by the delta method over units; None with fewer than two."""
        if self.units < 2 or self.mean is None:
            return None
        squares = self.total_square - 2 * self.mean * self.cross + self.mean**2 * self.n_square
        return max(squares, 0.0) / self.n**2 * self.units / (self.units - 1)


def moments(totals: Any, requests: Any) -> Moments:
    """Of one value a unit: the sum of the measure, and the requests that have it. Units without one are left out."""
    n = np.asarray(requests, dtype=np.float64)
    s = np.asarray(totals, dtype=np.float64)[n > 0]
    n = n[n > 0]
    # not n @ n, whose threads wait for each other longer than the sum takes
    squares = [float((a * b).sum()) for a, b in ((n, n), (s, s), (n, s))]
    return Moments(len(n), float(n.sum()), float(s.sum()), *squares)


@dataclass(frozen=True)
class Effect:
    """What differs between two arms, its standard error, and the degrees of freedom of that.

    early_error: what intervals for many looks are made of where it is larger. At the first looks a small arm without
    its dearest requests has a low mean and a low error at once."""

    estimate: float
    standard_error: float
    df: float
    early_error: float = 0.0

    @property
    def error_at_looks(self) -> float:
        return max(self.standard_error, self.early_error)


def difference(control: Moments, treatment: Moments, *, rate: bool = False) -> Effect | None:
    """treatment - control of the means of a request. Units are independent of each other, not the requests of a unit.

    rate: the measure is 0 or 1; few or no events have a variance near 0, so that then no arm is believed to vary less
    than one more event and one more other would (`_least`; Agresti and Caffo, Am. Stat. 2000).
    None where an arm has fewer than two units.
    """
    sides = [(arm.variance, arm.mean) for arm in (control, treatment)]
    if any(v is None or m is None for v, m in sides):
        return None
    errors = [v for v, _ in sides if v is not None]
    if rate:
        least = _least(control, treatment, errors)
        errors = [max(v, w) for v, w in zip(errors, least, strict=True)]
    before, after = (m for _, m in sides if m is not None)
    df = _welch(errors, control.units, treatment.units)
    if rate:
        return Effect(after - before, math.sqrt(sum(errors)), df)
    scales = (before, after) if min(before, after) > 0 else (1.0, 1.0)
    return Effect(after - before, math.sqrt(sum(errors)), df, _early(errors, scales, control, treatment))


def _least(control: Moments, treatment: Moments, errors: list[float]) -> list[float]:
    """The variances of two rates with one more event and one more other, each counted as `together` requests.

    together: how many independent requests one is worth whose unit tends to do the same (the design effect). Of both
    arms, as a small arm may have nothing to see; and as if one unit more had been seen that does the same throughout,
    as units that never complained have not shown what one that does would do. Requests that are their own units: 1.
    """
    n, total = control.n + treatment.n, control.total + treatment.total
    rare = min(total, n - total)
    unit = (control.n_square + treatment.n_square) / n
    together = unit
    if rare > 0:
        spread = errors[0] * control.n**2 + errors[1] * treatment.n**2
        alike = max(spread / (total * (1 - total / n)), 1.0)
        together = max((rare + unit) / (rare / alike + 1), 1.0)
    found = []
    for arm in (control, treatment):
        share = (arm.total + together) / (arm.n + 2 * together)
        found.append(share * (1 - share) * together / (arm.n + 2 * together))
    return found


def log_ratio(control: Moments, treatment: Moments) -> Effect | None:
    """log(treatment / control) of the means of a request, by the delta method; None too where a mean is not above 0."""
    c, t = control, treatment
    if c.mean is None or t.mean is None or c.variance is None or t.variance is None or min(c.mean, t.mean) <= 0:
        return None
    errors = [c.variance / c.mean**2, t.variance / t.mean**2]
    df = _welch(errors, c.units, t.units)
    return Effect(math.log(t.mean / c.mean), math.sqrt(sum(errors)), df, _early(errors, (1.0, 1.0), c, t))


def _early(errors: list[float], scales: tuple[float, float], control: Moments, treatment: Moments) -> float:
    """The error if no arm varies less, for its scale, than a request does on both sides together."""
    relative = [v / s**2 for v, s in zip(errors, scales, strict=True)]
    sizes = control.n, treatment.n
    pooled = sum(v * n * n for v, n in zip(relative, sizes, strict=True)) / sum(sizes)
    return math.sqrt(sum(max(v, pooled / n) * s**2 for v, n, s in zip(relative, sizes, scales, strict=True)))


def _welch(errors: list[float], first: int, second: int) -> float:
    """Satterthwaite's degrees of freedom of a sum of two variances."""
    below = errors[0] ** 2 / (first - 1) + errors[1] ** 2 / (second - 1)
    return sum(errors) ** 2 / below if below > 0 else float(min(first, second) - 1)


def fixed_bounds(effect: Effect, alpha: float) -> tuple[float, float]:
    """The two-sided interval of somebody who looks once: Student's t."""
    half = t_upper(alpha / 2, effect.df if effect.df < _MANY else math.inf) * effect.standard_error
    return effect.estimate - half, effect.estimate + half


def tuned(alpha: float, sides: Sides = 2) -> float:
    """The variance of the mixture, in units of the estimate's own variance, at which the boundary is tightest.

    Two-sided: x = log(x + 1) - 2 log(alpha). One-sided: the same of 2 alpha, as the paper of `errors_allowed` takes it.
    """
    level = alpha if sides == 2 else 2 * alpha
    if not 0 < level < 1:
        raise ValueError(f"expected an alpha between 0 and {1 / (3 - sides):g}, saw {alpha}")
    x = -2 * math.log(level) + 1
    for _ in range(_STEPS):
        x = math.log1p(x) - 2 * math.log(level)
    return x


def errors_allowed(progress: float, alpha: float, sides: Sides = 2, df: float = math.inf) -> float:
    """How many standard errors from its true value an estimate stays at all times, with probability 1 - alpha.

    The asymptotic confidence sequence with a normal mixture of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (Time-
    uniform central limit theory and asymptotic confidence sequences, Ann. Stat. 2024; arXiv 2103.06476), which is a
    boundary for Brownian motion: sqrt((x + 1) / x * log((x + 1) / alpha^2)), or with one side
    sqrt(2 (x + 1) / x * log(1 + sqrt(x + 1) / (2 alpha))). x = progress * tuned(alpha).

    progress: the information there is (requests, units, 1 / variance) as a share of what was planned; the plan must not
    depend on what was seen. The boundary is tightest at 1: 3.04 errors at 5 %, where one look would need 1.96.
    df: of the standard error, see `_as_t`.
    """
    if not 0 < progress < math.inf:
        return math.inf
    x = progress * tuned(alpha, sides)
    if sides == 2:
        z = math.sqrt((x + 1) / x * (math.log1p(x) - 2 * math.log(alpha)))
    else:
        z = math.sqrt(2 * (x + 1) / x * math.log1p(math.sqrt(x + 1) / (2 * alpha)))
    return _as_t(z, df)


def _as_t(z: float, df: float) -> float:
    """The value of Student's t with the tail that z has of a normal: with few units an error is uncertain, too."""
    if df >= _MANY:
        return z
    tail = math.erfc(z / math.sqrt(2)) / 2
    return t_upper(tail, df) if tail > _LEAST else math.inf


def errors_allowed_early(progress: float, alpha: float, df: float = math.inf) -> float:
    """As `errors_allowed` with two sides, and nearly as tight for differences ten times as large, long before.

    One mixture is slow where the truth is far larger than what was planned for: a canary that breaks half of all
    answers would be seen no sooner than its interval shrinks. So a fifth of alpha's weight stands at ten times the
    size: where sum w (1 + x)^-1/2 exp(z^2 / 2 * x / (1 + x)) reaches 1 / alpha, itself a mixture of normals, to which
    the same theorem applies. It costs 3 % of the width at the planned end.
    """
    if not 0 < progress < math.inf:
        return math.inf
    x = progress * tuned(alpha)
    parts = [(weight, x * factor) for weight, factor in _SCALES]
    low = 0.0
    # one part alone reaches it there
    high = min(math.sqrt((v + 1) / v * (math.log1p(v) - 2 * math.log(alpha * w))) for w, v in parts)
    for _ in range(60):
        z = (low + high) / 2
        logs = [math.log(w) - math.log1p(v) / 2 + z * z / 2 * v / (1 + v) for w, v in parts]
        most = max(logs)
        over = most + math.log(sum(math.exp(one - most) for one in logs)) + math.log(alpha) > 0
        low, high = (low, z) if over else (z, high)
    return _as_t(high, df)


def always_bounds(effect: Effect, progress: float, alpha: float) -> tuple[float, float]:
    """The two-sided interval that holds at every look at once, with probability 1 - alpha (`errors_allowed_early`)."""
    if effect.error_at_looks == 0:
        return effect.estimate, effect.estimate
    half = errors_allowed_early(progress, alpha, effect.df) * effect.error_at_looks
    return effect.estimate - half, effect.estimate + half


def always_below(effect: Effect, progress: float, alpha: float) -> float:
    """The one-sided upper bound that holds at every look at once; `-always_below` of the turned effect is the lower."""
    if effect.error_at_looks == 0:
        return effect.estimate
    return effect.estimate + errors_allowed(progress, alpha, 1, effect.df) * effect.error_at_looks


def progress_to(width: float, effect: Effect, alpha: float) -> float:
    """The progress of a boundary that is tightest where its half width is `width`, such as the margin of a decision:
    a plan that needs no size. (Information is the inverse of the variance.)"""
    if effect.error_at_looks == 0:
        return math.inf
    planned = width / errors_allowed_early(1.0, alpha)
    return (planned / effect.error_at_looks) ** 2


def times_the_size(alpha: float, power: float, sides: Sides = 2) -> float:
    """How many times the sample of one look a planned end needs that is looked at all along, to find the same
    difference with the same power. Earlier ends are not counted, so that it is a little too much."""
    z = NormalDist().inv_cdf
    found, once = z(power), z(1 - alpha / sides)
    always = errors_allowed_early(1.0, alpha) if sides == 2 else errors_allowed(1.0, alpha, 1)
    return ((always + found) / (once + found)) ** 2
