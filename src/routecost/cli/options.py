"""Options that several commands share, and the one way a result leaves the program."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from routecost.render import Document

FormatName = Literal["console", "json", "markdown", "csv"]

FormatOption = Annotated[FormatName, typer.Option("--format", help="How to print the result.")]
OutputOption = Annotated[
    Path | None, typer.Option("-o", "--output", help="Write the result to a file instead of printing it.")
]
PricingOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--pricing",
        help="A price overlay (YAML, or a shipped name) or a frozen price book; repeatable, later ones win.",
    ),
]

PathsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH",
        help="Logs or usage files: JSONL, CSV or Parquet, plain or .gz / .zst; files, globs, directories, "
        "object-store URLs, or - for stdin. Without one: `logs` of routecost.toml, ./usage.parquet, ./logs*.",
        show_default=False,
    ),
]
MapOption = Annotated[Path | None, typer.Option("--map", help="Field map (YAML): their column -> ours.")]
LogFormatOption = Annotated[
    str | None,
    typer.Option("--log-format", help="The log's format, not the detected one (`routecost formats` lists them)."),
]
EstimatesOption = Annotated[
    bool,
    typer.Option(
        "--estimates/--no-estimates",
        help="Token counts that the log lacks: estimate them from text, or leave them out.",
    ),
]
RulesOption = Annotated[
    Path | None, typer.Option("--task-rules", help="Task rules (YAML), asked before the shipped ones.")
]
ClassifierOption = Annotated[
    Path | None,
    typer.Option("--classifier", help="A classifier of your own (`routecost classifier train`), not the bundled one."),
]
TasksFromOption = Annotated[
    Literal["log", "rules", "classifier", "both"],
    typer.Option(
        "--tasks-from",
        help="Who says what a request is. log: its own label, then rules, then the classifier; the others set labels "
        "aside, and both compares them.",
    ),
]
FeedbackOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--feedback",
        help="What people said later: request_id and value (ts, comment, ticket), CSV or JSONL; repeatable.",
    ),
]
FeedbackScaleOption = Annotated[
    str | None,
    typer.Option(
        "--feedback-scale", metavar="WORST-BEST", help="Feedback values are ratings in this range, such as 1-5."
    ),
]
ModeName = Annotated[str | None, typer.Option("--mode", help="Route everything in this mode: eco, balanced or sport.")]

SinceOption = Annotated[str | None, typer.Option("--since", help="Only requests from this moment on (UTC).")]
UntilOption = Annotated[str | None, typer.Option("--until", help="Only requests before this moment (UTC).")]
UnitOption = Annotated[
    Literal["auto", "request", "session", "user"],
    typer.Option("--unit", help="What varies together, for intervals. auto: user, else session, else request."),
]
RejectsOption = Annotated[Path | None, typer.Option("--rejects", help="Keep rejected lines here, with their reason.")]
MaxBadOption = Annotated[
    float,
    typer.Option(
        "--max-bad",
        min=0.0,
        max=1.0,
        help="Share of rejected lines (0-1) above which to exit with 3 (and more than 10).",
    ),
]
RequestsOption = Annotated[
    str | None, typer.Option("--requests", help="Scale to this volume, such as 50000/day or 1.5M/month.")
]
AsOfOption = Annotated[str | None, typer.Option("--as-of", help="Price requests without a date as of this day.")]
LabelsOption = Annotated[
    Path | None,
    typer.Option("--labels", help="Labelled requests to measure the classifier's mistakes on, not its model card."),
]

# Nobody wraps lines in a pipe, and a wrapped line cannot be grepped.
PIPE_WIDTH = 160


def emit(document: Document, fmt: FormatName, output: Path | None) -> None:
    """Print a document on stdout, or write it to `output`: complete or not at all."""
    from routecost import render

    to_terminal = output is None and sys.stdout.isatty()
    color = to_terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    text = render.text(document, fmt, width=_width() if to_terminal else PIPE_WIDTH, color=color)
    if output is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        write_whole(output, text.encode())
        sys.stderr.write(f"Wrote {output}\n")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever sees a part of it under its name."""
    from routecost.whole import whole_file

    with whole_file(path) as part:
        part.write_bytes(content)


def _width() -> int:
    import shutil

    return shutil.get_terminal_size((110, 24)).columns
