"""The data of a training, brought to the device: whole where it fits, else block by block."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pytest_multiplicity.compute import Samples, free_bytes

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data

BLOCK_BYTES = 4 << 20  # gathered at once: many small steps share one gather that stays in cache


@dataclass(frozen=True)
class Feed:
    """Where batches come from: `take(rows)` gives inputs on the device, `targets` lie on it."""

    take: Callable[[Tensor], Tensor]
    targets: Tensor
    sample_bytes: int

    def batches(self, order: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (inputs [b, ...], targets [b]) in this order; the last batch may be smaller."""
        steps = max(1, BLOCK_BYTES // (self.sample_bytes * batch_size))
        for block in torch.split(order, steps * batch_size):
            inputs, targets = self.take(block), self.targets[block.to(self.targets.device)]
            pairs = torch.split(inputs, batch_size), torch.split(targets, batch_size)
            yield from zip(*pairs, strict=True)


def feed(data: Data | Samples, device: torch.device) -> Feed:
    """Keep the inputs on the device, unless they are streamed or would take half its memory."""
    sample_bytes = 4 * math.prod(data.shape)
    targets = data.targets.to(device)
    if device.type == "cpu":
        return Feed(data.take, targets, sample_bytes)
    if data.streamed or sample_bytes * len(data) > free_bytes(device) // 2:
        return Feed(lambda rows: data.take(rows).to(device), targets, sample_bytes)
    inputs = data.inputs.to(device)
    return Feed(lambda rows: inputs[rows.to(device)], targets, sample_bytes)
