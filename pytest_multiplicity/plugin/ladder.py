"""`multiplicity_ladder = on`: of reporting data a new best is announced, and nothing else told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pytest_multiplicity.findings import Rung
from pytest_multiplicity.plugin import reported
from pytest_multiplicity.plugin.families import Family
from pytest_multiplicity.plugin.state import State
from pytest_multiplicity.statistics import holdout
from pytest_multiplicity.store import fingerprint

if TYPE_CHECKING:
    from pytest_multiplicity.evaluation import Metric
    from pytest_multiplicity.findings import FamilyFindings

KIND = "ladder"


def climb(state: State, family: Family) -> None:
    """Note what is announced of each data set that only reports."""
    found = reported.findings_of(state, family)
    names = [str(found.metrics[name].data) for name in found.selecting if name in found.metrics]
    selecting = {each for name in names for each in (name, name.partition(" where ")[0])}
    only = [each.data for each in found.seen.looks if each.reporting]
    state.ladder[family.key] = {
        data: _rung(state, found, data) for data in only if data not in selecting
    }


def _rung(state: State, family: FamilyFindings, data: str) -> Rung:
    """Return what is announced of a data set after this run, and keep it."""
    metric = _accuracy(family, data)
    if metric is None or metric.outcomes is None:
        return Rung(accuracy=None)
    store, key = state.resources.store, fingerprint([KIND, metric.data_key])
    with store.lock(KIND):
        entry = store.get(KIND, key)
        last = None
        if entry is not None:
            last = holdout.Announced(entry.meta["loss"], entry.tensors["losses"].numpy())
        if family.seen.partial or not family.survivors.any():
            return Rung(accuracy=None if last is None else 1 - last.loss)
        best = int(np.nanargmax(np.where(family.survivors, metric.scores, np.nan)))
        losses = 1 - metric.outcomes[:, best].astype(np.float64)
        told = holdout.ladder(last, losses)
        if told is last:
            return Rung(accuracy=1 - told.loss)
        store.put(KIND, key, {"losses": torch.from_numpy(losses)}, {"loss": told.loss})
        return Rung(accuracy=1 - told.loss, candidate=family.seen.design.ids[best])


def _accuracy(family: FamilyFindings, data: str) -> Metric | None:
    """Return the accuracy on a whole data set, as specs or gates measured it."""
    name = f"accuracy on {data}"
    known = {each.name: each for each in family.gated}
    return family.metrics.get(name) or known.get(name)
