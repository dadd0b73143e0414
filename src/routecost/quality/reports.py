"""Results of benchmarks and judges, as they are written by the tools that ran them."""

from __future__ import annotations

import datetime as dt
import fnmatch
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from routecost.errors import InputError, UsageError, did_you_mean
from routecost.quality.results import GRADED
from routecost.quality.table import COLUMNS

# Columns of plain results; others are not read, and said.
PLAIN: Final = ("id", "task", "model", "score", "weight", "latency_ms", "cost_usd", "output_tokens", "date")
_NUMBERS: Final = ("weight", "latency_ms", "cost_usd", "output_tokens")
# Metrics of lm-eval that grade an answer from 0 to 1, the one to take first.
_METRICS: Final = ("exact_match", "pass@1", "pass_at_1", "acc", "acc_norm", "prompt_level_strict_acc", "mc2", "f1")
# ... those that are right or wrong.
_BINARY: Final = frozenset(_METRICS) - {"mc2", "f1"}
_SAMPLES: Final = re.compile(r"^samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\d)T[\d.:-]+$")
_RESULTS: Final = re.compile(r"^results_(?P<date>\d{4}-\d\d-\d\d)T[\d.:-]+$")
# Kinds of endpoint in promptfoo's provider ids (`openai:chat:gpt-5.4`): no part of the model's name.
_ENDPOINTS: Final = frozenset({"chat", "completion", "completions", "messages", "responses", "text", "assistant"})
_WORDS: Final = {
    "true": 1.0,
    "false": 0.0,
    "pass": 1.0,
    "fail": 0.0,
    "passed": 1.0,
    "failed": 0.0,
    "yes": 1.0,
    "no": 0.0,
}


@dataclass(frozen=True)
class Scale:
    """Grades from `low` (worst) to `high` (best)."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g}-{self.high:g}"


@dataclass(frozen=True)
class Settings:
    """How results are read. prompts: id -> (task, weight). tasks, models: their name (or a pattern) -> ours. metric:
    the one of several that grades. source: what the rows are called, not the tool's name."""

    prompts: Mapping[str, tuple[str | None, float]] | None = None
    scale: Scale | None = None
    tasks: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    metric: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Results:
    """answers: graded one by one (results.GRADED). totals: rows of a quality table, of reports without single answers.
    kinds: file -> what it was taken for. notes: what was left out, or read in a way that is worth knowing."""

    answers: pl.DataFrame
    totals: pl.DataFrame
    kinds: Mapping[str, str]
    notes: tuple[str, ...]


def parse_scale(text: str, option: str = "--judge-scale") -> Scale:
    """`1-5` -> Scale(1, 5). Raises UsageError."""
    found = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*(?:-|\.\.|to)\s*(-?\d+(?:\.\d+)?)\s*", text)
    if found is None or float(found[1]) >= float(found[2]):
        raise UsageError(f"{option}: saw {text!r}, expected the worst and the best grade, such as 1-5 or 0-100.")
    return Scale(float(found[1]), float(found[2]))


def parse_map(option: str, texts: Sequence[str]) -> dict[str, str]:
    """`gsm8k=reasoning,humaneval=code` -> a dict. Raises UsageError."""
    found: dict[str, str] = {}
    for part in (p for text in texts for p in text.split(",") if p.strip()):
        name, equals, ours = (x.strip() for x in part.partition("="))
        if not equals or not name or not ours:
            raise UsageError(f"{option}: saw {part.strip()!r}, expected THEIRS=OURS, such as gsm8k=reasoning.")
        found[name] = ours
    return found


def read_prompts(path: Path) -> dict[str, tuple[str | None, float]]:
    """The ids of a prompt set (`quality sample`) with task and weight. Raises InputError."""
    found: dict[str, tuple[str | None, float]] = {}
    for number, row in enumerate(_rows(path), 1):
        if (key := _text(row.get("id"))) is None:
            raise InputError(f"{path}: row {number} has no id. Expected the file that `quality sample` wrote.")
        weight = _number(row.get("weight"))
        if weight is not None and weight <= 0:
            raise InputError(f"{path}: row {number}, weight: saw {weight:g}, expected more than 0.")
        found[key] = (_text(row.get("task")), 1.0 if weight is None else weight)
    if not found:
        raise InputError(f"{path}: no prompt in it.")
    return found


