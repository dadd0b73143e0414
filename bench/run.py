"""Whole processes in turn: a bare Polars scan and `routecost analyze` on the same file, page cache warm.

    python bench/run.py [--rows 1000000 --rows 5000000] [--runs 5] [--data bench/data] [--write]

Prints a table; --write keeps it in bench/RESULTS.md. Times are medians; ratios are medians of the ratios pair by pair,
so that they hold when the machine's speed drifts. Memory is the peak of RssAnon, polled every 5 ms: pages of the log
that are only mapped are the kernel's to drop and do not count.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from generate import generate

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Run:
    wall_s: float
    cpu_s: float
    anon_mb: float


def measure(command: list[str]) -> Run:
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    status_file = f"/proc/{process.pid}/status"
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            wall = time.perf_counter() - started
            break
        try:
            with open(status_file, encoding="ascii") as file:
                anon = next((int(line.split()[1]) for line in file if line.startswith("RssAnon")), 0)
            peak = max(peak, anon)
        except OSError:
            pass
        time.sleep(0.005)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return Run(wall, usage.ru_utime + usage.ru_stime, peak / 1024)


def pairs(first: list[str], second: list[str], runs: int) -> tuple[list[Run], list[Run]]:
    measure(first)
    measure(second)
    a, b = [], []
    for _ in range(runs):
        a.append(measure(first))
        b.append(measure(second))
    return a, b


def median(values: list[float]) -> float:
    return statistics.median(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, action="append", help="requests in the log; repeatable")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--write", action="store_true", help="keep the table in bench/RESULTS.md")
    args = parser.parse_args()

    routecost = str(Path(sys.executable).with_name("routecost"))
    lines = [
        "| log | bare scan, s | analyze, s | ratio (min - max) | bare CPU, s | analyze CPU, s | peak RssAnon, MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    print("\n".join(lines), flush=True)
    for rows in args.rows or [1_000_000, 5_000_000]:
        for path in generate(rows, args.data):
            bare, ours = pairs(
                [sys.executable, str(HERE / "bare.py"), str(path)], [routecost, "analyze", str(path)], args.runs
            )
            size = path.stat().st_size / 1e9
            ratios = [o.wall_s / b.wall_s for b, o in zip(bare, ours, strict=True)]
            line = (
                f"| {rows:,} {path.suffix[1:]} ({size:.2f} GB) | {median([r.wall_s for r in bare]):.2f} "
                f"| {median([r.wall_s for r in ours]):.2f} "
                f"| {median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f}) "
                f"| {median([r.cpu_s for r in bare]):.2f} | {median([r.cpu_s for r in ours]):.2f} "
                f"| {max(r.anon_mb for r in ours):.0f} |"
            )
            lines.append(line)
            print(line, flush=True)
    starts = [measure([routecost, "--help"]).wall_s for _ in range(2 * args.runs)]
    python = [measure([sys.executable, "-c", "import polars"]).wall_s for _ in range(2 * args.runs)]
    startup = f"`routecost --help`: {median(starts):.3f} s; `import polars` alone: {median(python):.3f} s."
    print(startup)
    if args.write:
        write(lines, startup, args.runs)


def write(lines: list[str], startup: str, runs: int) -> None:
    import polars

    machine = (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, Polars {polars.__version__}"
    )
    text = "\n".join(
        [
            "# Results",
            "",
            f"`python bench/run.py --runs {runs} --write` on {machine}.",
            "",
            "Whole processes in turn, page cache warm; medians, and ratios pair by pair. `bare scan` is bench/bare.py:",
            "Polars summing the same columns. Task labels are in the log, so no classifier runs.",
            "",
            *lines,
            "",
            startup,
            "",
            "",
        ]
    )
    notes = HERE / "NOTES.md"
    (HERE / "RESULTS.md").write_text(text + (notes.read_text() if notes.exists() else ""), encoding="utf-8")


if __name__ == "__main__":
    main()
