"""How parameters of lanes lie in memory: as they are, or all in one piece on a device.

There a launch costs more than what most parameters' share of a step computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Layout(Protocol):
    """Turns what there is of each parameter [K, ...] into what an optimizer computes with."""

    @property
    def tensors(self) -> Sequence[Tensor]:
        """The parameters, to be written to."""

    def joined(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Return what there is of each parameter, such as a gradient, laid out as `tensors`."""

    def parts(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return views for each parameter, of what is laid out as `tensors`."""

    def spread(self, values: Tensor) -> list[Tensor]:
        """Return one number per lane, [K], shaped to go with each of the `tensors`."""


class Apart:
    """Every parameter by itself."""

    def __init__(self, params: Sequence[Tensor]) -> None:
        self.tensors = params

    def joined(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Return them."""
        return list(values)

    def parts(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return them."""
        return list(tensors)

    def spread(self, values: Tensor) -> list[Tensor]:
        """Return views that broadcast."""
        return [values.view(-1, *[1] * (each.ndim - 1)) for each in self.tensors]


class InOnePiece:
    """All parameters in one tensor [n], of which they become views."""

    def __init__(self, params: Sequence[Tensor]) -> None:
        self._params = params
        self._orders = [_order(param) for param in params]
        (whole,) = self.joined([param.detach() for param in params])
        lanes = [torch.arange(len(p)).repeat_interleave(p[0].numel()) for p in params]
        self._lanes = torch.cat(lanes).to(whole.device)
        self.tensors = [whole]
        for param, view in zip(params, self.parts(self.tensors), strict=True):
            param.data = view

    def joined(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Return one tensor, in which each lies as its parameter does."""
        pairs = zip(values, self._orders, strict=True)
        return [torch.cat([value.permute(order).reshape(-1) for value, order in pairs])]

    def parts(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return views of it."""
        (whole,) = tensors
        flat = torch.split(whole, [param.numel() for param in self._params])
        return [
            part.as_strided(param.shape, param.stride(), part.storage_offset())
            for part, param in zip(flat, self._params, strict=True)
        ]

    def spread(self, values: Tensor) -> list[Tensor]:
        """Return each lane's number for each value."""
        return [values.index_select(0, self._lanes)]


def _order(param: Tensor) -> list[int]:
    """Return the dimensions as they lie in memory, the outermost first."""
    return sorted(range(param.ndim), key=lambda dim: -param.stride()[dim])


def layout(params: Sequence[Tensor]) -> Layout:
    """Return how parameters [K, ...] are laid out; in one piece where an operation is a launch."""
    dense = all(param.permute(_order(param)).is_contiguous() for param in params)
    alike = len({param.dtype for param in params}) == 1
    return (
        InOnePiece(params) if params[0].device.type != "cpu" and dense and alike else Apart(params)
    )
