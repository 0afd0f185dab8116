"""The fused forms of operations: one call for all lanes.

A convolution becomes a grouped one, a linear layer a batched product, a batch norm one over all
channels. Importing this module makes them known to `lanes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pytest_multiplicity.compute import block_gradients as pixels
from pytest_multiplicity.compute.images import pixel_by_pixel
from pytest_multiplicity.compute.lanes import (
    FORMS,
    Lanes,
    Operation,
    Unfusable,
    apply,
    deck_of,
    lift,
)
from pytest_multiplicity.compute.numpy_matmul import layers, product, suits
from pytest_multiplicity.compute.shape_forms import SHAPE_FORMS, aligned


def _each_value(function: Operation, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Operations on each value by itself, in any layout."""
    if any(isinstance(arg, Lanes | Tensor) for arg in (*args, *kwargs.values())):
        return NotImplemented
    return Lanes(x.deck, function(x.value, *args, **kwargs), wide=x.wide)


def _pairwise(function: Operation, x: Any, y: Any, **kwargs: Any) -> Any:
    """Operations on two values, which broadcast as one lane's would."""
    if _both_wide(x, y):
        return Lanes(x.deck, function(x.value, y.value, **kwargs), wide=True)
    one = x if isinstance(x, Lanes) else y
    if not isinstance(x, Lanes | Tensor) or not isinstance(y, Lanes | Tensor):
        pair = [v.value if isinstance(v, Lanes) else v for v in (x, y)]
        return Lanes(one.deck, function(*pair, **kwargs), wide=one.wide)
    rank = max(x.ndim, y.ndim)
    return Lanes(one.deck, function(aligned(x, rank), aligned(y, rank), **kwargs))


def _both_wide(x: Any, y: Any) -> bool:
    """Say whether two operands can be computed channel by channel as they lie."""
    wide = all(isinstance(v, Lanes) and v.wide for v in (x, y))
    return wide and x.ndim == y.ndim and x.shape[1] == y.shape[1]


def _matmul(function: Operation, x: Any, y: Any) -> Any:
    return NotImplemented if min(x.ndim, y.ndim) < 2 else _pairwise(torch.matmul, x, y)


def _pad(function: Operation, x: Lanes, pad: Sequence[int], *args: Any, **kwargs: Any) -> Any:
    if len(pad) // 2 > x.ndim - 2:
        return NotImplemented
    return Lanes(x.deck, function(x.side_by_side, pad, *args, **kwargs), wide=True)


def _per_channel(rank: int) -> Operation:
    """Return the form of operations on each channel by itself, as pooling of `rank` dimensions."""

    def form(function: Operation, x: Lanes, *args: Any, **kwargs: Any) -> Any:
        if x.ndim != rank + 2 or kwargs.get("return_indices"):
            return NotImplemented
        return Lanes(x.deck, function(x.side_by_side, *args, **kwargs), wide=True)

    return form


def _conv(rank: int, *, transposed: bool = False) -> Operation:
    """Return the form of convolutions: a group per lane; over shared inputs just more channels."""
    names = ["stride", "padding", "dilation", "groups"]
    if transposed:
        names = ["stride", "padding", "output_padding", "groups", "dilation"]

    def form(
        function: Operation, x: Any, weight: Any, bias: Any = None, *rest: Any, **kw: Any
    ) -> Any:
        if not isinstance(weight, Lanes) or x.ndim != rank + 2:
            return NotImplemented
        options = dict(zip(names, rest, strict=False)) | kw
        groups = options.pop("groups", 1)
        deck = weight.deck
        if not isinstance(x, Lanes) and (transposed or groups > 1):
            x = lift(deck, x)
        if isinstance(x, Lanes):
            x, groups = x.side_by_side, groups * deck.count
        kernels = weight.stacked.flatten(0, 1)
        channels = None if bias is None else bias.stacked.flatten()
        in_pixels = deck.channels_last and rank == 2
        x = pixel_by_pixel(x) if in_pixels else x
        if in_pixels and not transposed and pixels.suits(x, kernels, channels, groups, **options):
            out = pixels.convolution(x, kernels, channels, groups, **options)
        else:
            out = function(x, kernels, channels, groups=groups, **options)
        return Lanes(deck, out, wide=True)

    return form


