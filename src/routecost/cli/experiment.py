"""`routecost experiment`: is the treatment as good as the control, and what follows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from routecost.cli.options import (
    ClassifierOption,
    EstimatesOption,
    FeedbackOption,
    FeedbackScaleOption,
    FormatOption,
    LogFormatOption,
    MapOption,
    OutputOption,
    PathsArgument,
    PricingOption,
    RulesOption,
    SinceOption,
    TasksFromOption,
    UntilOption,
    emit,
)

if TYPE_CHECKING:
    from routecost.experiment.arms import Arms

RUN = "run"


class _RunByDefault(TyperGroup):
    """`experiment LOG...` is `experiment run LOG...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = [RUN, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_RunByDefault,
    help="Treatment against control, by task: expand, roll back or hold (`routecost experiment LOG...`); and how many "
    "requests that takes (`plan`).",
    rich_markup_mode=None,
)

UnitName = Annotated[
    Literal["auto", "request", "session", "user"],
    typer.Option("--unit", help="What was drawn into an arm. auto: user, else session, else request."),
]
MetricOption = Annotated[
    list[str] | None,
    typer.Option("--metric", help="Another column: resolved:higher-is-better, tickets:lower-is-better; repeatable."),
]
AlphaOption = Annotated[
    float, typer.Option("--alpha", help="Chance (0-1) of a false claim, over all tasks, guards and looks.")
]


@app.command(RUN)
def run(
    paths: PathsArgument = None,
    arm_column: Annotated[str | None, typer.Option("--arm-column", help="The column of arms. Default: arm.")] = None,
    control: Annotated[str | None, typer.Option("--control", help="The control's value of that column.")] = None,
    treatment: Annotated[str | None, typer.Option("--treatment", help="The treatment's value of it.")] = None,
    arms: Annotated[
        str | None,
        typer.Option(
            "--arms",
            help="control=EXPR,treatment=EXPR with EXPR model:GLOB, feature:GLOB, before:DATE or since:DATE.",
        ),
    ] = None,
    holdout: Annotated[
        str | None, typer.Option("--holdout", help="The control is this share of users by salted hash, such as 5%.")
    ] = None,
    salt: Annotated[str, typer.Option("--holdout-salt", help="The salt of --holdout.")] = "routecost",
    split: Annotated[
        str | None, typer.Option("--split", help="The share of units that was meant for the control, such as 5%.")
    ] = None,
    margin: Annotated[
        list[str] | None,
        typer.Option(
            "--margin",
            help="How much worse is fine: 1% (points of thumbs-down), errors=0.5%, cost=5%, errors=none; repeatable. "
            "Default: thumbs-down and errors, 1 point.",
        ),
    ] = None,
    metric: MetricOption = None,
    alpha: AlphaOption = 0.05,
    planned: Annotated[
        int | None,
        typer.Option("--planned", min=1, help="Requests an arm planned for: there the intervals are tightest."),
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    feedback: FeedbackOption = None,
    feedback_scale: FeedbackScaleOption = None,
    pricing: PricingOption = None,
    field_map: MapOption = None,
    log_format: LogFormatOption = None,
    estimates: EstimatesOption = True,
    task_rules: RulesOption = None,
    classifier: ClassifierOption = None,
    tasks_from: TasksFromOption = "log",
    unit: UnitName = "auto",
    rules: Annotated[
        Path | None, typer.Option("--rules", help="Write the overrides (YAML) that roll back what fails here.")
    ] = None,
    fmt: FormatOption = "console",
    output: OutputOption = None,
) -> None:
    """Treatment against control by task: exit 0 expand, 1 roll back, 4 hold."""
    from routecost.cli import read_options as read
    from routecost.cli.options import write_whole
    from routecost.cli.progress import bar
    from routecost.errors import InputError, UsageError
    from routecost.experiment.arms import parse_holdout
    from routecost.pipeline.experiment import experiment
    from routecost.pipeline.feedback import read_feedback
    from routecost.pipeline.intake import Options, find_paths
    from routecost.render import experiment as render

    if not 0 < alpha < 0.5:
        raise UsageError(f"--alpha: saw {alpha:g}, expected a chance above 0 and below 0.5, such as 0.05.")
    by = _arms(arm_column, control, treatment, arms, holdout, salt)
    options = Options(
        since=read.moment("--since", since),
        until=read.moment("--until", until),
        field_map=field_map,
        task_rules=task_rules,
        log_format=log_format,
        estimates=estimates,
        classifier=classifier,
        tasks_from=tasks_from,
        unit=unit,
        feedback=read_feedback(feedback or (), feedback_scale),
    )
    with bar() as progress:
        result = experiment(
            find_paths(paths or []),
            by,
            metrics=metric or (),
            margins=margin or (),
            alpha=alpha,
            planned=planned,
            split=None if split is None else parse_holdout(split, salt, "--split").share,
            pricing=pricing or (),
            options=options,
            progress=progress,
        )
    emit(render.experiment_document(result), fmt, output)
    if rules is not None and result.slices:
        write_whole(rules, ("\n".join(render.rules(result)) + "\n").encode())
    if result.damaged:
        raise InputError("\n".join((*result.damaged, "What could be read is compared above.")))
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _arms(
    column: str | None, control: str | None, treatment: str | None, arms: str | None, holdout: str | None, salt: str
) -> Arms:
    from routecost.errors import UsageError
    from routecost.experiment.arms import ByColumn, parse_arms, parse_holdout

    by_value = column is not None or control is not None or treatment is not None
    if sum((by_value, arms is not None, holdout is not None)) > 1:
        raise UsageError(
            "--arm-column (with --control, --treatment), --arms and --holdout exclude each other: give one."
        )
    if arms is not None:
        return parse_arms(arms)
    if holdout is not None:
        return parse_holdout(holdout, salt)
    return ByColumn(column or "arm", control, treatment)


@app.command()
def plan(
    paths: PathsArgument = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--change",
            help="What to find: 2% (points of thumbs-down), errors=1%, cost=5%; repeatable. Default: the margins of "
            "`experiment`, 1 point of thumbs-down and errors.",
        ),
    ] = None,
    metric: MetricOption = None,
    share: Annotated[str, typer.Option("--share", help="The treatment's share of requests, such as 5%.")] = "50%",
    alpha: AlphaOption = 0.05,
    power: Annotated[float, typer.Option("--power", help="How often (0-1) the change is to be found.")] = 0.8,
    since: SinceOption = None,
    until: UntilOption = None,
    feedback: FeedbackOption = None,
    feedback_scale: FeedbackScaleOption = None,
    pricing: PricingOption = None,
    field_map: MapOption = None,
    log_format: LogFormatOption = None,
    estimates: EstimatesOption = True,
    task_rules: RulesOption = None,
    classifier: ClassifierOption = None,
    tasks_from: TasksFromOption = "log",
    unit: UnitName = "auto",
    fmt: FormatOption = "console",
    output: OutputOption = None,
) -> None:
    """How many requests and days an experiment needs, by task, and what this log's own would show."""
    from routecost.cli import read_options as read
    from routecost.cli.progress import bar
    from routecost.errors import InputError, UsageError
    from routecost.experiment.arms import parse_holdout
    from routecost.pipeline import experiment as pipeline
    from routecost.pipeline.feedback import read_feedback
    from routecost.pipeline.intake import Options, find_paths
    from routecost.render.experiment import plan_document

    if not 0 < alpha < 0.5:
        raise UsageError(f"--alpha: saw {alpha:g}, expected a chance above 0 and below 0.5, such as 0.05.")
    if not 0.5 <= power < 1:
        raise UsageError(f"--power: saw {power:g}, expected a chance of 0.5 or more and below 1, such as 0.8.")
    options = Options(
        since=read.moment("--since", since),
        until=read.moment("--until", until),
        field_map=field_map,
        task_rules=task_rules,
        log_format=log_format,
        estimates=estimates,
        classifier=classifier,
        tasks_from=tasks_from,
        unit=unit,
        feedback=read_feedback(feedback or (), feedback_scale),
    )
    with bar() as progress:
        result = pipeline.plan(
            find_paths(paths or []),
            changes=change or (),
            metrics=metric or (),
            treatment=parse_holdout(share, "", "--share").share,
            alpha=alpha,
            power=power,
            pricing=pricing or (),
            options=options,
            progress=progress,
        )
    emit(plan_document(result), fmt, output)
    if result.damaged:
        raise InputError("\n".join((*result.damaged, "What could be read is counted above.")))
