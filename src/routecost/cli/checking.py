"""`routecost routes check`: is a routing table still the one to use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from routecost.cli.options import (
    FormatOption,
    OutputOption,
    PricingOption,
    RequestsOption,
    emit,
)


def check(
    table: Annotated[str, typer.Argument(help="The routing table: a YAML file or a shipped name.")],
    usage: Annotated[
        list[str] | None,
        typer.Option("--usage", help="Logs or usage files: what the table costs, and what it leaves; repeatable."),
    ] = None,
    quality: Annotated[
        list[Path] | None,
        typer.Option("--quality", help="Graded answers by task and model (CSV, YAML, Parquet); repeatable."),
    ] = None,
    max_age: Annotated[str, typer.Option("--max-age", help="How old grades may be, such as 90d or 12w.")] = "90d",
    requests: RequestsOption = None,
    pricing: PricingOption = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="Check as of this day. Default: today.")] = None,
    fmt: FormatOption = "console",
    output: OutputOption = None,
) -> None:
    """Exit with 1 where a table is stale: models retired or unpriced, prices changed, cells dominated, old evidence."""
    from routecost.cli import read_options as read
    from routecost.cli.progress import bar
    from routecost.errors import UsageError
    from routecost.pipeline import commands
    from routecost.render.staleness import staleness_document

    age = re.fullmatch(r"(\d+)\s*([dw]?)", max_age.strip())
    if age is None:
        raise UsageError(f"--max-age: saw {max_age!r}, expected days or weeks, such as 90d or 12w.")
    with bar() as progress:
        result = commands.check_table(
            table,
            usage or (),
            quality=quality or (),
            max_age_days=int(age[1]) * (7 if age[2] == "w" else 1),
            pricing=pricing or (),
            requests_per_day=read.rate(requests),
            as_of=read.day(as_of),
            progress=progress,
        )
    emit(staleness_document(result), fmt, output)
    if result.is_stale:
        raise typer.Exit(1)
