"""The worked example through the library: `python examples/worked_example.py`."""

from __future__ import annotations

import math
from pathlib import Path

import routecost

ROOT = Path(__file__).parent.parent


def main() -> None:
    result = routecost.analyze(
        ROOT / "sample_logs" / "worked-example.jsonl",
        table=ROOT / "routing" / "worked-example.yaml",
        pricing=[ROOT / "pricing" / "worked-example.yaml"],
        requests_per_day=50_000,
    )
    saving, scale = result.saving, result.scale
    assert scale.factor is not None
    print(f"{'task':<10} {'share':>6} {'now':>8} {'routed':>8}  {'model':<13} {'saving':>8}   USD a day")
    for row in saving.to_polars().iter_rows(named=True):
        now, routed, saved = (row[name] * scale.factor for name in ("today_usd", "routed_usd", "saving_usd"))
        share = row["requests"] / saving.requests
        print(f"{row['task']:<10} {share:>6.0%} {now:>8.2f} {routed:>8.2f}  {row['routed_to']:<13} {saved:>8.2f}")
    today, routed, saved = (usd * scale.factor for usd in (saving.today_usd, saving.routed_usd, saving.saving_usd))
    print(f"{'total':<10} {'':>6} {today:>8.2f} {routed:>8.2f}  {'':<13} {saved:>8.2f}   {saved / today:.1%}")

    for figure, exact in ((today, 625.00), (routed, 356.25), (saved, 268.75), (saved / today, 0.43)):
        assert math.isclose(figure, exact, rel_tol=1e-9), (figure, exact)


if __name__ == "__main__":
    main()
