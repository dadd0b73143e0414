"""Why a cost changed: cases worked out by hand, and laws over any two sides.

Prices in USD per million tokens, as the cells below have them: input 2.50, cache read 0.25, cache write 3.125, output
15, reasoning 15; `mini` costs a tenth of `big`.
"""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routecost.gate.decompose import KINDS, decompose
from routecost.gate.result import Why

RATES = {"big": 1.0, "mini": 0.1, "free": 0.0}
TOKENS = ("input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning")
SCHEMA = pl.Schema(
    {
        **dict.fromkeys(("task", "model", "feature"), pl.String()),
        **dict.fromkeys(("requests", *(f"{kind}_tokens" for kind in TOKENS)), pl.Int64()),
        **dict.fromkeys(("cost_input", "cost_cache", "cost_output", "cost_reasoning", "cost_other"), pl.Float64()),
        "cost_usd": pl.Float64(),
    }
)


def cell(task: str | None = "code", model: str = "big", feature: str | None = None, **values: Any) -> dict[str, Any]:
    """100 requests of 1,000 input and 200 output tokens each, unless said otherwise; tokens are given per request.
    tier: all token prices times this."""
    given = {"requests": 100, "input": 1000, "output": 200, "tier": 1.0, "fees": 0.0, **values}
    n, rate = given["requests"], RATES[model] * given["tier"] / 1e6
    count = {kind: given.get(kind, 0) * n for kind in TOKENS}
    written = count["cache_write"] + count["cache_write_1h"]
    costs = {
        "cost_input": count["input"] * 2.5 * rate,
        "cost_cache": (count["cache_read"] * 0.25 + written * 3.125) * rate,
        "cost_output": (count["output"] - count["reasoning"]) * 15 * rate,
        "cost_reasoning": count["reasoning"] * 15 * rate,
        "cost_other": given["fees"] * n,
    }
    tokens = {f"{kind}_tokens": value for kind, value in count.items()}
    names = {"task": task, "model": model, "feature": feature}
    return {**names, "requests": n, **tokens, **costs, "cost_usd": math.fsum(costs.values())}


def side(*cells: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(cells), schema=SCHEMA)


def parts(why: Why) -> dict[str, float]:
    """The parts that are not zero."""
    return {part.kind: part.usd for part in why.parts if part.usd}


