"""The linear last layer of a model: found by watching one batch, and put back with other weights.

It is what a network computes last, but for flattening, dropout (which is off) and log-softmax, and
what `coef_` and `intercept_` are of scikit-learn's linear models. A layer that is applied at every
position counts where the answer is that of one of them, as in causal language models.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pytest_multiplicity.compute import KINDS
from pytest_multiplicity.data import Data, kinds
from pytest_multiplicity.inference import Estimator, Model, tensor_of
from pytest_multiplicity.reach.linear_models import of_estimator
from pytest_multiplicity.reach.parts import Head, few, refuse, with_ones


def head_of(model: Model, data: Data, name: str) -> Head:
    """Return the linear last layer of a model.

    Args:
        model: a frozen module, or a callable made of an estimator.
        data: some that it is asked about.
        name: of the candidate, for messages.

    Raises:
        MeasurementError: it has none.
    """
    if isinstance(model, nn.Module):
        return _of_module(model, data, name)
    if not isinstance(model, Estimator):
        held = _held(model)
        own = f" (it holds a network as {held!r}: return that itself)" if held else ""
        refuse(f"{name} is a callable, whose weights nobody sees{own}")
    return of_estimator(model.fitted, data, name)


class _Watch(TorchFunctionMode):
    """Notes the inputs and outputs of each product with a parameter, the last of all at the end."""

    def __init__(self, parameters: set[int]) -> None:
        super().__init__()
        self._parameters = parameters
        self.calls: list[int] = []  # ids of parameters
        self.weight: Any = None
        self.bias: Any = None
        self.inputs = self.outputs = torch.empty(0)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is F.linear:
            found = [*args, *(kwargs or {}).values()]
            if id(found[1]) in self._parameters:
                self.calls.append(id(found[1]))
                self.weight, self.bias = found[1], found[2] if len(found) > 2 else None
                self.inputs, self.outputs = found[0], out
        return out


def _of_module(module: nn.Module, data: Data, name: str) -> Head:
    names = {id(each): key for key, each in module.named_parameters(remove_duplicate=False)}
    watch, given = _watched(module, few(data), names)
    if watch.weight is None or _seen(watch, given) is None:
        refuse(f"{name}'s last layer is no linear one that could be seen")
    if watch.calls.count(id(watch.weight)) > 1 or _shared(module, watch.weight):
        refuse(f"{name} uses the weights of its last layer elsewhere, too")
    keys = [names[id(each)] for each in (watch.weight, watch.bias) if id(each) in names]
    if watch.bias is not None and len(keys) < 2:
        refuse(f"{name}'s last layer adds a bias that is no parameter of it")
    weights = watch.weight.detach()
    if len(keys) == 2:
        weights = torch.cat([weights, watch.bias.detach()[:, None]], dim=1)

    def of_batch(batch: kinds.Batch) -> Tensor:
        features = _seen(*_watched(module, batch, names))
        if features is None:
            refuse(f"{name}'s last layer is no linear one on some samples")
        return with_ones(features, has_bias=len(keys) == 2)

    def built(changed: Tensor) -> nn.Module:
        own = copy.deepcopy(module)
        with torch.no_grad():
            own.get_parameter(keys[0]).copy_(changed[:, : watch.weight.shape[1]])
            if len(keys) == 2:
                own.get_parameter(keys[1]).copy_(changed[:, -1])
        return own

    where = weights.device if weights.device.type in KINDS else torch.device("cpu")
    return Head(weights.double().to(where), weights.dtype, of_batch, built)


def _watched(module: nn.Module, batch: kinds.Batch, names: dict[int, str]) -> tuple[_Watch, Tensor]:
    device = next(module.parameters(), torch.empty(0)).device
    with torch.no_grad(), _Watch(set(names)) as watch:
        given = kinds.call(module, kinds.to(batch, device))
    return watch, tensor_of(given, kinds.length(batch))


def _seen(watch: _Watch, given: Tensor) -> Tensor | None:
    """Return what the last product sees `[n, f]`; None: answers aren't its outputs.

    They may be their log-softmax, or the outputs at one of several positions.
    """
    inputs, outputs, n = watch.inputs, watch.outputs, len(given)
    if outputs.ndim == 3 and outputs.shape[::2] == given.shape:
        same = (outputs == given[:, None]).all(2)
        places = same.double().argmax(1)
        return inputs[torch.arange(n), places] if bool(same.any(1).all()) else None
    if inputs.numel() != n * watch.weight.shape[1] or outputs.numel() != given.numel():
        return None
    outputs = outputs.reshape(given.shape)
    several = given.ndim == 2 and given.shape[1] > 1
    if torch.equal(outputs, given) or (
        several and torch.allclose(outputs.log_softmax(1), given, atol=1e-6)
    ):
        return inputs.reshape(n, -1)
    return None


def _held(model: Any, depth: int = 3) -> str | None:
    """Return under which name a callable, or what it holds, holds a network; None: it doesn't."""
    for name, each in _parts(model):
        if isinstance(each, nn.Module):
            return name
        if depth and callable(each) and (found := _held(each, depth - 1)):
            return found
    return None


def _parts(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a callable holds, by name: attributes, and variables that a function captures."""
    yield from getattr(model, "__dict__", {}).items()
    function = getattr(model, "__func__", model)
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=True):
        with suppress(ValueError):  # not bound yet
            yield name, cell.cell_contents
    if function is not model:
        yield from _parts(model.__self__)


def _shared(module: nn.Module, weight: Tensor) -> bool:
    every = [p for part in module.modules() for p in part.parameters(recurse=False)]
    return sum(p.data_ptr() == weight.data_ptr() for p in every) > 1
