"""`routecost quality`: what is known of how good models are at your tasks, and how to find out more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from routecost.cli.options import (
    AsOfOption,
    ClassifierOption,
    EstimatesOption,
    FeedbackOption,
    FeedbackScaleOption,
    FormatOption,
    LogFormatOption,
    MapOption,
    MaxBadOption,
    OutputOption,
    PathsArgument,
    PricingOption,
    RejectsOption,
    RulesOption,
    SinceOption,
    TasksFromOption,
    UntilOption,
    emit,
)

app = typer.Typer(
    no_args_is_help=True, help="Collect graded answers by task and model: from logs, benchmarks and judges."
)

TableOption = Annotated[
    Path, typer.Option("-o", "--output", help="The quality table to write: .csv, .yaml or .parquet.")
]
SourceOption = Annotated[
    str | None,
    typer.Option("--source", help="What to call the grades. Scores of different sources are never compared."),
]


@app.command("from-logs")
def from_logs(
    paths: PathsArgument = None,
    output: TableOption = Path("quality.csv"),
    signal: Annotated[
        Literal["feedback", "outcome"],
        typer.Option(
            "--signal",
            help="What grades an answer. feedback: thumbs and ratings; outcome: 1 unless it failed, was cut off or was "
            "asked for again.",
        ),
    ] = "feedback",
    source: SourceOption = None,
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
    rejects: RejectsOption = None,
    max_bad: MaxBadOption = 0.01,
    feedback: FeedbackOption = None,
    feedback_scale: FeedbackScaleOption = None,
    fmt: FormatOption = "console",
) -> None:
    """Scores, error and retry rates, latency, cost and pairs by task and model, from logs and usage files."""
    from routecost.cli.progress import bar
    from routecost.cli.read_options import day, leave, moment
    from routecost.pipeline import evidence
    from routecost.pipeline.intake import find_paths
    from routecost.render.quality import from_logs_document

    with bar() as progress:
        result = evidence.from_logs(
            find_paths(paths or []),
            output,
            signal=signal,
            source=source,
            pricing=pricing or (),
            since=moment("--since", since),
            until=moment("--until", until),
            field_map=field_map,
            log_format=log_format,
            estimates=estimates,
            task_rules=task_rules,
            classifier=classifier,
            tasks_from=tasks_from,
            rejects=rejects,
            as_of=day(as_of),
            feedback=feedback or (),
            feedback_scale=feedback_scale,
            progress=progress,
        )
    emit(from_logs_document(result), fmt, None)
    leave(result.intake, None, max_bad, rejects)


@app.command()
def watch(
    paths: PathsArgument = None,
    change: Annotated[
        str | None,
        typer.Option("--since-change", help="When something changed (UTC). Default: the day the feedback points to."),
    ] = None,
    feedback: FeedbackOption = None,
    feedback_scale: FeedbackScaleOption = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write requests that were probably misclassified, to label: .csv, ..."),
    ] = None,
    n: Annotated[int, typer.Option("-n", "--number", min=1, help="How many of these at most.")] = 200,
    below: Annotated[
        float, typer.Option("--below", min=0.0, max=1.0, help="Probability of its task under which one is doubted.")
    ] = 0.6,
    overrides: Annotated[
        Path | None, typer.Option("--overrides", help="Write the rules that route what failed up (YAML).")
    ] = None,
    table: Annotated[
        str | None, typer.Option("--table", help="Put these rules in front of this table, not in one of their own.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="The model that the rules send it to.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where something rose.")] = False,
    pricing: PricingOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    field_map: MapOption = None,
    log_format: LogFormatOption = None,
    task_rules: RulesOption = None,
    classifier: ClassifierOption = None,
    tasks_from: TasksFromOption = "log",
    fmt: FormatOption = "console",
) -> None:
    """Which tasks, features and models are called bad more often since a change, and what to do about it."""
    from routecost.cli.progress import bar
    from routecost.cli.read_options import moment
    from routecost.errors import InputError, UsageError
    from routecost.pipeline import watch as watching
    from routecost.pipeline.intake import find_paths
    from routecost.render.watch import watched_document

    if overrides is None and table is not None:
        raise UsageError("--table is what rules are put in front of: say where to write them with --overrides FILE.")
    with bar() as progress:
        result = watching.watch(
            find_paths(paths or []),
            change=moment("--since-change", change),
            feedback=feedback or (),
            feedback_scale=feedback_scale,
            output=output,
            n=n,
            below=below,
            overrides=overrides,
            table=table,
            to=to,
            pricing=pricing or (),
            since=moment("--since", since),
            until=moment("--until", until),
            field_map=field_map,
            log_format=log_format,
            task_rules=task_rules,
            classifier=classifier,
            tasks_from=tasks_from,
            progress=progress,
        )
    emit(watched_document(result), fmt, None)
    for path, used in ((output, result.output), (overrides, result.overrides)):
        if path is not None and used is None:
            typer.echo(f"There is nothing to write to {path}.", err=True)
    if result.damaged:
        raise InputError("\n".join((*result.damaged, "What could be read was counted.")))
    if strict and result.rose:
        raise typer.Exit(1)


@app.command()
def sample(
    paths: PathsArgument = None,
    n: Annotated[int, typer.Option("-n", "--number", min=1, help="How many prompts to draw.")] = 200,
    per_task: Annotated[bool, typer.Option("--per-task", help="Draw that many of each task, not of all.")] = False,
    output: Annotated[Path, typer.Option("-o", "--output", help="The prompt set to write (.jsonl).")] = Path(
        "prompts.jsonl"
    ),
    tool: Annotated[
        Literal["promptfoo"] | None, typer.Option("--for", help="Also write a tests file for this tool.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Another number draws other prompts.")] = 0,
    field_map: MapOption = None,
    log_format: LogFormatOption = None,
    task_rules: RulesOption = None,
    classifier: ClassifierOption = None,
    tasks_from: TasksFromOption = "log",
    fmt: FormatOption = "console",
) -> None:
    """Draw prompts that stand for the log's own, to run on the models that you want to know about."""
    from routecost.cli.progress import bar
    from routecost.errors import InputError
    from routecost.pipeline import evidence
    from routecost.pipeline.intake import find_paths
    from routecost.render.quality import prompt_set_document

    with bar() as progress:
        result = evidence.sample(
            find_paths(paths or []),
            n,
            output,
            per_task=per_task,
            promptfoo=tool == "promptfoo",
            seed=seed,
            classifier=classifier,
            task_rules=task_rules,
            tasks_from=tasks_from,
            field_map=field_map,
            log_format=log_format,
            progress=progress,
        )
    emit(prompt_set_document(result), fmt, None)
    if result.damaged:
        raise InputError("\n".join((*result.damaged, "What could be read was sampled.")))


