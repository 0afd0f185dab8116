"""The loss around a last layer's weights: its gradient, its Hessian, and the inverse of that.

With outputs z = W phi and the mean loss of n samples, the gradient is mean_i g_i (x) phi_i and the
Hessian mean_i A_i (x) phi_i phi_i', where g_i and A_i are the loss's derivatives at z_i; weight
decay adds its own. The step that turns v = d (x) phi is u = H^-1 v.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from pytest_multiplicity.errors import MeasurementError

DAMPING = 1e-4  # added to the decay: without, the softmax's Hessian is singular always
MOST_UNKNOWNS = 6_000  # of a Hessian that is held as a whole: 288 MB
MOST_CURVATURE = 1 << 27  # numbers of the A_i of conjugate gradients: 1 GiB
MOST_SQUARES = 1 << 22  # numbers on the way to the leverages of all directions: 32 MB
MOST_AT_ONCE, MOST_VECTORS = 64, 1 << 23  # right-hand sides of these, and their numbers: 64 MB
MOST_TOGETHER = 100_000  # unknowns, beyond which only outputs that are to move do
FEW = 4  # outputs, of which one product with all of an inverse is quicker than several
PRECISE, MOST_STEPS = 1e-8, 500  # of conjugate gradients

LossOf = Callable[[Tensor, Tensor], Tensor]
"""Outputs `[n, k]` and targets `[n, ...]` -> the mean loss."""


@dataclass(frozen=True)
class Slopes:
    """The derivatives of each sample's loss by its outputs: `g` `[n, k]` and `A` `[n, k, k]`."""

    first: Tensor
    second: Tensor


def slopes(loss: LossOf, outputs: Tensor, targets: Tensor) -> Slopes:
    """Return the derivatives of a mean loss, times n, whatever the loss is."""
    n, k = outputs.shape
    if n * k * k > MOST_CURVATURE:
        raise MeasurementError(
            f"{n:,} training samples of {k:,} outputs take too much memory: give train= fewer "
            "samples"
        )
    z = outputs.detach().clone().requires_grad_()
    (first,) = torch.autograd.grad(loss(z, targets), z, create_graph=True)
    second = torch.zeros(n, k, k, dtype=z.dtype, device=z.device)
    for c in range(k if first.requires_grad else 0):
        (row,) = torch.autograd.grad(first[:, c].sum(), z, retain_graph=True, allow_unused=True)
        second[:, c] = 0 if row is None else n * row
    return Slopes(n * first.detach(), second)


def gradient(slopes: Slopes, features: Tensor, weights: Tensor, decay: float) -> Tensor:
    """Return the loss's gradient by the weights, `[k, F]`."""
    return slopes.first.T @ features / len(features) + decay * weights


def hessian(curvature: Tensor, features: Tensor, decay: float) -> Tensor:
    """Return the loss's Hessian by the weights with damping, `[k F, k F]`.

    Args:
        curvature: the second derivatives by outputs, `[n, k, k]`.
        features: `[n, F]`.
        decay: of the weights.
    """
    n, k, width = len(features), curvature.shape[1], features.shape[1]
    whole = features.new_zeros(k, width, k, width)
    for c in range(k):
        bent = curvature[:, c, c:, None] * features[:, None, :]
        rows = (features.T @ bent.reshape(n, -1) / n).reshape(width, k - c, width)
        whole[c, :, c:] = rows
        whole[c:, :, c] = rows.permute(1, 2, 0)
    square = whole.reshape(k * width, k * width)
    square.diagonal().add_(decay + DAMPING)
    return square


class Inverse(Protocol):
    """Applies the inverse of a Hessian to `v = direction (x) phi`, of many `phi` at once."""

    @property
    def said(self) -> str:
        """Which form it has, in words."""

    @property
    def size(self) -> int:
        """Its bytes."""

    def leverages(self, features: Tensor, direction: Tensor) -> Tensor:
        """Return `v' H^-1 v` for features `[b, F]` and one direction `[k]`: `[b]`."""

    def squares(self, features: Tensor, used: Tensor) -> Tensor | None:
        """Return, for features `[b, F]`, `Q` `[b, k, k]` with `v' H^-1 v = d' Q d`.

        `used` `[b, k]` are the outputs that directions `d` of each are about: others' are not told.
        None: it takes more than `leverages` of single directions.
        """

    def steps(self, features: Tensor, directions: Tensor) -> Tensor:
        """Return `H^-1 v`, `[b, k, F]`, for features `[b, F]`, each with a direction `[b, k]`."""

    def apply(self, vectors: Tensor) -> Tensor:
        """Return `H^-1` times any vectors, `[b, k, F]`."""


