"""The example of docs/tasks.md runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/tasks.md").read_text("utf-8")
FAMILY, SPECS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_example(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_page=FAMILY + SPECS)
    pytester.runpytest().assert_outcomes(passed=7)
