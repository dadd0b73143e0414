"""What task rules and overrides ask of a request, compiled for one request at a time.

The answers are those of `tasks.Rule.holds` and `routing.route`; tests hold them side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import polars as pl
from pydantic_core import SchemaError, SchemaValidator, core_schema

from routecost import tasks
from routecost.errors import InputError
from routecost.routing import Override
from routecost.routing.table import CELL_GLOBS, PATTERNS, REQUEST_GLOBS

__all__ = ["Known", "Test", "override_test", "regex", "rule_test"]

Known = Mapping[str, Any]
"""What is known of a request, by the names of schema.REQUEST, and `prompt_chars`. `input_tokens` is the whole input,
cached tokens too; `mode` is the one that it is routed in."""

Test = Callable[[Known], bool]
_Check = Callable[[Any], bool]

# What a condition reads, the cheap ones first: a request that is too long is never searched.
_RULE_SIZES: Final = {"input_tokens": "input_tokens", "prompt_chars": "prompt_chars", "messages": "n_messages"}
_RULE_REGEXES: Final = {"pattern": "prompt", "system_pattern": "system"}
_OVERRIDE_GLOBS: Final = {**CELL_GLOBS, **REQUEST_GLOBS}


def rule_test(rule: tasks.Rule) -> Test:
    """Whether a task rule holds. Raises InputError for a pattern that is not valid, or a rule without a condition."""
    if not rule.conditions():
        raise InputError(f"the task rule for {rule.task} has no condition.")
    cheap: list[tuple[str, _Check]] = []
    costly: list[tuple[str, _Check]] = []
    for key, value in rule.conditions().items():
        if key in _RULE_REGEXES:
            costly.append((_RULE_REGEXES[key], regex(str(value))))
        elif isinstance(value, int):
            bound, size = key.split("_", 1)
            cheap.append((_RULE_SIZES[size], _at_least(value) if bound == "min" else _at_most(value)))
        else:
            costly.insert(0, (key, _rule_glob(value)))
    return _all(cheap + costly)


def override_test(override: Override, modes: Sequence[str]) -> Test:
    """Whether an override decides a request. Raises InputError for a pattern that is not valid.

    modes: those that a request can be routed in; an override whose models are named by mode holds in these only.
    """
    checks: list[tuple[str, _Check]] = []
    if isinstance(override.target, Mapping):
        checks.append(("mode", _any([_override_glob(mode) for mode in override.targets(modes)])))
    if override.min_input_tokens is not None:
        checks.append(("input_tokens", _at_least(override.min_input_tokens)))
    if override.max_input_tokens is not None:
        checks.append(("input_tokens", _at_most(override.max_input_tokens)))
    conditions = override.conditions
    for name, column in _OVERRIDE_GLOBS.items():
        if isinstance(globs := conditions.get(name), tuple):
            checks.append((column, _any([_override_glob(glob) for glob in globs])))
    for name, column in PATTERNS.items():
        if isinstance(pattern := conditions.get(name), str):
            checks.append((column, regex(pattern)))
    return _all(checks)


def regex(pattern: str) -> _Check:
    """Whether a pattern is found anywhere in a text, as `Series.str.contains` of Polars says.

    A call of Polars takes 30 microseconds however short the text. Pydantic is built on the same engine, the Rust crate
    `regex`, and compiles ahead: a tenth of a microsecond. What it does not take is left to Polars.
    """
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError as error:
        raise InputError(
            f"the pattern {pattern} is not a valid regex (expected Rust syntax, so no look-around and no "
            f"back-references): {error}"
        ) from None
    try:
        schema = core_schema.str_schema(strict=True, pattern=pattern, regex_engine="rust-regex")
        return SchemaValidator(schema).isinstance_python
    except SchemaError:
        return lambda text: bool(pl.Series([text]).str.contains(pattern).item())


def _all(checks: Sequence[tuple[str, _Check]]) -> Test:
    def holds(known: Known) -> bool:
        for column, check in checks:
            value = known[column]
            # a condition never holds for what is not known
            if value is None or not check(value):
                return False
        return True

    return holds


def _any(checks: Sequence[_Check]) -> _Check:
    return checks[0] if len(checks) == 1 else lambda value: any(check(value) for check in checks)


def _at_least(bound: int) -> _Check:
    return lambda value: bool(value >= bound)


def _at_most(bound: int) -> _Check:
    return lambda value: bool(value <= bound)


def _rule_glob(glob: str) -> _Check:
    """`*` is any text, `?` one character."""
    wild = {"*": ".*", "?": "."}
    return regex(rf"\A(?s:{''.join(wild.get(c) or pl.escape_regex(c) for c in glob)})\z")


def _override_glob(glob: str) -> _Check:
    """`*` is any text, all else literal."""
    parts = glob.split("*")
    if len(parts) == 1:
        return lambda text: bool(text == glob)
    if len(parts) == 2:
        start, end = parts
        both = len(start) + len(end)
        return lambda text: len(text) >= both and text.startswith(start) and text.endswith(end)
    return regex("(?s)^" + ".*".join(pl.escape_regex(part) for part in parts) + "$")
