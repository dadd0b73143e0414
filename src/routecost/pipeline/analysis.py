"""What does this traffic cost, and what would a routing table save."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from routecost import savings, stats
from routecost.errors import InputError
from routecost.pipeline.intake import Intake, require_prices
from routecost.pipeline.misrouting import Misrouting, Mistakes, misrouting
from routecost.prices import Book, ModelRef
from routecost.routing import Table, validate
from routecost.schema import TASKS, TOKEN_KINDS
from routecost.usage import Usage

DAYS_PER_MONTH = 30


@dataclass(frozen=True)
class Period:
    """The days of the log, both inclusive; None where nothing has a timestamp."""

    first: dt.date | None
    last: dt.date | None

    @property
    def days(self) -> int | None:
        return None if self.first is None or self.last is None else (self.last - self.first).days + 1


@dataclass(frozen=True)
class Scale:
    """From totals to a day: the factor, and what it rests on. factor is None where there is no way to tell."""

    factor: float | None
    basis: str

    def day(self, usd: float | None) -> float | None:
        return None if self.factor is None or usd is None else usd * self.factor

    def month(self, usd: float | None) -> float | None:
        day = self.day(usd)
        return None if day is None else day * DAYS_PER_MONTH


@dataclass(frozen=True)
class UnknownModel:
    """A model that the price book does not know, how much of the traffic it is, and the nearest names."""

    model: str
    provider: str | None
    requests: int
    tokens: int
    nearest: tuple[str, ...]


@dataclass(frozen=True)
class Coverage:
    """How much of the traffic has a price. billable leaves out calls that failed without using tokens. estimated:
    requests whose token counts are estimated from text, and what they cost of all."""

    requests: int
    billable: int
    priced: int
    reasons: Mapping[str, int]
    unknown: tuple[UnknownModel, ...]
    unpriced_fees: int
    tokens: int
    priced_tokens: int
    estimated: int = 0
    estimated_usd: float = 0.0
    cost_usd: float = 0.0

    @property
    def estimated_share(self) -> float | None:
        """The part of the cost that rests on estimated token counts."""
        return self.estimated_usd / self.cost_usd if self.cost_usd else None

    @property
    def share(self) -> float | None:
        return self.priced / self.billable if self.billable else None


@dataclass(frozen=True)
class Saving:
    """What a table would save on the comparable traffic, before any scale.

    by_task: one row a task (savings.summarise). interval: of the saving in USD; share: of the saving as a part of
    today's cost. by_task_interval: the saving's interval for each task. cache_loss_usd: the most that could be lost of
    prompt caching; the saving assumes that nothing is.
    """

    table: str
    mode: str | None
    today_usd: float
    routed_usd: float
    requests: int
    moved_requests: int
    by_task: pl.DataFrame
    interval: stats.Interval
    share: stats.Interval
    by_task_interval: Mapping[str | None, stats.Interval]
    cache_loss_usd: float
    classifier_usd: float
    speculative_usd: float
    failover_usd: float
    uncomparable: int
    routed_reasons: Mapping[str, int]

    @property
    def saving_usd(self) -> float:
        return self.today_usd - self.routed_usd

    def to_polars(self) -> pl.DataFrame:
        """One row a task."""
        return self.by_task


@dataclass(frozen=True)
class Analysis:
    """The answer of `routecost analyze`. Frames are sorted; costs are unrounded USD over the whole period."""

    intake: Intake
    period: Period
    scale: Scale
    coverage: Coverage
    cost_usd: float
    mix: pl.DataFrame
    costs: pl.DataFrame
    breakdowns: Mapping[str, pl.DataFrame]
    residual: pl.DataFrame
    saving: Saving
    detail: pl.DataFrame
    book_version: str
    as_of: dt.date
    base_model: str | None = None
    misrouting: Misrouting | None = None

    def to_polars(self) -> pl.DataFrame:
        """Task, model, the `--by` keys; requests, tokens, today_usd, routed_usd, saving_usd."""
        return self.detail


def analyse(
    intake: Intake,
    book: Book,
    table: Table,
    *,
    by: Sequence[str] = (),
    mode: str | None = None,
    requests_per_day: float | None = None,
    as_of: dt.date | None = None,
    base_model: str | None = None,
    mistakes: Mistakes | None = None,
) -> Analysis:
    """Usage, prices and a table -> costs and savings. base_model: as if all of it had run on this model. Raises
    InputError when there is no request at all, or a model that was asked for has no price."""
    if intake.usage.cells.height == 0:
        raise nothing(intake)
    as_of = as_of or dt.datetime.now(dt.UTC).date()
    require_valid(book, [table], base_model)
    usage = rebased(intake.usage, base_model) if base_model else intake.usage
    require_prices(usage, book, table.models())
    priced = savings.today(_with_calendar(usage.cells, by), book, as_of=as_of)
    rates = savings.failure_rates(intake.usage.cells, book) if table.failover_rate == "from-log" else None
    sent = savings.routed(priced, table, book, mode=mode, failure_rates=rates, as_of=as_of)
    period = period_of(usage.cells)
    return Analysis(
        intake=intake,
        period=period,
        scale=scale_of(period, usage.requests, requests_per_day),
        coverage=coverage_of(priced, book),
        cost_usd=float(priced["today_usd"].sum()),
        mix=_costs(priced, ["task"]),
        costs=_costs(priced, ["task", "provider", "model"]),
        breakdowns={b: _costs(priced, [b]) for b in by},
        residual=_residual(priced),
        saving=saving_of(sent, usage, table, book, mode=mode, as_of=as_of),
        detail=_detail(sent, by),
        book_version=book.version,
        as_of=as_of,
        base_model=base_model,
        misrouting=misrouting(priced, sent, usage, table, book, mistakes, mode=mode, failure_rates=rates, as_of=as_of),
    )


def _with_calendar(cells: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Adds the week (its Monday) and the month, where a breakdown asks for them."""
    calendar = {
        "week": pl.col("day").dt.truncate("1w").dt.strftime("%Y-%m-%d"),
        "month": pl.col("day").dt.strftime("%Y-%m"),
    }
    return cells.with_columns(calendar[b].alias(b) for b in by if b in calendar)


