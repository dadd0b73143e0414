"""Files written whole: complete under their name, or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from routecost.errors import InputError


@contextlib.contextmanager
def whole_file(path: Path | str, *, private: bool = False) -> Iterator[Path]:
    """A temporary file beside `path` that takes its name when the block ends well, and vanishes when it does not.

    private: readable by its owner only (0600), as what holds prompts is. Raises InputError where it cannot be written.
    """
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o666))
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}. Choose another place with -o.") from error
    finally:
        part.unlink(missing_ok=True)
