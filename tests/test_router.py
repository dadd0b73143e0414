"""One request at a time: `Router` says what `classify`, `route` and `simulate` say of a log, and never fails."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import SchemaError

import routecost
from routecost import classifier, tasks
from routecost.errors import InputError
from routecost.logs.messages import column, speech
from routecost.pipeline import labelling
from routecost.prices import Book, read_prices
from routecost.router import FAILED_OPEN, Decision, Router, conditions, messages
from routecost.routing import Override, Table, empty_table, read_table, route, rule_expression
from routecost.schema import INPUT_KINDS, REQUEST

TABLE: Final = Table(
    name="test",
    default={"eco": "d-eco", "balanced": "d-bal", "sport": "d-sport"},
    routes={
        "simple": {"eco": "s-eco", "balanced": "s-bal", "sport": "s-sport"},
        "code": {"balanced": "c-bal"},
    },
    overrides=(
        Override("billing", feature=("billing-*",)),
        Override(None, feature=("legal",)),
        Override({"sport": "fast"}, pattern=r"(?i)\burgent\b"),
        Override("long", min_input_tokens=50_000),
        Override("their-own", user=("vip-*", "ceo")),
    ),
    fallbacks={"s-bal": ("other", "third"), "s-sport": ("twin",), "d-bal": ("d-two",)},
    speculative=("sport",),
)
SIMPLE: Final = "Who was Ada Lovelace?"


@pytest.fixture(scope="module")
def book() -> Book:
    return read_prices()


@pytest.fixture(scope="module")
def model() -> classifier.Classifier:
    return classifier.load()


@pytest.fixture(scope="module")
def router(book: Book, model: classifier.Classifier) -> Router:
    return Router(TABLE, model, book=book)


# --- one request -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("s-bal", "simple", "balanced", "route", ("other", "third"), None)),
        ({"mode": "eco"}, ("s-eco", "simple", "eco", "route", (), None)),
        ({"mode": "sport"}, ("s-sport", "simple", "sport", "route", ("twin",), "twin")),
        # a mode that the table lacks is its default mode
        ({"mode": "turbo"}, ("s-bal", "simple", "balanced", "route", ("other", "third"), None)),
        ({"mode": "ECO"}, ("s-bal", "simple", "balanced", "route", ("other", "third"), None)),
        ({"task": " Code "}, ("c-bal", "code", "balanced", "route", (), None)),
        ({"task": "code", "mode": "eco"}, ("d-eco", "code", "eco", "default", (), None)),
        ({"task": "poetry"}, ("d-bal", "poetry", "balanced", "default", ("d-two",), None)),
        ({"feature": "billing-eu"}, ("billing", "simple", "balanced", "billing-*", (), None)),
        # the table keeps it on the caller's model, default or not
        ({"feature": "legal"}, (None, "simple", "balanced", "legal", (), None)),
        ({"user": "vip-3"}, ("their-own", "simple", "balanced", "vip-*", (), None)),
        ({"user": "ceo"}, ("their-own", "simple", "balanced", "vip-*", (), None)),
        ({"input_tokens": 50_000}, ("long", "complex", "balanced", "long", (), None)),
        ({"input_tokens": 49_999}, ("d-bal", "complex", "balanced", "default", ("d-two",), None)),
        # a pin that has a price wins over all, and is never called twice
        ({"model_override": "gpt-5.4", "feature": "legal"}, ("gpt-5.4", "simple", "balanced", "pinned", (), None)),
        ({"model_override": "no-such-model"}, ("s-bal", "simple", "balanced", "route", ("other", "third"), None)),
        ({"model_override": " "}, ("s-bal", "simple", "balanced", "route", ("other", "third"), None)),
    ],
)
def test_a_request(router: Router, given: Mapping[str, Any], expected: tuple[Any, ...]) -> None:
    reasons = {str(next(iter(o.feature or o.user), "long")): f"override:{o.key}" for o in TABLE.overrides}
    got = router.route(SIMPLE, **given)
    model, task, mode, reason, fallbacks, speculative = expected
    assert (got.model, got.task, got.mode, got.reason) == (model, task, mode, reasons.get(reason, reason))
    assert (got.fallbacks, got.speculative, got.error) == (fallbacks, speculative, None)


def test_an_override_by_mode_holds_in_its_modes(router: Router) -> None:
    assert router.route("this is URGENT", mode="sport", task="simple").model == "fast"
    assert router.route("this is URGENT", mode="eco", task="simple").model == "s-eco"
    assert router.route("insurgents", mode="sport", task="simple").model == "s-sport"


@pytest.mark.parametrize("message", [None, "", "  \n", [], [{"role": "assistant", "content": "hello"}]])
def test_without_text_the_default_takes_it(router: Router, message: Any) -> None:
    got = router.route(message)
    assert got == Decision("d-bal", None, None, None, "balanced", "default", ("d-two",))


def test_who_said_what_the_task_is(router: Router) -> None:
    assert router.route(SIMPLE, task="code").task_source == "log"
    assert (router.route(SIMPLE).task_source, router.route(SIMPLE).confidence) == ("rules", None)
    got = router.route("Tell me something about bees that children like")
    assert got.task_source == "classifier"
    assert got.confidence is not None
    assert 0 < got.confidence <= 1


def test_a_table_that_leaves_a_request(book: Book) -> None:
    table = Table("some", routes={"code": {"balanced": "c"}}, fallbacks={"c": ("d",)})
    router = Router(table, False, book=book)
    assert router.route("hi") == Decision(None, None, None, None, "balanced", "unrouted")
    assert router.route("hi", task="code").fallbacks == ("d",)
    assert Router(empty_table(), False, book=book).route("hi", model_override="gpt-5.4").reason == "unrouted"


def test_shipped_tables_by_name_and_path(book: Book, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("name: own\ndefault: gpt-5.4\nroutes: {simple: gpt-5.4-nano}\n", encoding="utf-8")
    assert routecost.Router(path, book=book).route(SIMPLE).model == "gpt-5.4-nano"
    assert repr(Router("prism-v1.7-a", book=book)) == "Router('prism-v1.7-a')"


# --- messages --------------------------------------------------------------------------------------------------------

PARTS: Final = [{"type": "text", "text": "Who was"}, {"type": "text", "text": "Ada?"}]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("hello", ("hello", None, None, None)),
        ([{"role": "user", "content": "one"}], ("one", None, None, 1)),
        (
            [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "one"},
                {"role": "assistant", "content": "answer"},
                {"role": "developer", "content": "and kind"},
                {"role": "user", "content": PARTS},
                {"role": "tool", "content": "42"},
            ],
            ("Who was\nAda?", "one", "be brief\n\nand kind", 6),
        ),
        # a turn of tool results alone has no text
        (
            [
                {"role": "user", "content": "weather?"},
                {"role": "user", "content": [{"type": "tool_result", "content": "rain"}]},
            ],
            ("weather?", None, None, 2),
        ),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], (None, None, None, 1)),
        ([{"role": "user", "content": '[{"type": "text", "text": "inside"}]'}], ("inside", None, None, 1)),
        ([{"role": "user", "content": "[1, 2] are numbers"}], ("[1, 2] are numbers", None, None, 1)),
        ([{"role": "user", "parts": [{"text": "gemini"}]}], ("gemini", None, None, 1)),
        (["a", "b"], ("b", "a", None, 2)),
        ([{"role": "user", "content": None}], (None, None, None, 1)),
    ],
)
def test_messages(message: Any, expected: tuple[Any, ...]) -> None:
    said = messages.read(message)
    assert (said.prompt, said.previous_prompt, said.system, said.n_messages) == expected


def test_a_system_prompt_beside_messages_comes_first() -> None:
    said = messages.read([{"role": "system", "content": "b"}, {"role": "user", "content": "x"}], "a")
    assert said.system == "a\n\nb"
    assert messages.read([{"role": "user", "content": "x"}], [{"type": "text", "text": "a"}]).system == "a"


def test_what_is_given_wins_over_the_messages(router: Router) -> None:
    turns = [{"role": "user", "content": "Write a poem"}, {"role": "user", "content": "shorter"}]
    same = router.route("shorter", previous_message="Fix this bug", n_messages=9)
    assert router.route(turns, previous_message="Fix this bug", n_messages=9) == same


TEXT: Final = st.one_of(
    st.text(max_size=8), st.sampled_from(["", "[", '[{"type": "text", "text": "x"}]', "[]", " [1]", "{}", "\ud83d"])
)
PART: Final = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(["text", "input_text"]), "text": TEXT}),
    st.sampled_from(
        [
            {"type": "image_url", "image_url": {"url": "x"}},
            {"type": "tool_result", "content": [{"type": "text", "text": "r"}]},
            {"type": "text", "text": None},
            {"type": "unknown"},
            {"text": "untyped"},
            {"a": 1},
        ]
    ),
)
TURN: Final = st.one_of(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "User", "human", "system", "developer", "assistant", "tool", None]),
            "content": st.one_of(st.none(), TEXT, st.lists(PART, max_size=3)),
        }
    ),
    st.sampled_from([{"type": "human", "content": "lc"}, {"role": "model", "parts": [{"text": "g"}]}, {}]),
)


@given(st.lists(TURN, max_size=4))
@settings(max_examples=300, deadline=None)
def test_messages_are_read_as_a_log_of_them_is(turns: list[Any]) -> None:
    clean = _sound(turns)
    logged = speech(column([clean]), said=False).row(0, named=True)
    said = messages.read(turns)
    assert said.prompt == logged["prompt"]
    assert said.previous_prompt == logged["previous_prompt"]
    assert said.system == logged["system"]
    assert said.n_messages == logged["n_messages"]


def _sound(value: Any) -> Any:
    if isinstance(value, str):
        return messages.sound(value)
    if isinstance(value, list):
        return [_sound(item) for item in value]
    return {key: _sound(item) for key, item in value.items()} if isinstance(value, dict) else value


# --- the same as on a log --------------------------------------------------------------------------------------------

VALUE: Final = st.sampled_from([None, "", "a", "b", "ab", "aab", "a\nb", "ä", "simple", "gpt-5.4"])
GLOB: Final = st.sampled_from(["a", "*", "a*", "*b", "a*b", "*a*b*", "a*a", "ä*", "simple", "?", "[a]*", "gpt-5.4"])
PATTERN: Final = st.sampled_from(
    [r"(?i)\bDEF\b", r"^a", r"b$", "(?x) d e f # a comment", r"[\p{L}--\p{ASCII}]", r"(?m)^b", "", r"a|b", r"\d{2}"]
)
PROMPT: Final = st.one_of(
    st.none(),
    st.text(max_size=6),
    st.sampled_from(["", "  ", "def f(): return 12", "a\nb", "Straße 12", SIMPLE, "Write a poem about rain", "\u2003"]),
)
TOKENS: Final = st.one_of(st.none(), st.integers(0, 12))
NAMES: Final = st.sampled_from(["m1", "m2", "m3", "gpt-5.4"])
MODE: Final = st.sampled_from(["eco", "balanced", "sport", "own"])
ROW: Final = st.dictionaries(MODE, NAMES, min_size=1)
GLOBS: Final = st.lists(GLOB, max_size=2).map(tuple)


@st.composite
def overrides(draw: st.DrawFn) -> Override:
    names = ("task", "provider", "logged_model", "mode", "feature", "user", "session", "project")
    chosen = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    return Override(
        draw(st.one_of(st.none(), NAMES, ROW)),
        **{name: draw(GLOBS) for name in chosen},
        pattern=draw(st.one_of(st.none(), st.none(), PATTERN)),
        system_pattern=draw(st.one_of(st.none(), st.none(), PATTERN)),
        min_input_tokens=draw(st.one_of(st.none(), st.none(), st.integers(0, 9))),
        max_input_tokens=draw(st.one_of(st.none(), st.none(), st.integers(0, 9))),
    )


TABLES: Final = st.builds(
    Table,
    name=st.just("random"),
    default_mode=MODE,
    default=st.one_of(st.none(), ROW),
    routes=st.dictionaries(st.sampled_from(["simple", "code", "own", "a"]), ROW, max_size=3),
    overrides=st.lists(overrides(), max_size=4).map(tuple),
    fallbacks=st.dictionaries(NAMES, st.lists(NAMES, max_size=2).map(tuple)),
    speculative=st.lists(MODE, max_size=2).map(tuple),
)

RULE: Final = st.builds(
    tasks.Rule,
    task=st.sampled_from(["simple", "code", "own"]),
    pattern=st.one_of(st.none(), PATTERN),
    system_pattern=st.one_of(st.none(), st.none(), PATTERN),
    feature=st.one_of(st.none(), st.none(), GLOB),
    model=st.one_of(st.none(), st.none(), GLOB),
    provider=st.one_of(st.none(), st.none(), GLOB),
    project=st.one_of(st.none(), st.none(), GLOB),
    file=st.one_of(st.none(), st.none(), GLOB),
    min_input_tokens=st.one_of(st.none(), st.integers(0, 9)),
    max_input_tokens=st.one_of(st.none(), st.none(), st.integers(0, 9)),
    min_prompt_chars=st.one_of(st.none(), st.integers(0, 9)),
    max_prompt_chars=st.one_of(st.none(), st.none(), st.integers(0, 9)),
    min_messages=st.one_of(st.none(), st.none(), st.integers(0, 4)),
    max_messages=st.one_of(st.none(), st.none(), st.integers(0, 4)),
).filter(lambda rule: bool(rule.conditions()))
REQUESTS: Final = st.fixed_dictionaries(
    {
        **dict.fromkeys(("prompt", "system", "previous_prompt"), PROMPT),
        **dict.fromkeys(("feature", "model", "provider", "project", "file", "user_id", "session_id"), VALUE),
        **dict.fromkeys(INPUT_KINDS, TOKENS),
        "n_messages": st.one_of(st.none(), st.integers(1, 20)),
        "needs": st.sampled_from([None, "tools", "json,tools", "vision"]),
        "mode": st.one_of(st.none(), MODE, st.just("turbo")),
        "model_override": st.sampled_from([None, None, None, "gpt-5.4", "m1", " ", "groq/llama-3.1-8b-instant"]),
        "task": st.sampled_from([None, None, None, "simple", " Code\t", "", "\x1cown", "ÄB\u2003"]),
    }
)


def on_a_log(frame: pl.DataFrame, table: Table, typist: labelling.Typist, book: Book) -> pl.DataFrame:
    """What a log's requests are called and where they go, as `classify` and `simulate` have it."""
    decided = typist.decide(frame)
    if table.request_rules():
        decided = decided.with_columns(rule_expression(table.request_rules()).alias("rule"))
    return route(decided, table, in_catalogue=lambda name: book.resolve(None, name) is not None)


