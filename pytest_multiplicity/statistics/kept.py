"""What formulas find, remembered by the content of what they were given.

What a formula finds follows from its arguments and its code alone. Where `MEMORY` is set, as in a
run that has a store, what was found before is not computed again; elsewhere all is computed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ParamSpec, Protocol, TypeVar

Given = ParamSpec("Given")
Found = TypeVar("Found")
Row = dict[str, Any]
"""Numbers, texts, None, and arrays, by name."""


class Memory(Protocol):
    """Remembers what formulas found."""

    def recall(
        self, formula: Callable[..., Any], given: Any, make: Callable[[], list[Row]]
    ) -> list[Row]:
        """Return what a formula finds of what it is given: what is known, else what is made."""


MEMORY: ContextVar[Memory | None] = ContextVar("MEMORY", default=None)


def kept(
    of: Any, *, many: bool = False
) -> Callable[[Callable[Given, Found]], Callable[Given, Found]]:
    """Have a formula's results remembered, which are of a dataclass or None.

    Args:
        of: the dataclass; its fields are what a `Row` may hold.
        many: whether the formula returns a list of them.
    """

    def decorate(formula: Callable[Given, Found]) -> Callable[Given, Found]:
        @functools.wraps(formula)
        def recalled(*args: Given.args, **kwargs: Given.kwargs) -> Found:
            memory = MEMORY.get()
            if memory is None:
                return formula(*args, **kwargs)
            rows = memory.recall(
                formula, [list(args), kwargs], lambda: _rows(formula(*args, **kwargs))
            )
            found = [of(**row) for row in rows]
            return found if many else next(iter(found), None)  # type: ignore[return-value]

        return recalled

    return decorate


def _rows(found: Any) -> list[Row]:
    """Return what is kept of results: their fields."""
    results = found if isinstance(found, list) else [found]
    return [dict(vars(each)) for each in results if each is not None]
