"""Values: answers and targets are numbers, `[n]` or `[n, k]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pytest_multiplicity.errors import DataError, MeasurementError
from pytest_multiplicity.statistics import Values
from pytest_multiplicity.tasks import losses
from pytest_multiplicity.tasks.plain import Plain, check_finite, check_shape
from pytest_multiplicity.tasks.task import Vote
from pytest_multiplicity.tasks.turning import TurnValues


@dataclass(frozen=True)
class Regression(Plain):
    """A prediction is a value, right where all its numbers are within `tolerance` of the target.

    Without a tolerance nothing is right or wrong, and nobody agrees or disagrees. See `Task`.
    """

    tolerance: float | None = None
    name: ClassVar = "regression"
    answers: ClassVar = "values [batch] or [batch, k], as the targets are"
    no_prediction: ClassVar = float("nan")
    definitions: ClassVar = MappingProxyType(
        {
            "accuracy": "accuracy_of_values",
            "viable_prediction_range": "viable_value_range",
            "score_variance": "value_variance",
        }
    )
    losses: ClassVar = losses.OF_VALUES

    def __post_init__(self) -> None:
        if self.tolerance is not None:
            object.__setattr__(self, "tolerance", _check_tolerance(self.tolerance))

    @property
    def has_accuracy(self) -> bool:  # type: ignore[override]
        """Whether there is a tolerance."""
        return self.tolerance is not None

    @property
    def compares(self) -> bool:
        """Whether there is a tolerance."""
        return self.tolerance is not None

    @property
    def turning(self) -> TurnValues | None:
        """Values move beyond the tolerance; None without one."""
        return None if self.tolerance is None else TurnValues(self.tolerance)

    @property
    def judgement(self) -> tuple[Any, ...]:
        """The tolerance, where there is one."""
        return () if self.tolerance is None else (self.tolerance,)

    def judged(self, tolerance: float, name: str) -> Regression:
        """Return the task with another tolerance."""
        return replace(self, tolerance=tolerance)

    def check_targets(self, targets: Tensor, name: str) -> Tensor:
        """Return the targets as a CPU tensor of floats `[n]` or `[n, k]`."""
        check_finite(targets, name)
        if targets.ndim not in (1, 2) or 0 in targets.shape[1:]:
            raise DataError(
                f"targets of {name!r} have shape {tuple(targets.shape)}: a regression's are a "
                "value for each sample, [n], or several, [n, k]"
            )
        wide = targets.dtype in (torch.float32, torch.float64)
        return targets.to("cpu", targets.dtype if wide else torch.float32)

    def describe(self, targets: Tensor) -> str:
        """Say what values range between."""
        several = f"{targets.shape[1]} " if targets.ndim == 2 else ""
        return f"{several}values from {float(targets.min()):.6g} to {float(targets.max()):.6g}"

    def fit(self, answers: Tensor, samples: int) -> bool:
        """Return whether these are values `[n]` or `[n, k]`."""
        return answers.ndim in (1, 2) and len(answers) == samples

    def read_answers(self, answers: Tensor, targets: Tensor, name: str) -> Tensor:
        """Return values in the shape of the targets and in their own dtype."""
        one = answers.ndim <= 2 and answers.numel() == len(answers) and targets[:1].numel() == 1
        if not one and answers.shape[1:] != targets.shape[1:]:
            wanted = ("batch", *targets.shape[1:])
            raise MeasurementError(
                f"a model returned a tensor of shape {tuple(answers.shape)} about {name!r}, whose "
                f"targets have shape {tuple(targets.shape)}: return values "
                f"[{', '.join(map(str, wanted))}]"
            )
        if answers.is_complex():
            raise MeasurementError(f"a model returned complex values about {name!r}")
        values = answers if answers.is_floating_point() else answers.double()
        return values.reshape(len(answers), *targets.shape[1:])

    def check_answers(self, answers: Tensor, targets: Tensor, name: str) -> None:
        """Raise DataError where values are nan: nobody can say how far apart they are."""
        sick = ~answers.isfinite()
        if bool(sick.any()):
            count = int(sick.reshape(len(sick), -1).any(1).sum())
            raise DataError(
                f"a model answered nan or infinity for {count} of {len(sick)} samples of {name!r}"
            )

    def check_trainable(self, answers: object, batch: Tensor, targets: Tensor) -> None:
        """Raise RecipeError where values have another shape than the targets."""
        check_shape(answers, tuple(batch.shape), "values")

    def right(self, predictions: Any, targets: Any) -> Any:
        """Return which values are all within the tolerance of the target, inclusive."""
        several = targets.ndim == 2
        near = abs(predictions - targets) <= self._need_tolerance("accuracy")
        return near.all(-1) if several else near

    def differ(self, some: Any, others: Any) -> Any:
        """Return which samples have a value that differs by more than the tolerance."""
        apart = abs(some - others) > self._need_tolerance("disagreement")
        return apart.any(-1) if apart.ndim == 2 else apart

    def said(
        self,
        predictions: npt.NDArray[Any],
        targets: npt.NDArray[Any] | None = None,
    ) -> Values:
        """Return the values, to be compared by the tolerance."""
        values = predictions.reshape(*predictions.shape[:2], -1)
        return Values(values, self._need_tolerance("disagreement"))

    def magnitudes(
        self, answers: Tensor, targets: Tensor, label: Any = None
    ) -> tuple[Tensor, Tensor | None] | None:
        """Return the values; `label` chooses one of several."""
        if label is not None:
            several = answers.reshape(len(answers), -1)
            if not isinstance(label, int | np.integer) or not 0 <= label < several.shape[1]:
                raise MeasurementError(
                    f"label={label!r}: give which of the {several.shape[1]} values is meant, from 0"
                )
            return several[:, label], None
        if answers.ndim == 1:
            return answers, None
        return answers.reshape(-1), torch.arange(len(answers)).repeat_interleave(answers.shape[1])

    @property
    def reading(self) -> str:
        """The tolerance."""
        if self.tolerance is None:
            return ""
        return f"values differ that are more than {self.tolerance:g} apart"

    def _need_tolerance(self, what: str) -> float:
        if self.tolerance is None:
            raise MeasurementError(
                f"{what} of values needs a tolerance: say pm.Data(..., tolerance=...), or "
                "accuracy(data, tolerance=...); candidate.measure('mae', data) needs none"
            )
        return self.tolerance

    def vote(self, members: Sequence[Tensor]) -> Vote:
        """Return the mean of the values, and the share of members within the tolerance of it."""
        stacked = torch.stack(list(members))
        mean = stacked.mean(dim=0)
        agreement = torch.ones(len(mean))
        if self.tolerance is not None:
            apart = (stacked - mean).abs() > self.tolerance
            agreement = 1 - apart.reshape(*apart.shape[:2], -1).any(-1).float().mean(dim=0)
        return Vote(mean, mean, agreement)

    def sureness(
        self, answers: npt.NDArray[np.floating], targets: npt.NDArray[Any]
    ) -> npt.NDArray[np.float64]:
        """Return the negative squared error of each sample."""
        errors = (answers.astype(np.float64) - targets) ** 2
        found: npt.NDArray[np.float64] = -errors.reshape(len(errors), -1).mean(axis=1)
        return found


def _check_tolerance(tolerance: Any) -> float:
    try:
        value = float(tolerance)
    except (TypeError, ValueError):
        value = float("nan")
    if isinstance(tolerance, bool) or not 0 <= value < float("inf"):
        raise DataError(
            f"tolerance={tolerance!r}: give the distance, in the unit of the targets, up to which "
            "a value is right; 0 or more"
        )
    return value
