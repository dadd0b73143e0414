"""The same requests on two sides: keys that tell nobody's text, the file that holds them, who is paired with whom."""

from __future__ import annotations

import datetime as dt
import json
import random
import stat
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Run
from routecost.errors import InputError
from routecost.pipeline.intake import Intake, Options, read
from routecost.pipeline.pairs import asked, evidence, pairs_of
from routecost.prices import Book, read_prices
from routecost.schema import TOKEN_KINDS
from routecost.usage import Keyed, is_pairs_file, is_usage_file, joined, pairs_path, read_pairs, write_pairs
from routecost.usage.pairs import COLUMNS, KEYS, merged, secret_of, with_keys

PAIRED = Options(pairs=True, salt="s")


@pytest.fixture(scope="module")
def book() -> Book:
    return read_prices()


def line(**fields: Any) -> dict[str, Any]:
    usual = {"ts": "2026-11-02T12:00:00Z", "model": "gpt-5.4", "input_tokens": 100, "output_tokens": 10}
    return {**usual, "task": "simple", **fields}


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def side(path: Path, book: Book, *rows: Mapping[str, Any], options: Options = PAIRED) -> Keyed:
    found = pairs_of([write(path, rows)], book, options)
    assert found is not None
    return found


def keyed(*rows: tuple[int | None, int | None, int]) -> Keyed:
    """Requests of (id, prompt, output tokens)."""
    frame = pl.DataFrame(
        [dict(zip((*KEYS, "output_tokens"), row, strict=True)) for row in rows],
        schema={**dict.fromkeys(KEYS, pl.UInt64()), "output_tokens": pl.Int64()},
    )
    missing = (pl.lit(None, t).alias(c) for c, t in COLUMNS.items() if c not in frame.columns)
    return Keyed(frame.with_columns(missing).select(*COLUMNS), "mark", "auto", "routecost")


def outputs(base: Keyed, current: Keyed) -> list[tuple[int, int]]:
    return joined(base, current).rows.select("output_tokens_base", "output_tokens_current").rows()


# --- keys -----------------------------------------------------------------------------------------------------------


def test_keys_are_of_the_id_and_of_the_prompt_with_its_messages() -> None:
    frame = pl.DataFrame(
        {
            "request_id": ["a", "a", None, "hello"],
            "prompt": ["hello", "hello", "hello", None],
            "n_messages": [1, 3, None, 1],
        }
    )
    found = with_keys(frame, secret_of("s"))
    first, second, third, fourth = found.select(*KEYS).rows()
    assert first[0] == second[0]
    # the same words later in a talk are another request
    assert len({first[1], second[1], third[1]}) == 3
    assert third[0] is None
    assert fourth[1] is None
    # an id is not taken for a prompt of the same text
    assert fourth[0] not in {first[1], second[1], third[1]}
    assert found.schema["id_key"] == found.schema["prompt_key"] == pl.UInt64


def test_another_salt_gives_other_keys_of_any_length() -> None:
    frame = pl.DataFrame({"request_id": ["a"]})
    salts = ("", "s", "t", "x" * 300, "x" * 301)
    assert len({with_keys(frame, secret_of(salt))["id_key"].item() for salt in salts}) == len(salts)


# --- logs -----------------------------------------------------------------------------------------------------------


def test_a_log_has_a_row_for_each_request_that_it_counts(tmp_path: Path, book: Book) -> None:
    rows = [
        line(request_id="a", prompt="one", output_tokens=20, feature="search", user_id="u"),
        line(request_id="b", prompt="two", task="code"),
        # counted once, so kept once
        line(request_id="a", prompt="one", output_tokens=20, feature="search", user_id="u"),
        line(prompt="three"),
    ]
    found = side(tmp_path / "log.jsonl", book, *rows)
    assert found.rows.schema == pl.Schema(COLUMNS)
    assert found.rows.height == 3
    assert found.rows["id_key"].null_count() == 1
    assert found.rows["prompt_key"].n_unique() == 3
    whole = read([str(tmp_path / "log.jsonl")], book, options=PAIRED)
    assert whole.usage.requests == 3
    for kind in TOKEN_KINDS:
        assert found.rows[kind].sum() == whole.usage.cells[kind].sum()
    # groups are those of the usage, so that what varies together stays together
    groups = whole.usage.groups.group_by("group").agg(pl.col("requests").sum()).sort("group")
    assert found.rows["group"].sort().unique().to_list() == groups["group"].to_list()


def test_asking_for_pairs_changes_nothing_of_the_usage(tmp_path: Path, book: Book) -> None:
    path = write(tmp_path / "log.jsonl", [line(request_id=str(n), prompt="p", output_tokens=n) for n in range(50)])
    plain, asked_for = read([path], book), read([path], book, options=PAIRED)
    assert plain.pairs is None
    assert plain.usage.cells.equals(asked_for.usage.cells)
    assert plain.usage.groups.equals(asked_for.usage.groups)


