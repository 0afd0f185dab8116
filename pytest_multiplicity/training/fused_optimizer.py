"""SGD, Adam and AdamW over stacked parameters, with settings of each candidate's own.

The arithmetic is that of torch.optim, elementwise over tensors [K, ...] with one number per
candidate: no value depends on where a candidate lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from pytest_multiplicity.training.recipe import Recipe

ADAM_EPS = 1e-8
ADAM_BETA2 = 0.999


class FusedOptimizer(Protocol):
    """Steps all candidates at once."""

    def step(self, grads: Sequence[Tensor], lrs: Tensor) -> None:
        """Update the parameters by their gradients [K, ...] with the learning rates [K]."""

    def lane_state(self, lane: int) -> dict[str, Any]:
        """Copy what a checkpoint of one candidate keeps."""

    def restore(self, lanes: Sequence[dict[str, Any]]) -> None:
        """Go on from what checkpoints of all candidates kept."""


def fused_optimizer(recipes: Sequence[Recipe], params: Sequence[Tensor]) -> FusedOptimizer:
    """Build the optimizer of recipes of one `optimizer_kind` over parameters [K, ...]."""
    kind, *_ = optimizer_kind(recipes[0])
    return SGD(recipes, params) if kind == "sgd" else Adam(recipes, params)


def optimizer_kind(recipe: Recipe) -> tuple[str, bool, bool]:
    """Return what candidates share who step together: any decay and none differ in bits."""
    assert isinstance(recipe.optimizer, str)
    return recipe.optimizer, recipe.momentum > 0, recipe.weight_decay > 0


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    """Return one number per candidate, shaped to broadcast over [K, ...]."""
    column = torch.tensor(values, dtype=like.dtype, device=like.device)
    return column.view(-1, *[1] * (like.ndim - 1))


def _lane_of(tensors: Sequence[Tensor], lane: int) -> list[Tensor]:
    return [tensor[lane].to("cpu", copy=True) for tensor in tensors]


def _stacked(lanes: Sequence[Sequence[Tensor]], like: Sequence[Tensor]) -> list[Tensor]:
    rows = zip(*lanes, strict=True)
    return [torch.stack(row).to(param.device) for row, param in zip(rows, like, strict=False)]


class SGD:
    """Momentum SGD, as torch.optim.SGD without Nesterov and dampening."""

    def __init__(self, recipes: Sequence[Recipe], params: Sequence[Tensor]) -> None:
        self.params = params
        _, self.has_momentum, self.has_decay = optimizer_kind(recipes[0])
        self.momenta = [_column([r.momentum for r in recipes], p) for p in params]
        self.decays = [_column([r.weight_decay for r in recipes], p) for p in params]
        self.buffers = [torch.zeros_like(p) for p in params] if self.has_momentum else []

    @torch.no_grad()
    def step(self, grads: Sequence[Tensor], lrs: Tensor) -> None:
        """Update the parameters in place."""
        for i, (param, grad) in enumerate(zip(self.params, grads, strict=True)):
            update = torch.addcmul(grad, param, self.decays[i]) if self.has_decay else grad
            if self.has_momentum:
                update = self.buffers[i].mul_(self.momenta[i]).add_(update)
            param.addcmul_(update, lrs.view_as(self.momenta[i]), value=-1)

    def lane_state(self, lane: int) -> dict[str, Any]:
        """Copy one candidate's momentum buffers."""
        return {"buffers": _lane_of(self.buffers, lane)}

    def restore(self, lanes: Sequence[dict[str, Any]]) -> None:
        """Set all candidates' momentum buffers."""
        self.buffers = _stacked([state["buffers"] for state in lanes], self.params)


class Adam:
    """Adam and AdamW, as in torch.optim without AMSGrad."""

    def __init__(self, recipes: Sequence[Recipe], params: Sequence[Tensor]) -> None:
        self.params = params
        kind, _, self.has_decay = optimizer_kind(recipes[0])
        self.decoupled = kind == "adamw"
        self.beta1 = [_column([r.momentum for r in recipes], p) for p in params]
        self.decays = [_column([r.weight_decay for r in recipes], p) for p in params]
        self.means = [torch.zeros_like(p) for p in params]
        self.squares = [torch.zeros_like(p) for p in params]
        self.steps = 0

    @torch.no_grad()
    def step(self, grads: Sequence[Tensor], lrs: Tensor) -> None:
        """Update the parameters in place."""
        self.steps += 1
        correction2 = (1 - ADAM_BETA2**self.steps) ** 0.5
        for i, (param, grad) in enumerate(zip(self.params, grads, strict=True)):
            lr = lrs.view_as(self.beta1[i])
            if self.has_decay and self.decoupled:
                param.mul_(1 - lr * self.decays[i])
            elif self.has_decay:
                grad = torch.addcmul(grad, param, self.decays[i])
            mean = self.means[i].lerp_(grad, (1 - self.beta1[i]).expand_as(grad))
            square = self.squares[i].mul_(ADAM_BETA2).addcmul_(grad, grad, value=1 - ADAM_BETA2)
            step_size = lr / (1 - self.beta1[i] ** self.steps)
            scale = square.sqrt().div_(correction2).add_(ADAM_EPS)
            param.addcmul_(mean / scale, step_size, value=-1)

    def lane_state(self, lane: int) -> dict[str, Any]:
        """Copy one candidate's moments, and the number of steps."""
        means, squares = _lane_of(self.means, lane), _lane_of(self.squares, lane)
        return {"means": means, "squares": squares, "steps": self.steps}

    def restore(self, lanes: Sequence[dict[str, Any]]) -> None:
        """Set all candidates' moments, and the number of steps."""
        self.means = _stacked([state["means"] for state in lanes], self.params)
        self.squares = _stacked([state["squares"] for state in lanes], self.params)
        self.steps = lanes[0]["steps"]
