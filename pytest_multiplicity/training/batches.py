"""The data of a training, brought to the device: whole where it fits, else block by block."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from pytest_multiplicity.compute import Samples, free_bytes, let_go, out_of_memory
from pytest_multiplicity.data import kinds

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data

BLOCK_BYTES = 4 << 20  # gathered at once: many small steps share one gather that stays in cache


class StepBatch(NamedTuple):
    """Samples of a step, on the device: `inputs` [b, ...], `targets` [b, ...].

    `attributes`, those that are asked for, are [b] each. Side by side all have K first.
    `ready` says that the inputs are transformed already.
    """

    inputs: kinds.Batch
    targets: Tensor
    attributes: dict[str, Tensor]
    ready: bool = False

    def changed(self, change: Callable[[Tensor], Tensor]) -> StepBatch:
        """Return the batch with each of its tensors changed."""
        attributes = {name: change(column) for name, column in self.attributes.items()}
        inputs = kinds.mapped(self.inputs, change)
        return StepBatch(inputs, change(self.targets), attributes, self.ready)

    @property
    def tensors(self) -> list[Tensor]:
        """All of its tensors, in an order of theirs."""
        found: list[Tensor] = []

        def noted(tensor: Tensor) -> Tensor:
            found.append(tensor)
            return tensor

        self.changed(noted)
        return found

    def of(self, tensors: Iterable[Tensor]) -> StepBatch:
        """Return a batch of other tensors, which stand in that order."""
        others = iter(tensors)
        return self.changed(lambda tensor: next(others))

    def lane(self, lane: int) -> StepBatch:
        """Return one lane of a batch of several."""
        return self.changed(operator.itemgetter(lane))


@dataclass(frozen=True)
class Feed:
    """Where batches come from: `take(rows)` gives inputs on the device, `targets` lie on it.

    The rows are those on the CPU, and the same on the device.
    """

    take: Callable[[Tensor, Tensor], kinds.Batch]
    targets: Tensor
    data: Data | Samples
    attributes: Mapping[str, Tensor] = field(default_factory=dict)

    def asked(self, names: Collection[str]) -> Feed:
        """Return a feed whose batches have attributes of these names."""
        if not names:
            return self
        known, device = self.data.attribute_tensors, self.targets.device
        return replace(self, attributes={name: known[name].to(device) for name in names})

    @property
    def hosted(self) -> Feed:
        """The same with inputs that stay on the CPU, for transforms that are at home there."""
        return replace(self, take=lambda rows, there: self.data.take(rows))

    def inputs(self, rows: Tensor) -> kinds.Batch:
        """Return the inputs of samples."""
        return self.take(rows, kinds.to(rows, self.targets.device))

    def whole(self, rows: Tensor, there: Tensor | None = None) -> StepBatch:
        """Return samples as one batch; `there` are their positions on the device."""
        there = kinds.to(rows, self.targets.device) if there is None else there
        beside = {name: column[there] for name, column in self.attributes.items()}
        return StepBatch(self.take(rows, there), self.targets[there], beside)

    def blocks(self, rows: Tensor, size: int) -> Iterator[StepBatch]:
        """Yield consecutive samples, so many at once; the positions are brought there once."""
        there = kinds.to(rows, self.targets.device)
        yield from map(self.whole, torch.split(rows, size), torch.split(there, size))

    def samples_of(self, nbytes: int) -> int:
        """Return how many samples have inputs of so many bytes; 1 or more."""
        return max(1, nbytes // self.data.sample_bytes)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[StepBatch]:
        """Yield batches in this order; the last one may be smaller."""
        steps = max(1, self.samples_of(BLOCK_BYTES) // batch_size)
        for block in self.blocks(order, steps * batch_size):
            yield from parts(block, batch_size)


def parts(batch: StepBatch, size: int, dim: int = 0) -> Iterator[StepBatch]:
    """Yield consecutive parts of a batch, of so many samples, which lie along `dim`: views."""
    targets = torch.split(batch.targets, size, dim)
    inputs = kinds.split(batch.inputs, size, dim)
    if not batch.attributes:
        yield from map(StepBatch, inputs, targets, repeat({}))
        return
    beside = kinds.split(batch.attributes, size, dim)
    yield from map(StepBatch, inputs, targets, beside)


def feed(data: Data | Samples, device: torch.device) -> Feed:
    """Keep the inputs on the device, unless they are streamed or would take half its memory."""
    targets = data.targets.to(device)
    if device.type == "cpu":
        return Feed(lambda rows, there: data.take(rows), targets, data)
    by_block = Feed(lambda rows, there: kinds.to(data.take(rows), device), targets, data)
    if data.streamed or data.sample_bytes * len(data) > free_bytes(device) // 2:
        return by_block
    try:
        inputs = kinds.to(data.inputs, device)
    except Exception as error:
        if not out_of_memory(error):
            raise
        let_go()
        return by_block
    return Feed(lambda rows, there: kinds.take(inputs, there), targets, data)
