"""What was read, what was left out, and how much of the traffic has a price."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from routecost.logs import CORRECTIONS, FLAT, estimate_method
from routecost.pipeline.analysis import Coverage, Period, Scale
from routecost.pipeline.intake import CORRECTED, Intake
from routecost.prices import REASONS
from routecost.render import Column, Section

UNCLASSIFIED = "unclassified"
NOBODY = "(none)"
_FORMATS_NAMED = 4


def intake_lines(intake: Intake, period: Period, coverage: Coverage, book_version: str) -> list[str]:
    """The first sentences of a result."""
    if not intake.files and coverage.priced == coverage.billable:
        return [f"Made up from a mix, without a log, at the prices of {book_version}."]
    files = f"{intake.files} file{'s' if intake.files != 1 else ''}"
    lines = [f"Read {many(coverage.requests, 'request')} from {files}{_formats(intake)}{_when(period)}."]
    left = []
    counts = intake.counts
    for key, text in (
        ("rejected", "line#s rejected"),
        ("duplicates", "repeated request id#s (counted once)"),
        ("outside", "outside the period asked for"),
        ("undated", "without a timestamp"),
        ("not_calls", "record#s other than a model call"),
        ("repeated_lines", "repeated line#s of a call (counted once)"),
    ):
        if counts.get(key):
            left.append(f"{counts[key]:,} {text.replace('#s', '' if counts[key] == 1 else 's')}")
    if left:
        lines.append("  " + "; ".join(left) + ".")
    if coverage.share is not None:
        share = f"{coverage.share:.1%}" if coverage.priced < coverage.billable else "100%"
        lines.append(f"Prices cover {share} of {coverage.billable:,} billable requests ({book_version}).")
    not_billed = coverage.requests - coverage.billable
    if not_billed:
        lines.append(f"  {not_billed:,} failed without using tokens, which is not billed.")
    if coverage.estimated:
        part = coverage.estimated_share
        cost = f", {part:.1%} of the cost" if part is not None else ""
        verb = "has" if coverage.estimated == 1 else "have"
        lines.append(
            f"  {many(coverage.estimated, 'request')} ({coverage.estimated / coverage.requests:.1%}{cost}) {verb} no "
            f"token counts in the log: they are estimated from text{_method(intake)}; --no-estimates leaves them out."
        )
    return lines


def _method(intake: Intake) -> str:
    """How, if it was done just now; a usage file does not tell."""
    return f" ({estimate_method()})" if intake.formats else ""


def _formats(intake: Intake) -> str:
    """What the files are, where they are not all flat."""
    if set(intake.formats) <= {FLAT}:
        return ""
    if len(intake.formats) == 1:
        return f" ({next(iter(intake.formats))})"
    if len(intake.formats) > _FORMATS_NAMED:
        return f" of {len(intake.formats)} formats"
    return " (" + ", ".join(f"{n} {name}" for name, n in intake.formats.items()) + ")"


def correction_notes(intake: Intake) -> list[str]:
    """How often the logged arithmetic corrected a count, and how."""
    return [
        f"{many(n, 'request')}: {what}, as the logged total says."
        for name, what in CORRECTIONS.items()
        if (n := intake.counts.get(f"{CORRECTED}{name}"))
    ]


def _when(period: Period) -> str:
    if period.first is None or period.last is None:
        return ", without timestamps"
    if period.first == period.last:
        return f", {period.first.isoformat()}"
    return f", {period.first.isoformat()} to {period.last.isoformat()} ({period.days} days)"


def fault_section(intake: Intake) -> Section | None:
    """What was rejected and why, with the first places; None when nothing was."""
    rows: list[dict[str, Any]] = [
        {"what": f.code, "count": f.count, "reason": f.reason, "where": ", ".join(map(str, f.places))}
        for f in intake.rejected
    ]
    rows += [{"what": "damaged", "count": None, "reason": text, "where": ""} for text in intake.damaged]
    if intake.duplicates:
        rows.append(
            {
                "what": "duplicate_id",
                "count": intake.counts.get("duplicates", 0),
                "reason": "the request id stands more than once; counted once",
                "where": ", ".join(map(str, intake.duplicates)),
            }
        )
    if not rows:
        return None
    columns = (
        Column("what", "Left out"),
        Column("count", "Lines", "count"),
        Column("reason", "The first one"),
        Column("where", "Where", "span"),
    )
    return Section("Lines left out", columns, rows)


def unpriced_section(coverage: Coverage) -> Section | None:
    """Why some requests have no price; None when all have one."""
    rows = []
    for reason, n in coverage.reasons.items():
        if reason == "unknown_model":
            continue
        rows.append({"reason": REASONS.get(reason, reason), "requests": n, "share": _share(n, coverage), "hint": ""})
    for unknown in coverage.unknown:
        provider = f" of {unknown.provider}" if unknown.provider else ""
        near = f"nearest: {', '.join(unknown.nearest)}" if unknown.nearest else "no similar name"
        rows.append(
            {
                "reason": f"unknown model {unknown.model!r}{provider}",
                "requests": unknown.requests,
                "share": _share(unknown.requests, coverage),
                "hint": near,
            }
        )
    if not rows:
        return None
    columns = (
        Column("reason", "No price because"),
        Column("requests", "Requests", "count"),
        Column("share", "Share", "percent"),
        Column("hint", "Hint"),
    )
    tokens = coverage.tokens - coverage.priced_tokens
    part = f"{tokens / coverage.tokens:.1%}" if coverage.tokens else "0%"
    note = (
        f"Every total leaves these requests out: {coverage.billable - coverage.priced:,} of {coverage.billable:,}, "
        f"with {tokens:,} tokens ({part}). A price goes into an overlay: --pricing FILE."
    )
    return Section("Without a price", columns, rows, notes=(note,))


def _share(n: int, coverage: Coverage) -> float | None:
    return n / coverage.billable if coverage.billable else None


def intake_data(intake: Intake, period: Period, scale: Scale, coverage: Coverage) -> Mapping[str, Any]:
    """The same for JSON."""
    return {
        "input": {
            "files": intake.files,
            "requests": coverage.requests,
            "lines": intake.counts.get("lines", 0),
            "rejected": intake.counts.get("rejected", 0),
            "duplicates": intake.counts.get("duplicates", 0),
            "outside_period": intake.counts.get("outside", 0),
            "undated": intake.counts.get("undated", 0),
            "not_calls": intake.counts.get("not_calls", 0),
            "repeated_lines": intake.counts.get("repeated_lines", 0),
            "corrected": {name: n for name in CORRECTIONS if (n := intake.counts.get(f"{CORRECTED}{name}"))},
            "formats": dict(intake.formats),
            "rejects": [
                {"code": f.code, "count": f.count, "reason": f.reason, "places": [str(p) for p in f.places]}
                for f in intake.rejected
            ],
            "duplicate_places": [str(p) for p in intake.duplicates],
            "damaged": list(intake.damaged),
            "notes": list(intake.notes),
        },
        "period": {"first": period.first, "last": period.last, "days": period.days},
        "scale": {"per_day": scale.factor, "basis": scale.basis},
        "coverage": {
            "billable": coverage.billable,
            "priced": coverage.priced,
            "share": coverage.share,
            "unpriced": dict(coverage.reasons),
            "unknown_models": [
                {
                    "model": u.model,
                    "provider": u.provider,
                    "requests": u.requests,
                    "tokens": u.tokens,
                    "nearest": list(u.nearest),
                }
                for u in coverage.unknown
            ],
            "unpriced_fee_units": coverage.unpriced_fees,
            "tokens": coverage.tokens,
            "priced_tokens": coverage.priced_tokens,
            "estimated": coverage.estimated,
            "estimated_usd": coverage.estimated_usd,
            "estimated_share": coverage.estimated_share,
        },
    }


def many(n: int, what: str) -> str:
    """`1 request`, `2,000 requests`."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def task_name(task: str | None) -> str:
    return task if task is not None else UNCLASSIFIED


def model_names(frame: pl.DataFrame) -> dict[tuple[str | None, str | None], str]:
    """How to show each (provider, model): the model alone where that is enough to tell them apart."""
    pairs = frame.select("provider", "model").unique().rows()
    models = [model for _, model in pairs]
    return {
        (provider, model): NOBODY
        if model is None
        else f"{provider or NOBODY}/{model}"
        if models.count(model) > 1
        else model
        for provider, model in pairs
    }
