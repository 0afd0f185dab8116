"""Augmentation: one draw per sample, in batches.

torchvision's v2 transforms accept a batch but draw one set of parameters for all of it (every
image flipped, or none; RandAugment one operation for all), which is not what training with them
means. So for a transform of the user's a batch is taken apart, and every sample gets a draw of its
own; "rand" and "trivial" are done here for the batch, see `policies`. They work on float images in
[0, 1]: over all their operations the result is within 0.01 of torchvision's on uint8.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_multiplicity.compute import seed_everything
from pytest_multiplicity.errors import RecipeError
from pytest_multiplicity.training.policies import RAND, TRIVIAL, Policy
from pytest_multiplicity.training.recipe import Augmentation, Recipe
from pytest_multiplicity.training.seeds import Seeds, derive

POLICIES = {"rand": RAND, "trivial": TRIVIAL}


def augmentation(recipe: Recipe) -> Augmentation | Policy | None:
    """Return the recipe's transform, of one sample or a policy for batches, or None."""
    return POLICIES[recipe.augment] if isinstance(recipe.augment, str) else recipe.augment


def step_seed(seeds: Seeds, epoch: int, step: int) -> int:
    """Return what the transforms of a step are drawn with."""
    return derive(seeds.augmentation, "augmentation", epoch, step)


def augment_batch(
    transform: Augmentation | Policy, inputs: Tensor, seeds: Seeds, epoch: int, step: int
) -> Tensor:
    """Transform each sample of a batch [b, ...]; draws depend on seed, epoch and step only.

    Seeds the global generators: call it inside `preserved_rng`.

    Raises:
        RecipeError: samples come out in different shapes, or not as tensors, or aren't images.
    """
    seed = step_seed(seeds, epoch, step)
    if isinstance(transform, Policy):
        return transform(inputs, torch.Generator().manual_seed(seed))
    seed_everything(seed)
    try:
        samples = [transform(sample) for sample in inputs]
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f"augment {type(transform).__name__} failed on a sample {tuple(inputs.shape[1:])} of "
            f"{inputs.dtype} ({error}): give a transform of one sample without its target; MixUp "
            "and CutMix, which need both of a batch, belong into a loss"
        ) from error
    shapes = {tuple(s.shape) if isinstance(s, Tensor) else type(s).__name__ for s in samples}
    if len(shapes) > 1 or not isinstance(samples[0], Tensor):
        raise RecipeError(
            f"augment turns samples of shape {tuple(inputs.shape[1:])} into "
            f"{sorted(map(str, shapes))}: it must give tensors of one shape"
        )
    batch = torch.stack(samples)
    if batch.dtype != inputs.dtype:
        raise RecipeError(
            f"augment turns {inputs.dtype} into {batch.dtype}: let it end with "
            "v2.ToDtype(torch.float32, scale=True)"
        )
    return batch
