"""Text of others in a cell of a table that a spreadsheet opens: nothing of it is a formula."""

from __future__ import annotations

import re

from pytest_multiplicity.report.text import inert

LONGEST = 1000
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
STARTS = re.compile(r"""(^|[\s;,|"'])([=+\-@\uff1d\uff0b\uff0d\uff20])""")
"""What makes a formula of a cell, and the separators after which another program begins one."""


def cell(text: str) -> str:
    """Return text on one line that no spreadsheet takes for a formula, nor a part of it for one.

    What could begin one gets an apostrophe in front, as OWASP advises (CSV Injection); a plain
    number stays as it is.
    """
    line = inert(text, LONGEST)
    return line if NUMBER.fullmatch(line) else STARTS.sub(r"\1'\2", line)
