"""Requests one by one, known by keyed hashes: so that the same request can be found on two sides, and nobody's text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import polars as pl

from routecost import schema
from routecost.errors import InputError
from routecost.schema import CELL_KEY, FEES, TOKEN_KINDS
from routecost.usage.cells import Settings
from routecost.whole import whole_file

_KEY: Final = "routecost-pairs"
_ENDING: Final = ".pairs.parquet"
# What a request can be found again by: its id; else its prompt, with the number of messages before it.
KEYS: Final = ("id_key", "prompt_key")
_CELL: Final = (
    *("day", "slot", "task", "provider", "model", "band", "service_tier", "batch", "gateway_cache_hit", "feature"),
    *("status", "problem"),
)
_COUNTS: Final = (*TOKEN_KINDS, "reasoning_tokens", *FEES)
COLUMNS: Final[dict[str, pl.DataType]] = {
    **dict.fromkeys(KEYS, pl.UInt64()),
    "group": pl.Int16(),
    **{c: CELL_KEY[c] for c in _CELL},
    **dict.fromkeys(_COUNTS, pl.Int64()),
}


@dataclass(frozen=True)
class Keyed:
    """Requests (COLUMNS), one row each in the order of their time. mark: tells the salt of the keys from others; unit
    and salt: what the groups are made by (see Settings)."""

    rows: pl.DataFrame
    mark: str
    unit: str
    salt: str


@dataclass(frozen=True)
class Joined:
    """Requests that stand on both sides.

    rows: the columns of a request but its keys, with `_base` and `_current`, a row a pair. by_id, by_prompt: how many
    were found by which key. base, current: how many requests each side has. repeated: how many requests of both sides
    have a key that stands on one side more often than on the other, so that nobody knows which belong together.
    """

    rows: pl.DataFrame
    by_id: int
    by_prompt: int
    base: int
    current: int
    repeated: int

    @property
    def share(self) -> float:
        """The share of the larger side's requests that are paired."""
        most = max(self.base, self.current)
        return self.rows.height / most if most else 0.0


def secret_of(salt: str) -> bytes:
    """The key of the hashes under a salt, whatever its length."""
    return blake2b(salt.encode(), digest_size=32).digest()


def with_keys(requests: pl.DataFrame, secret: bytes) -> pl.DataFrame:
    """Add KEYS: 64 bits of a keyed hash (BLAKE2b) of the request's id, and of its prompt; null where it has none."""
    ids = [None if one is None else _hash(one, secret, b"id") for one in requests["request_id"].to_list()]
    if "prompt" in requests.columns:
        messages: Sequence[Any] = [None] * requests.height
        if "n_messages" in requests.columns:
            messages = requests["n_messages"].to_list()
        prompts = [
            None if prompt is None else _hash(f"{'' if n is None else n}\0{prompt}", secret, b"prompt")
            for prompt, n in zip(requests["prompt"].to_list(), messages, strict=True)
        ]
    else:
        prompts = [None] * requests.height
    return requests.with_columns(pl.Series("id_key", ids, pl.UInt64), pl.Series("prompt_key", prompts, pl.UInt64))


def _hash(text: str, secret: bytes, kind: bytes) -> int:
    # a lone surrogate is no text, and still tells a request from another
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8, key=secret, person=kind).digest(), "little")


def rows_of(requests: pl.DataFrame, prepared: pl.DataFrame) -> pl.DataFrame:
    """The narrow rows of some requests (with KEYS) as they were prepared for counting, with `ts` and `place`."""
    return prepared.select(*(c for c in COLUMNS if c not in KEYS)).with_columns(
        requests.select(*KEYS, "ts", "place").get_columns()
    )


def keyed(rows: Sequence[pl.DataFrame], settings: Settings, secret: bytes) -> Keyed:
    """`rows_of` some chunks as one value, in an order that does not depend on theirs."""
    whole = pl.concat(rows) if rows else pl.DataFrame(schema={**COLUMNS, "ts": pl.Datetime("us", "UTC")})
    ordered = whole.sort("ts", *KEYS, *(c for c in COLUMNS if c not in KEYS), nulls_last=True)
    return Keyed(ordered.select(*COLUMNS), _mark(secret), settings.unit, settings.salt)


def _mark(secret: bytes) -> str:
    return blake2b(b"", digest_size=8, key=secret, person=b"mark").hexdigest()


def totals(frame: pl.DataFrame) -> tuple[int, ...]:
    """How many requests some rows or cells count, and their tokens: what tells that they are of the same log."""
    requests = frame["requests"].sum() if "requests" in frame.columns else frame.height
    return (int(requests), *(int(n) for n in frame.select(pl.col(*_COUNTS).sum()).row(0)))


def merged(parts: Sequence[Keyed]) -> Keyed:
    """The requests of several files. Raises InputError when they were hashed or grouped differently."""
    first = parts[0]
    for part in parts[1:]:
        _require_alike(first, part)
    return Keyed(pl.concat([p.rows for p in parts]), first.mark, first.unit, first.salt)


