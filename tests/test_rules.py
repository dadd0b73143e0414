"""Rules that overlap, shadow one another, or never fire."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import Run
from routecost.tasks import Rule, covers

RULES = """
defaults: false
rules:
  - {task: code, feature: "editor-*"}
  - {task: simple, feature: "editor-*", max_input_tokens: 50}
  - {task: simple, pattern: "refund"}
  - {task: complex, pattern: "refund .* contract"}
  - {task: reasoning, pattern: "ref"}
  - {task: complex, pattern: "never said"}
"""
TABLE = """
name: t
default: gpt-5.4
overrides:
  - {pattern: "refund", model: gpt-5.4-mini}
  - {feature: "editor-*", model: codestral}
  - {feature: "nobody", model: codestral}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [("refund please", "shop"), ("refund the contract", "shop"), ("prefer tea", "shop"), ("x", "editor-a")]
    text = [
        json.dumps({"model": "gpt-5.4", "input_tokens": 100, "output_tokens": 1, "prompt": p, "feature": f})
        for p, f in rows
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(text))
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "t.yaml").write_text(TABLE)
    return tmp_path


def test_on_a_log_every_rule_is_counted(cli: Run, folder: Path) -> None:
    done = cli(
        "routes",
        "validate",
        "t.yaml",
        "--task-rules",
        "rules.yaml",
        "--log",
        "log.jsonl",
        "--format",
        "json",
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    rules, overrides = json.loads(done.stdout)["rules"]
    assert [(u["matches"], u["decides"]) for u in rules["uses"]] == [(1, 1), (0, 0), (2, 2), (1, 0), (3, 1), (0, 0)]
    said: dict[str, str] = {}
    for f in rules["findings"]:
        said[f["where"].split(" (")[0]] = said.get(f["where"].split(" (")[0], "") + f["message"]
    assert "rule 1 (feature editor-* -> code) comes first and holds whenever it does" in said["rule 2"]
    assert "it never decides: all of its 1 requests are taken" in said["rule 4"]
    assert "overlaps with rule 3 (pattern refund -> simple) on 2 of its 3 requests" in said["rule 5"]
    assert "it never fires: none of 4 requests meets it" in said["rule 6"]
    assert [(u["matches"], u["decides"]) for u in overrides["uses"]] == [(2, 2), (1, 1), (0, 0)]
    assert [f["where"] for f in overrides["findings"]] == ["override 3 (feature nobody)"]
    assert cli("routes", "validate", "t.yaml", "--log", "log.jsonl", cwd=folder).returncode == 0


def test_without_a_log_only_what_the_rules_say(cli: Run, folder: Path) -> None:
    done = cli("routes", "validate", "t.yaml", "--task-rules", "rules.yaml", "--format", "json", cwd=folder)
    (rules,) = json.loads(done.stdout)["rules"]
    assert rules["requests"] is None
    assert [f["where"].split(" (")[0] for f in rules["findings"]] == ["rule 2"]


@pytest.mark.parametrize(
    ("earlier", "later", "covered"),
    [
        ({"pattern": "a"}, {"pattern": "a"}, True),
        ({"pattern": "a"}, {"pattern": "a", "feature": "x"}, True),
        ({"pattern": "a", "feature": "x"}, {"pattern": "a"}, False),
        ({"pattern": "a"}, {"pattern": "ab"}, False),
        ({"min_input_tokens": 100}, {"min_input_tokens": 200}, True),
        ({"min_input_tokens": 200}, {"min_input_tokens": 100}, False),
        ({"max_prompt_chars": 200}, {"max_prompt_chars": 100}, True),
        ({"max_prompt_chars": 100}, {"max_prompt_chars": 200}, False),
        ({"max_prompt_chars": 100}, {"min_prompt_chars": 10}, False),
    ],
)
def test_one_rule_covers_another(earlier: dict[str, str | int], later: dict[str, str | int], covered: bool) -> None:
    one, two = (Rule.model_validate({"task": "code", **asked}) for asked in (earlier, later))
    assert covers(one, two) is covered


def test_a_rule_that_crashes_fails_open(monkeypatch: pytest.MonkeyPatch) -> None:
    import polars as pl

    from routecost import tasks

    rules = tasks.Rules((Rule(task="code", pattern="x"),))

    def crash(self: object) -> None:
        raise pl.exceptions.ComputeError("a rule")

    monkeypatch.setattr(tasks.Rules, "task", crash)
    found = tasks.classify(pl.DataFrame({"prompt": ["x", "y"], "task": ["simple", None]}), None, rules)
    assert found["task"].to_list() == ["simple", None]
