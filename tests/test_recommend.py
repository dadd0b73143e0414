"""Choices for each cell, the limit over all cells, and the whole recommendation on traffic of known quality."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Run
from routecost import savings
from routecost.errors import UndecidedError, UsageError
from routecost.pipeline import commands
from routecost.pipeline.recommendation import Recommendation, Wishes
from routecost.prices import read_prices
from routecost.quality import read_quality
from routecost.recommend.choose import Offer, choose
from routecost.recommend.evidence import Evidence, Graded, gather
from routecost.recommend.solve import Option, frontier, solve
from routecost.recommend.value import mixture
from routecost.routing import Table, read_table
from routecost.stats import Grades, Pairs

TASKS = ("simple", "code", "reasoning", "complex")
# models end: what is expected here is of this day
DAY = dt.date(2026, 11, 24)


def recommended(log: str, **asked: Any) -> Recommendation:
    return commands.recommend(log, as_of=DAY, **asked)


# --- one limit over all cells -----------------------------------------------------------------------------------------

numbers = st.one_of(st.floats(-1, 1, width=16), st.integers(-3, 3).map(float))
cells_of = st.lists(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4), min_size=1, max_size=4)


def brute(cells: Sequence[Sequence[Option]], limit: float) -> float | None:
    costs = [
        sum(cost for cost, _ in picks)
        for picks in itertools.product(*cells)
        if sum(use for _, use in picks) <= limit + 1e-12
    ]
    return min(costs, default=None)


@settings(max_examples=500)
@given(cells_of, st.floats(-4, 4, width=16))
def test_no_choice_within_the_limit_is_cheaper(cells: list[list[Option]], limit: float) -> None:
    found, best = solve(cells, limit), brute(cells, limit)
    if best is None:
        assert found is None
        return
    assert found is not None
    assert found.cost == pytest.approx(best, abs=1e-9)
    assert found.use <= limit + 1e-9
    assert found.bound == pytest.approx(best, abs=1e-9)


@given(cells_of)
def test_nothing_is_below_the_frontier(cells: list[list[Option]]) -> None:
    """Every choice lies on or above the line through the frontier's points, which fall from the first to the last."""
    points = [
        (sum(c[k][1] for c, k in zip(cells, p, strict=True)), sum(c[k][0] for c, k in zip(cells, p, strict=True)))
        for p in frontier(cells)
    ]
    uses, costs = np.array(points).T
    assert (np.diff(uses) > -1e-12).all()
    assert (np.diff(costs) < 1e-12).all()
    for picks in itertools.product(*cells):
        use, cost = sum(u for _, u in picks), sum(c for c, _ in picks)
        assert use >= uses[0] - 1e-9
        assert cost >= np.interp(use, uses, costs) - 1e-9


def test_a_random_split_is_the_best_line_between_two_models() -> None:
    costs, quality = np.array([1.0, 3.0, 10.0]), np.array([0.5, 0.8, 0.9])
    assert mixture(costs, quality, 2.0) @ quality == pytest.approx(0.65)
    assert mixture(costs, quality, 0.1) @ quality == pytest.approx(0.5)
    assert mixture(costs, quality, 20.0) @ quality == pytest.approx(0.9)


# --- one cell ---------------------------------------------------------------------------------------------------------

OFFERS = [Offer("small", 1.0, 1.0), Offer("mid", 3.0, 3.0), Offer("ref", 10.0, 10.0), Offer("top", 20.0, 20.0)]


def evidence(
    scores: Mapping[str, tuple[int, float]], source: str = "bench", pairs: Mapping[str, Pairs] | None = None
) -> Evidence:
    return Evidence(
        {("code", m): {source: Graded("code", m, source, "2026-11-01", Grades(n, s))} for m, (n, s) in scores.items()},
        {("code", m, "ref"): {source: (p, None)} for m, p in (pairs or {}).items()},
    )


