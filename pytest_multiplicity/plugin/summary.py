"""The end of a run: files that were asked for, and the summary on the terminal."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pytest_multiplicity.design import Recorded
from pytest_multiplicity.errors import MultiplicityError
from pytest_multiplicity.plugin import (
    compat,
    completeness,
    export,
    files,
    lock,
    profiling,
    reported,
)
from pytest_multiplicity.plugin import plan as foresight
from pytest_multiplicity.plugin.options import Sheets
from pytest_multiplicity.plugin.paths import is_step_summary
from pytest_multiplicity.plugin.reported import run_of
from pytest_multiplicity.plugin.state import STATE, State

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_multiplicity.findings import RunReport
    from pytest_multiplicity.report import Level


def write(session: pytest.Session) -> None:
    """Compare with the lock, write what was asked for, annotate; in a worker, nothing."""
    state = session.config.stash[STATE]
    if state.worker or state.options.plan or not (_has_families(state) and _wanted(state)):
        return
    from pytest_multiplicity.findings import tried

    lost: list[str] = []
    tried("the ledger of looks", lambda: _enter_looks(state), lost)
    tried("the report", lambda: _write(session, state, lost), lost)
    for text in lost:
        _fail(session, text)


def _enter_looks(state: State) -> None:
    """Add what was asked of data to the ledger."""
    if any(not isinstance(family.definition, Recorded) for family in state.families):
        from pytest_multiplicity.plugin import looks

        looks.of(state).enter()


def _write(session: pytest.Session, state: State, lost: list[str]) -> None:
    """Write it part by part; what of it can't be made is added to `lost`."""
    from pytest_multiplicity.findings import tried

    for drift in tried("the lock's gate", lambda: lock.settle(state), lost):
        if drift is not None:
            reported.add_gate(state, drift)
        if _concerned(state):
            lock.fail(session, drift)
    lost += run_of(state).lost
    problems = _write_files(state)
    if _concerned(state):
        tried("annotations", lambda: _annotate(session.config, run_of(state)), lost)
        if session.config.get_verbosity() < 0:  # where the summary has no room for warnings
            _say(session.config, completeness.doubt(state))
            _say(session.config, state.told_in_part)
    for problem in problems.values():
        _say(session.config, problem)
    asked_for = [path for path in problems if not is_step_summary(path)]
    if asked_for:
        _fail(session)


def _fail(session: pytest.Session, text: str = "") -> None:
    """Have the run fail, which else would have passed, and say why."""
    _say(session.config, f"multiplicity: {text}" if text else "")
    if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def show(reporter: pytest.TerminalReporter) -> None:
    """Print the summary. Nothing under -qq, one line under -q, sheets and definitions with -v."""
    state = reporter.config.stash[STATE]
    if foresight.show(reporter) or not _concerned(state) or reporter.no_summary:
        return
    from pytest_multiplicity.findings import tried

    lost: list[str] = []
    tried("the summary", lambda: _show(reporter, state), lost)
    for text in lost:
        _fail(compat.session(reporter.config), text)


def _show(reporter: pytest.TerminalReporter, state: State) -> None:
    from pytest_multiplicity.report import terminal

    writer = compat.writer(reporter)
    text = terminal.render(
        run_of(state),
        width=writer.fullwidth,
        level=_level(state, reporter.verbosity),
        unicode=_speaks_unicode(reporter),
        color=writer.hasmarkup,
    )
    if text:
        reporter.ensure_newline()  # before the title, which would leave a blank line below it
        if reporter.verbosity >= 0:
            reporter.section("multiplicity")
        reporter.write(_no_commands(text) + "\n")
    if reporter.hasopt("x"):
        _list_rejections(reporter, run_of(state))


def _has_families(state: State) -> bool:
    collected = not state.config.option.collectonly
    met = any(family.specs for family in state.families)
    return collected and (met or bool(state.selected_gates))


