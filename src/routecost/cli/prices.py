"""`routecost prices`: what models cost, and whether the names in use have a price."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from routecost.cli.options import FormatOption, OutputOption, PricingOption, emit, write_whole

app = typer.Typer(no_args_is_help=True, help="What models cost: list, show, tiers, freeze, check.")


@app.command("list")
def list_(
    provider: Annotated[str | None, typer.Option(help="Only models of this provider.")] = None,
    tier: Annotated[str | None, typer.Option(help="Only models of this tier: small, mid, large or frontier.")] = None,
    search: Annotated[str | None, typer.Option(help="Only models whose name contains these words.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Models without a tier too.")] = False,
    pricing: PricingOption = None,
    fmt: FormatOption = "console",
    output: OutputOption = None,
) -> None:
    """List models and their rates today. Without options: the models that have a tier."""
    from routecost.prices import list_models, read_prices
    from routecost.render.prices import list_document

    book = read_prices(pricing or ())
    listed = list_models(book, provider=provider, tier=tier, search=search, everything=everything)
    emit(list_document(book.version, listed), fmt, output)


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="A model: provider/model, an alias, or a name as logs have it.")],
    pricing: PricingOption = None,
    fmt: FormatOption = "console",
    output: OutputOption = None,
) -> None:
    """Show every rate of a model: dates, context tiers, batch and service tiers, hours, and where they come from."""
    from routecost.prices import read_prices, show_model
    from routecost.render.prices import model_document

    book = read_prices(pricing or ())
    emit(model_document(book.version, show_model(book, model)), fmt, output)


@app.command()
def tiers(pricing: PricingOption = None, fmt: FormatOption = "console", output: OutputOption = None) -> None:
    """Show the tiers, their models and the gap between them."""
    from routecost.prices import list_tiers, read_prices
    from routecost.render.prices import tiers_document

    book = read_prices(pricing or ())
    emit(tiers_document(book.version, list_tiers(book)), fmt, output)


@app.command()
def freeze(pricing: PricingOption = None, output: OutputOption = None) -> None:
    """Write the whole price book as one JSON file that --pricing reads, so that a result can be reproduced."""
    from routecost import prices

    content = prices.freeze(prices.read_prices(pricing or ()))
    if output is None:
        sys.stdout.write(content.decode())
        return
    write_whole(output, content)
    sys.stderr.write(f"Wrote {output}\n")


@app.command()
def check(
    table: Annotated[
        list[Path] | None,
        typer.Option(help="A routing table (YAML) whose models to look up; repeatable. Default: the shipped tables."),
    ] = None,
    pricing: PricingOption = None,
    fmt: FormatOption = "console",
    output: OutputOption = None,
) -> None:
    """Check that overlays are valid and that every model they and routing tables name has a price (else exit 3)."""
    from routecost.errors import InputError
    from routecost.prices import check as check_names
    from routecost.prices import read_prices
    from routecost.render.prices import check_document

    checked = check_names(read_prices(pricing or ()), table or ())
    emit(check_document(checked), fmt, output)
    if checked.unresolved:
        names = ", ".join(dict.fromkeys(named.name for named in checked.unresolved))
        raise InputError(
            f"no price for {names}. Correct the name (`routecost prices list --search WORD` finds models), or add the "
            "model to an overlay: --pricing FILE."
        )