@pytest.mark.parametrize(
    ("mode", "scores", "model", "reason"),
    [
        ("eco", {"small": (400, 0.9), "mid": (400, 0.9), "ref": (400, 0.9)}, "small", "cheapest"),
        ("eco", {"small": (400, 0.78), "mid": (400, 0.89), "ref": (400, 0.9)}, "mid", "cheapest"),
        # 0.03 is less than 400 answers can tell
        ("balanced", {"small": (400, 0.9), "mid": (400, 0.9), "ref": (400, 0.9)}, "ref", "not_proven"),
        ("eco", {"small": (10, 1.0), "mid": (10, 1.0), "ref": (10, 0.9)}, "ref", "not_proven"),
        ("eco", {"small": (400, 0.9), "mid": (400, 0.9)}, "ref", "no_evidence"),
        ("eco", {}, "ref", "no_evidence"),
        ("sport", {"small": (400, 0.9), "ref": (400, 0.9), "top": (400, 0.95)}, "top", "best"),
        # seven answers, all of them good, are less than four hundred of which most are
        ("sport", {"small": (7, 1.0), "ref": (400, 0.9)}, "ref", "best"),
        # alike: the faster, else the cheaper
        ("sport", {"mid": (400, 0.9), "ref": (400, 0.9), "top": (400, 0.9)}, "mid", "best"),
    ],
)
def test_the_model_of_a_cell(mode: str, scores: dict[str, tuple[int, float]], model: str, reason: str) -> None:
    found = choose("code", mode, OFFERS, "ref", evidence(scores))
    assert (found.model, found.reason) == (model, reason)


def test_the_bounds_are_corrected_for_those_that_could_be_taken_and_no_others() -> None:
    graded = evidence({"small": (400, 0.9), "mid": (400, 0.9), "ref": (400, 0.9), "top": (400, 0.95)})
    both = choose("code", "eco", OFFERS, "ref", graded)
    assert both.tried == 2
    assert both.comparison is not None
    assert both.comparison.alpha == pytest.approx(0.025)
    blocked = [Offer("small", 1.0, 1.0), Offer("mid", 3.0, 3.0, blocked="too slow"), *OFFERS[2:]]
    one = choose("code", "eco", blocked, "ref", graded)
    assert one.tried == 1
    assert one.comparison is not None
    assert one.comparison.bound > both.comparison.bound


def test_scores_of_different_sources_are_never_compared() -> None:
    mixed = Evidence(
        {
            ("code", "small"): {"thumbs": Graded("code", "small", "thumbs", None, Grades(4000, 0.95))},
            ("code", "ref"): {"bench": Graded("code", "ref", "bench", None, Grades(4000, 0.6))},
        }
    )
    assert choose("code", "eco", OFFERS, "ref", mixed).model == "ref"


def test_pairs_decide_where_answers_apart_cannot() -> None:
    apart = {"small": (300, 0.9), "ref": (300, 0.9)}
    assert choose("code", "balanced", OFFERS, "ref", evidence(apart)).model == "ref"
    paired = choose("code", "balanced", OFFERS, "ref", evidence(apart, pairs={"small": Pairs(900, 0.0, 45.0)}))
    assert paired.model == "small"
    assert paired.comparison is not None
    assert paired.comparison.paired
    turned = Evidence(evidence(apart).graded, {("code", "ref", "small"): {"bench": (Pairs(900, 0.0, 45.0), None)}})
    again = choose("code", "balanced", OFFERS, "ref", turned)
    assert (again.model, again.comparison and again.comparison.bound) == ("small", paired.comparison.bound)


def test_a_few_pairs_do_not_take_the_place_of_many_answers() -> None:
    many = {"small": (400, 0.9), "ref": (400, 0.9)}
    found = choose("code", "eco", OFFERS, "ref", evidence(many, pairs={"small": Pairs(3, 0.0, 0.0)}))
    assert found.model == "small"
    assert found.comparison is not None
    assert not found.comparison.paired


def test_too_little_evidence_says_how_much_more_would_decide() -> None:
    found = choose("code", "eco", OFFERS, "ref", evidence({"small": (30, 0.9), "ref": (30, 0.9)}))
    assert found.model == "ref"
    assert found.closest is not None
    assert found.closest.more is not None
    n = 30 + found.closest.more
    assert choose("code", "eco", OFFERS, "ref", evidence({"small": (n, 0.9), "ref": (n, 0.9)})).model == "small"


def test_a_model_that_costs_more_than_the_reference_is_never_taken_to_save() -> None:
    found = choose("code", "eco", OFFERS, "ref", evidence({"top": (4000, 0.99), "ref": (4000, 0.5)}))
    assert (found.model, found.reason) == ("ref", "reference")


# --- the whole, on traffic and qualities that are known ---------------------------------------------------------------

