"""What a run computes with and holds open: made on first use, closed at the end."""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import TYPE_CHECKING

import pytest

from pytest_multiplicity.compute import LOCAL
from pytest_multiplicity.errors import DataError, StoreError
from pytest_multiplicity.plugin.options import Independence, Options, SameData
from pytest_multiplicity.plugin.roles import Process, Role

if TYPE_CHECKING:
    import torch

    from pytest_multiplicity.compute import Cluster, Machine, Progress
    from pytest_multiplicity.evaluation import Leakage
    from pytest_multiplicity.statistics import Memory
    from pytest_multiplicity.store import Store


class Resources:
    """The store, the device and who computes. Heavy imports happen when one is asked for."""

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self._config, self._options = config, options
        self.process = Process(config)
        self.warnings: list[str] = []

    @cached_property
    def store(self) -> Store:
        """The store of this run."""
        from pytest_multiplicity.store import LocalStore

        return LocalStore(self._options.store, warn=self.warnings.append)

    @cached_property
    def memory(self) -> Memory:
        """What remembers what formulas found, where this process has come to use the store."""
        from pytest_multiplicity.findings import StoredMemory

        return StoredMemory(lambda: vars(self).get("store"))

    @cached_property
    def device(self) -> torch.device:
        """Where candidates are trained and evaluated. Raises pytest.UsageError."""
        from pytest_multiplicity.plugin.device import choose

        process = self.process
        return choose(self._options.device, process.number if process.worker else None)

    @cached_property
    def cluster(self) -> Cluster | None:
        """Who trains and evaluates for us, if not this machine; not connected to yet."""
        if self._options.engine == LOCAL:
            return None
        from pytest_multiplicity.plugin.clusters import make

        return make(self._options.engine, self.process)

    @cached_property
    def threads(self) -> int:
        """How many threads torch may use where no other process computes.

        From then on a worker of pytest-xdist has its share of them only, for what specs do.
        """
        import torch

        threads = torch.get_num_threads()
        if self.process.worker:
            torch.set_num_threads(max(1, threads // self.process.count))
        return threads

    @cached_property
    def leakage(self) -> Leakage:
        """Which data sets were used for what in this run."""
        from pytest_multiplicity.evaluation import Leakage

        return Leakage(self.store, self._leaks)

    def _leaks(self, message: str) -> None:
        """Warn of shared samples, or refuse them, as `multiplicity_same_data` says."""
        if self._options.same_data is SameData.ERROR:
            raise DataError(f"{message} (multiplicity_same_data = error)")
        self.warnings.append(message)

    @cached_property
    def progress(self) -> Progress:
        """Bars on the terminal, also while pytest captures output."""
        from pytest_multiplicity.plugin.progress import make

        return make(self._config)

    @cached_property
    def machine(self) -> Machine:
        """What trains and evaluates."""
        from pytest_multiplicity.compute import Machine

        return Machine(
            self.device,
            self.store,
            self.progress,
            threads=self.threads,
            patience=self._options.timeout,
            check=self._options.independence is Independence.CHECK,
            cluster=self.cluster,
            folder=self._config.invocation_params.dir,
            every=":" not in self._options.device,  # it was not named
            early=self.process.role is Role.ALONE and self.cluster is None,
        )

    def close(self) -> None:
        """End this run's use of the cluster and the store, and keep the store to its size."""
        if (cluster := vars(self).get("cluster")) is not None:
            cluster.close()
        if "store" not in vars(self):
            return
        if not self.process.worker:
            with contextlib.suppress(StoreError):  # the next run's end tries again
                self.store.end(self.process.run_id)
                self.store.bound(self._options.store_size)
        self.store.close()