def test_no_text_and_no_id_is_kept(tmp_path: Path, book: Book) -> None:
    found = side(tmp_path / "log.jsonl", book, line(request_id="req-secret", prompt="my-secret", user_id="u-secret"))
    path = tmp_path / "usage.pairs.parquet"
    write_pairs(found, path)
    assert b"secret" not in path.read_bytes()
    assert not any("secret" in str(value) for value in found.rows.row(0))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_order_of_files_and_lines_is_nothing(tmp_path: Path, book: Book) -> None:
    rng = random.Random(5)
    rows = [
        line(
            ts=f"2026-11-{1 + n % 3:02}T12:{n % 60:02}:00Z", request_id=f"r{n}" if n % 3 else None, prompt=f"p{n % 7}",
            output_tokens=n,
        )
        for n in range(200)
    ]  # fmt: skip
    contents = set()
    for turn in range(3):
        folder = tmp_path / str(turn)
        folder.mkdir()
        cut = rng.randrange(1, 199)
        write(folder / "b.jsonl", rows[:cut])
        write(folder / "a.jsonl", rows[cut:])
        found = pairs_of([str(folder)], book, replace(PAIRED, workers=turn + 1))
        assert found is not None
        write_pairs(found, folder / "x.pairs.parquet")
        contents.add((folder / "x.pairs.parquet").read_bytes())
        rng.shuffle(rows)
    assert len(contents) == 1


# --- the file -------------------------------------------------------------------------------------------------------


def test_a_file_gives_back_what_was_written(tmp_path: Path, book: Book) -> None:
    found = side(tmp_path / "log.jsonl", book, line(request_id="a"), line(prompt="x"))
    path = pairs_path(tmp_path / "usage.parquet")
    assert path.name == "usage.pairs.parquet"
    assert pairs_path("usage").name == "usage.pairs.parquet"
    write_pairs(found, path)
    again = read_pairs(path)
    assert again.rows.equals(found.rows)
    assert (again.mark, again.unit, again.salt) == (found.mark, found.unit, found.salt)
    assert is_pairs_file(path)
    assert not is_usage_file(path)
    assert not is_pairs_file(tmp_path / "log.jsonl")
    assert not is_pairs_file(tmp_path / "none.parquet")


def test_what_is_no_such_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "usage.pairs.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(path)
    with pytest.raises(InputError, match="Expected one that `routecost tally --pairs` wrote"):
        read_pairs(path)
    pl.DataFrame({"a": [1]}).write_parquet(path, metadata={"routecost-pairs": json.dumps({"schema_version": 1})})
    with pytest.raises(InputError, match="requests in version 1, this program reads"):
        read_pairs(path)
    with pytest.raises(InputError, match=r"no-folder.*Choose another place"):
        write_pairs(keyed(), tmp_path / "no-folder" / "x.pairs.parquet")


# --- who is paired with whom ----------------------------------------------------------------------------------------


def test_by_id_first_and_the_rest_by_prompt() -> None:
    base = keyed((1, 10, 100), (2, 20, 200), (None, 30, 300), (4, 40, 400))
    current = keyed((9, 20, 201), (1, 99, 101), (None, 30, 301), (5, 50, 501))
    found = joined(base, current)
    assert outputs(base, current) == [(100, 101), (200, 201), (300, 301)]
    assert (found.by_id, found.by_prompt, found.repeated) == (1, 2, 0)
    assert (found.base, found.current, found.share) == (4, 4, 0.75)


def test_repeated_keys_are_taken_in_order_when_equally_often() -> None:
    base = keyed((None, 7, 1), (None, 8, 2), (None, 7, 3))
    current = keyed((None, 7, 11), (None, 7, 13), (None, 8, 12))
    assert outputs(base, current) == [(1, 11), (2, 12), (3, 13)]


def test_repeated_keys_are_left_out_and_counted_when_not() -> None:
    base = keyed((None, 7, 1), (None, 7, 3), (None, 8, 2), (3, None, 5), (3, None, 6))
    current = keyed((None, 7, 11), (None, 8, 12), (3, None, 15))
    found = joined(base, current)
    assert outputs(base, current) == [(2, 12)]
    # three of prompt 7, three of id 3
    assert found.repeated == 6


def test_an_uneven_id_may_still_be_found_by_its_prompt() -> None:
    base, current = keyed((3, 30, 1), (3, 31, 2)), keyed((3, 30, 11))
    found = joined(base, current)
    assert outputs(base, current) == [(1, 11)]
    assert (found.by_prompt, found.repeated) == (1, 1)