TRUE: Mapping[str, Mapping[str, float]] = {
    "gpt-5.4": {"simple": 0.95, "code": 0.90, "reasoning": 0.90, "complex": 0.90},
    "gpt-5.4-mini": {"simple": 0.95, "code": 0.85, "reasoning": 0.72, "complex": 0.70},
    "gpt-5.4-nano": {"simple": 0.90, "code": 0.70, "reasoning": 0.60, "complex": 0.50},
    "codestral": {"simple": 0.70, "code": 0.89, "reasoning": 0.60, "complex": 0.50},
}
MARGINS = {"eco": 0.10, "balanced": 0.03}


def write_quality(path: Path, changes: Mapping[str, Mapping[str, float]] | None = None) -> Path:
    n = 20_000
    rows = [
        {"task": t, "model": m, "n": n, "score": s, "squares": n * s, "source": "bench", "date": "2026-11-01"}
        for m, scores in {**TRUE, **(changes or {})}.items()
        for t, s in scores.items()
    ]
    pl.DataFrame(rows).write_csv(path)
    return path


def write_log(path: Path, requests: int = 400, **more: object) -> Path:
    rng = np.random.default_rng(5)
    with path.open("w") as file:
        for i in range(requests):
            row = {
                "request_id": f"r{i}",
                "user_id": f"u{i % 80}",
                "session_id": f"s{i // 4}",
                "ts": (dt.datetime(2026, 11, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=40 * i)).isoformat(),
                "model": "gpt-5.4",
                "task": TASKS[int(rng.choice(4, p=[0.5, 0.2, 0.2, 0.1]))],
                "input_tokens": int(rng.integers(200, 4000)),
                "output_tokens": int(rng.integers(20, 900)),
                **more,
            }
            file.write(json.dumps(row) + "\n")
    return path


@pytest.fixture
def known(tmp_path: Path) -> tuple[Path, Path]:
    return write_log(tmp_path / "log.jsonl"), write_quality(tmp_path / "quality.csv")


def test_the_table_is_the_one_that_can_be_proved_best(known: tuple[Path, Path]) -> None:
    """With as many grades as leave no doubt: of all 4^4 tables whose every cell is truly within the margin of the
    reference at its own task, none costs less. Priced independently, table by table, by `simulate`."""
    log, quality = known
    found = recommended(str(log), quality=[quality], wishes=Wishes(reference="gpt-5.4"))
    book = read_prices()
    intake = commands.tally(str(log))
    priced = savings.today(intake.usage.cells, book)
    for mode, margin in MARGINS.items():
        costs = {}
        for models in itertools.product(TRUE, repeat=4):
            table = Table(
                "t", default={mode: "gpt-5.4"}, routes={t: {mode: m} for t, m in zip(TASKS, models, strict=True)}
            )
            if all(TRUE[m][t] > TRUE["gpt-5.4"][t] - margin for t, m in zip(TASKS, models, strict=True)):
                costs[models] = savings.routed(priced, table, book, mode=mode)["routed_usd"].sum()
        best = min(costs, key=lambda models: costs[models])
        assert tuple(found.table.routes[t][mode] for t in TASKS) == best
    assert found.table.routes["simple"] == {"eco": "gpt-5.4-nano", "balanced": "gpt-5.4-mini", "sport": "gpt-5.4-mini"}
    assert found.table.routes["code"]["balanced"] == "codestral"


def test_simulate_gives_the_promised_saving_to_the_cent(known: tuple[Path, Path], tmp_path: Path, cli: Run) -> None:
    log, quality = known
    out = tmp_path / "routes.yaml"
    said = cli(
        "recommend",
        log,
        "--quality",
        quality,
        "--reference",
        "gpt-5.4",
        "-o",
        out,
        "--format",
        "json",
        "--as-of",
        str(DAY),
    )
    assert said.returncode == 0, said.stderr
    promised = json.loads(said.stdout)
    checked = cli("simulate", log, "--table", out, "--format", "json")
    assert checked.returncode == 0, checked.stderr
    scenarios = {s["mode"]: s for s in json.loads(checked.stdout)["scenarios"]}
    for mode in promised["modes"]:
        for key in ("today_usd", "routed_usd", "saving_usd"):
            assert scenarios[mode["mode"]][key] == pytest.approx(mode[key], abs=1e-9)
    table = read_table(out)
    assert table.made is not None
    assert table.made.reference == "gpt-5.4"
    assert table.made.evidence_until == dt.date(2026, 11, 1)


