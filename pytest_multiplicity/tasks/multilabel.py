"""Several labels: answers and targets are one yes or no for each of k labels, `[n, k]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pytest_multiplicity.errors import DataError, MeasurementError
from pytest_multiplicity.statistics import Codes, Said, within_samples
from pytest_multiplicity.tasks import losses
from pytest_multiplicity.tasks.plain import Plain, check_shape, check_whole, of_class
from pytest_multiplicity.tasks.task import Vote
from pytest_multiplicity.tasks.turning import TurnLabels


@dataclass(frozen=True)
class Multilabel(Plain):
    """A prediction is which labels a sample has, right where all are. See `Task`.

    `names` are those of the labels, where the targets were a frame.
    """

    names: tuple[Any, ...] | None = None  # type: ignore[misc]
    name: ClassVar = "multilabel"
    answers: ClassVar = "logits [batch, labels], or labels of 0 and 1 of that shape"
    kept_as: ClassVar = torch.int8
    definitions: ClassVar = MappingProxyType({"accuracy": "accuracy_of_labels"})
    losses: ClassVar = losses.OF_LABELS

    @property
    def turning(self) -> TurnLabels:
        """Labels turn one by one."""
        return TurnLabels()

    def check_targets(self, targets: Tensor, name: str) -> Tensor:
        """Return the targets as CPU int64 `[n, k]` of 0 and 1."""
        whole = check_whole(targets, name, "several labels")
        if whole.ndim != 2 or whole.shape[1] == 0:
            raise DataError(
                f"targets of {name!r} have shape {tuple(targets.shape)}: several labels are a row "
                "of 0 and 1 for each sample, [n, labels]"
            )
        if not bool(((whole == 0) | (whole == 1)).all()):
            raise DataError(
                f"targets of {name!r} go from {int(whole.min())} to {int(whole.max())}: several "
                "labels are 0 or 1 each"
            )
        return whole

    def describe(self, targets: Tensor) -> str:
        """Say how many labels there are."""
        return f"{targets.shape[1]} labels"

    def fit(self, answers: Tensor, samples: int) -> bool:
        """Return whether these are `[n, k]`."""
        return answers.ndim == 2 and len(answers) == samples

    def read_answers(self, answers: Tensor, targets: Tensor, name: str) -> Tensor:
        """Return logits `[n, k]`, float32, or labels, int64."""
        if answers.shape[1:] != targets.shape[1:]:
            raise MeasurementError(
                f"a model returned a tensor of shape {tuple(answers.shape)} about {name!r}, whose "
                f"targets have shape {tuple(targets.shape)}: return a logit for each label"
            )
        if answers.is_floating_point():
            return answers.float()
        labels = answers.to(torch.int64)
        if not bool(((labels == 0) | (labels == 1)).all()):
            raise MeasurementError(
                f"a model returned labels from {int(labels.min())} to {int(labels.max())} about "
                f"{name!r}: labels are 0 or 1, and logits floats"
            )
        return labels

    def doubts_about(
        self, given: Tensor, name: str, *, network: bool = False, targets: Tensor | None = None
    ) -> str | None:
        """Say what looks odd; MeasurementError for a function's probabilities."""
        told = super().doubts_about(given, name)
        if told or not given.is_floating_point() or given.numel() == 0:
            return told
        if given.min() < 0 or given.max() > 1:
            return None
        if network or bool(((given == 0) | (given == 1)).all()):
            return (
                f"answers about {name!r} are all in [0, 1]: they are taken for logits, of which "
                "those above 0 mean yes; labels had better be ints, and probabilities logits"
            )
        raise MeasurementError(
            f"answers about {name!r} are probabilities: all lie in [0, 1]. Taken for logits they "
            "would all mean yes: return torch.logit(p), or logits from before the last sigmoid"
        )

    def of_probabilities(
        self, sure: Tensor, classes: Sequence[Any] | None, targets: Tensor, name: str
    ) -> Tensor:
        """Return the probability of each label as its logit."""
        if bool(((sure < 0) | (sure > 1)).any()):
            raise MeasurementError(f"answers about {name!r} are no probabilities: not in [0, 1]")
        return torch.logit(sure)

    def check_trainable(self, answers: object, batch: Tensor, targets: Tensor) -> None:
        """Raise RecipeError for anything but a logit for each label."""
        check_shape(answers, tuple(batch.shape), "logits")

    def has_probabilities(self, answers: Tensor) -> bool:
        """Return whether these are logits."""
        return answers.is_floating_point()

    def predictions(self, answers: Tensor) -> Tensor:
        """Return which logits are above 0, int64; labels as they are."""
        return (answers > 0).long() if answers.is_floating_point() else answers

    def right(self, predictions: Any, targets: Any) -> Any:
        """Return where all labels are right."""
        return (predictions == targets).all(-1)

    def differ(self, some: Any, others: Any) -> Any:
        """Return where any label differs."""
        return (some != others).any(-1)

    def said(
        self,
        predictions: npt.NDArray[Any],
        targets: npt.NDArray[Any] | None = None,
    ) -> Codes:
        """Return samples' labels together."""
        count, samples, _ = predictions.shape
        packed = np.ascontiguousarray(np.packbits(predictions.astype(bool), axis=-1))
        rows = packed.reshape(-1, packed.shape[-1])
        _, codes = np.unique(rows, axis=0, return_inverse=True)
        return Codes(within_samples(codes.reshape(count, samples)))

    def parts(self, predictions: npt.NDArray[Any]) -> Mapping[Any, Said]:
        """Return what was said of each label by itself."""
        names = self.names or range(predictions.shape[-1])
        return {name: Codes(predictions[..., i]) for i, name in enumerate(names)}

    @property
    def reading(self) -> str:
        """That all labels count together."""
        return "two predictions of a sample differ where any label does"

    def magnitudes(
        self, answers: Tensor, targets: Tensor, label: Any = None
    ) -> tuple[Tensor, Tensor | None] | None:
        """Return the probability of each label's target, or that a sample has one `label`."""
        if label is None:
            return super().magnitudes(answers, targets)
        named = self.names is not None and label in self.names
        index = self.names.index(label) if named and self.names else label
        return of_class(self.probabilities(answers), targets, index), None

    def probabilities(self, answers: Tensor) -> Tensor:
        """Return the sigmoid of logits, `[n, k]`. Raises MeasurementError for labels."""
        if not self.has_probabilities(answers):
            raise MeasurementError(
                "probabilities need logits, and the candidates answer with labels: return logits"
            )
        return answers.sigmoid()

    def channels(
        self, answers: Tensor, targets: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return each label's probabilities of no and yes; see `Task.channels`."""
        yes = self.probabilities(answers)
        both = torch.stack([1 - yes, yes], dim=-1).reshape(-1, 2)
        whose = torch.arange(len(yes)).repeat_interleave(yes.shape[1])
        return both, None if targets is None else targets.reshape(-1), whose

    def vote(self, members: Sequence[Tensor]) -> Vote:
        """Count votes label by label; the agreement is on all labels together."""
        said = torch.stack([self.predictions(each) for each in members])
        mean = None
        votes = said.double().mean(dim=0)
        if self.has_probabilities(members[0]):
            mean = torch.stack([self.probabilities(each) for each in members]).mean(dim=0)
            votes = torch.where(votes == 0.5, mean.double(), votes)
        most = (votes > 0.5).long()
        agreement = (said == most).all(-1).float().mean(dim=0)
        return Vote(most if mean is None else torch.logit(mean, eps=1e-7), most, agreement, mean)

    def sureness(
        self, answers: npt.NDArray[np.floating], targets: npt.NDArray[Any]
    ) -> npt.NDArray[np.float64]:
        """Return the negative binary cross-entropy of each sample, summed over labels."""
        signed = np.where(targets == 1, answers, -answers).astype(np.float64)
        found: npt.NDArray[np.float64] = -np.logaddexp(0, -signed).sum(axis=1)
        return found

    def shown(self, prediction: Any) -> str:
        """Return which labels there are."""
        has = np.flatnonzero(np.asarray(prediction)).tolist()
        return "{" + ", ".join(str(self.names[i] if self.names else i) for i in has) + "}"

    def told(self, prediction: Any) -> Any:
        """Return the labels as text."""
        return self.shown(prediction)
