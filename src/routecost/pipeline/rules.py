"""Which rules overlap, shadow one another, or never fire: by what they say, and on a log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from routecost import logs, tasks
from routecost.pipeline.intake import Progress
from routecost.pipeline.labelling import open_paths, over
from routecost.routing import Finding, Table, holding
from routecost.schema import REQUEST

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RuleUse:
    """What a rule did on a log. matches: requests on which its conditions hold; decides: those on which no rule before
    it holds too."""

    number: int
    rule: str
    matches: int
    decides: int


@dataclass(frozen=True)
class Checked:
    """Rules of one kind (task rules, or a table's overrides) and what is to be said of them. requests: of the log, None
    without one."""

    name: str
    requests: int | None
    uses: tuple[RuleUse, ...]
    findings: tuple[Finding, ...]


def check_rules(
    rules: tasks.Rules,
    tables: Sequence[Table],
    paths: Sequence[str] = (),
    *,
    field_map: Path | None = None,
    log_format: str | None = None,
    progress: Progress | None = None,
) -> list[Checked]:
    """The task rules, and with a log the overrides of the tables too: each with its use and findings."""
    counted = _counted(rules, tables, open_paths(paths, field_map, log_format), progress) if paths else None
    texts = [str(rule) for rule in rules.rules]
    targets = [rule.task for rule in rules.rules]
    covered = [_covered(rules.rules[:j], rule) for j, rule in enumerate(rules.rules)]
    found = [_checked("task rules", "rule", texts, targets, covered, counted[0] if counted else None)]
    for number, table in enumerate(tables, 1):
        if counted and table.overrides:
            names = [str(o) for o in table.overrides]
            goes = [str(o.target) for o in table.overrides]
            found.append(
                _checked(f"overrides of {table.name}", "override", names, goes, [None] * len(names), counted[number])
            )
    return found


def _covered(earlier: Sequence[tasks.Rule], rule: tasks.Rule) -> int | None:
    return next((i for i, other in enumerate(earlier) if tasks.covers(other, rule)), None)


def _counted(
    rules: tasks.Rules,
    tables: Sequence[Table],
    opened: logs.Opened,
    progress: Progress | None,
) -> list[tuple[int, Counts, Counts]]:
    """For the rules and each table: requests, (n, n) requests on which two hold both, (n,) those that each decides."""

    def work(chunk: logs.Chunk, _: int) -> list[tuple[int, Counts, Counts]]:
        requests = chunk.parse(tuple(REQUEST)).requests
        frames = [tasks.matches(requests, rules), *(holding(requests, t) for t in tables)]
        return [_pairs(frame, requests.height) for frame in frames]

    damaged: list[str] = []
    total: list[tuple[int, Counts, Counts]] | None = None
    for part in over(opened, work, damaged, progress):
        total = (
            part
            if total is None
            else [(a[0] + b[0], a[1] + b[1], a[2] + b[2]) for a, b in zip(total, part, strict=True)]
        )
    return total or [(0, np.zeros((n, n), np.int64), np.zeros(n, np.int64)) for n in _sizes(rules, tables)]


def _sizes(rules: tasks.Rules, tables: Sequence[Table]) -> list[int]:
    return [len(rules.rules), *(len(t.overrides) for t in tables)]


def _pairs(frame: pl.DataFrame, height: int) -> tuple[int, Counts, Counts]:
    if not frame.width:
        return height, np.zeros((0, 0), np.int64), np.zeros(0, np.int64)
    held = frame.to_numpy().astype(np.int64)
    first = held * (np.cumsum(held, axis=1) == 1)
    return height, held.T @ held, first.sum(axis=0)


def _checked(
    name: str,
    what: str,
    texts: Sequence[str],
    targets: Sequence[str],
    covered: Sequence[int | None],
    counted: tuple[int, Counts, Counts] | None,
) -> Checked:
    findings = list(_findings(what, texts, targets, covered, counted))
    if counted is None:
        return Checked(name, None, (), tuple(findings))
    requests, both, decides = counted
    uses = tuple(RuleUse(i + 1, text, int(both[i, i]), int(decides[i])) for i, text in enumerate(texts))
    return Checked(name, requests, uses, tuple(findings))


def _findings(
    what: str,
    texts: Sequence[str],
    targets: Sequence[str],
    covered: Sequence[int | None],
    counted: tuple[int, Counts, Counts] | None,
) -> Iterator[Finding]:
    for j, text in enumerate(texts):
        where = f"{what} {j + 1} ({text})"
        if covered[j] is not None:
            i = covered[j] or 0
            yield Finding(
                "warning",
                where,
                f"it can never decide: {what} {i + 1} ({texts[i]}) comes first and holds whenever it does",
                f"Move it above {what} {i + 1}, or remove it.",
            )
            continue
        if counted is None:
            continue
        requests, both, decides = counted
        if not both[j, j]:
            yield Finding("note", where, f"it never fires: none of {requests:,} requests meets it", "")
            continue
        if not decides[j]:
            first = int(np.argmax(both[:j, j]))
            yield Finding(
                "warning",
                where,
                f"it never decides: all of its {both[j, j]:,} requests are taken by rules before it, most by {what} "
                f"{first + 1} ({both[first, j]:,})",
                f"Move it above {what} {first + 1}, or remove it.",
            )
            continue
        for i in range(j):
            if both[i, j] and targets[i] != targets[j]:
                yield Finding(
                    "note",
                    where,
                    f"it overlaps with {what} {i + 1} ({texts[i]}) on {both[i, j]:,} of its {both[j, j]:,} requests; "
                    f"they are {targets[i]}, as {what} {i + 1} comes first",
                    "",
                )
