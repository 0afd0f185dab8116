"""Which cluster `--multiplicity-engine` means: the user's, or one for this run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_multiplicity.compute import engine
from pytest_multiplicity.plugin import compat
from pytest_multiplicity.plugin.roles import Process

if TYPE_CHECKING:
    from pytest_multiplicity.compute import Cluster

SHARED = "multiplicity_cluster"  # what a controller tells its workers


def check(name: str) -> None:
    """Raise pytest.UsageError where an engine isn't there."""
    if why := engine(name).why_not():
        raise pytest.UsageError(f"--multiplicity-engine={name}: {why}")


def make(name: str, process: Process) -> Cluster:
    """Return the cluster of this process: a worker of pytest-xdist has that of its controller."""
    return engine(name).cluster(process.told(SHARED))


class Sharing:
    """Has all workers of pytest-xdist use the controller's cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker where it is: started now, since later nobody could tell."""
        told = compat.worker_input(node)
        if told is not None and (shared := self._cluster.shared()) is not None:
            told[SHARED] = shared
