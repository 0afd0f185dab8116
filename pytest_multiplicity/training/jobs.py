"""What all ways of training have in common: the course of a job, step by step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pytest_multiplicity.compute import own_weights, preserved_rng, seed_everything
from pytest_multiplicity.data import kinds
from pytest_multiplicity.errors import RecipeError
from pytest_multiplicity.tasks import share_right
from pytest_multiplicity.training.batches import Feed
from pytest_multiplicity.training.losses import Criterion, takes_attributes
from pytest_multiplicity.training.recipe import Recipe
from pytest_multiplicity.training.seeds import (
    Seeds,
    derive,
    training_rows,
)


@dataclass(frozen=True)
class Job:
    """One candidate to train: who it is, what the store knows it by, and how."""

    id: str
    key: str
    recipe: Recipe
    seeds: Seeds

    @property
    def samples(self) -> int:
        """How many samples an epoch has."""
        return len(training_rows(len(self.recipe.data), self.seeds))

    @property
    def steps_per_epoch(self) -> int:
        """How many steps an epoch has, the partial one included."""
        return math.ceil(self.samples / self.recipe.batch_size)

    @property
    def steps(self) -> int:
        """How many steps the whole training has."""
        return self.recipe.epochs * self.steps_per_epoch


@dataclass(frozen=True)
class Trained:
    """What a training gave.

    `state` is the module's state dict (CPU tensors that share no memory); `history` has a row
    per epoch with "epoch" (from 1), mean training "loss" and "accuracy", and the last step's "lr";
    `way` says in which arithmetic.
    """

    state: dict[str, Tensor]
    history: list[dict[str, float]]
    way: str


@dataclass(frozen=True)
class Diverged:
    """A training that ended in nan or infinity; `str` of it is the whole sentence."""

    epoch: int
    reason: str

    def __str__(self) -> str:
        return f"diverged at epoch {self.epoch}: {self.reason}"


def criterion(recipe: Recipe) -> Criterion:
    """Return a recipe's loss, as training computes it."""
    assert recipe.loss is not None  # which `Recipe` has seen to
    return Criterion.of(recipe.loss, recipe.data.task, recipe.weight)


def fed(recipe: Recipe, feed: Feed) -> Feed:
    """Return the feed with the attributes that a recipe's loss asks for."""
    if takes_attributes(recipe.loss):
        return feed.asked(recipe.data.attribute_tensors.keys())
    return feed.asked(() if recipe.weight is None else (recipe.weight,))


def initial_module(recipe: Recipe, seeds: Seeds) -> nn.Module:
    """Build the module under the init seed; the global random states are left as they were.

    Raises:
        RecipeError: `recipe.model` returned something else than a module.
    """
    with preserved_rng():
        seed_everything(derive(seeds.init, "init"))
        module = recipe.model()
        if not isinstance(module, nn.Module):
            raise RecipeError(
                f"the recipe's model function returned {module!r}: return a torch.nn.Module"
            )
        if any(is_lazy(p) for p in (*module.parameters(), *module.buffers())):
            with torch.no_grad():
                kinds.call(module.eval(), recipe.data.take(torch.arange(1)))
        return own_weights(module).train()


def other_dtype(module: nn.Module) -> torch.dtype | None:
    """Return the dtype of the first parameter that isn't float32, as data are; None for none."""
    found = (p.dtype for p in module.parameters() if p.is_floating_point())
    return next((dtype for dtype in found if dtype is not torch.float32), None)


def check_loss(loss: object) -> None:
    """Check a custom loss' first value.

    Raises:
        RecipeError: not a scalar tensor with a gradient.
    """
    if not isinstance(loss, Tensor) or loss.ndim != 0 or not loss.requires_grad:
        shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise RecipeError(
            f"the loss gives {shape}: "
            "return a scalar tensor computed from the logits, the mean over the batch"
        )


def epoch_row(
    recipe: Recipe, epoch: int, losses: Tensor, predicted: Tensor, targets: Tensor, lr: float
) -> dict[str, float]:
    """Sum up an epoch (counted from 0): losses [steps], predictions and targets [n], last lr."""
    sizes = torch.full((len(losses),), recipe.batch_size, dtype=torch.float64)
    sizes[-1] = len(targets) - float(sizes[:-1].sum())
    task = recipe.data.task
    row = {"epoch": epoch + 1, "loss": float((losses.double() * sizes).sum() / sizes.sum())}
    if task.has_accuracy:
        row["accuracy"] = share_right(task, predicted, targets)
    return {**row, "lr": lr}


def divergence(epoch: int, losses: Tensor) -> Diverged | None:
    """Say that a training diverged when any of the epoch's losses [steps] is nan or infinite."""
    sick = losses[~torch.isfinite(losses)]
    if len(sick) == 0:
        return None
    return Diverged(epoch + 1, f"loss is {float(sick[0]):g}")


def infinite(state: dict[str, Tensor]) -> frozenset[str]:
    """Return the names of tensors that hold nan or infinity, as masks of attention do."""
    return frozenset(
        name
        for name, value in state.items()
        if isinstance(value, Tensor)
        and (value.is_floating_point() or value.is_complex())
        and not bool(torch.isfinite(value).all())
    )


def sick_weights(
    epoch: int, state: dict[str, Tensor], allowed: frozenset[str] = frozenset()
) -> Diverged | None:
    """Say that a training diverged when its last step left weights that are nan or infinite.

    Those that are `allowed` to were so before the first step.
    """
    sick = infinite(state) - allowed
    for name in state:
        if name in sick:
            return Diverged(epoch + 1, f"weights are not finite ({name})")
    return None


def autocast(recipe: Recipe, device: torch.device) -> torch.autocast:
    """Autocast a forward pass to bfloat16 where the recipe says so."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=recipe.precision == "bf16")
