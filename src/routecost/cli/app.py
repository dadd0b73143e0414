"""The commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from routecost.cli import baseline, prices, quality, rollout, routes
from routecost.cli import check as check_command
from routecost.cli import classifier as classifier_commands
from routecost.cli import classify as classify_command
from routecost.cli import drift as drift_command
from routecost.cli import experiment as experiment_commands
from routecost.cli import logs as log_commands
from routecost.cli import recommend as recommend_command
from routecost.cli import status as status_command
from routecost.cli.caching import CacheOption, CacheOrderOption, cached, wanted
from routecost.cli.options import (
    AsOfOption,
    ClassifierOption,
    EstimatesOption,
    FeedbackOption,
    FeedbackScaleOption,
    FormatOption,
    LabelsOption,
    LogFormatOption,
    MapOption,
    MaxBadOption,
    ModeName,
    OutputOption,
    PathsArgument,
    PricingOption,
    RejectsOption,
    RequestsOption,
    RulesOption,
    SinceOption,
    TasksFromOption,
    UnitOption,
    UntilOption,
    emit,
)
from routecost.cli.read_options import day, leave, moment, rate

app = typer.Typer(
    help="What your LLM traffic costs, and what a routing table would save, from your own request logs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Exit codes: 0 done, 1 a gate failed, 2 wrong command line, 3 unreadable input, 4 cannot decide.",
)
app.add_typer(baseline.app, name="baseline")
app.add_typer(classifier_commands.app, name="classifier")
app.add_typer(experiment_commands.app, name="experiment")
app.add_typer(prices.app, name="prices")
app.add_typer(quality.app, name="quality")
app.add_typer(rollout.app, name="rollout")
app.add_typer(routes.app, name="routes")

ByOption = Annotated[
    list[str] | None,
    typer.Option("--by", help="Break the cost down by a column: feature, model, day, user_id, ...; repeatable."),
]
ClassifyOption = Annotated[
    bool, typer.Option("--classify/--no-classify", help="Let the classifier type what has no label and fits no rule.")
]
BaseModelOption = Annotated[
    str | None, typer.Option("--base-model", help="As if all of it had run on this model (token counts as logged).")
]
RetryOption = Annotated[
    float, typer.Option("--retry-rate", help="Part of under-routed requests that are asked again on today's model.")
]
HarmOption = Annotated[float, typer.Option("--harm-usd", help="What an under-routed request costs besides, in USD.")]


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.", is_eager=True)] = False,
) -> None:
    if version:
        from routecost import __version__

        typer.echo(f"routecost {__version__}")
        raise typer.Exit
    from routecost.cli.defaults import load_defaults

    load_defaults(ctx)


@app.command()
def analyze(
    paths: PathsArgument = None,
    table: Annotated[str, typer.Option("--table", help="Routing table: a YAML file or a shipped name.")] = "default",
    mode: ModeName = None,
    by: ByOption = None,
    pricing: PricingOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    requests: RequestsOption = None,
    base_model: BaseModelOption = None,
    field_map: MapOption = None,
    log_format: LogFormatOption = None,
    estimates: EstimatesOption = True,
    task_rules: RulesOption = None,
    classify: ClassifyOption = True,
    classifier: ClassifierOption = None,
    tasks_from: TasksFromOption = "log",
    unit: UnitOption = "auto",
    labels: LabelsOption = None,
    retry_rate: RetryOption = 1.0,
    harm_usd: HarmOption = 0.0,
    as_of: AsOfOption = None,
    rejects: RejectsOption = None,
    max_bad: MaxBadOption = 0.01,
    feedback: FeedbackOption = None,
    feedback_scale: FeedbackScaleOption = None,
    fmt: FormatOption = "console",
    output: OutputOption = None,
) -> None:
    """What a log costs by task and model, and what a routing table would save."""
    from routecost.cli.progress import bar
    from routecost.pipeline import commands
    from routecost.pipeline.intake import find_paths
    from routecost.render.analysis import analysis_document
    from routecost.render.feedback import with_feedback

    with bar() as progress:
        result = commands.analyze(
            find_paths(paths or []),
            table=table,
            mode=mode,
            by=by or (),
            pricing=pricing or (),
            since=moment("--since", since),
            until=moment("--until", until),
            requests_per_day=rate(requests),
            base_model=base_model,
            field_map=field_map,
            log_format=log_format,
            estimates=estimates,
            task_rules=task_rules,
            classify=classify,
            classifier=classifier,
            tasks_from=tasks_from,
            unit=unit,
            as_of=day(as_of),
            labels=labels,
            retry_rate=retry_rate,
            harm_usd=harm_usd,
            rejects=rejects,
            feedback=feedback or (),
            feedback_scale=feedback_scale,
            progress=progress,
        )
    emit(with_feedback(analysis_document(result), result.intake), fmt, output)
    leave(result.intake, result.coverage, max_bad, rejects)


@app.command()
def simulate(
    paths: PathsArgument = None,
    table: Annotated[
        list[str] | None, typer.Option("--table", help="Routing table: a YAML file or a shipped name; repeatable.")
    ] = None,
    mode: Annotated[
        list[str] | None, typer.Option("--mode", help="Modes to compare; repeatable. Default: all that a table has.")
    ] = None,
    share: Annotated[float, typer.Option("--share", help="Apply the tables to this share of the traffic.")] = 1.0,
    unit: UnitOption = "auto",
    base_model: BaseModelOption = None,
    quality: Annotated[
        Path | None,
        typer.Option("--quality", help="Quality table (CSV, YAML, Parquet) with latencies by task and model."),
    ] = None,
    pricing: PricingOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    requests: RequestsOption = None,
    cache: CacheOption = None,
    cache_order: CacheOrderOption = "after",
    field_map: MapOption = None,
    log_format: LogFormatOption = None,
    estimates: EstimatesOption = True,
    task_rules: RulesOption = None,
    classify: ClassifyOption = True,
    classifier: ClassifierOption = None,
    tasks_from: TasksFromOption = "log",
    labels: LabelsOption = None,
    retry_rate: RetryOption = 1.0,
    harm_usd: HarmOption = 0.0,
    as_of: AsOfOption = None,
    rejects: RejectsOption = None,
    max_bad: MaxBadOption = 0.01,
    feedback: FeedbackOption = None,
    feedback_scale: FeedbackScaleOption = None,
    fmt: FormatOption = "console",
    output: OutputOption = None,
) -> None:
    """Compare routing tables and modes side by side, against today and against controls."""
    from routecost.cli.progress import bar
    from routecost.pipeline import commands
    from routecost.pipeline.intake import Options, find_paths
    from routecost.render.feedback import with_feedback
    from routecost.render.simulation import simulation_document

    found = find_paths(paths or [])
    response_cache = wanted(cache, cache_order, found)
    with bar() as progress:
        result = commands.simulate(
            found,
            table or ["default"],
            modes=mode or (),
            share=share,
            unit=unit,
            base_model=base_model,
            quality=quality,
            pricing=pricing or (),
            since=moment("--since", since),
            until=moment("--until", until),
            requests_per_day=rate(requests),
            field_map=field_map,
            log_format=log_format,
            estimates=estimates,
            task_rules=task_rules,
            classify=classify,
            classifier=classifier,
            tasks_from=tasks_from,
            as_of=day(as_of),
            labels=labels,
            retry_rate=retry_rate,
            harm_usd=harm_usd,
            rejects=rejects,
            feedback=feedback or (),
            feedback_scale=feedback_scale,
            progress=progress,
        )
        document = cached(
            with_feedback(simulation_document(result), result.intake),
            result,
            response_cache,
            found,
            table or ["default"],
            Options(
                since=moment("--since", since),
                until=moment("--until", until),
                field_map=field_map,
                task_rules=task_rules,
                classify=classify,
                classifier=classifier,
                tasks_from=tasks_from,
                unit=unit,
                log_format=log_format,
                estimates=estimates,
            ),
            pricing or (),
            progress,
        )
    emit(document, fmt, output)
    leave(result.intake, result.coverage, max_bad, rejects)


@app.command()
def sensitivity(
    paths: PathsArgument = None,
    table: Annotated[str, typer.Option("--table", help="Routing table: a YAML file or a shipped name.")] = "default",
    mode: ModeName = None,
    errors: Annotated[
        Literal["uniform", "measured"],
        typer.Option("--errors", help="Mistakes fall on the other tasks alike, or as the confusion matrix has them."),
    ] = "uniform",
    lowest: Annotated[float, typer.Option("--to", help="The lowest accuracy to show, 0-1.")] = 0.25,
    retry_rate: RetryOption = 1.0,
    harm_usd: HarmOption = 0.0,
    labels: LabelsOption = None,
    quality: Annotated[
        Path | None,
        typer.Option("--quality", help="Quality table (CSV, YAML, Parquet) with a score by task and model."),
    ] = None,
    base_model: BaseModelOption = None,
    pricing: PricingOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    field_map: MapOption = None,
    log_format: LogFormatOption = None,
    estimates: EstimatesOption = True,
    task_rules: RulesOption = None,
    classifier: ClassifierOption = None,
    tasks_from: TasksFromOption = "log",
    as_of: AsOfOption = None,
    fmt: FormatOption = "console",
    output: OutputOption = None,
) -> None:
    """How the saving falls as the classifier gets worse, and where it breaks even."""
    from routecost.cli.progress import bar
    from routecost.pipeline import commands
    from routecost.pipeline.intake import find_paths
    from routecost.render.sensitivity import sensitivity_document

    with bar() as progress:
        result = commands.sensitivity(
            find_paths(paths or []),
            table=table,
            mode=mode,
            errors=errors,
            lowest=lowest,
            retry_rate=retry_rate,
            harm_usd=harm_usd,
            labels=labels,
            quality=quality,
            base_model=base_model,
            pricing=pricing or (),
            since=moment("--since", since),
            until=moment("--until", until),
            field_map=field_map,
            log_format=log_format,
            estimates=estimates,
            task_rules=task_rules,
            classifier=classifier,
            tasks_from=tasks_from,
            as_of=day(as_of),
            progress=progress,
        )
    emit(sensitivity_document(result), fmt, output)


@app.command()
def estimate(
    requests: Annotated[str, typer.Option("--requests", help="Volume, such as 50000/day.")] = "50000/day",
    mix: Annotated[
        str, typer.Option("--mix", help="Percent of each task.")
    ] = "simple=50,code=20,reasoning=20,complex=10",
    tokens: Annotated[
        str, typer.Option("--tokens", help="INPUT/OUTPUT[/CACHED] a request, or task=INPUT/OUTPUT,...")
    ] = "2000/500",
    model: Annotated[str, typer.Option("--model", help="The model that all of it runs on now.")] = "gpt-5.4",
    table: Annotated[str, typer.Option("--table", help="Routing table: a YAML file or a shipped name.")] = "default",
    mode: ModeName = None,
    pricing: PricingOption = None,
    as_of: AsOfOption = None,
    example: Annotated[bool, typer.Option("--example", help="Print the worked example and leave.")] = False,
    fmt: FormatOption = "console",
    output: OutputOption = None,
) -> None:
    """The calculator: what a mix would cost and save, without a log."""
    from routecost.pipeline import commands
    from routecost.render.analysis import analysis_document

    if example:
        result = commands.worked_example()
    else:
        result = commands.estimate(
            requests, mix, tokens, model, table=table, mode=mode, pricing=pricing or (), as_of=day(as_of)
        )
    emit(analysis_document(result, "estimate"), fmt, output)


@app.command()
def tally(
    paths: PathsArgument = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The usage file to write.")] = Path("usage.parquet"),
    table: Annotated[
        list[str] | None,
        typer.Option("--table", help="Tables whose rules on user, prompt or size the file shall answer; repeatable."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="Also count by this column, so that --by works on the file; repeatable."),
    ] = None,
    pricing: PricingOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    field_map: MapOption = None,
    log_format: LogFormatOption = None,
    estimates: EstimatesOption = True,
    task_rules: RulesOption = None,
    classify: ClassifyOption = True,
    classifier: ClassifierOption = None,
    tasks_from: TasksFromOption = "log",
    unit: UnitOption = "auto",
    group_features: Annotated[
        bool,
        typer.Option("--group-features", help="Keep features apart in the groups: `check` then tests each of them."),
    ] = False,
    rejects: RejectsOption = None,
    max_bad: MaxBadOption = 0.01,
    feedback: FeedbackOption = None,
    feedback_scale: FeedbackScaleOption = None,
    salt: Annotated[
        str | None,
        typer.Option("--salt", envvar="ROUTECOST_SALT", help="What ids (and --pairs) are hashed with. Default: own."),
    ] = None,
    plain_ids: Annotated[bool, typer.Option("--plain-ids", help="Keep ids among --by as they are.")] = False,
    pairs: Annotated[
        bool,
        typer.Option(
            "--pairs",
            help="Also write OUTPUT.pairs.parquet: token counts of each request by a salted hash of its id and prompt, "
            "so that `check` can compare the same requests.",
        ),
    ] = False,
) -> None:
    """Count logs (or merge usage files) into a usage file: exact, small, without prompts or ids."""
    import sys

    from routecost.cli.progress import bar
    from routecost.errors import UsageError
    from routecost.pipeline import commands
    from routecost.pipeline.intake import find_paths
    from routecost.usage import pairs_path, write_pairs, write_usage

    if output.suffix not in (".parquet", ".pq", ""):
        raise UsageError(f"-o {output}: a usage file is Parquet; name it {output.with_suffix('.parquet')}.")
    with bar() as progress:
        intake = commands.tally(
            find_paths(paths or []),
            tables=table or (),
            by=by or (),
            pricing=pricing or (),
            since=moment("--since", since),
            until=moment("--until", until),
            field_map=field_map,
            log_format=log_format,
            estimates=estimates,
            task_rules=task_rules,
            classify=classify,
            classifier=classifier,
            tasks_from=tasks_from,
            unit=unit,
            group_features=group_features,
            rejects=rejects,
            plain_ids=plain_ids,
            salt=salt,
            pairs=pairs,
            feedback=feedback or (),
            feedback_scale=feedback_scale,
            progress=progress,
        )
    write_usage(intake.usage, output, book_version=intake.book_version)
    sys.stderr.write(
        f"Wrote {output}: {intake.usage.requests:,} requests in {intake.usage.cells.height:,} cells"
        f" (rejected: {intake.counts.get('rejected', 0):,}, duplicates: {intake.counts.get('duplicates', 0):,}).\n"
    )
    if intake.pairs is not None:
        write_pairs(intake.pairs, pairs_path(output))
        sys.stderr.write(f"Wrote {pairs_path(output)}: {intake.pairs.rows.height:,} requests.\n")
    sys.stderr.writelines(f"{note}\n" for note in intake.notes)
    leave(intake, None, max_bad, rejects)


app.command("recommend")(recommend_command.recommend)
app.command("check")(check_command.check)
app.command("diff")(check_command.diff)
app.command("classify")(classify_command.classify)
app.command("drift")(drift_command.drift)
app.command("formats")(log_commands.formats)
app.command("inspect")(log_commands.inspect)
app.command("convert")(log_commands.convert)
app.command("status")(status_command.status)
