"""Which way the models of one structure are evaluated: a probe decides once, the store remembers.

Fusing pays where dispatch dominates and loses with real convolutions on a CPU; how many threads pay
depends on the network, too. Nothing but a trial can tell. The last bits of logits depend on the
way, so it is chosen by structure, not by which models are missing at the moment.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import (
    FEWEST_LANES,
    StalledError,
    Unfusable,
    device_class,
    drawing_nothing,
    preserved_rng,
    structure,
    threads,
)
from pytest_multiplicity.errors import MultiplicityError
from pytest_multiplicity.inference.executors import Alone, Batch, Schedule, Shelf, Step, Unit, Way
from pytest_multiplicity.inference.schedules import Pace, perform
from pytest_multiplicity.interventions import PGD, JointIntervention
from pytest_multiplicity.store import Store, fingerprint

KIND = "plans"
VERSION = 4  # of what a way means: a new one forgets the recorded ones
PROBE_SECONDS = 3.0  # after which no further way is tried
TRIAL_SECONDS = 0.1  # after which a way isn't run again
TRIALS = 5
MOST_LANES = 16
CHECKED = 32  # samples on which logits are compared
TOLERANCE = 1e-5
CLEARLY = 0.95  # of the time of a simpler way
HOPELESS = 1.5  # times the best one's time
ATTACK = PGD(1e-6, steps=2)  # what gradients are tried by


@dataclass(frozen=True)
class Demand:
    """What a measurement asks of models.

    ``gradients`` with respect to inputs; ``joint``: nothing of it needs one model by itself;
    ``parallel``: nothing of it may mind threads.
    """

    gradients: bool
    joint: bool
    parallel: bool

    @classmethod
    def of(cls, steps: Sequence[Step]) -> Demand:
        """What steps that are each model's own ask."""
        return cls(
            gradients=any(step.needs_model for step in steps),
            joint=all(isinstance(s, JointIntervention) for s in steps if s.needs_model),
            parallel=all(isinstance(step, JointIntervention) for step in steps),
        )


class Planner:
    """Decides for the models of one structure, by what the store knows or by a probe.

    ``family``: how many models there are in all, where only one is asked for. Without a store it
    keeps units and paces, and decides nothing.
    """

    def __init__(self, device: torch.device, store: Store | None, family: int) -> None:
        self.shelf = Shelf()
        self._device, self._store, self._family = device, store, family
        self._known: dict[str, Way] = {}
        self._paces: dict[tuple[Demand, int, int], Pace] = {}
        self._structures: WeakKeyDictionary[nn.Module, str | None] = WeakKeyDictionary()

    @property
    def ways(self) -> list[Way]:
        """The ways that were in use so far."""
        return list(self._known.values())

    def pace(self, demand: Demand, units: Sequence[Unit]) -> Pace:
        """Give how fast so many units of so many models were, of late, under such a demand."""
        key = demand, len(units), sum(unit.count for unit in units)
        return self._paces.setdefault(key, Pace())

    def structure(self, module: nn.Module) -> str | None:
        """Describe what modules that compute side by side have in common; None: nothing."""
        if module not in self._structures:
            try:
                self._structures[module] = fingerprint([structure(module)])
            except (Unfusable, MultiplicityError):
                self._structures[module] = None
        return self._structures[module]

    def way(self, modules: Sequence[nn.Module], batch: Batch, demand: Demand) -> Way:
        """Give the way for modules of one structure on inputs of a shape."""
        inputs = batch.inputs
        kind = self.structure(modules[0])
        known = kind or f"{type(modules[0]).__module__}.{type(modules[0]).__qualname__}"
        where = [device_class(self._device), torch.__version__]
        shape = [list(inputs.shape[1:]), str(inputs.dtype), *where]
        key = fingerprint(["evaluation", VERSION, known, shape, demand])
        if key not in self._known:
            assert self._store is not None, "ways are decided where the store is"
            entry = self._store.get(KIND, key)
            if entry is None:
                way = self._probe(modules, batch, demand, alike=kind is not None)
                if way is None:
                    return Way()
                self._store.put(KIND, key, {}, {"way": way.to_meta()})
            else:
                way = Way(**entry.meta["way"])
            self._known[key] = way
        return self._known[key]

    def _probe(
        self, modules: Sequence[nn.Module], batch: Batch, demand: Demand, *, alike: bool
    ) -> Way | None:
        count = len(modules) if len(modules) > 1 else self._family
        with preserved_rng():
            probe = Probe(self.shelf, modules, count, batch, demand)
            try:
                return probe.best(alike=alike and demand.joint)
            except StalledError:  # the measurement itself will say which model hangs
                return None


