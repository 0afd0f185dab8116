"""The embedded study: small networks on handwritten digits, which scikit-learn bundles.

Thirty-five networks, trained alike but for one choice and the seed, that all read digits well.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import pytest_multiplicity as pm


class Digits(NamedTuple):
    """Disjoint samples: to train on, to select by, and to report on."""

    train: pm.Data
    select: pm.Data
    report: pm.Data


@pytest.fixture(scope="session")
def digits() -> Digits:
    """The 1,797 digits: a third to train on, a third to select by, a third to report on.

    ``ink`` is the mean darkness of a sample in [0, 1]: few pixels of ink are a thin stroke.
    ``slant`` is by how many degrees it leans to the right.
    """
    bunch = load_digits()
    images = torch.tensor(bunch.images / 16.0, dtype=torch.float32).unsqueeze(1)  # [n, 1, 8, 8]
    targets = torch.tensor(bunch.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return Digits(
        *(
            pm.Data(
                images[rows],
                targets[rows],
                pd.DataFrame(
                    {
                        "ink": images[rows].mean(dim=(1, 2, 3)).numpy(),
                        "slant": slant_of(bunch.images[rows.numpy()]),
                    }
                ),
                name=name,
            )
            for name, rows in zip(Digits._fields, order.chunk(3), strict=True)
        )
    )


def slant_of(images):
    """How far ink leans to the right as it goes up, in degrees: `[n]` of images `[n, 8, 8]`."""
    down, right = np.mgrid[:8, :8]
    ink = images / images.sum(axis=(1, 2), keepdims=True)
    y, x = ((ink * each).sum(axis=(1, 2), keepdims=True) for each in (down, right))
    together = (ink * (down - y) * (right - x)).sum(axis=(1, 2))
    tall = (ink * (down - y) ** 2).sum(axis=(1, 2))
    return np.degrees(np.arctan(-together / tall)).round(1)


def small_cnn(width: int) -> nn.Module:
    """Two convolutions with batch norm, and a linear layer: 8x8 pixels to 10 classes."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * width, 10),
    )


@pm.family(
    default={"lr": 0.1, "batch_size": 32, "optimizer": "sgd", "width": 16},
    vary={
        "lr": [0.05, 0.01],
        "batch_size": [64, 128],
        "optimizer": ["adam"],
        "width": [32],
    },
    seeds=5,
)
def candidate(config, digits):
    """A small convolutional network, ten epochs on a third of the digits."""
    return pm.Recipe(
        model=lambda: small_cnn(config.width),
        data=digits.train,
        epochs=10,
        batch_size=config.batch_size,
        optimizer=config.optimizer,
        lr=config.lr if config.optimizer == "sgd" else config.lr / 10,
    )


@pm.family(
    default={"width": 16},
    vary={"seed.init": range(6), "seed.order": range(6)},
    seeds=1,
)
def source(config, digits):
    """The same network: another draw of its initial weights, or another order of its data."""
    return pm.Recipe(
        model=lambda: small_cnn(config.width), data=digits.train, epochs=10, batch_size=32
    )


@pm.incumbent
def production(digits):
    """What reads digits today: a network of the default configuration, trained once, for longer."""
    return pm.Recipe(model=lambda: small_cnn(16), data=digits.train, epochs=12, batch_size=32)
