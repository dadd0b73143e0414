"""The library's front doors: paths and names in, results out. The command line calls these and nothing else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from routecost.pipeline.analysis import Analysis, analyse, require_known
from routecost.pipeline.calculator import parse_mix, parse_rate, parse_tokens, usage_of
from routecost.pipeline.intake import Intake, Options, Progress, read
from routecost.pipeline.simulation import Simulation
from routecost.pipeline.simulation import simulate as _simulate
from routecost.prices import Book, read_prices
from routecost.quality import read_quality
from routecost.routing import Table, read_table
from routecost.usage.cells import Unit

DEFAULT_TABLE = "default"
EXAMPLE = "worked-example"

Paths = str | Path | Sequence[str | Path]


def analyze(
    paths: Paths,
    *,
    table: Table | str | Path = DEFAULT_TABLE,
    mode: str | None = None,
    by: Sequence[str] = (),
    pricing: Sequence[str | Path] = (),
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    field_map: Path | None = None,
    task_rules: Path | None = None,
    classify: bool = True,
    unit: Unit = "auto",
    rejects: Path | None = None,
    base_model: str | None = None,
    requests_per_day: float | None = None,
    as_of: dt.date | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """What logs or usage files cost by task and model, and what a routing table would save.

    paths: files, globs, directories, object-store URLs or `-`. table: a Table, a YAML file or the name of a shipped
    one. since (inclusive) and until (exclusive) are moments in UTC. Costs are in USD over the whole period; `scale`
    of the result gives days and months. Raises RoutecostError (a subclass says what kind).
    """
    routing = _table(table)
    options = Options(tuple(by), since, until, field_map, task_rules, classify=classify, unit=unit, rejects=rejects)
    book, intake = _read(paths, pricing, [routing], options, progress)
    return analyse(
        intake, book, routing, by=by, mode=mode, requests_per_day=requests_per_day, as_of=as_of, base_model=base_model
    )


def simulate(
    paths: Paths,
    tables: Sequence[Table | str | Path],
    *,
    modes: Sequence[str] = (),
    share: float = 1.0,
    unit: Unit = "auto",
    base_model: str | None = None,
    quality: Path | None = None,
    pricing: Sequence[str | Path] = (),
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    field_map: Path | None = None,
    task_rules: Path | None = None,
    classify: bool = True,
    rejects: Path | None = None,
    requests_per_day: float | None = None,
    as_of: dt.date | None = None,
    progress: Progress | None = None,
) -> Simulation:
    """Routing tables side by side, against today's traffic and against controls. See Simulation and `analyze`."""
    routing = [_table(t) for t in tables]
    options = Options((), since, until, field_map, task_rules, classify=classify, unit=unit, rejects=rejects)
    book, intake = _read(paths, pricing, routing, options, progress)
    return _simulate(
        intake,
        book,
        routing,
        modes=modes,
        share=share,
        base_model=base_model,
        quality=read_quality(quality) if quality else None,
        requests_per_day=requests_per_day,
        as_of=as_of,
    )


def tally(
    paths: Paths,
    *,
    tables: Sequence[Table | str | Path] = (),
    by: Sequence[str] = (),
    pricing: Sequence[str | Path] = (),
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    field_map: Path | None = None,
    task_rules: Path | None = None,
    classify: bool = True,
    unit: Unit = "auto",
    rejects: Path | None = None,
    progress: Progress | None = None,
) -> Intake:
    """Logs and usage files counted into one usage, which usage.write_usage stores. tables: those whose rules on the
    request itself (user, prompt, size) the usage shall be able to answer."""
    options = Options(tuple(by), since, until, field_map, task_rules, classify=classify, unit=unit, rejects=rejects)
    book, intake = _read(paths, pricing, [_table(t) for t in tables], options, progress)
    return replace(intake, book_version=book.version)


def estimate(
    requests: str | float,
    mix: str,
    tokens: str,
    model: str,
    *,
    table: Table | str | Path = DEFAULT_TABLE,
    mode: str | None = None,
    pricing: Sequence[str | Path] = (),
    as_of: dt.date | None = None,
) -> Analysis:
    """The calculator: a day of made-up traffic, analysed. `requests` a day, or text such as `50000/day`."""
    book = read_prices(pricing)
    rate = parse_rate(requests) if isinstance(requests, str) else float(requests)
    require_known(book, model, "--model")
    shares = parse_mix(mix)
    # where the volume does not divide into whole requests, a million are counted and scaled
    whole = all(float(rate * share).is_integer() for share in shares.values())
    intake = usage_of(rate if whole else 1e6, shares, parse_tokens(tokens, shares), model, book, day=as_of)
    return analyse(intake, book, _table(table), mode=mode, requests_per_day=rate, as_of=as_of)


def worked_example() -> Analysis:
    """The article's example: 50,000 requests a day on gpt-5.4, 2,000 / 500 tokens each, half of them simple."""
    from routecost import shipped

    return estimate(
        50_000,
        "simple=50,code=20,reasoning=20,complex=10",
        "2000/500",
        "gpt-5.4",
        table=EXAMPLE,
        pricing=[shipped.folder("pricing") / "worked-example.yaml"],
        as_of=dt.date(2026, 5, 22),
    )


def _table(table: Table | str | Path) -> Table:
    return table if isinstance(table, Table) else read_table(table)


def _read(
    paths: Paths,
    pricing: Sequence[str | Path],
    tables: Sequence[Table],
    options: Options,
    progress: Progress | None,
) -> tuple[Book, Intake]:
    listed = [str(paths)] if isinstance(paths, str | Path) else [str(p) for p in paths]
    book = read_prices(pricing)
    return book, read(listed, book, tables=tables, options=options, progress=progress)
