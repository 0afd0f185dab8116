"""The run's start and end, and the way of every report into the ledger."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from contextvars import Token
from dataclasses import replace
from typing import Any

import pytest

from pytest_multiplicity.compute import LOCAL
from pytest_multiplicity.design import Recorded
from pytest_multiplicity.findings import GateRecord, PairRecord
from pytest_multiplicity.plugin import clusters, options, paths, profiling
from pytest_multiplicity.plugin.resources import Resources
from pytest_multiplicity.plugin.state import STATE, State
from pytest_multiplicity.statistics import MEMORY, Memory

KNOWN = pytest.StashKey[bool]()
REMEMBERED = pytest.StashKey[Token[Memory | None]]()


def configure(config: pytest.Config) -> None:
    """Check the options, start with an empty ledger."""
    given = options.read(config)
    state = config.stash[STATE] = State(config, given, Resources(config, given))
    if not state.worker:  # once is enough
        paths.check(given, own_store=bool(options.ROWS["store"].given(config, "store")))
        _check_machine(config, state)
    if given.profile is not None:
        profiling.begin(config)
    config.pluginmanager.register(Log(state), "multiplicity-log")
    config.stash[REMEMBERED] = MEMORY.set(state.resources.memory)


def _check_machine(config: pytest.Config, state: State) -> None:
    """Raise pytest.UsageError for a machine that isn't there, before anything is collected."""
    if state.options.device not in ("auto", "cpu"):  # which are everywhere
        state.resources.device  # noqa: B018 - raises
    if state.options.engine != LOCAL:
        clusters.check(state.options.engine)
        if (cluster := state.resources.cluster) is not None:
            config.pluginmanager.register(clusters.Sharing(cluster), "multiplicity-cluster")


def know_questions(config: pytest.Config) -> None:
    """Know what tests ask before the first of them runs: it may change what its module holds."""
    state = config.stash[STATE]
    options, first = state.options, KNOWN not in config.stash
    config.stash[KNOWN] = True
    unasked = options.plan or (state.worker and not options.looks)
    if (
        first
        and not unasked
        and any(not isinstance(f.definition, Recorded) for f in state.families)
    ):
        from pytest_multiplicity.plugin import looks

        with suppress(Exception):  # it is tried again at the end, which says what is wrong
            looks.of(state).note_codes()


def unconfigure(config: pytest.Config) -> None:
    """Close what the run held open."""
    if (token := config.stash.get(REMEMBERED, None)) is not None:
        MEMORY.reset(token)
    if (state := config.stash.get(STATE, None)) is not None:
        state.resources.close()


class Log:
    """Enters what reports say into the ledger; in workers nobody asks it."""

    def __init__(self, state: State) -> None:
        self._state = state

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(
        self, report: pytest.TestReport
    ) -> Generator[None, object, object]:
        """Keep a verdict or a gate, if the report carries one, as it is when all have seen it.

        Others may still find that a test has failed (pytest itself does so for subtests).
        """
        result = yield
        # the terminal keeps reports to the end; what they carried is in the ledger by then
        carried: dict[str, Any] = vars(report).pop("multiplicity", {})
        if "pair" in carried:
            record = PairRecord.from_wire(carried["pair"])
            if report.failed and record.verdict != "failed":
                record = replace(record, verdict="failed")
            self._state.ledger.enter(record, getattr(report, "worker_id", ""))
        if "gate" in carried:
            gate = GateRecord(**carried["gate"])
            if report.failed and gate.outcome != "failed":
                gate = replace(gate, outcome="failed", message=report.longreprtext)
            self._state.ledger.gates[gate.nodeid] = gate
        return result
