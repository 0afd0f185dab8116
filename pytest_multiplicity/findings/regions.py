"""Where survivors flip and where they disagree: found on what selected, confirmed elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.evaluation import Metric, noted_attributes
from pytest_multiplicity.findings.beside import RegionReport
from pytest_multiplicity.findings.family import FamilyFindings
from pytest_multiplicity.findings.predictive import Predictions
from pytest_multiplicity.statistics import regions as formulas

Floats = npt.NDArray[np.float64]
Happened = tuple[str, str | None, Callable[[], Floats]]
"""On which data, what their attributes are known by, and what happened to each sample."""

MOST = 6
"""Regions that are told of one question."""


def reports(family: FamilyFindings, on: Sequence[Predictions]) -> list[RegionReport]:
    """Return the regions of a family whose survivors are known."""
    if not family.survivors.any():
        return []
    questions = {"survivors disagree": list(_divided(family, on)), **_flips(family)}
    return [
        region
        for what, happened in questions.items()
        for some in family.tried(f"where {what}", partial(_confirmed, family, what, happened))
        for region in some
    ]


def _confirmed(
    family: FamilyFindings, what: str, happened: Sequence[Happened]
) -> list[RegionReport]:
    """Return what the first data set that selected shows, and each of the others confirms."""
    selecting = {family.metrics[name].data for name in family.selecting}
    first = next((each for each in happened if each[0] in selecting), None)
    if first is None:
        return []
    found_on, columns = first[2](), noted_attributes(family.look, first[1])
    return [
        RegionReport(what=what, data=data, found_on=first[0], **vars(region))
        for data, key, values in happened
        if data not in selecting and key != first[1]
        for region in formulas.confirmed(
            found_on, columns, values(), noted_attributes(family.look, key)
        )[:MOST]
    ]


def _divided(family: FamilyFindings, on: Sequence[Predictions]) -> Iterator[Happened]:
    """Yield where any two survivors say different things."""
    if family.survivors.sum() < 2:
        return
    keys = {metric.data: metric.data_key for metric in _plain(family)}
    for each in on:
        if each.asked.compares:
            yield each.data, keys.get(each.data), partial(_conflicts, each, family.survivors)


def _conflicts(on: Predictions, survivors: npt.NDArray[np.bool_]) -> Floats:
    return np.asarray(on.said(survivors).conflicts(), dtype=np.float64)


def _flips(family: FamilyFindings) -> dict[str, list[Happened]]:
    """Return where survivors flip, by incumbent."""
    found: dict[str, list[Happened]] = {}
    for metric in _plain(family):
        aside = metric.aside or {}
        if aside.get("kind") == "flips" and metric.outcomes is not None and metric.counted is None:
            what = f"survivors flip against {aside['comparison']['incumbent']}"
            shares = partial(_shares, metric, family.survivors)
            found.setdefault(what, []).append((str(metric.data), metric.data_key, shares))
    return found


def _shares(metric: Metric, survivors: npt.NDArray[np.bool_]) -> Floats:
    """Return the share of survivors that flip, sample by sample."""
    assert metric.outcomes is not None  # as was looked at
    shares: Floats = metric.outcomes[:, survivors].mean(axis=1, dtype=np.float64)
    return shares


def _plain(family: FamilyFindings) -> list[Metric]:
    """Return metrics of whole data sets as they are."""
    every = family.every_metric
    return [each for each in every if each.whole and not each.under and each.data is not None]