def test_longer_answers_are_paid_for_in_recommend_and_in_simulate_alike(tmp_path: Path, cli: Run) -> None:
    log = write_log(tmp_path / "log.jsonl")
    frame = read_quality(write_quality(tmp_path / "q.csv"))
    wordy = frame.with_columns(output_ratio=pl.when(pl.col("model") == "gpt-5.4-nano").then(30.0).otherwise(1.0))
    wordy.write_parquet(tmp_path / "wordy.parquet")
    out = tmp_path / "routes.yaml"
    args = ("recommend", log, "--reference", "gpt-5.4", "-o", out, "--format", "json", "--as-of", str(DAY), "--quality")
    plain = json.loads(cli(*args, tmp_path / "q.csv").stdout)
    said = json.loads(cli(*args, tmp_path / "wordy.parquet").stdout)
    cell = {(c["task"], c["mode"]): c["model"] for c in plain["cells"]}
    assert cell["simple", "eco"] == "gpt-5.4-nano"
    cell = {(c["task"], c["mode"]): c["model"] for c in said["cells"]}
    assert cell["simple", "eco"] == "gpt-5.4-mini"
    eco = next(m for m in said["modes"] if m["mode"] == "eco")
    again = json.loads(cli("simulate", log, "--table", out, "--mode", "eco", "--format", "json").stdout)
    assert again["scenarios"][0]["saving_usd"] == pytest.approx(eco["saving_usd"], abs=1e-9)


def test_prices_that_are_all_halved_change_no_recommendation(known: tuple[Path, Path], tmp_path: Path) -> None:
    log, quality = known
    half = tmp_path / "half.yaml"
    half.write_text("name: half\nproviders:\n  openai: {discount: 0.5}\n  mistral: {discount: 0.5}\n")
    wishes = Wishes(reference="gpt-5.4")
    once = recommended(str(log), quality=[quality], wishes=wishes)
    less = recommended(str(log), quality=[quality], wishes=wishes, pricing=[half])
    assert once.table.routes == less.table.routes
    assert less.today_usd == pytest.approx(once.today_usd / 2)


def test_costs_are_those_of_the_whole_cells_though_fewer_are_priced(tmp_path: Path) -> None:
    """The search prices cells without features and days; what it finds is what the full cells cost."""
    log = write_log(tmp_path / "log.jsonl", service_tier="default", feature="f", cached_input_tokens=100)
    found = recommended(str(log), quality=[write_quality(tmp_path / "q.csv")], wishes=Wishes(reference="gpt-5.4"))
    book = read_prices()
    priced = savings.today(found.intake.usage.cells, book)
    for single in found.singles:
        table = Table("t", default=None, routes={t: {"balanced": single.name} for t in TASKS})
        whole = savings.routed(priced, table, book, mode="balanced")["routed_usd"].sum()
        assert single.cost_usd == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    ("log_has", "wishes", "why"),
    [
        ({"needs": "tools"}, {}, "lacks tools"),
        ({}, {"deny": ("openai/gpt-5.4-nano",)}, None),
        ({}, {"allow": ("openai", "mistral"), "deny": ("*nano",)}, None),
        ({}, {"max_latency_ms": {"eco": 10.0}}, "its latency is unknown"),
    ],
)
def test_what_cannot_serve_a_task_is_not_taken(
    tmp_path: Path, log_has: dict[str, object], wishes: dict[str, object], why: str | None
) -> None:
    log = write_log(tmp_path / "log.jsonl", 400, **log_has)
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("name: o\nmodels:\n  openai/gpt-5.4-nano: {capabilities: [json]}\n")
    asked = Wishes(reference="gpt-5.4", prefer="eco", **wishes)  # type: ignore[arg-type]
    quality = [write_quality(tmp_path / "q.csv")]
    found = recommended(str(log), quality=quality, wishes=asked, pricing=[overlay])
    assert found.table.routes.get("simple", {}).get("eco") != "gpt-5.4-nano"
    if why is not None:
        nano = next(c for c in found.candidates if c.name == "gpt-5.4-nano")
        assert why in nano.blocked["simple"]


