"""Whether two values of one name are the same."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Number
from types import MethodType
from typing import Any

from pytest_multiplicity.errors import StoreError
from pytest_multiplicity.store import fingerprint

_PLAIN = (Number, str, bytes, type(None))


class Content:
    """The values that a name stands for, as they were when it was met first."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = list(values)
        self._known = [content_of(value) for value in values]

    def is_that_of(self, values: Sequence[Any]) -> bool:
        """Return whether other values are the same.

        Numbers that are equal are (15 and 15.0), and a function is itself, whatever it counts or
        caches while it is used. Anything else is known by its content: what other objects say of
        their equality may be anything (torchmetrics' `==` makes a new metric).
        """
        each = zip(self._values, self._known, values, strict=True)
        return len(values) == len(self._values) and all(
            _equal(mine, its) or known == fingerprint(its) for mine, known, its in each
        )


class Meanings:
    """What names stand for."""

    def __init__(self) -> None:
        self._contents: dict[str, Content] = {}

    def are_one(self, name: str, values: Sequence[Any]) -> bool:
        """Return whether a name stood for nothing else than these values so far."""
        if name not in self._contents:
            self._contents[name] = Content(values)
        return self._contents[name].is_that_of(values)


def content_of(value: Any) -> str | None:
    """Return the fingerprint of a value; None where its content can't be told."""
    try:
        return fingerprint(value)
    except StoreError:
        return None


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, _PLAIN) and isinstance(b, _PLAIN):
        return bool(a == b)
    if type(a) is type(b) is dict:
        return a.keys() == b.keys() and all(_equal(a[name], b[name]) for name in a)
    if type(a) is type(b) is MethodType:  # another object each time it is looked up
        return a.__func__ is b.__func__ and a.__self__ is b.__self__
    return a is b and callable(a)
