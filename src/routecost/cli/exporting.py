"""`routecost routes export` and `import`: routing tables for other programs, and back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from routecost.cli.options import PricingOption, write_whole
from routecost.errors import UsageError

if TYPE_CHECKING:
    from routecost.export import Exported
    from routecost.routing import Table

Target = Literal["litellm", "portkey", "python", "csv"]


def export_(
    table: Annotated[str, typer.Argument(help="A routing table: a YAML file, or the name of a shipped one.")],
    to: Annotated[Target, typer.Option("--to", help="The program, or the format, that it is for.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Write it here; the rollback file goes beside it.")],
    rollback_to: Annotated[
        str | None,
        typer.Option(
            "--rollback-to",
            help="What the rollback file sends everything to: a model, or the routing table in use now. Default: the "
            "reference that a recommended table names.",
        ),
    ] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option("--provider", metavar="OURS=THEIRS", help="The target's name of a provider; repeatable."),
    ] = None,
    pricing: PricingOption = None,
) -> None:
    """Write a routing table for LiteLLM, Portkey, Python code or a spreadsheet, and beside it the way back.

    The rollback file (out.rollback.yaml for out.yaml) has the same shape with everything where it was: put it in the
    place of the other to undo the change. What the target cannot say is listed on stderr and in the file.
    """
    from routecost.export import rolled_back
    from routecost.routing import read_table

    names = _names(provider or ())
    read = read_table(table)
    write = _writer(to, names, pricing)
    exported = write(read)
    back = rollback_to or (read.made.reference if read.made else None)
    undone = None if back is None else write(rolled_back(read, _model_or_table(back)))
    beside = output.with_name(f"{output.stem}.rollback{output.suffix}")
    # the way back first: there is never a change without one
    if undone is not None:
        _write(beside, undone)
    _write(output, exported)
    if undone is None:
        sys.stderr.write(
            "No rollback file: the table does not say what it was measured against. Name a model or a table with "
            "--rollback-to.\n"
        )


def import_(
    file: Annotated[Path, typer.Argument(help="A Python module, or a LiteLLM proxy config.")],
    from_: Annotated[Literal["python", "litellm"], typer.Option("--from", help="What the file is.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Write the routing table here (YAML).")],
) -> None:
    """Read a routing table from Python code or a LiteLLM config, and write it as ours.

    A Python module is parsed and never run; it needs ROUTING_TABLE = {task: {mode: model}} at its top level.
    """
    from routecost.export import from_litellm, from_python
    from routecost.routing import to_yaml

    table, left = (from_python(file), ()) if from_ == "python" else from_litellm(file)
    header = [f"Imported from {file.name}.", *(f"Not in this table: {line}." for line in left)]
    write_whole(output, to_yaml(table, header=header).encode())
    sys.stderr.writelines(f"Not in {output}: {line}\n" for line in left)
    sys.stderr.write(f"Wrote {output}\n")


def _writer(to: Target, names: dict[str, str], pricing: list[Path] | None) -> Callable[[Table], Exported]:
    from routecost import export

    if to in ("litellm", "portkey"):
        from routecost.prices import read_prices

        book = read_prices(pricing or ())
        into = export.to_litellm if to == "litellm" else export.to_portkey
        return lambda table: into(table, lambda model: book.resolve(provider=None, model=model), names=names)
    return export.to_python if to == "python" else export.to_csv


def _write(path: Path, exported: Exported) -> None:
    write_whole(path, exported.text.encode())
    sys.stderr.writelines(f"Not in {path}: {line}\n" for line in exported.left_out)
    sys.stderr.write(f"Wrote {path}\n")


def _names(given: list[str] | tuple[()]) -> dict[str, str]:
    names = {}
    for one in given:
        ours, equals, theirs = one.partition("=")
        if not (ours and equals and theirs):
            raise UsageError(f"--provider {one} is not OURS=THEIRS, as in --provider my-vllm=hosted_vllm.")
        names[ours] = theirs
    return names


def _model_or_table(name: str) -> str | Table:
    """A routing table where there is one of this name, shipped ones too; else the name of a model."""
    from routecost import shipped
    from routecost.routing import read_table

    is_table = Path(name).is_file() or name.endswith((".yaml", ".yml")) or shipped.named("routing", name) is not None
    return read_table(name) if is_table else name
