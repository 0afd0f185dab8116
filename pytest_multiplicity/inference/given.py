"""Modules as they are measured: frozen, and out of reach of whoever else holds them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import out_of_memory


def frozen(module: nn.Module, device: torch.device | None = None) -> nn.Module:
    """Return the module in eval mode, on a device, without gradients for its parameters."""
    with suppress(NotImplementedError):  # what torch.export made has one mode
        module.eval()
    for parameter in module.parameters():  # scripted modules have no `requires_grad_`
        parameter.requires_grad_(False)
    return module if device is None else module.to(device)


def is_compiled(module: nn.Module) -> bool:
    """Say whether it is of torch.jit or torch.export, or has such parts: its code can't be seen."""
    classes = {each for part in module.modules() for each in type(part).__mro__}
    exported = any(each.__module__.startswith("torch.export") for each in classes)
    return exported or torch.jit.ScriptModule in classes


def apart(module: nn.Module, *, weights: bool) -> nn.Module:
    """Copy a module, so that modes, hooks and attributes are its own, and its weights if wanted.

    What can't be copied is returned as it is.
    """
    memo: dict[int, object] = {}
    for tensor in _held(module):
        own = tensor.detach().clone() if weights else tensor.detach()
        if type(tensor) is nn.Parameter:
            own = nn.Parameter(own, requires_grad=False)
        memo[id(tensor)] = own
    try:
        with torch.no_grad():  # copies of scripted parts would be results that have gradients
            return copy.deepcopy(module, memo)
    except Exception as error:  # it holds a lock, a session, a tensor of a class with other ideas
        if out_of_memory(error):
            raise
        return module


class Seal:
    """Tells whether a module's weights were written to, by whomever, cheaply: perhaps they were."""

    def __init__(self, module: nn.Module) -> None:
        self._tensors = list(_held(module))
        self._marks = self._look()

    @property
    def broken(self) -> bool:
        """Whether there is another mark than at first."""
        return self._look() != self._marks

    def _look(self) -> list[tuple[int, str]]:
        """Return counts of writings, which miss those through `.data`, and sums."""
        return [(0 if each.is_inference() else each._version, _sum(each)) for each in self._tensors]


def _sum(tensor: Tensor) -> str:
    try:
        return str(tensor.detach().sum().item())  # nan is nan
    except (RuntimeError, NotImplementedError):  # of quantized values
        return ""


def _held(module: nn.Module) -> Iterator[Tensor]:
    """Yield parameters, buffers and other tensors of a module's parts.

    Those of scripted parts are made anew whenever they are looked at, and copied by themselves.
    """
    for part in module.modules():
        if isinstance(part, torch.jit.ScriptModule):
            continue
        holders: tuple[dict[str, Any], ...] = (part._parameters, part._buffers, vars(part))
        for held in holders:
            for tensor in held.values():
                if type(tensor) in (Tensor, nn.Parameter):
                    yield tensor