def test_sides_without_keys_or_requests_have_no_pairs() -> None:
    assert joined(keyed((None, None, 1)), keyed((None, None, 1))).rows.height == 0
    empty = joined(keyed(), keyed())
    assert (empty.rows.height, empty.share) == (0, 0.0)


key = st.one_of(st.none(), st.integers(0, 6))
requests = st.lists(st.tuples(key, key, st.integers(0, 99)), max_size=25)


@settings(deadline=None)
@given(requests, requests)
def test_nobody_is_paired_twice_and_swapped_sides_give_the_same_pairs(
    base: list[tuple[int | None, int | None, int]], current: list[tuple[int | None, int | None, int]]
) -> None:
    # a row number as the count tells rows apart
    left = keyed(*((i, p, n) for n, (i, p, _) in enumerate(base)))
    right = keyed(*((i, p, n) for n, (i, p, _) in enumerate(current)))
    pairs, swapped = outputs(left, right), outputs(right, left)
    assert len({b for b, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
    assert sorted(pairs) == sorted((c, b) for b, c in swapped)
    for b, c in pairs:
        assert any(x is not None and x == y for x, y in zip(base[b][:2], current[c][:2], strict=True))
    found = joined(left, right)
    assert found.by_id + found.by_prompt == len(pairs)
    assert found.repeated + 2 * len(pairs) <= len(base) + len(current)


@settings(deadline=None)
@given(requests)
def test_a_side_is_paired_with_itself(rows: list[tuple[int | None, int | None, int]]) -> None:
    one = keyed(*rows)
    assert all(b == c for b, c in outputs(one, one))
    assert joined(one, one).rows.height == sum(i is not None or p is not None for i, p, _ in rows)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mark": "other"}, "different salts.*ROUTECOST_SALT"),
        ({"unit": "user"}, "another unit.*'auto' and 'user'"),
        ({"salt": "other"}, "another salt of the groups"),
    ],
)
def test_sides_of_another_kind_are_refused(change: dict[str, str], said: str) -> None:
    one = keyed((1, 1, 1))
    other = replace(one, **change)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=said):
        joined(one, other)
    with pytest.raises(InputError, match=said):
        merged([one, other])


# --- what they cost -------------------------------------------------------------------------------------------------


def sides(
    tmp_path: Path, book: Book, base: list[dict[str, Any]], current: list[dict[str, Any]]
) -> tuple[Intake, Intake]:
    paths = (write(tmp_path / "base.jsonl", base), write(tmp_path / "current.jsonl", current))
    first, second = (read([path], book, options=PAIRED) for path in paths)
    return first, second


def test_pairs_are_priced_on_both_sides(tmp_path: Path, book: Book) -> None:
    base = [line(prompt=f"p{n}", output_tokens=100, feature="f", task="code") for n in range(3)]
    current = [line(prompt=f"p{n}", output_tokens=200, task="simple") for n in range(3)]
    before, after = sides(tmp_path, book, base, current)
    found = evidence(before, after, book, None)
    assert found.rows is not None
    assert found.rows.columns == ["group", "task", "feature", "model", "base_usd", "current_usd"]
    assert found.rows.row(0)[1:4] == ("code", "f", "gpt-5.4")
    # gpt-5.4: 2.50 and 15 USD a million
    assert found.rows["base_usd"].to_list() == pytest.approx([100 * 2.5e-6 + 100 * 15e-6] * 3)
    assert found.rows["current_usd"].to_list() == pytest.approx([100 * 2.5e-6 + 200 * 15e-6] * 3)
    assert found.notes == ("Paired requests: 3 by prompt.",)


def test_what_has_no_price_on_a_side_is_left_out(tmp_path: Path, book: Book) -> None:
    base = [line(request_id=f"r{n}") for n in range(3)]
    current = [line(request_id=f"r{n}", model="nobody-knows" if n == 1 else "gpt-5.4") for n in range(3)]
    found = evidence(*sides(tmp_path, book, base, current), book, None)
    assert found.rows is not None
    assert found.rows.height == 2
    assert found.notes[1] == "1 of them have no price on one side or on both, and are left out."


@pytest.mark.parametrize(("same", "paired"), [(5, True), (4, False)])
def test_few_pairs_do_not_stand_for_the_whole(tmp_path: Path, book: Book, same: int, paired: bool) -> None:
    base = [line(request_id=f"r{n}") for n in range(10)]
    current = [line(request_id=f"r{n}" if n < same else f"new{n}") for n in range(10)]
    found = evidence(*sides(tmp_path, book, base, current), book, None)
    assert (found.rows is not None) is paired
    assert ("too little" in " ".join(found.notes)) is not paired


