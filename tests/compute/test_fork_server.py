"""Workers forked from a process that imported for all of them."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_multiplicity.compute import fork_server, workers
from pytest_multiplicity.compute.fork_server import POSSIBLE, close
from pytest_multiplicity.compute.machine import Machine
from pytest_multiplicity.compute.worker_pool import WorkerPool
from pytest_multiplicity.compute.workers import Crashed, Done, Outcome, Workers
from pytest_multiplicity.errors import EvaluationError

pytestmark = pytest.mark.skipif(not POSSIBLE, reason="forking is not safe here")
THREADED = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
"""


@pytest.fixture
def _own_server() -> Iterator[None]:
    close()
    yield
    close()


def done(*tasks: Callable[[Any], Any], count: int = 1, **options: Any) -> list[Outcome]:
    """Return what tasks give in a pool of their own, in their order."""
    with Workers(count, **options) as pool:
        outcomes = dict(pool.perform(deque(range(len(tasks))), tasks.__getitem__))
    return [outcomes[i] for i in range(len(tasks))]


def values(*tasks: Callable[[Any], Any], **options: Any) -> list[Any]:
    outcomes = done(*tasks, **options)
    assert all(isinstance(outcome, Done) for outcome in outcomes), outcomes
    return [outcome.value for outcome in outcomes]  # type: ignore[union-attr]


def parent(reporter: Any) -> int:
    return os.getppid()


def test_all_workers_of_a_process_come_from_one_server_without_threads() -> None:
    def threads(reporter: Any) -> int:
        return len(os.listdir(f"/proc/{os.getppid()}/task"))

    packages = ("pytest_multiplicity.training", "sklearn", "scipy")
    import sklearn.ensemble  # noqa: F401 - so that the server has it

    first = values(parent, threads, count=2, common=packages)
    second = values(parent, threads, common=packages)
    assert first == second
    assert first[1] == 1
    assert first[0] != os.getpid()


@pytest.mark.usefixtures("_own_server")
@pytest.mark.parametrize(("trainings", "cores", "there"), [(17, 2, 1), (16, 2, 0), (17, 1, 0)])
def test_the_server_comes_up_before_it_is_known_who_trains(
    trainings: int, cores: int, there: int
) -> None:
    machine = Machine(torch.device("cpu"), None, None, cores=cores)  # type: ignore[arg-type]
    with WorkerPool(machine) as pool:
        pool.foresee(trainings)
        known = [server._popen.pid for server in fork_server._servers.values()]
        assert len(known) == there
        waiting = deque([0])
        ((_, outcome),) = pool.workers.perform(waiting, lambda item: parent)
    assert isinstance(outcome, Done)
    assert [*known, outcome.value][0] == outcome.value


def test_what_is_common_is_there_before_the_task() -> None:
    def loaded(reporter: Any) -> set[str]:
        return {"tabnanny"} & set(sys.modules)

    import tabnanny  # noqa: F401

    assert values(loaded) == [set()]
    assert values(loaded, common=("tabnanny",)) == [{"tabnanny"}]


