"""Baselines: who accepted what and why, what is compared, what is refused, and files that are the same and small."""

from __future__ import annotations

import datetime as dt
import importlib
import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from conftest import Run
from routecost.errors import InputError, UsageError
from routecost.gate.result import Baseline
from routecost.pipeline.baseline import (
    comparable_settings,
    difference_of,
    read_baseline,
    tally_baseline,
    update_baseline,
)
from routecost.pipeline.intake import Options
from routecost.prices import read_prices
from routecost.usage import Settings, Usage, read_about, read_usage, write_usage

NOON = {"SOURCE_DATE_EPOCH": "1793620800"}  # 2026-11-02 12:00 UTC
NOBODY = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "USER": "ada"}


def line(**fields: Any) -> dict[str, Any]:
    usual = {"ts": "2026-11-02T12:00:00Z", "model": "gpt-5.4", "task": "code", "input_tokens": 100, "output_tokens": 50}
    return {**usual, **fields}


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def log(path: Path, output_tokens: int = 50, n: int = 20) -> Path:
    return write(path, [line(request_id=f"r{i}", output_tokens=output_tokens) for i in range(n)])


@pytest.fixture(autouse=True)
def fixed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {**NOON, **NOBODY}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)


# --- what can be compared -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"edges": (200_000, 272_000)}, "context bands: 200,000 in the baseline, 200,000, 272,000 now"),
        ({"edges": ()}, "context bands: 200,000 in the baseline, none now"),
        ({"slots": (0, 990)}, "times of day: 0 in the baseline, 0, 990 now"),
        ({"unit": "user"}, "unit of the groups: auto in the baseline, user now"),
        ({"salt": "pepper"}, "salt of the groups: routecost in the baseline, pepper now"),
        ({"classifier": "small 2"}, "classifier: small 1 in the baseline, small 2 now"),
        ({"task_rules": "b"}, "task rules: a in the baseline, b now"),
        ({"ids": "f00"}, "salt of hashed ids: another in the baseline than now, so that ids cannot be matched"),
        ({"classifier": None, "task_rules": None}, None),
        ({"ids": "f00", "by": ()}, None),
        ({"by": ("user_id", "team")}, None),
        ({}, None),
    ],
)
def test_what_is_tallied_differently_is_named(change: dict[str, Any], said: str | None) -> None:
    base = Settings(edges=(200_000,), classifier="small 1", task_rules="a", by=("user_id",), ids="abc")
    assert comparable_settings(base, replace(base, **change)) == ([] if said is None else [said])


def test_the_difference_is_at_the_prices_of_the_last_day_of_the_baseline(tmp_path: Path) -> None:
    overlay = tmp_path / "prices.yaml"
    overlay.write_text(
        """
models:
  acme/one:
    prices:
      - {input: 1, output: 10}
      - {from: 2026-11-03, input: 2, output: 20}
      - {from: 2026-11-04, input: 4, output: 40}
"""
    )
    book = read_prices([overlay])
    acme = {"provider": "acme", "model": "one"}
    days = [line(**acme, ts=f"2026-11-0{d}T12:00:00Z", input_tokens=1_000_000, output_tokens=0) for d in (2, 3)]
    base = [*days, line(model="nobody-knows-it"), line(**acme, task="simple")]
    later = line(**acme, ts="2026-11-05T12:00:00Z", input_tokens=1_500_000, output_tokens=0)
    current = [later, later, later, line(**acme, task=None, feature="x", prompt="hi")]

    def tallied(name: str, rows: list[dict[str, Any]]) -> Usage:
        logs = [str(write(tmp_path / name, rows))]
        return tally_baseline(logs, pricing=[overlay], options=Options(classify=False)).usage

    found = difference_of(tallied("a.jsonl", base), tallied("b.jsonl", current), book)
    assert found.priced_on == dt.date(2026, 11, 3)
    code = found.by_task.row(by_predicate=pl.col("task") == "code", named=True)
    # a request without a price counts as a request and in no mean
    assert (code["base_requests"], code["current_requests"]) == (3, 3)
    assert (code["base_usd"], code["current_usd"], code["increase"]) == pytest.approx((2.0, 3.0, 0.5))
    gone = found.by_task.row(by_predicate=pl.col("task") == "simple", named=True)
    assert (gone["current_requests"], gone["current_usd"], gone["increase"]) == (0, None, None)
    assert found.total["base_requests"] == found.total["current_requests"] == 4
    assert found.by_task["base_requests"].sum() == found.by_task["current_requests"].sum() == 4
    assert found.to_polars() is found.by_task


