"""Run units one after the other, or at once in threads.

Several threads for each unit are fastest on cores that nobody else uses, and where something else
does, threads that wait for each other make a step a hundred times slower. Several units in a thread
each don't wait, but Python lets only one of them prepare its next step. So nothing but the clock
can tell, and it is asked all the time.
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Protocol, TypeVar

import torch

from pytest_multiplicity.compute import StalledError, keeping_pages
from pytest_multiplicity.inference.executors import Schedule, Unit

T = TypeVar("T")
TRYING = 0.025  # of the time since a schedule was tried may be lost by trying it again


class Pace:
    """Finds the fastest schedule as it goes: what else the machine does changes."""

    def __init__(self) -> None:
        self._clock = 0.0
        self._most = 0  # samples at once so far: much fewer tell of starting and ending
        # seconds for a unit of work when last used, twice: one run may be slow by accident
        self._costs: defaultdict[Schedule, deque[float]] = defaultdict(lambda: deque(maxlen=2))
        self._used: dict[Schedule, float] = {}  # when that was

    @contextmanager
    def timed(
        self, offered: Sequence[Schedule], samples: int, passes: int = 1
    ) -> Iterator[Schedule]:
        """Give the schedule for so many passes of so many samples, which are done inside."""
        self._most = max(self._most, samples)
        tells, amount = 2 * samples >= self._most, samples * passes
        schedule = self._trial(offered, amount) if tells else None
        schedule = schedule or self._best(offered)
        begun = time.perf_counter()
        yield schedule
        seconds = time.perf_counter() - begun
        self._clock += seconds
        if tells:
            self._costs[schedule].append(seconds / amount)
            self._used[schedule] = self._clock

    def _best(self, offered: Sequence[Schedule]) -> Schedule:
        return min(offered, key=self._cost)

    def _cost(self, schedule: Schedule) -> float:
        return min(self._costs[schedule], default=math.inf)

    def _trial(self, offered: Sequence[Schedule], amount: int) -> Schedule | None:
        """Give a schedule that hasn't been tried, or not for long."""
        best = self._best(offered)
        for schedule in offered:
            if schedule not in self._used:
                return schedule
            lost = (self._cost(schedule) - self._cost(best)) * amount
            if schedule != best and lost < TRYING * (self._clock - self._used[schedule]):
                return schedule
        return None


class Run(Protocol):
    """What runs units."""

    def __call__(
        self, units: Sequence[tuple[Schedule, Unit]], work: Callable[[Unit], T]
    ) -> Iterator[T]:
        """Do something with every unit, and give the results in their order."""
        ...


@contextmanager
def perform() -> Iterator[Run]:
    """Give a function that runs units by their schedules, in this thread or in a pool of others."""
    threads = torch.get_num_threads()
    pool: _Pool | None = None

    def run(units: Sequence[tuple[Schedule, Unit]], work: Callable[[Unit], T]) -> Iterator[T]:
        nonlocal pool
        waiting = {}
        if threads > 1 and sum(schedule == "at once" for schedule, _ in units) > 1:
            pool = pool or _Pool(threads)
            waiting = {
                i: pool.submit(work, unit)
                for i, (schedule, unit) in enumerate(units)
                if schedule == "at once"
            }
        for i, (schedule, unit) in enumerate(units):
            if i in waiting:
                yield waiting.pop(i).result()
            else:
                torch.set_num_threads(threads if schedule == "all threads" else 1)
                yield work(unit)

    stalled = False
    try:
        with keeping_pages():
            yield run
    except StalledError:
        stalled = True
        raise
    finally:
        if pool is not None:
            pool.close(wait=not stalled)
        torch.set_num_threads(threads)


class _Pool:
    """Threads that compute with one thread of torch's each.

    Not those of `concurrent.futures`, which Python waits for at its end, also for one that hangs.
    """

    def __init__(self, count: int) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[[Unit], T], unit: Unit) -> Future[T]:
        """Have it done by the next thread that is free."""
        future: Future[T] = Future()

        def task() -> None:
            try:
                future.set_result(work(unit))
            except BaseException as error:
                future.set_exception(error)

        self._tasks.put(task)
        return future

    def close(self, *, wait: bool) -> None:
        """Drop what nobody has begun, and let the threads end."""
        while not self._tasks.empty():
            self._tasks.get()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _work(self) -> None:
        torch.set_num_threads(1)
        while (task := self._tasks.get()) is not None:
            task()
