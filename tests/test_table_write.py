"""Routing tables written and read again."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from routecost.cli.routes import app
from routecost.errors import InputError
from routecost.routing import Made, Override, Table, diff, read_table, to_yaml, validate

# what YAML reads as something else, and what ends a line, a comment or a quoted text
HOSTILE = [
    "on",
    "no",
    "null",
    "~",
    "4.5",
    "1e3",
    "0x1f",
    "12:30",
    "2026-11-24",
    "a: b",
    "a #b",
    "#a",
    "- a",
    "? a",
    "'",
    '"',
    "a\nb",
    "a\n\n# b",
    "a\u2028b",
    "a\x85b",
    "a\x00b",
    "a\x7fb",
    "a\ufeffb",
    "\U0001f600",
    "{a}",
    "[a]",
    "&a",
    "!!str",
    "%a",
    "a,b",
    "<<",
    "=",
    "default",
    "routes",
    "---",
    "a\tb",
    "\\n",
]
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_NAME = st.sampled_from(HOSTILE) | _TEXT.map(str.strip).filter(lambda t: bool(t) and "*" not in t)
_MODE = st.sampled_from(["eco", "balanced", "sport"]) | _NAME
_MODEL = st.sampled_from(["gpt-5.4", "claude-sonnet-4-6"]) | _NAME
_NUMBER = st.floats(1e-300, 1e300)
_ROW = st.dictionaries(_MODE, _MODEL, min_size=1, max_size=4)
_GLOBS = st.lists(_NAME | st.just("a*"), max_size=2).map(tuple)
_DAY = st.dates()
_RATE: st.SearchStrategy[float | Literal["from-log"] | None] = st.one_of(st.none(), st.just("from-log"), _NUMBER)


@st.composite
def overrides(draw: st.DrawFn) -> Override:
    return Override(
        target=draw(st.none() | _MODEL | _ROW),
        feature=(draw(_NAME),),
        task=draw(_GLOBS),
        user=draw(_GLOBS),
        pattern=draw(st.none() | st.sampled_from(["(?i)a|b", "#: x", "\\d+\n", "'\"", "x{2}"])),
        min_input_tokens=draw(st.none() | st.integers(0, 10**9)),
    )


@st.composite
def made(draw: st.DrawFn) -> Made:
    price = st.fixed_dictionaries({}, optional={"input": _NUMBER, "output": _NUMBER})
    return Made(
        date=draw(_DAY),
        by=draw(st.none() | _TEXT),
        reference=draw(st.none() | _MODEL),
        book=draw(st.none() | _TEXT),
        evidence_until=draw(st.none() | _DAY),
        prices=draw(st.dictionaries(_MODEL, price, max_size=2)),
        evidence=draw(st.dictionaries(_NAME, st.dictionaries(_MODE, _TEXT, max_size=2), max_size=2)),
    )


@st.composite
def tables(draw: st.DrawFn) -> Table:
    # rows of one model in every mode are common, and the ones that are written short
    even = draw(st.booleans())
    modes = draw(st.lists(_MODE, min_size=1, max_size=4, unique=True))
    row = _MODEL.map(lambda model: dict.fromkeys(modes, model)) if even else _ROW
    return Table(
        name=draw(_NAME),
        default_mode=draw(_MODE),
        default=draw(st.none() | row),
        routes=draw(st.dictionaries(_NAME, row | _ROW, max_size=3)),
        overrides=tuple(draw(st.lists(overrides(), max_size=2))),
        fallbacks=draw(st.dictionaries(_MODEL, st.lists(_MODEL, min_size=1, max_size=2).map(tuple), max_size=2)),
        failover_rate=draw(_RATE),
        speculative=tuple(draw(st.lists(_MODE, max_size=2))),
        loser_share=draw(_NUMBER),
        classifier_cost_per_request_usd=draw(_NUMBER),
        classifier_latency_ms=draw(st.none() | _NUMBER),
        description=draw(st.none() | _TEXT),
        output_ratios=draw(
            st.dictionaries(_MODEL, st.dictionaries(_NAME | st.just("*"), _NUMBER, min_size=1, max_size=2), max_size=2)
        ),
        made=draw(st.none() | made()),
    )


def again(text: str) -> Table:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.yaml"
        path.write_bytes(text.encode())
        return replace(read_table(path), source=None)


@given(tables(), st.lists(_TEXT, max_size=2), _TEXT)
@settings(max_examples=300, deadline=None)
def test_what_is_written_is_read_back(table: Table, header: list[str], note: str) -> None:
    assert again(to_yaml(table)) == table
    rows = [("default", table.default or {}), *table.routes.items()]
    notes = {(task, mode): [note] for task, row in rows for mode in list(row)[:1]}
    assert again(to_yaml(table, header=header, notes=notes)) == table


@pytest.mark.parametrize("name", ["default", "prism-v1.7-a", "worked-example"])
def test_shipped_tables_are_read_back(name: str) -> None:
    table = replace(read_table(name), source=None)
    assert again(to_yaml(table)) == table


def test_rows_of_one_model_are_short_and_noted_ones_long() -> None:
    modes = ("eco", "balanced", "sport")
    table = Table(name="t", default=dict.fromkeys(modes, "gpt-5.4"), routes={"code": dict.fromkeys(modes, "codestral")})
    assert to_yaml(table, header=["above"]) == (
        "# above\nname: t\ndefault_mode: balanced\ndefault: gpt-5.4\nroutes:\n  code: codestral\n"
    )
    noted = to_yaml(table, notes={("code", "eco"): ["why\nnot"], ("default", "sport"): ["it is known"]})
    assert "  code:\n    # why\n    # not\n    eco: codestral\n    balanced: codestral\n    sport: codestral\n" in noted
    assert "  # it is known\n  sport: gpt-5.4\n" in noted


def test_what_says_nothing_is_not_written() -> None:
    table = Table(name="t", default={}, routes={"code": {}})
    assert again(to_yaml(table)) == Table(name="t")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("output_ratios: {m: 0}", "output_ratios.m.*: expected more than 0, found 0"),
        ("output_ratios: {m: .inf}", "output_ratios.m.*: expected a number, found inf"),
        ("output_ratios: {m: long}", "output_ratios.m.*: expected a number, found 'long'"),
        ("output_ratios: {m: {code: -1}}", "output_ratios.m.code: expected more than 0, found -1"),
        ("output_ratios: {m: {}}", "output_ratios.m: expected at least one name, found an empty mapping"),
        ("output_ratios: 1.5", "output_ratios: expected a mapping, found 1.5"),
        ("output_ratios: {4.5: 1}", "a name that looks like that needs quotes"),
        ("made: {}", "made.date: Field required"),
        ("made: {date: yesterday}", "made.date: expected a day such as 2026-11-24, found 'yesterday'"),
        ("made: {date: 5}", "made.date: expected a day such as 2026-11-24, found 5"),
        ("made: {date: 2026-11-24T10:00:00}", "made.date: expected a day such as 2026-11-24"),
        ("made: {date: 2026-11-24, refrence: m}", "made.refrence: unknown key. Did you mean reference"),
        (
            "made: {date: 2026-11-24, prices: {m: {inputs: 1}}}",
            "made.prices.m.inputs: unknown key. Did you mean input",
        ),
        ("made: {date: 2026-11-24, prices: {m: {input: -1}}}", "made.prices.m.input: expected 0 or more, found -1"),
        ("made: {date: 2026-11-24, evidence: {code: {eco: 5}}}", "made.evidence.code.eco: expected text, found 5"),
    ],
)
def test_errors_say_where_and_what(said: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        again(said)
    assert message in str(error.value)


def test_days_may_be_quoted() -> None:
    table = again('made: {date: "2026-11-24", evidence_until: 2026-11-01}')
    assert table.made == Made(date=dt.date(2026, 11, 24), evidence_until=dt.date(2026, 11, 1))


def test_output_ratio_is_the_tasks_own_then_that_for_every_task() -> None:
    table = again("output_ratios: {a: 1.2, b: {code: 0.9, '*': 1.1}, c: {code: 2}}")
    asked = [table.output_ratio(*at) for at in (("a", "code"), ("b", "code"), ("b", None), ("c", None), ("d", "x"))]
    assert asked == [1.2, 0.9, 1.1, 1.0, 1.0]


def test_ratios_of_models_without_a_price_are_a_warning() -> None:
    table = again("default: gpt\noutput_ratios: {gpt: 1.2, gtp: {code: 0.9}, other: 1, lost: {typo: 2}}")
    known: Mapping[str, None] = {}
    found = validate(table, known.get, lambda name: ["gpt"] if name == "gtp" else [])
    said = [(f.level, f.where, f.fix) for f in found if f.where.startswith("output_ratios")]
    assert ("warning", "output_ratios.gtp", "Did you mean gpt? Otherwise remove it.") in said
    assert ("warning", "output_ratios.other", "Check the name, or remove it.") in said


def test_show_has_ratios_and_how_it_came_about(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(
        "default: gpt-5.4\noutput_ratios: {gpt-5.4: 1.2, o3: {code: 0.9}}\n"
        "made: {date: 2026-11-24, by: routecost 1, reference: o3, evidence_until: 2026-11-20,"
        " prices: {o3: {input: 2, output: 8}}, evidence: {default: {eco: never worse}}}"
    )
    shown = CliRunner().invoke(app, ["show", str(path)]).stdout
    squeezed = " ".join(shown.split())
    for part in (
        "Made on 2026-11-24, by routecost 1, against o3, from grades until 2026-11-20.",
        "gpt-5.4 every task 1.2",
        "o3 code 0.9",
        "default eco never worse",
        "Prices on 2026-11-24 (USD per million tokens)",
    ):
        assert part in squeezed, shown
    said = json.loads(CliRunner().invoke(app, ["show", str(path), "--format", "json"]).stdout)["table"]
    assert said["output_ratios"] == {"gpt-5.4": {"*": 1.2}, "o3": {"code": 0.9}}
    assert (said["made"]["date"], said["made"]["prices"]) == ("2026-11-24", {"o3": {"input": 2, "output": 8}})


def test_diff_knows_ratios_and_how_it_came_about() -> None:
    old = again("default: a\noutput_ratios: {a: 1.2}\nmade: {date: 2026-11-01, reference: a}")
    new = again("default: a\noutput_ratios: {a: {'*': 1.2, code: 0.9}}\nmade: {date: 2026-11-24, by: x, reference: a}")
    assert [(c.kind, c.where, c.old, c.new) for c in diff(old, new)] == [
        ("added", "output_ratios.a.code", None, "0.9"),
        ("changed", "made.date", "2026-11-01", "2026-11-24"),
        ("added", "made.by", None, "x"),
    ]