@app.command("import")
def import_results(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS",
            help="Rows with id, task, model and score (CSV, JSONL, Parquet), promptfoo's output (JSON, JSONL), "
            "lm-eval's results and samples, or folders of them.",
        ),
    ],
    output: TableOption = Path("quality.csv"),
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", help="The prompt set of `quality sample`: gives each id its task and weight."),
    ] = None,
    judge_scale: Annotated[
        str | None, typer.Option("--judge-scale", metavar="WORST-BEST", help="What the scores range over, such as 1-5.")
    ] = None,
    task_map: Annotated[
        list[str] | None,
        typer.Option("--task-map", metavar="THEIRS=OURS,...", help="Benchmark or task -> task; * stands for any text."),
    ] = None,
    model_map: Annotated[
        list[str] | None,
        typer.Option("--model-map", metavar="THEIRS=OURS,...", help="What they call a model -> its name in the log."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="The metric that grades, where results have several.")
    ] = None,
    source: SourceOption = None,
    pricing: PricingOption = None,
    fmt: FormatOption = "console",
) -> None:
    """Turn results of a benchmark or a judge into a quality table: grades, pairs, latency, cost, lengths."""
    from routecost.pipeline import evidence
    from routecost.render.quality import imported_document

    result = evidence.import_results(
        results,
        output,
        prompts=prompts,
        judge_scale=judge_scale,
        task_map=task_map or (),
        model_map=model_map or (),
        metric=metric,
        source=source,
        pricing=pricing or (),
    )
    emit(imported_document(result), fmt, None)


@app.command()
def show(
    tables: Annotated[list[Path], typer.Argument(metavar="TABLE...", help="Quality tables (CSV, YAML, Parquet).")],
    fmt: FormatOption = "console",
    output: OutputOption = None,
) -> None:
    """A quality table with intervals: grades, pairs, where they come from and how old they are."""
    from routecost.pipeline import evidence
    from routecost.render.quality import quality_document

    emit(quality_document(evidence.show(tables)), fmt, output)
