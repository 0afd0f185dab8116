"""The run's start and end, and the way of every report into the ledger."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_multiplicity.findings import GateRecord, PairRecord
from pytest_multiplicity.plugin import clusters, options, paths
from pytest_multiplicity.plugin.options import Engine
from pytest_multiplicity.plugin.resources import Resources
from pytest_multiplicity.plugin.state import STATE, State


def configure(config: pytest.Config) -> None:
    """Check the options, start with an empty ledger."""
    given = options.read(config)
    state = config.stash[STATE] = State(config, given, Resources(config, given))
    if not state.worker:  # once is enough
        paths.check(given)
        _check_machine(config, state)
    config.pluginmanager.register(Log(state), "multiplicity-log")


def _check_machine(config: pytest.Config, state: State) -> None:
    """Raise pytest.UsageError for a machine that isn't there, before anything is collected."""
    if state.options.device not in ("auto", "cpu"):  # which are everywhere
        state.resources.device  # noqa: B018 - raises
    if state.options.engine is Engine.RAY:
        clusters.check()
        if (cluster := state.resources.cluster) is not None:
            config.pluginmanager.register(clusters.Sharing(cluster), "multiplicity-cluster")


def unconfigure(config: pytest.Config) -> None:
    """Close what the run held open."""
    if (state := config.stash.get(STATE, None)) is not None:
        state.resources.close()


class Log:
    """Enters what reports say into the ledger; in workers nobody asks it."""

    def __init__(self, state: State) -> None:
        self._state = state

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a verdict or a gate, if the report carries one."""
        carried: dict[str, Any] | None = getattr(report, "multiplicity", None)
        if carried is None:
            return
        if "pair" in carried:
            process = getattr(report, "worker_id", "")
            self._state.ledger.enter(PairRecord.from_wire(carried["pair"]), process)
        if "gate" in carried:
            gate = GateRecord(**carried["gate"])
            self._state.ledger.gates[gate.nodeid] = gate
