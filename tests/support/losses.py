"""Losses of many makes, for classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Focal(nn.Module):
    """The focal loss."""

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        losses = F.cross_entropy(logits, targets, reduction="none")
        return ((1 - (-losses).exp()) ** self.gamma * losses).mean()


class Counting:
    """A loss that counts its calls, and grows with them."""

    calls = 0

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.calls += 1
        return F.cross_entropy(logits, targets) * self.calls


class Moving(nn.Module):
    """A loss with a buffer that it writes."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        loss = F.cross_entropy(logits, targets)
        self.mean = 0.9 * self.mean + 0.1 * loss.detach()
        return loss - self.mean


def bootstrapped(logits: Tensor, targets: Tensor) -> Tensor:
    """Draw the samples that count."""
    rows = torch.randint(len(targets), (len(targets),))
    return F.cross_entropy(logits[rows], targets[rows])


LOSSES: dict[str, Any] = {
    "loss: cross entropy": nn.CrossEntropyLoss(),
    "loss: of weights": nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5])),
    "loss: smoothed": nn.CrossEntropyLoss(label_smoothing=0.1),
    "loss: of each sample": nn.CrossEntropyLoss(reduction="none"),
    "loss: multi margin": nn.MultiMarginLoss(),
    "loss: log-likelihood": lambda logits, targets: F.nll_loss(logits.log_softmax(1), targets),
    "loss: focal": Focal(),
    "loss: Brier": lambda logits, targets: F.mse_loss(
        logits.softmax(1), F.one_hot(targets, 3).float()
    ),
    "loss: binary": lambda logits, targets: F.binary_cross_entropy_with_logits(
        logits, F.one_hot(targets, 3).float()
    ),
    "loss: counts its calls": Counting(),
    "loss: has a buffer": Moving(),
    "loss: draws": bootstrapped,
    "loss: a number of Python": lambda logits, targets: 1.0,
    "loss: forgets the logits": lambda logits, targets: torch.zeros((), requires_grad=True) * 1,
}
