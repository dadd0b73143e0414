"""Usage: exact integer counts of requests in cells, which merge in any order."""

from __future__ import annotations

from routecost.usage.cells import Settings, Usage, empty, merge, prepare, subtract, tally
from routecost.usage.file import is_usage_file, read_usage, write_usage
from routecost.usage.ids import hashed, is_id, machine_salt
from routecost.usage.sessions import Sessions

__all__ = [
    "Sessions",
    "Settings",
    "Usage",
    "empty",
    "hashed",
    "is_id",
    "is_usage_file",
    "machine_salt",
    "merge",
    "prepare",
    "read_usage",
    "subtract",
    "tally",
    "write_usage",
]
