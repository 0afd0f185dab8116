"""The weights of a family: trained on the first use of any, what the store holds left alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import Tensor

from pytest_multiplicity.compute import device_class, named
from pytest_multiplicity.errors import Attempt, CandidateDiverged, guarded
from pytest_multiplicity.inference.counts import Counts, Foreseen
from pytest_multiplicity.inference.made import Made
from pytest_multiplicity.training import LACKING, Declared, Diverged, Plan, Trained, engine


class Weights:
    """Trains the recipes of a family, together; `counts` says how many, and how many were there.

    `others` are those that a machine of another class made: its name, by position.
    """

    def __init__(self, made: Made, counts: Counts) -> None:
        self._made, self._counts = made, counts
        self._machine, self._store = made.machine, made.machine.store
        self.diverged: dict[int, Diverged] = {}
        self.history: dict[int, list[dict[str, float]]] = {}
        self.others: dict[int, str] = {}
        self.trained_now: set[int] = set()  # in this run, also by a process that died since
        self._ways: dict[int, str] = {}
        self._devices: dict[int, str] = {}  # that trained them
        self._training = Attempt(f"training {made.name}")
        self._ready = False

    @property
    def ways(self) -> dict[str, int]:
        """How the candidates were trained -> how many of them."""
        return dict(Counter(self._ways.values()))

    def of(self, index: int) -> dict[str, Tensor]:
        """Return a candidate's weights by name.

        Raises:
            CandidateDiverged: its training diverged.
        """
        self.ready()
        self.refuse(index)
        entry = self._store.get("weights", self._made.keys[index])
        if entry is not None:
            return entry.tensors
        self._ready = False  # lost since: a sick file was put aside, or somebody cleared the store
        return self.of(index)

    def device(self, index: int) -> str | None:
        """Return the class of device that trained a candidate; None where none did yet."""
        if index not in self._devices:
            meta = self._store.meta("weights", self._made.keys[index])
            if meta is None or "device" not in meta:
                return None
            self._devices[index] = meta["device"]
        return self._devices[index]

    @property
    def absent(self) -> set[int]:
        """Positions of the candidates that have no model."""
        return set(self.diverged)

    @property
    def doubts(self) -> list[str]:
        """What is said of candidates for whose way of training there was too little memory."""
        lacking = [self._made.design.ids[i] for i, way in self._ways.items() if LACKING in way]
        if not lacking:
            return []
        return [
            f"{self._made.name}: {named(lacking)}: {LACKING} for training as the rule says, which "
            "can change last bits: free memory, and give --multiplicity-store another folder to "
            "have everything made anew"
        ]

    def refuse(self, index: int) -> None:
        """Raise CandidateDiverged when the candidate at `index` has no model."""
        if index in self.diverged:
            raise CandidateDiverged(str(self.diverged[index]))

    def ready(self) -> None:
        """Train every recipe of the family that the store doesn't hold.

        A failure is remembered, not tried again for every candidate.
        """
        if not self._ready:
            with self._training, self._machine.as_new():
                self._train()
            self._ready = True

    def foreseen(self) -> Foreseen | None:
        """Return that a function is called in every run; None for recipes: see `plan`."""
        return None if self._made.recipes else Foreseen(len(self._made.all), None, kept=False)

    def plan(self) -> list[Plan]:
        """Return how the recipes that the store doesn't hold would be trained; trains nothing."""
        with self._machine.as_new():
            jobs = [self._made.job(i) for i in self._made.recipes if not self._recall(i)]
            return engine.plan(jobs, self._machine, declared=self._declared()) if jobs else []

    def _train(self) -> None:
        recipes = self._made.recipes
        missing = [i for i in recipes if not self._recall(i)]
        if missing:
            with self._machine.alone():
                missing = [i for i in missing if not self._recall(i)]  # another process was faster
                self._counts.stored += len(recipes) - len(missing)
                self._train_missing(missing)
        else:
            self._counts.stored += len(recipes)

    def _declared(self) -> Declared:
        """All recipes of the family, whatever of them is trained already."""
        made, added = self._made, []
        if made.declared_ones is not None:
            added = [made.job(index) for index in made.recipes]
            made = made.declared_ones
        size = round(made.declared * len(made.recipes) / len(made.all))
        return Declared([made.job(index) for index in made.recipes], max(1, size), added)

    def _train_missing(self, missing: Sequence[int]) -> None:
        positions = {self._made.keys[i]: i for i in missing}
        jobs = [self._made.job(i) for i in missing]
        with guarded("training"):
            for job, outcome in engine.train(jobs, self._machine, declared=self._declared()):
                self._keep(positions[job.key], outcome)
                self._counts.trained += 1

    def _keep(self, index: int, outcome: Trained | Diverged) -> None:
        key = self._made.keys[index]
        if isinstance(outcome, Diverged):
            self.diverged[index] = outcome
            sick = {"epoch": outcome.epoch, "reason": outcome.reason}
            self._store.put("weights", key, {}, {"diverged": sick, "run": self._made.here})
        else:
            self.history[index], self._ways[index] = outcome.history, outcome.way
            self._devices[index] = device_class(self._machine.device)
            meta = {
                "history": outcome.history,
                "way": outcome.way,
                "machine": str(self._machine.kind),
                "device": self._devices[index],
                "run": self._made.here,
            }
            self._store.put("weights", key, outcome.state, meta)
        self.trained_now.add(index)

    def _recall(self, index: int) -> bool:
        meta = self._store.meta("weights", self._made.keys[index])
        if meta is None:
            return False
        if diverged := meta.get("diverged"):
            self.diverged[index] = Diverged(**diverged)
        self.history[index] = meta.get("history", [])
        if "way" in meta:
            self._ways[index] = meta["way"]
        if (maker := meta.get("machine")) not in (None, str(self._machine.kind)):
            self.others[index] = maker
        if meta.get("run") == self._made.here:
            self.trained_now.add(index)
        return True