@pytest.mark.usefixtures("_own_server")
def test_however_many_files_are_open_here() -> None:
    """A server has the numbers that its files have here, and `select` refuses those from 1,024."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 1500:
        pytest.skip(f"at most {most} files may be open")
    with ExitStack() as opened, Path(os.devnull).open() as null:
        for _ in range(1100):
            opened.callback(os.close, os.dup(null.fileno()))
        (first,) = values(parent)
        assert values(parent) == [first]


@pytest.mark.usefixtures("_own_server")
def test_a_worker_whose_server_is_gone_can_be_ended_and_no_file_stays_open() -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    values(parent)
    before = open_files()
    for _ in range(3):
        values(parent)
    with Workers(1) as pool:
        pool.begin(1)
        (server,) = fork_server._servers.values()
        server._popen.kill()
        server._popen.wait()
        (process,) = pool._processes
        process.popen.kill()
    assert open_files() <= before


@pytest.mark.usefixtures("_own_server")
def test_a_library_with_threads_is_not_forked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "threaded_library.py").write_text(THREADED)
    monkeypatch.syspath_prepend(tmp_path)
    import threaded_library  # type: ignore[import-not-found]  # noqa: F401

    def seen(reporter: Any) -> tuple[int, bool, list[str]]:
        return len(os.listdir("/proc/self/task")), "threaded_library" in sys.modules, sys.path

    assert values(seen, common=("threaded_library",)) == [(1, False, sys.path)]
    assert done(partial(crash, status=7), common=("threaded_library",)) == [
        Crashed("exit status 7")
    ]


def crash(reporter: Any, status: int) -> None:
    if status < 0:
        os.kill(os.getpid(), -status)
    if status == 1:
        raise SystemExit("enough")
    os._exit(status)


@pytest.mark.parametrize("status", [0, 1, 7, -signal.SIGSEGV])
def test_how_a_worker_ended_is_known(status: int) -> None:
    assert done(partial(crash, status=status)) == [Crashed(f"exit status {status}")]


def test_a_server_that_was_killed_is_replaced_and_its_workers_go_on() -> None:
    def orphan(reporter: Any) -> int:
        os.kill(os.getppid(), signal.SIGKILL)
        return os.getppid()

    def gone(reporter: Any) -> None:
        os.kill(os.getppid(), signal.SIGKILL)
        os._exit(3)

    (before,) = values(parent)
    values(orphan)
    (after,) = values(parent)  # though it may not have been known yet that the server is gone
    assert after != before
    assert done(gone) == [Crashed(f"exit status {fork_server.GONE}")]  # nobody knows better


def test_workers_whose_servers_are_always_killed_are_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started, begun = [], fork_server.server

    def killed(environment: dict[str, str]) -> fork_server.ForkServer:
        close()
        server = begun(environment)
        server._popen.kill()
        started.append(server)
        return server

    monkeypatch.setattr(fork_server, "server", killed)
    with pytest.raises(EvaluationError, match="did not start"):
        done(parent)
    assert len(started) == 1 + workers.ATTEMPTS


def test_a_worker_is_where_its_process_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def seen(reporter: Any) -> tuple[str, str | None, str | None]:
        print("said", flush=True)
        print("complained", file=sys.stderr, flush=True)
        return str(Path.cwd()), os.environ.get("HOME"), os.environ.get("ANOTHER")

    (server,) = values(parent)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert values(seen, parent) == [(str(tmp_path), str(tmp_path), None), server]
    assert capfd.readouterr() == ("said\n", "complained\n")
    monkeypatch.setenv("ANOTHER", "1")  # which a library may read when it is imported
    found, other = values(seen, parent)
    assert found[2] == "1"
    assert other != server


def test_workers_that_are_not_forked_yet_can_be_given_up() -> None:
    with Workers(2) as pool:
        pool.begin(2)
        processes = list(pool._processes)
    assert {process.popen.wait() for process in processes} == {fork_server.GONE}
    deadline = time.monotonic() + 60
    while (left := children_of_server()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def children_of_server() -> list[str]:
    (server,) = fork_server._servers.values()
    pid = server._popen.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.usefixtures("_own_server")
def test_collectors_leave_alone_what_workers_share() -> None:
    def collected(reporter: Any) -> tuple[bool, int]:
        return gc.isenabled(), gc.get_freeze_count()

    apart = {"A_PLACE": "1"}  # which new interpreters have
    for options in ({}, {"places": [apart]}):
        (found,) = values(collected, **options)
        enabled, spared = found
        assert enabled
        assert spared > 100_000, options  # torch is there, and nobody looks through it


@pytest.mark.usefixtures("_own_server")
def test_a_server_that_was_got_ready_is_the_one_that_forks() -> None:
    def known(reporter: Any) -> tuple[int, bool]:
        return os.getppid(), "sklearn.tree" in sys.modules

    import sklearn.tree  # noqa: F401  # what is loaded here is loaded there

    fork_server.get_ready(("sklearn",))
    (ready,) = fork_server._servers.values()
    (found,) = values(known)
    assert found == (ready._popen.pid, True)
