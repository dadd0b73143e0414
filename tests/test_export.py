"""Routing tables for other programs, and back."""

from __future__ import annotations

import ast
import csv
import importlib.util
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from routecost.cli.routes import app
from routecost.errors import InputError, UsageError
from routecost.export import from_litellm, from_python, rolled_back, to_csv, to_litellm, to_portkey, to_python
from routecost.export.providers import LITELLM, LITELLM_SETTINGS
from routecost.prices import ModelRef, read_prices
from routecost.routing import Table, read_table, to_yaml

TABLE = """\
name: mine
default: {eco: gpt-5.4-mini, balanced: gpt-5.4}
routes:
  simple: {eco: gpt-5.4-nano}
  code: {eco: codestral, balanced: claude-sonnet-4-6}
fallbacks:
  gpt-5.4: [claude-sonnet-4-6, gemini-3-pro-preview]
  claude-sonnet-4-6: gpt-5.4
  grok-4.3: gpt-5.4
overrides:
  - {pattern: "refund|invoice", model: gpt-5.4}
speculative: balanced
output_ratios: {gpt-5.4-nano: 1.2}
made:
  date: 2026-11-24
  reference: gpt-5.4
  evidence:
    simple: {eco: "as good as gpt-5.4 within 0.03\\n# n = 400"}
    default: {eco: never worse}
"""
LEFT = [
    "override 1 (pattern refund|invoice)",
    "speculative calls in balanced: one call is made, the fallback on failure",
    "fallbacks of grok-4.3, which no task goes to",
    "output_ratios: what the table costs, not where requests go",
]
BOOK = read_prices(())


def resolve(model: str) -> ModelRef | None:
    return BOOK.resolve(provider=None, model=model)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    path = tmp_path / "mine.yaml"
    path.write_text(TABLE)
    return replace(read_table(path), source=None)


