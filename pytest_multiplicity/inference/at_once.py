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
from typing import Any, TypeVar

import torch

from pytest_multiplicity.compute import StalledError, keeping_pages

T = TypeVar("T")


class AtOnce:
    """Calls functions in so many other threads, which are started when they are needed."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool: _Pool | None = None

    def __call__(self, functions: Sequence[Callable[[], T]]) -> Iterator[T]:
        """Call all of them, and yield their results in their order."""
        waiting = [self.begin(function) for function in functions]
        yield from (future.result() for future in waiting)

    def begin(self, function: Callable[[], T], *, after: Future[Any] | None = None) -> Future[T]:
        """Have a function called, once another is done."""
        self._pool = self._pool or _Pool(self._count)
        return self._pool.submit(function, after)

    def close(self, *, wait: bool) -> None:
        """Drop what nobody has begun, and let the threads end."""
        if self._pool is not None:
            self._pool.close(wait=wait)


@contextmanager
def at_once(count: int) -> Iterator[AtOnce]:
    """Yield what calls functions in so many threads."""
    beside, stalled = AtOnce(count), False
    try:
        with keeping_pages():
            yield beside
    except StalledError:
        stalled = True
        raise
    finally:
        beside.close(wait=not stalled)


class _Pool:
    """Threads that compute with one thread of torch's each.

    Not those of `concurrent.futures`, which Python waits for at its end, also for one that hangs.
    """

    def __init__(self, count: int) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._closed = False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[[], T], after: Future[Any] | None) -> Future[T]:
        """Have it called by the next thread that is free, once `after` is done."""
        future: Future[Any] = Future()

        def task() -> None:
            if self._closed:
                return
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        if after is None:
            self._tasks.put(task)
        else:
            after.add_done_callback(lambda _: self._tasks.put(task))
        return future

    def close(self, *, wait: bool) -> None:
        """Drop what nobody has begun, and let the threads end."""
        self._closed = True
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _work(self) -> None:
        torch.set_num_threads(1)
        while (task := self._tasks.get()) is not None:
            task()