def _linear(function: Operation, x: Any, weight: Any, bias: Any = None) -> Any:
    if not isinstance(weight, Lanes):
        return Lanes(x.deck, function(x.stacked, weight, bias))
    if not isinstance(x, Lanes):
        if not (weight.deck.by_numpy and suits(x)):
            return _linear_of_shared(x, weight, bias)
        x = lift(weight.deck, x)  # bits of numpy's depend on where in a wide product a lane is
    if x.ndim < 2:
        return NotImplemented
    rows = x.stacked.flatten(1, -2)
    columns = weight.stacked.transpose(1, 2)
    shift = None if bias is None else bias.stacked.unsqueeze(1)
    if x.deck.by_numpy and suits(rows):
        out = product(rows, columns, shift)
    elif shift is None:
        out = torch.bmm(rows, columns)
    else:
        out = torch.baddbmm(shift, rows, columns)
    return Lanes(x.deck, out.view(len(out), *x.shape[:-1], -1))


def _linear_of_shared(x: Tensor, weight: Lanes, bias: Lanes | None) -> Any:
    """One product for all lanes: [b, in] times [in, K * out]."""
    if x.ndim != 2:
        return NotImplemented
    flat = None if bias is None else bias.stacked.flatten()
    return Lanes(weight.deck, F.linear(x, weight.stacked.flatten(0, 1), flat), wide=True)


def linear_layers(x: Any, several: Sequence[tuple[Any, Any]], rectified: Sequence[bool]) -> Any:
    """Return what linear layers after each other give, each of a weight and a bias.

    After those that are `rectified` comes a ReLU. Where numpy multiplies and no weight learns they
    are one operation.
    """
    weights = [weight for weight, _ in several]
    if not all(isinstance(weight, Lanes) and weight.deck.by_numpy for weight in weights):
        return _one_by_one(x, several, rectified)
    whole = x if isinstance(x, Lanes) else lift(weights[0].deck, x)
    learning = any(part is not None and part.requires_grad for pair in several for part in pair)
    if learning or whole.ndim < 2 or not suits(whole.value):
        return _one_by_one(x, several, rectified)
    stacked = [
        (weight.stacked.transpose(1, 2), None if bias is None else bias.stacked.unsqueeze(1))
        for weight, bias in several
    ]
    out = layers(whole.stacked.flatten(1, -2), stacked, rectified)
    return Lanes(whole.deck, out.view(len(out), *whole.shape[:-1], -1))


def _one_by_one(x: Any, several: Sequence[tuple[Any, Any]], rectified: Sequence[bool]) -> Any:
    for (weight, bias), relu in zip(several, rectified, strict=True):
        x = F.linear(x, weight, bias)
        x = F.relu(x) if relu else x
    return x


def _flat(x: Lanes | None) -> Tensor | None:
    """Return per-channel values [K, C] as [K * C], sharing memory so that they can be written."""
    return None if x is None else x.stacked.view(-1)


def _lifted(args: Sequence[Any]) -> Lanes:
    deck = deck_of(args)
    return args[0] if isinstance(args[0], Lanes) else lift(deck, args[0])


def _batch_norm(
    function: Operation,
    x: Any,
    mean: Any,
    var: Any,
    weight: Any = None,
    bias: Any = None,
    *args: Any,
    **kwargs: Any,
) -> Any:
    parts = (mean, var, weight, bias)
    if any(isinstance(part, Tensor) for part in parts):
        return NotImplemented
    x = _lifted((x, *parts))
    flat = map(_flat, parts)
    return Lanes(x.deck, function(x.side_by_side, *flat, *args, **kwargs), wide=True)


