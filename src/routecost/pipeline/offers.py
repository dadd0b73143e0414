"""What a task's traffic would cost on each model, and whether that model could serve it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl

from routecost import savings, stats
from routecost.pipeline.simulation import latency_counts
from routecost.prices import Book, ModelRef
from routecost.recommend.evidence import Evidence
from routecost.routing import Table
from routecost.schema import FEES, MODES, TOKEN_KINDS
from routecost.usage import Usage
from routecost.usage.cells import BUCKET_BASE, ZERO_BUCKET

# A model serves a task only if it meets what all but one in a thousand of its requests need.
TAIL: Final = 0.999
# ... and has a price for nearly all of what it would be sent.
PRICED: Final = 0.99


@dataclass(frozen=True)
class Traffic:
    """By task: requests that the table decides, today's cost; by task and model, what they would cost there."""

    requests: Mapping[str, int]
    today_usd: Mapping[str, float]
    today_models: Mapping[str, Mapping[str, float]]
    routed: Mapping[tuple[str, str], float]
    base: Mapping[tuple[str, str], float]
    lost: Mapping[tuple[str, str], float]
    priced: Mapping[tuple[str, str], float]

    @classmethod
    def of(
        cls,
        priced: pl.DataFrame,
        usage: Usage,
        book: Book,
        base: Table,
        tasks: Sequence[str],
        keys: Sequence[str],
        mode: str,
        as_of: dt.date,
    ) -> Traffic:
        priced, carry = _collapsed(priced, usage.carry, book, keys, base)
        frames: dict[str, pl.DataFrame] = {}
        lost: dict[tuple[str, str], float] = {}
        has_cache = bool((priced["cache_read_tokens"] > 0).any())
        for key in keys:
            table = replace(
                base, routes={t: dict.fromkeys(MODES, key) for t in tasks}, classifier_cost_per_request_usd=0.0
            )
            sent = savings.routed(priced, table, book, mode=mode, as_of=as_of)
            frames[key] = sent.select("task", "requests", "today_usd", "routed_usd", "route_reason")
            if has_cache:
                decided = sent.filter(pl.col("route_reason") == "route")
                for task, usd in savings.cache_loss_by_task(decided, carry, book, as_of=as_of).items():
                    if task is not None:
                        lost[task, key] = usd
        first = frames[keys[0]]
        decided_rows = (first["route_reason"] == "route") & first["today_usd"].is_not_null()
        whole = first.filter(decided_rows).group_by("task").agg(pl.col("requests", "today_usd").sum())
        requests = {t: n for t, n, _ in whole.iter_rows()}
        own = first["routed_usd"]
        routed: dict[tuple[str, str], float] = {}
        beside: dict[tuple[str, str], float] = {}
        share: dict[tuple[str, str], float] = {}
        for key, frame in frames.items():
            both = frame.with_columns(own=own).filter(
                decided_rows & frame["routed_usd"].is_not_null() & own.is_not_null()
            )
            sums = both.group_by("task").agg(pl.col("requests", "routed_usd", "own").sum())
            for task, n, usd, reference_usd in sums.iter_rows():
                routed[task, key], beside[task, key] = usd, reference_usd
                share[task, key] = n / requests[task] if requests.get(task) else 0.0
        models: dict[str, dict[str, float]] = {}
        rows = priced.filter(decided_rows).group_by("task", "provider", "model").agg(pl.col("requests").sum())
        for task, provider, model, n in rows.sort("task", "provider", "model").iter_rows():
            ref = book.resolve(provider, model)
            if ref is not None:
                models.setdefault(task, {})[ref.key] = models.setdefault(task, {}).get(ref.key, 0.0) + n
        return cls(requests, {t: usd for t, _, usd in whole.iter_rows()}, models, routed, beside, lost, share)

    def kept(self, task: str, key: str, reference: str) -> float:
        """Cost of the task's traffic on a model: over what both it and the reference have a price for, in proportion
        to all that the reference has one for."""
        mine, other = self.routed.get((task, key), 0.0), self.base.get((task, key), 0.0)
        whole = self.routed.get((task, reference), 0.0)
        return mine * whole / other if other else mine

    def cost(self, task: str, key: str, reference: str) -> float:
        """The same with every prompt cache lost that routing this task alone can lose."""
        return self.kept(task, key, reference) + self.lost.get((task, key), 0.0)


