"""From two arms to a verdict: what may grow, what has to go back, and which slice of the traffic that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from routecost.experiment.arms import CONTROL, TREATMENT
from routecost.experiment.compare import SIDES, by_unit, compared, together
from routecost.experiment.metrics import Metric
from routecost.experiment.result import Compared, Judged, Mismatch, Slice, Verdict


def judge_all(
    rows: pl.DataFrame,
    tasks: Sequence[str | None],
    metrics: Sequence[Metric],
    margins: Mapping[str, float],
    *,
    alpha: float,
    planned: float | None = None,
    mismatch: Mismatch | None = None,
) -> tuple[Judged, tuple[Judged, ...], int]:
    """Everything together, each task, and how many tests share alpha: every task with every guard, and where there are
    several tasks, everything together with every guard (Bonferroni)."""
    units = by_unit(rows, metrics)
    # sorted once: what is filtered from it stays sorted, and each quantile asks for it
    rows = rows.sort("latency", maintain_order=True) if "latency" in rows.columns else rows
    scopes = len(tasks) + (len(tasks) > 1)
    tests = max(scopes * len(margins), 1)
    each = alpha / tests
    found = []
    for task in tasks:
        mine = pl.col("task").eq_missing(pl.lit(task, rows["task"].dtype))
        found.append(
            _judged(rows.filter(mine), units.filter(mine), task, False, metrics, margins, each, planned, mismatch)
        )
    if len(found) == 1:
        return replace(found[0], task=None, is_whole=True), tuple(found), tests
    whole = _judged(rows, together(units), None, True, metrics, margins, each, planned, mismatch)
    return whole, tuple(found), tests


def _judged(
    rows: pl.DataFrame,
    units: pl.DataFrame,
    task: str | None,
    is_whole: bool,
    metrics: Sequence[Metric],
    margins: Mapping[str, float],
    alpha: float,
    planned: float | None,
    mismatch: Mismatch | None,
) -> Judged:
    seen = [
        compared(m, units, rows, alpha=alpha, margin=margins.get(m.name), planned=planned)
        for m in metrics
    ]  # fmt: skip
    guards = [c for c in seen if c.margin is not None]
    verdict, reason = decide(guards)
    where = None
    if mismatch is not None and mismatch.is_broken:
        verdict, reason = "hold", f"the arms are not what they should be (sample-ratio mismatch, p {mismatch.p:.2g})"
    elif verdict == "roll back" and task is not None and not is_whole:
        failing = [c for c in guards if _harms(c)]
        where = slice_of(rows, task, failing[0].metric, failing[0].margin or 0.0, alpha, planned)
    sides = [units.filter(pl.col("arm") == side) for side in SIDES]
    return Judged(
        task,
        is_whole,
        (int(sides[0]["requests"].sum()), int(sides[1]["requests"].sum())),
        (sides[0]["unit"].n_unique(), sides[1]["unit"].n_unique()),
        tuple(seen),
        verdict,
        reason,
        where,
    )


def decide(guards: Sequence[Compared]) -> tuple[Verdict, str]:
    """The verdict on some traffic, and why. Roll back: some guard is certainly worse, and by more than its margin as
    far as can be told. Expand: no guard can be worse by its margin. Both by always-valid bounds, so that the day on
    which somebody looks does not matter. Harm near the margin may end in either of roll back
    and hold; in an expansion only with the chance alpha."""
    for guard in guards:
        if _harms(guard) and guard.harm is not None:
            harm, low, _ = guard.harm
            return "roll back", f"{guard.metric.name} worse by {_by(guard, harm)}, at least by {_by(guard, low)}"
    for guard in guards:
        if guard.harm is None:
            return "hold", f"{guard.metric.name}: {guard.reason or 'unknown'}"
    open_ = [(g, g.harm) for g in guards if g.harm is not None and g.harm[2] >= (g.margin or 0)]
    if open_:
        guard, (harm, low, high) = max(open_, key=lambda o: o[1][2] / (o[0].margin or 1))
        seen = f"worse by {_by(guard, harm)}" if harm >= 0 else f"better by {_by(guard, -harm)}"
        least = f"at least {_by(guard, low)}, " if low > 0 else ""
        return "hold", (
            f"{guard.metric.name} {seen}, {least}at most {_by(guard, high)} worse; the margin is "
            f"{_by(guard, guard.margin or 0)}"
        )
    listed = ", ".join(f"{g.metric.name} {_by(g, g.harm[2])} at most" for g in guards if g.harm is not None)
    return "expand", f"worse by less than the margins: {listed}"


def _by(guard: Compared, value: float) -> str:
    """How much worse, as people say it: points of a rate, percent of an amount."""
    if math.isinf(value):
        return "any amount"
    if guard.metric.kind == "level":
        return f"{value:.3f}"
    return f"{value * 100:.2f} points" if guard.metric.kind == "rate" else f"{value:.1%}"


def _harms(guard: Compared) -> bool:
    if guard.harm is None or guard.margin is None:
        return False
    harm, low, _ = guard.harm
    return low > 0 and harm > guard.margin


def slice_of(
    rows: pl.DataFrame, task: str, metric: Metric, margin: float, alpha: float, planned: float | None
) -> Slice | None:
    """What to send back to the control's model: the task, or the one of its features that alone does the harm, where
    the rest of the task is not worse by more than the margin. None where the control's model is unknown."""
    features = rows.filter(pl.col("arm") == TREATMENT)["feature"].drop_nulls().unique().sort().to_list()
    failing = []
    if len(features) > 1 or (features and rows["feature"].null_count()):
        for feature in features:
            found = _of(rows.filter(pl.col("feature") == feature), metric, margin, alpha / len(features), planned)
            if _harms(found):
                failing.append(feature)
    only = None
    if len(failing) == 1:
        rest = _of(rows.filter(pl.col("feature").ne_missing(failing[0])), metric, margin, alpha, planned)
        only = failing[0] if rest.harm is not None and rest.harm[0] <= margin else None
    mine = rows if only is None else rows.filter(pl.col("feature") == only)
    model = main_model(mine, CONTROL)
    return None if model is None else Slice(task, only, model)


def _of(rows: pl.DataFrame, metric: Metric, margin: float, alpha: float, planned: float | None) -> Compared:
    return compared(metric, by_unit(rows, [metric]), rows, alpha=alpha, margin=margin, planned=planned)


def main_model(rows: pl.DataFrame, arm: str) -> str | None:
    """The model that most requests of an arm ran on."""
    models = rows.filter((pl.col("arm") == arm) & pl.col("model").is_not_null())["model"].cast(pl.String)
    return (
        None
        if models.is_empty()
        else str(models.value_counts().sort("count", "model", descending=[True, False])["model"][0])
    )


def verdict_of(whole: Judged, tasks: Sequence[Judged]) -> Verdict:
    """Of all: roll back where anything has to, expand where everything may."""
    verdicts = {whole.verdict, *(t.verdict for t in tasks)}
    if "roll back" in verdicts:
        return "roll back"
    return "expand" if verdicts == {"expand"} else "hold"
