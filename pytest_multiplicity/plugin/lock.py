"""The lock, on pytest's side: a gate on the whole run that compares it with a committed file."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_multiplicity.plugin import compat, files
from pytest_multiplicity.plugin.options import Partial
from pytest_multiplicity.plugin.reported import found_in, run_of
from pytest_multiplicity.plugin.state import State

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_multiplicity.evaluation import Metric
    from pytest_multiplicity.findings import FamilyFindings, GateOutcome, GateReport
    from pytest_multiplicity.report import lock
    from pytest_multiplicity.store import Looked

UPDATE = "--multiplicity-update-lock"


def settle(state: State) -> GateReport | None:
    """Return what the lock says of the run, as a gate; write it anew where that was asked for."""
    options, run = state.options, run_of(state)
    if options.lock is None:
        return None
    if not run.complete:
        return _not_compared(state, run.partial_reason or "a partial run")
    from pytest_multiplicity.report import lock

    found = found_in(state)
    now = lock.of_run(run, {f.seen.title: _samples(f) for f in found}, _searched(found))
    locked = _read(state)
    drift = lock.compare(locked, now, options.lock_tolerance)
    lacking = list(_lacking(state, locked, now))
    if options.update_lock:
        return _write(state, lock.updated(locked, now, options.lock_tolerance), drift, lacking)
    remedy = f"\nif this is meant, run again with {UPDATE}" if drift.lines else ""
    remedy += "".join(f"\nit has no {what} yet: {UPDATE} adds {them}" for what, them in lacking)
    return _gate(state, "failed" if drift.lines else "passed", f"{drift}{remedy}")


def _lacking(state: State, locked: lock.Lock, now: lock.Lock) -> Iterator[tuple[str, str]]:
    """Yield what a lock from before doesn't have yet, each with its pronoun."""
    from pytest_multiplicity.report import lock

    if _has_no_ledger(state):
        yield "ledger of looks", "one"
    if lock.lacks_comparisons(locked, now):
        yield "comparisons with incumbents", "them"


def _has_no_ledger(state: State) -> bool:
    """Return whether there is a lock, and it has no ledger of looks that this run would add."""
    from pytest_multiplicity.report import lock_file

    path = state.options.lock
    assert path is not None
    if not any(state.looks.values()) or not path.is_file():
        return False
    try:
        return not lock_file.looks(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False


def _looks(state: State) -> list[Looked]:
    """Return the ledger after this run; nothing where it looked at no data."""
    if not any(state.looks.values()):
        return []
    from pytest_multiplicity.plugin import looks

    return looks.of(state).for_the_lock()


def _write(
    state: State, new: lock.Lock, drift: lock.Drift, lacking: Sequence[tuple[str, str]]
) -> GateReport:
    from pytest_multiplicity.report import lock_file

    assert state.options.lock is not None
    try:
        files.replace(state.options.lock, lock_file.render(new, _looks(state)))
    except OSError as error:
        return _gate(state, "failed", f"can't be written: {error.strerror or error}")
    said = f"written anew: {drift}" if drift.lines else "unchanged"
    said += "".join(f"\nupgraded: it had no {what}, and has {them} now" for what, them in lacking)
    return _gate(state, "passed", said)


def fail(session: pytest.Session, gate: GateReport | None) -> None:
    """Let a lock that failed fail the run, as a failed test on the terminal and in JUnit."""
    if gate is None or gate.outcome != "failed":
        return
    shown = pytest.TestReport(
        nodeid=gate.nodeid,
        location=(gate.nodeid, None, gate.name),
        keywords={},
        outcome="failed",
        longrepr=gate.message,
        when="call",
    )
    _show(session.config, shown)
    session.testsfailed += 1
    if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _show(config: pytest.Config, report: pytest.TestReport) -> None:
    """Not by the hook: `--lf`, `--sw` and progress would take it for a test of the run."""
    if (reporter := compat.terminal(config)) is not None:
        reporter.stats.setdefault("failed", []).append(report)
    if (xml := compat.junit(config)) is not None:
        xml.pytest_runtest_logreport(report)


def _not_compared(state: State, reason: str) -> GateReport:
    """Return a gate that is not evaluated: a partial run says nothing of the rest."""
    if state.options.update_lock:
        return _gate(state, "failed", f"not written: {reason}; {UPDATE} takes a complete run")
    if state.options.partial is Partial.FAIL:
        return _gate(state, "failed", f"partial run: {reason} (multiplicity_partial = fail)")
    return _gate(state, "not evaluated", f"not compared: {reason}")


def _gate(state: State, outcome: GateOutcome, message: str) -> GateReport:
    from pytest_multiplicity.findings import GateReport

    path = state.options.lock
    assert path is not None
    if path.is_relative_to(state.config.rootpath):
        path = path.relative_to(state.config.rootpath)
    where = path.as_posix()
    return GateReport(
        name=path.name,
        nodeid=where,
        family=None,
        outcome=outcome,
        message=message,
        path=where,
        line=1,
    )


def _read(state: State) -> lock.Lock:
    """Return the committed lock: it was read before the run, so only an update finds it unfit."""
    from pytest_multiplicity.report import lock_file

    assert state.options.lock is not None
    try:
        return lock_file.parse(state.options.lock.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _searched(found: Iterable[FamilyFindings]) -> dict[str, set[str]]:
    """Family's title -> its metrics under `@given`."""
    return {
        each.seen.title: {name for name, metric in each.metrics.items() if metric.searched}
        for each in found
    }


def _samples(family: FamilyFindings) -> dict[str, lock.Majority]:
    """Return what the majority of survivors says of every sample, by the name of the data set."""
    found = {
        str(metric.data): majority
        for metric in family.metrics.values()
        if metric.predictions is not None
        and metric.targets is not None
        and metric.whole
        and not metric.under
        and family.survivors.any()
        and (majority := _majority(metric, metric.predictions[family.survivors])) is not None
    }
    return dict(sorted(found.items()))


def _majority(metric: Metric, predictions: npt.NDArray[Any]) -> lock.Majority | None:
    """`predictions`: [survivors, n, ...]; of classes with as many votes the first.

    None of values: which of them are the same depends on a tolerance.
    """
    from pytest_multiplicity.report import Majority
    from pytest_multiplicity.statistics import most_voted
    from pytest_multiplicity.tasks import of_record

    targets = metric.targets
    assert targets is not None
    assert metric.task is not None  # as it has predictions
    codes = of_record(metric.task).ballots(predictions)
    if codes is None:
        return None
    classes = int(max(codes.max(), targets.max())) + 1
    return Majority(f"{zlib.crc32(targets.tobytes()):08x}", classes, tuple(most_voted(codes)))
