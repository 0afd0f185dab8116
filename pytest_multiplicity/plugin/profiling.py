"""Where the time goes: `--multiplicity-profile`.

The tests' thread looks again and again at what it has on its stack, and at which test it is. So
nothing that computes knows of it, and no result can depend on it.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pytest_multiplicity.findings import ProfileReport
from pytest_multiplicity.plugin import compat
from pytest_multiplicity.plugin.ticks import Ticks

PROFILE = pytest.StashKey["Profiler"]()
PERIOD = 0.01  # seconds between two looks
OUTPUT = "multiplicity_profile"  # what a worker leaves for its controller
HOME = Path(__file__).parents[1].as_posix()
PLACES = {
    "<frozen importlib._bootstrap": "imports",
    f"{HOME}/training/": "train",
    f"{HOME}/keeping/": "train",
    f"{HOME}/inference/weights.py": "train",
    f"{HOME}/inference/attacked.py": "attack",
    f"{HOME}/inference/": "infer",
    f"{HOME}/interventions/pgd.py": "attack",
    f"{HOME}/interventions/attack.py": "attack",
    f"{HOME}/plugin/summary.py": "report",
}
"""How the names of files begin whose code belongs to a stage; the first that fits holds."""


def begin(config: pytest.Config) -> None:
    """Begin to look, once: before conftests are imported where pytest lets us."""
    if PROFILE not in config.stash:
        profiler = config.stash[PROFILE] = Profiler()
        config.add_cleanup(profiler.stop)
        config.pluginmanager.register(profiler, "multiplicity-profile")


def told(config: pytest.Config) -> ProfileReport | None:
    """Return what was seen by now; None where nobody asked."""
    profiler = config.stash.get(PROFILE, None)
    return None if profiler is None else profiler.told()


def text(config: pytest.Config) -> str:
    """Return the file."""
    found = told(config)
    assert found is not None  # as was asked for
    return json.dumps(found.document(), indent=2) + "\n"


@cache
def _place(file: str) -> str | None:
    file = file.replace("\\", "/")
    return next((stage for start, stage in PLACES.items() if file.startswith(start)), None)


def _stages(frame: FrameType | None) -> Iterator[str]:
    """Yield the stages that a stack is in, the innermost first."""
    while frame is not None:
        if (stage := _place(frame.f_code.co_filename)) is not None:
            yield stage
        frame = frame.f_back


class Profiler:
    """Looks where the time goes, from when it is made until pytest ends."""

    def __init__(self) -> None:
        self._around, self._test = "rest", ""
        self._seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._processes = 1
        self._last = time.perf_counter()
        self._ticks = Ticks(PERIOD, self._look)

    def _look(self, frame: FrameType | None) -> None:
        """Add the time since the last look to where a stack is; None for one that isn't known."""
        place, now = (self._test, self._stage(frame)), time.perf_counter()
        self._seconds[place] += now - self._last
        self._last = now

    def _stage(self, frame: FrameType | None) -> str:
        """Return the innermost stage; whoever asks models in an attack attacks them."""
        stages = list(_stages(frame))
        innermost = stages[0] if stages else self._around
        return "attack" if innermost == "infer" and "attack" in stages else innermost

    def stop(self) -> None:
        """Look no more."""
        self._ticks.stop()

    def told(self) -> ProfileReport:
        """Return what was seen by now."""
        tests: dict[str, dict[str, float]] = {}
        for (test, stage), seconds in self._seconds.copy().items():
            tests.setdefault(test, {})[stage] = seconds
        return ProfileReport(processes=self._processes, tests=tests)

    @contextmanager
    def _inside(self, around: str, test: str = "") -> Iterator[None]:
        before = self._around, self._test
        self._around, self._test = around, test
        try:
            yield
        finally:
            self._around, self._test = before

    # --- where pytest is

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Collect."""
        with self._inside("collect"):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Wait, where workers run the tests."""
        with self._inside("wait" if compat.controls_workers(session.config) else "rest"):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Run a test: the same one for all candidates of a specification."""
        from pytest_multiplicity.plugin.collection import judged

        pair = judged(item)
        with self._inside("judge", item.nodeid if pair is None else pair.spec.nodeid):
            return (yield)

    # --- who else looks

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Leave what a worker has seen where pytest-xdist takes it along."""
        if compat.worker_input(session.config) is not None:
            seen = [[*place, seconds] for place, seconds in self._seconds.copy().items()]
            compat.worker_output(session.config)[OUTPUT] = seen

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Add what a worker has seen."""
        seen = compat.worker_output(node).get(OUTPUT)
        self._processes += seen is not None
        for test, stage, seconds in seen or ():
            self._seconds[test, stage] += seconds