def run(*args: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, (result.output, result.exception)
    return result.stderr


# --- litellm -------------------------------------------------------------------------------------------------------

# Apart from ours, because LiteLLM's own warnings would fail a test. Every deployment answers with its model's name,
# those of `failing` with an error of the server.
_ROUTER = """
import json, sys, yaml, litellm
answers = []
for asked in json.load(sys.stdin):
    config = yaml.safe_load(asked["config"])
    for one in config["model_list"]:
        called = one["litellm_params"]["model"]
        one["litellm_params"]["mock_response"] = "litellm.InternalServerError" if called in asked["failing"] else called
    router = litellm.Router(
        model_list=config["model_list"], num_retries=0, disable_cooldowns=True, **config["router_settings"]
    )
    said = {}
    for group in asked["groups"]:
        try:
            answer = router.completion(model=group, messages=[{"role": "user", "content": "hi"}])
            said[group] = answer.choices[0].message.content
        except litellm.InternalServerError:
            said[group] = "failed"
    answers.append(said)
    key = router.get_model_list(model_name="simple-eco")[0]["litellm_params"].get("api_key")
print(json.dumps([answers, key, [one.value for one in litellm.LlmProviders]]))
"""


def in_litellm(*asked: tuple[str, list[str], list[str]]) -> Any:
    """(config, the groups that are asked for, the models that fail) -> who answered, by group; the last key of
    simple-eco; the providers that LiteLLM knows."""
    if importlib.util.find_spec("litellm") is None:
        pytest.skip("litellm is not installed (pip install litellm)")
    done = subprocess.run(
        [sys.executable, "-c", _ROUTER],
        input=json.dumps([dict(zip(("config", "groups", "failing"), one, strict=True)) for one in asked]),
        capture_output=True,
        text=True,
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PATH": os.defpath, "OPENAI_API_KEY": "sk-env"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_litellm_routes_by_it_and_falls_back(table: Table) -> None:
    nano, mini, large = "openai/gpt-5.4-nano", "openai/gpt-5.4-mini", "openai/gpt-5.4"
    sonnet, gemini = "anthropic/claude-sonnet-4-6", "gemini/gemini-3-pro-preview"
    expected = {
        "simple-eco": nano,
        "simple-balanced": large,
        "simple": large,
        "code-eco": "mistral/codestral-latest",
        "code-balanced": sonnet,
        "default-eco": mini,
        "default": large,
        "claude-sonnet-4-6": sonnet,
    }
    text, groups = to_litellm(table, resolve).text, list(expected)
    shipped = [to_litellm(read_table(name), resolve).text for name in ("default", "prism-v1.7-a", "worked-example")]
    (all_well, one_fails, two_fail, *others), key, providers = in_litellm(
        (text, groups, []),
        (text, groups, [large, nano]),
        (text, ["default-balanced", "default", "code"], [large, sonnet]),
        *((each, ["simple-eco", "default"], []) for each in shipped),
    )
    assert all_well == expected
    falls_back = dict.fromkeys(("simple-balanced", "simple", "default"), sonnet)
    assert one_fails == expected | falls_back | {"simple-eco": "failed"}
    # what is fallen back to has no fallbacks of its own, as in a table
    assert two_fail == {"default-balanced": gemini, "default": gemini, "code": "failed"}
    for each, said in zip(shipped, others, strict=True):
        config = yaml.safe_load(each)
        called = {one["model_name"]: one["litellm_params"]["model"] for one in config["model_list"]}
        default = config["router_settings"]["model_group_alias"]["default"]
        assert said == {"simple-eco": called["simple-eco"], "default": called[default]}
    assert key == "sk-env"
    assert {*LITELLM.values(), "vertex_ai"} <= set(providers)


def test_litellm_config_says_why_and_what_is_left_out(table: Table) -> None:
    exported = to_litellm(table, resolve)
    assert list(exported.left_out) == LEFT
    for line in (*LEFT, "Recommended on 2026-11-24, measured against gpt-5.4"):
        assert line in exported.text
    lines = exported.text.splitlines()
    at = lines.index("  - model_name: simple-eco")
    assert lines[at - 1] == "  # as good as gpt-5.4 within 0.03 # n = 400"
    params = yaml.safe_load(exported.text)["model_list"][0]["litellm_params"]
    assert params == {"model": "openai/gpt-5.4-nano", "api_key": "os.environ/OPENAI_API_KEY"}


def test_what_routecost_wrote_for_litellm_is_read_back(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(to_litellm(table, resolve).text)
    back, left = from_litellm(path)
    assert left == ()
    assert (back.routes, back.default, back.default_mode) == (table.routes, table.default, table.default_mode)
    assert back.fallbacks == {m: o for m, o in table.fallbacks.items() if m != "grok-4.3"}
    # a deployment that somebody changed counts, not what we noted of it
    path.write_text(path.read_text().replace("model: openai/gpt-5.4-nano,", "model: xai/grok-4.3,"))
    assert from_litellm(path)[0].routes["simple"] == {"eco": "x-ai/grok-4.3"}


_KNOWN = st.sampled_from(["gpt-5.4", "gpt-5.4-mini", "claude-sonnet-4-6", "codestral", "gemini-2.5-flash", "o3"])
_MODES = ["eco", "balanced", "sport", "on", "a: b"]
_CELLS = st.dictionaries(st.sampled_from(_MODES), _KNOWN)


@given(
    st.dictionaries(
        st.sampled_from(["simple", "code", "null", "#1"]), st.dictionaries(st.sampled_from(_MODES), _KNOWN)
    ),
    st.dictionaries(st.sampled_from(_MODES), _KNOWN),
    st.dictionaries(_KNOWN, st.lists(_KNOWN, min_size=1, max_size=2, unique=True).map(tuple), max_size=3),
    st.sampled_from(_MODES),
)
@settings(max_examples=100, deadline=None)
def test_litellm_configs_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, routes: Any, default: Any, fallbacks: Any, mode: str
) -> None:
    routes = {task: row for task, row in routes.items() if row}
    table = Table(name="config", default_mode=mode, default=default or None, routes=routes, fallbacks=fallbacks)
    path = tmp_path_factory.getbasetemp() / "config.yaml"
    path.write_text(to_litellm(table, resolve).text)
    back, _ = from_litellm(path)
    named = {model for row in (default, *routes.values()) for model in row.values()}
    assert (back.routes, back.default) == (table.routes, table.default)
    assert back.fallbacks == {model: others for model, others in fallbacks.items() if model in named}
    if any(mode in row for row in (default, *routes.values())):
        assert back.default_mode == mode


def test_a_plain_litellm_config_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        """
model_list:
  - {model_name: simple, litellm_params: {model: gemini/gemini-2.5-flash}}
  - {model_name: code-eco, litellm_params: {model: mistral/codestral-latest}}
  - {model_name: code-eco, litellm_params: {model: groq/llama-3.3-70b-versatile}}
  - {model_name: smart, litellm_params: {model: gpt-5.4}}
litellm_settings:
  fallbacks: [{smart: [simple, xai/grok-4.3]}, {gone: [smart]}]
  context_window_fallbacks: [{smart: [simple]}]
"""
    )
    back, left = from_litellm(path)
    assert back.routes["code"] == {"eco": "mistral/codestral-latest"}
    assert set(back.routes["simple"].values()) == {"google/gemini-2.5-flash"}
    assert back.fallbacks == {"gpt-5.4": ("google/gemini-2.5-flash", "x-ai/grok-4.3")}
    assert left == (
        "groq/llama-3.3-70b-versatile, a further deployment of code-eco: a table has one model there",
        "fallbacks of gone, which is not in model_list",
        "context_window_fallbacks",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "no list `model_list`"),
        ("model_list: {a: b}", "no list `model_list`"),
        ("model_list: [{model_name: a}]", "entry 1 of model_list has no model_name, or no litellm_params.model"),
        ("model_list: []\nrouter_settings: 5", "router_settings is not a mapping"),
        ("model_list: []\nlitellm_settings: {fallbacks: [a]}", "fallbacks are not a list such as"),
        ("a: [", "is not YAML"),
        ("model_list: [{model_name: simple, litellm_params: {model: ' '}}]", "a name is empty or has space around it"),
    ],
)
def test_errors_of_litellm_configs(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        from_litellm(path)
    assert message in str(error.value)


def test_providers_are_not_guessed(tmp_path: Path) -> None:
    overlay = tmp_path / "prices.yaml"
    overlay.write_text("models:\n  my-vllm/llama:\n    prices: [{input: 0.1, output: 0.1}]\n")
    book = read_prices([overlay])
    table = Table(name="t", default={"eco": "my-vllm/llama", "balanced": "nobody"})
    with pytest.raises(InputError) as error:
        to_litellm(table, lambda model: book.resolve(None, model))
    assert "served by my-vllm, whose name at litellm is not known: say it with --provider my-vllm=" in str(error.value)
    assert "nobody is not in the price book" in str(error.value)
    table = Table(name="t", default={"balanced": "my-vllm/llama"})
    text = to_litellm(table, lambda model: book.resolve(None, model), names={"my-vllm": "hosted_vllm"}).text
    assert yaml.safe_load(text)["model_list"][0]["litellm_params"] == {"model": "hosted_vllm/llama"}


def test_every_provider_of_litellm_has_its_settings() -> None:
    assert {*LITELLM.values(), "vertex_ai"} == set(LITELLM_SETTINGS)


def test_names_that_would_be_shared_are_refused() -> None:
    table = Table(name="t", routes={"a": {"b-c": "gpt-5.4"}, "a-b": {"c": "gpt-5.4"}}, default={"balanced": "gpt-5.4"})
    for export in (to_litellm, to_portkey):
        with pytest.raises(InputError, match="a-b-c"):
            export(table, resolve)
    with pytest.raises(InputError, match="a task is called default"):
        to_csv(Table(name="t", routes={"default": {"eco": "gpt-5.4"}}))


# --- portkey -------------------------------------------------------------------------------------------------------


def portkey_target(config: dict[str, Any], metadata: dict[str, str]) -> dict[str, Any]:
    """The target that Portkey's gateway takes: the first condition that holds, else the default."""

    def holds(query: dict[str, Any]) -> bool:
        if "$and" in query:
            return all(holds(part) for part in query["$and"])
        return all(metadata.get(key.removeprefix("metadata.")) == test["$eq"] for key, test in query.items())

    strategy = config["strategy"]
    name = next((one["then"] for one in strategy["conditions"] if holds(one["query"])), strategy["default"])
    return next(target for target in config["targets"] if target["name"] == name)


def test_portkey_routes_by_metadata(table: Table) -> None:
    exported = to_portkey(table, resolve)
    assert list(exported.left_out) == LEFT
    config = json.loads(exported.text)
    assert config["strategy"]["mode"] == "conditional"
    expected = {
        ("simple", "eco"): "gpt-5.4-nano",
        ("simple", "balanced"): "gpt-5.4",
        ("simple", "unknown"): "gpt-5.4",
        ("simple", None): "gpt-5.4",
        ("code", "balanced"): "claude-sonnet-4-6",
        ("code", None): "claude-sonnet-4-6",
        (None, "eco"): "gpt-5.4-mini",
        ("other", "eco"): "gpt-5.4-mini",
        (None, None): "gpt-5.4",
    }
    for (task, mode), model in expected.items():
        metadata = {key: value for key, value in (("task", task), ("mode", mode)) if value}
        target = portkey_target(config, metadata)
        first = target["targets"][0] if "targets" in target else target
        assert first["override_params"] == {"model": model}, (task, mode)
    assert portkey_target(config, {}) == {
        "name": "default-balanced",
        "strategy": {"mode": "fallback"},
        "targets": [
            {"provider": "@openai", "override_params": {"model": "gpt-5.4"}},
            {"provider": "@anthropic", "override_params": {"model": "claude-sonnet-4-6"}},
            {"provider": "@google", "override_params": {"model": "gemini-3-pro-preview"}},
        ],
    }
    assert config["routecost"]["evidence"] == {
        "simple-eco": "as good as gpt-5.4 within 0.03\n# n = 400",
        "default-eco": "never worse",
    }
    assert all(any(line in about for about in config["routecost"]["about"]) for line in LEFT)


def test_portkey_slugs_and_the_default_it_must_have(table: Table) -> None:
    text = to_portkey(table, resolve, names={"openai": "openai-prod"}).text
    assert '"@openai-prod"' in text
    assert '"@openai"' not in text
    with pytest.raises(InputError, match="has no default in balanced mode"):
        to_portkey(replace(table, default={"eco": "gpt-5.4"}), resolve)


# --- python and csv ------------------------------------------------------------------------------------------------


def ran(text: str) -> dict[str, Any]:
    tree = ast.parse(text)
    assert not any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(tree))
    names: dict[str, Any] = {}
    exec(compile(tree, "routing_table.py", "exec"), names)
    return names


