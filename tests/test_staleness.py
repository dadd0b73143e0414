"""`routecost routes check`: what makes a table stale, and what it leaves on the table."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import polars as pl
import pytest

from conftest import Run
from routecost.pipeline.staleness import Stale, check_table
from routecost.prices import read_prices
from routecost.routing import Made, Table
from test_recommend import write_log, write_quality

DAY = dt.date(2026, 11, 24)


def found(table: Table, *overlays: Path, quality: pl.DataFrame | None = None) -> list[Stale]:
    return list(check_table(table, read_prices(overlays), quality=quality, as_of=DAY).found)


def table(model: str = "gpt-5.4", **made: object) -> Table:
    return Table("t", default={"balanced": model}, made=Made(DAY, **made))  # type: ignore[arg-type]


def test_a_table_of_today_is_not_stale() -> None:
    assert found(table(prices={"gpt-5.4": {"input": 2.5, "output": 15.0}})) == []


@pytest.mark.parametrize(("retired", "level"), [("2026-11-24", "stale"), ("2026-12-20", "soon"), ("2027-06-01", None)])
def test_a_model_that_ends(tmp_path: Path, retired: str, level: str | None) -> None:
    overlay = tmp_path / "o.yaml"
    overlay.write_text(f"name: o\nmodels:\n  openai/gpt-5.4: {{retired: {retired}}}\n")
    levels = [s.level for s in found(table(), overlay) if s.where == "gpt-5.4"]
    assert levels == ([level] if level else [])


def test_a_price_that_changed_is_told_with_both() -> None:
    (only,) = found(table(prices={"gpt-5.4": {"input": 5.0, "output": 15.0}}))
    assert only.level == "stale"
    assert "input $5 -> $2.5" in only.message


def test_a_price_is_compared_with_the_book_of_that_day_where_the_table_keeps_none(tmp_path: Path) -> None:
    overlay = tmp_path / "o.yaml"
    overlay.write_text(
        "name: o\nmodels:\n  acme/m:\n    prices: [{input: 1, output: 2}, {from: 2026-11-01, input: 3, output: 2}]\n"
    )
    before = Table("t", default={"balanced": "acme/m"}, made=Made(dt.date(2026, 10, 1)))
    assert ["input $1 -> $3" in s.message for s in found(before, overlay)] == [True]
    assert found(Table("t", default={"balanced": "acme/m"}, made=Made(dt.date(2026, 11, 1))), overlay) == []


def test_old_evidence(tmp_path: Path) -> None:
    assert [s.where for s in found(table(evidence_until=dt.date(2026, 8, 1)))] == ["evidence"]
    assert found(table(evidence_until=dt.date(2026, 8, 26))) == []  # 90 days


def test_a_model_without_a_price(tmp_path: Path) -> None:
    (only,) = found(table("gpt-5.5-minni"))
    assert (only.level, only.message) == ("stale", "has no price any more")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    log, quality = write_log(tmp_path / "log.jsonl"), write_quality(tmp_path / "q.csv")
    return log, quality, tmp_path / "routes.yaml"


def test_the_recommended_table_passes_and_a_dominated_one_fails(cli: Run, files: tuple[Path, Path, Path]) -> None:
    log, quality, routes = files
    made = cli("recommend", log, "--quality", quality, "--reference", "gpt-5.4", "-o", routes, "--as-of", str(DAY))
    assert made.returncode == 0, made.stderr
    args = ("--usage", log, "--quality", quality, "--as-of", "2026-11-24", "--requests", "50000/day")
    fresh = cli("routes", "check", routes, *args)
    assert fresh.returncode == 0, fresh.stdout + fresh.stderr
    assert "nothing stale" in fresh.stdout
    text = routes.read_text()
    assert "balanced: gpt-5.4-mini" in text
    routes.write_text(text.replace("balanced: gpt-5.4-mini", "balanced: gpt-5.4", 1))
    dear = cli("routes", "check", routes, *args)
    assert dear.returncode == 1
    assert "a month on the table." in dear.stdout
    assert "routes.simple.balanced" in dear.stdout
    body = json.loads(cli("routes", "check", routes, *args, "--format", "json").stdout)
    assert body["left_usd_a_month"] > 0
    assert {f["where"] for f in body["findings"] if f["level"] == "stale"} == {"routes.simple.balanced"}


def test_what_the_table_leaves_is_the_difference_that_simulate_tells(cli: Run, files: tuple[Path, Path, Path]) -> None:
    log, quality, routes = files
    cli("recommend", log, "--quality", quality, "--reference", "gpt-5.4", "-o", routes, "--as-of", str(DAY))
    today = routes.with_name("today.yaml")
    today.write_text(
        "name: today\ndefault: gpt-5.4\nroutes: {simple: gpt-5.4, code: gpt-5.4}\n"
        "made: {date: 2026-11-24, reference: gpt-5.4}\n"
    )
    body = json.loads(
        cli(
            "routes", "check", today, "--usage", log, "--quality", quality, "--as-of", str(DAY), "--format", "json"
        ).stdout
    )
    costs = []
    for name in (today, routes):
        done = cli("simulate", log, "--table", name, "--mode", "balanced", "--format", "json")
        costs.append(json.loads(done.stdout)["scenarios"][0]["routed_usd"])
    assert body["left_usd"] == pytest.approx(costs[0] - costs[1], abs=1e-9)


def test_a_wrong_age_is_told(cli: Run) -> None:
    done = cli("routes", "check", "default", "--max-age", "soon")
    assert done.returncode == 2
    assert "--max-age: saw 'soon'" in done.stderr
