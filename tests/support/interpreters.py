"""Interpreters for runs in processes of their own, which have imported what takes long.

Importing torch and pandas takes a process two seconds; a copy of one that has them, milliseconds.
So a process that does nothing else imports them, and copies itself for `python -m pytest`, for
scripts and for the workers of pytest-xdist. Where Python or a library would read the environment
when it starts, a new interpreter is started. Nothing of the package is imported before a run does.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait  # `select` refuses files from 1,024 on
from pathlib import Path
from types import ModuleType
from typing import IO, Any

POSSIBLE = sys.platform == "linux"  # as the package's own copies are: compute/fork_server.py
LIBRARIES = ("numpy", "pandas", "pytest", "scipy.stats", "torch")
# Variables that Python and libraries read when they start, but for the path, which copies set.
READ_AT_START = ("PYTHON", "LD_", "OMP_", "MKL_", "OPENBLAS_", "KMP_", "MALLOC_", "TORCH", "CUDA")
SET_LATER = ("PYTHONPATH", "TORCH_HOME")
NUMBER = struct.Struct("q")  # a process id, then how it ended

Given = int | IO[Any] | None


class Copy:
    """A process that was copied, with what is used here of the methods of a `Popen`."""

    def __init__(self, status: int, pipes: Sequence[int | None]) -> None:
        stdin, stdout, stderr = pipes
        self.stdin = None if stdin is None else os.fdopen(stdin, "wb", 0)
        self.stdout = None if stdout is None else os.fdopen(stdout, "rb", 0)
        self.stderr = None if stderr is None else os.fdopen(stderr, "rb", 0)
        self.returncode: int | None = None
        self._status = status
        self._lock = threading.Lock()
        (self.pid,) = NUMBER.unpack(os.read(status, NUMBER.size))

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return its exit status, negative for a signal."""
        with self._lock:
            if self.returncode is None:
                if not wait([self._status], timeout):
                    raise subprocess.TimeoutExpired("pytest", timeout or 0.0)
                (self.returncode,) = NUMBER.unpack(os.read(self._status, NUMBER.size))
                os.close(self._status)
            return self.returncode

    def poll(self) -> int | None:
        """Return its exit status, None where it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0.0)
        return None

    def kill(self) -> None:
        """End it at once."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


class Origin:
    """The process that is copied, and the way to it, which its copies have, too."""

    control: socket.socket | None = None
    environment: Mapping[str, str] | None = None  # in which it starts; None: that of the first copy
    settings: Mapping[str, str] = {}

    @classmethod
    def start(cls) -> None:
        """Start it for this process."""
        environment = os.environ if cls.environment is None else cls.environment
        cls.settings = read_at_start(environment)
        cls.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            handles = [theirs.fileno(), cls.control.fileno()]
            command = [sys.executable, "-P", __file__, *map(str, handles)]
            # it ends with its input, which is open for as long as this process lives
            popen = subprocess.Popen(
                command, stdin=subprocess.PIPE, pass_fds=handles, cwd="/", env=environment
            )
        assert popen.stdin is not None
        atexit.register(popen.wait)
        atexit.register(popen.stdin.close)


def read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that would be read by a new interpreter alone."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(READ_AT_START) and name not in SET_LATER
    }


def begin(
    args: Sequence[str],
    stdin: Given = None,
    stdout: Given = None,
    stderr: Given = None,
    env: Mapping[str, str] | None = None,
) -> Copy | subprocess.Popen[bytes]:
    """Begin a process as `subprocess.Popen` does, as a copy where that is the same."""
    if Origin.control is None and POSSIBLE:
        Origin.start()
    environment = dict(os.environ if env is None else env)
    known = args[0] == sys.executable and (
        args[1] == "-mpytest" or args[1].endswith(".py") or list(args[1:3]) == ["-u", "-c"]
    )
    same = known and read_at_start(environment) == Origin.settings
    if Origin.control is None or not same:
        return subprocess.Popen(args, stdin=stdin, stdout=stdout, stderr=stderr, env=env)
    ours: list[int | None] = []
    theirs: list[int] = []
    for number, given in enumerate((stdin, stdout, stderr)):
        if given == subprocess.PIPE:
            ends = os.pipe()
            ours.append(ends[0 if number else 1])
            theirs.append(ends[1 if number else 0])
        else:
            ours.append(None)
            shared = number if given is None else given
            theirs.append(os.dup(shared if isinstance(shared, int) else shared.fileno()))
    status, told = os.pipe()
    request = {"args": list(args[1:]), "folder": os.getcwd(), "environment": environment}
    socket.send_fds(Origin.control, [json.dumps(request).encode()], [*theirs, told])
    for handle in (*theirs, told):
        os.close(handle)
    return Copy(status, ours)


def copy_workers() -> None:
    """Have pytest-xdist begin its workers so, in this process."""
    try:
        from execnet import gateway_io
    except ImportError:
        return

    def init(self: Any, args: Sequence[str], execmodel: Any) -> None:
        self.popen = begin(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        super(gateway_io.Popen2IOMaster, self).__init__(
            self.popen.stdin, self.popen.stdout, execmodel=execmodel
        )

    gateway_io.Popen2IOMaster.__init__ = init


def serve(requests: socket.socket, control: socket.socket) -> dict[str, Any] | None:
    """Copy this process for every request; give a copy its request, this one None in the end.

    Args:
        requests: where they come from.
        control: its other end, by which copies ask for copies.
    """
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()
    while True:
        if 0 in wait([0, requests.fileno()]):
            return None
        message, handles, _, _ = socket.recv_fds(requests, 1 << 20, 4)
        if os.fork() == 0:
            copy = os.fork()
            if copy == 0:
                for number, handle in enumerate(handles[:3]):
                    os.dup2(handle, number)
                for handle in handles:
                    os.close(handle)
                request: dict[str, Any] = json.loads(message)
                return request
            for handle in handles[:3]:
                os.close(handle)
            _watch(copy, handles[3])
        for handle in handles:
            os.close(handle)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _watch(copy: int, told: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):  # nobody wants to know
        os.write(told, NUMBER.pack(copy))
        os.write(told, NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])))
    os._exit(0)


def become(request: dict[str, Any], control: socket.socket) -> None:
    """Go on as an interpreter that was started with these arguments."""
    os.chdir(request["folder"])
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ.clear()
    os.environ.update(request["environment"])
    after = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [*filter(None, after), *(each for each in sys.path if each not in before)]
    importlib.invalidate_caches()
    tempfile.tempdir = None
    Origin.control, Origin.settings = control, read_at_start(os.environ)
    copy_workers()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    args = request["args"]
    if args[0] == "-mpytest":
        sys.path.insert(0, request["folder"])
        sys.argv = ["pytest", *args[1:]]
        runpy.run_module("pytest", run_name="__main__", alter_sys=True)
    elif args[0].endswith(".py"):
        sys.path.insert(0, str(Path(args[0]).parent))
        sys.argv = args
        runpy.run_path(args[0], run_name="__main__")
    else:
        sys.path.insert(0, "")
        sys.argv = ["-c"]
        main = ModuleType("__main__")
        sys.modules["__main__"] = main
        exec(args[2], main.__dict__)  # what pytest-xdist has its workers begin with


if __name__ == "__main__":
    asked, asking = (socket.socket(fileno=int(handle)) for handle in sys.argv[1:])
    wanted = serve(asked, asking)
    if wanted is not None:
        asked.close()
        become(wanted, asking)
