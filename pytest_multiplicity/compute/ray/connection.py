"""A connection to a Ray cluster: the user's own, or one on this machine for a while."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
import torch

from pytest_multiplicity.compute.memory import free_bytes
from pytest_multiplicity.compute.ray.address import ADDRESS, AUTHENTICATION, LOCAL, silence
from pytest_multiplicity.compute.ray.parcel import Part
from pytest_multiplicity.compute.ray.pool import RayPool
from pytest_multiplicity.errors import EvaluationError

STATISTICS = "RAY_USAGE_STATS_ENABLED"
KEPT_BYTES = 4 << 30  # of parts that stay in the object store for the next task


class RayCluster:
    """A cluster, connected to or started when it is first asked for a pool.

    `address`: the cluster's, as in `RAY_ADDRESS`; empty: one of `cores` cores here.
    """

    def __init__(self, address: str, cores: int) -> None:
        self._given, self._cores = address, cores
        self._connected = self._own = False
        self._authentication: str | None = None
        self._kept: OrderedDict[int, tuple[Part, Any]] = OrderedDict()

    @property
    def address(self) -> str:
        """Where others can connect to it."""
        self.connect()
        return str(ray.get_runtime_context().gcs_address)

    def shared(self) -> tuple[str, str] | None:
        """Return the address and the kind of authentication; see `pools.Cluster`."""
        if os.environ.get(ADDRESS):
            return None
        return self.address, os.environ.get(AUTHENTICATION, "")

    def pool(self, device: torch.device, patience: float, *, as_here: bool = False) -> RayPool:
        """Return a pool of processes on the cluster; see `pools.Cluster`."""
        self.connect()
        return RayPool(self.ref, device, patience, as_here=as_here)

    def room(self, device: torch.device) -> int:
        """Return the bytes that all workers have together, if each had the least that one has."""
        if device.type != "cpu":
            return free_bytes(device)
        self.connect()
        return least_memory() * self.pool(device, 0.0).count

    def connect(self) -> None:
        """Connect, unless somebody did.

        Raises:
            EvaluationError: there is no cluster at the address, or it has another version of Ray.
        """
        if self._connected:
            return
        if not ray.is_initialized():
            self._authentication = os.environ.get(AUTHENTICATION)
            with _quiet():
                self._start()
            self._own = True
        self._connected = True

    def close(self) -> None:
        """Disconnect; a cluster that was started here ends."""
        self._kept.clear()
        if self._own:
            with _quiet():
                ray.shutdown()
            _set(AUTHENTICATION, self._authentication)
        self._connected = self._own = False

    def ref(self, part: Part) -> Any:
        """Put a part into the object store, and keep it there for a while; give its reference."""
        key = id(part.owner)  # which nothing else has while the part is kept
        if key in self._kept:
            self._kept.move_to_end(key)
        else:
            self._kept[key] = part, ray.put(part.content)
            self._let_go()
        return self._kept[key][1]

    def _let_go(self) -> None:
        """Forget what was not asked for longest; tasks that run still have it."""
        while len(self._kept) > 1 and sum(p.size for p, _ in self._kept.values()) > KEPT_BYTES:
            self._kept.popitem(last=False)

    def _start(self) -> None:
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self._given in ("", LOCAL):
            settings |= {"num_cpus": self._cores, "include_dashboard": False}
        else:
            why = silence(self._given)
            if why:
                raise EvaluationError(why)
        try:
            ray.init(self._given or LOCAL, **settings)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            why = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
            raise EvaluationError(f"Ray ({self._given or LOCAL}): {why}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Let Ray neither warn, nor phone home, nor keep the handlers of signals."""
    before = os.environ.get(STATISTICS)
    os.environ[STATISTICS] = "0"
    here = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if here:
            signal.signal(signal.SIGTERM, handler)
        _set(STATISTICS, before)


def _set(name: str, value: str | None) -> None:
    """Set a variable of the environment, or have none of this name."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def least_memory() -> int:
    """Return the bytes that a worker has on the node where it has the least."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    shares = [n["memory"] / n["CPU"] for n in nodes if n.get("CPU", 0) >= 1 and "memory" in n]
    return int(min(shares, default=0.0))