@dataclass(frozen=True, eq=False)
class Whole:
    """All of the inverse, `[k, F, k, F]`."""

    inverse: Tensor
    said: str = "the whole Hessian"

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.inverse.nbytes

    def leverages(self, features: Tensor, direction: Tensor) -> Tensor:
        """See `Inverse`."""
        used = direction.nonzero().flatten().tolist()  # mostly two of the classes
        middle = torch.zeros_like(self.inverse[0, :, 0])
        for c in used:
            for e in used:
                middle += direction[c] * direction[e] * self.inverse[c, :, e]
        return ((features @ middle) * features).sum(1)

    def squares(self, features: Tensor, used: Tensor) -> Tensor | None:
        """See `Inverse`."""
        k, width = self.inverse.shape[:2]
        if len(features) * k * width > MOST_SQUARES:
            return None
        found = features.new_zeros(len(features), k, k)
        for c in range(k):
            rows = used[:, c].nonzero().flatten()
            some = features[rows]
            side = some @ self.inverse[c, :, c:].reshape(width, -1)
            row = (side.reshape(-1, k - c, width) @ some[:, :, None])[:, :, 0]
            found[rows, c, c:] = row
            found[rows, c:, c] = row
        return found

    def steps(self, features: Tensor, directions: Tensor) -> Tensor:
        """See `Inverse`. Directions are mostly of two classes: most of a product would be zeros."""
        k, width = self.inverse.shape[:2]
        if k <= FEW:
            return self.apply(directions[:, :, None] * features[:, None])
        found = features.new_zeros(len(features), k * width)
        for c in directions.any(0).nonzero().flatten().tolist():
            own = directions[:, c].nonzero().flatten()
            pulled = directions[own, c, None] * features[own]
            found.index_add_(0, own, pulled @ self.inverse[c].reshape(width, k * width))
        return found.reshape(-1, k, width)

    def apply(self, vectors: Tensor) -> Tensor:
        """See `Inverse`."""
        size = vectors[0].numel()
        return (vectors.reshape(-1, size) @ self.inverse.reshape(size, size)).reshape(vectors.shape)


@dataclass(frozen=True, eq=False)
class Blocks:
    """The inverse where outputs don't act on each other: a block for each, `[k, F, F]`."""

    inverse: Tensor
    said: str = "the Hessian of each output by itself"

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.inverse.nbytes

    def leverages(self, features: Tensor, direction: Tensor) -> Tensor:
        """See `Inverse`."""
        middle = torch.einsum("c,cfg->fg", direction**2, self.inverse)
        return ((features @ middle) * features).sum(1)

    def squares(self, features: Tensor, used: Tensor) -> Tensor | None:
        """See `Inverse`."""
        return None

    def steps(self, features: Tensor, directions: Tensor) -> Tensor:
        """See `Inverse`."""
        return self.apply(directions[:, :, None] * features[:, None])

    def apply(self, vectors: Tensor) -> Tensor:
        """See `Inverse`."""
        return torch.einsum("bcf,cfg->bcg", vectors, self.inverse)


