"""Which cluster `--multiplicity-engine=ray` means: the user's, or one for this run."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_multiplicity.plugin import compat
from pytest_multiplicity.plugin.roles import Process

if TYPE_CHECKING:
    from pytest_multiplicity.compute import RayCluster

ADDRESS = "RAY_ADDRESS"
SHARED = "multiplicity_cluster"  # what a controller tells its workers: the address, and this
AUTHENTICATION = "RAY_AUTH_MODE"  # Ray sets it in a process that starts a cluster


def check() -> None:
    """Raise pytest.UsageError where Ray isn't installed, or nothing answers at its address."""
    if importlib.util.find_spec("ray") is None:
        raise pytest.UsageError(
            "--multiplicity-engine=ray needs Ray: pip install 'pytest-multiplicity[ray]'"
        )
    from pytest_multiplicity.compute import silence

    if why := silence(os.environ.get(ADDRESS, "")):
        raise pytest.UsageError(f"--multiplicity-engine=ray: {why}")


def make(process: Process) -> RayCluster:
    """Return the cluster of this process: a worker of pytest-xdist has that of its controller."""
    address = os.environ.get(ADDRESS, "")
    if shared := process.told(SHARED):
        address, os.environ[AUTHENTICATION] = shared  # which Ray reads when it is imported
    from pytest_multiplicity.compute import RayCluster, available_cores

    return RayCluster(address, available_cores())


class Sharing:
    """Has all workers of pytest-xdist use the controller's cluster."""

    def __init__(self, cluster: RayCluster) -> None:
        self._cluster = cluster

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker where it is: started now, since later nobody could tell."""
        told = compat.worker_input(node)
        if told is not None and not os.environ.get(ADDRESS):
            address = self._cluster.address
            told[SHARED] = address, os.environ.get(AUTHENTICATION, "")
