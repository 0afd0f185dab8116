"""Values of K candidates side by side, that compute as one.

A `Lanes` stands in a module's forward pass for a tensor, and holds that tensor for every candidate
(a lane each). Operations on it, and on parameters that are lanes themselves, run once for all lanes
in the form that `forms` knows; what has none runs lane by lane, which is right for every operation.
What depends on values (`if x.sum() > 0`) can't be fused, and raises `Unfusable`.

Two layouts avoid copies: *stacked* [K, b, ...], and *wide* [b, K * C, ...] for what works on
channels. Seen from the module the shape is that of one lane: [b, C, ...].
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch
from torch import Tensor

Operation = Callable[..., Any]

# By the name of the operation, a function that takes it and its arguments, and gives its result for
# all lanes, or NotImplemented.
FORMS: dict[str, Callable[..., Any]] = {}

# What modules ask of a tensor that is the same for one lane as for all.
FLAGS = ("is_cpu", "is_meta", "is_nested", "is_quantized", "is_sparse", "layout", "itemsize")


class Unfusable(Exception):  # noqa: N818 - it is a verdict on a model, caught by the planner
    """This model can't run side by side; the message says which part of it."""


@dataclass
class Deck:
    """What the lanes of one pass have in common: their number, and where their noise comes from."""

    count: int
    channels_last: bool = False  # how wide images lie in memory
    by_numpy: bool = False  # who multiplies matrices, where numpy can
    generators: list[torch.Generator] = field(default_factory=list)

    def bernoulli(self, shape: Sequence[int], keep: float, like: Tensor) -> Tensor:
        """Draw a mask [K, *shape], each lane from its own generator, as native dropout draws it."""
        if not self.generators:
            raise Unfusable("the model draws random numbers outside training")
        mask = torch.empty((self.count, *shape), dtype=like.dtype, device=like.device)
        for lane, generator in zip(mask, self.generators, strict=True):
            lane.bernoulli_(keep, generator=generator)
        return mask


class _SameFormatBackwards(torch.autograd.Function):
    """Nothing forwards; gradients get the format of the images whose they are.

    That of what follows is another one, in which pooling takes twenty times as long backwards.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        return images.view_as(images)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.contiguous(memory_format=torch.channels_last)


class Lanes:
    """One tensor per candidate, in one piece of memory."""

    __slots__ = ("deck", "value", "wide")

    def __init__(self, deck: Deck, value: Tensor, *, wide: bool = False) -> None:
        self.deck, self.value, self.wide = deck, value, wide

    @classmethod
    def __torch_function__(
        cls,
        function: Operation,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return apply(function, *args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        if name in FLAGS:
            return getattr(self.value, name)
        attribute = getattr(Tensor, name)
        if name.startswith("__") or not callable(attribute):
            raise Unfusable(f"the model uses Tensor.{name}")
        return lambda *args, **kwargs: apply(attribute, self, *args, **kwargs)

    @property
    def stacked(self) -> Tensor:
        """The values as [K, b, ...]: never a copy."""
        if not self.wide:
            return self.value
        value = self.value
        if self.deck.channels_last and value.ndim == 4 and value.requires_grad:
            value = _SameFormatBackwards.apply(value)
        batch, channels, *rest = self.shape
        return value.view(batch, self.deck.count, channels, *rest).transpose(0, 1)

    @property
    def side_by_side(self) -> Tensor:
        """The values as [b, K * C, ...]: a copy only where lanes don't lie that way."""
        value = self.value if self.wide else self.value.transpose(0, 1).flatten(1, 2)
        if self.deck.channels_last and value.ndim == 4:
            return value.contiguous(memory_format=torch.channels_last)
        return value

    @property
    def shape(self) -> torch.Size:
        """The shape of one lane."""
        shape = self.value.shape
        if not self.wide:
            return shape[1:]
        return torch.Size((shape[0], shape[1] // self.deck.count, *shape[2:]))

    @property
    def ndim(self) -> int:
        """The number of dimensions of one lane."""
        return self.value.ndim - (not self.wide)

    @property
    def dtype(self) -> torch.dtype:
        """The data type."""
        return self.value.dtype

    @property
    def device(self) -> torch.device:
        """The device."""
        return self.value.device

    @property
    def is_cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.value.is_cuda

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are wanted."""
        return self.value.requires_grad

    def size(self, dim: int | None = None) -> Any:
        """Return the shape of one lane, or one number of it."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """Return the number of dimensions of one lane."""
        return self.ndim

    def numel(self) -> int:
        """Return the number of values of one lane."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        return apply(Tensor.__getitem__, self, index)

    def __bool__(self) -> NoReturn:
        raise Unfusable("the model decides by the value of a tensor")

    __float__ = __int__ = __index__ = item = tolist = numpy = __bool__

    def __iter__(self) -> NoReturn:
        raise Unfusable("the model iterates over a tensor")


def _forward(operation: Operation) -> Any:
    return lambda self, other: apply(operation, self, other)


def _reflected(operation: Operation) -> Any:
    return lambda self, other: apply(operation, other, self)


for _name in ("add", "sub", "mul", "truediv", "pow", "matmul"):
    setattr(Lanes, f"__{_name}__", _forward(getattr(operator, _name)))
    setattr(Lanes, f"__r{_name}__", _reflected(getattr(operator, _name)))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Lanes, f"__{_name}__", _forward(getattr(operator, _name)))
setattr(Lanes, "__neg__", lambda self: apply(operator.neg, self))  # noqa: B010
setattr(Lanes, "__hash__", object.__hash__)  # noqa: B010 - lost with __eq__


def apply(function: Operation, *args: Any, **kwargs: Any) -> Any:
    """Run an operation on all lanes: fused where a form is known, else lane by lane."""
    fused = FORMS.get(getattr(function, "__name__", ""))
    if fused is not None:
        result = fused(function, *args, **kwargs)
        if result is not NotImplemented:
            return result
    return lane_by_lane(function, *args, **kwargs)


def deck_of(args: Sequence[Any]) -> Deck:
    """Return the deck of the first lanes among arguments."""
    for arg in args:
        if isinstance(arg, Lanes):
            return arg.deck
        if isinstance(arg, list | tuple) and any(isinstance(a, Lanes) for a in arg):
            return deck_of(arg)
    raise LookupError("none of the arguments has lanes")


def lane_by_lane(function: Operation, *args: Any, **kwargs: Any) -> Any:
    """Run an operation K times. Right for every operation that draws nothing."""
    deck = deck_of((*args, *kwargs.values()))
    results = [
        function(*_pick(args, lane), **{name: _pick(v, lane) for name, v in kwargs.items()})
        for lane in range(deck.count)
    ]
    return _merge(function, deck, results)


def _pick(value: Any, lane: int) -> Any:
    if isinstance(value, Lanes):
        return value.stacked[lane]
    if isinstance(value, list | tuple):
        return type(value)(_pick(v, lane) for v in value)
    return value


def _merge(function: Operation, deck: Deck, results: Sequence[Any]) -> Any:
    first = results[0]
    if isinstance(first, Tensor):
        return Lanes(deck, torch.stack(list(results)))
    if isinstance(first, list | tuple):
        columns = zip(*results, strict=True)
        return tuple(_merge(function, deck, column) for column in columns)
    if first is None or isinstance(first, bool | torch.dtype | torch.device):
        return first
    raise Unfusable(f"the model turns a tensor into {type(first).__name__} ({function.__name__})")


def lift(deck: Deck, x: Tensor) -> Lanes:
    """Return every lane the same tensor, without a copy."""
    return Lanes(deck, x.expand(deck.count, *x.shape))
