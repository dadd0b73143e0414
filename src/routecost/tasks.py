"""What each request asks for: its task type."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, cast

import polars as pl
import pydantic

from routecost import schema
from routecost.errors import InputError, did_you_mean

__all__ = [
    "SEEN",
    "Predict",
    "Rule",
    "Rules",
    "classify",
    "covers",
    "holding",
    "matches",
    "read_rules",
    "seen",
]

Predict = Callable[[pl.DataFrame], pl.DataFrame]
"""Requests with the columns of SEEN (may be empty, all but `prompt` may be missing, any may be null) -> frame of the
same height with `task` (String, null where the prompt is null or empty) and `confidence` (Float64, probability of that
task)."""

SEEN: Final = ("prompt", "system", "previous_prompt", "n_messages", "input_tokens", "tools")

DEFAULTS: Final = "tasks_default.yaml"
LOG, RULES, CLASSIFIER = "log", "rules", "classifier"

_Count = Annotated[int, pydantic.Field(ge=0)]
_REGEXES: Final = {"pattern": "prompt", "system_pattern": "system"}
_GLOBS: Final = ("feature", "model", "provider", "project", "file")
_SIZES: Final = {"input_tokens": "_input_tokens", "prompt_chars": "_prompt_chars", "messages": "n_messages"}
_READ: Final = ("prompt", "system", "previous_prompt", *_GLOBS, *schema.INPUT_KINDS, "n_messages", "needs")
_NUMBERS: Final = (*schema.INPUT_KINDS, "n_messages")


class Rule(pydantic.BaseModel):
    """Requests that meet every condition given here have this task. A condition on a value that is null is not met.

    pattern and system_pattern are Rust regexes, found anywhere in the prompt or the system prompt. feature, model,
    provider, project and file are globs over the whole value (`*` any text, `?` one character, case matters). Sizes
    are inclusive; input tokens count cached ones too.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)

    task: str
    pattern: str | None = None
    system_pattern: str | None = None
    feature: str | None = None
    model: str | None = None
    provider: str | None = None
    project: str | None = None
    file: str | None = None
    min_input_tokens: _Count | None = None
    max_input_tokens: _Count | None = None
    min_prompt_chars: _Count | None = None
    max_prompt_chars: _Count | None = None
    min_messages: _Count | None = None
    max_messages: _Count | None = None

    def conditions(self) -> dict[str, str | int]:
        """What the rule asks for, by key; never a null."""
        return {key: value for key, value in self if key != "task" and value is not None}

    def holds(self) -> pl.Expr:
        """True where every condition is met, else false (never null)."""
        checks = [_check(key, value) for key, value in self.conditions().items()]
        met: pl.Expr = pl.all_horizontal(checks).fill_null(False)
        return met

    def __str__(self) -> str:
        asked = ", ".join(
            f"{key} {value}" if isinstance(value, int) else f"{key} {_short(value)}"
            for key, value in self.conditions().items()
        )
        return f"{asked} -> {self.task}"


@dataclass(frozen=True)
class Rules:
    """Rules in the order they are asked; the first that holds decides."""

    rules: tuple[Rule, ...] = ()

    @property
    def version(self) -> str:
        """Hash of the content: the same rules in the same order have the same version, wherever they were written."""
        content = [[rule.task, rule.conditions()] for rule in self.rules]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    def task(self) -> pl.Expr:
        """Task (String) of the first rule that holds, null where none does."""
        if not self.rules:
            return pl.lit(None, pl.String)
        return pl.coalesce([pl.when(rule.holds()).then(pl.lit(rule.task)) for rule in self.rules])


