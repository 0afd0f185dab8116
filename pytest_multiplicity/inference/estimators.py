"""Fitted estimators, as scikit-learn's and XGBoost's are, asked for the most that they tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

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
        self._fitted = fitted

    def __call__(self, batch: Any) -> Any:
        """Return a `ByClass` where it knows classes, else what it predicts."""
        inputs = batch.detach().cpu().numpy() if isinstance(batch, Tensor) else batch
        classes = getattr(self._fitted, "classes_", None)
        found = self._scores(inputs, classes)
        if found is None:
            said = self._fitted.predict(inputs)
            return said if classes is None else np.asarray(said, dtype=object)  # names of classes
        known = range(found.shape[1]) if classes is None else classes
        return ByClass(torch.from_numpy(found), list(known))

    def _scores(self, inputs: Any, classes: Any) -> Any:
        """Return logits `[b, C]` with a column per class; None where it only predicts."""
        with np.errstate(divide="ignore"):  # a pure leaf's: its logarithm is minus infinity
            if hasattr(self._fitted, "predict_log_proba"):
                found = self._fitted.predict_log_proba(inputs)
            elif hasattr(self._fitted, "predict_proba"):
                found = np.log(self._fitted.predict_proba(inputs))
            elif hasattr(self._fitted, "decision_function") and classes is not None:
                found = self._fitted.decision_function(inputs)
                if found.ndim == 1:  # of the second of two
                    found = np.stack([np.zeros_like(found), found], axis=1)
            else:
                return None
        fits = classes is None or found.shape[1] == len(classes)  # not so: pairs of classes
        return np.ascontiguousarray(found) if fits else None
