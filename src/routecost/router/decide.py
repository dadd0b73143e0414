"""Where one request goes: `simulate` on a log and `Router` in production give the same answer."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl

from routecost import classifier as classifiers
from routecost import tasks
from routecost.errors import InputError
from routecost.prices import Book, read_prices
from routecost.router import messages
from routecost.router.conditions import Known, Test, override_test, rule_test
from routecost.routing import Table, read_table

__all__ = ["FAILED_OPEN", "Decision", "Router"]

FAILED_OPEN: Final = "failed_open"

# Pinned names come from callers, who may send a new one each time.
_REMEMBERED: Final = 4_096
# What Polars, unlike Python, takes for space.
_ASCII_SPACE: Final = " \t\n\x0b\x0c\r"


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a request goes, and why.

    model: as the table names it; None where the table leaves the request on the caller's own model. reason: pinned,
    `override:<key>`, route, default, unrouted, or failed_open (something went wrong, see `error`, and the default took
    it). task_source: log (the caller said it), rules, classifier; confidence (0-1) is the classifier's. fallbacks: what
    to try in turn when the model fails. speculative: the model to call at the same time, in modes that do so.
    """

    model: str | None
    task: str | None
    task_source: str | None
    confidence: float | None
    mode: str
    reason: str
    fallbacks: tuple[str, ...] = ()
    speculative: str | None = None
    error: Exception | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class _Answer:
    model: str | None
    reason: str
    fallbacks: tuple[str, ...]
    speculative: str | None


_Label = tuple[str | None, str | None, float | None]
_UNTYPED: Final[_Label] = (None, None, None)


