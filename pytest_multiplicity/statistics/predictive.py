"""How often equally good candidates say different things of the same sample.

Predictions are classes `[K, n]`; probabilities are `[K, n, C]`. Where nothing else is said,
measures are baseline-free: all candidates count alike. With one candidate nobody disagrees:
ambiguity, discrepancy, disagreement, ranges and variances are 0, self-consistency and capacity 1.
What each number means stands in `definitions.DEFINITIONS`.

Everything raises ScoresError for arrays of another shape or kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.errors import ScoresError
from pytest_multiplicity.statistics.capacity import Capacity, rashomon_capacity
from pytest_multiplicity.statistics.selection import within
from pytest_multiplicity.statistics.votes import (
    CHUNK,
    check_predictions,
    check_probabilities,
    vote_chunks,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Capacity",
    "agreement",
    "ambiguity",
    "conflicts",
    "disagreement",
    "discrepancy",
    "fleiss_kappa",
    "mean_by_group",
    "probabilistic_ambiguity",
    "rashomon_capacity",
    "rashomon_ratio",
    "score_variance",
    "self_consistency",
    "self_consistency_distribution",
    "viable_prediction_range",
]

Floats = npt.NDArray[np.float64]
Classes = npt.NDArray[np.integer]
Probabilities = npt.NDArray[np.floating]


def conflicts(predictions: Classes) -> npt.NDArray[np.bool_]:
    """On which samples any two candidates differ: [n]."""
    check_predictions(predictions)
    differs: npt.NDArray[np.bool_] = np.logical_or.reduce(predictions != predictions[0], axis=0)
    return differs


def ambiguity(predictions: Classes, baseline: Classes | None = None) -> float:
    """Share of samples on which any two candidates differ, or any differs from the baseline's [n].

    Against a baseline: Marx, Calmon and Ustun (ICML 2020), arXiv 1909.06677.
    """
    if baseline is None:
        return float(conflicts(predictions).mean())
    return float((predictions != _check_baseline(predictions, baseline)).any(axis=0).mean())


def discrepancy(predictions: Classes, baseline: Classes | None = None) -> float:
    """Largest share of samples on which two candidates differ, or one and the baseline ([n]) do.

    Against a baseline: Marx, Calmon and Ustun (ICML 2020), arXiv 1909.06677.
    """
    if baseline is None:
        return float(1 - agreement(predictions).min())
    return float((predictions != _check_baseline(predictions, baseline)).mean(axis=1).max())


def agreement(predictions: Classes) -> Floats:
    """Share of samples on which each two candidates say the same: [K, K], 1 on the diagonal."""
    check_predictions(predictions)
    small = predictions.astype(np.min_scalar_type(int(predictions.max())))  # less to read
    shares = np.ones((len(small), len(small)))
    for k in range(len(small) - 1):
        shares[k, k + 1 :] = shares[k + 1 :, k] = (small[k + 1 :] == small[k]).mean(axis=1)
    return shares


def disagreement(predictions: Classes) -> float:
    """Mean share of samples on which two candidates differ, over unordered pairs.

    Half of what Kulynych et al. (2023) call disagreement of binary classifiers.
    """
    return float(1 - self_consistency(predictions).mean())


def self_consistency(predictions: Classes) -> Floats:
    """Per sample, the share of pairs of candidates that say the same: [n].

    Cooper et al. (AAAI 2024), arXiv 2301.11562, for any number of classes.
    """
    pairs = len(predictions) * (len(predictions) - 1)
    agreeing = [(votes * (votes - 1)).sum(axis=1) for votes in vote_chunks(predictions)]
    if not pairs:
        return np.ones(predictions.shape[1])
    shares: Floats = np.concatenate(agreeing) / pairs
    return shares


def self_consistency_distribution(values: Floats, levels: Sequence[float]) -> pd.Series[float]:
    """Share of samples whose self-consistency is at most each level, indexed by the levels."""
    import pandas as pd  # for whom workers, which answer only, needn't wait

    below = np.searchsorted(np.sort(values), levels, side="right") / len(values)
    return pd.Series(below, index=pd.Index(list(levels), name="self-consistency"))


def mean_by_group(values: Floats, groups: npt.ArrayLike) -> pd.Series[float]:
    """Mean of a per-sample measure in every group: `groups` ([n]) names each sample's."""
    import pandas as pd

    return pd.Series(values).groupby(np.asarray(groups)).mean()


