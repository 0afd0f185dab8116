"""Membership inference: can an attacker tell which samples a candidate was trained on?

The score is one minus the attack's balanced accuracy: higher is better, and at 0.5 the attacker
guesses. The attack calls a sample a member when the candidate is surer of its class than a
threshold (Yeom et al., CSF 2018). With references it compares with how sure other candidates are
that did not see the sample (Carlini et al., S&P 2022, their offline attack without a variance).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.errors import MeasurementError

FEWEST_REFERENCES = 4
"""Candidates that did not see a sample: their mean over fewer is too noisy to compare with."""

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def relative_to_references(sureness: Floats, trained: Bools) -> Floats:
    """Return what each candidate's log-odds exceed its references' mean by: [K, n].

    `sureness`: log-odds [K, n]; `trained`: [K, n], whether candidate k saw sample i. The
    references for a sample are the other candidates that did not see it. Raises MeasurementError
    where a sample has fewer than `FEWEST_REFERENCES` of them.
    """
    unseen = ~trained
    count = unseen.sum(axis=0) - unseen  # [K, n]: without the candidate itself
    if (count < FEWEST_REFERENCES).any():
        short = int((count < FEWEST_REFERENCES).any(axis=0).sum())
        raise MeasurementError(
            f"{short} of {trained.shape[1]} samples have fewer than {FEWEST_REFERENCES} other "
            "candidates that did not see them: give the axis 'seed.subset' more options, 32 or more"
        )
    total = np.where(unseen, sureness, 0.0)
    found: Floats = sureness - (total.sum(axis=0) - total) / count
    return found


def privacy(sureness: npt.NDArray[np.floating], members: Bools) -> float:
    """One minus the balanced accuracy of the attack, its threshold cross-fitted.

    `sureness`: [n], the higher the likelier a member; `members`: [n]. The threshold that is
    best on one half of the samples is tried on the other: best in sample, an attack on nothing
    would seem to work. Raises MeasurementError for fewer than two members or non-members.
    """
    if min(np.count_nonzero(members), np.count_nonzero(~members)) < 2:
        raise MeasurementError(
            f"{np.count_nonzero(members)} members and {np.count_nonzero(~members)} non-members: "
            "an attack needs two or more of each, and hundreds to be measured well"
        )
    found = called(sureness, members)
    half = _halves(members)
    accuracies = [_balanced_accuracy(found[part], members[part]) for part in (~half, half)]
    return 1.0 - float(np.mean(accuracies))


def called(sureness: npt.NDArray[np.floating], members: Bools) -> Bools:
    """Return which samples the attack calls members `[n]`, by the threshold of the other half."""
    half, found = _halves(members), np.zeros(len(members), dtype=bool)
    for part in (half, ~half):
        threshold = _best_threshold(sureness[part], members[part])
        found[~part] = sureness[~part] >= threshold
    return found


def _halves(members: Bools) -> Bools:
    """Return a random half of the members and of the others, the same in every run: [n]."""
    rng = np.random.default_rng(0)
    half = np.zeros(len(members), dtype=bool)
    for group in (members, ~members):
        rows = rng.permutation(np.flatnonzero(group))
        half[rows[: len(rows) // 2]] = True
    return half


def _best_threshold(sureness: npt.NDArray[np.floating], members: Bools) -> float:
    """Return the threshold with the best balanced accuracy, midway between two samples."""
    values = np.unique(sureness)
    caught = _share_at_least(sureness[members], values)
    wronged = _share_at_least(sureness[~members], values)
    best = int(np.argmax(caught - wronged))
    return float(values[best] + values[best - 1]) / 2 if best else -np.inf


def _share_at_least(sureness: npt.NDArray[np.floating], values: npt.NDArray[np.floating]) -> Floats:
    below = np.searchsorted(np.sort(sureness), values, side="left")
    share: Floats = 1.0 - below / len(sureness)
    return share


def _balanced_accuracy(called: Bools, members: Bools) -> float:
    return float(called[members].mean() + (~called)[~members].mean()) / 2
