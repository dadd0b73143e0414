"""A set of prompts that stands for the log's own, for a benchmark that is run elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from routecost import logs
from routecost.errors import InputError, UsageError
from routecost.pipeline.intake import Progress
from routecost.pipeline.labelling import Typist, open_paths, over
from routecost.schema import REQUEST
from routecost.whole import whole_file


@dataclass(frozen=True)
class PromptSet:
    """What `sample` wrote: prompts drawn from `requests` requests with a task and text. tasks: task, requests, prompts.
    promptfoo: the tests file beside it. left_out: requests without task or text."""

    output: Path
    promptfoo: Path | None
    prompts: int
    requests: int
    left_out: int
    tasks: pl.DataFrame
    damaged: tuple[str, ...]
    notes: tuple[str, ...]


_STRATUM: Final = ("by_task", "by_feature", "by_length")
_FEATURES: Final = 8
# Long prompts are rare and hard: each length gives its share. Bounds in characters.
_LENGTHS: Final = (200, 1_000, 5_000, 20_000)
_OTHER, _NO_FEATURE = "(other)", "(none)"


def sample(
    paths: Sequence[str],
    n: int,
    output: Path,
    typist: Typist,
    *,
    per_task: bool = False,
    promptfoo: bool = False,
    seed: int = 0,
    field_map: Path | None = None,
    log_format: str | None = None,
    progress: Progress | None = None,
) -> PromptSet:
    """Write n prompts (n of each task with per_task) that stand for the log's own, as JSONL: id, task, prompt, system,
    previous_prompt, weight. For its owner only: it holds prompts.

    Strata are task x feature (the eight largest) x length; each gives rows by its number of requests. A weight is how
    many requests a prompt stands for. The same prompt drawn twice is one with both weights. Ids follow from the text,
    so results stay valid for a later sample of the same prompts. The same seed draws the same.
    """
    if output.suffix.lower() not in (".jsonl", ".ndjson"):
        raise UsageError(f"-o {output}: a prompt set is JSONL; name it {output.with_suffix('.jsonl')}.")
    opened = open_paths(paths, field_map, log_format)
    damaged: list[str] = []
    rows = pl.DataFrame(schema=_DRAWN)
    sizes = pl.DataFrame(schema={**dict.fromkeys(_STRATUM, pl.String()), "size": pl.Int64()})
    left_out = 0

    def look(chunk: logs.Chunk, index: int) -> tuple[pl.DataFrame, pl.DataFrame, int]:
        requests = typist.decide(chunk.parse(tuple(REQUEST)).requests)
        found = _with_stratum(requests, seed).with_columns(
            source=pl.lit(index, pl.UInt32), ordinal=pl.lit(chunk.ordinal, pl.UInt32)
        )
        counted = found.group_by(_STRATUM).agg(size=pl.len().cast(pl.Int64))
        return _first(found.select(*_DRAWN), n), counted, requests.height - found.height

    for found, counted, without in over(opened, look, damaged, progress):
        rows = _first(pl.concat([rows, found]), n)
        sizes = pl.concat([sizes, counted]).group_by(_STRATUM).agg(pl.col("size").sum())
        left_out += without
    if not rows.height:
        raise InputError(
            f"no request with a task and text in {', '.join(paths)}, so there is no prompt to draw. A benchmark needs "
            "prompts: does the log keep them (`routecost inspect`)?"
        )
    large = sizes.group_by("by_feature").agg(pl.col("size").sum()).sort("size", "by_feature", descending=[True, False])
    kept = pl.col("by_feature").is_in(large["by_feature"].head(_FEATURES).to_list())
    pooled = pl.when(kept).then("by_feature").otherwise(pl.lit(_OTHER)).alias("by_feature")
    rows = rows.with_columns(pooled)
    sizes = sizes.with_columns(pooled).group_by(_STRATUM).agg(pl.col("size").sum()).sort(_STRATUM)
    sizes = sizes.with_columns(drawn=_shares(sizes, n, per_task=per_task))
    chosen = (
        rows.join(sizes, on=list(_STRATUM))
        .with_columns(rank=pl.col("priority").rank("ordinal").over(_STRATUM))
        .filter(pl.col("rank") <= pl.col("drawn"))
        .with_columns(weight=pl.col("size") / pl.col("drawn"))
        # what is too small to give a prompt of its own is spoken for by the others of its task
        .join(sizes.group_by("by_task").agg(whole=pl.col("size").sum()), on="by_task")
        .with_columns(weight=pl.col("weight") * pl.col("whole") / pl.col("weight").sum().over("by_task"))
        .select("source", "ordinal", "row", "weight", "priority")
    )
    wanted: dict[int, set[int]] = {}
    for source, ordinal in chosen.select("source", "ordinal").unique().iter_rows():
        wanted.setdefault(source, set()).add(ordinal)

    def fetch(chunk: logs.Chunk, index: int) -> pl.DataFrame:
        mine = chosen.filter((pl.col("source") == index) & (pl.col("ordinal") == chunk.ordinal))
        requests = chunk.parse(tuple(REQUEST)).requests.with_columns(pl.col("row").cast(pl.Int64))
        return typist.decide(requests.join(mine, on="row", how="inner", maintain_order="left"))

    fetched = pl.concat(over(opened, fetch, damaged, None, wanted), how="diagonal").sort("priority")
    prompts = _prompts(fetched)
    with whole_file(output, private=True) as part:
        prompts.write_ndjson(part)
    tests = output.with_suffix(".promptfoo.yaml") if promptfoo else None
    if tests is not None:
        with whole_file(tests, private=True) as part:
            part.write_text(promptfoo_tests(prompts), encoding="utf-8")
    by_task = sizes.group_by(task="by_task").agg(requests=pl.col("size").sum())
    return PromptSet(
        output=output,
        promptfoo=tests,
        prompts=prompts.height,
        requests=int(sizes["size"].sum()),
        left_out=left_out,
        tasks=by_task.join(prompts.group_by("task").agg(prompts=pl.len()), on="task", how="left")
        .sort("requests", "task", descending=[True, False])
        .select("task", "requests", pl.col("prompts").fill_null(0).cast(pl.Int64)),
        damaged=tuple(dict.fromkeys(damaged)),
        notes=tuple(opened.notes),
    )


_DRAWN: Final[dict[str, pl.DataType]] = {
    **dict.fromkeys(_STRATUM, pl.String()),
    "source": pl.UInt32(),
    "ordinal": pl.UInt32(),
    "row": pl.Int64(),
    "priority": pl.UInt64(),
}


def _with_stratum(requests: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The requests that can be asked again elsewhere, each with its stratum and the order in which it is drawn."""
    if "prompt" not in requests.columns:
        return pl.DataFrame(schema=_DRAWN)
    asked = requests.filter(pl.col("task").is_not_null() & (pl.col("prompt").str.strip_chars() != "").fill_null(False))
    length: pl.Expr = pl.lit(f"over {_LENGTHS[-1]:,}")
    for bound in reversed(_LENGTHS):
        length = pl.when(pl.col("prompt").str.len_chars() <= bound).then(pl.lit(f"up to {bound:,}")).otherwise(length)
    feature = pl.col("feature") if "feature" in asked.columns else pl.lit(None, pl.String)
    identity = [c for c in ("request_id", "ts", "prompt", "user_id", "output_tokens") if c in asked.columns]
    return asked.select(
        pl.col("row").cast(pl.Int64),
        by_task="task",
        by_feature=feature.fill_null(_NO_FEATURE),
        by_length=length,
        priority=pl.struct(identity).hash(31 + seed),
    )


