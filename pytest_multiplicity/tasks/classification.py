"""One of several classes: answers are logits `[n, classes]` or labels, targets class indices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_multiplicity.errors import DataError, MeasurementError, RecipeError
from pytest_multiplicity.tasks.task import Loss

SUMS_TO_1 = 1e-3  # how far rows of half precision are from it
CERTAIN = float(np.finfo(np.float32).max)


def _lanes_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    # Over [K, C, b]: with few classes this is three times quicker than over rows.
    each = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    return each.mean(1)


@dataclass(frozen=True)
class Classification:
    """A prediction is the most likely class, right where it is the target. See `Task`.

    `names` are those of the classes, in the order of their indices.
    """

    names: tuple[Any, ...] | None = None
    name: ClassVar = "classification"
    answers: ClassVar = "logits [batch, classes]"
    losses: ClassVar = MappingProxyType(
        {"cross_entropy": Loss(F.cross_entropy, _lanes_cross_entropy)}
    )
    no_prediction: ClassVar = -1

    def check_targets(self, targets: Tensor, name: str) -> Tensor:
        """Return the targets as a CPU int64 tensor [n] of class indices."""
        one_each = targets.ndim > 0 and targets.numel() == len(targets)
        if one_each and (targets.is_floating_point() or targets.is_complex()):
            raise DataError(
                f"targets of {name!r} are {targets.dtype}: this is for classification, not "
                "regression; give one class index per sample (targets.long() if they are indices "
                "already)"
            )
        several = targets.ndim == 2 and int((targets != 0).sum(1).amax()) > 1
        if several and bool(((targets == 0) | (targets == 1)).all()):
            raise DataError(
                f"targets of {name!r} have several labels for a sample: give one class index per "
                "sample, and each label a data set of its own (a column of these)"
            )
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
        return f"{int(targets.max()) + 1} classes"

    def fit(self, answers: Tensor, samples: int) -> bool:
        """Return whether these are logits [n, C]."""
        return answers.ndim == 2 and len(answers) == samples

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

    def doubts_about(self, given: Tensor, name: str, *, network: bool = False) -> str | None:
        """Return what makes answers about all samples look odd; None where nothing does.

        Raises MeasurementError where they are probabilities, for which no logits can be taken. The
        one logit of a `network` that learned little may lie in [0, 1], too: that is said only.
        """
        if len(given) < 2 or given.ndim > 2 or not given.is_floating_point():
            return None
        rows = given.reshape(len(given), -1)
        if bool((rows == rows[:1]).all()):
            return f"answers about {name!r} are the same for every sample"
        if rows.min() < 0 or rows.max() > 1:
            return None
        hard = bool(((rows == 0) | (rows == 1)).all())
        if rows.shape[1] == 1:
            return self._doubts_about_one(rows, name, hard=hard, sure=not network)
        if float((rows.double().sum(1) - 1).abs().max()) > SUMS_TO_1:
            return None
        if hard:
            return (
                f"answers about {name!r} are 0 and 1 alone: they are taken for logits, and if they "
                "are labels they had better be ints, one for each sample"
            )
        most = np.e / (np.e + rows.shape[1] - 1)
        raise MeasurementError(
            f"answers about {name!r} are probabilities: rows lie in [0, 1] and sum to 1. Taken for "
            f"logits they would bend every probability to at most {most:.2f}: return their "
            "logarithm (predict_log_proba, torch.log(p)), the fitted estimator itself, or logits "
            "from before the last softmax"
        )

    def _doubts_about_one(self, rows: Tensor, name: str, *, hard: bool, sure: bool) -> str | None:
        if sure and not hard and rows.min() < 0.5 < rows.max():
            raise MeasurementError(
                f"answers about {name!r} are probabilities: one number for each sample, all in "
                "[0, 1]. Taken for one logit they would all mean the second class: return "
                "torch.logit(p), the fitted estimator itself, or the logit from before the last "
                "sigmoid (as two columns, 0 and z, if these are logits after all)"
            )
        what = "0 and 1 alone" if hard else "all in [0, 1]"
        return (
            f"answers about {name!r} are {what}: they are taken for one logit, which above 0 means "
            "the second class; labels had better be ints, and probabilities logits"
        )

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
        one = sure.ndim == 1 or sure.shape[1] == 1
        rows = torch.stack([1 - sure.flatten(), sure.flatten()], dim=1) if one else sure
        off = (rows < 0) | (rows > 1)
        if bool(off.any()) or float((rows.sum(dim=1) - 1).abs().max()) > SUMS_TO_1:
            odd = off.any(dim=1) | ((rows.sum(dim=1) - 1).abs() > SUMS_TO_1)
            row = sure[int(odd.nonzero()[0])].reshape(-1).tolist()
            raise MeasurementError(
                f"{row} are no probabilities of a sample of {name!r}: they lie in [0, 1], and "
                "those of all classes sum to 1"
            )
        logits = rows.log()
        return logits if classes is None else self.columns(logits, classes, targets, name)

    def codes(self, labels: Any, name: str) -> Tensor:
        """Return the indices [n], int64, of the classes that labels name.

        Raises MeasurementError for a label that no target of `name` has.
        """
        listed = np.asarray(labels).tolist()
        known = self._known(list(dict.fromkeys(listed)))
        for label in known:
            if known[label] is not None:
                continue
            those = (
                f"targets of {name!r} have no names: give pm.Data the labels themselves"
                if self.names is None
                else f"{name!r} has {', '.join(map(repr, self.names))}: give it the same names, "
                "all of them as categories of a pandas Categorical where it lacks some"
            )
            raise MeasurementError(f"a model names a class {label!r}, and {those}")
        return torch.tensor([known[label] for label in listed], dtype=torch.int64)

    def _known(self, labels: Sequence[Any]) -> dict[Any, int | None]:
        """Return the index of each label: all of them by name, else all as indices themselves."""
        names = self.names or ()
        for same in (_itself, str):
            places = {same(each): index for index, each in enumerate(names)}
            if names and all(same(label) in places for label in labels):
                return {label: places[same(label)] for label in labels}
        top = len(names) if names else np.inf
        coded = all(isinstance(each, str) for each in names)
        if coded and all(_is_index(label, top) for label in labels):
            return {label: int(label) for label in labels}
        return {label: names.index(label) if label in names else None for label in labels}

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
        if not isinstance(answers, Tensor) or not self.fit(answers, len(batch)):
            shape = tuple(answers.shape) if isinstance(answers, Tensor) else type(answers).__name__
            raise RecipeError(
                f"the model gives {shape} for a batch of {len(batch)} samples: "
                f"it must give logits of shape ({len(batch)}, classes)"
            )
        top = int(targets.max())
        if answers.shape[1] <= top:
            raise RecipeError(
                f"the model gives {answers.shape[1]} classes, but the data has a target {top}: "
                f"give the model at least {top + 1} outputs, or number the classes from 0"
            )

    def predictions(self, answers: Tensor) -> Tensor:
        """Return the most likely class, int64, of equals the first; labels as they are."""
        return answers.argmax(dim=-1) if answers.is_floating_point() else answers

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

    def _need_logits(self, answers: Tensor, what: str) -> None:
        if not answers.is_floating_point():
            raise MeasurementError(
                f"{what} need logits, and the candidates answer with labels: return logits, "
                "log-probabilities, or an estimator that has predict_proba"
            )

    def vote(self, members: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Count votes; see `Task.vote`."""
        mean = torch.stack(list(members)).mean(dim=0)
        votes = torch.stack(
            [F.one_hot(self.predictions(each), each.shape[-1]) for each in members]
        ).sum(dim=0)
        said = (votes + mean / 2).argmax(dim=1)  # a mean probability is worth less than a vote
        return said, votes.gather(1, said[:, None])[:, 0] / len(members)

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
        """Return the index of a class."""
        return str(int(prediction))


def _itself(label: Any) -> Any:
    return label


def _is_index(label: Any, top: float) -> bool:
    return isinstance(label, int | float) and 0 <= label < top and int(label) == label
