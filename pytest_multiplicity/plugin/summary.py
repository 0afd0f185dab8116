"""The end of a run: files that were asked for, and the summary on the terminal."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_multiplicity.plugin.options import Sheets
from pytest_multiplicity.plugin.state import STATE, State

if TYPE_CHECKING:
    from pytest_multiplicity.report import model as report
    from pytest_multiplicity.report.terminal import Level


def write(session: pytest.Session) -> None:
    """Write every report that was asked for; in a worker, none."""
    state = session.config.stash[STATE]
    if state.worker or not _concerned(state):
        return
    for kind, path in state.options.files.items():
        _RENDER[kind](run_of(state), path)


def show(reporter: pytest.TerminalReporter) -> None:
    """Print the summary. Nothing under -qq, one line under -q, sheets and definitions with -v."""
    state = reporter.config.stash[STATE]
    if not _concerned(state) or reporter.no_summary:
        return
    from pytest_multiplicity.report import terminal

    writer = reporter._tw
    text = terminal.render(
        run_of(state),
        width=writer.fullwidth,
        level=_level(state, reporter.verbosity),
        unicode=_speaks_unicode(reporter),
        color=writer.hasmarkup,
    )
    if text:
        if reporter.verbosity >= 0:
            reporter.section("multiplicity")
        reporter.ensure_newline()
        reporter.write(text + "\n")
    if reporter.hasopt("x"):
        _list_rejections(reporter, run_of(state))


def run_of(state: State) -> report.Run:
    """The model of the run, assembled once."""
    if state.report is None:
        from pytest_multiplicity.plugin.assemble import assemble

        state.report = assemble(state)
    return state.report


def _level(state: State, verbosity: int) -> Level:
    from pytest_multiplicity.report.terminal import Level

    if verbosity < 0:
        return Level.LINE if verbosity == -1 else Level.NOTHING
    if verbosity > 0:
        return Level.DEFINITIONS
    return Level.SHEETS if state.options.sheets is Sheets.FULL else Level.SUMMARY


def _concerned(state: State) -> bool:
    return bool(state.ledger.pairs or state.selected_gates) and not (
        state.config.option.collectonly
    )


def _list_rejections(reporter: pytest.TerminalReporter, run: report.Run) -> None:
    """The lines of ``-rx``, which pytest prints for outcomes it knows only."""
    for family in run.families:
        for candidate in family.candidates:
            for spec in candidate.rejected_by:
                reason = candidate.diverged or candidate.reasons.get(spec, "")
                first = reason.splitlines()[0].removeprefix("assert ") if reason else ""
                reporter.write_line(f"REJECTED {spec}[{candidate.id}] {first}", yellow=True)


def _speaks_unicode(reporter: pytest.TerminalReporter) -> bool:
    encoding = getattr(reporter._tw._file, "encoding", None) or "ascii"
    try:
        "│█Δ".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _json(run: report.Run, path: Path) -> None:
    from pytest_multiplicity.report import as_json

    _replace(path, as_json.render(run))


def _replace(path: Path, text: str) -> None:
    """Write the whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _html(run: report.Run, path: Path) -> None:
    from pytest_multiplicity.report import html

    _replace(path, html.render(run))


def _markdown(run: report.Run, path: Path) -> None:
    """Append to a file that GitHub shares between steps; write any other anew."""
    from pytest_multiplicity.report import markdown

    text = markdown.render(run)
    if os.environ.get("GITHUB_STEP_SUMMARY") == str(path):
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    else:
        _replace(path, text)


_RENDER: dict[str, Callable[[report.Run, Path], None]] = {
    "json": _json,
    "html": _html,
    "markdown": _markdown,
}
