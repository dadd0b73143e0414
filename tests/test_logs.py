"""Files to chunks, chunks to canonical requests: formats, oddities, line numbers."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
import os
import random
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routecost import logs
from routecost.errors import InputError
from routecost.logs import flat, records
from routecost.schema import REQUEST

COLUMNS = [c for c in REQUEST if c not in ("file", "line", "request_hash")]
UTC = dt.UTC


def read(
    path: Path | str, given: logs.Layout | None = None, extra: Sequence[str] = ()
) -> tuple[pl.DataFrame, list[tuple[int, str, str]]]:
    """The requests of a file with their `line`, and the rejected lines as (line, code, reason)."""
    (source,) = logs.find_sources([str(path)])
    layout = logs.layout_of(source, given, extra)
    frames: list[pl.DataFrame] = []
    bad: list[tuple[int, str, str]] = []
    for chunk in logs.chunks(source, layout):
        parsed = chunk.parse(COLUMNS)
        rows = [*parsed.requests["row"], *(r.row for r in parsed.rejects)]
        assert sorted(rows) == list(range(parsed.lines))
        lines = logs.locate(source, layout, [(chunk.ordinal, row) for row in rows])
        at = pl.Series("line", [lines[chunk.ordinal, row] for row in parsed.requests["row"]], pl.Int64)
        frames.append(parsed.requests.drop("row").with_columns(at))
        bad.extend((lines[chunk.ordinal, r.row], r.code, r.reason) for r in parsed.rejects)
    return pl.concat(frames) if frames else pl.DataFrame(), bad


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def jsonl(path: Path, *rows: Mapping[str, Any]) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def one(path: Path, **fields: Any) -> dict[str, Any]:
    """A request with these fields in a JSON line, as it is read."""
    frame, bad = read(jsonl(path / "one.jsonl", {"model": "m", **fields}))
    assert bad == []
    return frame.row(0, named=True)


# --- which files ------------------------------------------------------------------------------------------------------


def names(*paths: str | Path) -> list[str]:
    return [source.name for source in logs.find_sources([str(p) for p in paths])]


def test_a_directory_gives_the_logs_in_it_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.csv", "sub/c.parquet", "sub/d.jsonl.gz", "e.ndjson.zst"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        content = b"PAR1" if name.endswith("parquet") else b"{}\n"
        write(tmp_path / name, content)
    for name in ("routecost.toml", "README", "README.md", "routes.yaml", "x.py", ".hidden.jsonl", "_delta_log/0.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, "Read me.\n" if name == "README" else "{}\n")
    write(tmp_path / "sub" / "2026-03-04-object", "{}\n")
    found = [os.path.relpath(name, tmp_path) for name in names(tmp_path)]
    assert found == ["a.csv", "b.jsonl", "e.ndjson.zst", "sub/2026-03-04-object", "sub/c.parquet", "sub/d.jsonl.gz"]


def test_a_file_named_twice_or_through_a_link_is_read_once(tmp_path: Path) -> None:
    log = write(tmp_path / "a.jsonl", "{}\n")
    (tmp_path / "link.jsonl").symlink_to(log)
    assert names(log, log, tmp_path / "*.jsonl", tmp_path, tmp_path / "link.jsonl") == [str(log)]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"model": "m"}\n', "jsonl"),
        (b"\xef\xbb\xbf\n [1]", "jsonl"),
        (b"", "jsonl"),
        (b"model,input_tokens\n", "csv"),
        (b"PAR1....", "parquet"),
        (gzip.compress(b"model;input_tokens\n", mtime=0), "csv"),
        (gzip.compress(b'{"a": 1}', mtime=0), "jsonl"),
        (gzip.compress(b"model;input_tokens\n" * 99, mtime=0)[:10], "jsonl"),
        ("model\tinput_tokens\n".encode("utf-16"), "csv"),
    ],
)
def test_a_file_without_an_ending_is_told_by_its_content(tmp_path: Path, content: bytes, kind: str) -> None:
    (source,) = logs.find_sources([str(write(tmp_path / "log", content))])
    assert source.kind == kind


def test_the_content_decides_about_compression_and_parquet(tmp_path: Path) -> None:
    pl.DataFrame({"model": ["m"]}).write_parquet(tmp_path / "really.csv")
    write(tmp_path / "really.jsonl", gzip.compress(b'{"model": "m"}\n'))
    write(tmp_path / "plain.jsonl.gz", b'{"model": "m"}\n')
    for name in ("really.csv", "really.jsonl", "plain.jsonl.gz"):
        assert read(tmp_path / name)[0]["model"].to_list() == ["m"]


@pytest.mark.parametrize(
    ("make", "name", "said"),
    [
        (lambda d: None, "lgos.jsonl", "lgos.jsonl: no such file. Did you mean logs.jsonl?"),
        (lambda d: None, "nowhere/logs.jsonl", "no such file. There is no folder"),
        (lambda d: None, "*.csv", "no file matches this pattern"),
        (lambda d: (d / "empty").mkdir(), "empty", "no log in this directory. Expected files ending in .jsonl"),
        (lambda d: (d / "dangling.jsonl").symlink_to(d / "gone"), "dangling.jsonl", "a link to"),
        (lambda d: os.mkfifo(d / "pipe"), "pipe", "not a regular file. Pipe it in instead"),
        (lambda d: write(d / "x.xlsx", b"PK\x03\x04..."), "x.xlsx", "save the sheet as CSV"),
        (lambda d: write(d / "x.jsonl.bz2", b"BZh91AY"), "x.jsonl.bz2", "bzcat FILE | routecost analyze -"),
        (lambda d: write(d / "x.bin", b"\1\2\0\0"), "x.bin", "not text"),
        (lambda d: write(d / "x.parquet", b""), "x.parquet", "named as Parquet but does not begin like one (saw b'',"),
    ],
)
def test_what_is_not_a_log_is_refused_with_what_to_do(tmp_path: Path, make: Any, name: str, said: str) -> None:
    write(tmp_path / "logs.jsonl", "{}\n")
    make(tmp_path)
    with pytest.raises(InputError) as caught:
        logs.find_sources([str(tmp_path / name)])
    assert said in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    log = write(tmp_path / "a.jsonl", "{}\n")
    log.chmod(0)
    with pytest.raises(InputError, match=r"a\.jsonl: cannot be read \(Permission denied\)"):
        logs.find_sources([str(log)])


@pytest.mark.parametrize(
    ("url", "kind", "compression"),
    [
        ("s3://b/a.jsonl.gz", "jsonl", "gzip"),
        ("gs://b/a?.parquet", "parquet", None),
        ("https://h/a.csv?token=x.parquet", "csv", None),
    ],
)
def test_the_name_of_an_object_says_what_it_is(url: str, kind: str, compression: str | None) -> None:
    (source,) = logs.find_sources([url])
    assert (source.name, source.kind, source.compression) == (url, kind, compression)


def test_a_glob_of_csv_objects_is_refused() -> None:
    with pytest.raises(InputError, match="name each CSV file"):
        logs.find_sources(["s3://b/*.csv"])


# --- compression and damage -------------------------------------------------------------------------------------------

LINES = [json.dumps({"model": "m", "input_tokens": n, "prompt": f"{random.Random(n).random()}"}) for n in range(4000)]
TEXT = ("\n".join(LINES) + "\n").encode()


def zstd(data: bytes) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
@pytest.mark.parametrize("size", [10_000, 16 << 20])
def test_compressed_members_in_a_row_are_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Any, size: int
) -> None:
    monkeypatch.setattr(records, "CHUNK_BYTES", size)
    half = len(TEXT) // 2
    frame, bad = read(write(tmp_path / "log", pack(TEXT[:half]) + pack(TEXT[half:])))
    assert bad == []
    assert frame["input_tokens"].to_list() == list(range(4000))
    assert frame["line"].to_list() == list(range(1, 4001))


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
@pytest.mark.parametrize("size", [1000, 16 << 20])
@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_what_comes_before_a_damage_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Any, size: int, ending: str
) -> None:
    monkeypatch.setattr(records, "CHUNK_BYTES", size)
    text = TEXT if ending == "jsonl" else b"input_tokens,model\n" + b"".join(b"%d,m\n" % n for n in range(30_000))
    cut = pack(text) + pack(text)[:-20]
    (source,) = logs.find_sources([str(write(tmp_path / f"log.{ending}", cut))])
    layout = logs.layout_of(source, None)
    seen: list[int] = []
    with pytest.raises(logs.DamagedError, match="stream is damaged or cut short"):  # noqa: PT012 - it is a loop
        for chunk in logs.chunks(source, layout):
            seen.extend(chunk.parse(COLUMNS).requests["input_tokens"].drop_nulls())
    whole = 4000 if ending == "jsonl" else 30_000
    assert seen[:whole] == list(range(whole))


def test_a_stream_damaged_at_once_has_no_chunk(tmp_path: Path) -> None:
    (source,) = logs.find_sources([str(write(tmp_path / "a.jsonl.gz", gzip.compress(TEXT)[:14]))])
    layout = logs.layout_of(source, None)
    with pytest.raises(logs.DamagedError):
        list(logs.chunks(source, layout))


# --- JSON lines -------------------------------------------------------------------------------------------------------

GOOD = '{"model": "m", "input_tokens": 7}'


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ('{"model": "m", "input_tokens": 7', "not_json", "not JSON at column 33: Expecting ',' delimiter"),
        ("{'model': 'm'}", "not_json", "not JSON at column 2"),
        ('{"model": "m"} {"model": "m"}', "not_json", "not JSON at column 16: Extra data"),
        ('{"model": NaN}', "not_json", "NaN is not a JSON number"),
        ('{"model": "m", "cost_usd": 1e400}', "not_json", "1e400 is too large a number"),
        ('{"model": "a\x00b"}', "not_json", "Invalid control character"),
        ('{"x": ' + "[" * 3000 + "]" * 3000 + "}", "not_json", "nested too deeply"),
        ("[1, 2]", "not_an_object", "expected a JSON object, saw list"),
        ("null", "not_an_object", "saw NoneType"),
        ("plain text", "not_json", "not JSON at column 1"),
        ('{"model": "m\udcff"}', "not_utf8", "not UTF-8: byte 0xff at column 13"),
        ('{"input_tokens": -1}', "bad_value", "input_tokens: expected a whole number of at least 0, saw -1"),
        ('{"input_tokens": 1.5}', "bad_value", "saw 1.5"),
        ('{"input_tokens": "lots"}', "bad_value", "saw lots"),
        ('{"input_tokens": 9223372036854775808}', "bad_value", "saw 9223372036854775808"),
        ('{"input_tokens": true}', "bad_value", "saw true"),
        ('{"input_tokens": {"a": 1}}', "bad_value", 'saw {"a": 1}'),
        ('{"input_tokens": [1]}', "bad_value", "saw [1]"),
        ('{"output_tokens": 1, "reasoning_tokens": 2}', "bad_value", "reasoning_tokens: expected at most the output"),
    ],
)
@pytest.mark.parametrize("size", [1, 60, 16 << 20])
def test_a_bad_line_is_rejected_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, code: str, said: str, size: int
) -> None:
    monkeypatch.setattr(records, "CHUNK_BYTES", size)
    text = "\n".join([GOOD, "", GOOD, line, GOOD])
    frame, ((at, saw, reason),) = read(write(tmp_path / "a.jsonl", text.encode(errors="surrogateescape")))
    assert frame["line"].to_list() == [1, 3, 5]
    assert frame["input_tokens"].to_list() == [7, 7, 7]
    assert (at, saw) == (4, code)
    assert said in reason


@pytest.mark.parametrize("size", [1, 50, 1 << 20])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_line_numbers_count_blank_lines_and_survive_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, end: str, bom: str
) -> None:
    monkeypatch.setattr(records, "CHUNK_BYTES", size)
    lines = ["", GOOD, "  ", "{", GOOD, "", "", GOOD, "\t", "x", GOOD]
    for ending in ("", end):
        frame, bad = read(write(tmp_path / "a.jsonl", bom + end.join(lines) + ending))
        assert frame["line"].to_list() == [2, 5, 8, 11]
        assert [line for line, _, _ in bad] == [4, 10]


def test_a_byte_order_mark_of_a_file_appended_to_another_is_no_fault(tmp_path: Path) -> None:
    frame, bad = read(write(tmp_path / "a.jsonl", f"\ufeff{GOOD}\n\ufeff{GOOD}\n"))
    assert (frame.height, bad) == (2, [])


def test_utf16_lines_are_read(tmp_path: Path) -> None:
    frame, bad = read(write(tmp_path / "a.jsonl", f"{GOOD}\nx\n{GOOD}\n".encode("utf-16")))
    assert (frame["line"].to_list(), [b[0] for b in bad]) == ([1, 3], [2])


def test_a_line_longer_than_a_block_and_a_10_mb_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "CHUNK_BYTES", 1 << 16)
    long = json.dumps({"model": "m", "input_tokens": 3, "prompt": "x" * (10 << 20)})
    text = f"{GOOD}\n{long}\n{GOOD}\n"
    for name, data in (("a.jsonl", text.encode()), ("a.jsonl.gz", gzip.compress(text.encode(), 1))):
        frame, bad = read(write(tmp_path / name, data))
        assert frame["input_tokens"].to_list() == [7, 3, 7]
        assert bad == []


def test_a_line_beyond_every_measure_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "CHUNK_BYTES", 1 << 16)
    monkeypatch.setattr(records, "MAX_LINE_BYTES", 1 << 18)
    line = b'{"model": "' + b"x" * (1 << 19)
    for name, data in (("a.jsonl", line), ("a.jsonl.gz", gzip.compress(line)), ("a.csv", b"model,a\n" + line)):
        with pytest.raises(InputError, match=rf"{name}: a line of more than"):
            read(write(tmp_path / name, data))


# --- one rule for a value, whatever its neighbours --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "column", "expected"),
    [
        ("input_tokens", 12, "input_tokens", 12),
        ("input_tokens", 12.0, "input_tokens", 12),
        ("input_tokens", "12", "input_tokens", 12),
        ("input_tokens", " 12.0 ", "input_tokens", 12),
        ("input_tokens", "1,234,567", "input_tokens", 1234567),
        ("input_tokens", 1 << 40, "input_tokens", 1 << 40),
        ("input_tokens", "", "input_tokens", None),
        ("input_tokens", "None", "input_tokens", None),
        ("input_tokens", "NaN", "input_tokens", None),
        ("input_tokens", None, "input_tokens", None),
        ("prompt_tokens", 5, "input_tokens", 5),
        ("cost_usd", "0.25", "cost_usd", 0.25),
        ("cost_usd", "free", "cost_usd", None),
        ("cost_usd", -1, "cost_usd", None),
        ("cost_usd", 1e300, "cost_usd", None),
        ("cost_usd", True, "cost_usd", None),
        ("latency_ms", 1e300, "latency_ms", None),
        ("latency_s", 1.5, "latency_ms", 1500.0),
        ("model", {"name": "x"}, "model", '{"name": "x"}'),
        ("model", "", "model", None),
        ("model", 5, "model", "5"),
        ("model", "a\x00b", "model", "a\x00b"),
        ("status", 200, "status", "ok"),
        ("status", "200 OK", "status", "ok"),
        ("status", "Success", "status", "ok"),
        ("status", 500, "status", "error"),
        ("status", "timeout", "status", "error"),
        ("status", {"code": 0}, "status", None),
        ("batch", 1, "batch", True),
        ("batch", "no", "batch", False),
        ("batch", "maybe", "batch", None),
        ("feedback", "up", "feedback", 1.0),
        ("feedback", False, "feedback", -1.0),
        ("feedback", -0.5, "feedback", -0.5),
        ("feedback", 5, "feedback", None),
        ("needs", ["tools", "json", "tools"], "needs", "json,tools"),
        ("needs", "vision, tools", "needs", "tools,vision"),
        ("needs", [], "needs", None),
        ("attempt", "2", "attempt", 2),
        ("prompt", [{"type": "text", "text": 'say "hi"'}, {"type": "text", "text": "é\n"}], "prompt", 'say "hi"\né\n'),
        ("prompt", [{"type": "image_url", "image_url": {"url": "data:"}}], "prompt", None),
        ("prompt", [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "prompt", "a"),
        ("prompt", [{"role": "user", "content": [{"type": "text", "text": "c"}]}], "prompt", "c"),
        ("prompt", ["a", "b"], "prompt", "a\nb"),
        ("prompt", '[{"not": "parts"}]', "prompt", '[{"not": "parts"}]'),
        ("prompt", '{"a": 1} explain this', "prompt", '{"a": 1} explain this'),
        ("prompt", "tab\tand\x01control", "prompt", "tab\tand\x01control"),
        ("unheard_of", {"deep": [1]}, "model", "m"),
    ],
)
def test_a_value_reads_the_same_alone_and_beside_a_bad_line(
    tmp_path: Path, field: str, value: Any, column: str, expected: Any
) -> None:
    row = json.dumps({"model": "m", field: value})
    frame, bad = read(write(tmp_path / "a.jsonl", f"{row}\n"))
    assert frame[column].to_list() == [expected]
    assert bad == []
    # a neighbour that is not JSON, and one that is of another type
    other = json.dumps({"model": "m", field: "7" if not isinstance(value, str) else 7})
    frame, bad = read(write(tmp_path / "b.jsonl", f"{row}\n{{\n{other}\n"))
    assert frame[column][0] == expected
    assert [line for line, _, _ in bad] == [2]


def test_the_first_of_a_key_that_stands_twice_counts_everywhere(tmp_path: Path) -> None:
    row = '{"model": "a", "input_tokens": 1, "input_tokens": 2, "model": "b"}'
    for content in (row, f"{row}\n{{", f'[{row}, {{"model": "c", "input_tokens": "3"}}]'):
        frame, _ = read(write(tmp_path / "a.jsonl", content))
        assert frame.row(0, named=True)["input_tokens"] == 1
        assert frame.row(0, named=True)["model"] == "a"


def test_1000_levels_are_read_also_beside_a_bad_line(tmp_path: Path) -> None:
    deep = '{"model": "m", "x": ' + "[" * 1000 + "]" * 1000 + "}"
    for content in (f"{deep}\n{GOOD}\n", f"{deep}\n{{\n{GOOD}\n", f"[{deep}, {GOOD}]"):
        frame, _ = read(write(tmp_path / "a.jsonl", content))
        assert frame["model"].to_list() == ["m", "m"]


def test_a_lone_surrogate_is_no_fault(tmp_path: Path) -> None:
    frame, bad = read(write(tmp_path / "a.jsonl", '{"model": "a", "prompt": "x\\ud800y", "input_tokens": 1}\n'))
    assert (frame["input_tokens"].to_list(), bad) == ([1], [])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "input_tokens": st.one_of(
                    st.integers(-2, 9), st.floats(0, 9), st.none(), st.text("12,.x ", max_size=4)
                ),
                "cost_usd": st.one_of(st.floats(-1, 1e6), st.integers(0, 9), st.none(), st.booleans(), st.just("1.5")),
                "ts": st.one_of(
                    st.integers(0, 10**19), st.floats(1e9, 1e10), st.none(), st.datetimes().map(lambda t: t.isoformat())
                ),
                "prompt": st.one_of(st.text(max_size=6), st.lists(st.text(max_size=3), max_size=2)),
                "status": st.one_of(st.sampled_from(["ok", "error", 200, 500]), st.none()),
            },
        ),
        min_size=1,
        max_size=12,
    )
)
def test_records_read_alike_together_alone_and_as_an_array(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("alike")
    layout = logs.detect_layout("x", [{"model": "m", **dict.fromkeys(REQUEST)}], None)
    results = []
    for name, content in (
        ("together.jsonl", "".join(json.dumps(row) + "\n" for row in rows)),
        ("array.jsonl", json.dumps(rows, indent=1)),
    ):
        (source,) = logs.find_sources([str(write(folder / name, content))])
        (chunk,) = logs.chunks(source, layout)
        results.append(chunk.parse(COLUMNS))
    singles = [records._parse_json(json.dumps(row).encode(), layout, COLUMNS) for row in rows]
    alone = pl.concat([p.requests.drop("row") for p in singles])
    for result in results:
        assert result.requests.drop("row").equals(alone, null_equal=True)
        assert [r.reason for r in result.rejects] == [r.reason for p in singles for r in p.rejects]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from([*'{}[]":,\\ 01-.eEn', "true", "null", '"a"', '"a":1', "\\u00e9", "\x01", "é", "NaN"]),
        max_size=8,
    )
)
def test_what_python_calls_bad_json_polars_does_not_read(parts: list[str]) -> None:
    for text in ("".join(parts), "{" + "".join(parts) + "}", '{"a":' + "".join(parts) + "}"):
        line = text.encode()
        if line.strip() and records._is_surely_bad(line):
            assert records._read_json(line, {"a": pl.String()}) is None


# --- types that change or come late -----------------------------------------------------------------------------------


def test_a_field_that_appears_after_the_sample_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "SAMPLE_RECORDS", 2)
    rows: list[dict[str, Any]] = [{"model": "m", "input_tokens": 1}] * 3 + [
        {"model": "m", "input_tokens": 1, "feature": "f", "cost_usd": 2}
    ]
    frame, _ = read(jsonl(tmp_path / "a.jsonl", *rows))
    assert frame["feature"].to_list() == [None, None, None, "f"]
    assert frame["cost_usd"].to_list() == [None, None, None, 2.0]


def test_types_may_change_between_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "CHUNK_BYTES", 1)
    monkeypatch.setattr(records, "SAMPLE_RECORDS", 1)
    moment = dt.datetime(2026, 1, 31, 12, tzinfo=UTC)
    rows: list[dict[str, Any]] = [
        {"model": "m", "ts": 1769860800, "input_tokens": 1, "cost_usd": 1},
        {"model": "m", "ts": "2026-01-31T12:00:00Z", "input_tokens": "1", "cost_usd": "1"},
        {"model": "m", "ts": 1769860800000, "input_tokens": 1.0, "cost_usd": 1.0},
    ]
    frame, bad = read(jsonl(tmp_path / "a.jsonl", *rows))
    assert bad == []
    assert frame["ts"].to_list() == [moment] * 3
    assert frame["input_tokens"].to_list() == [1, 1, 1]
    assert frame["cost_usd"].to_list() == [1.0, 1.0, 1.0]


NOON = dt.datetime(2026, 1, 31, 12, tzinfo=UTC)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1769860800, NOON),
        (1769860800.25, NOON + dt.timedelta(milliseconds=250)),
        (1769860800000, NOON),
        (1769860800000000, NOON),
        (1769860800000000000, NOON),
        ("1769860800", NOON),
        ("1769860800.5", NOON + dt.timedelta(milliseconds=500)),
        ("2026-01-31T12:00:00Z", NOON),
        ("2026-01-31t12:00:00z", NOON),
        ("2026-01-31T12:00:00.1234567Z", NOON + dt.timedelta(microseconds=123456)),
        ("2026-01-31T14:00:00+02:00", NOON),
        ("2026-01-31T14:00:00+0200", NOON),
        ("2026-01-31T14:00:00+02", NOON),
        ("2026-01-31 14:00:00 +0200", NOON),
        ("2026-01-31T06:30:00-05:30", NOON),
        ("2026-01-31T12:00:00", NOON),
        ("2026-01-31 12:00:00", NOON),
        ("2026-01-31 12:00:00.5", NOON + dt.timedelta(milliseconds=500)),
        ("2026-01-31 12:00:00,5", NOON + dt.timedelta(milliseconds=500)),
        ("2026-01-31 12:00:00 UTC", NOON),
        ("2026-01-31T12:00", NOON),
        ("2026-01-31T12:00Z", NOON),
        ("2026-01-31T14:00+02:00", NOON),
        ("2026-01-31", NOON - dt.timedelta(hours=12)),
        (" 2026-01-31T12:00:00Z ", NOON),
        ("31.01.2026 12:00", NOON),
        ("31.1.2026 12:00:00", NOON),
        ("31.01.2026", NOON - dt.timedelta(hours=12)),
        ("1/31/2026 12:00", NOON),
        ("1/31/2026 12:00 PM", NOON),
        ("31/1/2026, 12:00:00", NOON),
        ("1/2/2026 12:00", None),  # January or February?
        ("yesterday", None),
        ("2026-02-30T12:00:00Z", None),
        ("2026-01-31T25:00:00Z", None),
        ("", None),
        (0, None),
        (12, None),
        (-5, None),
        (1e30, None),
        ("+12026-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00Z", None),
        ({"seconds": 1}, None),
        (True, None),
    ],
)
def test_moments(tmp_path: Path, value: Any, expected: dt.datetime | None) -> None:
    frame, bad = read(jsonl(tmp_path / "a.jsonl", {"model": "m", "ts": value, "input_tokens": 1}))
    assert bad == []
    assert frame["ts"].to_list() == [expected]
    # in a file of text the same
    frame, _ = read(jsonl(tmp_path / "b.jsonl", {"model": "m", "ts": value}, {"model": "m", "ts": "2026-01-31"}))
    assert frame["ts"][0] == expected


# --- arrays and values over several lines -----------------------------------------------------------------------------

ROWS = [{"model": "m", "input_tokens": n, "prompt": 'a "b" ]}[{,\n é'} for n in range(7)]


@pytest.mark.parametrize("size", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (json.dumps(ROWS), [1] * 7),
        ("[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n", [2, 3, 4, 5, 6, 7, 8]),
        ("\ufeff \n" + json.dumps(ROWS, indent=1), [3, 8, 13, 18, 23, 28, 33]),
        ("\n".join(json.dumps(row, indent=1) for row in ROWS), [1, 6, 11, 16, 21, 26, 31]),
        (json.dumps(ROWS[:3]) + "\n" + json.dumps(ROWS[3:]), [1, 1, 1, 2, 2, 2, 2]),
    ],
)
def test_arrays_and_spread_objects_are_read_element_by_element(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, content: str, lines: list[int]
) -> None:
    monkeypatch.setattr(records, "CHUNK_BYTES", size)
    frame, bad = read(write(tmp_path / "a.json", content))
    assert bad == []
    assert frame["input_tokens"].to_list() == list(range(7))
    assert frame["prompt"].unique().to_list() == [ROWS[0]["prompt"]]
    assert frame["line"].to_list() == lines


@pytest.mark.parametrize("size", [1, 16, 1 << 20])
@pytest.mark.parametrize(
    ("element", "code"),
    [
        ('{"model": "m", "input_tokens": }', "not_json"),
        ('{"model": NaN}', "not_json"),
        ('{"model": "m" "input_tokens": 5}', "not_json"),
        ("{'model': 'm'}", "not_json"),
        ("12", "not_an_object"),
        ("null", "not_an_object"),
        ("nonsense", "not_json"),
        ('{"model": "m"', "not_json"),
        ('{"model": "m', "not_json"),
        ('{"model": ["m"}', "not_json"),
        ("[1, 2]", "not_an_object"),
        ('{"model": "\udcff"}', "not_utf8"),
        ('{"input_tokens": -1}', "bad_value"),
    ],
)
def test_a_bad_element_of_an_array_does_not_take_the_others_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, element: str, code: str
) -> None:
    monkeypatch.setattr(records, "CHUNK_BYTES", size)
    content = ",\n".join([f"[{GOOD}", GOOD, element, GOOD]) + "\n]"
    frame, bad = read(write(tmp_path / "a.json", content.encode(errors="surrogateescape")))
    assert frame["line"].to_list() == [1, 2, 4]
    assert [(line, c) for line, c, _ in bad] == [(3, code)]


@pytest.mark.parametrize("size", [1, 16, 1 << 20])
@pytest.mark.parametrize(
    ("tail", "lines"), [("", []), (",", []), (f",\n{GOOD[:20]}", [3]), (f',\n{{"model": "unclosed}}, {GOOD}]', [3])]
)
def test_an_array_that_is_not_closed_is_read_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, tail: str, lines: list[int]
) -> None:
    monkeypatch.setattr(records, "CHUNK_BYTES", size)
    (source,) = logs.find_sources([str(write(tmp_path / "a.json", f"[{GOOD},\n{GOOD}{tail}"))])
    layout = logs.layout_of(source, None)
    good, bad = 0, []
    with pytest.raises(logs.DamagedError, match="the JSON array is not closed"):  # noqa: PT012 - it is a loop
        for chunk in logs.chunks(source, layout):
            parsed = chunk.parse(COLUMNS)
            good += parsed.requests.height
            bad += list(logs.locate(source, layout, [(chunk.ordinal, r.row) for r in parsed.rejects]).values())
    assert (good, bad) == (2, lines)


@pytest.mark.parametrize("size", [1, 16, 1 << 20])
@pytest.mark.parametrize("close", ["\n}", ""])
def test_a_broken_object_that_spans_lines_ends_where_the_next_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, close: str
) -> None:
    monkeypatch.setattr(records, "CHUNK_BYTES", size)
    spread = [json.dumps(row, indent=2) for row in ROWS[:3]]
    spread[1] = '{\n  "model": {\n    "name": "m"\n  ' + close
    frame, bad = read(write(tmp_path / "a.json", "\n".join(spread) + "\n"))
    assert frame["line"].to_list() == [1, 10 + close.count("\n")]
    assert [b[:2] for b in bad] == [(6, "not_json")]


def test_a_first_line_that_is_cut_does_not_make_it_another_format(tmp_path: Path) -> None:
    frame, bad = read(write(tmp_path / "a.jsonl", f"{{\n{GOOD}\n[\n{GOOD}\n"))
    assert (frame["line"].to_list(), [b[0] for b in bad]) == ([2, 4], [1, 3])
    frame, bad = read(write(tmp_path / "b.jsonl", f"[2026-10-01 INFO]\n{GOOD}\n"))
    assert (frame["line"].to_list(), [b[0] for b in bad]) == ([2], [1])


# --- CSV --------------------------------------------------------------------------------------------------------------


def table(rows: list[dict[str, Any]], separator: str = ",", end: str = "\r\n") -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=separator, lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


SHEET = [
    {
        "ts": "2026-01-31 12:00",
        "Model": "gpt-5.4",
        "prompt": 'say "hi";\nplease, é',
        "Input Tokens": "1234",
        "cost": "0,5",
    },
    {"ts": "", "Model": "gpt-5.4", "prompt": "", "Input Tokens": "", "cost": ""},
]


@pytest.mark.parametrize("size", [1, 20, 1 << 20])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("before", "separator", "encoding"),
    [
        ("", ",", "utf-8"),
        ("", ";", "utf-8-sig"),
        ("sep=;{end}", ";", "utf-8-sig"),
        ("sep=|{end}", "|", "cp1252"),
        ("", ";", "cp1252"),
        ("", "\t", "utf-16"),
        ("{end}{end}", "\t", "utf-16-be"),
    ],
)
def test_a_sheet_saved_by_excel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, end: str, before: str, separator: str, encoding: str
) -> None:
    monkeypatch.setattr(records, "CHUNK_BYTES", size)
    text = before.format(end=end) + table(SHEET, separator, end)
    data = (b"\xfe\xff" if encoding == "utf-16-be" else b"") + text.encode(encoding)
    frame, bad = read(write(tmp_path / "a.csv", data))
    assert bad == []
    assert frame["model"].to_list() == ["gpt-5.4", "gpt-5.4"]
    assert frame["prompt"].to_list() == ['say "hi";\nplease, é', None]
    assert frame["input_tokens"].to_list() == [1234, None]
    assert frame["cost_usd"].to_list() == [0.5, None]
    assert frame["ts"].to_list() == [NOON, None]
    first = 2 + before.count("{end}")
    assert frame["line"].to_list() == [first, first + 2]


def test_a_sheet_of_an_old_mac(tmp_path: Path) -> None:
    frame, bad = read(write(tmp_path / "a.csv", "model,input_tokens\rm,1\rm,x\rm,3\r"))
    assert frame["line"].to_list() == [2, 4]
    assert [b[0] for b in bad] == [3]


@pytest.mark.parametrize(
    ("separator", "amounts", "expected"),
    [
        (";", ["1234,5", "1.234,5", "0,001"], [1234.5, 1234.5, 0.001]),
        (";", ["1,234", "2"], [1.234, 2.0]),
        (";", ["1234.5", "1.234"], [1234.5, 1.234]),
        (",", ["1,234", "1,234.5"], [1234.0, 1234.5]),
        (",", ["0,5", "12,25"], [0.5, 12.25]),
        ("\t", ["1234,5", "1 234,5"], [1234.5, 1234.5]),
        (",", ["1’234.5", "1 234"], [1234.5, 1234.0]),  # noqa: RUF001 - how the Swiss write it
    ],
)
def test_amounts_with_a_decimal_comma_or_thousands(
    tmp_path: Path, separator: str, amounts: list[str], expected: list[float]
) -> None:
    rows: list[dict[str, Any]] = [{"model": "m", "latency_ms": amount, "x": ""} for amount in amounts]
    frame, bad = read(write(tmp_path / "a.csv", table(rows, separator)))
    assert bad == []
    assert frame["latency_ms"].to_list() == expected


@pytest.mark.parametrize(
    ("separator", "counts", "expected"),
    [
        (",", ["1,234", "1 234", "1234.0"], [1234, 1234, 1234]),
        (";", ["1.234", "1.234.567", "12,0"], [1234, 1234567, 12]),
        ("\t", ["1,234", "12"], [1234, 12]),
    ],
)
def test_counts_with_thousands(tmp_path: Path, separator: str, counts: list[str], expected: list[int]) -> None:
    rows: list[dict[str, Any]] = [{"model": "m", "input_tokens": count} for count in counts]
    frame, bad = read(write(tmp_path / "a.csv", table(rows, separator)))
    assert bad == []
    assert frame["input_tokens"].to_list() == expected


@pytest.mark.parametrize("size", [1, 30, 1 << 20])
@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("m,1", "wrong_fields", "expected 3 fields as in the header, saw 2"),
        ("m,1,", None, ""),
        ("m,", "wrong_fields", "saw 2"),
        ("m,1,x,y", "wrong_fields", "saw 4"),
        ("m,-1,x", "bad_value", "input_tokens: expected a whole number of at least 0, saw -1"),
        ("m,lots,x", "bad_value", "saw lots"),
        ('m,1,"x', "not_csv", "a quote that is not closed"),
        ('"m"x,1,x', "not_csv", "a quote that is not closed, or goes on behind its end"),
        ('5" tall,1,x', None, ""),
        ("m,1,\udcff", "not_utf8", "byte 0xff"),
    ],
)
def test_a_ragged_or_broken_record_takes_no_other_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, line: str, code: str | None, said: str
) -> None:
    monkeypatch.setattr(records, "CHUNK_BYTES", size)
    text = "\n".join(
        ["model,input_tokens,prompt", "m,1,é", ",,", 'm,2,"two\nlines"', "", line, 'm,3,"ü, ö"', "m,4,", ""]
    )
    frame, bad = read(write(tmp_path / "a.csv", text.encode(errors="surrogateescape")))
    lines = [2, 4, 7, 8, 9]
    assert [(at, c) for at, c, _ in bad] == ([] if code is None else [(7, code)])
    assert frame["line"].to_list() == (lines if code is None else [2, 4, 8, 9])
    assert said in (bad[0][2] if bad else "")


def test_a_quote_that_never_closes_costs_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(records, "MAX_CSV_RECORD_BYTES", 3000)
    rows = [f"m,{n},x" for n in range(2000)]
    rows[500] = 'm,500,"x'
    frame, bad = read(write(tmp_path / "a.csv", "model,input_tokens,prompt\n" + "\n".join(rows)))
    assert [b[:2] for b in bad] == [(502, "not_csv")]
    assert frame["input_tokens"].to_list() == [n for n in range(2000) if n != 500]


def test_a_header_alone_and_an_empty_table(tmp_path: Path) -> None:
    for content in ("model,input_tokens\n", "model,input_tokens", "", "\n\n", "sep=;\n"):
        frame, bad = read(write(tmp_path / "a.csv", content))
        assert (frame.height, bad) == (0, [])


def test_columns_without_a_name_are_no_matter_but_a_name_twice_is(tmp_path: Path) -> None:
    frame, _ = read(write(tmp_path / "a.csv", "model;input_tokens;;\nm;1;;\n;;;\n"))
    assert frame["input_tokens"].to_list() == [1]
    with pytest.raises(InputError, match=r"a\.csv: the header names 'model' more than once"):
        read(write(tmp_path / "a.csv", "model,model\nm,m\n"))
    with pytest.raises(InputError, match=r"a\.csv: the header cannot be read, not CSV"):
        read(write(tmp_path / "a.csv", '"model,input_tokens\nm,1\n'))


def test_one_bad_byte_does_not_make_utf8_something_else(tmp_path: Path) -> None:
    text = b"model,prompt\nm,\xc3\xa9\xc3\xbc\nm,\xff\nm,\xc3\xb6\n"
    frame, bad = read(write(tmp_path / "a.csv", text))
    assert frame["prompt"].to_list() == ["éü", "ö"]
    assert [b[:2] for b in bad] == [(3, "not_utf8")]
    (source,) = logs.find_sources([str(write(tmp_path / "b.csv", b"model,prompt\nm,caf\xe9\n"))])
    assert logs.layout_of(source, None).notes == (f"{source.name}: not UTF-8, so it is read as Windows-1252",)


def test_a_field_longer_than_the_csv_module_allows(tmp_path: Path) -> None:
    long = "x" * 200_000
    frame, bad = read(write(tmp_path / "a.csv", f"model,prompt\nm,{long}\nm,1,2\n"))
    assert frame["prompt"].to_list() == [long]
    assert [b[0] for b in bad] == [3]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(["a", "bc", '"', '""', ",", "\n", "\r\n", " ", "1", "é", ",,\n", '"x"', '"y,z"', "\r"]),
        max_size=14,
    )
)
def test_the_fast_and_the_slow_way_through_csv_agree(parts: list[str]) -> None:
    data = "".join(parts).encode()
    for width in (2, 3):
        head = records._CsvHead(header=[f"c{n}" for n in range(width)])
        fast = records._read_csv(data, head)
        if fast is None:
            continue
        slow = [record.fields for record in records._csv_records(data, ",", width)]
        assert [[v or "" for v in row] for row in fast.rows()] == slow


# --- Parquet ----------------------------------------------------------------------------------------------------------


def parquet(path: Path, **columns: Any) -> Path:
    pl.DataFrame(columns).write_parquet(path)
    return path


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("input_tokens", pl.Series([1, None, 1 << 40], dtype=pl.UInt64), [1, None, 1 << 40]),
        ("input_tokens", pl.Series([1, 2, 3], dtype=pl.Int8), [1, 2, 3]),
        ("input_tokens", pl.Series([1.0, float("nan"), None]), [1, None, None]),
        ("input_tokens", pl.Series([Decimal("1"), Decimal("2.00"), None]), [1, 2, None]),
        ("input_tokens", pl.Series(["1", "", None]), [1, None, None]),
        ("input_tokens", pl.Series([None, None, None]), [None, None, None]),
        ("input_tokens", pl.Series(["1", "2", "1"], dtype=pl.Categorical), [1, 2, 1]),
        ("model", pl.Series(["a", "b", "a"], dtype=pl.Categorical), ["a", "b", "a"]),
        ("model", pl.Series(["a", "b", "a"], dtype=pl.Enum(["a", "b"])), ["a", "b", "a"]),
        ("model", pl.Series([b"a", None, b"\xff"]), ["a", None, "\ufffd"]),
        ("cost_usd", pl.Series([Decimal("0.25"), None, Decimal("1")]), [0.25, None, 1.0]),
        ("latency_ms", pl.Series([dt.timedelta(seconds=1.5), None, dt.timedelta(0)]), [1500.0, None, 0.0]),
        ("latency_ms", pl.Series([1, 2, 3], dtype=pl.Float32), [1.0, 2.0, 3.0]),
        ("ts", pl.Series([NOON.replace(tzinfo=None)] * 3), [NOON] * 3),
        ("ts", pl.Series([NOON.replace(tzinfo=None)] * 3, dtype=pl.Datetime("ns")), [NOON] * 3),
        ("ts", pl.Series([NOON.replace(tzinfo=None)] * 3, dtype=pl.Datetime("ms")), [NOON] * 3),
        ("ts", pl.Series([NOON] * 3).dt.convert_time_zone("Europe/Berlin"), [NOON] * 3),
        ("ts", pl.Series([NOON.date()] * 3), [NOON - dt.timedelta(hours=12)] * 3),
        ("ts", pl.Series([1769860800, None, 1769860800000]), [NOON, None, NOON]),
        ("ts", pl.Series([1 << 62, 0, None], dtype=pl.Int64).cast(pl.Datetime("us")), [None, EPOCH, None]),
        ("ts", pl.Series([dt.time(12)] * 3), [None] * 3),
        ("status", pl.Series([True, False, None]), ["ok", "error", None]),
        ("batch", pl.Series([1, 0, None]), [True, False, None]),
        ("needs", pl.Series([["tools", "json"], [], None]), ["json,tools", None, None]),
        ("prompt", pl.Series([[{"type": "text", "text": "hi"}], [], None]), ["hi", "[]", None]),
        ("prompt", pl.Series([["a", "b"], None, ["c"]]), ["a\nb", None, "c"]),
        ("prompt", pl.Series([{"content": "x"}, None, {"content": "y"}]), ["x", None, "y"]),
        ("feature", pl.Series([1, 2, 3]), ["1", "2", "3"]),
        ("feedback", pl.Series([1, -1, 9]), [1.0, -1.0, None]),
    ],
)  # fmt: skip
def test_columns_of_odd_types(tmp_path: Path, column: str, values: pl.Series, expected: list[Any]) -> None:
    columns = {"model": ["m"] * 3, column: values}
    frame, bad = read(parquet(tmp_path / "a.parquet", **columns))
    assert bad == []
    assert frame[column].to_list() == expected


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (pl.Series([1, -5]), "saw -5"),
        (pl.Series([1, 1 << 63], dtype=pl.UInt64), "saw 9223372036854775808"),
        (pl.Series([Decimal("1"), Decimal("1.5")]), "saw 1.5"),
        (pl.Series([[1], [2]]), "saw [1]"),
        (pl.Series([{"a": 1}, None]), 'saw {"a": 1}'),
    ],
)
def test_a_count_that_is_none_is_rejected_by_row(tmp_path: Path, values: pl.Series, said: str) -> None:
    stamp = pl.Series([1 << 60, None], dtype=pl.Int64).cast(pl.Datetime("us"))
    _, bad = read(parquet(tmp_path / "a.parquet", model=["m"] * 2, input_tokens=values, ts=stamp))
    assert said in bad[0][2]
    assert bad[0][:2] == (1 if "[" in said or "{" in said else 2, "bad_value")


def test_rows_of_parquet_are_numbered_through_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "PARQUET_ROWS", 3)
    counts = [0, 1, 2, -3, 4, 5, 6, 7]
    frame, bad = read(parquet(tmp_path / "a.parquet", model=["m"] * 8, input_tokens=counts))
    assert frame["line"].to_list() == [1, 2, 3, 5, 6, 7, 8]
    assert [b[0] for b in bad] == [4]


def test_an_empty_parquet_file_and_one_without_columns(tmp_path: Path) -> None:
    frame, bad = read(parquet(tmp_path / "a.parquet", model=pl.Series([], dtype=pl.String)))
    assert (frame.height, bad) == (0, [])
    pl.DataFrame().write_parquet(tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"b\.parquet: no request recognised\. Fields seen: none"):
        read(tmp_path / "b.parquet")


@pytest.mark.parametrize("keep", [5, 200, -10])
def test_a_cut_parquet_file_is_damaged(tmp_path: Path, keep: int) -> None:
    data = parquet(tmp_path / "a.parquet", model=["m"] * 100, input_tokens=range(100)).read_bytes()
    (source,) = logs.find_sources([str(write(tmp_path / "b.parquet", data[:keep]))])
    layout = logs.layout_of(source, None)
    with pytest.raises(logs.DamagedError, match=r"b\.parquet: not a Parquet file that can be read"):
        list(logs.chunks(source, layout))


def test_a_million_rows_in_one_row_group(tmp_path: Path) -> None:
    frame = pl.DataFrame({"input_tokens": pl.int_range(1_000_000, eager=True)}).with_columns(model=pl.lit("m"))
    frame.write_parquet(tmp_path / "a.parquet", row_group_size=1_000_000)
    (source,) = logs.find_sources([str(tmp_path / "a.parquet")])
    parsed = [c.parse(["model", "input_tokens"]) for c in logs.chunks(source, logs.layout_of(source, None))]
    assert sum(p.requests["input_tokens"].sum() for p in parsed) == 499_999_500_000
    assert sum(p.lines for p in parsed) == 1_000_000


# --- field maps -------------------------------------------------------------------------------------------------------


def field_map(tmp_path: Path, content: str) -> logs.Layout:
    return logs.read_map(write(tmp_path / "map.yaml", content))


def test_a_map_reaches_into_objects_and_gives_constants(tmp_path: Path) -> None:
    layout = field_map(
        tmp_path,
        """
