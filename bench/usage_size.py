"""How large a usage file is, and where its bytes go: by table and by column.

python bench/usage_size.py [--requests N] [--write]

The traffic is one day of four models, twenty features and four tasks, in sessions of users who come back, with prompt
caching, latencies and errors: what a baseline in a repository holds. Groups are kept by feature, the larger choice.
A Parquet file stores columns apart, so each column of each table is also written alone, as the file writes it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from routecost.pipeline.intake import Options, read
from routecost.prices import read_prices
from routecost.schema import TASKS
from routecost.usage import Usage, write_usage

HERE = Path(__file__).parent
MODELS = (
    ("openai", "gpt-5.4"),
    ("openai", "gpt-5.4-mini"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google", "gemini-2.5-flash"),
)
FEATURES = tuple(f"feature-{n:02d}" for n in range(20))
TABLES = ("cells", "groups", "histograms", "carry")


def requests(n: int, seed: int = 0) -> pl.DataFrame:
    """One day of requests, in the order of time."""
    random = np.random.default_rng(seed)
    model = random.choice(len(MODELS), n, p=[0.4, 0.3, 0.2, 0.1])
    # every feature has its share, the first ones most
    feature = np.minimum(random.geometric(0.15, n) - 1, len(FEATURES) - 1)
    task = random.choice(len(TASKS), n, p=[0.5, 0.2, 0.2, 0.1])
    session = random.integers(0, max(1, n // 8), n)
    sent = random.lognormal(6.9, 1.0, n).astype(np.int64) + 1
    cached = np.where(random.random(n) < 0.35, (sent * random.random(n) * 4).astype(np.int64), 0)
    output = random.lognormal(5.5, 0.9, n).astype(np.int64) + 1
    midnight = int(dt.datetime(2026, 10, 1, tzinfo=dt.UTC).timestamp()) * 1_000_000
    moments = midnight + np.sort(random.integers(0, 86_400_000_000, n))
    return pl.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(n)],
            "session_id": [f"s{i}" for i in session],
            "user_id": [f"u{i % 2500}" for i in session],
            "ts": pl.Series(moments).cast(pl.Datetime("us", "UTC")),
            "provider": [MODELS[i][0] for i in model],
            "model": [MODELS[i][1] for i in model],
            "feature": [FEATURES[i] for i in feature],
            "task": [TASKS[i] for i in task],
            "input_tokens": sent,
            "cache_read_tokens": cached,
            "output_tokens": output,
            "reasoning_tokens": np.where(task == 2, output // 2, 0),
            "latency_ms": np.round(output * 12 + random.exponential(400, n)),
            "ttft_ms": np.round(random.lognormal(6, 0.5, n)),
            "cost_usd": (sent * 2e-6 + output * 1e-5).round(8),
            "status": np.where(random.random(n) < 0.02, "error", "ok"),
        }
    )


def usage_of(frame: pl.DataFrame) -> Usage:
    """What `routecost tally` counts of a log with these requests, groups by feature included."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.parquet"
        frame.write_parquet(log)
        return read([str(log)], read_prices(), options=Options(group_features=True)).usage


@dataclass(frozen=True)
class Sizes:
    """Bytes of a usage file, rows of its tables, and the bytes of each table's columns (table, column, bytes)."""

    file: int
    rows: dict[str, int]
    columns: pl.DataFrame


def sizes(usage: Usage) -> Sizes:
    """Where the bytes of the usage's file go."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "usage.parquet"
        write_usage(usage, path)
        whole = path.stat().st_size
    rows = []
    for name in TABLES:
        table: pl.DataFrame = getattr(usage, name)
        buffer = io.BytesIO()
        table.write_parquet(buffer, compression="zstd")
        meta = pq.ParquetFile(buffer).metadata
        for column in range(meta.num_columns):
            chunks = [meta.row_group(g).column(column) for g in range(meta.num_row_groups)]
            rows.append((name, chunks[0].path_in_schema, sum(c.total_compressed_size for c in chunks)))
    columns = pl.DataFrame(rows, schema=["table", "column", "bytes"], orient="row")
    return Sizes(whole, {n: getattr(usage, n).height for n in TABLES}, columns)


def report(n: int, result: Sizes) -> str:
    by_table = result.columns.group_by("table", maintain_order=True).agg(pl.col("bytes").sum())
    out = [
        "# How large a usage file is",
        "",
        f"`python bench/usage_size.py --requests {n}`: one day, {len(MODELS)} models, {len(FEATURES)} features, "
        f"{len(TASKS)} tasks, groups by feature.",
        "",
        f"The file has {result.file:,} bytes ({result.file / n:.2f} a request).",
        "",
        "| Table | Rows | Bytes |",
        "| --- | ---: | ---: |",
        *(f"| {t} | {result.rows[t]:,} | {size:,} |" for t, size in by_table.iter_rows()),
        f"| (frame, metadata) |  | {result.file - int(by_table['bytes'].sum()):,} |",
        "",
        "| Table | Column | Bytes |",
        "| --- | --- | ---: |",
    ]
    largest = result.columns.sort("bytes", descending=True)
    out += [f"| {t} | {c} | {size:,} |" for t, c, size in largest.head(20).iter_rows()]
    rest = largest[20:]
    out.append(f"| (the other {rest.height}) |  | {int(rest['bytes'].sum()):,} |")
    return "\n".join(out) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000, metavar="N")
    parser.add_argument("--write", action="store_true", help="write USAGE_SIZE.md")
    options = parser.parse_args()
    text = report(options.requests, sizes(usage_of(requests(options.requests))))
    print(text)
    if options.write:
        (HERE / "USAGE_SIZE.md").write_text(text)


if __name__ == "__main__":
    main()
