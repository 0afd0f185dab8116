"""How errors of this package look: the user's own line and one message, nothing from the depths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_multiplicity.errors import MultiplicityError, failed_attempt
from pytest_multiplicity.plugin import compat

PACKAGE = Path(__file__).parents[1]


def shortened(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
) -> pytest.TestReport:
    """Show an error that this package raised on purpose as short as it can be understood.

    Any other error is shown whole, and so is one that came from the user's own code in the depths
    of an evaluation: a transform, a model, a data set. What fails for a whole family is shown with
    the first test that needs it; the others refer to that.
    """
    excinfo = call.excinfo
    if excinfo is None or not report.failed or item.config.getoption("fulltrace", False):
        return report
    if (attempt := failed_attempt(excinfo.value)) is not None:
        attempt.shown = attempt.shown or item.nodeid
        if attempt.shown != item.nodeid:
            report.longrepr = f"{attempt.what} failed, see {attempt.shown}"
            return report
    return _alone(item, excinfo, report)


def _alone(
    item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException], report: pytest.TestReport
) -> pytest.TestReport:
    """Show an error without regard to others."""
    option = item.config.getoption
    if not isinstance(excinfo.value, MultiplicityError):
        return report
    cause = excinfo.value.__cause__
    if (
        cause is not None
        and cause.__traceback__
        and _users(pytest.ExceptionInfo.from_exception(cause), item)
    ):
        return report
    users = _users(excinfo, item)
    if users:
        excinfo.traceback = users
    style: Any = option("tbstyle", "auto") if users else "value"
    shown = report.longrepr = excinfo.getrepr(
        showlocals=option("showlocals", False),
        style="long" if style == "auto" else style,
        tbfilter=False,
        chain=False,
    )
    if (crash := compat.crash_of(shown)) is not None:
        crash.message = str(excinfo.value)  # the module's name would fill the summary
    return report


def _users(excinfo: pytest.ExceptionInfo[BaseException], item: pytest.Item) -> Any:
    """Return the entries of a traceback that lie in files of the project that is tested."""
    root = item.config.rootpath
    return excinfo.traceback.filter(lambda entry: _is_users(entry.path, root))


def _is_users(path: Path | str, root: Path) -> bool:
    """Return whether a file is of the project that is tested."""
    place = Path(path)
    return (
        place.is_relative_to(root)
        and not place.is_relative_to(PACKAGE)
        and "site-packages" not in place.parts
    )
