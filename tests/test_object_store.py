"""Logs in an object store, read through Polars by the real command from a local S3 server."""

from __future__ import annotations

import gzip
import json
import urllib.request
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from conftest import Run

BUCKET = "team-logs"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an empty S3 server of our own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        moto = pytest.importorskip("moto.server", reason="needs moto[s3,server]", exc_type=ImportError)
        running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        running.start()
    host, port = running.get_host_and_port()
    put(f"http://{host}:{port}", "")
    yield f"http://{host}:{port}"
    running.stop()


def put(server: str, name: str, content: bytes = b"") -> str:
    """Store an object (or make the bucket, without a name); its URL."""
    # without a type it would be read as a form
    kind = {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(f"{server}/{BUCKET}/{name}", data=content, headers=kind, method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
    return f"s3://{BUCKET}/{name}"


@pytest.fixture
def access(server: str) -> Mapping[str, str]:
    """What a user sets in the environment for a store that is not Amazon's."""
    return {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }


def rows(count: int) -> list[dict[str, Any]]:
    fixed = {"model": "gpt-5.4", "prompt": "é", "output_tokens": 10, "task": "code"}
    return [{"request_id": f"r{n}", "input_tokens": 100 + n, **fixed} for n in range(count)]


def lines(count: int) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows(count)).encode()


def analyze(cli: Run, access: Mapping[str, str], *args: str | Path, code: int = 0) -> tuple[Any, str]:
    run = cli("analyze", *args, "--format", "json", env=access)
    assert "Traceback" not in run.stderr
    assert run.returncode == code, run.stderr
    return (json.loads(run.stdout) if run.stdout else None), run.stderr


def table(tmp_path: Path, count: int) -> bytes:
    pl.DataFrame(rows(count)).write_parquet(tmp_path / "t.parquet")
    return (tmp_path / "t.parquet").read_bytes()


@pytest.mark.parametrize("name", ["a.jsonl", "b.jsonl.gz", "c.csv", "d.parquet", "e.json", "f.csv.gz", "g"])
def test_every_format_is_read(cli: Run, server: str, access: Mapping[str, str], tmp_path: Path, name: str) -> None:
    csv = "\ufeff" + pl.DataFrame(rows(300)).write_csv(separator=";", line_terminator="\r\n")
    content = {
        "a.jsonl": lines(300),
        "b.jsonl.gz": gzip.compress(lines(300)),
        "c.csv": csv.encode(),
        "d.parquet": table(tmp_path, 300),
        "e.json": json.dumps(rows(300), indent=1).encode(),
        "f.csv.gz": gzip.compress(csv.encode()),
        "g": lines(300),
    }[name]
    result, _ = analyze(cli, access, put(server, f"formats/{name}", content))
    assert (result["input"]["files"], result["input"]["requests"], result["input"]["rejected"]) == (1, 300, 0)
    assert result["mix"][0]["input_tokens"] == sum(row["input_tokens"] for row in rows(300))


def test_bad_lines_and_duplicates_are_located(cli: Run, server: str, access: Mapping[str, str], tmp_path: Path) -> None:
    good = lines(3).decode().splitlines()
    url = put(server, "bad.jsonl", "\n".join(["\ufeff" + good[0], "", good[1], "{", good[0], good[2]]).encode())
    result, _ = analyze(cli, access, url, "--rejects", tmp_path / "rejects.jsonl")
    assert (result["input"]["requests"], result["input"]["duplicates"]) == (3, 1)
    assert result["input"]["rejects"][0]["places"] == [f"{url}:4"]
    assert result["input"]["duplicate_places"] == [f"{url}:5"]
    assert json.loads((tmp_path / "rejects.jsonl").read_text())["line"] == 4


def test_objects_and_files_together_and_a_pattern(
    cli: Run, server: str, access: Mapping[str, str], tmp_path: Path
) -> None:
    put(server, "days/1.jsonl", lines(2))
    put(server, "days/2.jsonl", lines(4))
    (tmp_path / "local.jsonl").write_bytes(lines(5))
    result, _ = analyze(cli, access, f"s3://{BUCKET}/days/*.jsonl", tmp_path / "local.jsonl")
    assert (result["input"]["requests"], result["input"]["lines"], result["input"]["duplicates"]) == (5, 11, 6)


@pytest.mark.parametrize("name", ["nothing.jsonl", "nothing.csv", "nothing.parquet"])
def test_an_object_that_is_not_there(cli: Run, access: Mapping[str, str], name: str) -> None:
    result, err = analyze(cli, access, f"s3://{BUCKET}/{name}", code=3)
    assert result is None
    assert f"s3://{BUCKET}/{name}: no such object. Check the bucket and the name." in err


def test_an_object_of_something_else(cli: Run, server: str, access: Mapping[str, str]) -> None:
    _, err = analyze(cli, access, put(server, "x.parquet", b"model,tokens\n" * 9), code=3)
    assert "x.parquet: cannot be read" in err
    _, err = analyze(cli, access, put(server, "x.jsonl", b'{"model": "\xff"}\n'), code=3)
    assert "x.jsonl: not UTF-8. Download it first" in err
    _, err = analyze(cli, access, put(server, "y.jsonl", b""), code=3)
    assert "no request in the input" in err


def test_a_store_that_does_not_answer_says_where_access_is_set(cli: Run, access: Mapping[str, str]) -> None:
    closed = {**access, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "POLARS_CLOUD_MAX_RETRIES": "0"}
    _, err = analyze(cli, closed, f"s3://{BUCKET}/a.jsonl", code=3)
    assert "cannot be read from the object store" in err
    assert "AWS_ENDPOINT_URL" in err
