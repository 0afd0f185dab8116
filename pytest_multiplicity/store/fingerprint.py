"""Values by content: what the store knows results by."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from pytest_multiplicity.errors import StoreError
from pytest_multiplicity.store.arrays import describe_array
from pytest_multiplicity.store.describe import Description, describe, name_of
from pytest_multiplicity.store.encoding import Encoder


def fingerprint(value: Any) -> str:
    """Return the SHA-256, in hex, of a value by its content: the same in every process.

    - Plain values and containers count by value and type; the order of a dict counts, as a program
      can see it; a set has none, and all nans are one.
    - Functions and classes of the project count by their code (bytecode and constants: no line
      numbers, comments or docstrings) with their defaults, the variables they capture, and the
      globals and attributes of the project's modules that they read, each by content in turn. All
      other code counts by module, qualified name and release (see `store.origin`).
    - Modules count by class, hyperparameters, weights and buffers, not by mode or device; tensors,
      arrays and frames by dtype, shape and bytes. Two tied tensors are not two equal ones.
    - An object with a str attribute `fingerprint` counts by that alone.
    - Any other object counts by its class and its state, as `pickle` would see it.

    Code that is found only while it runs (`importlib`, `eval`), code compiled from C, and the files
    that code reads can't be seen.

    Raises StoreError for a value whose state can't be seen: a file, a session, a generator.
    """
    walk = _Walk()
    try:
        walk.run(value)
    except RecursionError as error:
        raise StoreError(
            f"a {type(value).__name__} is nested too deeply to be known by its content; {_REMEDY}"
        ) from error
    return walk.hexdigest()


_REMEDY = (
    "give it a str attribute `fingerprint` that changes whenever its content does (or put it into "
    "an object of yours that has one), or build it inside the function that needs it"
)
_OPAQUE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class _Node:
    value: Any  # held, so that its id stays its own
    label: str
    parent: _Node | None

    def path(self) -> str:
        node, labels = self.parent, [self.label]
        while node is not None:
            labels.append(node.label)
            node = node.parent
        return " -> ".join(reversed(labels))


class _Walk(Encoder):
    """Writes a graph of objects, breadth first: each once, and its number wherever it is met.

    Breadth first, because a chain of a thousand functions must not exhaust the stack.
    """

    def __init__(self, open_containers: Iterable[int] = ()) -> None:
        super().__init__(open_containers)
        self._nodes: list[_Node] = []
        self._numbers: dict[int, int] = {}
        self._label = "the value"
        self._parent: _Node | None = None

    def run(self, value: Any) -> None:
        """Write a value and everything that it reaches."""
        self.write(value)
        at = 0
        while at < len(self._nodes):
            self._write_node(self._nodes[at])
            at += 1

    def write_other(self, value: Any) -> None:
        """Write what is known by a name or a path at once; number anything else."""
        if isinstance(value, PurePath):
            self.token("path", str(value).encode("utf-8", "surrogatepass"))
        elif isinstance(value, enum.Enum):
            self.token("option")
            self.write((type(value), value.name, value.value))
        elif (name := name_of(value)) is not None:
            self.token("name", name.encode())
        elif (known := _declared(value)) is not None:
            self.token("fingerprint", known.encode("utf-8", "surrogatepass"))
        else:
            self._number(value)

    def _element(self, value: Any) -> bytes:
        walk = _Walk(self._open)
        walk._parent, walk._label = self._parent, self._label
        walk.run(value)
        return walk.digest()

    def _number(self, value: Any) -> None:
        number = self._numbers.setdefault(id(value), len(self._nodes))
        if number == len(self._nodes):
            self._nodes.append(_Node(value, self._label, self._parent))
        self.token("object", str(number).encode())

    def _write_node(self, node: _Node) -> None:
        description = _describe(node)
        self._parent = node
        self.token("kind", description.kind.encode())
        self.write(description.facts)
        self.token("parts", str(len(description.parts)).encode())
        for label, part in description.parts:
            self._label = label
            self.token("part", label.encode("utf-8", "surrogatepass"))
            self.write(part)


def _describe(node: _Node) -> Description:
    try:
        return describe_array(node.value) or describe(node.value)
    except _OPAQUE as error:
        kind = type(node.value)
        raise StoreError(
            f"can't tell what {node.path()} holds: a {kind.__module__}.{kind.__qualname__} does "
            f"not show its state ({error}); {_REMEDY}"
        ) from error


def _declared(value: Any) -> str | None:
    """Return the fingerprint that an object declares; an axis may have that name too."""
    if isinstance(value, type) or type(value).__module__.startswith("pytest_multiplicity.design"):
        return None
    declared = getattr(value, "fingerprint", None)
    return declared if isinstance(declared, str) else None
