"""One of several classes: answers are logits `[n, classes]`, targets class indices `[n]`."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_multiplicity.errors import DataError, RecipeError
from pytest_multiplicity.tasks.task import Loss

CERTAIN = float(np.finfo(np.float32).max)


def _lanes_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    # Over [K, C, b]: with few classes this is three times quicker than over rows.
    each = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    return each.mean(1)


class Classification:
    """A prediction is the most likely class, right where it is the target. See `Task`."""

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

    def check_answers(self, answers: Tensor, targets: Tensor, name: str) -> None:
        """Raise DataError where there are labels that the model has no logit for."""
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
        """Return the most likely class, int64; of equals the first."""
        return answers.argmax(dim=-1)

    def right(self, predictions: Any, targets: Any) -> Any:
        """Return which classes are the target."""
        return predictions == targets

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
        """Return the softmax of logits [..., C]."""
        return self.bounded(answers).softmax(dim=-1)

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

        rows = np.arange(len(targets))
        others = self.bounded(torch.tensor(answers)).numpy().astype(np.float64)
        sure = others[rows, targets]
        others[rows, targets] = -np.inf
        found: npt.NDArray[np.float64] = sure - special.logsumexp(others, axis=1)
        return found.clip(-CERTAIN, CERTAIN)

    def shown(self, prediction: Any) -> str:
        """Return the index of a class."""
        return str(int(prediction))
