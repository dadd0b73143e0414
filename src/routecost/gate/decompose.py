"""The change of a cost, taken apart: how much of it is volume, mix, tokens, caching, or something else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Final, Literal, TypeVar

import polars as pl

from routecost.gate.result import Mover, Part, Why

KINDS: Final = (
    "volume",
    "task mix",
    "model mix",
    "input tokens",
    "output tokens",
    "reasoning",
    "cache hit share",
    "price",
    "unexplained",
)
NO_TASK: Final = "(no task)"
NO_MODEL: Final = "(no model)"
NO_FEATURE: Final = "(none)"
MOST: Final = 5

# What float subtraction leaves of a difference that is none, as a share of the costs it was taken from.
_NOISE: Final = 1e-12
# Below this share of the base, a change is not worth a word.
_SAID: Final = 0.0005
# A cell that makes up so much of a part may stand for all of it in the headline.
_NEARLY_ALL: Final = 0.95


def decompose(base: pl.DataFrame, current: pl.DataFrame) -> Why:
    """Cells of both sides, priced on one day -> why their total cost differs. `live_prices` is left to the caller.

    The parts sum to current less base. They are taken out one after the other, from the coarse to the fine: volume,
    task mix, model mix within a task, then what a request of a cell (task and model) uses. Each is valued at what the
    baseline paid for it and at the current count of what is coarser, so that a request that is new counts with what it
    would have cost, and what remains at the end is exact. The order is fixed because a reader can follow it; an average
    over all orders has no such sentence. Therefore exchanging the sides negates the total, but not each part.

    task mix, model mix: a share that grows counts with its cost less the average, hence a cheap task that grows
    lowers the cost. A cell that only one side has is mix, all of it. input tokens: all of the input, cached or not, at
    the base's average price of it. cache hit share: how the same input is spread over uncached, read and written
    tokens. output tokens: without reasoning. price: 0, as both sides have the same prices. unexplained: what
    the same tokens cost more (context bands, service tiers, batches, providers), and fees.

    share: of the base's cost at the current volume; that of volume is the growth of the requests. Both are null where
    the base has nothing. cells and features: what they add to the change at the current volume (without volume); all of
    them, not only those shown, sum to it. Rows without a cost are on neither side.
    """
    old, new = _Side.of(base), _Side.of(current)
    change = math.fsum((new.whole.usd, -old.whole.usd))
    if not old.whole.requests or not new.whole.requests:
        return _one_sided(old, new, change)
    base_usd = old.whole.usd * (new.whole.requests / old.whole.requests)
    noise = _NOISE * (base_usd + old.whole.usd + new.whole.usd)
    within = {key: _within(old.cells[key], cell, _cell(key)) for key, cell in new.cells.items() if key in old.cells}
    moves = _moves(old, new, within)
    found = {kind: math.fsum(move.usd for move in moves if move.kind == kind) for kind in KINDS}
    found["volume"] = (new.whole.requests - old.whole.requests) * (old.whole.usd / old.whole.requests)
    found = {kind: value if abs(value) > noise else 0.0 for kind, value in found.items()}
    # The last part closes the sum, so that rounding cannot pile up over many cells.
    rest = math.fsum((change, *(-value for kind, value in found.items() if kind != "unexplained")))
    found["unexplained"] = rest if abs(rest) > noise else 0.0
    grown = new.whole.requests / old.whole.requests - 1
    parts = tuple(Part(kind, usd, grown if kind == "volume" else _share(usd, base_usd)) for kind, usd in found.items())
    return Why(
        total_usd=change,
        parts=parts,
        cells=_cells(old, new, within, base_usd, noise),
        features=_features(old, new, base_usd, noise),
        headline=_headline(parts, moves, base_usd),
    )


@dataclass(frozen=True)
class _Sum:
    """What some cells have in all. The fields are named after the columns; visible: output without reasoning."""

    requests: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    visible_tokens: int
    reasoning_tokens: int
    usd: float
    cost_input: float
    cost_cache: float
    cost_output: float
    cost_reasoning: float
    cost_other: float

    @property
    def mean(self) -> float:
        return self.usd / self.requests

    @property
    def cached(self) -> tuple[int, int, int]:
        return self.cache_read_tokens, self.cache_write_tokens, self.cache_write_1h_tokens

    @property
    def all_input(self) -> int:
        return self.input_tokens + sum(self.cached)


_Key = tuple[str | None, str | None]
_Name = TypeVar("_Name")


@dataclass(frozen=True)
class _Side:
    frame: pl.DataFrame
    cells: Mapping[_Key, _Sum]
    whole: _Sum

    @classmethod
    def of(cls, frame: pl.DataFrame) -> _Side:
        known = frame.filter(pl.col("cost_usd").is_not_null() & (pl.col("requests") > 0))
        cells = _sums(known, "task", "model")
        return cls(known, {(task, model): cell for (task, model), cell in cells.items()}, _total(cells.values()))

    @property
    def tasks(self) -> dict[str | None, _Sum]:
        return {
            task: _total(cell for (of, _), cell in self.cells.items() if of == task)
            for task in dict.fromkeys(task for task, _ in self.cells)
        }

    def feature(self, name: str | None) -> _Side:
        return _Side.of(self.frame.filter(pl.col("feature").eq_missing(pl.lit(name, pl.String))))


def _sums(frame: pl.DataFrame, *keys: str) -> dict[tuple[str | None, ...], _Sum]:
    reasoning = pl.col("reasoning_tokens").fill_null(0)
    named = frame.with_columns(
        usd=pl.col("cost_usd"), visible_tokens=pl.col("output_tokens").fill_null(0) - reasoning
    ).select(*keys, *(field.name for field in fields(_Sum)))
    summed = named.group_by(keys, maintain_order=True).agg(pl.all().sum())
    return {row[: len(keys)]: _Sum(*row[len(keys) :]) for row in summed.iter_rows()}


def _total(sums: Iterable[_Sum]) -> _Sum:
    columns = list(zip(*(astuple(one) for one in sums), strict=True)) or [(0,)] * len(fields(_Sum))
    return _Sum(*(sum(column) for column in columns[:7]), *(math.fsum(column) for column in columns[7:]))


@dataclass(frozen=True)
class _Move:
    """A piece of the change: its kind, what it comes to at the current volume, and what happened, in words."""

    kind: str
    usd: float
    says: str


def _moves(old: _Side, new: _Side, within: Mapping[_Key, Sequence[_Move]]) -> list[_Move]:
    """All pieces of the change at the current volume: they sum to it."""
    moves = []
    before, after = old.tasks, new.tasks
    for task in _ordered((*before, *after)):
        one, other = before.get(task), after.get(task)
        moves.append(_mix("task mix", one, other, old.whole, new.whole, f"`{task or NO_TASK}`", "requests"))
        if one is None or other is None:
            continue
        for key in _ordered(key for key in (*old.cells, *new.cells) if key[0] == task):
            name, of = key[1] or NO_MODEL, f"the requests of `{task or NO_TASK}`"
            moves.append(_mix("model mix", old.cells.get(key), new.cells.get(key), one, other, name, of))
            moves.extend(within.get(key, ()))
    return moves


def _mix(kind: str, one: _Sum | None, other: _Sum | None, old: _Sum, new: _Sum, name: str, of: str) -> _Move:
    """What a change of a share adds: as it leaves the rest less, with what it costs more than the average."""
    expected = one.requests * (new.requests / old.requests) if one else 0.0
    own = (one or other or old).mean
    usd = ((other.requests if other else 0) - expected) * (own - old.mean)
    dear = f", at {_times(own / old.mean)} the average cost there" if old.mean and own != old.mean else ""
    share = other.requests / new.requests if other else 0.0
    if one is None:
        return _Move(kind, usd, f"{name} is new, with {_percent(share)} of {of}{dear}")
    had = one.requests / old.requests
    if other is None:
        return _Move(kind, usd, f"{name} is gone, which had {_percent(had)} of {of}{dear}")
    return _Move(kind, usd, f"{name} {_from_to(had, share, _percent)} of {of}{dear}")


def _within(one: _Sum, other: _Sum, name: str) -> list[_Move]:
    """What a request of a cell costs more than before, by why, times its current requests."""
    n = other.requests
    tokens, cache = _input(one, other)
    output = _quantity(one, other, lambda s: s.visible_tokens, lambda s: s.cost_output)
    thought = _quantity(one, other, lambda s: s.reasoning_tokens, lambda s: s.cost_reasoning)
    fees = n * (other.cost_other / n - one.cost_other / one.requests)
    rates = math.fsum((n * (other.mean - one.mean), *(-x for x in (tokens, cache, output, thought, fees))))
    thinks = one.reasoning_tokens or other.reasoning_tokens
    visible = "output tokens without reasoning" if thinks else "output tokens"
    return [
        _Move("input tokens", tokens, _a_request("input tokens", name, one, other, lambda s: s.all_input)),
        _Move("cache hit share", cache, _cache_words(one, other, name)),
        _Move("output tokens", output, _a_request(visible, name, one, other, lambda s: s.visible_tokens)),
        _Move("reasoning", thought, _a_request("reasoning tokens", name, one, other, lambda s: s.reasoning_tokens)),
        _Move("unexplained", fees, _fee_words(one, other, name)),
        _Move("unexplained", rates, _rate_words(rates, other.usd, name)),
    ]


def _quantity(one: _Sum, other: _Sum, tokens: Callable[[_Sum], int], cost: Callable[[_Sum], float]) -> float:
    """More tokens of a kind, at what the baseline paid for one; at what is paid now where it had none."""
    priced = one if tokens(one) else other
    if not tokens(priced):
        return 0.0
    more = tokens(other) / other.requests - tokens(one) / one.requests
    return other.requests * more * (cost(priced) / tokens(priced))


def _input(one: _Sum, other: _Sum) -> tuple[float, float]:
    """What more input adds, and what another spread of the same input over uncached, read and written tokens adds."""
    tokens = _quantity(one, other, lambda s: s.all_input, lambda s: s.cost_input + s.cost_cache)
    if not one.all_input or not other.all_input:
        return tokens, 0.0
    fresh, fresh_now = _rate(one.cost_input, one.input_tokens), _rate(other.cost_input, other.input_tokens)
    cached, cached_now = _rate(one.cost_cache, sum(one.cached)), _rate(other.cost_cache, sum(other.cached))
    # Tiers, bands and batches scale the prices of all input alike; that is not caching. The uncached price shows them.
    scale = fresh_now / fresh if fresh and fresh_now else 1.0
    cached_now = None if cached_now is None else cached_now / scale
    fresh = fresh_now if fresh is None else fresh
    cached = cached_now if cached is None else cached
    more_fresh = other.input_tokens / other.all_input - one.input_tokens / one.all_input
    # Reads cost a tenth and writes more than uncached input: which of them the cached tokens are is caching, too.
    spread = (cached_now or 0.0) - (cached or 0.0) if _spread_differs(one.cached, other.cached) else 0.0
    a_token = math.fsum(
        (more_fresh * (fresh or 0.0), -more_fresh * (cached or 0.0), sum(other.cached) / other.all_input * spread)
    )
    return tokens, other.all_input * a_token


def _rate(cost: float, tokens: int) -> float | None:
    return cost / tokens if tokens else None


def _spread_differs(one: Sequence[int], other: Sequence[int]) -> bool:
    return any(a * sum(other) != b * sum(one) for a, b in zip(one, other, strict=True))


def _cells(
    old: _Side, new: _Side, within: Mapping[_Key, Sequence[_Move]], base_usd: float, noise: float
) -> tuple[Mover, ...]:
    found = []
    for key in _ordered((*old.cells, *new.cells)):
        one, other = old.cells.get(key), new.cells.get(key)
        moves = [_mix("mix", one, other, old.whole, new.whole, _cell(key), "all requests"), *within.get(key, ())]
        name = f"{key[0] or NO_TASK} on {key[1] or NO_MODEL}"
        found.append((name, math.fsum(move.usd for move in moves), moves))
    return tuple(_mover("cell", name, usd, _lead(moves, usd), base_usd) for name, usd, moves in _most(found, noise))


def _features(old: _Side, new: _Side, base_usd: float, noise: float) -> tuple[Mover, ...]:
    """Features, each taken apart like the whole: what a feature's own mix and tokens did is said of its cells."""
    before, after = _sums(old.frame, "feature"), _sums(new.frame, "feature")
    if not any(feature for feature, *_ in (*before, *after)):
        return ()
    found = []
    for (feature,) in _ordered((*before, *after)):
        one, other = before.get((feature,)), after.get((feature,))
        name = f"feature `{feature or NO_FEATURE}`"
        mix = _mix("mix", one, other, old.whole, new.whole, name, "all requests")
        dearer = other.requests * (other.mean - one.mean) if one and other else 0.0
        found.append((feature, mix.usd + dearer, [mix]))
    movers = []
    for feature, usd, moves in _most(found, noise):
        if (feature,) in before and (feature,) in after:
            one_side, other_side = old.feature(feature), new.feature(feature)
            both = [key for key in other_side.cells if key in one_side.cells]
            within = {key: _within(one_side.cells[key], other_side.cells[key], _cell(key)) for key in both}
            named = f"feature `{feature or NO_FEATURE}`: "
            own = _moves(one_side, other_side, within)
            moves = [*moves, *(_Move(move.kind, move.usd, named + move.says) for move in own)]
        movers.append(_mover("feature", feature or NO_FEATURE, usd, _lead(moves, usd), base_usd))
    return tuple(movers)


