"""Fitted estimators, as scikit-learn's and XGBoost's are, asked for the most that they tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pytest_multiplicity.data import kinds
from pytest_multiplicity.errors import MeasurementError

ROUNDING = 1e-3  # how far probabilities in half precision are from 1 together
NAMED = 5  # columns that a message names
UNSEEN = "Feature names unseen at fit time"  # scikit-learn's words, of columns
METHODS = ("predict_log_proba", "predict_proba", "decision_function", "predict")


class ByClass(NamedTuple):
    """Answers `[b, C]` with a column for each of the classes that a model names."""

    values: Tensor
    classes: Sequence[Any]


def is_estimator(made: Any) -> bool:
    """Return whether it is a fitted object with one of `METHODS`, and no callable without `fit`."""
    if isinstance(made, nn.Module | type) or not any(hasattr(made, each) for each in METHODS):
        return False
    return not callable(made) or hasattr(made, "fit")


class Estimator:
    """Asks an estimator about batches: log-probabilities, scores, or what it predicts."""

    def __init__(self, fitted: Any) -> None:
        self.fitted = fitted

    def __call__(self, batch: Any) -> Any:
        """Return a `ByClass` where it knows classes, log-odds of labels, or what it predicts."""
        inputs = batch.detach().cpu().numpy() if isinstance(batch, Tensor) else self._matched(batch)
        try:
            return self._answers(inputs)
        except ValueError as error:
            if UNSEEN not in str(error):
                raise
            what = "was not fitted on these columns of the inputs:"
            raise self._unfitting(what, self._unseen(inputs)) from None

    def _answers(self, inputs: Any) -> Any:
        classes: Any = getattr(self.fitted, "classes_", None)
        with np.errstate(divide="ignore", invalid="ignore"):  # a pure leaf's are infinite
            sure = self._log_probabilities(inputs)
            if isinstance(sure, list):  # of each label by itself
                return np.stack([_log_odds(*each) for each in zip(sure, classes, strict=True)], 1)
            if sure is not None and self._tells_labels(sure):
                return sure - np.log1p(-np.exp(sure))
        found = self._scores(inputs, classes) if sure is None else sure
        if found is None or (classes is not None and found.shape[1] != len(classes)):
            said = self.fitted.predict(inputs)  # as where scores are of pairs of classes
            return said if classes is None else np.asarray(said, dtype=object)  # names of classes
        known = range(found.shape[1]) if classes is None else classes
        return ByClass(torch.from_numpy(np.ascontiguousarray(found)), list(known))

    def _matched(self, batch: Any) -> Any:
        """Return a frame with its columns in the order in which it was fitted, matched by name."""
        known = getattr(self.fitted, "feature_names_in_", None)
        if known is None or not kinds.is_frame(batch):
            return batch
        if list(batch.columns) == list(known):
            return batch  # as mostly, without a copy of every batch
        if missing := [name for name in known if name not in batch.columns]:
            raise self._unfitting("was fitted on columns that the inputs lack:", missing)
        return batch[[*known, *self._unseen(batch)]]

    def _unseen(self, frame: Any) -> list[Any]:
        known = set(self.fitted.feature_names_in_)
        return [name for name in frame.columns if name not in known]

    def _unfitting(self, what: str, columns: Sequence[Any]) -> MeasurementError:
        return MeasurementError(
            f"{type(self.fitted).__name__} {what} {', '.join(map(repr, columns[:NAMED]))}"
            f"{', ...' * (len(columns) > NAMED)}. Give inputs with the columns that it was fitted "
            "on, as by frame[list(estimator.feature_names_in_)]"
        )

    def _log_probabilities(self, inputs: Any) -> Any:
        """Return them `[b, C]`, or a list of such, one for each label; None where it has none."""
        if hasattr(self.fitted, "predict_log_proba"):
            return self.fitted.predict_log_proba(inputs)
        if not hasattr(self.fitted, "predict_proba"):
            return None
        sure = self.fitted.predict_proba(inputs)
        return [np.log(each) for each in sure] if isinstance(sure, list) else np.log(sure)

    def _tells_labels(self, sure: Any) -> bool:
        """Return whether these are of labels, of which a sample may have several."""
        sums = np.exp(sure).sum(axis=1)
        return bool(getattr(self.fitted, "multilabel_", False) or (abs(sums - 1) > ROUNDING).any())

    def _scores(self, inputs: Any, classes: Any) -> Any:
        """Return scores `[b, C]` with a column per class; None where it only predicts."""
        if not hasattr(self.fitted, "decision_function") or classes is None:
            return None
        found = self.fitted.decision_function(inputs)
        return np.stack([np.zeros_like(found), found], axis=1) if found.ndim == 1 else found


def _log_odds(sure: Any, classes: Any) -> Any:
    """Return the log-odds `[b]` of a label, of log-probabilities of its absence and presence."""
    if sure.shape[1] == 2:
        return sure[:, 1] - sure[:, 0]
    return np.full(len(sure), np.inf if classes[0] else -np.inf)  # it never saw anything else
