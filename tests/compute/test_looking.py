"""What Python does in a step of training, which a graph would not do again."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_multiplicity.compute import looking


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.seen, self.kept = nn.Linear(2, 2), [], 0
        self.register_buffer("mean", torch.zeros(2), persistent=False)


class Loss:
    weight = 1.0

    def __call__(self, answers, targets):
        return F.cross_entropy(answers, targets) * self.weight


LOSS = Loss()


def setting(name, value):
    return lambda model: setattr(model, name, value)


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda model: model.mean.add_(1), None),  # in the same place: a graph does it, too
        (lambda model: model.layer.weight.data.mul_(2), None),
        (setting("kept", 1), "the model sets kept in each step"),
        (lambda model: model.seen.append(1), "the model sets seen in each step"),
        (lambda model: setattr(model.layer, "last", 1.5), "the model sets layer.last in each step"),
        (setting("mean", torch.ones(2)), "the model sets mean in each step"),
        (setting("layer", nn.Linear(2, 2)), "replaces parameters or buffers in each step"),
        (lambda model: torch.rand(1), "draws random numbers on the host"),
        (lambda model: model.register_forward_hook(print), "the model has hooks"),
        (lambda model: model.layer.weight.register_hook(print), "parameters of the model have"),
        (lambda model: setattr(LOSS, "weight", LOSS.weight + 1), "the loss keeps a state"),
    ],
)
def test_what_matters_is_noticed(act, reason):
    model = Model()
    why = looking(model, ["cross_entropy", LOSS])
    act(model)
    told = why()
    assert told is reason or reason in told