def test_python(table: Table) -> None:
    exported = to_python(table)
    module = ran(exported.text)
    assert module["ROUTING_TABLE"] == table.routes
    assert (module["DEFAULT"], module["DEFAULT_MODE"]) == (table.default, "balanced")
    assert module["FALLBACKS"] == {model: list(others) for model, others in table.fallbacks.items()}
    assert list(exported.left_out) == [line for line in LEFT if not line.startswith("fallbacks")]
    assert all(f"# Not in this file: {line}." in exported.text for line in exported.left_out)
    assert "        # as good as gpt-5.4 within 0.03 # n = 400\n        'eco': 'gpt-5.4-nano',\n" in exported.text


_NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6).map(str.strip)
_NAMES = _NAME.filter(lambda name: bool(name) and "*" not in name and name != "default")
_ROW = st.dictionaries(_NAMES, _NAMES, min_size=1, max_size=3)


@given(st.dictionaries(_NAMES, _ROW, max_size=3), st.none() | _ROW, _NAMES)
@settings(max_examples=100, deadline=None)
def test_python_is_read_back(tmp_path_factory: pytest.TempPathFactory, routes: Any, default: Any, name: str) -> None:
    table = Table(name=name, routes=routes, default=default, default_mode=name, description=name)
    path = tmp_path_factory.getbasetemp() / "routing_table.py"
    path.write_bytes(to_python(table).text.encode())
    back = from_python(path)
    assert replace(back, source=None, description=name) == table


