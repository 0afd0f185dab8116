"""Measures by name: what of an answer they take for each task, and whose formula they are."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.tasks.task import Task

Of = Callable[[Task, Tensor, Tensor], float]

TARGET = "unit of the target"
SQUARED = "unit of the target, squared"
BINS = 15  # of a calibration error, as torchmetrics has them


@dataclass(frozen=True)
class Named:
    """A measure that has a name: a function of answers and targets."""

    name: str
    task: Task
    of: Of
    higher_is_better: bool = True
    unit: str = "number"

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, answers: Tensor, targets: Tensor) -> float:
        """Return its value."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes that are absent: a nan is told as such
            return float(self.of(self.task, answers, targets))


def measure_named(name: str, task: Task) -> Named:
    """Return the measure of a name for a task. MeasurementError: there is none."""
    known = _BY_TASK.get(task.name)
    if known is None:  # of no targets
        raise MeasurementError(
            f"the measure {name!r} needs targets, and this data set has none: only agreement is "
            "measured, as by candidate.consistency(data, under=...)"
        )
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        guess = f" (did you mean {close[0]!r}?)" if close else ""
        raise MeasurementError(
            f"no measure is named {name!r}{guess}: for {task.name} there are {', '.join(known)}; "
            "or give a function of answers and targets"
        )
    of, better, unit = known[name]
    return Named(name, task, of, better, unit)


def _sklearn() -> Any:
    try:
        from sklearn import metrics
    except ImportError:
        raise MeasurementError(_lacking("scikit-learn")) from None
    return metrics


def _torchmetrics() -> Any:
    try:
        from torchmetrics.functional import classification
    except ImportError:
        raise MeasurementError(_lacking("torchmetrics")) from None
    return classification


def _lacking(package: str) -> str:
    return (
        f"this measure is {package}'s, which isn't installed: pip install {package} (or "
        "pytest-multiplicity[measures]), or give a function of answers and targets"
    )


def _flat(task: Task, answers: Tensor, targets: Tensor) -> tuple[Any, Any]:
    """Return targets and predictions, position by position, without those to be ignored."""
    said, truth = task.predictions(answers).numpy(), targets.numpy()
    if task.name == "dense":
        kept = truth != getattr(task, "ignore", -100)
        said, truth = said[kept], truth[kept]
    return truth, said


def _of_values(task: Task, answers: Tensor, targets: Tensor, *, formula: str) -> float:
    values = getattr(_sklearn(), formula)(
        targets.double().numpy(), task.predictions(answers).double().numpy()
    )
    return float(values)


def _of_labels(
    task: Task, answers: Tensor, targets: Tensor, *, formula: str, averaged: bool = False
) -> float:
    truth, said = _flat(task, answers, targets)
    options: dict[str, Any] = {}
    if averaged:
        two = task.name == "classification" and max(truth.max(), said.max(), _top(answers)) < 2
        options = {"average": "binary" if two else "macro", "zero_division": 0.0}
    return float(getattr(_sklearn(), formula)(truth, said, **options))


def _top(answers: Tensor) -> int:
    """Return the last class that answers can name; 0 where they are labels."""
    return answers.shape[1] - 1 if answers.is_floating_point() and answers.ndim > 1 else 0


def _of_probabilities(task: Task, answers: Tensor, targets: Tensor, *, formula: str) -> float:
    truth, sure = targets.numpy(), task.probabilities(answers).double().numpy()
    score = getattr(_sklearn(), formula)
    if formula == "log_loss":
        return float(score(truth, sure, labels=range(sure.shape[1])))
    if task.name == "multilabel":
        return float(score(truth, sure, average="macro"))
    if sure.shape[1] == 2:
        return float(score(truth, sure[:, 1]))
    several = {"multi_class": "ovr"} if formula == "roc_auc_score" else {}
    return float(score(truth, sure, average="macro", **several))


def _brier(task: Task, answers: Tensor, targets: Tensor) -> float:
    """Return the mean squared error of the target's indicators, summed over classes."""
    sure = task.probabilities(answers).double().numpy()
    truth = np.eye(sure.shape[1])[targets.numpy()]
    squared = ((sure - truth) ** 2).sum(axis=1)
    return float(squared.mean() / (2 if sure.shape[1] == 2 else 1))  # of two: one of them


def _calibration(task: Task, answers: Tensor, targets: Tensor) -> float:
    sure = task.probabilities(answers)
    error = _torchmetrics().multiclass_calibration_error(
        sure, targets, num_classes=sure.shape[1], n_bins=BINS
    )
    return float(error)


Known = Mapping[str, tuple[Of, bool, str]]

_VALUES = {
    "mae": ("mean_absolute_error", False, TARGET),
    "rmse": ("root_mean_squared_error", False, TARGET),
    "mse": ("mean_squared_error", False, SQUARED),
    "r2": ("r2_score", True, "number"),
    "medae": ("median_absolute_error", False, TARGET),
    "mape": ("mean_absolute_percentage_error", False, "number"),
}
_LABELS = {"f1": "f1_score", "precision": "precision_score", "recall": "recall_score"}
_LABELS |= {"iou": "jaccard_score"}
_WHOLE = {"balanced_accuracy": "balanced_accuracy_score", "mcc": "matthews_corrcoef"}
_WHOLE |= {"kappa": "cohen_kappa_score"}
_SURE = {"auroc": "roc_auc_score", "average_precision": "average_precision_score"}

_AVERAGED: Known = {
    name: (partial(_of_labels, formula=formula, averaged=True), True, "number")
    for name, formula in _LABELS.items()
}
_AGREEING: Known = {
    name: (partial(_of_labels, formula=formula), True, "number") for name, formula in _WHOLE.items()
}
_RANKED: Known = {
    name: (partial(_of_probabilities, formula=formula), True, "number")
    for name, formula in _SURE.items()
}
_BY_TASK: dict[str, Known] = {
    "classification": {
        **_AVERAGED,
        **_AGREEING,
        **_RANKED,
        "log_loss": (partial(_of_probabilities, formula="log_loss"), False, "number"),
        "brier": (_brier, False, "number"),
        "ece": (_calibration, False, "number"),
    },
    "regression": {
        name: (partial(_of_values, formula=formula), better, unit)
        for name, (formula, better, unit) in _VALUES.items()
    },
    "multilabel": {
        **_AVERAGED,
        **_RANKED,
        "hamming": (partial(_of_labels, formula="hamming_loss"), False, "number"),
    },
    "dense": {**_AVERAGED, **_AGREEING},
}
