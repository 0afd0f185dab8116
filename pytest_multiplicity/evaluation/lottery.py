"""A lottery over survivors: who answers is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.candidate import Candidate
from pytest_multiplicity.evaluation.chosen import Chosen, chosen
from pytest_multiplicity.evaluation.ensemble import Ensemble
from pytest_multiplicity.inference import Asked, Under
from pytest_multiplicity.statistics import allocations as formulas
from pytest_multiplicity.tasks import Vote

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data
    from pytest_multiplicity.evaluation.population import Population


class Lottery(Ensemble):
    """Some candidates as one: a member drawn for each sample answers it. Measured as a candidate.

    Who is drawn depends on the seed and the sample's position, not on interventions. Of a resource
    that k can have, a sample's chance is the share of the members that choose it: what every member
    overlooks stays overlooked.
    """

    def __init__(self, population: Population, members: Sequence[Candidate], seed: int) -> None:
        super().__init__(population, members, abstain=0.0)
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise MeasurementError(f"seed={seed!r}: give a whole number, 0 or more")
        self.seed, self.id = int(seed), f"lottery over {len(members)}"

    def chances(self, data: Data, k: int, by: Any, under: Under = None) -> pd.Series[float]:
        """Per sample, its chance of being among the k: see `Survivors.allocations`."""
        found = self._choices(data, k, by, under)
        return pd.Series(found.whom.mean(axis=0), index=found.asked.positions.numpy())

    def allocation(self, data: Data, k: int, by: Any, under: Under = None) -> pd.Series[bool]:
        """Per sample, whether it is drawn: exactly k are, each with the chance of `chances`."""
        found = self._choices(data, k, by, under)
        votes = found.whom.sum(axis=0).astype(np.int64)
        rng = np.random.default_rng(self.seed)
        drawn = formulas.drawn(votes, len(self.members), rng)
        return pd.Series(drawn, index=found.asked.positions.numpy())

    def _choices(self, data: Data, k: int, by: Any, under: Under) -> Chosen:
        return chosen(self._population.ask(data, under), self.members, k, by, under)

    def _combined(self, answers: list[Tensor], asked: Asked) -> Vote:
        """Return what the members say that were drawn."""
        shapes = {tuple(each.shape) for each in answers}
        if len(shapes) > 1:
            raise MeasurementError(
                f"the {self.id}: members answer {asked.data.name!r} in different forms "
                f"({', '.join(map(str, sorted(shapes)))}): give a slice of those who answer alike"
            )
        rng = np.random.default_rng(self.seed)
        who = rng.integers(len(answers), size=len(asked.source))[asked.rows.numpy()]
        own = torch.stack(answers)[torch.from_numpy(who), torch.arange(len(who))]
        said = asked.data.task.predictions(own)
        return Vote(answers=own, said=said, agreement=torch.ones(len(who), dtype=torch.float64))