def _most(found: Iterable[tuple[_Name, float, list[_Move]]], noise: float) -> list[tuple[_Name, float, list[_Move]]]:
    return sorted((one for one in found if abs(one[1]) > noise), key=lambda one: -abs(one[1]))[:MOST]


def _lead(moves: Iterable[_Move], usd: float) -> _Move:
    """The move that did most of it, in the direction in which all of it went."""
    return max(moves, key=lambda move: math.copysign(1.0, usd) * move.usd)


def _mover(scope: Literal["cell", "feature"], name: str, usd: float, lead: _Move, base_usd: float) -> Mover:
    return Mover(scope, name, usd, _share(usd, base_usd), f"{lead.says} ({_points(lead.usd, base_usd)})")


def _headline(parts: Sequence[Part], moves: Sequence[_Move], base_usd: float) -> str:
    ours = [part for part in parts if part.kind != "volume"]
    change = math.fsum(part.usd for part in ours)
    shown = f"{_signed_percent(change / base_usd)}" if base_usd else f"from $0 to {_money(change)}"
    if all(abs(part.usd) < _SAID * base_usd or not part.usd for part in ours):
        return f"{shown}: a request costs what it did" if base_usd else "a request costs nothing, as before"
    # Where parts cancel out there is no direction to speak of: the biggest part is the news.
    cancelled = abs(change) < _SAID * base_usd
    towards = max(ours, key=lambda part: abs(part.usd) if cancelled else math.copysign(1.0, change) * part.usd)
    lead = _lead([move for move in moves if move.kind == towards.kind], towards.usd)
    points = _points(towards.usd, base_usd)
    if lead.usd / towards.usd >= _NEARLY_ALL:
        text = f"{shown}: {lead.says} ({points})"
    else:
        text = f"{shown}: {towards.kind} ({points}), most of it: {lead.says} ({_points(lead.usd, base_usd)})"
    others = [part for part in ours if part is not towards and abs(part.usd) >= abs(towards.usd) / 2]
    if others:
        text += f"; also {', '.join(f'{part.kind} ({_points(part.usd, base_usd)})' for part in others)}"
    return text


