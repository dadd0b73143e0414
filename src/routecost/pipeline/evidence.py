"""The front doors of `routecost quality`: paths and names in, results out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from routecost.pipeline import grading, promptset
from routecost.pipeline.feedback import read_feedback
from routecost.pipeline.grading import FromLogs, Imported, Shown, Signal
from routecost.pipeline.intake import Options, Progress, TasksFrom
from routecost.pipeline.labelling import Typist
from routecost.pipeline.promptset import PromptSet
from routecost.prices import read_prices
from routecost.quality import Settings, parse_map, parse_scale, read_prompts
from routecost.tasks import Rules, read_rules


def from_logs(
    paths: Sequence[str],
    output: Path,
    *,
    signal: Signal = "feedback",
    source: str | None = None,
    pricing: Sequence[str | Path] = (),
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    field_map: Path | None = None,
    log_format: str | None = None,
    estimates: bool = True,
    task_rules: Path | None = None,
    classifier: Path | None = None,
    tasks_from: TasksFrom = "log",
    rejects: Path | None = None,
    as_of: dt.date | None = None,
    feedback: Sequence[str | Path] = (),
    feedback_scale: str | None = None,
    progress: Progress | None = None,
) -> FromLogs:
    """Write what logs and usage files tell of quality, by task and model. See grading.from_logs."""
    options = Options(
        (),
        since,
        until,
        field_map,
        task_rules,
        classifier=classifier,
        tasks_from=tasks_from,
        rejects=rejects,
        log_format=log_format,
        estimates=estimates,
        feedback=read_feedback(feedback, feedback_scale),
    )
    return grading.from_logs(
        paths,
        output,
        read_prices(pricing),
        _typist(classifier, task_rules, tasks_from),
        options,
        signal=signal,
        source=source,
        as_of=as_of,
        progress=progress,
    )


def sample(
    paths: Sequence[str],
    n: int,
    output: Path,
    *,
    per_task: bool = False,
    promptfoo: bool = False,
    seed: int = 0,
    classifier: Path | None = None,
    task_rules: Path | None = None,
    tasks_from: TasksFrom = "log",
    field_map: Path | None = None,
    log_format: str | None = None,
    progress: Progress | None = None,
) -> PromptSet:
    """Write prompts that stand for the log's own. See promptset.sample."""
    return promptset.sample(
        paths,
        n,
        output,
        _typist(classifier, task_rules, tasks_from),
        per_task=per_task,
        promptfoo=promptfoo,
        seed=seed,
        field_map=field_map,
        log_format=log_format,
        progress=progress,
    )


def import_results(
    paths: Sequence[Path],
    output: Path,
    *,
    prompts: Path | None = None,
    judge_scale: str | None = None,
    task_map: Sequence[str] = (),
    model_map: Sequence[str] = (),
    metric: str | None = None,
    source: str | None = None,
    pricing: Sequence[str | Path] = (),
) -> Imported:
    """Write results of benchmarks and judges as a quality table. task_map and model_map: texts such as
    `gsm8k=reasoning`. See grading.import_results."""
    settings = Settings(
        prompts=read_prompts(prompts) if prompts else None,
        scale=parse_scale(judge_scale) if judge_scale else None,
        tasks=parse_map("--task-map", task_map),
        models=parse_map("--model-map", model_map),
        metric=metric,
        source=source,
    )
    return grading.import_results(paths, output, settings, read_prices(pricing))


def show(paths: Sequence[Path], *, today: dt.date | None = None) -> Shown:
    """What quality tables say, with intervals. See grading.show."""
    return grading.show(paths, today=today)


def _typist(classifier: Path | None, task_rules: Path | None, tasks_from: TasksFrom) -> Typist:
    from routecost.classifier import load

    return Typist(
        load(classifier) if tasks_from != "rules" else None,
        read_rules(task_rules) if tasks_from != "classifier" else Rules(),
        ignore_log=tasks_from != "log",
    )
