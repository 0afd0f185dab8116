"""Copies: candidates whose raw answers on a data set are equal count once in its statistics."""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.evaluation import Look, Metric

if TYPE_CHECKING:
    from pytest_multiplicity.design import Design

Bools = npt.NDArray[np.bool_]
Firsts = npt.NDArray[np.intp]
"""For each candidate, the position of the first that answers as it does: [K]."""

MOST_LOGITS = 50_000_000  # numbers that are compared where predictions are equal


def firsts(metric: Metric, look: Look) -> Firsts:
    """Return who answers as whom, on a whole data set without intervention."""
    first = np.arange(len(metric.scores))
    if metric.predictions is None:
        return first
    alike: dict[bytes, list[int]] = defaultdict(list)
    for index in sorted(metric.logits):
        alike[np.ascontiguousarray(metric.predictions[index]).tobytes()].append(index)
    for group in alike.values():
        seen: dict[object, int] = {}
        for index, answers in zip(group, _answers(metric, group, look), strict=True):
            first[index] = seen.setdefault(answers, index)
    return first


def _answers(metric: Metric, group: list[int], look: Look) -> list[object]:
    """Return something equal for equal answers, for candidates whose predictions are."""
    keys = [metric.logits[index] for index in group]
    if len(set(keys)) < 2:
        return [*keys]
    known: dict[str, Any] = {}
    size = 0
    for key in dict.fromkeys(keys):
        entry = look("logits", key) if size <= MOST_LOGITS else None
        if entry is None:  # gone, or too many to compare: each is taken for another
            known[key] = key
            continue
        logits = entry.tensors["logits"]
        size += logits.numel()
        known[key] = sha256(logits.contiguous().numpy().tobytes()).digest()
    return [known[key] for key in keys]


def once(first: Firsts, chosen: Bools) -> Bools:
    """Return the chosen candidates, of copies among them the first."""
    positions = np.flatnonzero(chosen)
    _, places = np.unique(first[positions], return_index=True)
    kept = np.zeros(len(chosen), dtype=bool)
    kept[positions[places]] = True
    return kept


def seed_has_no_effect(first: Firsts, design: Design) -> bool:
    """Return whether all seeds of every configuration answer alike, where there are several."""
    several = [of for of in design.configurations.values() if len(of) > 1]
    return bool(several) and all(len(set(first[of].tolist())) == 1 for of in several)
