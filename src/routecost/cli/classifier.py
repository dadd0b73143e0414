"""`routecost classifier`: a sample to label, how good a classifier is, and one of your own."""

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
    OutputOption,
    PathsArgument,
    PricingOption,
    RulesOption,
    emit,
)

app = typer.Typer(no_args_is_help=True, help="Sample requests to label, evaluate a classifier, train your own.")

LabelsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="LABELLED", help="Labels: CSV, JSONL or Parquet with prompt and task."),
]


@app.command()
def sample(
    paths: PathsArgument = None,
    n: Annotated[int, typer.Option("-n", "--number", min=2, help="How many requests to label.")] = 300,
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write: .csv, .jsonl or .parquet.")] = Path(
        "to_label.csv"
    ),
    classifier: ClassifierOption = None,
    task_rules: RulesOption = None,
    field_map: MapOption = None,
    log_format: LogFormatOption = None,
    seed: Annotated[int, typer.Option("--seed", help="Another number draws other requests.")] = 0,
    fmt: FormatOption = "console",
) -> None:
    """Draw requests for a person to label: by predicted task, feature and uncertainty, with weights."""
    from routecost.cli.progress import bar
    from routecost.errors import InputError
    from routecost.pipeline import commands
    from routecost.pipeline.intake import find_paths
    from routecost.render.classification import sampled_document

    with bar() as progress:
        result = commands.sample(
            find_paths(paths or []),
            n,
            output,
            classifier=classifier,
            field_map=field_map,
            log_format=log_format,
            task_rules=task_rules,
            seed=seed,
            progress=progress,
        )
    emit(sampled_document(result, str(output)), fmt, None)
    if result.damaged:
        raise InputError("\n".join((*result.damaged, "What could be read was sampled.")))


@app.command()
def evaluate(
    labelled: LabelsArgument,
    classifier: ClassifierOption = None,
    task_rules: RulesOption = None,
    table: Annotated[
        str | None, typer.Option("--table", help="Also what the mistakes cost under this routing table.")
    ] = None,
    mode: ModeName = None,
    pricing: PricingOption = None,
    worst: Annotated[int, typer.Option("--worst", min=0, help="How many of the surest mistakes to show.")] = 10,
    fmt: FormatOption = "console",
    output: OutputOption = None,
) -> None:
    """Accuracy with intervals, confusion, the true task mix, calibration, and what the mistakes cost."""
    from routecost.errors import UsageError
    from routecost.pipeline import commands
    from routecost.render.classification import evaluation_document

    if mode is not None and table is None:
        raise UsageError("--mode says how a table routes: name one with --table.")
    result = commands.evaluate(
        labelled,
        classifier=classifier,
        task_rules=task_rules,
        table=table,
        mode=mode,
        pricing=pricing or (),
        worst=worst,
    )
    emit(evaluation_document(result), fmt, output)


@app.command()
def train(
    labelled: LabelsArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="The classifier file to write.")],
    taxonomy: Annotated[
        Path | None, typer.Option("--taxonomy", help="YAML with `tasks:`: which labels there are (2 to 12).")
    ] = None,
    start: Annotated[
        str, typer.Option("--start", help="What to continue from: bundled, scratch, or a classifier file.")
    ] = "bundled",
    seed: Annotated[int, typer.Option("--seed", help="Another number holds out other labels.")] = 0,
    fmt: FormatOption = "console",
) -> None:
    """Train a classifier on your labels, and say how it does on labels that it has not seen."""
    from routecost.pipeline import commands
    from routecost.render.classification import trained_document

    trained, held = commands.train(
        labelled,
        output,
        start=start if start in ("bundled", "scratch") else Path(start),  # type: ignore[arg-type]
        taxonomy=taxonomy,
        seed=seed,
    )
    emit(trained_document(trained, held, str(output), output.stat().st_size), fmt, None)
