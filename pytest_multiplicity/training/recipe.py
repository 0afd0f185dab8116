"""What a user writes to have a model trained, checked where it is written."""

from __future__ import annotations

import functools
import inspect
import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import steps_at_once
from pytest_multiplicity.design import second_argument
from pytest_multiplicity.errors import RecipeError
from pytest_multiplicity.training.losses import check_loss_of, takes_attributes

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data

Loss = Callable[..., Tensor]
Augmentation = Callable[[Tensor], Tensor]
OptimizerFactory = Callable[[Iterable[nn.Parameter], float], torch.optim.Optimizer]

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("cosine", "constant")
AUGMENTATIONS = ("rand", "trivial")
PRECISIONS = ("float32", "tf32", "bf16")


@dataclass(frozen=True)
class Recipe:
    """How to train one candidate.

    Args:
        model: a function without arguments that builds the module; it may draw from the global
            generators of torch, numpy and random: they are seeded for it and put back afterwards.
        data: what to train on.
        epochs: passes over the data.
        batch_size: samples a step; the last, partial batch of an epoch is trained on too.
        optimizer: `"sgd"`, `"adam"`, `"adamw"` or a factory `(params, lr) -> Optimizer`,
            which then ignores `momentum` and `weight_decay`.
        lr: the learning rate before the schedule.
        momentum: of SGD; of Adam and AdamW the first beta (the second is 0.999).
        weight_decay: added to the gradient by SGD and Adam, decoupled in AdamW.
        schedule: `"cosine"` (per step, to 0), `"constant"`, or a callable that gives the factor
            on `lr` at a step (from 0): `factor(step)` or `factor(step, steps)`. A second parameter
            with a default is the user's, unless it is named `steps`.
        loss: `"cross_entropy"`, `"binary_cross_entropy"`, `"mse"`, `"huber"` where the data's task
            has them, the first by default; or a callable `(logits [b, C], targets [b]) -> scalar`.
            Its third parameter, where it requires one, gets the attributes of the batch: a dict of
            tensors [b], floats for numbers, codes for texts (see `Data.attribute_tensors`).
        augment: a torchvision v2 transform (or another callable), drawn anew for every sample, or
            `"rand"` (RandAugment) or `"trivial"` (TrivialAugmentWide) for images in [0, 1].
        precision: `"float32"`; `"tf32"`, which is float32 where a device has no TF32;
            `"bf16"`: autocast, with weights and optimizer in float32.
        weight: an attribute, 0 or more, that weighs samples: the loss of a batch is the mean
            weighted by it. A callable `loss` returns that of each sample then, [b].

    Raises:
        RecipeError: a value that can't be trained with.
    """

    model: Callable[[], nn.Module]
    data: Data
    _: KW_ONLY
    epochs: int
    batch_size: int = 128
    optimizer: str | OptimizerFactory = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str | Callable[..., float] = "cosine"
    loss: str | Loss | None = None
    augment: str | Augmentation | None = None
    precision: str = "float32"
    weight: str | None = None

    def __post_init__(self) -> None:
        _check_model(self.model)
        _check_data(self.data)
        for name in ("epochs", "batch_size"):
            object.__setattr__(self, name, _count(name, getattr(self, name)))
        for name, top in (("lr", math.inf), ("momentum", 1.0), ("weight_decay", math.inf)):
            object.__setattr__(self, name, _number(name, getattr(self, name), top))
        _check_choice(
            "optimizer", self.optimizer, OPTIMIZERS, "a factory (params, lr) -> Optimizer"
        )
        _check_choice("schedule", self.schedule, SCHEDULES, "a callable step -> factor on lr")
        losses = tuple(self.data.task.losses)
        if self.loss is None:
            _check_losses(losses, self.data)
            object.__setattr__(self, "loss", losses[0])
        _check_choice("loss", self.loss, losses, "a callable (logits, targets) -> scalar")
        _check_choice("precision", self.precision, PRECISIONS, None)
        if self.augment is not None:
            _check_choice("augment", self.augment, AUGMENTATIONS, "a torchvision v2 transform")
            _check_tensors(self.augment, self.data)
        if isinstance(self.augment, str):
            _check_images(self.augment, self.data)
        for name in ("schedule", "loss", "augment"):
            _check_instance(name, getattr(self, name))
        check_loss_of(self.data, self.loss, self.weight)


def _check_model(model: object) -> None:
    if isinstance(model, nn.Module):
        raise RecipeError(
            f"model is a module ({type(model).__name__}), which all candidates would share: "
            "give a function that builds a new one, such as model=lambda: Net()"
        )
    if not callable(model):
        raise RecipeError(f"model is {model!r}: give a function that builds a module")


def _check_data(data: Any) -> None:
    # Not at the top: worker processes train without it, and would start twice as slowly with it.
    from pytest_multiplicity.data import Data, kinds

    if not isinstance(data, Data):
        raise RecipeError(
            f"data is a {type(data).__name__}: give a pm.Data, made from tensors or a data set"
        )
    if len(data) == 0:
        raise RecipeError("data has no samples to train on")
    if data.kind in (kinds.FRAME, kinds.LIST):
        raise RecipeError(
            f"inputs of {data.name!r} are {kinds.NAMES[data.kind]}, and a recipe trains a module, "
            "on tensors: train with code of your own, whose model takes them as they are, in a "
            "family with keep=True, or give the data tensors, a dict or a tuple of them (columns "
            "by frame.to_numpy(dtype='float32'), texts by their tokenizer)"
        )


