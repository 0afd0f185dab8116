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
    def direction(self, gradient: Tensor) -> Tensor:
        """Return the steps of length 1 that increase a loss most; 0 where its gradient is 0."""

    @abstractmethod
    def project(self, offset: Tensor, radius: float) -> Tensor:
        """Return the nearest offsets that are at most `radius` long."""

    @abstractmethod
    def random(self, stream: Stream, rows: Tensor, shape: torch.Size) -> Tensor:
        """Return offsets that are uniform in the ball of radius 1, for the samples of `rows`."""


class Linf(Norm):
    """The largest change of any value."""

    def diameter(self, shape: torch.Size) -> float:
        """Return 1."""
        return 1.0

    def direction(self, gradient: Tensor) -> Tensor:
        """Return the signs."""
        return gradient.sign()

    def project(self, offset: Tensor, radius: float) -> Tensor:
        """Return every value clamped by itself."""
        return offset.clamp(-radius, radius)

    def random(self, stream: Stream, rows: Tensor, shape: torch.Size) -> Tensor:
        """Return values that are uniform each."""
        return stream.signed_uniform(rows, shape)


class L2(Norm):
    """The Euclidean length of the change."""

    def diameter(self, shape: torch.Size) -> float:
        """Return the diagonal of the cube."""
        return math.sqrt(shape.numel())

    def direction(self, gradient: Tensor) -> Tensor:
        """Return the gradient at length 1; scaled first, since squares of tiny values vanish."""
        tiny = torch.finfo(gradient.dtype).tiny
        scaled = gradient / _of_samples(gradient.flatten(1).abs().amax(1), gradient).clamp(tiny)
        return scaled / _lengths(scaled).clamp(tiny)

    def project(self, offset: Tensor, radius: float) -> Tensor:
        """Return longer offsets shortened."""
        tiny = torch.finfo(offset.dtype).tiny
        return offset * (radius / _lengths(offset).clamp(tiny)).clamp(max=1)

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
