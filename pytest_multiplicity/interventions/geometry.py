"""The balls that attacks search, in the two norms."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from pytest_multiplicity.interventions.randomness import Stream


class Norm(ABC):
    """What a gradient attack needs of a norm, for each sample of a batch [b, ...]."""

    @abstractmethod
    def diameter(self, shape: torch.Size) -> float:
        """Return the largest distance of two samples with values in [0, 1]."""

    @abstractmethod
    def climbed(
        self, samples: Tensor, gradient: Tensor, size: float, around: Tensor, radius: float
    ) -> Tensor:
        """Return samples a step of length `size` further up a gradient, but not where it is 0.

        Within `box` they are at most `radius` from the samples they belong `around`.
        """

    @abstractmethod
    def box(self, around: Tensor, radius: float) -> tuple[Tensor, Tensor] | None:
        """Return the least and the most of each value in a ball, where that is all of the ball."""

    @abstractmethod
    def random(self, stream: Stream, rows: Tensor, shape: torch.Size) -> Tensor:
        """Return offsets that are uniform in the ball of radius 1, for the samples of `rows`."""


class Linf(Norm):
    """The largest change of any value."""

    def diameter(self, shape: torch.Size) -> float:
        """Return 1."""
        return 1.0

    def climbed(
        self, samples: Tensor, gradient: Tensor, size: float, around: Tensor, radius: float
    ) -> Tensor:
        """Return every value moved."""
        return torch.add(samples, gradient.sign(), alpha=size)

    def box(self, around: Tensor, radius: float) -> tuple[Tensor, Tensor]:
        """Return the ball."""
        return around - radius, around + radius

    def random(self, stream: Stream, rows: Tensor, shape: torch.Size) -> Tensor:
        """Return values that are uniform each."""
        return stream.signed_uniform(rows, shape)


class L2(Norm):
    """The Euclidean length of the change."""

    def diameter(self, shape: torch.Size) -> float:
        """Return the diagonal of the cube."""
        return math.sqrt(shape.numel())

    def climbed(
        self, samples: Tensor, gradient: Tensor, size: float, around: Tensor, radius: float
    ) -> Tensor:
        """Return samples moved by the gradient at length `size`, longer offsets shortened."""
        tiny = torch.finfo(gradient.dtype).tiny
        # scaled first, since squares of tiny values vanish
        scaled = gradient / _of_samples(gradient.flatten(1).abs().amax(1), gradient).clamp(tiny)
        offset = samples + size * scaled / _lengths(scaled).clamp(tiny) - around
        return around + offset * (radius / _lengths(offset).clamp(tiny)).clamp(max=1)

    def box(self, around: Tensor, radius: float) -> None:
        """Return nothing: the ball has no corners."""

    def random(self, stream: Stream, rows: Tensor, shape: torch.Size) -> Tensor:
        """Return points that are uniform by volume."""
        return stream.in_unit_ball(rows, shape)


NORMS: dict[str, Norm] = {"linf": Linf(), "l2": L2()}


def _lengths(samples: Tensor) -> Tensor:
    """Return Euclidean lengths [b, 1, ...]."""
    return _of_samples(samples.flatten(1).norm(dim=1), samples)


def _of_samples(values: Tensor, samples: Tensor) -> Tensor:
    """Return one value per sample [b] in a shape that broadcasts with the samples [b, 1, ...]."""
    return values.reshape(-1, *[1] * (samples.ndim - 1))
