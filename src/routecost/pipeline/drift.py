"""Two sets of logs or usage files to what drifted between them; one long log to the days on which it changed."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from routecost import logs
from routecost.drift.points import LEAST_SEGMENT, Series, change_points
from routecost.drift.result import Drift, Signal, Span, Word, require_alpha, worst
from routecost.drift.signals import LEAST_DAYS, Side, compare, signal
from routecost.drift.words import Texts, new_words, words_signal
from routecost.errors import InputError, UsageError
from routecost.pipeline.intake import Options, Progress, read
from routecost.pipeline.labelling import Typist, evaluate_labels, open_paths, over, read_labels
from routecost.prices import read_prices
from routecost.schema import INPUT_KINDS
from routecost.tasks import Rules, read_rules
from routecost.usage import Usage, is_usage_file

if TYPE_CHECKING:
    from routecost.pipeline.intake import Intake

# Texts a side that words are compared over, and how much is read of each.
TEXTS: Final = 3000
_CHARACTERS: Final = 1000
_SEED: Final = 31
_UNITS: Final = {
    "auto": ("user_id", "session_id", "request_id"),
    "user": ("user_id",),
    "session": ("session_id",),
    "request": ("request_id",),
}
_NAMES: Final = ("feature", "model")


def drift(
    base: Sequence[str],
    current: Sequence[str] = (),
    *,
    split: dt.datetime | None = None,
    alpha: float = 0.05,
    labels: Path | None = None,
    words: bool = True,
    strict: bool = False,
    pricing: Sequence[str | Path] = (),
    options: Options | None = None,
    progress: Progress | None = None,
) -> Drift:
    """What drifted from `base` to `current` (logs or usage files), or inside `base` at `split`; with neither, the days
    on which `base` changed. labels: labelled requests of the current side. strict: exit code 1 for `retrain`."""
    require_alpha(alpha)
    options = replace(options or Options(), group_features=False)
    if split is not None and current:
        raise UsageError("--split cuts one log in two, and CURRENT is a second one: give one of them.")
    book = read_prices(pricing)
    if split is None and not current:
        intake = read(base, book, options=options, progress=progress)
        return _within(_side(shlex.join(base), intake), alpha, _remarks(intake))
    sides = (base, current or base)
    each = [options, options]
    if split is not None:
        each = [replace(options, until=split), replace(options, since=split)]
    intakes = [read(p, book, options=o, progress=progress) for p, o in zip(sides, each, strict=True)]
    titles = [shlex.join(p) for p in sides]
    if split is not None:
        titles = [f"{titles[0]} before {split:%Y-%m-%d}", f"since {split:%Y-%m-%d}"]
    before, after = (_side(t, i) for t, i in zip(titles, intakes, strict=True))
    settings = [i.usage.settings for i in intakes]
    paired = settings[0].unit == settings[1].unit and settings[0].salt == settings[1].salt
    compared = compare(before, after, alpha, paired=paired)
    signals = list(compared.signals)
    found: tuple[Word, ...] = ()
    if words:
        texts = [_texts(p, o) for p, o in zip(sides, each, strict=True)]
        signals.append(words_signal(texts[0], texts[1], alpha))
        if texts[0] is not None and texts[1] is not None and signals[-1].size is not None:
            found = new_words(texts[0], texts[1])
    if labels is not None:
        signals.append(_on_labels(labels, signals, options))
    verdict = worst(tuple(signals))
    return Drift(
        verdict,
        _exit_code(verdict, strict),
        alpha,
        before.span,
        after.span,
        tuple(signals),
        compared.mix,
        compared.test,
        compared.lengths,
        compared.names,
        found,
        notes=(*_notes(before.span, after.span, settings[0], settings[1]), *_remarks(*intakes)),
    )


def _exit_code(verdict: str, strict: bool) -> int:
    return 4 if verdict == "unknown" else int(strict and verdict == "retrain")


def _remarks(*intakes: Intake) -> tuple[str, ...]:
    notes = [note for intake in intakes for note in intake.notes]
    for intake in intakes:
        notes += intake.damaged
        if rejected := intake.counts.get("rejected", 0):
            notes.append(f"{rejected:,} lines were rejected (`routecost analyze` says why).")
    return tuple(dict.fromkeys(notes))


def _notes(base: Span, current: Span, *settings: object) -> list[str]:
    notes = []
    alone = [s for s in (base, current) if s.groups < 2]
    if alone:
        notes.append(
            f"{alone[0].name} has one group of units (a usage file that is cut to some days keeps none), so that "
            "chance cannot be told. Name the log itself, or tally its two parts apart."
        )
    few = [s for s in (base, current) if s.days < LEAST_DAYS]
    if few:
        notes.append(
            f"{few[0].name} has {few[0].days} days, fewer than {LEAST_DAYS}: how much days differ by themselves cannot "
            "be told, and only units (users, sessions) say what chance is. Compare whole weeks where you can."
        )
    elif min(base.days, current.days) < 7:
        notes.append("A side is shorter than a week, so that a weekend can look like a drift. Compare whole weeks.")
    versions = {(getattr(s, "classifier", None), getattr(s, "task_rules", None)) for s in settings}
    if len(versions) > 1:
        notes.append("The sides were typed by different classifiers or rules, which moves tasks and confidence too.")
    return notes


def _side(name: str, intake: Intake) -> Side:
    usage = intake.usage
    if not usage.requests:
        raise InputError(f"{name}: no request to compare. Check the path, --split, --since and --until.")
    cells = usage.cells.with_columns(input_tokens=pl.sum_horizontal(INPUT_KINDS))
    groups = usage.groups.with_columns(input_tokens=pl.sum_horizontal(INPUT_KINDS))
    sums = pl.col("requests", "input_tokens", "output_tokens").sum()
    by_day = cells.group_by("day", "task").agg(sums).sort("day", "task")
    dated = cells["day"].drop_nulls()
    by_group = groups.group_by("group", "task").agg(sums).sort("group", "task")
    if not by_group.height:
        # a usage file cut to some days has no groups: all of it is one, which tells nothing of chance
        whole = cells.group_by("task").agg(sums).sort("task")
        by_group = whole.with_columns(group=pl.lit(0, pl.Int16))
    first, last = dated.min(), dated.max()
    span = Span(
        name,
        usage.requests,
        first if isinstance(first, dt.date) else None,
        last if isinstance(last, dt.date) else None,
        dated.n_unique(),
        by_group["group"].n_unique(),
    )
    return Side(span, by_group, by_day, _histograms(usage), {c: _named(usage, c) for c in _NAMES})


def _histograms(usage: Usage) -> dict[str, dict[int, int]]:
    summed = usage.histograms.group_by("metric", "bucket").agg(pl.col("n").sum()).sort("metric", "bucket")
    found: dict[str, dict[int, int]] = {}
    for metric, bucket, n in summed.iter_rows():
        found.setdefault(metric, {})[bucket] = n
    return found


def _named(usage: Usage, column: str) -> dict[str, int]:
    named = usage.cells.drop_nulls(column).group_by(column).agg(pl.col("requests").sum()).sort(column)
    return dict(named.iter_rows())


# --- text -------------------------------------------------------------------------------------------------------------


def _texts(paths: Sequence[str], options: Options) -> Texts | None:
    """A sample of the prompts of logs; None where a path is a usage file or stdin, which can be read only once."""
    if any(p == "-" or is_usage_file(p) for p in paths):
        return None
    units = _UNITS[options.unit]
    columns = ("prompt", "ts", *units)

    def work(chunk: logs.Chunk, _: int) -> pl.DataFrame:
        frame = chunk.parse(columns).requests
        inside = (pl.col("prompt").str.strip_chars() != "").fill_null(False)
        if options.since is not None:
            inside = inside & (pl.col("ts") >= options.since).fill_null(False)
        if options.until is not None:
            inside = inside & (pl.col("ts") < options.until).fill_null(False)
        whole = pl.struct([c for c in columns if c in frame.columns]).hash(_SEED)
        own = [pl.col(c).hash(_SEED) for c in units if c in frame.columns]
        named = [pl.when(pl.col(c).is_not_null()).then(h) for c, h in zip(units, own, strict=False)]
        rows = frame.filter(inside).with_columns(order=whole, unit=pl.coalesce(*named, whole))
        return rows.select(pl.col("prompt").str.slice(0, _CHARACTERS), "order", "unit").bottom_k(TEXTS, by="order")

    kept = pl.DataFrame(schema={"prompt": pl.String(), "order": pl.UInt64(), "unit": pl.UInt64()})
    opened = open_paths(paths, options.field_map, options.log_format, estimates=options.estimates)
    for frame in over(opened, work, [], None):
        kept = pl.concat([kept, frame]).sort("order", "prompt").head(TEXTS)
    return Texts(kept["prompt"].to_list(), kept["unit"].to_numpy())


# --- labels -----------------------------------------------------------------------------------------------------------


def _on_labels(path: Path, signals: Sequence[Signal], options: Options) -> Signal:
    """How far the accuracy on labels of the current side is below what confidence promised on the base side."""
    from routecost.classifier import load

    typist = Typist(
        load(options.classifier) if options.tasks_from != "rules" else None,
        read_rules(options.task_rules) if options.tasks_from != "classifier" else Rules(),
        ignore_log=True,
    )
    found = evaluate_labels(read_labels([path]), typist, worst=0).system.accepted
    before = next(s.base for s in signals if s.name == "estimated accuracy")
    name = "accuracy on labels"
    if found.value is None or before is None:
        why = "the base side has no confidence (--tasks-from classifier) to compare it with"
        return signal(name, None, None, None, current=found.value, why=why)
    size, half = before - found.value, (found.high - found.low) / 2
    # labels are few beside the base side, whose own error is left out
    return signal(name, size, half * 1.5, half, base=before, current=found.value)


# --- one log ----------------------------------------------------------------------------------------------------------


def _within(side: Side, alpha: float, notes: Sequence[str]) -> Drift:
    """The days on which one log changed."""
    if side.span.days < 2 * LEAST_SEGMENT:
        few = f"{side.span.days} days are too few to find a change: {2 * LEAST_SEGMENT} or more are needed."
        return Drift("unknown", 4, alpha, side.span, None, notes=(few, *notes))
    points = change_points(_series(side.days), alpha)
    return Drift("watch" if points else "fine", 0, alpha, side.span, None, points=points, notes=tuple(notes))


def _series(days: pl.DataFrame) -> list[Series]:
    dated = days.filter(pl.col("day").is_not_null())
    whole = dated.group_by("day").agg(pl.col("requests", "input_tokens", "output_tokens").sum()).sort("day")
    on = tuple(whole["day"].to_list())
    n = tuple(float(k) for k in whole["requests"].to_list())
    found = []
    for task in dated["task"].unique().sort(nulls_last=True).to_list():
        mine = dated.filter(pl.col("task").eq_missing(pl.lit(task, pl.String)))
        of_day = dict(mine.select("day", "requests").iter_rows())
        shares = tuple(of_day.get(d, 0) / k for d, k in zip(on, n, strict=True))
        found.append(Series(f"share of {task or 'unclassified'}", on, shares, n))
    for metric in ("input_tokens", "output_tokens"):
        means = tuple(t / k for t, k in zip(whole[metric].to_list(), n, strict=True))
        found.append(Series(metric.replace("_", " "), on, means, n))
    return found