def one_by_one(router: Router, frame: pl.DataFrame) -> Iterator[Decision]:
    for row in frame.iter_rows(named=True):
        counts = [row[kind] for kind in INPUT_KINDS if row.get(kind) is not None]
        yield router.route(
            row.get("prompt"),
            system=row.get("system"),
            previous_message=row.get("previous_prompt"),
            n_messages=row.get("n_messages"),
            input_tokens=sum(counts) if counts else None,
            needs=row.get("needs"),
            mode=row.get("mode"),
            model_override=row.get("model_override"),
            feature=row.get("feature"),
            user=row.get("user_id"),
            session=row.get("session_id"),
            project=row.get("project"),
            provider=row.get("provider"),
            model=row.get("model"),
            file=row.get("file"),
            task=row.get("task"),
        )


def assert_the_same(router: Router, frame: pl.DataFrame, table: Table, typist: labelling.Typist, book: Book) -> None:
    columns = ["routed_model", "task", "task_source", "confidence", "routed_mode", "route_reason", "speculative_model"]
    logged = on_a_log(frame, table, typist, book)
    if "confidence" not in logged.columns:
        logged = logged.with_columns(confidence=pl.lit(None, pl.Float64))
    for got, row in zip(one_by_one(router, frame), logged.select(columns).iter_rows(), strict=True):
        assert (got.model, got.task, got.task_source, got.confidence, got.mode, got.reason, got.speculative) == row
        assert got.fallbacks == (table.fallbacks.get(got.model, ()) if got.model else ())
        assert got.error is None


