"""What is due: ages at their limits, tables that are stale, what has no date, and the command itself."""

from __future__ import annotations

import datetime as dt
import json
import os
import shlex
from pathlib import Path

import polars as pl
import pytest

from conftest import Run
from routecost import classifier
from routecost.errors import InputError, UsageError
from routecost.pipeline.status import LIMITS, Item, Status, status

MADE = dt.date(2026, 8, 1)
TABLE = """name: ours
routes:
  simple: gpt-5.4-mini
made:
  date: 2026-08-01
  evidence_until: 2026-07-20
"""
GRADES = "task,model,score,n,date\nsimple,gpt-5.4,0.9,100,{0}\nsimple,gpt-5.4-mini,0.9,100,{1}\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "ours.yaml"
    path.write_text(TABLE)
    return path


def one(result: Status, name: str) -> Item:
    (found,) = [item for item in result.items if item.name == name]
    return found


@pytest.mark.parametrize(
    ("days", "level"),
    [
        (LIMITS["table"] - 14, "ok"),
        (LIMITS["table"] - 13, "soon"),
        (LIMITS["table"], "soon"),
        (LIMITS["table"] + 1, "due"),
    ],
)
def test_a_table_ages(table: Path, days: int, level: str) -> None:
    item = one(status(table=table, as_of=MADE + dt.timedelta(days=days)), "table")
    assert (item.level, item.age_days, item.date) == (level, days, MADE)
    assert item.due_on == MADE + dt.timedelta(days=LIMITS["table"] + 1)


def test_what_is_due_comes_first(table: Path) -> None:
    result = status(table=table, as_of=MADE + dt.timedelta(days=84))
    assert [i.name for i in result.due] == ["evidence"]
    assert [i.level for i in result.items] == sorted(
        (i.level for i in result.items), key=["due", "soon", "unknown", "ok"].index
    )
    assert result.to_polars()["name"].to_list() == [i.name for i in result.items]


def test_a_limit_of_ones_own(table: Path) -> None:
    day = MADE + dt.timedelta(days=30)
    assert one(status(table=table, as_of=day), "table").level == "ok"
    assert one(status(table=table, as_of=day, limits={"table": 29}), "table").level == "due"
    with pytest.raises(UsageError, match=r"no limit for 'tabel'. Did you mean table"):
        status(limits={"tabel": 3})