def _wanted(state: State) -> bool:
    """Return whether files are to be written: GitHub's only when there is something to show."""
    options = state.options
    asked = any(not is_step_summary(path) for path in options.files.values())
    asked |= bool(options.lock or options.export or options.profile)
    return asked or _concerned(state)


def _write_files(state: State) -> dict[Path, str]:
    """Write every file that was asked for. Returns what went wrong, in words."""
    writers: dict[Path, Callable[[], None]] = {
        path: partial(files.write, kind, run_of(state), path, state.options)
        for kind, path in state.options.files.items()
    }
    if (folder := state.options.export) is not None:
        writers[folder] = partial(export.write, state, run_of(state), folder)
    if (told := state.options.profile) is not None:  # the last: it tells what all others took
        writers[told] = partial(_write_profile, state, told)
    from pytest_multiplicity.findings import why

    problems = {}
    for path, write_one in writers.items():
        try:
            write_one()
        except OSError as error:
            reason = error.strerror or error
            problems[path] = f"multiplicity: can't write {str(path)!r}: {reason}"
        except MultiplicityError as error:
            problems[path] = f"multiplicity: {error}"
        except Exception as error:  # a fault of ours, which must not cost the other files
            problems[path] = f"multiplicity: can't write {str(path)!r}: {why(error)}"
    return problems


def _write_profile(state: State, path: Path) -> None:
    files.replace(path, profiling.text(state.config))


def _annotate(config: pytest.Config, run: RunReport) -> None:
    """Tell GitHub of failed gates, in commands on standard output."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from pytest_multiplicity.report import annotations

        placed = [replace(each, path=_in_workspace(config, each.path)) for each in run.gates]
        _say(config, annotations.render(replace(run, gates=placed)))


def _in_workspace(config: pytest.Config, path: str | None) -> str | None:
    """Return the path from where the repository is, which pytest's root may lie below."""
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if path is None or not workspace:
        return path
    full = config.rootpath / path
    return full.relative_to(workspace).as_posix() if full.is_relative_to(workspace) else path


def _say(config: pytest.Config, text: str) -> None:
    """On lines of their own, on the terminal or where it would be."""
    reporter = compat.terminal(config)
    if text and reporter is not None:
        compat.end_line(reporter)
        reporter.write(text.rstrip("\n") + "\n")
    elif text:
        print(text.rstrip("\n"), file=sys.stdout, flush=True)


def _level(state: State, verbosity: int) -> Level:
    from pytest_multiplicity.report import Level

    if verbosity < 0:
        return Level.LINE if verbosity == -1 else Level.NOTHING
    if verbosity > 0:
        return Level.DEFINITIONS
    return Level.SHEETS if state.options.sheets is Sheets.FULL else Level.SUMMARY


def _concerned(state: State) -> bool:
    found = bool(state.ledger.pairs or state.selected_gates or state.selected_readers)
    return found and not state.config.option.collectonly


def _list_rejections(reporter: pytest.TerminalReporter, run: RunReport) -> None:
    """Print the lines of `-rx`, which pytest prints for outcomes it knows only."""
    from pytest_multiplicity.report import inert

    for family in run.families:
        for candidate in family.candidates:
            for spec in candidate.rejected_by:
                reason = candidate.diverged or candidate.reasons.get(spec, "")
                first = inert("".join(reason.splitlines()[:1]).removeprefix("assert "))
                line = f"REJECTED {inert(spec)}[{candidate.id}] {first}"
                reporter.write_line(line.rstrip(), yellow=True)


def _no_commands(text: str) -> str:
    """GitHub takes every line that begins with :: for a command, also in a message of ours."""
    return re.sub(r"(?m)^(\s*)::", r"\1\\::", text)


def _speaks_unicode(reporter: pytest.TerminalReporter) -> bool:
    encoding = getattr(compat.stream(reporter), "encoding", None) or "ascii"
    try:
        "│█Δ".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