@functools.cache
def shipped() -> tuple[Book, classifier.Classifier]:
    # not as fixtures, which hypothesis would print
    return read_prices(), classifier.load()


@given(TABLES, st.lists(RULE, max_size=4), st.lists(REQUESTS, min_size=1, max_size=4))
@settings(max_examples=250, deadline=None)
def test_random_tables_rules_and_requests(
    table: Table, rules: list[tasks.Rule], requests: list[dict[str, Any]]
) -> None:
    book, model = shipped()
    own = tasks.Rules(tuple(rules))
    frame = pl.DataFrame(requests, schema={name: REQUEST[name] for name in requests[0]})
    router = Router(table, model, rules=own, book=book)
    assert_the_same(router, frame, table, labelling.Typist(model, own), book)


EVERYTHING: Final = """
name: everything
default_mode: balanced
default: {eco: gpt-5.4-nano, balanced: gpt-5.4}
routes:
  simple: {eco: gpt-5.4-nano, balanced: gpt-5.4-mini, sport: gpt-5.4}
  code: {eco: codestral}
  reasoning: gpt-5.4
overrides:
  - {pattern: '(?i)\\b(?:invoice|refund)s?\\b', model: claude-opus-4-7}
  - {system_pattern: '(?i)you are', mode: sport, model: gpt-5.4}
  - {feature: ["*chat*", "s*"], task: simple, model: {eco: mistral-small, balanced: gpt-5.4-nano}}
  - {provider: "anth*", logged_model: "claude-*-4*", keep: true}
  - {user: "*1", model: gpt-5.4-mini}
  - {session: "s*2*", model: gpt-5.4-nano}
  - {project: "*", min_input_tokens: 100, model: gpt-5.4}
  - {min_input_tokens: 2000, max_input_tokens: 30000, model: gemini-3-pro-preview}
fallbacks: {gpt-5.4: [claude-opus-4-7], gpt-5.4-mini: [claude-haiku-4-5]}
speculative: [sport]
"""


