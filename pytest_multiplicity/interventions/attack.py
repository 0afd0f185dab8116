"""Accuracy under another library's attack."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pytest_multiplicity.design import call_with_targets
from pytest_multiplicity.errors import InterventionError
from pytest_multiplicity.interventions import checks
from pytest_multiplicity.interventions.base import Model, ModelIntervention
from pytest_multiplicity.interventions.naming import shown
from pytest_multiplicity.interventions.randomness import Stream, lent
from pytest_multiplicity.interventions.transforming import fitting

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data

TOLERANCE = 1e-4  # by which rounding may leave the bounds, as a share of their width


class Attack(ModelIntervention):
    """Inputs that another library's attack found: `Attack(make)`.

    Stands for security: accuracy under attack, as `PGD` does (Madry et al., arXiv 1706.06083). What
    counts is the prediction on the inputs that the attack returns.

        def square(model):                                   # torchattacks
            return torchattacks.Square(model, eps=8 / 255)

        def newton(model):                                   # ART
            estimator = PyTorchClassifier(
                model, nn.CrossEntropyLoss(), (3, 32, 32), 10, clip_values=(0, 1))
            return art.attacks.evasion.NewtonFool(estimator)

        def deepfool(model):                                 # foolbox
            target = foolbox.PyTorchModel(model, bounds=(0, 1))
            attack = foolbox.attacks.LinfDeepFoolAttack()
            return lambda inputs, labels: attack(target, inputs, labels, epsilons=8 / 255)

    The global generators are seeded before each batch, the same for every candidate, and left as
    they were. Samples of a batch share them: a group under a random attack draws other numbers
    than the whole does.

    Args:
        make: from a module in eval mode to an attack: an object with `generate(x=, y=)` on arrays,
            as ART's; or a function of (inputs, labels) that returns the changed inputs, as
            torchattacks', or a triple (raw, clipped, success), as foolbox's.
        name: how reports call it, instead of the function's name.

    Raises:
        InterventionError: `make` is no function; or, when measured, the result has another shape,
            isn't finite, or leaves the data's bounds.
    """

    def __init__(self, make: Callable[[nn.Module], Any], *, name: str | None = None) -> None:
        if not callable(make):
            raise InterventionError(
                f"Attack({shown(make)}): give a function from a model to an attack, as in "
                "Attack(lambda model: torchattacks.FGSM(model, eps=0.01))"
            )
        self.make = make
        self.name = name

    def _arguments(self) -> tuple[list[Any], dict[str, Any]]:
        return [self.make if self.name is None else _Name(self.name)], {}

    def check(self, data: Data) -> None:
        """Raise an InterventionError where inputs of `data` are no floats."""
        checks.acts_on_gradients(self, data)

    def perturb(
        self, model: Model, inputs: Tensor, targets: Tensor, rows: Tensor, data: Data
    ) -> Tensor:
        """Return what the attack makes of the inputs; see `ModelIntervention.perturb`."""
        module = model if isinstance(model, nn.Module) else _Module(model).eval()
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            lent(inputs.device) as numbers,
        ):
            numbers.seed(Stream(f"Attack {self!r}").seed(int(rows[0])))
            result = _run(self.make(module), inputs.detach().clone(), targets.clone())
        module.eval()  # which some attacks undo
        return _bounded(fitting(result, inputs, repr(self)), data, repr(self))


class _Module(nn.Module):
    """A function as the module that other libraries ask for."""

    def __init__(self, function: Model) -> None:
        super().__init__()
        self._function = function

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the function's logits."""
        return self._function(inputs)


class _Name(str):
    """Text that is shown as it is."""

    __repr__ = str.__str__


def _run(attack: Any, inputs: Tensor, labels: Tensor) -> Any:
    if hasattr(attack, "generate"):
        result = attack.generate(x=inputs.cpu().numpy(), y=labels.cpu().numpy())
        return torch.from_numpy(result)
    if not callable(attack):
        raise InterventionError(
            f"Attack(make): make returned {shown(attack)}: return an object with generate(x=, y=), "
            "or a function of (inputs, labels)"
        )
    result = call_with_targets(attack, inputs, labels)
    return result[1] if isinstance(result, tuple | list) and len(result) == 3 else result


def _bounded(result: Tensor, data: Data, name: str) -> Tensor:
    if data.bounds is None:
        return result
    low, high = data.bounds
    slack = TOLERANCE * (high - low)
    if result.min() < low - slack or result.max() > high + slack:
        raise InterventionError(
            f"{name} left the bounds ({low:g}, {high:g}) of {data.name!r}: tell the attack of them "
            "(bounds= or clip_values=), or state the bounds that the data has"
        )
    return result.clamp(low, high)
