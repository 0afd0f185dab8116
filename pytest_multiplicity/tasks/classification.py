"""One of several classes: answers are logits `[n, classes]` or labels, targets class indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_multiplicity.errors import DataError, MeasurementError, RecipeError
from pytest_multiplicity.statistics import DEFINITIONS, Codes, Said
from pytest_multiplicity.tasks import doubts, losses, matching
from pytest_multiplicity.tasks.labels import BOOLS
from pytest_multiplicity.tasks.plain import check_whole, of_class, refuse_tolerance
from pytest_multiplicity.tasks.task import Vote
from pytest_multiplicity.tasks.turning import TurnClasses

CERTAIN = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Classification:
    """A prediction is the most likely class, right where it is the target. See `Task`.

    `names` are those of the classes, in the order of their indices.
    """

    names: tuple[Any, ...] | None = None
    name: ClassVar = "classification"
    answers: ClassVar = "logits [batch, classes]"
    losses: ClassVar = losses.OF_CLASSES
    no_prediction: ClassVar = -1
    kept_as: ClassVar = torch.int32
    has_accuracy: ClassVar = True
    compares: ClassVar = True
    has_targets: ClassVar = True
    chooses: ClassVar = True

    @property
    def identity(self) -> tuple[object, ...]:
        """The names, where they are more than the indices."""
        return () if self.names in (None, BOOLS) else ("classes", self.names)

    @property
    def turning(self) -> TurnClasses:
        """Classes turn to their runners-up."""
        return TurnClasses()

    @property
    def judgement(self) -> tuple[Any, ...]:
        """Nothing."""
        return ()

    def judged(self, tolerance: float, name: str) -> Any:
        """Raise DataError."""
        refuse_tolerance(tolerance, self.name, name)

    def check_targets(self, targets: Tensor, name: str) -> Tensor:
        """Return the targets as a CPU int64 tensor [n] of class indices."""
        if targets.is_complex() or targets.is_floating_point():
            targets = check_whole(targets, name, "class indices")
        if targets.ndim != 1:
            raise DataError(
                f"targets of {name!r} have shape {tuple(targets.shape)}: give one class index per "
                "sample (.argmax(1) of one-hot rows, .squeeze(1) of a column)"
            )
        if len(targets) and int(targets.min()) < 0:
            row = int((targets < 0).nonzero()[0])
            raise DataError(
                f"target {int(targets[row])} of sample {row} of {name!r} is out of range: classes "
                "count from 0; drop unlabelled samples first"
            )
        return targets.to("cpu", torch.int64)

    def describe(self, targets: Tensor) -> str:
        """Say how many classes there are."""
        return f"{len(self.names or ()) or int(targets.max()) + 1} classes"

    def fit(self, answers: Tensor, samples: int) -> bool:
        """Return whether these are logits [n, C], or one logit [n]."""
        return answers.ndim in (1, 2) and len(answers) == samples

    def read_answers(self, answers: Tensor, targets: Tensor, name: str) -> Tensor:
        """Return logits [n, C], float32, or labels [n], int64.

        One logit [n] or [n, 1] is that of the second of two classes: it becomes [0, z].
        """
        one_each = answers.ndim == 1 or (answers.ndim == 2 and answers.shape[1] == 1)
        if not one_each:
            if answers.ndim != 2:
                raise MeasurementError(
                    f"a model returned a tensor of shape {tuple(answers.shape)} for a batch of "
                    f"{len(answers)} of {name!r}: return {self.answers}"
                )
            return answers.float()
        answers = answers.reshape(-1)
        if answers.is_floating_point():
            if len(targets) and (top := int(targets.max())) > 1:
                raise MeasurementError(
                    f"a model returned one number for each sample of {name!r}, whose targets go up "
                    f"to {top}: one logit tells two classes apart; return logits [batch, classes], "
                    "labels as ints, or say task='regression' where it is a value"
                )
            return torch.stack([torch.zeros_like(answers), answers], dim=1).float()
        labels = answers.to(torch.int64)
        if len(labels) and (low := int(labels.min())) < 0:
            raise MeasurementError(
                f"a model returned the label {low} about {name!r}: labels are indices of classes "
                "from 0; return them as the targets are, or return logits"
            )
        return labels

    def doubts_about(
        self, given: Tensor, name: str, *, network: bool = False, targets: Tensor | None = None
    ) -> str | None:
        """Return what makes answers about all samples look odd; None where nothing does.

        Raises MeasurementError where they are probabilities, for which no logits can be taken. The
        one logit of a `network` that learned little may lie in [0, 1], too: that is said only.
        """
        return doubts.about_logits(given, name, network=network)

    def columns(
        self, answers: Tensor, classes: Sequence[Any], targets: Tensor, name: str
    ) -> Tensor:
        """Return logits whose columns a model has for its classes in the order of the targets'.

        A class that it doesn't know gets minus infinity. Raises MeasurementError where a class
        can't be matched.
        """
        if answers.ndim != 2 or answers.shape[1] != len(classes):
            raise MeasurementError(
                f"a model names {len(classes)} classes and answers about {name!r} with shape "
                f"{tuple(answers.shape)}: return a column for each"
            )
        places = self.codes(classes, name)
        known = len(self.names or ()), int(targets.max()) + 1, int(places.max()) + 1
        found = torch.full((len(answers), max(known)), -torch.inf, dtype=answers.dtype)
        found[:, places] = answers
        return found

    def of_probabilities(
        self, sure: Tensor, classes: Sequence[Any] | None, targets: Tensor, name: str
    ) -> Tensor:
        """Return probabilities as logits; one for each sample is that of the second class."""
        logits = matching.logits_of(sure, name)
        return logits if classes is None else self.columns(logits, classes, targets, name)

    def codes(self, labels: Any, name: str) -> Tensor:
        """Return the indices [n], int64, of the classes that labels name.

        Raises MeasurementError for a label that no target of `name` has.
        """
        return matching.codes_of(labels, self.names, name)

    def unknown(self, said: Tensor, targets: Tensor, like: Tensor) -> tuple[Tensor, int]:
        """Return the predictions of a class for which there is neither a target nor a logit."""
        of_logits = like.is_floating_point() and like.ndim == 2
        last = max(int(targets.max()), like.shape[1] - 1 if of_logits else -1)
        return said > last, last

    def check_answers(self, answers: Tensor, targets: Tensor, name: str) -> None:
        """Raise DataError where there are labels that the model has no logit for."""
        if not answers.is_floating_point():
            return
        classes, top = answers.shape[-1], int(targets.max())
        if top >= classes:
            count = int((targets >= classes).sum())
            raise DataError(
                f"targets of {name!r} go up to {top} ({count} samples are out of range), but the "
                f"model gives {classes} logits, for classes 0 to {classes - 1}"
            )

    def check_trainable(self, answers: object, batch: Tensor, targets: Tensor) -> None:
        """Raise RecipeError for what isn't logits [b, C], or fewer classes than targets have."""
        top = int(targets.max())
        fits = isinstance(answers, Tensor) and self.fit(answers, len(batch))
        if not isinstance(answers, Tensor) or not fits or (answers.ndim == 1 and top > 1):
            shape = tuple(answers.shape) if isinstance(answers, Tensor) else type(answers).__name__
            raise RecipeError(
                f"the model gives {shape} for a batch of {len(batch)} samples: "
                f"it must give logits of shape ({len(batch)}, classes)"
            )
        classes = 1 if answers.ndim == 1 else answers.shape[1]
        if max(classes, 2) <= top:
            raise RecipeError(
                f"the model gives {classes} classes, but the data has a target {top}: "
                f"give the model at least {top + 1} outputs, or number the classes from 0"
            )

    def predictions(self, answers: Tensor) -> Tensor:
        """Return the most likely class, int64, of equals the first; labels as they are."""
        if not answers.is_floating_point():
            return answers
        if answers.device.type != "cpu":
            return answers.argmax(dim=-1)
        return answers.detach().max(dim=-1).indices  # the same, in a third of the time

    def predictions_in_training(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return the most likely class of logits, or of one logit."""
        return self.predictions(losses.as_logits(answers, targets))

    def by_sample(self, right: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what is right as it is."""
        return right, None

    def said(
        self,
        predictions: npt.NDArray[Any],
        targets: npt.NDArray[Any] | None = None,
    ) -> Codes:
        """Return the classes."""
        return Codes(predictions)

    def channels(
        self, answers: Tensor, targets: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the probabilities and the targets."""
        return self.probabilities(answers), targets, None

    def right(self, predictions: Any, targets: Any) -> Any:
        """Return which classes are the target."""
        return predictions == targets

    def differ(self, some: Any, others: Any) -> Any:
        """Return where two predictions are of different classes."""
        return some != others

    def bounded(self, answers: Tensor) -> Tensor:
        """Return logits [..., C] of which the largest is a number, and that mean the same.

        Log-odds and log-probabilities of trees are infinite where a leaf is pure. An infinite logit
        is a limit: classes at infinity share all of the probability equally, and so do all classes
        where each is at minus infinity.
        """
        largest = answers.amax(dim=-1, keepdim=True)
        if largest.isfinite().all():
            return answers
        tied = torch.where(answers == largest, 0.0, -torch.inf).to(answers.dtype)
        return torch.where(largest.isinf(), tied, answers)

    def probabilities(self, answers: Tensor) -> Tensor:
        """Return the softmax of logits [..., C]. Raises MeasurementError for labels."""
        self._need_logits(answers, "probabilities")
        return self.bounded(answers).softmax(dim=-1)

    def has_probabilities(self, answers: Tensor) -> bool:
        """Return whether these are logits."""
        return answers.is_floating_point()

    def parts(self, predictions: npt.NDArray[Any]) -> Mapping[Any, Said]:
        """Return nothing: a class is no part of a sample."""
        return {}

    def ballots(self, predictions: npt.NDArray[Any]) -> npt.NDArray[np.integer] | None:
        """Return the classes."""
        return predictions

    def magnitudes(
        self, answers: Tensor, targets: Tensor, label: Any = None
    ) -> tuple[Tensor, Tensor | None] | None:
        """Return the probability of the target, or of the class of a name or an index."""
        named = self.names is not None and label in self.names
        index = self.names.index(label) if named and self.names else label
        return of_class(self.probabilities(answers), targets, index), None

    def defines(self, name: str) -> str:
        """Return the usual definition."""
        return DEFINITIONS[name]

    def has_logits(self, answers: Tensor) -> bool:
        """Return whether these are logits."""
        return answers.is_floating_point()

    def _need_logits(self, answers: Tensor, what: str) -> None:
        if not answers.is_floating_point():
            raise MeasurementError(
                f"{what} need logits, and the candidates answer with labels: return logits, "
                "log-probabilities, or an estimator that has predict_proba"
            )

    def vote(self, members: Sequence[Tensor]) -> Vote:
        """Count votes; see `Task.vote`."""
        if not self.has_probabilities(members[0]):
            return self._vote_of_labels(torch.stack(list(members)))
        sure = [self.probabilities(each) for each in members]
        mean = torch.stack(sure).mean(dim=0)
        votes = torch.stack(
            [F.one_hot(self.predictions(each), each.shape[-1]) for each in sure]
        ).sum(dim=0)
        said = (votes + mean / 2).argmax(dim=1)  # a mean probability is worth less than a vote
        share = votes.gather(1, said[:, None])[:, 0] / len(members)
        return Vote(mean.clamp_min(torch.finfo(mean.dtype).tiny).log(), said, share, mean)

    def _vote_of_labels(self, said: Tensor) -> Vote:
        votes = F.one_hot(said).sum(dim=0)
        share, most = votes.max(dim=1)
        return Vote(most, most, share / len(said))

    def sureness(
        self, answers: npt.NDArray[np.floating], targets: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.float64]:
        """Return the log-odds of each target, `log(p / (1 - p))`.

        They fall as the cross-entropy rises, and don't saturate as probabilities do. Those of
        certainty are the largest number, which attacks can compute with.
        """
        from scipy import special  # takes a while, which training needs not

        self._need_logits(torch.as_tensor(answers), "log-odds")
        rows = np.arange(len(targets))
        others = self.bounded(torch.tensor(answers)).numpy().astype(np.float64)
        sure = others[rows, targets]
        others[rows, targets] = -np.inf
        found: npt.NDArray[np.float64] = sure - special.logsumexp(others, axis=1)
        return found.clip(-CERTAIN, CERTAIN)

    def shown(self, prediction: Any) -> str:
        """Return the name of a class, or its index."""
        return str(self.told(prediction))

    def told(self, prediction: Any) -> Any:
        """Return the name of a class, or its index; an index that has no name as it is."""
        index = int(prediction)
        return self.names[index] if self.names and 0 <= index < len(self.names) else index
