"""A pool of worker processes of one thread each, so that cores aren't shared.

Forked from a server without threads where that is safe (fork_server.py), else started by command
line; not by `multiprocessing`, which would import the user's main module again in each.
"""

from __future__ import annotations

import pickle
import subprocess
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from types import TracebackType
from typing import Any, TypeAlias, TypeVar, cast

from pytest_multiplicity.compute.environment import importable_paths, of_workers
from pytest_multiplicity.compute.fork_server import (
    GONE,
    POSSIBLE,
    Forked,
    command,
    forked,
    get_ready,
)
from pytest_multiplicity.compute.sharing import SharedFolder, UnsharableError, hidden
from pytest_multiplicity.compute.worker import Work
from pytest_multiplicity.errors import EvaluationError

ATTEMPTS = 2  # to start each worker

T = TypeVar("T")
Link: TypeAlias = "Connection[Any, Any]"


@dataclass(frozen=True)
class Done:
    """A task's result."""

    value: Any


@dataclass(frozen=True)
class Failed:
    """The exception a task raised in a worker."""

    error: Exception


@dataclass(frozen=True)
class Crashed:
    """A worker died over a task: with "exit status 7", say, which is negative for a signal."""

    why: str


@dataclass(frozen=True)
class Stalled:
    """A worker gave no sign of life for so many seconds, and was ended."""

    seconds: float


@dataclass(frozen=True)
class Running:
    """It is still performed, and nobody waits for it."""


Outcome = Done | Failed | Crashed | Stalled | Running
_OUTCOMES: dict[str, Callable[[Any], Outcome]] = {
    "done": Done,
    "failed": Failed,
    "crashed": Crashed,
    "stalled": Stalled,
}