def _collapsed(
    priced: pl.DataFrame, carry: pl.DataFrame, book: Book, keys: Sequence[str], base: Table
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The cells (and what came before them) without what no price of these models and no override tells apart: days
    of one price period are one day, features one feature. Sums stay what they are, and pricing is linear in them."""
    logged = [
        ref
        for p, m in priced.select("provider", "model").unique().iter_rows()
        if (ref := book.resolve(p, m)) is not None
    ]
    refs = [*logged, *(ref for key in keys if (ref := book.resolve(None, key)) is not None)]
    starts = sorted({dt.date.min}.union(*(book.model(ref).starts for ref in refs)))
    day = _floor(priced["day"], starts)
    slot = _floor(priced["slot"], sorted(book.slots_of(refs)))
    pinned = priced["model_override"].null_count() < priced.height
    kept = {"mode", "feature", "rule", "model_override"} if base.overrides or pinned else set()
    nothing = [pl.lit(None, pl.String).alias(c) for c in ("mode", "feature", "rule", "model_override") if c not in kept]
    key = ["day", "slot", "task", "provider", "model", "band", "mode", "model_override", "rule", "feature"]
    key += ["service_tier", "batch", "gateway_cache_hit", "status", "problem", "unpriced"]
    sums = ["requests", *TOKEN_KINDS, "reasoning_tokens", *FEES, "unpriced_fees", *savings.TODAY, "today_usd"]
    fewer = (
        priced.with_columns(*nothing, day, slot)
        .group_by(key, maintain_order=True)
        .agg(pl.col(sums).sum(), _priced=pl.col("today_usd").is_not_null().any())
        .with_columns(pl.when("_priced").then(pl.col(*savings.TODAY, "today_usd")))
        .drop("_priced")
    )
    before = [n.alias(f"previous_{n.meta.output_name()}") for n in nothing]
    return fewer, carry.with_columns(*nothing, *before)


def _floor(values: pl.Series, edges: Sequence[Any]) -> pl.Series:
    """The highest edge that is not above each value; null stays null."""
    steps = pl.Series(values.name, edges, dtype=values.dtype)
    first = values.fill_null(edges[0])
    found = steps.gather(steps.search_sorted(first, side="right") - 1)
    return pl.select(pl.when(values.is_not_null()).then(found)).to_series()


@dataclass(frozen=True)
class Limits:
    """What each task's requests need, by the log: tokens at TAIL, shares that need a capability, latencies."""

    tokens: Mapping[str, tuple[float, float]]
    needs: Mapping[str, Mapping[str, float]]
    served: Mapping[str, frozenset[str]]
    latencies: Mapping[tuple[str, str], float]
    as_of: dt.date

    @classmethod
    def of(cls, usage: Usage, book: Book, tasks: Sequence[str], evidence: Evidence, as_of: dt.date) -> Limits:
        tokens = {task: (_tail(usage, "input_tokens", task), _tail(usage, "output_tokens", task)) for task in tasks}
        needs: dict[str, dict[str, float]] = {}
        served: dict[str, set[str]] = {}
        whole = dict(usage.cells.group_by("task").agg(pl.col("requests").sum()).iter_rows())
        rows = usage.cells.filter(pl.col("needs").is_not_null()).group_by(
            "task", "provider", "model", "needs", "status"
        )
        for task, provider, model, wanted, status, n in rows.agg(pl.col("requests").sum()).iter_rows():
            for need in wanted.split(","):
                if task is not None:
                    share = needs.setdefault(task, {})
                    share[need] = share.get(need, 0.0) + n / whole[task]
                ref = book.resolve(provider, model)
                if status == "ok" and ref is not None:
                    served.setdefault(ref.key, set()).add(need)
        latencies = {k: p95 for k, (_, p95, _) in evidence.latency.items() if p95 is not None}
        counts = latency_counts(usage, book)
        for (task, key), part in counts.group_by("task", "key", maintain_order=True):
            p95 = stats.percentile(part["middle"].to_numpy(), part["n"].to_numpy().astype(float), 0.95)
            if p95 is not None:
                latencies[str(task), str(key)] = p95
        return cls(tokens, needs, {k: frozenset(v) for k, v in served.items()}, latencies, as_of)

    def latency(self, task: str, key: str) -> float | None:
        return self.latencies.get((task, key))

    def blocked(
        self, task: str, ref: ModelRef, mode: str, max_latency_ms: Mapping[str, float], traffic: Traffic
    ) -> str | None:
        """Why a model cannot serve a task; None where it can."""
        share = traffic.priced.get((task, ref.key), 0.0)
        if traffic.requests.get(task) and share < PRICED:
            return f"no price for {1 - share:.0%} of these requests"
        if ref.retired is not None and ref.retired <= self.as_of:
            return f"retired on {ref.retired}"
        has = (ref.capabilities or frozenset()) | self.served.get(ref.key, frozenset())
        for need, part in sorted(self.needs.get(task, {}).items()):
            if part > 1 - TAIL and need not in has:
                how = "not known to have" if ref.capabilities is None else "lacks"
                return f"{how} {need}, which {part:.1%} of these requests need"
        longest, answer = self.tokens[task]
        total = longest * ref.token_ratio + answer
        if ref.context_window is not None and total > ref.context_window:
            return f"its context of {ref.context_window:,} tokens is short of {total:,.0f}, the 99.9th percentile"
        if ref.max_output is not None and answer > ref.max_output:
            return f"it answers {ref.max_output:,} tokens at most; the 99.9th percentile is {answer:,.0f}"
        most = max_latency_ms.get(mode)
        if most is not None:
            p95 = self.latency(task, ref.key)
            if p95 is None:
                return f"its latency is unknown, and {mode} allows {most:,.0f} ms at p95"
            if p95 > most:
                return f"p95 {p95:,.0f} ms, and {mode} allows {most:,.0f} ms"
        return None

    def unknown(self, ref: ModelRef) -> tuple[str, ...]:
        """What of its limits nobody knows."""
        return tuple(
            what
            for what, value in (("context window", ref.context_window), ("capabilities", ref.capabilities))
            if value is None
        )


def _tail(usage: Usage, metric: str, task: str) -> float:
    """Tokens of a request at TAIL: the upper end of the bucket."""
    rows = usage.histograms.filter((pl.col("metric") == metric) & (pl.col("task") == task))
    if rows.height == 0:
        cells = usage.cells.filter((pl.col("task") == task) & (pl.col("requests") > 0))
        kinds = pl.sum_horizontal("input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens")
        total = kinds if metric == "input_tokens" else pl.col("output_tokens")
        most = cells.select((total / pl.col("requests")).max()).item()
        return float(most or 0.0)
    top = pl.when(pl.col("bucket") == ZERO_BUCKET).then(0.0).otherwise(BUCKET_BASE ** (pl.col("bucket") + 1.0))
    by = rows.group_by("bucket").agg(pl.col("n").sum()).sort("bucket").with_columns(top=top)
    return stats.percentile(by["top"].to_numpy(), by["n"].to_numpy().astype(float), TAIL) or 0.0
