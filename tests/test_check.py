"""`routecost check` and `diff`: rules, verdicts, exit codes, on logs whose change is known."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import Run
from routecost.errors import UsageError
from routecost.gate.result import Change
from routecost.gate.rules import Budget, Increase, Policy, parse_budget, parse_increase, parse_share
from routecost.pipeline import commands
from routecost.pipeline.checking import judge
from routecost.prices import read_prices

TASKS = ("simple", "code", "reasoning", "complex")
Log = Callable[..., Path]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """log(name, n=2000, seed=1, code=1.0, ...) -> a log whose answers to code are `code` times as long."""

    def write(name: str, n: int = 2000, seed: int = 1, code: float = 1.0, **more: object) -> Path:
        rng = np.random.default_rng(seed)
        path = tmp_path / f"{name}.jsonl"
        with path.open("w") as file:
            for i in range(n):
                task = TASKS[int(rng.choice(4, p=[0.5, 0.2, 0.2, 0.1]))]
                row = {
                    "request_id": f"{seed}-{i}",
                    "user_id": f"u{rng.integers(400)}",
                    "ts": f"2026-11-{1 + i % 20:02}T{i % 24:02}:00:00Z",
                    "model": "gpt-5.4",
                    "task": task,
                    "feature": ("search", "chat")[int(rng.integers(2))],
                    "input_tokens": int(rng.integers(800, 1200)),
                    "output_tokens": int(rng.integers(300, 500) * (code if task == "code" else 1)),
                    **more,
                }
                file.write(json.dumps(row) + "\n")
        return path

    return write


# --- rules as text ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("5%", Increase("all", None, 0.05, None)),
        ("$0.0002", Increase("all", None, None, 0.0002)),
        ("5% and $0.0002", Increase("all", None, 0.05, 0.0002)),
        ("task:code=10%", Increase("task", "code", 0.1, None)),
        ("feature:billing-*=8% and $0.001", Increase("feature", "billing-*", 0.08, 0.001)),
    ],
)
def test_a_limit_of_increase(text: str, rule: Increase) -> None:
    assert parse_increase(text) == rule
    assert parse_increase(str(rule)) == rule


@pytest.mark.parametrize("text", ["5", "five%", "-5%", "5% and 6%", "code=5%", "tsk:code=5%", "task:=5%", ""])
def test_a_limit_that_is_none_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="--max-increase: saw"):
        parse_increase(text)


def test_budgets_and_shares() -> None:
    assert parse_budget("--max-cost", "$0.004/request") == Budget(0.004, "request")
    assert parse_budget("--max-cost", "12,000/month") == Budget(12000, "month")
    assert parse_budget("--max-cost", "12k/month") == Budget(12000, "month")
    assert parse_share("--detect", "20%") == parse_share("--detect", "0.2") == 0.2
    for bad in ("12000", "12/moon", "x/day"):
        with pytest.raises(UsageError, match="--max-cost: saw"):
            parse_budget("--max-cost", bad)
    with pytest.raises(UsageError, match="--detect: saw"):
        parse_share("--detect", "120%")


# --- verdicts ---------------------------------------------------------------------------------------------------------


def change(increase: float | None, low: float | None, detectable: float | None) -> Change:
    usd = None if increase is None else 0.01 * (1 + increase)
    return Change(
        "all", None, 1000, 1000, 0.01, usd, increase, None if usd is None else usd - 0.01, low, 0.5, detectable, 0.05
    )


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (change(0.18, 0.09, 0.12), "fail"),
        # above the limit, but it may be chance
        (change(0.06, -0.01, 0.12), "pass"),
        # certainly dearer, and not by more than is allowed
        (change(0.04, 0.01, 0.05), "pass"),
        (change(0.05, 0.01, 0.05), "pass"),
        # certainly too dear is a failure, however little would be found
        (change(0.9, 0.2, 0.6), "fail"),
        (change(0.02, -0.3, 0.35), "undecided"),
        # too few to find an increase of 35 %, and certainly no dearer than allowed
        (replace(change(-0.3, -0.5, 0.35), high=0.04), "pass"),
        (change(0.02, None, None), "undecided"),
        (change(None, None, None), "undecided"),
        (change(-0.3, -0.4, 0.1), "pass"),
    ],
)
def test_a_verdict(measured: Change, verdict: str) -> None:
    assert judge(Increase("all", None, 0.05, None), None, measured, Policy()).verdict == verdict


def test_both_bars_must_be_passed() -> None:
    both = Increase("all", None, 0.05, 0.01)
    assert judge(both, None, change(0.18, 0.09, 0.12), Policy()).verdict == "pass"
    assert judge(Increase("all", None, 0.05, 0.001), None, change(0.18, 0.09, 0.12), Policy()).verdict == "fail"


# --- the command ------------------------------------------------------------------------------------------------------


def test_noise_passes_a_regression_fails_with_its_reason_and_an_improvement_passes(cli: Run, log: Log) -> None:
    base = log("base")
    for name, factor, code in (("noise", 1.0, 0), ("dear", 2.0, 1), ("better", 0.5, 0)):
        done = cli("check", log(name, seed=7, code=factor), "--baseline", base)
        assert done.returncode == code, done.stdout + done.stderr
        if code:
            assert "output tokens of `code` on openai/gpt-5.4 grew from" in done.stdout
        assert "Smallest increase that would be found" in done.stdout


def test_a_usage_file_and_its_log_give_the_same_check(cli: Run, log: Log, tmp_path: Path) -> None:
    base, current = log("base"), log("dear", seed=7, code=2.0)
    for name in (base, current):
        assert cli("tally", name, "--group-features", "-o", name.with_suffix(".parquet")).returncode == 0
    args = ("--no-pairs", "--format", "json")
    from_logs = json.loads(cli("check", current, "--baseline", base, *args).stdout)
    files = [p.with_suffix(".parquet") for p in (current, base)]
    from_files = json.loads(cli("check", files[0], "--baseline", files[1], *args).stdout)
    assert from_logs["changes"] == from_files["changes"]
    assert from_logs["verdict"] == from_files["verdict"] == "fail"


def test_the_decomposition_is_the_change(log: Log) -> None:
    result = commands.check([str(log("dear", n=1500, seed=7, code=2.0))], log("base"))
    base, current = result.sides["base"], result.sides["current"]
    assert result.why.total_usd == pytest.approx(current["cost_usd"] - base["cost_usd"], rel=1e-9)
    assert sum(p.usd for p in result.why.parts) == pytest.approx(result.why.total_usd, rel=1e-9)


def test_few_requests_decide_nothing(cli: Run, log: Log) -> None:
    base, few = log("base"), log("few", n=12, seed=3, user_id="only")
    done = cli("check", few, "--baseline", base)
    assert done.returncode == 4, done.stdout
    assert "UNDECIDED" in done.stdout
    assert cli("check", few, "--baseline", base, "--on-undecided", "pass").returncode == 0
    assert cli("check", few, "--baseline", base, "--on-undecided", "fail").returncode == 1


def test_prices_that_changed_do_not_fail_a_check(cli: Run, log: Log, tmp_path: Path) -> None:
    """The same traffic in October and in November, with a price that doubled in between."""
    overlay = tmp_path / "o.yaml"
    overlay.write_text(
        "name: o\nmodels:\n  openai/gpt-5.4:\n"
        "    prices: [{input: 1, output: 2}, {from: 2026-11-15, input: 2, output: 4}]\n"
    )
    base, later = log("base", ts="2026-11-01T00:00:00Z"), log("later", seed=7, ts="2026-11-20T00:00:00Z")
    args = ("--baseline", base, "--pricing", overlay, "--format", "json")
    frozen = json.loads(cli("check", later, *args).stdout)
    assert frozen["verdict"] == "pass"
    assert frozen["priced_on"] == "2026-11-01"
    live = json.loads(cli("check", later, *args, "--live-prices").stdout)
    assert live["verdict"] == "pass"
    # the price doubles, so that it adds as much as the current log costs at the old one
    assert live["why"]["live_prices"]["usd"] == pytest.approx(live["sides"]["current"]["cost_usd"], rel=1e-9)


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--max-cost", "$0.001/request"], 1, "budget $0.001"),
        (["--max-cost", "$0.1/request", "--max-increase", "50%"], 0, "budget $0.1"),
        (["--max-cost", "$100/month", "--requests", "50000/day"], 1, "cost a month"),
        (
            ["--max-increase-total", "$1/month", "--requests", "50000/day", "--max-increase", "50%"],
            1,
            "total at 50,000",
        ),
        (["--allow", "anthropic"], 1, "not on the allow list: openai/gpt-5.4"),
        (["--allow", "openai/*", "--max-increase", "50%"], 0, "only models of the allow list"),
        (["--max-increase", "task:simple=5%"], 0, "task simple"),
        (["--max-increase", "task:code=5%"], 1, "task code"),
        (["--max-increase", "task:*=5%"], 1, "task code"),
        (["--max-increase", "task:codde=5%"], 4, "nothing to compare"),
        (["--max-increase", "feature:search=5%"], 1, "feature search"),
        (["--table", "default", "--min-saving", "20%", "--max-increase", "50%"], 0, "default saves"),
        (["--table", "default", "--min-saving", "95%", "--max-increase", "50%"], 1, "default saves"),
        (["--table", "prism-v1.7-a", "--not-stale", "--max-increase", "50%"], 0, "is not stale"),
    ],
)
def test_each_rule(cli: Run, log: Log, args: list[str], code: int, said: str) -> None:
    done = cli("check", log("dear", seed=7, code=2.0), "--baseline", log("base"), *args)
    assert done.returncode == code, done.stdout + done.stderr
    assert " ".join(said.split()) in " ".join(done.stdout.replace("\n", " ").split())


def test_a_model_without_a_price(cli: Run, log: Log) -> None:
    base, strange = log("base"), log("strange", seed=7, model="acme-13b")
    done = cli("check", strange, "--baseline", base)
    assert done.returncode == 4
    assert "acme-13b" in done.stdout
    assert cli("check", strange, "--baseline", base, "--no-unpriced").returncode == 1


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--baseline", "nowhere.parquet"], 3, "baseline update"),
        (["--alpha", "2"], 2, "--alpha"),
        (["--max-cost", "$12000/month"], 2, "--requests"),
        (["--min-saving", "20%"], 2, "--table"),
        (["--config", "nowhere.toml"], 2, "there is no such file"),
        (["--max-increase", "lots"], 2, "--max-increase: saw 'lots'"),
    ],
)
def test_what_is_wrong_is_told(cli: Run, log: Log, args: list[str], code: int, said: str) -> None:
    base = log("base", n=50)
    given = args if "--baseline" in args else ["--baseline", str(base), *args]
    done = cli("check", base, *given)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stderr


def test_an_empty_log_and_one_that_is_none(cli: Run, log: Log, tmp_path: Path) -> None:
    base = log("base", n=50)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert cli("check", empty, "--baseline", base).returncode == 3
    assert cli("check", tmp_path / "none.jsonl", "--baseline", base).returncode in (2, 3)


def test_a_misspelt_key_is_an_error_with_the_nearest(cli: Run, log: Log, tmp_path: Path) -> None:
    base = log("base", n=50)
    (tmp_path / "routecost.toml").write_text('[check]\nmax-incraese = "5%"\n')
    done = cli("check", base, "--baseline", base, cwd=tmp_path)
    assert done.returncode == 2
    assert "max-increase" in done.stderr


def test_rules_from_the_file(cli: Run, log: Log, tmp_path: Path) -> None:
    base, dear = log("base"), log("dear", seed=7, code=2.0)
    (tmp_path / "ci.toml").write_text(f'[check]\nbaseline = "{base}"\nmax-increase = ["50%", "task:code=5%"]\n')
    done = cli("check", dear, "--config", tmp_path / "ci.toml", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "task code" in done.stdout
    (tmp_path / "routecost.toml").write_text((tmp_path / "ci.toml").read_text().replace("=5%", "=500%"))
    assert cli("check", dear, cwd=tmp_path).returncode == 0


def test_diff_has_no_verdict(cli: Run, log: Log) -> None:
    base, dear = log("base"), log("dear", seed=7, code=2.0)
    done = cli("diff", base, dear)
    assert done.returncode == 0
    assert "FAIL" not in done.stdout
    assert "grew from" in done.stdout
    body = json.loads(cli("diff", base, dear, "--format", "json").stdout)
    assert "verdict" not in body
    assert body["changes"][0]["increase"] > 0.05


def test_bounds_are_corrected_for_the_rules_that_are_tested(log: Log) -> None:
    base, current = log("base"), log("dear", seed=7)
    one = commands.check([str(current)], base)
    rules = tuple(parse_increase(text) for text in ("5%", "task:simple=5%", "task:code=5%", "task:complex=5%"))
    four = commands.check([str(current)], base, Policy(increases=rules))
    assert four.changes[0].alpha == pytest.approx(one.changes[0].alpha / 4)
    assert four.changes[0].low is not None
    assert one.changes[0].low is not None
    assert four.changes[0].low < one.changes[0].low


def test_the_book_stands_in_the_result(log: Log) -> None:
    result = commands.check([str(log("dear", n=200))], log("base", n=200))
    assert result.book_version == read_prices().version


def test_the_demonstration(cli: Run, root: Path, tmp_path: Path) -> None:
    """Noise passes, the regression fails for its reason, the improvement passes; the logs are those of the script."""
    demo = root / "examples" / "ci" / "demo"
    subprocess.run([sys.executable, demo / "make_logs.py", tmp_path], check=True)
    for made in tmp_path.glob("*.jsonl.gz"):
        assert gzip.decompress(made.read_bytes()) == gzip.decompress((demo / made.name).read_bytes())
    for branch, code in (("noise", 0), ("regression", 1), ("improvement", 0)):
        done = cli("check", f"{branch}.jsonl.gz", cwd=demo)
        assert done.returncode == code, done.stdout + done.stderr
        if branch == "regression":
            assert "output tokens of `code` on openai/gpt-5.4 grew from" in done.stdout
    assert cli("diff", "baseline.parquet", "regression.jsonl.gz", cwd=demo).returncode == 0


def test_the_baseline_of_the_demonstration_is_that_of_its_log(cli: Run, root: Path, tmp_path: Path) -> None:
    demo = root / "examples" / "ci" / "demo"
    new = tmp_path / "b.parquet"
    done = cli("baseline", "update", demo / "main.jsonl.gz", "-o", new, "--reason", "the same")
    assert done.returncode == 0, done.stderr
    body = json.loads(cli("diff", demo / "baseline.parquet", new, "--format", "json").stdout)
    assert body["why"]["total_usd"] == pytest.approx(0, abs=1e-12)


def test_a_replay_is_compared_request_by_request(cli: Run, tmp_path: Path) -> None:
    """The same prompts on both sides: an increase that would drown among different ones is found."""
    for name, factor in (("base", 1.0), ("now", 1.1)):
        rng = np.random.default_rng(5)
        with (tmp_path / f"{name}.jsonl").open("w") as file:
            for i in range(200):
                size, answer = rng.lognormal(7, 1), rng.lognormal(5, 1)
                row = {
                    "request_id": f"{name}-{i}",
                    "prompt": f"question {i}",
                    "user_id": f"u{i % 60}",
                    "model": "gpt-5.4",
                    "task": "simple",
                    "input_tokens": int(size),
                    "output_tokens": int(answer * factor),
                }
                file.write(json.dumps(row) + "\n")
    base, now = (str(tmp_path / f"{name}.jsonl") for name in ("base", "now"))
    apart = cli("check", now, "--baseline", base, "--no-pairs", "--max-increase", "2%")
    assert apart.returncode == 4, apart.stdout
    paired = cli("check", now, "--baseline", base, "--max-increase", "2%")
    assert paired.returncode == 1, paired.stdout
    assert "Paired requests: 200 by prompt." in paired.stdout
