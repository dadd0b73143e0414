"""Routing tables for other programs, and back."""

from __future__ import annotations

from routecost.export.cells import Exported, rolled_back
from routecost.export.litellm import from_litellm, to_litellm
from routecost.export.portkey import to_portkey
from routecost.export.python import from_python, to_python
from routecost.export.sheet import to_csv

__all__ = [
    "Exported",
    "from_litellm",
    "from_python",
    "rolled_back",
    "to_csv",
    "to_litellm",
    "to_portkey",
    "to_python",
]