def require_valid(book: Book, tables: Sequence[Table], base_model: str | None) -> None:
    """Refuse a table with an error, and a base model that the price book does not know. Raises InputError."""
    for table in tables:
        findings = validate(table, lambda name: book.resolve(None, name), book.nearest, _of_tier(book))
        errors = [f for f in findings if f.level == "error"]
        if errors:
            first = errors[0]
            more = f" ({len(errors) - 1} more: `routecost routes validate`)" if len(errors) > 1 else ""
            fix = f" {first.fix}" if first.fix else ""
            raise InputError(f"{table.source or table.name}: {first.where}: {first.message}{fix}{more}")
    if base_model is not None:
        require_known(book, base_model, "--base-model")


def require_known(book: Book, model: str, where: str) -> None:
    """Refuse a model that the price book does not know. Raises InputError with the nearest names."""
    if book.resolve(None, model) is None:
        near = book.nearest(model)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise InputError(
            f"{where}: the price book does not know {model!r}.{hint} "
            "Give it a price in an overlay (--pricing FILE), or see `routecost prices list`."
        )


def _of_tier(book: Book) -> Callable[[str], list[ModelRef]]:
    return lambda tier: [ref for ref in book.refs() if ref.tier == tier]


def rebased(usage: Usage, model: str) -> Usage:
    """The same traffic as if all of it had been logged on one model."""

    def on(frame: pl.DataFrame, prefix: str = "") -> pl.DataFrame:
        nobody = pl.lit(None, pl.String)
        return frame.with_columns(pl.lit(model).alias(f"{prefix}model"), nobody.alias(f"{prefix}provider"))

    cells = on(usage.cells).with_columns(problem=pl.when(pl.col("problem") != "no_model").then("problem"))
    return replace(usage, cells=cells, groups=on(usage.groups), carry=on(on(usage.carry), "previous_"))


def nothing(intake: Intake) -> InputError:
    rejected = sum(f.count for f in intake.rejected)
    outside = intake.counts.get("outside", 0)
    if rejected:
        first = intake.rejected[0]
        where = f" The first: {first.places[0]}: {first.reason}." if first.places else f" The first: {first.reason}."
        return InputError(f"no request could be read: all {rejected:,} lines were rejected.{where}")
    if outside:
        return InputError(f"no request lies in the period asked for: {outside:,} are outside it.")
    if intake.damaged:
        return InputError(intake.damaged[0])
    if others := intake.counts.get("not_calls", 0):
        named = ", ".join(intake.formats) or "this format"
        return InputError(
            f"none of the {others:,} records is a model call of {named}. `routecost inspect FILE` says what they are; "
            "leave --log-format out, or name another one."
        )
    return InputError("no request in the input: it is empty. Expected one request a line.")


def period_of(cells: pl.DataFrame) -> Period:
    first, last = cells["day"].min(), cells["day"].max()
    return Period(first if isinstance(first, dt.date) else None, last if isinstance(last, dt.date) else None)