def _check_losses(losses: tuple[str, ...], data: Data) -> None:
    if not losses:
        raise RecipeError(
            f"the task of {data.name!r}, {data.task.name}, has no loss of its own: give the data "
            "targets, or the recipe a loss, a callable (outputs, targets) -> scalar"
        )


def _count(name: str, value: object) -> int:
    try:
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        count = 0
    if isinstance(value, bool) or count < 1:
        raise RecipeError(f"{name} is {value!r}: give a whole number, 1 or more")
    return count


def _number(name: str, value: Any, top: float) -> float:
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < math.inf or (number >= top):
        limit = "" if top == math.inf else f" and below {top:g}"
        raise RecipeError(f"{name} is {value!r}: give a finite number, 0 or more{limit}")
    return number


def _check_choice(name: str, value: object, choices: tuple[str, ...], other: str | None) -> None:
    if value in choices if isinstance(value, str) else other is not None and callable(value):
        return
    names = ", ".join(map(repr, choices))
    shown = " ".join(repr(value).split())
    raise RecipeError(f"{name} is {shown}: give {names}" + (f" or {other}" if other else ""))


def _check_instance(name: str, value: object) -> None:
    made = value.func if isinstance(value, functools.partial) else value
    if isinstance(made, type):
        remedy = f"give an object of it, as in {name}={made.__name__}(...)"
        if name == "schedule":
            remedy = "give a function from a step to a factor on lr, as LambdaLR takes"
        raise RecipeError(
            f"{name} is the class {made.__name__}, which would be made anew each time: {remedy}"
        )


def _check_tensors(augment: object, data: Data) -> None:
    if not data.shape:
        raise RecipeError(
            f"augment={augment!r} transforms a tensor, and inputs of {data.name!r} are of kind "
            f"{data.kind!r}: transform them in the module's forward pass, where self.training is "
            "true"
        )


def _check_images(augment: str, data: Data) -> None:
    shape = tuple(data.shape)
    if data.bounds != (0.0, 1.0) or len(shape) != 3 or shape[0] not in (1, 3):
        raise RecipeError(
            f"augment={augment!r} is for images of 1 or 3 channels in [0, 1], and the data has "
            f"shape {shape} and bounds {data.bounds}: give your own transform instead"
        )


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """Return all that a training depends on but its model, by which the store knows it."""
    settings = {each.name: getattr(recipe, each.name) for each in fields(recipe)}
    del settings["model"]
    if recipe.weight is None:
        del settings["weight"]
    if takes_attributes(recipe.loss):
        settings["categories"] = repr(recipe.data.categories)  # what codes mean
    return settings


def build_optimizer(recipe: Recipe, module: nn.Module) -> torch.optim.Optimizer:
    """Build the recipe's optimizer over the parameters that want a gradient."""
    params = [p for p in module.parameters() if p.requires_grad]
    if not params:
        raise RecipeError(
            f"the model {type(module).__name__} has no parameters to train: give it some"
        )
    device = params[0].device
    fused = steps_at_once(module, device) or None  # else torch chooses
    # on the device a rate can be set while the host is ahead, and a step be recorded
    lr: Any = torch.tensor(recipe.lr, dtype=torch.float32, device=device) if fused else recipe.lr
    own: dict[str, Any]
    match recipe.optimizer:
        case "sgd":
            own = {"momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
            return torch.optim.SGD(params, lr=lr, fused=fused, **own)
        case "adam" | "adamw" as kind:
            adam = torch.optim.Adam if kind == "adam" else torch.optim.AdamW
            own = {"betas": (recipe.momentum, 0.999), "weight_decay": recipe.weight_decay}
            return adam(params, lr=lr, fused=fused, capturable=bool(fused), **own)
        case factory:
            return _custom_optimizer(factory, params, recipe.lr)


def _custom_optimizer(factory: Any, params: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    second = second_argument(factory, lr, "lr")
    if second is None:
        raise RecipeError(
            f"the optimizer factory {factory!r} doesn't take lr: write lambda params, lr: ..., or "
            "call its second parameter lr (one with a default is filled by that name only)"
        )
    optimizer = factory(params, *second[0], **second[1])
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise RecipeError(f"the optimizer factory returned {optimizer!r}: return a torch Optimizer")
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise RecipeError(
            f"{type(optimizer).__name__} calls the loss several times a step, which recipes can't: "
            "give another optimizer, or train in your function and return the module"
        )
    return optimizer


def lr_factor(recipe: Recipe, step: int, steps: int) -> float:
    """Return the factor on the learning rate at a step (from 0) of `steps`."""
    match recipe.schedule:
        case "constant":
            return 1.0
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * step / steps))
        case schedule:
            return _custom_factor(schedule, step, steps)


def _custom_factor(schedule: Any, step: int, steps: int) -> float:
    second = second_argument(schedule, steps, "steps", unsigned=False)
    factor = schedule(step) if second is None else schedule(step, *second[0], **second[1])
    try:
        return float(factor)
    except (TypeError, ValueError):
        raise RecipeError(
            f"the schedule returned {factor!r} at step {step}: return the factor on lr, a number"
        ) from None