columns: {usage.in: input_tokens, usage.deep.out: output_tokens, when: ts}
constants: {model: gpt-5.4, batch: false}
by_file: {"*_code.jsonl": {task: code}}
start: 2023-11-16
time_unit: ms
""",
    )
    rows: list[dict[str, Any]] = [
        {"usage": {"in": 3, "deep": {"out": 4}}, "when": 1500},
        {"usage": {"in": 5, "deep": None}},
        {"usage": None},
    ]
    frame, bad = read(jsonl(tmp_path / "a_code.jsonl", *rows), layout)
    assert bad == []
    assert frame["input_tokens"].to_list() == [3, 5, None]
    assert frame["output_tokens"].to_list() == [4, None, None]
    assert frame["ts"].to_list() == [dt.datetime(2023, 11, 16, 0, 0, 1, 500_000, tzinfo=UTC), None, None]
    assert frame.select("model", "batch", "task").unique().rows() == [("gpt-5.4", False, "code")]
    frame, _ = read(jsonl(tmp_path / "other.jsonl", *rows), layout)
    assert frame["task"].to_list() == [None] * 3
    # the same in columns
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    frame, _ = read(tmp_path / "a.parquet", layout)
    assert frame["output_tokens"].to_list() == [4, None, None]


def test_a_dot_may_be_a_part_of_the_name(tmp_path: Path) -> None:
    layout = field_map(tmp_path, "columns: {usage.in: input_tokens}\nconstants: {model: m}")
    for path in (jsonl(tmp_path / "a.jsonl", {"usage.in": 3}), write(tmp_path / "a.csv", "usage.in,x\n3,4\n")):
        assert read(path, layout)[0]["input_tokens"].to_list() == [3]


def test_an_object_in_the_way_of_a_path_is_a_bad_value(tmp_path: Path) -> None:
    layout = field_map(tmp_path, "columns: {usage.deep.in: input_tokens}\nconstants: {model: m}")
    rows: list[dict[str, Any]] = [{"usage": {"deep": {"in": 3}}}, {"usage": {"deep": "none"}}, {"usage": [1]}]
    frame, bad = read(jsonl(tmp_path / "a.jsonl", *rows), layout)
    assert frame["input_tokens"].to_list() == [3]
    assert [b[2] for b in bad] == ["usage.deep: expected an object, saw text", "usage: expected an object, saw a list"]


def test_a_mapped_field_that_is_not_there_is_noted(tmp_path: Path) -> None:
    layout = field_map(tmp_path, "columns: {promt_tokens: total_input_tokens}")
    (source,) = logs.find_sources([str(jsonl(tmp_path / "a.jsonl", {"model": "m", "prompt_tokens": 3}))])
    (note,) = logs.layout_of(source, layout).notes
    assert note == f"{source.name}: the map reads promt_tokens, not seen so far. Did you mean prompt_tokens?"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("columns: {a: input_tokns}", "columns: 'input_tokns' is not a column of a request. Did you mean input_tokens"),
        ("columns: {a: [x]}", "columns: ['x'] is not a column of a request."),
        ("columns: {a: file}", "columns: 'file' is not a column of a request."),
        ("columns: {a: model, b: model}", "columns: model is mapped from more than one field; keep one."),
        ("columns: {a: model}\nconstants: {model: m}", "model is mapped from a field and given as a constant as well"),
        ("constants: {modl: x}", "constants: 'modl' is not a column of a request. Did you mean model"),
        ("constants: {input_tokens: some}", "input_tokens: saw 'some', expected a whole number of at least 0."),
        ("constants: {ts: soon}", "constants: ts: saw 'soon', expected a value of type Datetime"),
        ("constants: {model: }", "constants: model: saw None, expected a value of type String."),
        ("by_file: {'*': {tsk: code}}", "by_file.*: 'tsk' is not a column of a request. Did you mean task"),
        ("by_file: {'*': code}", "by_file.*: expected a mapping, saw 'code'."),
        ("colums: {}", "unknown key 'colums'. Did you mean columns? Expected columns, constants,"),
        ("- a", "a field map is a YAML mapping with columns, constants, by_file, start, time_unit; saw list."),
        ("", "saw NoneType."),
        ("a: [", "not a YAML field map (while parsing a flow"),
        ("start: 2023-13-45", "not a YAML field map (month must be in 1..12"),
        ("start: soon", "start: saw 'soon', expected a moment like 2026-01-31T00:00:00Z."),
        ("start: 12", "start: saw 12, expected a moment"),
        ("time_unit: h", "time_unit: saw 'h', expected s, ms, us or ns."),
        ("columns: 3", "columns: expected a mapping, saw 3."),
    ],
)  # fmt: skip
def test_a_wrong_map_says_what_to_do(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        field_map(tmp_path, content)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "map.yaml"))


def test_a_map_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.yaml: the field map cannot be read \(No such file or directory\)"):
        logs.read_map(tmp_path / "gone.yaml")
    with pytest.raises(InputError, match="not a YAML field map"):
        logs.read_map(write(tmp_path / "bad.yaml", b"a: \xff"))


@pytest.mark.parametrize("fields", ["{usage: model, usage.in: input_tokens}", "{usage.in: input_tokens, usage: model}"])
def test_a_field_and_a_part_of_it_cannot_both_be_mapped(tmp_path: Path, fields: str) -> None:
    with pytest.raises(InputError, match="map one of them"):
        read(jsonl(tmp_path / "a.jsonl", {"usage": {"in": 1}}), field_map(tmp_path, f"columns: {fields}"))


def test_input_that_includes_cached_tokens_is_told_by_its_name(tmp_path: Path) -> None:
    row = {"model": "m", "input_tokens": 100, "cached_tokens": 80, "output_tokens": 1}
    path = jsonl(tmp_path / "a.jsonl", row)
    (source,) = logs.find_sources([str(path)])
    assert "input_tokens is read as the total that includes cached_tokens" in logs.layout_of(source, None).notes[0]
    assert read(path)[0]["input_tokens"].to_list() == [20]
    other = field_map(tmp_path, "constants: {feature: x}")
    assert read(path, other)[0]["input_tokens"].to_list() == [20]
    said = field_map(tmp_path, "columns: {input_tokens: input_tokens}")
    assert logs.layout_of(source, said).notes == ()
    assert read(path, said)[0]["input_tokens"].to_list() == [100]
    anthropic = jsonl(tmp_path / "b.jsonl", {"model": "m", "input_tokens": 100, "cache_read_input_tokens": 80})
    assert read(anthropic)[0]["input_tokens"].to_list() == [100]


def test_more_cached_than_total_is_rejected(tmp_path: Path) -> None:
    _, bad = read(jsonl(tmp_path / "a.jsonl", {"model": "m", "prompt_tokens": 5, "cached_tokens": 6}))
    assert bad[0][2] == "cached tokens: expected at most the whole input, saw 6 of 5"


def test_a_file_of_something_else_says_what_was_seen(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"a\.jsonl: no request recognised\. Fields seen: level, msg\. Expected some of"
    ):
        read(jsonl(tmp_path / "a.jsonl", {"level": "info", "msg": "hi"}))


def test_a_raw_field_to_group_by(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"model": "m", "region": "eu"},
        {"model": "m", "region": ""},
        {"model": "m", "region": {"a": 1}},
    ]
    frame, _ = read(jsonl(tmp_path / "a.jsonl", *rows), None, ["region"])
    assert frame["raw:region"].to_list() == ["eu", None, '{"a": 1}']
    with pytest.raises(InputError, match=r"no field 'regin' to group by\. Did you mean region"):
        read(tmp_path / "a.jsonl", None, ["regin"])


# --- laws -------------------------------------------------------------------------------------------------------------

PIECES = [
    GOOD,
    '{"model": "m", "input_tokens": "8"}',
    '{"model": "m", "ts": "2026-01-31", "prompt": "é"}',
    "{",
    "[1]",
    "x",
    '{"input_tokens": -4}',
    '{"input_tokens": "x"}',
    "",
    " ",
    '{"a": NaN}',
    '{"model": "\udcff"}',
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(PIECES), max_size=20), st.sampled_from(["\n", "\r\n"]), st.integers(1, 200), st.booleans()
)
def test_every_line_is_accounted_for_whatever_the_chunks(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], end: str, size: int, compressed: bool
) -> None:
    data = end.join([GOOD, *lines]).encode(errors="surrogateescape")
    path = write(tmp_path_factory.mktemp("law") / "a.jsonl", gzip.compress(data, 1) if compressed else data)
    with pytest.MonkeyPatch.context() as patch:
        whole = read(path)
        patch.setattr(records, "CHUNK_BYTES", size)
        parts = read(path)
    assert parts[0].equals(whole[0], null_equal=True)
    assert parts[1] == whole[1]
    stands = [n for n, line in enumerate([GOOD, *lines], 1) if line.strip()]
    assert sorted([*whole[0]["line"], *(b[0] for b in whole[1])]) == stands


CELLS = st.sampled_from(["m", "1", "é", "a b", 'say "x"', "two\nlines", "semi;colon", "a,b", ""])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=12), st.integers(1, 80), st.sampled_from(";,\t"))
def test_csv_reads_alike_whatever_the_chunks(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], size: int, separator: str
) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=separator).writerows([["model", "prompt", "feature"], *rows])
    path = write(tmp_path_factory.mktemp("law") / "a.csv", out.getvalue())
    with pytest.MonkeyPatch.context() as patch:
        whole, bad = read(path)
        patch.setattr(records, "CHUNK_BYTES", size)
        parts, _ = read(path)
    expected = [tuple(cell or None for cell in row) for row in rows if any(row)]
    assert bad == []
    if expected:
        assert whole.select("model", "prompt", "feature").rows() == expected
        assert parts.equals(whole, null_equal=True)


def test_an_unused_alias_is_no_column() -> None:
    assert set(flat.ALIASES) <= {*REQUEST, *flat.EXTRA_TARGETS}
