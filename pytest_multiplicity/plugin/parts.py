"""Subtests: parts of a test that are reported on their own, while the test itself goes on.

pytest's fixture `subtests` (and the plugin of that name before pytest 9) makes a report for each,
and the test passes until it is told by name. What its parts say is the test's own verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import pytest

Phase = Literal["setup", "call", "called", "teardown"]


@dataclass
class Parts:
    """What became of a test's parts: the errors of those that failed, by phase."""

    phase: Phase = "setup"
    failed: list[tuple[Phase, BaseException]] = field(default_factory=list)

    def during(self, *phases: Phase) -> list[BaseException]:
        """Return the errors of the parts that failed in some phases."""
        return [error for phase, error in self.failed if phase in phases]


PARTS = pytest.StashKey[Parts]()


def begin(item: pytest.Item) -> None:
    """Forget what an earlier run of the test left (a rerun)."""
    item.stash[PARTS] = Parts()


@contextmanager
def calling(item: pytest.Item) -> Iterator[None]:
    """Around the call of a test: what is reported inside is a part of it."""
    of(item).phase = "call"
    try:
        yield
    finally:
        of(item).phase = "called"


def end(item: pytest.Item) -> None:
    """Take note that the test is taken down."""
    of(item).phase = "teardown"


def forget(item: pytest.Item) -> None:
    """Drop what is known of a test's parts."""
    if PARTS in item.stash:
        del item.stash[PARTS]


def of(item: pytest.Item) -> Parts:
    """Return what is known of a test's parts."""
    return item.stash.setdefault(PARTS, Parts())


def is_one(item: pytest.Item, call: pytest.CallInfo[None]) -> bool:
    """Return whether a report is of a part: it is of a call, and the test's own has not ended."""
    return call.when == "call" and of(item).phase != "called"


def note(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Remember a part that failed."""
    if report.failed and call.excinfo is not None:
        parts = of(item)
        parts.failed.append((parts.phase, call.excinfo.value))


def fail(report: pytest.TestReport, failed: list[BaseException]) -> None:
    """Make a report of a test that passed say what its parts do, in pytest's own words."""
    if report.passed and failed:
        plural = "s" * (len(failed) > 1)
        report.outcome, report.longrepr = "failed", f"contains {len(failed)} failed subtest{plural}"
