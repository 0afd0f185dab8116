"""What is the same option: looked up by hash where there is one, since families can be large."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def same(first: Any, second: Any) -> bool:
    """Equal options; `True` and `1` differ, and arrays are compared by identity.

    Only a bool counts: `==` of other objects may give anything, such as an expression.
    """
    if first is second:
        return True
    if isinstance(first, bool) != isinstance(second, bool):
        return False
    try:
        equal = first == second
        return type(equal).__name__ in ("bool", "bool_") and bool(equal)  # numpy's, unimported
    except (TypeError, ValueError, RuntimeError):
        return False


class Distinct:
    """Options in order of first appearance, each once."""

    def __init__(self, options: Iterable[Any] = ()) -> None:
        self.options: list[Any] = []
        self._places: dict[tuple[bool, Any], int] = {}
        self._without_hash: list[int] = []
        for option in options:
            self.add(option)

    def add(self, option: Any) -> int:
        """Return where the option stands: as the same one here, or anew at the end."""
        place, alike = None, self._without_hash
        try:
            place = self._places.get((isinstance(option, bool), option))
        except TypeError:
            alike = list(range(len(self.options)))
        if place is None:
            place = next((i for i in alike if same(option, self.options[i])), None)
        return self._append(option) if place is None else place

    def _append(self, option: Any) -> int:
        place = len(self.options)
        self.options.append(option)
        try:
            self._places[isinstance(option, bool), option] = place
        except TypeError:
            self._without_hash.append(place)
        return place


class DistinctConfigurations:
    """Configurations in order of first appearance, each once; all have the same axes."""

    def __init__(self) -> None:
        self._axes: dict[str, Distinct] = {}
        self._places: dict[tuple[tuple[str, int], ...], int] = {}

    def add(self, options: Mapping[str, Any]) -> int:
        """Return where the configuration stands: as the same one here, or anew at the end."""
        each = (
            (axis, self._axes.setdefault(axis, Distinct()).add(o)) for axis, o in options.items()
        )
        return self._places.setdefault(tuple(sorted(each)), len(self._places))