def classify(frame: pl.DataFrame, predict: Predict | None, rules: Rules) -> pl.DataFrame:
    """Add `task`, `task_source` (log, rules, classifier) and `confidence` (Float64, null unless the classifier chose).

    The log's own task comes first (any name, lower-cased and trimmed), then the rules, then `predict`, which sees only
    prompts that are still undecided; what is left is null. Columns that the frame lacks count as null. A rule that
    cannot be evaluated leaves the requests without a label of their own unclassified.
    """
    task = _logged(frame)
    confidence = pl.Series("confidence", [None], pl.Float64).new_from_index(0, frame.height)
    if not task.null_count():
        return frame.with_columns(task, pl.lit(LOG).alias("task_source"), confidence)

    open_rows = task.is_null().arg_true()
    requests = _conditions_frame(frame[open_rows] if len(open_rows) < frame.height else frame)
    try:
        by_rule = requests.select(rules.task().alias("task")).to_series()
    except Exception:  # fail-open: what a rule would have said is unknown, so these requests are unclassified
        source = pl.select(pl.when(task.is_not_null()).then(pl.lit(LOG))).to_series().alias("task_source")
        return frame.with_columns(task, source, confidence)
    by_rule = by_rule if len(by_rule) == len(open_rows) else by_rule.new_from_index(0, len(open_rows))
    source = pl.select(pl.when(task.is_not_null()).then(pl.lit(LOG))).to_series().alias("task_source")
    source = source.scatter(open_rows, _where(by_rule, RULES))
    task = task.scatter(open_rows, by_rule)

    left = by_rule.is_null().arg_true()
    undecided = requests if len(left) == requests.height else requests[left]
    if predict is not None and undecided["prompt"].null_count() < len(left):
        predicted = predict(_seen(undecided))
        rows = open_rows.gather(left)
        task = task.scatter(rows, predicted["task"])
        source = source.scatter(rows, _where(predicted["task"], CLASSIFIER))
        confidence = confidence.scatter(rows, predicted["confidence"])
    return frame.with_columns(task, source, confidence)


def read_rules(path: Path | None = None) -> Rules:
    """The rules of a YAML file, then the shipped ones unless it says `defaults: false`. Without a path, the shipped.

    Raises InputError with the file, the number of the rule and the key for anything that would not work as written.
    """
    shipped = Path(__file__).with_name(DEFAULTS)
    if path is None:
        return Rules(_read(shipped)[0])
    rules, defaults = _read(path)
    return Rules(rules + _read(shipped)[0] if defaults else rules)


def _seen(requests: pl.DataFrame) -> pl.DataFrame:
    """What the classifier looks at."""
    return requests.select(
        "prompt",
        "system",
        "previous_prompt",
        "n_messages",
        input_tokens="_input_tokens",
        tools=pl.col("needs").str.contains("tools", literal=True),
    )


def holding(frame: pl.DataFrame, rules: Rules) -> list[tuple[int, Rule]]:
    """The rules that hold for the first row, with their numbers from 1."""
    requests = _conditions_frame(frame)
    return [(n, rule) for n, rule in enumerate(rules.rules, 1) if requests.select(rule.holds().first()).item()]