# Requests of batches are told in one file and answered in another.
TOGETHER: Final = {
    "anthropic-batch-requests.jsonl": ("anthropic-batch-results.jsonl",),
    "openai-batch-input.jsonl": ("openai-batch-output.jsonl", "openai-batch-errors.jsonl"),
}


def sample_files() -> list[tuple[str, ...]]:
    root = Path(__file__).parent.parent / "sample_logs"
    files = sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file() and p.suffix != ".md")
    return [(str(p), *(str(p.with_name(other)) for other in TOGETHER.get(p.name, ()))) for p in files]


@pytest.mark.parametrize("names", sample_files(), ids=lambda names: names[0])
def test_every_request_of_the_shipped_samples(
    root: Path, tmp_path: Path, book: Book, model: classifier.Classifier, names: tuple[str, ...]
) -> None:
    """Given what the log says of a request, the router decides what `classify` and `simulate` compute, exactly."""
    opened = labelling.open_paths([str(root / "sample_logs" / name) for name in names], None)
    frames = list(labelling.over(opened, lambda chunk, _: chunk.parse(tuple(REQUEST)).requests, [], None))
    frame = pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame(schema=REQUEST)
    if not frame.height:
        pytest.skip("no requests by themselves")
    path = tmp_path / "everything.yaml"
    path.write_text(EVERYTHING, encoding="utf-8")
    # the same requests with pins, modes and labels that few samples have
    n = frame.height
    pins = pl.Series("model_override", [(None, None, "gpt-5.4", "unknown-model", None)[i % 5] for i in range(n)])
    modes = pl.Series("mode", [("eco", None, "sport", "turbo")[i % 4] for i in range(n)], pl.String)
    varied = frame.with_columns(pins, modes, pl.lit(None, pl.String).alias("task"))
    for table in (read_table("default"), read_table("prism-v1.7-a"), read_table(path)):
        router = Router(table, model, book=book)
        typist = labelling.Typist(model, tasks.read_rules())
        assert_the_same(router, frame, table, typist, book)
        assert_the_same(router, varied, table, typist, book)


