"""No targets: nothing is right or wrong, and only agreement is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, NoReturn

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pytest_multiplicity.errors import MeasurementError, RecipeError
from pytest_multiplicity.statistics import Said
from pytest_multiplicity.tasks.classification import Classification
from pytest_multiplicity.tasks.plain import Plain
from pytest_multiplicity.tasks.regression import Regression
from pytest_multiplicity.tasks.task import Loss, Vote


@dataclass(frozen=True)
class Nothing(Plain):
    """Answers are compared with each other: logits `[n, C]`, labels or values `[n]`.

    Floats `[n]` are values where there is a `tolerance`, and the logit of two classes otherwise.
    See `Task`.
    """

    tolerance: float | None = None
    name: ClassVar = "none"
    has_targets: ClassVar = False
    answers: ClassVar = "logits [batch, classes], labels [batch], or values"
    losses: ClassVar[MappingProxyType[str, Loss]] = MappingProxyType({})

    def __post_init__(self) -> None:
        object.__setattr__(self, "tolerance", Regression(self.tolerance).tolerance)

    @property
    def has_accuracy(self) -> bool:  # type: ignore[override]
        """Never."""
        return False

    @property
    def judgement(self) -> tuple[Any, ...]:
        """The tolerance, where there is one."""
        return self._like.judgement

    @property
    def _like(self) -> Classification | Regression:
        """The task whose answers these are read as."""
        return Classification() if self.tolerance is None else Regression(self.tolerance)

    @property
    def no_prediction(self) -> int | float:  # type: ignore[override]
        """That of the task whose answers these are."""
        return self._like.no_prediction

    def check_targets(self, targets: Tensor, name: str) -> Tensor:
        """Return a zero for each sample, which nobody looks at."""
        return torch.zeros(len(targets), dtype=torch.int64)

    def describe(self, targets: Tensor) -> str:
        """Say that there are none."""
        return "no targets"

    def fit(self, answers: Tensor, samples: int) -> bool:
        """Return whether there is an answer for each sample."""
        return answers.ndim > 0 and len(answers) == samples

    def read_answers(self, answers: Tensor, targets: Tensor, name: str) -> Tensor:
        """Return logits or labels, or with a tolerance values."""
        if self.tolerance is None:
            return self._like.read_answers(answers, targets, name)
        return self._like.read_answers(answers, answers, name)

    def unknown(self, said: Tensor, targets: Tensor, like: Tensor) -> tuple[Tensor, int]:
        """Return the predictions of a class that `like` doesn't know, where these are classes."""
        known = targets if like.is_floating_point() else like
        return self._like.unknown(said, known, like)

    def doubts_about(
        self, given: Tensor, name: str, *, network: bool = False, targets: Tensor | None = None
    ) -> str | None:
        """Ask the task whose answers these are."""
        return self._like.doubts_about(given, name, network=network)

    def has_probabilities(self, answers: Tensor) -> bool:
        """Return whether these are logits."""
        return self._like.has_probabilities(answers)

    def probabilities(self, answers: Tensor) -> Tensor:
        """Return the softmax of logits."""
        return self._like.probabilities(answers)

    def predictions(self, answers: Tensor) -> Tensor:
        """Return the most likely class, labels and values as they are."""
        return self._like.predictions(answers)

    def right(self, predictions: Any, targets: Any) -> NoReturn:
        """Raise MeasurementError."""
        raise MeasurementError(
            "accuracy needs targets, and this data set has none: only agreement is measured, as "
            "by survivors.ambiguity(data) or candidate.consistency(data, under=...)"
        )

    def sureness(
        self, answers: npt.NDArray[np.floating], targets: npt.NDArray[Any]
    ) -> npt.NDArray[np.float64]:
        """Raise MeasurementError."""
        raise MeasurementError(
            "how sure a model is of its target needs targets, and this data set has none: give it "
            "some, as in Data(inputs, targets)"
        )

    def differ(self, some: Any, others: Any) -> Any:
        """Return where two predictions differ."""
        return self._like.differ(some, others)

    def said(
        self,
        predictions: npt.NDArray[Any],
        targets: npt.NDArray[Any] | None = None,
    ) -> Said:
        """Return what was said, as the task would whose answers these are."""
        return self._like.said(predictions)

    def magnitudes(
        self, answers: Tensor, targets: Tensor, label: Any = None
    ) -> tuple[Tensor, Tensor | None] | None:
        """Return values, or the probability of a `label`: no target says which is meant."""
        if label is None and self.tolerance is None:
            return None
        return self._like.magnitudes(answers, targets, label)

    @property
    def reading(self) -> str:
        """The tolerance, of values."""
        return "" if self.tolerance is None else Regression(self.tolerance).reading

    def channels(
        self, answers: Tensor, targets: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the probabilities of logits, and no targets."""
        return self.probabilities(answers), None, None

    def vote(self, members: Sequence[Tensor]) -> Vote:
        """Count votes, or take the mean of values."""
        return self._like.vote(members)

    def check_trainable(self, answers: object, batch: Tensor, targets: Tensor) -> None:
        """Raise RecipeError: there is nothing to learn."""
        raise RecipeError("a recipe's data needs targets, and these have none")

    def shown(self, prediction: Any) -> str:
        """Return a prediction as the task would whose answers these are."""
        return self._like.shown(prediction)

    def told(self, prediction: Any) -> Any:
        """Return a number."""
        return np.asarray(prediction).item() if np.size(prediction) == 1 else str(prediction)