# --- reading --------------------------------------------------------------------------------------------------------


def test_any_usage_file_is_a_baseline_without_a_history(tmp_path: Path) -> None:
    path = tmp_path / "usage.parquet"
    write_usage(tally_baseline([str(log(tmp_path / "a.jsonl"))]).usage, path, book_version="book 1")
    usage, baseline = read_baseline(path)
    assert usage.requests == 20
    assert baseline == Baseline(str(path))
    assert (read_about(path).book_version, read_about(path).baseline) == ("book 1", {})


def test_what_is_no_baseline_is_told_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such baseline\. Make one .*routecost baseline update LOG"):
        read_baseline(tmp_path / "none.parquet")
    with pytest.raises(InputError, match=r"no usage file, which a baseline is\. .*baseline update .*a\.jsonl -o base"):
        read_baseline(log(tmp_path / "a.jsonl"))


def test_a_history_that_somebody_wrote_by_hand_is_one_line_of_plain_text(tmp_path: Path) -> None:
    path = tmp_path / "usage.parquet"
    told = {"updated": "yesterday", "by": "\x1b[31mMallory\n| x", "reason": "\n", "commit": None}
    write_usage(tally_baseline([str(log(tmp_path / "a.jsonl"))]).usage, path, baseline=told)
    assert read_baseline(path)[1] == Baseline(str(path), by="[31mMallory | x")


@pytest.mark.parametrize("meta", [[1], {"schema_version": 2}, {"schema_version": 2, "edges": 5}])
def test_a_file_with_damaged_metadata_cannot_be_read(tmp_path: Path, meta: Any) -> None:
    path = tmp_path / "usage.parquet"
    pl.DataFrame({"table": ["cells"]}).write_parquet(path, metadata={"routecost": json.dumps(meta)})
    with pytest.raises(InputError, match="no usage file that can be read"):
        read_usage(path)


# --- updating -------------------------------------------------------------------------------------------------------


def test_update_keeps_who_when_why_and_where(tmp_path: Path) -> None:
    intake = tally_baseline([str(log(tmp_path / "a.jsonl"))])
    assert intake.usage.settings.group_features
    path = tmp_path / "baseline.parquet"
    accepted = update_baseline(intake, path, reason="  the new prompt ")
    noon = dt.datetime(2026, 11, 2, 12, tzinfo=dt.UTC)
    assert accepted.baseline == Baseline(str(path), noon, "ada", "the new prompt", None)
    assert (accepted.before, accepted.difference, accepted.notes) == (None, None, ())
    assert accepted.to_polars().is_empty()
    usage, baseline = read_baseline(path)
    assert baseline == accepted.baseline
    assert usage.cells.equals(intake.usage.cells)
    assert read_about(path).book_version == intake.book_version
    again = update_baseline(intake, path, reason="as before", by="Grace")
    assert (again.before, again.baseline.by) == (baseline, "Grace")
    assert again.difference is not None
    assert again.difference.total["increase"] == 0


def test_git_says_who_and_at_which_commit(tmp_path: Path) -> None:
    def git(*command: str) -> str:
        done = subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    git("config", "user.name", "Ada Lovelace")
    intake = tally_baseline([str(log(tmp_path / "a.jsonl"))])
    path = tmp_path / "baseline.parquet"
    # a repository without a commit has no HEAD
    assert update_baseline(intake, path, reason="x").baseline.commit is None
    git("-c", "user.email=ada@example.org", "commit", "-q", "--allow-empty", "-m", "first")
    found = update_baseline(intake, path, reason="x").baseline
    assert (found.by, found.commit) == ("Ada Lovelace", git("rev-parse", "HEAD"))


def test_without_git_the_account_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    intake = tally_baseline([str(log(tmp_path / "a.jsonl"))])
    found = update_baseline(intake, tmp_path / "b.parquet", reason="x").baseline
    assert (found.by, found.commit) == ("ada", None)


def test_a_reason_and_a_time_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    intake = tally_baseline([str(log(tmp_path / "a.jsonl"))])
    path = tmp_path / "baseline.parquet"
    with pytest.raises(UsageError, match="--reason is empty"):
        update_baseline(intake, path, reason=" ")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "noon")
    with pytest.raises(UsageError, match=r"SOURCE_DATE_EPOCH: saw 'noon', expected seconds since 1970"):
        update_baseline(intake, path, reason="x")
    assert not path.exists()


