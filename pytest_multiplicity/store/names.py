"""What the names in a function lead to: the values it takes from outside itself."""

from __future__ import annotations

import builtins
import enum
import importlib
import sys
import types
from collections.abc import Mapping
from typing import Any

from pytest_multiplicity.store.code import Use
from pytest_multiplicity.store.origin import is_project_module, is_project_name, library_name

Part = tuple[str, Any]  # (label, value)
# Names that say where code lies, not what it does.
_PLACE = frozenset({
    "__builtins__", "__cached__", "__doc__", "__file__", "__loader__", "__name__", "__package__",
    "__path__", "__spec__",
})  # fmt: skip


class Unresolved(enum.Enum):
    """Why a name leads nowhere."""

    BUILTIN = "a builtin"
    NOWHERE = "not defined when the function was read"
    PLACE = "where code lies"


def resolve(use: Use, namespace: Mapping[str, Any], closure: Mapping[str, Any]) -> Part:
    """Follow a name as far as it leads through the project's modules."""
    if use.scope == "import":
        label, value = _import(use, namespace)
    else:
        label, value = use.name, _look_up(use, namespace, closure)
    for attribute in use.attributes:
        if not (isinstance(value, types.ModuleType) and is_project_module(value)):
            break
        label, value = f"{label}.{attribute}", _attribute(value, attribute)
    return f"{use.scope} {label}", value


def _look_up(use: Use, namespace: Mapping[str, Any], closure: Mapping[str, Any]) -> Any:
    if use.scope == "closure":
        return closure.get(use.name, Unresolved.NOWHERE)
    if use.name in _PLACE:
        return Unresolved.PLACE
    unbound = Unresolved.BUILTIN if hasattr(builtins, use.name) else Unresolved.NOWHERE
    return namespace.get(use.name, unbound)


def _import(use: Use, namespace: Mapping[str, Any]) -> Part:
    """Return what an import inside a function would bind; no library is imported for it."""
    package = namespace.get("__package__") or ""
    label = "." * use.level + use.name
    if use.level == 0 and not is_project_name(use.name):
        return label, library_name(use.name, "")
    try:
        module = importlib.import_module(label, package)
    except ImportError:
        return label, Unresolved.NOWHERE
    top = module.__name__.partition(".")[0] if use.top else module.__name__
    return top if use.top else label, sys.modules[top]


def _attribute(module: types.ModuleType, name: str) -> Any:
    if name in _PLACE:
        return Unresolved.PLACE
    if hasattr(module, name):
        return getattr(module, name)
    try:
        return importlib.import_module(f"{module.__name__}.{name}")
    except ImportError:
        return Unresolved.NOWHERE


def closure_of(function: types.FunctionType) -> dict[str, Any]:
    """Return the variables that a function captures, by name."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: _contents(cell) for name, cell in cells}


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that has no value yet
        return Unresolved.NOWHERE
