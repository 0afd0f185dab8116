"""Subtests: parts of a test that are reported on their own, while the test itself goes on.

pytest's fixture `subtests` (and the plugin of that name before pytest 9) makes a report for each,
and the test passes until it is told by name. What its parts say is the test's own verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from pytest_multiplicity.plugin.recorder import Recorder

Phase = Literal["setup", "call", "called", "teardown"]


@dataclass
class Parts:
    """What became of a test's parts: the errors of those that failed, by phase.

    And what a spec measures while it is called: all that is known of a test until it is taken down.
    """

    phase: Phase = "setup"
    failed: list[tuple[Phase, BaseException]] = field(default_factory=list)
    recorder: Recorder | None = None

    def during(self, *phases: Phase) -> list[BaseException]:
        """Return the errors of the parts that failed in some phases."""
        return [error for phase, error in self.failed if phase in phases]


PARTS = pytest.StashKey[dict[pytest.Item, Parts]]()
"""Of the tests that run: not in their own stashes, which would stay as large as they once were."""


def begin(item: pytest.Item) -> None:
    """Forget what an earlier run of the test left (a rerun)."""
    _known(item)[item] = Parts()


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
    _known(item).pop(item, None)


def of(item: pytest.Item) -> Parts:
    """Return what is known of a test's parts."""
    known = _known(item)
    return known[item] if item in known else known.setdefault(item, Parts())


def _known(item: pytest.Item) -> dict[pytest.Item, Parts]:
    return item.config.stash.setdefault(PARTS, {})


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