class Router:
    """A routing table that answers one request at a time. Threads may share it; it fails open.

    table: a Table, the path of a routing table, or the name of a shipped one. classifier: a Classifier, the path of
    one, None for the bundled, False for none. rules: task rules or the path of a file of them, None for the shipped.
    book: says which pinned models there are, None for the shipped prices.

    Raises InputError where one of them cannot be read: a mistake in a file shows when the program starts, not when a
    request comes.
    """

    def __init__(
        self,
        table: Table | str | PathLike[str],
        classifier: classifiers.Classifier | str | PathLike[str] | Literal[False] | None = None,
        *,
        rules: tasks.Rules | str | PathLike[str] | None = None,
        book: Book | None = None,
    ) -> None:
        self.table: Final = table if isinstance(table, Table) else read_table(table)
        self._broken: Exception | None = None
        self._classifier = self._load(classifier)
        self._rules = self._compiled(rules if isinstance(rules, tasks.Rules) else tasks.read_rules(_path(rules)))
        self._named_modes = self.table.modes()
        modes = tuple(dict.fromkeys((*self._named_modes, self.table.default_mode)))
        self._overrides = [
            (override_test(o, modes), _answers(self.table, modes, o.targets(modes), f"override:{o.key}"))
            for o in self.table.overrides
        ]
        routes = self.table.routes.items()
        self._routes = {task: _answers(self.table, modes, row, "route") for task, row in routes}
        self._default = _answers(self.table, modes, {}, "default")
        # a copy, so that what it remembers can be let go
        self._book = replace(book or read_prices(), _refs={})
        self._known_pins: dict[str, bool] = {}
        self._lock = threading.Lock()
        # the first call compiles, or loads what was compiled
        self.route("What does this cost?", model_override="-")

    def __repr__(self) -> str:
        return f"Router({self.table.name!r})"

    def route(
        self,
        message: str | Sequence[Any] | None,
        *,
        mode: str | None = None,
        feature: str | None = None,
        model_override: str | None = None,
        system: Any = None,
        previous_message: str | None = None,
        input_tokens: int | None = None,
        n_messages: int | None = None,
        tools: bool | Sequence[Any] | None = None,
        needs: str | Iterable[str] | None = None,
        user: str | None = None,
        session: str | None = None,
        project: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        task: str | None = None,
        file: str | None = None,
    ) -> Decision:
        """Where a request goes.

        message: the prompt, or the messages, of which the last user turn with text is the prompt. Everything else is
        what a log would say of the request, and may be unknown: conditions on it then do not hold. mode: one that the
        table lacks is its default mode. model_override: a pinned model, which wins where the book knows it. model: the
        one that the application would have used. input_tokens: the whole input, cached tokens too. tools: the
        definitions, or whether there are any; needs: what the request uses (`tools`, `vision`, `json`), instead.
        """
        error: Exception | None = None
        in_mode = mode if mode is not None and mode in self._named_modes else self.table.default_mode
        try:
            said = messages.read(message, system)
            previous = said.previous_prompt if previous_message is None else messages.sound(previous_message)
        except Exception as failure:  # fail-open: a request that cannot be read is routed as one without text
            said, previous, error = messages.NOTHING, None, failure
        known: dict[str, Any] = {
            "prompt": said.prompt,
            "system": said.system,
            "previous_prompt": previous,
            "prompt_chars": None if said.prompt is None else len(said.prompt),
            "input_tokens": input_tokens,
            "n_messages": said.n_messages if n_messages is None else n_messages,
            "feature": feature,
            "user_id": user,
            "session_id": session,
            "project": project,
            "provider": provider,
            "model": model,
            "file": file,
            "mode": in_mode,
        }
        try:
            label = _label(task)
            if label[0] is None:
                label = self._typed(known, _has_tools(tools, needs))
                error = error or (self._broken if label[0] is None else None)
        except Exception as failure:  # fail-open: an unclassified request gets the default, and is answered
            label, error = _UNTYPED, error or failure
        known["task"] = label[0]
        try:
            answer = self._answer(known, in_mode, model_override)
        except Exception as failure:  # fail-open
            answer, error = self._default[in_mode], error or failure
        reason = answer.reason
        if error is not None and reason in ("default", "unrouted"):
            reason = FAILED_OPEN
        return Decision(answer.model, *label, in_mode, reason, answer.fallbacks, answer.speculative, error)

    def _answer(self, known: Known, mode: str, pin: str | None) -> _Answer:
        if self.table.is_empty:
            return self._default[mode]
        if pin is not None and self._is_known(pin):
            return _Answer(pin, "pinned", self.table.fallbacks.get(pin, ()), None)
        for holds, answers in self._overrides:
            if holds(known):
                return answers[mode]
        return self._routes.get(known["task"], self._default)[mode]

    def _typed(self, known: Known, tools: bool | None) -> _Label:
        if self._rules is None:
            return _UNTYPED
        for holds, task in self._rules:
            if holds(known):
                return task, tasks.RULES, None
        if self._classifier is None or known["prompt"] is None:
            return _UNTYPED
        found = self._classifier.classify(
            known["prompt"],
            system=known["system"],
            previous_prompt=known["previous_prompt"],
            n_messages=known["n_messages"],
            input_tokens=known["input_tokens"],
            tools=tools,
        )
        return _UNTYPED if found.task is None else (found.task, tasks.CLASSIFIER, found.confidence)

    def _is_known(self, pin: str) -> bool:
        """Whether the book knows a pinned model."""
        known = self._known_pins.get(pin)
        if known is None:
            with self._lock:
                if len(self._known_pins) >= _REMEMBERED:
                    self._known_pins.clear()
                    self._book = replace(self._book, _refs={})
                known = self._known_pins[pin] = self._book.resolve(None, pin) is not None
        return known

    def _load(
        self, given: classifiers.Classifier | str | PathLike[str] | Literal[False] | None
    ) -> classifiers.Classifier | None:
        if isinstance(given, classifiers.Classifier):
            return given
        if given is False:
            return None
        try:
            return classifiers.load(_path(given))
        except InputError as failure:
            if given is not None:
                raise
            self._broken = failure  # fail-open: one that nobody named leaves requests unclassified
            return None

    def _compiled(self, rules: tasks.Rules) -> list[tuple[Test, str]] | None:
        """The rules in their order; None where one cannot be evaluated, which leaves every request unclassified, as in
        `tasks.classify`."""
        try:
            return [(rule_test(rule), rule.task) for rule in rules.rules]
        except InputError as failure:
            self._broken = failure
            return None


def _path(given: str | PathLike[str] | None) -> Path | None:
    return None if given is None else Path(given)


def _answers(table: Table, modes: Sequence[str], models: Mapping[str, str], reason: str) -> dict[str, _Answer]:
    """mode -> what an override, a row or the default says. Of these only an override may keep a request where it is."""
    found = {}
    for mode in modes:
        model, why = models.get(mode), reason
        if model is None and not reason.startswith("override:"):
            model = (table.default or {}).get(mode)
            why = "unrouted" if model is None else "default"
        others = tuple(table.fallbacks.get(model, ())) if model is not None else ()
        second = others[0] if others and mode in table.speculative else None
        found[mode] = _Answer(model, why, others, second)
    return found


def _label(task: str | None) -> _Label:
    """The caller's own task, as a log's is read."""
    if task is None:
        return _UNTYPED
    if task.isascii():
        name = task.strip(_ASCII_SPACE).lower()
    else:
        name = pl.Series([task]).str.strip_chars().str.to_lowercase().item()
    return (name, tasks.LOG, None) if name else _UNTYPED


def _has_tools(tools: bool | Sequence[Any] | None, needs: str | Iterable[str] | None) -> bool | None:
    if needs is not None:
        return "tools" in (needs if isinstance(needs, str) else ",".join(needs))
    return None if tools is None else bool(tools)
