"""Augmentation of lanes: drawn step by step on a CPU, and for an epoch at once on a device.

A device is never asked for anything, and gets what is drawn before the epoch's first step. All
lanes, and several steps, are augmented in the same operations there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from pytest_multiplicity.compute import MOST_LANES
from pytest_multiplicity.data import kinds
from pytest_multiplicity.training.augment import augment_batch, step_seed
from pytest_multiplicity.training.batches import StepBatch
from pytest_multiplicity.training.jobs import Job
from pytest_multiplicity.training.policies import MOVED, OPERATIONS, Policy, maps, operation
from pytest_multiplicity.training.recipe import Augmentation
from pytest_multiplicity.training.seeds import Seeds

AHEAD_BYTES = 64 << 20  # of images that an operation on a device falls to at once
Transform = Augmentation | Policy | None


def is_own(transform: Transform) -> bool:
    """Say whether it is a transform of the user's: these are at home on the CPU."""
    return transform is not None and not isinstance(transform, Policy)


@dataclass(frozen=True)
class Pass:
    """An operation for each of n images, which are put in the order of operations for it.

    Args:
        order: of the images, [n].
        back: where in that order each of them is, [n].
        counts: of images that each operation falls to, in that order.
        strengths: of the operations, [n], in that order.
        maps: of the images that move, [moved, 2, 3].
    """

    order: Tensor
    back: Tensor
    counts: tuple[tuple[str, int], ...]
    strengths: Tensor
    maps: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        """Transform images [n, C, H, W]."""
        sizes = [count for _, count in self.counts]
        ordered = torch.split(images.index_select(0, self.order), sizes)
        strengths = torch.split(self.strengths.to(images.dtype).view(-1, 1, 1, 1), sizes)
        parts = zip(self.counts, ordered, strengths, strict=True)
        done = [operation(name, part, each, self.maps) for (name, _), part, each in parts]
        return torch.cat(done).index_select(0, self.back)