# A request of `cell()` costs 0.0025 + 0.003 = $0.0055, 100 of them $0.55.
CASES = {
    "nothing": ([cell()], [cell()], {}),
    "twice the requests": ([cell()], [cell(requests=200)], {"volume": 0.55}),
    "longer output": ([cell()], [cell(output=300)], {"output tokens": 0.15}),
    "shorter output, more requests": (
        [cell()],
        [cell(output=100, requests=200)],
        {"volume": 0.55, "output tokens": -0.30},
    ),
    "longer input": ([cell()], [cell(input=2000)], {"input tokens": 0.25}),
    "first input": ([cell(input=0)], [cell()], {"input tokens": 0.25}),
    "no input any more": ([cell()], [cell(input=0)], {"input tokens": -0.25}),
    "first output": ([cell(output=0)], [cell()], {"output tokens": 0.30}),
    "reasoning on top": ([cell()], [cell(output=700, reasoning=500)], {"reasoning": 0.75}),
    "reasoning instead of text": (
        [cell()],
        [cell(reasoning=150)],
        {"output tokens": -0.225, "reasoning": 0.225},
    ),
    # 900 of 1,000 tokens go from 2.50 to 0.25: 100 * 900 * 2.25 / 1e6
    "a cache": ([cell()], [cell(input=100, cache_read=900)], {"cache hit share": -0.2025}),
    "a cache lost": ([cell(input=100, cache_read=900)], [cell()], {"cache hit share": 0.2025}),
    # cached tokens stay, but 500 a request are written again instead of read: 100 * 500 * 2.875 / 1e6
    "writes instead of reads": (
        [cell(input=100, cache_read=900)],
        [cell(input=100, cache_read=400, cache_write=500)],
        {"cache hit share": 0.14375},
    ),
    "a dearer tier": ([cell()], [cell(tier=2.0)], {"unexplained": 0.55}),
    "a dearer tier with a cache": (
        [cell(input=100, cache_read=900)],
        [cell(input=100, cache_read=900, tier=2.0)],
        {"unexplained": 0.3475},
    ),
    # at the baseline's prices, the cache saves what it saves without the tier; the tier doubles what is left
    "a dearer tier and more cache": (
        [cell(input=900, cache_read=100)],
        [cell(input=100, cache_read=900, tier=2.0)],
        {"cache hit share": -0.18, "unexplained": 0.3475},
    ),
    "a dearer tier and writes instead of reads": (
        [cell(input=100, cache_read=900)],
        [cell(input=100, cache_read=400, cache_write=500, tier=2.0)],
        {"cache hit share": 0.14375, "unexplained": 0.49125},
    ),
    "a dearer tier and longer output": (
        [cell()],
        [cell(output=300, tier=2.0)],
        {"output tokens": 0.15, "unexplained": 0.70},
    ),
    "fees": ([cell()], [cell(fees=0.01)], {"unexplained": 1.0}),
    # half of the requests go to a model that costs a tenth: 50 * 0.9 * 0.0055
    "another model": (
        [cell()],
        [cell(requests=50), cell(model="mini", requests=50)],
        {"model mix": -0.2475},
    ),
    "all on another model": ([cell(model="mini")], [cell()], {"model mix": 0.495}),
    "models change shares": (
        [cell(requests=80), cell(model="mini", requests=20)],
        [cell(requests=20), cell(model="mini", requests=80)],
        {"model mix": -0.297},
    ),
    # of 100 requests, 30 more are of the task that costs twice as much
    "tasks change shares": (
        [cell(requests=80), cell("simple", requests=20, input=2000, output=400)],
        [cell(requests=50), cell("simple", requests=50, input=2000, output=400)],
        {"task mix": 0.165},
    ),
    "a new task": ([cell()], [cell(requests=50), cell("simple", requests=50, output=0)], {"task mix": -0.15}),
    "a task is gone": ([cell(requests=50), cell("simple", requests=50, output=0)], [cell()], {"task mix": 0.15}),
    "no task": ([cell(None), cell()], [cell(None, output=300), cell()], {"output tokens": 0.15}),
    "free, as before": ([cell(model="free")], [cell(model="free", output=900, requests=7)], {}),
    "free no more": ([cell(model="free")], [cell()], {"model mix": 0.55}),
    "nothing before": ([], [cell()], {"volume": 0.55}),
    "nothing now": ([cell()], [], {"volume": -0.55}),
    "nothing at all": ([], [], {}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_case_by_hand(name: str) -> None:
    base, current, expected = CASES[name]
    why = decompose(side(*base), side(*current))
    assert tuple(part.kind for part in why.parts) == KINDS
    assert parts(why) == pytest.approx(expected, rel=1e-9)
    assert why.total_usd == pytest.approx(sum(expected.values()), rel=1e-9)


HEADLINES = {
    "nothing": "0 %: a request costs what it did",
    "twice the requests": "0 %: a request costs what it did",
    "longer output": "+27 %: output tokens of `code` on big grew from 200 to 300 a request (+27 points)",
    "longer input": "+45 %: input tokens of `code` on big grew from 1,000 to 2,000 a request (+45 points)",
    "reasoning on top": "+136 %: reasoning tokens of `code` on big grew from 0 to 500 a request (+136 points)",
    "reasoning instead of text": "0 %: output tokens without reasoning of `code` on big fell from 200 to 50 a request "
    "(-41 points); also reasoning (+41 points)",
    "a cache lost": "+58 %: cache reads of `code` on big fell from 90 % to 0 % of its input (+58 points)",
    "a dearer tier": "+100 %: the same tokens of `code` on big cost 100 % more (context bands, service tiers, batches "
    "or providers moved) (+100 points)",
    "fees": "+182 %: fees of `code` on big grew from $0.00 to $0.010 a request (+182 points)",
    "another model": "-45 %: mini is new, with 50 % of the requests of `code`, at 0.1 times the average cost there "
    "(-45 points)",
    "tasks change shares": "+25 %: task mix (+25 points), most of it: `simple` grew from 20 % to 50 % of requests, at "
    "1.7 times the average cost there (+20 points)",
    "no task": "+14 %: output tokens of `(no task)` on big grew from 200 to 300 a request (+14 points)",
    "free no more": "from $0 to $0.55: big is new, with 100 % of the requests of `code` (+$0.55)",
    "free, as before": "a request costs nothing, as before",
    "nothing before": "the baseline has no request with a price",
    "nothing now": "the current side has no request with a price",
    "nothing at all": "neither side has a request with a price",
}


@pytest.mark.parametrize("name", HEADLINES)
def test_the_headline_says_why(name: str) -> None:
    base, current, _ = CASES[name]
    assert decompose(side(*base), side(*current)).headline == HEADLINES[name]


def test_a_small_change_is_told_with_the_digits_it_takes() -> None:
    longer = {**cell(requests=1000), "output_tokens": 200_300, "cost_output": 3.0045, "cost_usd": 5.5045}
    why = decompose(side(cell(requests=1000)), side(longer))
    assert "grew from 200.0 to 200.3 a request" in why.cells[0].sentence


def test_shares_are_of_the_base_at_the_current_volume() -> None:
    why = decompose(side(cell()), side(cell(requests=200, output=300)))
    shares = {part.kind: part.share for part in why.parts}
    assert shares["volume"] == pytest.approx(1.0)  # as many requests again
    assert shares["output tokens"] == pytest.approx(0.30 / 1.10)
    assert decompose(side(cell(model="free")), side(cell())).parts[2].share is None


def test_cells_and_features_that_moved_most() -> None:
    base = side(cell(feature="search"), cell(feature="chat"), cell("simple", "mini", "chat"))
    current = side(cell(feature="search", output=600), cell(feature="chat"), cell("simple", "mini", "chat"))
    why = decompose(base, current)
    by_cell, by_feature = *why.cells, *why.features
    assert (by_cell.scope, by_cell.name, by_feature.scope, by_feature.name) == (
        "cell",
        "code on big",
        "feature",
        "search",
    )
    assert [by_cell.usd, by_feature.usd] == pytest.approx([0.6, 0.6])
    assert by_cell.sentence == "output tokens of `code` on big grew from 200 to 400 a request (+52 points)"
    assert by_feature.sentence == (
        "feature `search`: output tokens of `code` on big grew from 200 to 600 a request (+52 points)"
    )


def test_a_new_feature_adds_what_it_costs_more_than_the_average() -> None:
    why = decompose(side(cell(feature="a")), side(cell(feature="a"), cell(feature="b", output=400)))
    mover = why.features[0]
    assert mover.name == "b"
    assert mover.usd == pytest.approx(0.30)
    assert mover.sentence == (
        "feature `b` is new, with 50 % of all requests, at 1.5 times the average cost there (+27 points)"
    )


def test_a_feature_that_grew_is_told_by_its_share() -> None:
    base = side(cell(feature="a", requests=90), cell(feature="b", requests=10, output=400))
    current = side(cell(feature="a", requests=40), cell(feature="b", requests=60, output=400))
    sentences = [mover.sentence for mover in decompose(base, current).features]
    assert sentences == [
        "feature `b` grew from 10 % to 60 % of all requests, at 1.5 times the average cost there (+23 points)",
        "feature `a` fell from 90 % to 40 % of all requests, at 0.95 times the average cost there (+2.6 points)",
    ]


def test_what_became_cheaper_is_a_mover_too() -> None:
    base = side(cell("code"), cell("simple"))
    why = decompose(base, side(cell("code", output=0), cell("simple", output=300)))
    assert [mover.name for mover in why.cells] == ["code on big", "simple on big"]
    assert [mover.usd for mover in why.cells] == pytest.approx([-0.30, 0.15])


def test_no_more_than_five_movers_and_the_biggest_first() -> None:
    tasks = [f"t{n}" for n in range(9)]
    base = side(*(cell(task, feature=task) for task in tasks))
    current = side(*(cell(task, feature=task, output=200 + 10 * n) for n, task in enumerate(tasks)))
    why = decompose(base, current)
    assert [mover.name for mover in why.cells] == [f"t{n} on big" for n in (8, 7, 6, 5, 4)]
    assert [mover.name for mover in why.features] == ["t8", "t7", "t6", "t5", "t4"]


def test_requests_without_a_cost_are_on_neither_side() -> None:
    unpriced = {**cell("simple", requests=900), "cost_usd": None}
    why = decompose(side(cell(), unpriced), side(cell()))
    assert (why.total_usd, parts(why)) == (0.0, {})


def test_counts_nobody_gave_are_no_tokens_and_their_cost_is_unexplained() -> None:
    unknown = {**cell(), "reasoning_tokens": None, "output_tokens": None}
    dearer = {**unknown, "cost_usd": 1.10, "cost_output": 0.85}
    assert parts(decompose(side(unknown), side(dearer))) == pytest.approx({"unexplained": 0.55})


COUNTS = st.integers(0, 5_000)
KEYS = st.tuples(st.sampled_from(["code", "simple", None]), st.sampled_from(list(RATES)), st.sampled_from(["a", None]))


@st.composite
def a_cell(draw: st.DrawFn, *, requests: int | None = None) -> dict[str, Any]:
    task, model, feature = draw(KEYS)
    output = draw(COUNTS)
    return cell(
        task,
        model,
        feature,
        requests=requests or draw(st.integers(1, 10_000)),
        output=output,
        reasoning=draw(st.integers(0, output)),
        tier=draw(st.sampled_from([0.5, 1.0, 2.0])),
        fees=draw(st.sampled_from([0.0, 0.001])),
        **{kind: draw(COUNTS) for kind in ("input", "cache_read", "cache_write", "cache_write_1h")},
    )


CELLS = st.lists(a_cell(), max_size=6)
# Cells of which each stands once: what one of them has can be changed without its neighbour's part in it.
SOME = st.lists(a_cell(), min_size=1, max_size=6, unique_by=lambda one: (one["task"], one["model"]))
STEPS = st.lists(st.integers(1, 3_000), min_size=6, max_size=6)


def scale_of(why: Why, *frames: pl.DataFrame) -> float:
    """How large the numbers are that the parts were taken from."""
    return max(float(frame["cost_usd"].sum()) for frame in frames) + sum(abs(part.usd) for part in why.parts)


def larger(one: dict[str, Any], kind: str, cost: str, by: int, price: float) -> dict[str, Any]:
    """A cell with more tokens of a kind, at a price per token."""
    more = by * one["requests"]
    usd = more * price
    return {**one, kind: one[kind] + more, cost: one[cost] + usd, "cost_usd": one["cost_usd"] + usd}


@given(CELLS, CELLS)
def test_parts_sum_to_the_change(base: list[dict[str, Any]], current: list[dict[str, Any]]) -> None:
    old, new = side(*base), side(*current)
    why = decompose(old, new)
    tolerance = 1e-9 * scale_of(why, old, new)
    assert math.fsum(part.usd for part in why.parts) == pytest.approx(why.total_usd, abs=tolerance)
    change = math.fsum(new["cost_usd"].to_list()) - math.fsum(old["cost_usd"].to_list())
    assert why.total_usd == pytest.approx(change, abs=tolerance)
    assert [part.kind for part in why.parts] == list(KINDS)
    assert all(math.isfinite(part.usd) for part in why.parts)


@given(CELLS, CELLS)
def test_exchanged_sides_negate_the_total(base: list[dict[str, Any]], current: list[dict[str, Any]]) -> None:
    old, new = side(*base), side(*current)
    assert decompose(old, new).total_usd == -decompose(new, old).total_usd


@given(CELLS)
def test_no_change_is_all_zeros(cells: list[dict[str, Any]]) -> None:
    why = decompose(side(*cells), side(*cells))
    assert (why.total_usd, parts(why), why.cells, why.features) == (0.0, {}, (), ())


@given(CELLS, st.integers(2, 50))
def test_if_only_the_volume_changes_so_does_the_volume(cells: list[dict[str, Any]], times: int) -> None:
    many = side(*cells).with_columns(pl.exclude("task", "model", "feature") * times)
    why = decompose(side(*cells), many)
    assert set(parts(why)) <= {"volume"}
    assert (why.cells, why.features) == ((), ())


@given(SOME, STEPS)
def test_if_only_output_grows_it_is_output(cells: list[dict[str, Any]], steps: list[int]) -> None:
    # At the price that the cell has for output; where it has none, at any.
    longer = []
    for one, by in zip(cells, steps, strict=False):
        visible = one["output_tokens"] - one["reasoning_tokens"]
        price = one["cost_output"] / visible if visible else 15e-6
        longer.append(larger(one, "output_tokens", "cost_output", by, price))
    why = decompose(side(*cells), side(*longer))
    assert set(parts(why)) <= {"output tokens"}


@given(SOME, STEPS)
def test_if_only_reasoning_grows_it_is_reasoning(cells: list[dict[str, Any]], steps: list[int]) -> None:
    longer = []
    for one, by in zip(cells, steps, strict=False):
        price = one["cost_reasoning"] / one["reasoning_tokens"] if one["reasoning_tokens"] else 15e-6
        more = larger(one, "reasoning_tokens", "cost_reasoning", by, price)
        longer.append({**more, "output_tokens": one["output_tokens"] + by * one["requests"]})
    assert set(parts(decompose(side(*cells), side(*longer)))) <= {"reasoning"}


@given(st.lists(st.tuples(KEYS, COUNTS, COUNTS), min_size=1, max_size=6, unique_by=lambda one: one[0][:2]))
def test_if_only_caching_changes_it_is_the_cache_hit_share(cells: list[tuple[Any, int, int]]) -> None:
    base = side(*(cell(*key, input=5_000 - n, cache_read=n) for key, n, _ in cells))
    current = side(*(cell(*key, input=5_000 - n, cache_read=n) for key, _, n in cells))
    assert set(parts(decompose(base, current))) <= {"cache hit share"}


@given(st.lists(st.tuples(KEYS, st.integers(1, 900), st.integers(1, 900)), min_size=1, max_size=6))
def test_if_only_the_shares_of_cells_change_it_is_mix(cells: list[tuple[Any, int, int]]) -> None:
    # The tokens depend on task and model alone, so that a request of a cell costs the same on both sides.
    output = {key[:2]: 100 * n for n, (key, _, _) in enumerate(cells)}
    old, new = (
        side(*(cell(*key, output=output[key[:2]], requests=(n, m)[at]) for key, n, m in cells)) for at in (0, 1)
    )
    assert set(parts(decompose(old, new))) <= {"volume", "task mix", "model mix"}


@given(CELLS, CELLS, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_the_features_do_not_matter(
    base: list[dict[str, Any]], current: list[dict[str, Any]], random: Any
) -> None:
    why = decompose(side(*base), side(*current))
    shuffled = [{**one, "feature": random.choice("abc")} for one in random.sample(base, len(base))]
    again = decompose(side(*shuffled), side(*current))
    tolerance = 1e-9 * scale_of(why, side(*base), side(*current))
    assert [part.usd for part in again.parts] == pytest.approx([part.usd for part in why.parts], abs=tolerance)


@given(SOME, SOME)
def test_movers_sum_to_the_change_without_volume(base: list[dict[str, Any]], current: list[dict[str, Any]]) -> None:
    why = decompose(side(*base), side(*current))
    change = math.fsum(part.usd for part in why.parts if part.kind != "volume")
    tolerance = 1e-9 * scale_of(why, side(*base), side(*current))
    if len({(one["task"], one["model"]) for one in (*base, *current)}) <= 5:
        assert math.fsum(mover.usd for mover in why.cells) == pytest.approx(change, abs=tolerance)
    if any(one["feature"] for one in (*base, *current)):
        assert math.fsum(mover.usd for mover in why.features) == pytest.approx(change, abs=tolerance)
