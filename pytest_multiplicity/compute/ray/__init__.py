"""Ray as an engine: the cluster of RAY_ADDRESS, or one on this machine for a run.

Modules here that import ray are imported when that engine is chosen.
"""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

from pytest_multiplicity.compute.cores import available_cores
from pytest_multiplicity.compute.ray.address import ADDRESS, AUTHENTICATION, silence

if TYPE_CHECKING:
    from pytest_multiplicity.compute.ray.connection import RayCluster


def why_not() -> str | None:
    """Say that Ray isn't installed, or that nothing answers at its address; see `Engine`."""
    if importlib.util.find_spec("ray") is None:
        return "needs Ray: pip install 'pytest-multiplicity[ray]'"
    return silence(os.environ.get(ADDRESS, ""))


def cluster(told: tuple[str, str] | None) -> RayCluster:
    """Return the user's cluster, or another process', or one for this run; see `Engine`."""
    address = os.environ.get(ADDRESS, "")
    if told:
        address, os.environ[AUTHENTICATION] = told  # which Ray reads when it is imported
    from pytest_multiplicity.compute.ray.connection import RayCluster

    return RayCluster(address, available_cores())
