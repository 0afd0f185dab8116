"""Run units one after the other, or at once in threads.

Small networks lose with many threads each, and where something else uses the cores, threads that
wait for each other make a step a hundred times slower. Several units in a thread each don't wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Protocol, TypeVar

import torch

from pytest_multiplicity.evaluation.units import Schedule, Unit
from pytest_multiplicity.training import StalledError

T = TypeVar("T")


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