def scale_of(period: Period, requests: int, requests_per_day: float | None) -> Scale:
    if requests_per_day is not None:
        return Scale(
            requests_per_day / requests if requests else None, f"scaled to {requests_per_day:,.6g} requests a day"
        )
    if period.days is None:
        return Scale(None, "no timestamps, so nothing a day or month can be told; give --requests N/day")
    return Scale(1 / period.days, f"total / {period.days} calendar day{'s' if period.days > 1 else ''}")


def coverage_of(priced: pl.DataFrame, book: Book) -> Coverage:
    tokens = pl.sum_horizontal(pl.col(k) for k in TOKEN_KINDS)
    frame = priced.with_columns(_tokens=tokens)
    reasons = {
        reason: n
        for reason, n in frame.group_by("unpriced").agg(pl.col("requests").sum()).sort("unpriced").iter_rows()
        if reason is not None
    }
    unknown = (
        frame.filter(pl.col("unpriced") == "unknown_model")
        .group_by("model", "provider")
        .agg(pl.col("requests", "_tokens").sum())
        .sort("requests", "model", "provider", descending=[True, False, False])
    )
    requests = int(frame["requests"].sum())
    not_billed = reasons.pop("not_billed", 0)
    good = frame.filter(pl.col("today_usd").is_not_null())
    return Coverage(
        requests=requests,
        billable=requests - not_billed,
        priced=int(good["requests"].sum()),
        reasons=reasons,
        unknown=tuple(
            UnknownModel(model, provider, n, t, tuple(book.nearest(model)))
            for model, provider, n, t in unknown.iter_rows()
        ),
        unpriced_fees=int(frame["unpriced_fees"].sum()),
        tokens=int(frame["_tokens"].sum()),
        priced_tokens=int(good["_tokens"].sum()),
        estimated=int(frame.filter("tokens_estimated")["requests"].sum()),
        estimated_usd=float(good.filter("tokens_estimated")["today_usd"].sum()),
        cost_usd=float(good["today_usd"].sum()),
    )


