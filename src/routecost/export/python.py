"""Routing tables as Python modules, and back."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from routecost.errors import InputError
from routecost.export.cells import DEFAULT, Exported, cells, comment_lines, heading, left_out
from routecost.routing import Table, table_of

_NAMES: Final = {
    "ROUTING_TABLE": "routes",
    "DEFAULT": "default",
    "DEFAULT_MODE": "default_mode",
    "FALLBACKS": "fallbacks",
    "NAME": "name",
}


def to_python(table: Table) -> Exported:
    """A module that imports nothing: ROUTING_TABLE, DEFAULT, DEFAULT_MODE, FALLBACKS. A mode that a task does not name
    is in DEFAULT."""
    # a mode without a model is absent from both, and FALLBACKS is of any model, as in a table
    left = tuple(line for line in left_out(table, stays=False) if not line.startswith("fallbacks of"))
    rows: dict[str, list[str]] = {task: [] for task in [*table.routes, DEFAULT]}
    for cell in cells(table):
        if not cell.inherited:
            rows[cell.task] += comment_lines([cell.evidence], "# ") if cell.evidence else []
            rows[cell.task].append(f"{cell.mode!r}: {cell.model!r},")
    lines = [*comment_lines(heading(table, left)), "", f"NAME = {table.name!r}", "", "ROUTING_TABLE = {"]
    for task in table.routes:
        lines += [f"    {task!r}: {{", *(f"        {line}" for line in rows[task]), "    },"]
    lines += ["}", ""]
    lines += ["# for requests of no task in ROUTING_TABLE, and for modes that a task does not name"]
    lines += ["DEFAULT = {", *(f"    {line}" for line in rows[DEFAULT]), "}"]
    lines += ["# for requests in no mode, or in another one", f"DEFAULT_MODE = {table.default_mode!r}", ""]
    lines += ["# what is called when a model fails, in order", "FALLBACKS = {"]
    lines += [f"    {model!r}: {list(others)!r}," for model, others in table.fallbacks.items()]
    return Exported("\n".join([*lines, "}"]) + "\n", left)


def from_python(path: Path) -> Table:
    """The table in a Python module with ROUTING_TABLE = {task: {mode: model}}, and where they are there DEFAULT,
    DEFAULT_MODE, FALLBACKS, NAME. The module is parsed, never run: values are literals, or names of literals above."""
    try:
        tree = ast.parse(path.read_bytes(), str(path))
        found = _constants(tree, path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from error
    except (SyntaxError, ValueError) as error:
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise InputError(f"{path}{where} is not Python: {reason}.") from error
    except (RecursionError, MemoryError) as error:
        raise InputError(f"{path} is nested too deeply for a routing table.") from error
    if "routes" not in found:
        raise InputError(f"{path} has no ROUTING_TABLE = {{task: {{mode: model}}}} at its top level.")
    if found.get("default") == {}:
        del found["default"]
    return table_of(found, path)


def _constants(tree: ast.Module, path: Path) -> dict[str, Any]:
    """Our names -> their values; every assignment of a literal can be named by those below it."""
    known: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for name, value in _assignments(tree):
        try:
            known[name] = _value(value, known)
        except _NotLiteralError as error:
            # what is none of ours may be anything; it is only missed when a table names it
            known.pop(name, None)
            if name in _NAMES:
                raise InputError(
                    f"{path}, line {error.node.lineno}: {name} has {ast.unparse(error.node)[:80]!r}, which is only "
                    "known when the module runs, and it is not run. Write a literal, or the name of one above."
                ) from error
            continue
        if name in _NAMES:
            found[_NAMES[name]] = known[name]
    return found


def _assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """NAME = value at the top level, and `Class.NAME` for those of classes (enumerations of tasks and models)."""
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef):
            for inner in statement.body:
                yield from ((f"{statement.name}.{name}", value) for name, value in _assigned(inner))
        else:
            yield from _assigned(statement)


def _assigned(statement: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(statement, ast.Assign):
        yield from ((target.id, statement.value) for target in statement.targets if isinstance(target, ast.Name))
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
        yield statement.target.id, statement.value


class _NotLiteralError(Exception):
    def __init__(self, node: ast.expr) -> None:
        self.node = node


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Dict(keys=keys, values=values):
            pairs: dict[Any, Any] = {}
            for key, given in zip(keys, values, strict=True):
                inner = _value(given, known)
                if key is not None:
                    name = _value(key, known)
                    if isinstance(name, list | dict):
                        raise _NotLiteralError(key)
                    pairs[name] = inner
                elif isinstance(inner, dict):
                    pairs |= inner
                else:
                    raise _NotLiteralError(given)
            return pairs
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [_value(element, known) for element in elements]
        case ast.Attribute(value=ast.expr() as inside, attr="value") if (member := ast.unparse(inside)) in known:
            return known[member]
        case ast.Name() | ast.Attribute() if (member := ast.unparse(node)) in known:
            return known[member]
    raise _NotLiteralError(node)
