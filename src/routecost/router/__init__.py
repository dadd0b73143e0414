"""The routing table at run time: which model a single request goes to."""

from __future__ import annotations

from routecost.router.decide import FAILED_OPEN, Decision, Router

__all__ = ["FAILED_OPEN", "Decision", "Router"]
