"""What is reachable from a family's survivors: asked, looked up, searched for, and told."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from pytest_multiplicity.compute import as_new, threads
from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import DataError, MeasurementError, guarded
from pytest_multiplicity.evaluation.candidate import Candidate
from pytest_multiplicity.evaluation.leakage import ENFORCED
from pytest_multiplicity.evaluation.model_population import ModelPopulation
from pytest_multiplicity.evaluation.twin import twin
from pytest_multiplicity.reach import Base, Found, Inverses, OnData, Reach, head_of
from pytest_multiplicity.store import fingerprint
from pytest_multiplicity.tasks import Task
from pytest_multiplicity.training import Recipe, Seeds, training_rows

VERSION = "reachable 1"  # of what is found, beside RESULTS_VERSION
Said = npt.NDArray[Any]


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
    """

    family: ModelPopulation
    indices: Sequence[int]
    said: Said
    data: Data
    select: Data
    within: float
    train: Data | None = None

    def __post_init__(self) -> None:
        _check(self)

    @cached_property
    def threshold(self) -> float:
        """The score on the selecting data that is good enough: of survivors the best, less that."""
        role, self.family.role = self.family.role, ENFORCED
        try:
            scores = self.family.accuracies(self.select).scores[list(self.indices)]
        finally:
            self.family.role = role
        return float(np.nanmax(scores)) - self.within

    def reached(self) -> Reached:
        """Return what is reachable, from the store where it is there."""
        made = self.family.models.made
        store, key = made.machine.store, self._key()
        threshold = self.threshold  # trains who isn't yet
        if (entry := store.get("reachable", key)) is not None:
            self.family.models.note_maker("reachable", entry.meta.get("machine"))
            notes = {name: str(text) for name, text in entry.meta["notes"].items()}
            return Reached(Found(**entry.tensors), self.said, notes)
        with guarded("the search"), self._computing():
            found, notes = self._search(threshold)
        tensors = {each.name: getattr(found, each.name).contiguous() for each in fields(found)}
        meta = {"machine": str(made.machine.kind), "notes": notes}
        store.put("reachable", key, tensors, meta, run=made.run_of(self.indices))
        return Reached(found, self.said, notes)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Compute in one thread: products are small, and several would wait for each other."""
        with self.family.models.machine.alone(), as_new(), threads(1):
            yield

    def _search(self, threshold: float) -> tuple[Found, dict[str, str]]:
        bases = [self._base(index) for index in self.indices]
        search = Reach(self._task, torch.from_numpy(self.said), threshold)
        machine = self.family.models.machine
        what = f"{self.family.models.name}: reachable on {self.data.name}"
        with machine.progress.task(what, search.rounds(bases)) as task:
            found = search.of(bases, task.advance)
        return found, {"loss": self._loss(self.indices[0])[3], "solved by": "; ".join(search.by)}

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
        decayed = f" with weight decay {decay:g}" if decay else ""
        return data, known, decay, f"{known} on {data.name}{decayed}{instead}"

    def _base(self, index: int) -> Base:
        models = self.family.models
        name = self.family.design.ids[index]
        head = head_of(models.model(index), self.data, name)
        data, loss, decay, _ = self._loss(index)
        rows = torch.arange(len(data))
        if self.train is None and isinstance(models.made.all[index], Recipe):
            rows = training_rows(len(data), Seeds.of(self.family.design.configs[index]))
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
        return fingerprint([VERSION, known, *on, train, self.within, list(self._task.judgement)])

    def twin(self, row: int) -> Candidate:
        """Return the model that answers a sample otherwise.

        Raises MeasurementError where none was found.
        """
        found = self.reached().found
        row = _position(row, len(self.data), self.data.name)
        place = int(found.base[row])
        if place < 0:
            raise MeasurementError(
                f"row={row} of {self.data.name!r} isn't reachable within {self.within:g} on "
                f"{self.select.name!r}: no model was found that answers it otherwise; "
                "survivors.reachable(...) says which are"
            )
        index = self.indices[place]
        with self._computing():
            base = self._base(index)
            k = len(base.head.weights)
            rows, amounts = torch.tensor([row]), found.amount[[row]]
            turned = base.turned(Inverses([base]).of(0), rows, found.turn[row, :k], amounts)
            model = base.head.built(turned[0])
        id = f"twin of {base.name} at {row} of {self.data.name}"
        if not isinstance(model, torch.nn.Module):
            model.fingerprint = fingerprint(["twin", self._key(), row])
        return twin(self.family, model, self.family.design.configs[index], id)

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
        return frame


def divided(task: Task, said: Said) -> npt.NDArray[np.bool_]:
    """Return the samples on which any two of those who said `[S, n, ...]` differ, `[n]`."""
    conflicts: npt.NDArray[np.bool_] = task.said(said).conflicts() > 0
    return conflicts


def _only(there: npt.NDArray[np.bool_], told: Callable[[int], Any]) -> pd.Series[Any]:
    return pd.Series([told(i) if known else None for i, known in enumerate(there)], dtype=object)


def _position(row: Any, count: int, name: str) -> int:
    try:
        position = operator.index(row)
    except TypeError:
        position = -1
    if not 0 <= position < count:
        raise MeasurementError(
            f"row={row!r}: give the position of a sample in {name!r}, from 0 to {count - 1}"
        )
    return position


def _check(asked: Reaching) -> None:
    """Raise what makes the question one that can't be answered."""
    within = asked.within
    if isinstance(within, bool) or not isinstance(within, int | float) or not within >= 0:
        raise MeasurementError(f"within={within!r}: give a distance between scores, 0 or more")
    if not math.isfinite(within):
        raise MeasurementError(f"within={within!r}: give a distance between scores below 1")
    for name in ("data", "select", "train"):
        value = getattr(asked, name)
        if value is None and name == "train":
            continue
        if not isinstance(value, Data):
            raise DataError(f"{name}={value!r} is no pm.Data")
        if value.task.name != asked.data.task.name:
            raise DataError(
                f"{name}={value.name!r} is for {value.task.name}, and {asked.data.name!r} for "
                f"{asked.data.task.name}: give data of one task"
            )
    task = asked.data.task
    if not task.has_targets or not task.has_accuracy:
        task.right(asked.said[:0], asked.said[:0])  # says what is missing
    if task.turning is None:
        raise MeasurementError(
            f"reachable is for classes, several labels and values, and {asked.data.name!r} is for "
            f"{task.name}"
        )
