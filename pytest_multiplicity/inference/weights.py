"""The weights of a family: trained from the first use of any on, what the store holds left alone.

Training goes on in worker processes while what is there is used. This process gives them tasks and
keeps their results whenever it asks for a candidate, or lets them `go_on`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress

from torch import Tensor

from pytest_multiplicity.compute import device_class, named, threads
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
        self._lacking: dict[int, None] = {}  # memory, for their way: asked for with every score
        self._devices: dict[int, str] = {}  # that trained them
        self._training = Attempt(f"training {made.name}")
        self._going: Generator[bool] | None = None  # that has begun, and isn't at its end
        self._waits = True  # whether there is nothing to do but to train
        self._there: set[int] = set()
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
        self.need(index)
        self.refuse(index)
        entry = self._store.get("weights", self._made.keys[index])
        if entry is not None:
            return entry.tensors
        self.ready()  # lost since: a sick file was put aside, or somebody cleared the store
        self._ready = False
        self._there.clear()
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
        if not self._lacking:
            return []
        ids = named([self._made.design.ids[index] for index in self._lacking])
        return [
            f"{self._made.name}: {ids}: {LACKING} for training as the rule says, which "
            "can change last bits: free memory, and give --multiplicity-store another folder to "
            "have everything made anew"
        ]

    def refuse(self, index: int) -> None:
        """Raise CandidateDiverged when the candidate at `index` has no model."""
        if index in self.diverged:
            raise CandidateDiverged(str(self.diverged[index]))

    @property
    def there(self) -> list[int]:
        """Positions of the candidates that have a model by now."""
        everybody = range(len(self._made.all))
        if self._ready:
            return [i for i in everybody if i not in self.diverged]
        out = set(self._made.recipes) - (self._there - self.diverged.keys())
        return [i for i in everybody if i not in out]

    @property
    def going(self) -> bool:
        """Whether training has begun, and not come to its end."""
        return self._going is not None

    @property
    def whole(self) -> bool:
        """Whether all training is done."""
        return self._ready

    def ready(self) -> None:
        """Train every recipe of the family that the store doesn't hold.

        A failure is remembered, not tried again for every candidate.
        """
        while not self._ready:
            self._pull()

    def need(self, index: int) -> None:
        """Train until a candidate is there, before all others; see `ready`."""
        if self._ready:
            return
        if index not in self._made.recipes or not self._machine.early:
            self.ready()
        while not (self._ready or index in self._there):
            self._pull(index)

    def go_on(self) -> None:
        """Keep what is trained by now and have the others go on; waits for nothing.

        A failure is told to who needs what failed.
        """
        if self._going is not None:
            self._waits = False
            try:
                with suppress(Exception):
                    self._pull()
            finally:
                self._waits = True

    def stop(self) -> None:
        """End what is still trained, and keep what is finished."""
        self.go_on()
        going, self._going = self._going, None
        if going is not None:
            going.close()

    def _pull(self, first: int | None = None) -> None:
        """Train until it is worth a look at what is there, or all is."""
        with self._training, self._machine.as_new(), threads(self._machine.threads):
            going = self._going or self._train(first)
            self._going = None
            if any(going):
                self._going = going
            else:
                self._ready = True

    def foreseen(self) -> Foreseen | None:
        """Return that a function is called in every run; None for recipes: see `plan`."""
        return None if self._made.recipes else Foreseen(len(self._made.all), None, kept=False)

    def plan(self) -> list[Plan]:
        """Return how the recipes that the store doesn't hold would be trained; trains nothing."""
        with self._machine.as_new():
            jobs = [self._made.job(i) for i in self._made.recipes if not self._recall(i)]
            return engine.plan(jobs, self._machine, declared=self._declared()) if jobs else []

    def _train(self, first: int | None) -> Generator[bool]:
        """Train what is missing, and yield whether a look is worth while."""
        recipes = self._made.recipes
        missing = [i for i in recipes if not self._recall(i)]
        if missing:
            with self._machine.held():
                missing = [i for i in missing if not self._recall(i)]  # another process was faster
                self._counts.stored += len(recipes) - len(missing)
                yield from self._train_missing(missing, first)
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

    def _train_missing(self, missing: Sequence[int], first: int | None) -> Iterator[bool]:
        positions = {self._made.keys[i]: i for i in missing}
        wanted = None if first is None else self._made.keys[first]
        jobs = [self._made.job(i) for i in missing]
        declared, waits = self._declared(), lambda: self._waits
        with guarded("training"):
            for result in engine.train_early(
                jobs, self._machine, declared=declared, first=wanted, waits=waits
            ):
                if result is not None:
                    self._keep(positions[result[0].key], result[1])
                    self._counts.trained += 1
                yield result is None

    def _keep(self, index: int, outcome: Trained | Diverged) -> None:
        key = self._made.keys[index]
        if isinstance(outcome, Diverged):
            self.diverged[index] = outcome
            sick = {"epoch": outcome.epoch, "reason": outcome.reason}
            self._store.put("weights", key, {}, {"diverged": sick, "run": self._made.here})
        else:
            self.history[index] = outcome.history
            self._note_way(index, outcome.way)
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
        self._there.add(index)

    def _note_way(self, index: int, way: str) -> None:
        self._ways[index] = way
        self._lacking.pop(index, None)
        if LACKING in way:
            self._lacking[index] = None

    def _recall(self, index: int) -> bool:
        meta = self._store.meta("weights", self._made.keys[index])
        if meta is None:
            return False
        if diverged := meta.get("diverged"):
            self.diverged[index] = Diverged(**diverged)
        self.history[index] = meta.get("history", [])
        if "way" in meta:
            self._note_way(index, meta["way"])
        if (maker := meta.get("machine")) not in (None, str(self._machine.kind)):
            self.others[index] = maker
        if meta.get("run") == self._made.here:
            self.trained_now.add(index)
        self._there.add(index)
        return True
