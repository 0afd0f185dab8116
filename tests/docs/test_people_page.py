"""The examples of docs/people.md run."""

from __future__ import annotations

import re
from pathlib import Path

from support.recorded_suite import run

PAGE = (Path(__file__).parents[2] / "docs/people.md").read_text("utf-8")
SUITE, *GATES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SPEC = """
def test_accuracy(candidate, people):
    assert candidate.accuracy(people.select) >= 0.5
"""


def test_gates(pytester):
    pytester.makepyfile(test_page="\n".join([SUITE, SPEC, *GATES]))
    result, report = run(pytester)
    gates = "\n".join(GATES).count("def test_")
    result.assert_outcomes(passed=6 + gates)
    assert {gate["outcome"] for gate in report["gates"]} == {"passed"}