class Workers:
    """Processes that perform tasks, as many at once as there are workers.

    A task that says nothing for `patience` seconds (0: for ever) is ended. `places` are
    variables of the environment that tell workers apart, at most one worker for each. Modules of
    `common` packages that are loaded here workers have from the start where they are forked; new
    interpreters are started where there are `places`, or it is None. There are none on Windows,
    which can't pass a connection on this way.
    """

    def __init__(
        self,
        count: int,
        patience: float = 0.0,
        places: Sequence[Mapping[str, str]] = (),
        common: tuple[str, ...] | None = (),
    ) -> None:
        self.count, self.patience = count, patience
        self._common = common if POSSIBLE and not places else None
        self._places = places or [{}] * count
        self.sharing = SharedFolder()
        self._processes: list[_Process] = []
        self._unborn = 0

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes and remove what was shared with them."""
        for process in self._processes:
            process.popen.kill()  # they have nothing to finish, and this is quickest
        for process in self._processes:
            process.end()
        self._processes.clear()
        self.sharing.close()

    def perform(
        self,
        waiting: deque[T],
        make: Callable[[T], Work],
        *,
        advance: Callable[[int], None] = lambda steps: None,
        note: Callable[[T, Any], None] = lambda item, value: None,
        memory: Callable[[T], int] = lambda item: 0,
        waits: Callable[[], bool] = lambda: True,
    ) -> Iterator[tuple[T, Outcome]]:
        """Perform what waits; give (item, outcome) as tasks end.

        As `pools.Pool` says. The system shares out memory, so `memory` is not looked at.
        """
        running: dict[_Process, T] = {}
        steps: Counter[_Process] = Counter()
        while waiting or running:
            self.begin(len(waiting) + len(running))
            for process in self._processes:
                while waiting and process.ready and process not in running:
                    item = waiting.popleft()
                    try:
                        process.give(self.sharing.dumps(make(item)))
                    except UnsharableError as error:
                        yield item, Failed(error)
                    else:
                        running[process] = item
            news = self._news(running, waits=waits()) if waiting or running else []
            for process, kind, value in news:
                if kind == "steps":
                    steps[process] += value
                    advance(value)
                elif kind == "note":
                    note(running[process], value)
                elif process in running:
                    done = steps.pop(process, 0)
                    if kind != "done":
                        advance(-done)
                    yield running.pop(process), _OUTCOMES[kind](value)
            able = waiting and any(p.ready and p not in running for p in self._processes)
            if not (news or able or waits()):
                yield next(iter([*running.values(), *waiting])), Running()

    def foresee(self) -> None:
        """Have what forks workers come up meanwhile: it takes the seconds that imports do."""
        if self._common is not None:
            get_ready(self._common)

    def begin(self, tasks: int) -> None:
        """Start processes for so many tasks; those that are still there stay."""
        free = list(self._places)
        for process in self._processes:
            free.remove(process.place)
        missing = free[: max(0, min(self.count, tasks) - len(self._processes))]
        self._processes += [_Process(place, self._common) for place in missing]

    def _news(
        self, running: Collection[_Process], *, waits: bool
    ) -> list[tuple[_Process, str, Any]]:
        """Wait for messages, or for the end of our patience with a running process."""
        if not waits:
            return self._heard(0.0)
        if not (self.patience and running):
            return self._heard(None)
        left = min(process.heard for process in running) + self.patience - time.monotonic()
        news = self._heard(max(0.0, left))
        late = time.monotonic() - self.patience
        silent = [p for p in self._processes if p in running and p.heard <= late]
        return news + [(process, "stalled", self._end(process)) for process in silent]

    def _end(self, process: _Process) -> float:
        self._processes.remove(process)
        process.popen.kill()
        process.end()
        return self.patience

    def _heard(self, seconds: float | None) -> list[tuple[_Process, str, Any]]:
        """Wait for messages, no longer than so, and give one of each process that has any.

        Raises:
            EvaluationError: a process died before it was ready.
        """
        by_connection = {process.connection: process for process in self._processes}
        heard = []
        for connection in wait(list(by_connection), seconds):
            process = by_connection[cast(Link, connection)]
            kind, value = self._hear(process)
            if kind == "ready":
                process.ready = True
            elif kind == "crashed" and not process.ready:
                self._unborn += 1
                killed = value == f"exit status {GONE}"  # with the server that should fork it
                if killed and self._unborn <= ATTEMPTS * self.count:
                    continue
                raise EvaluationError(
                    f"a worker process did not start ({value}): see its message above"
                )
            else:
                heard.append((process, kind, value))
        return heard

    def _hear(self, process: _Process) -> tuple[str, Any]:
        try:
            return process.hear()
        except (EOFError, ConnectionError):
            self._processes.remove(process)
            return "crashed", f"exit status {process.end()}"


class _Process:
    """One worker and the connection to it, a socket pair that breaks when either side dies."""

    def __init__(self, place: Mapping[str, str], common: tuple[str, ...] | None) -> None:
        self.place = place
        self.ready = False  # until it has imported everything, a task could block who gives it
        self.heard = time.monotonic()  # when it was last known to live
        self.connection, theirs = Pipe()
        self.popen: subprocess.Popen[bytes] | Forked
        with theirs:
            self.popen = (
                _started(theirs, place) if common is None else forked(theirs, common, hidden())
            )

    def give(self, task: bytes) -> None:
        self.heard = time.monotonic()
        self.connection.send_bytes(task)

    def hear(self) -> tuple[str, Any]:
        message: tuple[str, Any] = pickle.loads(self.connection.recv_bytes())
        self.heard = time.monotonic()
        return message

    def end(self) -> int:
        """Hang up on a process that is about to end, and give its exit status."""
        self.connection.close()
        return self.popen.wait()


def _started(connection: Link, place: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a worker as a new interpreter."""
    return subprocess.Popen(
        command(connection.fileno(), importable_paths(), hidden()),
        env={**of_workers(), **place},
        stdin=subprocess.DEVNULL,
        pass_fds=[connection.fileno()],
    )
