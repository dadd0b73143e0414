"""Routing tables: which model a request goes to, by task type, mode and override."""

from __future__ import annotations

from routecost.routing.check import Change, Finding, Resolved, diff, validate
from routecost.routing.read import read_table
from routecost.routing.route import holding, route, rule_expression
from routecost.routing.table import Override, Table, empty_table

__all__ = [
    "Change",
    "Finding",
    "Override",
    "Resolved",
    "Table",
    "diff",
    "empty_table",
    "holding",
    "read_table",
    "route",
    "rule_expression",
    "validate",
]
