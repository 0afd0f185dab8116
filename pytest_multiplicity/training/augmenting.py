"""Augmentation of lanes: drawn step by step on a CPU, and for an epoch at once on a device.

A device is never asked for anything, and gets what is drawn before the epoch's first step. All
lanes are augmented in the same operations there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pytest_multiplicity.data import kinds
from pytest_multiplicity.training.augment import augment_batch, step_seed
from pytest_multiplicity.training.jobs import Job
from pytest_multiplicity.training.policies import MOVED, OPERATIONS, Policy, maps, operation
from pytest_multiplicity.training.recipe import Augmentation
from pytest_multiplicity.training.seeds import Seeds

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
        self._by_step = device.type == "cpu" or any(is_own(transform) for transform, _ in lanes)

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
            self._epoch = epoch, self._drawn(epoch, list(enumerate(sizes)))
        if count == min(size, samples - step * size):
            return self._epoch[1][step]
        return self._drawn(epoch, [(step, count)])[0]  # a part of a batch is looked at by itself

    def _drawn(self, epoch: int, steps: Sequence[tuple[int, int]]) -> list[list[Pass]]:
        """Draw for steps of so many samples, and bring it all to the device at once."""
        made = [self._pass(chosen, strengths) for chosen, strengths in self._draws(epoch, steps)]
        if not made:
            return [[] for _ in steps]
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
        each_step = len(moved) // len(steps)
        return [moved[i : i + each_step] for i in range(0, len(moved), each_step)]

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
