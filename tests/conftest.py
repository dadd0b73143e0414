"""What several test modules use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write expected outputs anew; then read the diff")


Run = Callable[..., "subprocess.CompletedProcess[str]"]

_START = "from routecost.cli import main; main()"


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).parent.parent


@pytest.fixture(scope="session")
def cli(root: Path) -> Run:
    """The program in a process of its own: cli(*args, input=None, cwd=None, env=None) -> stdout, stderr, returncode.

    cwd: the checkout unless given. env: added to the present environment.
    """

    def run(
        *args: str | Path, input: str | None = None, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", _START, *(str(arg) for arg in args)],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=cwd or root,
            env={**os.environ, **(env or {})},
            timeout=60,
            check=False,
        )

    return run
