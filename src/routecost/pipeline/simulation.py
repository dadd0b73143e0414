"""Routing tables side by side, against today and against controls."""

from __future__ import annotations

import collections
import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from routecost import savings, stats
from routecost.errors import UsageError
from routecost.pipeline.analysis import (
    Coverage,
    Period,
    Saving,
    Scale,
    coverage_of,
    intervals,
    nothing,
    period_of,
    rebased,
    require_valid,
    saving_of,
    scale_of,
)
from routecost.pipeline.intake import Intake, require_prices
from routecost.pipeline.misrouting import Misrouting, Mistakes, misrouting
from routecost.prices import Book
from routecost.quality import one_each
from routecost.routing import Table
from routecost.usage import Usage
from routecost.usage.cells import BUCKET_BASE, ZERO_BUCKET

PERCENTILES = (0.50, 0.95, 0.99)


@dataclass(frozen=True)
class Scenario:
    """A table in a mode, with the control that moves the same share at random.

    random_usd: expected cost when the same shares of requests go to the same models whatever their task.
    share: the part of the traffic that the table is applied to, and the saving's interval with the split.
    """

    name: str
    mode: str | None
    saving: Saving
    random_usd: float
    share: float
    shared: stats.Interval
    latency: pl.DataFrame
    latency_routed: tuple[float | None, ...]
    latency_known_share: float
    by_mode: bool = False
    misrouting: Misrouting | None = None

    @property
    def over_random_usd(self) -> float:
        """What knowing the task adds to the saving, before what the classifier costs: positive when the table saves
        more than chance does."""
        return self.random_usd - (self.saving.routed_usd - self.saving.classifier_usd)


@dataclass(frozen=True)
class Control:
    """A reference: everything on one model. cost and today are over the traffic that has a price on both sides."""

    name: str
    model: str
    today_usd: float
    cost_usd: float
    requests: int
    interval: stats.Interval
    share: stats.Interval


@dataclass(frozen=True)
class Simulation:
    """The answer of `routecost simulate`; costs are unrounded USD over the whole period."""

    intake: Intake
    period: Period
    scale: Scale
    coverage: Coverage
    today_usd: float
    base_model: str | None
    unit: str
    scenarios: tuple[Scenario, ...]
    controls: tuple[Control, ...]
    latency_today: tuple[float | None, ...]
    latency_by_model: pl.DataFrame
    classifier_latency_ms: Mapping[str, float]
    book_version: str
    as_of: dt.date

    def to_polars(self) -> pl.DataFrame:
        """One row a scenario and control: name, mode, requests, today_usd, cost_usd, saving_usd, low, high."""
        rows = [
            {
                "name": s.name,
                "mode": s.mode,
                "requests": s.saving.requests,
                "today_usd": s.saving.today_usd,
                "cost_usd": s.saving.routed_usd,
                "saving_usd": s.saving.saving_usd,
                "saving_low_usd": s.saving.interval.low,
                "saving_high_usd": s.saving.interval.high,
                "random_usd": s.random_usd,
            }
            for s in self.scenarios
        ] + [
            {
                "name": c.name,
                "mode": None,
                "requests": c.requests,
                "today_usd": c.today_usd,
                "cost_usd": c.cost_usd,
                "saving_usd": c.today_usd - c.cost_usd,
                "saving_low_usd": c.interval.low,
                "saving_high_usd": c.interval.high,
                "random_usd": None,
            }
            for c in self.controls
        ]
        return pl.DataFrame(rows, infer_schema_length=None)


def simulate(
    intake: Intake,
    book: Book,
    tables: Sequence[Table],
    *,
    modes: Sequence[str] = (),
    share: float = 1.0,
    base_model: str | None = None,
    quality: pl.DataFrame | None = None,
    requests_per_day: float | None = None,
    as_of: dt.date | None = None,
    mistakes: Mistakes | None = None,
) -> Simulation:
    """Usage, prices and tables -> what each would have cost. See Simulation."""
    if not 0 < share <= 1:
        raise UsageError(f"--share: saw {share:g}, expected a part of the traffic above 0 and up to 1, such as 0.1.")
    if intake.usage.cells.height == 0:
        raise nothing(intake)
    as_of = as_of or dt.datetime.now(dt.UTC).date()
    require_valid(book, tables, base_model)
    usage = rebased(intake.usage, base_model) if base_model else intake.usage
    candidates = list(dict.fromkeys(m for t in tables for m in t.models()))
    require_prices(usage, book, candidates)
    priced = savings.today(usage.cells, book, as_of=as_of)
    failing = savings.failure_rates(intake.usage.cells, book)
    latency = latency_counts(intake.usage, book)
    scenarios = []
    for table in tables:
        shown = _modes(table, modes, usage)
        for mode in shown:
            sent = savings.routed(priced, table, book, mode=mode, failure_rates=failing, as_of=as_of)
            scenario = _scenario(sent, priced, usage, table, mode, book, share, latency, quality, as_of)
            wrong = misrouting(
                priced, sent, usage, table, book, mistakes, mode=mode, failure_rates=failing, as_of=as_of
            )
            scenarios.append(replace(scenario, by_mode=shown != [None], misrouting=wrong))
    period = period_of(usage.cells)
    latency_today = _percentiles(latency["middle"].to_numpy(), latency["n"].to_numpy().astype(float))
    if base_model:
        _, latency_today, _ = _routed_latency(savings.on_model(priced, book, None), latency, quality, book)
    return Simulation(
        intake=intake,
        period=period,
        scale=scale_of(period, usage.requests, requests_per_day),
        coverage=coverage_of(priced, book),
        today_usd=float(priced["today_usd"].sum()),
        base_model=base_model,
        unit=usage.settings.unit,
        scenarios=tuple(scenarios),
        controls=_controls(priced, usage, candidates, book, as_of),
        latency_today=latency_today,
        latency_by_model=_latency_table(latency),
        classifier_latency_ms={t.name: t.classifier_latency_ms for t in tables if t.classifier_latency_ms is not None},
        book_version=book.version,
        as_of=as_of,
    )


