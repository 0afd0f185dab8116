"""The candidates that are models: whatever is measured is measured for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from pytest_multiplicity.compute import give_back
from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import DataError, InterventionError, MeasurementError
from pytest_multiplicity.evaluation.candidate import Candidate
from pytest_multiplicity.evaluation.closures import INSTEAD, check_captured
from pytest_multiplicity.evaluation.facts import Facts, TrainingFacts
from pytest_multiplicity.evaluation.incumbent import Incumbent
from pytest_multiplicity.evaluation.leakage import ENFORCED, GATE, TRAINING, Leakage, about_data
from pytest_multiplicity.evaluation.measure import (
    Measure,
    Ours,
    as_measure,
    is_higher_better,
    measure_name,
)
from pytest_multiplicity.evaluation.measured import Measured, Screened, nobody
from pytest_multiplicity.evaluation.measuring import Measuring
from pytest_multiplicity.evaluation.metric import Metric
from pytest_multiplicity.evaluation.population import Beside, Effort, Measurement, Observer
from pytest_multiplicity.evaluation.same_value import Meanings
from pytest_multiplicity.evaluation.score import Score
from pytest_multiplicity.inference import Asked, Foreseen, Models, Under, ask
from pytest_multiplicity.training import Plan


def _unminded(data: Data) -> None:
    """Nobody minds."""


class ModelPopulation:
    """A family's models; each of their metrics is computed once and has a name of its own.

    `screened` says who needn't be measured now unless asked for by name, or by a comparison
    within the family, which measures everybody. `effort` counts what all that takes.
    """

    def __init__(
        self,
        models: Models,
        names: dict[str, str],
        leakage: Leakage,
        screened: Screened = nobody,
    ) -> None:
        self.models, self.design = models, models.design
        self.candidates = tuple(Candidate(self, i) for i in range(len(self.design.ids)))
        self.unheard: list[Metric] = []  # what was measured while nobody observed
        self.observer: Observer = self.unheard.append
        self.met: Callable[[Data], None] = _unminded  # told of data, before anybody is asked
        self.leakage, self.role = leakage, ENFORCED  # what is measured now is measured for this
        for data in {id(d): d for d in models.made.data}.values():
            leakage.use(TRAINING, data)
        self.absent: list[str] = []  # incumbents that there are none of
        self.data_by_name: dict[str, Data] = {}  # what was measured on
        self.names = names  # data set name -> fingerprint, shared by all families of the run
        self._is_unique = Meanings().are_one  # of names of interventions, measures, incumbents
        self.effort = Effort()
        self._measuring = Measuring(models)
        self._measured = Measured(models, self._measuring, screened, self.effort, self._observed)
        self.metrics = self._measured.metrics
        self.beside = Beside()  # what gates asked, by what they asked

    @contextmanager
    def searching(self) -> Iterator[Callable[[], None]]:
        """Inside, metrics are examples of a search, and only outcomes are stored, not logits."""
        with self._measuring.logits.unkept(), self._measured.searching() as alone:
            yield alone

    # --- what a candidate answers with

    def module(self, index: int) -> nn.Module:
        """Return the module of one candidate."""
        return self.models.module(index)

    def logits(self, index: int, data: Data, under: Under) -> Tensor:
        """Return the logits of one candidate; those of the whole family are computed with them."""
        self._need(index)
        asked = self.ask(data, under)
        if asked.groups[0] is not asked:
            raise InterventionError(
                f"logits under {asked.under.name}: only a score tells which group is the worst; "
                "name one, as in Group('age < 30')"
            )
        self.effort.note(asked)
        return self._measuring.logits_of(index, asked, self._measured.chosen([index]))

    def accuracy(
        self, index: int, data: Data, under: Under, tolerance: float | None = None
    ) -> Score:
        """One candidate's accuracy, after measuring it for the family."""
        measurement = self._accuracies(data, under, tolerance)  # may raise: before all training
        self._need(index)
        return self._scored(index, measurement)

    def measure(
        self,
        index: int,
        fn: Measure | Ours | str,
        data: Data,
        under: Under,
        *,
        name: str | None,
        higher_is_better: bool | None,
    ) -> Score:
        """One candidate's value of `fn`, after measuring it for the family."""
        self._need(index)
        asked = self.ask(data, under)
        measure = as_measure(fn, asked.data.task)
        check_captured(measure, name, self.candidates[index])
        full = f"{measure_name(measure, name)} on {asked.name}"
        better = is_higher_better(measure, higher_is_better)
        if not self._is_unique(full, [measure, better]):
            raise MeasurementError(
                f"two different measures are named {full!r}: tell them apart with name=, or, where "
                f"it captures what differs from candidate to candidate, write it anew. {INSTEAD}"
            )
        of = partial(self._measuring.measured, measure, name=full, higher_is_better=better)
        return self._scored(index, self._each_group(full, asked, of))

    def compared(
        self, index: int, kind: str, incumbent: Incumbent, data: Data, under: Under
    ) -> Score:
        """One candidate's flips, churn or gain, after comparing the family with an incumbent."""
        self._need(index)
        asked = self.ask(data, under)
        full = f"{kind} against {incumbent.name} on {asked.name}"
        if not self._is_unique(full, [incumbent.key]):
            raise MeasurementError(f"two incumbents are named {incumbent.name!r}: rename one")
        of = partial(self._measuring.compared, kind, incumbent)
        return self._scored(index, self._each_group(full, asked, of))

    def consistency(self, index: int, data: Data, under: Under) -> Score:
        """One candidate's consistency, after measuring it for the family."""
        self._need(index)
        asked = self.ask(data, under)
        if not (asked.under.inputs or asked.under.outputs):
            raise MeasurementError(
                "consistency is the share of predictions that an intervention leaves as they are: "
                f"give one that changes inputs or outputs, under=pm.InputNoise(0.1); got {under!r}"
            )
        of, full = self._measuring.consistencies, f"consistency on {asked.name}"
        return self._scored(index, self._each_group(full, asked, of))

    def privacy(
        self, index: int, members: Data, nonmembers: Data | None, *, references: bool
    ) -> Score:
        """One candidate's privacy, after measuring it for the family."""
        self._need(index)
        inside = self._known(members, None)  # trained on, as it must be: that is no leak
        name = f"membership privacy on {inside.name}"
        if nonmembers is not None:
            measurement = self._privacy_between(inside, nonmembers, name, references)
        else:
            name += " with references" if references else ""
            of = partial(self._measuring.privacy_in, inside, name=name, references=references)
            measurement = Measurement(name, (inside,), of)
        needed = self.alive if references else [index]  # the others are the references
        return self._scored(index, measurement, needed)

    def _privacy_between(
        self, inside: Asked, nonmembers: Data, name: str, references: bool
    ) -> Measurement:
        if references:
            raise MeasurementError(
                "references are candidates that saw other halves of the recipes' data: say "
                "privacy(data, references=True), without non-members"
            )
        outside = self._known(nonmembers, None)
        name += f" against {outside.name}"
        of = partial(self._measuring.privacy_between, inside, outside, name=name)
        return Measurement(name, (inside, outside), of)

    def recorded(self, index: int, name: str) -> Score:
        """Raise MeasurementError: a trained family has no recorded scores."""
        raise MeasurementError(
            f"score({name!r}) reads a recorded family; these candidates are models: "
            "use accuracy(data) or measure(fn, data)"
        )

    def accuracies(self, data: Data | str, under: Under = None) -> Metric:
        """Return the accuracy of all candidates with a model that aren't screened, as a metric."""
        self.models.weights.ready()
        return self._measured.metric(self._accuracies(data, under), self._measured.chosen([]))

    def answers(self, data: Data | str, under: Under = None) -> Metric:
        """Return a metric of all candidates that holds their predictions, see `accuracies`."""
        asked = self.ask(data, under)
        if asked.task.has_accuracy:
            return self.accuracies(data, under)
        self.models.weights.ready()
        of = partial(self._measuring.predictions, asked)
        measurement = Measurement(f"predictions on {asked.name}", (asked,), of)
        return self._measured.metric(measurement, self._measured.chosen([]))

    def _accuracies(
        self, data: Data | str, under: Under, tolerance: float | None = None
    ) -> Measurement:
        asked = self.ask(data, under)
        if asked.plain:
            self.met(asked.data)
        name = f"accuracy on {asked.name}"
        if tolerance is not None and (tolerance,) != asked.task.judgement:
            asked = asked._replace(judged_by=asked.task.judged(tolerance, asked.data.name))
            name = f"accuracy within {tolerance:g} on {asked.name}"
        return self._each_group(name, asked, self._measuring.accuracies)

    def _each_group(
        self, name: str, asked: Asked, measure: Callable[[Asked, Sequence[int]], Metric]
    ) -> Measurement:
        """Measure what was asked, or each of the groups among which the worst is sought."""
        if asked.groups[0] is asked:
            return Measurement(name, (asked,), partial(measure, asked))

        def worst(chosen: Sequence[int]) -> Metric:
            return self._measuring.worst(lambda each: measure(each, chosen), asked, name)

        return Measurement(name, (asked,), worst)

    @property
    def alive(self) -> list[int]:
        """Positions of the candidates that have a model: all but the diverged ones."""
        return self._measuring.alive

    def go_on(self) -> None:
        """Have training go on that is done meanwhile; waits for nothing."""
        self.models.weights.go_on()

    def finish(self) -> list[Metric]:
        """Measure everybody who was trained too late for a metric; return these metrics.

        What waited in memory for further questions is let go of.
        """
        found = self._measured.finish()
        self._measuring.logits.let_go()
        self.models.let_go()
        give_back()
        return found

    def stop(self) -> None:
        """End what is still trained, and keep what is finished."""
        self.models.weights.stop()

    def plan(self) -> list[Plan]:
        """Return how the recipes that the store doesn't hold would be trained."""
        return self.models.weights.plan()

    def foreseen(self) -> Foreseen | None:
        """Return what calling a family's function would take; None for families of recipes."""
        return self.models.weights.foreseen()

    def prepare_gates(self, selected_on: dict[str, str]) -> None:
        """From now on gates measure; enforced specs used these data sets (name -> fingerprint)."""
        self.role = GATE
        self.leakage.selected(selected_on)

    def facts(self) -> Facts:
        """Return what reports say of the family beside its scores."""
        return Facts(
            device=self.models.machine.device.type,
            trained=self.models.counts.trained,
            stored=self.models.counts.stored,
            trained_now=len(self.models.weights.trained_now),
            warnings=(*self.models.doubts, *about_data(self.data_by_name.values())),
            candidates=self.models.made.identity,
        )

    def facts_of_training(self) -> TrainingFacts | None:
        """Return what training left to tell; None before it is done."""
        weights = self.models.weights
        if not weights.whole:
            return None
        if not weights.history and not weights.diverged:
            return None
        return TrainingFacts(
            ways=weights.ways,
            diverged={i: str(each) for i, each in weights.diverged.items()},
            history=self.models.history,
            weights={i: self.models.made.keys[i] for i in weights.history},
        )

    # --- what is asked

    def ask(self, data: Data | str, under: Under) -> Asked:
        """Return the question, checked; its data counts as used for what is measured now.

        Reports tell data sets and interventions apart by name, so two of one name and different
        content raise DataError or InterventionError.
        """
        asked = self._known(data, under)
        self.data_by_name.setdefault(asked.data.name, asked.data)
        self.leakage.use(self.role, asked.data)
        return asked

    def _known(self, data: Data | str, under: Under) -> Asked:
        asked = ask(data, under)
        content = " ".join([asked.data.fingerprint, *map(repr, asked.task.judgement)])
        if self.names.setdefault(asked.data.name, content) != content:
            raise DataError(
                f"two data sets of this run are named {asked.data.name!r} and differ in content: "
                "give each a name of its own"
            )
        parts = [value for step in asked.under.steps for value in vars(step).values()]
        if not self._is_unique(f"under {asked.under.name}", parts):
            raise InterventionError(
                f"two interventions are named {asked.under.name!r} and differ in content: give "
                "their functions names of their own, and pass what varies as a parameter, as in "
                "Corrupt(rotate, angle=15)"
            )
        return asked

    # --- what is remembered

    def _need(self, index: int) -> None:
        """Raise what the candidate at `index` has no model for, where it has none."""
        self.models.weights.need(index)
        self.models.weights.refuse(index)

    def _scored(
        self, index: int, measurement: Measurement, needed: Sequence[int] | None = None
    ) -> Score:
        """Return one candidate's score, after telling of the metric."""
        metric = self._measured.metric(measurement, [index] if needed is None else needed)
        self.observer(metric)
        return Score(metric, index)

    def _observed(self, metric: Metric) -> None:
        self.observer(metric)