def read_results(paths: Sequence[Path], settings: Settings) -> Results:
    """Plain rows (CSV, JSONL, Parquet), promptfoo's JSON and JSONL, lm-eval's results and samples, or folders of them.

    Raises InputError for a file that is none of these, and for scores that are not from 0 to 1.
    """
    files = [file for path in paths for file in _expanded(path)]
    reading = _Reading(settings)
    for file in files:
        reading.read(file)
    return reading.done()


# --- one file after the other -----------------------------------------------------------------------------------------


class _Reading:
    """What has been read so far."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._answers: list[dict[str, Any]] = []
        self._totals: list[tuple[str, str, dict[str, Any]]] = []
        self._single: set[tuple[str, str]] = set()
        self._kinds: dict[str, str] = {}
        self._notes: dict[str, int] = {}
        self._used: set[str] = set()

    def read(self, file: Path) -> None:
        if file.suffix.lower() == ".json":
            content = _json(file)
            if isinstance(content, dict) and isinstance(content.get("results"), dict):
                inner = content["results"]
                if isinstance(inner.get("results"), list):
                    date = _day(inner.get("timestamp"))
                    return self._promptfoo(file, inner["results"], date)
                if inner and all(isinstance(v, dict) for v in inner.values()):
                    return self._lm_eval(file, content)
            if isinstance(content, dict) and isinstance(content.get("results"), list):
                content = content["results"]
            if isinstance(content, list) and all(isinstance(row, dict) for row in content):
                return self._listed(file, content)
            raise InputError(
                f"{file}: not results that are known. Expected promptfoo's or lm-eval's JSON, or a list of rows with "
                "id, task, model and score."
            )
        return self._listed(file, _rows(file))

    def _listed(self, file: Path, rows: list[dict[str, Any]]) -> None:
        first = rows[0] if rows else {}
        if "doc_id" in first and ("resps" in first or "filtered_resps" in first):
            return self._samples(file, rows)
        if "testCase" in first and "provider" in first:
            return self._promptfoo(file, rows, None)
        return self._plain(file, rows)

    def done(self) -> Results:
        names = [*self._settings.tasks, *self._settings.models]
        if unused := [name for name in names if name not in self._used]:
            self._note(f"Nothing in the results is called {', '.join(unused)}, which a map names.")
        totals = []
        for model, benchmark, row in self._totals:
            if (model, benchmark) in self._single:
                self._note(f"Totals of {benchmark} left out, as its single answers are here (models: {{n}}).")
            else:
                totals.append(row)
        answers = pl.DataFrame(self._answers, schema=GRADED)
        if not answers.height and not totals:
            raise InputError("no result in " + ", ".join(self._kinds) + ". " + " ".join(self._said()))
        return Results(answers, pl.DataFrame(totals, schema=COLUMNS), self._kinds, tuple(self._said()))

    def _note(self, text: str, n: int = 1) -> None:
        """A remark; {n} in it is how often it was made."""
        self._notes[text] = self._notes.get(text, 0) + n

    def _said(self) -> list[str]:
        return [text.replace("{n}", f"{n:,}") for text, n in self._notes.items()]

    # --- plain rows

    def _plain(self, file: Path, rows: list[dict[str, Any]]) -> None:
        self._kinds[str(file)] = "plain rows"
        columns = list(dict.fromkeys(name for row in rows for name in row))
        for needed in ("id", "model"):
            if rows and needed not in columns:
                raise InputError(
                    f"{file}: no column {needed!r} among {', '.join(columns[:12])}.{did_you_mean(needed, columns)} "
                    f"Results have {', '.join(PLAIN)}; id and model are needed."
                )
        if other := [c for c in columns if c not in PLAIN]:
            self._note(f"{file}: not read: {', '.join(other)}.")
        source = self._settings.source or ("judge" if self._settings.scale else "results")
        today = _modified(file)
        for number, row in enumerate(rows, 1):
            key, model = _text(row.get("id")), _text(row.get("model"))
            if key is None or model is None:
                raise InputError(f"{file}: row {number} has no {'id' if key is None else 'model'}.")
            task, weight = self._task(file, number, key, _text(row.get("task")))
            if task is None:
                continue
            where = f"{file}: row {number} ({key}, {model})"
            numbers = {name: _given(where, name, row.get(name)) for name in _NUMBERS}
            given = numbers.pop("weight")
            self._add(
                task=task,
                model=self._model(model),
                id=key,
                source=source,
                date=_day(row.get("date")) or today,
                score=self._score(where, row.get("score")),
                weight=weight if given is None else given,
                **numbers,
                failed=None,
                where=where,
            )

    def _task(self, file: Path, number: int, key: str, task: str | None) -> tuple[str | None, float]:
        """The task and weight of an id; no task where it is to be left out."""
        prompts = self._settings.prompts
        weight = 1.0
        if prompts is not None:
            if key in prompts:
                named, weight = prompts[key]
                task = task or named
            elif task is None:
                self._note("Results left out, as their ids are not among --prompts: {n}.")
                return None, weight
        if task is None:
            raise InputError(
                f"{file}: row {number} ({key}) has no task. Add a column `task`, or name the prompt set that `quality "
                "sample` wrote with --prompts."
            )
        return self._mapped(task, self._settings.tasks) or task, weight

    def _mapped(self, name: str, names: Mapping[str, str]) -> str | None:
        for pattern, ours in names.items():
            if name == pattern or fnmatch.fnmatchcase(name, pattern):
                self._used.add(pattern)
                return ours
        return None

    def _model(self, name: str) -> str:
        return self._mapped(name, self._settings.models) or name

    def _score(self, where: str, value: Any) -> float | None:
        if value is None or (isinstance(value, str) and not value.strip()):
            self._note("Answers without a score, so not graded: {n}.")
            return None
        score = _WORDS.get(value.strip().lower()) if isinstance(value, str) else None
        score = _number(value) if score is None else score
        if score is None:
            raise InputError(f"{where}: score {value!r} is no number.")
        scale = self._settings.scale
        if scale is None:
            if 0 <= score <= 1:
                return score
            raise InputError(
                f"{where}: score {score:g}, expected 0 (bad) to 1 (good). On another scale, say which: "
                f"--judge-scale {'1-5' if 1 < score <= 5 else '1-10' if 1 < score <= 10 else '0-100'}."
            )
        if not scale.low <= score <= scale.high:
            raise InputError(f"{where}: grade {score:g} is outside of --judge-scale {scale}.")
        return (score - scale.low) / (scale.high - scale.low)

    def _add(self, *, where: str, **row: Any) -> None:
        for name in _NUMBERS:
            value = row[name]
            if value is not None and (value < 0 or (name == "weight" and value == 0)):
                raise InputError(
                    f"{where}: {name} {value:g}, expected {'more than 0' if name == 'weight' else '0 or more'}."
                )
        self._answers.append(row)

    # --- promptfoo

    def _promptfoo(self, file: Path, rows: list[dict[str, Any]], date: str | None) -> None:
        """promptfoo's EvaluateResult: one test on one provider and prompt."""
        self._kinds[str(file)] = "promptfoo"
        source = self._settings.source or "promptfoo"
        date = date or _modified(file)
        prompts = {row.get("promptIdx") for row in rows}
        if len(prompts) > 1:
            self._note(f"{file}: {len(prompts)} prompts a test; a test's score is the mean over them.")
        for number, row in enumerate(rows, 1):
            case = _dict(row.get("testCase"))
            meta, given = _dict(case.get("metadata")), _dict(row.get("vars")) or _dict(case.get("vars"))
            key = _text(meta.get("id")) or _text(case.get("description")) or _digest(given)
            provider = row.get("provider")
            name = _text(provider.get("id")) if isinstance(provider, dict) else _text(provider)
            if name is None:
                raise InputError(f"{file}: result {number} names no provider, so it is not known what was graded.")
            label = _text(_dict(provider).get("label"))
            named = self._mapped(name, self._settings.models) or (label and self._mapped(label, self._settings.models))
            model = named or _of_provider(name, label)
            task, weight = self._task(file, number, key, _text(meta.get("task")) or _text(given.get("task")))
            if task is None:
                continue
            where = f"{file}: result {number} ({key}, {model})"
            response = _dict(row.get("response"))
            cached = response.get("cached") is True
            if cached:
                self._note(
                    "Answers from promptfoo's cache: {n}. They tell no latency (`promptfoo eval --no-cache` does)."
                )
            tokens = _number(_dict(response.get("tokenUsage")).get("completion"))
            own = _number(meta.get("weight"))
            failed = row.get("failureReason") == 2 or (bool(row.get("error")) and not row.get("gradingResult"))
            self._add(
                task=task,
                model=model,
                id=key,
                source=source,
                date=date,
                score=self._promptfoo_score(where, row, failed=failed),
                weight=own if own is not None else weight,
                latency_ms=None if cached or failed else _number(row.get("latencyMs")),
                cost_usd=_number(row.get("cost")) or None,
                output_tokens=tokens or None,
                failed=failed,
                where=where,
            )

    def _promptfoo_score(self, where: str, row: dict[str, Any], *, failed: bool) -> float | None:
        if failed:
            self._note("Failed calls: {n}. They count in error_rate, and are not graded.")
            return None
        case = _dict(row.get("testCase"))
        grading = _dict(row.get("gradingResult"))
        if not case.get("assert") and not grading.get("componentResults"):
            self._note("Answers without an assertion: {n}. promptfoo calls them passed; here they are not graded.")
            return None
        metric = self._settings.metric
        if metric is None:
            return self._score(where, row.get("score"))
        if metric in ("success", "pass"):
            return self._score(where, row.get("success"))
        named = _dict(row.get("namedScores"))
        if metric not in named:
            raise InputError(
                f"{where}: no metric {metric!r}. It has {', '.join(named) or 'no named scores'}; `success` and the "
                f"score of all assertions (no --metric) are always there.{did_you_mean(metric, named)}"
            )
        return self._score(where, named[metric])

    # --- lm-eval

    def _lm_eval(self, file: Path, content: dict[str, Any]) -> None:
        """lm-eval's results_<date>.json: totals a benchmark."""
        self._kinds[str(file)] = "lm-eval results"
        model = self._model(_lm_eval_model(file, content))
        stem = _RESULTS.match(file.stem)
        date = stem["date"] if stem else _day(content.get("date")) or _modified(file)
        groups = _dict(content.get("group_subtasks"))
        counted = _dict(content.get("n-samples"))
        for benchmark, values in content["results"].items():
            if groups.get(benchmark):
                # the sum of others that stand in the file themselves
                continue
            task = self._benchmark_task(file, benchmark)
            if task is None:
                continue
            key = self._metric(
                file, benchmark, [k for k in values if "_stderr" not in k and _number(values[k]) is not None]
            )
            metric, comma, kept = key.partition(",")
            score = _number(values[key])
            assert score is not None
            if not 0 <= score <= 1:
                raise InputError(
                    f"{file}: {benchmark}, {key}: {score:g} is no grade from 0 to 1. Choose another with --metric."
                )
            error = _number(values.get(f"{metric}_stderr{comma}{kept}"))
            n = _number(_dict(counted.get(benchmark)).get("effective")) or _number(values.get("sample_len"))
            if n is None and metric in _BINARY and error and 0 < score < 1:
                n = round(score * (1 - score) / error**2 + 1)
                self._note(f"{file}: the number of answers is taken from the standard error, as n-samples is missing.")
            if not n:
                self._note(f"{file}: {benchmark} does not tell how many answers it graded, so it is left out.")
                continue
            row: dict[str, Any] = dict.fromkeys(COLUMNS)
            row |= {"task": task, "model": model, "source": self._benchmark_source(benchmark), "date": date}
            row |= {"n": int(n), "score": score}
            right = round(score * n)
            if metric in _BINARY and abs(right - score * n) < 1e-6 * n:
                row |= {"successes": right, "score": right / int(n), "squares": float(right)}
            elif error is not None:
                squares = (n - 1) * n * error**2 + n * score**2
                row["squares"] = min(max(squares, n * score**2), n * score)
            self._totals.append((model, benchmark, row))

    def _samples(self, file: Path, rows: list[dict[str, Any]]) -> None:
        """lm-eval's samples_<benchmark>_<date>.jsonl: one answer a line (and filter of it)."""
        self._kinds[str(file)] = "lm-eval samples"
        stem = _SAMPLES.match(file.stem)
        if stem is None:
            raise InputError(
                f"{file}: samples of lm-eval, but the name tells no benchmark. Keep the name that lm-eval gave: "
                "samples_BENCHMARK_DATE.jsonl."
            )
        benchmark = stem["task"]
        task = self._benchmark_task(file, benchmark)
        if task is None:
            return
        beside = sorted(file.parent.glob("results_*.json"))
        same = [f for f in beside if f.stem.removeprefix("results_") in file.stem] or beside
        model = self._model(_lm_eval_model(file, _dict(_json(same[-1])) if same else {}))
        first = rows[0]
        names = first.get("metrics") if isinstance(first.get("metrics"), list) else [m for m in _METRICS if m in first]
        filters = list(dict.fromkeys(str(row.get("filter", "none")) for row in rows))
        key = self._metric(file, benchmark, [f"{name},{kept}" for name in names or [] for kept in filters])
        metric, _, kept = key.partition(",")
        self._single.add((model, benchmark))
        for row in rows:
            if str(row.get("filter", "none")) != kept:
                continue
            where = f"{file}: doc_id {row['doc_id']}, {metric}"
            value = row.get(metric)
            if isinstance(value, list | dict):
                raise InputError(f"{where}: {value!r} is no grade of one answer. Choose another with --metric.")
            self._add(
                task=task,
                model=model,
                id=f"{benchmark}/{row['doc_id']}",
                source=self._benchmark_source(benchmark),
                date=stem["date"],
                score=self._score(where, value),
                weight=1.0,
                latency_ms=None,
                cost_usd=None,
                output_tokens=None,
                failed=None,
                where=where,
            )

    def _benchmark_task(self, file: Path, benchmark: str) -> str | None:
        if not self._settings.tasks:
            raise InputError(
                f"{file}: which of your tasks does {benchmark} stand for? Say it with --task-map, such as --task-map "
                f"{benchmark}=reasoning; benchmarks that are not named are left out."
            )
        task = self._mapped(benchmark, self._settings.tasks)
        if task is None:
            self._note(f"Left out, as --task-map does not name it: {benchmark}.")
        return task

    def _benchmark_source(self, benchmark: str) -> str:
        # scores of one benchmark say nothing beside those of another
        return f"{self._settings.source or 'lm-eval'} {benchmark}"

    def _metric(self, file: Path, benchmark: str, keys: Sequence[str]) -> str:
        """The metric to take, as `name,filter`."""
        wanted = self._settings.metric
        if wanted is not None:
            chosen = [k for k in keys if wanted in (k, k.partition(",")[0])]
        else:
            chosen = sorted(
                (k for k in keys if k.partition(",")[0] in _METRICS), key=lambda k: _METRICS.index(k.partition(",")[0])
            )
        if not chosen:
            raise InputError(
                f"{file}: {benchmark} has no metric {wanted or 'that is known to grade from 0 to 1'}. It has "
                f"{', '.join(keys) or 'none'}. Name one with --metric.{did_you_mean(wanted or '', keys)}"
            )
        rest = [k for k in keys if k != chosen[0]]
        if rest and wanted is None:
            self._note(f"{benchmark}: graded by {chosen[0]}; it also has {', '.join(rest)} (--metric).")
        return chosen[0]


