"""How often `routecost check` is wrong, and what it finds: simulated traffic with heavy tails.

    python bench/check.py --write              # 2,000 runs of each, some minutes on two cores; CHECK.md

The cost of a request is log-normal with a coefficient of variation of 1.5 (most are cheap, few are twenty times the
mean). Both sides have n requests, in sessions of one or of 30; in a session the logarithms of the costs share so much
that the intra-class correlation of the costs is 0.3. Sessions are spread over 64 groups, as a usage file does it. The
program's own rule (`--max-increase 5%`, alpha 0.05, `--detect 20%`) decides.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from routecost import stats
from routecost.gate.result import Change
from routecost.gate.rules import Policy
from routecost.pipeline.checking import judge

CV = 1.5
ICC = 0.3
GROUPS = 64
SIGMA = math.sqrt(math.log(1 + CV**2))
# of log-normal costs with this sigma: the variance of the session's logarithm that gives them this correlation
SHARED = math.sqrt(math.log(1 + ICC * CV**2))
SIZES = (100, 1_000, 2_000, 10_000)
INCREASES = (0.0, 0.05, 0.10, 0.20)
SEED = 20261124


def side(rng: np.random.Generator, n: int, sizes: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Cost and requests by group."""
    sessions = -(-n // sizes)
    session = np.repeat(np.arange(sessions), sizes)[:n]
    logs = rng.standard_normal(n) * (SIGMA if sizes == 1 else math.sqrt(SIGMA**2 - SHARED**2))
    if sizes > 1:
        logs += (rng.standard_normal(sessions) * SHARED)[session]
    group = rng.integers(0, GROUPS, sessions)[session]
    cost = np.exp(logs - SIGMA**2 / 2) * factor
    return np.bincount(group, cost, GROUPS), np.bincount(group, minlength=GROUPS).astype(float)


def run(job: tuple[int, int, float, int]) -> tuple[tuple[int, int, float, int], Counter[str], float]:
    """Verdicts, and the median of the smallest increase that is said to be found."""
    sizes, n, increase, runs = job
    rng = np.random.default_rng([SEED, sizes, n, round(increase * 1000)])
    policy = Policy()
    verdicts: Counter[str] = Counter()
    detectable = []
    for _ in range(runs):
        (a, k), (b, m) = side(rng, n, sizes, 1.0), side(rng, n, sizes, 1 + increase)
        found = stats.two_sample_ratio(a, k, b, m, policy.alpha)
        change = Change(
            "all", None, n, n, a.sum() / k.sum(), b.sum() / m.sum(), found.increase, found.difference, found.low,
            found.high, found.detectable, policy.alpha, groups=found.groups,
        )  # fmt: skip
        verdicts[judge(policy.increases[0], None, change, policy).verdict] += 1
        detectable.append(found.detectable if found.detectable is not None else math.inf)
    return job, verdicts, float(np.median(detectable))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--write", action="store_true", help="write CHECK.md")
    args = parser.parse_args()
    jobs = [(s, n, i, args.runs) for s in (1, 30) for n in SIZES for i in INCREASES]
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(run, jobs))
    about = (__doc__ or "").split("\n\n")[2]
    lines = [
        "# Is a verdict right?",
        "",
        f"`python bench/check.py --runs {args.runs} --write`, seed {SEED}. " + " ".join(about.split()),
        "",
        "Found: the median of the smallest increase that the output says would be found. A change of 0 % that fails is "
        "a false failure.",
        "",
        "| sessions of | n a side | true change | fail | pass | undecided | found |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (sizes, n, increase, runs), verdicts, least in found:
        share = {v: f"{100 * verdicts[v] / runs:.1f} %" for v in ("fail", "pass", "undecided")}
        lines.append(
            f"| {sizes} | {n:,} | {100 * increase:+.0f} % | {share['fail']} | {share['pass']} | {share['undecided']} "
            f"| {f'{100 * least:.1f} %' if least < 10 else 'nothing'} |"
        )
    text = "\n".join(lines) + "\n"
    print(text)
    if args.write:
        Path(__file__).with_name("CHECK.md").write_text(text)


if __name__ == "__main__":
    main()