def test_a_baseline_tallied_differently_is_only_replaced_when_told(tmp_path: Path) -> None:
    logs = [str(log(tmp_path / "a.jsonl"))]
    path = tmp_path / "baseline.parquet"
    update_baseline(tally_baseline(logs), path, reason="x")
    before = path.read_bytes()
    other = tally_baseline(logs, options=Options(unit="session"))
    with pytest.raises(InputError, match=r"differently: unit of the groups: auto in the baseline, session now.*--repl"):
        update_baseline(other, path, reason="x")
    assert path.read_bytes() == before
    accepted = update_baseline(other, path, reason="x", force=True)
    assert accepted.difference is not None
    assert accepted.notes == ("Tallied differently: unit of the groups: auto in the baseline, session now.",)


def test_an_old_baseline_without_the_bands_of_today_is_replaced_without_a_comparison(tmp_path: Path) -> None:
    intake = tally_baseline([str(log(tmp_path / "a.jsonl"))])
    path = tmp_path / "baseline.parquet"
    old = replace(intake.usage, settings=replace(intake.usage.settings, edges=()))
    write_usage(old, path)
    with pytest.raises(InputError, match="context bands: none in the baseline"):
        update_baseline(intake, path, reason="x")
    accepted = update_baseline(intake, path, reason="x", force=True)
    assert accepted.difference is None
    assert "The old baseline cannot be priced beside this one" in accepted.notes[1]


def test_a_baseline_of_another_version_is_only_replaced_when_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = tally_baseline([str(log(tmp_path / "a.jsonl"))])
    path = tmp_path / "baseline.parquet"
    monkeypatch.setattr("routecost.schema.SCHEMA_VERSION", 1)
    write_usage(intake.usage, path, baseline={"reason": "long ago"})
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"schema version: 1 in the baseline, 2 now.*--replace"):
        update_baseline(intake, path, reason="x")
    accepted = update_baseline(intake, path, reason="x", force=True)
    assert accepted.difference is None
    assert "cannot be read any more (schema version: 1 in the baseline, 2 now)" in accepted.notes[0]
    assert read_baseline(path)[0].requests == 20


def test_what_is_no_usage_file_is_never_replaced(tmp_path: Path) -> None:
    path = log(tmp_path / "baseline")
    with pytest.raises(InputError, match="exists and is no usage file, so it is not replaced"):
        update_baseline(tally_baseline([str(path)]), path, reason="x", force=True)


# --- the command line -----------------------------------------------------------------------------------------------


def test_baselines_on_the_command_line(tmp_path: Path, cli: Run) -> None:
    rows = [line(request_id=f"r{i}", task=("code", "simple")[i % 2]) for i in range(20)]
    write(tmp_path / "old.jsonl", rows)
    write(tmp_path / "new.jsonl", [{**row, "output_tokens": 80} for row in rows])
    first = cli("baseline", "update", "old.jsonl", "--reason", "first", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "accepted 20 requests as the baseline.\nThere was none before" in first.stdout
    # 100 x $2.50 + 80 x $15 a million after 100 x $2.50 + 50 x $15
    second = cli(
        "baseline", "update", "new.jsonl", "--reason", "longer", "--by", "Ada", "--format", "json", cwd=tmp_path
    )
    found = json.loads(second.stdout)
    assert found["before"]["reason"] == "first"
    assert found["baseline"] == {
        "path": "baseline.parquet",
        "updated": "2026-11-02T12:00:00+00:00",
        "by": "Ada",
        "reason": "longer",
        "commit": None,
    }
    assert [row["task"] for row in found["difference"]["by_task"]] == ["code", "simple"]
    assert found["difference"]["priced_on"] == "2026-11-02"
    assert found["difference"]["total"]["increase"] == pytest.approx(0.00145 / 0.001 - 1)
    console = cli("baseline", "update", "old.jsonl", "--reason", "back | <b>", cwd=tmp_path)
    assert "longer" in console.stdout
    assert "-31.0%" in console.stdout
    shown = cli("baseline", "show", "--format", "markdown", cwd=tmp_path)
    assert "| accepted | 2026-11-02 12:00 UTC |" in shown.stdout
    assert "| reason | back \\| &lt;b> |" in shown.stdout
    # a baseline is a usage file like any other
    assert cli("analyze", "baseline.parquet", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["log.jsonl"], 2, "--reason"),
        (["log.jsonl", "--reason", ""], 2, "--reason is empty"),
        (["log.jsonl", "--reason", "x", "-o", "out.csv"], 2, "a baseline is Parquet; name it out.parquet"),
        (["empty.jsonl", "--reason", "x"], 3, "empty"),
        (["missing.jsonl", "--reason", "x"], 3, "missing.jsonl"),
        (["broken.jsonl", "--reason", "x"], 3, "were rejected"),
        (["log.jsonl", "--reason", "x", "-o", "notes.parquet"], 3, "no usage file, so it is not replaced"),
        (["log.jsonl", "--reason", "x", "--table", "nowhere.yaml"], 3, "nowhere.yaml"),
    ],
)
def test_what_the_command_line_refuses(arguments: list[str], code: int, said: str, tmp_path: Path, cli: Run) -> None:
    log(tmp_path / "log.jsonl")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "notes.parquet").write_text("notes")
    (tmp_path / "broken.jsonl").write_text(json.dumps(line()) + "\n" + "{not json\n" * 12)
    done = cli("baseline", "update", *arguments, cwd=tmp_path)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert not (tmp_path / "baseline.parquet").exists()
    assert (tmp_path / "notes.parquet").read_text() == "notes"


