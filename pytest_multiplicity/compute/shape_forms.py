"""The fused forms of operations on shapes: dimensions of one lane are one further in the stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pytest_multiplicity.compute.lanes import Deck, Lanes, Operation, deck_of, lift


def aligned(x: Lanes | Tensor, rank: int) -> Tensor:
    """Return [K, ...] with as many dimensions after K as the higher-ranked operand has."""
    if isinstance(x, Tensor):
        return x
    value = x.stacked
    return value.reshape(len(value), *[1] * (rank - x.ndim), *value.shape[1:])


def shift(dim: Any, rank: int) -> Any:
    """Turn dimensions of one lane into those of the stack."""
    if isinstance(dim, int):
        return dim % rank + 1
    return tuple(shift(d, rank) for d in dim)


def _along(*defaults: Any) -> Operation:
    """Return the form of operations that take a dimension (or several, or two) after the tensor."""

    def form(function: Operation, x: Lanes, *args: Any, **kwargs: Any) -> Any:
        dims = [kwargs.pop(name, None) for name in ("dim", "dim0", "dim1", "start_dim", "end_dim")]
        dims = [d for d in dims if d is not None]
        if not isinstance(x, Lanes) or len(args) + len(dims) < len(defaults):
            return NotImplemented
        given = [*args[: len(defaults) - len(dims)], *dims]
        shifted = [shift(d, x.ndim) for d in given]
        rest = args[len(defaults) - len(dims) :]
        return _wrap(x.deck, function(x.stacked, *shifted, *rest, **kwargs))

    return form


def _wrap(deck: Deck, result: Any) -> Any:
    if isinstance(result, Tensor):
        return Lanes(deck, result)
    return tuple(Lanes(deck, part) for part in result)


def _flatten(function: Operation, x: Lanes, start_dim: int = 0, end_dim: int = -1) -> Any:
    start, end = start_dim % x.ndim, end_dim % x.ndim
    return Lanes(x.deck, x.stacked.flatten(start + 1, end + 1))


def _sizes(args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[int, ...]:
    (sizes,) = kwargs.values() if kwargs else (args,)
    return tuple(sizes[0]) if isinstance(sizes[0], list | tuple) else tuple(sizes)


def _reshape(function: Operation, x: Lanes, *args: Any, **kwargs: Any) -> Any:
    if not all(isinstance(size, int) for size in _sizes(args, kwargs)):
        return NotImplemented
    return Lanes(x.deck, x.stacked.reshape(x.deck.count, *_sizes(args, kwargs)))


def _expand(function: Operation, x: Lanes, *args: Any, **kwargs: Any) -> Any:
    sizes = _sizes(args, kwargs)
    return Lanes(x.deck, aligned(x, len(sizes)).expand(x.deck.count, *sizes))


def _permute(function: Operation, x: Lanes, *args: Any, **kwargs: Any) -> Any:
    dims = shift(_sizes(args, kwargs), x.ndim)
    return Lanes(x.deck, x.stacked.permute(0, *dims))


def _unsqueeze(function: Operation, x: Lanes, dim: int) -> Any:
    return Lanes(x.deck, x.stacked.unsqueeze(shift(dim, x.ndim + 1)))


def _getitem(function: Operation, x: Lanes, index: Any) -> Any:
    parts = index if isinstance(index, tuple) else (index,)
    if not all(part is None or isinstance(part, int | slice | type(...)) for part in parts):
        return NotImplemented
    return Lanes(x.deck, x.stacked[(slice(None), *parts)])


def _cat(function: Operation, parts: Sequence[Any], dim: int = 0) -> Any:
    deck = deck_of(parts)
    lanes = [part if isinstance(part, Lanes) else lift(deck, part) for part in parts]
    at = shift(dim, lanes[0].ndim)
    if not all(part.wide for part in lanes):
        return Lanes(deck, torch.cat([part.stacked for part in lanes], at))
    # Batch first, so that channels stay side by side without another copy.
    whole = torch.cat([part.stacked.transpose(0, 1) for part in lanes], at if at > 1 else 0)
    return Lanes(deck, whole.flatten(1, 2), wide=True)


SHAPE_FORMS: dict[str, Operation] = {
    **dict.fromkeys(("softmax", "log_softmax", "mean", "sum", "amax", "amin"), _along(-1)),
    "transpose": _along(0, 1),
    "flatten": _flatten,
    "reshape": _reshape,
    "view": _reshape,
    "expand": _expand,
    "permute": _permute,
    "unsqueeze": _unsqueeze,
    "__getitem__": _getitem,
    "cat": _cat,
    "concat": _cat,
}
