"""Accuracy on corrupted inputs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pytest_multiplicity.data import kinds
from pytest_multiplicity.errors import InterventionError
from pytest_multiplicity.interventions import corruptions
from pytest_multiplicity.interventions.base import InputIntervention
from pytest_multiplicity.interventions.naming import shown
from pytest_multiplicity.interventions.randomness import Stream
from pytest_multiplicity.interventions.transforming import transformed

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data


class Corrupt(InputIntervention):
    """Inputs as a transform leaves them: `Corrupt(v2.functional.rotate, angle=15)`.

    Stands for robustness to a shift of the data: corruption accuracy (Hendrycks and Dietterich,
    arXiv 1903.12261); the out-of-distribution accuracy of Ganesh, arXiv 2311.14859, where no
    shifted data set is at hand.

    A random transform draws for every sample numbers of its own, the same for every candidate and
    in every run; torch's, numpy's and Python's global generators are left as they were. The
    result is not clamped: what the transform returns is what the model sees.

    A transform is called in the thread that asked, for one batch at a time, while networks may
    compute on the batch before in other threads: it sets nothing for the whole process, such as
    torch's default dtype, and writes to no network.

    Args:
        transform: a torchvision v2 transform or functional, any function of a batch (tensors
            [b, ...], a dict or a tuple of them, a DataFrame, a list of texts: whatever the inputs
            are), or the name of a corruption with severities made for 32 x 32 pixels, with
            `severity=1` to 5: "blur", "brightness", "contrast", "fog", "impulse", "jpeg", "noise",
            "pixelate", "shot". It treats samples one by one, and draws from no generator of its
            own.
        parameters: passed to the transform with every batch.

    Raises:
        InterventionError: it is no transform; or, when measured, the result has another shape,
            another number of samples, or isn't finite.
    """

    def __init__(self, transform: Callable[..., Any] | str, /, **parameters: Any) -> None:
        if isinstance(transform, str):
            transform = corruptions.named(transform, parameters)
        if isinstance(transform, type) or not callable(transform):
            raise InterventionError(
                f"Corrupt({shown(transform)}): give a function of a batch, a transform such as "
                "v2.GaussianBlur(5), or the name of a corruption"
            )
        self.transform = transform
        self.parameters = parameters

    def _arguments(self) -> tuple[list[Any], dict[str, Any]]:
        return [self.transform], self.parameters

    def apply(self, inputs: kinds.Batch, rows: Tensor, data: Data) -> kinds.Batch:
        """Return the transformed inputs; see `InputIntervention.apply`."""
        transform = functools.partial(self.transform, **self.parameters)
        stream = Stream(f"Corrupt {_kind(self.transform)}")
        return transformed(transform, inputs, rows, name=repr(self), stream=stream)


def _kind(transform: Callable[..., Any]) -> str:
    """Return what random numbers depend on: the same for all parameters, so that only those act."""
    return str(getattr(transform, "__name__", type(transform).__name__))
