"""Run units one after the other, or at once in threads.

Small networks lose with many threads each, and where something else uses the cores, threads that
wait for each other make a step a hundred times slower. Several units in a thread each don't wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch

from pytest_multiplicity.evaluation.units import Schedule, Unit

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
    pool: ThreadPoolExecutor | None = None

    def run(units: Sequence[tuple[Schedule, Unit]], work: Callable[[Unit], T]) -> Iterator[T]:
        nonlocal pool
        waiting = {}
        if threads > 1 and sum(schedule == "at once" for schedule, _ in units) > 1:
            pool = pool or ThreadPoolExecutor(threads, "evaluation", torch.set_num_threads, (1,))
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

    try:
        yield run
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
