"""SGD, Adam and AdamW over stacked parameters, with settings of each candidate's own.

The arithmetic is that of torch.optim, elementwise over tensors [K, ...] with one number per
candidate: no value depends on where a candidate lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from pytest_multiplicity.compute import Layout, layout
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


def _columns(values: Sequence[float], laid: Layout) -> list[Tensor]:
    """Return one number per candidate, shaped to go with each tensor of a layout."""
    like = laid.tensors[0]
    dtypes = {tensor.dtype for tensor in laid.tensors}
    dtype = like.dtype if len(dtypes) == 1 else torch.float64
    found = laid.spread(torch.tensor(values, dtype=dtype, device=like.device))
    return [each.to(t.dtype) for each, t in zip(found, laid.tensors, strict=True)]


def _lane_of(tensors: Sequence[Tensor], lane: int) -> list[Tensor]:
    return [tensor[lane].to("cpu", copy=True) for tensor in tensors]


def _stacked(lanes: Sequence[Sequence[Tensor]], laid: Layout) -> list[Tensor]:
    device = laid.tensors[0].device
    return laid.joined([torch.stack(row).to(device) for row in zip(*lanes, strict=True)])


class SGD:
    """Momentum SGD, as torch.optim.SGD without Nesterov and dampening."""

    def __init__(self, recipes: Sequence[Recipe], params: Sequence[Tensor]) -> None:
        self.laid = layout(params)
        self.params = self.laid.tensors
        _, self.has_momentum, self.has_decay = optimizer_kind(recipes[0])
        self.momenta = _columns([r.momentum for r in recipes], self.laid)
        self.decays = _columns([r.weight_decay for r in recipes], self.laid)
        self.buffers = [torch.zeros_like(p) for p in self.params] if self.has_momentum else []

    @torch.no_grad()
    def step(self, grads: Sequence[Tensor], lrs: Tensor) -> None:
        """Update the parameters in place."""
        whole, rates = self.laid.joined(grads), self.laid.spread(lrs)
        for i, (param, grad) in enumerate(zip(self.params, whole, strict=True)):
            update = torch.addcmul(grad, param, self.decays[i]) if self.has_decay else grad
            if self.has_momentum:
                update = self.buffers[i].mul_(self.momenta[i]).add_(update)
            param.addcmul_(update, rates[i], value=-1)

    def lane_state(self, lane: int) -> dict[str, Any]:
        """Copy one candidate's momentum buffers."""
        parts = self.laid.parts(self.buffers) if self.buffers else []
        return {"buffers": _lane_of(parts, lane)}

    def restore(self, lanes: Sequence[dict[str, Any]]) -> None:
        """Set all candidates' momentum buffers."""
        if self.buffers:
            self.buffers = _stacked([state["buffers"] for state in lanes], self.laid)


class Adam:
    """Adam and AdamW, as in torch.optim without AMSGrad."""

    def __init__(self, recipes: Sequence[Recipe], params: Sequence[Tensor]) -> None:
        self.laid = layout(params)
        self.params = self.laid.tensors
        kind, _, self.has_decay = optimizer_kind(recipes[0])
        self.decoupled = kind == "adamw"
        self.beta1 = _columns([r.momentum for r in recipes], self.laid)
        self.decays = _columns([r.weight_decay for r in recipes], self.laid)
        self.means = [torch.zeros_like(p) for p in self.params]
        self.squares = [torch.zeros_like(p) for p in self.params]
        # On a device, as no Python runs in a step that is recorded; in float64, as Python computes.
        device = self.params[0].device
        count = torch.zeros((), dtype=torch.float64, device=device)
        self.steps: Any = 0 if device.type == "cpu" else count

    @torch.no_grad()
    def step(self, grads: Sequence[Tensor], lrs: Tensor) -> None:
        """Update the parameters in place."""
        self.steps += 1
        correction2 = (1 - ADAM_BETA2**self.steps) ** 0.5
        whole, rates = self.laid.joined(grads), self.laid.spread(lrs)
        for i, (param, grad) in enumerate(zip(self.params, whole, strict=True)):
            lr = rates[i]
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
        means = _lane_of(self.laid.parts(self.means), lane)
        squares = _lane_of(self.laid.parts(self.squares), lane)
        return {"means": means, "squares": squares, "steps": int(self.steps)}

    def restore(self, lanes: Sequence[dict[str, Any]]) -> None:
        """Set all candidates' moments, and the number of steps."""
        self.means = _stacked([state["means"] for state in lanes], self.laid)
        self.squares = _stacked([state["squares"] for state in lanes], self.laid)
        self.steps = 0 * self.steps + lanes[0]["steps"]
