"""The price book: every model's prices, and what the names in a log mean in it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from routecost import shipped
from routecost.errors import InputError, did_you_mean
from routecost.prices import catalogue as catalogues
from routecost.prices.catalogue import Catalogue, Found
from routecost.prices.models import Model, ModelRef, exact_ratio
from routecost.prices.overlay import (
    ModelEntry,
    Overlay,
    ProviderEntry,
    digest,
    fee_rates,
    merge_entries,
    overlay_from_plain,
    overlay_to_plain,
    read_overlay,
    with_prices,
)

FORMAT: Final = "routecost price book"
FORMAT_VERSION: Final = 2
# 1 knew no capabilities, largest answers or retirement: books of it say nothing about them.
_READABLE = (1, 2)

_BROKER = "openrouter"
# Names of sellers in logs that genai-prices does not know.
_SELLERS = {"workers-ai": "cloudflare"}


@dataclass(frozen=True)
class Book:
    """Prices of genai-prices (or of a frozen book) under overlays.

    version names every source and changes whenever one does.
    """

    version: str
    catalogue: Catalogue = field(repr=False)
    overlay: Overlay = field(repr=False)
    _refs: dict[tuple[str | None, str], ModelRef | None] = field(default_factory=dict, repr=False, compare=False)

    def __repr__(self) -> str:
        return f"Book({self.version!r})"

    @cached_property
    def models(self) -> dict[str, Model]:
        """Every model by key, overlays applied; `model` also knows those that one provider borrows from another."""
        models = dict(self.catalogue.models)
        for key, entry in self.overlay.models.items():
            if entry.prices is not None or entry.batch is not None or entry.service_tiers is not None:
                models[key] = with_prices(key, entry, self._base(key), self.overlay.sources)
        return models

    @cached_property
    def edges(self) -> tuple[int, ...]:
        """Ascending totals of input tokens that a price of any model in the book depends on."""
        ratios = {Fraction(1), *(exact_ratio(e.token_ratio) for e in self.overlay.models.values() if e.token_ratio)}
        return _edges(((self._ref_of(model), model) for model in self._all()), ratios)

    @cached_property
    def slots(self) -> tuple[int, ...]:
        """Ascending first minutes of the parts of the UTC day between price changes of any model; begins with 0."""
        return tuple(sorted({0}.union(*(model.slots for model in self._all()))))

    def edges_of(self, refs: Iterable[ModelRef]) -> tuple[int, ...]:
        """The edges that the prices of these models depend on, for requests logged by any of them or by a model of
        token ratio 1."""
        refs = list(refs)
        ratios = {Fraction(1), *(ref.ratio for ref in refs)}
        return _edges(((ref, self.model(ref)) for ref in refs), ratios)

    def slots_of(self, refs: Iterable[ModelRef]) -> tuple[int, ...]:
        """The slots that the prices of these models depend on; begins with 0."""
        return tuple(sorted({0}.union(*(self.model(ref).slots for ref in refs))))

    def resolve(self, provider: str | None, model: str | None) -> ModelRef | None:
        """What a logged (provider, model) means; None for a model that the book does not know.

        Aliases and private models of the overlays first, then genai-prices' own matching. An alias does not stand for
        a model that the logged provider itself sells under that name; one written as `provider/name` does. `model` may
        be "provider/model". Remembered, so that each distinct pair is matched once.
        """
        if model is None or not model.strip():
            return None
        pair = (provider, model)
        if pair not in self._refs:
            self._refs[pair] = self._resolve(_clean(provider), model.strip().lower())
        return self._refs[pair]

    def nearest(self, model: str, n: int = 3) -> list[str]:
        """Known names closest to an unknown one, best first."""
        name = model.strip().lower()
        near = difflib.get_close_matches(name.rsplit("/", 1)[-1], self._names, n=n, cutoff=0.7)
        return [self._names[match] for match in near]

    def model(self, ref: ModelRef) -> Model:
        """The prices behind a reference."""
        if (model := self.models.get(ref.key)) is not None:
            return model
        base = self._base(ref.key)
        if base is None:
            raise KeyError(ref.key)
        return base

    def refs(self) -> list[ModelRef]:
        """Every model of the book, overlays applied, by key."""
        return list(self._listed)

    @cached_property
    def _listed(self) -> tuple[ModelRef, ...]:
        return tuple(self._ref_of(self.models[key]) for key in sorted(self.models))

    def entry(self, ref: ModelRef) -> ModelEntry | None:
        """What the overlays say about a model."""
        return self.overlay.models.get(ref.key)

    def discount(self, ref: ModelRef) -> float:
        """Negotiated fraction off every rate: the model's, else the provider's."""
        return float(self._said(ref, "discount") or 0.0)

    def batch_discount(self, ref: ModelRef) -> float | None:
        """Fraction off in batches, for models without batch prices: the model's, else the provider's, else None."""
        share: float | None = self._said(ref, "batch_discount")
        return share

    def source(self, ref: ModelRef, field: str) -> str | None:
        """The overlay file that says this of the model, else of its provider; None when none does."""
        sources = self.overlay.sources
        return sources.get(f"{ref.key}.{field}") or sources.get(f"{ref.provider}.{field}")

    def batch_full_price(self, ref: ModelRef) -> frozenset[str]:
        """Kinds of tokens that the batch discount leaves out."""
        return frozenset(self._said(ref, "batch_full_price") or ())

    def fees(self, ref: ModelRef) -> dict[str, float]:
        """USD per unit of each fee with a price."""
        return fee_rates(self.entry(ref))

    def _said(self, ref: ModelRef, name: str) -> Any:
        """What the overlays say of a model, else of its provider."""
        entries: tuple[ModelEntry | ProviderEntry | None, ...] = (
            self.entry(ref),
            self.overlay.providers.get(ref.provider),
        )
        return next((v for e in entries if e is not None and (v := getattr(e, name)) is not None), None)

    def _all(self) -> Iterable[Model]:
        # A provider that borrows a model has the catalogue's price of it, whatever an overlay says of the owner's.
        yield from self.catalogue.models.values()
        yield from (self.models[key] for key in self.overlay.models if key in self.models)

    @cached_property
    def _names(self) -> dict[str, str]:
        """Every name a person may have meant, and what to write for it: makers' own models before resellers'."""
        names = {alias: alias for alias in self.overlay.aliases}
        makers = {provider.id for provider in self.catalogue.snapshot.providers if provider.model_match is not None}
        makers.update(key.partition("/")[0] for key in self._private.values())
        for key in sorted(self.models, key=lambda key: (key.partition("/")[0] not in makers, key.count("/"), key)):
            names.setdefault(key.rsplit("/", 1)[-1].lower(), key)
        return names

    @cached_property
    def _private(self) -> dict[str, str]:
        """Keys of models that only overlays know, by their lower-case key."""
        return {key.lower(): key for key in self.models if key not in self.catalogue.models and self._base(key) is None}

    def _resolve(self, provider: str | None, name: str, aliases: tuple[str, ...] = ()) -> ModelRef | None:
        for alias in (f"{provider}/{name}", name) if provider else (name,):
            if alias in self.overlay.aliases and alias not in aliases:
                target = self.overlay.aliases[alias].lower()
                seen = (*aliases, alias)
                if provider is None or "/" in alias:
                    return self._resolve(None, target, seen)
                # The logged provider may sell a model of this name itself, or the alias's target.
                own, same = self._find(provider, name), self._resolve(provider, target, seen)
                if own is not None or same is not None:
                    return same if own is None else self._ref_of_found(own)
                return self._resolve(None, target, seen)
        for key in (f"{provider}/{name}", name) if provider else (name,):
            if key in self._private:
                return self._ref_of(self.models[self._private[key]])
        if provider is None:
            named = [key for key in self._private.values() if key.partition("/")[2].lower() == name]
            if len(named) == 1:
                return self._ref_of(self.models[named[0]])
        found = self._find(provider, name)
        if found is None and provider is not None and "/" in name:
            # `maker/model` is how OpenRouter names what it buys of a host; it hands the host's price on
            found = self._find(_BROKER, name)
        return None if found is None else self._ref_of_found(found)

    def _find(self, provider: str | None, name: str) -> Found | None:
        prefix, slash, rest = name.partition("/")
        if provider is None and slash and (owner := self.catalogue.provider_id(prefix)) is not None:
            found = self.catalogue.find(owner, rest)
            return found or self.catalogue.find(owner, name) or self.catalogue.find(None, name)
        found = self.catalogue.find(provider, name)
        if found is None and provider is not None and slash:
            owner = self.catalogue.provider_id(provider)
            if owner is not None and self.catalogue.provider_id(prefix) == owner:
                return self.catalogue.find(owner, rest)
        return found

    def _base(self, key: str) -> Model | None:
        """What the catalogue says of a key, as the provider in the key offers it."""
        if key in self.catalogue.models:
            return self.catalogue.models[key]
        provider, _, name = key.partition("/")
        found = self.catalogue.find(provider, name) if provider in self.catalogue.providers else None
        if found is None or found.key != key:
            return None
        model = found.model
        # A model that its maker gives up may live on at another provider, so `deprecated` stays behind.
        return Model(key, provider, model.id, model.periods, (), model.context_window, True, model.source)

    def _ref_of_found(self, found: Found) -> ModelRef:
        if not found.borrowed:
            return self._ref_of(self.models[found.key])
        return self._ref_of(self.models.get(found.key, found.model), found)

    def _ref_of(self, model: Model, found: Found | None = None) -> ModelRef:
        # A borrowed model is the same model: the owner's tier, tokenizer and capabilities hold unless said otherwise.
        # How long it is offered, each provider decides for itself.
        keys = (model.key,) if found is None else (found.key, found.model.key)
        entries = [entry for key in keys if (entry := self.overlay.models.get(key)) is not None]

        def first(name: str, default: Any) -> Any:
            return next((value for entry in entries if (value := getattr(entry, name)) is not None), default)

        own = self.overlay.models.get(keys[0])
        capabilities = first("capabilities", None)
        return ModelRef(
            key=keys[0],
            provider=keys[0].partition("/")[0],
            model=model.id,
            tier=first("tier", None),
            context_window=first("context_window", model.context_window),
            token_ratio=first("token_ratio", 1.0),
            capabilities=None if capabilities is None else frozenset(capabilities),
            max_output=first("max_output", None),
            retired=None if own is None else own.retired,
            deprecated=model.deprecated and model.provider == keys[0].partition("/")[0],
        )


def read_prices(paths: Sequence[Path | str] = ()) -> Book:
    """The shipped prices under these overlays, later ones winning.

    A path may be the name of a shipped overlay. It may be a frozen book (`freeze`): that takes the place of everything
    before it, and the installed genai-prices is not consulted. InputError names the file and the field that is wrong.
    """
    default = shipped.named("pricing", "default")
    named = [path if path.exists() else shipped.named("pricing", str(path)) or path for path in map(Path, paths)]
    sources = [(path, _read(path)) for path in [*([default] if default else []), *named]]
    frozen = max((place for place, (_, content) in enumerate(sources) if _is_frozen(content)), default=None)
    if frozen is None:
        catalogue, merged = catalogues.installed(), Overlay()
        versions = [catalogue.version]
    else:
        version, catalogue, merged = _thaw(*sources[frozen])
        versions = [version]
        sources = sources[frozen + 1 :]
    for path, content in sources:
        merged = _merge(merged, read_overlay(path, content), catalogue, path, strict=path != default)
        versions.append(f"{path.name}@{digest(content)}")
    return Book(" + ".join(versions), catalogue, merged)


def freeze(book: Book) -> bytes:
    """The whole book as JSON, the same bytes for the same book; `read_prices` reads it back."""
    body = {
        "version": book.version,
        "catalogue_version": book.catalogue.version,
        "overlay": overlay_to_plain(book.overlay),
        "providers": catalogues.freeze(book.catalogue),
    }
    # One line for each provider, so that a diff of two frozen books shows where prices changed.
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "digest": digest(_canonical(body))}
    parts = [f"{json.dumps(key)}: {json.dumps(value, sort_keys=True)}" for key, value in {**head, **body}.items()]
    providers = ",\n".join(json.dumps(provider, sort_keys=True) for provider in body["providers"])
    parts[-1] = f'"providers": [\n{providers}\n]'
    return ("{" + ",\n".join(parts) + "}\n").encode()


def _canonical(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def _is_frozen(content: bytes) -> bool:
    return content.lstrip()[:1] == b"{" and FORMAT.encode() in content[:200]


def _thaw(path: Path, content: bytes) -> tuple[str, Catalogue, Overlay]:
    again = "Write it again with `routecost prices freeze`."
    try:
        plain = json.loads(content)
    except ValueError as error:
        raise InputError(f"{path}: this frozen price book is damaged: {error}. {again}") from error
    if plain.get("format_version") not in _READABLE:
        raise InputError(
            f"{path}: frozen price book of format {plain.get('format_version')}, this program reads format "
            f"{' and '.join(map(str, _READABLE))}. {again}"
        )
    body = {key: plain.get(key) for key in ("version", "catalogue_version", "overlay", "providers")}
    if digest(_canonical(body)) != plain.get("digest"):
        raise InputError(
            f"{path}: this frozen price book was changed after it was written (its content does not match its digest). "
            f"{again} To change a price, add an overlay: --pricing {path} --pricing my-prices.yaml."
        )
    catalogue = catalogues.thaw(plain["catalogue_version"], plain["providers"])
    return plain["version"], catalogue, overlay_from_plain(plain["overlay"])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        known = sorted(p.stem for p in shipped.folder("pricing").glob("*.yaml"))
        raise InputError(
            f"cannot read the price overlay {path}: {error.strerror}. Expected a YAML overlay or a frozen price book. "
            f"Shipped overlays are in {shipped.folder('pricing')}: {', '.join(known)}."
        ) from error


def _merge(earlier: Overlay, later: Overlay, catalogue: Catalogue, path: Path, *, strict: bool) -> Overlay:
    """Entries of the same model or provider merged, whatever name each file uses for it.

    strict: an entry that can have no effect is an error. Not for the shipped file, which names models that another
    version of genai-prices may lack; `prices check` lists those.
    """
    sources = dict(earlier.sources)
    providers = dict(earlier.providers)
    models = dict(earlier.models)
    for name, provider_entry in later.providers.items():
        key = catalogue.provider_id(name) or name.lower()
        providers[key] = merge_entries(providers.get(key), provider_entry)
        sources.update({f"{key}.{field}": path.name for field in provider_entry.model_fields_set})
    aliases = {**earlier.aliases, **later.aliases}
    exact = {key.lower(): key for key in (*catalogue.models, *models)}
    for name, entry in later.models.items():
        key = _model_key(name, entry, exact, aliases, catalogue)
        exact.setdefault(key.lower(), key)
        models[key] = merge_entries(models.get(key), entry)
        sources.update({f"{key}.{field}": path.name for field in entry.model_fields_set})
        if strict and models[key].prices is None and _catalogue_key(key, catalogue) is None:
            known = [*models, *catalogue.models]
            raise InputError(
                f"{path}: models.{name} is not a model of {catalogue.version}, and has no `prices` of its own, so the "
                f"entry would do nothing.{did_you_mean(key, [k for k in known if k != key])}"
            )
        if "/" not in key:
            raise InputError(
                f"{path}: models.{name} needs a provider: write `provider/{name}`, for example acme/{name}."
            )
    for alias in later.aliases:
        sources[f"aliases.{alias}"] = path.name
        if strict:
            _check_alias(path, alias, Overlay(aliases, {}, models, sources), catalogue)
    if strict:
        used = {key.partition("/")[0] for key in models} | set(catalogue.providers)
        for name in later.providers:
            if catalogue.provider_id(name) is None and name.lower() not in used:
                raise InputError(f"{path}: providers.{name} is not a known provider.{did_you_mean(name, used)}")
    return Overlay(aliases, providers, models, sources)


def _model_key(
    name: str, entry: ModelEntry, exact: Mapping[str, str], aliases: Mapping[str, str], catalogue: Catalogue
) -> str:
    """The key of the model that an overlay's entry is about. exact: the known keys by their lower case.

    An entry with prices whose name is not exactly a model of the catalogue is a private model of its own: it must not
    replace the prices of a model whose pattern its name happens to match.
    """
    name = name.strip()
    for candidate in (name.lower(), aliases.get(name.lower(), "").lower()):
        if candidate in exact:
            return exact[candidate]
    if entry.prices is not None and "/" in name:
        return name.lower()
    book = Book("", catalogue, Overlay(aliases=aliases))
    ref = book.resolve(None, name)
    return ref.key if ref is not None else name.lower()


def _catalogue_key(key: str, catalogue: Catalogue) -> str | None:
    ref = Book("", catalogue, Overlay()).resolve(None, key)
    return None if ref is None else ref.key


def _check_alias(path: Path, alias: str, overlay: Overlay, catalogue: Catalogue) -> None:
    aliases = overlay.aliases
    seen = [alias]
    while (target := aliases[seen[-1]].lower()) in aliases and target != seen[-1]:
        if target in seen:
            raise InputError(f"{path}: aliases.{alias} goes round in a circle: {' -> '.join([*seen, target])}.")
        seen.append(target)
    book = Book("", catalogue, overlay)
    if book.resolve(None, alias) is None:
        near = book.nearest(aliases[alias])
        raise InputError(
            f"{path}: aliases.{alias} means {aliases[alias]!r}, which no price is known for. Expected provider/model."
            + (f" Did you mean {', '.join(near)}?" if near else "")
        )


def _clean(provider: str | None) -> str | None:
    name = (provider or "").strip().lower()
    return _SELLERS.get(name, name) or None


def _edges(models: Iterable[tuple[ModelRef, Model]], logged: Iterable[Fraction]) -> tuple[int, ...]:
    """A request of `total` tokens logged at ratio a and priced at ratio b is above T when total * b / a > T; totals are
    whole, so that is total > floor(T * a / b)."""
    ratios = tuple(logged)
    edges = {
        int(threshold * ratio / ref.ratio)
        for ref, model in models
        for threshold in model.thresholds
        for ratio in ratios
    }
    return tuple(sorted(edges - {0}))
