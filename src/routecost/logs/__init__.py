"""Request logs of any dialect as chunks of canonical requests, with every line accounted for."""

from __future__ import annotations

from routecost.logs.dialects import ALL as DIALECTS
from routecost.logs.dialects import FLAT
from routecost.logs.dialects import NAMES as FORMATS
from routecost.logs.estimate import method as estimate_method
from routecost.logs.files import DamagedError, Source, find_sources, is_object_store, spool_stdin
from routecost.logs.finish import CORRECTIONS
from routecost.logs.flat import Layout, detect_layout, read_map
from routecost.logs.mapped import understood
from routecost.logs.opened import Opened, open_logs
from routecost.logs.records import Chunk, Parsed, Reject, chunks, layout_of, locate, sample_of

__all__ = [
    "CORRECTIONS",
    "DIALECTS",
    "FLAT",
    "FORMATS",
    "Chunk",
    "DamagedError",
    "Layout",
    "Opened",
    "Parsed",
    "Reject",
    "Source",
    "chunks",
    "detect_layout",
    "estimate_method",
    "find_sources",
    "is_object_store",
    "layout_of",
    "locate",
    "open_logs",
    "read_map",
    "sample_of",
    "spool_stdin",
    "understood",
]
