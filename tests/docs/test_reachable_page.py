"""The example of docs/reachable.md runs."""

from __future__ import annotations

import re
from pathlib import Path

from support.recorded_suite import run

PAGE = (Path(__file__).parents[2] / "docs/reachable.md").read_text("utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_example_runs(pytester):
    pytester.makepyfile(test_page=EXAMPLE)
    result, report = run(pytester)
    assert result.ret == 0
    (family,) = report["families"]
    (reachable,) = family["reachable"]
    assert reachable["arbitrary"] < reachable["share"] < 0.5
    assert {gate["outcome"] for gate in report["gates"]} == {"passed"}
