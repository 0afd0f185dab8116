"""What is asked of a family: which samples, under which interventions."""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import DataError
from pytest_multiplicity.interventions import Chain, Group, Intervention, chain
from pytest_multiplicity.tasks import Task

Under = Intervention | Chain | None


class Asked(NamedTuple):
    """What logits are computed for, and which of their rows a metric is about.

    Groups, and views of data under interventions that need no model, are rows of logits that are
    computed once for all of `source`.
    """

    data: Data
    under: Chain
    source: Data
    rows: Tensor  # positions in source
    positions: Tensor  # the same samples' positions in data
    judged_by: Task | None = None  # instead of the data's own task

    @property
    def task(self) -> Task:
        """What says which answers are right, and when two differ."""
        return self.data.task if self.judged_by is None else self.judged_by

    @property
    def name(self) -> str:
        """`test` or `test under PGD(0.005)`."""
        return f"{self.data.name} under {self.under.name}" if self.under.name else self.data.name

    @property
    def targets(self) -> Tensor:
        """The targets of the rows."""
        return self.source.targets[self.rows]

    @property
    def logits(self) -> str:
        """What of its data and interventions decides on logits: `test under PGD(0.005)`."""
        return " ".join([self.source.name, *map(repr, self.under.inputs)])

    @property
    def passes(self) -> int:
        """How many samples go through a model for them, forwards or backwards, about."""
        return len(self.source) * self.under.passes

    @property
    def plain(self) -> bool:
        """Whether it is about a whole data set without intervention."""
        return not self.under.steps and self.data.root is self.data

    @property
    def groups(self) -> list[Asked]:
        """The same for each group among which the worst is sought; itself where none is."""
        expanded = self.under.expand(self.data)
        by = self.judged_by
        return [
            self if each is self.under else ask(self.data, each)._replace(judged_by=by)
            for each in expanded
        ]


def ask(data: object, under: Under) -> Asked:
    """Check the question and find the rows it is about. Raises DataError, InterventionError."""
    if not isinstance(data, Data):
        raise DataError(f"{data!r} is no pm.Data: give the data set the score is measured on")
    steps = chain(under)
    steps.check(data)
    positions = _places(data, steps)
    if steps.needs_model:
        return Asked(data, steps, data, positions, positions)
    rows = data.rows[positions] if steps.groups else data.rows
    return Asked(data, steps, data.root, rows, positions)


_PLACES: WeakKeyDictionary[Data, dict[tuple[Group, ...], Tensor]] = WeakKeyDictionary()
"""Where groups are, which are asked about again for every candidate."""


def _places(data: Data, steps: Chain) -> Tensor:
    """Return the positions in a data set of the samples that are in all groups."""
    if not all(type(each) is Group and each.min_size == 1 for each in steps.groups):
        return _found(data, steps)  # which may warn
    known = _PLACES.setdefault(data, {})
    groups = tuple(each for each in steps.groups if isinstance(each, Group))
    if groups not in known:
        known[groups] = _found(data, steps) if groups else torch.arange(len(data))
    return known[groups]


def _found(data: Data, steps: Chain) -> Tensor:
    return torch.isin(data.rows, steps.restrict(data).rows).nonzero().flatten()
