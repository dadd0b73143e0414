"""action.yml as a runner would run it: its own shell steps, the real routecost, and a `gh` that remembers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("bash") is None, reason="the steps are bash, on Linux and macOS"
)

MARKER = "<!-- routecost-check -->"

# `-m venv` makes a folder in which pip only writes down what it was asked for, and routecost is the one under test
PYTHON = r"""
import sys
from pathlib import Path

args = sys.argv[1:]
if args[:2] != ["-m", "venv"]:
    sys.exit(f"python was not to be called with {args}")
programs = Path(args[2]) / "bin"
programs.mkdir(parents=True)
pip = f'if [ "$2" = pip ]; then printf "%s\\n" "$@" > "{programs}/pip.txt"; exit; fi'
for name, body in {
    "python": f'{pip}\nexec "{sys.executable}" "$@"',
    "routecost": f'exec "{sys.executable}" -c "from routecost.cli import main; main()" "$@"',
}.items():
    (programs / name).write_text(f"#!/bin/sh\n{body}\n")
    (programs / name).chmod(0o755)
"""

# comments are a JSON file; what is asked for is found as GitHub would find it
GH = r"""
import json, os, sys
from pathlib import Path

args = sys.argv[1:]
state = Path(os.environ["GH_STATE"])
comments = json.loads(state.read_text())
options = dict(zip(args, args[1:]))
assert args[0] == "api" and os.environ["GH_TOKEN"] == "t0ken"
body = next((Path(a.removeprefix("body=@")).read_text() for a in args if a.startswith("body=@")), None)
if args[1] == "graphql":
    assert {"owner=octo", "name=app", "number=7"} <= set(args)
    marker = "<!-- routecost-check -->"
    print(*[c["id"] for c in comments if c["mine"] and c["body"].startswith(marker)], sep="\n")
elif os.environ.get("GH_READ_ONLY"):
    sys.exit("gh: Resource not accessible by integration (HTTP 403)")
elif options["-X"] == "POST":
    assert "repos/octo/app/issues/7/comments" in args
    comments.append({"id": 100 + len(comments), "mine": True, "body": body})
else:
    assert options["-X"] == "PATCH"
    (path,) = [a for a in args if a.startswith("repos/octo/app/issues/comments/")]
    next(c for c in comments if str(c["id"]) == path.rsplit("/", 1)[1])["body"] = body
