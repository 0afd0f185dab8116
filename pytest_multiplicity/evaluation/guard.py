"""What fails inside the plugin's own work is never a verdict of a spec."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pytest_multiplicity.errors import EvaluationError


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn an AssertionError raised inside into an EvaluationError, which fails the test.

    Also a decorator.
    """
    try:
        yield
    except AssertionError as error:
        raise EvaluationError(f"an assertion failed inside {what}: {error}") from error
