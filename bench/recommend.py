"""How often a recommendation is wrong: simulated grades of models whose true quality is known.

    python bench/recommend.py --write            # 2,000 runs of each, about ten minutes on two cores; RECOMMEND.md

Four tasks, a reference of score 0.9 and three candidates, the dearest of them half as dear as the reference. The
program's own `choose` decides every cell. Two worlds for wrong switches: every candidate is worse than the reference by
exactly the mode's margin at every task; and each candidate is better by 0.05 at three tasks and worse by the margin at
the fourth (another one for each). A switch to a model that is worse by the margin at that task is wrong.
"""

from __future__ import annotations

import argparse
import itertools
import math
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from routecost.recommend.choose import MARGINS, Offer, choose
from routecost.recommend.evidence import Evidence, Graded
from routecost.stats import Grades, Pairs, difference_bounds

TASKS = ("simple", "code", "reasoning", "complex")
CANDIDATES = ("small", "medium", "tuned")
REFERENCE = "reference"
SCORE = 0.9
BETTER = 0.05
OFFERS = [Offer("small", 1.0, 1.0), Offer("medium", 2.0, 2.0), Offer("tuned", 5.0, 5.0), Offer(REFERENCE, 10.0, 10.0)]
SIZES = (10, 30, 100, 1000)
SEED = 20261124


def graded(rng: np.random.Generator, n: int, score: float, kind: str) -> Grades:
    """n grades of a true mean: right or wrong; spread over 0 to 1 (beta, a + b = 5); or good ones with a rare 0."""
    if kind == "right or wrong":
        k = int(rng.binomial(n, score))
        return Grades(n, k / n, float(k))
    if kind == "spread":
        x = rng.beta(5 * score, 5 * (1 - score), n)
    else:
        fails = 1 - score / 0.97
        x = np.where(rng.random(n) < fails, 0.0, 0.97)
    return Grades(n, float(x.mean()), float((x * x).sum()))


def truth(world: str, margin: float) -> dict[tuple[str, str], float]:
    """(task, model) -> true mean score."""
    found = {(t, REFERENCE): SCORE for t in TASKS}
    for i, model in enumerate(CANDIDATES):
        for k, task in enumerate(TASKS):
            worse = world == "worse everywhere" or k == i
            found[task, model] = SCORE - margin if worse else SCORE + BETTER
    return found


def evidence_of(grades: dict[tuple[str, str], Grades]) -> Evidence:
    return Evidence({k: {"bench": Graded(*k, "bench", None, g)} for k, g in grades.items()})


def by_points(grades: dict[tuple[str, str], Grades], task: str, margin: float) -> str:
    """What deciding on the scores alone takes: the cheapest that is not seen to be worse by the margin."""
    floor = grades[task, REFERENCE].score - margin
    return next((m for m in CANDIDATES if grades[task, m].score > floor), REFERENCE)


def by_mean(grades: dict[tuple[str, str], Grades], margin: float) -> dict[str, str]:
    """What a floor on the mean takes: the cheapest table whose mean score is not below the reference's by more."""
    floor = sum(grades[t, REFERENCE].score for t in TASKS) / len(TASKS) - margin
    cost = {o.model: o.cost_usd for o in OFFERS}
    best = min(
        (
            table
            for table in itertools.product((*CANDIDATES, REFERENCE), repeat=len(TASKS))
            if sum(grades[t, m].score for t, m in zip(TASKS, table, strict=True)) / len(TASKS) > floor
        ),
        key=lambda table: sum(cost[m] for m in table),
    )
    return dict(zip(TASKS, best, strict=True))


def wrong(job: tuple[str, str, str, int, int]) -> tuple[tuple[str, str, str, int, int], dict[str, list[int]]]:
    """Of `runs`, how many switched wrongly, task by task: by the program, by points, by the mean."""
    world, mode, kind, n, runs = job
    margin = MARGINS[mode]
    true = truth(world, margin)
    rng = np.random.default_rng([SEED, n, len(world), len(mode), len(kind)])
    counts = {name: [0] * len(TASKS) for name in ("ours", "points", "mean")}
    for _ in range(runs):
        grades = {key: graded(rng, n, score, kind) for key, score in true.items()}
        found = evidence_of(grades)
        mean = by_mean(grades, margin)
        for k, task in enumerate(TASKS):
            taken = {
                "ours": choose(task, mode, OFFERS, REFERENCE, found).model,
                "points": by_points(grades, task, margin),
                "mean": mean[task],
            }
            for name, model in taken.items():
                counts[name][k] += true[task, model] < SCORE - margin + 1e-9
    return job, counts


