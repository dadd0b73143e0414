"""The models of genai-prices, live or frozen, and its own matching of names to them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from routecost.prices.models import Model, Period, Rate, Variant, When, from_plain, to_plain

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, PriceVariant, Provider

PACKAGE: Final = "genai-prices"

_KIND_OF_KEY: Final = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "requests_kcount": "request",
}
_CLAUSES: Final = {
    "starts_with": "ClauseStartsWith",
    "ends_with": "ClauseEndsWith",
    "contains": "ClauseContains",
    "regex": "ClauseRegex",
    "equals": "ClauseEquals",
    "or_": "ClauseOr",
    "and_": "ClauseAnd",
}


@dataclass(frozen=True)
class Found:
    """A model as a provider offers it. `borrowed`: the price is that of `model`'s own provider, which genai-prices
    falls back to (Azure offers OpenAI's models); request variants do not carry over."""

    provider: str
    model: Model

    @property
    def borrowed(self) -> bool:
        return self.provider != self.model.provider

    @property
    def key(self) -> str:
        return f"{self.provider}/{self.model.id}"


@dataclass(frozen=True)
class Catalogue:
    """version: of the package the prices are from. models: by key."""

    version: str
    models: Mapping[str, Model]
    snapshot: DataSnapshot

    @property
    def providers(self) -> tuple[str, ...]:
        return tuple(provider.id for provider in self.snapshot.providers)

    def provider_id(self, name: str) -> str | None:
        """The provider that a name in a log means, by genai-prices' matching."""
        try:
            return self.snapshot.find_provider(None, name, None).id
        except LookupError:
            return None

    def find(self, provider: str | None, model: str) -> Found | None:
        """By genai-prices' matching; where that finds the provider but not the model, by the model's exact id."""
        try:
            owner, info = self.snapshot.find_provider_model(model, None, provider, None)
            return Found(owner.id, self.models[self._key(owner, info)])
        except LookupError:
            pass
        try:
            owner = self.snapshot.find_provider(model.lower(), provider, None)
        except LookupError:
            return None
        for info in owner.models:
            if info.id.lower() == model.lower():
                return Found(owner.id, self.models[f"{owner.id}/{info.id}"])
        return None

    def _key(self, owner: Provider, info: ModelInfo) -> str:
        if any(info is own for own in owner.models):
            return f"{owner.id}/{info.id}"
        return next(f"{p.id}/{info.id}" for p in self.snapshot.providers if any(info is own for own in p.models))


def installed() -> Catalogue:
    """The prices of the installed package."""
    from genai_prices.data import providers
    from genai_prices.data_snapshot import DataSnapshot

    version = package_version()
    source = f"{PACKAGE} {version}"
    models = (_model(provider.id, info, source) for provider in providers for info in provider.models)
    return Catalogue(
        version=source,
        models={model.key: model for model in models},
        snapshot=DataSnapshot(providers=providers, from_auto_update=False),
    )


def package_version() -> str:
    return importlib.metadata.version(PACKAGE)


def freeze(catalogue: Catalogue) -> list[dict[str, Any]]:
    """The catalogue as JSON: how names match, and what the models cost."""
    return [_frozen_provider(provider, catalogue.models) for provider in catalogue.snapshot.providers]


def thaw(version: str, frozen: Sequence[Mapping[str, Any]]) -> Catalogue:
    """The catalogue that `freeze` wrote. Names are matched by the installed package's code on the frozen clauses."""
    from genai_prices.data_snapshot import DataSnapshot

    models = [from_plain(provider["id"], plain, version) for provider in frozen for plain in provider["models"]]
    return Catalogue(
        version=version,
        models={model.key: model for model in models},
        snapshot=DataSnapshot(providers=[_thawed_provider(provider) for provider in frozen], from_auto_update=False),
    )


def _model(provider: str, info: ModelInfo, source: str) -> Model:
    parts: Sequence[ConditionalPrice | ModelPrice] = info.prices if isinstance(info.prices, list) else [info.prices]
    return Model(
        key=f"{provider}/{info.id}",
        provider=provider,
        id=info.id,
        periods=tuple(_period(part) for part in parts),
        variants=tuple(Variant(v.when, _when(v), _rates(v.prices), source) for v in info.price_variants or ()),
        context_window=info.context_window,
        source=source,
        deprecated=bool(info.deprecated),
    )


def _period(part: ConditionalPrice | ModelPrice) -> Period:
    from genai_prices.types import ModelPrice

    if isinstance(part, ModelPrice):
        return Period(When(), _rates(part))
    return Period(_when(part), _rates(part.prices))


def _when(part: ConditionalPrice | PriceVariant) -> When:
    from genai_prices.types import StartDateConstraint, TimeOfDateConstraint

    if isinstance(part.constraint, StartDateConstraint):
        return When(start=part.constraint.start_date)
    if isinstance(part.constraint, TimeOfDateConstraint):
        return When(minutes=(_minute(part.constraint.start_time), _minute(part.constraint.end_time)))
    return When()


def _minute(time: dt.time) -> int:
    if time.tzinfo is not None:
        time = dt.datetime.combine(dt.date(1970, 1, 1), time).astimezone(dt.UTC).time()
    return time.hour * 60 + time.minute


def _rates(prices: ModelPrice) -> dict[str, Rate]:
    from genai_prices.types import TieredPrices

    rates: dict[str, Rate] = {}
    for key, value in vars(prices).items():
        kind = _KIND_OF_KEY.get(key)
        if kind is None or value is None:
            continue
        per = 1000 if kind == "request" else 1
        if isinstance(value, TieredPrices):
            rates[kind] = (
                float(value.base / per),
                tuple((tier.start, float(tier.price / per)) for tier in value.tiers),
            )
        else:
            rates[kind] = (float(value / per), ())
    return rates


def _frozen_provider(provider: Provider, models: Mapping[str, Model]) -> dict[str, Any]:
    frozen: dict[str, Any] = {"id": provider.id}
    for name in ("model_match", "provider_match"):
        if (clause := getattr(provider, name)) is not None:
            frozen[name] = _frozen_clause(clause)
    if provider.fallback_model_providers:
        frozen["fallbacks"] = list(provider.fallback_model_providers)
    frozen["models"] = [
        {"match": _frozen_clause(info.match), **to_plain(models[f"{provider.id}/{info.id}"])}
        for info in provider.models
    ]
    return frozen


def _thawed_provider(frozen: Mapping[str, Any]) -> Provider:
    from genai_prices.types import ModelInfo, Provider

    return Provider(
        id=frozen["id"],
        name=frozen["id"],
        api_pattern="",
        model_match=_thawed_clause(frozen.get("model_match")),
        provider_match=_thawed_clause(frozen.get("provider_match")),
        fallback_model_providers=frozen.get("fallbacks"),
        models=[ModelInfo(id=plain["id"], match=_thawed_clause(plain["match"])) for plain in frozen["models"]],
    )


def _frozen_clause(clause: Any) -> dict[str, Any]:
    (field,) = dataclasses.fields(clause)
    value = getattr(clause, field.name)
    return {field.name: [_frozen_clause(part) for part in value] if isinstance(value, list) else value}


def _thawed_clause(frozen: Mapping[str, Any] | None) -> Any:
    from genai_prices import types

    if frozen is None:
        return None
    ((name, value),) = frozen.items()
    parts: Iterable[Any] | str = [_thawed_clause(part) for part in value] if isinstance(value, list) else value
    return getattr(types, _CLAUSES[name])(parts)
