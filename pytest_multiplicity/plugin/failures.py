"""How errors of this package look: the user's own line and one message, nothing from the depths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_multiplicity.errors import MultiplicityError

PACKAGE = Path(__file__).parents[1]


def shortened(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
) -> pytest.TestReport:
    """Show an error that this package raised on purpose as short as it can be understood.

    Any other error is shown whole, and so is one that came from the user's own code in the depths
    of an evaluation: a transform, a model, a data set.
    """
    excinfo, option = call.excinfo, item.config.getoption
    if excinfo is None or not report.failed or option("fulltrace", False):
        return report
    if not isinstance(excinfo.value, MultiplicityError):
        return report
    cause = excinfo.value.__cause__
    if cause is not None and _users(pytest.ExceptionInfo.from_exception(cause), item):
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
    if shown.reprcrash is not None:
        shown.reprcrash.message = str(excinfo.value)  # the module's name would fill the summary
    return report


def _users(excinfo: pytest.ExceptionInfo[BaseException], item: pytest.Item) -> Any:
    """The entries of a traceback that lie in files of the project that is tested."""
    root = item.config.rootpath
    return excinfo.traceback.filter(lambda entry: _is_users(entry.path, root))


def _is_users(path: Path | str, root: Path) -> bool:
    """Whether a file is of the project that is tested."""
    place = Path(path)
    return (
        place.is_relative_to(root)
        and not place.is_relative_to(PACKAGE)
        and "site-packages" not in place.parts
    )
