"""Answers of models under attack: a file of its own, by which `--multiplicity-profile` tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def attacked(compute: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what is computed, by whichever threads and processes."""
    return compute(*args, **kwargs)
