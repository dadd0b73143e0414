"""The quality table: what is read, refused, written and added up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routecost.errors import InputError, UsageError
from routecost.quality import COLUMNS, merged, one_each, read_notes, read_quality, write_quality


def table(*rows: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{**dict.fromkeys(COLUMNS), "task": "code", **row} for row in rows], schema=COLUMNS)


def read(tmp_path: Path, text: str, name: str = "q.csv") -> pl.DataFrame:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_quality(tmp_path / name)


def test_csv_yaml_and_parquet_say_the_same(tmp_path: Path) -> None:
    csv = read(tmp_path, "task,model,n,score,date\ncode,4,10,0.9,2026-10-01\n")
    yaml = read(tmp_path, "- {task: code, model: 4, n: 10, score: 0.9, date: 2026-10-01}\n", "q.yaml")
    pl.DataFrame(
        {"task": ["code"], "model": [4], "n": [10], "score": [0.9], "date": [dt.datetime(2026, 10, 1)]}
    ).write_parquet(tmp_path / "q.parquet")
    parquet = read_quality(tmp_path / "q.parquet")
    assert csv.equals(yaml)
    assert csv.equals(parquet)
    assert csv.schema == COLUMNS
    assert csv.row(0)[:9] == ("code", "4", None, 10, 0.9, None, None, None, "2026-10-01")


def test_successes_are_a_score_and_a_sum_of_squares(tmp_path: Path) -> None:
    row = read(tmp_path, "task,model,n,successes\ncode,a,40,30\n").row(0, named=True)
    assert (row["score"], row["squares"], row["successes"]) == (0.75, 30.0, 30)


def test_spaces_and_what_data_frames_write_for_unknown(tmp_path: Path) -> None:
    frame = read(tmp_path, "\ufefftask; model ;n; score;latency_p50_ms\n code;a ;30.0;0.5;NaN\ncode;b;;;120\n")
    assert frame.select("task", "model", "n", "score", "latency_p50_ms").rows() == [
        ("code", "a", 30, 0.5, None),
        ("code", "b", None, None, 120.0),
    ]


def test_an_empty_table_is_one(tmp_path: Path) -> None:
    assert read(tmp_path, "task,model,score\n").height == 0
    assert read(tmp_path, "[]", "q.yaml").schema == COLUMNS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task,model,socre\na,b,1\n", "unknown column 'socre'. Did you mean score"),
        ("task,score\ncode,1\n", "row 1 (code / ?), model: every row needs a model"),
        ("task,model\n,a\n", "row 1 (? / a), task: every row needs a task"),
        ("task,model,n\ncode,a,10\ncode,b,many\n", "row 2, n: saw 'many', expected a whole number"),
        ("task,model,n\ncode,a,1.5\n", "row 1, n: saw '1.5', expected a whole number"),
        ("task,model,n\ncode,a,0\n", "saw 0, expected 1 or more"),
        ("task,model,score\ncode,a,1\ncode,b,4.2\n", "row 2 (code / b), score: saw 4.2, expected a mean score from 0"),
        ("task,model,score\ncode,b,4.2\n", "`quality import --judge-scale 1-5`"),
        ("task,model,score\ncode,b,8\n", "(grade - 1) / 9"),
        ("task,model,score\ncode,b,87\n", "Divide by 100"),
        ("task,model,score\ncode,b,-0.1\n", "saw -0.1"),
        ("task,model,versus,n,score\ncode,a,b,10,-1.5\n", "row 1 (code / a against b), score: saw -1.5; a row with"),
        ("task,model,versus\ncode,a,a\n", "compared with itself"),
        ("task,model,n,successes\ncode,a,10,11\n", "saw 11, expected 0 to n, which is 10"),
        ("task,model,successes\ncode,a,11\n", "11 successes of how many"),
        ("task,model,versus,n,successes\ncode,a,b,10,1\n", "a row with versus has no successes"),
        ("task,model,n,successes,score\ncode,a,10,5,0.6\n", "5 successes of 10 are 0.5"),
        ("task,model,n,score,squares\ncode,a,10,0.5,2.4\n", "add up to 2.5 to 5. It is the plain sum"),
        ("task,model,n,score,squares\ncode,a,10,0.5,5.1\n", "saw 5.1"),
        ("task,model,versus,n,score,squares\ncode,a,b,10,0.5,11\n", "add up to 2.5 to 10."),
        ("task,model,squares\ncode,a,3\n", "says nothing without n and score"),
        ("task,model,date\ncode,a,1.10.2026\n", "saw '1.10.2026', expected a day such as 2026-10-31"),
        ("task,model,error_rate\ncode,a,5\n", "error_rate: saw 5, expected a share"),
        ("task,model,latency_p50_ms\ncode,a,-1\n", "saw -1, expected 0 or more"),
        ("task,model,latency_p50_ms,latency_p99_ms\ncode,a,9,8\n", "saw 8, less than latency_p50_ms, which is 9"),
        ("task,model,output_ratio\ncode,a,0\n", "saw 0, expected more than 0"),
        ("task,model,cost_usd\ncode,a,inf\n", "cost_usd: saw inf"),
        (
            "task,model,source\ncode,a,x\ncode,b,x\ncode,a,x\n",
            "code / a stands more than once of source 'x' (rows 1, 3)",
        ),
        ("task,model,versus\ncode,a,b\ncode,b,a\n", "code / a against b stands more than once without a source"),
        ("task,model\ncode,a,b\n", "not a quality table that can be read"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    assert said in str(error.value)
    assert "q.csv" in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("q.yaml", b"task: code", "a list of rows"),
        ("q.yaml", b"- {task: code", "not YAML"),
        ("q.yaml", b"- {task: code, model: [a]}", "row 1"),
        ("q.yaml", b"- {task: code, model: a, n: true}", "saw 'True', expected a whole number"),
        ("q.csv", b"task,model\n\xff,a\n", "not UTF-8"),
        ("q.parquet", b"PAR1", "not a quality table that can be read"),
        ("absent.csv", None, "No such file"),
    ],
)
def test_files_that_are_no_table(name: str, content: bytes | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_quality(tmp_path / name)


def test_boundaries_of_squares(tmp_path: Path) -> None:
    # 10 scores with a mean of 0.5: all 0.5, or five of each
    assert read(tmp_path, "task,model,n,score,squares\ncode,a,10,0.5,2.5\ncode,b,10,0.5,5\n").height == 2


# --- writing ----------------------------------------------------------------------------------------------------------

names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(lambda t: t == t.strip() != "")
scores = st.lists(st.sampled_from([0.0, 0.25, 1 / 3, 0.8, 1.0]), min_size=1, max_size=20)


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    values = draw(scores)
    pair = draw(st.booleans())
    n, total = len(values), sum(values)
    return {
        "task": draw(names),
        "model": draw(names),
        "versus": draw(names) if pair else None,
        "n": n,
        "score": min(total / n, 1.0),
        "squares": draw(st.sampled_from([None, sum(v * v for v in values)])),
        "source": draw(st.none() | names),
        "date": draw(st.none() | st.dates().map(dt.date.isoformat)),
        "latency_p50_ms": draw(st.none() | st.floats(0, 1e6)),
        "output_ratio": draw(st.none() | st.floats(0.01, 100)),
        "truncation_rate": draw(st.none() | st.floats(0, 1)),
    }


def one_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row["task"], frozenset((row["model"], row["versus"])), row["source"])


tables = st.lists(rows().filter(lambda r: r["model"] != r["versus"]), max_size=6, unique_by=one_key).map(
    lambda found: table(*found)
)


@pytest.mark.parametrize("name", ["q.csv", "q.yaml", "q.parquet"])
def test_what_is_written_reads_back(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("q") / name

    @given(tables, st.lists(names, max_size=3))
    def law(frame: pl.DataFrame, notes: list[str]) -> None:
        write_quality(frame, path, notes=notes)
        assert read_quality(path).equals(frame)
        assert read_notes(path) == tuple(" ".join(note.split()) for note in notes)

    law()


def test_a_name_that_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"name it \.csv, \.yaml or \.parquet"):
        write_quality(table(), tmp_path / "q.txt")


# --- adding up --------------------------------------------------------------------------------------------------------


def test_rows_of_one_key_are_added_up() -> None:
    old = table({"model": "a", "n": 10, "score": 0.5, "squares": 4.0, "date": "2026-01-01", "latency_p50_ms": 9.0})
    new = table({"model": "a", "n": 30, "score": 0.9, "squares": 26.0, "date": "2026-02-01", "latency_p50_ms": 5.0})
    for order in ([old, new], [new, old]):
        row = merged(order).row(0, named=True)
        assert (row["n"], row["score"], row["squares"]) == (40, pytest.approx(0.8), 30.0)
        # as old as its oldest part, as fast as it is now
        assert (row["date"], row["latency_p50_ms"]) == ("2026-01-01", 5.0)


def test_a_file_named_twice_counts_once() -> None:
    one = table({"model": "a", "n": 10, "score": 0.5})
    assert merged([one, one]).equals(one)


def test_sources_and_tasks_stay_apart_and_unknown_squares_stay_unknown() -> None:
    rows = [
        {"model": "a", "n": 10, "score": 0.5, "source": s, "task": t} for s in ("x", "y") for t in ("code", "simple")
    ]
    assert merged([table(*rows)]).height == 4
    twice = merged(
        [table({"model": "a", "n": 1, "score": 1.0, "squares": 1.0}), table({"model": "a", "n": 2, "score": 0.5})]
    )
    assert twice.row(0, named=True)["squares"] is None


def test_a_pair_is_one_pair_either_way_round() -> None:
    one = table({"model": "a", "versus": "b", "n": 10, "score": 0.2, "squares": 4.0})
    two = table({"model": "b", "versus": "a", "n": 30, "score": 0.1, "squares": 6.0})
    assert merged([one, two]).select("model", "versus", "n", "score", "squares").rows() == [
        ("a", "b", 40, pytest.approx(-0.025), 10.0)
    ]


def test_a_latency_without_grades_goes_with_the_grades() -> None:
    grades = table({"model": "a", "n": 10, "score": 0.5})
    latency = table({"model": "a", "latency_p50_ms": 9.0})
    row = merged([grades, latency]).row(0, named=True)
    assert (row["n"], row["score"], row["latency_p50_ms"]) == (10, 0.5, 9.0)


@given(tables, tables)
def test_merged_tables_can_be_read_and_lose_no_grade(
    tmp_path_factory: pytest.TempPathFactory, one: pl.DataFrame, two: pl.DataFrame
) -> None:
    both = merged([one, two])
    path = tmp_path_factory.mktemp("m") / "q.parquet"
    write_quality(both, path)
    assert read_quality(path).equals(both)
    assert both["n"].sum() == pl.concat([one, two]).unique()["n"].sum() or one.height * two.height > 0


def test_one_row_each_is_that_of_the_most_answers() -> None:
    frame = table(
        {"model": "a", "n": 10, "score": 0.5, "source": "x", "latency_p50_ms": 1.0},
        {"model": "a", "n": 20, "score": 0.7, "source": "y"},
        {"model": "a", "latency_p50_ms": 7.0, "latency_p95_ms": 8.0, "source": "z"},
        {"model": "a", "versus": "b", "n": 500, "score": 0.1},
        {"model": "b", "score": 0.4},
    )
    assert one_each(frame).select("model", "n", "score", "latency_p50_ms", "latency_p95_ms").rows() == [
        ("a", 20, 0.7, 1.0, None),
        ("b", None, 0.4, None, None),
    ]
