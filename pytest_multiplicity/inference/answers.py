"""What models gave, as tensors: answers of modules, callables and estimators, told apart.

A task reads the tensors (`Task.read_answers`): what is a logit, a label, a value is its business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from pytest_multiplicity.data import Data, kinds
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.inference.estimators import ByClass, Estimator, is_estimator

Model = Callable[[Any], Any]


def answering(made: Any) -> Model:
    """Return what a family's function returned, no module, as a callable of a batch.

    It sees batches on the CPU, whatever the device.
    """
    return Estimator(made) if is_estimator(made) else on_cpu(made)


def on_cpu(function: Callable[[Any], Any]) -> Model:
    """Return a callable that sees batches on the CPU, whatever the device: ONNX, a server.

    Gradients flow through it where it computes in torch; attacks tell where they don't.
    """

    def model(batch: Any) -> Any:
        if not isinstance(batch, Tensor):
            return function(kinds.to(batch, "cpu"))
        try:
            given = function(batch.cpu())
        except RuntimeError:
            if not batch.requires_grad:
                raise
            given = function(batch.detach().cpu())  # numpy refuses what wants a gradient
        return given

    return model


def toward(model: Model, data: Data) -> Model:
    """Return a model whose answers about `data` are tensors, in the order of its classes.

    A module is returned as it is: what it gives are tensors, or holds them.
    """
    if isinstance(model, nn.Module):
        return model

    def answer(batch: Any) -> Tensor:
        given = tensor_of(model(batch), kinds.length(batch), data)
        return given.to(batch.device) if isinstance(batch, Tensor) else given

    return answer


def tensor_of(given: Any, count: int, data: Data | None = None) -> Tensor:
    """Return the answers `[count, ...]` about a batch that a model gave in its own way.

    Args:
        given: tensors, arrays, lists, Series, frames with a column per class, a tuple whose first
            these are, or what has them as `logits`.
        count: how many samples the batch has.
        data: where classes that a model names are looked up; modules name none.

    Raises:
        MeasurementError: there are no answers in it, or not one for each sample.
    """
    value: Any = given if isinstance(given, ByClass) else kinds.answers(given)
    if isinstance(value, pd.DataFrame):
        value = ByClass(torch.tensor(value.to_numpy(dtype=float)), list(value.columns))
    classes = None
    if isinstance(value, ByClass):
        value, classes = value.values, value.classes
    tensor = value if isinstance(value, Tensor) else _made(value, given, data)
    if tensor.ndim == 0 and count == 1:  # squeezed too far
        tensor = tensor[None]
    if tensor.ndim == 0 or len(tensor) != count:
        raise MeasurementError(
            f"a model returned a tensor of shape {tuple(tensor.shape)} for a batch of "
            f"{count}: return an answer for each sample{_wanted(data)}"
        )
    if classes is None or data is None:
        return tensor
    return data.task.columns(tensor, classes, data.targets, data.name)


def _made(value: Any, given: Any, data: Data | None) -> Tensor:
    """Return a tensor of numbers, or the codes of labels."""
    if isinstance(value, list | tuple) and value and isinstance(value[0], Tensor):
        return torch.stack(list(value))
    if isinstance(value, pd.Series | pd.Categorical | pd.Index):
        value = value.to_numpy() if hasattr(value, "to_numpy") else np.asarray(value)
    if isinstance(value, list | tuple):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray):
        raise MeasurementError(
            f"a model returned {type(given).__name__}: return a tensor or an array{_wanted(data)}"
        )
    if value.dtype.kind in "OUST" and data is not None:
        return data.task.codes(value.reshape(len(value), -1)[:, 0], data.name)
    try:
        return torch.tensor(value)  # a copy: some arrays may not be written to
    except TypeError:
        raise MeasurementError(
            f"a model returned an array of {value.dtype}: return numbers{_wanted(data)}"
        ) from None


def _wanted(data: Data | None) -> str:
    return "" if data is None else f", {data.task.answers}"
