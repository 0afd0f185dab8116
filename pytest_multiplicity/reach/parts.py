"""What heads of networks and of linear models share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from pytest_multiplicity.data import Data, kinds
from pytest_multiplicity.errors import MeasurementError

BATCH = 256
FEW = 8  # samples that are watched
NEEDED = (
    "survivors.reachable and survivors.twin change a model's last layer: return networks that end "
    "in an nn.Linear (log-softmax, flatten and dropout may follow), or scikit-learn's linear "
    "models, also as the last step of a pipeline"
)


@dataclass(frozen=True, eq=False)
class Head:
    """A linear last layer: outputs are `features @ weights.T`.

    `weights` are `[k, F]`, float64, the bias last where there is one; its feature is 1. Features
    are in `dtype`, which the model computes in. `built` is the model with other weights.
    """

    weights: Tensor
    dtype: torch.dtype
    of_batch: Callable[[kinds.Batch], Tensor]
    """The features of a batch, `[b, F]`."""
    built: Callable[[Tensor], Any]

    def rounded(self, weights: Tensor) -> Tensor:
        """Return weights as the model can hold them."""
        return weights.to(self.dtype)

    def features(self, data: Data) -> Tensor:
        """Return those of all samples, `[n, F]`, on the device of the weights."""
        found = of_all(data, self.of_batch).to(self.weights.device)
        if not bool(found.isfinite().all()):
            raise MeasurementError(
                f"features of {data.name!r} before the last layer are nan or infinite: nothing "
                "can be built on them"
            )
        return found


def of_all(data: Data, of_batch: Callable[[kinds.Batch], Tensor]) -> Tensor:
    """Return what is computed of all samples, `[n, ...]`, from what is of a batch, `[b, ...]`."""
    starts = range(0, len(data), BATCH)
    batches = (data.take(torch.arange(i, min(i + BATCH, len(data)))) for i in starts)
    return torch.cat([of_batch(each) for each in batches])


def few(data: Data) -> kinds.Batch:
    """Return the first samples."""
    return data.take(torch.arange(min(FEW, len(data))))


def refuse(what: str) -> NoReturn:
    """Raise MeasurementError: there is no linear last layer."""
    raise MeasurementError(f"{what}: {NEEDED}")


def with_ones(features: Tensor, *, has_bias: bool = True) -> Tensor:
    """Return features with that of the bias."""
    if not has_bias:
        return features
    return torch.cat([features, features.new_ones(len(features), 1)], dim=1)