def _lm_eval_model(file: Path, content: Mapping[str, Any]) -> str:
    """The model of a report: its name in it, else the folder's, which lm-eval names after it."""
    config = _dict(content.get("config"))
    arguments = config.get("model_args")
    if isinstance(arguments, str):
        arguments = dict(pair.partition("=")[::2] for pair in arguments.split(","))
    arguments = _dict(arguments)
    named = [_text(content.get("model_name")), *(_text(arguments.get(k)) for k in ("model", "pretrained"))]
    return next((n for n in named if n), None) or file.parent.name.replace("__", "/")


def _of_provider(name: str, label: str | None) -> str:
    """The model in a promptfoo provider id: `openai:chat:gpt-5.4` -> `gpt-5.4`."""
    if name.startswith(("file:", "exec:", "python:", "http:", "https:", "webhook:", "package:")):
        return label or name
    parts = name.split(":")
    rest = parts[1:] if len(parts) > 1 else parts
    while len(rest) > 1 and rest[0] in _ENDPOINTS:
        rest = rest[1:]
    return ":".join(rest) or name


# --- files ------------------------------------------------------------------------------------------------------------


def _expanded(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    inside = [p for p in sorted(path.rglob("*")) if p.suffix.lower() in (".json", ".jsonl", ".csv", ".parquet")]
    ours = [p for p in inside if _RESULTS.match(p.stem) or _SAMPLES.match(p.stem)]
    if not (ours or inside):
        raise InputError(f"{path}: no results in this folder. Expected .json, .jsonl, .csv or .parquet.")
    yield from ours or inside


def _rows(path: Path) -> list[dict[str, Any]]:
    suffix = path.suffix.lower()
    try:
        if suffix in (".parquet", ".pq"):
            return pl.read_parquet(path).to_dicts()
        if suffix in (".csv", ".tsv"):
            head = path.read_bytes()[:4096].split(b"\n", 1)[0].decode("utf-8", "replace")
            frame = pl.read_csv(path, infer_schema=False, separator=max(",;\t", key=head.count))
            return frame.rename(str.strip).to_dicts()
        if suffix == ".json":
            content = _json(path)
            if isinstance(content, list) and all(isinstance(row, dict) for row in content):
                return content
            raise InputError(f"{path}: expected a list of rows.")
        rows = []
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                row = _parsed(line, f"{path}, line {number}")
                if not isinstance(row, dict):
                    raise InputError(f"{path}, line {number}: expected a JSON object, saw {str(row)[:40]!r}.")
                rows.append(row)
        return rows
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise InputError(f"{path}: not results that can be read ({reason}).") from None


def _json(path: Path) -> Any:
    try:
        return _parsed(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path}: not results that can be read ({error.strerror or error}).") from None


def _parsed(data: bytes, where: str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        # Python's tools write NaN, which JSON does not have
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({error}).") from None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, bool | dict | list):
        return None
    return str(value).strip() or None


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return float(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _given(where: str, name: str, value: Any) -> float | None:
    number = _number(value)
    if number is None and str("" if value is None else value).strip().lower() not in ("", "nan"):
        raise InputError(f"{where}: {name} {value!r} is no number.")
    return number


def _day(value: Any) -> str | None:
    """The UTC day of what tools write for a time: ISO text, seconds since 1970, a date."""
    if isinstance(value, dt.date):
        return value.isoformat()[:10]
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return dt.datetime.fromtimestamp(value, dt.UTC).date().isoformat()
        moment = dt.datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return None
    return (moment.astimezone(dt.UTC) if moment.tzinfo else moment).date().isoformat()


def _modified(path: Path) -> str:
    return dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC).date().isoformat()


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
