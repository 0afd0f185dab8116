"""A worker process: one thread, one task at a time, from a connection."""

from __future__ import annotations

import contextlib
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch

from pytest_multiplicity.compute.ambient import as_new
from pytest_multiplicity.compute.sharing import UnsharableError

REPORT_SECONDS = 0.1
NOT_COMPILED = "__dynamo_disable"  # what `torch._disable_dynamo` looks at before it imports
Work: TypeAlias = "Callable[[Reporter], Any]"  # a task; it calls with the number of steps done


class Link(Protocol):
    """Where messages go: a connection, or a queue that looks like one."""

    def send_bytes(self, data: bytes, /) -> None:
        """Send a message."""


def main(handle: int, paths: Sequence[str]) -> None:
    """Work for the process that wanted this one, until it hangs up, with its `sys.path`."""
    sys.path[:] = paths
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    prepare()
    _be_first_to_go()
    connection: Connection[Any, Any]
    with Connection(handle) as connection, contextlib.suppress(EOFError, ConnectionError):
        send(connection, ("ready", None))
        while True:
            payload = connection.recv_bytes()
            send(connection, perform(Reporter(connection), partial(pickle.loads, payload)))


def prepare() -> None:
    """Compute with one thread, and without the compiler.

    Optimizers would import that, a second and 900 modules: `torch._disable_dynamo` wraps their
    methods and looks at this attribute before it imports.
    """
    torch.set_num_threads(1)
    for method in _optimizers_methods():
        setattr(method, NOT_COMPILED, method)


@contextmanager
def without_compiler() -> Iterator[None]:
    """Make optimizers in here without importing the compiler, as `prepare` does for good."""
    marked = [method for method in _optimizers_methods() if not hasattr(method, NOT_COMPILED)]
    for method in marked:
        setattr(method, NOT_COMPILED, method)
    try:
        yield
    finally:
        for method in marked:
            delattr(method, NOT_COMPILED)


def _optimizers_methods() -> list[Any]:
    """Return what `torch._disable_dynamo` wraps of optimizers."""
    methods = (getattr(each, "__wrapped__", None) for each in vars(torch.optim.Optimizer).values())
    return [method for method in methods if method is not None]


def _be_first_to_go() -> None:
    """Have Linux end this process, whose task can be done again, when memory ends."""
    with contextlib.suppress(OSError):  # another system, or one that forbids it
        Path("/proc/self/oom_score_adj").write_text("1000")


def send(connection: Link, message: tuple[str, Any]) -> None:
    """Send by plain pickle: `Connection.send` would pass tensors as open file descriptors."""
    connection.send_bytes(pickle.dumps(message))


def perform(reporter: Reporter, read: Callable[[], Work]) -> tuple[str, Any]:
    """Read a task and perform it; give the message with its result or its error."""
    try:
        work = _readable(read)
        with as_new():  # modules that were imported for it may have set what they liked
            result = work(reporter)
        reporter.flush()
    except Exception as error:
        return "failed", _sendable(error)
    return "done", result


def _readable(read: Callable[[], Work]) -> Work:
    try:
        return read()
    except Exception as error:  # a module that only the parent can import, for example
        raise UnsharableError(f"a worker can't read it: {type(error).__name__}: {error}") from error


def _sendable(error: Exception) -> Exception:
    """Return the error with the worker's traceback in a note; as text where it can't be pickled."""
    text = traceback.format_exc()
    try:
        error = pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"In a worker process:\n{text}")
    return error


class Reporter:
    """Tells the parent how many steps are done, not too often."""

    def __init__(self, connection: Link, seconds: float = REPORT_SECONDS) -> None:
        self.connection, self.seconds = connection, seconds
        self.waiting, self.last = 0, time.monotonic()

    def __call__(self, steps: int) -> None:
        """Count so many steps more."""
        self.waiting += steps
        if time.monotonic() - self.last >= self.seconds:
            self.flush()

    def note(self, value: Any) -> None:
        """Send something that the parent wants before the task is done."""
        send(self.connection, ("note", value))

    def flush(self) -> None:
        """Send what was counted."""
        if self.waiting:
            send(self.connection, ("steps", self.waiting))
        self.waiting, self.last = 0, time.monotonic()