class Augmenting:
    """What becomes of the batches of lanes, each with its transform and seeds.

    What lanes have in common, such as the number of samples and the batch size, is the job's.
    """

    def __init__(
        self, lanes: Sequence[tuple[Transform, Seeds]], job: Job, device: torch.device
    ) -> None:
        self._lanes, self._job, self._device = lanes, job, device
        self._shape = tuple(job.recipe.data.shape)
        self._epoch: tuple[int, list[list[Pass]]] = -1, []
        transforms = [transform for transform, _ in lanes]
        self._by_step = device.type == "cpu" or any(map(is_own, transforms))
        self._ahead = not self._by_step and any(transforms)

    def ahead(self, batches: Iterator[StepBatch], epoch: int) -> Iterator[StepBatch]:
        """Yield the batches of an epoch, on a device transformed for several steps at once.

        There an operation is a launch, however many images it falls to. How many steps follows
        from shapes, and not from how many lanes there are.
        """
        if not self._ahead:
            yield from batches
            return
        size, data = self._job.recipe.batch_size, self._job.recipe.data
        sizes = [min(size, self._job.samples - i) for i in range(0, self._job.samples, size)]
        most = MOST_LANES if len(self._lanes) > 1 else 1
        most = max(1, AHEAD_BYTES // (most * size * data.sample_bytes))
        steps = list(enumerate(sizes))
        groups = [steps[i : i + most] for i in range(0, len(steps), most)]
        for group, passes in zip(groups, self._drawn(epoch, groups), strict=True):
            taken = list(islice(batches, len(group)))
            whole = torch.cat([lane for batch in taken for lane in self._of_lanes(batch)])
            for each in passes:
                whole = each(whole)
            parts = torch.split(whole, [len(self._lanes) * count for _, count in group])
            for (_, count), batch, part in zip(group, taken, parts, strict=True):
                if len(self._of_lanes(batch)) > 1:  # in memory sample by sample, as it was
                    part = torch.stack(torch.split(part, count), 1).transpose(0, 1)
                yield batch._replace(inputs=part, ready=True)

    def _of_lanes(self, batch: StepBatch) -> Sequence[Tensor]:
        """Return the images [b, C, H, W] of each lane of a batch."""
        inputs: Any = batch.inputs
        return list(inputs) if inputs.ndim > len(self._shape) + 1 else [inputs]

    def augmented(self, batches: Sequence[Tensor], epoch: int, step: int) -> list[Tensor]:
        """Return the lanes' batches [b, ...] of a step as they are trained on, on the device.

        Raises:
            RecipeError: a transform doesn't give samples of one shape.
        """
        if self._by_step:
            lanes = zip(self._lanes, batches, strict=True)
            done = [
                augment_batch(transform, batch, seeds, epoch, step) if transform else batch
                for (transform, seeds), batch in lanes
            ]
            return [kinds.to(batch, self._device) for batch in done]
        images = torch.cat(list(batches))
        for each in self._passes(epoch, step, len(batches[0])):
            images = each(images)
        return list(torch.split(images, len(batches[0])))

    def _passes(self, epoch: int, step: int, count: int) -> list[Pass]:
        """Return what is done to the lanes of a step of so many samples."""
        size, samples = self._job.recipe.batch_size, self._job.samples
        if self._epoch[0] != epoch:
            sizes = [min(size, samples - start) for start in range(0, samples, size)]
            self._epoch = epoch, self._drawn(epoch, [[each] for each in enumerate(sizes)])
        if count == min(size, samples - step * size):
            return self._epoch[1][step]
        return self._drawn(epoch, [[(step, count)]])[0]  # a part of a batch is looked at by itself

    def _drawn(self, epoch: int, groups: Sequence[Sequence[tuple[int, int]]]) -> list[list[Pass]]:
        """Draw for groups of steps of so many samples, and bring it all to the device at once."""
        made: list[Pass] = []
        for group in groups:
            draws = self._draws(epoch, group)
            passes = len(draws) // len(group)
            for each in range(passes):
                chosen, strengths = zip(*draws[each::passes], strict=True)
                made.append(self._pass(torch.cat(chosen), torch.cat(strengths)))
        if not made:
            return [[] for _ in groups]
        names = ("order", "back", "strengths", "maps")
        there: dict[str, Sequence[Tensor]] = {}
        for name in names:
            parts = [getattr(each, name) for each in made]
            whole: Any = kinds.to(torch.cat(parts), self._device)
            there[name] = torch.split(whole, [len(part) for part in parts])
        moved = [
            Pass(counts=each.counts, **{name: there[name][i] for name in names})
            for i, each in enumerate(made)
        ]
        each_group = len(moved) // len(groups)
        return [moved[i : i + each_group] for i in range(0, len(moved), each_group)]

    def _draws(self, epoch: int, steps: Sequence[tuple[int, int]]) -> list[tuple[Tensor, Tensor]]:
        """Return operations and strengths of all lanes' images, pass by pass of every step."""
        policies = [transform for transform, _ in self._lanes if isinstance(transform, Policy)]
        passes = max((policy.operations for policy in policies), default=0)
        found: list[tuple[Tensor, Tensor]] = []
        for step, count in steps:
            nothing = torch.zeros(count, dtype=torch.int64), torch.zeros(count)
            lanes = []
            for transform, seeds in self._lanes:
                drawn: list[tuple[Tensor, Tensor]] = []
                if isinstance(transform, Policy):
                    seed = step_seed(seeds, epoch, step)
                    generator = torch.Generator().manual_seed(seed)
                    drawn = list(transform.draws(count, self._shape, generator))
                lanes.append(drawn + [nothing] * (passes - len(drawn)))
            found += [
                (torch.cat([c for c, _ in each]), torch.cat([s for _, s in each]))
                for each in zip(*lanes, strict=True)
            ]
        return found

    def _pass(self, chosen: Tensor, strengths: Tensor) -> Pass:
        """Put images in order: those that stay, those that move, and by the other operations."""
        moves = (chosen >= 1) & (chosen <= len(MOVED))
        order = torch.where(moves, 1, chosen).argsort(stable=True)
        counts = torch.bincount(torch.where(moves, 1, chosen), minlength=len(OPERATIONS)).tolist()
        pairs = zip(OPERATIONS, counts, strict=True)
        some = tuple((name, count) for name, count in pairs if count)
        rows = order[moves[order]]
        return Pass(
            order,
            order.argsort(),
            some,
            strengths[order],
            maps(chosen[rows], strengths[rows], *self._shape[1:]),
        )
