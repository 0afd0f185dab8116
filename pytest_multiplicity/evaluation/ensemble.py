"""Survivors combined: the majority's vote, and no answer where too few agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.candidate import Candidate
from pytest_multiplicity.evaluation.measure import (
    Measure,
    apply_measure,
    as_measure,
    is_higher_better,
    measure_name,
    with_attributes,
)
from pytest_multiplicity.evaluation.metric import Floats, Metric
from pytest_multiplicity.evaluation.score import Score
from pytest_multiplicity.inference import Asked, Under
from pytest_multiplicity.statistics import clusters
from pytest_multiplicity.store import fingerprint
from pytest_multiplicity.tasks import Named, Vote

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data
    from pytest_multiplicity.evaluation.population import Population

ROUNDING = 1e-9


class Ensemble:
    """Some candidates as one: it is measured as a candidate is.

    It says what most of its members say. On samples where less than a share `abstain` of them
    agree it gives no answer: its scores are those of the samples that it answers, with the family's
    on the same samples to compare with, and `coverage` is the share of these. Under an attack
    each member sees the attack on itself, which is at least as bad as any on all of them.
    """

    def __init__(
        self, population: Population, members: Sequence[Candidate], abstain: float
    ) -> None:
        if not 0 <= abstain <= 1:
            raise MeasurementError(
                f"abstain={abstain!r}: give the share of members that must agree, from 0 (always "
                "answer) to 1 (answer where all agree)"
            )
        self.members, self.abstain = tuple(members), abstain
        self.id = f"ensemble of {len(members)}"
        self._population = population
        self._votes: dict[tuple[str, str], Vote] = {}

    def __repr__(self) -> str:
        rule = f", silent below {self.abstain:.0%} agreement" if self.abstain else ""
        return f"<{self.id}{rule}>"

    def probabilities(self, data: Data, under: Under = None) -> Tensor:
        """Return the mean of the members' probabilities, `[n, classes]`, also where it abstains."""
        vote = self._vote(data, under)
        if vote.probabilities is None:
            return data.task.probabilities(vote.answers)
        return vote.probabilities

    def logits(self, data: Data, under: Under = None) -> Tensor:
        """Return what one model would answer that says what the ensemble does.

        Of classes the logarithm of `probabilities`, of values their mean.
        """
        return self._vote(data, under).answers

    def predictions(self, data: Data, under: Under = None) -> Tensor:
        """Return what most members say of each sample, int64; -1 where it abstains.

        Of values their mean, and nan.
        """
        vote = self._vote(data, under)
        answered = self._answers(vote).reshape(-1, *[1] * (vote.said.ndim - 1))
        return torch.where(answered, vote.said, data.task.no_prediction)

    def coverage(self, data: Data, under: Under = None) -> float:
        """Return the share of samples that it answers."""
        return float(self._answers(self._vote(data, under)).double().mean())

    def accuracy(self, data: Data, under: Under = None) -> Score:
        """Return the share of the samples it answers that it classifies rightly.

        Raises MeasurementError where it answers none.
        """
        asked = self._population.ask(data, under)
        if len(asked.groups) > 1:  # the one it serves worst
            return min(self.accuracy(each.data, each.under) for each in asked.groups)
        answers = self._answered(data, under)
        family = self._population.accuracies(data, under).of_everybody()
        assert family.outcomes is not None  # of one group there are outcomes
        said, task = self._vote(data, under).said, data.task
        right, counted = task.by_sample(task.right(said[None], asked.targets), asked.targets)
        weights = None if counted is None else counted.numpy()
        own = clusters.weighed(right.numpy(), weights)
        before = family.right_of

        def answered(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            """Return what counts of the samples that it answers."""
            kept: npt.NDArray[Any] = values[answers]
            return kept if weights is None else kept / (weights[answers].mean() / weights.mean())

        outcomes = answered(np.column_stack([family.outcomes, own]))
        family = replace(
            family,
            counted=None if weights is None else weights[answers],
            right_of=None if before is None else lambda whom: answered(before(whom)),
        )
        scores = outcomes.mean(axis=0, dtype=np.float64)
        scores[:-1][np.isnan(family.scores)] = np.nan
        return self._score(family, scores, f"accuracy of the {self.id} on {asked.name}", outcomes)

    def measure(
        self,
        fn: Measure | str,
        data: Data,
        under: Under = None,
        *,
        name: str | None = None,
        higher_is_better: bool | None = None,
    ) -> Score:
        """`fn(logits, targets)` on the samples it answers; see `Candidate.measure`."""
        asked = self._population.ask(data, under)
        answers = torch.from_numpy(self._answered(data, under))
        measure = as_measure(fn, data.task)
        full = f"{measure_name(measure, name)} of the {self.id} on {asked.name}"
        own = with_attributes(measure, asked.source, asked.rows[answers], full)
        scores = np.full(len(self._population.candidates) + 1, np.nan)
        for index in [*self._population.alive, -1]:
            each = self if index == -1 else self._population.candidates[index]
            logits, targets = each.logits(data, under)[answers], asked.targets[answers]
            scores[index] = apply_measure(own, logits, targets, full, each.id)
        like = replace(
            self._population.answers(data, under).of_everybody(),
            proportion=False,
            unit=measure.unit if isinstance(measure, Named) else "",
            higher_is_better=is_higher_better(measure, higher_is_better),
        )
        return self._score(like, scores, full, None)

    def _score(self, like: Metric, scores: Floats, name: str, outcomes: Any) -> Score:
        """Return the last of the scores, after those of the family's candidates."""
        samples = None if outcomes is None else len(outcomes)
        metric = replace(
            like,
            name=name,
            scores=scores,
            n=samples,
            outcomes=outcomes,
            predictions=None,
            targets=None,
            key=None,
            noise_of=None,
        )
        return Score(metric, len(scores) - 1)

    def _answers(self, vote: Vote) -> Tensor:
        return vote.agreement >= self.abstain - ROUNDING

    def _answered(self, data: Data, under: Under) -> Any:
        answers = self._answers(self._vote(data, under)).numpy()
        if not answers.any():
            raise MeasurementError(
                f"the {self.id} abstains on all {len(answers)} samples: it has no score; lower "
                f"abstain={self.abstain:g}"
            )
        return answers

    def _vote(self, data: Data, under: Under) -> Vote:
        asked = self._population.ask(data, under)
        key = asked.data.fingerprint, fingerprint(list(asked.under.steps))
        if key not in self._votes:
            members = [each.logits(data, under) for each in self.members]
            self._votes[key] = self._combined(members, asked)
        return self._votes[key]

    def _combined(self, answers: list[Tensor], asked: Asked) -> Vote:
        """Return what the members say together."""
        return asked.data.task.vote(answers)
