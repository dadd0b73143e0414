"""What overlays and routing tables name: whether it has a price, and whether it is still offered."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from routecost import shipped
from routecost.errors import InputError
from routecost.prices.book import Book


@dataclass(frozen=True)
class Named:
    """A model's name in a file and the key it means in the book; null when it means nothing, with what is nearest.
    retired and deprecated: what the book says of that model."""

    file: str
    field: str
    name: str
    key: str | None
    nearest: tuple[str, ...] = ()
    retired: dt.date | None = None
    deprecated: bool = False


@dataclass(frozen=True)
class Check:
    """names: every name that was looked up. newest: the last UTC day, up to `as_of`, on which a price in the book
    begins; it tells how old the prices are, which the package itself does not."""

    version: str
    models: int
    newest: dt.date | None
    age_days: int | None
    names: tuple[Named, ...]

    @property
    def unresolved(self) -> tuple[Named, ...]:
        return tuple(named for named in self.names if named.key is None)

    @property
    def ending(self) -> tuple[Named, ...]:
        """Aliases and models of routing tables that are given up, or will be. Not the models that an overlay describes:
        it is there that their end is written."""
        return tuple(n for n in self.names if n.field != "models" and (n.retired is not None or n.deprecated))


def check(book: Book, tables: Sequence[Path | str] = (), as_of: dt.date | None = None) -> Check:
    """Look up each alias and model of the book's overlays and each model named in these routing tables (without any:
    in the shipped ones). InputError for a table that cannot be read."""
    as_of = as_of or dt.datetime.now(dt.UTC).date()
    paths = [_table(table) for table in tables] or sorted(shipped.folder("routing").glob("*.yaml"))
    names = [*_overlay_names(book), *(named for path in paths for named in _table_names(book, path))]
    starts = [start for model in book.models.values() for start in model.starts if start <= as_of]
    newest = max(starts, default=None)
    return Check(
        version=book.version,
        models=len(book.models),
        newest=newest,
        age_days=None if newest is None else (as_of - newest).days,
        names=tuple(names),
    )


def models_in_table(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(field, model) for every model that a routing table's YAML names; its other rules are not checked here."""
    for field in ("default", "routes", "fallbacks"):
        yield from _texts(field, table.get(field))
    fallbacks = table.get("fallbacks")
    if isinstance(fallbacks, Mapping):
        yield from (("fallbacks", str(model)) for model in fallbacks)
    overrides = table.get("overrides")
    for place, override in enumerate(overrides if isinstance(overrides, list) else []):
        if isinstance(override, Mapping):
            yield from _texts(f"overrides[{place}].model", override.get("model"))


def _texts(field: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield field, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(f"{field}.{key}", item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(field, item)


def _overlay_names(book: Book) -> Iterator[Named]:
    sources = book.overlay.sources
    for alias in book.overlay.aliases:
        yield _named(book, sources[f"aliases.{alias}"], "aliases", alias)
    for key, entry in book.overlay.models.items():
        yield _named(book, next((sources[f"{key}.{field}"] for field in entry.model_fields_set), ""), "models", key)


def _table_names(book: Book, path: Path) -> Iterator[Named]:
    import yaml

    try:
        table = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read the routing table {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: this is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(table, Mapping):
        raise InputError(f"{path}: expected a routing table: a mapping with `default` and `routes`.")
    seen: set[str] = set()
    for field, name in models_in_table(table):
        if name not in seen:
            seen.add(name)
            yield _named(book, path.name, field, name)


def _named(book: Book, file: str, field: str, name: str) -> Named:
    ref = book.resolve(None, name)
    if ref is None:
        return Named(file, field, name, None, tuple(book.nearest(name)))
    return Named(file, field, name, ref.key, (), ref.retired, ref.deprecated)


def _table(table: Path | str) -> Path:
    path = Path(table)
    return path if path.exists() else shipped.named("routing", str(table)) or path
