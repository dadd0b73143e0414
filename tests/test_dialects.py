"""Every dialect's sample: detected, mapped field by field, priced as worked out by hand, converted without a loss."""

from __future__ import annotations

import datetime as dt
import json
import os
import stat
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from conftest import Run
from routecost import logs
from routecost.errors import InputError, UsageError
from routecost.prices import Book, price, read_prices
from routecost.schema import NO_MODEL, NO_TOKENS, REQUEST, TOKEN_KINDS, band, day
from routecost.usage import is_id

HERE = Path(__file__).parent
OURS = HERE.parent / "sample_logs" / "dialects"
EXPECTED = HERE / "dialects"
SHARED = HERE.parent.parent / "shared" / "design" / "formats" / "samples"
COLUMNS = tuple(REQUEST)

# Where an expected file is of several logs: batches, whose requests and answers are apart.
TOGETHER = {
    "openai-batch": ("openai-batch-input.jsonl", "openai-batch-output.jsonl", "openai-batch-errors.jsonl"),
    "anthropic-batch": ("anthropic-batch-requests.jsonl", "anthropic-batch-results.jsonl"),
    "openai_batch": ("openai_batch_input.jsonl", "openai_batch_output.jsonl", "openai_batch_errors.jsonl"),
    "anthropic_batch_results": ("anthropic_batch_requests.jsonl", "anthropic_batch_results.jsonl"),
}
# What a sample is detected as, where its name does not say.
FORMAT = {
    "azure-trace-2024": "azure-trace",
    "burstgpt-old": "burstgpt",
    "cloudflare-page": "cloudflare",
    "langfuse-events": "langfuse",
    "pairs-anthropic": "pairs",
    "pairs-openai-chat": "pairs",
    "pairs-openai-responses": "pairs",
    "anthropic_batch_results": "anthropic-batch",
    "anthropic_messages_pairs": "pairs",
    "bedrock_invocation": "bedrock",
    "claude_code": "claude-code",
    "codex_rollout": "codex",
    "langfuse_events": "langfuse",
    "langfuse_observations": "langfuse",
    "litellm_spend_logs": "litellm-spend",
    "litellm_standard_logging": "litellm",
    "openai_batch": "openai-batch",
    "openai_chat_pairs": "pairs",
    "openai_responses_pairs": "pairs",
    "openai_stored_completions": "openai-stored",
    "openrouter_activity": "openrouter-activity",
    "openrouter_generation": "openrouter",
    "otel_genai": "otel",
}
OURS_NAMES = sorted(path.name.removesuffix(".expected.jsonl") for path in EXPECTED.glob("*.expected.jsonl"))
SHARED_NAMES = (
    *("anthropic_batch_results", "anthropic_messages_pairs", "bedrock_invocation", "claude_code", "codex_rollout"),
    *("helicone", "langfuse_events", "langfuse_observations", "litellm_spend_logs", "litellm_standard_logging"),
    *("openai_batch", "openai_chat_pairs", "openai_responses_pairs", "openai_stored_completions"),
    *("openrouter_activity", "openrouter_generation", "otel_genai", "portkey"),
)


def files_of(name: str, folder: Path) -> list[str]:
    if name in TOGETHER:
        return [str(folder / file) for file in TOGETHER[name]]
    (file,) = (p for p in folder.glob(f"{name}.*") if not p.name.endswith(".expected.jsonl"))
    return [str(file)]


def read(paths: list[str], *, estimates: bool = False) -> tuple[pl.DataFrame, logs.Opened]:
    """All requests of files, in order; there must be no rejected line."""
    opened = logs.open_logs(logs.find_sources(paths), estimates=estimates)
    frames = [pl.DataFrame(schema=REQUEST)]
    for source, layout in zip(opened.sources, opened.layouts, strict=True):
        for chunk in logs.chunks(source, layout):
            parsed = chunk.parse(COLUMNS)
            assert parsed.rejects == ()
            frames.append(parsed.requests.select(COLUMNS))
    return pl.concat(frames), opened


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def moment(value: dt.datetime | None) -> str | None:
    """To the millisecond, as the expected files have it."""
    if value is None:
        return None
    value += dt.timedelta(microseconds=500)
    return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"


