"""`routecost classify`: the task of every request, and where it would have gone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from routecost.cli.options import (
    ClassifierOption,
    FormatOption,
    LogFormatOption,
    MapOption,
    ModeName,
    PathsArgument,
    PricingOption,
    RulesOption,
    TasksFromOption,
    emit,
)


def classify(
    paths: PathsArgument = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The file to write: .parquet, .csv or .jsonl, a row a request.")
    ] = Path("labelled.parquet"),
    table: Annotated[
        str | None,
        typer.Option("--table", help="Also the model that this table would choose (shadow routing)."),
    ] = None,
    mode: ModeName = None,
    keep_prompts: Annotated[bool, typer.Option("--keep-prompts", help="Also write each request's prompt.")] = False,
    explain: Annotated[
        str | None,
        typer.Option("--explain", metavar="PROMPT", help="Why this prompt is what it is; - reads it from stdin."),
    ] = None,
    system: Annotated[str | None, typer.Option("--system", help="With --explain: the system prompt.")] = None,
    previous: Annotated[str | None, typer.Option("--previous", help="With --explain: the user's turn before.")] = None,
    classifier: ClassifierOption = None,
    tasks_from: TasksFromOption = "log",
    task_rules: RulesOption = None,
    field_map: MapOption = None,
    log_format: LogFormatOption = None,
    pricing: PricingOption = None,
    fmt: FormatOption = "console",
) -> None:
    """Write each request's task, its probabilities, and with --table the model it would have gone to."""
    import sys

    from routecost.cli.progress import bar
    from routecost.errors import InputError, UsageError
    from routecost.pipeline import commands
    from routecost.pipeline.intake import find_paths
    from routecost.render.classification import classified_document, explanation_document

    if explain is not None:
        if paths:
            raise UsageError("--explain takes one prompt and reads no log: leave the paths out.")
        text = sys.stdin.read() if explain == "-" else explain
        found = commands.explain(
            text,
            system=system,
            previous_prompt=previous,
            classifier=classifier,
            task_rules=task_rules,
            tasks_from=tasks_from,
        )
        emit(explanation_document(found), fmt, None)
        return
    if mode is not None and table is None:
        raise UsageError("--mode says how a table routes: name one with --table.")
    with bar() as progress:
        result = commands.classify(
            find_paths(paths or []),
            output,
            table=table,
            mode=mode,
            pricing=pricing or (),
            keep_prompts=keep_prompts,
            classifier=classifier,
            field_map=field_map,
            log_format=log_format,
            task_rules=task_rules,
            tasks_from=tasks_from,
            progress=progress,
        )
    emit(classified_document(result, str(output)), fmt, None)
    if result.damaged:
        raise InputError("\n".join((*result.damaged, "What could be read is written.")))
