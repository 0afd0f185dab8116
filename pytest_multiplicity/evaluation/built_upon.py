"""What can be built upon survivors: models as good that nobody trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.candidate import Candidate

if TYPE_CHECKING:
    import pandas as pd

    from pytest_multiplicity.data import Data
    from pytest_multiplicity.evaluation.incumbent import Incumbent
    from pytest_multiplicity.evaluation.population import Population
    from pytest_multiplicity.evaluation.reaching import Reaching
    from pytest_multiplicity.inference import Under


class BuiltUpon(Sequence[Candidate]):
    """Candidates of which others are made: `Survivors`."""

    _population: Population
    _indices: list[int]
    judge: Callable[[Candidate], bool] | None = None
    """Whether every enforced specification keeps a candidate; None where none can be asked."""

    def _need(self, count: int) -> None:
        raise NotImplementedError

    def _said(self, data: Data, under: Under) -> npt.NDArray[Any]:
        raise NotImplementedError

    def _distinct(self, said: npt.NDArray[Any], data: Data, under: Under) -> Sequence[int]:
        raise NotImplementedError

    def reachable(
        self,
        data: Data,
        select: Data,
        within: float = 0.01,
        train: Data | None = None,
        *,
        specs: bool = False,
        how: str = "last layer",
    ) -> pd.DataFrame:
        """Per sample, whether a model as good that nobody trained would answer it otherwise.

        The model differs from a survivor in its last layer only (or see `how`). It is built and
        measured: it
        scores at most `within` below the best survivor on `select`, and answers the sample as no
        survivor does. It is aimed at that one sample: say reachable, not arbitrary.

        Columns: `reachable`; `to`, the answer it can be turned to; `cost`, the loss that this takes
        as measured, `score` on `select` and `fresh` on `data` of that model, its `base`, a
        survivor; and `arbitrary`, where survivors themselves differ. `attrs` say which loss is
        meant.

        Args:
            data: whose samples are looked at.
            select: what the models are as good on; other samples than those of `data`.
            within: how far below the best survivor a model may score, 0 or more.
            train: whose loss is meant. By default the recipe's own data; of models without a recipe
                it is `select`.
            specs: count only models that every enforced specification would keep, too. Each model
                is judged by all of them; what is found isn't kept in the store.
            how: which models are looked at. "last layer" aims one at each sample, by formula;
                "dropout" drops or scales inputs of the last layer, and "path" goes from one
                survivor to another: these aim at nobody; "weights" moves all weights of the best
                survivor along a gradient, sample by sample, which takes long.

        Raises:
            MeasurementError: a survivor has no linear last layer, answers were recorded, or data
                have no accuracy.
        """
        return self._reaching(data, select, within, train, specs=specs, how=how).frame()

    def twin(
        self,
        data: Data,
        row: int,
        select: Data,
        within: float = 0.01,
        train: Data | None = None,
        *,
        how: str = "last layer",
    ) -> Candidate:
        """Return the model that `reachable` tells of, for the sample at position `row`.

        It is a candidate: with its `module`, to be measured and shipped. Raises MeasurementError
        where the sample isn't reachable.
        """
        return self._reaching(data, select, within, train, how=how).twin(row)

    def worst(
        self,
        data: Data,
        select: Data,
        within: float = 0.01,
        of: Any = "churn",
        against: Candidate | Incumbent | None = None,
        *,
        specs: bool = False,
    ) -> Candidate:
        """Return the worst model as good as the survivors that was found, as a candidate.

        It is built from the last layer of one of the five best survivors, by steps within what
        costs little loss, and scores at most `within` below the best survivor on `select`. So it
        bounds from below how bad an equally good model can be on `data`, at which it is aimed.

        Args:
            data: where it is to be bad.
            select: what it is as good on.
            within: how far below the best survivor it may score, 0 or more.
            of: "churn", the share of samples that it answers otherwise than `against`; a `pm.Gap`
                of a rate; or a measure, a function or a name, which takes longer.
            against: for churn, an incumbent or a candidate; by default the best survivor.
            specs: look only among models that every enforced specification would keep, too, as
                `reachable` does; what is found isn't kept in the store.

        Raises:
            MeasurementError: as for `reachable`; or nothing is known of such a measure.
        """
        return self._extreme(data, select, within, of, against, best=False, specs=specs)

    def best(
        self,
        data: Data,
        select: Data,
        within: float = 0.01,
        of: Any = "churn",
        against: Candidate | Incumbent | None = None,
        *,
        specs: bool = False,
    ) -> Candidate:
        """Return the best such model: a less discriminatory one, or one that changes fewer answers.

        See `worst`. It is aimed at `data`: measure it on others, too, before it is shipped.
        """
        return self._extreme(data, select, within, of, against, best=True, specs=specs)

    def _extreme(
        self,
        data: Data,
        select: Data,
        within: float,
        of: Any,
        against: Any,
        *,
        best: bool,
        specs: bool,
    ) -> Candidate:
        from pytest_multiplicity.evaluation.extremes import most_extreme

        asked = self._reaching(data, select, within, None, specs=specs)
        return most_extreme(asked, of, against, best=best)

    def _reaching(
        self,
        data: Data,
        select: Data,
        within: float,
        train: Data | None,
        *,
        specs: bool = False,
        how: str = "last layer",
    ) -> Reaching:
        from pytest_multiplicity.evaluation.model_population import ModelPopulation
        from pytest_multiplicity.evaluation.reaching import Reaching

        self._need(1)
        if not isinstance(self._population, ModelPopulation):
            raise MeasurementError(
                "reachable needs models whose last layer can be changed, and these are recorded: "
                "have the family's function return the models"
            )
        if specs and self.judge is None:
            raise MeasurementError(
                "specs=True asks the enforced specifications, which only gates can: take the "
                "fixture `survivors`, and don't slice it"
            )
        said = self._said(data, None)
        once = self._distinct(said, data, None)
        indices = [self._indices[position] for position in once]
        judge = self.judge if specs else None
        asked = (data, select, within, train, judge, how)
        return Reaching(self._population, indices, said[once], *asked)
