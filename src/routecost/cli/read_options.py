"""Texts of the command line as values, and the exit code of a result that could be printed but not trusted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt

    from routecost.pipeline.analysis import Coverage
    from routecost.pipeline.intake import Intake


def leave(intake: Intake, coverage: Coverage | None, max_bad: float, rejects: Path | None) -> None:
    """The exit code of an analysis that could be printed but not trusted."""
    from routecost.errors import InputError, UndecidedError

    if intake.damaged:
        raise InputError("\n".join((*intake.damaged, "What could be read is counted above.")))
    bad, lines = intake.counts.get("rejected", 0), intake.counts.get("lines", 0)
    if bad > 10 and bad > max_bad * lines:
        raise InputError(
            f"{bad:,} of {lines:,} lines ({bad / lines:.1%}) were rejected, more than --max-bad {max_bad:g} allows. "
            + _first_rejected(intake, rejects)
        )
    if coverage is not None and coverage.share is not None and coverage.share < 0.5:
        raise UndecidedError(
            f"only {coverage.share:.1%} of the billable requests have a price, so the totals say little. "
            + _why_unpriced(coverage)
        )


def _why_unpriced(coverage: Coverage) -> str:
    if coverage.unknown:
        names = ", ".join(repr(u.model) for u in coverage.unknown[:3])
        return f"Unknown models: {names}. Give them prices or aliases in an overlay (--pricing FILE)."
    if max(coverage.reasons, key=lambda reason: coverage.reasons[reason]) in ("no_tokens", "no_model"):
        return (
            "Most lack token counts or a model. If the log has them under other names, say so in a field map (--map "
            "FILE); if all of it ran on one model, name that with --base-model."
        )
    return "The reasons are under `Without a price` above; an overlay (--pricing FILE) can give the prices."


def _first_rejected(intake: Intake, rejects: Path | None) -> str:
    if not intake.rejected:
        return "That was when the usage file was tallied: tally the log again with --rejects FILE, or raise --max-bad."
    first = intake.rejected[0]
    where = f"{first.places[0]}: " if first.places else ""
    keep = "Look at them, or" if rejects else "Keep them with --rejects FILE to look at them, or"
    return f"The first: {where}{first.reason}. {keep} raise --max-bad."


def moment(option: str, text: str | None) -> dt.datetime | None:
    import datetime as dt

    from routecost.errors import UsageError

    if text is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option}: saw {text!r}, expected a day or moment such as 2026-10-01T12:00Z.") from None
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def day(text: str | None) -> dt.date | None:
    found = moment("--as-of", text)
    return None if found is None else found.date()


def rate(text: str | None) -> float | None:
    from routecost.pipeline.calculator import parse_rate

    return None if text is None else parse_rate(text)


def by_mode(option: str, text: str | None, default: Mapping[str, float], most: float | None = None) -> dict[str, float]:
    """`eco=0.1,balanced=0.03` -> numbers by mode, over the defaults; one number stands for every mode of the default,
    or for all modes where there is none."""
    from routecost.errors import UsageError, did_you_mean
    from routecost.schema import MODES

    found = dict(default)
    if text is None:
        return found
    for part in text.split(","):
        name, sign, value = part.rpartition("=")
        name = name.strip()
        if sign and name not in MODES:
            raise UsageError(
                f"{option}: no mode {name!r}.{did_you_mean(name, MODES)} Expected {', '.join(MODES)}, such as eco=0.1."
            )
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number < float("inf") or (most is not None and number > most):
            limit = f" of 0 to {most:g}" if most is not None else " of 0 or more"
            raise UsageError(
                f"{option}: saw {value.strip()!r}, expected a number{limit}, such as eco=0.1,balanced=0.03."
            )
        found.update({name: number} if sign else dict.fromkeys(default or MODES, number))
    return found


def budget(text: str | None) -> float | None:
    """`120/day`, `3000/month` -> USD a day."""
    from routecost.pipeline.calculator import parse_rate

    return None if text is None else parse_rate(text.replace("$", ""), "--budget")
