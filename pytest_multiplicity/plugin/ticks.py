"""What a thread is doing, seen again and again from within that thread.

Frames of another thread that runs are never walked: on Python 3.11 making a frame's object can run
the garbage collector, which may let that thread go on (cpython issue 106883), and then the memory
of the frame is gone.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

Seen = Callable[[FrameType | None], None]

AGAIN = 1.0  # seconds until it is asked again where no answer came
LISTENING = "SIGURG"  # nothing happens where a process has no handler for it, as in every child


class Ticks:
    """Calls a function every so many seconds, with the innermost frame of the thread that made it.

    Another thread asks by a signal, whose handler runs in the main thread, between two of its
    steps. A request waits for the answer to the one before, so a call of a library in C is
    interrupted once at the most (in a second), and system calls go on by themselves.

    None for a frame where the thread can't be asked: it isn't the main one, the system has no such
    signal, or somebody else listens to it or holds it back. Then the function is called in the
    other thread.
    """

    def __init__(self, period: float, seen: Seen) -> None:
        self._period, self._seen = period, seen
        self._main, self._asked = threading.get_ident(), -AGAIN
        self._number = _free()
        self._before: signal._HANDLER = None
        if self._number is not None:
            self._before = signal.signal(self._number, self._answer)
            signal.siginterrupt(self._number, False)
        self._waiting, self._ended = False, threading.Event()
        self._thread = threading.Thread(target=self._run, name="multiplicity-ticks", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Call it no more, and leave the signal as it was before."""
        self._ended.set()
        self._thread.join()
        if self._number is not None and self._listens():
            signal.signal(self._number, self._before)

    def _run(self) -> None:
        while not self._ended.wait(self._period):
            if self._number is None or not self._listens():
                self._seen(None)
            elif not self._waiting or time.monotonic() - self._asked > AGAIN:
                self._waiting, self._asked = True, time.monotonic()
                signal.pthread_kill(self._main, self._number)

    def _listens(self) -> bool:
        """Return whether the handler is still ours."""
        return self._number is not None and signal.getsignal(self._number) == self._answer

    def _answer(self, number: int, frame: FrameType | None) -> None:
        try:
            self._seen(frame)
        finally:
            self._waiting = False


def _free() -> signal.Signals | None:
    """Return the signal; None where it can't be had."""
    number = getattr(signal.Signals, LISTENING, None)
    if number is None or threading.current_thread() is not threading.main_thread():
        return None
    if signal.getsignal(number) not in (signal.SIG_DFL, signal.SIG_IGN):
        return None
    held_back = number in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return None if held_back else number
