"""Rashomon capacity: how many different outputs the candidates can spread one sample's over.

Hsu and Calmon (NeurIPS 2022), arXiv 2206.01295. For one sample, candidate k's class probabilities
`w_k` are the rows of a channel from candidates to classes; its capacity is the largest mutual
information over all mixtures `p` of the candidates, by Blahut and Arimoto's iteration

    p_k <- p_k * 2 ** (step * D(w_k || q)) / Z,    q = sum_k p_k w_k.

With `step = 1` it converges surely and slowly (thousands of steps); longer steps are taken while
the information grows, and taken back when it falls. For every p,
`sum_k p_k D(w_k || q) <= capacity <= max_k D(w_k || q)`, which certifies the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.statistics.kept import kept
from pytest_multiplicity.statistics.votes import check_probabilities

Floats = npt.NDArray[np.float64]

GAP = 1e-3
"""Bits by which the true capacity may lie above the one returned."""
GROW, SHRINK = 1.5, 0.25
MAX_STEPS = 20_000
CHUNK = 1 << 18
"""Elements worked on at a time: 2 MiB, which stay in the cache from step to step."""
TINY = 1e-30
"""Under a logarithm instead of 0, and the least weight, so that a candidate can come back."""


@dataclass(frozen=True, eq=False)
class Capacity:
    """Rashomon capacity of every sample, with its certificate."""

    values: Floats
    """[n], `2 ** bits`: between 1 (all say the same) and the number of classes."""
    gap: float
    """In bits, the largest over samples: the true capacity lies between `bits` and that more."""


@kept(Capacity)
def rashomon_capacity(probabilities: npt.NDArray[np.floating], gap: float = GAP) -> Capacity:
    """Rashomon capacity of every sample, as `2 ** bits`.

    `probabilities`: [K, n, C]; each sample's are computed in float64 and made to sum to 1. Stops
    at a duality gap of `gap` bits; the largest gap is returned.
    """
    check_probabilities(probabilities)
    parts = [_capacity(channels, gap) for channels in _channels(probabilities)]
    bits = np.concatenate([part[0] for part in parts])
    gaps = np.concatenate([part[1] for part in parts])
    values: Floats = np.clip(2.0**bits, 1.0, probabilities.shape[2])
    return Capacity(values, float(gaps.max()))


def over_all_classes(probabilities: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return candidates' probabilities, each [n, its classes], together: [K, n, C].

    A class that a candidate doesn't know has no probability.
    """
    most = max(each.shape[-1] for each in probabilities)
    return np.stack([np.pad(each, ((0, 0), (0, most - each.shape[-1]))) for each in probabilities])


def _channels(probabilities: npt.NDArray[np.floating]) -> Iterator[Floats]:
    """Consecutive samples' channels: [samples, K, C]."""
    candidates, samples, classes = probabilities.shape
    step = max(1, CHUNK // (candidates * classes))
    for start in range(0, samples, step):
        part = probabilities[:, start : start + step].transpose(1, 0, 2).astype(np.float64)
        yield part / part.sum(axis=2, keepdims=True)


@dataclass
class _State:
    """The iteration on all samples that have not converged; b samples."""

    rows: npt.NDArray[np.intp]  # [b], their positions in the chunk
    channels: Floats  # [b, K, C]
    entropies: Floats  # [b, K], sum_c w log2 w
    weights: Floats  # [b, K], the mixture p
    divergences: Floats  # [b, K], D(w_k || q)
    information: Floats  # [b]
    step: Floats  # [b]

    @classmethod
    def start(cls, channels: Floats) -> _State:
        samples, candidates, _ = channels.shape
        logs = np.log2(np.maximum(channels, TINY))
        entropies = np.matmul(channels[:, :, None, :], logs[:, :, :, None])[:, :, 0, 0]
        weights = np.full((samples, candidates), 1 / candidates)
        divergences, information = _information(channels, entropies, weights)
        rows, step = np.arange(samples), np.ones(samples)
        return cls(rows, channels, entropies, weights, divergences, information, step)

    @property
    def gaps(self) -> Floats:
        gaps: Floats = self.divergences.max(axis=1) - self.information
        return gaps

    def advance(self) -> None:
        """Take one step wherever the information grows by it, and adapt all step lengths."""
        excess = self.divergences - self.divergences.max(axis=1, keepdims=True)
        weights = self.weights * np.exp2(self.step[:, None] * excess)
        weights = np.maximum(weights / weights.sum(axis=1, keepdims=True), TINY)
        divergences, information = _information(self.channels, self.entropies, weights)
        better = information >= self.information
        self.weights = np.where(better[:, None], weights, self.weights)
        self.divergences = np.where(better[:, None], divergences, self.divergences)
        self.information = np.where(better, information, self.information)
        self.step = np.where(better, self.step * GROW, np.maximum(self.step * SHRINK, 1.0))

    def keep(self, open_: npt.NDArray[np.bool_]) -> None:
        """Go on with some of the samples only."""
        for name, value in vars(self).items():
            setattr(self, name, value[open_])


def _information(channels: Floats, entropies: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Divergences [b, K] of the candidates from the mixture, and their mean [b]: all in bits."""
    mixture = np.matmul(weights[:, None, :], channels)[:, 0, :]  # [b, C]
    logs = np.log2(np.maximum(mixture, TINY))
    divergences = entropies - np.matmul(channels, logs[:, :, None])[:, :, 0]
    return divergences, np.matmul(weights[:, None, :], divergences[:, :, None])[:, 0, 0]


def _capacity(channels: Floats, gap: float) -> tuple[Floats, Floats]:
    """Capacity in bits and its gap, of every sample: [samples] each."""
    bits, gaps = np.empty(len(channels)), np.empty(len(channels))
    state = _State.start(channels)
    for _ in range(MAX_STEPS):
        bits[state.rows], gaps[state.rows] = state.information, state.gaps
        open_ = gaps[state.rows] > gap
        if not open_.any():
            break
        if not open_.all():
            state.keep(open_)
        state.advance()
    return bits, gaps