def _one_sided(old: _Side, new: _Side, change: float) -> Why:
    """With nothing to compare a request with, all is volume."""
    if old.whole.requests:
        headline = "the current side has no request with a price"
    elif new.whole.requests:
        headline = "the baseline has no request with a price"
    else:
        headline = "neither side has a request with a price"
    grown = -1.0 if old.whole.requests else None
    parts = tuple(Part(kind, change, grown) if kind == "volume" else Part(kind, 0.0, None) for kind in KINDS)
    return Why(change, parts, (), (), headline)


def _share(usd: float, base_usd: float) -> float | None:
    return usd / base_usd if base_usd else None


def _ordered(keys: Iterable[_Name]) -> list[_Name]:
    """Each key once, in an order that does not depend on the rows."""
    return sorted(dict.fromkeys(keys), key=repr)


def _cell(key: _Key) -> str:
    return f"`{key[0] or NO_TASK}` on {key[1] or NO_MODEL}"


def _a_request(what: str, name: str, one: _Sum, other: _Sum, tokens: Callable[[_Sum], int]) -> str:
    before, after = tokens(one) / one.requests, tokens(other) / other.requests
    return f"{what} of {name} {_from_to(before, after, _count)} a request"


def _cache_words(one: _Sum, other: _Sum, name: str) -> str:
    before, after = (_rate(s.cache_read_tokens, s.all_input) or 0.0 for s in (one, other))
    if math.isclose(before, after, rel_tol=1e-9):
        before, after = (_rate(sum(s.cached[1:]), s.all_input) or 0.0 for s in (one, other))
        return f"cache writes of {name} {_from_to(before, after, _percent)} of its input"
    return f"cache reads of {name} {_from_to(before, after, _percent)} of its input"