def fleiss_kappa(predictions: Classes) -> float:
    """Agreement beyond chance, Fleiss (1971): 1 is full, 0 what the class shares alone give.

    nan where chance agreement is full already: one candidate, or a single class ever predicted.
    """
    if len(predictions) < 2:
        return float("nan")
    votes = sum(part.sum(axis=0) for part in vote_chunks(predictions))
    shares = votes / predictions.size
    chance = float((shares**2).sum())
    if chance == 1:
        return float("nan")
    return (float(self_consistency(predictions).mean()) - chance) / (1 - chance)


def viable_prediction_range(probabilities: Probabilities, labels: Classes | int) -> Floats:
    """Per sample, the lowest and the highest probability of a class: [n, 2].

    `labels`: the class, one for all or one per sample [n]. Watson-Daniels, Parkes and Ustun
    (AAAI 2023), arXiv 2206.01131.
    """
    parts = [(each.min(axis=0), each.max(axis=0)) for each in _of_labels(probabilities, labels)]
    return np.concatenate([np.stack(part, axis=1) for part in parts])


def probabilistic_ambiguity(
    probabilities: Probabilities,
    labels: Classes | int,
    *,
    delta: float,
    baseline: Probabilities | None = None,
) -> float:
    """Share of samples whose probability of a class varies by `delta` or more.

    Between any two candidates, or with `baseline` ([n, C] probabilities) between any candidate
    and the baseline: Watson-Daniels, Parkes and Ustun (AAAI 2023), arXiv 2206.01131.
    """
    if not 0 <= delta <= 1:
        raise ScoresError(f"delta={delta!r}: probabilities differ by 0 to 1")
    ranges = viable_prediction_range(probabilities, labels)
    low, high = ranges[:, 0], ranges[:, 1]
    if baseline is None:
        return float((high - low >= delta).mean())
    fixed = viable_prediction_range(baseline[None], labels)[:, 0]
    return float((np.maximum(high - fixed, fixed - low) >= delta).mean())


def score_variance(probabilities: Probabilities, labels: Classes | int) -> Floats:
    """Per sample, the variance (ddof 1) of the probability of a class over the candidates: [n]."""
    if len(probabilities) == 1:
        return np.zeros(probabilities.shape[1])
    return np.concatenate([each.var(axis=0, ddof=1) for each in _of_labels(probabilities, labels)])


def rashomon_ratio(scores: Floats, eps: float, *, higher_is_better: bool = True) -> float:
    """Share of the candidates with a score that are within `eps` of the best.

    Semenova, Rudin and Parr (FAccT 2022) with the family as the hypothesis space.
    """
    if np.isnan(scores).all():
        raise ScoresError("no candidate has a score: there is no Rashomon set")
    kept = within(scores, eps, higher_is_better=higher_is_better)
    return float(kept.sum() / np.count_nonzero(~np.isnan(scores)))


def _of_labels(probabilities: Probabilities, labels: Classes | int) -> Iterator[Floats]:
    """Probabilities of the labels, [K, samples] of consecutive chunks."""
    check_probabilities(probabilities)
    candidates, samples, classes = probabilities.shape
    wanted = np.broadcast_to(np.asarray(labels), (samples,))
    if wanted.min() < 0 or wanted.max() >= classes:
        raise ScoresError(f"labels {wanted.min()} to {wanted.max()} for {classes} classes")
    step = max(1, CHUNK // candidates)
    for start in range(0, samples, step):
        rows = np.arange(start, min(start + step, samples))
        yield probabilities[:, rows, wanted[rows]].astype(np.float64)


def _check_baseline(predictions: Classes, baseline: Classes) -> Classes:
    check_predictions(predictions)
    if baseline.shape != predictions.shape[1:]:
        raise ScoresError(
            f"a baseline of shape {baseline.shape} for {predictions.shape[1]} samples: give its "
            "predictions on the same data"
        )
    return baseline
