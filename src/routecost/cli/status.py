"""`routecost status`: what is due to be renewed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from routecost.cli.options import ClassifierOption, FormatOption, OutputOption, PricingOption, emit


def status(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="Logs: have they drifted from the baseline?", show_default=False),
    ] = None,
    table: Annotated[
        str | None, typer.Option("--table", help="The routing table in use: a YAML file or a shipped name.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="The baseline that `check` compares with (a usage file).")
    ] = None,
    quality: Annotated[
        list[Path] | None,
        typer.Option("--quality", help="Graded answers by task and model (CSV, YAML, Parquet); repeatable."),
    ] = None,
    classifier: ClassifierOption = None,
    pricing: PricingOption = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            help="How old something may be, such as table=90d or baseline=4w (table, prices, classifier, evidence, "
            "baseline); repeatable. Default: 92, 61, 184, 92 and 31 days.",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where anything is due.")] = False,
    as_of: Annotated[str | None, typer.Option("--as-of", help="As of this day. Default: today.")] = None,
    fmt: FormatOption = "console",
    output: OutputOption = None,
) -> None:
    """What is due: old tables, prices, evidence, classifiers and baselines, each with the command that renews it.

    What is in use stands under [status] in routecost.toml: table, baseline, quality, classifier, logs.
    """
    from routecost.cli import read_options as read
    from routecost.pipeline.status import status as find
    from routecost.render.status import status_document

    result = find(
        table=table,
        baseline=baseline,
        quality=quality or (),
        classifier=classifier,
        logs=paths or (),
        pricing=pricing or (),
        limits=_limits(limit or ()),
        as_of=read.day(as_of),
    )
    emit(status_document(result), fmt, output)
    if strict and result.due:
        raise typer.Exit(1)


def _limits(texts: list[str] | tuple[()]) -> dict[str, int]:
    from routecost.errors import UsageError

    found: dict[str, int] = {}
    for text in texts:
        match = re.fullmatch(r"\s*([a-z]+)\s*=\s*(\d+)\s*([dw]?)\s*", text)
        if match is None:
            raise UsageError(f"--limit: saw {text!r}, expected a name and days or weeks, such as table=90d.")
        found[match[1]] = int(match[2]) * (7 if match[3] == "w" else 1)
    return found
