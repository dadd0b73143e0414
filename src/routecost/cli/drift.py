"""`routecost drift`: whether requests are still what the classifier and the routing table were made for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from routecost.cli.options import (
    ClassifierOption,
    EstimatesOption,
    FormatOption,
    LogFormatOption,
    MapOption,
    OutputOption,
    PricingOption,
    RulesOption,
    SinceOption,
    TasksFromOption,
    UntilOption,
    emit,
)


def drift(
    base: Annotated[str, typer.Argument(metavar="BASE", help="A usage file or a log: how it was.")],
    current: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CURRENT",
            help="Logs or usage files: how it is. Without them: the days on which BASE changed.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Compare what is before this day in BASE with what is since then.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Labelled requests of CURRENT: the accuracy that was measured.")
    ] = None,
    words: Annotated[
        bool, typer.Option("--words/--no-words", help="Compare the words of prompts where both sides are logs.")
    ] = True,
    alpha: Annotated[float, typer.Option("--alpha", help="Chance (0-1) of a false alarm, over all signals.")] = 0.05,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where the verdict is retrain.")] = False,
    since: SinceOption = None,
    until: UntilOption = None,
    pricing: PricingOption = None,
    field_map: MapOption = None,
    log_format: LogFormatOption = None,
    estimates: EstimatesOption = True,
    task_rules: RulesOption = None,
    classifier: ClassifierOption = None,
    tasks_from: TasksFromOption = "log",
    unit: Annotated[
        Literal["auto", "request", "session", "user"],
        typer.Option("--unit", help="What varies together. auto: user, else session, else request."),
    ] = "auto",
    fmt: FormatOption = "console",
    output: OutputOption = None,
) -> None:
    """What drifted between two logs or usage files, and whether it is time to retrain: fine, watch or retrain."""
    from routecost.cli.progress import bar
    from routecost.cli.read_options import moment
    from routecost.pipeline import drift as pipeline
    from routecost.pipeline.intake import Options
    from routecost.render.drift import drift_document

    options = Options(
        since=moment("--since", since),
        until=moment("--until", until),
        field_map=field_map,
        task_rules=task_rules,
        classifier=classifier,
        tasks_from=tasks_from,
        unit=unit,
        log_format=log_format,
        estimates=estimates,
    )
    with bar() as progress:
        result = pipeline.drift(
            [base],
            current or (),
            split=moment("--split", split),
            alpha=alpha,
            labels=labels,
            words=words,
            strict=strict,
            pricing=pricing or (),
            options=options,
            progress=progress,
        )
    emit(drift_document(result), fmt, output)
    if result.exit_code:
        raise typer.Exit(result.exit_code)
