"""Work that makes no progress is given up: a model or a transform that hangs would hang the run."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pytest_multiplicity.errors import EvaluationError
from pytest_multiplicity.training import Progress, Task

CHECKS = 4  # per time limit


class Watched:
    """Shows progress, and raises EvaluationError inside a task that makes none for ``seconds``.

    The wait for another process's work is no task, so it may be longer. The limit holds in the main
    thread on systems that can interrupt it; 0 is none.
    """

    def __init__(self, shown: Progress, seconds: float) -> None:
        self._shown, self._seconds = shown, seconds

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Task]:
        """A task of the progress that is shown, under watch."""
        with self._shown.task(description, total) as task:
            if not (self._seconds and _can_interrupt()):
                yield task
                return
            with _watched(description, self._seconds) as note:
                yield _Watched(task, note)


class _Watched:
    def __init__(self, task: Task, note: Callable[[], None]) -> None:
        self._task, self._note = task, note

    def advance(self, steps: int = 1) -> None:
        self._note()
        self._task.advance(steps)


@contextmanager
def _watched(what: str, seconds: float) -> Iterator[Callable[[], None]]:
    """Raise inside when the function that is given isn't called for so long."""
    last = time.monotonic()
    done = threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def note() -> None:
        nonlocal last
        last = time.monotonic()

    def give_up(signum: int, frame: object) -> None:
        raise EvaluationError(
            f"{what}: no progress in {seconds:g} s, so it was given up; if it only takes its time, "
            "set multiplicity_timeout higher"
        )

    def watch() -> None:
        while not done.wait(seconds / CHECKS):
            if time.monotonic() - last >= seconds:
                note()
                signal.pthread_kill(main, signal.SIGUSR2)  # interrupts also what waits

    before = signal.signal(signal.SIGUSR2, give_up)
    thread = threading.Thread(target=watch, name="multiplicity-watch", daemon=True)
    thread.start()
    try:
        yield note
    finally:
        done.set()
        thread.join()
        signal.signal(signal.SIGUSR2, before)


def _can_interrupt() -> bool:
    return os.name == "posix" and threading.current_thread() is threading.main_thread()
