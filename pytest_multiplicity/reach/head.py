"""The linear last layer of a model: found by watching one batch, and put back with other weights.

It is what a network computes last, but for flattening, dropout (which is off) and log-softmax, and
what `coef_` and `intercept_` are of scikit-learn's linear models.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pytest_multiplicity.compute import GPU
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
        refuse(f"{name} is a callable, whose weights nobody sees")
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
    if watch.weight is None or not _is_last(watch, given):
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
        seen, _ = _watched(module, batch, names)
        return with_ones(seen.inputs.reshape(kinds.length(batch), -1), has_bias=len(keys) == 2)

    def built(changed: Tensor) -> nn.Module:
        own = copy.deepcopy(module)
        with torch.no_grad():
            own.get_parameter(keys[0]).copy_(changed[:, : watch.weight.shape[1]])
            if len(keys) == 2:
                own.get_parameter(keys[1]).copy_(changed[:, -1])
        return own

    where = weights.device if weights.device.type in ("cpu", GPU) else torch.device("cpu")
    return Head(weights.double().to(where), weights.dtype, of_batch, built)


def _watched(module: nn.Module, batch: kinds.Batch, names: dict[int, str]) -> tuple[_Watch, Tensor]:
    device = next(module.parameters(), torch.empty(0)).device
    with torch.no_grad(), _Watch(set(names)) as watch:
        given = kinds.call(module, kinds.to(batch, device))
    return watch, tensor_of(given, kinds.length(batch))


def _is_last(watch: _Watch, given: Tensor) -> bool:
    """Return whether answers are the outputs of the last product, or their log-softmax."""
    outputs = watch.outputs
    if watch.inputs.numel() != len(given) * watch.weight.shape[1] or outputs.numel() == 0:
        return False
    if outputs.numel() != given.numel():
        return False
    outputs = outputs.reshape(given.shape)
    if torch.equal(outputs, given):
        return True
    several = given.ndim == 2 and given.shape[1] > 1
    return several and torch.allclose(outputs.log_softmax(1), given, atol=1e-6)


def _shared(module: nn.Module, weight: Tensor) -> bool:
    every = [p for part in module.modules() for p in part.parameters(recurse=False)]
    return sum(p.data_ptr() == weight.data_ptr() for p in every) > 1