def test_a_log_of_messages_and_the_messages_themselves(
    tmp_path: Path, book: Book, model: classifier.Classifier
) -> None:
    """An application gives its messages, the log of them goes through the readers: the same decisions."""
    turns: list[list[dict[str, Any]]] = [
        [{"role": "system", "content": "You are terse."}, {"role": "user", "content": SIMPLE}],
        [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hi!"},
            {"role": "user", "content": PARTS},
        ],
        [{"role": "user", "content": "Write a Python function that adds an invoice"}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}],
    ]
    path = tmp_path / "log.jsonl"
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "response_cost": 0.1, "status": "success"}
    times = {"startTime": 1.79e9, "endTime": 1.79e9 + 1, "call_type": "acompletion", "custom_llm_provider": "openai"}
    rows = [{"id": str(n), "model": "gpt-5.4", "messages": t, **usage, **times} for n, t in enumerate(turns)]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    opened = labelling.open_paths([str(path)], None)
    frame = next(labelling.over(opened, lambda chunk, _: chunk.parse(tuple(REQUEST)).requests, [], None))
    table = replace(TABLE, overrides=(*TABLE.overrides, Override("x", system_pattern="terse", mode=("eco",))))
    logged = on_a_log(frame, table, labelling.Typist(model, tasks.read_rules()), book)
    router = Router(table, model, book=book)
    got = [router.route(t, input_tokens=9, model="gpt-5.4", provider="openai") for t in turns]
    assert [d.model for d in got] == logged["routed_model"].to_list()
    assert [(d.task, d.confidence) for d in got] == list(logged.select("task", "confidence").iter_rows())


