"""The survivors: what gates look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
import pandas as pd

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.arbitrary import Dividing
from pytest_multiplicity.evaluation.built_upon import BuiltUpon
from pytest_multiplicity.evaluation.candidate import Candidate
from pytest_multiplicity.evaluation.choice import Choice, choose
from pytest_multiplicity.evaluation.copies import distinct
from pytest_multiplicity.evaluation.metric import Metric
from pytest_multiplicity.evaluation.outcomes import Outcome, agreement_on
from pytest_multiplicity.evaluation.score import Score
from pytest_multiplicity.evaluation.trials import ConfigurationTrial, enough, reliable
from pytest_multiplicity.statistics import (
    Said,
    Sheet,
    expected_range,
    mean_by,
    over_all_classes,
    ranges,
    rashomon_capacity,
    reliability,
    variances,
)

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_multiplicity.data import Data
    from pytest_multiplicity.evaluation.ensemble import Ensemble
    from pytest_multiplicity.evaluation.incumbent import Incumbent
    from pytest_multiplicity.evaluation.population import Population
    from pytest_multiplicity.inference import Under


class Survivors(BuiltUpon, Dividing):
    """The candidates that no enforced specification rejected, in definition order.

    Every method takes `under=`, an intervention; what it says of samples is in the order of the
    data. A method that needs a pair of candidates raises MeasurementError when there is none left.
    Copies, whose answers on the data are equal, are all there, and count once in what is said of
    the data.
    """

    def __init__(
        self,
        population: Population,
        indices: Sequence[int],
        trials: Sequence[ConfigurationTrial] = (),
    ) -> None:
        self._population, self._indices = population, list(indices)
        self._trials = trials

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> Survivors: ...
    def __getitem__(self, index: int | slice) -> Candidate | Survivors:
        if isinstance(index, slice):
            return Survivors(self._population, self._indices[index], self._trials)
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
        return self._compared(data, under, baseline).ambiguity(_last(baseline))

    def discrepancy(
        self, data: Data, under: Under = None, *, baseline: Candidate | None = None
    ) -> float:
        """Return the largest share on which two survivors (or one and `baseline`) differ."""
        return self._compared(data, under, baseline).discrepancy(_last(baseline))

    def disagreement(self, data: Data, under: Under = None) -> float:
        """Return the share on which two survivors differ, the mean over their pairs."""
        return self._compared(data, under).disagreement()

    def ambiguity_by_label(self, data: Data, under: Under = None) -> pd.Series[float]:
        """Return the ambiguity of each of several labels by itself, indexed by the label."""
        parts = data.task.parts(self._predictions(data, under))
        if not parts:
            raise MeasurementError(
                f"{data.name!r} is for {data.task.name}: only several labels have an ambiguity each"
            )
        return pd.Series({name: each.ambiguity() for name, each in parts.items()})

    def self_consistency(
        self, data: Data, under: Under = None, *, of: Outcome | None = None
    ) -> pd.Series[float]:
        """Per sample, the share of pairs of survivors that agree (Cooper et al. 2024).

        Of dense labels the mean over the sample's positions. `of` is a function from a candidate to
        another outcome of each sample, such as whether it withstands an attack, or is a member.
        """
        if of is None:
            return pd.Series(self._compared(data, under).self_consistency())
        count = len(self._population.ask(data, under).rows)
        once = self._distinct(self._said(data, under), data, under)
        return pd.Series(agreement_on(of, [self[each] for each in once], count))

    def rashomon_capacity(self, data: Data, under: Under = None) -> pd.Series[float]:
        """Per sample, `2 ** capacity` in [1, classes] (Hsu and Calmon 2022).

        Of several labels the mean over these, of dense labels that over positions.
        """
        answers, targets = self._answers(data, under)
        channels = [data.task.channels(each, targets) for each in answers]
        sure = over_all_classes([sure.numpy() for sure, _, _ in channels])
        values = rashomon_capacity(sure).values
        return pd.Series(_by_sample(values, channels[0][2], len(targets)))

    def viable_prediction_range(
        self, data: Data, under: Under = None, *, label: Any = None
    ) -> pd.DataFrame:
        """Per sample, the lowest and highest probability of its target class, or of `label`.

        Of values the lowest and the highest, in their unit. Where a sample has several labels,
        positions or values, the means over these; `label` chooses one of the labels or values.
        """
        values, whose, count = self._magnitudes(data, under, label)
        limits = [_by_sample(each, whose, count) for each in ranges(values).T]
        return pd.DataFrame({"low": limits[0], "high": limits[1]})

    def score_variance(
        self, data: Data, under: Under = None, *, label: Any = None
    ) -> pd.Series[float]:
        """Per sample, the variance (ddof 1) of what `viable_prediction_range` has the range of."""
        values, whose, count = self._magnitudes(data, under, label)
        return pd.Series(_by_sample(variances(values), whose, count))

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
        asked, task = self._population.ask(data, under), data.task
        predictions, targets = self._said(data, under), asked.targets.numpy()
        shares = task.said(predictions, targets).conflicts()
        rows = np.flatnonzero(shares)
        said = {c.id: [task.told(predictions[i, row]) for row in rows] for i, c in enumerate(self)}
        positions = asked.positions.numpy()[rows]
        attributes: Any = {}
        if data.attributes is not None:
            attributes = {str(n): data.attributes[n].to_numpy()[positions] for n in data.attributes}
        told: Any = {"target": [task.told(targets[row]) for row in rows]}
        if (shares[rows] < 1).any():
            told["divided"] = shares[rows]
        return pd.DataFrame({**told, **attributes, **said}, index=positions)

    def pick(
        self,
        by: Data | str | Callable[[Any], float],
        under: Under = None,
        keep: Incumbent | None = None,
    ) -> Choice:
        """Choose the best survivor, and say by how little it won: `print(survivors.pick(data))`.

        Args:
            by: a data set to compare accuracies on, the name of a recorded metric, or a function
                from a candidate to a number, of which the highest wins (of a score, the best).
            under: an intervention.
            keep: the incumbent, which is chosen where no survivor scores higher.
        """
        from pytest_multiplicity.evaluation.incumbent import check_incumbent

        self._need(1)
        if keep is not None:
            keep = check_incumbent(keep, "pick(keep=)") or None  # there may be none
        score = by if callable(by) else self._score_by(by, under, keep)
        return choose(list(self), self._indices, score, keep)

    def reliable(self, at_least: float = reliability.AT_LEAST) -> list[dict[str, Any]]:
        """Return the configurations of which it is decided that their seeds pass often enough.

        Decided by betting, at 5% over the family and however many seeds follow: at 0.8 with 21 or
        more seeds that all pass, at 0.5 with seven (of one configuration; of seven 30 and ten).

        Raises MeasurementError where no configuration has two seeds, or nothing is enforced.
        """
        return reliable(self._trials, at_least)

    def enough(self) -> pd.DataFrame:
        """Return how much better another seed could still be, a row per configuration.

        `beaten_by`: with 95% confidence at most this share of further seeds would beat the best of
        the `seeds` so far, whatever is measured; `anytime`: the same for who looks after each seed;
        `next`: the chance that the next one does, at most.
        """
        return enough(self._trials)

    def ensemble(self, abstain: float = 0.0) -> Ensemble:
        """Return the survivors as one candidate that says what most of them say.

        Args:
            abstain: the share of them that must agree for an answer: 0 always answers, 1 answers
                where all agree.
        """
        from pytest_multiplicity.evaluation.ensemble import Ensemble

        self._need(1)
        return Ensemble(self._population, list(self), abstain)

    def _score_by(
        self, by: Data | str, under: Under, keep: Incumbent | None
    ) -> Callable[[Any], float]:
        metric = self._population.accuracies(by, under)
        if keep is not None and metric.right_of is None:
            raise MeasurementError(
                f"pick(keep={keep.name}): {metric.name} is not known of the incumbent; give a data "
                "set, one group at a time"
            )
        places = dict(zip(self, self._indices, strict=True))

        def score(each: Any) -> float:
            if each in places:
                return Score(metric, places[each])
            assert metric.right_of is not None  # as was checked
            return float(metric.right_of(each).mean(dtype=np.float64))

        return score

    def _need(self, count: int) -> None:
        if len(self) < count:
            raise MeasurementError(
                f"{len(self)} survivor{'' if len(self) == 1 else 's'}: this needs {count}; gate "
                "len(survivors) first"
            )

    def _said(self, data: Data, under: Under) -> npt.NDArray[Any]:
        """`[survivors, n, ...]`."""
        self._need(1)
        known = self._population.answers(data, under).predictions
        if known is not None:
            found = known[self._indices]
            whole = np.issubdtype(found.dtype, np.integer) and found.ndim == 2
            return found.astype(np.int64) if whole else found
        return np.stack([candidate.predictions(data, under).numpy() for candidate in self])

    def _predictions(self, data: Data, under: Under) -> npt.NDArray[Any]:
        """`[distinct survivors, n, ...]`."""
        said = self._said(data, under)
        return said[self._distinct(said, data, under)]

    def _distinct(self, said: npt.NDArray[Any], data: Data, under: Under) -> Sequence[int]:
        """Return the positions of those who said `[survivors, n, ...]` what nobody before did."""
        return distinct(said, lambda position: self[position].logits(data, under))

    def _compared(self, data: Data, under: Under, baseline: Candidate | None = None) -> Said:
        """Return what the distinct survivors said, and last of all what the baseline did."""
        said = self._predictions(data, under)
        if baseline is not None:
            said = np.concatenate([said, baseline.predictions(data, under).numpy()[None]])
        return data.task.said(said, self._population.ask(data, under).targets.numpy())

    def _answers(self, data: Data, under: Under) -> tuple[list[Tensor], Tensor]:
        """Return the answers of the distinct survivors, and the targets."""
        self._need(1)
        answers = [candidate.logits(data, under) for candidate in self]
        said = np.stack([data.task.predictions(each).numpy() for each in answers])
        kept = [answers[position] for position in distinct(said, answers.__getitem__)]
        return kept, self._population.ask(data, under).targets

    def _magnitudes(
        self, data: Data, under: Under, label: Any
    ) -> tuple[npt.NDArray[Any], Tensor | None, int]:
        answers, targets = self._answers(data, under)
        for each in answers:
            data.task.check_answers(each, data.targets, data.name)
        found = [data.task.magnitudes(each, targets, label) for each in answers]
        known = [each for each in found if each is not None]
        if not known:
            raise MeasurementError(
                f"{data.name!r} has no targets whose probability could be meant: say label="
            )
        return np.stack([values.numpy() for values, _ in known]), known[0][1], len(targets)

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


def _last(baseline: Candidate | None) -> int | None:
    """Return where the baseline stands among what is compared."""
    return None if baseline is None else -1


def _by_sample(
    values: npt.NDArray[Any], whose: Tensor | None, count: int
) -> npt.NDArray[np.float64]:
    return values if whose is None else mean_by(whose.numpy(), values, count)