def power(job: tuple[str, int, str, int]) -> tuple[tuple[str, int, str, int], tuple[int, int]]:
    """Of `runs`, how many took a candidate that is truly as good as the reference and ten times cheaper, beside two
    that are worse by twice the margin: by the program, and by points."""
    mode, n, kind, runs = job
    margin = MARGINS[mode]
    rng = np.random.default_rng([SEED, n, len(kind)])
    ours = points = 0
    task = TASKS[0]
    true = {"small": SCORE, "medium": SCORE - 2 * margin, "tuned": SCORE - 2 * margin, REFERENCE: SCORE}
    for _ in range(runs):
        grades = {(task, m): graded(rng, n, s, "right or wrong") for m, s in true.items()}
        if kind == "apart":
            found = evidence_of(grades)
        else:
            # pairs: 5 % discordant where both are as good, and for the others what their difference needs besides
            pairs = {}
            for m, s in true.items():
                if m != REFERENCE:
                    loses = 0.025 + (SCORE - s)
                    b, c, _ = rng.multinomial(n, [0.025, loses, 1 - 0.025 - loses])
                    pairs[task, m, REFERENCE] = {"bench": (Pairs(n, (b - c) / n, float(b + c)), None)}
            found = Evidence(evidence_of(grades).graded, pairs)
        ours += choose(task, mode, OFFERS, REFERENCE, found).model == "small"
        points += by_points(grades, task, margin) == "small"
    return job, (ours, points)


def exact(margin: float, n: int) -> float:
    """The chance that any of three candidates that are worse by the margin passes, over all outcomes of right-or-wrong
    grades, by the program's own bounds: no simulation."""

    def likely(p: float) -> tuple[np.ndarray, np.ndarray]:
        k = np.arange(n + 1)
        logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in range(n + 1)]
        chance = np.exp(np.array(logs) + k * math.log(p) + (n - k) * math.log(1 - p))
        kept = chance > 1e-12
        return k[kept], chance[kept]

    (mine, of_mine), (other, of_other) = likely(SCORE - margin), likely(SCORE)
    pairs = [(Grades(n, i / n), Grades(n, j / n)) for i in mine for j in other]
    level = 0.05 / len(CANDIDATES)
    lows = difference_bounds([a for a, _ in pairs], [b for _, b in pairs], level).reshape(len(mine), len(other))
    passes = of_mine @ (lows > -margin)
    return float((of_other * (1 - (1 - passes) ** len(CANDIDATES))).sum())


def percent(k: float, runs: int) -> str:
    return f"{100 * k / runs:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--write", action="store_true", help="write RECOMMEND.md")
    args = parser.parse_args()
    worlds = ("worse everywhere", "better at three, worse at the fourth")
    kinds = ("right or wrong", "spread", "rare zeros")
    jobs = [(w, m, k, n, args.runs) for k in kinds for w in worlds for m in MARGINS for n in SIZES]
    powers = [
        ("eco", 100, "apart", args.runs),
        ("eco", 300, "apart", args.runs),
        ("balanced", 1000, "apart", args.runs),
        ("balanced", 3000, "apart", args.runs),
        ("balanced", 300, "pairs", args.runs),
        ("balanced", 900, "pairs", args.runs),
    ]
    with ProcessPoolExecutor(2) as pool:
        wrongs = dict(pool.map(wrong, jobs))
        found = dict(pool.map(power, powers))
    limit = 0.05 + 1.645 * math.sqrt(0.05 * 0.95 / args.runs)
    about = (__doc__ or "").split("\n\n")[2]
    lines = [
        "# Is a recommendation right?",
        "",
        f"`python bench/recommend.py --runs {args.runs} --write`, seed {SEED}. " + " ".join(about.split()),
        "",
        f"## Wrong switches, % of {args.runs:,} runs",
        "",
        "`cell`: the mean of the four cells; `worst`: the worst of them; `exact`: over all outcomes, without chance, "
        "where every candidate is worse by the margin. The others are the worst of their cells: `points`, the cheapest "
        "model whose score is not seen to be worse by the margin; `mean`, the cheapest table whose mean score is not "
        "seen to be. At a true rate of 5 % the worst of many may "
        f"show {100 * limit:.1f} %.",
        "",
        "| grades | world | mode (margin) | n a cell | cell | worst | exact | points | mean |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for (world, mode, kind, n, runs), counts in wrongs.items():
        worst = {name: max(c) for name, c in counts.items()}
        sure = kind == "right or wrong" and world == worlds[0]
        whole = percent(100 * exact(MARGINS[mode], n), 100) if sure else "-"
        lines.append(
            f"| {kind} | {world} | {mode} ({MARGINS[mode]:g}) | {n:,} "
            f"| {percent(sum(counts['ours']) / len(TASKS), runs)} | {percent(worst['ours'], runs)} | {whole} "
            f"| {percent(worst['points'], runs)} | {percent(worst['mean'], runs)} |"
        )
    lines += [
        "",
        "Spread: beta-distributed scores with the sum of their squares; rare zeros: 0.97, and a 0 now and then, as "
        "judges give them. Both would fool a t test on few answers.",
        "",
        f"## Power, % of {args.runs:,} runs",
        "",
        "A candidate that is truly as good as the reference (0.9) and ten times cheaper is taken, beside two that are "
        "worse by twice the margin. Pairs: 5 % discordant.",
        "",
        "| mode (margin) | evidence | n | routecost | points |",
        "|---|---|---:|---:|---:|",
    ]
    for (mode, n, kind, runs), (ours, points) in found.items():
        shown = percent(points, runs) if kind == "apart" else "-"
        lines.append(f"| {mode} ({MARGINS[mode]:g}) | {kind} | {n:,} | {percent(ours, runs)} | {shown} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if args.write:
        Path(__file__).with_name("RECOMMEND.md").write_text(text)


if __name__ == "__main__":
    main()
