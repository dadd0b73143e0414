"""The classifier's speed: what it adds to a scan, against scikit-learn's own pipeline, and one request at a time.

    python bench/classifier.py [--rows 1000000] [--runs 5] [--data bench/data] [--write]

Prompts of about 1 kB are made from the words of the training corpus (training/prompts.jsonl). The bare scan sums their
lengths in bytes; the other one also classifies them (`map_batches`, element-wise). Times are medians, and ratios are
medians of the ratios pair by pair. --write keeps the table in bench/CLASSIFIER.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from routecost import classifier

HERE = Path(__file__).parent
CORPUS = HERE.parent / "training/prompts.jsonl"
MEAN_BYTES = 1000
# scikit-learn takes minutes for a million
SKLEARN_ROWS = 50_000


def make(path: Path, rows: int, seed: int = 0) -> None:
    """Texts of log-normal length: words of the corpus in random order, cut. Whole prompts, repeated, would compress far
    better than real ones do, and make the scan too cheap."""
    rng = np.random.default_rng(seed)
    words = np.array(" ".join(pl.read_ndjson(CORPUS, infer_schema_length=None)["prompt"].to_list()).split(" "), object)
    lengths = np.clip(rng.lognormal(np.log(MEAN_BYTES) - 0.5, 1.0, rows), 8, 16_000).astype(int)
    lengths = (lengths * (MEAN_BYTES / lengths.mean())).astype(int)
    parts = []
    for begin in range(0, rows, 100_000):
        out = []
        for n in lengths[begin : begin + 100_000]:
            text = " ".join(words[rng.integers(len(words), size=n // 4 + 2)].tolist()).encode()
            out.append(text[:n].decode(errors="ignore"))
        parts.append(pl.DataFrame({"prompt": out}))
    pl.concat(parts).write_parquet(path)


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def pairs(first: Callable[[], object], second: Callable[[], object], runs: int) -> tuple[float, float, float]:
    """Medians of both, and of second / first pair by pair, after a warm-up."""
    first(), second()
    found = [(timed(first), timed(second)) for _ in range(runs)]
    a, b = zip(*found, strict=True)
    return statistics.median(a), statistics.median(b), statistics.median(y / x for x, y in found)


def against_scikit_learn(texts: pl.Series, model: classifier.Classifier, runs: int) -> tuple[float, float, float]:
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = HashingVectorizer(n_features=2**18, ngram_range=(1, 2))
    listed = texts.to_list()
    some = vectorizer.transform(listed[:2000])
    y = model.predict(texts[:2000])["task"].to_numpy()
    fitted = LogisticRegression(max_iter=20).fit(some, y)
    return pairs(
        lambda: model.predict(texts), lambda: fitted.predict_proba(vectorizer.transform(listed)), max(1, runs // 2)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--write", action="store_true", help="keep the table in bench/CLASSIFIER.md")
    options = parser.parse_args()
    options.data.mkdir(parents=True, exist_ok=True)
    path = options.data / f"prompts-{options.rows}.parquet"
    if not path.exists():
        make(path, options.rows)
    started = time.perf_counter()
    model = classifier.load()
    model.classify("Hello")
    start_up = time.perf_counter() - started

    length = pl.col("prompt").str.len_bytes().sum()
    task = pl.col("prompt").map_batches(
        lambda prompts: model.predict(prompts)["task"], return_dtype=pl.String, is_elementwise=True
    )
    bare, both, ratio = pairs(
        lambda: pl.scan_parquet(path).select(length).collect(),
        lambda: pl.scan_parquet(path).select(length, task.alias("task").count()).collect(),
        options.runs,
    )
    texts = pl.read_parquet(path)["prompt"]
    ours, theirs, times = against_scikit_learn(texts[:SKLEARN_ROWS], model, options.runs)
    one = [timed(lambda text=text: model.classify(text)) for text in texts[:5000]]
    rows = [
        ("bare scan, sum of byte lengths", f"{bare:.2f} s", ""),
        ("the same and classify", f"{both:.2f} s", f"{ratio:.2f} x"),
        ("classification adds", f"{both - bare:.2f} s", f"{ratio - 1:.2f} x the bare scan"),
        (f"predict, {SKLEARN_ROWS:,} prompts in memory", f"{ours:.3f} s", f"{SKLEARN_ROWS / ours:,.0f} prompts/s"),
        ("HashingVectorizer + LogisticRegression.predict_proba, same prompts", f"{theirs:.2f} s", f"{times:.0f} x"),
        ("one request, Classifier.classify: median", f"{statistics.median(one) * 1e3:.3f} ms", ""),
        ("one request, Classifier.classify: 95th percentile", f"{np.quantile(one, 0.95) * 1e3:.3f} ms", ""),
        ("load the classifier, first request", f"{start_up:.2f} s", ""),
    ]
    text = f"{options.rows:,} prompts, {float(texts.str.len_bytes().mean() or 0):,.0f} bytes on average; "
    text += f"{model.name} {model.version}; "
    text += f"{os.cpu_count()} cores, Python {platform.python_version()}, Polars {pl.__version__}\n\n"
    text += "| what | time | |\n|---|---:|---:|\n" + "".join(f"| {a} | {b} | {c} |\n" for a, b, c in rows)
    print(text)
    if options.write:
        (HERE / "CLASSIFIER.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
