"""Modules that a function loads into again: those before would have the last weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from pytest_multiplicity.errors import DefinitionError


def each_its_own(made: Iterable[Any], ids: Sequence[str], family: str) -> Iterator[Any]:
    """Pass on what the function makes, and compare modules in the end with what they were.

    Raises:
        DefinitionError: making a later one wrote to an earlier one.
    """
    marks: list[tuple[nn.Module, list[str]]] = []
    found = []
    for each in made:
        found.append(each)
        marks.append((each, _mark(each)) if isinstance(each, nn.Module) else (nn.Module(), []))
    for (module, mark), name in zip(marks, ids, strict=False):
        if _mark(module) != mark:
            raise DefinitionError(
                f"family {family!r} changed the weights of {name} after it had returned it: they "
                "are in one module with those of a later candidate; build a new module for each "
                "inside the function, as in pm.load(path, into=Net())"
            )
    yield from found


def _mark(module: nn.Module) -> list[str]:
    """Return the sums of a module's weights, by which others are known nearly for certain."""
    return [_sum(tensor) for tensor in (*module.parameters(), *module.buffers())]


def _sum(tensor: Tensor) -> str:
    try:
        return str(tensor.detach().sum().item())  # text, since nan is not nan
    except (RuntimeError, NotImplementedError):  # quantised, lazy, without memory
        return ""
