"""The run's start and end, and the way of every report into the ledger."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_multiplicity.findings import GateRecord, PairRecord
from pytest_multiplicity.plugin import clusters, options
from pytest_multiplicity.plugin.options import Engine
from pytest_multiplicity.plugin.state import STATE, State


def configure(config: pytest.Config) -> None:
    """Check the options, start with an empty ledger."""
    state = config.stash[STATE] = State(config, options.read(config))
    if not state.worker and state.options.device not in ("auto", "cpu"):  # which are everywhere
        state.device  # noqa: B018 - raises pytest.UsageError, now rather than after collection
    if not state.worker and state.options.engine is Engine.RAY:
        clusters.check()
        config.pluginmanager.register(clusters.Sharing(), "multiplicity-cluster")
    config.pluginmanager.register(Log(state), "multiplicity-log")


def unconfigure(config: pytest.Config) -> None:
    """Close what the run held open."""
    if (state := config.stash.get(STATE, None)) is not None:
        state.close()


class Log:
    """Enters what reports say into the ledger; in workers nobody asks it."""

    def __init__(self, state: State) -> None:
        self._state = state

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A verdict or a gate, if the report carries one."""
        carried: dict[str, Any] | None = getattr(report, "multiplicity", None)
        if carried is None:
            return
        if "pair" in carried:
            process = getattr(report, "worker_id", "")
            self._state.ledger.enter(PairRecord.from_wire(carried["pair"]), process)
        if "gate" in carried:
            gate = GateRecord(**carried["gate"])
            self._state.ledger.gates[gate.nodeid] = gate
