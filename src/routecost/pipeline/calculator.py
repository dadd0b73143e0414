"""The calculator: usage made up from a mix, for those who have no log yet."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Mapping

import polars as pl

from routecost.errors import UsageError, did_you_mean
from routecost.pipeline.intake import Intake
from routecost.prices import Book
from routecost.schema import CELL_KEY, CELL_VALUES
from routecost.usage import Settings, empty
from routecost.usage.cells import Usage


def parse_rate(text: str, option: str = "--requests") -> float:
    """`50000/day`, `2M/month`, `3/s` or `50000` (a day) -> requests a day. Raises UsageError."""
    match = re.fullmatch(
        r"\s*([\d_,.]+)\s*([kKmM]?)\s*(?:/\s*(s|second|min|minute|h|hour|d|day|week|month|year))?\s*", text
    )
    if match is None:
        raise UsageError(f"{option}: saw {text!r}, expected a number and a time, such as 50000/day or 1.5M/month.")
    number = _number(match[1], option) * {"": 1, "k": 1e3, "m": 1e6}[match[2].lower()]
    unit = match[3] or "day"
    per_day = {"s": 86_400, "min": 1_440, "h": 24, "d": 1, "w": 1 / 7, "month": 1 / 30, "y": 1 / 365}
    key = next(k for k in ("month", "min", "s", "h", "d", "w", "y") if unit.startswith(k))
    rate = number * per_day[key]
    if rate <= 0:
        raise UsageError(f"{option}: saw {text!r}, expected more than 0.")
    return rate


def parse_mix(text: str) -> dict[str, float]:
    """`simple=50,code=20,...` -> shares that sum to 1. Parts may be percent or any weights that sum to 100 or 1."""
    mix: dict[str, float] = {}
    for part in text.split(","):
        task, sign, value = part.partition("=")
        if not sign or not task.strip():
            raise UsageError(
                f"--mix: saw {part!r}, expected task=percent pairs, such as simple=50,code=20,reasoning=30."
            )
        if task.strip() in mix:
            raise UsageError(f"--mix: {task.strip()} stands more than once.")
        mix[task.strip()] = _number(value.strip().removesuffix("%"), "--mix")
    total = sum(mix.values())
    for whole in (100.0, 1.0):
        if abs(total - whole) < 1e-9 * whole:
            return {task: value / whole for task, value in mix.items()}
    raise UsageError(f"--mix: the parts sum to {total:g}, expected 100 (or 1).")


def parse_tokens(text: str, tasks: Mapping[str, float]) -> dict[str, tuple[int, int, int]]:
    """`2000/500`, or `simple=800/200,code=3000/900`; with cached tokens `2000/500/1500` (inside the input).

    Returns task -> (uncached input, output, cached input) a request.
    """
    if "=" not in text:
        return dict.fromkeys(tasks, _tokens(text))
    given: dict[str, tuple[int, int, int]] = {}
    for part in text.split(","):
        task, _, value = part.partition("=")
        if task.strip() not in tasks:
            near = did_you_mean(task.strip(), tasks)
            raise UsageError(f"--tokens: {task.strip()!r} is not in the mix.{near} The mix has {', '.join(tasks)}.")
        if task.strip() in given:
            raise UsageError(f"--tokens: {task.strip()} stands more than once.")
        given[task.strip()] = _tokens(value)
    missing = [t for t in tasks if t not in given]
    if missing:
        raise UsageError(
            f"--tokens: nothing for {', '.join(missing)}. Give every task of the mix, or one INPUT/OUTPUT for all."
        )
    return given


def _tokens(text: str) -> tuple[int, int, int]:
    parts = text.strip().split("/")
    if len(parts) not in (2, 3):
        raise UsageError(f"--tokens: saw {text!r}, expected INPUT/OUTPUT a request, such as 2000/500.")
    numbers = [int(n) for n in (_number(p, "--tokens") for p in parts) if n.is_integer()]
    if len(numbers) < len(parts):
        raise UsageError(f"--tokens: saw {text!r}, expected whole numbers of tokens, such as 2000/500.")
    cached = numbers[2] if len(numbers) == 3 else 0
    if cached > numbers[0]:
        raise UsageError(f"--tokens: {cached} cached tokens inside an input of {numbers[0]}.")
    return numbers[0] - cached, numbers[1], cached


def _number(text: str, option: str) -> float:
    # a comma is only taken for thousands: 1,5 is one and a half to some and fifteen to nobody
    grouped = re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d*)?", text.strip())
    try:
        value = float(text.replace(",", "") if grouped else text)
    except ValueError:
        raise UsageError(f"{option}: saw {text!r}, expected a number.") from None
    if not 0 <= value < 1e15:
        raise UsageError(f"{option}: saw {text!r}, expected a number of at least 0.")
    return value


def usage_of(
    requests_per_day: float,
    mix: Mapping[str, float],
    tokens: Mapping[str, tuple[int, int, int]],
    model: str,
    book: Book,
    *,
    day: dt.date | None = None,
) -> Intake:
    """One day of made-up traffic as a usage, spread evenly over the day (some prices depend on the time): whole
    requests, so that a mix that does not divide is off by less than one request a task."""
    day = day or dt.datetime.now(dt.UTC).date()
    rows = []
    for task, share in mix.items():
        uncached, output, cached = tokens[task]
        total = uncached + cached
        for start, end in itertools.pairwise((*book.slots, 1440)):
            until_then, before = (round(requests_per_day * share * minute / 1440) for minute in (end, start))
            n = until_then - before
            row: dict[str, object] = dict.fromkeys(CELL_VALUES, 0)
            row |= {
                "day": day,
                "slot": start,
                "task": task,
                "model": model,
                "band": max((e for e in book.edges if e < total), default=0),
                "status": "ok",
                "requests": n,
                "attempts": n,
                "input_tokens": uncached * n,
                "cache_read_tokens": cached * n,
                "output_tokens": output * n,
            }
            if n:
                rows.append(row)
    settings = Settings(edges=book.edges, slots=book.slots)
    integers = dict.fromkeys(CELL_VALUES, pl.Int64())
    cells = pl.DataFrame(rows, schema={**CELL_KEY, **integers}, orient="row")
    base = empty(settings)
    usage = Usage(cells, base.groups, base.histograms, base.carry, settings)
    return Intake(usage)
