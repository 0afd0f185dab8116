"""The state of one run: one object, found in ``config.stash``."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_multiplicity.design import Built, Recorded
from pytest_multiplicity.errors import DataError, StoreError
from pytest_multiplicity.findings import Ledger
from pytest_multiplicity.plugin.families import Families, Family
from pytest_multiplicity.plugin.options import Engine, Independence, Options, SameData

if TYPE_CHECKING:
    import torch

    from pytest_multiplicity.compute import Machine, Progress, RayCluster
    from pytest_multiplicity.evaluation import (
        Facts,
        Leakage,
        Metric,
        Population,
        RecordedPopulation,
        Survivors,
    )
    from pytest_multiplicity.plugin.screening import Screening
    from pytest_multiplicity.store import Store


class State:
    """What the plugin knows of a run. Heavy imports happen when a family is built."""

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self.config, self.options = config, options
        self.families = Families(options.seeds, self.build)
        self.ledger = Ledger()
        self.gate_families: dict[str, str] = {}  # gate's node id -> family's key
        self.unsettled: list[Any] = []  # gates that failed before and weren't evaluated now
        self.selected_gates: list[str] = []  # node ids, after deselection
        self.told: dict[str, set[str]] = {}  # family's key -> what is told once, and has been
        self.facts: dict[str, Facts] = {}  # family's key -> what was told last
        self.collection_failed = False
        self.warnings: list[str] = []
        self.names: dict[str, str] = {}  # data set name -> fingerprint
        self.metrics: dict[str, dict[str, Metric]] = {}  # those this process measured

    @property
    def worker(self) -> bool:
        """Whether this process is a worker of pytest-xdist."""
        return hasattr(self.config, "workerinput")

    @cached_property
    def run_id(self) -> str:
        """Shared by all processes of a run: what opaque callables are remembered under."""
        if self.worker:
            return str(self.config.workerinput["testrunuid"])  # type: ignore[attr-defined]
        manager = self.config.pluginmanager.getplugin("dsession")
        shared = getattr(getattr(manager, "nodemanager", None), "testrunuid", None)
        return str(shared or secrets.token_hex(16))

    @cached_property
    def screening(self) -> Screening:
        """Who needn't be judged any more, where that is asked for."""
        from pytest_multiplicity.plugin.screening import Screening

        return Screening(self)

    @cached_property
    def store(self) -> Store:
        """The store of this run."""
        from pytest_multiplicity.store import LocalStore

        return LocalStore(self.options.store, warn=self.warnings.append)

    @cached_property
    def device(self) -> torch.device:
        """Where candidates are trained and evaluated. Raises pytest.UsageError."""
        from pytest_multiplicity.plugin.device import choose

        return choose(self.options.device, self.process if self.worker else None)

    @cached_property
    def cluster(self) -> RayCluster | None:
        """Who trains and evaluates for us, if not this machine; not connected to yet."""
        if self.options.engine is Engine.LOCAL:
            return None
        from pytest_multiplicity.plugin.clusters import make

        return make(self.config)

    @cached_property
    def process(self) -> int:
        """Which worker of pytest-xdist this is, from 0 on; 0 where there are none."""
        name = self.config.workerinput["workerid"] if self.worker else ""  # type: ignore[attr-defined]
        return int(re.sub(r"\D", "", name) or 0)

    @cached_property
    def threads(self) -> int:
        """How many threads torch may use where no other process computes.

        From then on a worker of pytest-xdist has its share of them only, for what specs do.
        """
        import torch

        threads = torch.get_num_threads()
        if self.worker:
            torch.set_num_threads(max(1, threads // self.config.workerinput["workercount"]))  # type: ignore[attr-defined]
        return threads

    @cached_property
    def leakage(self) -> Leakage:
        """Which data sets were used for what in this run."""
        from pytest_multiplicity.evaluation import Leakage

        return Leakage(self.store, self._leaks)

    def _leaks(self, message: str) -> None:
        """Warn of shared samples, or refuse them, as ``multiplicity_same_data`` says."""
        if self.options.same_data is SameData.ERROR:
            raise DataError(f"{message} (multiplicity_same_data = error)")
        self.warnings.append(message)

    @cached_property
    def progress(self) -> Progress:
        """Bars on the terminal, also while pytest captures output."""
        from pytest_multiplicity.plugin.progress import make

        return make(self.config)

    @cached_property
    def machine(self) -> Machine:
        """What trains and evaluates."""
        from pytest_multiplicity.compute import Machine

        return Machine(
            self.device,
            self.store,
            self.progress,
            threads=self.threads,
            patience=self.options.timeout,
            check=self.options.independence is Independence.CHECK,
            cluster=self.cluster,
        )

    def build(
        self, family: Family, dependencies: Mapping[str, Any]
    ) -> Population | RecordedPopulation:
        """Build every candidate of a family; trains nothing yet."""
        if isinstance(family.definition, Recorded):
            from pytest_multiplicity.evaluation import RecordedPopulation

            self.warnings.extend(family.definition.doubts_about_unit())
            return RecordedPopulation(family.definition, family.design)
        from pytest_multiplicity.evaluation import Population
        from pytest_multiplicity.inference import Models

        assert isinstance(family.definition, Built)
        made = [family.definition.function(c, **dependencies) for c in family.design.configs]
        models = Models(
            family.name,
            family.definition,
            family.design,
            made,
            machine=self.machine,
            run_id=self.run_id,
        )
        if not self.options.screen:
            return Population(models, self.names, self.leakage)
        screened = partial(self.screening.screened, family)
        return Population(models, self.names, self.leakage, screened)

    def survivors(self, request: pytest.FixtureRequest) -> Survivors:
        """The survivors of the gate's family, on the verdicts so far."""
        from pytest_multiplicity.evaluation import Survivors

        family = self.families.get(self.gate_families[request.node.nodeid])
        needed = {name: request.getfixturevalue(name) for name in family.definition.parameters}
        population = self.families.population(family, needed)
        population.prepare_gates(self._selected_on(family))
        return Survivors(population, self.ledger.standing(family.key, population.alive))

    def _selected_on(self, family: Family) -> dict[str, str]:
        """Data sets that enforced specs used, in any process: name -> fingerprint."""
        known = self.ledger.metrics.get(family.key, {})
        metrics = [
            known[name]
            for spec in family.specs.values()
            if not spec.unforeseen
            for record in self.ledger.judged(family.key, spec.nodeid).values()
            for name in record.metrics
        ]
        return {m.data: str(m.data_key) for m in metrics if m.data is not None}

    def close(self) -> None:
        """End this run's use of the cluster and the store, and keep the store to its size."""
        if (cluster := vars(self).get("cluster")) is not None:
            cluster.close()
        if "store" not in vars(self):
            return
        if not self.worker:
            with contextlib.suppress(StoreError):  # the next run's end tries again
                self.store.end(self.run_id)
                self.store.bound(self.options.store_size)
        self.store.close()


STATE = pytest.StashKey[State]()
