"""Predictive multiplicity: what candidates say of the same samples, before and after selection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.evaluation import Metric
from pytest_multiplicity.findings.conflicts import divided
from pytest_multiplicity.findings.copies import Firsts, once
from pytest_multiplicity.findings.family import Bools, FamilyFindings
from pytest_multiplicity.findings.model import Predictive
from pytest_multiplicity.findings.pictured import Agreement, Conflicts
from pytest_multiplicity.statistics import DEFINITIONS, Said

if TYPE_CHECKING:
    from pytest_multiplicity.tasks import Task

PREDICTIVE = ("ambiguity", "discrepancy", "disagreement")
MOST_AGREEING = 500  # survivors that are compared pair by pair
MOST_PARTS = 20  # labels that are told one by one
MOST_LOGITS = 50_000_000  # numbers that the means over probabilities are made of


@dataclass(frozen=True)
class Predictions:
    """What every candidate said of every sample of a data set: `[K, n, ...]`."""

    data: str
    predictions: npt.NDArray[Any]
    targets: npt.NDArray[Any] | None
    logits: Mapping[int, str]
    measured: Bools
    first: Firsts
    optimistic: bool
    task: Mapping[str, Any]

    @cached_property
    def asked(self) -> Task:
        """What says when two predictions differ."""
        from pytest_multiplicity.tasks import of_record  # torch, which recorded scores don't need

        return of_record(self.task)

    def said(self, by: Bools) -> Said:
        """Return what some candidates said, to be compared."""
        return self.asked.said(self.predictions[by], self.targets)


def predictions(family: FamilyFindings) -> list[Predictions]:
    """Return them for whole data sets that specs took as they are, and for what gates asked."""
    plain = [each for each in family.metrics.values() if each.whole and not each.under]
    said = [*(_predictions(family, each) for each in (*plain, *family.gated))]
    found = [each for each in said if each is not None]
    return list({each.data: each for each in reversed(found)}.values())[::-1]


def _predictions(family: FamilyFindings, metric: Metric) -> Predictions | None:
    if metric.predictions is None or metric.task is None:
        return None
    return Predictions(
        metric.where,
        metric.predictions,
        metric.targets,
        metric.logits,
        measured=~np.isnan(metric.scores),
        first=family.firsts(metric),
        optimistic=metric.name in family.selecting,
        task=metric.task,
    )


def numbers(family: FamilyFindings, on: list[Predictions]) -> list[Predictive]:
    """Return every predictive metric on every data set; nothing of fewer than two candidates."""
    if family.alive.sum() < 2:
        return []
    ways = {"predictive multiplicity": _votes, "the means over probabilities": _sureness}
    return [
        number
        for each in on
        for name, of in ways.items()
        for numbers in family.tried(f"{name} on {each.data}", partial(of, family, each))
        for number in numbers
    ]


def _votes(family: FamilyFindings, on: Predictions) -> list[Predictive]:
    if not on.asked.compares:
        return []
    whole = _whole(family, on)
    everybody, survivors = once(on.first, family.alive), once(on.first, family.survivors)
    before = on.said(everybody) if whole else None
    after = on.said(survivors) if survivors.any() else None
    named = [("", before, after)]
    parts = [on.asked.parts(on.predictions[chosen]) for chosen in (everybody, survivors)]
    for name in [*parts[0]][:MOST_PARTS]:
        kept = parts[1].get(name) if after is not None else None
        named.append((f" of {name}", parts[0][name] if whole else None, kept))
    return [number for each in named for number in _compared(family, on, *each)]


def _compared(
    family: FamilyFindings, on: Predictions, part: str, before: Said | None, after: Said | None
) -> list[Predictive]:
    expected: dict[str, float | None] = {}
    if before is not None and after is not None:
        expected["ambiguity"] = before.expected_ambiguity(len(after))
        if len(after) > 1:  # a mean over pairs: random candidates keep it
            expected["disagreement"] = float(before.disagreement())
    return [
        Predictive(
            metric=f"{name}{part}",
            data=on.data,
            before=None if before is None else float(getattr(before, name)()),
            after=None if after is None else float(getattr(after, name)()),
            expected_after=expected.get(name),
            definition=DEFINITIONS[name] if part else on.asked.defines(name),
            optimistic=on.optimistic and family.selected,
        )
        for name in (PREDICTIVE[:1] if part else PREDICTIVE)
    ]


def _sureness(family: FamilyFindings, on: Predictions) -> list[Predictive]:
    """Return what the answers say, as means over samples; nothing where they are too many."""
    logits = [family.look("logits", on.logits[i]) for i in sorted(on.logits)]
    tensors = [entry.tensors["logits"] for entry in logits if entry is not None]
    size = sum(each.numel() for each in tensors)
    if on.targets is None or len(tensors) != on.measured.sum() or not 0 < size <= MOST_LOGITS:
        return []
    kept = once(on.first, family.survivors)[on.measured]
    distinct = once(on.first, on.measured)[on.measured]
    from pytest_multiplicity.compute import threads

    with threads(1):  # several would wait for each other at every candidate
        before = _means(on, tensors, distinct) if _whole(family, on) else {}
        after = _means(on, tensors, kept) if kept.any() else {}
    of_values = not on.asked.has_probabilities(tensors[0])
    return [
        Predictive(
            metric=name,
            data=on.data,
            before=before.get(name),
            after=after.get(name),
            definition=f"mean over the samples of: {on.asked.defines(name)}",
            optimistic=on.optimistic and family.selected,
            percent=name == "viable_prediction_range" and not of_values,
        )
        for name in before | after
    ]


def _whole(family: FamilyFindings, on: Predictions) -> bool:
    """Return whether everybody who has a model was measured."""
    return not (family.alive & ~on.measured).any()


def _means(on: Predictions, answers: list[Any], chosen: Bools) -> dict[str, float]:
    """Return what each per-sample metric is on average; a range as its width."""
    import torch

    from pytest_multiplicity.statistics import (
        over_all_classes,
        ranges,
        rashomon_capacity,
        variances,
    )

    assert on.targets is not None  # as of models
    task, targets = on.asked, torch.from_numpy(on.targets)
    some = [each for each, wanted in zip(answers, chosen, strict=True) if wanted]
    found: dict[str, Any] = {}
    if all(map(task.has_probabilities, some)):
        sure = [task.channels(each, targets)[0].numpy() for each in some]
        found["rashomon_capacity"] = rashomon_capacity(over_all_classes(sure)).values.mean()
    floats = [each for each in some if each.is_floating_point()]  # labels have no range
    shown = [task.magnitudes(each, targets) for each in floats]
    known = [each[0].numpy() for each in shown if each is not None]
    if len(known) == len(some):
        limits = ranges(np.stack(known))
        found["viable_prediction_range"] = (limits[:, 1] - limits[:, 0]).mean()
        if len(some) > 1:
            found["score_variance"] = variances(np.stack(known)).mean()
    return {name: float(value) for name, value in found.items()}


def agreement(family: FamilyFindings, on: list[Predictions]) -> Agreement | None:
    """Return how often survivors agree, on the first data set that nobody selected by, else any.

    The first survivors: of many the matrix would be larger than all else that is reported.
    """
    compared = [each for each in on if each.asked.compares]
    chosen = min(compared, key=lambda each: each.optimistic, default=None)
    if chosen is None or family.survivors.sum() < 2:
        return None
    first = np.flatnonzero(family.survivors)[:MOST_AGREEING]
    made = family.tried(
        f"the agreement on {chosen.data}",
        lambda: Agreement(
            data=chosen.data,
            ids=[family.seen.design.ids[index] for index in first],
            values=chosen.asked.said(chosen.predictions[first], chosen.targets)
            .agreement()
            .tolist(),
        ),
    )
    return made[0] if made else None


def conflicts(family: FamilyFindings, on: list[Predictions]) -> list[Conflicts]:
    """Return the samples on which survivors disagree, data set by data set."""
    ids = np.array(family.seen.design.ids)[family.survivors].tolist()

    def of(on: Predictions) -> Conflicts:
        assert on.targets is not None
        said = on.predictions[family.survivors]
        known = family.seen.data.get(on.data)
        return divided(said, ids, on.targets, on.data, known, on.asked)

    return [
        conflicts
        for each in on
        if len(ids) > 1 and each.targets is not None and each.asked.compares
        for conflicts in family.tried(f"the conflicts on {each.data}", partial(of, each))
    ]