# --- patterns --------------------------------------------------------------------------------------------------------


@given(st.one_of(PATTERN, st.text("ab\\dws.*+?()[]|^$-{}1,é ", max_size=10)), PROMPT.filter(lambda t: t is not None))
@settings(max_examples=500, deadline=None)
def test_patterns_hold_where_they_do_in_polars(pattern: str, text: str) -> None:
    try:
        expected = pl.Series([text]).str.contains(pattern).item()
    except pl.exceptions.ComputeError:
        with pytest.raises(InputError, match="is not a valid regex"):
            conditions.regex(pattern)
        return
    assert conditions.regex(pattern)(text) == expected


def test_the_engine_that_polars_is_built_with() -> None:
    """What Rust's engine knows and Python's does not, or knows otherwise."""
    for pattern, text, found in (
        (r"[\w--\d]", "123", False),
        (r"[[a-z]&&[^aeiou]]", "aei", False),
        (r"\p{Greek}", "λ", True),
        (r"a\z", "a\n", False),
        (r"a$", "a\n", False),
        (r"(?-u:\b)x", "éx", True),
        (r"\bx", "éx", False),
        (r"(?i)ß", "ẞ", True),
        (r"(a+)+$", "a" * 5_000 + "b", False),
    ):
        assert conditions.regex(pattern)(text) is found, pattern
        assert pl.Series([text]).str.contains(pattern).item() is found, pattern


def test_a_pattern_that_only_polars_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> object:
        raise SchemaError("no")

    monkeypatch.setattr(conditions, "SchemaValidator", refuse)
    assert conditions.regex("b+")("abb") is True
    assert conditions.regex("b+")("a") is False


# --- what goes wrong -------------------------------------------------------------------------------------------------


def broken(model: classifier.Classifier) -> classifier.Classifier:
    """A classifier whose weights are none."""
    return replace(model, weights=None)  # type: ignore[arg-type]


def test_a_classifier_that_fails(book: Book, model: classifier.Classifier) -> None:
    router = Router(TABLE, broken(model), book=book)
    got = router.route("Tell me something about bees that children like")
    assert got == Decision("d-bal", None, None, None, "balanced", FAILED_OPEN, ("d-two",))
    assert isinstance(got.error, Exception)
    # what does not depend on it is as ever
    assert router.route("bees", feature="billing-x").model == "billing"
    assert router.route("bees", task="simple").reason == "route"
    assert router.route(SIMPLE).reason == "route"


def test_without_a_default_the_caller_keeps_its_model(book: Book, model: classifier.Classifier) -> None:
    got = Router(replace(TABLE, default=None), broken(model), book=book).route("bees and children")
    assert (got.model, got.reason) == (None, FAILED_OPEN)


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (5, {}),
        ({"role": "user"}, {}),
        (b"bytes", {}),
        ("hi", {"input_tokens": "many"}),
        ("hi", {"input_tokens": 10**30, "n_messages": 10**30}),
        ("hi", {"task": 5}),
        ("hi", {"feature": 5}),
        ("hi", {"model_override": ["gpt-5.4"]}),
        ("hi", {"mode": ["eco"]}),
        ("hi", {"previous_message": 5}),
        ("hi", {"needs": 5}),
        ([[[[]]], object()], {}),
    ],
)
def test_nothing_that_a_caller_sends_raises(router: Router, message: Any, fields: dict[str, Any]) -> None:
    got = router.route(message, **fields)
    assert got.model is not None
    assert got.reason in (FAILED_OPEN, "default", "route", f"override:{TABLE.overrides[3].key}")


