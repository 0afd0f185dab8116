"""A forgotten `assert`: a test that compares, and drops what came of it, lets everybody through."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

COMPARE = frozenset({"within", "in_top", "not_worse_than"})  # of scores: yes or no
EXPECT = frozenset({"raises", "warns", "suppress", "deprecated_call"})  # what comes is an error


def comparison(function: Callable[..., Any]) -> str | None:
    """Return a comparison that is a statement of its own in a test; None where there is none."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except (OSError, TypeError, SyntaxError, ValueError):  # made by a tool: nobody forgot anything
        return None
    dropped = (node.value for node in _statements(tree) if isinstance(node, ast.Expr))
    return next((ast.unparse(value) for value in dropped if _compares(value)), None)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree, without the blocks in which an error is expected."""
    if isinstance(node, ast.With) and any(
        _name(each.context_expr) in EXPECT for each in node.items
    ):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _statements(child)


def _compares(value: ast.expr) -> bool:
    if isinstance(value, ast.BoolOp):
        return any(map(_compares, value.values))
    if isinstance(value, ast.UnaryOp):
        return isinstance(value.op, ast.Not) or _compares(value.operand)
    return isinstance(value, ast.Compare) or _name(value) in COMPARE


def _name(value: ast.expr) -> str:
    """Return the name of what is called."""
    called = value.func if isinstance(value, ast.Call) else None
    return str(getattr(called, "attr", getattr(called, "id", "")))
