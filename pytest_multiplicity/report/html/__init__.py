"""The HTML report: one self-contained page. Needs the extra `html` (jinja2, matplotlib)."""

from __future__ import annotations

from importlib.util import find_spec

from pytest_multiplicity.errors import MultiplicityError
from pytest_multiplicity.findings import RunReport

__all__ = ["render", "require"]

NEEDED = ("jinja2", "matplotlib")


def require() -> None:
    """Raise MultiplicityError when what the page is made with is not installed."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise MultiplicityError(
            f"the HTML report needs {' and '.join(missing)}: "
            "pip install 'pytest-multiplicity[html]'"
        )


def render(run: RunReport) -> str:
    """Return the page. It loads nothing from anywhere, and stays below 5 MB by construction.

    Raises:
        MultiplicityError: the extra `html` is not installed.
    """
    require()
    from pytest_multiplicity.report.html.page import (
        page,  # the extra is imported only by those who ask for the page
    )

    return page(run)
