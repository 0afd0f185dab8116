"""A worker process: one thread, one task at a time, from a connection."""

from __future__ import annotations

import contextlib
import pickle
import signal
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import torch

from pytest_multiplicity.training.sharing import UnsharableError

REPORT_SECONDS = 0.1
Link: TypeAlias = "Connection[Any, Any]"


def main(handle: int) -> None:
    """Work for the process that started this one, until it hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    torch.set_num_threads(1)
    _never_compile()
    with Connection(handle) as connection, contextlib.suppress(EOFError, ConnectionError):
        send(connection, ("ready", None))
        while True:
            send(connection, _perform(connection, connection.recv_bytes()))


def _never_compile() -> None:
    """Spare this process the compiler, a second and 900 modules, that optimizers would import.

    `torch._disable_dynamo` wraps their methods and looks at this attribute before it imports.
    """
    for method in vars(torch.optim.Optimizer).values():
        wrapped = getattr(method, "__wrapped__", None)
        if wrapped is not None:
            setattr(wrapped, "__dynamo_disable", wrapped)


def send(connection: Link, message: tuple[str, Any]) -> None:
    """Send by plain pickle: `Connection.send` would pass tensors as open file descriptors."""
    connection.send_bytes(pickle.dumps(message))


def _perform(connection: Link, payload: bytes) -> tuple[str, Any]:
    reporter = Reporter(connection)
    try:
        work = _read(payload)
        result = work(reporter)
        reporter.flush()
    except Exception as error:
        return "failed", _sendable(error)
    return "done", result


def _read(payload: bytes) -> Callable[[Reporter], Any]:
    try:
        work: Callable[[Reporter], Any] = pickle.loads(payload)
    except Exception as error:  # a module that only the parent can import, for example
        raise UnsharableError(f"a worker can't read it: {type(error).__name__}: {error}") from error
    return work


def _sendable(error: Exception) -> Exception:
    """Give the error with the worker's traceback in a note; as text where it can't be pickled."""
    text = traceback.format_exc()
    try:
        error = pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"In a worker process:\n{text}")
    return error


class Reporter:
    """Tells the parent how many steps are done, not too often."""

    def __init__(self, connection: Link) -> None:
        self.connection, self.waiting, self.last = connection, 0, time.monotonic()

    def __call__(self, steps: int) -> None:
        """Count so many steps more."""
        self.waiting += steps
        if time.monotonic() - self.last >= REPORT_SECONDS:
            self.flush()

    def note(self, value: Any) -> None:
        """Send something that the parent wants before the task is done."""
        send(self.connection, ("note", value))

    def flush(self) -> None:
        """Send what was counted."""
        if self.waiting:
            send(self.connection, ("steps", self.waiting))
        self.waiting, self.last = 0, time.monotonic()