class Probe:
    """Tries ways on a batch, the simpler first, and keeps the fastest."""

    def __init__(
        self, shelf: Shelf, modules: Sequence[nn.Module], count: int, batch: Batch, demand: Demand
    ) -> None:
        self._shelf, self._modules, self._count = shelf, modules, count
        self._parallel = demand.parallel
        self._batch = replace(batch, steps=(ATTACK,) if demand.gradients and demand.joint else ())
        self._is_cpu = batch.inputs.device.type == "cpu"
        self._threads = torch.get_num_threads()
        self._deadline = time.perf_counter() + PROBE_SECONDS
        self._best: tuple[float, Way] = (math.inf, Way())
        self._tried: dict[Way, float] = {}

    def best(self, *, alike: bool) -> Way | None:
        """Give the fastest way, of those that compute what the plain one does; None: none works."""
        if not (alike and self._is_steady()):
            return Way(schedule="all threads")  # what nobody can look into may mind company
        self._try(Way())
        self._try_others()
        seconds, way = self._best
        if seconds == math.inf:
            return None
        return way if self._is_thread_proof(way) else replace(way, schedule="one thread")

    def _try_others(self) -> None:
        """Change one thing after the other, as long as that helps: some pay only with others.

        Once more when nothing did: what disturbs a trial makes a good way look bad.
        """
        rounds_in_vain = 0
        while rounds_in_vain < 2:
            before = self._best
            self._try(replace(self._best[1], folded=True))
            if self._batch.inputs.ndim == 4 and _convolves(self._modules[0]):
                self._try(replace(self._best[1], channels_last=True))
            for lanes in _lanes(self._count, self._threads):
                self._try(replace(self._best[1], lanes=lanes))
            rounds_in_vain = rounds_in_vain + 1 if self._best == before else 0

    def _try(self, way: Way) -> None:
        seconds, best = self._best
        hopeless = self._tried.get(way, 0.0) > HOPELESS * seconds
        if (way == best and seconds < math.inf) or hopeless or time.perf_counter() > self._deadline:
            return
        try:
            needed = min(self._needed(way, schedule) for schedule in self._schedules(way))
        except Exception:  # it can't be fused, or user code met what only resembles a tensor; or
            needed = math.inf  # the model can't be measured: the measurement will say so itself
        self._tried[way] = needed
        if needed < CLEARLY * seconds and (way.plain or self._agrees(way)):
            self._best = (needed, way)

    def _schedules(self, way: Way) -> list[Schedule]:
        """Give those that may be the fastest, so that ways are compared at their best."""
        if not self._is_cpu or self._threads == 1:
            return ["all threads"]
        at_once = self._parallel and self._count > way.lanes
        return ["all threads", "at once" if at_once else "one thread"]

    def _needed(self, way: Way, schedule: Schedule) -> float:
        """Give about the seconds that all models would take for the batch."""
        units = self._units(way, schedule)
        rounds = math.ceil(math.ceil(self._count / way.lanes) / len(units))
        return rounds * self._seconds(units, schedule)

    def _units(self, way: Way, schedule: Schedule) -> list[Unit]:
        """Give as many units as run at once, none of them twice."""
        at_once = self._threads if schedule == "at once" else 1
        count = max(1, min(at_once, len(self._modules) // way.lanes))
        chosen = self._filled(count * way.lanes)
        return [self._shelf.unit(chosen[i::count], way) for i in range(count)]

    def _filled(self, count: int) -> list[nn.Module]:
        return [self._modules[i % len(self._modules)] for i in range(count)]

    def _agrees(self, way: Way) -> bool:
        """Say whether logits are the plain ones, and the same beside other models."""
        chosen = self._filled(way.lanes)
        clean = self._batch.clean(CHECKED)
        try:
            with threads(1):
                unit = self._shelf.unit(chosen, way)
                pairs = [
                    (unit.logits(clean)[i], Alone(chosen[i]).logits(clean)[0]) for i in (0, -1)
                ]
                return all(_close(*pair) for pair in pairs) and self._is_independent(chosen, way)
        except StalledError:
            raise
        except Exception:  # it can't be fused, or user code met what only resembles a tensor
            return False

    def _is_independent(self, chosen: Sequence[nn.Module], way: Way) -> bool:
        if way.lanes == 1 or not self._is_cpu:
            return True
        forwards = self._shelf.unit(chosen, way).logits(self._batch)
        backwards = self._shelf.unit(chosen[::-1], way).logits(self._batch)
        return torch.equal(forwards, backwards.flip(0))

    def _is_thread_proof(self, way: Way) -> bool:
        """Say whether logits are the same bits with one thread as with all."""
        if not self._is_cpu or self._threads == 1:
            return True
        (unit,) = self._units(way, "one thread")
        with threads(1):
            alone = self._logits(unit)
        return torch.equal(alone, self._logits(unit))

    def _is_steady(self) -> bool:
        """Say whether a model can be run, and draws no random numbers."""
        try:
            with threads(1), drawing_nothing():
                Alone(self._modules[0]).logits(self._batch.clean(CHECKED))
        except StalledError:
            raise
        except Exception:
            return False
        return True

    def _seconds(self, units: Sequence[Unit], schedule: Schedule) -> float:
        """Give the seconds of the quickest run after the first, or of the first of a slow one.

        The quickest, because what disturbs a run only makes it slower.
        """
        times: list[float] = []
        scheduled = [(schedule, unit) for unit in units]
        with perform() as run:
            begun = time.perf_counter()
            while len(times) < TRIALS and (
                not times or time.perf_counter() - begun < TRIAL_SECONDS
            ):
                start = time.perf_counter()
                deque(run(scheduled, self._logits), maxlen=0)
                times.append(time.perf_counter() - start)
        return min(times[1:] or times)

    def _logits(self, unit: Unit) -> Tensor:
        return unit.logits(self._batch)  # on the CPU: an accelerator has done its work, too


def _lanes(count: int, cores: int) -> list[int]:
    """Give the numbers of lanes to try: few; as many as leave no thread idle; many."""
    if count < 2:
        return []
    rounds = math.ceil(count / (cores * MOST_LANES))
    most = math.ceil(count / (cores * rounds))
    return sorted({max(FEWEST_LANES, lanes) for lanes in (1, most, min(count, MOST_LANES))})


def _convolves(module: nn.Module) -> bool:
    return any(isinstance(part, nn.Conv2d) for part in module.modules())


def _close(got: Tensor, expected: Tensor) -> bool:
    scale = max(1.0, float(expected.abs().nan_to_num().max()))
    return torch.allclose(got, expected, rtol=0, atol=TOLERANCE * scale, equal_nan=True)
