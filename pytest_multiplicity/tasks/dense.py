"""Dense labels: a class for every position of a sample, as masks and tagged tokens have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pytest_multiplicity.errors import DataError, MeasurementError, RecipeError
from pytest_multiplicity.statistics import Codes
from pytest_multiplicity.tasks.doubts import about_positions
from pytest_multiplicity.tasks.losses import by_position, of_positions
from pytest_multiplicity.tasks.plain import Plain, check_whole
from pytest_multiplicity.tasks.task import Loss, Vote

IGNORE = -100


@dataclass(frozen=True)
class Dense(Plain):
    """A prediction is the most likely class at every position, right position by position.

    Samples are independent, positions of one aren't: samples are clusters. Targets of `ignore`
    don't count. See `Task`.
    """

    ignore: int = IGNORE
    name: ClassVar = "dense"
    answers: ClassVar = "logits [batch, classes, ...], or labels of the targets' shape"
    kept_as: ClassVar = torch.int16
    definitions: ClassVar = MappingProxyType({"accuracy": "accuracy_of_positions"})

    @property
    def losses(self) -> Mapping[str, Loss]:
        """The cross-entropy of the positions that count."""
        return of_positions(self.ignore)

    @property
    def identity(self) -> tuple[object, ...]:
        """The name of the task, and what is ignored."""
        return (self.name, self.ignore)

    def check_targets(self, targets: Tensor, name: str) -> Tensor:
        """Return the targets as CPU int64 `[n, ...]` of class indices, some to be ignored."""
        whole = check_whole(targets, name, "dense labels")
        if whole.ndim < 2 or 0 in whole.shape:
            raise DataError(
                f"targets of {name!r} have shape {tuple(targets.shape)}: dense labels are a class "
                "for every position of a sample, [n, ...]"
            )
        counted = whole[whole != self.ignore]
        if len(counted) == 0:
            raise DataError(f"all targets of {name!r} are ignore={self.ignore}: nothing is left")
        if int(counted.min()) < 0:
            raise DataError(
                f"a target {int(counted.min())} of {name!r} is out of range: classes count from 0, "
                f"and what is to be ignored is {self.ignore}; say ignore={int(counted.min())} if "
                "that is"
            )
        return whole

    def describe(self, targets: Tensor) -> str:
        """Say how many classes there are, and at how many positions."""
        shape = " x ".join(map(str, targets.shape[1:]))
        return f"{self._top(targets) + 1} classes at {shape} positions"

    def _top(self, targets: Tensor) -> int:
        return int(targets[targets != self.ignore].max())

    def fit(self, answers: Tensor, samples: int) -> bool:
        """Return whether these are `[n, C, ...]`."""
        return answers.ndim >= 3 and len(answers) == samples

    def read_answers(self, answers: Tensor, targets: Tensor, name: str) -> Tensor:
        """Return logits `[n, C, ...]`, float32, or labels `[n, ...]`, int64."""
        positions = targets.shape[1:]
        if answers.shape[1:] == positions and not answers.is_floating_point():
            return answers.to(torch.int64)
        one = answers.ndim > 1 and answers.shape[1] == 1  # one logit: of the second of two classes
        if answers.shape[1:] == positions or (one and answers.shape[2:] == positions):
            z = answers.reshape(len(answers), *positions).float()
            return torch.stack([torch.zeros_like(z), z], dim=1)
        if answers.ndim < 3 or answers.shape[2:] != positions:
            wanted = ", ".join(map(str, positions))
            last = answers.ndim == targets.ndim + 1 and answers.shape[1:-1] == positions
            raise MeasurementError(
                f"a model returned a tensor of shape {tuple(answers.shape)} about {name!r}, whose "
                f"targets have shape {tuple(targets.shape)}: return logits [batch, classes, "
                f"{wanted}]{', as by .movedim(-1, 1)' if last else ''}"
            )
        return answers.float()

    def doubts_about(
        self, given: Tensor, name: str, *, network: bool = False, targets: Tensor | None = None
    ) -> str | None:
        """Say where shapes fit two readings; MeasurementError for probabilities."""
        told = super().doubts_about(given, name)
        return told if told or targets is None else about_positions(given, targets, name)

    def check_answers(self, answers: Tensor, targets: Tensor, name: str) -> None:
        """Raise DataError where there are labels that the model has no logit for."""
        top = self._top(targets)
        if answers.is_floating_point() and top >= answers.shape[-targets.ndim]:
            raise DataError(
                f"targets of {name!r} go up to {top}, but the model gives "
                f"{answers.shape[-targets.ndim]} logits for each position"
            )

    def of_probabilities(
        self, sure: Tensor, classes: Sequence[Any] | None, targets: Tensor, name: str
    ) -> Tensor:
        """Return the logarithm of the probabilities of classes at every position."""
        if bool(((sure < 0) | (sure > 1)).any()):
            raise MeasurementError(f"answers about {name!r} are no probabilities: not in [0, 1]")
        return sure.log()

    def check_trainable(self, answers: object, batch: Tensor, targets: Tensor) -> None:
        """Raise RecipeError for anything but logits of enough classes at every position."""
        if not (
            isinstance(answers, Tensor)
            and answers.ndim == batch.ndim + 1
            and answers.shape[2:] == batch.shape[1:]
            and len(answers) == len(batch)
        ):
            shape = tuple(answers.shape) if isinstance(answers, Tensor) else type(answers).__name__
            raise RecipeError(
                f"the model gives {shape} for a batch with targets {tuple(batch.shape)}: it must "
                f"give logits (batch, classes, {', '.join(map(str, batch.shape[1:]))})"
            )
        if answers.shape[1] <= self._top(targets):
            raise RecipeError(
                f"the model gives {answers.shape[1]} classes, but the data has a target "
                f"{self._top(targets)}"
            )

    def has_probabilities(self, answers: Tensor) -> bool:
        """Return whether these are logits."""
        return answers.is_floating_point()

    def predictions(self, answers: Tensor) -> Tensor:
        """Return the most likely class of logits `[n, C, ...]`, int64; labels as they are."""
        return answers.argmax(dim=1) if answers.is_floating_point() else answers

    def right(self, predictions: Any, targets: Any) -> Any:
        """Return which positions are right; ignored ones never are."""
        return (predictions == targets) & (targets != self.ignore)

    def by_sample(self, right: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return each sample's share of what is right of it, and how many positions count."""
        whole = targets != self.ignore
        counted = whole.flatten(1).sum(1)
        return (right * whole).flatten(2).sum(2) / counted.clamp_min(1), counted

    def differ(self, some: Any, others: Any) -> Any:
        """Return at which positions classes differ."""
        return some != others

    def said(
        self,
        predictions: npt.NDArray[Any],
        targets: npt.NDArray[Any] | None = None,
    ) -> Codes:
        """Return what was said of every position that counts."""
        count, samples = predictions.shape[:2]
        flat = predictions.reshape(count, -1)
        whose = np.repeat(np.arange(samples), flat.shape[1] // samples)
        if targets is not None:
            counted = targets.reshape(-1) != self.ignore
            flat, whose = flat[:, counted], whose[counted]
        return Codes(flat, whose, samples)

    @property
    def reading(self) -> str:
        """What is counted."""
        return "shares are of positions, and what is said of a sample is the mean over its own"

    def told(self, prediction: Any) -> Any:
        """Return how many positions have which class."""
        classes, counts = np.unique(np.asarray(prediction), return_counts=True)
        pairs = zip(classes.tolist(), counts.tolist(), strict=True)
        return ", ".join(f"{each} at {count}" for each, count in pairs if each != self.ignore)

    def shown(self, prediction: Any) -> str:
        """Return how many positions have which class."""
        return str(self.told(prediction))

    def probabilities(self, answers: Tensor) -> Tensor:
        """Return the softmax of logits over classes, `[n, C, ...]`."""
        if not self.has_probabilities(answers):
            raise MeasurementError(
                "probabilities need logits, and the candidates answer with labels: return logits"
            )
        return answers.softmax(dim=1)

    def channels(
        self, answers: Tensor, targets: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the probabilities of every position that counts; see `Task.channels`."""
        sure = self.probabilities(answers).movedim(1, -1)
        whose = torch.arange(len(sure)).repeat_interleave(sure[0].numel() // sure.shape[-1])
        flat = sure.reshape(-1, sure.shape[-1])
        if targets is None:
            return flat, None, whose
        counted = targets.reshape(-1) != self.ignore
        return flat[counted], targets.reshape(-1)[counted], whose[counted]

    def vote(self, members: Sequence[Tensor]) -> Vote:
        """Count votes position by position; the agreement of a sample is the mean over its own."""
        said = torch.stack([self.predictions(each) for each in members])
        if self.has_probabilities(members[0]):
            mean = torch.stack([self.probabilities(each) for each in members]).mean(dim=0)
            classes = mean.shape[1]
            likelier = mean / 2
        else:
            mean, likelier = None, 0.0  # type: ignore[assignment]
            classes = int(said.max()) + 1
        votes = torch.stack([(said == each).sum(dim=0) for each in range(classes)], dim=1)
        most = (votes + likelier).argmax(dim=1)
        agreement = (said == most).float().mean(dim=0).flatten(1).mean(dim=1)
        answers = most if mean is None else mean.clamp_min(torch.finfo(mean.dtype).tiny).log()
        return Vote(answers, most, agreement, mean)

    def sureness(
        self, answers: npt.NDArray[np.floating], targets: npt.NDArray[Any]
    ) -> npt.NDArray[np.float64]:
        """Return the negative cross-entropy of each sample, the mean over its positions."""
        truth = torch.as_tensor(targets)
        each, counted = by_position(torch.as_tensor(answers).double(), truth, self.ignore)
        mean = each.flatten(1).sum(1) / counted.flatten(1).sum(1).clamp_min(1)
        found: npt.NDArray[np.float64] = -mean.numpy()
        return found