def _costs(priced: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Requests, tokens and cost by key; cost is null where no request of the key has a price."""
    total = int(priced["requests"].sum())
    whole = float(priced["today_usd"].sum())
    return (
        priced.group_by(keys, maintain_order=True)
        .agg(
            pl.col("requests", *TOKEN_KINDS, "reasoning_tokens").sum(),
            priced_requests=pl.col("requests").filter(pl.col("today_usd").is_not_null()).sum(),
            cost_usd=pl.col("today_usd").sum(),
        )
        .with_columns(
            share=pl.col("requests") / total,
            cost_share=pl.col("cost_usd") / whole if whole else pl.lit(None, pl.Float64),
            cost_usd=pl.when(pl.col("priced_requests") > 0).then("cost_usd"),
        )
        .sort(*_order(keys))
        .select(
            *keys, "requests", "share", *TOKEN_KINDS, "reasoning_tokens", "priced_requests", "cost_usd", "cost_share"
        )
    )


def _order(keys: Sequence[str]) -> list[pl.Expr]:
    """Tasks in their usual order; days and the like in their own; other keys by cost, dearest first."""
    order = [task_order() for key in keys if key == "task"]
    time_like = [k for k in keys if k in ("day", "week", "month", "hour", "slot")]
    order += [pl.col(k) for k in time_like]
    return [*order, -pl.col("cost_usd").fill_null(0.0), *(pl.col(k) for k in keys)]


def task_order() -> pl.Expr:
    """Position of a task: simple, code, reasoning, complex, others, unclassified."""
    position = pl.col("task").replace_strict(
        {t: i for i, t in enumerate(TASKS)}, default=len(TASKS), return_dtype=pl.Int64
    )
    return pl.when(pl.col("task").is_null()).then(len(TASKS) + 1).otherwise(position)


def _residual(priced: pl.DataFrame) -> pl.DataFrame:
    """Cost as logged against cost as computed, by model, over the cells in which every request has both."""
    both = priced.filter((pl.col("logged_cost_n") == pl.col("requests")) & pl.col("today_usd").is_not_null())
    return (
        both.group_by("provider", "model", maintain_order=True)
        .agg(
            pl.col("requests").sum(),
            # as floats before the sum: nine million dollars are all that 64 bits of picodollars hold
            logged_usd=(pl.col("logged_cost_pico") / 1e12).sum(),
            computed_usd=pl.col("today_usd").sum(),
        )
        .with_columns(residual_usd=pl.col("logged_usd") - pl.col("computed_usd"))
        .with_columns(
            residual_share=pl.when(pl.col("computed_usd") > 0).then(pl.col("residual_usd") / pl.col("computed_usd"))
        )
        .sort(-pl.col("logged_usd"), "model", "provider")
    )


def _detail(sent: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    keys = list(dict.fromkeys(["task", "provider", "model", *by]))
    sums = (
        sent.group_by(*keys, "to_model", maintain_order=True)
        .agg(
            pl.col("requests", *TOKEN_KINDS).sum(),
            priced_requests=pl.col("requests").filter(pl.col("today_usd").is_not_null()).sum(),
            comparable_requests=pl.col("requests")
            .filter(pl.col("today_usd").is_not_null() & pl.col("routed_usd").is_not_null())
            .sum(),
            today_usd=pl.col("today_usd").sum(),
            routed_usd=pl.col("routed_usd").filter(pl.col("today_usd").is_not_null()).sum(),
            _today=pl.col("today_usd").filter(pl.col("routed_usd").is_not_null()).sum(),
        )
        .with_columns(
            today_usd=pl.when(pl.col("priced_requests") > 0).then("today_usd"),
            routed_usd=pl.when(pl.col("comparable_requests") > 0).then("routed_usd"),
            saving_usd=pl.when(pl.col("comparable_requests") > 0).then(pl.col("_today") - pl.col("routed_usd")),
        )
        .drop("_today")
        .rename({"to_model": "routed_model"})
    )
    return sums.sort(task_order(), -pl.col("today_usd").fill_null(0.0), *keys, "routed_model")


def saving_of(
    sent: pl.DataFrame,
    usage: Usage,
    table: Table,
    book: Book,
    *,
    mode: str | None = None,
    as_of: dt.date | None = None,
    name: str | None = None,
) -> Saving:
    """The saving of routed cells, with its interval from the groups and its prompt-cache bound."""
    by_task = savings.summarise(sent, ["task"]).sort(task_order(), "task")
    groups = savings.by_group(sent, usage.groups, pooled_features=not usage.settings.group_features)
    reasons = sent.group_by("route_reason").agg(pl.col("requests").sum()).sort("route_reason")
    loss = savings.cache_loss(sent, usage.carry, table, book, mode=mode, as_of=as_of)
    n = int(by_task["requests"].sum())
    today_usd, routed_usd = float(by_task["today_usd"].sum()), float(by_task["routed_usd"].sum())
    interval, share, per_task = intervals(groups, n, today_usd, routed_usd)
    return Saving(
        table=name or table.name,
        mode=mode,
        today_usd=today_usd,
        routed_usd=routed_usd,
        requests=n,
        moved_requests=int(by_task["moved_requests"].sum()),
        by_task=by_task,
        interval=interval,
        share=share,
        by_task_interval=per_task,
        cache_loss_usd=loss,
        classifier_usd=float(by_task["classifier_usd"].sum()),
        speculative_usd=float(by_task["speculative_usd"].sum()),
        failover_usd=float(by_task["failover_usd"].sum()),
        uncomparable=int(sent.filter(pl.col("unpriced").ne_missing("not_billed"))["requests"].sum()) - n,
        routed_reasons=dict(reasons.iter_rows()),
    )


def intervals(
    by_group: pl.DataFrame, requests: int, today_usd: float, routed_usd: float
) -> tuple[stats.Interval, stats.Interval, dict[str | None, stats.Interval]]:
    """Intervals of the saving (USD), of its share of today's cost, and of each task's saving.

    At a fixed number of requests: it is the saving a request that is uncertain, not how many were logged.
    """
    groups = (
        by_group.group_by("group", maintain_order=True)
        .agg(pl.col("requests", "today_usd", "routed_usd").sum())
        .sort("group")
        .with_columns(saving_usd=pl.col("today_usd") - pl.col("routed_usd"))
    )
    if groups.height == 0:
        point = stats.Interval(today_usd - routed_usd, None, None)
        part = stats.Interval((today_usd - routed_usd) / today_usd if today_usd else 0.0, None, None)
        return point, part, {}
    saving = stats.jackknife_ratio(groups["saving_usd"], groups["requests"], requests)
    share = stats.jackknife_ratio(groups["saving_usd"], groups["today_usd"])
    per_task: dict[str | None, stats.Interval] = {}
    for task in by_group["task"].unique().sort().to_list():
        own = by_group.filter(pl.col("task").eq_missing(pl.lit(task, pl.String)))
        aligned = groups.select("group", "requests").join(
            own.select("group", saved=pl.col("today_usd") - pl.col("routed_usd")), on="group", how="left"
        )
        per_task[task] = stats.jackknife_ratio(aligned["saved"].fill_null(0.0), aligned["requests"], requests)
    return saving, share, per_task


def as_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as plain dicts, dates as text."""
    return [
        {k: v.isoformat() if isinstance(v, dt.date) else v for k, v in row.items()}
        for row in frame.iter_rows(named=True)
    ]