def _group_norm(
    function: Operation,
    x: Any,
    groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Any:
    if isinstance(weight, Tensor):
        return NotImplemented
    x = _lifted((x, weight))
    out = function(x.side_by_side, groups * x.deck.count, _flat(weight), _flat(bias), eps)
    return Lanes(x.deck, out, wide=True)


def _layer_norm(
    function: Operation,
    x: Any,
    shape: Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Any:
    x = _lifted((x, weight, bias))
    out = Lanes(x.deck, F.layer_norm(x.stacked, shape, eps=eps))
    if weight is not None:
        out = apply(torch.mul, out, weight)
    return out if bias is None else apply(torch.add, out, bias)


def _embedding(
    function: Operation,
    rows: Any,
    weight: Any,
    padding_idx: int | None = None,
    *args: Any,
    **kw: Any,
) -> Any:
    if not isinstance(weight, Lanes) or padding_idx is not None or any(args) or any(kw.values()):
        return NotImplemented
    table = weight.stacked
    stacked = rows.stacked if isinstance(rows, Lanes) else lift(weight.deck, rows).stacked
    lanes = torch.arange(len(table), device=table.device) * table.shape[1]
    shifted = stacked + lanes.reshape(-1, *[1] * (stacked.ndim - 1))
    return Lanes(weight.deck, F.embedding(shifted, table.flatten(0, 1)))


def _prelu(function: Operation, x: Lanes, weight: Any) -> Any:
    if not isinstance(weight, Lanes) or x.ndim < 2:
        return NotImplemented
    slopes = weight.stacked.expand(-1, x.shape[1]).reshape(-1)
    return Lanes(x.deck, torch.prelu(x.side_by_side, slopes), wide=True)


def _dropout(drawn_dims: int | None) -> Operation:
    """Return the form of dropout, which drops values (None) or whole channels (2)."""

    def form(
        function: Operation, x: Lanes, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Any:
        if not training or p == 0:
            return x
        if drawn_dims is not None and x.ndim < 3:
            return NotImplemented
        shape = x.shape if drawn_dims is None else (*x.shape[:2], *[1] * (x.ndim - 2))
        if p == 1:
            return apply(torch.mul, x, 0.0)
        mask = Lanes(x.deck, x.deck.bernoulli(shape, 1 - p, x.value).div_(1 - p))
        if x.wide:
            mask = Lanes(x.deck, mask.side_by_side, wide=True)
        return Lanes(x.deck, x.value * mask.value, wide=x.wide)

    return form


def _attention(function: Operation, q: Any, k: Any, v: Any, *args: Any, **kwargs: Any) -> Any:
    masks = (*args, *kwargs.values())
    dropped = kwargs.get("dropout_p", args[1] if len(args) > 1 else 0.0)
    if (
        dropped
        or not all(isinstance(x, Lanes) for x in (q, k, v))
        or any(isinstance(mask, Lanes) for mask in masks)
    ):
        return NotImplemented
    out = function(q.stacked, k.stacked, v.stacked, *args, **kwargs)
    return Lanes(q.deck, out)


def _draws(function: Operation, *args: Any, **kwargs: Any) -> Any:
    raise Unfusable(f"the model draws random numbers ({function.__name__})")


_VALUES = """abs celu clamp clamp_max clamp_min clone contiguous detach double elu erf exp expm1
float gelu half bfloat16 hardshrink hardsigmoid hardswish hardtanh leaky_relu log log1p logsigmoid
mish neg reciprocal relu relu6 rsqrt selu sigmoid sign silu softplus softshrink softsign sqrt square
tanh tanhshrink threshold to type long int add_ sub_ mul_ div_"""
_PAIRS = "add sub subtract mul multiply div divide true_divide truediv pow maximum minimum"
_POOLS = "max_pool avg_pool adaptive_max_pool adaptive_avg_pool lp_pool"

_FORMS: dict[str, Operation] = {
    **dict.fromkeys(_VALUES.split(), _each_value),
    **dict.fromkeys(_PAIRS.split(), _pairwise),
    **{f"{pool}{rank}d": _per_channel(rank) for pool in _POOLS.split() for rank in (1, 2, 3)},
    **{f"conv{rank}d": _conv(rank) for rank in (1, 2, 3)},
    **{f"conv_transpose{rank}d": _conv(rank, transposed=True) for rank in (1, 2, 3)},
    "matmul": _matmul,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
    "embedding": _embedding,
    "prelu": _prelu,
    "dropout": _dropout(None),
    "dropout1d": _dropout(2),
    "dropout2d": _dropout(2),
    "dropout3d": _dropout(2),
    "pad": _pad,
    "scaled_dot_product_attention": _attention,
    "alpha_dropout": _draws,
    "feature_alpha_dropout": _draws,
    "rand_like": _draws,
    "randn_like": _draws,
}

FORMS.update(SHAPE_FORMS | _FORMS)