def _first(rows: pl.DataFrame, n: int) -> pl.DataFrame:
    return rows.sort("priority").group_by(_STRATUM, maintain_order=True).head(n).select(*_DRAWN)


def _shares(sizes: pl.DataFrame, n: int, *, per_task: bool) -> pl.Series:
    """How many prompts each stratum gives: by its size, to n in all (or of each task), largest remainder first."""
    drawn = [0] * sizes.height
    parts = sizes.with_row_index("_at").partition_by("by_task") if per_task else [sizes.with_row_index("_at")]
    for part in parts:
        size = part["size"].to_list()
        total = min(n, sum(size))
        ideal = [s * total / sum(size) for s in size]
        whole = [int(x) for x in ideal]
        order = sorted(range(len(size)), key=lambda i: (whole[i] - ideal[i], i))
        for i in order[: total - sum(whole)]:
            whole[i] += 1
        for at, k in zip(part["_at"].to_list(), whole, strict=True):
            drawn[at] = k
    return pl.Series("drawn", drawn, pl.Int64)


def _prompts(fetched: pl.DataFrame) -> pl.DataFrame:
    """One row a prompt: id, task, prompt, system, previous_prompt, weight."""
    texts = ("task", "prompt", "system", "previous_prompt")
    frame = fetched.with_columns(pl.lit(None, pl.String).alias(c) for c in texts if c not in fetched.columns)
    merged_rows = frame.group_by(texts, maintain_order=True).agg(pl.col("weight").sum())
    ids = [
        hashlib.blake2b("\x1e".join(t or "" for t in row).encode(), digest_size=8).hexdigest()
        for row in merged_rows.select(texts).iter_rows()
    ]
    return merged_rows.select(pl.Series("id", ids, pl.String), *texts, "weight")


def promptfoo_tests(prompts: pl.DataFrame) -> str:
    """A prompt set as promptfoo's tests file: variables rc_prompt, rc_system and rc_previous_prompt (promptfoo replaces
    {{prompt}} inside of other variables), and in the metadata what `quality import` needs."""
    import yaml

    tests = [
        {
            "description": row["id"],
            "vars": {f"rc_{name}": _literal(row[name] or "") for name in ("prompt", "system", "previous_prompt")},
            "metadata": {"id": row["id"], "task": row["task"], "weight": row["weight"]},
        }
        for row in prompts.iter_rows(named=True)
    ]
    text: str = yaml.safe_dump(tests, sort_keys=False, allow_unicode=True, width=1_000_000)
    return text


def _literal(text: str) -> str:
    """A text that promptfoo does not take for a file or a module to load."""
    return f" {text}" if text.startswith(("file://", "package:")) else text
