"""Augmentation: one draw per sample, in batches.

torchvision's v2 transforms accept a batch but draw one set of parameters for all of it (every
image flipped, or none; RandAugment one operation for all), which is not what training with them
means. So a batch is taken apart, and every sample gets a draw of its own. "rand" and "trivial" work
on float images in [0, 1]: over all their operations the result is within 0.01 of that on uint8.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_multiplicity.errors import RecipeError
from pytest_multiplicity.training.recipe import Augmentation, Recipe
from pytest_multiplicity.training.seeds import Seeds, derive, seed_everything


def augmentation(recipe: Recipe) -> Augmentation | None:
    """Give the recipe's transform of one sample, or None."""
    if not isinstance(recipe.augment, str):
        return recipe.augment
    # Imported here because it takes seconds, and most trainings don't need it.
    from torchvision.transforms import v2

    transform: Augmentation = (
        v2.RandAugment() if recipe.augment == "rand" else v2.TrivialAugmentWide()
    )
    return transform


def augment_batch(
    transform: Augmentation, inputs: Tensor, seeds: Seeds, epoch: int, step: int
) -> Tensor:
    """Transform each sample of a batch [b, ...]; draws depend on seed, epoch and step only.

    Seeds the global generators: call it inside `preserved_rng`.

    Raises:
        RecipeError: samples come out in different shapes, or not as tensors.
    """
    seed_everything(derive(seeds.augmentation, "augmentation", epoch, step))
    samples = [transform(sample) for sample in inputs]
    shapes = {tuple(s.shape) if isinstance(s, Tensor) else type(s).__name__ for s in samples}
    if len(shapes) > 1 or not isinstance(samples[0], Tensor):
        raise RecipeError(
            f"augment turns samples of shape {tuple(inputs.shape[1:])} into "
            f"{sorted(map(str, shapes))}: it must give tensors of one shape"
        )
    return torch.stack(samples)
