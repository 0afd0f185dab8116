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
from pytest_multiplicity.evaluation.candidate import Candidate
from pytest_multiplicity.evaluation.leakage import ENFORCED
from pytest_multiplicity.evaluation.model_population import ModelPopulation
from pytest_multiplicity.evaluation.reach_checks import check_data, check_number, position_of
from pytest_multiplicity.evaluation.reached import ReachedFacts, contested, of_samples
from pytest_multiplicity.evaluation.twin import twin
from pytest_multiplicity.inference import ToldAnswers
from pytest_multiplicity.reach import Base, Found, Inverses, OnData, Reach, drawn, head_of, polished
from pytest_multiplicity.store import Aside, fingerprint
from pytest_multiplicity.tasks import Task
from pytest_multiplicity.training import Recipe, Seeds, training_rows

VERSION = "reachable 1"  # of what is found, beside RESULTS_VERSION
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
        made = self.family.models.made
        store, key = made.machine.store, self._key()
        threshold = self.threshold  # trains who isn't yet
        entry = None if self.judge else store.get("reachable", key)
        if entry is not None:
            self.family.models.note_maker("reachable", entry.meta.get("machine"))
            notes = {name: str(text) for name, text in entry.meta["notes"].items()}
            return Reached(Found(**entry.tensors), self.said, notes)
        with guarded("the search"), self.computing():
            found, notes = self._search(threshold)
        if self.judge is None:
            tensors = {each.name: getattr(found, each.name).contiguous() for each in fields(found)}
            meta = {"machine": str(made.machine.kind), "notes": notes}
            store.put("reachable", key, tensors, meta, run=made.run_of(self.indices))
        return Reached(found, self.said, notes)

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
        bases = [self.base(index) for index in self.indices]
        kept = None if self.judge is None else partial(self._kept, bases, self.judge)
        search = Reach(self._task, torch.from_numpy(self.said), threshold, kept)
        if self.how != LAST_LAYER:
            found, by = drawn.search(self.how, search, self._sources(bases), self._asked())
            return found, {"loss": self._loss(self.indices[0])[3], "solved by": by}
        machine = self.family.models.machine
        what = f"{self.family.models.name}: reachable on {self.data.name}"
        bar = machine.progress.task(what, search.rounds(bases))
        with bar as task, self._solving(bases[0]):
            found = search.of(bases, task.advance)
        return found, {"loss": self._loss(self.indices[0])[3], "solved by": "; ".join(search.by)}

    def _sources(self, bases: Sequence[Base]) -> list[drawn.Origin]:
        models, configs = self.family.models, self.family.design.configs
        return [
            drawn.Origin(base, models.model(i), configs[i].seed, *self._trained(i))
            for base, i in zip(bases, self.indices, strict=True)
        ]

    def _asked(self) -> drawn.Wanted:
        return drawn.Wanted(self.data, self.select)

    def _trained(self, index: int) -> tuple[Data, Tensor]:
        """Return the data of a survivor's loss, and which of them it was trained on."""
        data, made = self._loss(index)[0], self.family.models.made.all[index]
        if self.train is not None or not isinstance(made, Recipe):
            return data, torch.arange(len(data))
        return data, training_rows(len(data), Seeds.of(self.family.design.configs[index]))

    def _kept(self, bases: Sequence[Base], judge: Judge, position: int, weights: Tensor) -> bool:
        """Return whether the specs keep a built model; nothing of it is stored."""
        config = self.family.design.configs[self.indices[position]]
        model = bases[position].head.built(weights)
        machine = self.family.models.machine
        aside = replace(machine, store=Aside(machine.store))
        with self._selecting():
            return judge(twin(self.family, model, config, "a built model", aside))

    @property
    def _task(self) -> Task:
        return self.data.task

    def _loss(self, index: int) -> tuple[Data, str, float, str]:
        """Return the data, name and decay of a survivor's loss, and all that in words."""
        losses = tuple(self._task.losses)
        recipe = self.family.models.made.all[index]
        if not isinstance(recipe, Recipe):
            data = self.train or self.select
            return data, losses[0], 0.0, f"{losses[0]} on {data.name}"
        data, loss = self.train or recipe.data, recipe.loss
        known = loss if isinstance(loss, str) and loss in losses else losses[0]
        decay = recipe.weight_decay if isinstance(recipe.optimizer, str) else 0.0
        instead = "" if known == loss else " (instead of the recipe's own loss)"
        instead += " (without its sample weights)" * (recipe.weight is not None)
        decayed = f" with weight decay {decay:g}" if decay else ""
        return data, known, decay, f"{known} on {data.name}{decayed}{instead}"

    def base(self, index: int) -> Base:
        """Return a survivor to build on."""
        models = self.family.models
        name = self.family.design.ids[index]
        if isinstance(models.made.all[index], ToldAnswers):
            raise MeasurementError(
                f"{name} is known by its recorded answers: reachable needs the model, whose last "
                "layer is changed; have the family's function return it"
            )
        head = head_of(models.model(index), self.data, name)
        _, loss, decay, _ = self._loss(index)
        data, rows = self._trained(index)
        known = self._task.losses[loss]

        def seen(on: Data, some: Tensor | None = None) -> OnData:
            features, targets = head.features(on), on.targets.to(head.weights.device)
            return (
                OnData(features, targets) if some is None else OnData(features[some], targets[some])
            )

        return Base(
            name,
            head,
            seen(self.data),
            seen(self.select),
            seen(data, rows),
            known.of_batch,
            known.of_lanes,
            decay,
        )

    def _key(self) -> str:
        known = [self.family.models.made.keys[index] for index in self.indices]
        on = [each.fingerprint for each in (self.data, self.select)]
        train = None if self.train is None else self.train.fingerprint
        judged = list(self._task.judgement)
        return fingerprint([VERSION, self.how, known, *on, train, self.within, judged])

    def facts(self, frame: pd.DataFrame) -> ReachedFacts:
        """Return what reports are told."""
        best = int(np.nanargmax(self.scores))
        said, score = self.said[best], float(self.scores[best])
        as_good = float((frame.score >= score - 1e-9).mean())
        if self.within and self.judge is None:  # models that are better may take more loss
            strict = replace(self, within=0.0).reached().found
            as_good = float((strict.base >= 0).double().mean())
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
        with self.computing():
            base = self.base(index)
            k = len(base.head.weights)
            rows, amounts = torch.tensor([row]), found.amount[[row]]
            with self._solving(base):
                inverse = Inverses([base]).of(0)
                turned = base.turned(inverse, rows, found.turn[row, :k], amounts)
                if int(found.steps[row]):
                    turned = polished(base, inverse, rows, found.turn[[row], :k], turned)
            model = base.head.built(turned[0])
        return self.candidate(model, index, "twin", f" at {row}")

    def _again(self, found: Found, row: int) -> Any:
        """Return the model by another way that turned a row."""
        with self.computing():
            sources = self._sources([self.base(index) for index in self.indices])
            reach = Reach(self._task, torch.from_numpy(self.said), self.threshold)
            return drawn.built_again(self.how, reach, sources, self._asked(), row, found)

    def candidate(self, model: Any, index: int, what: str, where: str = "") -> Candidate:
        """Return what was built from a survivor as a candidate, which an export takes."""
        id = f"{what} of {self.family.design.ids[index]}{where} of {self.data.name}"
        if not isinstance(model, torch.nn.Module):
            model.fingerprint = fingerprint(["built", self._key(), id])
        made = twin(self.family, model, self.family.design.configs[index], id)
        self.family.beside.twins[id] = made
        return made

    def frame(self) -> pd.DataFrame:
        """Return what is reachable, a row for each sample."""
        reached = self.reached()
        found, task = reached.found, self._task
        there = (found.base >= 0).numpy()
        ids = [self.family.design.ids[index] for index in self.indices]
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
        self.family.beside.reached[asked] = self.facts(frame)
        return frame


def divided(task: Task, said: Said) -> npt.NDArray[np.bool_]:
    """Return the samples on which any two of those who said `[S, n, ...]` differ, `[n]`."""
    conflicts: npt.NDArray[np.bool_] = task.said(said).conflicts() > 0
    return conflicts


def _only(there: npt.NDArray[np.bool_], told: Callable[[int], Any]) -> pd.Series[Any]:
    return pd.Series([told(i) if known else None for i, known in enumerate(there)], dtype=object)
