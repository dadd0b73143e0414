"""What a response cache, the provider's prompt cache and a routing table cost together: computed, not added up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from routecost import savings, stats
from routecost.pipeline.analysis import intervals
from routecost.pipeline.intake import Options, Progress
from routecost.pipeline.repeats import VALUES, Cache, Repeats, gather, hits
from routecost.pipeline.simulation import Scenario, Simulation
from routecost.prices import Book, read_prices
from routecost.routing import Table, read_table
from routecost.usage import Settings

_CACHED = ("cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens")


@dataclass(frozen=True)
class Stack:
    """What stands together, and what that costs over the period.

    cost_usd: where the provider's prompt cache keeps all that it had; cost_high_usd: where it loses the most that it
    could. hits: requests that the response cache answers, None where there is none. interval: of the saving at
    cost_usd; share: of its part of today's cost.
    """

    name: str
    cost_usd: float
    cost_high_usd: float
    hits: int | None
    interval: stats.Interval
    share: stats.Interval


@dataclass(frozen=True)
class Stacked:
    """The stacks with one table in one mode. today_usd, requests: over what has a price on both sides; uncached_usd:
    the same without the provider's prompt cache."""

    table: str
    mode: str | None
    requests: int
    today_usd: float
    uncached_usd: float
    cache: Stack
    routing: Stack
    both: Stack

    @property
    def overlap_usd(self) -> float:
        """What the two savings would come to if they were added up, over what they come to together."""
        alone = 2 * self.today_usd - self.cache.cost_usd - self.routing.cost_usd
        return alone - (self.today_usd - self.both.cost_usd)


@dataclass(frozen=True)
class Caching:
    """The answer of `simulate --cache`. requests: all of them; looked_up: those that the cache is asked for."""

    cache: Cache
    scenarios: tuple[Stacked, ...]
    requests: int
    looked_up: int
    without_text: int
    undated: int
    answered: int
    damaged: tuple[str, ...] = ()

    def to_polars(self) -> pl.DataFrame:
        """One row a scenario and stack."""
        return pl.DataFrame(
            [
                {
                    "table": s.table,
                    "mode": s.mode,
                    "stack": stack.name,
                    "requests": s.requests,
                    "hits": stack.hits,
                    "today_usd": s.today_usd,
                    "cost_usd": stack.cost_usd,
                    "cost_high_usd": stack.cost_high_usd,
                    "saving_usd": s.today_usd - stack.cost_usd,
                    "saving_low_usd": stack.interval.low,
                    "saving_high_usd": stack.interval.high,
                }
                for s in self.scenarios
                for stack in (s.cache, s.routing, s.both)
            ],
            infer_schema_length=None,
        )


def caching(
    paths: Sequence[str],
    simulation: Simulation,
    tables: Sequence[Table | str | Path],
    cache: Cache,
    *,
    options: Options | None = None,
    pricing: Sequence[str | Path] = (),
    progress: Progress | None = None,
) -> Caching:
    """The scenarios of a simulation with a response cache before or after the router. paths: the logs of the
    simulation, which are read once more; tables, options, pricing: as it had them. Raises RoutecostError."""
    book = read_prices(pricing)
    options = options or Options()
    routing = [table if isinstance(table, Table) else read_table(table) for table in tables]
    settings = Settings(edges=book.edges, slots=book.slots, unit=options.unit)
    found = gather(paths, settings, routing, options, cache, progress)
    return stacks(found, cache, _paired(simulation.scenarios, routing), book, simulation)


