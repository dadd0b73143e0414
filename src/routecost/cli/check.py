"""`routecost check`: the gate of a pull request; `routecost diff`: the same comparison for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from routecost.cli.defaults import load_config
from routecost.cli.options import (
    ClassifierOption,
    EstimatesOption,
    LogFormatOption,
    MapOption,
    OutputOption,
    PricingOption,
    RulesOption,
    TasksFromOption,
    emit,
    write_whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from routecost.gate.result import Check
    from routecost.gate.rules import Policy

CheckFormat = Literal["console", "json", "markdown", "csv", "github", "junit", "sarif"]

CurrentArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CURRENT", help="Logs or usage files of the change. Default: as for `analyze`.", show_default=False
    ),
]
BaselineOption = Annotated[
    Path,
    typer.Option("--baseline", help="What it is compared with: a usage file (`routecost baseline update`) or a log."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="Read options from this file, not ./routecost.toml.", is_eager=True, callback=load_config
    ),
]
UnitName = Annotated[
    Literal["auto", "request", "session", "user"],
    typer.Option("--unit", help="What varies together. auto: user, else session, else request."),
]
PairsOption = Annotated[
    bool,
    typer.Option("--pairs/--no-pairs", help="Compare the same requests one by one where both sides have them."),
]
SaltOption = Annotated[
    str | None,
    typer.Option("--salt", envvar="ROUTECOST_SALT", help="What `tally --pairs` hashed with. Default: your own."),
]
LiveOption = Annotated[
    bool, typer.Option("--live-prices", help="Also tell, apart, what list prices have changed between the two.")
]


def check(
    current: CurrentArgument = None,
    baseline: BaselineOption = Path("baseline.parquet"),
    max_increase: Annotated[
        list[str] | None,
        typer.Option(
            "--max-increase",
            help="How much dearer a request may get: 5%, $0.0002, '5% and $0.0002'; of one: task:code=10%, "
            "feature:billing-*=8%; repeatable. Default: 5%.",
        ),
    ] = None,
    max_increase_total: Annotated[
        str | None, typer.Option("--max-increase-total", help="At --requests: $500/month, $20/day.")
    ] = None,
    max_cost: Annotated[
        list[str] | None,
        typer.Option("--max-cost", help="A budget: $0.004/request, or at --requests $12000/month; repeatable."),
    ] = None,
    requests: Annotated[
        str | None, typer.Option("--requests", help="The volume of totals and budgets, such as 50000/day.")
    ] = None,
    min_saving: Annotated[
        str | None, typer.Option("--min-saving", help="What --table must save (20%), against today or --base-model.")
    ] = None,
    table: Annotated[
        str | None, typer.Option("--table", help="The routing table of --min-saving, --not-stale.")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option("--base-model", help="--min-saving is against everything on this model.")
    ] = None,
    not_stale: Annotated[
        bool, typer.Option("--not-stale", help="Fail where --table is stale (`routes check`).")
    ] = False,
    no_unpriced: Annotated[bool, typer.Option("--no-unpriced", help="Fail where any request has no price.")] = False,
    max_unpriced: Annotated[
        str, typer.Option("--max-unpriced", help="Share without a price above which nothing can be decided.")
    ] = "5%",
    allow: Annotated[
        list[str] | None, typer.Option("--allow", help="Fail where a model is none of these (globs); repeatable.")
    ] = None,
    alpha: Annotated[float, typer.Option("--alpha", help="Chance (0-1) of a false failure, over all rules.")] = 0.05,
    detect: Annotated[
        str, typer.Option("--detect", help="Undecided where a smaller increase than this could not be found.")
    ] = "20%",
    on_undecided: Annotated[
        Literal["undecided", "pass", "fail"],
        typer.Option("--on-undecided", help="What undecided is for the exit code."),
    ] = "undecided",
    pairs: PairsOption = True,
    salt: SaltOption = None,
    live_prices: LiveOption = False,
    config: ConfigOption = None,
    pricing: PricingOption = None,
    field_map: MapOption = None,
    log_format: LogFormatOption = None,
    estimates: EstimatesOption = True,
    task_rules: RulesOption = None,
    classifier: ClassifierOption = None,
    tasks_from: TasksFromOption = "log",
    unit: UnitName = "auto",
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Price both sides as of this day. Default: the baseline's last day.")
    ] = None,
    summary: Annotated[
        Path | None, typer.Option("--summary", help="Also append the markdown to this file ($GITHUB_STEP_SUMMARY).")
    ] = None,
    fmt: Annotated[CheckFormat, typer.Option("--format", help="How to print the result.")] = "console",
    output: OutputOption = None,
) -> None:
    """Fail where requests got dearer than the baseline: exit 0 pass, 1 regression, 4 cannot decide."""
    from routecost.cli import read_options as read
    from routecost.errors import UsageError
    from routecost.gate.rules import DEFAULT_INCREASE, Policy, parse_budget, parse_increase, parse_share

    if not 0 < alpha < 0.5:
        raise UsageError(f"--alpha: saw {alpha:g}, expected a chance above 0 and below 0.5, such as 0.05.")
    budgets = tuple(parse_budget("--max-cost", text) for text in max_cost or ())
    total = (
        parse_budget("--max-increase-total", max_increase_total, per=("day", "month")) if max_increase_total else None
    )
    volume = read.rate(requests)
    if volume is None and (total is not None or any(b.per != "request" for b in budgets)):
        raise UsageError("a limit a day or month needs the volume: give --requests, such as --requests 50000/day.")
    if table is None and (min_saving is not None or not_stale):
        raise UsageError("--min-saving and --not-stale are about a routing table: name it with --table.")
    policy = Policy(
        increases=tuple(parse_increase(text) for text in max_increase or [DEFAULT_INCREASE]),
        budgets=budgets,
        total=total,
        min_saving=parse_share("--min-saving", min_saving) if min_saving is not None else None,
        requests_per_day=volume,
        no_unpriced=no_unpriced,
        max_unpriced=parse_share("--max-unpriced", max_unpriced),
        allow=tuple(allow or ()),
        alpha=alpha,
        detect=parse_share("--detect", detect),
        on_undecided=on_undecided,
    )
    result = _compared(
        current, baseline, policy, table=table, base_model=base_model, not_stale=not_stale, pairs=pairs, salt=salt,
        live_prices=live_prices, pricing=pricing, field_map=field_map, log_format=log_format, estimates=estimates,
        task_rules=task_rules, classifier=classifier, tasks_from=tasks_from, unit=unit, as_of=as_of,
    )  # fmt: skip
    _say(result, fmt, output, summary, config)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def diff(
    baseline: Annotated[Path, typer.Argument(metavar="BASE", help="A usage file or a log.")],
    current: Annotated[list[str], typer.Argument(metavar="CURRENT", help="Logs or usage files.")],
    pairs: PairsOption = True,
    salt: SaltOption = None,
    live_prices: LiveOption = False,
    pricing: PricingOption = None,
    field_map: MapOption = None,
    log_format: LogFormatOption = None,
    estimates: EstimatesOption = True,
    task_rules: RulesOption = None,
    classifier: ClassifierOption = None,
    tasks_from: TasksFromOption = "log",
    unit: UnitName = "auto",
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Price both sides as of this day. Default: the base's last day.")
    ] = None,
    fmt: Annotated[
        Literal["console", "json", "markdown", "csv"], typer.Option("--format", help="How to print it.")
    ] = "console",
    output: OutputOption = None,
) -> None:
    """What changed between two logs or usage files, and why: the comparison of `check`, without a verdict."""
    from routecost.gate.rules import Policy
    from routecost.render.check import diff_document

    result = _compared(
        current, baseline, Policy(increases=()), pairs=pairs, salt=salt, live_prices=live_prices, pricing=pricing,
        field_map=field_map, log_format=log_format, estimates=estimates, task_rules=task_rules, classifier=classifier,
        tasks_from=tasks_from, unit=unit, as_of=as_of,
    )  # fmt: skip
    emit(diff_document(result), fmt, output)


def _compared(
    current: list[str] | None,
    baseline: Path,
    policy: Policy,
    *,
    table: str | None = None,
    base_model: str | None = None,
    not_stale: bool = False,
    pairs: bool,
    salt: str | None,
    live_prices: bool,
    pricing: list[Path] | None,
    field_map: Path | None,
    log_format: str | None,
    estimates: bool,
    task_rules: Path | None,
    classifier: Path | None,
    tasks_from: Literal["log", "rules", "classifier", "both"],
    unit: Literal["auto", "request", "session", "user"],
    as_of: str | None,
) -> Check:
    from routecost.cli import read_options as read
    from routecost.cli.progress import bar
    from routecost.pipeline import commands
    from routecost.pipeline.intake import Options, find_paths

    options = Options(
        field_map=field_map,
        task_rules=task_rules,
        log_format=log_format,
        estimates=estimates,
        classifier=classifier,
        tasks_from=tasks_from,
        unit=unit,
        salt=salt,
    )
    with bar() as progress:
        return commands.check(
            find_paths(current or []),
            baseline,
            policy,
            table=table,
            base_model=base_model,
            not_stale=not_stale,
            pairs=pairs,
            live_prices=live_prices,
            pricing=pricing or (),
            options=options,
            as_of=read.day(as_of),
            progress=progress,
        )


def _say(result: Check, fmt: CheckFormat, output: Path | None, summary: Path | None, config: Path | None) -> None:
    """Print or write the result in a format for people or for a CI system."""
    import sys
    from functools import partial

    from routecost.render import ci
    from routecost.render.check import check_document

    if summary is not None:
        with summary.open("a", encoding="utf-8") as file:
            file.write(ci.summary(result))
    makers: dict[str, Callable[[Check], str]] = {
        "github": ci.to_github,
        "markdown": ci.to_markdown,
        "junit": ci.to_junit,
        "sarif": partial(ci.to_sarif, config=str(config or "routecost.toml")),
        "json": ci.to_json,
    }
    if fmt not in makers:
        emit(check_document(result), fmt, output)  # type: ignore[arg-type]
        return
    text = makers[fmt](result)
    if output is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        write_whole(output, text.encode())
        sys.stderr.write(f"Wrote {output}\n")
