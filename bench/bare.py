"""The limit: a bare Polars scan that sums the columns that `analyze` reads (of text, the byte lengths)."""

from __future__ import annotations

import sys

import polars as pl

TEXT = ("request_id", "session_id", "user_id", "ts", "provider", "model", "feature", "task", "status", "finish_reason")
COUNTS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
AMOUNTS = ("cost_usd", "latency_ms", "ttft_ms")


def main(path: str) -> None:
    if path.endswith(".parquet"):
        plan = pl.scan_parquet(path)
        moment = pl.col("ts").to_physical().sum()
    else:
        schema = {
            **dict.fromkeys(TEXT, pl.String),
            **dict.fromkeys(COUNTS, pl.Int64),
            **dict.fromkeys(AMOUNTS, pl.Float64),
        }
        plan = pl.scan_ndjson(path, schema=schema)
        moment = pl.col("ts").str.len_bytes().sum()
    sums = plan.select(
        pl.len(),
        moment,
        *(pl.col(c).str.len_bytes().sum() for c in TEXT if c != "ts"),
        pl.col(*COUNTS, *AMOUNTS).sum(),
    )
    print(sums.collect(engine="streaming"))


if __name__ == "__main__":
    main(sys.argv[1])
