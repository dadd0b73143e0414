"""The file of a roll-out plan: written once, read every time that somebody asks how it goes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from routecost.errors import InputError
from routecost.pipeline.rollout import Before, Margins, PhaseName, Schedule, Step
from routecost.stats import Interval

VERSION: Final = 1
_HEAD: Final = """\
# A roll-out in four phases, written by `routecost rollout plan`; `routecost rollout status` reads it.
# Dates and shares are yours to change: a step ends (until, exclusive) where the next one begins.
"""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Margins(_Model):
    thumbs_down: float = Field(gt=0, lt=1)
    errors: float = Field(gt=0, lt=1)
    latency: float = Field(gt=0)


class _Step(_Model):
    phase: PhaseName
    since: dt.date
    until: dt.date | None = None
    share: float = Field(ge=0, le=1)


class _Task(_Model):
    task: str | None = None
    requests_per_day: float = Field(ge=0)
    usd: float
    saving_usd: float
    moved: float = Field(ge=0, le=1)
    errors: float | None = Field(None, ge=0, le=1)
    thumbs_down: float | None = Field(None, ge=0, le=1)
    rated: float = Field(0.0, ge=0, le=1)


class _Saving(_Model):
    estimate: float
    low: float | None = None
    high: float | None = None


class _File(_Model):
    rollout: int = Field(ge=VERSION, le=VERSION)
    table: str
    mode: str | None = None
    made: dt.date
    margins: _Margins
    correlation: float = Field(ge=0, le=1)
    saving_usd_a_week: _Saving
    steps: list[_Step] = Field(min_length=1)
    before: list[_Task]


def to_yaml(schedule: Schedule) -> str:
    """The plan as a file that people may edit."""
    import yaml

    saving = schedule.saving_week
    data: dict[str, Any] = {
        "rollout": VERSION,
        "table": schedule.table,
        "mode": schedule.mode,
        "made": str(schedule.made),
        "margins": vars(schedule.margins),
        "correlation": schedule.correlation,
        "saving_usd_a_week": {"estimate": saving.estimate, "low": saving.low, "high": saving.high},
        "steps": [_plain(vars(step)) for step in schedule.steps],
        "before": [_plain(vars(task)) for task in schedule.tasks],
    }
    return _HEAD + yaml.safe_dump(_plain(data), sort_keys=False, width=120)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is null; days as text, which YAML would write with anchors where two are the same."""
    return {k: str(v) if isinstance(v, dt.date) else v for k, v in values.items() if v is not None}


def read_schedule(path: Path) -> Schedule:
    """Raises InputError naming the field that is not what it should be."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}). Write one with `routecost rollout plan -o {path}`."
        ) from None
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {error}") from None
    if not isinstance(data, dict) or "rollout" not in data:
        raise InputError(
            f"{path}: not a roll-out plan (no `rollout: {VERSION}` in it). Write one with `routecost rollout plan`."
        )
    try:
        found = _File.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{path}: {where}: {first['msg']}. `routecost rollout plan` writes what is expected."
        ) from None
    steps = tuple(Step(s.phase, s.since, s.until, s.share) for s in found.steps)
    _require_order(path, steps)
    saving = found.saving_usd_a_week
    return Schedule(
        table=found.table,
        mode=found.mode,
        made=found.made,
        margins=Margins(**found.margins.model_dump()),
        correlation=found.correlation,
        steps=steps,
        tasks=tuple(Before(**task.model_dump()) for task in found.before),
        saving_week=Interval(saving.estimate, saving.low, saving.high),
    )


def _require_order(path: Path, steps: tuple[Step, ...]) -> None:
    for i, step in enumerate(steps):
        last = i + 1 == len(steps)
        if not last and (step.until is None or step.until != steps[i + 1].since):
            raise InputError(
                f"{path}: steps.{i}: ends {step.until or 'never'}, and the next one begins {steps[i + 1].since}; a "
                "step ends where the next begins."
            )
        if step.until is not None and step.until <= step.since:
            raise InputError(f"{path}: steps.{i}: ends {step.until}, which is not after {step.since}.")
