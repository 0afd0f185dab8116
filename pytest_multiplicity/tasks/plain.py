"""What tasks share that have no classes by name, or one unit for each sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NoReturn

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pytest_multiplicity.errors import DataError, MeasurementError, RecipeError
from pytest_multiplicity.statistics import DEFINITIONS, Said
from pytest_multiplicity.tasks.turning import Turning


class Plain:
    """The usual answers of a task to what is asked of it: see `Task`."""

    name: ClassVar[str]
    answers: ClassVar[str]
    names: ClassVar[tuple[Any, ...] | None] = None
    kept_as: ClassVar[torch.dtype | None] = None
    no_prediction: ClassVar[int | float] = -1
    has_accuracy: bool = True
    has_targets: ClassVar[bool] = True
    chooses: ClassVar[bool] = False
    definitions: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @property
    def identity(self) -> tuple[object, ...]:
        """The name of the task."""
        return (self.name,)

    @property
    def compares(self) -> bool:
        """True: equal or not."""
        return True

    @property
    def turning(self) -> Turning | None:
        """None: outputs mean nothing by themselves."""
        return None

    @property
    def judgement(self) -> tuple[Any, ...]:
        """Nothing."""
        return ()

    def judged(self, tolerance: float, name: str) -> Any:
        """Raise DataError."""
        refuse_tolerance(tolerance, self.name, name)

    def doubts_about(
        self, given: Tensor, name: str, *, network: bool = False, targets: Tensor | None = None
    ) -> str | None:
        """Say where answers are the same for every sample."""
        if len(given) > 1 and bool((given == given[:1]).all()):
            return f"answers about {name!r} are the same for every sample"
        return None

    def columns(
        self, answers: Tensor, classes: Sequence[Any], targets: Tensor, name: str
    ) -> Tensor:
        """Return the columns as they are: only classes are matched by name."""
        return answers

    def of_probabilities(
        self, sure: Tensor, classes: Sequence[Any] | None, targets: Tensor, name: str
    ) -> Tensor:
        """Raise MeasurementError."""
        self._no_logits("probabilities")

    def unknown(self, said: Tensor, targets: Tensor, like: Tensor) -> tuple[Tensor, int]:
        """Return none."""
        return torch.zeros(len(said), dtype=torch.bool), -1

    def codes(self, labels: Any, name: str) -> Tensor:
        """Raise MeasurementError: there are no names."""
        raise MeasurementError(
            f"a model answered with text about {name!r}, whose task is {self.name}: return "
            f"{self.answers}"
        )

    def has_probabilities(self, answers: Tensor) -> bool:
        """Return False."""
        return False

    def has_logits(self, answers: Tensor) -> bool:
        """Return False."""
        return False

    def probabilities(self, answers: Tensor) -> Tensor:
        """Raise MeasurementError."""
        self._no_logits("probabilities")

    def channels(
        self, answers: Tensor, targets: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Raise MeasurementError."""
        self._no_logits("capacity, viable ranges of probabilities and their variance")

    def magnitudes(
        self, answers: Tensor, targets: Tensor, label: Any = None
    ) -> tuple[Tensor, Tensor | None] | None:
        """Return the probability of each unit's target, or of a class."""
        sure, wanted, whose = self.channels(answers, targets)
        assert wanted is not None  # as targets were given
        return of_class(sure, wanted, label), whose

    def parts(self, predictions: npt.NDArray[Any]) -> Mapping[Any, Said]:
        """Return nothing."""
        return {}

    def ballots(self, predictions: npt.NDArray[Any]) -> npt.NDArray[np.integer] | None:
        """Return integer predictions, unit by unit."""
        whole = np.issubdtype(predictions.dtype, np.integer)
        return predictions.reshape(len(predictions), -1) if whole else None

    @property
    def reading(self) -> str:
        """When two predictions differ, in words; "" where there is nothing to say."""
        return ""

    def defines(self, name: str) -> str:
        """Return the task's own definition, or the usual one with when two predictions differ."""
        if name in self.definitions:
            return DEFINITIONS[self.definitions[name]]
        return "; here, ".join([DEFINITIONS[name], *filter(None, [self.reading])])

    def _no_logits(self, what: str) -> NoReturn:
        raise MeasurementError(f"{what} need logits of classes, which {self.name} doesn't have")

    def predictions(self, answers: Tensor) -> Tensor:
        """Return the answers: they are what is predicted."""
        return answers

    def predictions_in_training(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return what answers predict in the shape of the targets."""
        return self.predictions(answers).reshape(targets.shape)

    def by_sample(self, right: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what is right as it is: a sample is one unit."""
        return right, None

    def check_answers(self, answers: Tensor, targets: Tensor, name: str) -> None:
        """Take them: they were read."""

    def sureness(
        self, answers: npt.NDArray[np.floating], targets: npt.NDArray[Any]
    ) -> npt.NDArray[np.float64]:
        """Raise MeasurementError: there is nothing to be sure of."""
        raise MeasurementError(f"{self.name} has no measure of how sure a model is of a target")

    def shown(self, prediction: Any) -> str:
        """Return the numbers of a prediction."""
        return brief(prediction)

    def told(self, prediction: Any) -> Any:
        """Return a number as it is, several as text."""
        value = np.asarray(prediction)
        return value.item() if value.size == 1 else brief(value)


def refuse_tolerance(tolerance: object, task: str, name: str) -> NoReturn:
    """Raise DataError: a prediction of this task is right or not, whatever the distance."""
    raise DataError(
        f"tolerance={tolerance!r} is for values, and the task of {name!r} is {task}: leave it out, "
        "or say task='regression'"
    )


def of_class(sure: Tensor, targets: Tensor, label: Any = None) -> Tensor:
    """Return the probabilities `[units]` of the targets, or of the class at an index."""
    if label is None:
        return sure.gather(1, targets[:, None])[:, 0]
    if not isinstance(label, int | np.integer) or not 0 <= label < sure.shape[1]:
        raise MeasurementError(
            f"label={label!r}: give one of the {sure.shape[1]} classes, by name where they have "
            "names, else by index"
        )
    return sure[:, label]


MOST_SHOWN = 12


def brief(prediction: Any) -> str:
    """Return numbers as text: a value, or a list of the first."""
    values = np.asarray(prediction)
    flat = [f"{value:.6g}" for value in values.ravel()[:MOST_SHOWN].tolist()]
    if values.size == 1:
        return flat[0]
    return f"[{', '.join(flat)}{', ...' if values.size > MOST_SHOWN else ''}]"


def check_finite(targets: Tensor, name: str) -> None:
    """Raise DataError where targets are nan or infinite."""
    if targets.is_complex():
        raise DataError(f"targets of {name!r} are complex ({targets.dtype}): give real numbers")
    if targets.is_floating_point() and not bool(targets.isfinite().all()):
        sick = ~targets.isfinite().reshape(len(targets), -1).all(1)
        row = int(sick.nonzero()[0])
        raise DataError(
            f"targets of {name!r} are nan or infinite for {int(sick.sum())} of {len(targets)} "
            f"samples (the first is sample {row}): drop or impute them first"
        )


def check_whole(targets: Tensor, name: str, kind: str) -> Tensor:
    """Return targets that are whole numbers, or bools, as CPU int64; DataError for others."""
    check_finite(targets, name)
    if targets.is_floating_point() and not bool((targets == targets.round()).all()):
        raise DataError(f"targets of {name!r} are {targets.dtype}: {kind} are ints")
    return targets.to("cpu", torch.int64)


def check_shape(answers: object, wanted: tuple[int, ...], what: str) -> Tensor:
    """Return a model's answers for a batch in a shape; RecipeError for another number of them."""
    if not isinstance(answers, Tensor) or answers.numel() != np.prod(wanted, dtype=int):
        shape = tuple(answers.shape) if isinstance(answers, Tensor) else type(answers).__name__
        raise RecipeError(
            f"the model gives {shape} for a batch of {wanted[0]} samples: it must give {what} of "
            f"shape {wanted}"
        )
    if len(answers) != wanted[0]:
        raise RecipeError(f"the model gives {tuple(answers.shape)}, and must give {wanted}")
    return answers.reshape(wanted)
