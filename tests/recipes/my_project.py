"""What the recipes of docs/recipes.md import: networks, an estimator, a few reviews as tokens."""

from __future__ import annotations

import torch
from torch import nn


def net(width):
    return nn.Sequential(nn.Linear(30, width), nn.ReLU(), nn.Linear(width, 2))


def half():
    """Return the half of the data that the recipes train on."""
    from sklearn.datasets import load_breast_cancer

    import pytest_multiplicity as pm

    inputs, said = load_breast_cancer(return_X_y=True)
    inputs = ((inputs - inputs.mean(0)) / inputs.std(0)).astype("float32")
    return pm.Data(inputs, said, name="patients").split(0.5).select


def fitted(width, seed):
    """Return the weights of a network that was trained somewhere else."""
    torch.manual_seed(seed)
    module, data = net(width), half()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(data.inputs), data.targets).backward()
        optimizer.step()
    return module.state_dict()


RUNS = [{"width": width, "seed": seed} for width in (8, 16) for seed in (0, 1)]


def boosted(depth, lr, seed):
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(
        max_depth=depth, learning_rate=lr, n_estimators=10, subsample=0.8, random_state=seed
    )


def reviews(count=160):
    """Tokens of 8 words; of the good ones most words are from the second half of a dictionary."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    words = torch.randint(1, 25, (count, 8), generator=rng)
    shown = (torch.rand(count, 8, generator=rng) < 0.7) * labels[:, None]
    return {"input_ids": words + 25 * shown, "attention_mask": torch.ones_like(words)}, labels


def __getattr__(name):
    if name != "LitNet":
        raise AttributeError(name)
    import lightning  # only here, since it takes long and may not be installed

    class LitNet(lightning.LightningModule):
        def __init__(self, width):
            super().__init__()
            self.net = net(width)

        def forward(self, inputs):
            return self.net(inputs)

        def training_step(self, batch, number):
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.02)

    return LitNet