def test_half_of_an_emoji(router: Router) -> None:
    got = router.route("Who was \ud83d?", system="\udc00", feature="billing-\ud83d", user="\ud83d")
    assert (got.model, got.error) == ("billing", None)


@pytest.mark.parametrize("rule", [tasks.Rule(task="code", pattern="("), tasks.Rule(task="code")])
def test_rules_that_cannot_be_evaluated(book: Book, model: classifier.Classifier, rule: tasks.Rule) -> None:
    """As on a log: what has no label of its own is unclassified, and nothing stops."""
    rules = tasks.Rules((rule,))
    router = Router(TABLE, model, rules=rules, book=book)
    got = router.route(SIMPLE)
    assert (got.model, got.task, got.reason) == ("d-bal", None, FAILED_OPEN)
    assert isinstance(got.error, InputError)
    assert router.route(SIMPLE, task="simple").reason == "route"
    frame = pl.DataFrame({"prompt": [SIMPLE]})
    assert labelling.Typist(None, rules).decide(frame)["task"].to_list() == [None]


def test_a_bundled_classifier_that_cannot_be_read(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routecost.classifier.model.SHIPPED", "gone.npz")
    got = Router(TABLE, book=book).route("bees and children")
    assert (got.model, got.reason) == ("d-bal", FAILED_OPEN)
    assert "gone.npz" in str(got.error)


def test_what_was_named_and_cannot_be_read_is_told_at_once(tmp_path: Path, book: Book) -> None:
    with pytest.raises(InputError, match="cannot be read as a classifier"):
        Router(TABLE, tmp_path / "none.npz", book=book)
    with pytest.raises(InputError, match="there is no routing table nowhere"):
        Router("nowhere", False, book=book)
    with pytest.raises(InputError, match="cannot be read as a task rules file"):
        Router(TABLE, False, rules=tmp_path / "none.yaml", book=book)
    with pytest.raises(InputError, match="is not a valid regex"):
        Router(replace(TABLE, overrides=(Override("x", pattern="("),)), False, book=book)


# --- threads, memory, import -----------------------------------------------------------------------------------------


def test_threads_share_it(book: Book, model: classifier.Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routecost.router.decide._REMEMBERED", 5)
    router = Router(TABLE, model, book=book)
    prompts = [SIMPLE, "Write a SQL query: SELECT a FROM b", "Tell me about bees", "urgent: é ü", "x" * 7_000, ""]
    pins = [None, "gpt-5.4", *(f"unknown-{i}" for i in range(12))]
    cases: Sequence[tuple[str, str | None, str | None]] = [
        (p, pin, mode) for p in prompts for pin in pins for mode in ("eco", "sport", None)
    ]
    expected = [router.route(p, model_override=pin, mode=mode) for p, pin, mode in cases]
    wrong: list[object] = []
    start = threading.Barrier(16)

    def hammer(offset: int) -> None:
        start.wait()
        for i in range(4 * len(cases)):
            k = (i * 7 + offset) % len(cases)
            p, pin, mode = cases[k]
            if (got := router.route(p, model_override=pin, mode=mode)) != expected[k] or got.error:
                wrong.append((cases[k], got))

    threads = [threading.Thread(target=hammer, args=(n * 17,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_pins_that_nobody_knows_do_not_fill_the_memory(
    book: Book, model: classifier.Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routecost.router.decide._REMEMBERED", 10)
    router = Router(TABLE, model, book=book)
    before = len(book._refs)
    for i in range(100):
        router.route("hi", model_override=f"nobody-{i}")
    assert len(router._known_pins) <= 10
    assert len(router._book._refs) <= 10
    assert len(book._refs) == before


def test_import_is_light() -> None:
    code = "import sys, routecost; assert not {'polars', 'numpy', 'numba', 'litellm'} & set(sys.modules); "
    code += "routecost.Router; assert 'litellm' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
