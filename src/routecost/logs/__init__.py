"""Request logs as chunks of canonical requests, with every line accounted for."""

from __future__ import annotations

from routecost.logs.files import DamagedError, Source, find_sources, is_object_store, spool_stdin
from routecost.logs.flat import Layout, detect_layout, read_map
from routecost.logs.records import Chunk, Parsed, Reject, chunks, layout_of, locate

__all__ = [
    "Chunk",
    "DamagedError",
    "Layout",
    "Parsed",
    "Reject",
    "Source",
    "chunks",
    "detect_layout",
    "find_sources",
    "is_object_store",
    "layout_of",
    "locate",
    "read_map",
    "spool_stdin",
]
