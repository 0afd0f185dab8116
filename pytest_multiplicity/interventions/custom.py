"""Interventions of your own, made of a function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from pytest_multiplicity.design import same
from pytest_multiplicity.errors import InterventionError
from pytest_multiplicity.interventions.base import OutputIntervention
from pytest_multiplicity.interventions.corrupt import Corrupt
from pytest_multiplicity.interventions.naming import call
from pytest_multiplicity.interventions.randomness import Stream
from pytest_multiplicity.interventions.transforming import transformed

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data

Function = Callable[..., Tensor]
_NONE = object()  # equal to no value


def intervention(
    function: Function | None = None, *, on: Literal["inputs", "logits"] = "inputs"
) -> Any:
    """Make an intervention of a function of a batch, by a decorator.

        @pm.intervention
        def darker(images, by=0.2):
            return (images - by).clamp(0, 1)

        candidate.accuracy(data, under=darker(by=0.3))

    Called with the function's further parameters, it gives the intervention, which reports show
    as written: `darker(by=0.3)`. As for `Corrupt`, the function keeps the shape, treats samples
    one by one, and may draw from the global generators. Say in its docstring what it stands for.

    Args:
        function: takes a batch [b, ...] and parameters, and returns the changed batch.
        on: "inputs", or "logits" [b, classes] for a change of the output.

    Raises:
        InterventionError: `on` is something else, or there is no function.
    """
    if on not in _KINDS:
        raise InterventionError(f"on={on!r}: an intervention changes 'inputs' or 'logits'")
    if function is None:
        return functools.partial(intervention, on=on)
    if not callable(function):
        raise InterventionError(f"{function!r} is no function: decorate one that takes a batch")
    return _maker(function, _KINDS[on])


def _maker(
    function: Function, kind: Callable[[Function, dict[str, Any]], Any]
) -> Callable[..., Any]:
    signature = inspect.signature(function)
    names = list(signature.parameters)
    defaults = {name: each.default for name, each in signature.parameters.items()}

    @functools.wraps(function)
    def make(*args: Any, **kwargs: Any) -> Any:
        signature.bind(None, *args, **kwargs)  # a TypeError names the parameter that doesn't fit
        given = dict(zip(names[1:], args, strict=False)) | kwargs
        changed = {name: v for name, v in given.items() if not same(v, defaults.get(name, _NONE))}
        return kind(function, changed)

    return make


class CustomInput(Corrupt):
    """A function on inputs, under its own name."""

    def __init__(self, function: Function, parameters: dict[str, Any]) -> None:
        super().__init__(function, **parameters)

    def __repr__(self) -> str:
        return call(self.transform.__name__, keywords=self.parameters)


class CustomOutput(OutputIntervention):
    """A function on logits, under its own name."""

    def __init__(self, function: Function, parameters: dict[str, Any]) -> None:
        self.function = function
        self.parameters = parameters

    def __repr__(self) -> str:
        return call(self.function.__name__, keywords=self.parameters)

    def apply(self, logits: Tensor, rows: Tensor, data: Data) -> Tensor:
        """Return what the function makes of the logits."""
        function = functools.partial(self.function, **self.parameters)
        stream = Stream(f"intervention {self.function.__name__}")
        changed: Tensor = transformed(function, logits, rows, name=repr(self), stream=stream)
        return changed


_KINDS: dict[str, Callable[[Function, dict[str, Any]], Any]] = {
    "inputs": CustomInput,
    "logits": CustomOutput,
}
