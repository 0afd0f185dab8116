"""The survivors: what gates look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
import pandas as pd

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.candidate import Candidate
from pytest_multiplicity.evaluation.choice import Choice, choose
from pytest_multiplicity.evaluation.copies import distinct
from pytest_multiplicity.evaluation.metric import Metric
from pytest_multiplicity.evaluation.score import Score
from pytest_multiplicity.statistics import Sheet, expected_range, predictive, rashomon_capacity

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data
    from pytest_multiplicity.evaluation.ensemble import Ensemble
    from pytest_multiplicity.evaluation.population import Population
    from pytest_multiplicity.inference import Under


class Survivors(Sequence[Candidate]):
    """The candidates that no enforced specification rejected, in definition order.

    Every method takes `under=`, an intervention; what it says of samples is in the order of the
    data. A method that needs a pair of candidates raises MeasurementError when there is none left.
    Copies, whose answers on the data are equal, are all there, and count once in what is said of
    the data.
    """

    def __init__(self, population: Population, indices: Sequence[int]) -> None:
        self._population, self._indices = population, list(indices)

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> Survivors: ...
    def __getitem__(self, index: int | slice) -> Candidate | Survivors:
        if isinstance(index, slice):
            return Survivors(self._population, self._indices[index])
        return self._population.candidates[self._indices[index]]

    def __iter__(self) -> Iterator[Candidate]:
        return (self._population.candidates[index] for index in self._indices)

    def __repr__(self) -> str:
        some = ", ".join(candidate.id for candidate in self[:3])
        more = ", ..." if len(self) > 3 else ""
        noun = "survivor" if len(self) == 1 else "survivors"
        return f"<{len(self)} {noun}{': ' if some else ''}{some}{more}>"

    def ambiguity(
        self, data: Data, under: Under = None, *, baseline: Candidate | None = None
    ) -> float:
        """Return the share of samples on which any two survivors differ.

        With `baseline`, those on which any survivor differs from it (Marx et al. 2020).
        """
        return float(
            predictive.ambiguity(self._predictions(data, under), self._row(baseline, data, under))
        )

    def discrepancy(
        self, data: Data, under: Under = None, *, baseline: Candidate | None = None
    ) -> float:
        """Return the largest share on which two survivors (or one and `baseline`) differ."""
        return float(
            predictive.discrepancy(self._predictions(data, under), self._row(baseline, data, under))
        )

    def disagreement(self, data: Data, under: Under = None) -> float:
        """Return the share of samples on which two survivors differ, as a mean over pairs."""
        return float(predictive.disagreement(self._predictions(data, under)))

    def self_consistency(self, data: Data, under: Under = None) -> pd.Series[float]:
        """Per sample, the share of pairs of survivors that agree (Cooper et al. 2024)."""
        return pd.Series(predictive.self_consistency(self._predictions(data, under)))

    def rashomon_capacity(self, data: Data, under: Under = None) -> pd.Series[float]:
        """Per sample, `2 ** capacity` in [1, classes] (Hsu and Calmon 2022)."""
        return pd.Series(rashomon_capacity(self._probabilities(data, under)).values)

    def viable_prediction_range(
        self, data: Data, under: Under = None, *, label: int | None = None
    ) -> pd.DataFrame:
        """Per sample, the lowest and highest probability of its target class, or of `label`."""
        limits = predictive.viable_prediction_range(
            self._probabilities(data, under), self._label(data, under, label)
        )
        return pd.DataFrame(limits, columns=["low", "high"])

    def score_variance(
        self, data: Data, under: Under = None, *, label: int | None = None
    ) -> pd.Series[float]:
        """Per sample, the variance (ddof 1) of the probability of its target, or of `label`."""
        return pd.Series(
            predictive.score_variance(
                self._probabilities(data, under), self._label(data, under, label)
            )
        )

    def spread(self, data: Data | str, under: Under = None) -> float:
        """Delta-all: the largest accuracy of a survivor minus the smallest.

        Of a recorded family give a metric's name for the data.
        """
        return self.sheet(data, under).delta_all

    def expected_spread(self, data: Data | str, under: Under = None) -> float:
        """Return the mean spread of as many candidates drawn at random from the family."""
        self._need(1)
        metric = self._population.accuracies(data, under).of_everybody()
        everyone = np.flatnonzero(~np.isnan(metric.scores)).tolist()
        scores = metric.scores[self._once(everyone, metric, data, under)]
        drawn = expected_range(scores, len(self._once(self._indices, metric, data, under)))
        return float(drawn.high - drawn.low)

    def sheet(self, data: Data | str, under: Under = None) -> Sheet:
        """Return the survivors' sheet of the accuracy on `data`, or of that recorded metric."""
        self._need(1)
        metric: Metric = self._population.accuracies(data, under)
        mask = np.zeros(len(metric.scores), dtype=bool)
        mask[self._indices] = True
        return metric.sheet().subset(mask)

    def conflicts(self, data: Data, under: Under = None) -> pd.DataFrame:
        """One row per sample on which survivors disagree, indexed by its position in `data`.

        Columns: `target`, the data's attributes, and each survivor's prediction under its id.
        """
        predictions = self._said(data, under)
        rows = np.flatnonzero((predictions != predictions[0]).any(axis=0))
        said = {c.id: predictions[i, rows] for i, c in enumerate(self)}
        asked = self._population.ask(data, under)
        positions = asked.positions.numpy()[rows]
        attributes: Any = {}
        if data.attributes is not None:
            attributes = {str(n): data.attributes[n].to_numpy()[positions] for n in data.attributes}
        targets = asked.targets.numpy()[rows]
        return pd.DataFrame({"target": targets, **attributes, **said}, index=positions)

    def pick(self, by: Data | str | Callable[[Candidate], float], under: Under = None) -> Choice:
        """Choose the best survivor, and say by how little it won: `print(survivors.pick(data))`.

        Args:
            by: a data set to compare accuracies on, the name of a recorded metric, or a function
                from a candidate to a number, of which the highest wins (of a score, the best).
            under: an intervention.
        """
        self._need(1)
        score = by if callable(by) else self._score_by(by, under)
        return choose(list(self), self._indices, score)

    def ensemble(self, abstain: float = 0.0) -> Ensemble:
        """Return the survivors as one candidate that says what most of them say.

        Args:
            abstain: the share of them that must agree for an answer: 0 always answers, 1 answers
                where all agree.
        """
        from pytest_multiplicity.evaluation.ensemble import Ensemble

        self._need(1)
        return Ensemble(self._population, list(self), abstain)

    def _score_by(self, by: Data | str, under: Under) -> Callable[[Candidate], float]:
        metric = self._population.accuracies(by, under)
        places = dict(zip(self, self._indices, strict=True))
        return lambda candidate: Score(metric, places[candidate])

    def _need(self, count: int) -> None:
        if len(self) < count:
            raise MeasurementError(
                f"{len(self)} survivors: this needs {count}; gate len(survivors) first"
            )

    def _row(
        self, baseline: Candidate | None, data: Data, under: Under
    ) -> npt.NDArray[np.int64] | None:
        return None if baseline is None else baseline.predictions(data, under).numpy()

    def _label(self, data: Data, under: Under, label: int | None) -> npt.NDArray[np.int64]:
        targets = self._population.ask(data, under).targets.numpy()
        return targets if label is None else np.full(len(targets), label)

    def _said(self, data: Data, under: Under) -> npt.NDArray[np.int64]:
        """`[survivors, n]`."""
        self._need(1)
        known = self._population.accuracies(data, under).predictions
        if known is not None:
            return known[self._indices].astype(np.int64)
        return np.stack([candidate.predictions(data, under).numpy() for candidate in self])

    def _predictions(self, data: Data, under: Under) -> npt.NDArray[np.int64]:
        """`[distinct survivors, n]`."""
        said = self._said(data, under)
        return said[distinct(said, lambda position: self[position].logits(data, under))]

    def _probabilities(self, data: Data, under: Under) -> npt.NDArray[np.float32]:
        """`[distinct survivors, n, classes]`."""
        self._need(1)
        said = np.stack([candidate.probabilities(data, under).numpy() for candidate in self])
        return said[distinct(said, lambda position: self[position].logits(data, under))]

    def _once(
        self, indices: Sequence[int], metric: Metric, data: Data | str, under: Under
    ) -> Sequence[int]:
        """Return these candidates of the family, of copies the first; of recorded scores all."""
        if metric.predictions is None or isinstance(data, str):
            return indices
        candidates = self._population.candidates
        kept = distinct(
            metric.predictions[indices],
            lambda position: candidates[indices[position]].logits(data, under),
        )
        return [indices[position] for position in kept]
