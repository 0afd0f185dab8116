"""Whether two values of one name are the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_multiplicity.store import fingerprint


class Content:
    """The values that a name stands for, as they were when it was met first."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = list(values)
        self._known = [fingerprint(value) for value in values]

    def is_that_of(self, values: Sequence[Any]) -> bool:
        """Return whether other values are the same.

        Numbers that are equal are (15 and 15.0), and a function is itself, whatever it counts or
        caches while it is used. Anything else is known by its content.
        """
        each = zip(self._values, self._known, values, strict=True)
        return len(values) == len(self._values) and all(
            _equal(mine, its) or known == fingerprint(its) for mine, known, its in each
        )


def _equal(a: Any, b: Any) -> bool:
    try:
        return a is b or bool(a == b)
    except (RuntimeError, ValueError):  # tensors and arrays say so element by element
        return False
