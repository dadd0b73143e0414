"""The command line as a person meets it: what they try first, in a terminal and in a pipe."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from conftest import Run

COMMANDS = ("analyze", "simulate", "estimate", "tally", "prices", "routes")


def log(path: Path, requests: Iterable[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in requests), encoding="utf-8")
    return path


def request(n: int, **more: object) -> dict[str, object]:
    return {
        "request_id": f"r{n}",
        "user_id": f"u{n % 7}",
        "ts": f"2026-10-{1 + n % 28:02d}T12:00:00Z",
        "model": "gpt-5.4",
        "task": ("simple", "code", "reasoning", "complex")[n % 4],
        "feature": ("chat", "search")[n % 2],
        "input_tokens": 1000 + n,
        "output_tokens": 100,
        **more,
    }


@pytest.fixture
def month(tmp_path: Path) -> Path:
    return log(tmp_path / "month.jsonl", [request(n) for n in range(60)])


def test_without_arguments(cli: Run) -> None:
    done = cli()
    assert done.returncode == 2
    for command in COMMANDS:
        assert command in done.stdout + done.stderr


@pytest.mark.parametrize("command", [(), *((c,) for c in COMMANDS), ("prices", "show"), ("routes", "diff")])
def test_help(cli: Run, command: tuple[str, ...]) -> None:
    done = cli(*command, "--help")
    assert done.returncode == 0
    assert "Usage: routecost" in done.stdout


def test_help_imports_nothing_slow() -> None:
    code = (
        "import sys; from routecost.cli.app import app; app(['--help'], standalone_mode=False);"
        "slow = {'polars', 'numpy', 'sklearn', 'scipy', 'altair', 'genai_prices', 'pydantic'} & set(sys.modules);"
        "assert not slow, slow"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_version(cli: Run) -> None:
    assert cli("--version").stdout == "routecost 0.1.0\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("analyze", "--tabel", "x"), "--table"),
        (("analyse",), "analyze"),
        (("analyze", "{log}", "--mode", "turbo"), "it has eco, balanced, sport"),
        (("analyze", "{log}", "--since", "yesterday"), "'yesterday'"),
        (("analyze", "{log}", "--format", "xml"), "xml"),
        (("analyze", "{log}", "--requests", "many"), "50000/day"),
        (("analyze", "{log}", "--max-bad", "20"), "--max-bad"),
        (("simulate", "{log}", "--share", "2"), "0.1"),
        (("estimate", "--mix", "simple=50"), "sum to 50"),
        (("tally", "{log}", "-o", "out.csv"), "out.parquet"),
    ],
)
def test_a_wrong_command_line_is_exit_2(cli: Run, month: Path, arguments: tuple[str, ...], said: str) -> None:
    done = cli(*(a.format(log=month) for a in arguments), cwd=month.parent)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("analyze", "mont.jsonl"), "Did you mean month.jsonl?"),
        (("analyze", "{log}", "--table", "defualt"), "default"),
        (("analyze", "{log}", "--base-model", "gpt5.4"), "gpt-5.4"),
        (("estimate", "--model", "gpt5.4"), "gpt-5.4"),
        (("analyze", "{log}", "--pricing", "nosuch.yaml"), "nosuch.yaml"),
        (("analyze", "{log}", "--map", "nosuch.yaml"), "nosuch.yaml"),
    ],
)
def test_a_wrong_input_is_exit_3_and_named(cli: Run, month: Path, arguments: tuple[str, ...], said: str) -> None:
    done = cli(*(a.format(log=month) for a in arguments), cwd=month.parent)
    assert done.returncode == 3, done.stderr
    assert said in done.stderr
    assert not done.stdout


def test_a_table_with_an_unknown_model(cli: Run, month: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.yaml"
    table.write_text("name: t\nroutes: {simple: gpt-5.4-minni}\n")
    done = cli("analyze", month, "--table", table)
    assert done.returncode == 3
    assert "gpt-5.4-minni" in done.stderr
    assert "openai/gpt-5.4-mini" in done.stderr


def test_a_dearer_table_is_told_as_an_increase(cli: Run, tmp_path: Path) -> None:
    cheap = [request(n, model="gpt-5.4-mini", input_tokens=300 * (1 + n % 9) ** 2) for n in range(40)]
    done = cli("analyze", log(tmp_path / "l.jsonl", cheap), "--mode", "sport", "--requests", "40/day")
    money = r"\$(\d+\.\d+)"
    told = re.search(rf"costs {money} a day more \([\d.]+%\), 95% interval {money} to {money}", done.stdout)
    assert told is not None, done.stdout
    amount, low, high = map(float, told.groups())
    assert low < amount < high


def test_formats(cli: Run, month: Path, tmp_path: Path) -> None:
    as_json = json.loads(cli("analyze", month, "--format", "json", "--by", "feature").stdout)
    assert as_json["schema_version"] == 1
    assert as_json["input"]["requests"] == 60
    assert {row["feature"] for row in as_json["breakdowns"]["feature"]} == {"chat", "search"}

    rows = list(csv.DictReader(io.StringIO(cli("analyze", month, "--format", "csv").stdout)))
    assert sum(int(row["requests"]) for row in rows) == 60
    assert sum(float(row["today_usd"]) for row in rows) == pytest.approx(as_json["cost_usd"], rel=1e-12)

    markdown = cli("simulate", month, "--format", "markdown").stdout
    assert "## Scenarios" in markdown
    assert "| today |" in markdown

    out = tmp_path / "result.json"
    done = cli("analyze", month, "--format", "json", "-o", out)
    assert not done.stdout
    assert json.loads(out.read_text())["cost_usd"] == as_json["cost_usd"]
    assert cli("analyze", month, "-o", tmp_path / "no" / "where.txt").returncode == 3


def test_a_model_name_cannot_break_markdown(cli: Run, tmp_path: Path) -> None:
    file = log(tmp_path / "l.jsonl", [request(1, model="evil|</script>\nx"), request(2), request(3)])
    text = cli("analyze", file, "--format", "markdown").stdout
    assert "evil\\|&lt;/script> x" in text
    assert "</script>" not in text


def test_no_color_in_a_pipe_and_nothing_but_the_result(cli: Run, month: Path) -> None:
    done = cli("analyze", month)
    assert "\x1b" not in done.stdout
    assert not done.stderr


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
@pytest.mark.parametrize("no_color", [False, True])
def test_a_narrow_terminal_keeps_names_and_numbers_whole(month: Path, no_color: bool) -> None:
    environment = {**os.environ, "COLUMNS": "80", "LINES": "50", "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    if no_color:
        environment["NO_COLOR"] = "1"
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", "from routecost.cli import main; main()", "analyze", str(month)],
        stdout=theirs, stderr=subprocess.DEVNULL, env=environment,
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            shown += part
    os.close(ours)
    assert process.returncode == 0
    text = shown.decode()
    assert ("\x1b[" in text) is not no_color
    assert "…" not in text
    for word in ("reasoning", "gpt-5.4-mini", "Savings with default"):
        assert word in text


def test_head_closes_the_pipe(month: Path) -> None:
    command = (
        f'"{sys.executable}" -c "from routecost.cli import main; main()" analyze "{month}" --format json | head -n 1'
    )
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout == "{\n"
    assert not done.stderr
    assert done.returncode == 0


def test_paths_that_need_not_be_typed(cli: Run, month: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = cli("simulate", "--table", "default", cwd=empty)
    assert done.returncode == 2
    for way in ("logs.jsonl", "routecost.toml", "usage.parquet"):
        assert way in done.stderr

    here = tmp_path / "here"
    here.mkdir()
    log(here / "logs.jsonl", [request(n) for n in range(10)])
    assert "Read 10 requests" in cli("analyze", cwd=here).stdout
    assert cli("tally", month, cwd=here).returncode == 0
    assert "Read 60 requests" in cli("analyze", cwd=here).stdout
    log(here / "other.jsonl", [request(n) for n in range(5)])
    (here / "routecost.toml").write_text('logs = ["other.jsonl"]\n')
    assert "Read 5 requests" in cli("simulate", "--table", "default", cwd=here).stdout


def test_options_in_routecost_toml(cli: Run, month: Path) -> None:
    config = month.parent / "routecost.toml"
    config.write_text(
        'logs = "month.jsonl"\nmax-bad = 0.5\n[analyze]\nby = ["feature"]\nmode = "eco"\nformat = "json"\n'
    )
    told = json.loads(cli("analyze", cwd=month.parent).stdout)
    assert told["saving"]["mode"] == "eco"
    assert list(told["breakdowns"]) == ["feature"]
    typed = json.loads(cli("analyze", "--mode", "sport", cwd=month.parent).stdout)
    assert typed["saving"]["mode"] == "sport"

    config.write_text("[analyze]\nmdoe = 'eco'\n")
    done = cli("analyze", month, cwd=month.parent)
    assert done.returncode == 2
    assert "Did you mean mode" in done.stderr
    config.write_text("[analyse]\nmode = 'eco'\n")
    assert "Did you mean analyze" in cli("analyze", month, cwd=month.parent).stderr
    config.write_text("mode = \n")
    assert "not TOML" in cli("analyze", month, cwd=month.parent).stderr


def test_two_months_with_a_price_change_between(cli: Run, tmp_path: Path) -> None:
    overlay = tmp_path / "prices.yaml"
    overlay.write_text(
        "models:\n  acme/one:\n    prices:\n      - {from: 2026-01-01, input: 10, output: 0}\n"
        "      - {from: 2026-10-15, input: 1, output: 0}\n"
    )
    days = ["2026-09-30", "2026-10-14", "2026-10-15", "2026-11-02"]
    file = log(
        tmp_path / "l.jsonl",
        [
            request(n, ts=f"{d}T23:59:59Z", model="acme/one", input_tokens=100_000, output_tokens=0)
            for n, d in enumerate(days)
        ],
    )
    told = json.loads(cli("analyze", file, "--pricing", overlay, "--by", "month", "--format", "json").stdout)
    assert told["cost_usd"] == pytest.approx(1.0 + 1.0 + 0.1 + 0.1, rel=1e-12)
    by_month = {row["month"]: row["cost_usd"] for row in told["breakdowns"]["month"]}
    assert by_month == pytest.approx({"2026-09": 1.0, "2026-10": 1.1, "2026-11": 0.1})


def test_since_and_until_are_half_open(cli: Run, month: Path) -> None:
    told = json.loads(
        cli(
            "analyze", month, "--since", "2026-10-02", "--until", "2026-10-04", "--format", "json", "--by", "day"
        ).stdout
    )
    assert [row["day"] for row in told["breakdowns"]["day"]] == ["2026-10-02", "2026-10-03"]
    assert told["input"]["outside_period"] == 60 - told["input"]["requests"]
    none = cli("analyze", month, "--since", "2027-01-01")
    assert none.returncode == 3
    assert "60 are outside" in none.stderr


def test_without_timestamps_tokens_or_prompts(cli: Run, tmp_path: Path) -> None:
    bare = [{k: v for k, v in request(n).items() if k not in ("ts", "task", "user_id")} for n in range(20)]
    done = cli("analyze", log(tmp_path / "a.jsonl", bare))
    assert done.returncode == 0
    for said in ("without timestamps", "20 without a timestamp", "unclassified", "20 requests without a task type"):
        assert said in done.stdout
    assert "a month" not in done.stdout.split("Savings")[1].split("A rerouted")[0]

    tokenless = [{k: v for k, v in request(n).items() if "tokens" not in k} for n in range(20)]
    done = cli("analyze", log(tmp_path / "b.jsonl", tokenless))
    assert done.returncode == 4
    assert "Cost: unknown" in done.stdout
    assert "token counts" in done.stderr
    assert "--map" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(month: Path) -> None:
    command = f'"{sys.executable}" -c "from routecost.cli import main; main()" analyze "{month}" > /dev/full'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bug_is_one_message(month: Path) -> None:
    code = (
        "from routecost.pipeline import commands; import routecost.cli as c\n"
        "def broken(*a, **k): raise ZeroDivisionError('boom')\n"
        f"commands.analyze = broken\nimport sys; sys.argv = ['routecost', 'analyze', {str(month)!r}]\nc.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 70
    assert "a bug in routecost: ZeroDivisionError: boom" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_command_is_in_the_readme(root: Path) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"routecost {command}" in readme


def test_python_dash_m() -> None:
    done = subprocess.run([sys.executable, "-m", "routecost", "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout == "routecost 0.1.0\n"