@dataclass(frozen=True, eq=False)
class Gradients:
    """Conjugate gradients on Hessian products, where the Hessian doesn't fit.

    With `moving` a step changes the weights of those outputs alone that it is to move: of very many
    weights most would hardly change.
    """

    curvature: Tensor
    features: Tensor
    ridge: float
    moving: bool = False

    @property
    def said(self) -> str:
        """See `Inverse`."""
        of = " of the outputs that move" if self.moving else ""
        return f"conjugate gradients on Hessian products{of}"

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.curvature.nbytes

    def leverages(self, features: Tensor, direction: Tensor) -> Tensor:
        """See `Inverse`."""
        used = self._used(direction)
        found = [
            torch.einsum("bkf,k,bf->b", self._solved(each, direction, used), direction[used], each)
            for each in torch.split(features, MOST_AT_ONCE)
        ]
        return torch.cat(found)

    def squares(self, features: Tensor, used: Tensor) -> Tensor | None:
        """See `Inverse`."""
        return None

    def steps(self, features: Tensor, directions: Tensor) -> Tensor:
        """See `Inverse`."""
        found = features.new_zeros(len(features), directions.shape[1], features.shape[1])
        several, which = torch.unique(directions, dim=0, return_inverse=True)
        for number, direction in enumerate(several):
            own = (which == number).nonzero().flatten()
            used = self._used(direction)
            found[own[:, None], used] = self._solved(features[own], direction, used)
        return found

    def _used(self, direction: Tensor) -> Tensor:
        """Return the outputs whose weights change."""
        return (direction != 0).nonzero().flatten() if self.moving else torch.arange(len(direction))

    def _solved(self, features: Tensor, direction: Tensor, used: Tensor) -> Tensor:
        part = replace(self, curvature=self.curvature[:, used][:, :, used])
        return part.apply(direction[used][None, :, None] * features[:, None, :])

    def apply(self, vectors: Tensor) -> Tensor:
        """See `Inverse`."""
        at_once = max(1, MOST_VECTORS // vectors[0].numel())
        return torch.cat([self._apply(each) for each in torch.split(vectors, at_once)])

    def _apply(self, vectors: Tensor) -> Tensor:
        """Solve for some vectors. Raises MeasurementError where it doesn't converge."""
        wanted = vectors
        found, rest = torch.zeros_like(wanted), wanted.clone()
        scale = self._scale()
        ahead = rest / scale
        towards, now = ahead.clone(), (rest * ahead).sum((1, 2))
        enough = PRECISE**2 * (wanted * wanted / scale).sum((1, 2))
        for _ in range(MOST_STEPS):
            if bool((now <= enough).all()):
                return found
            product = self._times(towards)
            along = now / (towards * product).sum((1, 2)).clamp_min(torch.finfo(now.dtype).tiny)
            found += along[:, None, None] * towards
            rest -= along[:, None, None] * product
            ahead = rest / scale
            after = (rest * ahead).sum((1, 2))
            towards = ahead + (after / now.clamp_min(1e-300))[:, None, None] * towards
            now = after
        raise MeasurementError(
            f"the Hessian of a last layer of {wanted[0].numel():,} weights is nearly singular: "
            f"conjugate gradients did not converge in {MOST_STEPS} steps; scale its features"
        )

    def _times(self, vectors: Tensor) -> Tensor:
        """Return `H V` of vectors `[b, k, F]`."""
        outputs = torch.einsum("bkf,nf->bnk", vectors, self.features)
        bent = torch.einsum("nkc,bnc->bnk", self.curvature, outputs)
        back = torch.einsum("bnk,nf->bkf", bent, self.features) / len(self.features)
        return back + self.ridge * vectors

    def _scale(self) -> Tensor:
        """Return the diagonal of the Hessian, `[k, F]`: what conditions it."""
        own = self.curvature.diagonal(dim1=1, dim2=2).clamp_min(0)
        return own.T @ self.features**2 / len(self.features) + self.ridge


def inverse_of(
    curvature: Tensor,
    features: Tensor,
    decay: float,
    name: str,
    most: int = MOST_UNKNOWNS,
    most_together: int = MOST_TOGETHER,
) -> Inverse:
    """Return the inverse of the Hessian in the form that fits.

    Raises:
        MeasurementError: it is singular for numbers of this precision.
    """
    k, width = curvature.shape[1], features.shape[1]
    diagonal = curvature.diagonal(dim1=1, dim2=2)
    if bool((curvature == torch.diag_embed(diagonal)).all()) and width <= most:
        parts = [hessian(diagonal[:, c, None, None], features, decay) for c in range(k)]
        return Blocks(torch.stack([_inverted(each, name) for each in parts]))
    if k * width <= most:
        square = _inverted(hessian(curvature, features, decay), name)
        return Whole(square.reshape(k, width, k, width))
    return Gradients(curvature, features, decay + DAMPING, moving=k * width > most_together)


def _inverted(square: Tensor, name: str) -> Tensor:
    factor, failed = torch.linalg.cholesky_ex(square)
    if int(failed):
        raise MeasurementError(
            f"the Hessian of {name}'s last layer is singular: its features are of very different "
            f"sizes (their largest second moment is {float(square.diagonal().max()):.3g}), or its "
            "loss is not convex in the outputs; scale the features, or give train= other data"
        )
    return torch.cholesky_inverse(factor)
