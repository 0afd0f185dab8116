"""Shared by all tests.

What can't be imported twice (torch, numpy and what is built on them), or takes long (hypothesis),
is imported here: pytester forgets the modules that were first imported inside an inner run.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

# As in worker processes, and before the first matrix product: bits that don't depend on addresses.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

import pytest
from support import interpreters

# where pytest believes itself in CI its summary repeats whole messages, and tests count them
for variable in ("CI", "BUILD_NUMBER"):
    os.environ.pop(variable, None)

# what a shell begins in the background ignores Ctrl-C, and so do the runs that tests would stop
signal.signal(signal.SIGINT, signal.default_int_handler)

WORKER = "PYTEST_XDIST_WORKER" in os.environ

# What runs inside the tests load of what is installed: importing all of it takes each longer than
# most of them run.
INNER = ("pytest_multiplicity.plugin", *(["xdist.plugin"] if find_spec("xdist") else []))

# folders whose files take longest: they come first, so that no process is left with one in the end
LONG = ("specs", "xdist", "faults", "training", "plugin", "compute", "inference")


LIBRARIES = (
    *("hypothesis.strategies", "matplotlib.pyplot", "numpy.fft", "pandas"),
    *("scipy.integrate", "scipy.stats", "sklearn.datasets", "torch", "torchvision.transforms.v2"),
)


def pytest_configure(config: pytest.Config) -> None:
    """Make ready a process that runs tests: one that leaves them to others needs nothing of it."""
    if not WORKER and config.getoption("tx", None):
        return
    for name in LIBRARIES:
        importlib.import_module(name)
    # all of this package too: a face keeps what it gave, and that must stay its module's own
    package = importlib.import_module("pytest_multiplicity")
    for module in pkgutil.walk_packages(package.__path__, "pytest_multiplicity."):
        if not ("__main__" in module.name or ".ray" in module.name):
            importlib.import_module(module.name)
    import torch
    from hypothesis import HealthCheck, settings

    # two processes of two threads on two cores are many times slower than of one each
    torch.set_num_threads(min(1 if WORKER else 2, torch.get_num_threads()))
    # what else the machine does must fail no test: slow is not wrong
    settings.register_profile(
        "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def few_plugins() -> Iterator[None]:
    """Have runs inside the tests load ``INNER`` and no other plugin, and leave no bytecode."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        patch.setenv("PYTEST_PLUGINS", ",".join(INNER))
        for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if WORKER else ():
            patch.setenv(variable, "1")
        # a module that a test writes over another in the same second would be taken for that one
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.setattr(interpreters.Origin, "environment", dict(os.environ))
        interpreters.copy_workers()
        yield


@pytest.fixture
def new_interpreters() -> None:
    """Have runs in processes of their own begin as new interpreters, as its users' runs do."""


@pytest.fixture
def pytester(
    pytester: pytest.Pytester, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """Have runs in processes of their own begin with what takes long to import."""

    def popen(args: tuple[str, ...], *, stdin: Any, stdout: Any, stderr: Any) -> Any:
        path = filter(None, [os.getcwd(), os.environ.get("PYTHONPATH", "")])
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
        return interpreters.begin(args, subprocess.PIPE, stdout, stderr, env)

    if "new_interpreters" not in request.fixturenames:
        monkeypatch.setattr(pytester, "popen", popen)
    return pytester


@pytest.fixture
def all_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have runs inside a test load every plugin that is installed, as its users' runs do."""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    monkeypatch.delenv("PYTEST_PLUGINS")


@pytest.fixture
def few_exchanges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have noise of measures come from so few exchanges of answers as there may be."""
    monkeypatch.setattr("pytest_multiplicity.evaluation.measure.NOISE_CALLS", 1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, where several processes share the tests.

    Leave out what is `thorough` where no expression of markers asks for it.

    Raises:
        pytest.UsageError: an id that another process would not give; workers must collect the same.
    """
    drawn = [item.nodeid for item in items if re.search(r"tensor\(|array\(| at 0x", item.nodeid)]
    if drawn:
        raise pytest.UsageError(f"ids with values or addresses in them, give ids=: {drawn}")
    if not config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    if WORKER:
        order = {name: place for place, name in enumerate(LONG)}
        items.sort(key=lambda item: order.get(item.path.parent.name, len(LONG)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Callable[..., Any]) -> object:
    """Leave the tests of a file to one process: they share what takes minutes to make."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # files keep the order above
    return LoadFileScheduling(config, log)
