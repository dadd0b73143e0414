"""`routecost prices`: text and exit codes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from routecost.cli.prices import app
from routecost.errors import InputError, UsageError


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def printed(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_list_shows_the_models_with_a_tier() -> None:
    text = printed("list")
    assert "openai/gpt-5.4-mini" in text
    assert "openai/gpt-4-32k" not in text
    assert "USD per million tokens" in text


def test_list_filters() -> None:
    listed = json.loads(printed("list", "--provider", "groq", "--search", "llama 8b", "--format", "json"))
    assert listed["schema_version"] == 1
    by_key = {model["model"]: model for model in listed["models"]}
    assert by_key["groq/llama-3.1-8b-instant"]["input"] == 0.05
    assert all(key.startswith("groq/") and "llama" in key and "8b" in key for key in by_key)

    small = json.loads(printed("list", "--tier", "frontier", "--format", "json"))["models"]
    assert {model["tier"] for model in small} == {"frontier"}
    assert len(json.loads(printed("list", "--all", "--format", "json"))["models"]) > 2000


def test_list_as_csv_and_markdown() -> None:
    rows = list(csv.DictReader(io.StringIO(printed("list", "--search", "gpt-5.4-mini", "--format", "csv"))))
    row = next(row for row in rows if row["model"] == "openai/gpt-5.4-mini")
    assert (row["tier"], row["input"], row["output"]) == ("small", "0.75", "4.5")
    assert "| openai/gpt-5.4-mini | small | 0.75 |" in printed(
        "list", "--provider", "openai", "--search", "gpt-5.4-mini", "--format", "markdown"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "--tier", "huge"], "expected one of small, mid, large, frontier"),
        (["list", "--provider", "opnai"], "Did you mean openai"),
    ],
)
def test_filters_that_do_not_exist(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, UsageError)
    assert said in str(result.exception)


def test_show_names_dates_thresholds_and_variants() -> None:
    text = printed("show", "gpt-5.4")
    assert "tier large, context window 1,050,000 tokens" in text
    assert "272,000" in text
    assert "flex" in text
    assert "batches without a price of their own: 0.5 off (default.yaml)" in text


def test_show_what_a_model_can_do_and_until_when(tmp_path: Path) -> None:
    text = printed("show", "o3-mini")
    assert "largest answer 100,000 tokens" in text
    assert "capabilities tools, json\n" in text
    assert "does not serve it from 2026-10-23" in text
    assert "deprecated, says the catalogue; no day is known" in printed("show", "gemini-3-pro")
    unknown = printed("show", "groq-llama-8b")
    assert "context window unknown, largest answer unknown" in unknown
    assert "capabilities unknown\n" in unknown

    shown = json.loads(printed("show", "gpt-5.4", "--format", "json"))["model"]
    assert shown["capabilities"] == ["tools", "vision", "json"]
    assert (shown["max_output"], shown["retired"], shown["deprecated"]) == (128000, None, False)
    team = tmp_path / "team.yaml"
    team.write_text("models: {gpt-5.4: {capabilities: []}}")
    assert "capabilities none\n" in printed("show", "gpt-5.4", "--pricing", team)


def test_check_names_models_that_are_given_up_and_still_passes(tmp_path: Path) -> None:
    table = tmp_path / "table.yaml"
    table.write_text("default: gpt-5.4\nroutes: {simple: o3-mini, code: gemini-3-pro}\n")
    text = printed("check", "--table", table)
    assert "Models that are given up, or will be" in text
    assert "2026-10-23" in text
    assert "deprecated, no day known" in text
    checked = json.loads(printed("check", "--table", table, "--format", "json"))
    assert [named["name"] for named in checked["ending"]] == ["gemini-3-pro", "o3-mini", "gemini-3-pro"]


def test_show_an_alias_and_a_negotiated_discount(tmp_path: Path) -> None:
    team = tmp_path / "team.yaml"
    team.write_text("{aliases: {prod: gpt-5.4}, models: {gpt-5.4: {discount: 0.15, fees: {web_searches: 0.01}}}}")
    text = printed("show", "prod", "--pricing", team)
    assert "openai/gpt-5.4 (asked for as prod)" in text
    assert "negotiated discount 0.15" in text
    assert "web_searches $0.01 each" in text
    assert "2.125" in text


def test_show_as_json_has_unrounded_rates() -> None:
    shown = json.loads(printed("show", "claude-sonnet-4.6", "--format", "json"))
    assert shown["model"]["key"] == "anthropic/claude-sonnet-4-6"
    standard = [rate for rate in shown["rates"] if rate["context"] == "standard"]
    assert [(rate["start"], rate["above"]) for rate in standard] == [(None, 0), (None, 200000), ("2026-03-13", 0)]


def test_show_an_unknown_model() -> None:
    result = run("show", "gpt-5.4-minni")
    assert isinstance(result.exception, InputError)
    assert result.exception.exit_code == 3
    assert "Did you mean openai/gpt-5.4-mini" in str(result.exception)


def test_tiers_show_the_gap() -> None:
    text = printed("tiers")
    assert "times the tier above" in text
    tiers = json.loads(printed("tiers", "--format", "json"))["tiers"]
    assert [tier["tier"] for tier in tiers] == ["small", "mid", "large", "frontier"]
    assert all(tier["gap"] > 1 for tier in tiers[1:])


def test_freeze_writes_the_same_bytes_and_is_readable(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    assert run("freeze", "-o", first).exit_code == 0
    assert run("freeze", "--pricing", first, "-o", second).exit_code == 0
    assert first.read_bytes() == second.read_bytes()
    assert printed("freeze") == first.read_text()
    assert printed("show", "gpt-5.4", "--pricing", first) == printed("show", "gpt-5.4")


def test_freeze_says_where_it_cannot_write(tmp_path: Path) -> None:
    result = run("freeze", "-o", tmp_path / "none" / "a.json")
    assert isinstance(result.exception, InputError)
    assert "cannot write" in str(result.exception)


def test_check_passes_on_the_shipped_files() -> None:
    text = printed("check")
    assert "0 without a price" in text
    assert "days old" in text


def test_check_lists_what_a_table_names_in_vain(tmp_path: Path) -> None:
    table = tmp_path / "table.yaml"
    table.write_text("default: gpt-5.4\nroutes: {simple: gpt-5.4-minni}\nfallbacks: {codestral: [no-such-thing]}\n")
    result = run("check", "--table", table)
    assert isinstance(result.exception, InputError)
    assert result.exception.exit_code == 3
    assert "no price for gpt-5.4-minni, no-such-thing" in str(result.exception)
    assert "routes.simple" in result.stdout
    assert "openai/gpt-5.4-mini" in result.stdout


@pytest.mark.parametrize(("text", "said"), [("- a", "expected a routing table"), ("a: [", "not YAML")])
def test_check_a_table_that_is_none(tmp_path: Path, text: str, said: str) -> None:
    table = tmp_path / "table.yaml"
    table.write_text(text)
    result = run("check", "--table", table)
    assert isinstance(result.exception, InputError)
    assert said in str(result.exception)


def test_check_a_table_that_is_missing(tmp_path: Path) -> None:
    result = run("check", "--table", tmp_path / "none.yaml")
    assert isinstance(result.exception, InputError)
    assert "cannot read the routing table" in str(result.exception)


def test_every_option_has_a_help_text() -> None:
    for command in ("list", "show", "tiers", "freeze", "check"):
        text = printed(command, "--help")
        assert "--pricing" in text
        assert "overlay" in text
