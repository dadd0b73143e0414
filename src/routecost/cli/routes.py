"""`routecost routes`: look at routing tables, check them, compare them."""

from __future__ import annotations

from typing import Annotated

import typer

from routecost.cli import checking, exporting
from routecost.cli.options import (
    FormatOption,
    LogFormatOption,
    MapOption,
    OutputOption,
    PricingOption,
    RulesOption,
    emit,
)

app = typer.Typer(no_args_is_help=True, help="Show, validate and compare routing tables.")

_NAMES = "A routing table: a YAML file, or the name of a shipped one (see `routecost routes list`)."


@app.command()
def show(
    table: Annotated[str, typer.Argument(help=_NAMES)] = "default",
    fmt: FormatOption = "console",
    output: OutputOption = None,
) -> None:
    """Print a routing table: task by mode, default, overrides, fallbacks."""
    from routecost.render.routes import table_document
    from routecost.routing import read_table

    emit(table_document(read_table(table)), fmt, output)


@app.command()
def validate(
    tables: Annotated[list[str], typer.Argument(metavar="TABLE...", help=_NAMES)],
    pricing: PricingOption = None,
    task_rules: RulesOption = None,
    log: Annotated[
        list[str] | None,
        typer.Option("--log", help="Count on this log how often each rule fires, decides and overlaps; repeatable."),
    ] = None,
    field_map: MapOption = None,
    log_format: LogFormatOption = None,
    fmt: FormatOption = "console",
    output: OutputOption = None,
) -> None:
    """Check routing tables: that every model has a price, that fallbacks are equivalent, that nothing is shadowed.

    With --task-rules or --log also task rules and overrides: which overlap, shadow one another, or never fire.
    Ends with exit code 3 when a table has an error; warnings and notes do not change the exit code.
    """
    from routecost import routing
    from routecost.errors import InputError
    from routecost.prices import read_prices
    from routecost.render.routes import findings_document

    book = read_prices(pricing or ())
    refs = book.refs()
    checked: list[tuple[str, list[routing.Finding]]] = []
    read: list[routing.Table] = []
    for name in tables:
        try:
            table = routing.read_table(name)
        except InputError as error:  # so that the other tables are checked as well
            checked.append((name, [routing.Finding("error", "the file", str(error))]))
            continue
        findings = routing.validate(
            table,
            lambda model: book.resolve(provider=None, model=model),
            book.nearest,
            lambda tier: [ref for ref in refs if ref.tier == tier],
        )
        checked.append((table.source or name, findings))
        read.append(table)
    found = []
    if task_rules is not None or log:
        from routecost import tasks
        from routecost.cli.progress import bar
        from routecost.pipeline.rules import check_rules

        with bar() as progress:
            found = check_rules(
                tasks.read_rules(task_rules),
                read,
                log or (),
                field_map=field_map,
                log_format=log_format,
                progress=progress,
            )
    emit(findings_document(checked, found), fmt, output)
    if any(finding.level == "error" for _, findings in checked for finding in findings):
        raise typer.Exit(InputError.exit_code)


@app.command()
def diff(
    old: Annotated[str, typer.Argument(help=_NAMES)],
    new: Annotated[str, typer.Argument(help="The table to compare it with.")],
    fmt: FormatOption = "console",
    output: OutputOption = None,
) -> None:
    """Print what changes from one routing table to another, cell by cell."""
    from routecost import routing
    from routecost.render.routes import diff_document

    before, after = routing.read_table(old), routing.read_table(new)
    emit(diff_document(before, after, routing.diff(before, after)), fmt, output)


@app.command("list")
def list_(fmt: FormatOption = "console", output: OutputOption = None) -> None:
    """List the routing tables that come with the program."""
    from routecost import shipped
    from routecost.render.routes import list_document
    from routecost.routing import read_table

    emit(list_document([read_table(path) for path in sorted(shipped.folder("routing").glob("*.yaml"))]), fmt, output)


app.command("check")(checking.check)
app.command("export")(exporting.export_)
app.command("import")(exporting.import_)
