"""The engines beside this machine itself: each a package of this room, known by its name.

Such a package gives `why_not()` and `cluster(told)`, as `Engine` has them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from pytest_multiplicity.compute.pools import Cluster

LOCAL = "local"
ENGINES = {"ray": "pytest_multiplicity.compute.ray"}


class Engine(Protocol):
    """What an engine's package gives."""

    def why_not(self) -> str | None:
        """Say what is missing, with the remedy; None where nothing is."""

    def cluster(self, told: Any) -> Cluster:
        """Return its cluster, not connected to yet.

        Args:
            told: what another process' cluster told of itself, to be shared; None where none did.
        """


def engine(name: str) -> Engine:
    """Return the engine of a name in `ENGINES`."""
    return cast(Engine, importlib.import_module(ENGINES[name]))
