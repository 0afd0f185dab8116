"""What is reachable from a family's survivors: asked, looked up, searched for, and told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from pytest_multiplicity.compute import as_new, threads
from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import MeasurementError, guarded
from pytest_multiplicity.evaluation.bases import Bases
from pytest_multiplicity.evaluation.candidate import Candidate
from pytest_multiplicity.evaluation.leakage import ENFORCED
from pytest_multiplicity.evaluation.model_population import ModelPopulation
from pytest_multiplicity.evaluation.population import BuiltModel
from pytest_multiplicity.evaluation.reach_checks import check_data, check_number, position_of
from pytest_multiplicity.evaluation.reached import ReachedFacts, contested, of_samples
from pytest_multiplicity.evaluation.twin import twin
from pytest_multiplicity.reach import Base, Found, Inverses, Reach, drawn, polished
from pytest_multiplicity.store import Aside, Entry, fingerprint
from pytest_multiplicity.tasks import Task

VERSION = "reachable 3"  # of what is found, beside RESULTS_VERSION
LAST_LAYER = "last layer"
HOW = (LAST_LAYER, *drawn.WAYS)
MANY = 2_000  # weights of a last layer
Said = npt.NDArray[Any]
Judge = Callable[[Candidate], bool]
"""Whether every enforced specification keeps a candidate."""


@dataclass(frozen=True, eq=False)
class Reached:
    """What was found, and whose predictions it is held against."""

    found: Found
    said: Said
    notes: dict[str, str]


@dataclass(frozen=True, eq=False)
class Reaching:
    """The question: of whom, on what, how much worse.

    Args:
        family: all candidates.
        indices: the survivors.
        said: what these predict of `data`, `[S, n, ...]`.
        data: whose samples are to be answered otherwise.
        select: what models are held to be as good on.
        within: how much worse a model may be.
        train: whose loss is meant; None: the recipe's own, without a recipe `select`.
        judge: asks the enforced specs, where they are to keep the models, too.
        how: which models are looked at.
    """

    family: ModelPopulation
    indices: Sequence[int]
    said: Said
    data: Data
    select: Data
    within: float
    train: Data | None = None
    judge: Judge | None = None
    how: str = LAST_LAYER

    def __post_init__(self) -> None:
        check_number(self.within)
        check_data({"data": self.data, "select": self.select, "train": self.train})
        if self.how not in HOW:
            raise MeasurementError(f"how={self.how!r}: give one of {', '.join(map(repr, HOW))}")
        if self.judge is not None and self.how != LAST_LAYER:
            raise MeasurementError(f"specs=True judges models by how={LAST_LAYER!r} only")

    @cached_property
    def bases(self) -> Bases:
        """The candidates of the family, to build upon."""
        return Bases(self.family, self.data, self.select, self.train)

    @cached_property
    def scores(self) -> npt.NDArray[np.float64]:
        """The survivors' scores on the selecting data."""
        with self._selecting():
            return self.family.accuracies(self.select).scores[list(self.indices)]

    @property
    def threshold(self) -> float:
        """The score on the selecting data that is good enough: of survivors the best, less that."""
        return float(np.nanmax(self.scores)) - self.within

    @contextmanager
    def _selecting(self) -> Iterator[None]:
        """Inside, what is measured selects, as far as data are concerned that two roles share."""
        role, self.family.role = self.family.role, ENFORCED
        try:
            yield
        finally:
            self.family.role = role

    def reached(self) -> Reached:
        """Return what is reachable, from the store where it is there.

        What specs have a say in isn't kept: nobody knows when they would say otherwise.
        """
        threshold = self.threshold  # trains who isn't yet

        def made() -> Entry:
            found, notes = self._search(threshold)
            tensors = {each.name: getattr(found, each.name) for each in fields(found)}
            return Entry(tensors, {"notes": notes})

        entry = self.looked_up(None if self.judge else self._key(), made)
        notes = {name: str(text) for name, text in entry.meta["notes"].items()}
        return Reached(Found(**entry.tensors), self.said, notes)

    def looked_up(self, key: str | None, make: Callable[[], Entry]) -> Entry:
        """Return what the store has, or what is made, which it then has; None: it never has it."""
        made = self.family.models.made
        store = made.machine.store
        entry = None if key is None else store.get("reachable", key)
        if entry is not None:
            self.family.models.note_maker(entry.meta.get("machine"))
            return entry
        with guarded("the search"), self.computing():
            found = make()
        tensors = {name: each.detach().cpu().contiguous() for name, each in found.tensors.items()}
        entry = Entry(tensors, {"machine": str(made.machine.kind), **found.meta})
        if key is not None:
            store.put("reachable", key, tensors, entry.meta, run=made.run_of(self.indices))
        return entry

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute in one thread: products are small, and several would wait for each other."""
        with self.family.models.machine.alone(), as_new(), threads(1):
            yield

    def _solving(self, base: Base) -> AbstractContextManager[None]:
        """Inside, all threads compute where a last layer is large."""
        machine = self.family.models.machine
        return threads(machine.threads if base.head.weights.numel() > MANY else 1)

    def _search(self, threshold: float) -> tuple[Found, dict[str, str]]:
        bases = [self.bases.base(index) for index in self.indices]
        kept = None if self.judge is None else partial(self._kept, bases)
        best = threshold + self.within
        search = Reach(self._task, torch.from_numpy(self.said), threshold, kept, best=best)
        if self.how != LAST_LAYER:
            found, by = drawn.search(self.how, search, self._sources(bases), self._asked())
            return found, {"loss": self._said_of_loss(), "solved by": by}
        machine = self.family.models.machine
        what = f"{self.family.models.name}: reachable on {self.data.name}"
        bar = machine.progress.task(what, search.rounds(bases))
        with bar as task, self._solving(bases[0]):
            found = search.of(bases, task.advance)
        return found, {"loss": self._said_of_loss(), "solved by": "; ".join(search.by)}

    def _said_of_loss(self) -> str:
        return self.bases.loss(self.indices[0])[3]

    def _sources(self, bases: Sequence[Base]) -> list[drawn.Origin]:
        models, configs = self.family.models, self.family.design.configs
        return [
            drawn.Origin(base, models.model(i), configs[i].seed, *self.bases.trained(i))
            for base, i in zip(bases, self.indices, strict=True)
        ]

    def _asked(self) -> drawn.Wanted:
        return drawn.Wanted(self.data, self.select)

    def _kept(self, bases: Sequence[Base], position: int, weights: Tensor) -> bool:
        return self.keeps(bases[position], position, weights)

    def keeps(self, base: Base, place: int, weights: Tensor) -> bool:
        """Return whether the specs that are asked, if any, keep a built model; it isn't stored."""
        if self.judge is None:
            return True
        config = self.family.design.configs[self.indices[place]]
        model = base.head.built(weights)
        machine = self.family.models.machine
        aside = replace(machine, store=Aside(machine.store))
        with self._selecting():
            return self.judge(twin(self.family, model, config, "a built model", aside))

    @property
    def _task(self) -> Task:
        return self.data.task

    def id_of(self, place: int) -> str:
        """Return the id of a survivor by its place among them."""
        return self.family.design.ids[self.indices[place]]

    def key(self, *more: Any) -> str:
        """Return what the store knows something by that is made of all this."""
        return fingerprint([self._key(), *more])

    def _key(self) -> str:
        known = [self.family.models.known_by(index) for index in self.indices]
        on = [each.fingerprint for each in (self.data, self.select)]
        train = None if self.train is None else self.train.fingerprint
        judged = list(self._task.judgement)
        return fingerprint([VERSION, self.how, known, *on, train, self.within, judged])

    def facts(self, frame: pd.DataFrame, found: Found) -> ReachedFacts:
        """Return what reports are told."""
        best = int(np.nanargmax(self.scores))
        said, score = self.said[best], float(self.scores[best])
        as_good = float(found.as_good.double().mean())
        right = self._task.right(torch.from_numpy(said), self.data.targets)
        return ReachedFacts(
            data=self.data.name,
            select=self.select.name,
            within=float(self.within),
            how=self.how,
            specs=self.judge is not None,
            loss=frame.attrs["loss"],
            by=frame.attrs["solved by"],
            best=score,
            fresh_base=float(right.double().mean()),
            **of_samples(frame, score, float(self.within), as_good),
            contested=contested(frame, lambda row: self._task.shown(said[row])),
        )

    def twin(self, row: int) -> Candidate:
        """Return the model that answers a sample otherwise.

        Raises MeasurementError where none was found.
        """
        found = self.reached().found
        row = position_of(row, len(self.data), self.data.name)
        place = int(found.base[row])
        if place < 0:
            raise MeasurementError(
                f"row={row} of {self.data.name!r} isn't reachable within {self.within:g} on "
                f"{self.select.name!r}: no model was found that answers it otherwise; "
                "survivors.reachable(...) says which are"
            )
        index = self.indices[place]
        if self.how != LAST_LAYER:
            return self.candidate(self._again(found, row), index, "twin", f" at {row}")

        def made() -> Entry:
            base = self.bases.base(index)
            k = len(base.head.weights)
            rows, amounts = torch.tensor([row]), found.amount[[row]]
            with self._solving(base):
                inverse = Inverses([base]).of(0)
                turned = base.turned(inverse, rows, found.turn[[row], :k], amounts)
                if int(found.steps[row]):
                    turned = polished(base, inverse, rows, found.turn[[row], :k], turned)
            return Entry({"weights": turned[0]}, {})

        weights = self.looked_up(self.key("twin", row), made).tensors["weights"]
        return self.candidate(self.built(index, weights), index, "twin", f" at {row}")

    def built(self, index: int, weights: Tensor) -> Any:
        """Return a survivor's model with another last layer."""
        with self.computing():
            return self.bases.head(index).built(weights)

    def _again(self, found: Found, row: int) -> Any:
        """Return the model by another way that turned a row."""
        with self.computing():
            sources = self._sources([self.bases.base(index) for index in self.indices])
            reach = Reach(self._task, torch.from_numpy(self.said), self.threshold)
            return drawn.built_again(self.how, reach, sources, self._asked(), row, found)

    def candidate(
        self, model: Any, index: int, what: str, where: str = "", held: Tensor | None = None
    ) -> Candidate:
        """Return what was built from a survivor as a candidate, which an export takes.

        `held` are weights that nothing else tells.
        """
        id = f"{what} of {self.family.design.ids[index]}{where} of {self.data.name}"
        if not isinstance(model, torch.nn.Module):
            model.fingerprint = fingerprint(["built", self._key(), id, held])
        made = twin(self.family, model, self.family.design.configs[index], id)
        asked = f"{self._key()} {id}"
        self.family.beside.twins[asked] = BuiltModel(made, self.select.name, float(self.within))
        return made

    def frame(self) -> pd.DataFrame:
        """Return what is reachable, a row for each sample."""
        reached = self.reached()
        found, task = reached.found, self._task
        there = (found.base >= 0).numpy()
        ids = [self.id_of(place) for place in range(len(self.indices))]
        frame = pd.DataFrame(
            {
                "reachable": there,
                "to": _only(there, lambda i: task.told(found.to[i].numpy())),
                "cost": found.cost.numpy(),
                "score": found.score.numpy(),
                "fresh": found.fresh.numpy(),
                "arbitrary": divided(task, reached.said),
                "base": _only(there, lambda i: ids[int(found.base[i])]),
            }
        )
        frame.attrs.update(
            {"data": self.data.name, "select": self.select.name, "within": self.within},
            **reached.notes,
        )
        asked = f"{self._key()} {self.judge is not None}"
        self.family.beside.reached[asked] = self.facts(frame, found)
        return frame


def divided(task: Task, said: Said) -> npt.NDArray[np.bool_]:
    """Return the samples on which any two of those who said `[S, n, ...]` differ, `[n]`."""
    conflicts: npt.NDArray[np.bool_] = task.said(said).conflicts() > 0
    return conflicts


def _only(there: npt.NDArray[np.bool_], told: Callable[[int], Any]) -> pd.Series[Any]:
    return pd.Series([told(i) if known else None for i, known in enumerate(there)], dtype=object)