def stacks(
    found: Repeats,
    cache: Cache,
    scenarios: Sequence[tuple[Scenario, Table]],
    book: Book,
    simulation: Simulation,
) -> Caching:
    """Repeats and scenarios -> what each stack costs."""
    cells = found.cells
    if (model := simulation.base_model) is not None:
        cells = cells.with_columns(
            model=pl.lit(model),
            provider=pl.lit(None, pl.String),
            problem=pl.when(pl.col("problem") != "no_model").then("problem"),
        )
    as_of = simulation.as_of
    logged = _names(cells, book)
    alone = _Answered.of(found.rows, logged, cache, with_model=True)
    failing = savings.failure_rates(simulation.intake.usage.cells, book)
    stacked = []
    for scenario, table in scenarios:
        one = savings.today(_single(cells), book, as_of=as_of)
        sent = savings.routed(one, table, book, mode=scenario.mode, failure_rates=failing, as_of=as_of)
        routed = sent.select(pl.coalesce("to_key", "routed_model", "to_model")).to_series()
        together = _Answered.of(found.rows, routed, cache, with_model=cache.order == "after")
        priced = _priced(found.rows, cells, alone, together, table, book, scenario, failing, as_of)
        stacked.append(_stacked(priced, scenario, table, cache))
    return Caching(
        cache,
        tuple(stacked),
        found.rows.height,
        found.rows.height - found.rows["key"].null_count(),
        found.without_text,
        found.undated,
        found.answered,
        found.damaged,
    )


def _paired(scenarios: Sequence[Scenario], tables: Sequence[Table]) -> list[tuple[Scenario, Table]]:
    """Scenarios stand table by table, mode by mode; two tables may have one name."""
    found: list[tuple[Scenario, Table]] = []
    place, seen = 0, set[str | None]()
    for scenario in scenarios:
        if scenario.mode in seen or scenario.name != tables[place].name:
            place, seen = place + 1, set()
        seen.add(scenario.mode)
        found.append((scenario, tables[place]))
    return found


def _names(cells: pl.DataFrame, book: Book) -> pl.Series:
    """The model of each cell, one name for all that it is called; null where the log has none."""
    pairs = cells.select("provider", "model").unique()
    names = [
        None if model is None else ref.key if (ref := book.resolve(provider, model)) else f"{provider}/{model}"
        for provider, model in pairs.iter_rows()
    ]
    pairs = pairs.with_columns(pl.Series("name", names, pl.String))
    return cells.join(pairs, on=["provider", "model"], how="left", nulls_equal=True, maintain_order="left")["name"]


def _single(cells: pl.DataFrame) -> pl.DataFrame:
    return cells.with_columns(requests=pl.lit(1, pl.Int64), **dict.fromkeys(VALUES, pl.lit(0, pl.Int64)))


@dataclass(frozen=True)
class _Answered:
    """For each row: whether the response cache answers it, and whether the provider's prompt cache may have gone cold
    before it.

    A call that is not made any more leaves a prompt cache to go cold, once: so on each model no more calls than it
    loses find it cold, at worst those with the longest cached prompts.
    """

    hit: pl.Series
    cold: pl.Series

    @classmethod
    def of(cls, rows: pl.DataFrame, model_of_cell: pl.Series, cache: Cache, *, with_model: bool) -> _Answered:
        model = model_of_cell.gather(rows["cell"]).alias("model")
        keyed = rows
        if with_model:
            known = pl.col("key").is_not_null()
            keyed = rows.with_columns(model).with_columns(key=pl.when(known).then(pl.struct("key", "model").hash(19)))
        hit = hits(keyed, cache)
        read = pl.when(~pl.col("hit")).then("cache_read_tokens")
        marked = rows.select("cache_read_tokens", model=model, hit=hit).with_columns(
            rank=read.rank("ordinal", descending=True).over("model"), lost=pl.col("hit").sum().over("model")
        )
        return cls(
            hit, marked.select(((pl.col("rank") <= pl.col("lost")) & ~pl.col("hit")).fill_null(False)).to_series()
        )


