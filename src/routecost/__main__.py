"""`python -m routecost`."""

from __future__ import annotations

from routecost.cli import main

main()
