"""How many threads to evaluate with: whatever is faster here and now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


@contextmanager
def quickest(work: Callable[[], object]) -> Iterator[None]:
    """Inside, torch runs ``work`` with one thread or with all it may have, as a trial told.

    Small networks lose with many threads, and where something else uses the cores, threads that
    wait for each other make a step a hundred times slower. Results don't depend on the choice.
    """
    before = torch.get_num_threads()
    if before > 1:
        torch.set_num_threads(1)
        work()  # warm up: the first run of a shape also picks its kernels
        alone = _seconds(work)
        torch.set_num_threads(before)
        if alone <= _seconds(work):
            torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
