"""`routecost formats`, `inspect` and `convert`: the logs that are known, what one is taken for, one that reads fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from routecost.cli.options import (
    EstimatesOption,
    FormatOption,
    LogFormatOption,
    MapOption,
    OutputOption,
    PathsArgument,
    RejectsOption,
    emit,
)


def formats(fmt: FormatOption = "console", output: OutputOption = None) -> None:
    """The log formats that are known, and what each carries."""
    from routecost.render.logs import formats_document

    emit(formats_document(), fmt, output)


def inspect(
    paths: PathsArgument = None,
    log_format: LogFormatOption = None,
    field_map: MapOption = None,
    estimates: EstimatesOption = True,
    show_text: Annotated[bool, typer.Option("--show-text", help="Show prompts and ids, not their length.")] = False,
    fmt: FormatOption = "console",
    output: OutputOption = None,
) -> None:
    """What a log is taken for and why, three requests as mapped, and the fields that nothing reads."""
    from routecost.pipeline import commands
    from routecost.pipeline.intake import find_paths
    from routecost.render.logs import inspected_document

    found = commands.inspect(find_paths(paths or []), log_format=log_format, field_map=field_map, estimates=estimates)
    emit(inspected_document(found, show_text=show_text), fmt, output)


def convert(
    paths: PathsArgument = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The file to write: .parquet, .csv or .jsonl, a row a request.")
    ] = Path("requests.parquet"),
    by: Annotated[
        list[str] | None, typer.Option("--by", help="Also keep this field of the log, for --by later; repeatable.")
    ] = None,
    log_format: LogFormatOption = None,
    field_map: MapOption = None,
    estimates: EstimatesOption = True,
    rejects: RejectsOption = None,
    fmt: FormatOption = "console",
) -> None:
    """Write any log as one table of requests, so that the slow read is done once. It holds prompts."""
    from routecost.cli.progress import bar
    from routecost.errors import InputError
    from routecost.pipeline import commands
    from routecost.pipeline.intake import find_paths
    from routecost.render.logs import converted_document

    with bar() as progress:
        result = commands.convert(
            find_paths(paths or []),
            output,
            by=by or (),
            log_format=log_format,
            field_map=field_map,
            estimates=estimates,
            rejects=rejects,
            progress=progress,
        )
    emit(converted_document(result, str(output)), fmt, None)
    if result.damaged:
        raise InputError("\n".join((*result.damaged, "What could be read is written.")))
