"""How errors of this package look: the user's own line and one message, nothing from the depths."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_multiplicity.errors import MultiplicityError

PACKAGE = Path(__file__).parents[1]


def shortened(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
) -> pytest.TestReport:
    """Show an error that this package raised on purpose as short as it can be understood.

    Any other error, and one that another caused, is shown whole: there the depths matter.
    """
    excinfo = call.excinfo
    if excinfo is None or not report.failed or item.config.getoption("fulltrace", False):
        return report
    if not isinstance(excinfo.value, MultiplicityError) or excinfo.value.__cause__ is not None:
        return report
    entries = excinfo.traceback
    users = [i for i, entry in enumerate(entries) if _is_users(entry.path, item.config.rootpath)]
    if users:
        excinfo.traceback = entries[: users[-1] + 1]
        report.longrepr = item.repr_failure(excinfo)
    else:
        report.longrepr = excinfo.getrepr(style="value")
    return report


def _is_users(path: Path | str, root: Path) -> bool:
    """Whether a file is of the project that is tested."""
    place = Path(path)
    return (
        place.is_relative_to(root)
        and not place.is_relative_to(PACKAGE)
        and "site-packages" not in place.parts
    )
