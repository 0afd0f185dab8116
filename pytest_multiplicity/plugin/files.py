"""Writing reports: a whole file or none of it, and a share of the file that GitHub shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_multiplicity.plugin.options import Options
from pytest_multiplicity.plugin.paths import is_step_summary
from pytest_multiplicity.report import FORMATS

if TYPE_CHECKING:
    from pytest_multiplicity.findings import RunReport


def write(kind: str, run: RunReport, path: Path, options: Options) -> None:
    """Write one report. Raises OSError."""
    elsewhere = options.html or options.json  # by name: whoever reads this is on another machine
    full = elsewhere.name if elsewhere else "the JSON report (--multiplicity-json)"
    if is_step_summary(path):
        _append(path, run, full)
    else:
        render = next(each.render for each in FORMATS if each.name == kind)
        replace(path, render(run, full))


def replace(path: Path, text: str) -> None:
    """Write the whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _append(path: Path, run: RunReport, full: str) -> None:
    """Add markdown to what other commands of this step wrote, as long as GitHub takes it."""
    from pytest_multiplicity.report import SUMMARY_LIMIT, markdown

    room = SUMMARY_LIMIT - (path.stat().st_size if path.exists() else 0)
    text = markdown.render(run, limit=room, full_report=full).encode()
    if len(text) <= room:
        with path.open("ab") as file:
            file.write(text)