def _modes(table: Table, asked: Sequence[str], usage: Usage) -> list[str | None]:
    """The modes to show a table in: those asked for, else all of its own, and as logged where the log declares some."""
    if asked:
        return list(asked)
    rows = [*(table.default or {}).items(), *(x for row in table.routes.values() for x in row.items())]
    own = table.modes()
    alike = all(len({row.get(m) for m in own}) == 1 for row in [table.default or {}, *table.routes.values()])
    logged = [None] if usage.cells["mode"].null_count() < usage.cells.height else []
    if not rows or alike:
        return [None]
    return [*logged, *own]


def _scenario(
    sent: pl.DataFrame,
    priced: pl.DataFrame,
    usage: Usage,
    table: Table,
    mode: str | None,
    book: Book,
    share: float,
    latency: pl.DataFrame,
    quality: pl.DataFrame | None,
    as_of: dt.date,
) -> Scenario:
    saving = saving_of(sent, usage, table, book, mode=mode, as_of=as_of)
    chance = savings.comparable(
        savings.at_random(savings.comparable(sent).select(priced.columns), sent, book, as_of=as_of, lengths=table)
    )
    groups = (
        savings.by_group(sent, usage.groups, pooled_features=not usage.settings.group_features)
        .group_by("group", maintain_order=True)
        .agg(pl.col("requests", "today_usd", "routed_usd").sum())
        .sort("group")
    )
    shared = stats.split_interval(
        groups["today_usd"] - groups["routed_usd"], groups["requests"], saving.requests, share
    )
    if groups.height == 0:
        shared = stats.Interval(saving.saving_usd * share, None, None)
    per_cell, overall, known = _routed_latency(sent, latency, quality, book)
    return Scenario(
        table.name, mode, saving, float(chance["routed_usd"].sum()), share, shared, per_cell, overall, known
    )


def _controls(
    priced: pl.DataFrame, usage: Usage, candidates: Sequence[str], book: Book, as_of: dt.date
) -> tuple[Control, ...]:
    used: collections.Counter[str] = collections.Counter()
    logged = priced.filter(pl.col("today_usd").is_not_null()).select("provider", "model", "requests")
    for provider, model, requests in logged.group_by("provider", "model").sum().iter_rows():
        if (ref := book.resolve(provider, model)) is not None:
            used[ref.key] += requests
    controls = []
    if used:
        most_used = min(used, key=lambda key: (-used[key], key))
        controls.append(_control("all on the most used model", most_used, priced, usage, book, as_of))
    offers = [_control("all on the cheapest candidate", m, priced, usage, book, as_of) for m in candidates]
    offers = [c for c in offers if c.requests]
    if offers:
        # only what prices the most traffic is a fair control
        most = max(c.requests for c in offers)
        controls.append(min((c for c in offers if c.requests == most), key=lambda c: (c.cost_usd, c.model)))
    return tuple(controls)


def _control(name: str, model: str, priced: pl.DataFrame, usage: Usage, book: Book, as_of: dt.date) -> Control:
    sent = savings.on_model(priced, book, model, as_of=as_of)
    whole = savings.comparable(sent)
    today_usd, cost_usd = float(whole["today_usd"].sum()), float(whole["routed_usd"].sum())
    n = int(whole["requests"].sum())
    groups = savings.by_group(sent, usage.groups, pooled_features=not usage.settings.group_features)
    interval, share, _ = intervals(groups, n, today_usd, cost_usd)
    return Control(name, model, today_usd, cost_usd, n, interval, share)


# --- latency ----------------------------------------------------------------------------------------------------------


