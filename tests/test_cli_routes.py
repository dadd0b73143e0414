"""`routecost routes`, as a person runs it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from routecost.cli.routes import app
from routecost.errors import InputError

TABLE = """\
name: mine
description: what it is for
default: {eco: gpt-5.4-mini, balanced: gpt-5.4}
routes:
  simple: {eco: gpt-5.4-nano}
  code: codestral
overrides:
  - {feature: "billing-*", model: gpt-5.4}
  - {pattern: "[a-z]|</script>", keep: true}
  - {user: vip, model: {eco: gpt-5.4}}
fallbacks: {gpt-5.4: claude-sonnet-4-6}
failover_rate: from-log
classifier: {cost_per_request_usd: 0.0001, latency_ms: 10}
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("mine.yaml")
    path.write_text(TABLE)
    return path


def run(*args: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_show(mine: Path) -> None:
    text = squeezed(run("show", mine))
    for part in (
        "mine (mine.yaml)",
        "what it is for",
        "routed in balanced mode",
        "task eco balanced",
        "simple gpt-5.4-nano - code codestral codestral",
        "default gpt-5.4-mini gpt-5.4",
        "- in a task's row: the default is used.",
        "1 feature billing-* gpt-5.4 usage",
        "2 pattern [a-z]|</script> its own model the log",
        "3 user vip eco: gpt-5.4 the log",
        "gpt-5.4 claude-sonnet-4-6",
        "Failover: the share of calls that fail in the log is paid at the fallback's price.",
        "Classifier: $0.0001 a request, 10 ms.",
    ):
        assert part in text


def test_show_without_a_table_is_the_default_one() -> None:
    assert run("show") == run("show", "default")
    assert "reasoning gpt-5.4 gpt-5.4 gpt-5.4" in squeezed(run("show"))


def test_show_speculative(mine: Path) -> None:
    mine.write_text("{name: s, default: a, routes: {}, speculative: [sport], loser_share: 0.5, failover_rate: 0.01}")
    text = run("show", mine)
    assert "Speculative: sport; the slower of the two calls is paid to 50%." in text
    assert "Failover: 1.00% of the calls is paid" in text


def test_show_how_a_table_came_about(mine: Path) -> None:
    mine.write_text(
        """
default: gpt-5.4
output_ratios: {gpt-5.4: 1.25, codestral: {code: 0.9}}
made:
  date: 2026-11-24
  by: routecost 1.0
  reference: gpt-5.4
  book: shipped
  evidence_until: 2026-11-01
  prices: {gpt-5.4: {input: 0.05, output: 15}}
  evidence: {default: {eco: "nothing is cheaper"}}
"""
    )
    text = squeezed(run("show", mine))
    for part in (
        "Made on 2026-11-24, by routecost 1.0, against gpt-5.4, with prices shipped, from grades until 2026-11-01.",
        "gpt-5.4 every task 1.25",
        "codestral code 0.9",
        "default eco nothing is cheaper",
        "Prices on 2026-11-24 (USD per million tokens)",
        "gpt-5.4 0.05 15",
    ):
        assert part in text
    table = json.loads(run("show", mine, "--format", "json"))["table"]
    assert table["output_ratios"] == {"gpt-5.4": {"*": 1.25}, "codestral": {"code": 0.9}}
    assert (table["made"]["date"], table["made"]["evidence_until"]) == ("2026-11-24", "2026-11-01")
    assert table["made"]["prices"] == {"gpt-5.4": {"input": 0.05, "output": 15}}
    assert "no difference" in run("diff", mine, mine)


def test_show_as_json(mine: Path) -> None:
    got = json.loads(run("show", mine, "--format", "json"))
    assert got["schema_version"] == 1
    assert got["command"] == "routes show"
    table = got["table"]
    assert table["routes"] == {
        "simple": {"eco": "gpt-5.4-nano"},
        "code": {"eco": "codestral", "balanced": "codestral"},
    }
    assert [o["needs_request"] for o in table["overrides"]] == [False, True, True]
    assert table["overrides"][1]["keep"] is True
    assert table["overrides"][2]["model"] == {"eco": "gpt-5.4"}
    assert table["failover_rate"] == "from-log"


def test_show_as_csv_and_markdown(mine: Path) -> None:
    assert list(csv.reader(io.StringIO(run("show", mine, "--format", "csv")))) == [
        ["task", "eco", "balanced"],
        ["simple", "gpt-5.4-nano", ""],
        ["code", "codestral", "codestral"],
        ["default", "gpt-5.4-mini", "gpt-5.4"],
    ]
    out = Path("out.md")
    assert run("show", mine, "--format", "markdown", "-o", out) == ""
    assert "| code | codestral | codestral |" in out.read_text()
    assert "<" not in out.read_text()


def test_show_what_is_not_there() -> None:
    result = CliRunner().invoke(app, ["show", "prism"])
    assert isinstance(result.exception, InputError)
    assert "Did you mean prism-v1.7-a" in str(result.exception)


def test_validate_the_shipped_tables() -> None:
    text = run("validate", "default", "prism-v1.7-a")
    assert text.count(".yaml: valid") == 2
    assert "error" not in text


def test_validate_finds_and_ends_with_3(mine: Path) -> None:
    other, broken = Path("other.yaml"), Path("broken.yaml")
    other.write_text("{default: gpt-5.44-minny, fallbacks: {gpt-5.4: gpt-5.4-mini}}")
    broken.write_text("routse: {}")
    text = squeezed(run("validate", mine, other, broken, code=3))
    assert f"{mine}: valid, 1 note" in text
    assert f"{other}: not valid, 2 errors, 1 note" in text
    assert f"{broken}: not valid, 1 error" in text
    assert "gpt-5.44-minny" in text
    assert "Did you mean" in text


def test_validate_as_data(mine: Path) -> None:
    mine.write_text("default: no-such-model-at-all")
    got = json.loads(run("validate", mine, "--format", "json", code=3))
    assert [(table["valid"], len(table["findings"])) for table in got["tables"]] == [(False, 1)]
    rows = list(csv.DictReader(io.StringIO(run("validate", mine, "--format", "csv", code=3))))
    assert [(row["table"], row["level"], row["where"]) for row in rows] == [(str(mine), "error", "default")]
    assert run("validate", "default", "--format", "csv") == "table,level,where,message,fix\n"


def test_validate_with_an_overlay(mine: Path) -> None:
    mine.write_text("default: our-model")
    run("validate", mine, code=3)
    overlay = Path("prices.yaml")
    overlay.write_text("aliases: {our-model: openai/gpt-5.4}\n")
    assert "mine.yaml: valid\n" in run("validate", mine, "--pricing", overlay)


def test_diff(mine: Path) -> None:
    new = Path("new.yaml")
    new.write_text(TABLE.replace("gpt-5.4-nano", "gpt-5.4-mini"))
    text = squeezed(run("diff", mine, new))
    assert "1 change" in text
    assert "changed routes.simple.eco gpt-5.4-nano gpt-5.4-mini" in text
    assert json.loads(run("diff", mine, new, "--format", "json"))["changes"] == [
        {"kind": "changed", "where": "routes.simple.eco", "old": "gpt-5.4-nano", "new": "gpt-5.4-mini"}
    ]
    assert run("diff", mine, mine) == "from mine (mine.yaml)\nto mine (mine.yaml): no difference\n"
    assert run("diff", mine, mine, "--format", "csv") == "kind,where,old,new\n"
    assert "worked-example" in run("diff", "default", "worked-example")


def test_list() -> None:
    names = [row["name"] for row in csv.DictReader(io.StringIO(run("list", "--format", "csv")))]
    assert names == ["default", "prism-v1.7-a", "worked-example"]
    assert "--table NAME" in run("list")


@pytest.mark.parametrize("command", ["show", "validate", "diff", "list"])
def test_help(command: str) -> None:
    assert "--format" in run(command, "--help")


def test_wrong_command_lines() -> None:
    run("validate", code=2)
    run("diff", "default", code=2)
    run("show", "default", "--format", "xml", code=2)
