"""A family beside an incumbent, sample by sample: flips, churn, gain, and what retraining does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pytest_multiplicity.design import Config
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.copies import distinct
from pytest_multiplicity.evaluation.incumbent import Incumbent
from pytest_multiplicity.evaluation.reading import expected_correct
from pytest_multiplicity.inference import Asked
from pytest_multiplicity.statistics import clusters, paired, upper_quantile

Outcomes = npt.NDArray[Any]

KINDS = ("flips", "churn", "gain")
SHOWN = 0.95
REMEMBERED = 12


@dataclass(frozen=True, eq=False)
class Compared:
    """What the candidates at some positions do otherwise than an incumbent.

    Outcomes are `[n, K]`, of all candidates of the family; `was_right` `[n]`. Those that need
    targets are None where there are none. `counted` `[n]` as of a `Metric`.
    """

    incumbent: str
    where: str
    chosen: Sequence[int]
    churn: Outcomes
    flips: Outcomes | None
    right: Outcomes | None
    was_right: Outcomes | None
    counted: npt.NDArray[np.integer] | None
    churn_floor: float | None
    flips_floor: float | None

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(self.churn)

    def scores(self, kind: str) -> npt.NDArray[np.float64]:
        """Return a score for each candidate of the family."""
        means = self._totals[kind] / self.samples
        return means - self._before if kind == "gain" else means

    @cached_property
    def _totals(self) -> dict[str, npt.NDArray[np.float64]]:
        kinds = ["churn"] if self.right is None else KINDS
        return {kind: self.outcomes(kind).sum(axis=0, dtype=np.float64) for kind in kinds}

    def outcomes(self, kind: str) -> Outcomes:
        """Return what scores are the means of; of a gain up to the incumbent's accuracy."""
        found = {"churn": self.churn, "flips": self.flips, "gain": self.right}[kind]
        assert found is not None  # as was refused
        return found

    def tensors(self, kind: str) -> dict[str, Tensor]:
        """Return what the store holds of a kind."""
        found = {"expected": torch.from_numpy(np.ascontiguousarray(self.outcomes(kind).T))}
        if self.counted is None:
            return found
        return {**found, "counted": torch.from_numpy(self.counted)}

    @cached_property
    def _before(self) -> float:
        assert self.was_right is not None
        return float(self.was_right.mean(dtype=np.float64))

    def interval(self, kind: str, index: int, confidence: float) -> tuple[float, float]:
        """Return the exact interval of a share, Tango's of a gain; of positions the clusters'."""
        if kind != "gain":
            if self.counted is not None:
                own = self.outcomes(kind)[:, index]
                return clusters.interval(own, self.counted, confidence)
            return paired.clopper_pearson(self._totals[kind][index], self.samples, confidence)
        if self.counted is not None:
            return self._interval_of_means(index, confidence)
        return paired.tango_interval(*self.changed(index), self.samples, confidence)

    def _interval_of_means(self, index: int, confidence: float) -> tuple[float, float]:
        assert self.right is not None
        apart = self.right[:, index] - self.was_right
        error = float(apart.std(ddof=1)) / np.sqrt(len(apart)) if len(apart) > 1 else 1.0
        half = upper_quantile((1 - confidence) / 2) * error
        return float(apart.mean()) - half, float(apart.mean()) + half

    def changed(self, index: int) -> tuple[int, int]:
        """Return how many samples a candidate wins, and how many it loses."""
        gained, lost = self._changed
        return int(gained[index]), int(lost[index])

    @cached_property
    def _changed(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        assert self.right is not None
        assert self.was_right is not None
        own, was = self.right > 0, (self.was_right > 0)[:, None]
        return (own & ~was).sum(axis=0), (~own & was).sum(axis=0)

    def limits(self, kind: str, index: int, level: float) -> tuple[float, float]:
        """Return limits of which each is wrong at most at a level.

        Those of a gain have 0 between them unless the exact test of McNemar excludes it.
        """
        low, high = self.interval(kind, index, 1 - 2 * level)
        if (
            kind == "gain"
            and self.counted is None
            and paired.mcnemar(*self.changed(index)) > (2 * level)
        ):
            return min(low, -np.finfo(float).tiny), max(high, np.finfo(float).tiny)
        return low, high

    @cached_property
    def told(self) -> dict[str, Any]:
        """What reports say of it, as builtins."""
        kinds = ["churn"] if self.right is None else KINDS
        found: dict[str, Any] = {
            kind: {str(index): self._one(kind, index) for index in self.chosen} for kind in kinds
        }
        return {
            "incumbent": self.incumbent,
            "data": self.where,
            **{kind: found.get(kind, {}) for kind in KINDS},
            "trust": {str(index): self._trust(index) for index in self.chosen},
            "flips_per_error": {str(index): self._per_error(index) for index in self.chosen},
            "flips_floor": self.flips_floor,
            "churn_floor": self.churn_floor,
        }

    def _trust(self, index: int) -> float | None:
        """Return backward trust; None where it isn't known, or the incumbent is never right."""
        if self.was_right is None or self.counted is not None or not self.was_right.any():
            return None
        lost = self.changed(index)[1]
        return paired.backward_trust(int(self.was_right.sum()) - lost, lost)

    def _per_error(self, index: int) -> float | None:
        """Return the share of a candidate's errors that are new; None where that isn't known."""
        if self.was_right is None or self.counted is not None:
            return None
        lost = self.changed(index)[1]
        wrong = self.samples - int(self._totals["gain"][index])
        return paired.flips_per_error(lost, wrong - lost)

    def _one(self, kind: str, index: int) -> dict[str, float]:
        low, high = self.interval(kind, index, SHOWN)
        return {"value": float(self.scores(kind)[index]), "low": float(low), "high": float(high)}


@dataclass(frozen=True)
class ComparedBy:
    """What is behind the scores of one kind: see `Behind`."""

    compared: Compared
    kind: str

    def interval(self, index: int, confidence: float) -> tuple[float, float]:
        """Return the two-sided interval of one candidate's score."""
        return self.compared.interval(self.kind, index, confidence)

    def limits(self, index: int, level: float) -> tuple[float, float]:
        """Return limits of which each is wrong at most at a level."""
        return self.compared.limits(self.kind, index, level)

    def record(self) -> Mapping[str, Any]:
        """Return the whole comparison."""
        return {"kind": self.kind, "comparison": self.compared.told}


class Remembered:
    """The latest comparisons, of which each has three metrics."""

    def __init__(self) -> None:
        self._known: dict[str, Compared] = {}

    def get(self, key: str, make: Callable[[], Compared]) -> Compared:
        """Return the comparison of a key, made where it isn't remembered."""
        if key not in self._known:
            while len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[key] = make()
        return self._known[key]


def compare(
    incumbent: Incumbent,
    predictions: Tensor,
    asked: Asked,
    chosen: Sequence[int],
    configs: Sequence[Config],
    answers: Callable[[int], Tensor],
) -> Compared:
    """Compare candidates with an incumbent.

    Args:
        incumbent: the model that runs today.
        predictions: of the family `[K, n, ...]`; rows that aren't chosen hold none.
        asked: the question.
        chosen: positions of the candidates that are compared.
        configs: of the whole family.
        answers: of a position.
    """
    task, targets = asked.task, asked.targets
    before = incumbent.answers(asked)
    said = task.predictions(before)
    _check_classes(incumbent.name, said, asked, answers(chosen[0]) if chosen else before)
    apart = torch.stack([task.differ(own, said) for own in predictions])
    changed, counted = task.by_sample(apart, targets)
    groups = _reruns(predictions, chosen, configs, answers)
    right = was = flips = None
    flips_floor = None
    if task.has_targets:
        now, old = task.right(predictions, targets), task.right(said[None], targets)
        right, was = (task.by_sample(each, targets)[0] for each in (now, old))
        flips = task.by_sample(old & ~now, targets)[0]
        flips_floor = _mean([_flips(now[list(each)], asked) for each in groups])
    weights = None if counted is None else counted.numpy()
    return Compared(
        incumbent=incumbent.name,
        where=asked.name,
        chosen=tuple(chosen),
        churn=clusters.weighed(changed.numpy(), weights),
        flips=None if flips is None else clusters.weighed(flips.numpy(), weights),
        right=None if right is None else clusters.weighed(right.numpy(), weights),
        was_right=None if was is None else clusters.weighed(was.numpy(), weights)[:, 0],
        counted=weights,
        churn_floor=_mean([_churn(predictions[list(each)], asked) for each in groups]),
        flips_floor=flips_floor,
    )


def right_of(incumbent: Incumbent, asked: Asked) -> Outcomes:
    """Return how right an incumbent is about each sample `[n]`, as an accuracy counts it."""
    task, targets = asked.task, asked.targets
    if len(asked.under.outputs) == 1:
        clean = incumbent.answers(asked, outputs=False)
        if (expected := expected_correct(asked, clean)) is not None:
            return expected.numpy()
    said = task.predictions(incumbent.answers(asked))
    shares, counted = task.by_sample(task.right(said[None], targets), targets)
    return clusters.weighed(shares.numpy(), None if counted is None else counted.numpy())[:, 0]


def _reruns(
    predictions: Tensor,
    chosen: Sequence[int],
    configs: Sequence[Config],
    answers: Callable[[int], Tensor],
) -> list[Sequence[int]]:
    """Return the candidates of each configuration, two or more that answer differently."""
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index in chosen:
        options = {axis: option for axis, option in vars(configs[index]).items() if axis != "seed"}
        groups[tuple(f"{axis}={option!r}" for axis, option in sorted(options.items()))].append(
            index
        )
    found = []
    for group in groups.values():
        own = predictions[group].numpy()
        kept = distinct(own, lambda place, group=group: answers(group[place]))  # type: ignore[misc]
        found.append([group[place] for place in kept])
    return [group for group in found if len(group) > 1]


def _flips(right: Tensor, asked: Asked) -> tuple[float, int]:
    """Return the mean of flips over ordered pairs of reruns, and how many pairs there are."""
    between = torch.from_numpy(paired.flips_between(right.numpy()))
    shares, counted = asked.task.by_sample(between[None], asked.targets)
    weights = None if counted is None else counted.numpy()
    mean = clusters.weighed(shares.numpy(), weights).mean(dtype=np.float64)
    return float(mean), len(right) * (len(right) - 1)


def _churn(said: Tensor, asked: Asked) -> tuple[float, int]:
    found = asked.task.said(said.numpy(), asked.targets.numpy()).disagreement()
    return float(found), len(said) * (len(said) - 1)


def _mean(each: Sequence[tuple[float, int]]) -> float | None:
    """Return the mean over all pairs; None where there are none."""
    pairs = sum(count for _, count in each)
    return sum(value * count for value, count in each) / pairs if pairs else None


def _check_classes(name: str, said: Tensor, asked: Asked, like: Tensor) -> None:
    """Raise MeasurementError for a class that neither targets nor candidates know."""
    beyond, last = asked.task.unknown(said, asked.targets, like)
    if beyond.any():
        odd = said[beyond]
        raise MeasurementError(
            f"{name} says class {int(odd[0])} about {len(odd)} samples of {asked.data.name!r}, and "
            f"there are classes 0 to {last}: it answers about other classes than the candidates; "
            "map its answers onto these"
        )
