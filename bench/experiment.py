"""How often an experiment is wrong that is looked at every day, and what it finds: simulated arms.

    python bench/experiment.py --write           # 1,000 runs of each, some minutes on two cores; EXPERIMENT.md

Thirty days, a look after each. Requests come evenly; thumbs-down is 4 % unless told. Units: every request its own; or
sessions of 30 requests on one day; or users who come back every day with one request in the mean. In the last two the
requests of a unit have an intra-class correlation of 0.3 (a beta-distributed rate a unit: most never complain, a few
do so always). Costs are log-normal with a coefficient of variation of 1.5. The program's own intervals decide, at 5 %.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from routecost.stats import Grades, difference_bounds
from routecost.stats.sequence import (
    Effect,
    Moments,
    always_bounds,
    difference,
    fixed_bounds,
    log_ratio,
    progress_to,
    times_the_size,
)

DAYS = 30
ALPHA = 0.05
MARGIN = 0.01
# the scale of a cost per request, that has no margin
WIDE = 0.1
RATE = 0.04
ICC = 0.3
SESSION = 30
CV = 1.5
# of somebody who looks once, to find 4 % against 6 % at 5 % two-sided with 80 % power
ONCE = 1860
CHUNK = 200
# the two-sided normal point of ALPHA, a little less
ONE_LOOK = 1.95
SEED = 20261124

Floats = np.ndarray
Measure = Literal["rate", "cost", "log of cost"]
MEANS: tuple[Measure, ...] = ("cost", "log of cost")


@dataclass(frozen=True)
class World:
    """unit: request, session or user. sizes: requests of the arms in 30 days, as planned. truth: of the arms."""

    unit: str
    sizes: tuple[int, int]
    truth: tuple[float, float]
    measure: Measure = "rate"
    runs: int = 1000

    @property
    def width(self) -> float:
        return MARGIN if self.measure == "rate" else WIDE

    @property
    def difference(self) -> float:
        before, after = self.truth
        return math.log(after / before) if self.measure == "log of cost" else after - before


@dataclass(frozen=True)
class Found:
    """Shares of runs. missed: the truth outside the interval. always: at any look, planned by size, and by margin;
    daily, end: the fixed interval at any look, and at the last one. worse: always (by size, by margin) and fixed at
    the end are above 0. days: the median first day of those (by size). expand, back: always-valid verdicts."""

    missed_always: tuple[float, float]
    missed_daily: float
    missed_end: float
    worse: tuple[float, float]
    worse_end: float
    days: float
    expand: float
    back: float


def arm(rng: np.random.Generator, world: World, size: int, truth: float, runs: int) -> Floats:
    """(runs, days, 6): the fields of Moments of everything up to each day."""
    if world.unit == "request":
        n = rng.multinomial(size, [1 / DAYS] * DAYS, runs)
        if world.measure == "rate":
            k = rng.binomial(n, truth)
            return np.stack([n, n, k, n, k, k], axis=-1).cumsum(axis=1).astype(float)
        sigma = math.sqrt(math.log(1 + CV**2))
        cost = rng.lognormal(math.log(truth) - sigma**2 / 2, sigma, (runs, size))
        ends = n.cumsum(axis=1) - 1
        one, square = (np.take_along_axis(x.cumsum(axis=1), np.maximum(ends, 0), axis=1) for x in (cost, cost**2))
        n = n.cumsum(axis=1)
        return np.stack([n, n, one, n, square, one], axis=-1).astype(float)
    units = size // SESSION
    shared = (1 / ICC - 1) * truth, (1 / ICC - 1) * (1 - truth)
    if world.unit == "session":
        k = rng.binomial(SESSION, rng.beta(*shared, (runs, units)))
        cell = rng.integers(0, DAYS, (runs, units)) + np.arange(runs)[:, None] * DAYS
        whole = [np.ones_like(k), np.full_like(k, SESSION), k, np.full_like(k, SESSION**2), k * k, k * SESSION]
        sums = [np.bincount(cell.ravel(), x.ravel(), runs * DAYS).reshape(runs, DAYS) for x in whole]
        return np.stack(sums, axis=-1).cumsum(axis=1)
    n = rng.poisson(SESSION / DAYS, (runs, units, DAYS))
    k = rng.binomial(n, rng.beta(*shared, (runs, units))[..., None])
    n, k = n.cumsum(axis=2), k.cumsum(axis=2)
    return np.stack([x.sum(axis=1) for x in (n > 0, n, k, n * n, k * k, n * k)], axis=-1).astype(float)


def effects(world: World, control: Floats, treatment: Floats) -> Iterator[tuple[int, float, Effect]]:
    """Of one run: day, share of the planned size as the command has it, effect. Days that say nothing are left out."""
    for day, (c, t) in enumerate(zip(control.tolist(), treatment.tolist(), strict=True)):
        arms = Moments(int(c[0]), *c[1:]), Moments(int(t[0]), *t[1:])
        found = log_ratio(*arms) if world.measure == "log of cost" else difference(*arms, rate=world.measure == "rate")
        if found is not None:
            yield day + 1, sum(1 / n for n in world.sizes) / sum(1 / a.n for a in arms), found


def apart(effect: Effect, planned: float | None, width: float, value: float) -> tuple[bool, bool, bool]:
    """Whether the always-valid interval lies apart from a value, above it, below it. planned: the share of the planned
    size; None: by margin. It is wider than that of one look, which most looks need not go beyond."""
    if abs(effect.estimate - value) <= ONE_LOOK * effect.error_at_looks:
        return False, False, False
    progress = progress_to(width, effect, ALPHA) if planned is None else planned
    low, high = always_bounds(effect, progress, ALPHA)
    return not low <= value <= high, low > value, high < value


def score(control: Floats, treatment: Floats, alpha: float) -> Floats:
    """(..., 2): the fixed interval of independent requests, as the command has it (Miettinen and Nurminen)."""
    old, new = ([Grades(int(x[1]), x[2] / x[1]) for x in side.reshape(-1, 6).tolist()] for side in (control, treatment))
    both = difference_bounds(new, old, alpha / 2), -difference_bounds(old, new, alpha / 2)
    return np.stack(both, axis=-1).reshape(*control.shape[:-1], 2)


def run(world: World) -> tuple[World, Found]:
    rng = np.random.default_rng(
        [SEED, len(world.unit), *world.sizes, *(round(t * 1e4) for t in world.truth), len(world.measure)]
    )
    counts = np.zeros((world.runs, 9))
    first = np.full(world.runs, math.inf)
    for start in range(0, world.runs, CHUNK):
        some = min(CHUNK, world.runs - start)
        sides = [arm(rng, world, size, mean, some) for size, mean in zip(world.sizes, world.truth, strict=True)]
        single = world.unit == "request" and world.measure == "rate"
        fixed = score(*sides, ALPHA) if single else [None] * some
        for at, (control, treatment, bounds) in enumerate(zip(*sides, fixed, strict=True), start):
            counts[at], first[at] = watched(world, control, treatment, bounds)
    share = counts.mean(axis=0).tolist()
    caught = first[np.isfinite(first)]
    days = float(np.median(caught)) if len(caught) else math.nan
    return world, Found((share[0], share[1]), *share[2:4], (share[4], share[5]), share[6], days, *share[7:])


def watched(world: World, control: Floats, treatment: Floats, score: Floats | None) -> tuple[list[bool], float]:
    """One run, looked at every day: what `Found` counts, and the day on which the treatment was certainly worse."""
    truth = world.difference
    seen = [False] * 9
    first, verdict = math.inf, ""
    for day, by_size, effect in effects(world, control, treatment):
        for i, planned in enumerate((by_size, None)):
            seen[i] = seen[i] or apart(effect, planned, world.width, truth)[0]
            seen[4 + i] = seen[4 + i] or (truth > 0 and apart(effect, planned, world.width, 0.0)[1])
        if seen[4] and first == math.inf:
            first = day
        low, high = fixed_bounds(effect, ALPHA) if score is None else score[day - 1].tolist()
        seen[2] |= not low <= truth <= high
        seen[3], seen[6] = not low <= truth <= high, low > 0
        # as the command decides; the first verdict stands
        if verdict:
            continue
        if effect.estimate > world.width and apart(effect, None, world.width, 0.0)[1]:
            verdict = "roll back"
        elif effect.estimate < world.width and apart(effect, None, world.width, world.width)[2]:
            verdict = "expand"
    seen[7], seen[8] = verdict == "expand", verdict == "roll back"
    return seen, first


def percent(*shares: float) -> str:
    return " | ".join(f"{100 * s:.1f}" for s in shares)


def name(world: World) -> str:
    what = (
        "cost"
        if world.measure == "cost"
        else "log of cost"
        if world.measure != "rate"
        else f"{100 * world.truth[0]:g} %"
    )
    after = "" if world.truth[0] == world.truth[1] else f" against {100 * world.truth[1]:g} %"
    return f"| {what}{after} | {world.unit} | {world.sizes[0]:,} : {world.sizes[1]:,} "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--write", action="store_true", help="write EXPERIMENT.md")
    args = parser.parse_args()
    times = times_the_size(ALPHA, 0.8)
    ours, bar = math.ceil(times * ONCE), round(2.2 * ONCE)
    # requests of a session repeat each other: as many times more of them
    effect = 1 + (SESSION - 1) * ICC
    same, small = (RATE, RATE), (1000, 19_000)
    equal = [
        *(World("request", (n, n), same) for n in (1000, bar, 40_000)),
        World("request", small, same),
        *(World(unit, sizes, same) for unit in ("session", "user") for sizes in ((1000, 1000), (bar, bar), small)),
        *(World(unit, (bar, bar), (0.005, 0.005)) for unit in ("request", "session")),
        *(World("request", n, (1.0, 1.0), m) for m in MEANS for n in ((200, 200), (bar, bar), small)),
    ]
    worse = [
        *(World("request", (n, n), (RATE, 0.06)) for n in (ONCE, ours, bar)),
        *(World(unit, (round(n * effect),) * 2, (RATE, 0.06)) for unit in ("session", "user") for n in (ours,)),
    ]
    edge = [
        *(World("request", (n, n), (RATE, RATE + MARGIN)) for n in (bar, 20_000)),
        *(World("session", (n, n), (RATE, RATE + MARGIN)) for n in (bar, 40_000)),
        *(World("session", (n, n), (0.005, 0.005 + MARGIN)) for n in (bar, 40_000)),
    ]
    worlds = [replace(w, runs=args.runs) for w in (*equal, *worse, *edge)]
    with ProcessPoolExecutor(2) as pool:
        found = dict(pool.map(run, worlds))
    of = [[(w, found[replace(w, runs=args.runs)]) for w in some] for some in (equal, worse, edge)]
    about = (__doc__ or "").split("\n\n")[2]
    head = "| measure | units | requests an arm "
    lines = [
        "# Is an experiment right that is looked at every day?",
        "",
        f"`python bench/experiment.py --runs {args.runs} --write`, seed {SEED}. " + " ".join(about.split()),
        "",
        "By size: the always-valid interval is tightest at the planned size, here that of day 30. By margin: no size "
        f"is planned, and it is tightest where its half width is the margin ({100 * MARGIN:g} %; for costs "
        f"{100 * WIDE:g} %).",
        "",
        f"## Equal arms: % of {args.runs:,} runs in which a difference is found that is not there",
        "",
        "At 5 % the fixed interval is right at one look and wrong when looked at every day; the always-valid one may "
        "exclude 0 at any look in at most 5 %. It is below, as thirty looks are fewer than all there could be.",
        "",
        head + "| always, by size | always, by margin | fixed, every day | fixed, day 30 |",
        "|---|---|---:|---:|---:|---:|---:|",
        *(f"{name(w)}| {percent(*f.missed_always, f.missed_daily, f.missed_end)} |" for w, f in of[0]),
        "",
        f"## A worse arm: % of {args.runs:,} runs in which it is found by day 30",
        "",
        f"Someone who looks once needs {ONCE:,} requests an arm to find 4 % against 6 % in 80 %. To look every day, "
        f"`times_the_size` plans {times:.2f} times as many ({ours:,}). Sessions and users: times {effect:g}, the "
        "design effect. Day: by size, of the runs that find it. Users who come back tell most of what they can at "
        "once, so that a plan by requests is tightest too late for them. Missed: the always-valid interval (by size) "
        "does not have the true difference at some look.",
        "",
        head + "| always, by size | always, by margin | fixed, day 30 | missed | day (median) |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
        *(f"{name(w)}| {percent(*f.worse, f.worse_end, f.missed_always[0])} | {f.days:g} |" for w, f in of[1]),
        "",
        f"## Worse by exactly the margin: % of {args.runs:,} runs in which the first verdict is this",
        "",
        "`expand` is wrong here, `roll back` is not. Missed: as above, by margin; fixed: the one interval of day 30.",
        "",
        head + "| expand | roll back | hold | missed | fixed, missed |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
        *(
            f"{name(w)}| {percent(f.expand, f.back, 1 - f.expand - f.back, f.missed_always[1], f.missed_end)} |"
            for w, f in of[2]
        ),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if args.write:
        Path(__file__).with_name("EXPERIMENT.md").write_text(text)


if __name__ == "__main__":
    main()
