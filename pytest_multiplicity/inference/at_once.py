"""Units that compute at once, in as many threads of one each.

Threads within an operation wait for each other, and where something else uses the machine a step
takes a hundred times as long. With one for each operation nothing waits, and no bit depends on how
many there are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

import torch

from pytest_multiplicity.compute import StalledError, keeping_pages

T = TypeVar("T")


class AtOnce(Protocol):
    """Calls functions in other threads."""

    def __call__(self, functions: Sequence[Callable[[], T]]) -> Iterator[T]:
        """Call all of them, and yield their results in their order."""
        ...


@contextmanager
def at_once(count: int) -> Iterator[AtOnce]:
    """Yield what calls functions in so many threads, which are started when they are needed."""
    pool: _Pool | None = None

    def call(functions: Sequence[Callable[[], T]]) -> Iterator[T]:
        nonlocal pool
        if functions:
            pool = pool or _Pool(count)
            waiting = [pool.submit(function) for function in functions]
            yield from (future.result() for future in waiting)

    stalled = False
    try:
        with keeping_pages():
            yield call
    except StalledError:
        stalled = True
        raise
    finally:
        if pool is not None:
            pool.close(wait=not stalled)


class _Pool:
    """Threads that compute with one thread of torch's each.

    Not those of `concurrent.futures`, which Python waits for at its end, also for one that hangs.
    """

    def __init__(self, count: int) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Have it called by the next thread that is free."""
        future: Future[Any] = Future()

        def task() -> None:
            try:
                future.set_result(function())
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