def matches(frame: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Whether each rule holds, whichever comes first: a Boolean column a rule (`0`, `1`, ...)."""
    requests = _conditions_frame(frame)
    return requests.select(rule.holds().alias(str(i)) for i, rule in enumerate(rules.rules))


def covers(earlier: Rule, later: Rule) -> bool:
    """Whether what `later` asks for implies what `earlier` asks for, so that it can never decide."""
    asked = later.conditions()
    for key, value in earlier.conditions().items():
        other = asked.get(key)
        if other is None:
            return False
        if isinstance(value, int) and isinstance(other, int):
            if other < value if key.startswith("min_") else other > value:
                return False
        elif value != other:
            return False
    return True


def seen(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns SEEN of requests, for a `Predict`."""
    return _seen(_conditions_frame(frame))


def _logged(frame: pl.DataFrame) -> pl.Series:
    if "task" not in frame.columns:
        return pl.Series("task", [None], pl.String).new_from_index(0, frame.height)
    name = pl.col("task").cast(pl.String).str.strip_chars().str.to_lowercase()
    return frame.select(pl.when(name != "").then(name).alias("task")).to_series()


def _short(value: str) -> str:
    return value if len(value) <= 60 else value[:57] + "..."


def _where(tasks: pl.Series, source: str) -> pl.Series:
    return pl.select(pl.when(tasks.is_not_null()).then(pl.lit(source))).to_series()


def _conditions_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns that rules look at, all present."""
    columns = [
        (pl.col(name) if name in frame.columns else pl.lit(None))
        .cast(pl.Int64 if name in _NUMBERS else pl.String, strict=False)
        .alias(name)
        for name in _READ
    ]
    known = pl.any_horizontal(pl.col(*schema.INPUT_KINDS).is_not_null())
    sizes = {
        "_input_tokens": pl.when(known).then(pl.sum_horizontal(*schema.INPUT_KINDS)),
        "_prompt_chars": pl.col("prompt").str.len_chars(),
    }
    return frame.with_columns(columns).select(_READ).with_columns(**sizes)


def _check(key: str, value: Any) -> pl.Expr:
    if key in _REGEXES:
        return pl.col(_REGEXES[key]).str.contains(value)
    if key in _GLOBS:
        return pl.col(key).str.contains(_glob(value))
    bound, size = key.split("_", 1)
    column = pl.col(_SIZES[size])
    within: pl.Expr = column >= value if bound == "min" else column <= value
    return within


def _glob(pattern: str) -> str:
    """The glob as a regex over the whole value."""
    wild = {"*": ".*", "?": "."}
    return rf"\A(?s:{''.join(wild.get(c) or pl.escape_regex(c) for c in pattern)})\z"


class _File(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    defaults: bool = True
    tasks: list[str] = []
    rules: list[Rule]


def _read(path: Path) -> tuple[tuple[Rule, ...], bool]:
    """The rules of one file, in order, and whether the shipped ones follow."""
    content = _yaml(path)
    try:
        file = _File.model_validate(content)
    except pydantic.ValidationError as error:
        raise InputError("\n".join(_explain(path, problem) for problem in error.errors())) from None
    known = (*schema.TASKS, *(_name(task) for task in file.tasks))
    rules = tuple(rule.model_copy(update={"task": _name(rule.task)}) for rule in file.rules)
    for number, rule in enumerate(rules, 1):
        problem = _problem(rule, known)
        if problem:
            raise InputError(f"{path}: rule {number}: {problem}")
    return rules, file.defaults


def _name(task: str) -> str:
    return task.strip().lower()


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a task rules file: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: a task rules file is YAML in UTF-8; byte {error.start} is not UTF-8.") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path}: not YAML: {error}") from None
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: expected a mapping with `rules:`, a list such as `- {{task: code, pattern: 'def '}}`; "
            f"found {'nothing' if content is None else type(content).__name__}."
        )
    return cast("dict[str, Any]", content)


def _explain(path: Path, problem: Any) -> str:
    """One pydantic problem as: file, rule number, key, what was seen, what was expected."""
    where: Sequence[str | int] = problem["loc"]
    in_rule = len(where) > 1 and where[0] == "rules"
    place = f"{path}: rule {int(where[1]) + 1}: " if in_rule else f"{path}: "
    keys = tuple(Rule.model_fields) if in_rule else tuple(_File.model_fields)
    key = where[-1]
    if problem["type"] == "extra_forbidden":
        return f"{place}unknown key `{key}`.{did_you_mean(str(key), keys)} Known keys: {', '.join(keys)}."
    if problem["type"] == "missing":
        return f"{place}`{key}` is missing."
    what = f"`{key}`: " if isinstance(key, str) else ""
    return f"{place}{what}{problem['msg'][0].lower()}{problem['msg'][1:]}, found {problem['input']!r}."


def _problem(rule: Rule, known: Sequence[str]) -> str | None:
    """What is wrong with a rule whose keys and types are right."""
    if rule.task not in known:
        return (
            f"unknown task `{rule.task}`.{did_you_mean(rule.task, known)} Known tasks: {', '.join(known)}; "
            "name others under `tasks:` in this file."
        )
    conditions = rule.conditions()
    if not conditions:
        return "no condition. To match every request that has tokens, write `min_input_tokens: 0`."
    for size in _SIZES:
        low, high = getattr(rule, f"min_{size}"), getattr(rule, f"max_{size}")
        if low is not None and high is not None and low > high:
            return f"`min_{size}: {low}` is above `max_{size}: {high}`, so the rule can never match."
    for key in _REGEXES:
        pattern = conditions.get(key)
        if pattern is not None:
            try:
                pl.Series([""]).str.contains(str(pattern))
            except pl.exceptions.ComputeError as error:
                expected = "Rust syntax, so no look-around and no back-references"
                return f"`{key}: {pattern}` is not a valid regex ({expected}): {error}"
    return None
