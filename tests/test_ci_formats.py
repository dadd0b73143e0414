"""What a check writes for CI: annotations, comment, JUnit, SARIF, JSON; and that no name can break out of them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import jsonschema
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

import ci_values as values
from routecost.gate.result import Baseline, Change, Check, Mover, Outcome, Part, Rule, Why
from routecost.render import ci

COMMAND = re.compile(r"::(error|warning|notice) title=([^:,\r\n]*)::([^\r\n]*)")
hostile = pytest.mark.parametrize("name", values.HOSTILE, ids=range(len(values.HOSTILE)))


# annotations


def commands(text: str) -> list[tuple[str, str, str]]:
    """(level, title, message) as the runner reads them; every line must be one."""
    found = [COMMAND.fullmatch(line) for line in text.split("\n")[:-1]]
    assert all(found)
    return [(f[1], unquote(f[2]), unquote(f[3])) for f in found if f]


def test_an_annotation_for_each_rule_that_does_not_hold_worst_first() -> None:
    lines = commands(ci.to_github(values.FAILED))
    assert [(level, title) for level, title, _ in lines] == [
        ("error", "routecost check: max_increase (fail)"),
        ("warning", "routecost check: max_increase of chat (undecided)"),
        ("notice", "routecost check: fail"),
    ]
    assert lines[0][2] == f"{values.FAILS.message}\n{values.FAILS.to_do}"
    assert lines[2][2].startswith("rules that hold: 1 of 3; +18 %: output tokens of `code`")


def test_a_pass_still_says_what_would_have_been_found() -> None:
    assert commands(ci.to_github(values.PASSED)) == [
        (
            "notice",
            "routecost check: pass",
            "rules that hold: 1 of 1; No change; smallest increase that would be found: +7.0%.",
        )
    ]


@pytest.mark.parametrize(("on_undecided", "level"), [("undecided", "warning"), ("fail", "error"), ("pass", "notice")])
def test_undecided_is_as_loud_as_on_undecided_says(on_undecided: Any, level: str) -> None:
    check = values.check("undecided", values.UNDECIDED, on_undecided=on_undecided)
    assert commands(ci.to_github(check))[0][0] == level


@pytest.mark.parametrize(("count", "lines"), [(10, 10), (11, 10), (200, 10)])
def test_github_shows_ten_of_a_level_so_the_tenth_names_the_rest(count: int, lines: int) -> None:
    many = [Outcome(Rule("max_increase", 0.1, f"task {i}"), "fail", "More.") for i in range(count)]
    errors = [line for line in commands(ci.to_github(values.check("fail", *many))) if line[0] == "error"]
    assert len(errors) == lines
    if count > lines:
        assert errors[-1][1] == f"routecost check: {count - 9} more"
        assert "max_increase of task 9" in errors[-1][2]


@hostile
def test_a_name_starts_no_workflow_command(name: str) -> None:
    lines = commands(ci.to_github(values.hostile(name)))
    assert [level for level, _, _ in lines] == ["error", "notice"]


# the comment


def tokens(text: str) -> list[Token]:
    def walk(some: list[Token]) -> list[Token]:
        return [t for token in some for t in (token, *walk(token.children or []))]

    return walk(MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text))


def shown(text: str) -> str:
    """What a reader sees outside of code."""
    plain = re.sub(r"<code>.*?</code>", "", text, flags=re.DOTALL)
    return "".join(t.content for t in tokens(plain) if t.type == "text")


def test_the_comment_is_the_summary_under_its_marker() -> None:
    text = ci.to_markdown(values.FAILED)
    assert text == f"{ci.MARKER}\n{ci.summary(values.FAILED)}"
    assert ci.MARKER not in ci.summary(values.FAILED)


def test_the_comment_of_a_failure(request: pytest.FixtureRequest) -> None:
    golden = Path(__file__).parent / "golden" / "check_comment.md"
    text = ci.to_markdown(values.FAILED)
    if request.config.getoption("--update-golden"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_a_pass_has_nothing_to_explain_and_nothing_to_do() -> None:
    text = ci.summary(dataclasses.replace(values.PASSED, commands={}))
    assert text.startswith("## ✅ Cost check: every rule holds\n")
    assert "### Why" not in text
    assert "### What to do" not in text
    assert "| all requests | $0.00420 | $0.00496 | +18.0% | +12.1% to +24.2% | +7.0% |" in text


def test_parts_of_a_change_stand_with_their_sum_and_live_prices_apart() -> None:
    why = dataclasses.replace(values.WHY, live_prices=Part("list-price change", -2.0, -0.05))
    text = ci.summary(values.check("fail", values.FAILS, why=why))
    assert "| output tokens | +$5.80 | +14.0 |" in text
    assert "| unexplained | +$0.410 | - |" in text
    assert "| volume |" not in text  # nothing came from it
    assert text.index("| **all** | **+$7.41** |") < text.index("list-price change: -$2.00")


def test_pairs_are_told() -> None:
    paired = dataclasses.replace(values.ALL, paired=True, base_requests=500, current_requests=500)
    assert "| 500 / 500 (pairs) |" in ci.summary(values.check("pass", values.PASSES, changes=(paired,)))


@pytest.mark.parametrize(
    ("rule", "limit"),
    [
        (Rule("max_increase", 0.1), "10.0%"),
        (Rule("max_usd_per_request", 0.004), "$0.00400"),
        (Rule("max_usd_per_month", 12_000.0), "$12,000"),
        (Rule("max_table_age_days", 7.0), "7"),
        (Rule("max_table_age_days", 45.0), "45"),
        (Rule("allowed_models", "openai/*"), r"openai/\*"),
        (Rule("no_unpriced", None), "-"),
    ],
)
def test_a_limit_is_in_the_unit_of_its_key(rule: Rule, limit: str) -> None:
    text = ci.summary(values.check("pass", Outcome(rule, "pass", "Fine.")))
    assert f"| `{rule.key}` | {limit} | ✅ pass | Fine. |" in text


@hostile
def test_a_name_brings_no_markup_into_the_comment(name: str) -> None:
    text = ci.to_markdown(values.hostile(name))
    found = tokens(text)
    ours = {"<code>", "</code>", "<sub>", "</sub>"}
    assert {t.content.strip() for t in found if t.type == "html_inline"} <= ours
    blocks = [t.content.strip() for t in found if t.type == "html_block"]
    assert blocks == [ci.MARKER, "<details><summary>What moved most</summary>", "</details>"]
    kinds = {t.type for t in found}
    assert not kinds & {"link_open", "image", "fence", "code_block", "hr", "ordered_list_open", "s_open", "em_open"}
    headings = [after.content for t, after in itertools.pairwise(found) if t.type == "heading_open"]
    assert headings == ["❌ Cost check: a rule is broken", "Why", "What to do"]
    # no cell more or less than with a harmless name: a pipe does not end a cell
    plain = tokens(ci.to_markdown(values.hostile("code")))
    assert [t.type for t in found if t.type in ("tr_open", "td_open")] == [
        t.type for t in plain if t.type in ("tr_open", "td_open")
    ]
    assert text.count("\n") == ci.to_markdown(values.hostile("code")).count("\n")
    assert text.count(ci.MARKER) == 1


@hostile
def test_a_name_mentions_and_links_nothing(name: str) -> None:
    seen = shown(ci.to_markdown(values.hostile(name)))
    assert not re.search(r"@\w|(?<!\w)#\d|\bGH-\d|://|\bwww\.", seen)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", seen)


def test_names_that_are_harmless_stay_readable() -> None:
    text = ci.summary(values.hostile("openai/gpt-5.4_mini@2026-03"))
    assert "| task `openai/gpt-5.4_mini@2026-03` |" in text


def test_a_comment_is_never_too_long_for_github() -> None:
    many = [Outcome(Rule("max_increase", 0.1, f"{'@' * 500}{i}"), "fail", "`|<" * 900, "[" * 900) for i in range(300)]
    changes = tuple(Change("task", "|" * 300, 1, 1, 1.0, 1.0, 0.0, 0.0, None, None, None, 0.05) for _ in range(300))
    text = ci.to_markdown(values.check("fail", *many, changes=changes))
    assert len(text) < 65_536
    assert "more are in the JSON result." in text


# JUnit


def suite(check: Check) -> ElementTree.Element:
    root = ElementTree.fromstring(ci.to_junit(check))
    assert root.tag == "testsuites"
    (only,) = root
    return only


def test_a_rule_is_a_test_case() -> None:
    found = suite(values.FAILED)
    assert {k: found.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3",
        "failures": "1",
        "errors": "1",
        "skipped": "0",
    }
    cases = {case.get("name"): case for case in found.iter("testcase")}
    assert list(cases) == ["max_usd_per_request", "max_increase of chat", "max_increase"]
    failure = cases["max_increase"].find("failure")
    assert failure is not None
    assert failure.get("message") == values.FAILS.message
    assert failure.text is not None
    assert values.WHY.headline in failure.text


@pytest.mark.parametrize(("on_undecided", "tag"), [("undecided", "error"), ("fail", "failure"), ("pass", "skipped")])
def test_an_undecided_rule_in_junit(on_undecided: Any, tag: str) -> None:
    found = suite(values.check("undecided", values.UNDECIDED, on_undecided=on_undecided))
    case = found.find("testcase")
    assert case is not None
    assert [child.tag for child in case] == [tag]
    numbers = {"error": "errors", "failure": "failures", "skipped": "skipped"}
    assert {tag: found.get(numbers[tag]) for tag in numbers} == {t: "1" if t == tag else "0" for t in numbers}


@hostile
def test_a_name_cannot_close_an_element(name: str) -> None:
    text = ci.to_junit(values.hostile(name))
    text.encode()
    found = suite(values.hostile(name))
    assert [element.tag for element in found.iter() if element.tag != "property"] == [
        "testsuite",
        "properties",
        "testcase",
        "failure",
    ]


# SARIF


def run(check: Check, **options: str) -> dict[str, Any]:
    body = json.loads(ci.to_sarif(check, **options))
    assert body["version"] == "2.1.0"
    (only,) = body["runs"]
    assert isinstance(only, dict)
    return only


def test_sarif_has_a_result_for_each_rule_that_does_not_hold() -> None:
    found = run(values.FAILED)
    rules = [rule["id"] for rule in found["tool"]["driver"]["rules"]]
    assert rules == ["max_usd_per_request", "max_increase"]
    assert [(r["ruleId"], r["level"], r["properties"]["name"]) for r in found["results"]] == [
        ("max_increase", "warning", "chat"),
        ("max_increase", "error", None),
    ]
    for result in found["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["message"]["text"]
        location = result["locations"][0]["physicalLocation"]
        assert location == {"artifactLocation": {"uri": "routecost.toml"}, "region": {"startLine": 1}}
    assert found["invocations"] == [{"executionSuccessful": True, "exitCode": 1}]


def test_sarif_of_a_pass_opens_no_alert() -> None:
    assert run(values.PASSED)["results"] == []


def test_an_alert_is_the_same_one_in_the_next_run() -> None:
    def prints(check: Check) -> list[str]:
        return [r["partialFingerprints"]["routecostRule/v1"] for r in run(check)["results"]]

    again = values.check("fail", dataclasses.replace(values.FAILS, message="Other numbers."), values.UNDECIDED)
    assert prints(again) == list(reversed(prints(values.FAILED)))
    assert len(set(prints(again))) == 2


@pytest.mark.parametrize(
    ("config", "uri"),
    [
        ("routecost.toml", "routecost.toml"),
        ("ci/a b.toml", "ci/a%20b.toml"),
        ("/repo/routecost.toml", "file:///repo/routecost.toml"),
    ],
)
def test_where_rules_stand_is_a_uri(config: str, uri: str) -> None:
    location = run(values.FAILED, config=config)["results"][0]["locations"][0]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == uri


@hostile
def test_a_name_is_no_link_in_sarif(name: str) -> None:
    text = ci.to_sarif(values.hostile(name))
    text.encode()
    message = json.loads(text)["runs"][0]["results"][0]["message"]["text"]
    assert not re.search(r"(?<!\\)\[[^\]]*(?<!\\)\]\(", message)


# JSON


@pytest.fixture(scope="module")
def schema(root: Path) -> dict[str, Any]:
    found = json.loads((root / "docs" / "check.schema.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    jsonschema.Draft202012Validator.check_schema(found)
    return found


@pytest.mark.parametrize(
    "check",
    [values.PASSED, values.FAILED, values.OPEN, *map(values.hostile, values.HOSTILE)],
    ids=["pass", "fail", "undecided", *map(str, range(len(values.HOSTILE)))],
)
def test_json_is_what_the_schema_says(check: Check, schema: dict[str, Any]) -> None:
    text = ci.to_json(check)
    text.encode()
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(schema, format_checker=checker).validate(json.loads(text))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Check, None),
        (Change, "change"),
        (Outcome, "outcome"),
        (Rule, "rule"),
        (Why, "why"),
        (Part, "part"),
        (Mover, "mover"),
        (Baseline, "baseline"),
    ],
)
def test_the_schema_describes_every_field(value: type, name: str | None, schema: dict[str, Any]) -> None:
    described = schema if name is None else schema["$defs"][name]
    fields = {f.name for f in dataclasses.fields(value)}
    assert set(described["properties"]) - {"schema_version", "command"} == fields
    assert set(described["required"]) - {"schema_version", "command"} == fields


def test_what_the_schema_refuses(schema: dict[str, Any]) -> None:
    good = json.loads(ci.to_json(values.FAILED))
    wrongs: list[dict[str, Any]] = [
        {"schema_version": 2},
        {"verdict": "green"},
        {"exit_code": 3},
        {"outcomes": [{}]},
        {"why": None},
    ]
    for wrong in wrongs:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(schema).validate({**good, **wrong})
    good["added_later"] = 1
    jsonschema.Draft202012Validator(schema).validate(good)


def test_numbers_in_json_are_not_rounded_and_infinity_is_unknown() -> None:
    change = dataclasses.replace(values.ALL, increase=1 / 3, detectable=float("inf"), high=float("nan"))
    found = json.loads(ci.to_json(values.check("pass", values.PASSES, changes=(change,))))["changes"][0]
    assert (found["increase"], found["detectable"], found["high"]) == (1 / 3, None, None)
