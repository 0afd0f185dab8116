"""The formats a run is written in: a new one is a renderer, an option, and a line here.

The plugin's options are made of this list, so that it imports no renderer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_multiplicity.findings import RunReport


@dataclass(frozen=True)
class Format:
    """One format: the option that asks for it is `--multiplicity-NAME`."""

    name: str
    about: str
    """The option's help."""
    render: Callable[[RunReport, str], str]
    """Makes the text; where it leaves something out, it points to the report named second."""
    require: Callable[[], None] = lambda: None
    """Raises MultiplicityError when what it is made with is not installed."""


def _json(run: RunReport, full_report: str) -> str:
    from pytest_multiplicity.report import as_json

    return as_json.render(run)


def _html(run: RunReport, full_report: str) -> str:
    from pytest_multiplicity.report import html

    return html.render(run)


def _require_html() -> None:
    from pytest_multiplicity.report import html

    html.require()


def _markdown(run: RunReport, full_report: str) -> str:
    """Short enough for a comment on a pull request."""
    from pytest_multiplicity.report import markdown

    return markdown.render(run, limit=markdown.COMMENT_LIMIT, full_report=full_report)


def _individuals(run: RunReport, full_report: str) -> str:
    from pytest_multiplicity.report import individuals_csv

    return individuals_csv.render(run)


def _card(run: RunReport, full_report: str) -> str:
    from pytest_multiplicity.report import card

    return card.render(run)


NEEDS = ("gaps", "flips", "reachable", "individuals", "looks")
"""What a card has where it was measured, and must have where that was asked for."""
FORMATS = (
    Format("json", "write the run as JSON (schema pytest-multiplicity/1) to this file", _json),
    Format("html", "write the run as one self-contained page to this file", _html, _require_html),
    Format(
        "markdown",
        "write the run as markdown to this file ($GITHUB_STEP_SUMMARY by default when set)",
        _markdown,
    ),
    Format(
        "individuals",
        "write what survivors say of every single sample to this file, as CSV",
        _individuals,
    ),
    Format("card", "write a model card of the run to this file, with Hugging Face's header", _card),
)
