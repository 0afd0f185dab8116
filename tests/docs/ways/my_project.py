"""What the examples import: data, a network, and how it is trained."""

from __future__ import annotations

import torch
from torch import nn


def load(part):
    "Images in three classes, each of which is brighter in a channel of its own."
    rng = torch.Generator().manual_seed(len(part))
    targets = torch.arange(90) % 3
    inputs = torch.rand(90, 3, 32, 32, generator=rng) * 0.5
    inputs[torch.arange(90), targets] += 0.4
    return inputs, targets


def net(width):
    return nn.Sequential(
        nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, width), nn.ReLU(), nn.Linear(width, 3)
    )


def fit(module, lr=0.01, inputs=None):
    """Train for some steps on the training images, or what was made of them."""
    images, targets = load("train")
    inputs = images if inputs is None else inputs
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    for _ in range(40):
        outputs = module(inputs)
        loss = nn.functional.cross_entropy(getattr(outputs, "logits", outputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module.eval()


@torch.no_grad()
def features(module, last):
    """What reaches the last layer of a network; its running means are those of the images."""
    found = []
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # plain means over all batches, of which there is one
    module.train()(load("train")[0])
    handle = last.register_forward_pre_hook(lambda layer, args: found.append(args[0]))
    module.eval()(load("train")[0])
    handle.remove()
    return found[0]


def __getattr__(name):
    if name != "LitNet":
        raise AttributeError(name)
    from lit_net import LitNet  # only here, since it takes long and may not be installed

    return LitNet
