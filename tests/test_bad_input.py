"""Bad input through the real command: counted, named, located, the rest analysed, and never a traceback."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Run
from routecost.logs import files, records
from routecost.pipeline.intake import Options, read
from routecost.prices import Book, read_prices


def request(n: int, **changes: Any) -> str:
    """The n-th good line, with changes; a field that becomes ... is left out."""
    row: dict[str, Any] = {
        "request_id": f"r{n}",
        "ts": "2026-10-01T00:00:00Z",
        "model": "gpt-5.4",
        "input_tokens": 100,
        "output_tokens": 10,
        "task": "simple",
    }
    row.update(changes)
    return json.dumps({key: value for key, value in row.items() if value is not ...})


def good(count: int, start: int = 0) -> list[str]:
    return [request(n) for n in range(start, start + count)]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode(errors="surrogateescape") if isinstance(content, str) else content)
    return path


def analyze(cli: Run, *args: str | Path, code: int = 0, **more: Any) -> tuple[Any, str]:
    """`analyze --format json`: what it printed on stdout (None for nothing) and on stderr."""
    run: subprocess.CompletedProcess[str] = cli("analyze", *args, "--format", "json", **more)
    assert "Traceback" not in run.stderr
    assert run.returncode == code, run.stderr
    return (json.loads(run.stdout) if run.stdout else None), run.stderr


def faults(result: Any) -> list[tuple[str, int, str, list[str]]]:
    """(code, count, the first reason, line numbers) of what was rejected."""
    return [
        (f["code"], f["count"], f["reason"], [place.rsplit(":", 1)[1] for place in f["places"]])
        for f in result["input"]["rejects"]
    ]


CUT = request(5)[:30]

# name: (lines, code, reason, line)
REJECTED: dict[str, tuple[list[str], str, str, int]] = {
    "a malformed line": ([request(0), '{"a" 1}', *good(2, 1)], "not_json", "not JSON at column 6: Expecting ':'", 2),
    "behind blank lines": (["", request(0), "", " ", "{", *good(2, 1)], "not_json", "not JSON at column 2", 5),
    "a truncated last line": ([*good(3), CUT], "not_json", f"not JSON at column {CUT.rindex(' ') + 2}", 4),
    "a non-UTF-8 byte": ([request(0), request(1).replace("r1", "r\udce9"), request(2)], "not_utf8", "byte 0xe9", 2),
    "a list": ([*good(2), "[1, 2]", request(3)], "not_an_object", "expected a JSON object, saw list", 3),
    "a negative count": (
        [*good(2), request(2, input_tokens=-1)],
        "bad_value",
        "input_tokens: expected a whole number of at least 0, saw -1",
        3,
    ),
    "a textual count": (
        [request(0), request(1, output_tokens="many"), request(2)],
        "bad_value",
        "output_tokens: expected a whole number of at least 0, saw many",
        2,
    ),
}


@pytest.mark.parametrize("name", REJECTED)
def test_a_line_that_is_none_is_counted_named_and_located(cli: Run, tmp_path: Path, name: str) -> None:
    lines, code, reason, place = REJECTED[name]
    log = write(tmp_path / "log.jsonl", "\n".join(lines))
    result, err = analyze(cli, log, "--rejects", tmp_path / "rejects.jsonl")
    ((saw, count, why, places),) = faults(result)
    assert (saw, count, places) == (code, 1, [str(place)])
    assert reason in why
    counts = result["input"]
    stood = [line for line in lines if line.strip()]
    assert (counts["lines"], counts["rejected"], counts["requests"]) == (len(stood), 1, len(stood) - 1)
    assert err == ""
    (kept,) = (tmp_path / "rejects.jsonl").read_text().splitlines()
    text = lines[place - 1].replace("\udce9", "\ufffd")
    assert json.loads(kept) == {"file": str(log), "line": place, "code": code, "reason": why, "text": text}
    assert stat.S_IMODE((tmp_path / "rejects.jsonl").stat().st_mode) == 0o600


def test_the_console_names_them_too(cli: Run, tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", "\n".join([*good(3), "{", "[]"]))
    run = cli("analyze", log.name, cwd=tmp_path)
    assert run.returncode == 0
    assert "2 lines rejected" in run.stdout
    assert "log.jsonl:4" in run.stdout
    assert "not_an_object" in run.stdout


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_byte_order_mark_is_no_fault(cli: Run, tmp_path: Path, end: str) -> None:
    log = write(tmp_path / "log.jsonl", "\ufeff" + end.join([*good(2), "", "{", ""]))
    result, _ = analyze(cli, log)
    assert result["input"]["requests"] == 2
    assert faults(result)[0][3] == ["4"]


@pytest.mark.parametrize(
    ("content", "requests", "code", "places"),
    [
        ("[" + ", ".join(good(3)) + "]", 3, 0, []),
        ("[\n" + ",\n".join([*good(2), "{,}", request(2)]) + "\n]", 3, 0, ["4"]),
        ("[\n" + ",\n".join([*good(3), CUT]), 3, 3, ["5"]),
        ("[\n" + ",\n".join(good(3)), 3, 3, []),
    ],
)
def test_an_array_instead_of_lines(
    cli: Run, tmp_path: Path, content: str, requests: int, code: int, places: list[str]
) -> None:
    result, err = analyze(cli, write(tmp_path / "log.json", content), code=code)
    assert result["input"]["requests"] == requests
    assert [p for fault in faults(result) for p in fault[3]] == places
    assert ("the JSON array is not closed" in err) == (code == 3)
    assert bool(result["input"]["damaged"]) == (code == 3)


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({"input_tokens": ...}, "no_tokens"),
        ({"output_tokens": None}, "no_tokens"),
        ({"input_tokens": ""}, "no_tokens"),
        ({"model": None}, "no_model"),
        ({"model": ...}, "no_model"),
        ({"model": ""}, "no_model"),
    ],
)
def test_a_request_without_tokens_or_model_is_counted_and_not_priced(
    cli: Run, tmp_path: Path, changes: dict[str, Any], counted: str
) -> None:
    result, _ = analyze(cli, write(tmp_path / "log.jsonl", "\n".join([*good(3), request(3, **changes)])))
    assert result["input"]["rejected"] == 0
    coverage = result["coverage"]
    assert (coverage["billable"], coverage["priced"], coverage["unpriced"]) == (4, 3, {counted: 1})


@pytest.mark.parametrize("ts", [..., None, "", "last tuesday", {"at": 1}, 5])
def test_a_request_without_a_moment_is_counted_and_priced(cli: Run, tmp_path: Path, ts: Any) -> None:
    log = write(tmp_path / "log.jsonl", "\n".join([*good(3), request(3, ts=ts)]))
    result, _ = analyze(cli, log)
    assert (result["input"]["undated"], result["input"]["rejected"]) == (1, 0)
    assert result["coverage"]["priced"] == 4
    inside, _ = analyze(cli, log, "--since", "2026-09-01")
    assert (inside["input"]["requests"], inside["input"]["outside_period"]) == (3, 1)


def test_an_id_that_stands_twice_is_counted_once_also_across_files(cli: Run, tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", "\n".join([*good(3), "", request(1, ts="2026-10-02T00:00:00Z")]))
    b = write(tmp_path / "b.jsonl", "\n".join(["{", request(2, ts="2026-10-03T00:00:00Z"), request(9)]))
    result, _ = analyze(cli, b, a)
    counts = result["input"]
    assert (counts["lines"], counts["requests"], counts["rejected"], counts["duplicates"]) == (7, 4, 1, 2)
    assert counts["duplicate_places"] == [f"{a}:5", f"{b}:2"]


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff", "[]", "[\n]\n"])
def test_an_empty_file_says_so(cli: Run, tmp_path: Path, content: str) -> None:
    result, err = analyze(cli, write(tmp_path / "log.jsonl", content), code=3)
    assert result is None
    assert "no request in the input: it is empty" in err


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("log.jsonl", "not\njson\n", "all 2 lines were rejected. The first: {file}:1: not JSON at column 1"),
        ("log.jsonl", '{"level": "info"}\n', "{file}: no request recognised. Fields seen: level."),
        ("log.csv", "a,b\n1,2\n", "{file}: no request recognised. Fields seen: a, b."),
        ("log.csv", "model,input_tokens\n", "no request in the input"),
        ("log.jsonl.gz", gzip.compress(b"{}\n" * 50, mtime=0)[:10], "{file}: the gzip stream is damaged or cut short"),
        ("log.parquet", b"PAR1PAR1", "{file}: not a Parquet file that can be read"),
        ("log.parquet", b"model", "{file}: named as Parquet but does not begin like one"),
        ("log", b"\x7fELF\0\0", "{file}: not text. Expected JSON lines, CSV or Parquet"),
        ("log.xlsx", b"PK\x03\x04", "save the sheet as CSV"),
    ],
)
def test_a_file_of_nothing_that_can_be_read_says_what_to_do(
    cli: Run, tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    log = write(tmp_path / name, content)
    result, err = analyze(cli, log, code=3)
    assert result is None
    assert said.format(file=log) in err


def test_a_path_that_is_not_there_names_the_nearest(cli: Run, tmp_path: Path) -> None:
    write(tmp_path / "october.jsonl", request(0))
    _, err = analyze(cli, tmp_path / "octobre.jsonl", code=3)
    assert err.strip().endswith("octobre.jsonl: no such file. Did you mean october.jsonl?")


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"model": None}, "Most lack token counts or a model"), ({"model": "in-house-7"}, "Unknown models: 'in-house-7'")],
)
def test_where_nothing_can_be_priced_the_analysis_is_printed_and_the_exit_is_4(
    cli: Run, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    log = write(tmp_path / "log.jsonl", "\n".join(request(n, **changes) for n in range(3)))
    result, err = analyze(cli, log, code=4)
    assert (result["input"]["requests"], result["coverage"]["priced"]) == (3, 0)
    assert said in err
    assert "--pricing FILE" in err or "--map FILE" in err


@pytest.mark.parametrize(("priced", "code"), [(2, 0), (1, 4)])
def test_less_than_half_priced_is_4(cli: Run, tmp_path: Path, priced: int, code: int) -> None:
    unknown = [request(n, model="in-house-7") for n in range(10, 12)]
    analyze(cli, write(tmp_path / "log.jsonl", "\n".join([*good(priced), *unknown])), code=code)


@pytest.mark.parametrize(
    ("bad", "lines", "args", "code"),
    [
        (10, 20, [], 0),  # many by share, but not more than 10
        (11, 1100, [], 0),  # 1 % exactly
        (11, 1099, [], 3),
        (11, 100, ["--max-bad", "0.2"], 0),
        (20, 100, ["--max-bad", "0.1"], 3),
        (30, 100, ["--max-bad", "1"], 0),
    ],
)
def test_too_many_rejected_lines_print_the_analysis_and_exit_with_3(
    cli: Run, tmp_path: Path, bad: int, lines: int, args: list[str], code: int
) -> None:
    log = write(tmp_path / "log.jsonl", "\n".join([*good(lines - bad), *["{"] * bad]))
    result, err = analyze(cli, log, *args, code=code)
    assert (result["input"]["lines"], result["input"]["rejected"]) == (lines, bad)
    assert ("--max-bad" in err) == (code == 3)
    if code == 3:
        assert f"{bad} of {lines:,} lines" in err
        assert f"{log}:{lines - bad + 1}" in err


@pytest.mark.parametrize("command", ["analyze", "simulate", "tally"])
def test_every_command_that_reads_logs_has_the_same_rules(cli: Run, tmp_path: Path, command: str) -> None:
    log = write(tmp_path / "log.jsonl", "\n".join([*good(80), *["{"] * 20]))
    args = ["-o", tmp_path / "u.parquet"] if command == "tally" else []
    run = cli(command, log, "--rejects", tmp_path / "rejects.jsonl", *args)
    assert run.returncode == 3
    assert "20 of 100 lines" in run.stderr
    assert "Traceback" not in run.stderr
    assert len((tmp_path / "rejects.jsonl").read_text().splitlines()) == 20
    missing = cli(command, tmp_path / "nothing.jsonl", *args)
    assert (missing.returncode, "no such file" in missing.stderr) == (3, True)


def test_a_stream_cut_short_is_read_up_to_there_and_said(cli: Run, tmp_path: Path) -> None:
    data = gzip.compress("\n".join(request(n, prompt=os.urandom(30).hex()) for n in range(3000)).encode())
    result, err = analyze(cli, write(tmp_path / "log.jsonl.gz", data[: len(data) // 2]), code=3)
    counts = result["input"]
    assert 1000 < counts["requests"] < 2000
    assert counts["requests"] + counts["rejected"] == counts["lines"]
    assert counts["rejected"] <= 1
    assert "log.jsonl.gz: the gzip stream is damaged or cut short" in counts["damaged"][0]
    assert "What could be read is counted above" in err


def test_a_damaged_file_does_not_take_the_others_along(cli: Run, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl.gz", gzip.compress(b"x" * 100)[:12])
    write(tmp_path / "b.parquet", b"PAR1PAR1")
    write(tmp_path / "c.jsonl", "\n".join([request(0), request(0)]))
    result, _ = analyze(cli, tmp_path, code=3)
    counts = result["input"]
    assert (counts["requests"], counts["duplicates"], len(counts["damaged"])) == (1, 1, 2)


def test_duplicates_in_a_damaged_file(cli: Run, tmp_path: Path) -> None:
    data = gzip.compress("\n".join([request(0), request(0), *(os.urandom(99).hex() for _ in range(99))]).encode())
    result, _ = analyze(cli, write(tmp_path / "log.jsonl.gz", data[:-3000]), code=3)
    assert (result["input"]["requests"], result["input"]["duplicates"]) == (1, 1)


def test_standard_input_is_a_log_like_any(cli: Run) -> None:
    result, _ = analyze(cli, "-", input="\n".join([*good(2), "", "{", request(1)]))
    counts = result["input"]
    assert (counts["requests"], counts["rejected"], counts["duplicates"]) == (2, 1, 1)
    assert result["input"]["rejects"][0]["places"] == ["stdin:4"]
    table, _ = analyze(cli, "-", input="model,input_tokens,output_tokens\ngpt-5.4,5,6\n")
    assert table["input"]["requests"] == 1


def test_a_folder_of_many_kinds(cli: Run, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", "\n".join(good(2)))
    write(tmp_path / "b.csv", "request_id;model;input_tokens;output_tokens\r\nb;gpt-5.4;1.000;5\r\n")
    pl.DataFrame({"request_id": ["c"], "model": ["gpt-5.4"], "input_tokens": [1], "output_tokens": [2]}).write_parquet(
        tmp_path / "c.parquet"
    )
    write(tmp_path / "d.json.gz", gzip.compress(f"[{request(7)}]".encode()))
    write(tmp_path / "routecost.toml", "nonsense")
    write(tmp_path / "README.md", "read me")
    write(tmp_path / "routes.yaml", "name: x")
    result, _ = analyze(cli, tmp_path, tmp_path / "a.jsonl", tmp_path / "*.csv")
    assert (result["input"]["files"], result["input"]["requests"]) == (4, 5)
    assert result["input"]["rejected"] == 0


def test_a_sheet_saved_by_excel(cli: Run, tmp_path: Path) -> None:
    rows = [
        "\ufeffsep=;",
        "Request ID;Timestamp;Model;Prompt;Input Tokens;Output Tokens;Cost;Latency ms;Task",
        '1;01.10.2026 08:30;gpt-5.4;"say ""hi"";',
        'please";1.200;300;0,0075;1234,5;simple',
        "2;31.10.2026 08:31;gpt-5.4;x;900;20;0,002;800,25;code",
        ";;;;;;;;",
        "3;01.10.2026 08:32;gpt-5.4;x;viele;20;;;code",
        "4;01.10.2026 08:32;gpt-5.4;x;1",
        "",
    ]
    result, _ = analyze(cli, write(tmp_path / "book.csv", "\r\n".join(rows)))
    assert (result["input"]["requests"], result["input"]["lines"], result["input"]["undated"]) == (2, 4, 0)
    assert [(f[0], f[3]) for f in faults(result)] == [("bad_value", ["7"]), ("wrong_fields", ["8"])]
    assert (result["period"]["first"], result["period"]["last"]) == ("2026-10-01", "2026-10-31")
    tokens = {(r["task"], r["input_tokens"]) for r in tally(cli, tmp_path, tmp_path / "book.csv")}
    assert tokens == {("simple", 1200), ("code", 900)}


def tally(cli: Run, tmp_path: Path, log: Path) -> list[dict[str, Any]]:
    """The cells of a log, as `tally` writes them."""
    run = cli("tally", log, "-o", tmp_path / "usage.parquet")
    assert run.returncode == 0, run.stderr
    return pl.read_parquet(tmp_path / "usage.parquet").filter(pl.col("table") == "cells").to_dicts()


def test_a_wrong_map_is_told_before_anything_is_read(cli: Run, tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", request(0))
    _, err = analyze(cli, log, "--map", write(tmp_path / "map.yaml", "columns: {x: inptu_tokens}"), code=3)
    assert "map.yaml: columns: 'inptu_tokens' is not a column of a request. Did you mean input_tokens" in err


def test_a_map_for_one_kind_of_file(cli: Run, tmp_path: Path) -> None:
    field_map = write(
        tmp_path / "map.yaml",
        "columns: {When: ts, In: input_tokens, Out: output_tokens}\nconstants: {model: gpt-5.4}\n"
        "by_file: {'*_code.csv': {task: code}}\nstart: 2026-10-01\ntime_unit: s\n",
    )
    write(tmp_path / "a_code.csv", "When,In,Out\n1.5,10,1\n86400,20,2\n")
    result, _ = analyze(cli, tmp_path / "a_code.csv", "--map", field_map)
    assert (result["period"]["first"], result["period"]["last"]) == ("2026-10-01", "2026-10-02")
    assert [row["task"] for row in result["mix"]] == ["code"]


def test_rejects_that_cannot_be_kept_are_an_error_that_names_the_option(cli: Run, tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", "\n".join([*good(3), "{"]))
    _, err = analyze(cli, log, "--rejects", tmp_path / "no" / "such" / "folder.jsonl", code=3)
    assert "cannot be written" in err
    assert "--rejects" in err


# --- laws, in this process --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def book() -> Book:
    return read_prices(())


LINES = [
    request(1),
    request(2),
    request(2, ts="2026-10-05T00:00:00Z"),
    request(3, ts="2026-11-01T00:00:00Z"),
    request(4, request_id=...),
    request(5, ts="never"),
    request(6, input_tokens="7"),
    request(7, input_tokens=-7),
    request(8, input_tokens="seven"),
    request(9, model=None),
    request(10)[:40],
    request(11).replace("simple", "s\udcffmple"),
    "[1, 2, 3]",
    "plain text",
    "",
    "  ",
]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(LINES), max_size=25),
    st.integers(1, 600),
    st.sampled_from(["plain", "gzip"]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_every_line_is_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], size: int, packed: str, end: str, until: bool
) -> None:
    text = end.join([request(0), *lines]).encode(errors="surrogateescape")
    folder = tmp_path_factory.mktemp("law")
    write(folder / "a.jsonl", gzip.compress(text, 1) if packed == "gzip" else text)
    write(folder / "b.jsonl", "\n".join([request(3), request(20)]))
    options = Options(classify=False, until=dt.datetime(2026, 10, 20, tzinfo=dt.UTC) if until else None)
    prices = read_prices(())
    results = []
    for chunk in (files.CHUNK_BYTES, size):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(records, "CHUNK_BYTES", chunk)
            results.append(read([str(folder)], prices, options=options))
    stood = 1 + sum(bool(line.strip()) for line in lines) + 2
    for result in results:
        counts = result.counts
        assert counts["lines"] == stood
        parts = [counts.get(part, 0) for part in ("rejected", "duplicates", "outside")]
        assert result.usage.requests + sum(parts) == stood
    assert results[0].usage.cells.equals(results[1].usage.cells, null_equal=True)
    assert results[0].rejected == results[1].rejected
    assert results[0].duplicates == results[1].duplicates


@pytest.mark.parametrize("kind", ["jsonl", "csv", "json", "parquet"])
def test_places_are_right_in_later_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, book: Book, kind: str
) -> None:
    monkeypatch.setattr(records, "CHUNK_BYTES", 500)
    monkeypatch.setattr(records, "PARQUET_ROWS", 7)
    rows = [json.loads(line) for line in good(60)]
    rows[41]["input_tokens"] = -1
    rows[50]["request_id"] = rows[3]["request_id"]
    rows[50]["ts"] = "2026-10-02T00:00:00Z"
    log = tmp_path / f"log.{kind}"
    if kind == "jsonl":
        write(log, "".join(json.dumps(row) + "\r\n\r\n" for row in rows))
    elif kind == "json":
        write(log, json.dumps(rows, indent=0))
    elif kind == "csv":
        write(log, ",".join(rows[0]) + "\n" + "".join(",".join(map(str, row.values())) + "\n" for row in rows))
    else:
        pl.DataFrame(rows).write_parquet(log)
    result = read([str(log)], book, options=Options(classify=False))
    (fault,) = result.rejected
    line = {
        "jsonl": lambda n: 2 * n + 1,
        "json": lambda n: 8 * n + 2,
        "csv": lambda n: n + 2,
        "parquet": lambda n: n + 1,
    }
    assert [place.line for place in fault.places] == [line[kind](41)]
    assert [place.line for place in result.duplicates] == [line[kind](50)]


def test_files_are_closed(tmp_path: Path, book: Book) -> None:
    """Warnings are errors here: a file left open would be one when it is collected."""
    import gc

    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for name, data in (
        ("a.jsonl", "\n".join([*good(3), "{"]).encode()),
        ("b.jsonl.gz", gzip.compress("\n".join(good(3, 5)).encode())[:-4]),
        ("c.csv", b"model,input_tokens,output_tokens\ngpt-5.4,1,2\n1\n"),
        ("d.json", f"[{request(9)}".encode()),
    ):
        write(tmp_path / name, data)
    read([str(tmp_path)], book, options=Options(classify=False))
    gc.collect()
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_a_log_of_another_format_than_the_one_that_is_named(cli: Run) -> None:
    done = cli("analyze", "sample_logs/worked-example.jsonl", "--log-format", "langfuse")
    assert done.returncode == 3
    assert "none of the 1,000 records is a model call of langfuse" in done.stderr
    assert "empty" not in done.stderr
