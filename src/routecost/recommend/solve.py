"""One option a cell, at the least cost, under one limit over all cells: exactly."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

Option = tuple[float, float]
"""(cost, use): what an option adds to the objective, and what it uses of the limit."""

_MOST_NODES: Final = 200_000
_TINY: Final = 1e-12


@dataclass(frozen=True)
class Solution:
    """picks: the option of each cell. bound: no choice within the limit costs less; equal to cost (to rounding) unless
    the search was given up."""

    picks: tuple[int, ...]
    cost: float
    use: float
    bound: float


def solve(cells: Sequence[Sequence[Option]], limit: float) -> Solution | None:
    """The cheapest choice of one option a cell whose uses sum to at most `limit`; None where there is none.

    The multiple-choice knapsack. Its Lagrangian relaxation splits into cells: each follows its own lower convex
    frontier of cost against use, and at the multiplier that meets the limit all cells but one have a definite option.
    Branching on that one cell closes the gap. (Sinha and Zoltners, Operations Research 1979.)
    """
    slack = _TINY * (1 + abs(limit))
    options = [_undominated(cell) for cell in cells]
    if sum(min(use for _, use, _ in cell) for cell in options) > limit + slack:
        return None
    counter = itertools.count()
    root = _relaxed(options, limit, slack)
    assert root is not None
    heap = [(root.bound, next(counter), options, root)]
    best: _Relaxed | None = None
    bound = root.bound
    for _ in range(_MOST_NODES):
        if not heap:
            break
        bound, _, allowed, node = heapq.heappop(heap)
        if best is not None and bound >= best.rounded - _TINY * (1 + abs(best.rounded)):
            break
        if best is None or node.rounded < best.rounded:
            best = node
        if node.split is None:
            continue
        cell, use = node.split
        for part in ([o for o in allowed[cell] if o[1] <= use], [o for o in allowed[cell] if o[1] > use]):
            if part:
                child = [*allowed[:cell], part, *allowed[cell + 1 :]]
                found = _relaxed(child, limit, slack)
                if found is not None:
                    heapq.heappush(heap, (found.bound, next(counter), child, found))
    else:
        assert best is not None
        return _solution(best, cells, bound)
    assert best is not None
    return _solution(best, cells, best.rounded)


def frontier(cells: Sequence[Sequence[Option]]) -> list[tuple[int, ...]]:
    """The choices on the lower convex frontier of total cost against total use, from the least use on: at each of
    them no other choice costs less for what it uses at some price of the use."""
    hulls = [_hull(_undominated(cell)) for cell in cells]
    at = [0] * len(cells)
    picks = [hull[0][2] for hull in hulls]
    found = [tuple(picks)]
    for _, i, _ in sorted(_steps(hulls)):
        at[i] += 1
        picks[i] = hulls[i][at[i]][2]
        found.append(tuple(picks))
    return found


_Kept = tuple[float, float, int]


@dataclass(frozen=True)
class _Relaxed:
    """bound: the relaxation's cost. picks: the whole choice below it, of cost `rounded`; split: the cell that is
    between two options, and the lower one's use."""

    bound: float
    picks: tuple[int, ...]
    rounded: float
    split: tuple[int, float] | None


def _undominated(cell: Sequence[Option]) -> list[_Kept]:
    """Options by ascending use and strictly descending cost, with their place in the cell."""
    kept: list[_Kept] = []
    for cost, use, place in sorted(((c, u, i) for i, (c, u) in enumerate(cell)), key=lambda o: (o[1], o[0], o[2])):
        if not kept or cost < kept[-1][0]:
            kept.append((cost, use, place))
    return kept


def _hull(kept: Sequence[_Kept]) -> list[_Kept]:
    hull: list[_Kept] = []
    for option in kept:
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-1], option):
            hull.pop()
        hull.append(option)
    return hull


def _slope(a: _Kept, b: _Kept) -> float:
    """Change of cost for each unit used; negative, and nearer to zero along a hull."""
    return (b[0] - a[0]) / (b[1] - a[1])


def _steps(hulls: Sequence[Sequence[_Kept]]) -> list[tuple[float, int, int]]:
    return [(_slope(a, b), i, k) for i, hull in enumerate(hulls) for k, (a, b) in enumerate(itertools.pairwise(hull))]


def _relaxed(options: Sequence[Sequence[_Kept]], limit: float, slack: float) -> _Relaxed | None:
    hulls = [_hull(cell) for cell in options]
    at = [0] * len(hulls)
    left = limit - sum(hull[0][1] for hull in hulls)
    if left < -slack:
        return None
    cost = sum(hull[0][0] for hull in hulls)
    bound, split = cost, None
    for slope, i, k in sorted(_steps(hulls)):
        step = hulls[i][k + 1][1] - hulls[i][k][1]
        if step > left + slack:
            bound, split = cost + slope * max(left, 0.0), (i, hulls[i][k][1])
            break
        left -= step
        cost += hulls[i][k + 1][0] - hulls[i][k][0]
        at[i] = k + 1
        bound = cost
    picks = tuple(hull[k][2] for hull, k in zip(hulls, at, strict=True))
    return _Relaxed(bound, picks, cost, split)


def _solution(found: _Relaxed, cells: Sequence[Sequence[Option]], bound: float) -> Solution:
    picked = [cell[k] for cell, k in zip(cells, found.picks, strict=True)]
    return Solution(found.picks, sum(c for c, _ in picked), sum(u for _, u in picked), bound)
