"""Measures: how a metric's scores come from logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from pytest_multiplicity.data import Data
from pytest_multiplicity.design import call_with_attributes, call_with_targets, takes_a_third
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.behind import Behind
from pytest_multiplicity.statistics import (
    PERMUTATIONS_OF_VALUES,
    MetricFunction,
    Noise,
    kept,
    noise_of_metric,
)
from pytest_multiplicity.tasks import Named, Task, measure_named

Measure = Callable[..., Any]

NOISE_CALLS = 1000
"""Calls of a measure that its noise floor may cost: a second or two for most."""
FEWEST_PERMUTATIONS = 40
"""Enough for a p-value below 5% and a 95% point."""


class Ours:
    """A measure that says more of itself than its value: see `Gap`."""

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger one is better."""
        raise NotImplementedError

    @property
    def proportion(self) -> bool:
        """Whether it is a share, shown as percent."""
        raise NotImplementedError

    @property
    def unit(self) -> str:
        """What it is in where it is no share, in words."""
        raise NotImplementedError

    def for_task(self, task: Task) -> Ours:
        """Return it for a task."""
        raise NotImplementedError

    def among(self, data: Data, rows: torch.Tensor, name: str) -> Measure:
        """Return it as a measure of the answers about some samples."""
        raise NotImplementedError


@runtime_checkable
class Facing(Protocol):
    """A measure of certain samples that finds its own noise, intervals and floors."""

    def noise(self, outputs: npt.NDArray[Any], targets: npt.NDArray[Any]) -> Noise | None:
        """Return the noise of its sheet."""

    def behind(
        self,
        answers: Callable[[int], torch.Tensor],
        targets: torch.Tensor,
        chosen: Sequence[int],
    ) -> Behind:
        """Return what is behind the scores of the candidates at some positions."""


@dataclass(frozen=True)
class WithAttributes:
    """A measure that also gets the attributes of the samples, a row for each."""

    fn: Measure
    attributes: pd.DataFrame

    def __call__(self, answers: torch.Tensor, targets: torch.Tensor) -> Any:
        """Return its value."""
        return call_with_attributes(self.fn, answers, targets, self.attributes)


def as_measure(fn: Measure | Ours | str, task: Task) -> Any:
    """Return a measure itself, or the one that a name means for a task."""
    if isinstance(fn, Ours):
        return fn.for_task(task)
    return measure_named(fn, task) if isinstance(fn, str) else fn


def is_higher_better(fn: Measure | Ours, said: bool | None) -> bool:
    """Return what was said; else what is known of a named measure, and True of any other."""
    known = fn.higher_is_better if isinstance(fn, Named | Ours) else True
    return known if said is None else said


def with_attributes(fn: Measure | Ours, data: Data, rows: torch.Tensor, name: str) -> Measure:
    """Return a measure of answers and targets alone; attributes of the rows go with it."""
    if isinstance(fn, Ours):
        return fn.among(data, rows, name)
    if not takes_a_third(fn):
        return fn
    if data.attributes is None:
        raise MeasurementError(
            f"{name}: the third parameter of a measure gets the attributes of the samples, and "
            f"{data.name!r} has none: pm.Data(inputs, targets, attributes=frame), or give the "
            "parameter a default"
        )
    return WithAttributes(fn, data.attributes.iloc[rows.numpy()].reset_index(drop=True))


def measure_name(fn: Any, name: str | None) -> str:
    """Return the name under which a measure stands in sheets: given, or the function's own."""
    if not callable(fn) and not isinstance(fn, Ours):
        raise MeasurementError(
            f"{fn!r} is no measure: give a function of logits and targets that returns a number, "
            'or a name such as "auroc"'
        )
    own = getattr(fn, "__name__", None) or type(fn).__name__
    if name is None and own in ("<lambda>", "partial"):
        raise MeasurementError(f"a {own} has no name for the sheets: say measure(..., name='...')")
    return name or str(own)


def apply_measure(
    fn: Measure, logits: torch.Tensor, targets: torch.Tensor, name: str, candidate: str
) -> float:
    """`fn(logits, targets)` as a finite float. Shapes `[n, C]` and `[n]`.

    Raises MeasurementError when the result has several elements, is nan, or is no number.
    """
    result = call_with_targets(fn, logits, targets)
    if isinstance(result, torch.Tensor):
        if result.numel() != 1:
            raise MeasurementError(
                f"{name} returned a tensor of shape {tuple(result.shape)} for {candidate}: "
                "a measure returns one number"
            )
        result = result.item()
    try:
        value = float(result)
    except (TypeError, ValueError):
        raise MeasurementError(
            f"{name} returned {result!r} for {candidate}: a measure returns one number"
        ) from None
    if not math.isfinite(value):
        raise MeasurementError(f"{name} is {value} for {candidate}: a score must be finite")
    return value


@kept(Noise)
def noise_of_measure(
    fn: Any, logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]
) -> Noise | None:
    """Test-set noise of a measure between candidates: logits `[K, n, C]`, targets `[n]`.

    None where the measure has no value on some exchange of the candidates' outputs.
    """
    truth = torch.from_numpy(targets)

    def metric(outputs: npt.NDArray[np.floating], _: npt.NDArray[np.integer]) -> float:
        own = torch.from_numpy(outputs).clone(), truth.clone()  # which it may write into
        return apply_measure(fn, *own, "measure", "an exchange")

    try:
        if isinstance(fn, Facing):
            return fn.noise(logits, targets)
        return bounded_noise(metric, logits, targets)
    except MeasurementError:
        return None


def bounded_noise(
    metric: MetricFunction,
    outputs: npt.NDArray[np.floating],
    targets: npt.NDArray[np.integer],
    calls: int = 1,
) -> Noise:
    """`noise_of_metric` with as many permutations as `NOISE_CALLS` allows; `calls` for each."""
    permutations = min(NOISE_CALLS // (len(outputs) * calls), PERMUTATIONS_OF_VALUES)
    return noise_of_metric(
        metric, outputs, targets, permutations=max(permutations, FEWEST_PERMUTATIONS)
    )
