"""The progress of work that goes on while something else is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from pytest_multiplicity.compute.machine import Progress

TICK_SECONDS = 0.1


class Patient:
    """A bar that is there while somebody waits; it knows what was done when nobody did."""

    def __init__(
        self, progress: Progress, what: str, total: int, waits: Callable[[], bool]
    ) -> None:
        self._progress, self._what, self._total, self._waits = progress, what, total, waits
        self._done, self._told = 0, 0  # steps
        self._last = time.monotonic()
        self._open: ExitStack | None = None

    def __enter__(self) -> Patient:
        return self

    def __exit__(self, *error: object) -> None:
        self.hide()

    def advance(self, steps: int) -> None:
        """Count steps; draw ten times a second at most: it must not cost what a step costs."""
        self._done += steps
        if self._waits() and (not self._open or time.monotonic() - self._last >= TICK_SECONDS):
            self._draw()

    def _draw(self) -> None:
        if self._open is None:
            self._open, self._told = ExitStack(), 0
            self._bar = self._open.enter_context(self._progress.task(self._what, self._total))
        if self._done != self._told:
            self._bar.advance(self._done - self._told)
        self._told, self._last = self._done, time.monotonic()

    def hide(self) -> None:
        """Take it away, up to date."""
        if self._open is not None:
            self._draw()
            self._open.close()
            self._open = None