def differences(got: Mapping[str, Any], want: Mapping[str, Any]) -> Iterator[str]:
    for key, value in want.items():
        have = moment(got[key]) if key in ("ts", "timestamp") else got[key]
        if isinstance(value, float) and isinstance(have, int | float):
            same = have == pytest.approx(value, rel=1e-6, abs=1e-9)
        elif key in ("prompt", "system") and not value:
            same = not have
        else:
            same = have == value
        if not same:
            yield f"{want.get('request_id')}: {key}: got {have!r}, expected {value!r}"


def matched(got: pl.DataFrame, want: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Requests beside what is expected of them: by their id, else in order."""
    assert got.height == len(want)
    rows = got.to_dicts()
    if any(w.get("request_id") is None for w in want):
        return list(zip(rows, want, strict=True))
    by_id = {row["request_id"]: row for row in rows}
    return [(by_id[w["request_id"]], w) for w in want]


@pytest.mark.parametrize("name", OURS_NAMES)
def test_own_sample_is_mapped_field_by_field(name: str) -> None:
    want = lines_of(EXPECTED / f"{name}.expected.jsonl")
    guessed = any(w.get("tokens_estimated") for w in want)
    got, opened = read(files_of(name, OURS), estimates=guessed)
    assert {layout.dialect.name for layout in opened.layouts if layout.dialect} == {FORMAT.get(name, name)}
    found = [d for row, w in matched(got, want) for d in differences(row, w)]
    assert found == []


def totals(row: Mapping[str, Any]) -> dict[str, Any]:
    """A request as the shared samples' expected values count it: cached and written tokens as parts of the input."""
    read_, written, hour = (row[c] for c in ("cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"))
    whole = None if row["input_tokens"] is None else row["input_tokens"] + sum(n or 0 for n in (read_, written, hour))
    return {
        **row,
        "timestamp": row["ts"],
        "input_tokens": whole,
        "cached_input_tokens": read_,
        "cache_write_tokens": None if written is None else written + (hour or 0),
    }


@pytest.mark.parametrize("name", SHARED_NAMES)
def test_shared_sample_is_mapped_field_by_field(name: str) -> None:
    if not SHARED.is_dir():
        pytest.skip("the shared samples are not here")
    want = lines_of(SHARED / f"{name}.expected.jsonl")
    for row in want:
        if row["model_requested"] is None:
            # where a log has no other name, ours is the one that served
            del row["model_requested"]
        if row["feedback"] == 0:
            # thumbs down, which is -1 with us
            row["feedback"] = -1
    got, opened = read(files_of(name, SHARED))
    assert {layout.dialect.name for layout in opened.layouts if layout.dialect} == {FORMAT.get(name, name)}
    found = [d for row, w in matched(got, want) for d in differences(totals(row), w)]
    assert found == []


LINES = sorted(p.stem for p in OURS.glob("*.jsonl") if p.stem not in ("otel", "codex", "claude-code", "mooncake"))


@pytest.mark.parametrize("container", ["array.json", "table.csv", "table.parquet"])
@pytest.mark.parametrize("name", [n for n in LINES if not n.startswith(("openai-batch", "anthropic-batch"))])
def test_the_container_makes_no_difference(tmp_path: Path, name: str, container: str) -> None:
    """JSON lines, an array of several lines, and tables whose cells hold JSON, as exports of databases do."""
    lines = OURS / f"{name}.jsonl"
    records = lines_of(lines)
    path = tmp_path / container
    if container == "array.json":
        path.write_text(json.dumps(records, indent=1))
    else:
        names = dict.fromkeys(key for record in records for key in record)
        cells = {key: [cell(record.get(key)) for record in records] for key in names}
        table = pl.DataFrame({key: pl.Series(key, values, pl.String) for key, values in cells.items()})
        table.write_csv(path) if container == "table.csv" else table.write_parquet(path)
    assert_frame_equal(read([str(path)])[0], read([str(lines)])[0])


def cell(value: Any) -> str | None:
    return value if isinstance(value, str) or value is None else json.dumps(value)


# --- costs, by hand ---------------------------------------------------------------------------------------------------


def costs(file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((EXPECTED / file).read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def book() -> Book:
    return read_prices([])


def priced(requests: pl.DataFrame, book: Book) -> pl.DataFrame:
    """Requests with `cost` at list prices, null where there is none."""
    total = pl.sum_horizontal(*(k for k in TOKEN_KINDS if k != "output_tokens"))
    known = pl.col("input_tokens").is_not_null() & pl.col("output_tokens").is_not_null()
    frame = requests.with_columns(
        day=day(pl.col("ts")),
        slot=pl.lit(0, pl.Int16),
        band=band(total, book.edges),
        problem=pl.when(~known).then(pl.lit(NO_TOKENS)).when(pl.col("model").is_null()).then(pl.lit(NO_MODEL)),
    )
    return price(frame, book, cost="cost", as_of=dt.date(2026, 3, 1))


def check_costs(name: str, folder: Path, entry: Mapping[str, Any], book: Book) -> None:
    got = priced(read(files_of(name, folder))[0], book)
    wanted = entry.get("requests") or {}
    rows = got.to_dicts()
    keys = [row["request_id"] for row in rows]
    if set(wanted) - set(keys):
        keys = [f"#{n}" for n in range(1, len(rows) + 1)]
    found = dict(zip(keys, rows, strict=True))
    wrong = []
    for key, text in wanted.items():
        cost = found[str(key)]["cost"]
        # a call that used nothing is billed nothing, whether or not the book is asked
        free = text is not None and Decimal(text) == 0 and cost in (None, 0.0)
        same = cost is None if text is None else cost == pytest.approx(float(text), rel=1e-9, abs=1e-15)
        if not same and not free:
            wrong.append(f"{key}: got {cost}, by hand {text}")
    assert wrong == []
    if entry["total"] is not None:
        assert sum(Decimal(t) for t in wanted.values() if t is not None) == Decimal(entry["total"])


OURS_COSTS = {**costs("costs-a.yaml"), **costs("costs-b.yaml")}


@pytest.mark.parametrize("file", OURS_COSTS)
def test_own_sample_costs_what_was_worked_out_by_hand(file: str, book: Book) -> None:
    name = Path(file).name.partition(".")[0]
    name = {"openai-batch-output": "openai-batch", "anthropic-batch-results": "anthropic-batch"}.get(name, name)
    check_costs(name, OURS, OURS_COSTS[file], book)


@pytest.mark.parametrize("file", costs("costs-shared.yaml"))
def test_shared_sample_costs_what_was_worked_out_by_hand(file: str, book: Book) -> None:
    if not SHARED.is_dir():
        pytest.skip("the shared samples are not here")
    name = Path(file).name.partition(".")[0]
    name = {"openai_batch_output": "openai_batch"}.get(name, name)
    check_costs(name, SHARED, costs("costs-shared.yaml")[file], book)


# --- the commands -----------------------------------------------------------------------------------------------------


def analysis(cli: Run, *args: str | Path, code: int = 0) -> Any:
    run = cli("analyze", *args, "--format", "json", "--no-classify")
    assert run.returncode == code, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize(
    "name", ["litellm", "langfuse-events", "otel", "claude-code", "phoenix", "wildchat", "openai-batch"]
)
def test_convert_loses_nothing(cli: Run, tmp_path: Path, name: str) -> None:
    paths = files_of(name, OURS)
    out = tmp_path / "requests.parquet"
    run = cli("convert", *paths, "-o", out)
    assert run.returncode == 0, run.stderr
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    before = cli("analyze", *paths, "--format", "json")
    after = cli("analyze", out, "--format", "json")
    one, two = json.loads(before.stdout), json.loads(after.stdout)
    # what of a record is no call is told once
    for told in ("files", "lines", "not_calls", "repeated_lines", "corrected", "formats", "notes"):
        one["input"].pop(told), two["input"].pop(told)
    assert one == two


def test_a_folder_may_mix_dialects(cli: Run) -> None:
    read_ = analysis(cli, OURS)["input"]
    assert len(read_["formats"]) > 25
    assert read_["rejected"] == 0
    assert (
        read_["requests"]
        == sum(len(lines_of(EXPECTED / f"{n}.expected.jsonl")) for n in OURS_NAMES) - read_["duplicates"]
    )


def test_inspect_says_what_and_why(cli: Run) -> None:
    run = cli("inspect", OURS / "litellm.jsonl")
    assert run.returncode == 0, run.stderr
    assert "LiteLLM StandardLoggingPayload" in run.stdout
    assert "Why: its records have startTime, endTime, call_type and custom_llm_provider" in run.stdout
    assert "fields that nothing reads" in run.stdout
    assert "api_base" in run.stdout
    data = json.loads(cli("inspect", OURS, "--format", "json").stdout)["files"]
    assert {f["format"] for f in data} >= {"otel", "codex", "wildchat", "openai-batch-input"}


def test_formats_lists_every_format(cli: Run) -> None:
    listed = json.loads(cli("formats", "--format", "json").stdout)["formats"]
    assert [f["name"] for f in listed] == list(logs.FORMATS)


def test_every_dialect_has_a_sample() -> None:
    sampled = {FORMAT.get(name, name) for name in OURS_NAMES}
    answers = {d.name for d in logs.DIALECTS if d.companion is None}
    assert answers == sampled


def test_log_format_overrides_what_is_detected(cli: Run, tmp_path: Path) -> None:
    run = cli("analyze", OURS / "otel.jsonl", "--log-format", "litelm")
    assert run.returncode == 2
    assert "Did you mean litellm" in run.stderr
    flat = tmp_path / "flat.jsonl"
    flat.write_text('{"model": "gpt-4.1", "input_tokens": 5, "output_tokens": 1, "response": {"error": {"a": 1}}}\n')
    assert analysis(cli, flat)["input"]["formats"] == {"pairs": 1}
    assert analysis(cli, flat, "--log-format", "flat")["coverage"]["priced"] == 1


def test_a_batch_input_alone_is_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match="Name the output file as well"):
        read(files_of("openai-batch", OURS)[:1])


def test_batches_that_use_the_same_ids_are_not_mixed_up(cli: Run, tmp_path: Path) -> None:
    for file in TOGETHER["openai-batch"]:
        (tmp_path / file).write_bytes((OURS / file).read_bytes())
    other = (OURS / "openai-batch-input.jsonl").read_text().replace('"content": "', '"content": "Other: ')
    (tmp_path / "other-input.jsonl").write_text(other)
    run = cli("convert", tmp_path, "-o", tmp_path / "out.parquet")
    assert "4 custom_ids of batch inputs stand for different requests" in run.stdout
    assert pl.read_parquet(tmp_path / "out.parquet")["prompt"].null_count() == 4
    (tmp_path / "out.parquet").unlink()
    assert any("custom_ids" in note for note in analysis(cli, tmp_path)["input"]["notes"])


def test_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match="routecost formats"):
        logs.layout_of(logs.find_sources([str(OURS / "otel.jsonl")])[0], log_format="nonsense")


def test_what_is_not_a_log_in_a_folder_is_left_out_and_said(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes((OURS / "litellm.jsonl").read_bytes())
    (tmp_path / "package.json").write_text('{"name": "app", "dependencies": {}}\n')
    found = analysis(cli, tmp_path)["input"]
    assert found["requests"] == 5
    assert any("package.json" in note for note in found["notes"])
    run = cli("analyze", tmp_path / "package.json")
    assert run.returncode == 3
    assert "no request recognised" in run.stderr


def test_objects_without_an_ending_are_read(cli: Run, tmp_path: Path) -> None:
    folder = tmp_path / "2026-03-04"
    folder.mkdir()
    for n, line in enumerate((OURS / "litellm.jsonl").read_text().splitlines()):
        (folder / f"call-{n}").write_text(json.dumps(json.loads(line), indent=1))
    (folder / "README").write_text("not a log\n")
    assert analysis(cli, tmp_path)["input"]["formats"] == {"litellm": 5}


def test_ids_that_stand_in_two_files_count_once(cli: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_bytes((OURS / "claude-code.jsonl").read_bytes())
    once, twice = (analysis(cli, p) for p in (tmp_path / "a.jsonl", tmp_path))
    assert twice["input"]["duplicates"] == once["coverage"]["billable"]
    assert once["cost_usd"] == twice["cost_usd"]


@pytest.mark.parametrize("retimed", [True, False])
def test_a_spawned_session_counts_its_parents_history_once(cli: Run, tmp_path: Path, *, retimed: bool) -> None:
    parent = [json.loads(line) for line in (OURS / "codex.jsonl").read_text().splitlines()]
    named = parent[0]["payload"]["id"]
    (tmp_path / "parent.jsonl").write_text("".join(json.dumps(r) + "\n" for r in parent))
    source = {"subagent": {"thread_spawn": {"parent_thread_id": named}}}
    meta = {"id": "child", "source": source, "model_provider": "openai"}
    begun = "2026-04-01T00:00:00"
    history = [{**r, "timestamp": f"{begun}.100Z"} if retimed else r for r in parent]
    last = [r for r in parent if r["payload"].get("type") == "token_count" and r["payload"]["info"]][-1]
    own = json.loads(json.dumps(last))
    own["timestamp"] = "2026-04-01T00:00:09.000Z"
    for usage in own["payload"]["info"]["total_token_usage"], own["payload"]["info"]["last_token_usage"]:
        usage["output_tokens"] += 7
        usage["total_tokens"] += 7
    child = [{"timestamp": f"{begun}.000Z", "type": "session_meta", "payload": meta}, *history, own]
    (tmp_path / "child.jsonl").write_text("".join(json.dumps(r) + "\n" for r in child))
    alone = analysis(cli, tmp_path / "parent.jsonl")["input"]["requests"]
    assert analysis(cli, tmp_path / "child.jsonl")["input"]["requests"] == alone + 1
    both = analysis(cli, tmp_path)
    assert both["input"]["requests"] == alone + 1
    assert both["input"]["duplicates"] == alone


def test_missing_counts_are_estimated_and_said(cli: Run) -> None:
    chat = OURS / "pairs-openai-chat.jsonl"
    run = cli("analyze", chat)
    assert "no token counts in the log: they are estimated from text" in run.stdout
    data = analysis(cli, chat)["coverage"]
    assert data["estimated"] == 1
    assert 0 < data["estimated_share"] < 0.1
    refused = analysis(cli, chat, "--no-estimates")["coverage"]
    assert (refused["estimated"], refused["priced"]) == (0, data["priced"] - 1)


def test_the_events_of_a_stream_are_one_answer(tmp_path: Path) -> None:
    events = [
        {"type": "message_start", "message": {"id": "msg_1", "model": "claude-haiku-4-5", "usage": {
            "input_tokens": 12, "cache_read_input_tokens": 300, "output_tokens": 1}}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "It is "}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "open."}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
    ]  # fmt: skip
    request = {"model": "claude-haiku-4-5", "stream": True, "messages": [{"role": "user", "content": "Open today?"}]}
    log = tmp_path / "a.jsonl"
    log.write_text(json.dumps({"request": request, "response": events}) + "\n")
    (row,) = read([str(log)])[0].to_dicts()
    got = {
        k: row[k] for k in ("request_id", "provider", "input_tokens", "cache_read_tokens", "output_tokens", "stream")
    }
    assert got == {
        "request_id": "msg_1",
        "provider": "anthropic",
        "input_tokens": 12,
        "cache_read_tokens": 300,
        "output_tokens": 9,
        "stream": True,
    }
    assert row["finish_reason"] == "end_turn"


def test_a_flat_log_of_texts_alone_has_a_bill(cli: Run, tmp_path: Path) -> None:
    log = tmp_path / "texts.jsonl"
    record = {"model": "gpt-4.1", "prompt": "How many wheels does a tricycle have?", "response": "It has three wheels."}
    log.write_text(json.dumps(record) + "\n")
    found = analysis(cli, log)
    assert found["coverage"]["estimated"] == found["coverage"]["priced"] == 1
    # 8 tokens and 6 for the format of a chat in, 5 out, at $2 and $8 a million
    assert found["cost_usd"] == pytest.approx((14 * 2 + 5 * 8) / 1e6, rel=0.3)
    assert analysis(cli, log, "--no-estimates", code=4)["coverage"]["priced"] == 0


# --- privacy ----------------------------------------------------------------------------------------------------------

CANARY = "kanarienvogel"


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """Logs of four dialects with the canary in prompts, systems, answers, ids of users and sessions, and metadata."""
    folder = tmp_path / "logs"
    folder.mkdir()
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    pair = {
        "request": {
            "model": "gpt-4.1",
            "messages": [
                {"role": "system", "content": f"system {CANARY}"},
                {"role": "user", "content": f"what is {CANARY}?"},
            ],
            "user": f"u-{CANARY}",
            "metadata": {"session_id": f"s-{CANARY}", "note": CANARY, "email": f"{CANARY}@example.org"},
        },
        "response": {"id": "chatcmpl-1", "object": "chat.completion", "created": 1772442905, "model": "gpt-4.1",
                     "choices": [{"message": {"content": CANARY}, "finish_reason": "stop"}], "usage": usage},
    }  # fmt: skip
    silent = json.loads(json.dumps(pair))
    silent["response"] |= {"id": "chatcmpl-2", "usage": None}
    wrong = json.loads(json.dumps(pair))
    wrong["response"] |= {"id": "chatcmpl-3", "usage": {"prompt_tokens": CANARY}}
    broken = json.dumps(wrong)
    lines = [json.dumps(pair), json.dumps(silent), broken, f'{{"cut": "{CANARY}', f"{CANARY}"]
    (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    flat = {
        "request_id": "f1",
        "ts": "2026-03-02T00:00:00Z",
        "model": "gpt-4.1",
        "input_tokens": 10,
        "output_tokens": 5,
        "prompt": f"say {CANARY}",
        "user_id": f"u-{CANARY}",
        "session_id": f"s-{CANARY}",
        "extra": CANARY,
    }
    (folder / "flat.jsonl").write_text(json.dumps(flat) + "\n")
    for name in ("litellm.jsonl", "claude-code.jsonl", "langfuse.jsonl", "otel.jsonl"):
        text = (OURS / name).read_text()
        for record in lines_of(EXPECTED / f"{name.removesuffix('.jsonl')}.expected.jsonl"):
            for key in ("user_id", "session_id"):
                if record.get(key):
                    text = text.replace(record[key], f"{CANARY}-{record[key]}")
            if record.get("prompt"):
                text = text.replace(json.dumps(record["prompt"])[1:-1], CANARY)
        # the files of sessions have their ids for names
        (folder / (f"{CANARY}.jsonl" if name == "claude-code.jsonl" else name)).write_text(text)
    return folder


def outputs(run: Any, *files: Path) -> Iterator[tuple[str, bytes]]:
    # a screen may name the files that it is about
    yield "stdout", run.stdout.replace(f"{CANARY}.jsonl", "").encode()
    yield "stderr", run.stderr.replace(f"{CANARY}.jsonl", "").encode()
    for file in files:
        content = file.read_bytes()
        if file.suffix == ".parquet":
            content += pl.read_parquet(file).write_ndjson().encode()
            content += json.dumps(pl.read_parquet_metadata(file)).encode()
        yield file.name, content


SILENT = [
    ("analyze", "--format", "console"),
    ("analyze", "--format", "json"),
    ("analyze", "--format", "json", "--by", "feature", "--by", "model"),
    ("analyze", "--format", "markdown"),
    ("simulate", "--format", "json"),
    ("sensitivity", "--format", "json"),
    ("inspect",),
    ("inspect", "--format", "json"),
    ("tally", "-o", "OUT.parquet"),
    ("tally", "-o", "OUT.parquet", "--by", "user_id", "--by", "session_id"),
    ("classify", "-o", "OUT.parquet"),
    ("classify", "-o", "OUT.jsonl", "--table", "default"),
    ("routes", "validate", "default", "--format", "json", "--log"),
]


@pytest.mark.parametrize("command", SILENT, ids=" ".join)
def test_no_output_holds_what_people_wrote_or_who_they_are(
    cli: Run, tmp_path: Path, planted: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    args = [str(tmp_path / a) if a.startswith("OUT") else a for a in command]
    run = cli(*args, str(planted))
    assert run.returncode in (0, 4), run.stderr
    files = [Path(a) for a in args if Path(a).parent == tmp_path]
    for file in files:
        assert file.exists()
    for where, content in outputs(run, *files):
        assert CANARY.encode() not in content, where


def test_ids_are_told_apart_without_being_told(cli: Run, tmp_path: Path, planted: Path) -> None:
    out = tmp_path / "u.parquet"

    def users(*options: str) -> list[str]:
        run = cli("tally", planted / "flat.jsonl", "--by", "user_id", "-o", out, *options)
        assert run.returncode == 0, run.stderr
        cells = pl.read_parquet(out).filter(pl.col("table") == "cells")
        return cells["user_id"].drop_nulls().to_list()

    assert users("--plain-ids") == [f"u-{CANARY}"]
    one, other, again = users("--salt", "a"), users("--salt", "b"), users("--salt", "a")
    assert one == again != other
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in (*one, *other))
    assert cli("tally", planted / "flat.jsonl", "-o", out, "--salt", "a", "--plain-ids").returncode == 2


@pytest.mark.parametrize(
    ("name", "told"),
    [
        *((n, True) for n in ("user_id", "end_user", "user", "customerId", "metadata.customer", "email", "client_ip")),
        *((n, True) for n in ("session_id", "hashed_ip", "conversation_id", "userEmail", "account-name")),
        *((n, False) for n in ("feature", "model", "day", "customer_segment", "user_tier", "region", "team", "tip")),
    ],
)
def test_which_columns_tell_who_somebody_is(name: str, *, told: bool) -> None:
    assert is_id(name) is told


@pytest.mark.parametrize(
    "command",
    [
        ("convert", "-o", "OUT.parquet"),
        ("convert", "-o", "OUT.jsonl"),
        ("classify", "-o", "OUT.parquet", "--keep-prompts"),
        ("classifier", "sample", "-n", "4", "-o", "OUT.csv"),
        ("analyze", "--rejects", "OUT.jsonl"),
    ],
    ids=" ".join,
)
def test_files_whose_purpose_is_text_are_private(
    cli: Run, tmp_path: Path, planted: Path, command: tuple[str, ...]
) -> None:
    args = [str(tmp_path / a) if a.startswith("OUT") else a for a in command]
    run = cli(*args, str(planted))
    assert run.returncode == 0, run.stderr
    (file,) = (Path(a) for a in args if Path(a).parent == tmp_path)
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    found = dict(outputs(run, file))
    assert CANARY.encode() in found.pop(file.name)
    assert all(CANARY.encode() not in content for content in found.values())
