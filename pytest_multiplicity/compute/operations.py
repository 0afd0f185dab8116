"""How many floating-point operations a forward pass takes: those of products and convolutions.

Counted where torch's functions are called: `torch.utils.flop_counter` counts below them, and costs
seconds at the start, since it imports the compiler.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pytest_multiplicity.compute.copies import copied
from pytest_multiplicity.compute.devices import out_of_memory, preserved_rng
from pytest_multiplicity.data import kinds

Count = Callable[[Tensor, Any, Any], int]  # of the output and the first two arguments


def _product(out: Tensor, x: Tensor, y: Tensor) -> int:
    return 2 * out.numel() * x.shape[-1]


def _sum_and_product(out: Tensor, bias: Tensor, x: Tensor) -> int:
    return 2 * out.numel() * x.shape[-1]


def _convolution(out: Tensor, x: Tensor, weight: Tensor) -> int:
    return 2 * out.numel() * weight[0].numel()


def _transposed(out: Tensor, x: Tensor, weight: Tensor) -> int:
    return 2 * x.numel() * weight[0].numel()


def _attention(out: Tensor, query: Tensor, key: Tensor) -> int:
    return 4 * query.numel() * key.shape[-2]


COUNTS: dict[Callable[..., Any], Count] = {
    F.linear: _product,
    torch.conv1d: _convolution,
    torch.conv2d: _convolution,
    torch.conv3d: _convolution,
    torch.conv_transpose1d: _transposed,
    torch.conv_transpose2d: _transposed,
    torch.conv_transpose3d: _transposed,
    torch.matmul: _product,
    torch.mm: _product,
    torch.bmm: _product,
    Tensor.matmul: _product,
    Tensor.mm: _product,
    Tensor.bmm: _product,
    Tensor.__matmul__: _product,
    torch.addmm: _sum_and_product,
    torch.baddbmm: _sum_and_product,
    F.scaled_dot_product_attention: _attention,
}
UNCOUNTED = {
    F.multi_head_attention_forward,
    F.bilinear,
    torch.einsum,
    torch.lstm,
    torch.gru,
    torch.rnn_tanh,
    torch.rnn_relu,
}


class _Counter(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        if function in UNCOUNTED:
            self.total = math.inf
        elif count := COUNTS.get(function):
            first, second, *_ = (*args, *(kwargs or {}).values())
            self.total += count(out, first, second)
        return out


def operations(module: nn.Module, samples: kinds.Batch) -> float:
    """Count a forward pass' operations, for one sample; infinite where nothing can count them.

    Neither the module nor any random state changes.
    """
    try:
        with preserved_rng(), torch.no_grad():
            model = copied(module).eval()
            with _Counter() as counter:
                kinds.call(model, samples)
    except Exception as error:  # user code that minds being copied or looked at: computed plainly
        if out_of_memory(error):  # what happens to be free decides no bits
            raise
        return math.inf
    return float(counter.total) / kinds.length(samples)
