"""Routing tables: what they may say, where they send requests, what is wrong with them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routecost import shipped
from routecost.errors import InputError, UsageError
from routecost.routing import (
    Change,
    Finding,
    Override,
    Table,
    diff,
    empty_table,
    read_table,
    route,
    rule_expression,
    validate,
)
from routecost.schema import CELL_KEY, REQUEST, TASKS

ReadText = Callable[[str], Table]


@pytest.fixture
def read(tmp_path: Path) -> ReadText:
    def read_text(text: str) -> Table:
        path = tmp_path / "table.yaml"
        path.write_text(text, encoding="utf-8")
        return read_table(path)

    return read_text


def everything(_: str) -> bool:
    return True


def cells(*rows: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{**dict.fromkeys(CELL_KEY), **row} for row in rows], schema=CELL_KEY)


def routed(table: Table, row: Mapping[str, Any], mode: str | None = None) -> tuple[str | None, ...]:
    """model, mode, reason, second model of one cell."""
    return tuple(route(cells(row), table, mode=mode, in_catalogue=everything).row(0)[len(CELL_KEY) :])


FULL = Table(
    name="full",
    default={"eco": "d-eco", "balanced": "d-bal"},
    routes={
        "simple": {"eco": "s-eco", "balanced": "s-bal", "sport": "s-sport"},
        "code": {"eco": "c-eco"},
    },
    overrides=(
        Override("billing", feature=("billing-*",)),
        Override(None, feature=("legal",)),
        Override({"sport": "fast"}, provider=("open*ai",), logged_model=("gpt-*", "o?")),
        Override("big", min_input_tokens=1000, task=("complex",)),
    ),
    fallbacks={"s-sport": ("other", "third"), "s-eco": ("never",)},
    speculative=("sport",),
)
BIG = FULL.request_rules()[0].key


# --- route ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "mode", "expected"),
    [
        # the mode: the argument, else the cell's own if the table has it, else the default mode
        ({"task": "simple"}, None, ("s-bal", "balanced", "route", None)),
        ({"task": "simple", "mode": "eco"}, None, ("s-eco", "eco", "route", None)),
        ({"task": "simple", "mode": "turbo"}, None, ("s-bal", "balanced", "route", None)),
        ({"task": "simple", "mode": "ECO"}, None, ("s-bal", "balanced", "route", None)),
        ({"task": "simple", "mode": "sport"}, "eco", ("s-eco", "eco", "route", None)),
        ({"task": "simple"}, "sport", ("s-sport", "sport", "route", "other")),
        # the default: no task, a task that is not in the table, a mode that the row lacks
        ({}, None, ("d-bal", "balanced", "default", None)),
        ({"task": "poetry", "mode": "eco"}, None, ("d-eco", "eco", "default", None)),
        ({"task": "code", "mode": "eco"}, None, ("c-eco", "eco", "route", None)),
        ({"task": "code"}, None, ("d-bal", "balanced", "default", None)),
        ({"task": "code", "mode": "sport"}, None, (None, "sport", "unrouted", None)),
        # a null logged model is routed all the same
        ({"task": "simple", "model": None, "problem": "no_model"}, None, ("s-bal", "balanced", "route", None)),
        # a pin wins over everything, and nothing is fired beside it
        ({"task": "simple", "model_override": "pin"}, None, ("pin", "balanced", "pinned", None)),
        ({"feature": "legal", "model_override": "pin"}, None, ("pin", "balanced", "pinned", None)),
        ({"model_override": "s-sport"}, "sport", ("s-sport", "sport", "pinned", None)),
        # overrides: the first match, before the task
        ({"task": "simple", "feature": "billing-eu"}, None, ("billing", "balanced", "billing-*", None)),
        ({"task": "simple", "feature": "billing-"}, None, ("billing", "balanced", "billing-*", None)),
        ({"task": "simple", "feature": "billing"}, None, ("s-bal", "balanced", "route", None)),
        ({"task": "simple", "feature": "Billing-eu"}, None, ("s-bal", "balanced", "route", None)),
        ({"task": "simple", "feature": "my-billing-eu"}, None, ("s-bal", "balanced", "route", None)),
        ({"task": "simple", "feature": "legal", "model": "m"}, None, (None, "balanced", "legal", None)),
        # a mode map is an override in its modes only
        ({"provider": "openai", "model": "gpt-5", "task": "simple"}, "sport", ("fast", "sport", "open*ai", None)),
        ({"provider": "open-x-ai", "model": "gpt-5"}, "sport", ("fast", "sport", "open*ai", None)),
        ({"provider": "openai", "model": "gpt-5", "task": "simple"}, "eco", ("s-eco", "eco", "route", None)),
        # every condition has to hold; a null meets none; ? is literal
        ({"provider": None, "model": "gpt-5", "task": "simple"}, "sport", ("s-sport", "sport", "route", "other")),
        ({"provider": "openai", "model": None, "task": "simple"}, "sport", ("s-sport", "sport", "route", "other")),
        ({"provider": "openai", "model": "o3", "task": "simple"}, "sport", ("s-sport", "sport", "route", "other")),
        ({"provider": "openai", "model": "o?", "task": "simple"}, "sport", ("fast", "sport", "open*ai", None)),
        # request conditions come by key, cell conditions of the same override are tested here
        ({"task": "complex", "rule": BIG}, None, ("big", "balanced", "big", None)),
        ({"task": "complex", "rule": f"00000000,{BIG},ffffffff"}, None, ("big", "balanced", "big", None)),
        ({"task": "simple", "rule": BIG}, None, ("s-bal", "balanced", "route", None)),
        ({"task": "complex", "rule": "00000000"}, None, ("d-bal", "balanced", "default", None)),
        ({"task": "complex", "rule": None}, None, ("d-bal", "balanced", "default", None)),
    ],
)
def test_route(row: dict[str, Any], mode: str | None, expected: tuple[str | None, ...]) -> None:
    named = {str(next(iter(o.feature or o.provider), "big")): f"override:{o.key}" for o in FULL.overrides}
    model, in_mode, reason, second = expected
    assert routed(FULL, row, mode) == (model, in_mode, named.get(str(reason), reason), second)


def test_a_pin_outside_the_catalogue_is_ignored() -> None:
    frame = cells({"model_override": "yes"}, {"model_override": "no"}, {"model_override": None})
    got = route(frame, FULL, in_catalogue=lambda model: model == "yes")
    assert got["route_reason"].to_list() == ["pinned", "default", "default"]
    assert got["routed_model"].to_list() == ["yes", "d-bal", "d-bal"]


def test_the_first_override_wins() -> None:
    both = (Override("one", feature=("a*",)), Override("two", feature=("*b",)))
    assert routed(replace(FULL, overrides=both), {"feature": "ab"})[0] == "one"
    assert routed(replace(FULL, overrides=both[::-1]), {"feature": "ab"})[0] == "two"


def test_a_star_needs_a_value() -> None:
    table = replace(FULL, overrides=(Override("x", feature=("*",)),))
    assert routed(table, {"feature": ""})[0] == "x"
    assert routed(table, {"feature": None})[0] == "d-bal"


@pytest.mark.parametrize(
    ("glob", "matches", "differs"),
    [
        ("a*b*c", ["abc", "a1b2c", "a\nb\nc"], ["abcd", "xabc", "acb"]),
        ("a*a", ["aa", "aba"], ["a"]),
        ("*", ["", "x"], []),
        ("*b", ["b", "ab"], ["ba"]),
        ("a.b", ["a.b"], ["axb"]),
        ("*.*", ["a.b", "."], ["ab"]),
        ("é*é", ["éé"], ["é"]),
        ("[a]", ["[a]"], ["a"]),
    ],
)
def test_globs(glob: str, matches: list[str], differs: list[str]) -> None:
    table = Table("t", default={"balanced": "no"}, overrides=(Override("yes", feature=(glob,)),))
    frame = cells(*({"feature": feature} for feature in (*matches, *differs)))
    got = route(frame, table, in_catalogue=everything)["routed_model"].to_list()
    assert got == ["yes"] * len(matches) + ["no"] * len(differs)


def test_a_mode_condition_reads_the_mode_that_is_routed() -> None:
    table = replace(FULL, overrides=(Override("x", mode=("bal*",)),))
    assert routed(table, {"mode": None})[0] == "x"
    assert routed(table, {"mode": "eco"})[0] == "d-eco"
    assert routed(table, {"mode": "eco"}, "balanced")[0] == "x"


def test_a_frame_without_the_optional_columns() -> None:
    got = route(pl.DataFrame({"requests": [1, 2]}), FULL, in_catalogue=everything)
    assert got["routed_model"].to_list() == ["d-bal", "d-bal"]
    assert got.columns == ["requests", "routed_model", "routed_mode", "route_reason", "speculative_model"]


@pytest.mark.parametrize("table", [FULL, empty_table(), Table("d", default={"balanced": "m"})])
def test_no_rows(table: Table) -> None:
    got = route(cells(), table, in_catalogue=everything)
    assert got.height == 0
    assert [got.schema[name] for name in got.columns[-4:]] == [pl.String] * 4


def test_routing_again_replaces_the_columns() -> None:
    once = route(cells({"task": "simple"}), FULL, in_catalogue=everything)
    assert route(once, FULL, in_catalogue=everything).equals(once)


def test_a_mode_that_the_table_lacks() -> None:
    with pytest.raises(UsageError, match=r"full has no mode spotr; it has eco, balanced, sport. Did you mean sport\?"):
        routed(FULL, {}, "spotr")


def test_an_empty_table_leaves_pins_alone_too() -> None:
    row = {"model": "m", "model_override": "pin", "mode": "eco", "task": "simple"}
    assert routed(empty_table(), row) == (None, "eco", "unrouted", None)
    assert routed(empty_table(), row, "sport") == (None, "sport", "unrouted", None)


def test_the_second_call_is_the_first_fallback_of_the_routed_model() -> None:
    table = replace(FULL, speculative=("eco", "sport"))
    assert routed(table, {"task": "simple", "mode": "eco"})[3] == "never"
    assert routed(table, {"task": "simple"})[3] is None
    assert routed(table, {"task": "code", "mode": "eco"})[3] is None


texts = st.none() | st.sampled_from(
    ["simple", "code", "eco", "sport", "billing-x", "legal", "openai", "gpt-5", "zz", ""]
)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "task": texts,
            "mode": texts,
            "provider": texts,
            "model": texts,
            "feature": texts,
            "model_override": texts,
            "rule": st.sampled_from([None, BIG, f"{BIG},ffffffff", "00000000"]),
        }
    ),
    max_size=8,
)
modes = st.sampled_from([None, "eco", "balanced", "sport"])


@given(rows, modes)
def test_route_keeps_rows_and_order(given_rows: list[dict[str, Any]], mode: str | None) -> None:
    frame = cells(*given_rows)
    got = route(frame, FULL, mode=mode, in_catalogue=everything)
    assert got.select(frame.columns).equals(frame)
    assert got["routed_mode"].null_count() == 0
    assert got["route_reason"].null_count() == 0


@given(rows, modes)
def test_a_cell_is_routed_alike_alone_and_among_others(given_rows: list[dict[str, Any]], mode: str | None) -> None:
    together = route(cells(*given_rows), FULL, mode=mode, in_catalogue=everything)
    for i, row in enumerate(given_rows):
        assert routed(FULL, row, mode) == together.row(i)[len(CELL_KEY) :]


@given(rows, modes)
def test_an_empty_table_moves_nothing(given_rows: list[dict[str, Any]], mode: str | None) -> None:
    got = route(cells(*given_rows), empty_table(), mode=mode, in_catalogue=everything)
    assert got["routed_model"].null_count() == len(given_rows)
    assert got["speculative_model"].null_count() == len(given_rows)


@given(rows, modes)
def test_a_default_alone_takes_everything_unpinned(given_rows: list[dict[str, Any]], mode: str | None) -> None:
    table = Table("d", default=dict.fromkeys(("eco", "balanced", "sport"), "m"))
    got = route(cells(*given_rows), table, mode=mode, in_catalogue=everything)
    assert got["routed_model"].to_list() == [
        "m" if row["model_override"] is None else row["model_override"] for row in given_rows
    ]


# --- rules ---------------------------------------------------------------------------------------------------------

RULES = (
    Override("a", pattern=r"(?i)\blegal\b"),
    Override("b", user=("vip-*", "root")),
    Override("c", system_pattern="^You are", session=("s*",)),
    Override("d", min_input_tokens=10),
    Override("e", max_input_tokens=9, project=("p",)),
    Override("f", feature=("x",)),
    Override("g", feature=("x",), user=("vip-*", "root")),
)


def rules(row: Mapping[str, Any], overrides: tuple[Override, ...] = RULES) -> str | None:
    frame = pl.DataFrame([{**dict.fromkeys(REQUEST), **row}], schema=REQUEST)
    got: str | None = frame.select(rule_expression(overrides))["rule"].item()
    return got


@pytest.mark.parametrize(
    ("row", "targets"),
    [
        ({}, ""),
        ({"prompt": "a Legal matter"}, "a"),
        ({"prompt": "illegal"}, ""),
        ({"prompt": ""}, ""),
        ({"user_id": "vip-1"}, "b"),
        ({"user_id": "root", "prompt": "LEGAL"}, "ab"),
        ({"user_id": "VIP-1"}, ""),
        ({"system": "You are", "session_id": "s1"}, "c"),
        ({"system": "You are", "session_id": None}, ""),
        ({"system": None, "session_id": "s1"}, ""),
        # the total counts cached tokens and takes unknown kinds as none; it is unknown when every kind is
        ({"input_tokens": 10}, "d"),
        ({"input_tokens": 4, "cache_read_tokens": 3, "cache_write_tokens": 2, "cache_write_1h_tokens": 1}, "d"),
        ({"input_tokens": 9, "project": "p"}, "e"),
        ({"input_tokens": 10, "project": "p"}, "d"),
        ({"project": "p"}, ""),
        ({"feature": "x"}, ""),
    ],
)
def test_rule_expression(row: dict[str, Any], targets: str) -> None:
    keys = sorted({o.request_part.key for o in RULES if str(o.target) in list(targets)})
    assert rules(row) == (",".join(keys) or None)


def test_no_request_rules_is_null_for_every_row() -> None:
    frame = pl.DataFrame({"feature": ["x", "y"]})
    got = frame.with_columns(rule_expression([RULES[5]]))
    assert got.schema["rule"] == pl.String
    assert got["rule"].to_list() == [None, None]


def test_rule_expression_streams() -> None:
    frame = pl.DataFrame([{**dict.fromkeys(REQUEST), "prompt": "legal"}] * 3, schema=REQUEST).lazy()
    got = frame.select(rule_expression(RULES)).collect(engine="streaming")
    assert got["rule"].to_list() == [RULES[0].key] * 3


words = st.none() | st.sampled_from(["legal", "illegal", "You are", "vip-1", "root", "s1", "p", "x", ""])
tokens = st.none() | st.integers(0, 12)


@given(
    st.fixed_dictionaries(
        {
            **dict.fromkeys(("prompt", "system", "user_id", "session_id", "project", "feature"), words),
            **dict.fromkeys(("input_tokens", "cache_read_tokens", "cache_write_tokens"), tokens),
        }
    ),
    st.permutations(RULES),
)
def test_rule_expression_agrees_with_python(row: dict[str, Any], overrides: list[Override]) -> None:
    def meets(o: Override) -> bool:
        counts = [row[kind] for kind in ("input_tokens", "cache_read_tokens", "cache_write_tokens")]
        known = [count for count in counts if count is not None]
        for name, column in (("user", "user_id"), ("session", "session_id"), ("project", "project")):
            globs, value = o.conditions.get(name), row[column]
            if isinstance(globs, tuple) and not any(
                value is not None and re.fullmatch(re.escape(glob).replace(r"\*", ".*"), value, re.DOTALL)
                for glob in globs
            ):
                return False
        for pattern, value in ((o.pattern, row["prompt"]), (o.system_pattern, row["system"])):
            if pattern is not None and (value is None or not re.search(pattern, value)):
                return False
        if o.min_input_tokens is not None and not (known and sum(known) >= o.min_input_tokens):
            return False
        return o.max_input_tokens is None or bool(known and sum(known) <= o.max_input_tokens)

    expected = sorted({o.request_part.key for o in overrides if o.needs_request and meets(o)})
    assert rules(row, tuple(overrides)) == (",".join(expected) or None)


def test_rule_and_route_agree() -> None:
    table = Table("t", default={"balanced": "no"}, overrides=(Override("yes", user=("vip-*",), feature=("x",)),))
    frame = pl.DataFrame(
        [
            {**dict.fromkeys(REQUEST), "user_id": user, "feature": feature}
            for user, feature in (("vip-1", "x"), ("vip-1", "y"), ("joe", "x"), (None, "x"))
        ],
        schema=REQUEST,
    )
    got = route(frame.with_columns(rule_expression(table.request_rules())), table, in_catalogue=everything)
    assert got["routed_model"].to_list() == ["yes", "no", "no", "no"]


# --- the table as a value ------------------------------------------------------------------------------------------


def test_the_key_is_the_content_of_the_conditions() -> None:
    one = Override("m", feature=("a", "b"), pattern="x")
    assert re.fullmatch("[0-9a-f]{8}", one.key)
    assert one.key == replace(one, target="other").key == replace(one, feature=("b", "a", "b")).key
    assert one.key not in (replace(one, pattern="y").key, replace(one, feature=("a",)).key)
    assert Override("m", pattern="x").key != Override("m", system_pattern="x").key
    # Written in usage files: it must never change.
    assert Override("m", pattern="x").key == "f94c2aea"


def test_request_rules_are_the_request_parts_once() -> None:
    table = Table("t", overrides=RULES)
    found = table.request_rules()
    assert [o.conditions for o in found] == [o.request_part.conditions for o in RULES[:5]]
    assert found[1].key == RULES[6].request_part.key != RULES[6].key
    assert table.cell_keys() == ("feature", "rule")
    assert FULL.cell_keys() == ("task", "provider", "model", "feature", "rule")
    assert empty_table().cell_keys() == ()


@pytest.mark.parametrize("name", [*RULES[0].__dataclass_fields__][1:])
def test_what_needs_the_request(name: str) -> None:
    value: Any = 1 if name.endswith("tokens") else "x" if name.endswith("pattern") else ("x",)
    override = replace(Override("m"), **{name: value})
    assert override.needs_request == (name not in ("task", "provider", "logged_model", "mode", "feature"))
    assert bool(override.request_part.conditions) == override.needs_request


def test_models_and_modes() -> None:
    assert FULL.modes() == ("eco", "balanced", "sport")
    assert FULL.models() == (
        "d-eco", "d-bal", "s-eco", "s-bal", "s-sport", "c-eco", "billing", "fast", "big", "other", "third", "never"
    )  # fmt: skip
    assert empty_table().models() == ()
    assert Table("t", default={"turbo": "a", "sport": "b"}).modes() == ("sport", "turbo")


# --- reading -------------------------------------------------------------------------------------------------------


def test_read_everything(read: ReadText) -> None:
    table = read(
        """
        name: all
        description: what it is
        default_mode: eco
        default: d
        routes:
          simple: {eco: a, sport: b}
          code: c
        overrides:
          - {feature: "billing-*", model: m}
          - {task: [code, complex], logged_model: "gpt-*", provider: openai, mode: sport, keep: true}
          - {user: u, session: s, project: p, pattern: "x+", system_pattern: "y", model: {eco: e}}
          - {min_input_tokens: 1, max_input_tokens: 2, model: m}
        fallbacks: {a: b, c: [d, e]}
        failover_rate: from-log
        speculative: sport
        loser_share: 0.5
        classifier: {cost_per_request_usd: 0.0001, latency_ms: 10}
        """
    )
    assert replace(table, source=None) == Table(
        name="all",
        description="what it is",
        default_mode="eco",
        default={"eco": "d", "sport": "d"},
        routes={"simple": {"eco": "a", "sport": "b"}, "code": {"eco": "c", "sport": "c"}},
        overrides=(
            Override("m", feature=("billing-*",)),
            Override(None, task=("code", "complex"), logged_model=("gpt-*",), provider=("openai",), mode=("sport",)),
            Override({"eco": "e"}, user=("u",), session=("s",), project=("p",), pattern="x+", system_pattern="y"),
            Override("m", min_input_tokens=1, max_input_tokens=2),
        ),
        fallbacks={"a": ("b",), "c": ("d", "e")},
        failover_rate="from-log",
        speculative=("sport",),
        loser_share=0.5,
        classifier_cost_per_request_usd=0.0001,
        classifier_latency_ms=10,
    )
    assert table.source is not None
    assert table.source.endswith("table.yaml")


@pytest.mark.parametrize(
    ("text", "default", "routes"),
    [
        ("default: a", {"eco": "a", "balanced": "a", "sport": "a"}, {}),
        ("name: x", None, {}),
        ("routes: {simple: a}", None, {"simple": {"eco": "a", "balanced": "a", "sport": "a"}}),
        # one model for every mode answers in the default mode too, which no mapping here names
        ("{default: a, routes: {code: {eco: b}}}", {"eco": "a", "balanced": "a"}, {"code": {"eco": "b"}}),
        ("{default: a, routes: {code: {slow: b}}, default_mode: slow}", {"slow": "a"}, {"code": {"slow": "b"}}),
    ],
)
def test_one_model_for_every_mode(
    read: ReadText, text: str, default: dict[str, str] | None, routes: dict[str, dict[str, str]]
) -> None:
    table = read(text)
    assert (table.default, table.routes) == (default, routes)
    assert table.name in ("x", "table")


def test_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfdefault: a\r\n")
    assert read_table(str(path)).models() == ("a",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; a routing table is a mapping with keys such as name"),
        ("- a", "holds a list; a routing table is a mapping"),
        ("just text", "holds 'just text'; a routing table is a mapping"),
        ("a: [b", "is not valid YAML: line 1, column 6"),
        ("name: a\nname: b", "line 2, column 1: the key name is given twice, on line 1 and again"),
        ("routes:\n  code: {eco: a,\n    eco: b}", "line 3, column 5: the key eco is given twice, on line 2"),
        ("name: 2026-13-01", "is not valid YAML: a value does not fit its type"),
        ("name: !!bool maybe", "is not valid YAML: a value does not fit its type"),
        ("name: !!python/object:os.system x", "could not determine a constructor"),
        ("routse: {}", "routse: unknown key. Did you mean routes?"),
        ("zzz: 1", "zzz: unknown key. Known keys: name, description, default_mode"),
        ("overrides: [{patern: a, model: m}]", "override 1.patern: unknown key. Did you mean pattern"),
        ("classifier: {cost_per_request: 1}", "classifier.cost_per_request: unknown key. Did you mean cost_per_req"),
        ("default: 4.5", "default: expected a name, found 4.5; a name that looks like that needs quotes"),
        ("default: {on: a}", "expected a name, found true; a name that looks like that needs quotes"),
        ("default: {eco: }", "default.eco: expected a name, found nothing"),
        ("default: {eco: 'a*'}", "default.eco: a* is not a name; `*` is for the conditions of overrides"),
        ("default: ' a'", "default: a name is empty or has space around it: ' a'"),
        ("routes: {code: }", "routes.code: expected a model or a mapping of mode to model, found nothing"),
        ("routes: {code: [a]}", "routes.code: expected a model or a mapping of mode to model, found a list"),
        ("routes: {code: {}}", "routes.code: expected a model or a mapping of mode to model, found an empty mapping"),
        ("routes: a", "routes: expected a mapping, found 'a'"),
        ("overrides: {model: a}", "overrides: expected a list, found a mapping"),
        ("overrides: [a]", "override 1: expected a mapping, found 'a'"),
        ("overrides: [{model: m}]", "override 1: an override without a condition would decide every request"),
        ("overrides: [{user: u}]", "needs either `model` (where the requests go) or `keep: true` (they stay on their"),
        ("overrides: [{user: u, model: m, keep: true}]", "found both. To test the model that a request was logged"),
        ("overrides: [{user: u, keep: false}]", "override 1.keep: expected true, found false"),
        ("overrides: [{user: [], model: m}]", "override 1.user: expected at least one name, found an empty list"),
        ("overrides: [{user: u, model: m}, {user: 7, model: m}]", "override 2.user"),
        ("overrides: [{user: '', model: m}]", "override 1.user.0: a name is empty"),
        ("overrides: [{pattern: '', model: m}]", "override 1.pattern: the pattern is empty"),
        ("overrides: [{pattern: '(a', model: m}]", "the pattern '(a' is not a regular expression: unclosed group"),
        ("overrides: [{pattern: '(?=a)', model: m}]", "'(?=a)' is not a regular expression: look-around"),
        ("overrides: [{min_input_tokens: -1, model: m}]", "override 1.min_input_tokens: expected 0 or more, found -1"),
        ("overrides: [{min_input_tokens: 1.5, model: m}]", "expected a whole number, found 1.5"),
        ("failover_rate: often", "failover_rate: expected a share such as 0.01, or from-log, found 'often'"),
        ("failover_rate: true", "failover_rate: expected a share such as 0.01, or from-log, found true"),
        ("loser_share: half", "loser_share: expected a number, found 'half'"),
        ("fallbacks: {a: []}", "fallbacks.a: expected at least one name, found an empty list"),
    ],
)
def test_files_that_are_not_tables(read: ReadText, text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        read(text)
    assert message in str(error.value)
    assert "table.yaml" in str(error.value)
    assert error.value.exit_code == 3


def test_every_problem_of_a_file_is_named(read: ReadText) -> None:
    with pytest.raises(InputError) as error:
        read("{rotes: {}, default: 4, overrides: [{user: u, model: 1}]}")
    assert str(error.value).count("\n") == 3


def test_nesting_without_end(read: ReadText) -> None:
    with pytest.raises(InputError, match="nested too deeply"):
        read("[" * 5000)


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    path.write_bytes(b"name: \xff")
    with pytest.raises(InputError, match=r"table.yaml is not UTF-8 text \(byte 6\)"):
        read_table(path)


def test_tables_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("default: a")
    with pytest.raises(InputError, match=r"no routing table .*miene.yaml: .* Did you mean mine.yaml\?"):
        read_table(tmp_path / "miene.yaml")
    with pytest.raises(InputError, match=r"the shipped tables \(default, prism-v1.7-a, worked-example\). Did you mean"):
        read_table("defalt")
    with pytest.raises(InputError, match="is a directory"):
        read_table(tmp_path)


# --- the shipped tables --------------------------------------------------------------------------------------------


def test_the_table_of_the_article() -> None:
    table = read_table("prism-v1.7-a")
    assert {task: tuple(row.values()) for task, row in table.routes.items()} == {
        "simple": ("groq-llama-8b", "groq-llama-8b", "claude-opus-4-7"),
        "code": ("codestral", "codestral", "mistral-medium-3-5"),
        "reasoning": ("groq-llama-8b", "groq-qwen-32b", "claude-opus-4-7"),
        "complex": ("groq-llama-70b", "gpt-5-4", "gemini-3-pro"),
    }
    assert table.modes() == ("eco", "balanced", "sport")
    assert table.default_mode == "balanced"
    assert set((table.default or {}).values()) == {"gpt-5-4"}


def test_the_default_table_is_conservative() -> None:
    table = read_table("default")
    for task in ("reasoning", "complex"):
        assert set(table.routes[task].values()) == {"gpt-5.4"}
    assert table.default == dict.fromkeys(table.modes(), "gpt-5.4")
    assert table.routes["simple"]["balanced"] == "gpt-5.4-mini"


def test_the_table_of_the_worked_example() -> None:
    table = read_table("worked-example.yaml")
    expected = {"simple": "gpt-5.4-mini", "code": "codestral", "reasoning": "gpt-5.4", "complex": "gpt-5.4"}
    assert table.routes == {task: dict.fromkeys(("eco", "balanced", "sport"), m) for task, m in expected.items()}
    assert table.classifier_cost_per_request_usd == 0


@pytest.mark.parametrize("path", sorted(shipped.folder("routing").glob("*")), ids=lambda path: str(path.stem))
def test_shipped_tables(path: Path) -> None:
    table = read_table(path)
    assert table.name == path.stem
    assert tuple(table.routes) == TASKS
    assert table.description
    assert path.read_text().startswith("# ")


# --- validate ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ref:
    provider: str
    model: str
    tier: str | None
    context_window: int | None = None

    @property
    def key(self) -> str:
        return f"{self.provider}/{self.model}"


REFS = {
    "big": Ref("openai", "big", "large"),
    "openai/big": Ref("openai", "big", "large"),
    "big-2": Ref("openai", "big-2", "large"),
    "grand": Ref("anthropic", "grand", "large"),
    "huge": Ref("google", "huge", "large"),
    "tiny": Ref("openai", "tiny", "small"),
    "wee": Ref("groq", "wee", "small"),
    "odd": Ref("acme", "odd", None),
}


def found(table: Table) -> list[Finding]:
    def in_tier(tier: str) -> list[Ref]:
        return [ref for ref in REFS.values() if ref.tier == tier]

    return validate(table, REFS.get, lambda model: [name for name in REFS if name[:2] == model[:2]], in_tier)


GOOD = Table(
    "good",
    default={"eco": "big", "balanced": "big"},
    routes={"simple": {"eco": "tiny", "balanced": "tiny"}},
)


def with_overrides(*overrides: Override) -> Table:
    return replace(GOOD, overrides=overrides)


@pytest.mark.parametrize(
    ("table", "level", "where", "message", "fix"),
    [
        (
            replace(GOOD, routes={"simple": {"eco": "bigg", "balanced": "bigg"}, "code": {"eco": "bigg"}}),
            "error",
            "routes.simple, routes.code.eco",
            "the model bigg is not in the price book.",
            "Did you mean big, big-2? Otherwise give it a price, or an alias, in an overlay",
        ),
        (with_overrides(Override("zzz", user=("u",))), "error", "override 1", "zzz is not in", "Check the name, or"),
        (replace(GOOD, default_mode="sport"), "error", "default_mode", "sport is not one of", "one of eco, balanced"),
        (replace(GOOD, default_mode="balance"), "error", "default_mode", "balance is not", "did you mean balanced?"),
        (
            replace(GOOD, speculative=("eco",)),
            "error",
            "fallbacks.tiny",
            "both calls are paid, and tiny is used in it; without a fallback there is nothing to fire",
            "For example groq/wee.",
        ),
        (replace(GOOD, speculative=("ecco",)), "warning", "speculative", "ecco is not one of", "did you mean eco?"),
        (
            replace(GOOD, fallbacks={"big": ("big-2",)}),
            "error",
            "fallbacks.big",
            "big-2 is served by openai as well, and fails with it",
            "For example anthropic/grand, google/huge.",
        ),
        (
            replace(GOOD, fallbacks={"big": ("grand", "wee")}),
            "error",
            "fallbacks.big",
            "wee is a small model and big a large one",
            "For example anthropic/grand, google/huge.",
        ),
        (replace(GOOD, fallbacks={"big": ("odd",)}), "warning", "fallbacks.big", "odd has no tier", "Give it a tier"),
        (replace(GOOD, fallbacks={"grand": ("big",)}), "note", "fallbacks.grand", "sends nothing to", "Remove it"),
        (
            replace(GOOD, fallbacks={"openai/big": ("grand",)}),
            "error",
            "fallbacks.openai/big",
            "the table calls this model big, so its fallback is never found",
            "Write it as big.",
        ),
        (replace(GOOD, failover_rate=1.5), "error", "failover_rate", "1.5 is not a share", "from 0 to 1, or from-log"),
        (replace(GOOD, failover_rate=float("nan")), "error", "failover_rate", "nan is not a share", ""),
        (replace(GOOD, failover_rate="from-log"), "warning", "failover_rate", "no fallbacks", "Add fallbacks, or"),
        (replace(GOOD, loser_share=-0.1), "error", "loser_share", "-0.1 is not a share", "0 (a call that loses"),
        (replace(GOOD, classifier_latency_ms=-1), "error", "classifier.latency_ms", "-1 is not an amount", ""),
        (replace(GOOD, routes={"Simple": GOOD.routes["simple"]}), "warning", "routes.Simple", "the task", "simple?"),
        (replace(GOOD, default={"eco": "big", "balansed": "big"}), "warning", "modes", "the mode", "balanced?"),
        (with_overrides(Override("big", task=("reasonin",))), "warning", "override 1.task", "", "reasoning?"),
        (
            with_overrides(Override("big", feature=("a*",)), Override("tiny", feature=("ab*",), user=("u",))),
            "warning",
            "override 2 (feature ab*, user u)",
            "override 1 (feature a*) comes first and takes everything that it would match",
            "Move it above override 1, or remove it.",
        ),
        (
            with_overrides(Override("big", min_input_tokens=20, max_input_tokens=10)),
            "warning",
            "override 1 (min_input_tokens 20, max_input_tokens 10)",
            "it never matches: min_input_tokens 20 is above max_input_tokens 10",
            "Exchange",
        ),
        (with_overrides(Override("big", mode=("sport",))), "warning", "override 1", "never matches: no mode", ""),
        (with_overrides(Override({"eco": "big"}, mode=("b*",))), "warning", "override 1", "never matches", ""),
        (
            replace(GOOD, routes={"simple": {"eco": "tiny"}}),
            "note",
            "routes.simple",
            "it names no model for every mode: the default is used in balanced",
            "",
        ),
        (
            replace(GOOD, routes={"simple": {"eco": "tiny"}}, default={"eco": "big"}, overrides=(
                Override({"balanced": "big"}, user=("u",)),
            )),
            "note",
            "routes.simple",
            "it names no model for every mode: requests stay on the model they were logged with in balanced",
            "",
        ),
        (replace(GOOD, default=None), "note", "default", "there is none for eco, balanced: requests that no", ""),
        (empty_table(), "warning", "routes", "the table routes nothing", "Add routes, or a default."),
    ],
)  # fmt: skip
def test_validate(table: Table, level: str, where: str, message: str, fix: str) -> None:
    matching = [f for f in found(table) if f.level == level and f.where.startswith(where) and message in f.message]
    assert matching, found(table)
    assert fix in matching[0].fix


@pytest.mark.parametrize(
    "table",
    [
        GOOD,
        replace(GOOD, fallbacks={"big": ("grand", "huge"), "tiny": ("wee",)}, speculative=("eco",), failover_rate=0.01),
        replace(GOOD, routes={"poetry": GOOD.routes["simple"]}),
        with_overrides(Override("big", feature=("a*",)), Override("tiny", feature=("b*", "a*"))),
        with_overrides(Override("big", feature=("a*",), user=("u",)), Override("tiny", feature=("a*",))),
        with_overrides(Override("big", min_input_tokens=10), Override("tiny", min_input_tokens=9)),
        with_overrides(Override("big", max_input_tokens=10), Override("tiny", max_input_tokens=11)),
        with_overrides(Override({"eco": "big"}, user=("u",)), Override("tiny", user=("u",))),
        with_overrides(Override("big", pattern="a"), Override("tiny", pattern="ab")),
        with_overrides(Override("big", feature=("a*a",)), Override("tiny", feature=("a",))),
    ],
)
def test_nothing_to_find(table: Table) -> None:
    assert found(table) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Override("big", feature=("a*c",)), Override("tiny", feature=("a*b*c", "ac"))),
        (Override("big", feature=("*b*",)), Override("tiny", feature=("abc",))),
        (Override("big", min_input_tokens=9), Override("tiny", min_input_tokens=9, max_input_tokens=20)),
        (Override("big", max_input_tokens=9), Override("tiny", max_input_tokens=8)),
        (Override("big", user=("u",)), Override({"eco": "tiny"}, user=("u",))),
        (Override("big", pattern="a"), Override("tiny", pattern="a", mode=("eco",))),
        (Override({"eco": "big"}, user=("u",)), Override("tiny", user=("u",), mode=("eco",))),
    ],
)
def test_shadowed(first: Override, second: Override) -> None:
    assert [f.where for f in found(with_overrides(first, second)) if "comes first" in f.message] == [
        f"override 2 ({second})"
    ]


globs = st.text("ab*", min_size=1, max_size=5)


@given(globs, globs, st.lists(st.text("ab", max_size=5), max_size=20))
def test_what_is_called_shadowed_never_decides(first: str, second: str, features: list[str]) -> None:
    table = with_overrides(Override("big", feature=(first,)), Override("tiny", feature=(second,)))
    if any("comes first" in finding.message for finding in found(table)):
        got = route(cells(*({"feature": f} for f in features)), table, in_catalogue=everything)["route_reason"]
        decided = {f"override:{o.key}" for o in table.overrides[1:]} - {f"override:{table.overrides[0].key}"}
        assert not decided & set(got.to_list())


def test_errors_come_first() -> None:
    table = replace(GOOD, default=None, loser_share=2, failover_rate=0.1)
    assert [finding.level for finding in found(table)] == ["error", "warning", "note"]


def test_validate_without_candidates_still_says_what_to_do() -> None:
    findings = validate(replace(GOOD, speculative=("eco",)), REFS.get, lambda _: [])
    assert [finding.fix for finding in findings] == [
        f"Add a fallback for {model}, of another provider and the same tier." for model in ("tiny", "big")
    ]


def test_suggested_fallbacks_are_one_a_provider_and_the_same_model_first() -> None:
    large = [Ref(p, m, "large") for p, m in zip("aabz", ("v1", "v2", "x", "hosted.big"), strict=True)]
    findings = validate(replace(GOOD, fallbacks={"big": ("big-2",)}), REFS.get, lambda _: [], lambda _: large)
    assert findings[0].fix == "For example z/hosted.big, a/v2, b/x."


# --- diff ----------------------------------------------------------------------------------------------------------

A, B, C = (Override(name, feature=(name,)) for name in "abc")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (GOOD, replace(GOOD, name="other", source="x", description="y"), []),
        (
            GOOD,
            replace(GOOD, routes={"simple": {"eco": "wee", "balanced": "tiny"}}),
            [Change("changed", "routes.simple.eco", "tiny", "wee")],
        ),
        (
            replace(GOOD, routes={}),
            GOOD,
            [Change("added", f"routes.simple.{mode}", None, "tiny") for mode in ("eco", "balanced")],
        ),
        (
            GOOD,
            replace(GOOD, default={"eco": "big"}),
            [Change("removed", "default.balanced", "big", None)],
        ),
        (with_overrides(A), with_overrides(A, B), [Change("added", "override feature b", None, "b")]),
        (with_overrides(A, B), with_overrides(B), [Change("removed", "override feature a", "a", None)]),
        (
            with_overrides(A),
            with_overrides(replace(A, target={"sport": "x", "eco": "y"})),
            [Change("changed", "override feature a", "a", "eco: y, sport: x")],
        ),
        (
            with_overrides(A, B, C),
            with_overrides(B, C, A),
            [Change("moved", "override feature a", "number 1", "number 3")],
        ),
        (
            with_overrides(A),
            with_overrides(replace(A, target=None)),
            [Change("changed", "override feature a", "a", "keep")],
        ),
        (
            replace(GOOD, fallbacks={"a": ("b",)}),
            replace(GOOD, fallbacks={"a": ("b", "c")}),
            [Change("changed", "fallbacks.a", "b", "b, c")],
        ),
        (
            GOOD,
            replace(
                GOOD,
                default_mode="eco",
                failover_rate=0.01,
                speculative=("sport",),
                loser_share=0.5,
                classifier_cost_per_request_usd=0.0001,
                classifier_latency_ms=10,
            ),
            [
                Change("changed", "default_mode", "balanced", "eco"),
                Change("added", "failover_rate", None, "0.01"),
                Change("added", "speculative", None, "sport"),
                Change("changed", "loser_share", "1", "0.5"),
                Change("changed", "classifier.cost_per_request_usd", "0", "0.0001"),
                Change("added", "classifier.latency_ms", None, "10"),
            ],
        ),
    ],
)
def test_diff(old: Table, new: Table, expected: list[Change]) -> None:
    assert diff(old, new) == expected
    assert diff(new, new) == []
    assert len(diff(new, old)) == len(expected)


def test_moves_are_those_that_do_not_keep_their_place() -> None:
    overrides = [Override("m", feature=(str(i),)) for i in range(6)]
    shuffled = overrides[:]
    random.Random(3).shuffle(shuffled)
    assert shuffled != overrides
    moved = {change.where for change in diff(with_overrides(*overrides), with_overrides(*shuffled))}
    steady = [o for o in shuffled if f"override {o}" not in moved]
    assert steady == [o for o in overrides if o in steady]
    assert moved
