"""Less loss for the same turn: steps of conjugate gradients from where the closed form leads.

The closed form takes the loss for a parabola. Further along, its curvature is another, and weights
that turn the sample for less can be found along `v' delta = amount`: by nonlinear conjugate
gradients (Polak and Ribiere's, restarted), in the metric of the Hessian. A line search is cheap,
since outputs move in a straight line.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pytest_multiplicity.reach.base import Base, OnData, at_once, outputs_of
from pytest_multiplicity.reach.curvature import Inverse

STEPS, TRIALS = 4, 6  # of gradients, and of secants along each
MOST_OPERATIONS = 3e11  # of all samples together: some seconds
CONVERGED = 0.01
TINY = 1e-300

Along = Callable[[Tensor], Tensor]


def worth_it(base: Base, inverse: Inverse, costs: Tensor) -> bool:
    """Return whether polishing would lower costs, and is a matter of seconds.

    A head that has not converged would mostly be trained further by it: what a Newton step gains,
    `g' H^-1 g / 2`, has to be little beside the median of `costs`.
    """
    unknowns = base.head.weights.numel()
    each = 4 * len(base.train.targets) * unknowns + 2 * unknowns**2
    known = costs[costs.isfinite()]
    if len(base.data.targets) * each * STEPS > MOST_OPERATIONS or not len(known):
        return False
    gain = _dot(base.gradient[None], inverse.apply(base.gradient[None]))[0] / 2
    return bool(gain.cpu() < CONVERGED * known.median())


def polished(base: Base, inverse: Inverse, rows: Tensor, turns: Tensor, built: Tensor) -> Tensor:
    """Return weights `[b, k, F]` that move rows as `built` does, at no more loss.

    Args:
        base: whom they are built from.
        inverse: of the Hessian of its loss.
        rows: of the data, `[b]`.
        turns: the directions of outputs along which each moved, `[b, k]`.
        built: weights `[b, k, F]`.
    """
    size = at_once(base.train.features, built)
    parts = zip(*(torch.split(each, size) for each in (rows, turns, built)), strict=True)
    train = OnData(base.train.features.double(), base.train.targets)
    found = [_polished(base, train, inverse, *part) for part in parts]
    return base.head.rounded(torch.cat(found))


def _polished(
    base: Base, train: OnData, inverse: Inverse, rows: Tensor, turns: Tensor, built: Tensor
) -> Tensor:
    weights = built.double()
    v = turns.to(weights.device)[:, :, None] * base.data.features[rows].double()[:, None]
    u = inverse.apply(v)
    reach = _dot(v, u)
    outputs = outputs_of(weights, train.features)
    last: tuple[Tensor, Tensor, Tensor] | None = None
    for _ in range(STEPS):
        slope = _slope(base, train, outputs)
        gradient = torch.einsum("bnk,nf->bkf", slope, train.features) + base.decay * weights
        ahead = inverse.apply(gradient)
        ahead = ahead - (_dot(ahead, v) / reach)[:, None, None] * u
        towards = -ahead if last is None else _conjugate(gradient, ahead, last)
        last = gradient, ahead, towards
        moving = outputs_of(towards, train.features)

        def along(far: Tensor) -> Tensor:
            at = far[:, None, None]
            steep = _dot(_slope(base, train, outputs + at * moving), moving)  # noqa: B023
            return steep + base.decay * _dot(weights + at * towards, towards)  # noqa: B023

        far = _least(along, _dot(gradient, towards))[:, None, None]
        weights, outputs = weights + far * towards, outputs + far * moving
    return weights


def _slope(base: Base, train: OnData, outputs: Tensor) -> Tensor:
    """Return the derivatives of each model's loss by its outputs, `[b, n, k]`."""
    z = outputs.detach().requires_grad_()
    with torch.enable_grad():
        total = base.losses(z, train.targets.expand(len(z), *train.targets.shape)).sum()
    (found,) = torch.autograd.grad(total, z)
    return found


def _conjugate(gradient: Tensor, ahead: Tensor, last: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    before, was_ahead, towards = last
    keep = _dot(ahead, gradient - before) / _dot(before, was_ahead).clamp_min(TINY)
    found = keep.clamp_min(0)[:, None, None] * towards - ahead
    uphill = _dot(found, gradient) >= 0
    return torch.where(uphill[:, None, None], -ahead, found)


def _least(along: Along, start: Tensor) -> Tensor:
    """Return how far a convex loss falls along a line whose slope starts at `start`.

    The end is sought where the slope rises, then the place where it is none by false position with
    halved ends (Illinois).
    """
    low, high = torch.zeros_like(start), torch.ones_like(start)
    below, above = start, along(high)
    for _ in range(TRIALS):
        short = above < 0  # not far enough
        low, below = torch.where(short, high, low), torch.where(short, above, below)
        ahead = low - (high - low) * below / (above - below).clamp_min(TINY)
        middle = torch.where(short, 4 * high, ahead)
        steep = along(middle)
        falls = (steep < 0) & ~short
        high, above = torch.where(falls, high, middle), torch.where(falls, above / 2, steep)
        low, below = torch.where(falls, middle, low), torch.where(falls, steep, below)
    last = low - (high - low) * below / (above - below).clamp_min(TINY)
    return torch.where((start < 0) & (above > 0), last, low)


def _dot(some: Tensor, others: Tensor) -> Tensor:
    return (some * others).sum((1, 2))
