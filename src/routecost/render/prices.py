"""Prices as documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from routecost.prices.check import Check
from routecost.prices.listing import TYPICAL_INPUT, TYPICAL_OUTPUT, Listed, ModelPrices, RateRow, TierPrices
from routecost.prices.models import CAPABILITIES, ModelRef
from routecost.render import Column, Document, Section

_RATES: Final = (
    Column("input", "input", "rate"),
    Column("cache_read", "cache read", "rate"),
    Column("cache_write", "cache write", "rate"),
    Column("cache_write_1h", "1h write", "rate"),
    Column("output", "output", "rate"),
)
PER_MILLION: Final = "USD per million tokens."


def list_document(version: str, listed: Sequence[Listed]) -> Document:
    """`prices list`: one row a model."""
    rows = [
        {
            "model": m.ref.key,
            "tier": m.ref.tier,
            **{column.key: m.rates.get(column.key) for column in _RATES},
            "context_window": m.ref.context_window,
            "source": m.source,
        }
        for m in listed
    ]
    shown = Section(
        f"{len(rows):,} models",
        (
            Column("model", "model"),
            Column("tier", "tier"),
            *(column for column in _RATES if column.key in ("input", "cache_read", "output")),
            Column("context_window", "context", "count"),
        ),
        rows,
        notes=(PER_MILLION + " Where a price depends on the time of day: at noon UTC.",),
    )
    whole = Section(shown.title, (*shown.columns[:2], *_RATES, *shown.columns[-1:], Column("source", "source")), rows)
    return Document(
        "prices list",
        lines=(f"Prices: {version}",),
        sections=(shown,),
        data={"prices": version, "models": rows},
        table=whole,
    )


def model_document(version: str, model: ModelPrices) -> Document:
    """`prices show`: every rate of one model, with its dates, context tiers, variants and hours."""
    extra = [
        column
        for column in (Column("reasoning", "reasoning", "rate"), Column("request", "a request", "usd"))
        if any(row.rates.get(column.key) not in (None, row.rates.get("output")) for row in model.rows)
    ]
    rates = Section(
        "Rates",
        (
            Column("context", "for"),
            Column("since", "since"),
            Column("hours", "UTC"),
            Column("above", "input above", "count"),
            *_RATES,
            *extra,
            Column("source", "from"),
        ),
        [_rate_row(row) for row in model.rows],
        notes=(PER_MILLION + " A kind without a rate of its own is billed as the kind that contains it.",),
    )
    ref = model.ref
    abilities = "unknown" if ref.capabilities is None else ", ".join(_in_order(ref)) or "none"
    facts = [
        f"{ref.key}" + (f" (asked for as {model.asked})" if model.asked not in (ref.key, ref.model) else ""),
        f"tier {ref.tier or 'not assigned'}, context window {_tokens(ref.context_window)}, "
        f"largest answer {_tokens(ref.max_output)}, token ratio {ref.token_ratio:g}",
        f"capabilities {abilities}",
        f"prices from {model.source}" + ("" if model.rows else ": none for tokens"),
    ]
    if ref.retired is not None:
        facts.append(f"the provider does not serve it from {ref.retired}")
    if ref.deprecated:
        facts.append("deprecated, says the catalogue" + ("" if ref.retired else "; no day is known"))
    if model.discount:
        facts.append(f"negotiated discount {model.discount:.4g}, taken off every rate below")
    if any(row.context == "batch" and row.source == model.batch_source for row in model.rows):
        facts.append(f"batches without a price of their own: {model.batch_discount:.4g} off ({model.batch_source})")
    if model.fees:
        facts.append("fees: " + ", ".join(f"{fee} ${usd:.4g} each" for fee, usd in model.fees.items()))
    data: dict[str, Any] = {
        "prices": version,
        "asked": model.asked,
        "model": {**asdict(ref), "capabilities": None if ref.capabilities is None else _in_order(ref)},
        "source": model.source,
        "discount": model.discount,
        "batch_discount": model.batch_discount,
        "fees": model.fees,
        "rates": [asdict(row) for row in model.rows],
    }
    return Document("prices show", lines=facts, sections=(rates,), data=data)


def tiers_document(version: str, tiers: Sequence[TierPrices]) -> Document:
    """`prices tiers`: the tiers and the gap between them."""
    summary = Section(
        "Tiers",
        (
            Column("tier", "tier"),
            Column("models", "models", "count"),
            Column("input", "input"),
            Column("output", "output"),
            Column("typical_usd", "typical request", "usd"),
            Column("gap", "times the tier above", "number"),
        ),
        [
            {
                "tier": t.tier,
                "models": len(t.models),
                "input": _span(t.input),
                "output": _span(t.output),
                "typical_usd": t.typical_usd,
                "gap": t.gap,
            }
            for t in tiers
        ],
        notes=(
            f"{PER_MILLION} A typical request has {TYPICAL_INPUT:,} input and {TYPICAL_OUTPUT:,} output tokens; shown "
            "is the median of the tier's models.",
            "The last column compares it with the row above.",
        ),
    )
    members = Section(
        "Models",
        (Column("tier", "tier"), Column("model", "models")),
        [{"tier": t.tier, "model": ", ".join(t.models)} for t in tiers if t.models],
    )
    return Document(
        "prices tiers",
        lines=(f"Prices: {version}",),
        sections=(summary, members),
        data={"prices": version, "tiers": [asdict(t) for t in tiers]},
    )


def check_document(check: Check) -> Document:
    """`prices check`: what was looked up, and what has no price."""
    rows = [{**asdict(named), "nearest": ", ".join(named.nearest) or None} for named in check.unresolved]
    age = "no dated price" if check.newest is None else f"newest price of {check.newest} ({check.age_days} days old)"
    lines = [
        f"Prices: {check.version}: {check.models:,} models, {age}",
        f"{len(check.names):,} names in overlays and routing tables, {len(rows):,} without a price",
    ]
    columns = (
        Column("file", "file"),
        Column("field", "field"),
        Column("name", "model"),
        Column("nearest", "did you mean"),
    )
    section = Section("Names without a price", columns, rows)
    ending = Section(
        "Models that are given up, or will be",
        (*columns[:3], Column("key", "means"), Column("retired", "not served from")),
        [{**asdict(named), "retired": named.retired or "deprecated, no day known"} for named in check.ending],
    )
    return Document(
        "prices check",
        lines=lines,
        sections=tuple(part for part in (section, ending) if part.rows),
        data={
            "prices": check.version,
            "models": check.models,
            "newest": check.newest,
            "age_days": check.age_days,
            "names": [asdict(named) for named in check.names],
            "unresolved": [asdict(named) for named in check.unresolved],
            "ending": [asdict(named) for named in check.ending],
        },
        table=section,
    )


def _in_order(ref: ModelRef) -> list[str]:
    return [name for name in CAPABILITIES if name in (ref.capabilities or ())]


def _tokens(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,} tokens"


def _rate_row(row: RateRow) -> dict[str, Any]:
    return {
        "context": row.context,
        "since": row.start.isoformat() if row.start else None,
        "hours": f"{_clock(row.hours[0])}-{_clock(row.hours[1])}" if row.hours else "all day",
        "above": row.above or None,
        # The version is in the lines above, and would make the table too wide.
        "source": "genai-prices" if row.source.startswith("genai-prices ") else row.source,
        **row.rates,
    }


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _span(values: tuple[float, float] | None) -> str | None:
    if values is None:
        return None
    low, high = values
    return f"{low:.4g}" if low == high else f"{low:.4g} - {high:.4g}"
