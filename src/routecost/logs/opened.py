"""Files as logs: each with how it is read, and batches joined with the requests that they answer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from routecost.errors import InputError
from routecost.logs import mapped
from routecost.logs.files import Source
from routecost.logs.flat import Layout, NotRecognisedError
from routecost.logs.records import asked_of, layout_of

_SHOWN = 3


@dataclass(frozen=True)
class Opened:
    """Logs that can be read: the sources with their layouts, and what is to be said of them (complete when all is read:
    the requests of batches are read when they are first asked for)."""

    sources: tuple[Source, ...]
    layouts: tuple[Layout, ...]
    notes: Sequence[str] = ()


def open_logs(
    sources: Sequence[Source],
    given: Layout | None = None,
    extra: Sequence[str] = (),
    log_format: str | None = None,
    *,
    estimates: bool = True,
) -> Opened:
    """Every source with its layout. Requests of batches are joined with their answers: those of the same folder, else
    all. A file in a folder in which nothing is recognised is left out and said; one that was named is refused.

    Raises InputError where nothing is left to read.
    """
    found: list[tuple[Source, Layout]] = []
    unknown: list[NotRecognisedError] = []
    notes: list[str] = []
    for source in sources:
        try:
            found.append((source, layout_of(source, given, extra, log_format, estimates=estimates)))
        except NotRecognisedError as error:
            if not source.found:
                raise
            unknown.append(error)
    if unknown:
        if not found:
            raise unknown[0]
        names = ", ".join(str(error).split(":", 1)[0] for error in unknown[:_SHOWN])
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        notes.append(f"Left out, as no request is recognised in them: {names}{more}.")
    asked = [(s, lay) for s, lay in found if lay.dialect is not None and lay.dialect.companion is not None]
    answers = [pair for pair in found if pair not in asked]
    if asked and not answers:
        name = asked[0][0].name
        raise InputError(
            f"{name}: the requests of a batch, without answers: there is no usage in it. Name the output file as well "
            "(and the error file), or the folder that holds them."
        )
    if asked:
        answers = _joined(asked, answers, notes)
    for _, layout in answers:
        notes.extend(layout.notes)
    return Opened(tuple(s for s, _ in answers), tuple(layout for _, layout in answers), notes)


def _joined(
    asked: Sequence[tuple[Source, Layout]], answers: Sequence[tuple[Source, Layout]], notes: list[str]
) -> list[tuple[Source, Layout]]:
    made: dict[tuple[str, str | None], mapped.Joined] = {}
    result = []
    for source, layout in answers:
        name = layout.dialect.name if layout.dialect is not None else None
        mine = [pair for pair in asked if pair[1].dialect is not None and pair[1].dialect.companion == name]
        folder = os.path.dirname(source.path)
        near = [pair for pair in mine if os.path.dirname(pair[0].path) == folder] or mine
        if not near:
            result.append((source, layout))
            continue
        key = (folder, name)
        if key not in made:
            made[key] = _reader(near, notes)
        result.append((source, replace(layout, joined=made[key])))
    return result


def _reader(asked: Sequence[tuple[Source, Layout]], notes: list[str]) -> mapped.Joined:
    def read() -> pl.DataFrame:
        frame, several = mapped.asked([frame for source, layout in asked for frame in asked_of(source, layout)])
        if several:
            notes.append(
                f"{several:,} custom_id{'s' if several > 1 else ''} of batch inputs stand for different requests, so "
                "their answers are not joined: keep each batch in a folder of its own."
            )
        return frame

    return mapped.Joined(read)
