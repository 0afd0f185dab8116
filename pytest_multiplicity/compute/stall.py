"""Work that makes no progress is given up: a model or a transform that hangs would hang the run."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pytest_multiplicity.compute.machine import Advance
from pytest_multiplicity.errors import EvaluationError

CHECKS = 4  # per time limit
SHOWN = 20  # names of what hung, before the rest is only counted


class StalledError(EvaluationError):
    """Work was given up: it made no progress for too long. `jobs`: those it was to train."""

    def __init__(self, what: str, seconds: float, jobs: Sequence[Any] = ()) -> None:
        super().__init__(
            f"{what}: no progress in {seconds:g} s, so it was given up; if it only takes its time, "
            "set multiplicity_timeout higher"
        )
        self.jobs = tuple(jobs)


@contextmanager
def watched(
    what: str, seconds: float, advance: Advance, jobs: Sequence[Any] = ()
) -> Iterator[Advance]:
    """Yield `advance`, and raise StalledError inside when it isn't called for so many seconds.

    The limit holds in the main thread on systems that can interrupt it; 0 is none.
    """
    if not (seconds and _can_interrupt()):
        yield advance
        return
    last = time.monotonic()
    done = threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def noted(steps: int) -> None:
        nonlocal last
        last = time.monotonic()
        advance(steps)

    def give_up(signum: int, frame: object) -> None:
        raise StalledError(what, seconds, jobs)

    def watch() -> None:
        nonlocal last
        while not done.wait(seconds / CHECKS):
            if time.monotonic() - last >= seconds:
                last = time.monotonic()
                signal.pthread_kill(main, signal.SIGUSR2)  # interrupts also what waits

    before = signal.signal(signal.SIGUSR2, give_up)
    thread = threading.Thread(target=watch, name="multiplicity-watch", daemon=True)
    thread.start()
    try:
        yield noted
    finally:
        done.set()
        thread.join()
        signal.signal(signal.SIGUSR2, before)


def named(ids: list[str]) -> str:
    """`lr0.1-seed0, lr0.1-seed1 and 3 more`."""
    rest = len(ids) - SHOWN
    return ", ".join(ids[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _can_interrupt() -> bool:
    return os.name == "posix" and threading.current_thread() is threading.main_thread()
