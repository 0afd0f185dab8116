"""Which way the models of one structure are evaluated: a probe decides once, the store remembers.

Fusing pays where dispatch dominates and loses with real convolutions on a CPU; how many threads pay
depends on the network, too. Nothing but a trial can tell. The last bits of logits depend on the
way, so it is chosen by structure, not by which models are missing at the moment.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from pytest_multiplicity.errors import MultiplicityError
from pytest_multiplicity.evaluation.schedules import perform
from pytest_multiplicity.evaluation.units import Alone, Schedule, Shelf, Unit, Way
from pytest_multiplicity.store import Store, fingerprint
from pytest_multiplicity.training.fused import FEWEST_LANES, drawing_nothing, structure
from pytest_multiplicity.training.lanes import Unfusable
from pytest_multiplicity.training.seeds import preserved_rng

KIND = "plans"
VERSION = 1  # of what a way means: a new one forgets the recorded ones
PROBE_SECONDS = 2.0  # after which no further way is tried
TRIAL_SECONDS = 0.1  # after which a way isn't run again
TRIALS = 5
MOST_LANES = 16
TOLERANCE = 1e-5
CLEARLY = 0.95  # of the time of a simpler way


@dataclass(frozen=True)
class Demand:
    """What a measurement asks of models.

    ``gradients`` with respect to inputs; ``joint``: nothing of it needs one model by itself;
    ``parallel``: nothing of it may mind threads.
    """

    gradients: bool
    joint: bool
    parallel: bool


class Planner:
    """Decides for the models of one structure, by what the store knows or by a probe.

    ``family``: how many models there are in all, where only one is asked for.
    """

    def __init__(self, device: torch.device, store: Store, family: int) -> None:
        self.shelf = Shelf()
        self._device, self._store, self._family = device, store, family
        self._known: dict[str, Way] = {}
        self._structures: WeakKeyDictionary[nn.Module, str | None] = WeakKeyDictionary()

    def structure(self, module: nn.Module) -> str | None:
        """Describe what modules that compute side by side have in common; None: nothing."""
        if module not in self._structures:
            try:
                self._structures[module] = fingerprint([structure(module)])
            except (Unfusable, MultiplicityError):
                self._structures[module] = None
        return self._structures[module]

    def way(self, modules: Sequence[nn.Module], inputs: Tensor, demand: Demand) -> Way:
        """Give the way for modules of one structure on inputs [b, ...] of that shape."""
        kind = self.structure(modules[0])
        known = kind or f"{type(modules[0]).__module__}.{type(modules[0]).__qualname__}"
        shape = [list(inputs.shape[1:]), str(inputs.dtype), str(self._device), torch.__version__]
        key = fingerprint(["evaluation", VERSION, known, shape, demand])
        if key not in self._known:
            entry = self._store.get(KIND, key)
            if entry is None:
                way = self._probe(modules, inputs, demand, alike=kind is not None)
                self._store.put(KIND, key, {}, {"way": way.to_meta()})
            else:
                way = Way(**entry.meta["way"])
            self._known[key] = way
        return self._known[key]

    def _probe(
        self, modules: Sequence[nn.Module], inputs: Tensor, demand: Demand, *, alike: bool
    ) -> Way:
        count = len(modules) if len(modules) > 1 else self._family
        with preserved_rng():
            probe = Probe(self.shelf, modules, count, inputs, demand)
            return probe.best(self._device, alike=alike and demand.joint)


class Probe:
    """Tries ways on a batch, the simpler first, and keeps the fastest."""

    def __init__(
        self,
        shelf: Shelf,
        modules: Sequence[nn.Module],
        count: int,
        inputs: Tensor,
        demand: Demand,
    ) -> None:
        self._shelf, self._modules, self._count = shelf, modules, count
        self._inputs, self._demand = inputs, demand
        self._deadline = time.perf_counter() + PROBE_SECONDS
        self._best: tuple[float, Way] = (math.inf, Way())

    def best(self, device: torch.device, *, alike: bool) -> Way:
        """Give the fastest way that agrees with the plain one."""
        alike = alike and self._draws_nothing()
        parallel = alike and self._demand.parallel
        for schedule in _schedules(device, parallel=parallel):
            self._try(Way(schedule=schedule))
        if alike:
            self._try(replace(self._best[1], folded=True))
            if self._inputs.ndim == 4 and _convolves(self._modules[0]):
                self._try(replace(self._best[1], channels_last=True))
            for way in self._fused(self._best[1], device, parallel=parallel):
                self._try(way)
        return self._best[1]

    def _fused(self, plain: Way, device: torch.device, *, parallel: bool) -> Iterator[Way]:
        for schedule in _schedules(device, parallel=parallel):
            for lanes in _lanes(self._count) if schedule != "all threads" or not parallel else ():
                yield replace(plain, lanes=lanes, schedule=schedule)

    def _try(self, way: Way) -> None:
        seconds, best = self._best
        if best == way or time.perf_counter() > self._deadline:
            return
        try:
            units = self._units(way)
            if (way.lanes, way.folded, way.channels_last) != (1, False, False):
                self._check(units[0], way)
        except MultiplicityError:
            raise  # a model that can't be measured at all
        except Unfusable:
            return
        except Exception:  # user code ran on something that only resembles a tensor
            if way.lanes == 1 and not way.folded:
                raise
            return
        rounds = math.ceil(math.ceil(self._count / way.lanes) / len(units))
        needed = rounds * self._seconds(units, way.schedule)
        if needed < CLEARLY * seconds:
            self._best = (needed, way)

    def _units(self, way: Way) -> list[Unit]:
        """Give as many units as run at once, of other modules each where there are enough."""
        at_once = torch.get_num_threads() if way.schedule == "at once" else 1
        units = min(at_once, math.ceil(self._count / way.lanes))
        filled = [self._modules[i % len(self._modules)] for i in range(units * way.lanes)]
        if len(self._modules) < len(filled):  # a unit can't run in two threads at once
            units = max(1, len(self._modules) // way.lanes)
        return [
            self._shelf.unit(filled[i * way.lanes : (i + 1) * way.lanes], way) for i in range(units)
        ]

    def _check(self, unit: Unit, way: Way) -> None:
        """Raise `Unfusable` unless logits are the plain ones, and the same beside other models."""
        chosen = [self._modules[i % len(self._modules)] for i in range(way.lanes)]
        got = self._run(unit)
        for lane in {0, way.lanes - 1}:
            expected = self._run(Alone(chosen[lane]), gradients=False)[0][0]
            if not _close(got[0][lane], expected):
                raise Unfusable("logits differ from the plain ones")
        if way.lanes > 1 and self._inputs.device.type == "cpu":
            turned = self._run(self._shelf.unit(chosen[::-1], way))
            if not all(torch.equal(a[0], b[-1]) for a, b in zip(got, turned, strict=True)):
                raise Unfusable("a model would depend on its neighbours")

    def _draws_nothing(self) -> bool:
        try:
            with drawing_nothing():
                self._run(Alone(self._modules[0]), gradients=False)
        except Unfusable:
            return False
        return True

    def _run(self, unit: Unit, *, gradients: bool | None = None) -> list[Tensor]:
        """Give logits [K, b, C], and gradients [K, b, ...] where they are in demand."""
        if not (self._demand.gradients if gradients is None else gradients):
            with torch.no_grad():
                return [unit.shared(self._inputs)]
        inputs = self._inputs.expand(unit.count, *self._inputs.shape).clone().requires_grad_()
        with torch.enable_grad():
            logits = unit.own(inputs)
            loss = (logits.logsumexp(-1) - logits[..., 0]).sum()
            return [logits.detach(), *torch.autograd.grad(loss, inputs, allow_unused=True)]

    def _seconds(self, units: Sequence[Unit], schedule: Schedule) -> float:
        """Give the median seconds of a run after the first, or the first of a slow one."""
        times: list[float] = []
        with perform() as run:
            begun = time.perf_counter()
            while len(times) < TRIALS:
                start = time.perf_counter()
                for _ in run([(schedule, unit) for unit in units], self._run):
                    pass
                self._wait()
                times.append(time.perf_counter() - start)
                if time.perf_counter() - begun > TRIAL_SECONDS:
                    break
        return statistics.median(times[1:] or times)

    def _wait(self) -> None:
        if self._inputs.is_cuda:
            torch.cuda.synchronize(self._inputs.device)


def _schedules(device: torch.device, *, parallel: bool) -> list[Schedule]:
    """Give the schedules to try; with one thread they are all the same."""
    if device.type != "cpu":
        return ["all threads"]
    if torch.get_num_threads() == 1:
        return ["at once" if parallel else "one thread"]
    return ["at once", "one thread", "all threads"] if parallel else ["one thread", "all threads"]


def _lanes(count: int) -> list[int]:
    """Give the numbers of lanes to try: few, and the most that leave no thread idle."""
    if count < 2:
        return []
    threads = torch.get_num_threads()
    rounds = math.ceil(count / (threads * MOST_LANES))
    return sorted({FEWEST_LANES, max(FEWEST_LANES, math.ceil(count / (threads * rounds)))})


def _convolves(module: nn.Module) -> bool:
    return any(isinstance(part, nn.Conv2d) for part in module.modules())


def _close(got: Tensor, expected: Tensor) -> bool:
    scale = max(1.0, float(expected.abs().nan_to_num().max()))
    return torch.allclose(got, expected, rtol=0, atol=TOLERANCE * scale, equal_nan=True)
