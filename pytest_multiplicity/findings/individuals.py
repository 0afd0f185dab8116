"""Individuals: what survivors say of every single sample, and what that does to groups.

Self-consistency is that of Cooper et al. (Arbitrariness and Social Prediction, 2024); the conflict
ratio the share of models that decide otherwise than the one that is used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.findings.attributed import groups_by, ids_by, says
from pytest_multiplicity.findings.copies import once
from pytest_multiplicity.findings.family import FamilyFindings
from pytest_multiplicity.findings.people import (
    Individual,
    IndividualsReport,
    PeopleAsked,
    PeopleOf,
)
from pytest_multiplicity.findings.picking import pick
from pytest_multiplicity.findings.predictive import Predictions

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data
    from pytest_multiplicity.statistics import Said
    from pytest_multiplicity.tasks import Task

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MOST = 60
"""Samples that reports list."""
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
SEED = "seed"
TINY = 1e-12  # of a sample that has no positions that count


@dataclass(frozen=True, eq=False)
class OfSamples:
    """What is known of every sample of a data set: `[n]` each, but for numbers and names."""

    consistency: Floats
    conflict: Floats
    against: str
    by_axis: Mapping[str, Floats]
    rejected: Bools | None
    """By each survivor `[S, n]`, the pick first; None where no class is wanted."""


def reports(family: FamilyFindings, on: Sequence[Predictions]) -> list[IndividualsReport]:
    """Return what is told of the samples of each data set; nothing where it wasn't asked for."""
    asked = family.seen.people
    if asked is None or not family.survivors.any():
        return []
    return [
        report
        for each in on
        if each.targets is not None and each.asked.compares
        for report in family.tried(
            f"individuals of {each.data}", partial(_report, family, each, asked)
        )
    ]


def note(family: FamilyFindings, found: Sequence[IndividualsReport]) -> list[str]:
    """Return why there is nothing about individuals, where that was asked for."""
    if family.seen.people is None or found or family.lost:
        return []
    why = (
        "no data with targets were measured as they are, as by candidate.accuracy(data)"
        if family.survivors.any()
        else "nobody survives"
    )
    return [f"nothing is told of individuals: {why}"]


def _report(family: FamilyFindings, on: Predictions, asked: PeopleAsked) -> IndividualsReport:
    assert on.targets is not None
    kept = np.flatnonzero(once(on.first, family.survivors))
    chosen = pick(family)
    assert chosen is not None  # somebody survives
    place = _place(on, kept, family.seen.design.ids.index(chosen.id))
    told, positive = _told(family, on, kept, place, asked)
    names, groups = _attributes(family, on, asked)
    turned = _turned(told.by_axis, len(on.targets))
    reached = _reached(family, on.data)
    task, said = on.asked, on.predictions[place]
    everybody = [
        Individual(
            sample=row,
            id=None if names is None else names[row],
            target=task.shown(on.targets[row]),
            answer=task.shown(said[row]),
            conflict=float(told.conflict[row]),
            consistency=float(told.consistency[row]),
            turned_by=turned[row],
            reachable_to=reached.get(row, (None, None))[0],
            reachable_cost=reached.get(row, (None, None))[1],
            rejecting=None if told.rejected is None else float(told.rejected[:, row].mean()),
            rejected_by_pick=None if told.rejected is None else bool(told.rejected[0, row]),
        )
        for row in range(len(on.targets))
    ]
    first = np.lexsort((-told.conflict, told.consistency))[:MOST]
    return IndividualsReport(
        data=on.data,
        survivors=len(kept),
        pick=chosen.id,
        picked_by=chosen.by,
        against=told.against,
        positive=positive,
        turned={axis: float(shares.mean()) for axis, shares in told.by_axis.items()},
        people=[
            _people(told, None, None, np.ones(len(on.targets), dtype=bool)),
            *(_people(told, *each) for each in groups),
        ],
        most=[everybody[row] for row in first.tolist() if everybody[row].consistency < 1],
        everybody=everybody,
    )


def _place(on: Predictions, kept: npt.NDArray[np.intp], chosen: int) -> int:
    """Return the position of the pick, or of whom it is a copy of on these data."""
    return int(next(index for index in kept if on.first[index] == on.first[chosen]))


def _told(
    family: FamilyFindings,
    on: Predictions,
    kept: npt.NDArray[np.intp],
    place: int,
    asked: PeopleAsked,
) -> tuple[OfSamples, str | None]:
    task = on.asked
    against = f"the pick, {family.seen.design.ids[place]}"
    others = [
        task.said(on.predictions[[each, place]], on.targets) for each in kept if each != place
    ]
    consistency = _consistency(task.said(on.predictions[kept], on.targets))
    conflict = np.zeros(len(on.predictions[0]))
    for each in others:
        conflict += each.conflicts() / len(others)
    if family.survivors.sum() < 2:  # there is nobody to differ from
        consistency, conflict = np.full((2, len(conflict)), np.nan)
    if (known := _incumbent(family, on.data)) is not None:
        against, churn = known
        conflict = churn[:, kept].mean(axis=1, dtype=np.float64)
    first = [place, *(index for index in kept.tolist() if index != place)]
    rejected, positive = _rejected(task, on, first, asked.positive)
    told = OfSamples(
        consistency=consistency,
        conflict=conflict,
        against=against,
        by_axis=_by_axis(family, on, kept),
        rejected=rejected,
    )
    return told, positive