def latency_counts(usage: Usage, book: Book) -> pl.DataFrame:
    """Latency counts by task and the book's key of the model: task, key, middle (ms), n."""
    rows = usage.histograms.filter(pl.col("metric") == "latency_ms")
    pairs = (
        usage.cells.group_by("provider", "model")
        .agg(pl.col("requests").sum())
        .sort("requests", "provider", "model", descending=[True, False, False])
    )
    keys: dict[str, str] = {}
    for provider, model, _ in pairs.iter_rows():
        if model is not None and model not in keys and (ref := book.resolve(provider, model)) is not None:
            keys[model] = ref.key
    base = math.log(BUCKET_BASE)
    middle = pl.when(pl.col("bucket") == ZERO_BUCKET).then(0.0).otherwise(((pl.col("bucket") + 0.5) * base).exp())
    return (
        rows.with_columns(
            key=pl.coalesce(pl.col("model").replace_strict(keys, default=None, return_dtype=pl.String), "model"),
            middle=middle,
        )
        .group_by("task", "key", "middle")
        .agg(pl.col("n").sum())
        .sort("task", "key", "middle")
    )


def _latency_table(latency: pl.DataFrame) -> pl.DataFrame:
    rows = []
    for (task, key), part in latency.group_by("task", "key", maintain_order=True):
        p = _percentiles(part["middle"].to_numpy(), part["n"].to_numpy().astype(float))
        rows.append({"task": task, "model": key, "n": int(part["n"].sum()), **_named(p)})
    schema = {"task": pl.String, "model": pl.String, "n": pl.Int64, **_PERCENTILE_TYPES}
    return pl.DataFrame(rows, schema=schema)


_PERCENTILE_TYPES = {"p50_ms": pl.Float64, "p95_ms": pl.Float64, "p99_ms": pl.Float64}


def _named(values: tuple[float | None, ...]) -> dict[str, float | None]:
    return dict(zip(_PERCENTILE_TYPES, values, strict=True))


def _percentiles(middles: stats.Array, counts: stats.Array) -> tuple[float | None, ...]:
    return tuple(stats.percentile(middles, counts, p) for p in PERCENTILES)


def _routed_latency(
    sent: pl.DataFrame, latency: pl.DataFrame, quality: pl.DataFrame | None, book: Book
) -> tuple[pl.DataFrame, tuple[float | None, ...], float]:
    """Per task and model it would go to: p50, p95, p99 and where they come from; over all; and the share of requests
    whose latency is known. The whole is only told when every part is known."""
    wanted = (
        sent.filter(~pl.col("gateway_cache_hit").fill_null(False))
        .group_by("task", "to_key")
        .agg(pl.col("requests").sum())
        .sort("task", "to_key")
    )
    given: dict[tuple[str, str], tuple[float | None, float | None, float | None]] = {}
    if quality is not None:
        columns = ("task", "model", "latency_p50_ms", "latency_p95_ms", "latency_p99_ms")
        for task, model, p50, p95, p99 in one_each(quality).select(columns).iter_rows():
            ref = book.resolve(None, model)
            given[task, ref.key if ref else model] = (p50, p95, p99)
    rows = []
    middles: list[stats.Array] = []
    weights: list[stats.Array] = []
    known = 0
    for task, key, requests in wanted.iter_rows():
        part = latency.filter(pl.col("task").eq_missing(pl.lit(task, pl.String)) & (pl.col("key") == key))
        values: tuple[float | None, ...] = (None, None, None)
        source = None
        if part.height:
            m, n = part["middle"].to_numpy(), part["n"].to_numpy().astype(float)
            values, source = _percentiles(m, n), "log"
        elif (task, key) in given:
            values = given[task, key]
            source = "quality table" if any(v is not None for v in values) else None
            m, n = _lognormal(*values)
        if source is not None and len(m):
            middles.append(m)
            weights.append(n / n.sum() * requests)
            known += requests
        rows.append({"task": task, "model": key, "requests": requests, **_named(values), "source": source})
    types = {"task": pl.String, "model": pl.String, "requests": pl.Int64, **_PERCENTILE_TYPES, "source": pl.String}
    total = int(wanted["requests"].sum())
    overall: tuple[float | None, ...] = (None, None, None)
    if total and known == total:
        overall = _percentiles(np.concatenate(middles), np.concatenate(weights))
    return pl.DataFrame(rows, schema=types), overall, known / total if total else 0.0


def _lognormal(p50: float | None, p95: float | None, _: float | None = None) -> tuple[stats.Array, stats.Array]:
    """A distribution with this median and 95th percentile: latencies are close to log-normal."""
    from statistics import NormalDist

    if p50 is None or p95 is None or p50 <= 0 or p95 < p50:
        return np.empty(0), np.empty(0)
    sigma = math.log(p95 / p50) / NormalDist().inv_cdf(0.95)
    points = np.array([p50 * math.exp(sigma * NormalDist().inv_cdf((i + 0.5) / 1000)) for i in range(1000)])
    return points, np.ones(1000)