def test_a_stale_table_is_due_whatever_its_age(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(
        "name: t\nroutes: {simple: gpt-5.4-mini}\n"
        "made: {date: 2026-08-01, prices: {gpt-5.4-mini: {input: 9, output: 9}}}\n"
    )
    result = status(table=path, as_of=MADE)
    assert one(result, "table").level == "ok"
    item = one(result, "models")
    assert item.level == "due"
    assert "its price has changed" in item.message
    assert item.command == f"routecost routes check {path}"


def test_evidence_is_as_old_as_its_oldest_model(table: Path, tmp_path: Path) -> None:
    grades = tmp_path / "grades.csv"
    # the table does not use gpt-5.4
    grades.write_text(GRADES.format("2026-01-01", "2026-07-30"))
    item = one(status(table=table, quality=[grades], as_of=MADE), "evidence")
    assert (item.level, item.age_days) == ("ok", 2)
    item = one(status(quality=[grades], as_of=MADE), "evidence")
    assert (item.level, item.date) == ("due", dt.date(2026, 1, 1))
    assert "gpt-5.4 " in item.message


def test_what_has_no_date_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "plain.yaml"
    path.write_text("name: plain\nroutes: {simple: gpt-5.4-mini}\n")
    result = status(table=path)
    assert [one(result, n).level for n in ("table", "evidence", "classifier")] == ["unknown"] * 3
    assert result.due == ()


def test_a_classifier_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    classifier.save(classifier.load(), path)
    day = dt.datetime(2026, 2, 1, tzinfo=dt.UTC).timestamp()
    os.utime(path, (day, day))
    item = one(status(classifier=path, as_of=dt.date(2026, 11, 24)), "classifier")
    assert (item.level, item.date) == ("due", dt.date(2026, 2, 1))
    assert "file written on" in item.message
    assert item.command.startswith("routecost classifier train")


def test_prices_age_by_their_newest_date() -> None:
    now = one(status(as_of=dt.date(2026, 11, 24)), "prices")
    assert now.level == "ok"
    assert now.date is not None
    assert one(status(as_of=now.date + dt.timedelta(days=LIMITS["prices"] + 1)), "prices").level in ("ok", "due")
    assert one(status(as_of=dt.date(2030, 1, 1)), "prices").level == "due"


def test_a_baseline(cli: Run, root: Path, tmp_path: Path) -> None:
    missing = one(status(baseline=tmp_path / "none.parquet", logs=["my logs"]), "baseline")
    assert missing.level == "due"
    assert missing.command.startswith("routecost baseline update 'my logs' -o ")
    no_usage = tmp_path / "log.parquet"
    pl.DataFrame({"model": ["gpt-5.4"]}).write_parquet(no_usage)
    with pytest.raises(InputError, match="no usage file"):
        status(baseline=no_usage)
    usage = tmp_path / "usage.parquet"
    assert cli("tally", root / "sample_logs/worked-example.jsonl", "-o", usage).returncode == 0
    item = one(status(baseline=usage, as_of=dt.date(2026, 6, 22)), "baseline")
    assert (item.level, item.date, item.age_days) == ("soon", dt.date(2026, 5, 22), 31)
    assert one(status(baseline=usage, as_of=dt.date(2026, 6, 23)), "baseline").level == "due"


def test_the_command_reads_its_section(cli: Run, table: Path, tmp_path: Path) -> None:
    grades = tmp_path / "grades.csv"
    grades.write_text(GRADES.format("2026-07-30", "2026-07-30"))
    (tmp_path / "routecost.toml").write_text(
        '[status]\ntable = "ours.yaml"\nquality = "grades.csv"\nlogs = ["logs"]\nlimit = "table=10w"\n'
    )
    done = cli("status", "--as-of", "2026-11-01", "--strict", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "As of 2026-11-01: 2 due" in done.stdout
    assert "routecost recommend logs --quality grades.csv -o ours.yaml" in done.stdout
    assert cli("status", "--as-of", "2026-11-01", cwd=tmp_path).returncode == 0
    assert cli("status", "--as-of", "2026-08-02", "--strict", cwd=tmp_path).returncode == 0
    told = json.loads(cli("status", "--as-of", "2026-11-01", "--format", "json", cwd=tmp_path).stdout)
    assert told["command"] == "status"
    assert told["due"] == 2
    assert {i["name"]: i["limit_days"] for i in told["items"]}["table"] == 70
    csv = cli("status", "--format", "csv", cwd=tmp_path).stdout
    assert csv.startswith("name,level,subject,message,command,date,")


@pytest.mark.parametrize("text", ["table", "table=soon", "tabel=3d"])
def test_a_wrong_limit(cli: Run, text: str) -> None:
    done = cli("status", "--limit", text)
    assert done.returncode == 2
    assert "table" in done.stderr


def test_the_commands_exist(cli: Run, table: Path, tmp_path: Path) -> None:
    grades = tmp_path / "grades.csv"
    grades.write_text(GRADES.format("2026-07-30", "2026-07-30"))
    result = status(table=table, quality=[grades], baseline=tmp_path / "none.parquet", as_of=MADE)
    for item in result.items:
        words = shlex.split(item.command)
        if words[0] != "routecost":
            continue
        group = words[1:3] if words[1] in ("classifier", "quality", "prices", "baseline", "routes") else words[1:2]
        shown = cli(*group, "--help", env={"COLUMNS": "200"})
        assert shown.returncode == 0, item.command
        assert all(w in shown.stdout for w in words if w.startswith("-")), item.command


def test_a_log_that_has_drifted_from_the_baseline_is_due(cli: Run, tmp_path: Path) -> None:
    """Nearly all of it is simple in the baseline, and code now."""
    for name, share in (("then", 0.9), ("now", 0.1)):
        with (tmp_path / f"{name}.jsonl").open("w") as file:
            for i in range(3000):
                task = "simple" if (i * 7919) % 1000 < 1000 * share else "code"
                row = {"request_id": f"{name}{i}", "user_id": f"u{i % 500}", "ts": f"2026-11-{1 + i % 14:02}T10:00:00Z"}
                row |= {"model": "gpt-5.4", "task": task, "feature": "f"}
                file.write(json.dumps({**row, "input_tokens": 900 + i % 200, "output_tokens": 90 + i % 20}) + "\n")
    then, now = tmp_path / "then.jsonl", tmp_path / "now.jsonl"
    base = tmp_path / "base.parquet"
    assert cli("baseline", "update", then, "-o", base, "--reason", "test").returncode == 0
    same = json.loads(cli("status", then, "--baseline", base, "--format", "json").stdout)
    assert {i["name"]: i["level"] for i in same["items"]}["drift"] == "ok"
    moved = json.loads(cli("status", now, "--baseline", base, "--format", "json").stdout)
    assert {i["name"]: i["level"] for i in moved["items"]}["drift"] == "due"
    assert cli("status", now, "--baseline", base, "--strict").returncode == 1
