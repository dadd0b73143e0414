"""Routing tables: which model a request goes to, by task type, mode and override."""

from __future__ import annotations

from routecost.routing.check import Change, Finding, Resolved, diff, validate
from routecost.routing.read import read_table, table_of
from routecost.routing.route import holding, route, rule_expression
from routecost.routing.table import Made, Override, Table, empty_table
from routecost.routing.write import to_yaml

__all__ = [
    "Change",
    "Finding",
    "Made",
    "Override",
    "Resolved",
    "Table",
    "diff",
    "empty_table",
    "holding",
    "read_table",
    "route",
    "rule_expression",
    "table_of",
    "to_yaml",
    "validate",
]