state.write_text(json.dumps(comments))
"""


@dataclass
class Ran:
    """What a run of the action left behind. code: of the job. uploaded: what other actions were given."""

    code: int = 0
    log: str = ""
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    uploaded: dict[str, str] | None = None
    summary: str = ""
    pip: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Runner:
    """A workspace, its event, and the comments of pull request 7."""

    root: Path
    folder: Path
    pull_request: bool = True

    def comments(self) -> list[dict[str, Any]]:
        found = json.loads((self.folder / "comments.json").read_text())
        assert isinstance(found, list)
        return found

    def run(self, env: Mapping[str, str] | None = None, **inputs: str) -> Ran:
        action = yaml.safe_load((self.root / "action.yml").read_text(encoding="utf-8"))
        unknown = {name.replace("_", "-") for name in inputs} - set(action["inputs"])
        assert not unknown
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        context: dict[str, Any] = {
            "github": {
                "token": "t0ken",
                "action_path": str(self.root),
                "run_id": "42",
                "actor": "ada",
                "repository": "octo/app",
                "repository_owner": "octo",
                "event": {"pull_request": {"number": "7"}} if self.pull_request else {},
            },
            "steps": {"python": {"outputs": {"python-path": str(self.folder / "bin" / "python")}}},
        }
        context["inputs"] = {
            name: given.get(name, filled(str(about.get("default", "")), context))
            for name, about in action["inputs"].items()
        }
        ran = Ran()
        for step in action["runs"]["steps"]:
            if ran.code or not holds(step.get("if", ""), context):
                continue
            if "uses" in step:
                if step["uses"].startswith("actions/upload-artifact@"):
                    ran.uploaded = {k: filled(str(v), context) for k, v in step["with"].items()}
                continue
            assert step["shell"] == "bash"
            self._step(step, context, ran, env or {})
        for name, output in action["outputs"].items():
            ran.outputs.setdefault("action", {})[name] = filled(output["value"], context)
        pip = next(self.folder.glob("temp/routecost.*/venv/bin/pip.txt"), None)
        ran.pip = pip.read_text().splitlines() if pip else []
        return ran

    def _step(self, step: dict[str, Any], context: dict[str, Any], ran: Ran, env: Mapping[str, str]) -> None:
        script, output, summary = (self.folder / name for name in ("step.sh", "output", "summary"))
        script.write_text(step["run"], encoding="utf-8")
        output.write_text("")
        summary.write_text("")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.folder / "work" / filled(step.get("working-directory", "."), context),
            env={
                **os.environ,
                "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
                "RUNNER_TEMP": str(self.folder / "temp"),
                "GITHUB_OUTPUT": str(output),
                "GITHUB_STEP_SUMMARY": str(summary),
                "GH_STATE": str(self.folder / "comments.json"),
                **{k: filled(str(v), context) for k, v in step.get("env", {}).items()},
                **env,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        ran.code = done.returncode
        ran.log += done.stdout
        ran.summary += summary.read_text(encoding="utf-8")
        found = dict(line.split("=", 1) for line in output.read_text().splitlines())
        if "id" in step:
            context["steps"][step["id"]] = {"outputs": found}


def value(path: str, context: Mapping[str, Any]) -> str:
    """`steps.check.outputs.verdict`; what is not there is empty, as on GitHub."""
    if path.startswith("'"):
        return path.strip("'")
    found: Any = context
    for name in path.split("."):
        found = found.get(name, "") if isinstance(found, Mapping) else ""
    return str(found)


def filled(text: str, context: Mapping[str, Any]) -> str:
    return re.sub(r"\$\{\{\s*([\w.-]+)\s*\}\}", lambda found: value(found[1], context), text)


def holds(condition: str, context: Mapping[str, Any]) -> bool:
    """An `if:` of `a == 'b'`, `a != 'b'` and `a`, joined by `&&`."""
    inner = condition.removeprefix("${{").removesuffix("}}").strip()
    for term in filter(None, inner.split("&&")):
        left, operator, right = (*re.split(r"\s*(==|!=)\s*", term.strip()), "!=", "''")[:3]
        if (value(left, context) == value(right, context)) != (operator == "=="):
            return False
    return True


def log(path: Path, *, output: int = 200, feature: str = "review", n: int = 2_000) -> Path:
    """Requests of 400 users; every second one is code, and writes `output` tokens on average."""
    lines = [
        {
            "timestamp": f"2026-03-01T{i % 24:02d}:00:00Z",
            "request_id": f"{path.stem}-{i}",
            "provider": "openai",
            "model": "gpt-5.4",
            "task": ("code", "chat")[i % 2],
            "feature": feature,
            "user_id": f"u{i % 400}",
            "input_tokens": 300 + i * 7919 % 200,
            "output_tokens": (output if i % 2 == 0 else 200) + (i * 104_729 % 100 - 50),
        }
        for i in range(n)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory, cli: Any) -> Path:
    """A repository with a baseline, and logs of its branches."""
    folder = tmp_path_factory.mktemp("repository")
    log(folder / "main.jsonl")
    log(folder / "same.jsonl", output=201)
    log(folder / "dearer.jsonl", output=360)
    log(folder / "few.jsonl", n=6)
    log(folder / "names.jsonl", output=360, feature="x\n::error::owned\n::set-output name=verdict::pass")
    done = cli("baseline", "update", "main.jsonl", "--reason", "first", "--by", "ada", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def runner(root: Path, tmp_path: Path, logs: Path) -> Runner:
    for name in ("bin", "temp"):
        (tmp_path / name).mkdir()
    shutil.copytree(logs, tmp_path / "work")
    for name, text in (("python", PYTHON), ("gh", GH)):
        (tmp_path / "bin" / name).write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
        (tmp_path / "bin" / name).chmod(0o755)
    # a person wrote the marker, too: that comment is not to be touched
    (tmp_path / "comments.json").write_text(json.dumps([{"id": 1, "mine": False, "body": f"{MARKER} hello"}]))
    return Runner(root, tmp_path)


def obeyed(text: str) -> list[str]:
    """The workflow commands of a log that the runner obeys."""
    found, stopped = [], ""
    for line in text.splitlines():
        if stopped:
            stopped = "" if line.strip() == f"::{stopped}::" else stopped
        elif line.startswith("::stop-commands::"):
            stopped = line.removeprefix("::stop-commands::")
        elif line.strip().startswith("::"):
            found.append(line)
    assert not stopped
    return found


def test_the_same_traffic_passes(runner: Runner) -> None:
    ran = runner.run(current="same.jsonl")
    assert ran.code == 0, ran.log
    assert ran.outputs["action"]["verdict"] == "pass"
    assert ran.outputs["action"]["exit-code"] == "0"
    assert ran.summary.startswith("## ✅ Cost check: every rule holds\n")
    assert [line.split("::")[1] for line in obeyed(ran.log)] == ["notice title=routecost check%3A pass"]
    assert [c["body"].startswith(f"{MARKER}\n## ✅") for c in runner.comments()] == [False, True]


def test_a_regression_fails_after_all_has_been_told(runner: Runner) -> None:
    ran = runner.run(current="dearer.jsonl")
    assert ran.code == 1, ran.log
    assert ran.outputs["action"]["verdict"] == "fail"
    assert "output tokens of `code`" in ran.summary
    assert obeyed(ran.log)[0].startswith("::error title=routecost check%3A max_increase (fail)::")
    assert ran.uploaded is not None
    usage = Path(ran.outputs["action"]["usage"])
    assert usage.parent == Path(ran.uploaded["path"])
    # what was uploaded may become the baseline as it is
    shutil.copy(usage, runner.folder / "work" / "baseline.parquet")
    assert runner.run(current="dearer.jsonl").code == 0


def test_the_next_run_writes_over_its_own_comment_and_no_other(runner: Runner) -> None:
    runner.run(current="dearer.jsonl")
    runner.run(current="same.jsonl")
    first, second = runner.comments()
    assert first == {"id": 1, "mine": False, "body": f"{MARKER} hello"}
    assert second["body"].startswith(f"{MARKER}\n## ✅")


def test_a_fork_gets_no_comment_and_its_verdict_all_the_same(runner: Runner) -> None:
    ran = runner.run(current="dearer.jsonl", env={"GH_READ_ONLY": "1"})
    assert ran.code == 1
    assert ran.outputs["action"]["verdict"] == "fail"
    assert "::notice title=routecost check::No comment was written" in ran.log
    assert ran.summary.startswith("## ❌")
    assert len(runner.comments()) == 1


@pytest.mark.parametrize(("pull_request", "comment"), [(False, "true"), (True, "false")])
def test_no_comment_without_a_pull_request_or_a_wish(runner: Runner, pull_request: bool, comment: str) -> None:
    ran = Runner(runner.root, runner.folder, pull_request).run(current="same.jsonl", comment=comment)
    assert ran.code == 0, ran.log
    assert len(runner.comments()) == 1


def test_too_few_requests_are_undecided_and_may_be_let_through(runner: Runner) -> None:
    ran = runner.run(current="few.jsonl")
    assert (ran.code, ran.outputs["action"]["verdict"]) == (4, "undecided"), ran.log
    ran = runner.run(current="few.jsonl", args="--on-undecided=pass")
    assert (ran.code, ran.outputs["action"]["verdict"]) == (0, "undecided"), ran.log


@pytest.mark.parametrize(
    ("inputs", "code", "says"),
    [
        ({"baseline": "none.parquet"}, 3, "a file could not be read"),
        ({"current": "none.jsonl"}, 3, "a file could not be read"),
        ({"args": "--max-increese=5%"}, 2, "the rules or options are wrong"),
        ({"config": "none.toml"}, 2, "the rules or options are wrong"),
    ],
)
def test_what_cannot_be_compared_is_told_in_every_place(
    runner: Runner, inputs: dict[str, Any], code: int, says: str
) -> None:
    ran = runner.run(**{"current": "same.jsonl", **inputs})
    assert (ran.code, ran.outputs["action"]["verdict"]) == (code, "error"), ran.log
    assert obeyed(ran.log) == [
        f"::error title=routecost check::Nothing was compared: {says} (exit {code}). The log of this step says more."
    ]
    assert says in ran.summary
    assert says in runner.comments()[-1]["body"]


def test_arguments_are_lines_and_are_not_run(runner: Runner) -> None:
    (runner.folder / "work" / "a b.jsonl").write_bytes((runner.folder / "work" / "dearer.jsonl").read_bytes())
    (runner.folder / "work" / "rules.toml").write_text('[check]\nmax-increase = "99%"\n')
    ran = runner.run(
        current="a b.jsonl\n", args="--max-increase=50% and $0.5\n--no-unpriced\n", read_args="--unit=auto"
    )
    assert ran.code == 0, ran.log
    assert runner.run(current="a b.jsonl", config="rules.toml").code == 0
    ran = runner.run(current="$(touch owned).jsonl", args="`touch owned`\n$(touch owned)", version="$(touch owned)")
    assert ran.code == 3
    assert not list(runner.folder.rglob("owned"))


def test_names_in_a_log_command_nothing(runner: Runner) -> None:
    ran = runner.run(current="names.jsonl", args="--max-increase=feature:*=5%\n--max-increase=5%")
    assert ran.code in (1, 4), ran.log
    assert ran.outputs["action"]["verdict"] in ("fail", "undecided")
    assert all(re.match(r"::(error|warning|notice) title=routecost check", line) for line in obeyed(ran.log))


@pytest.mark.parametrize(("version", "last"), [("", None), ("routecost==0.1.0", "routecost==0.1.0")])
def test_what_is_installed(runner: Runner, version: str, last: str | None) -> None:
    ran = runner.run(current="same.jsonl", version=version, comment="false")
    assert ran.pip[-1] == (last or str(runner.root))


def test_paths_start_in_the_working_directory(runner: Runner) -> None:
    (runner.folder / "work").rename(runner.folder / "app")
    (runner.folder / "work").mkdir()
    (runner.folder / "app").rename(runner.folder / "work" / "app")
    assert runner.run(current="same.jsonl", working_directory="app").code == 0


# the file itself


def test_no_script_contains_an_expression(root: Path) -> None:
    action = yaml.safe_load((root / "action.yml").read_text(encoding="utf-8"))
    for step in action["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
        assert ("run" in step) == ("shell" in step)


def test_every_input_is_described_and_used(root: Path) -> None:
    text = (root / "action.yml").read_text(encoding="utf-8")
    action = yaml.safe_load(text)
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(action["inputs"])
    assert all(about["description"] for about in (*action["inputs"].values(), *action["outputs"].values()))
    ids = [step["id"] for step in action["runs"]["steps"] if "id" in step]
    assert set(re.findall(r"steps\.([\w-]+)", text)) == set(ids)


@pytest.mark.skipif(shutil.which("jq") is None, reason="gh brings its own jq")
def test_the_query_finds_ones_own_comment(root: Path) -> None:
    text = (root / "action.yml").read_text(encoding="utf-8")
    found = re.search(r'mine="(.*?)"\n {8}found', text, re.DOTALL)
    assert found
    query = found[1].replace('\\"$marker\\"', json.dumps(MARKER))
    nodes = [
        {"databaseId": 1, "body": f"{MARKER}\nx", "viewerDidAuthor": False},
        {"databaseId": 2, "body": f"> {MARKER}", "viewerDidAuthor": True},
        {"databaseId": 3, "body": f"{MARKER}\nx", "viewerDidAuthor": True},
    ]
    answer = {"data": {"repository": {"pullRequest": {"comments": {"nodes": nodes}}}}}
    done = subprocess.run(["jq", query], input=json.dumps(answer), capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3"]


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say(root: Path) -> None:
    action = yaml.safe_load((root / "action.yml").read_text(encoding="utf-8"))
    for step in action["runs"]["steps"]:
        if "run" in step:
            done = subprocess.run(
                ["shellcheck", "--shell=bash", "-"], input=step["run"], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout


# the examples


def test_the_example_workflow_gives_inputs_that_exist(root: Path) -> None:
    action = yaml.safe_load((root / "action.yml").read_text(encoding="utf-8"))
    workflow = yaml.safe_load((root / "examples" / "ci" / "github-workflow.yml").read_text(encoding="utf-8"))
    (step,) = [s for s in workflow["jobs"]["cost"]["steps"] if "routecost" in s.get("uses", "")]
    assert set(step["with"]) <= set(action["inputs"])
    required = {name for name, about in action["inputs"].items() if about.get("required")}
    assert required <= set(step["with"])


def test_the_commands_of_the_examples_run(root: Path, cli: Any, logs: Path, tmp_path: Path) -> None:
    """Every `routecost` line of the GitLab and pre-commit examples, on a log of the same traffic."""
    shutil.copytree(logs, tmp_path / "work")
    (tmp_path / "work" / "same.jsonl").rename(tmp_path / "work" / "requests.jsonl")
    gitlab = yaml.safe_load((root / "examples" / "ci" / "gitlab-ci.yml").read_text(encoding="utf-8"))
    hooks = yaml.safe_load((root / "examples" / "ci" / "pre-commit-config.yaml").read_text(encoding="utf-8"))
    lines = [line for line in gitlab["cost"]["script"] if line.startswith("routecost ")]
    lines += [hook["entry"] for repo in hooks["repos"] for hook in repo["hooks"]]
    assert len(lines) == 3
    for line in lines:
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line)]
        done = cli(*words[1:], cwd=tmp_path / "work")
        assert done.returncode == 0, (line, done.stderr)
    assert (tmp_path / "work" / "cost.xml").read_text(encoding="utf-8").startswith("<?xml")
