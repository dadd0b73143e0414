"""Price overlays: what people write in `pricing/*.yaml` about models, providers and aliases."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from routecost.errors import InputError, did_you_mean
from routecost.prices.models import CAPABILITIES, Model, Period, Rate, Variant, When
from routecost.schema import FEES, TIERS

Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]
E = TypeVar("E", bound=BaseModel)
Kind = Literal["input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning", "request"]
Capability = Literal["tools", "vision", "json"]
Tokens = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=False, frozen=True)


class RatesEntry(_Entry):
    """USD per million tokens; `request` in USD per request."""

    input: Usd | None = None
    cache_read: Usd | None = None
    cache_write: Usd | None = None
    cache_write_1h: Usd | None = None
    output: Usd | None = None
    reasoning: Usd | None = None
    request: Usd | None = None


class TieredRatesEntry(RatesEntry):
    """above: rates for requests whose total input is above a threshold, for all their tokens."""

    above: dict[Annotated[int, Field(gt=0)], RatesEntry] = {}


class PeriodEntry(TieredRatesEntry):
    start: dt.date | None = Field(default=None, alias="from")


class FeesEntry(_Entry):
    """USD per search, image or second."""

    web_searches: Usd | None = None
    images: Usd | None = None
    audio_seconds: Usd | None = None


class ModelEntry(_Entry):
    tier: Literal["small", "mid", "large", "frontier"] | None = None
    context_window: Tokens | None = None
    max_output: Tokens | None = None
    capabilities: list[Capability] | None = None
    retired: dt.date | None = None
    discount: Share | None = None
    batch_discount: Share | None = None
    batch_full_price: list[Kind] | None = None
    token_ratio: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    fees: FeesEntry | None = None
    prices: Annotated[list[PeriodEntry], Field(min_length=1)] | None = None
    batch: TieredRatesEntry | None = None
    service_tiers: dict[str, TieredRatesEntry] | None = None

    @field_validator("prices")
    @classmethod
    def _one_price_a_day(cls, prices: list[PeriodEntry] | None) -> list[PeriodEntry] | None:
        starts = [period.start for period in prices or ()]
        if len(set(starts)) < len(starts):
            twice = next(start for start in starts if starts.count(start) > 1)
            raise ValueError(f"two prices start at {twice or 'the beginning'}; give each its own `from`")
        return prices


class ProviderEntry(_Entry):
    discount: Share | None = None
    batch_discount: Share | None = None
    batch_full_price: list[Kind] | None = None


class OverlayEntry(_Entry):
    name: str | None = None
    aliases: dict[str, str] = {}
    providers: dict[str, ProviderEntry] = {}
    models: dict[str, ModelEntry] = {}


@dataclass(frozen=True)
class Overlay:
    """What one overlay file, or several merged, say. `sources`: the file that a field is from, as `key.field` for the
    models and providers and as `aliases.name` for the aliases."""

    aliases: Mapping[str, str] = field(default_factory=dict)
    providers: Mapping[str, ProviderEntry] = field(default_factory=dict)
    models: Mapping[str, ModelEntry] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)


def read_overlay(path: Path, content: bytes) -> Overlay:
    """An overlay file's content, checked. InputError names the file and the field."""
    try:
        plain = _load(content)
    except Exception as error:
        if not _is_yaml_error(error):
            raise
        raise InputError(f"{path}: this is not YAML: {_one_line(error)}") from error
    if not isinstance(plain, Mapping):
        raise InputError(
            f"{path}: found {_kind(plain)}, expected a price overlay: a mapping with the keys "
            f"{', '.join(OverlayEntry.model_fields)}. pricing/default.yaml begins with an example."
        )
    try:
        entry = OverlayEntry.model_validate(_text_keys(plain))
    except ValidationError as error:
        raise InputError(_explain(path, error)) from error
    return Overlay(
        aliases={name.strip().lower(): target.strip() for name, target in entry.aliases.items()},
        providers=entry.providers,
        models=entry.models,
    )


def overlay_from_plain(plain: Mapping[str, Any]) -> Overlay:
    """What `overlay_to_plain` wrote."""
    entry = OverlayEntry.model_validate({k: plain[k] for k in ("aliases", "providers", "models")})
    return Overlay(entry.aliases, entry.providers, entry.models, plain["sources"])


def overlay_to_plain(overlay: Overlay) -> dict[str, Any]:
    entry = OverlayEntry(aliases=dict(overlay.aliases), providers=dict(overlay.providers), models=dict(overlay.models))
    plain = entry.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    return {**plain, "sources": dict(overlay.sources)}


def merge_entries(earlier: E | None, later: E) -> E:
    """Field by field, later wins; fees and service tiers are merged by their keys."""
    if earlier is None:
        return later
    merged = {name: getattr(earlier, name) for name in earlier.model_fields_set}
    for name in later.model_fields_set:
        before, after = merged.get(name), getattr(later, name)
        if isinstance(before, FeesEntry) and isinstance(after, FeesEntry):
            after = merge_entries(before, after)
        elif isinstance(before, dict) and isinstance(after, dict):
            after = {**before, **after}
        merged[name] = after
    return type(later).model_construct(set(merged), **merged)


