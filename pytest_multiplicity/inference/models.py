"""The models of a family: trained from recipes, given as modules, or opaque callables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import cached_property
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import Machine, device_class
from pytest_multiplicity.data import Data
from pytest_multiplicity.design import Built, Design
from pytest_multiplicity.errors import (
    CandidateDiverged,
    DefinitionError,
    MeasurementError,
    guarded,
    once_more,
)
from pytest_multiplicity.inference.counts import Counts
from pytest_multiplicity.inference.infer import Model, frozen
from pytest_multiplicity.store import RESULTS_VERSION, fingerprint
from pytest_multiplicity.training import (
    Declared,
    Diverged,
    Job,
    Plan,
    Recipe,
    Seeds,
    Trained,
    engine,
    initial_module,
    training_rows,
)

HELD_BYTES = 1 << 29  # of trained modules that wait in memory for the next question
TORCHVISION = metadata.version("torchvision")  # importing it would take a second


class Models:
    """What the family's function returned for every configuration, turned into models.

    Recipes are trained together, on the first use of any of them; what the store holds is not
    trained again. Weights are read from the store when a model is used, and a bounded number kept.
    One process at a time computes.
    """

    def __init__(
        self,
        name: str,
        definition: Built,
        design: Design,
        made: Sequence[Any],
        *,
        machine: Machine,
        run_id: str,
    ) -> None:
        self.name, self.definition, self.design = name, definition, design
        self.made = [_checked(made, name) for made in made]
        self.machine, self.counts, self.run_id = machine, Counts(), run_id
        self.store, self.device, self.progress = machine.store, machine.device, machine.progress
        self.patience, self.cluster = machine.patience, machine.cluster
        self.diverged: dict[int, Diverged] = {}
        self.history: dict[int, list[dict[str, float]]] = {}
        self._failure: Exception | None = None
        self._ways: dict[int, str] = {}
        self.others: dict[int, str] = {}  # classes of the machines that trained what isn't of here
        self.trained_now: set[int] = set()  # in this run, also by a process that died since
        self._ready = False
        self._held: dict[int, nn.Module] = {}

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """What the store knows each candidate by."""
        return tuple(self._key(index) for index in range(len(self.made)))

    @property
    def training_data(self) -> list[Data]:
        """The data of every recipe."""
        return [made.data for made in self.made if isinstance(made, Recipe)]

    def model(self, index: int) -> Model:
        """A frozen callable from a batch on the device to logits, to be used and not changed.

        Raises CandidateDiverged for a candidate whose training diverged.
        """
        made = self.made[index]
        if isinstance(made, nn.Module):
            return frozen(made, self.device)
        if not isinstance(made, Recipe):
            return on_cpu(made)
        if index not in self._held:
            self._hold(index, self.module(index))
        return self._held[index]

    def module(self, index: int) -> nn.Module:
        """The candidate's module, frozen, in eval mode, on the device; a trained one is a copy."""
        made = self.made[index]
        if isinstance(made, nn.Module):
            return frozen(made, self.device)
        if not isinstance(made, Recipe):
            raise MeasurementError(
                f"{self.design.ids[index]} is a {type(made).__name__}, no torch module: "
                "it has logits, but neither weights nor gradients"
            )
        self.ready()
        self.refuse_diverged(index)
        module = initial_module(made, Seeds.of(self.design.configs[index]))
        entry = self.store.get("weights", self.keys[index])
        if entry is None:  # lost since: a sick file was put aside, or another run cleared the store
            self._ready = False
            return self.module(index)
        module.load_state_dict(entry.tensors)
        return frozen(module, self.device)

    def _hold(self, index: int, module: nn.Module) -> None:
        """Keep a module for the next question, the oldest going where they would be too many."""
        self._held[index] = module
        while len(self._held) > 1 and sum(map(size_of, self._held.values())) > HELD_BYTES:
            del self._held[next(iter(self._held))]

    def trained_half(self, index: int, data: Data) -> Tensor:
        """Positions in ``data``, the recipe's own, of the half that a candidate was trained on.

        Raises MeasurementError where the recipe has other data, or was trained on all of it.
        """
        made, seeds = self.made[index], Seeds.of(self.design.configs[index])
        if not isinstance(made, Recipe) or made.data.fingerprint != data.fingerprint:
            raise MeasurementError(
                f"{self.design.ids[index]} was not trained on {data.name!r}: give privacy() the "
                "data of the recipes, or members and non-members, privacy(members, nonmembers)"
            )
        if seeds.subset is None:
            raise MeasurementError(
                f"{self.design.ids[index]} was trained on all of {data.name!r}: give non-members, "
                "privacy(members, nonmembers), or let candidates train on random halves, with an "
                "axis 'seed.subset'"
            )
        return training_rows(len(data), seeds)

    def refuse_diverged(self, index: int) -> None:
        """Raise CandidateDiverged when the candidate at ``index`` has no model."""
        if index in self.diverged:
            raise CandidateDiverged(str(self.diverged[index]))

    def ready(self) -> None:
        """Train every recipe of the family that the store doesn't hold.

        A failure is remembered, not tried again for every candidate.
        """
        if self._failure is not None:
            raise once_more(f"training {self.name}", self._failure)
        if not self._ready:
            try:
                self._train()
            except Exception as failure:
                self._failure = failure
                raise
            self._ready = True

    def plan(self) -> list[Plan]:
        """How the recipes that the store doesn't hold would be trained; trains nothing."""
        recipes = [i for i, made in enumerate(self.made) if isinstance(made, Recipe)]
        jobs = [self._job(i) for i in recipes if not self._recall(i)]
        if not jobs:
            return []
        return engine.plan(jobs, self.machine, declared=self._declared(recipes))

    @property
    def ways(self) -> dict[str, int]:
        """How the candidates were trained -> how many of them."""
        return dict(Counter(self._ways.values()))

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Inside, no other process computes: this one has all threads."""
        with self.machine.alone():
            yield

    def _train(self) -> None:
        recipes = [i for i, made in enumerate(self.made) if isinstance(made, Recipe)]
        missing = [i for i in recipes if not self._recall(i)]
        if missing:
            with self.computing():
                missing = [i for i in missing if not self._recall(i)]  # another process was faster
                self.counts.stored += len(recipes) - len(missing)
                self._train_missing(missing, self._declared(recipes))
        else:
            self.counts.stored += len(recipes)

    def _declared(self, recipes: Sequence[int]) -> Declared:
        """All recipes of the family, whatever of them is trained already."""
        declared = len(self.definition.design(None).configs)
        size = round(declared * len(recipes) / len(self.made))
        return Declared([self._job(index) for index in recipes], max(1, size))

    def _train_missing(self, missing: Sequence[int], declared: Declared) -> None:
        jobs = {self.keys[i]: i for i in missing}
        work = [self._job(i) for i in missing]
        with guarded("training"):
            for job, outcome in engine.train(work, self.machine, declared=declared):
                self._keep(jobs[job.key], outcome)
                self.counts.trained += 1

    def _keep(self, index: int, outcome: Trained | Diverged) -> None:
        key = self.keys[index]
        if isinstance(outcome, Diverged):
            self.diverged[index] = outcome
            sick = {"epoch": outcome.epoch, "reason": outcome.reason}
            self.store.put("weights", key, {}, {"diverged": sick, "run": self._here})
        else:
            self.history[index], self._ways[index] = outcome.history, outcome.way
            meta = {
                "history": outcome.history,
                "way": outcome.way,
                "machine": str(self.machine.kind),
                "run": self._here,
            }
            self.store.put("weights", key, outcome.state, meta)
        self.trained_now.add(index)

    @property
    def _here(self) -> list[str]:
        """This family in this run: another one may share the networks, which it finds stored."""
        return [self.run_id, self.name]

    def _recall(self, index: int) -> bool:
        meta = self.store.meta("weights", self.keys[index])
        if meta is None:
            return False
        if diverged := meta.get("diverged"):
            self.diverged[index] = Diverged(**diverged)
        self.history[index] = meta.get("history", [])
        if "way" in meta:
            self._ways[index] = meta["way"]
        if (maker := meta.get("machine")) not in (None, str(self.machine.kind)):
            self.others[index] = maker
        if meta.get("run") == self._here:
            self.trained_now.add(index)
        return True

    def _job(self, index: int) -> Job:
        recipe, seeds = self.made[index], Seeds.of(self.design.configs[index])
        assert isinstance(recipe, Recipe)
        return Job(self.design.ids[index], self.keys[index], recipe, seeds)

    def _key(self, index: int) -> str:
        made = self.made[index]
        if isinstance(made, Recipe):
            return self._recipe_key(made, index)
        if isinstance(made, nn.Module):
            return fingerprint(["module", made, versions(self.device)])
        here = [self.run_id, self.name, self.definition.where, index]
        return fingerprint(["callable", getattr(made, "fingerprint", None) or here])

    def run_of(self, indices: Sequence[int]) -> str | None:
        """The run in which alone results of these candidates are known; None: in every run."""
        made = [self.made[index] for index in indices]
        opaque = [m for m in made if not isinstance(m, Recipe | nn.Module)]
        return None if all(getattr(m, "fingerprint", None) for m in opaque) else self.run_id

    def _recipe_key(self, recipe: Recipe, index: int) -> str:
        config = self.design.configs[index]
        module = initial_module(recipe, Seeds.of(config))
        settings = {f.name: getattr(recipe, f.name) for f in fields(recipe) if f.name != "model"}
        code: Any = [self.definition.function, recipe.model, module]
        if self.definition.version is not None:
            settings = {name: s for name, s in settings.items() if not callable(s)}
            code = [self.definition.version, module.state_dict()]
        return fingerprint(["recipe", config, settings, code, versions(self.device)])


def on_cpu(function: Callable[[Tensor], Any]) -> Model:
    """A callable that is no module sees batches on the CPU, whatever the device: sklearn, ONNX.

    Gradients flow through it where it computes in torch; attacks tell where they don't.
    """

    def model(batch: Tensor) -> Any:
        try:
            logits = function(batch.cpu())
        except RuntimeError:
            if not batch.requires_grad:
                raise
            logits = function(batch.detach().cpu())  # numpy refuses what wants a gradient
        return logits.to(batch.device) if isinstance(logits, Tensor) else logits

    return model


def versions(device: torch.device) -> list[str]:
    """The versions, and the class of device, that can change a candidate's bits."""
    kind = device_class(device)
    return [
        f"results {RESULTS_VERSION}",
        f"torch {torch.__version__}",
        f"torchvision {TORCHVISION}",
        f"numpy {np.__version__}",
        kind,
    ]


def _checked(made: Any, family: str) -> Recipe | nn.Module | Callable[..., Any]:
    if isinstance(made, Recipe | nn.Module) or callable(made):
        return made  # type: ignore[no-any-return]
    hint = "did you forget to return it? " if made is None else ""
    raise DefinitionError(
        f"family {family!r} returned {made!r} for a candidate: {hint}Return a pm.Recipe, "
        "a torch.nn.Module, or a callable from a batch to logits"
    )


def size_of(module: nn.Module) -> int:
    """Bytes of a module's parameters and buffers."""
    return sum(t.numel() * t.element_size() for t in module.state_dict().values())
