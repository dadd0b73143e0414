"""Which arm a request belongs to."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from routecost.errors import InputError, UsageError, did_you_mean

CONTROL: Final = "control"
TREATMENT: Final = "treatment"
BOTH: Final = "(both)"
# What people call those who keep the old models.
_CONTROL_NAMES: Final = ("control", "holdout", "hold-out", "hold_out", "baseline", "off", "a")
_KINDS: Final = ("model", "feature", "before", "since")

Kind = Literal["model", "feature", "before", "since"]


@dataclass(frozen=True)
class Where:
    """One condition of an arm: `model:GLOB`, `feature:GLOB`, or requests before or since a moment (UTC)."""

    kind: Kind
    glob: str = "*"
    moment: dt.datetime | None = None

    def expression(self) -> pl.Expr:
        """Whether a request meets it; one that lacks the column does not."""
        if self.moment is not None:
            at = pl.col("ts")
            return ((at < self.moment) if self.kind == "before" else (at >= self.moment)).fill_null(False)
        return pl.col(self.kind).str.contains(_anchored(self.glob)).fill_null(False)


def _anchored(glob: str) -> str:
    return "^(?s:" + ".*".join(re.escape(part) for part in glob.split("*")) + ")$"


@dataclass(frozen=True)
class ByColumn:
    """Arms by the values of a column. control, treatment: the values, or None to find out."""

    column: str = "arm"
    control: str | None = None
    treatment: str | None = None


@dataclass(frozen=True)
class ByExpression:
    """Arms by conditions; what meets both or neither is in none."""

    control: Where
    treatment: Where


@dataclass(frozen=True)
class ByHash:
    """A share of users held out as the control, by `held_out`."""

    share: float
    salt: str = "routecost"


Arms = ByColumn | ByExpression | ByHash


def held_out(user: str, share: float, salt: str = "routecost") -> bool:
    """Whether a user is held out: SHA-256 of `salt:user`, its first 8 bytes (big-endian) below share * 2^64.

    Whatever routes the requests must do the same; this function can be imported there.
    """
    first = hashlib.sha256(f"{salt}:{user}".encode()).digest()[:8]
    return int.from_bytes(first, "big") < share * 2**64


def parse_arms(text: str) -> ByExpression:
    """`control=model:gpt-5*,treatment=since:2026-11-01`. Raises UsageError."""
    found: dict[str, Where] = {}
    for part in text.split(","):
        name, sign, expression = part.strip().partition("=")
        if not sign or name not in (CONTROL, TREATMENT):
            raise UsageError(
                f"--arms: saw {part!r}, expected control=EXPR,treatment=EXPR with EXPR model:GLOB, feature:GLOB, "
                f"before:DATE or since:DATE.{did_you_mean(name, (CONTROL, TREATMENT))}"
            )
        found[name] = _where(expression)
    if len(found) < 2:
        missing = TREATMENT if CONTROL in found else CONTROL
        raise UsageError(
            f"--arms: no {missing}. Expected such as control=before:2026-11-01,treatment=since:2026-11-01."
        )
    return ByExpression(found[CONTROL], found[TREATMENT])


def _where(text: str) -> Where:
    kind, sign, value = text.partition(":")
    if not sign or kind not in _KINDS or not value:
        raise UsageError(
            f"--arms: saw {text!r}, expected model:GLOB, feature:GLOB, before:DATE or since:DATE."
            + did_you_mean(kind, _KINDS)
        )
    if kind == "model" or kind == "feature":
        return Where("model" if kind == "model" else "feature", value)
    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError:
        raise UsageError(f"--arms: {value!r} is no day or moment; expected such as since:2026-11-01.") from None
    moment = moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    return Where("before" if kind == "before" else "since", moment=moment)


def parse_holdout(text: str, salt: str, option: str = "--holdout") -> ByHash:
    """`5%` or `0.05`. Raises UsageError."""
    try:
        share = float(text.rstrip("% ")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise UsageError(f"{option}: saw {text!r}, expected a share above 0 and below 1, such as 5%.")
    return ByHash(share, salt)


def assigned(requests: pl.DataFrame, arms: Arms) -> pl.Series:
    """Of each request: control, treatment, another value of the column, BOTH, or null where it is in no arm.

    By column the values stand as they are: which is which is known when all were seen (`named`).
    """
    if isinstance(arms, ByHash):
        users = requests["user_id"].drop_nulls().unique()
        names = [CONTROL if held_out(user, arms.share, arms.salt) else TREATMENT for user in users.to_list()]
        found = dict(zip(users.to_list(), names, strict=True))
        return requests["user_id"].replace_strict(found, default=None, return_dtype=pl.String)
    if isinstance(arms, ByColumn):
        for column in (arms.column, f"raw:{arms.column}"):
            if column in requests.columns:
                return requests[column].cast(pl.String)
        return pl.Series([None], dtype=pl.String).new_from_index(0, requests.height)
    control, treatment = arms.control.expression(), arms.treatment.expression()
    chosen = (
        pl.when(control & treatment)
        .then(pl.lit(BOTH))
        .when(control)
        .then(pl.lit(CONTROL))
        .when(treatment)
        .then(pl.lit(TREATMENT))
    )
    return requests.select(chosen.alias("arm")).to_series()


def named(values: Sequence[str], arms: Arms) -> tuple[str, str]:
    """The values that are the control and the treatment. Raises InputError where that is not clear."""
    if not isinstance(arms, ByColumn):
        for one in (CONTROL, TREATMENT):
            if one not in values:
                raise InputError(f"no request is in the {one}. Look at what the log holds with `routecost inspect`.")
        return CONTROL, TREATMENT
    listed = ", ".join(values[:8])
    if not values:
        raise InputError(
            f"no request has a value of {arms.column!r}, so there are no arms. Name another column with --arm-column, "
            "say who is who with --arms control=EXPR,treatment=EXPR, or give --holdout 5%."
        )
    for option, asked in (("--control", arms.control), ("--treatment", arms.treatment)):
        if asked is not None and asked not in values:
            raise InputError(f"{option} {asked}: no request has it; {arms.column} is {listed}.")
    control = arms.control
    if control is None:
        rest = [v for v in values if v != arms.treatment]
        likely = [v for v in rest if v.lower() in _CONTROL_NAMES]
        control = likely[0] if len(likely) == 1 else rest[0] if arms.treatment and len(rest) == 1 else None
    if control is None:
        raise InputError(f"which arm is the control? {arms.column} is {listed}. Say so with --control NAME.")
    others = [v for v in values if v != control]
    if arms.treatment is None and len(others) != 1:
        saw = f"{len(others)} others: {', '.join(others[:8])}" if others else "none other"
        raise InputError(f"beside the control {control!r} there are {saw}. Say which with --treatment NAME.")
    return control, arms.treatment or others[0]