def test_sides_that_cannot_be_paired_say_why(tmp_path: Path, book: Book) -> None:
    path = write(tmp_path / "log.jsonl", [line(request_id="a")])
    one, other = (read([path], book, options=replace(PAIRED, salt=salt)) for salt in ("a", "b"))
    found = evidence(one, other, book, None)
    assert found.rows is None
    assert "different salts" in found.notes[0]
    assert evidence(read([path], book), one, book, None).rows is None
    # nothing in common is no news: most logs have not
    other = read([write(tmp_path / "other.jsonl", [line(request_id="z")])], book, options=replace(PAIRED, salt="a"))
    assert evidence(one, other, book, None).notes == ()


# --- the command ----------------------------------------------------------------------------------------------------


def test_tally_writes_requests_beside_the_usage(tmp_path: Path, cli: Run, book: Book) -> None:
    log = write(tmp_path / "log.jsonl", [line(request_id=f"r{n}", prompt="p", output_tokens=n) for n in range(9)])
    out = tmp_path / "usage.parquet"
    done = cli("tally", log, "--pairs", "--salt", "s", "-o", out)
    assert done.returncode == 0, done.stderr
    assert "usage.pairs.parquet: 9 requests." in done.stderr
    beside = tmp_path / "usage.pairs.parquet"
    assert stat.S_IMODE(beside.stat().st_mode) == 0o600
    # the file says the same as the log, under the same salt
    found = pairs_of([str(out)], book)
    again = side(tmp_path / "log.jsonl", book, *map(json.loads, Path(log).read_text().splitlines()))
    assert found is not None
    assert found.rows.equals(again.rows)
    assert found.mark == again.mark
    assert joined(found, again).by_id == 9


def test_requests_of_another_usage_are_left_out(tmp_path: Path, cli: Run, book: Book) -> None:
    out = tmp_path / "usage.parquet"
    log = write(tmp_path / "a.jsonl", [line(request_id="a")])
    assert cli("tally", log, "--pairs", "--salt", "s", "-o", out).returncode == 0
    # tallied anew, without --pairs
    cli("tally", write(tmp_path / "a.jsonl", [line(request_id="a", output_tokens=11)]), "-o", out)
    found = read([str(out)], book, options=PAIRED)
    assert found.pairs is None
    assert "does not belong to" in found.notes[-1]
    pairs_path(out).unlink()
    assert "tallied without --pairs" in read([str(out)], book, options=PAIRED).notes[-1]
    assert read([str(out)], book).notes == ()


def test_a_folder_of_usage_files_does_not_count_requests_twice(tmp_path: Path, cli: Run, book: Book) -> None:
    folder = tmp_path / "usage"
    folder.mkdir()
    for name in ("a", "b"):
        log = write(
            tmp_path / f"{name}.jsonl", [line(request_id=name, ts=f"2026-11-0{n}T12:00:00Z") for n in (2, 3)][:1]
        )
        assert cli("tally", log, "--pairs", "--salt", "s", "-o", folder / f"{name}.parquet").returncode == 0
    found = read([str(folder)], book, options=PAIRED)
    assert found.usage.requests == 2
    assert found.pairs is not None
    assert found.pairs.rows.height == 2


def test_days_are_cut_from_requests_as_from_the_usage(tmp_path: Path, cli: Run, book: Book) -> None:
    log = write(tmp_path / "log.jsonl", [line(request_id=str(n), ts=f"2026-11-0{n}T12:00:00Z") for n in (1, 2, 3)])
    out = tmp_path / "usage.parquet"
    assert cli("tally", log, "--pairs", "--salt", "s", "-o", out).returncode == 0
    since = replace(PAIRED, since=dt.datetime(2026, 11, 2, tzinfo=dt.UTC))
    for path in (str(out), log):
        found = read([path], book, options=since)
        assert found.pairs is not None
        assert found.pairs.rows.height == found.usage.requests == 2


def test_options_ask_for_pairs_where_both_sides_can_have_them(tmp_path: Path, cli: Run) -> None:
    log = write(tmp_path / "log.jsonl", [line(request_id="a")])
    out = str(tmp_path / "usage.parquet")
    assert cli("tally", log, "-o", out).returncode == 0
    plain = Options()
    assert not asked(plain, out, [log]).pairs
    both = asked(plain, log, [log])
    assert both.pairs
    # a salt that nobody will know again
    assert both.salt
    assert asked(plain, log, [log]).salt != both.salt
    own = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert cli("tally", log, "--pairs", "-o", out, env=own).returncode == 0
    assert (tmp_path / "config" / "routecost" / "salt").exists()
    assert asked(plain, out, [log]) == replace(plain, pairs=True)
    assert asked(replace(plain, salt="s"), out, [log]) == replace(plain, pairs=True, salt="s")
