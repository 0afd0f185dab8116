"""Gradients of convolutions by images of few channels, for blocks of pixels at once.

Kernels for CPUs compute 16 channels together, and of one pixel with its one or three channels most
of that is wasted. The pixels of a block are channels of their own here, and the gradient is a
convolution that gives all of them: 1.5 to 3.5 times as fast, in channels-last order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

WIDTH = 16  # channels that are computed together
SIZES = (4, 2)  # of blocks, from the widest


def suits(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int = 1, **options: Any) -> bool:
    """Say whether `convolution` does this one, and faster.

    For gradients by its inputs alone, of few channels; many outputs, without strides or gaps.
    """
    learning = weight.requires_grad or (bias is not None and bias.requires_grad)
    if learning or not x.requires_grad or x.device.type != "cpu":
        return False
    if len(weight) < groups * WIDTH or torch.is_autocast_enabled("cpu"):
        return False
    if any(_pair(options.get(name, 1)) != (1, 1) for name in ("stride", "dilation")):
        return False
    padding = _pair(options.get("padding", 0))
    if padding is None or any(p >= k for p, k in zip(padding, weight.shape[2:], strict=True)):
        return False
    return _block(x, weight) is not None


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, groups: int, *, padding: Any = 0, **_: Any
) -> Tensor:
    """Return `conv2d` of images [b, groups * i, h, w], with `weight` [groups * o, i, *kernel]."""
    out: Tensor = _Convolution.apply(x, weight, bias, groups, _pair(padding))
    return out


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        groups: int,
        padding: tuple[int, int],
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.groups, ctx.padding, ctx.block = groups, padding, _block(x, weight)
        return F.conv2d(x, weight, bias, padding=padding, groups=groups)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), block = ctx.saved_tensors, ctx.block
        turned = _turned(weight, ctx.groups, block)
        around = [k - 1 - p for k, p in zip(weight.shape[2:], ctx.padding, strict=True)]
        blocks = F.conv2d(grad, turned, stride=block, padding=around, groups=ctx.groups)
        return F.pixel_shuffle(blocks, block), None, None, None, None


def _block(x: Tensor, weight: Tensor) -> int | None:
    """Return how many pixels a block is wide and high, so that blocks fit into images."""
    for size in SIZES:
        fits = all(length % size == 0 for length in x.shape[2:])
        if fits and weight.shape[1] * size**2 <= WIDTH:
            return size
    return None


def _turned(weight: Tensor, groups: int, block: int) -> Tensor:
    """Return the weights from outputs to blocks, [groups * i * block * block, o, *kernel].

    Each pixel of a block has the kernel turned around, at its place in a larger one.
    """
    out, inputs, height, width = weight.shape
    each = weight.view(groups, out // groups, inputs, height, width).transpose(1, 2)
    room = F.pad(each, [block - 1] * 4)
    windows = room.unfold(3, height + block - 1, 1).unfold(4, width + block - 1, 1).flip(5, 6)
    turned = windows.permute(0, 1, 3, 4, 2, 5, 6).flatten(0, 3)
    return turned.contiguous(memory_format=torch.channels_last)


def _pair(value: int | Sequence[int] | str) -> tuple[int, int] | None:
    """Return what a convolution takes for two dimensions; None for a word."""
    if isinstance(value, str):
        return None
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