def _require_alike(one: Keyed, other: Keyed) -> None:
    if one.mark != other.mark:
        raise InputError(
            "requests hashed with different salts cannot be found again. Tally both sides with one --salt "
            "(ROUTECOST_SALT; in CI, a secret)."
        )
    for name in ("unit", "salt"):
        left, right = getattr(one, name), getattr(other, name)
        if left != right:
            what = "unit" if name == "unit" else "salt of the groups"
            raise InputError(
                f"requests grouped with another {what} cannot be paired: {left!r} and {right!r}. "
                "Tally both sides with the same options."
            )


# --- the file ---------------------------------------------------------------------------------------------------------


def pairs_path(usage: Path | str) -> Path:
    """Where the requests of a usage file stand: usage.parquet -> usage.pairs.parquet."""
    path = Path(usage)
    return path.with_name((path.stem if path.suffix in (".parquet", ".pq") else path.name) + _ENDING)


def is_pairs_file(path: Path | str) -> bool:
    """Whether a file is one that `write_pairs` made."""
    try:
        with open(path, "rb") as file:
            if file.read(4) != b"PAR1":
                return False
        return _KEY in pl.read_parquet_metadata(path)
    except (OSError, pl.exceptions.PolarsError):
        return False


def write_pairs(requests: Keyed, path: Path | str) -> None:
    """Write requests to a Parquet file that its owner only can read. The same requests give the same bytes."""
    meta = {
        "schema_version": schema.SCHEMA_VERSION,
        "mark": requests.mark,
        "unit": requests.unit,
        "salt": requests.salt,
    }
    with whole_file(path, private=True) as part:
        try:
            requests.rows.write_parquet(part, compression="zstd", metadata={_KEY: json.dumps(meta, sort_keys=True)})
        except pl.exceptions.PolarsError as error:
            raise OSError(str(error).splitlines()[0]) from error


def read_pairs(path: Path | str) -> Keyed:
    """The requests in a file. Raises InputError when it is not one, or of another version."""
    try:
        meta: Mapping[str, Any] = json.loads(pl.read_parquet_metadata(path)[_KEY])
        if meta["schema_version"] != schema.SCHEMA_VERSION:
            raise InputError(
                f"{path}: requests in version {meta['schema_version']}, this program reads {schema.SCHEMA_VERSION}. "
                "Tally the log again with --pairs, or update routecost."
            )
        rows = pl.read_parquet(path).select(*COLUMNS).cast(COLUMNS)  # type: ignore[arg-type]
        return Keyed(rows, str(meta["mark"]), str(meta["unit"]), str(meta["salt"]))
    except (OSError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"{path}: no file of requests that can be read. Expected one that `routecost tally --pairs` wrote."
        ) from error


# --- both sides -------------------------------------------------------------------------------------------------------


def joined(base: Keyed, current: Keyed) -> Joined:
    """The requests that stand on both sides: those with the same id, and of the others those with the same prompt.

    A key that stands several times is taken in the order of time, where it does so equally often on both sides. Raises
    InputError where the sides were hashed or grouped differently.
    """
    _require_alike(base, current)
    left, right = (side.rows.with_row_index("_row") for side in (base, current))
    found, uneven = [], []
    for key in KEYS:
        pairs, keys = _matched(left, right, key)
        found.append(pairs)
        uneven.append(pl.col(key).is_in(keys.to_list()).fill_null(False))
        left = left.join(pairs, left_on="_row", right_on="_base", how="anti", maintain_order="left")
        right = right.join(pairs, left_on="_row", right_on="_current", how="anti", maintain_order="left")
    places = pl.concat(found).sort("_base")
    sides = [
        side.rows[places[place]].drop(KEYS).select(pl.all().name.suffix(place))
        for side, place in ((base, "_base"), (current, "_current"))
    ]
    return Joined(
        pl.concat(sides, how="horizontal"),
        found[0].height,
        found[1].height,
        base.rows.height,
        current.rows.height,
        sum(side.filter(pl.any_horizontal(uneven)).height for side in (left, right)),
    )


def _matched(left: pl.DataFrame, right: pl.DataFrame, key: str) -> tuple[pl.DataFrame, pl.Series]:
    """Rows of the left and the right with the same key (`_base`, `_current`), and the keys that stand on both sides,
    but not equally often."""
    numbered = [
        side.select("_row", key)
        .drop_nulls()
        .with_columns(_turn=pl.int_range(pl.len()).over(key), _times=pl.len().over(key))
        for side in (left, right)
    ]
    pairs = numbered[0].join(numbered[1], on=[key, "_turn", "_times"], how="inner")
    times = [side.select(key, "_times").unique() for side in numbered]
    uneven = times[0].join(times[1], on=key, how="inner").filter(pl.col("_times") != pl.col("_times_right"))
    return pairs.select(pl.col("_row").alias("_base"), pl.col("_row_right").alias("_current")), uneven[key]
