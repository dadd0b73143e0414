"""Usage: exact integer counts of requests in cells, which merge in any order."""

from __future__ import annotations

from routecost.usage.cells import Settings, Usage, empty, merge, prepare, subtract, tally
from routecost.usage.file import About, is_usage_file, read_about, read_usage, write_usage
from routecost.usage.ids import hashed, is_id, machine_salt
from routecost.usage.pairs import Joined, Keyed, is_pairs_file, joined, pairs_path, read_pairs, write_pairs
from routecost.usage.sessions import Sessions

__all__ = [
    "About",
    "Joined",
    "Keyed",
    "Sessions",
    "Settings",
    "Usage",
    "empty",
    "hashed",
    "is_id",
    "is_pairs_file",
    "is_usage_file",
    "joined",
    "machine_salt",
    "merge",
    "pairs_path",
    "prepare",
    "read_about",
    "read_pairs",
    "read_usage",
    "subtract",
    "tally",
    "write_pairs",
    "write_usage",
]