def _priced(
    rows: pl.DataFrame,
    cells: pl.DataFrame,
    alone: _Answered,
    together: _Answered,
    table: Table,
    book: Book,
    scenario: Scenario,
    failing: Mapping[str, float],
    as_of: dt.date,
) -> pl.DataFrame:
    """Rows summed by cell, group and what the caches do, with what they cost today and routed: as logged, without a
    prompt cache (none_), and with one that had gone cold (cold_: the dearer of input and cache write)."""
    flags = {"alone": alone.hit, "alone_cold": alone.cold, "both": together.hit, "both_cold": together.cold}
    keys = ["cell", "group", *flags]
    summed = (
        rows.with_columns(requests=pl.lit(1, pl.Int64), **flags)
        .group_by(keys)
        .agg(pl.col("requests", *VALUES).sum())
        .sort(keys)
    )
    frame = summed.hstack(cells.select(pl.all().gather(summed["cell"])))

    def costs(counted: pl.DataFrame) -> pl.DataFrame:
        today = savings.today(counted, book, as_of=as_of)
        return savings.routed(today, table, book, mode=scenario.mode, failure_rates=failing, as_of=as_of)

    sent = costs(frame)
    columns = [*keys, "requests", "task", "today_usd", "routed_usd", "classifier_usd"]
    if not frame.select(pl.col(_CACHED).sum().cast(pl.Int64)).sum_horizontal()[0]:
        same = {f"{kind}_{side}": pl.col(f"{side}_usd") for kind in ("none", "cold") for side in ("today", "routed")}
        return savings.comparable(sent).select(*columns, **same)
    none, as_input, as_write = (
        costs(
            frame.with_columns(**{c: pl.lit(0, pl.Int64) for c in moved}, **{to: pl.col(to) + pl.sum_horizontal(moved)})
        )
        for moved, to in ((_CACHED, "input_tokens"), (_CACHED[:1], "input_tokens"), (_CACHED[:1], "cache_write_tokens"))
    )
    added = {
        f"{kind}_{side}": of(f"{side}_usd")
        for side in ("today", "routed")
        for kind, of in (
            ("none", lambda c: none[c]),
            ("cold", lambda c: pl.select(pl.max_horizontal(as_input[c], as_write[c], sent[c])).to_series()),
        )
    }
    return savings.comparable(sent.with_columns(**added)).select(*columns, *added)


def _stacked(priced: pl.DataFrame, scenario: Scenario, table: Table, cache: Cache) -> Stacked:
    nothing = pl.lit(0.0)
    # behind the router a hit has been classified, and in front of it it has not
    of_hit = pl.col("classifier_usd") if cache.order == "after" else nothing
    costs = priced.select(
        "task",
        "group",
        "requests",
        "today_usd",
        cache=pl.when("alone").then(nothing).otherwise("today_usd"),
        routing=pl.col("routed_usd"),
        both=pl.when("both").then(of_hit).otherwise("routed_usd"),
        cache_cold=pl.when(~pl.col("alone") & pl.col("alone_cold")).then(pl.col("cold_today") - pl.col("today_usd")),
        both_cold=pl.when(~pl.col("both") & pl.col("both_cold")).then(pl.col("cold_routed") - pl.col("routed_usd")),
        all_cold=pl.when(~pl.col("both")).then(pl.col("cold_routed") - pl.col("routed_usd")),
        hits_alone=pl.col("requests") * pl.col("alone"),
        hits_both=pl.col("requests") * pl.col("both"),
    )
    total = dict(zip(costs.columns[2:], costs.select(pl.exclude("task", "group").sum()).row(0), strict=True))
    requests, today = int(total["requests"]), float(total["today_usd"])

    def stack(name: str, column: str, more: float, found: int | None) -> Stack:
        groups = costs.group_by("task", "group").agg(
            pl.col("requests", "today_usd").sum(), routed_usd=pl.col(column).sum()
        )
        cost = float(total[column])
        interval, share, _ = intervals(groups.sort("task", "group"), requests, today, cost)
        return Stack(name, cost, cost + more, found, interval, share)

    loss = scenario.saving.cache_loss_usd
    # what routing loses and what goes cold may be the same tokens: not more than all of them
    cold = min(loss + float(total["both_cold"]), float(total["all_cold"])) if loss or total["both_cold"] else 0.0
    return Stacked(
        table.name,
        scenario.mode,
        requests,
        today,
        float(priced["none_today"].sum()),
        stack("response cache", "cache", float(total["cache_cold"]), int(total["hits_alone"])),
        stack("routing", "routing", loss, None),
        stack("response cache and routing", "both", cold, int(total["hits_both"])),
    )