def test_a_context_that_is_too_short_for_one_request_in_a_thousand_is_too_short(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.jsonl")
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("name: o\nmodels:\n  openai/gpt-5.4-nano: {context_window: 3000}\n")
    found = recommended(
        str(log), quality=[write_quality(tmp_path / "q.csv")], wishes=Wishes(reference="gpt-5.4"), pricing=[overlay]
    )
    assert found.table.routes["simple"]["eco"] == "gpt-5.4-mini"
    nano = next(c for c in found.candidates if c.name == "gpt-5.4-nano")
    assert "3,000" in nano.blocked["simple"]


def test_with_a_dear_classifier_one_model_for_everything_is_best(known: tuple[Path, Path], tmp_path: Path) -> None:
    log, _ = known
    close = {t: s - 0.01 for t, s in TRUE["gpt-5.4"].items()}
    quality = [write_quality(tmp_path / "close.csv", {"gpt-5.4-mini": close})]
    asked = Wishes(reference="gpt-5.4", prefer="eco")
    routed = recommended(str(log), quality=quality, wishes=asked)
    assert len({routed.table.routes[t]["eco"] for t in TASKS}) > 1
    fee = Wishes(reference="gpt-5.4", prefer="eco", classifier_cost_usd=0.01)
    found = recommended(str(log), quality=quality, wishes=fee)
    assert {found.table.routes[t]["eco"] for t in TASKS} == {"gpt-5.4-mini"}
    assert next(m for m in found.modes if m.mode == "eco").best_single == "openai/gpt-5.4-mini"
    assert any("for everything costs no more" in note for note in found.notes)


@pytest.mark.parametrize("limit", ["budget", "floor"])
def test_a_limit_over_all_cells_is_kept_as_well_as_it_can_be(known: tuple[Path, Path], limit: str) -> None:
    """Against every table of eligible models."""
    log, quality = known
    free = recommended(str(log), quality=[quality], wishes=Wishes(reference="gpt-5.4", prefer="eco"))
    names = [s.name for s in free.singles]
    book = read_prices()
    priced = savings.today(free.intake.usage.cells, book)
    eligible = {t: [m for m in TRUE if TRUE[m][t] > TRUE["gpt-5.4"][t] - 0.1 and m in names] for t in TASKS}
    share = {t: n / free.intake.usage.requests for t, n in priced.group_by("task").agg(pl.col("requests").sum()).rows()}
    tables = {}
    for models in itertools.product(*eligible.values()):
        table = Table("t", default=None, routes={t: {"eco": m} for t, m in zip(TASKS, models, strict=True)})
        cost = savings.routed(priced, table, book, mode="eco")["routed_usd"].sum()
        tables[models] = (float(cost), sum(share[t] * TRUE[m][t] for t, m in zip(TASKS, models, strict=True)))
    costs = sorted(float(c) for c, _ in tables.values())
    scale = free.scale.factor
    assert scale is not None
    if limit == "budget":
        budget = (costs[0] + costs[-1]) / 2
        asked = Wishes(reference="gpt-5.4", prefer="eco", budget_usd_per_day=budget * scale)
        best = max(((q, -c, m) for m, (c, q) in tables.items() if c <= budget))[2]
    else:
        floor = 0.915
        asked = Wishes(reference="gpt-5.4", prefer="eco", floor=floor)
        best = min(((c, m) for m, (c, q) in tables.items() if q >= floor))[1]
    found = recommended(str(log), quality=[quality], wishes=asked)
    assert found.limited is None
    assert tuple(found.table.routes[t]["eco"] for t in TASKS) == best


def test_lost_caches_add_up_to_no_less_than_the_whole(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    rng = np.random.default_rng(2)
    with log.open("w") as file:
        for i in range(300):
            row = {
                "request_id": f"r{i}", "session_id": f"s{i // 6}", "model": "gpt-5.4", "task": TASKS[rng.integers(4)],
                "ts": f"2026-11-{1 + i // 100:02}T{i % 24:02}:00:00Z", "input_tokens": 4000,
                "cached_input_tokens": 3000 if i % 6 else 0, "output_tokens": 100,
            }  # fmt: skip
            file.write(json.dumps(row) + "\n")
    intake = commands.tally(str(log))
    book = read_prices()
    table = Table("t", routes={"simple": {"balanced": "gpt-5.4-mini"}, "code": {"balanced": "codestral"}})
    priced = savings.today(intake.usage.cells, book)
    sent = savings.routed(priced, table, book, mode="balanced")
    by_task = savings.cache_loss_by_task(sent, intake.usage.carry, book)
    assert set(by_task) == {"simple", "code"}
    moved_only = savings.cache_loss(sent.filter("moved"), intake.usage.carry, table, book, mode="balanced")
    assert sum(by_task.values()) >= moved_only * (1 - 1e-12) > 0


def test_nothing_is_recommended_without_evidence(known: tuple[Path, Path], tmp_path: Path) -> None:
    log, _ = known
    with pytest.raises(UsageError, match="--policy tiers"):
        recommended(str(log))
    pl.DataFrame({"task": ["poetry"], "model": ["gpt-5.4"], "n": [10], "score": [0.5]}).write_csv(tmp_path / "q.csv")
    with pytest.raises(UndecidedError, match="nothing can be compared"):
        recommended(str(log), quality=[tmp_path / "q.csv"], wishes=Wishes(reference="gpt-5.4"))


def test_tiers_say_that_there_is_no_evidence(cli: Run, tmp_path: Path) -> None:
    out = tmp_path / "routes.yaml"
    done = cli(
        "recommend",
        "--mix",
        "simple=50,code=20,reasoning=20,complex=10",
        "--policy",
        "tiers",
        "-o",
        out,
        "--as-of",
        str(DAY),
    )
    assert done.returncode == 0, done.stderr
    assert "No quality evidence" in done.stdout
    assert "no quality evidence" in out.read_text()
    table = read_table(out)
    assert table.routes["reasoning"] == dict.fromkeys(("eco", "balanced", "sport"), "gpt-5.4")
    assert table.routes["code"]["eco"] == "openai/gpt-5.3-codex"
    # gpt-5-nano is cheaper, and ends within weeks
    assert table.routes["simple"]["eco"] == "openai/gpt-6-luna"


def test_grades_of_two_names_for_one_model_are_taken_together() -> None:
    book = read_prices()

    def key(name: str) -> str:
        ref = book.resolve(None, name)
        return ref.key if ref else name

    rows = [("code", "gpt-5.4", 10, 0.5), ("code", "openai/gpt-5.4", 30, 0.9)]
    frame = pl.DataFrame(rows, schema=["task", "model", "n", "score"], orient="row")
    for column in ("versus", "source", "date"):
        frame = frame.with_columns(pl.lit(None, pl.String).alias(column))
    for column in ("squares", "latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "output_ratio"):
        frame = frame.with_columns(pl.lit(None, pl.Float64).alias(column))
    found = gather(frame, key).best("code", "openai/gpt-5.4")
    assert found is not None
    assert found.grades.n == 40
    assert found.grades.score == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--margin", "ecco=0.1"], "Did you mean eco"),
        (["--margin", "eco=two"], "--margin: saw 'two'"),
        (["--alpha", "0.9"], "--alpha"),
        (["--floor", "90"], "--floor"),
        (["--budget", "10/day", "--floor", "0.9"], "give one of them"),
        (["--budget", "ten"], "--budget: saw 'ten'"),
        (["--policy", "tiers", "--quality", "q.csv"], "leave --quality or --policy out"),
        (["--mix", "simple=100"], "--mix makes traffic up"),
    ],
)
def test_a_wrong_command_line_is_told_why(cli: Run, root: Path, args: list[str], said: str) -> None:
    done = cli("recommend", "sample_logs/worked-example.jsonl", *args)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_budget_that_nothing_fits_fails_with_what_the_cheapest_costs(cli: Run, known: tuple[Path, Path]) -> None:
    log, quality = known
    done = cli(
        "recommend", log, "--quality", quality, "--reference", "gpt-5.4", "--budget", "0.0001/day", "--as-of", str(DAY)
    )
    assert done.returncode == 1
    assert "the cheapest costs $" in done.stderr


def test_a_log_without_tasks_and_a_report_that_is_no_table_are_told_what_to_do(cli: Run, tmp_path: Path) -> None:
    quality = write_quality(tmp_path / "q.csv")
    done = cli("recommend", "sample_logs/gateway-export.csv", "--quality", quality, "--reference", "gpt-5.4")
    assert done.returncode == 4
    assert "no request of the log has a task type" in done.stderr
    (tmp_path / "report.json").write_text('{"results": []}')
    done = cli("recommend", "sample_logs/worked-example.jsonl", "--quality", tmp_path / "report.json")
    assert done.returncode == 3
    assert "routecost quality import" in done.stderr
