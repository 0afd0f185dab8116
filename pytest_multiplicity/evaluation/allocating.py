"""Who of many gets what only k can have: survivors' allocations, and a lottery over survivors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pytest_multiplicity.errors import DataError
from pytest_multiplicity.evaluation.allocated import allocation_facts
from pytest_multiplicity.evaluation.candidate import Candidate
from pytest_multiplicity.evaluation.chosen import Chosen, chosen
from pytest_multiplicity.statistics import allocations as formulas

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data
    from pytest_multiplicity.evaluation.lottery import Lottery
    from pytest_multiplicity.evaluation.population import Population
    from pytest_multiplicity.inference import Under


class Allocating(Sequence[Candidate]):
    """Candidates that choose: `Survivors`."""

    _population: Population

    def _need(self, count: int) -> None:
        raise NotImplementedError

    def allocations(
        self,
        data: Data,
        k: int,
        by: Any,
        groups: str | Sequence[str] | None = None,
        under: Under = None,
    ) -> pd.DataFrame:
        """Return what becomes of a resource that k of the samples can have, a row per survivor.

        Each survivor gives it to the k that it is surest to be of class `by`; qualified are those
        whose class that is (Jain et al., Allocation Multiplicity, 2025). Equal log-odds are put in
        order by lots, which are the same for every survivor.

        Columns: `qualified`, how many of the k are, and `utility`, their share of the k; `tied`,
        how many share the k-th place where not all of them get it, else 0; `jaccard`, the mean over
        the other survivors of whom both choose over whom either does; `log_equal`, the natural
        logarithm of how many choices of k hold as many of the qualified; `rate GROUP`, which
        share of a group is chosen.

        `attrs`: `people` and how many of them are `qualified`; `jaccards` of each two survivors,
        and `jaccard`, their mean over pairs; how many `ever` and `always` are chosen; `unchosen`,
        the qualified whom nobody chooses, beside `unchosen_expected` (and its standard deviation
        `unchosen_sd`), were all to choose as many of them independently; `groups` with their
        sizes and `without`, those of which nobody is chosen by anybody; `ties`, in words. Copies,
        whose answers are equal, count once in what is said of all.

        Args:
            data: whose samples are asked about.
            k: how many of them can have it.
            by: the class, by its name where it has one, or one of several labels.
            groups: an attribute, or several, whose values are groups.
            under: an intervention.

        Raises:
            MeasurementError: k is no number of samples from 1 to all; nobody is qualified; answers
                are labels, or data have no classes.
            DataError: no such attribute.
        """
        found = self._chosen(data, k, by, under)
        frame = _frame([each.id for each in self], found, groups)
        asked = f"{k} of {found.asked.name} by {by!r}, {groups!r}"
        facts = allocation_facts(found.asked.name, frame)
        self._population.beside.allocations[asked] = facts
        return frame

    def lottery(self, seed: int = 0) -> Lottery:
        """Return the survivors as one candidate: a survivor drawn for each sample answers it.

        Args:
            seed: of what is drawn; the same sample is answered by the same survivor in every run.
        """
        from pytest_multiplicity.evaluation.lottery import Lottery

        self._need(1)
        return Lottery(self._population, list(self), seed)

    def _chosen(self, data: Data, k: int, by: Any, under: Under) -> Chosen:
        self._need(1)
        return chosen(self._population.ask(data, under), list(self), k, by, under)


def _frame(ids: Sequence[str], found: Chosen, groups: str | Sequence[str] | None) -> pd.DataFrame:
    whom, once = found.whom, found.whom[list(found.first)]
    served = (whom & found.qualified).sum(axis=1)
    total = int(found.qualified.sum())
    alike = formulas.jaccard(whom)
    others = len(ids) - 1
    columns = {
        "qualified": served,
        "utility": served / found.k,
        "tied": found.tied,
        "jaccard": (alike.sum(axis=1) - 1) / others if others else np.full(1, np.nan),
        "log_equal": formulas.log_equal(total, found.people, found.k, served),
    }
    frame = pd.DataFrame(columns, index=pd.Index(ids, name="survivor"))
    alone = formulas.unchosen(once, found.qualified)
    pairs = formulas.jaccard(once)[np.triu_indices(len(once), 1)]
    frame.attrs = {
        "k": found.k,
        "by": found.by,
        "people": found.people,
        "qualified": total,
        "copies": found.copies,
        "jaccard": float(pairs.mean()) if len(pairs) else None,
        "jaccards": alike.tolist(),
        "ever": int(whom.any(axis=0).sum()),
        "always": int(whom.all(axis=0).sum()),
        "unchosen": alone.count,
        "unchosen_expected": alone.expected,
        "unchosen_sd": alone.sd,
        "ties": _ties(ids, found),
    }
    return frame if groups is None else _with_rates(frame, found, groups)


def _with_rates(frame: pd.DataFrame, found: Chosen, groups: str | Sequence[str]) -> pd.DataFrame:
    """Return the frame with the share of each group that is chosen."""
    from pytest_multiplicity.data import attributes_named, grouped

    by = attributes_named(groups, "groups")
    source, rows = found.asked.source, found.asked.rows.numpy()
    codes, names = grouped(source.attributes, by, source.name, rows)
    if not names:
        raise DataError(f"no sample of {found.asked.name} has a value of {', '.join(by)}: no group")
    rates = {
        f"rate {name}": found.whom[:, codes == group].mean(axis=1)
        for group, name in enumerate(names)
    }
    told = pd.concat([frame, pd.DataFrame(rates, index=frame.index)], axis=1)
    told.attrs = frame.attrs | {
        "groups": dict(zip(names, np.bincount(codes[codes >= 0]).tolist(), strict=True)),
        "without": [name for name in names if not rates[f"rate {name}"].any()],
    }
    return told


def _ties(ids: Sequence[str], found: Chosen) -> str:
    """Say where the k-th place is shared, and how that was decided; "" where it isn't."""
    whose = [name for name, tied in zip(ids, found.tied, strict=True) if tied]
    if not whose:
        return ""
    shown = ", ".join(whose[:3]) + (", ..." if len(whose) > 3 else "")
    return (
        f"samples share place {found.k} in {len(whose)} of {len(ids)} ({shown}): who gets it was "
        "decided by lots, the same for every survivor"
    )
