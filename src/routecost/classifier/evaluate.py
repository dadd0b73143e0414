"""Measure the classifier and the shipped rules: python -m routecost.classifier.evaluate GOLD.jsonl [CORPUS.parquet]"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from routecost import classifier, schema, tasks
from routecost.errors import InputError, RoutecostError

__all__ = ["Score", "interval", "read_labelled", "rule_precision", "score"]

_Z: Final = 1.959963984540054


@dataclass(frozen=True)
class Score:
    """How often given tasks are right, of n prompts: as the first label, and as the first or the accepted second one.

    recall: of the prompts whose first label is the task, the share given the first (or the accepted second) one.
    """

    n: int
    first: int
    accepted: int
    recall: dict[str, float]
    recall_accepted: dict[str, float]


def score(labelled: pl.DataFrame, given: pl.Series) -> Score:
    """`labelled` has `task_type` and `alt` (nullable); a null task is wrong."""
    frame = labelled.select("task_type", "alt").with_columns(given=given)
    frame = frame.with_columns(
        first=pl.col("given").eq_missing(pl.col("task_type")),
        accepted=pl.col("given").eq_missing(pl.col("task_type")) | (pl.col("given") == pl.col("alt")).fill_null(False),
    )
    by_task = frame.group_by("task_type").agg(pl.col("first", "accepted").mean())
    recall = {row["task_type"]: row for row in by_task.iter_rows(named=True)}
    return Score(
        n=frame.height,
        first=int(frame["first"].sum()),
        accepted=int(frame["accepted"].sum()),
        recall={task: recall[task]["first"] for task in schema.TASKS if task in recall},
        recall_accepted={task: recall[task]["accepted"] for task in schema.TASKS if task in recall},
    )


def interval(right: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; (0, 1) when n is 0."""
    if not n:
        return 0.0, 1.0
    p, z = right / n, _Z
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return middle - half, middle + half


def rule_precision(labelled: pl.DataFrame, rules: tasks.Rules) -> pl.DataFrame:
    """A row per rule, asked alone: `rule` (number), `task`, `matched`, and how many of those have the task as `first`
    label or as the first or second one (`accepted`)."""
    found = []
    for number, rule in enumerate(rules.rules, 1):
        matched = labelled.with_columns(tasks.classify(labelled.select("prompt"), None, tasks.Rules((rule,)))["task"])
        matched = matched.filter(pl.col("task").is_not_null())
        counted = score(matched, matched["task"])
        found.append((number, rule.task, matched.height, counted.first, counted.accepted))
    names = {"rule": pl.Int64, "task": pl.String, "matched": pl.Int64, "first": pl.Int64, "accepted": pl.Int64}
    return pl.DataFrame(found, schema=names, orient="row")


def read_labelled(path: Path) -> pl.DataFrame:
    """Columns `prompt`, `task_type`, `alt` (null where the file has none) of a JSONL or Parquet file."""
    try:
        frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_ndjson(path)
        alt = pl.col("alt") if "alt" in frame.columns else pl.lit(None)
        return frame.select(pl.col("prompt", "task_type").cast(pl.String), alt.cast(pl.String).alias("alt"))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path}: expected JSONL or Parquet with prompt, task_type (and alt): {error}") from None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m routecost.classifier.evaluate", description="Measure both.")
    parser.add_argument("labelled", type=Path, nargs="+", help="JSONL or Parquet: prompt, task_type and maybe alt")
    parser.add_argument("--model", type=Path, help="model file (default: the shipped one)")
    parser.add_argument("--rules", type=Path, help="rules file (default: the shipped one)")
    options = parser.parse_args(argv)
    try:
        model, rules = classifier.load(options.model), tasks.read_rules(options.rules)
        print(f"classifier {model.name} {model.version}, rules {rules.version}")
        for path in options.labelled:
            print("\n" + "\n".join(_report(path, model, rules)))
    except RoutecostError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")
    return 0


def _report(path: Path, model: classifier.Classifier, rules: tasks.Rules) -> list[str]:
    labelled = read_labelled(path)
    start = time.perf_counter()
    alone = model.predict(labelled["prompt"])["task"]
    seconds = time.perf_counter() - start
    both = tasks.classify(labelled.select("prompt"), model.predict, rules)
    lines = [f"{path.name}: {labelled.height:,} prompts, {labelled.height / seconds:,.0f} prompts/s on one thread"]
    if str(model.metadata["corpus"]).startswith(f"{path.name}:"):
        lines.append("  the classifier was trained on this file: only the rules' figures mean anything here")
    for name, given in (("classifier", alone), ("rules, then classifier", both["task"])):
        result = score(labelled, given)
        lines.append(f"  {name}")
        for kind, right, recall in (
            ("first label", result.first, result.recall),
            ("first or second", result.accepted, result.recall_accepted),
        ):
            low, high = interval(right, result.n)
            by_task = ", ".join(f"{task} {share:.2f}" for task, share in recall.items())
            lines.append(f"    {kind:15} {right / result.n:.3f} [{low:.3f}, {high:.3f}]; recall: {by_task}")
    decided = both.filter(pl.col("task_source") == tasks.RULES).height
    lines.append(f"  the rules decide {decided / labelled.height:.1%}; each rule alone (right / matched):")
    for row in rule_precision(labelled, rules).iter_rows(named=True):
        matched = row["matched"]
        share = f"{row['first'] / matched:.3f}, with second {row['accepted'] / matched:.3f}" if matched else "-"
        lines.append(f"    rule {row['rule']:2} {row['task']:9} {row['first']:5} / {matched:5}  {share}")
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
