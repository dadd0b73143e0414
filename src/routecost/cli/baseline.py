"""`routecost baseline`: accept what traffic costs, and see who accepted what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from routecost.cli.options import (
    ClassifierOption,
    EstimatesOption,
    FormatOption,
    LogFormatOption,
    MapOption,
    PathsArgument,
    PricingOption,
    RejectsOption,
    RulesOption,
    TasksFromOption,
    UnitOption,
    emit,
)

app = typer.Typer(no_args_is_help=True, help="Keep the usage that `routecost check` compares with.")

FileArgument = Annotated[Path, typer.Argument(metavar="BASELINE", help="The baseline.")]
DEFAULT = Path("baseline.parquet")


@app.command()
def update(
    reason: Annotated[str, typer.Option("--reason", help="Why these costs are accepted; kept in the file.")],
    paths: PathsArgument = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The baseline to write.")] = DEFAULT,
    by: Annotated[
        str | None, typer.Option("--by", help="Who accepts them. Default: git's user.name, else $USER.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a baseline that was tallied with other settings, too.")
    ] = False,
    table: Annotated[
        list[str] | None,
        typer.Option("--table", help="Tables whose rules on user, prompt or size the file shall answer; repeatable."),
    ] = None,
    pricing: PricingOption = None,
    field_map: MapOption = None,
    log_format: LogFormatOption = None,
    estimates: EstimatesOption = True,
    task_rules: RulesOption = None,
    classifier: ClassifierOption = None,
    tasks_from: TasksFromOption = "log",
    unit: UnitOption = "auto",
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Also keep each request by a keyed hash, so that `check` can pair a replay.")
    ] = False,
    salt: Annotated[
        str | None,
        typer.Option("--salt", envvar="ROUTECOST_SALT", help="With --pairs: the key of the hashes. Default: your own."),
    ] = None,
    rejects: RejectsOption = None,
    max_bad: Annotated[
        float,
        typer.Option("--max-bad", min=0.0, max=1.0, help="Share of rejected lines (0-1) above which to exit with 3."),
    ] = 0.01,
    fmt: FormatOption = "console",
) -> None:
    """Write logs or usage files as the baseline, with who, when and why; prints the difference to the old one.

    SOURCE_DATE_EPOCH fixes the time that is written, so that the same input gives the same bytes.
    """
    import sys

    from routecost.cli.progress import bar
    from routecost.cli.read_options import leave
    from routecost.errors import UsageError
    from routecost.pipeline.baseline import tally_baseline, update_baseline
    from routecost.pipeline.intake import Options, find_paths
    from routecost.render.baseline import accepted_document

    if output.suffix not in (".parquet", ".pq", ""):
        raise UsageError(f"-o {output}: a baseline is Parquet; name it {output.with_suffix('.parquet')}.")
    with bar() as progress:
        intake = tally_baseline(
            find_paths(paths or []),
            tables=table or (),
            pricing=pricing or (),
            options=Options(
                field_map=field_map,
                log_format=log_format,
                estimates=estimates,
                task_rules=task_rules,
                classifier=classifier,
                tasks_from=tasks_from,
                unit=unit,
                rejects=rejects,
                pairs=pairs,
                salt=salt,
            ),
            progress=progress,
        )
    # a log that cannot be trusted is no measure for others
    leave(intake, None, max_bad, rejects)
    accepted = update_baseline(intake, output, reason=reason, by=by, force=replace, pricing=pricing or ())
    sys.stderr.writelines(f"{note}\n" for note in intake.notes)
    emit(accepted_document(accepted), fmt, None)


@app.command()
def show(path: FileArgument = DEFAULT, fmt: FormatOption = "console") -> None:
    """Print who accepted a baseline, when and why, and how it was tallied."""
    from routecost.pipeline.baseline import read_baseline
    from routecost.render.baseline import shown_document
    from routecost.usage import read_about

    usage, baseline = read_baseline(path)
    emit(shown_document(usage, baseline, read_about(path)), fmt, None)
