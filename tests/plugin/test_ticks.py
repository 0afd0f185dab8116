"""Who looks where the time goes: the tests' thread itself, and nobody else's signals suffer."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from pytest_multiplicity.plugin import ticks
from pytest_multiplicity.plugin.ticks import Ticks

SOON = 0.001  # seconds
LONG = 60.0


class Seen:
    """Whether there was a frame each time, and in which thread."""

    def __init__(self) -> None:
        self.frames: list[bool] = []
        self.threads: set[int] = set()

    def __call__(self, frame: FrameType | None) -> None:
        self.frames.append(frame is not None)
        self.threads.add(threading.get_ident())

    def enough(self) -> None:
        """Wait for three more; with no lock, which a handler can't wait for."""
        wanted, end = len(self.frames) + 3, time.monotonic() + LONG
        while len(self.frames) < wanted:
            assert time.monotonic() < end
            time.sleep(SOON)


@contextmanager
def ticking(seen: Callable[[FrameType | None], None]) -> Iterator[Ticks]:
    made = Ticks(SOON, seen)
    try:
        yield made
    finally:
        made.stop()


def handler(number: int, frame: FrameType | None) -> None:
    """Somebody else's."""


@pytest.fixture
def put_back() -> Iterator[None]:
    before = signal.getsignal(signal.SIGURG)
    yield
    signal.signal(signal.SIGURG, before)


def test_the_thread_that_asked_is_seen_by_itself():
    seen = Seen()
    with ticking(seen):
        seen.enough()
    assert seen.threads == {threading.get_ident()}
    assert all(seen.frames)
    assert signal.getsignal(signal.SIGURG) == signal.SIG_DFL


@pytest.mark.usefixtures("put_back")
def test_a_handler_that_was_there_stays():
    signal.signal(signal.SIGURG, handler)
    seen = Seen()
    with ticking(seen):
        seen.enough()
        assert signal.getsignal(signal.SIGURG) is handler
    assert signal.getsignal(signal.SIGURG) is handler
    assert not any(seen.frames)


@pytest.mark.usefixtures("put_back")
def test_a_handler_that_came_later_stays_and_gets_no_signals_of_ours(monkeypatch):
    seen = Seen()
    with ticking(seen):
        signal.signal(signal.SIGURG, handler)
        asked: list[int] = []
        monkeypatch.setattr(signal, "pthread_kill", lambda thread, number: asked.append(number))
        seen.enough()
    assert signal.getsignal(signal.SIGURG) is handler
    assert asked in ([], [signal.SIGURG])  # one that was on its way


def test_signals_that_are_held_back_are_left_alone():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGURG})
    try:
        seen = Seen()
        with ticking(seen):
            seen.enough()
        assert not any(seen.frames)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGURG})


def test_another_thread_than_the_main_one_is_not_walked():
    seen = Seen()

    def elsewhere() -> None:
        with ticking(seen):
            seen.enough()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert not any(seen.frames)
    assert signal.getsignal(signal.SIGURG) == signal.SIG_DFL


@pytest.mark.parametrize(("again", "fewest", "most"), [(LONG, 1, 1), (0.0, 3, None)])
def test_it_is_asked_once_until_it_answers_or_for_too_long_did_not(
    monkeypatch, again, fewest, most
):
    asked, rounds = [], threading.Semaphore(0)
    listens = Ticks._listens

    def counted(self: Ticks) -> bool:
        rounds.release()
        return listens(self)

    monkeypatch.setattr(signal, "pthread_kill", lambda thread, number: asked.append(number))
    monkeypatch.setattr(ticks, "AGAIN", again)
    monkeypatch.setattr(Ticks, "_listens", counted)
    with ticking(Seen()):
        for _ in range(5):
            assert rounds.acquire(timeout=LONG)
    assert len(asked) >= fewest
    assert most is None or len(asked) <= most


def test_calls_of_the_system_go_on_by_themselves(monkeypatch):
    """Libraries in C may take it for an error when one of theirs is interrupted."""
    reading, writing = os.pipe()
    asked = threading.Semaphore(0)
    kill = signal.pthread_kill

    def told(thread: int, number: int) -> None:
        kill(thread, number)
        asked.release()

    def write() -> None:
        asked.acquire()
        os.write(writing, b"x")

    monkeypatch.setattr(signal, "pthread_kill", told)
    library, buffer = ctypes.CDLL(None), ctypes.create_string_buffer(1)
    with ticking(Seen()):
        for _ in range(5):
            thread = threading.Thread(target=write)
            thread.start()
            assert library.read(reading, buffer, 1) == 1
            thread.join()
    os.close(reading)
    os.close(writing)


NO_FRAMES_OF_OTHERS = """
import gc, threading, time
from pytest_multiplicity.plugin import profiling

main = threading.current_thread()
profiling.PERIOD = 1e-4
found = profiling.Profiler()


def deep(left):
    return deep(left - 1) + 1 if left else 0


def let_go(phase, info):
    if threading.current_thread() is not main:
        time.sleep(5e-4)


gc.callbacks.append(let_go)
gc.set_threshold(1)
end = time.monotonic() + 4
while time.monotonic() < end:
    deep(900)
found.stop()
print(sum(found._seconds.values()) > 2)
"""


def test_a_stack_that_another_thread_goes_on_with_is_not_walked():
    """A frame's memory is gone when garbage is collected while it is looked at from elsewhere."""
    code = [sys.executable, "-c", NO_FRAMES_OF_OTHERS]
    done = subprocess.run(code, capture_output=True, text=True, check=False, timeout=200)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr[-2000:]


@pytest.mark.usefixtures("all_plugins")
def test_beside_a_plugin_that_interrupts_tests_that_take_too_long(pytester):
    pytest.importorskip("pytest_timeout")
    pytester.makepyfile(
        """
        import signal, time
        import pytest

        @pytest.mark.timeout(0.3, method="signal")
        def test_too_long():
            time.sleep(20)

        def test_quick():
            time.sleep(0.1)
            assert signal.getsignal(signal.SIGURG) != signal.SIG_DFL  # it is looked at
            assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
        """
    )
    result = pytester.runpytest_subprocess("--multiplicity-profile=time.json", "-p", "no:randomly")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*Timeout*"])
