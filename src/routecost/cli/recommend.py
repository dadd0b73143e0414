"""`routecost recommend`: the routing table to use, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from routecost.cli.options import (
    ClassifierOption,
    EstimatesOption,
    FormatOption,
    LabelsOption,
    LogFormatOption,
    MapOption,
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
    write_whole,
)

if TYPE_CHECKING:
    from routecost.pipeline.recommendation import Recommendation


def recommend(
    paths: PathsArgument = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the routing table here (YAML), with its evidence.")
    ] = None,
    quality: Annotated[
        list[Path] | None,
        typer.Option("--quality", help="Graded answers by task and model (CSV, YAML, Parquet); repeatable."),
    ] = None,
    policy: Annotated[
        Literal["evidence", "tiers"],
        typer.Option("--policy", help="tiers: no evidence at hand, choose by tier and price. The output says so."),
    ] = "evidence",
    reference: Annotated[
        str | None, typer.Option("--reference", help="The model you trust now. Default: the most used one.")
    ] = None,
    prefer: Annotated[
        Literal["eco", "balanced", "sport"], typer.Option("--prefer", help="The mode that is used when none is asked.")
    ] = "balanced",
    margin: Annotated[
        str | None,
        typer.Option("--margin", help="How much worse (0-1) a model may be: eco=0.1,balanced=0.03, or one for both."),
    ] = None,
    alpha: Annotated[
        float, typer.Option("--alpha", help="Chance (0-1) that a cell gets a model that is worse by the margin.")
    ] = 0.05,
    allow: Annotated[
        list[str] | None, typer.Option("--allow", help="Only these providers or models (globs); repeatable.")
    ] = None,
    deny: Annotated[
        list[str] | None, typer.Option("--deny", help="None of these providers or models (globs); repeatable.")
    ] = None,
    max_latency: Annotated[
        str | None, typer.Option("--max-latency", help="Longest p95 in ms: eco=4000,balanced=2000, or one for all.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", help="At most this for the preferred mode: 120/day or 3000/month (USD).")
    ] = None,
    floor: Annotated[
        float | None,
        typer.Option("--floor", help="Least mean quality (0-1) of the preferred mode, besides the margins."),
    ] = None,
    table: Annotated[str | None, typer.Option("--table", help="Today's routing table: its overrides are kept.")] = None,
    classifier_cost: Annotated[
        float, typer.Option("--classifier-cost", help="What classifying a request costs (USD); the bundled one: 0.")
    ] = 0.0,
    name: Annotated[str | None, typer.Option("--name", help="The table's name.")] = None,
    mix: Annotated[
        str | None, typer.Option("--mix", help="Without a log: percent of each task, simple=50,code=20,...")
    ] = None,
    tokens: Annotated[
        str, typer.Option("--tokens", help="With --mix: INPUT/OUTPUT[/CACHED] a request, or task=INPUT/OUTPUT,...")
    ] = "2000/500",
    model: Annotated[
        str, typer.Option("--model", help="With --mix: the model that all of it runs on now.")
    ] = "gpt-5.4",
    requests: RequestsOption = None,
    pricing: PricingOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    field_map: MapOption = None,
    log_format: LogFormatOption = None,
    estimates: EstimatesOption = True,
    task_rules: RulesOption = None,
    classifier: ClassifierOption = None,
    tasks_from: TasksFromOption = "log",
    unit: UnitOption = "auto",
    labels: LabelsOption = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="The day of the recommendation. Default: today.")] = None,
    rejects: RejectsOption = None,
    max_bad: Annotated[
        float,
        typer.Option("--max-bad", min=0.0, max=1.0, help="Share of rejected lines (0-1) above which to exit with 3."),
    ] = 0.01,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with the picture of cost and quality (offline).")
    ] = None,
    png: Annotated[Path | None, typer.Option("--png", help="Write that picture as PNG.")] = None,
    svg: Annotated[Path | None, typer.Option("--svg", help="Write that picture as SVG.")] = None,
    fmt: FormatOption = "console",
) -> None:
    """Recommend a routing table: the cheapest models that are shown not to be worse, task by task."""
    from routecost.cli import read_options as read
    from routecost.cli.progress import bar
    from routecost.errors import UsageError
    from routecost.pipeline import commands
    from routecost.pipeline.intake import Options, find_paths
    from routecost.pipeline.recommendation import Wishes
    from routecost.recommend.choose import MARGINS
    from routecost.render.recommendation import recommendation_document, table_yaml

    if not 0 < alpha < 0.5:
        raise UsageError(f"--alpha: saw {alpha:g}, expected a chance above 0 and below 0.5, such as 0.05.")
    if floor is not None and not 0 <= floor <= 1:
        raise UsageError(f"--floor: saw {floor:g}, expected a mean score of 0 to 1.")
    if floor is not None and budget is not None:
        raise UsageError("--floor and --budget: give one of them, the other follows from it.")
    if policy == "tiers" and quality:
        raise UsageError("--policy tiers is for those without evidence: leave --quality or --policy out.")
    wishes = Wishes(
        reference=reference,
        prefer=prefer,
        margins=read.by_mode("--margin", margin, dict(MARGINS), most=1.0),
        alpha=alpha,
        allow=tuple(allow or ()),
        deny=tuple(deny or ()),
        max_latency_ms=read.by_mode("--max-latency", max_latency, {}),
        budget_usd_per_day=read.budget(budget),
        floor=floor,
        policy=policy,
        classifier_cost_usd=classifier_cost,
        name=name or (output.stem if output else None),
    )
    if mix is not None:
        if paths:
            raise UsageError("--mix makes traffic up, and a log is traffic: leave one of them out.")
        result = commands.recommend_mix(
            requests or "50000/day",
            mix,
            tokens,
            model,
            quality=quality or (),
            wishes=wishes,
            table=table,
            pricing=pricing or (),
            as_of=read.day(as_of),
        )
    else:
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
            rejects=rejects,
        )
        with bar() as progress:
            result = commands.recommend(
                find_paths(paths or []),
                quality=quality or (),
                wishes=wishes,
                table=table,
                pricing=pricing or (),
                options=options,
                requests_per_day=read.rate(requests),
                as_of=read.day(as_of),
                labels=labels,
                progress=progress,
            )
    emit(recommendation_document(result), fmt, None)
    if output is not None:
        write_whole(output, table_yaml(result).encode())
        typer.echo(f"Wrote {output}", err=True)
    _pictures(result, html, png, svg)
    if mix is None:
        read.leave(result.intake, result.coverage, max_bad, rejects)
    if result.limited:
        typer.echo(f"routecost: {result.limited}.", err=True)
        raise typer.Exit(1)


def _pictures(result: Recommendation, html: Path | None, png: Path | None, svg: Path | None) -> None:
    """The frontier as files."""
    if html is None and png is None and svg is None:
        return
    from routecost.errors import UndecidedError
    from routecost.render import html as pages
    from routecost.render import pictures
    from routecost.render.recommendation import recommendation_document

    points = result.points()
    if not points:
        raise UndecidedError("there is no picture of cost and quality without the quality of anything: give --quality.")
    unit = "a day" if result.scale.factor is not None else "in all"
    if png is not None:
        write_whole(png, pictures.png(pictures.frontier_chart(points, unit=unit)))
    if svg is not None:
        write_whole(svg, pictures.svg(pictures.frontier_chart(points, unit=unit)).encode())
    if html is not None:
        document = recommendation_document(result)
        figure = pictures.frontier_figure(points, unit=unit)
        page = pages.page(f"Recommended routing table: {result.table.name}", document.lines, [figure], document)
        write_whole(html, page.encode())
    for path in (html, png, svg):
        if path is not None:
            typer.echo(f"Wrote {path}", err=True)