def _consistency(said: Said) -> Floats:
    """Return the share of pairs that agree on each sample; 1 of one in which nothing counts."""
    return np.where(said.conflicts() == 0, 1.0, said.self_consistency())


def _incumbent(family: FamilyFindings, data: str) -> tuple[str, npt.NDArray[Any]] | None:
    """Return an incumbent that the family was compared with, and who answers otherwise `[n, K]`."""
    for metric in family.every_metric:
        aside = metric.aside or {}
        if aside.get("kind") == "churn" and metric.where == data and metric.outcomes is not None:
            name = aside["comparison"]["incumbent"]
            weights = 1.0 if metric.counted is None else metric.counted / metric.counted.mean()
            shares = (
                metric.outcomes
                / np.maximum(np.broadcast_to(weights, len(metric.outcomes)), TINY)[:, None]
            )
            return f"the incumbent, {name}", shares
    return None


def _by_axis(
    family: FamilyFindings, on: Predictions, kept: npt.NDArray[np.intp]
) -> dict[str, Floats]:
    """Return, by axis, the share of pairs that differ in it alone and disagree on a sample.

    Axes without such a pair are left out. The seed is the last.
    """
    configs = [vars(family.seen.design.configs[index]) for index in kept]
    found: dict[str, Floats] = {}
    for axis in [*(a for a in family.seen.design.axes if a != SEED), SEED]:
        groups: dict[str, list[int]] = defaultdict(list)
        for place, config in enumerate(configs):
            rest = {name: value for name, value in config.items() if name != axis}
            groups[repr(sorted(rest.items(), key=lambda item: item[0]))].append(place)
        pairs, apart = 0, np.zeros(len(on.predictions[0]))
        for group in (each for each in groups.values() if len(each) > 1):
            count = len(group) * (len(group) - 1) // 2
            said = on.asked.said(on.predictions[kept[group]], on.targets)
            pairs, apart = pairs + count, apart + count * (1 - _consistency(said))
        if pairs:
            found[axis] = apart / pairs
    return found


def _turned(by_axis: Mapping[str, Floats], count: int) -> list[str | None]:
    """Return the axis that turns each sample most often, of equals the first."""
    if not by_axis:
        return [None] * count
    axes, shares = list(by_axis), np.stack([*by_axis.values()])
    first, most = shares.argmax(axis=0), shares.max(axis=0)
    return [axes[i] if top > 0 else None for i, top in zip(first.tolist(), most, strict=True)]


def _rejected(
    task: Task, on: Predictions, who: Sequence[int], wanted: str | None
) -> tuple[Bools | None, str | None]:
    """Return by whom each sample is rejected: who doesn't say the wanted class `[S, n]`.

    None where no class is wanted: it wasn't said, and there are more than two.
    """
    import torch

    assert on.targets is not None  # as `reports` sees to
    targets = torch.from_numpy(on.targets)
    said = [torch.from_numpy(np.asarray(on.predictions[index])) for index in who]
    said = [each if each.is_floating_point() else each.long() for each in said]
    classes = task.names or (0, 1)
    if wanted is None:
        if not task.chooses or len(classes) != 2 or any(int(e.max()) > 1 for e in (*said, targets)):
            return None, None
        wanted = str(classes[1])
    return ~np.stack([says(task, each, targets, wanted) for each in said]), wanted


def _attributes(
    family: FamilyFindings, on: Predictions, asked: PeopleAsked
) -> tuple[list[str] | None, list[tuple[str, str, Bools]]]:
    """Return the samples' ids, and the groups: attribute, value, who is in it."""
    if asked.id is None and not asked.groups:
        return None, []
    data = _data(family, on)
    names = None if asked.id is None else ids_by(data, asked.id)
    return names, groups_by(data, asked.groups)


def _data(family: FamilyFindings, on: Predictions) -> Data:
    known = family.seen.data.get(on.data)
    if known is None or on.targets is None or len(known) != len(on.targets):
        raise MeasurementError(
            f"ids and groups of {on.data!r} are attributes, which only the process that measured "
            "knows: run without -n, or without multiplicity_individuals_id and "
            "multiplicity_individuals_groups"
        )
    return known


def _reached(family: FamilyFindings, data: str) -> dict[int, tuple[str | None, float | None]]:
    """Return what the listed reachable samples can be turned to, and the loss it takes."""
    for facts in family.seen.reached:
        if facts.data == data:
            return {each.row: (each.to, each.cost) for each in facts.contested}
    return {}


def _people(told: OfSamples, attribute: str | None, group: str | None, who: Bools) -> PeopleOf:
    consistency, by_everybody, by_pick_only = told.consistency[who], None, None
    if told.rejected is not None:
        rejected = told.rejected[:, who]
        by_everybody = float(rejected.all(axis=0).mean())
        if len(rejected) > 1:
            by_pick_only = float((rejected[0] & ~rejected[1:].any(axis=0)).mean())
    return PeopleOf(
        attribute=attribute,
        group=group,
        samples=int(who.sum()),
        contested=float(np.where(np.isnan(consistency), np.nan, consistency < 1).mean()),
        conflict=float(told.conflict[who].mean()),
        consistency=float(consistency.mean()),
        quantiles=[float(each) for each in np.quantile(consistency, QUANTILES)],
        rejected_by_everybody=by_everybody,
        rejected_by_pick_only=by_pick_only,
    )
