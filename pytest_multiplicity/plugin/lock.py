"""The lock, on pytest's side: a gate on the whole run that compares it with a committed file."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from pytest_multiplicity.plugin import files
from pytest_multiplicity.plugin.options import Partial
from pytest_multiplicity.plugin.state import STATE, State

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_multiplicity.plugin.families import Family
    from pytest_multiplicity.report import lock
    from pytest_multiplicity.report import model as report

UPDATE = "--multiplicity-update-lock"


def check(state: State, run: report.Run) -> report.Gate | None:
    """What the lock says of the run, as a gate; writes the file anew where that was asked for."""
    options = state.options
    if options.lock is None:
        return None
    if not run.complete:
        return _not_compared(state, run.partial_reason or "a partial run")
    from pytest_multiplicity.report import lock, lock_file

    now = lock.of_run(run, _samples(state, run), _searched(state))
    locked = _read(state)
    drift = lock.compare(locked, now, options.lock_tolerance)
    if not options.update_lock:
        remedy = f"\nif this is meant, run again with {UPDATE}" if drift.lines else ""
        return _gate(state, "failed" if drift.lines else "passed", f"{drift}{remedy}")
    text = lock_file.render(lock.updated(locked, now, options.lock_tolerance))
    try:
        files.replace(options.lock, text)
    except OSError as error:
        return _gate(state, "failed", f"can't be written: {error.strerror or error}")
    return _gate(state, "passed", f"written anew: {drift}" if drift.lines else "unchanged")


def fail(session: pytest.Session, run: report.Run) -> None:
    """Let a lock that failed fail the run, as a failed test on the terminal and in JUnit."""
    path = session.config.stash[STATE].options.lock
    if path is None or run.gates[-1].outcome != "failed":
        return
    gate = run.gates[-1]
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
    """Not by the hook: ``--lf``, ``--sw`` and progress would take it for a test of the run."""
    from _pytest.junitxml import xml_key

    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        reporter.stats.setdefault("failed", []).append(report)
    if (xml := config.stash.get(xml_key, None)) is not None:
        xml.pytest_runtest_logreport(report)


def _not_compared(state: State, reason: str) -> report.Gate:
    """A partial run says nothing of the rest."""
    if state.options.update_lock:
        return _gate(state, "failed", f"not written: {reason}; {UPDATE} takes a complete run")
    if state.options.partial is Partial.FAIL:
        return _gate(state, "failed", f"partial run: {reason} (multiplicity_partial = fail)")
    return _gate(state, "not evaluated", f"not compared: {reason}")


def _gate(state: State, outcome: report.GateOutcome, message: str) -> report.Gate:
    from pytest_multiplicity.report import Gate

    path = state.options.lock
    assert path is not None
    if path.is_relative_to(state.config.rootpath):
        path = path.relative_to(state.config.rootpath)
    where = path.as_posix()
    return Gate(
        name=path.name,
        nodeid=where,
        family=None,
        outcome=outcome,
        message=message,
        path=where,
        line=1,
    )


def _read(state: State) -> lock.Lock:
    """The committed lock: it was read before the run too, so only an update finds it unfit."""
    from pytest_multiplicity.report import lock_file

    assert state.options.lock is not None
    try:
        return lock_file.parse(state.options.lock.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _searched(state: State) -> dict[str, set[str]]:
    """Family's title -> its metrics under ``@given``."""
    titles = state.families.titles()
    return {
        titles[key]: {name for name, metric in metrics.items() if metric["searched"]}
        for key, metrics in state.ledger.metrics.items()
    }


def _samples(state: State, run: report.Run) -> Mapping[str, Mapping[str, lock.Samples]]:
    """What the majority of survivors says of every sample: family's title -> data set -> that."""
    titles = state.families.titles()
    told = {family.name: family for family in run.families}
    return {
        title: _of_family(state, family, told[title])
        for family in state.families
        if (title := titles[family.key]) in told
    }


def _of_family(state: State, family: Family, told: report.Family) -> dict[str, lock.Samples]:
    alive = [i for i, each in enumerate(told.candidates) if each.status == "survivor"]
    found: dict[str, lock.Samples] = {}
    for metric in state.ledger.metrics.get(family.key, {}).values():
        if metric["under"] or not metric["whole"] or not metric["key"] or not alive:
            continue
        entry = state.store.get("scores", metric["key"])
        if entry is None or "predictions" not in entry.tensors:
            continue
        predictions = entry.tensors["predictions"].numpy()[alive]
        found[metric["data"]] = _majority(predictions, entry.tensors["targets"].numpy())
    return dict(sorted(found.items()))


def _majority(predictions: npt.NDArray[Any], targets: npt.NDArray[Any]) -> lock.Samples:
    """``predictions``: [survivors, n]; of classes with as many votes the first."""
    from pytest_multiplicity.report import Samples
    from pytest_multiplicity.statistics import vote_chunks

    said = [k for votes in vote_chunks(predictions) for k in votes.argmax(axis=1).tolist()]
    classes = int(max(predictions.max(), targets.max())) + 1
    return Samples(f"{zlib.crc32(targets.tobytes()):08x}", classes, tuple(said))
