"""Copies of modules, also of those that `copy.deepcopy` refuses."""

from __future__ import annotations

import copy
from collections.abc import Iterable

from torch import Tensor, nn


def copied(module: nn.Module, shared: Iterable[Tensor] = ()) -> nn.Module:
    """Copy a module, but for these of its tensors.

    Tensors that were computed and kept as attributes, as `torch.nn.utils.prune` and `weight_norm`
    do before every pass, are copied as values: torch copies none that has a history
    (pytorch/pytorch#28594).
    """
    memo = {id(tensor): tensor for tensor in shared}
    for part in module.modules():
        for value in vars(part).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(module, memo)
