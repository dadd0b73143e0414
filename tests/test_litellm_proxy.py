"""The hook in LiteLLM's own proxy, on loopback, before an upstream of ours."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from routecost import tasks
from routecost.errors import RoutecostError
from routecost.logs import fields
from routecost.pipeline import labelling
from routecost.router import Router
from routecost.routing import Override, Table, read_table, route
from routecost.schema import REQUEST

# What the proxy imports as it starts, beside LiteLLM itself. Its extra `proxy` names more, and a Polars too old for us.
NEEDED: Final = (
    *("litellm", "fastapi", "uvicorn", "multipart", "apscheduler", "backoff", "websockets", "jwt", "cryptography"),
    *("redis", "semver", "expression", "fastapi_sso", "mcp", "soundfile", "orjson", "uvloop"),
)
MISSING: Final = [name for name in NEEDED if importlib.util.find_spec(name) is None]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"LiteLLM's proxy cannot start without {', '.join(MISSING)}")

# LiteLLM asks the network for prices when it is imported without this
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

TABLE: Final = """
name: proxy
default_mode: balanced
default: big
routes:
  simple: {eco: tiny, balanced: small, sport: big}
  code: {eco: not-served, balanced: broken, sport: big}
  exported: {eco: not-served, balanced: lost}
overrides:
  - {feature: "keep-*", keep: true}
  - {feature: vip, model: coder}
  - {min_input_tokens: 5000, model: long}
fallbacks: {broken: [not-served-either, coder], not-served: [coder]}
"""
MODELS: Final = ("big", "small", "tiny", "broken", "coder", "long", "auto", "named", "exported-eco")
RECORD: Final = """
import json, os
from litellm.integrations.custom_logger import CustomLogger

class Record(CustomLogger):
    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        with open(os.environ["RECORDED"], "a") as file:
            file.write(json.dumps(kwargs["standard_logging_object"], default=str) + "\\n")

record = Record()
"""
SIMPLE: Final = "Who was Ada Lovelace?"
CODE: Final = "Write a Python function that reverses a list"


@dataclass
class Proxy:
    """The running proxy. asked: the models that the upstream was asked for; recorded: what LiteLLM logged."""

    url: str
    key: str
    asked: list[str]
    log: Path
    output: Path
    bodies: list[dict[str, Any]] = field(default_factory=list)
    # of the last answer
    headers: dict[str, str] = field(default_factory=dict)

    def post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        self.asked.clear()
        self.bodies.clear()
        request = urllib.request.Request(
            f"{self.url}{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                self.headers = {name.lower(): value for name, value in answer.headers.items()}
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def chat(self, prompt: str, model: str = "auto", headers: Mapping[str, str] | None = None, **body: Any) -> str:
        """The model that answered."""
        code, text = self.post(
            "/v1/chat/completions",
            {"model": model, "messages": [{"role": "user", "content": prompt}], **body},
            headers,
        )
        assert code == 200, text
        assert "42" in text
        return self.asked[-1]

    def logged(self, n: int) -> list[dict[str, Any]]:
        """The last n requests of LiteLLM's log, which is written after the answer."""
        for _ in range(100):
            lines = self.log.read_text().splitlines() if self.log.exists() else []
            if len(lines) >= n:
                return [json.loads(line) for line in lines[-n:]]
            time.sleep(0.1)
        raise AssertionError(f"{len(lines)} of {n} requests were logged")


