"""`routecost rollout`: move traffic to a routing table in four phases, and know at each whether to go on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from routecost.cli.options import (
    ClassifierOption,
    EstimatesOption,
    FeedbackOption,
    FeedbackScaleOption,
    FormatOption,
    LogFormatOption,
    MapOption,
    ModeName,
    PathsArgument,
    PricingOption,
    RulesOption,
    TasksFromOption,
    emit,
    write_whole,
)

if TYPE_CHECKING:
    from routecost.pipeline.intake import Options
    from routecost.render import Document
    from routecost.render.pictures import Figure

app = typer.Typer(no_args_is_help=True, help="Move traffic to a routing table in four phases: shadow to 100 %.")

UnitName = Annotated[
    Literal["auto", "request", "session", "user"],
    typer.Option("--unit", help="What varies together. auto: user, else session, else request."),
]
HtmlOption = Annotated[Path | None, typer.Option("--html", help="Also draw it, as one HTML file.")]


@app.command()
def plan(
    paths: PathsArgument = None,
    table: Annotated[
        str, typer.Option("--table", help="The table to roll out: a YAML file or a shipped name.")
    ] = "default",
    mode: ModeName = None,
    start: Annotated[
        str | None, typer.Option("--start", help="The first day, a Monday. Default: the first after the log.")
    ] = None,
    shadow_weeks: Annotated[int, typer.Option("--shadow-weeks", help="Weeks in which nothing is dispatched.")] = 2,
    canary: Annotated[str, typer.Option("--canary", help="The share of the canary week.")] = "10%",
    increase: Annotated[str, typer.Option("--increase", help="What is added every week after it.")] = "20%",
    holdout: Annotated[
        str, typer.Option("--holdout", help="The share that never moves: 5% lets the end be judged.")
    ] = "0%",
    margin: Annotated[str, typer.Option("--margin", help="Points of thumbs-down that would be tolerable.")] = "1%",
    error_margin: Annotated[
        str, typer.Option("--error-margin", help="Points of errors that would be tolerable.")
    ] = "1%",
    latency_margin: Annotated[
        str, typer.Option("--latency-margin", help="How much higher p95 latency may be.")
    ] = "20%",
    correlation: Annotated[
        float, typer.Option("--correlation", min=0.0, max=1.0, help="How alike requests of one user or session are.")
    ] = 0.05,
    plan_file: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the plan here, for `rollout status`.")
    ] = None,
    html: HtmlOption = None,
    pricing: PricingOption = None,
    field_map: MapOption = None,
    log_format: LogFormatOption = None,
    estimates: EstimatesOption = True,
    task_rules: RulesOption = None,
    classifier: ClassifierOption = None,
    tasks_from: TasksFromOption = "log",
    unit: UnitName = "auto",
    feedback: FeedbackOption = None,
    feedback_scale: FeedbackScaleOption = None,
    fmt: FormatOption = "console",
) -> None:
    """Phases with dates, shares and go / no-go criteria, with what this log says they can show and will save."""
    from routecost.cli import read_options as read
    from routecost.cli.progress import bar
    from routecost.errors import UsageError
    from routecost.gate.rules import parse_share
    from routecost.pipeline import rollout
    from routecost.pipeline.intake import find_paths
    from routecost.pipeline.rollout_file import to_yaml
    from routecost.render.rollout import plan_document, plan_figure

    margins = rollout.Margins(
        parse_share("--margin", margin),
        parse_share("--error-margin", error_margin),
        parse_share("--latency-margin", latency_margin),
    )
    if min(margins.thumbs_down, margins.errors, margins.latency) <= 0:
        raise UsageError(
            "a margin of 0 can never be shown to hold: give --margin, --error-margin above 0%, such as 1%."
        )
    first = read.moment("--start", start)
    with bar() as progress:
        result = rollout.plan(
            find_paths(paths or []),
            table,
            mode=mode,
            start=None if first is None else first.date(),
            shadow_weeks=shadow_weeks,
            canary=parse_share("--canary", canary),
            increase=parse_share("--increase", increase),
            holdout=parse_share("--holdout", holdout),
            margins=margins,
            correlation=correlation,
            pricing=pricing or (),
            options=_options(
                field_map, log_format, estimates, task_rules, classifier, tasks_from, unit, feedback, feedback_scale
            ),
            progress=progress,
        )
    document = plan_document(result)
    emit(document, fmt, None)
    if plan_file is not None:
        write_whole(plan_file, to_yaml(result.schedule).encode())
        typer.echo(f"Wrote {plan_file}", err=True)
    if html is not None:
        _draw(html, f"Roll-out of {result.schedule.table}", document, [plan_figure(result)])
    read.leave(result.intake, result.coverage, 0.01, None)


@app.command()
def status(
    plan_file: Annotated[Path, typer.Argument(metavar="PLAN", help="What `rollout plan -o` wrote.")],
    paths: PathsArgument = None,
    today: Annotated[
        str | None, typer.Option("--today", help="Look at the days before this one. Default: today (UTC).")
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option("--control", help="The arm that is not moved; repeatable. Default: control, holdout, baseline."),
    ] = None,
    html: HtmlOption = None,
    pricing: PricingOption = None,
    field_map: MapOption = None,
    log_format: LogFormatOption = None,
    estimates: EstimatesOption = True,
    task_rules: RulesOption = None,
    classifier: ClassifierOption = None,
    tasks_from: TasksFromOption = "log",
    unit: UnitName = "auto",
    feedback: FeedbackOption = None,
    feedback_scale: FeedbackScaleOption = None,
    fmt: FormatOption = "console",
) -> None:
    """Where the roll-out is, and whether it may go on: exit 0 go, 1 no-go, 4 too early or not shown yet."""
    from routecost.cli import read_options as read
    from routecost.cli.progress import bar
    from routecost.pipeline import rollout_status
    from routecost.pipeline.intake import find_paths
    from routecost.render.rollout import status_document, status_figure

    day = read.moment("--today", today)
    with bar() as progress:
        result = rollout_status.status(
            plan_file,
            find_paths(paths or []),
            today=None if day is None else day.date(),
            control=control or rollout_status.CONTROL,
            pricing=pricing or (),
            options=_options(
                field_map, log_format, estimates, task_rules, classifier, tasks_from, unit, feedback, feedback_scale
            ),
            progress=progress,
        )
    document = status_document(result)
    emit(document, fmt, None)
    if html is not None:
        figures = [status_figure(result)] if result.steps else []
        _draw(html, f"Roll-out of {result.schedule.table}", document, figures)
    read.leave(result.intake, result.coverage, 0.01, None)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _options(
    field_map: Path | None,
    log_format: str | None,
    estimates: bool,
    task_rules: Path | None,
    classifier: Path | None,
    tasks_from: Literal["log", "rules", "classifier", "both"],
    unit: Literal["auto", "request", "session", "user"],
    feedback: list[Path] | None,
    feedback_scale: str | None,
) -> Options:
    from routecost.pipeline.feedback import read_feedback
    from routecost.pipeline.intake import Options

    return Options(
        field_map=field_map,
        task_rules=task_rules,
        log_format=log_format,
        estimates=estimates,
        classifier=classifier,
        tasks_from=tasks_from,
        unit=unit,
        feedback=read_feedback(feedback or (), feedback_scale),
    )


def _draw(path: Path, title: str, document: Document, figures: list[Figure]) -> None:
    from routecost.render import html as pages

    write_whole(path, pages.page(title, document.lines, figures, document).encode())
    typer.echo(f"Wrote {path}", err=True)
