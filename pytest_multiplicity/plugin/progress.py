"""Progress on the terminal while pytest captures output; a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, TextIO

import pytest

from pytest_multiplicity.compute import Bar, Progress
from pytest_multiplicity.plugin import compat
from pytest_multiplicity.plugin.roles import Process
from pytest_multiplicity.report import clock, inert

Outside = Callable[[], AbstractContextManager[Any]]
"""Leaves pytest's capture for a moment."""

LINE_SECONDS = 15.0  # between plain lines
WINDOW_SECONDS = 30.0  # of work that tells how fast it is
APART_SECONDS = 0.1  # moments that are remembered
QUIET_SECONDS = 2.0  # work shorter than this is not worth a word


def make(config: pytest.Config) -> Progress:
    """Bars where there is a terminal, lines where there is none and in workers, nothing at -qq."""
    if config.get_verbosity() < -1:
        return Silent()
    outside, stream = partial(compat.outside_capture, config), sys.__stderr__ or sys.stderr
    if Process(config).worker:  # its stderr is the controller's; a bar would smear there
        return Shown(stream, outside, lambda: print(file=stream), _Lines)
    if (reporter := compat.terminal(config)) is None:
        return Shown(stream, outside, lambda: None, _Lines)
    stream = compat.stream(reporter)
    task = _Bar if stream.isatty() else _Lines
    return Shown(stream, outside, reporter.ensure_newline, task)


class _NoTask:
    def advance(self, steps: int = 1) -> None:
        """Nobody looks."""


class Silent:
    """No progress at all."""

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Bar]:
        """Yield a task that shows nothing."""
        yield _NoTask()


class Shown:
    """Writes past pytest's capture, to where its own report goes."""

    def __init__(
        self,
        stream: TextIO,
        outside: Outside,
        break_line: Callable[[], None],
        task: type[_Bar] | type[_Lines],
    ) -> None:
        self._stream, self._outside, self._break_line = stream, outside, break_line
        self._task = task

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Bar]:
        """Yield a bar with the time left, or lines."""
        name = inert(description)
        shown = self._task(self._stream, name, total, self._outside, self._break_line)
        try:
            yield shown
        finally:
            shown.close()


class Pace:
    """Tells how long the rest takes, from what was done in the last seconds.

    What comes before the first step (workers that start, a jump to where a killed run was) says
    nothing of the others: time counts from when it is over.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._seen: deque[tuple[float, int]] = deque()

    def left(self, now: float, done: int) -> float | None:
        """Return the seconds that are left; None while only one moment is known."""
        if not self._seen or now - self._seen[-1][0] >= APART_SECONDS:
            self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW_SECONDS:
            self._seen.popleft()
        since, before = self._seen[0]
        if now <= since or done <= before:
            return None
        return (self._total - done) * (now - since) / (done - before)


class _Lines:
    """A line at the start of long work, then one now and then."""

    def __init__(
        self, stream: TextIO, description: str, total: int, outside: Any, break_line: Any
    ) -> None:
        self._stream, self._outside, self._break_line = stream, outside, break_line
        self._description, self._total, self._done = description, total, 0
        self._pace = Pace(total)
        self._next = time.monotonic() + QUIET_SECONDS

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        now = time.monotonic()
        left = self._pace.left(now, self._done)
        if now >= self._next and 0 < self._done < self._total:
            self._next = now + LINE_SECONDS
            rest = "" if left is None else f", {clock(left)} left"
            with self._outside():
                self._break_line()
                share = f"{self._done / self._total:.0%}"
                print(f"{self._description}: {share}{rest}", file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing is left on the screen to clean up."""


class _Bar:
    """A bar of rich, erased when the work is done."""

    def __init__(
        self, stream: TextIO, description: str, total: int, outside: Any, break_line: Any
    ) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._outside, self._break_line = outside, break_line
        self._start: float | None = time.monotonic()
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(
            *columns,
            console=Console(file=stream),
            transient=True,
            auto_refresh=False,
            expand=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task(description, total=total)

    def advance(self, steps: int = 1) -> None:
        self._bar.advance(self._task, steps)
        if self._start is not None and time.monotonic() - self._start < QUIET_SECONDS / 4:
            return
        with self._outside():
            if self._start is not None:
                self._start = None
                self._break_line()
                self._bar.start()
            self._bar.refresh()

    def close(self) -> None:
        """Erase the bar."""
        if self._start is None:
            with self._outside():
                self._bar.stop()