def with_prices(key: str, entry: ModelEntry, base: Model | None, sources: Mapping[str, str]) -> Model:
    """The model with the overlay's prices in place of `base`'s; variants of the overlay come before `base`'s, unless
    its standard prices are replaced too."""
    provider, _, name = key.partition("/")
    variants: list[Variant] = []
    if entry.batch is not None:
        variants.append(Variant({"processing": "batch"}, When(), _rates(entry.batch), sources[f"{key}.batch"]))
    for tier, rates in (entry.service_tiers or {}).items():
        variants.append(Variant({"service_tier": tier.lower()}, When(), _rates(rates), sources[f"{key}.service_tiers"]))
    periods: Sequence[Period] = ()
    source = "" if base is None else base.source
    if entry.prices is not None:
        dated = sorted(entry.prices, key=lambda period: period.start or dt.date.min)
        periods = [Period(When(start=period.start), _rates(period)) for period in dated]
        source = sources[f"{key}.prices"]
    elif base is not None:
        periods, variants = base.periods, [*variants, *base.variants]
    return Model(
        key=key,
        provider=provider,
        id=name,
        periods=tuple(periods),
        variants=tuple(variants),
        context_window=base.context_window if base else None,
        open_start=entry.prices is None,
        source=source,
        deprecated=base.deprecated if base else False,
    )


def fee_rates(entry: ModelEntry | None) -> dict[str, float]:
    """USD per unit of each fee that the entry prices."""
    fees = entry.fees if entry is not None else None
    return {fee: rate for fee in FEES if fees is not None and (rate := getattr(fees, fee)) is not None}


def _rates(entry: TieredRatesEntry) -> dict[str, Rate]:
    rates: dict[str, Rate] = {}
    for kind in RatesEntry.model_fields:
        base = getattr(entry, kind)
        tiers = [
            (threshold, rate)
            for threshold, above in sorted(entry.above.items())
            if (rate := getattr(above, kind)) is not None
        ]
        if base is not None:
            rates[kind] = (base, tuple(tiers))
    return rates


def _load(content: bytes) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Unique(loader):  # type: ignore[misc, valid-type]
        """YAML keeps the last of two equal keys in silence; a price written twice is a mistake."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: set[str] = set()
            for key, _ in node.value:
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is there twice", key.start_mark
                    )
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    return yaml.load(content, Loader=Unique)


def _is_yaml_error(error: Exception) -> bool:
    import yaml

    return isinstance(error, yaml.YAMLError | UnicodeDecodeError)


def _text_keys(value: Any) -> Any:
    """YAML reads some names as numbers or dates (`o3: ...` is text, `4.1: ...` is not); names of models are text."""
    if isinstance(value, Mapping):
        return {key if isinstance(key, int) else str(key): _text_keys(item) for key, item in value.items()}
    return [_text_keys(item) for item in value] if isinstance(value, list) else value


def _explain(path: Path, error: ValidationError) -> str:
    lines = [
        _explain_one(problem["loc"], problem["type"], problem["msg"], problem["input"]) for problem in error.errors()
    ]
    return "\n".join(f"{path}: {line}" for line in lines)


def _explain_one(loc: tuple[int | str, ...], kind: str, message: str, seen: Any) -> str:
    where = ".".join(str(part) for part in loc if part != "[key]")
    if kind == "extra_forbidden":
        known = _fields_at(loc[:-1])
        return f"unknown field {where}.{did_you_mean(str(loc[-1]), known)} Known here: {', '.join(known)}."
    if loc[-1] == "tier":
        return f"{where} is {seen!r}, expected one of {', '.join(TIERS)}.{did_you_mean(str(seen), TIERS)}"
    if "capabilities" in loc and kind == "literal_error":
        return f"{where} is {seen!r}, expected {', '.join(CAPABILITIES)}.{did_you_mean(str(seen), CAPABILITIES)}"
    shown = _kind(seen) if isinstance(seen, dict | list) else repr(seen)
    return f"{where} is {shown}: {message.removeprefix('Value error, ')}."


def _fields_at(loc: tuple[int | str, ...]) -> list[str]:
    if not loc:
        entry: type[BaseModel] = OverlayEntry
    elif loc[0] == "providers":
        entry = ProviderEntry
    elif "fees" in loc:
        entry = FeesEntry
    elif len(loc) == 2:
        entry = ModelEntry
    elif "above" in loc:
        entry = RatesEntry
    else:
        entry = PeriodEntry if "prices" in loc else TieredRatesEntry
    return [info.alias or name for name, info in entry.model_fields.items()]


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    for known, name in ((list, "a list"), (str, "a text"), (dict, "a mapping")):
        if isinstance(value, known):
            return name
    return f"the value {value!r}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]
