"""How often `routecost drift` raises a false alarm, and what it finds: simulated traffic in sessions.

    python bench/drift.py --write              # some minutes on two cores; DRIFT.md

A session has 30 requests. It has a task of its own: a request has that task with probability 0.6, else any. Its input
lengths share a factor (log-normal, sigma 0.6) beside each request's own (sigma 0.7), and its confidence shares an
offset. Each day moves the task mix of all its sessions (Dirichlet, concentration 200) and the length of all of them
(sigma 0.05). Sessions are spread over 64 groups, as a usage file does it. The program's own comparison (alpha 0.05, its
limits) decides.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl

from routecost.drift.points import Series, change_points
from routecost.drift.result import Span, worst
from routecost.drift.signals import Side, compare
from routecost.drift.words import Texts, words_signal
from routecost.usage.cells import buckets

SEED = 20261124
TASKS = ("simple", "code", "reasoning", "complex")
MIX = np.array([0.5, 0.2, 0.2, 0.1])
SESSION = 30
START = dt.date(2026, 9, 7)
# What changes on the current side: a shift of the mix from simple to code, of log input length, of confidence.
CHANGES = {
    "nothing": (0.0, 0.0, 0.0),
    "mix: 10 points": (0.10, 0.0, 0.0),
    "mix: 20 points": (0.20, 0.0, 0.0),
    "mix: 30 points": (0.30, 0.0, 0.0),
    "input 1.3 times as long": (0.0, np.log(1.3), 0.0),
    "input 1.6 times as long": (0.0, np.log(1.6), 0.0),
    "confidence 3 points lower": (0.0, 0.0, 0.03),
    "confidence 7 points lower": (0.0, 0.0, 0.07),
}


def side(rng: np.random.Generator, days: int, per_day: int, change: tuple[float, float, float], size: int) -> Side:
    """A side of `days` days with `per_day` requests a day, in sessions of `size`."""
    moved, longer, less = change
    mix = MIX + np.array([-moved, moved, 0, 0])
    sessions = days * per_day // size
    day_of = np.repeat(np.arange(days), -(-sessions // days))[:sessions]
    of_day = rng.dirichlet(mix * 200, days)
    own = np.array([rng.choice(4, p=of_day[d]) for d in day_of])
    day, group = np.repeat(day_of, size), np.repeat(rng.integers(0, 64, sessions), size)
    n = sessions * size
    any_task = (rng.random((n, 1)) > np.cumsum(of_day[day], axis=1)[:, :3]).sum(axis=1)
    task = np.where(rng.random(n) < 0.6, np.repeat(own, size), any_task)
    shared = np.repeat(rng.normal(0, 0.6, sessions), size) + rng.normal(0, 0.05, days)[day]
    tokens = [np.exp(7 + longer + shared + rng.normal(0, 0.7, n)).round(), np.exp(5 + rng.normal(0, 0.8, n)).round()]
    offset = np.repeat(rng.normal(0, 0.08, sessions), size)
    confidence = np.clip(0.9 - less + offset + rng.normal(0, 0.1, n), 0.3, 1.0)
    frame = pl.DataFrame(
        {
            "day": pl.Series([START + dt.timedelta(days=int(d)) for d in range(days)])[day],
            "group": group,
            "task": pl.Series(TASKS)[task],
            "requests": np.ones(n, np.int64),
            "input_tokens": tokens[0].astype(np.int64),
            "output_tokens": tokens[1].astype(np.int64),
        }
    )
    sums = pl.col("requests", "input_tokens", "output_tokens").sum()
    measures = {"input_tokens": tokens[0], "output_tokens": tokens[1], "confidence": confidence}
    return Side(
        Span("side", n, START, START + dt.timedelta(days=days - 1), days, 64),
        frame.group_by("group", "task").agg(sums),
        frame.group_by("day", "task").agg(sums),
        {m: histogram(v) for m, v in measures.items()},
        {"feature": {"help": n}, "model": {"gpt-5.4": n}},
    )


def histogram(values: np.ndarray) -> dict[int, int]:
    bucket, n = np.unique(buckets(values), return_counts=True)
    return dict(zip(bucket.tolist(), n.tolist(), strict=True))


def run(job: tuple[str, int, int, int, int]) -> tuple[tuple[str, int, int, int, int], Counter[str], Counter[str]]:
    """Verdicts, and the signals that were raised."""
    name, size, days, per_day, runs = job
    rng = np.random.default_rng([SEED, size, days, per_day, list(CHANGES).index(name)])
    verdicts: Counter[str] = Counter()
    raised: Counter[str] = Counter()
    for _ in range(runs):
        sides = [side(rng, days, per_day, change, size) for change in (CHANGES["nothing"], CHANGES[name])]
        found = compare(sides[0], sides[1], 0.05)
        verdicts[worst(found.signals)] += 1
        verdicts["mix unknown"] += found.signals[0].verdict == "unknown"
        raised.update(s.name for s in found.signals if s.verdict in ("watch", "retrain"))
    return job, verdicts, raised


VOCABULARY = np.array([f"w{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)}" for i in range(2000)])


def words(job: tuple[float, int, int]) -> tuple[tuple[float, int, int], Counter[str], float]:
    """A/A and A/B of text: each session speaks of 30 words of its own beside all words; new: the share of sessions of
    the current side that speak of a new subject."""
    new, sessions, runs = job
    rng = np.random.default_rng([SEED, 7, round(new * 100), sessions])
    verdicts: Counter[str] = Counter()
    areas = []
    for _ in range(runs):
        sides = []
        for share in (0.0, new):
            prompts, units = [], []
            for _ in range(sessions):
                first = 1800 if rng.random() < share else 0
                own = rng.integers(first, first + (200 if first else 1800), 30)
                unit = int(rng.integers(0, 1 << 62))
                for _ in range(SESSION):
                    said = [*VOCABULARY[rng.choice(own, 10)], *VOCABULARY[rng.integers(0, 1800, 10)]]
                    prompts.append(" ".join(said))
                    units.append(unit)
            sides.append(Texts(prompts, np.array(units, np.uint64)))
        found = words_signal(sides[0], sides[1], 0.05)
        verdicts[found.verdict] += 1
        areas.append(found.size or 0.5)
    return job, verdicts, float(np.median(areas))


def points(job: tuple[float, int, int, int]) -> tuple[tuple[float, int, int, int], int, int]:
    """How often change points are found, and within two days of the true one."""
    moved, days, per_day, runs = job
    rng = np.random.default_rng([SEED, 9, round(moved * 100), days, per_day])
    some = near = 0
    at = days // 2
    for _ in range(runs):
        weekend = np.arange(days) % 7 > 4
        sessions = np.maximum(rng.poisson(per_day / SESSION / np.where(weekend, 3, 1)), 1)
        shift = moved * (np.arange(days) >= at) - 0.1 * weekend
        of_day = [rng.dirichlet((MIX + np.array([-1, 1, 0, 0]) * s) * 200) for s in shift]
        # a session's requests have its task six times in ten: counts of a day are those of its sessions, and the rest
        n = [rng.multinomial(s, p) * 18 + rng.multinomial(s * 12, p) for s, p in zip(sessions, of_day, strict=True)]
        shares = np.array(n) / np.sum(n, axis=1, keepdims=True)
        on = tuple(START + dt.timedelta(days=d) for d in range(days))
        size = tuple((sessions * SESSION).astype(float))
        series = [Series(t, on, tuple(shares[:, i]), size) for i, t in enumerate(TASKS)]
        lengths = rng.normal(0, 0.05, days) + rng.normal(0, 0.6, days) / np.sqrt(sessions)
        series += [Series("input", on, tuple(1000 * np.exp(lengths)), size)]
        series += [Series("output", on, tuple(rng.normal(150, 3, days)), size)]
        found = change_points(series, 0.05)
        some += bool(found)
        near += any(abs((p.day - on[at]).days) <= 2 for p in found)
    return job, some, near


def percent(n: int, runs: int) -> str:
    return f"{100 * n / runs:.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--write", action="store_true", help="write DRIFT.md")
    args = parser.parse_args()
    runs, fewer = args.runs, max(args.runs // 5, 1)
    shapes = ((7, 300), (7, 1500), (28, 1500))
    jobs = [("nothing", size, days, n, runs) for size in (1, SESSION) for days, n in ((1, 1500), *shapes)]
    jobs += [(name, SESSION, days, n, fewer) for name in CHANGES if name != "nothing" for days, n in shapes]
    texts = [(new, sessions, max(runs // 10, 1)) for new in (0.0, 0.3, 0.7) for sessions in (30, 100)]
    splits = [(m, days, 600, runs if m else 4 * runs) for m in (0.0, 0.1, 0.2) for days in (14, 28, 60)]
    with ProcessPoolExecutor(2) as pool:
        found, said, cut = list(pool.map(run, jobs)), list(pool.map(words, texts)), list(pool.map(points, splits))
    about = (__doc__ or "").split("\n\n")[2]
    lines = [
        "# Is an alarm right?",
        "",
        f"`python bench/drift.py --runs {runs} --write`, seed {SEED}. " + " ".join(about.split()),
        "",
        "An alarm where nothing changed is a false one. One day a side shows what days that differ do where there are "
        "none to learn it from: the output says so. Mix unknown: the program says that so little traffic cannot show a "
        "change of the mix.",
        "",
        "| changed | sessions of | days a side | requests a day | runs | watch | retrain | mix unknown | raised |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for (name, size, days, n, k), verdicts, raised in found:
        which = ", ".join(f"{s} {percent(c, k)}" for s, c in raised.most_common(3)) or "-"
        shown = " | ".join(percent(verdicts[v], k) for v in ("watch", "retrain", "mix unknown"))
        lines.append(f"| {name} | {size} | {days} | {n:,} | {k:,} | {shown} | {which} |")
    lines += [
        "",
        "## Words",
        "",
        " ".join((words.__doc__ or "").split()),
        "",
        "| new subject | sessions a side | runs | watch | retrain | median area under the curve |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for (new, sessions, k), verdicts, area in said:
        shown = " | ".join(percent(verdicts[v], k) for v in ("watch", "retrain"))
        lines.append(f"| {100 * new:.0f} % | {sessions} | {k:,} | {shown} | {area:.2f} |")
    lines += [
        "",
        "## Change points",
        "",
        "Six series (four task shares, two lengths) of 600 requests a day in sessions of 30, a third as many and 10 "
        "points more simple ones at weekends; the mix moves in the middle. Found: any change point; near: within two "
        "days of the true one.",
        "",
        "| moved | days | runs | found | near |",
        "|---:|---:|---:|---:|---:|",
    ]
    for (moved, days, _, k), some, near in cut:
        shown = percent(near, k) if moved else "-"
        lines.append(f"| {100 * moved:.0f} points | {days} | {k:,} | {percent(some, k)} | {shown} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if args.write:
        Path(__file__).with_name("DRIFT.md").write_text(text)


if __name__ == "__main__":
    main()
