"""Whether what a function's fixtures hold can be known by its content."""

from __future__ import annotations

import enum
import numbers
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from inspect import isgenerator
from typing import Any

from pytest_multiplicity.errors import DefinitionError

PLAIN = (type(None), str, bytes, numbers.Number, enum.Enum)
CONTENT = {
    "torch": ("Tensor", "nn.Module", "dtype", "device"),
    "numpy": ("ndarray", "generic", "dtype"),
    "pandas": ("DataFrame", "Series", "Index"),
    "scipy.sparse": ("spmatrix", "sparray"),
}


def check_fixtures(fixtures: Mapping[str, Any], family: str) -> None:
    """Raise DefinitionError, which names the fixture, where one holds what isn't known by content.

    Tensors, arrays, frames and modules are, and numbers, text, and tuples, lists, sets, dicts and
    dataclasses of these; so is whatever has a `fingerprint`.
    """
    for name, value in fixtures.items():
        found = next(_unknown(value, name, ()), None)
        if found is None:
            continue
        where, part = found
        remedy = (
            "give it a str attribute `fingerprint` that changes whenever its content does, or have "
            "the fixture return what is trained on: pm.Data, arrays, frames, tensors, numbers, text"
        )
        if isgenerator(part):
            remedy = "it can be read once only: have the fixture return a list of what it yields"
        raise DefinitionError(
            f"family {family!r} keeps what it trains, and can't tell when its fixture {name!r} "
            f"changes: {where} is a {type(part).__module__}.{type(part).__qualname__}; {remedy}"
        )


def _unknown(value: Any, where: str, above: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    """Yield what isn't known by its content, with where it is."""
    if isinstance(value, PLAIN) or id(value) in above:
        return
    if isinstance(getattr(value, "fingerprint", None), str) or _is_content(value):
        return
    parts: list[tuple[str, Any]] | None = None
    if isinstance(value, dict):
        parts = [(f"{where}[{key!r}]", part) for key, part in value.items()]
        parts += [(f"a key of {where}", key) for key in value]
    elif isinstance(value, tuple | list | set | frozenset):
        names = getattr(value, "_fields", range(len(value)))
        parts = [(f"{where}[{n}]", part) for n, part in zip(names, value, strict=False)]
    elif is_dataclass(value) and not isinstance(value, type):
        parts = [(f"{where}.{each.name}", getattr(value, each.name)) for each in fields(value)]
    if parts is None:
        yield where, value
        return
    for name, part in parts:
        yield from _unknown(part, name, (*above, id(value)))


def _is_content(value: Any) -> bool:
    """Say whether it is of a library's classes that are known by content, where that is loaded."""
    for library, names in CONTENT.items():
        for name in names if library in sys.modules else ():
            kind: Any = sys.modules[library]
            for part in name.split("."):
                kind = getattr(kind, part, None)
            if isinstance(kind, type) and isinstance(value, kind):
                return True
    return False