# --- the same input, the same bytes; and few of them ----------------------------------------------------------------


def mixed(n: int) -> list[dict[str, Any]]:
    return [
        line(
            request_id=f"r{i}",
            session_id=f"s{i % 37}",
            ts=f"2026-11-02T{i % 24:02d}:{i * 7 % 60:02d}:00Z",
            model=("gpt-5.4", "gpt-5.4-mini")[i % 2],
            task=("simple", "code", "reasoning")[i % 3],
            feature=f"f{i % 5}",
            input_tokens=100 + i * 31 % 997,
            latency_ms=10 + i % 113,
        )
        for i in range(n)
    ]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Run) -> None:
    rows = mixed(600)
    logs = [str(write(tmp_path / f"{n}.jsonl", rows[n::2])) for n in range(2)]
    seen = {}

    def made(name: str, paths: list[str], **options: Any) -> None:
        path = tmp_path / "made.parquet"
        path.unlink(missing_ok=True)
        update_baseline(tally_baseline(paths, options=Options(**options)), path, reason="x")
        seen[name] = path.read_bytes()

    made("usual", logs)
    made("files in another order", logs[::-1])
    made("one thread", logs, workers=1)
    monkeypatch.setattr("routecost.logs.records.CHUNK_BYTES", 3_000)
    made("small chunks", logs)
    made("small chunks, many threads", logs[::-1], workers=7)
    for threads in ("1", "5"):
        path = tmp_path / f"{threads}.parquet"
        done = cli(
            *("baseline", "update", *logs, "-o", path, "--reason", "x"),
            env={"POLARS_MAX_THREADS": threads},
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        seen[f"{threads} Polars threads"] = path.read_bytes()
    assert {name for name, content in seen.items() if content != seen["usual"]} == set()


def test_the_order_of_lines_is_nothing(tmp_path: Path) -> None:
    rows = mixed(300)
    seen = set()
    for order in (rows, rows[::-1], [*rows[150:], *rows[:150]]):
        path = tmp_path / "made.parquet"
        path.unlink(missing_ok=True)
        update_baseline(tally_baseline([str(write(tmp_path / "a.jsonl", order))]), path, reason="x")
        seen.add(path.read_bytes())
    assert len(seen) == 1


def test_a_day_of_100_000_requests_is_under_a_megabyte(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(root / "bench")
    bench = importlib.import_module("usage_size")
    usage = bench.usage_of(bench.requests(100_000))
    cells = usage.cells
    assert (usage.requests, cells["model"].n_unique(), cells["feature"].n_unique()) == (100_000, 4, 20)
    assert usage.groups["feature"].n_unique() == 20
    assert usage.groups["group"].n_unique() == 64
    write_usage(usage, tmp_path / "usage.parquet")
    found = bench.sizes(usage)
    assert found.file == (tmp_path / "usage.parquet").stat().st_size < 1_000_000
    # what is said of columns is most of the file, and nothing is counted twice
    assert 0.8 * found.file < found.columns["bytes"].sum() <= found.file