def _fee_words(one: _Sum, other: _Sum, name: str) -> str:
    before, after = one.cost_other / one.requests, other.cost_other / other.requests
    return f"fees of {name} {_from_to(before, after, _cents)} a request"


def _rate_words(usd: float, now_usd: float, name: str) -> str:
    more = "more" if usd > 0 else "less"
    expected = now_usd - usd
    by = f"{_percent(abs(usd) / expected)} {more}" if expected > 0 else more
    return f"the same tokens of {name} cost {by} (context bands, service tiers, batches or providers moved)"


def _from_to(before: float, after: float, shown: Callable[[float, int], str]) -> str:
    """`grew from 410 to 690`, with as many digits as it takes to see the difference."""
    if math.isclose(before, after, rel_tol=1e-9):
        return f"stayed at {shown(after, 0)}"
    texts = [(shown(before, more), shown(after, more)) for more in range(5)]
    one, other = next((pair for pair in texts if pair[0] != pair[1]), texts[-1])
    return f"{'grew' if after > before else 'fell'} from {one} to {other}"


def _count(value: float, more: int = 0) -> str:
    return f"{value:,.{more if value >= 10 or value == int(value) else more + 1}f}"


def _percent(value: float, more: int = 0) -> str:
    value *= 100
    return f"{value:,.{more if value >= 10 or value == int(value) else more + 1}f} %"


def _cents(value: float, more: int = 0) -> str:
    return f"${value:,.{_decimals(value) + more}f}"


def _decimals(value: float) -> int:
    """Two, and for small amounts as many as show two digits."""
    return 2 if abs(value) >= 0.1 or not value else 1 - math.floor(math.log10(abs(value)))


def _money(usd: float) -> str:
    return f"{'-' if usd < 0 else ''}{_cents(abs(usd))}"


def _times(ratio: float) -> str:
    return f"{ratio:,.2g} times" if 0.01 <= ratio < 10 else f"{ratio:,.0f} times" if ratio >= 10 else "almost none of"


def _signed_percent(value: float) -> str:
    if abs(value) < _SAID:
        return "0 %"
    return f"{value * 100:+,.{0 if abs(value) >= 0.0995 else 1}f} %"


def _points(usd: float, base_usd: float) -> str:
    if not base_usd:
        return f"{'+' if usd > 0 else ''}{_money(usd)}"
    points = usd / base_usd * 100
    return f"{points:+,.{0 if abs(points) >= 9.95 else 1}f} points"
