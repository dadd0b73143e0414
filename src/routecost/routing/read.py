"""Routing tables as people write them, in YAML."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from routecost import shipped
from routecost.errors import InputError, did_you_mean
from routecost.routing.table import EVERY_TASK, Made, Override, Table, in_order, standard_modes


def read_table(path_or_name: str | PathLike[str]) -> Table:
    """The table in a YAML file, or the shipped table with this name (`default`, `prism-v1.7-a`, ...).

    Rows that name one model are expanded to every mode of the table. Raises InputError that names the file, the field
    and the nearest valid key. Whether models exist and settings make sense is `validate`'s to say.
    """
    path = _find(path_or_name)
    try:
        content = _load(path)
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {_yaml_problem(error)}") from error
    except (ValueError, KeyError, AttributeError) as error:
        # What PyYAML's constructors raise when a value does not fit its tag: a 13th month, `!!bool maybe`.
        raise InputError(f"{path} is not valid YAML: a value does not fit its type ({error}).") from error
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply for a routing table.") from error
    return table_of(content, path)


def table_of(content: object, path: Path) -> Table:
    """The table that plain values say, as a file would; `path` is where they are from, for messages."""
    if not isinstance(content, dict):
        seen = "is empty" if content is None else f"holds {_seen(content)}"
        raise InputError(f"{path} {seen}; a routing table is a mapping with keys such as {_keys(_File)}.")
    try:
        return _File.model_validate(content).table(path)
    except ValidationError as error:
        problems = [f"  {_problem(detail)}" for detail in error.errors()]
        raise InputError("\n".join([f"{path} is not a routing table:", *problems])) from error


def _find(path_or_name: str | PathLike[str]) -> Path:
    path = Path(path_or_name)
    if path.is_file():
        return path
    if path.is_dir():
        raise InputError(f"{path} is a directory; name a routing table in it.")
    if (found := shipped.named("routing", str(path_or_name))) is not None:
        return found
    names = [p.stem for p in sorted(shipped.folder("routing").glob("*.yaml"))]
    near = [p.name for p in sorted(path.parent.glob("*.y*ml"))] if path.parent.is_dir() else []
    raise InputError(
        f"there is no routing table {path_or_name}: neither a file, nor one of the shipped tables "
        f"({', '.join(names)}).{did_you_mean(path.name, [*near, *names])}"
    )


def _load(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read the routing table {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}); a routing table is a YAML file.") from error
    # A subclass of SafeLoader: it builds plain values only.
    return yaml.load(text, Loader=_UniqueKeys)


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets a later key replace an earlier one in silence; in a routing table that hides a route."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[Any, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key, line = self.construct_object(key_node), key_node.start_mark.line + 1
            if key in first:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key} is given twice, on line {first[key]} and again", key_node.start_mark
                )
            first[key] = line
        return super().construct_mapping(node, deep)


# --- what a file may say -------------------------------------------------------------------------------------------


def _name(value: object) -> str:
    """A model, mode or task. YAML reads 4.5 as a number and `on` as true, which nobody means as a name."""
    name = _glob(value)
    if "*" in name:
        raise PydanticCustomError(
            "name", "{name} is not a name; `*` is for the conditions of overrides", {"name": name}
        )
    return name


def _glob(value: object) -> str:
    if not isinstance(value, str):
        hint = "" if value is None or isinstance(value, list | dict) else "; a name that looks like that needs quotes"
        raise PydanticCustomError("name", "expected a name, found {seen}{hint}", {"seen": _seen(value), "hint": hint})
    if not value or value != value.strip():
        raise PydanticCustomError("name", "a name is empty or has space around it: '{name}'", {"name": value})
    return value


def _by_mode(value: object) -> object:
    """mode -> model; one model for every mode comes as `{EVERY_MODE: model}`."""
    if isinstance(value, dict) and value:
        return value
    if isinstance(value, dict | list | None):
        raise PydanticCustomError(
            "name", "expected a model or a mapping of mode to model, found {seen}", {"seen": _seen(value)}
        )
    return {_EVERY_MODE: _name(value)}


def _by_task(value: object) -> object:
    """task -> ratio; one ratio for every task comes as `{EVERY_TASK: ratio}`."""
    return value if isinstance(value, dict) else {EVERY_TASK: value}


def _day(value: object) -> object:
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    try:
        return dt.date.fromisoformat(value) if isinstance(value, str) else dt.date.fromisoformat("")
    except ValueError:
        message = "expected a day such as 2026-11-24, found {seen}"
        raise PydanticCustomError("name", message, {"seen": _seen(value)}) from None


def _rate(value: object) -> object:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None or value == "from-log" or number:
        return value
    raise PydanticCustomError(
        "name", "expected a share such as 0.01, or from-log, found {seen}", {"seen": _seen(value)}
    )


def _seen(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple | dict):
        kind = "mapping" if isinstance(value, dict) else "list"
        return f"a {kind}" if value else f"an empty {kind}"
    return repr(value) if isinstance(value, str) else str(value)


def _listed(value: object) -> object:
    """One name or a list of names."""
    return tuple(value) if isinstance(value, list) else (value,)


def _compiles(pattern: str) -> str:
    if not pattern:
        raise PydanticCustomError("pattern", "the pattern is empty, which matches every prompt")
    try:
        pl.Series([""], dtype=pl.String).str.contains(pattern)
    except pl.exceptions.ComputeError as error:
        why = str(error).split("\n\nThis error occurred", maxsplit=1)[0].rsplit("error: ", maxsplit=1)[-1]
        raise PydanticCustomError(
            "pattern",
            "the pattern '{pattern}' is not a regular expression: {why} (Rust syntax: no look-around, no "
            "back-references)",
            {"pattern": pattern, "why": why},
        ) from error
    return pattern


# Not a name that a file can use, so it cannot be confused with a mode.
_EVERY_MODE = "*"
_Name = Annotated[str, BeforeValidator(_name)]
_Glob = Annotated[str, BeforeValidator(_glob)]
_Mode = Annotated[str, BeforeValidator(lambda value: value if value is _EVERY_MODE else _name(value))]
_ByMode = Annotated[dict[_Mode, _Name], BeforeValidator(_by_mode)]
_Task = Annotated[str, BeforeValidator(lambda value: value if value == EVERY_TASK else _name(value))]
_Names = Annotated[tuple[_Name, ...], Field(min_length=1), BeforeValidator(_listed)]
_Globs = Annotated[tuple[_Glob, ...], Field(min_length=1), BeforeValidator(_listed)]
_Rate = Annotated[float | Literal["from-log"] | None, BeforeValidator(_rate)]
_Pattern = Annotated[str, AfterValidator(_compiles)]
_Tokens = Annotated[int, Field(ge=0)]
_Ratio = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Lengths = Annotated[dict[_Task, _Length], Field(min_length=1), BeforeValidator(_by_task)]
# YAML reads an unquoted day as a date
_Day = Annotated[dt.date, BeforeValidator(_day)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Override(_Model):
    model: _ByMode | None = None
    keep: Literal[True] | None = None
    task: _Globs = ()
    provider: _Globs = ()
    logged_model: _Globs = ()
    mode: _Globs = ()
    feature: _Globs = ()
    user: _Globs = ()
    session: _Globs = ()
    project: _Globs = ()
    pattern: _Pattern | None = None
    system_pattern: _Pattern | None = None
    min_input_tokens: _Tokens | None = None
    max_input_tokens: _Tokens | None = None

    @model_validator(mode="after")
    def _complete(self) -> _Override:
        if (self.model is None) == (self.keep is None):
            seen = "neither" if self.model is None else "both"
            raise PydanticCustomError(
                "target",
                "an override needs either `model` (where the requests go) or `keep: true` (they stay on their model); "
                "found {seen}. To test the model that a request was logged with, use `logged_model`.",
                {"seen": seen},
            )
        if not self.override().conditions:
            raise PydanticCustomError(
                "conditions",
                "an override without a condition would decide every request; add one of {known}, or use `default`",
                {"known": _conditions()},
            )
        return self

    def override(self) -> Override:
        fields = {name: getattr(self, name) for name in type(self).model_fields if name not in ("model", "keep")}
        return Override(target=None if self.model is None else self.model.get(_EVERY_MODE, self.model), **fields)


class _Classifier(_Model):
    cost_per_request_usd: float = 0.0
    latency_ms: float | None = None


class _Price(_Model):
    input: _Ratio | None = None
    output: _Ratio | None = None


class _Made(_Model):
    date: _Day
    by: str | None = None
    reference: _Name | None = None
    book: str | None = None
    evidence_until: _Day | None = None
    prices: dict[_Name, _Price] = {}
    evidence: dict[_Name, dict[_Name, str]] = {}

    def made(self) -> Made:
        return Made(
            date=self.date,
            by=self.by,
            reference=self.reference,
            book=self.book,
            evidence_until=self.evidence_until,
            prices={name: price.model_dump(exclude_none=True) for name, price in self.prices.items()},
            evidence=self.evidence,
        )


class _File(_Model):
    name: _Name | None = None
    description: str | None = None
    default_mode: _Name = "balanced"
    default: _ByMode | None = None
    routes: dict[_Name, _ByMode] = {}
    overrides: list[_Override] = []
    fallbacks: dict[_Name, _Names] = {}
    failover_rate: _Rate = None
    speculative: Annotated[tuple[_Name, ...], BeforeValidator(_listed)] = ()
    loser_share: float = 1.0
    classifier: _Classifier = _Classifier()
    output_ratios: dict[_Name, _Lengths] = {}
    made: _Made | None = None

    def table(self, path: Path) -> Table:
        # A row for every mode also answers for the default mode, which the other rows need not name.
        maps = [self.default or {}, *self.routes.values(), *(o.model or {} for o in self.overrides)]
        modes = in_order(mode for row in maps for mode in row if mode != _EVERY_MODE)
        if any(_EVERY_MODE in row for row in maps):
            usual = standard_modes(self.default_mode, self.speculative)
            modes = in_order((*modes, self.default_mode)) if modes else usual

        def expanded(row: dict[str, str]) -> dict[str, str]:
            every = row.get(_EVERY_MODE)
            return dict.fromkeys(modes, every) if every else {mode: row[mode] for mode in modes if mode in row}

        return Table(
            name=self.name or path.stem,
            default_mode=self.default_mode,
            default=None if self.default is None else expanded(self.default),
            routes={task: expanded(row) for task, row in self.routes.items()},
            overrides=tuple(o.override() for o in self.overrides),
            fallbacks=self.fallbacks,
            failover_rate=self.failover_rate,
            speculative=self.speculative,
            loser_share=self.loser_share,
            classifier_cost_per_request_usd=self.classifier.cost_per_request_usd,
            classifier_latency_ms=self.classifier.latency_ms,
            description=self.description,
            source=str(path),
            output_ratios=self.output_ratios,
            made=self.made.made() if self.made else None,
        )


# --- what is wrong with it -----------------------------------------------------------------------------------------


def _problem(detail: ErrorDetails) -> str:
    where, message, kind = _place(detail), detail["msg"], detail["type"]
    if kind == "extra_forbidden":
        model = _model_at(detail["loc"])
        near = did_you_mean(str(detail["loc"][-1]), model.model_fields) or f" Known keys: {_keys(model)}."
        return f"{where}: unknown key.{near}"
    if kind in ("name", "pattern", "target", "conditions"):
        return f"{where}: {message}"
    return f"{where}: {_EXPECTED.get(kind, message)}, found {_seen(detail['input'])}"


_EXPECTED = {
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "list_type": "expected a list",
    "too_short": "expected at least one name",
    "float_type": "expected a number",
    "int_type": "expected a whole number",
    "string_type": "expected text",
    "greater_than_equal": "expected 0 or more",
    "greater_than": "expected more than 0",
    "finite_number": "expected a number",
    "literal_error": "expected true",
}


def _place(detail: ErrorDetails) -> str:
    """`routes.simple.eco`, `override 2.pattern`."""
    loc = [step for step in detail["loc"] if step != "[key]"]
    if loc[:1] == ["overrides"] and len(loc) > 1 and isinstance(loc[1], int):
        loc[:2] = [f"override {loc[1] + 1}"]
    return ".".join(str(step) for step in loc) or "the file"


def _model_at(loc: tuple[int | str, ...]) -> type[BaseModel]:
    inside: Mapping[int | str, type[BaseModel]] = {"overrides": _Override, "classifier": _Classifier, "made": _Made}
    if loc[:2] == ("made", "prices"):
        return _Price
    return inside.get(loc[0], _File) if len(loc) > 1 else _File


def _keys(model: type[BaseModel]) -> str:
    return ", ".join(model.model_fields)


def _conditions() -> str:
    return ", ".join(name for name in _Override.model_fields if name not in ("model", "keep"))


def _yaml_problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return str(error)
