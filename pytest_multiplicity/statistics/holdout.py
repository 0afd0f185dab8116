"""What may be read off a data set that was looked at before.

Of candidates and comparisons that were fixed beforehand Hoeffding's inequality bounds how much too
good any score is. Candidates made after a look aren't: but who was told yes or no, L times, can
have made only one of 2 ** L choices (Dwork et al. 2015), and the ladder tells only of what is
better beyond its own uncertainty (Blum and Hardt 2015). All functions are pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.statistics.doubt import BUDGET

Losses = npt.NDArray[np.generic]


def optimism(samples: int, candidates: int, comparisons: int, answers: int = 0) -> float | None:
    """Return by how much an accuracy may be too good, at most; of paired differences it is twice.

    With confidence `1 - BUDGET`, for `candidates` compared in so many ways, after `answers` of yes
    or no: `sqrt((L log 2 + log(2 K q / 0.05)) / (2 n))`. None where that says nothing: 1 or more.
    """
    if samples < 1 or candidates < 1:
        return None
    spent = answers * math.log(2) + math.log(2 * candidates * max(1, comparisons) / BUDGET)
    bound = math.sqrt(spent / (2 * samples))
    return bound if bound < 1 else None


@dataclass(frozen=True)
class Announced:
    """The best that was announced so far: its loss, and its losses by sample [n]."""

    loss: float
    losses: Losses


def ladder(last: Announced | None, losses: Losses) -> Announced:
    """Return what is announced after another model with these losses by sample [n].

    The parameter-free ladder of Blum and Hardt (2015, figure 2): the new one, rounded to 1/n, where
    its mean loss is smaller than what was announced last by more than the standard error of the
    paired difference; else what was announced last.
    """
    samples, loss = len(losses), float(losses.mean(dtype=np.float64))
    if last is not None:
        difference = losses.astype(np.float64) - last.losses.astype(np.float64)
        error = float(difference.std(ddof=1)) / math.sqrt(samples) if samples > 1 else 0.0
        if not loss < last.loss - error:
            return last
    return Announced(round(loss * samples) / samples, losses)
