"""Routing tables side by side through the library: `python examples/compare_tables.py [LOG]`."""

from __future__ import annotations

import sys
from pathlib import Path

import routecost

SAMPLE = Path(__file__).parent.parent / "sample_logs" / "support-month.jsonl.gz"


def main(log: Path = SAMPLE) -> None:
    # A name of a shipped table, a YAML file and a table that was read and perhaps changed in Python all do.
    cautious = routecost.read_table("default")
    result = routecost.simulate(log, [cautious, "prism-v1.7-a"], modes=["eco", "balanced"])
    print(f"{result.coverage.requests:,} requests, {result.today_usd:.2f} USD today")
    for row in result.to_polars().iter_rows(named=True):
        name = f"{row['name']}, {row['mode']}" if row["mode"] else row["name"]
        share = row["saving_usd"] / row["today_usd"]
        print(f"{name:<45} {row['cost_usd']:>8.2f} USD, saves {share:>6.1%}")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