def test_a_router_in_python_is_read_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "router.py"
    path.write_text(
        """
import os, nowhere
from enum import Enum
SMALL = "gpt-5.4-nano"
KEY = os.environ["KEY"]
class TaskType(str, Enum):
    SIMPLE = "simple"
    CODE = "code"
COMMON = {"eco": SMALL}
open("ran", "w")
ROUTING_TABLE: dict = {
    TaskType.SIMPLE: {**COMMON, "balanced": SMALL},
    TaskType.CODE.value: {"eco": "codestral", "balanced": "codestral"},
}
FALLBACKS = {SMALL: ("gemini-2.5-flash",)}
"""
    )
    table = from_python(path)
    assert table.routes == {
        "simple": {"eco": "gpt-5.4-nano", "balanced": "gpt-5.4-nano"},
        "code": {"eco": "codestral", "balanced": "codestral"},
    }
    assert table.fallbacks == {"gpt-5.4-nano": ("gemini-2.5-flash",)}
    assert (table.name, table.default) == ("router", None)
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "has no ROUTING_TABLE ="),
        ("ROUTING_TABLE = load()", "line 1: ROUTING_TABLE has 'load()', which is only known when the module runs"),
        ("ROUTING_TABLE = {'a': {'eco': B}}", "line 1: ROUTING_TABLE has 'B'"),
        ("B = 'x'\nB = f()\nROUTING_TABLE = {'a': {'eco': B}}", "line 3: ROUTING_TABLE has 'B'"),
        ("ROUTING_TABLE = {'a': {'eco': 5}}", "routes.a.eco: expected a name, found 5"),
        ("ROUTING_TABLE = {(1,): 'a'}", "line 1: ROUTING_TABLE has '(1,)'"),
        ("ROUTING_TABLE = [1]", "routes: expected a mapping, found a list"),
        ("def (", "line 1 is not Python"),
        ("ROUTING_TABLE = \0", "is not Python"),
        ("ROUTING_TABLE = " + "[" * 5000, "is not Python"),
    ],
)
def test_errors_of_python_modules(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "router.py"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        from_python(path)
    assert message in str(error.value)


def test_csv(table: Table) -> None:
    exported = to_csv(table)
    lines = exported.text.splitlines(keepends=True)
    assert [line.rstrip("\n") for line in lines[: len(LEFT)]] == [f"# Not in this file: {line}." for line in LEFT]
    rows = list(csv.DictReader(io.StringIO("".join(lines[len(LEFT) :]))))
    assert rows[0] == {
        "task": "simple",
        "mode": "eco",
        "model": "gpt-5.4-nano",
        "fallbacks": "",
        "evidence": "as good as gpt-5.4 within 0.03\n# n = 400",
    }
    assert [(row["task"], row["mode"], row["model"], row["fallbacks"]) for row in rows[1:]] == [
        ("simple", "balanced", "gpt-5.4", "claude-sonnet-4-6; gemini-3-pro-preview"),
        ("code", "eco", "codestral", ""),
        ("code", "balanced", "claude-sonnet-4-6", "gpt-5.4"),
        ("default", "eco", "gpt-5.4-mini", ""),
        ("default", "balanced", "gpt-5.4", "claude-sonnet-4-6; gemini-3-pro-preview"),
    ]
    unrouted = to_csv(Table(name="t", routes={"code": {"eco": "codestral"}, "simple": {"balanced": "gpt-5.4"}}))
    assert "code in balanced: the table leaves such requests on the model they ask for" in unrouted.left_out


# --- the way back, and the commands --------------------------------------------------------------------------------


def test_a_rollback_has_the_same_shape(table: Table) -> None:
    back = rolled_back(table, "gpt-5.4")
    assert back.routes == {task: {"eco": "gpt-5.4", "balanced": "gpt-5.4"} for task in ("simple", "code")}
    assert back.default == {"eco": "gpt-5.4", "balanced": "gpt-5.4"}
    assert back.fallbacks == {"gpt-5.4": table.fallbacks["gpt-5.4"]}
    groups = [[one["name"] for one in json.loads(to_portkey(each, resolve).text)["targets"]] for each in (table, back)]
    assert groups[1] == groups[0]
    before = Table(name="old", default_mode="sport", default={"sport": "o3"}, routes={"code": {"eco": "o4-mini"}})
    back = rolled_back(table, before)
    # balanced is no mode of the old table, which routes it in sport
    assert (back.default, back.routes) == ({"balanced": "o3"}, {"code": {"eco": "o4-mini"}})


@pytest.mark.parametrize(
    ("to", "name"), [("litellm", "out.yaml"), ("portkey", "out.json"), ("python", "out.py"), ("csv", "out.csv")]
)
def test_export_writes_the_way_back_beside_it(to: str, name: str, tmp_path: Path) -> None:
    path, output = tmp_path / "mine.yaml", tmp_path / name
    path.write_text(TABLE)
    said = run("export", path, "--to", to, "-o", output)
    assert f"Not in {output}: override 1 (pattern refund|invoice)" in said
    assert f"Wrote {output}" in said
    beside = tmp_path / name.replace("out.", "out.rollback.")
    assert f"Wrote {beside}" in said
    assert "gpt-5.4-nano" in output.read_text()
    assert "gpt-5.4-nano" not in beside.read_text()
    run("export", path, "--to", to, "-o", output, "--rollback-to", "o3")
    assert "o3" in beside.read_text()
    old = tmp_path / "old.yaml"
    old.write_text("default: o4-mini")
    run("export", path, "--to", to, "-o", output, "--rollback-to", old)
    assert "o4-mini" in beside.read_text()


def test_export_says_when_there_is_no_way_back(tmp_path: Path) -> None:
    said = run("export", "default", "--to", "python", "-o", tmp_path / "out.py")
    assert "No rollback file: the table does not say what it was measured against" in said
    assert [path.name for path in tmp_path.iterdir()] == ["out.py"]


def test_export_errors_leave_nothing_behind(tmp_path: Path) -> None:
    output = tmp_path / "out.yaml"
    for args, kind, message in (
        (("--rollback-to", "nobody"), InputError, "nobody is not in the price book"),
        (("--rollback-to", "gone.yaml"), InputError, "no routing table gone.yaml"),
        (("--provider", "openai"), UsageError, "--provider openai is not OURS=THEIRS"),
    ):
        result = CliRunner().invoke(app, ["export", "default", "--to", "litellm", "-o", str(output), *args])
        assert isinstance(result.exception, kind)
        assert message in str(result.exception)
        assert list(tmp_path.iterdir()) == []


def test_import_writes_a_table(tmp_path: Path) -> None:
    source, output = tmp_path / "mine.yaml", tmp_path / "routes.yaml"
    source.write_text(TABLE)
    table = read_table(source)
    for kind, name in (("python", "out.py"), ("litellm", "out.yaml")):
        run("export", source, "--to", kind, "-o", tmp_path / name)
        run("import", tmp_path / name, "--from", kind, "-o", output)
        back = read_table(output)
        assert (back.routes, back.default) == (table.routes, table.default)
    plain = tmp_path / "plain.yaml"
    plain.write_text("model_list: [{model_name: smart, litellm_params: {model: gpt-5.4}}]")
    said = run("import", plain, "--from", "litellm", "-o", output)
    assert f"Not in {output}: any route: no group is called TASK-MODE" in said
    assert "# Not in this table: any route" in output.read_text()
    assert read_table(output).is_empty


def test_the_program_knows_both_commands(cli: Any, tmp_path: Path) -> None:
    output = tmp_path / "out.yaml"
    done = cli("routes", "export", "default", "--to", "litellm", "-o", output, "--rollback-to", "gpt-5.4")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    done = cli("routes", "import", output, "--from", "litellm", "-o", tmp_path / "routes.yaml")
    assert done.returncode == 0, done.stderr
    back = replace(read_table(tmp_path / "routes.yaml"), name="default", description=None, source=None)
    shipped = read_table("default")
    assert back.routes == shipped.routes
    assert (
        to_yaml(back).splitlines()[2:]
        == to_yaml(
            replace(shipped, description=None, classifier_cost_per_request_usd=0.0, classifier_latency_ms=None)
        ).splitlines()[2:]
    )
