"""scikit-learn's linear models, also as the last step of a pipeline."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_multiplicity.data import Data, kinds
from pytest_multiplicity.reach.parts import Head, few, refuse, with_ones


def of_estimator(fitted: Any, data: Data, name: str) -> Head:
    """Return the linear last layer of an estimator; MeasurementError where it has none."""
    steps = getattr(fitted, "steps", None)
    last = steps[-1][1] if steps else fitted
    if not hasattr(last, "coef_") or not hasattr(last, "intercept_"):
        refuse(f"{name} ends in a {type(last).__name__}, which has no coef_ and intercept_")
    coefficients = np.atleast_2d(np.asarray(last.coef_, dtype=float))
    intercepts = np.broadcast_to(np.asarray(last.intercept_, dtype=float), len(coefficients))
    weights = torch.tensor(np.column_stack([coefficients, intercepts]))

    def of_batch(batch: kinds.Batch) -> Tensor:
        inputs = batch.numpy() if isinstance(batch, Tensor) else batch
        found = fitted[:-1].transform(inputs) if steps and len(steps) > 1 else inputs
        dense = found.toarray() if hasattr(found, "toarray") else np.asarray(found, dtype=float)
        return with_ones(torch.tensor(dense.reshape(kinds.length(batch), -1), dtype=torch.float64))

    def built(changed: Tensor) -> Any:
        own = copy.deepcopy(fitted)
        step = own.steps[-1][1] if steps else own
        array = changed.cpu().numpy().astype(float)
        step.coef_ = array[:, :-1].reshape(np.shape(last.coef_))
        step.intercept_ = array[:, -1].reshape(np.shape(last.intercept_))
        return own

    _check(fitted, few(data), of_batch(few(data)) @ weights.T, name)
    _check_classes(getattr(last, "classes_", None), data, name)
    return Head(weights, torch.float64, of_batch, built)


def _check(fitted: Any, batch: kinds.Batch, outputs: Tensor, name: str) -> None:
    """Refuse a model whose answers aren't its coefficients times its features."""
    inputs = batch.numpy() if isinstance(batch, Tensor) else batch
    tells = getattr(fitted, "decision_function", fitted.predict)
    told = np.asarray(tells(inputs), dtype=float)
    if told.size != outputs.numel() or not np.allclose(told.ravel(), outputs.numpy().ravel()):
        refuse(f"{name} doesn't answer with its coefficients times its features")


def _check_classes(classes: Any, data: Data, name: str) -> None:
    if classes is None or isinstance(classes, list):
        return
    codes = data.task.codes(list(classes), data.name).tolist()
    if codes != list(range(len(codes))):
        refuse(f"{name} knows classes {codes} only, in its own order")
