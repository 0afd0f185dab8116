"""Products of stacked matrices by numpy's library, for processors on which torch's is the slower.

Torch's wheels come with MKL, which uses half the width of other makers' processors; numpy's come
with OpenBLAS, which uses all of it. The rule in `arithmetic` says which one multiplies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

DTYPES = (torch.float32, torch.float64)


def suits(x: Tensor) -> bool:
    """Say whether numpy can multiply this, as it would be computed here."""
    autocast = torch.is_autocast_enabled("cpu")
    return x.device.type == "cpu" and x.dtype in DTYPES and not autocast


def product(x: Tensor, columns: Tensor, bias: Tensor | None) -> Tensor:
    """Return `x @ columns + bias` [K, b, o], for [K, b, i], [K, i, o] and [K, 1, o]."""
    out: Tensor = _Product.apply(x, columns, bias)
    return out


def layers(
    x: Tensor, several: Sequence[tuple[Tensor, Tensor | None]], rectified: Sequence[bool]
) -> Tensor:
    """Return what products [K, b, o] after each other give, of columns and bias as in `product`.

    After those that are `rectified` what is negative becomes 0, as by a ReLU. The bits are those of
    one operation after the other; the gradient is by `x` alone.
    """
    flat = (tensor for pair in several for tensor in pair)
    out: Tensor = _Layers.apply(x, tuple(rectified), *flat)
    return out


class _Layers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rectified: tuple[bool, ...], *flat: Tensor | None) -> Tensor:
        given = []
        for columns, bias, relu in zip(flat[::2], flat[1::2], rectified, strict=True):
            assert columns is not None
            x = _matmul(x, columns)
            if bias is not None:
                x.add_(bias)
            if relu:
                x.relu_()
            given += [columns, x if relu and ctx.needs_input_grad[0] else None]
        ctx.save_for_backward(*given)
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved, own = ctx.saved_tensors, False
        for columns, out in zip(saved[-2::-2], saved[::-2], strict=True):
            if out is not None:
                room = grad if own else torch.empty_like(out)  # over what was computed here
                grad = torch.ops.aten.threshold_backward.grad_input(grad, out, 0, grad_input=room)
            grad, own = _matmul(grad, columns.mT), True
        return (grad, None, *[None] * len(saved))


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, columns: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, columns)
        out = _matmul(x, columns)
        return out if bias is None else out.add_(bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, columns = ctx.saved_tensors
        for_x, for_columns, for_bias = ctx.needs_input_grad
        return (
            _matmul(grad, columns.mT) if for_x else None,
            _matmul(x.mT, grad) if for_columns else None,
            grad.sum(1, keepdim=True) if for_bias else None,
        )


def _matmul(x: Tensor, y: Tensor) -> Tensor:
    """Multiply: one call for all lanes, of which each is a product by itself."""
    out = torch.empty(len(y), x.shape[-2], y.shape[-1], dtype=y.dtype)
    np.matmul(x.detach().numpy(), y.detach().numpy(), out=out.numpy())
    return out
