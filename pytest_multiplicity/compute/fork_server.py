"""A process that imports once what workers need, and forks each of them from itself.

Importing torch takes a process seconds; a copy of one that has it, milliseconds. The process that
asks is never forked: it has threads. The server has none of its own; where a library starts one
when it is imported, workers begin as new interpreters, as they do where there is no server.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, Pipe
from typing import Any, NoReturn, TypeAlias

from pytest_multiplicity.compute.environment import READ_LATER, importable_paths, of_workers

# What is needed is imported before the user's path holds: a file there may be named as a module of
# the standard library is.
BOOT = """
import gc, importlib, json, sys
gc.disable()  # imports leave no garbage, and much to look through for it
module, name, handle, paths, needed = json.loads(sys.argv[1])
sys.path += paths
run = getattr(importlib.import_module(module), name)
for each in needed:
    importlib.import_module(each)
gc.freeze()
gc.enable()
run(handle, paths)
"""
WORKER = "pytest_multiplicity.compute.worker"
# Forking is safe where no library has threads of its own, or runs code of the system's that does.
POSSIBLE = sys.platform == "linux"
HEADER = struct.Struct("Q")  # the length of a request
OUTPUTS = (1, 2)
GONE = -int(signal.SIGKILL)

Link: TypeAlias = "Connection[Any, Any]"


@dataclass(frozen=True)
class Request:
    """A worker that is wanted.

    Args:
        paths: its `sys.path`.
        imported: modules that the server imports before it forks.
        needed: modules that the worker imports before `paths` hold.
        folder: the working directory; None where there is none any more.
        environment: what it has of `READ_LATER`.
    """

    paths: Sequence[str]
    imported: Sequence[str]
    needed: Sequence[str]
    folder: str | None
    environment: dict[str, str]

    @classmethod
    def like_here(
        cls, common: tuple[str, ...], environment: dict[str, str], needed: Sequence[str] = ()
    ) -> Request:
        """Want a worker that has what is loaded here of packages, in the same folder."""
        packages, folder = tuple(f"{package}." for package in common), None
        with contextlib.suppress(OSError):  # it was removed
            folder = os.getcwd()
        return cls(
            paths=importable_paths(),
            imported=[name for name in list(sys.modules) if f"{name}.".startswith(packages)],
            needed=needed,
            folder=folder,
            environment={name: environment[name] for name in READ_LATER if name in environment},
        )


def command(
    handle: int,
    paths: Sequence[str],
    needed: Sequence[str] = (),
    run: tuple[str, str] = (WORKER, "main"),
) -> list[str]:
    """Return how to start an interpreter that calls a function, by default a worker's.

    Args:
        handle: of a file that it inherits, its connection, which the function gets.
        paths: what `sys.path` is to be, which it gets, too.
        needed: modules that are imported before that.
        run: the function's module and name.
    """
    return [sys.executable, "-P", "-c", BOOT, json.dumps([*run, handle, paths, needed])]


class Forked:
    """A worker, as the process sees it that asked for it: with the methods of a `Popen`."""

    def __init__(self, status: Link) -> None:
        self._status = status  # says its process id, then how it ended
        self._pid: int | None = None

    @property
    def pid(self) -> int:
        """Its process id, once it is forked."""
        if self._pid is None:
            (self._pid,) = json.loads(self._status.recv_bytes())
        return self._pid

    def kill(self) -> None:
        """End it at once; where it isn't forked yet, it ends when it finds nobody to talk to."""
        with contextlib.suppress(ProcessLookupError, EOFError):  # it has ended, or its server has
            forked = self._pid is not None or self._status.poll()
            if forked and not (self.pid and self._status.poll()):
                os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its end, and return its exit status, negative for a signal."""
        if self._status.closed:
            return GONE
        with self._status:
            if self._pid is None and not self._status.poll():
                return GONE  # its server may be importing still
            try:
                (status,) = json.loads(self._status.recv_bytes()) if self.pid else (GONE,)
            except EOFError:  # the server is gone
                return GONE
        return int(status)


class ForkServer:
    """The server of this process, for one environment.

    Args:
        environment: of the server and, but for `READ_LATER`, of its workers.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._popen = subprocess.Popen(
                command(theirs.fileno(), importable_paths(), run=(__name__, "serve")),
                env=environment,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    @property
    def alive(self) -> bool:
        """Whether it can fork."""
        return self._popen.poll() is None

    def fork(self, request: Request, connection: Link) -> Forked:
        """Have a worker forked that works for the other end of a connection."""
        ours, theirs = Pipe(duplex=False)
        with theirs:
            self.send(request, [connection.fileno(), theirs.fileno(), *filter(_is_open, OUTPUTS)])
        return Forked(ours)

    def send(self, request: Request, handles: Sequence[int] = ()) -> None:
        """Send a request with open files; without any it is only got ready for."""
        message = json.dumps(asdict(request)).encode()
        with contextlib.suppress(ConnectionError):  # then nobody has the other ends
            socket.send_fds(self._control, [HEADER.pack(len(message))], handles)
            self._control.sendall(message)

    def close(self) -> None:
        """End it; workers go on until they are hung up on."""
        self._control.close()
        self._popen.kill()
        self._popen.wait()


_lock = threading.Lock()
_servers: dict[tuple[int, tuple[tuple[str, str], ...]], ForkServer] = {}


def server(environment: dict[str, str]) -> ForkServer:
    """Return the server of this process, which stays for all workers of such an environment."""
    fixed = {name: value for name, value in environment.items() if name not in READ_LATER}
    known = os.getpid(), tuple(sorted(fixed.items()))
    with _lock:
        if known not in _servers or not _servers[known].alive:
            close()
            _servers[known] = ForkServer(fixed)
        return _servers[known]


def forked(connection: Link, common: tuple[str, ...], needed: Sequence[str]) -> Forked:
    """Fork a worker for the other end of a connection, with what is loaded here of packages."""
    environment = of_workers()
    request = Request.like_here(common, environment, needed)
    return server(environment).fork(request, connection)


def get_ready(common: tuple[str, ...]) -> None:
    """Have such workers' process come up meanwhile: it takes the seconds that imports do."""
    if POSSIBLE:
        environment = of_workers()
        server(environment).send(Request.like_here(common, environment))


def close() -> None:
    """End this process' server; one of a process that it was forked from is not its own."""
    for (process, _), each in list(_servers.items()):
        if process == os.getpid():
            each.close()
    _servers.clear()


atexit.register(close)


def _is_open(handle: int) -> bool:
    try:
        os.fstat(handle)
    except OSError:
        return False
    return True


def serve(handle: int, paths: Sequence[str]) -> None:
    """Fork workers for the process that started this one, until it hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    gc.disable()  # this process does nothing but import, and workers enable it
    importlib.import_module(WORKER)
    own = sys.path[: -len(paths)] if paths else list(sys.path)
    deaths = _deaths()
    workers: dict[int, Link] = {}
    waiting = selectors.PollSelector()  # which minds no number of a file: `select` ends at 1,024
    with socket.socket(fileno=handle) as control:
        waiting.register(control, selectors.EVENT_READ)
        waiting.register(deaths, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in waiting.select()]
            if deaths in ready:
                os.read(deaths, 4096)
                _tell_of_the_dead(workers)
            if control in ready:
                received = _received(control)
                if received is None:
                    return
                request, handles = received
                sys.path[:] = [*own, *request.paths]
                for name in request.imported:
                    with contextlib.suppress(Exception):  # who needs it meets the error
                        importlib.import_module(name)
                if not handles:
                    continue
                connection, status, *outputs = handles
                gc.freeze()  # a collector that looks at what is shared has it copied
                alone = len(os.listdir("/proc/self/task")) == 1
                pid = os.fork()
                if not pid:
                    control.close()
                    for link in workers.values():
                        link.close()
                    os.close(status)
                    _work(request, connection, outputs, alone=alone)
                workers[pid] = Connection(status, readable=False)
                for given in (connection, *outputs):
                    os.close(given)
                _tell(workers[pid], pid)


def _deaths() -> int:
    """Return the handle of a pipe that can be read once a child has died."""
    deaths, written = os.pipe()
    for handle in (deaths, written):
        os.set_blocking(handle, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    return deaths


def _received(control: socket.socket) -> tuple[Request, list[int]] | None:
    """Return a request and what was passed with it; None once nobody is there to ask."""
    try:
        header, handles, _, _ = socket.recv_fds(control, HEADER.size, 2 + len(OUTPUTS))
        if not header:
            return None
        (length,), text = HEADER.unpack(header), b""
        while len(text) < length and (part := control.recv(length - len(text))):
            text += part
    except ConnectionError:
        return None
    return (Request(**json.loads(text)), handles) if len(text) == length else None


def _tell_of_the_dead(workers: dict[int, Link]) -> None:
    for pid in list(workers):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with workers.pop(pid) as link:
                _tell(link, os.waitstatus_to_exitcode(status))


def _tell(link: Link, number: int) -> None:
    with contextlib.suppress(ConnectionError):  # nobody wants to know
        link.send_bytes(json.dumps([number]).encode())


def _work(request: Request, connection: int, outputs: Sequence[int], *, alone: bool) -> NoReturn:
    """Be a worker, in a process that was just forked from one whose only thread did it."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for name in READ_LATER:
            os.environ.pop(name, None)
        os.environ.update(request.environment)
        for wanted, given in zip(OUTPUTS, outputs, strict=False):
            os.dup2(given, wanted)
        if request.folder is not None:
            with contextlib.suppress(OSError):  # it was removed
                os.chdir(request.folder)
        if not alone:
            os.set_inheritable(connection, True)
            os.execv(sys.executable, command(connection, request.paths, request.needed))
        for name in request.needed:
            importlib.import_module(name)
        gc.enable()
        main: Callable[..., None] = importlib.import_module(WORKER).main
        main(connection, request.paths)
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