def upstream(asked: list[str], bodies: list[dict[str, Any]]) -> ThreadingHTTPServer:
    """An OpenAI that says 42, and fails for the model `broken`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body["model"])
            bodies.append(body)
            usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
            base = {"id": f"c{len(asked)}-{time.time_ns()}", "created": 1, "model": body["model"]}
            if body["model"] == "broken":
                self.answer(503, json.dumps({"error": {"message": "down", "type": "server_error"}}))
            elif self.path.endswith("/embeddings"):
                data = [{"object": "embedding", "index": 0, "embedding": [0.42]}]
                self.answer(200, json.dumps({"object": "list", "data": data, "model": body["model"], "usage": usage}))
            elif body.get("stream"):
                part = {**base, "object": "chat.completion.chunk"}
                deltas: list[tuple[dict[str, str], str | None]] = [
                    ({"role": "assistant", "content": "4"}, None),
                    ({"content": "2"}, None),
                    ({}, "stop"),
                ]
                lines = [
                    json.dumps({**part, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]})
                    for delta, end in deltas
                ]
                text = "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"])
                self.answer(200, text, "text/event-stream")
            else:
                message = {"role": "assistant", "content": "42"}
                choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
                self.answer(200, json.dumps({**base, "object": "chat.completion", "choices": choices, "usage": usage}))

        def answer(self, code: int, text: str, kind: str = "application/json") -> None:
            data = text.encode()
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("proxy")
    asked: list[str] = []
    bodies: list[dict[str, Any]] = []
    server = upstream(asked, bodies)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    there = f"http://127.0.0.1:{server.server_address[1]}/v1"
    models = [
        {"model_name": m, "litellm_params": {"model": f"openai/{m}", "api_base": there, "api_key": "none"}}
        for m in MODELS
    ]
    config = {
        "model_list": models,
        "router_settings": {"num_retries": 0},
        "litellm_settings": {
            "callbacks": ["routecost.integrations.litellm.handler", "record.record"],
            "num_retries": 0,
        },
    }
    # JSON is YAML
    (folder / "config.yaml").write_text(json.dumps(config))
    (folder / "record.py").write_text(RECORD)
    (folder / "routes.yaml").write_text(TABLE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    key = f"sk-{secrets.token_hex(24)}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        "ROUTECOST_TABLE": str(folder / "routes.yaml"),
        "RECORDED": str(folder / "log.jsonl"),
        "LITELLM_MASTER_KEY": key,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "INFO",
    }
    command = [sys.executable, "-c", "from litellm import run_server; run_server()"]
    command += ["--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process, folder / "output.txt")
        yield Proxy(url, key, asked, folder / "log.jsonl", folder / "output.txt", bodies)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        server.shutdown()
        server.server_close()


def _wait(url: str, process: subprocess.Popen[bytes], output: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/health/liveliness", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the proxy did not start:\n{output.read_text()[-3_000:]}")


def test_the_table_decides(proxy: Proxy) -> None:
    assert proxy.chat(SIMPLE) == "small"
    assert proxy.chat(SIMPLE, headers={"X-Routecost-Mode": "eco"}) == "tiny"
    assert proxy.chat(SIMPLE, metadata={"mode": "sport"}) == "big"
    assert proxy.chat(SIMPLE, headers={"x-routecost-mode": "turbo"}) == "small"
    # the upstream sees neither our metadata nor our fallbacks
    assert not {"metadata", "fallbacks"} & proxy.bodies[-1].keys()


def test_a_model_that_the_caller_named_is_left_alone(proxy: Proxy) -> None:
    assert proxy.chat(SIMPLE, "named") == "named"


def test_what_the_table_leaves_is_the_triggers_own(proxy: Proxy) -> None:
    assert proxy.chat(SIMPLE, metadata={"feature": "keep-me"}) == "auto"


def test_a_long_request(proxy: Proxy) -> None:
    assert proxy.chat("a word " * 4_000) == "long"


def test_a_feature_comes_from_metadata_from_a_tag_or_from_a_header(proxy: Proxy) -> None:
    assert proxy.chat(SIMPLE, metadata={"feature": "vip"}) == "coder"
    assert proxy.chat(SIMPLE, metadata={"tags": ["vip"]}) == "coder"
    assert proxy.chat(SIMPLE, headers={"X-Routecost-Feature": "vip"}) == "coder"


def test_metadata_is_believed_before_headers_as_the_log_has_it(proxy: Proxy) -> None:
    assert proxy.chat(SIMPLE, metadata={"mode": "sport"}, headers={"x-routecost-mode": "eco"}) == "big"
    assert proxy.chat(SIMPLE, metadata={"feature": "chat"}, headers={"x-routecost-feature": "vip"}) == "small"


def test_the_answer_tells_the_decision(proxy: Proxy) -> None:
    proxy.chat(SIMPLE, headers={"x-routecost-mode": "eco"})
    told = {name.removeprefix("x-routecost-"): v for name, v in proxy.headers.items() if name.startswith("x-routecost")}
    assert told == {"model": "tiny", "task": "simple", "mode": "eco", "reason": "route"}
    proxy.chat(SIMPLE, "named")
    assert "x-routecost-model" not in proxy.headers


def test_the_groups_of_an_exported_config_are_found(proxy: Proxy) -> None:
    """`routes export --to litellm` names a group by task and mode, where the model has no name of its own."""
    assert proxy.chat(SIMPLE, metadata={"task": "exported", "mode": "eco"}) == "exported-eco"


def test_where_the_proxy_has_none_of_the_models_it_names_the_tables(proxy: Proxy) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": SIMPLE}], "metadata": {"task": "exported"}}
    code, text = proxy.post("/v1/chat/completions", body)
    assert (code, "lost" in text, proxy.asked) == (400, True, [])


def test_a_label_of_the_caller(proxy: Proxy) -> None:
    assert proxy.chat(SIMPLE, metadata={"task": "poetry"}) == "big"


def test_a_pin_in_metadata_does_not_get_round_the_key(proxy: Proxy) -> None:
    assert proxy.chat(SIMPLE, metadata={"model_override": "gpt-5.4"}) == "small"


def test_a_model_that_fails_has_the_fallbacks_of_the_table(proxy: Proxy) -> None:
    assert proxy.chat(CODE) == "coder"
    assert proxy.asked == ["broken", "coder"]
    # what the caller says of fallbacks holds
    assert proxy.chat(CODE, fallbacks=["tiny"]) == "tiny"


def test_a_model_that_the_proxy_does_not_have(proxy: Proxy) -> None:
    assert proxy.chat(CODE, headers={"x-routecost-mode": "eco"}) == "coder"
    assert proxy.asked == ["coder"]


def test_a_stream_is_routed_and_passes_through(proxy: Proxy) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": SIMPLE}], "stream": True}
    code, text = proxy.post("/v1/chat/completions", body)
    parts = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    said = "".join(part["choices"][0]["delta"].get("content") or "" for part in parts if part["choices"])
    assert (code, proxy.asked, said) == (200, ["small"], "42")
    assert text.rstrip().endswith("data: [DONE]")


def test_messages_of_parts(proxy: Proxy) -> None:
    content = [{"type": "text", "text": SIMPLE}, {"type": "image_url", "image_url": {"url": "https://x.invalid/y.png"}}]
    code, _ = proxy.post("/v1/chat/completions", {"model": "auto", "messages": [{"role": "user", "content": content}]})
    assert (code, proxy.asked) == (200, ["small"])


def test_other_calls_are_left_alone(proxy: Proxy) -> None:
    code, text = proxy.post("/v1/embeddings", {"model": "auto", "input": SIMPLE})
    assert (code, proxy.asked) == (200, ["auto"]), text


def test_the_log_knows_task_mode_and_decision(proxy: Proxy) -> None:
    """What LiteLLM logs is a log of ours: `analyze` finds the task, and `simulate` decides what the hook decided."""
    before = len(proxy.log.read_text().splitlines()) if proxy.log.exists() else 0
    cases: list[tuple[str, dict[str, Any]]] = [
        (SIMPLE, {"metadata": {"mode": "eco"}}),
        ("Tell me something about bees that children like", {}),
        ("Who was Grace Hopper?", {"metadata": {"feature": "keep-me", "spend_logs_metadata": {"mine": "yes"}}}),
        ("Who was Grace Kelly?", {"headers": {"x-routecost-mode": "sport", "x-routecost-feature": "vip"}}),
        ("Who was Ada?", {"headers": {"x-routecost-mode": "eco"}, "metadata": {"mode": "sport"}}),
    ]
    answered = [proxy.chat(prompt, **body) for prompt, body in cases]
    records = proxy.logged(before + len(cases))[before:]
    notes = [record["metadata"]["spend_logs_metadata"]["routecost"] for record in records]
    assert [note["sent_to"] for note in notes] == answered == ["tiny", "small", "auto", "coder", "big"]
    assert [note["task_source"] for note in notes] == ["rules", "classifier", "rules", "rules", "rules"]
    assert notes[1]["confidence"] > 0.5
    assert records[2]["metadata"]["requester_metadata"]["feature"] == "keep-me"
    path = proxy.log.with_name("read-back.jsonl")
    path.write_text("\n".join(json.dumps(record) for record in records))
    opened = labelling.open_paths([str(path)], None)
    frame = next(labelling.over(opened, lambda chunk, _: chunk.parse(tuple(REQUEST)).requests, [], None))
    assert frame["task"].to_list() == ["simple"] * 5
    assert frame["mode"].to_list() == ["eco", "balanced", "balanced", "sport", "sport"]
    assert frame["feature"].to_list() == [None, None, "keep-me", "vip", None]
    typed = labelling.Typist(None, tasks.read_rules()).decide(frame)
    routed = route(typed, read_table(proxy.log.with_name("routes.yaml")), in_catalogue=lambda _: False)
    assert routed.select(pl.coalesce("routed_model", pl.lit("auto"))).to_series().to_list() == answered


def test_the_output_names_a_model_that_the_proxy_lacks(proxy: Proxy) -> None:
    proxy.chat(CODE, headers={"x-routecost-mode": "eco"})
    assert "the proxy has no model not-served, the request goes to coder" in proxy.output.read_text()


# --- the hook by itself ----------------------------------------------------------------------------------------------


def test_settings(tmp_path: Path) -> None:
    from routecost.integrations import litellm as ours

    table = tmp_path / "t.yaml"
    table.write_text("name: t\ndefault: m\n")
    with pytest.raises(RoutecostError, match="ROUTECOST_TABLE is not set"):
        ours.from_environment({})
    with pytest.raises(RoutecostError, match="there is no routing table nowhere"):
        ours.from_environment({"ROUTECOST_TABLE": "nowhere"})
    with pytest.raises(RoutecostError, match="ROUTECOST_ALL: saw 'perhaps', expected 1 or 0"):
        ours.from_environment({"ROUTECOST_TABLE": str(table), "ROUTECOST_ALL": "perhaps"})
    handler = ours.from_environment(
        {
            "ROUTECOST_TABLE": str(table),
            "ROUTECOST_TRIGGERS": "auto, routed",
            "ROUTECOST_ALL": "1",
            "ROUTECOST_MODE_HEADER": "X-Mode",
            "ROUTECOST_CLASSIFIER": "none",
        }
    )
    assert (handler.triggers, handler.every_model, handler.mode_header) == (
        frozenset(("auto", "routed")),
        True,
        "x-mode",
    )
    assert handler.router.route("Tell me about bees").task is None


@pytest.mark.parametrize(
    ("data", "sent_to"),
    [
        ({"model": "auto", "messages": [{"role": "user", "content": SIMPLE}]}, "m"),
        ({"model": "auto"}, "m"),
        ({"model": "auto", "messages": 5, "metadata": 5, "proxy_server_request": 5, "tools": 5}, "m"),
        ({"model": "auto", "messages": [{"role": "user", "content": {}}], "metadata": {"tags": 5}}, "m"),
        ({"model": "other", "messages": []}, None),
        ({"model": ["auto"], "messages": []}, None),
        ({}, None),
    ],
)
def test_the_hook_fails_open(data: dict[str, Any], sent_to: str | None) -> None:
    from routecost.integrations.litellm import RouteRequests

    hook = RouteRequests(Router(Table("t", default={"balanced": "m"}), False))
    before = json.dumps(data)
    got = asyncio.run(hook.async_pre_call_hook(None, None, data, "acompletion"))
    assert (None if got is None else got["model"]) == sent_to
    assert json.dumps(data) == before
    assert asyncio.run(hook.async_pre_call_hook(None, None, data, "aembedding")) is None


def test_what_a_key_adds_to_the_log_is_read_and_kept() -> None:
    table = Table("t", default={"balanced": "m"}, overrides=(Override("special", feature=("vip",)),))
    added = {"feature": "vip", "cost_center": "7"}
    data = {"model": "auto", "messages": [], "metadata": {"requester_metadata": {}, "spend_logs_metadata": added}}
    got = sent(table, data)
    assert got["model"] == "special"
    assert got["metadata"]["spend_logs_metadata"].items() >= added.items()
    assert added == {"feature": "vip", "cost_center": "7"}


def test_images_are_counted_without_being_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    import litellm

    def fetch(*_: Any, **__: Any) -> None:
        raise AssertionError("an image was fetched")

    monkeypatch.setattr(litellm.litellm_core_utils.token_counter, "get_image_dimensions", fetch)
    table = Table("t", default={"balanced": "m"}, overrides=(Override("sized", min_input_tokens=1),))
    image = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/y.png", "detail": "high"}}
    assert sent(table, {"model": "auto", "messages": [{"role": "user", "content": [image]}]})["model"] == "sized"


def test_an_error_of_ours_goes_to_the_default_and_the_prompt_to_no_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from routecost.integrations.litellm import RouteRequests

    def fail(*_: Any) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(RouteRequests, "decide", fail)
    got = sent(
        Table("t", default={"balanced": "m"}), {"model": "auto", "messages": [{"role": "user", "content": CODE}]}
    )
    assert got["model"] == "m"
    assert "out of order" in caplog.text
    assert CODE not in caplog.text


def test_labels_are_those_that_the_log_is_read_for() -> None:
    from routecost.integrations import litellm as ours

    theirs = {"session" if name == "session_id" else name: paths for name, paths in fields._LABELS.items()}
    assert {name: theirs[name] for name in ours._LABELS} == ours._LABELS


def sent(table: Table, data: dict[str, Any]) -> dict[str, Any]:
    """The request as the hook sends it."""
    from routecost.integrations.litellm import RouteRequests

    changed = asyncio.run(RouteRequests(Router(table, False)).async_pre_call_hook(None, None, data, "acompletion"))
    assert changed is not None
    return changed
