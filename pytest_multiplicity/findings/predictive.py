"""Predictive multiplicity: what candidates say of the same samples, before and after selection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.evaluation import Metric
from pytest_multiplicity.findings.conflicts import divided
from pytest_multiplicity.findings.copies import Firsts, once
from pytest_multiplicity.findings.family import Bools, FamilyFindings
from pytest_multiplicity.findings.model import Agreement, Conflicts, Predictive
from pytest_multiplicity.statistics import DEFINITIONS, chance

PREDICTIVE = ("ambiguity", "discrepancy", "disagreement")
MOST_AGREEING = 500  # survivors that are compared pair by pair
MOST_LOGITS = 50_000_000  # numbers that the means over probabilities are made of


@dataclass(frozen=True)
class Predictions:
    """What every candidate said of every sample of a data set: `[K, n]`."""

    data: str
    predictions: npt.NDArray[np.integer[Any]]
    targets: npt.NDArray[np.integer[Any]] | None
    logits: Mapping[int, str]
    measured: Bools
    first: Firsts
    optimistic: bool


def predictions(family: FamilyFindings) -> list[Predictions]:
    """Return them for whole data sets that specs took as they are, and for what gates asked."""
    plain = [each for each in family.metrics.values() if each.whole and not each.under]
    said = [*(_predictions(family, each) for each in (*plain, *family.gated))]
    return [each for each in said if each is not None]


def _predictions(family: FamilyFindings, metric: Metric) -> Predictions | None:
    if metric.predictions is None:
        return None
    return Predictions(
        metric.where,
        metric.predictions,
        metric.targets,
        metric.logits,
        measured=~np.isnan(metric.scores),
        first=family.firsts(metric),
        optimistic=metric.name in family.selecting,
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
    from pytest_multiplicity.statistics import predictive

    before = on.predictions[once(on.first, family.alive)] if _whole(family, on) else None
    after = on.predictions[once(on.first, family.survivors)]
    expected: dict[str, float] = {}
    if before is not None and len(after):
        expected["ambiguity"] = float(chance.expected_ambiguity(before, len(after)))
    if before is not None and len(after) > 1:  # a mean over pairs: random candidates keep it
        expected["disagreement"] = float(predictive.disagreement(before))
    return [
        Predictive(
            metric=name,
            data=on.data,
            before=None if before is None else float(getattr(predictive, name)(before)),
            after=float(getattr(predictive, name)(after)) if len(after) else None,
            expected_after=expected.get(name),
            definition=DEFINITIONS[name],
            optimistic=on.optimistic and family.selected,
        )
        for name in PREDICTIVE
    ]


def _sureness(family: FamilyFindings, on: Predictions) -> list[Predictive]:
    """Return what the probabilities say, as means over samples; nothing where they are too many."""
    logits = [family.look("logits", on.logits[i]) for i in sorted(on.logits)]
    tensors = [entry.tensors["logits"] for entry in logits if entry is not None]
    size = sum(each.numel() for each in tensors)
    if on.targets is None or len(tensors) != on.measured.sum() or not 0 < size <= MOST_LOGITS:
        return []
    from pytest_multiplicity.tasks import Classification  # torch, which recorded scores don't need

    known = family.seen.data.get(on.data)
    task = Classification() if known is None else known.task
    if not all(map(task.has_probabilities, tensors)):
        return []
    probabilities = np.stack([task.probabilities(each).numpy() for each in tensors])
    kept = once(on.first, family.survivors)[on.measured]
    distinct = once(on.first, on.measured)[on.measured]
    before = _means(probabilities[distinct], on.targets) if _whole(family, on) else {}
    after = _means(probabilities[kept], on.targets) if kept.any() else {}
    return [
        Predictive(
            metric=name,
            data=on.data,
            before=before.get(name),
            after=after.get(name),
            definition=f"mean over the samples of: {DEFINITIONS[name]}",
            optimistic=on.optimistic and family.selected,
            percent=name == "viable_prediction_range",
        )
        for name in before | after
    ]


def _whole(family: FamilyFindings, on: Predictions) -> bool:
    """Return whether everybody who has a model was measured."""
    return not (family.alive & ~on.measured).any()


def _means(
    probabilities: npt.NDArray[np.floating[Any]], targets: npt.NDArray[np.integer[Any]]
) -> dict[str, float]:
    """Of `[m, n, C]`: what each per-sample metric is on average; a range as its width."""
    from pytest_multiplicity.statistics import predictive, rashomon_capacity

    limits = predictive.viable_prediction_range(probabilities, targets)
    found = {
        "rashomon_capacity": rashomon_capacity(probabilities).values.mean(),
        "viable_prediction_range": (limits[:, 1] - limits[:, 0]).mean(),
    }
    if len(probabilities) > 1:
        found["score_variance"] = predictive.score_variance(probabilities, targets).mean()
    return {name: float(value) for name, value in found.items()}


def agreement(family: FamilyFindings, on: list[Predictions]) -> Agreement | None:
    """Return how often survivors agree, on the first data set that nobody selected by, else any.

    The first survivors: of many the matrix would be larger than all else that is reported.
    """
    from pytest_multiplicity.statistics import agreement

    chosen = min(on, key=lambda each: each.optimistic, default=None)
    if chosen is None or family.survivors.sum() < 2:
        return None
    first = np.flatnonzero(family.survivors)[:MOST_AGREEING]
    made = family.tried(
        f"the agreement on {chosen.data}",
        lambda: Agreement(
            data=chosen.data,
            ids=[family.seen.design.ids[index] for index in first],
            values=agreement(chosen.predictions[first]).tolist(),
        ),
    )
    return made[0] if made else None


def conflicts(family: FamilyFindings, on: list[Predictions]) -> list[Conflicts]:
    """Return the samples on which survivors disagree, data set by data set."""
    ids = np.array(family.seen.design.ids)[family.survivors].tolist()

    def of(on: Predictions) -> Conflicts:
        assert on.targets is not None
        said = on.predictions[family.survivors]
        return divided(said, ids, on.targets, on.data, family.seen.data)

    return [
        conflicts
        for each in on
        if len(ids) > 1 and each.targets is not None
        for conflicts in family.tried(f"the conflicts on {each.data}", partial(of, each))
    ]
