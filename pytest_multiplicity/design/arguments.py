"""How functions of the user's are called: what has a default is theirs to fill."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

_PLACED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

TARGETS = ("targets", "target", "labels", "label", "y")
ATTRIBUTES = "attributes"
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def second_argument(
    function: Callable[..., object], value: object, *names: str, unsigned: bool = True
) -> Arguments | None:
    """Return how a function takes a second value, as (args, kwargs); None where it doesn't.

    By one of the names, or by position where that has no default. `unsigned` says whether a
    builtin does, of which nobody knows.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a builtin without a signature
        return ((value,), {}) if unsigned else None
    named = [each.name for each in parameters[1:] if each.kind in _NAMED and each.name in names]
    places = [each for each in parameters if each.kind in _PLACED]
    required = [each.name for each in places[1:2] if each.default is inspect.Parameter.empty]
    if named and named[0] not in required:
        return (), {named[0]: value}
    variadic = len(places) < 2 and any(each.kind is each.VAR_POSITIONAL for each in parameters)
    return ((value,), {}) if required or variadic else None


def call_with_targets(function: Callable[..., Any], first: object, targets: object) -> Any:
    """Return what a function of answers or inputs, and of their targets, gives for these.

    Targets whose parameter has a default are given by name; of what has no such name, as a measure
    of answers alone, nothing is asked.
    """
    args, kwargs = second_argument(function, targets, *TARGETS) or ((), {})
    return function(first, *args, **kwargs)


def _signature(function: Callable[..., object]) -> inspect.Signature:
    """Return a function's signature; a module is called by its `forward`."""
    return inspect.signature(getattr(function, "forward", function))


def takes_a_third(function: Callable[..., object]) -> bool:
    """Return whether a function needs a third value, or takes one that is named `attributes`."""
    try:
        parameters = list(_signature(function).parameters.values())
    except (TypeError, ValueError):
        return False
    places = [each for each in parameters if each.kind in _PLACED]
    third = [each for each in places[2:3] if each.default is inspect.Parameter.empty]
    named = any(each.name == ATTRIBUTES for each in parameters if each.kind in _NAMED)
    return bool(third) or named


def call_with_attributes(
    function: Callable[..., Any], first: object, targets: object, attributes: object
) -> Any:
    """Return what a function that `takes_a_third` gives: by its name, or in its place."""
    named = _signature(function).parameters.get(ATTRIBUTES)
    if named is not None and named.kind in _NAMED:
        return function(first, targets, attributes=attributes)
    return function(first, targets, attributes)


def takes_targets_second(function: Callable[..., object]) -> bool:
    """Return whether a function takes targets in its second place, as most do."""
    return second_argument(function, None, *TARGETS) == ((None,), {})
