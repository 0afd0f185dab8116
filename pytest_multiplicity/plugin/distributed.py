"""Gates under pytest-xdist: on the controller, once every worker is done.

A gate that is scheduled onto a worker sees the verdicts of that worker only. So workers drop the
gates; verdicts ride on reports; and after the loop the controller collects, keeps the gates and
runs them itself.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import zip_longest
from typing import Any

import pytest

from pytest_multiplicity.findings import PairRecord
from pytest_multiplicity.plugin import certain, compat
from pytest_multiplicity.plugin.collection import FURTHER, PAIR, Pair
from pytest_multiplicity.plugin.roles import Role
from pytest_multiplicity.plugin.state import STATE, State

HAS_FAMILIES = "multiplicity_has_families"  # what a worker says at its end
CRASHED = "???"  # the phase that pytest-xdist gives a test over which a worker died
RERUN = "rerun"


def start(session: pytest.Session) -> None:
    """Arrange for the gates: on a controller run them, in a worker say whether there are any."""
    config = session.config
    role = config.stash[STATE].process.role
    if role is Role.CONTROLLER:
        config.pluginmanager.register(Controller(session), "multiplicity-controller")
    elif role is Role.WORKER:
        config.pluginmanager.register(Worker(config.stash[STATE]), "multiplicity-worker")


class Worker:
    """Tells the controller at the end whether any family was collected."""

    def __init__(self, state: State) -> None:
        self._state = state

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Leave word where pytest-xdist takes it along."""
        compat.worker_output(session.config)[HAS_FAMILIES] = len(self._state.families) > 0


class Controller:
    """Collects when the workers are done, and runs the gates."""

    def __init__(self, session: pytest.Session) -> None:
        self._session, self._state = session, session.config.stash[STATE]
        self._has_families = self._collecting = self._collected = False
        self._tried_again: set[str] = set()
        self._by_id: dict[str, pytest.Item] = {}
        self._lost: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Run the gates when every spec is done; after an early stop only learn the families."""
        try:
            result = yield
        finally:
            if self._concerned():
                self._collect()
                self._note_lost()
        self._run_gates()
        return result

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Hear whether a worker that ended had collected a family."""
        self._has_families |= compat.worker_output(node).get(HAS_FAMILIES, False)

    @pytest.hookimpl(optionalhook=True, trylast=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport, sched: Any) -> None:
        """Judge a pair again, once, when a worker died over it: for want of memory, perhaps."""
        if report.outcome != "failed" or crashitem in self._tried_again:
            return
        if crashitem not in self._pairs():
            return
        try:
            sched.mark_test_pending(crashitem)
        except NotImplementedError:  # by loadscope, loadfile and each
            return
        self._tried_again.add(crashitem)
        report.outcome = RERUN  # type: ignore[assignment]

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Where a failure ends the run, run the gates that are certain now; workers go on."""
        if not self._state.config.getvalue("maxfail") or not self._concerned():
            return
        self._collect()
        self._by_id = self._by_id or {item.nodeid: item for item in self._session.items}
        if (item := self._by_id.get(nodeid)) is not None:
            self._run(certain.after(item))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember what workers died over for good: such a report carries no verdict."""
        if report.when == CRASHED and report.failed:
            self._lost.append(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Name what is tried again as pytest-rerunfailures does."""
        if report.when == CRASHED and report.outcome == RERUN:
            return RERUN, "R", ("RERUN", {"yellow": True})
        return None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(
        self,
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Say nothing of what can't be collected, or is skipped: workers have said so already."""
        report = yield
        if self._collecting and report.outcome != "passed":
            self._state.collection_failed |= report.failed
            report.outcome, report.longrepr, report.result = "passed", None, []
        return report

    def _concerned(self) -> bool:
        found = self._has_families or bool(self._state.ledger.pairs)
        return found and not self._session.config.option.collectonly

    def _collect(self) -> None:
        """Collect what the workers collected, without a word on the terminal."""
        if self._collected:
            return
        self._collecting = self._collected = True
        try:
            with compat.collecting_again(self._session):
                self._session.perform_collect()
        finally:
            self._collecting = False

    def _pairs(self) -> dict[str, Pair]:
        self._collect()
        return {item.nodeid: item.stash[PAIR] for item in self._session.items if PAIR in item.stash}

    def _note_lost(self) -> None:
        """Enter the pairs over which workers died, which nobody else could."""
        pairs = self._pairs() if self._lost else {}
        for pair in (pairs[nodeid] for nodeid in self._lost if nodeid in pairs):
            record = PairRecord(pair.family.key, pair.spec.nodeid, pair.candidate, "failed")
            self._state.ledger.enter(record)

    def _run_gates(self) -> None:
        """As pytest's own loop runs items: added candidates, gates, and who is told of verdicts."""
        known, last = self._state.ledger.gates, self._state.after_specs
        items = [i for i in self._session.items if i.nodeid in last or FURTHER in i.stash]
        self._run([item for item in items if item.nodeid not in known])

    def _run(self, items: Sequence[pytest.Item]) -> None:
        session = self._session
        if items and (reporter := compat.terminal(session.config)) is not None:
            compat.end_line(reporter)
        for item, following in zip_longest(items, items[1:]):
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
