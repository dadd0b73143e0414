"""A routing table as a value."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from routecost.schema import MODES

# Conditions by what they read. `model` is an override's target, so the logged model is tested as `logged_model`.
CELL_GLOBS: Final = {
    "task": "task",
    "provider": "provider",
    "logged_model": "model",
    "mode": "mode",
    "feature": "feature",
}
REQUEST_GLOBS: Final = {"user": "user_id", "session": "session_id", "project": "project"}
EVERY_TASK: Final = "*"
PATTERNS: Final = {"pattern": "prompt", "system_pattern": "system"}


@dataclass(frozen=True)
class Override:
    """Requests that meet every condition go to `target`, whatever their task.

    The glob conditions are tuples of which any may match; `*` stands for any text, the rest is literal and
    case-sensitive. Patterns are Rust regular expressions, found anywhere. The token limits are inclusive and count the
    whole input, cached tokens too. A condition never holds for a null value: `feature: "*"` means any *logged* feature.
    `mode` is the mode that the request is routed in.

    target: a model, or mode -> model (the override then applies in these modes only), or None (`keep: true`: the
    request stays on the model it was logged with).
    """

    target: str | Mapping[str, str] | None
    task: tuple[str, ...] = ()
    provider: tuple[str, ...] = ()
    logged_model: tuple[str, ...] = ()
    mode: tuple[str, ...] = ()
    feature: tuple[str, ...] = ()
    user: tuple[str, ...] = ()
    session: tuple[str, ...] = ()
    project: tuple[str, ...] = ()
    pattern: str | None = None
    system_pattern: str | None = None
    min_input_tokens: int | None = None
    max_input_tokens: int | None = None

    @property
    def conditions(self) -> dict[str, tuple[str, ...] | str | int]:
        """The conditions that are set, by name."""
        named: dict[str, tuple[str, ...] | str | int | None] = {
            "task": self.task,
            "provider": self.provider,
            "logged_model": self.logged_model,
            "mode": self.mode,
            "feature": self.feature,
            "user": self.user,
            "session": self.session,
            "project": self.project,
            "pattern": self.pattern,
            "system_pattern": self.system_pattern,
            "min_input_tokens": self.min_input_tokens,
            "max_input_tokens": self.max_input_tokens,
        }
        return {name: value for name, value in named.items() if value is not None and value != ()}

    @property
    def key(self) -> str:
        """Eight hex digits of the conditions' content. The target is not part of it: a usage file tallied with a rule
        stays valid when the rule's model changes."""
        plain = {name: sorted(set(v)) if isinstance(v, tuple) else v for name, v in self.conditions.items()}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def needs_request(self) -> bool:
        """Whether a condition reads something that cells do not keep."""
        return any(name not in CELL_GLOBS for name in self.conditions)

    @property
    def request_part(self) -> Override:
        """The override with its request-level conditions only; its key is the one in the cell key `rule`."""
        return replace(self, target=None, task=(), provider=(), logged_model=(), mode=(), feature=())

    def targets(self, modes: Iterable[str]) -> dict[str, str]:
        """mode -> model, for those of `modes` in which the target names one; empty for `keep: true`."""
        if self.target is None:
            return {}
        if isinstance(self.target, str):
            return dict.fromkeys(modes, self.target)
        return {mode: self.target[mode] for mode in modes if mode in self.target}

    def __str__(self) -> str:
        return ", ".join(
            f"{name} {' or '.join(value) if isinstance(value, tuple) else value}"
            for name, value in self.conditions.items()
        )


@dataclass(frozen=True)
class Made:
    """How a recommended table came about.

    date: the day whose prices it was made with. reference: the model that the others were measured against. book: the
    version of the price book. evidence_until: the latest day of the grades. prices: model -> input and output in USD
    per million tokens on that day. evidence: task -> mode -> why the cell has its model, in a sentence.
    """

    date: dt.date
    by: str | None = None
    reference: str | None = None
    book: str | None = None
    evidence_until: dt.date | None = None
    prices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    evidence: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """Which model a request goes to. Models are named as people write them: `gpt-5.4`, an alias, `groq/llama-...`.

    routes: task -> mode -> model. default: mode -> model, or None, which leaves on its own model what no route covers.
    fallbacks: model -> models of other providers, in order. failover_rate: the share of calls that fail (0-1), or
    `from-log`, or None (failures are not priced). speculative: modes that fire the first fallback beside every call;
    loser_share is the part (0-1) of the slower call that is paid. output_ratios: model -> task (`*`: every task) ->
    length of its answers against those of a model of ratio 1. made: how it came about, where it was recommended.
    source: where it was read from.
    """

    name: str
    default_mode: str = "balanced"
    default: Mapping[str, str] | None = None
    routes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    failover_rate: float | Literal["from-log"] | None = None
    speculative: tuple[str, ...] = ()
    loser_share: float = 1.0
    classifier_cost_per_request_usd: float = 0.0
    classifier_latency_ms: float | None = None
    description: str | None = None
    source: str | None = None
    output_ratios: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    made: Made | None = None

    def output_ratio(self, model: str, task: str | None) -> float:
        """How long a model's answers at a task are: its own ratio there, else that for every task, else 1."""
        ratios = self.output_ratios.get(model, {})
        return ratios.get(task or EVERY_TASK, ratios.get(EVERY_TASK, 1.0))

    @property
    def is_empty(self) -> bool:
        """Whether it routes nothing at all."""
        return not self.default and not any(self.routes.values()) and not self.overrides

    def modes(self) -> tuple[str, ...]:
        """The modes that its models are named for, eco / balanced / sport first. A request in another mode is routed
        in `default_mode`."""
        named = [*(self.default or {}), *(mode for row in self.routes.values() for mode in row)]
        named += [mode for o in self.overrides if isinstance(o.target, Mapping) for mode in o.target]
        return in_order(named) or standard_modes(self.default_mode, self.speculative)

    def models(self) -> tuple[str, ...]:
        """Every model that it names anywhere, once, in the order of the table."""
        modes = self.modes()
        named = [*(self.default or {}).values(), *(model for row in self.routes.values() for model in row.values())]
        named += [model for o in self.overrides for model in o.targets(modes).values()]
        named += [model for first, others in self.fallbacks.items() for model in (first, *others)]
        return tuple(dict.fromkeys(named))

    def request_rules(self) -> tuple[Override, ...]:
        """The request-level parts of its overrides, once each: what must be evaluated while the log is read. Their
        keys are those that `rule_expression` writes and that a usage file has to list."""
        parts = {o.request_part.key: o.request_part for o in self.overrides if o.needs_request}
        return tuple(parts.values())

    def cell_keys(self) -> tuple[str, ...]:
        """The cell columns that its overrides read, `rule` included."""
        read = [column for name, column in CELL_GLOBS.items() if any(name in o.conditions for o in self.overrides)]
        return (*read, "rule") if self.request_rules() else tuple(read)


def empty_table() -> Table:
    """The table that moves nothing: every request stays on the model it was logged with."""
    return Table(name="empty")


def in_order(modes: Iterable[str]) -> tuple[str, ...]:
    """Modes once each: the usual ones first, in their order, then the others as they come."""
    named = dict.fromkeys(modes)
    return (*(mode for mode in MODES if mode in named), *(mode for mode in named if mode not in MODES))


def standard_modes(default_mode: str, speculative: Iterable[str] = ()) -> tuple[str, ...]:
    """The modes of a table whose rows are all one model for every mode."""
    return in_order((*MODES, default_mode, *speculative))
