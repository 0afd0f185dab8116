"""Writing reports: a whole file or none of it, and a share of the file that GitHub shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_multiplicity.plugin.options import Options
from pytest_multiplicity.plugin.paths import is_step_summary

if TYPE_CHECKING:
    from pytest_multiplicity.report import model as report


def write(kind: str, run: report.Run, path: Path, options: Options) -> None:
    """Write one report. Raises OSError."""
    _WRITE[kind](run, path, options)


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


def _json(run: report.Run, path: Path, options: Options) -> None:
    from pytest_multiplicity.report import as_json

    replace(path, as_json.render(run))


def _html(run: report.Run, path: Path, options: Options) -> None:
    from pytest_multiplicity.report import html

    replace(path, html.render(run))


def _markdown(run: report.Run, path: Path, options: Options) -> None:
    from pytest_multiplicity.report import markdown

    elsewhere = options.html or options.json  # by name: whoever reads this is on another machine
    full = elsewhere.name if elsewhere else "the JSON report (--multiplicity-json)"
    if is_step_summary(path):
        _append(path, lambda room: markdown.render(run, limit=room, full_report=full))
    else:
        # short enough for a comment on a pull request
        replace(path, markdown.render(run, limit=markdown.COMMENT_LIMIT, full_report=full))


def _append(path: Path, render: Callable[[int], str]) -> None:
    from pytest_multiplicity.report import SUMMARY_LIMIT

    taken = path.stat().st_size if path.exists() else 0  # by what ran before in this step
    room = SUMMARY_LIMIT - taken
    text = render(room).encode()
    if len(text) <= room:
        with path.open("ab") as file:
            file.write(text)


_WRITE: dict[str, Callable[[report.Run, Path, Options], None]] = {
    "json": _json,
    "html": _html,
    "markdown": _markdown,
}
