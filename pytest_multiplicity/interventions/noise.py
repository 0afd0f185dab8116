"""Accuracy under exponential noise, on the input and on the output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pytest_multiplicity.data import kinds
from pytest_multiplicity.errors import InterventionError
from pytest_multiplicity.interventions import checks
from pytest_multiplicity.interventions.base import InputIntervention, OutputIntervention
from pytest_multiplicity.interventions.randomness import Stream
from pytest_multiplicity.tasks import Classification, Task

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data

NODES = 32  # exact for 64 classes


@dataclass(frozen=True, repr=False)
class InputNoise(InputIntervention):
    """Inputs plus exponential noise of a mean, clamped to the data's bounds: `InputNoise(0.05)`.

    It acts on floats, also on those in a dict or a tuple, and on the columns of numbers of a
    DataFrame, where the unit is a column's standard deviation over the data that was given; missing
    values stay missing.

    Stands for privacy of the input: a user who perturbs what is sent (the stronger privacy metric
    of Ganesh, arXiv 2311.14859). For images in [0, 1], means of 0.05 to 0.1 are sensible.

    Args:
        scale: the mean of the noise, in the units of the input; 0 is clean.
        seed: of the numbers, which are the same for every candidate and for every scale.

    Raises:
        InterventionError: the scale is negative, or no number; or, when measured, there are no
            floats.
    """

    scale: float
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", checks.number("InputNoise", "scale", self.scale))
        checks.count("InputNoise", "seed", self.seed, least=0)

    @property
    def draws(self) -> str:
        """The numbers of a seed."""
        return f"InputNoise with seed={self.seed}"

    def check(self, data: Data) -> None:
        """Raise an InterventionError where inputs of `data` have no floats."""
        checks.acts_on_numbers(self, data)

    def apply(self, inputs: kinds.Batch, rows: Tensor, data: Data) -> kinds.Batch:
        """Return the noisy inputs; see `InputIntervention.apply`."""
        self.check(data)
        if self.scale == 0:
            return inputs
        if kinds.is_frame(inputs):
            return self._in_columns(inputs, rows, data.source.spreads)
        names = iter(kinds.tensors(inputs))

        def noisy(values: Tensor) -> Tensor:
            name = next(names)
            if not values.is_floating_point():
                return values
            stream = Stream(f"InputNoise{name}", self.seed)
            noise = stream.exponential(rows, values.shape[1:]).to(values)
            changed = values + self.scale * noise
            return changed if data.bounds is None else changed.clamp(*data.bounds)

        return kinds.mapped(inputs, noisy)

    def _in_columns(self, frame: Any, rows: Tensor, spreads: dict[Any, float]) -> Any:
        """Return a frame whose columns of numbers have noise in units of their spread."""
        size = torch.Size([len(spreads)])
        noise = Stream("InputNoise", self.seed).exponential(rows, size).double().numpy()
        noisy = frame.copy()
        for place, (name, spread) in enumerate(spreads.items()):
            noisy[name] = frame[name] + self.scale * spread * noise[:, place]
        return noisy


@dataclass(frozen=True, repr=False)
class OutputNoise(OutputIntervention):
    """Logits plus exponential noise of a mean, independent per class: `OutputNoise(5)`.

    Stands for privacy of the prediction: report-noisy-max (Dwork and Roth 2014, section 3.3), with
    exponential noise the same as permute-and-flip (Ding et al., arXiv 2105.07260), as in
    Ganesh, arXiv 2311.14859, whose lambda is this mean. It is measured on the scale of the logits:
    a model with larger margins withstands more of it.

    Accuracy is the expected one, in closed form: nothing is drawn. Predictions and other measures
    are drawn.

    Args:
        scale: the mean of the noise, in the units of the logits; 0 is clean.
        seed: of the numbers, which are the same for every candidate and for every scale.

    Raises:
        InterventionError: the scale is negative, or no number.
    """

    scale: float
    seed: int = 0
    needs_classes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", checks.number("OutputNoise", "scale", self.scale))
        checks.count("OutputNoise", "seed", self.seed, least=0)

    @property
    def draws(self) -> str:
        """The numbers of a seed."""
        return f"OutputNoise with seed={self.seed}"

    def apply(self, logits: Tensor, rows: Tensor, data: Data) -> Tensor:
        """Return the logits with noise that was drawn; see `OutputIntervention.apply`."""
        self.check_answers(logits, data.task)
        if self.scale == 0:
            return logits
        _check_logits(logits, repr(self))
        noise = Stream("OutputNoise", self.seed).exponential(rows, logits.shape[1:]).to(logits)
        return Classification().bounded(logits) + self.scale * noise

    def check_answers(self, answers: Tensor, task: Task) -> None:
        """Raise InterventionError for anything but logits of one class for each sample."""
        if self.scale and not task.has_logits(answers):
            raise InterventionError(
                f"{self!r} is noise on the logits of classes, and this is {task.name} with answers "
                f"of {answers.dtype}: it fits classification, of candidates that answer with "
                "logits, log-probabilities, or an estimator that has predict_proba"
            )

    def expected_correct(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the probability [b], float64, that the target's noisy logit is the largest.

        With a_j = exp((z_j - max z) / scale), class k wins with probability
        a_k * integral over u in [0, 1] of prod_{j != k} (1 - a_j u): a polynomial in u, for which
        Gauss-Legendre quadrature is exact. Beyond 64 classes it is right to 1e-7 of the value for
        1,000, and to 1e-3 for 10,000.
        """
        if self.scale == 0:
            clean = Classification()
            right: Tensor = clean.right(clean.predictions(logits), targets)
            return right.double()
        _check_logits(logits, repr(self))
        logits, targets = Classification().bounded(logits.cpu().double()), targets.cpu()
        weights = ((logits - logits.amax(dim=1, keepdim=True)) / self.scale).exp()  # a: [b, C]
        wins = weights.gather(1, targets[:, None])[:, 0]  # a_k: [b]
        others = weights.scatter(1, targets[:, None], 0.0)  # [b, C]
        nodes, shares = _gauss_legendre(logits.shape[1])  # [q]
        product = wins.new_ones(len(nodes), len(wins))
        for column in others.T.contiguous():  # class by class: [q, b] stays in the cache
            product *= 1 - nodes[:, None] * column
        return wins * (shares @ product)


def _check_logits(answers: Tensor, name: str) -> None:
    if not answers.is_floating_point():
        raise InterventionError(
            f"{name} is noise on logits, and the candidates answer without: have them return "
            "logits, log-probabilities, or an estimator that has predict_proba"
        )


def _gauss_legendre(classes: int) -> tuple[Tensor, Tensor]:
    """Return nodes and weights on [0, 1], exact for polynomials of degree `classes` - 1.

    For many classes of like logits the integrand falls from 1 within 1 / classes, which nodes in u
    would miss (32 of them by a tenth, for 1,000 classes): there they stand in t, with u = t^3.
    """
    nodes, weights = np.polynomial.legendre.leggauss(min((classes + 1) // 2, NODES))
    nodes, weights = (nodes + 1) / 2, weights / 2
    if classes > 2 * NODES:
        nodes, weights = nodes**3, weights * 3 * nodes**2
    return torch.from_numpy(nodes), torch.from_numpy(weights)
