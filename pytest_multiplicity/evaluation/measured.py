"""The metrics of a family that were measured, each for those candidates that could be by then."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from pytest_multiplicity.errors import guarded
from pytest_multiplicity.evaluation.measuring import Measuring
from pytest_multiplicity.evaluation.metric import Metric
from pytest_multiplicity.evaluation.population import Effort, Measurement
from pytest_multiplicity.inference import Models

Screened = Callable[[], Collection[int]]


def nobody() -> Collection[int]:
    """Nobody is left out: what is measured is measured for the whole family."""
    return ()


class Measured:
    """Remembers metrics by name, and measures again where somebody is asked for who is lacking.

    `screened` says who needn't be measured now unless asked for by name, or by a comparison within
    the family. Who isn't trained yet is left out as well, and measured in the end: `finish`.
    """

    def __init__(
        self,
        models: Models,
        measuring: Measuring,
        screened: Screened,
        effort: Effort,
        tell: Callable[[Metric], None],
    ) -> None:
        self._models, self._measuring, self._screened = models, measuring, screened
        self._effort, self._tell = effort, tell
        self.metrics: dict[str, Metric] = {}
        self._examples: dict[str, Metric] = {}  # of searches
        self._unfinished: dict[str, Measurement] = {}  # while others were trained
        self._alone = False

    @contextmanager
    def searching(self) -> Iterator[Callable[[], None]]:
        """Around a search for one candidate's worst.

        What it yields is called once an example has failed: the smaller ones that are tried then
        are measured for whom they are asked alone.
        """

        def alone() -> None:
            self._alone = True

        try:
            yield alone
        finally:
            self._alone = False

    def chosen(self, needed: Sequence[int]) -> list[int]:
        """Whom to measure: those who are needed, and all that have a model and aren't screened.

        A search visits many interventions, each for everybody at once until one of them fails.
        """
        if self._alone and needed:
            return sorted({*needed})
        searching, weights = self._measuring.logits.searching, self._models.weights
        everybody = self._measuring.alive if searching else weights.there
        out = set(self._screened()).difference(needed)
        return [index for index in everybody if index not in out]

    def metric(self, measurement: Measurement, needed: Sequence[int]) -> Metric:
        """Return the metric of this name, measured on first sight; in a search, an example of it.

        It is measured again when a candidate is needed that was left out; logits are kept.
        """
        for each in measurement.asked:
            self._effort.note(each)
        name, searching = measurement.name, self._measuring.logits.searching
        known = self._examples if searching else self.metrics
        if name in known and not known[name].lacks(needed):
            return known[name]
        metric = self.metrics.get(name)
        if metric is None or metric.lacks(needed):
            before = [] if metric is None else metric.measured
            chosen = self.chosen([*needed, *before])
            more = self._completed(measurement, chosen, measurement.of(chosen))
            if metric is not None and self._models.weights.whole:
                metric.hand_on(more)
            metric = more
        known[name] = metric.example() if searching else metric
        return known[name]

    def finish(self) -> list[Metric]:
        """Measure everybody who was trained too late for a metric; return these metrics."""
        if self._models.weights.going or self._unfinished:
            self._models.weights.ready()
        found = []
        for name, measurement in list(self._unfinished.items()):
            before = self.metrics[name]
            whole = self.metric(measurement, self.chosen(before.measured))
            if whole is not before:
                found.append(whole)
        self._unfinished.clear()
        return found

    def _completed(self, measurement: Measurement, chosen: Sequence[int], metric: Metric) -> Metric:
        """Return the metric, with a way to measure those who were left out."""
        weights = self._models.weights
        if weights.whole and len(chosen) == len(self._measuring.alive):
            for each in measurement.asked:
                self._effort.done(each)
            return metric
        if not weights.whole:
            self._unfinished[measurement.name] = measurement

        @guarded("the evaluation")
        def complete() -> Metric:
            whole = self.metric(measurement, self._measuring.alive)
            self._tell(whole)
            return whole

        return replace(metric, complete=complete)
