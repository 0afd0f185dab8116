"""What a function prints goes where it would, up to a limit: megabytes of it help nobody."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

MOST = 1 << 18  # bytes of a stream that one call may print
_BLOCK = 1 << 16


@contextmanager
def bounded() -> Iterator[None]:
    """Pass on what is written to standard output and error in here, as far as the limit."""
    pumps = [_Pump(file) for file in (1, 2)]
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # the function may have closed or replaced it
                stream.flush()
        for pump in pumps:
            pump.close()


class _Pump:
    """Puts a pipe in the place of a file descriptor, and a thread at its other end."""

    def __init__(self, file: int) -> None:
        self._file, self._left = file, MOST
        self._target = os.dup(file)
        self._source, pipe = os.pipe()
        os.dup2(pipe, file)
        os.close(pipe)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Put back what was there, and wait for the rest: not for processes that still have it."""
        os.dup2(self._target, self._file)
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        with suppress(OSError):
            while block := os.read(self._source, _BLOCK):
                if self._left > 0:
                    os.write(self._target, block[: self._left])
                    self._left -= len(block)
                    if self._left <= 0:
                        os.write(self._target, b"\n[what else it prints is left out]\n")
        os.close(self._source)
        os.close(self._target)
