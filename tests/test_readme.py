"""The README's console sessions are real: each command is run, and prints what stands below it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
SESSION = re.compile(r"```console\n\$ (?P<command>[^\n]+)\n(?P<output>.*?)```", re.DOTALL)
# the version of a price source changes with every edit of it
VERSIONS = re.compile(r"@[0-9a-f]{8}")


def run(command: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, shell=True, cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sessions(request: pytest.FixtureRequest) -> None:
    text = README.read_text(encoding="utf-8")
    sessions = list(SESSION.finditer(text))
    assert len(sessions) >= 3
    fresh = SESSION.sub(lambda m: f"```console\n$ {m['command']}\n{run(m['command'])}```", text)
    if request.config.getoption("--update-golden"):
        README.write_text(fresh, encoding="utf-8")
        return
    assert VERSIONS.sub("@", fresh) == VERSIONS.sub("@", text)


def test_library_example() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Interval(" in done.stdout


def test_routing_table_example(tmp_path: Path) -> None:
    from routecost.routing import read_table

    blocks = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (table,) = [b for b in blocks if "routes:" in b]
    file = tmp_path / "table.yaml"
    file.write_text(table, encoding="utf-8")
    assert read_table(file).name == "balanced-2026-11"
    validated = subprocess.run(
        [sys.executable, "-c", "from routecost.cli import main; main()", "routes", "validate", str(file)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert validated.returncode == 0, validated.stdout + validated.stderr
