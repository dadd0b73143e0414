"""Tokens per character by script: the rates of src/routecost/logs/estimate.py, and how far its counts are off.

    pip install tiktoken
    python bench/token_ratios.py [--ranks o200k_base.tiktoken] [FILE ...] [--unseen FILE] [--write]

The tokenizer is OpenAI's o200k_base. The corpus is training/prompts.jsonl and every FILE (Parquet or JSON lines with
a column `prompt`; `task` or `task_type` says which are code, `lang` the language). Rates are fitted by non-negative
least squares; a text weighs 1 / tokens, so that the square of its error counts against its variance (the tokens of a
text are a sum), and all files weigh the same. Errors are of texts that the rates were not fitted on: five folds, a
file left out, and the files named by --unseen. Intervals are 95 %, from a bootstrap over texts. --write keeps
bench/TOKEN_RATIOS.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.optimize import nnls

from routecost.logs import estimate

HERE = Path(__file__).parent
CORPUS = HERE.parent / "training/prompts.jsonl"
FOLDS = 5
RESAMPLES = 1000
# A script or a file with fewer texts has no error worth printing.
MIN_TEXTS = 8
# A rate that fewer matches stand behind is marked.
FEW_MATCHES = 1000
SCRIPTS = ("cyrillic", "greek", "hangul", "arabic", "hebrew", "devanagari", "brahmic", "thai")


def read(path: Path) -> pl.DataFrame:
    """prompt, file, code and lang (null where the file does not say) of the texts of a file."""
    frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_ndjson(path, infer_schema_length=None)
    task = next((c for c in ("task", "task_type") if c in frame.columns), None)
    code = pl.lit(None, pl.Boolean) if task is None else pl.col(task) == "code"
    lang = pl.col("lang") if "lang" in frame.columns else pl.lit(None, pl.String)
    return frame.select("prompt", code.alias("code"), lang.alias("lang"), file=pl.lit(path.name)).filter(
        pl.col("prompt").str.len_chars() > 0
    )


def tokens(texts: pl.Series, ranks: Path | None) -> pl.Series:
    """The true counts, by tiktoken: from `ranks`, put where tiktoken looks for it, or from its own cache."""
    with tempfile.TemporaryDirectory() as folder:
        if ranks is not None:
            os.environ["TIKTOKEN_CACHE_DIR"] = folder
            kept = estimate._ranks_file()
            assert kept is not None
            shutil.copyfile(ranks, kept)
        counts, method = estimate.count(texts), estimate.method()
    if not method.startswith("tiktoken"):
        sys.exit(
            "no tiktoken, or no ranks of o200k_base in its cache: name the file with --ranks (its SHA-256 must fit)"
        )
    return counts


def measure(frame: pl.DataFrame, ranks: Path | None) -> pl.DataFrame:
    """Add `tokens`, the counts of every pattern, and `script`, the one that most letters are in."""
    counted = pl.concat(
        [frame.with_columns(tokens(frame["prompt"], ranks).alias("tokens")), estimate._counts(frame["prompt"])],
        how="horizontal",
    )
    latin = pl.sum_horizontal("lower", "upper", "latin_accented")
    japanese = pl.col("kana") * 10 > pl.col("han")
    letters = {
        "Latin": latin,
        "Han": pl.when(~japanese).then("han").otherwise(0),
        "Han and kana": pl.when(japanese).then(pl.sum_horizontal("han", "kana")).otherwise(0),
        **{name.capitalize(): pl.col(name) for name in SCRIPTS},
    }
    most = pl.concat_list(letters.values()).list.arg_max()
    script = pl.lit(pl.Series(list(letters), dtype=pl.String).implode()).list.get(most)
    accented = pl.when(pl.col("latin_accented") * 100 >= latin).then(pl.lit("Latin, with diacritics")).otherwise(script)
    any_letter = pl.max_horizontal(letters.values()) > 0
    return counted.with_columns(
        script=pl.when(any_letter).then(pl.when(script == "Latin").then(accented).otherwise(script))
    )


def fit(frame: pl.DataFrame) -> npt.NDArray[np.float64]:
    """Tokens per match, in the order of RATES, rounded as they are in RATES."""
    each = frame.select(w=1 / (pl.col("tokens") * pl.len().over("file"))).to_series().sqrt().to_numpy()
    counts = frame.select(list(estimate.RATES)).to_numpy().astype(float)
    rates, _ = nnls(counts * each[:, None], frame["tokens"].to_numpy() * each)
    return np.asarray(rates, np.float64).round(3)


def guess(frame: pl.DataFrame, rates: npt.NDArray[np.float64]) -> pl.Series:
    """What `estimate` returns with these rates."""
    counts = frame.select(list(estimate.RATES)).to_numpy().astype(float)
    return pl.Series("guess", np.maximum(np.floor(counts @ rates + 0.5), 1))


def line(name: str, frame: pl.DataFrame, rng: np.random.Generator) -> str:
    """A row of a table of errors: texts, tokens, the error of a text (median, 90th percentile) and of the sum."""
    true, found = frame["tokens"].to_numpy().astype(float), frame["guess"].to_numpy().astype(float)
    off = np.abs(found / true - 1)
    sums, medians = [], []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(true), size=len(true))
        sums.append(found[drawn].sum() / true[drawn].sum() - 1)
        medians.append(np.median(off[drawn]))
    (a, b), (c, d) = np.quantile(medians, (0.025, 0.975)), np.quantile(sums, (0.025, 0.975))
    return (
        f"| {name} | {len(true):,} | {int(true.sum()):,} | {np.median(off):.1%} ({a:.1%} to {b:.1%})"
        f" | {np.quantile(off, 0.9):.0%} | {found.sum() / true.sum() - 1:+.1%} ({c:+.1%} to {d:+.1%}) |"
    )


HEAD = (
    "| | texts | tokens | median error of a text | 90 % of texts within | error of the sum |",
    "|---|---:|---:|---:|---:|---:|",
)


def groups(frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    yield "all", frame
    yield "code", frame.filter(pl.col("code"))
    yield "prose", frame.filter(~pl.col("code"))
    for name in frame["script"].drop_nulls().value_counts(sort=True)["script"]:
        yield name, frame.filter(pl.col("script") == name)
    latin = frame.filter(pl.col("script").str.starts_with("Latin"))
    for name in latin["lang"].drop_nulls().value_counts(sort=True)["lang"]:
        yield f"Latin: {name}", latin.filter(pl.col("lang") == name)


def errors(frame: pl.DataFrame, rng: np.random.Generator) -> list[str]:
    return [*HEAD, *(line(name, part, rng) for name, part in groups(frame) if part.height >= MIN_TEXTS)]


def report(frame: pl.DataFrame, unseen: pl.DataFrame | None, command: str) -> str:
    rng = np.random.default_rng(0)
    names = list(estimate.RATES)
    rates = fit(frame)
    fold = rng.integers(FOLDS, size=frame.height)
    parts = [(frame.filter(fold != k), frame.filter(fold == k)) for k in range(FOLDS)]
    crossed = pl.concat([test.with_columns(guess(test, fit(rest))) for rest, test in parts])
    sums = frame.select(names).sum().row(0)
    out = [
        "# Tokens per character, by script",
        "",
        f"`{command}`: {frame.height:,} texts, {frame['tokens'].sum():,} tokens of o200k_base.",
        "What is counted: src/routecost/logs/estimate.py. Files beside training/prompts.jsonl are not in the project.",
        "No error is of texts that its rates were fitted on, but what to count was chosen with the errors in view:",
        "expect a little more on a log of your own.",
        "",
        "## Rates",
        "",
        "| counted | tokens each | per token | matches |",
        "|---|---:|---:|---:|",
        *(
            f"| {name} | {rate:.3f} | {1 / max(rate, 0.001):.2f} | {n:,}{' (few)' if n < FEW_MATCHES else ''} |"
            for name, rate, n in zip(names, rates, sums, strict=True)
        ),
        "",
        f"## Errors, cross-validated ({FOLDS} folds)",
        "",
        *errors(crossed, rng),
    ]
    files = frame["file"].unique(maintain_order=True).to_list()
    if len(files) > 1:
        out += ["", "## Errors in a file that the rates were not fitted on", "", *HEAD]
        for name in files:
            left_out = frame.filter(pl.col("file") == name)
            found = left_out.with_columns(guess(left_out, fit(frame.filter(pl.col("file") != name))))
            out.append(line(name, found, rng))
    if unseen is not None:
        out += [
            "",
            "## Errors in further files, not fitted on",
            "",
            *errors(unseen.with_columns(guess(unseen, rates)), rng),
        ]
    if dict(zip(names, rates.tolist(), strict=True)) != estimate.RATES:
        print("RATES in estimate.py differ from these:", file=sys.stderr)
        print("".join(f'    "{k}": {v:.3f},\n' for k, v in zip(names, rates, strict=True)), file=sys.stderr)
    return "\n".join(out) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--unseen", action="append", type=Path, default=[], metavar="FILE")
    parser.add_argument("--ranks", type=Path, metavar="FILE")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    frame = measure(
        pl.concat([read(p) for p in (CORPUS, *options.files)]).unique("prompt", maintain_order=True), options.ranks
    )
    unseen = None
    if options.unseen:
        kept = pl.concat([read(p) for p in options.unseen]).join(frame, on="prompt", how="anti")
        unseen = measure(kept, options.ranks)
    command = " ".join(
        [
            "python bench/token_ratios.py",
            *(p.name for p in options.files),
            *(f"--unseen {p.name}" for p in options.unseen),
            "--write",
        ]
    )
    text = report(frame, unseen, command)
    print(text)
    if options.write:
        (HERE / "TOKEN_RATIOS.md").write_text(text)


if __name__ == "__main__":
    main()
