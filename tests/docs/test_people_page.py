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


INI = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)[0]


def test_gates(pytester):
    pytester.makeini(f"[pytest]\n{INI}")
    pytester.makepyfile(test_page="\n".join([SUITE, SPEC, *GATES]))
    files = "--multiplicity-individuals=people.csv", "--multiplicity-card=card.md"
    result, report = run(pytester, *files)
    gates = "\n".join(GATES).count("def test_")
    result.assert_outcomes(passed=6 + gates)
    assert {gate["outcome"] for gate in report["gates"]} == {"passed"}
    (columns, first, *_) = (pytester.path / "people.csv").read_text().splitlines()
    told = re.findall(r"^\| (`[^|]*) \|", PAGE.partition("| column |")[2], re.MULTILINE)
    named = [name for cell in told for name in re.findall(r"`(\w+)`", cell)]
    assert columns == ",".join(f'"{name}"' for name in ["family", "data", *named])
    assert '"p' in first
    assert "model-index" in (pytester.path / "card.md").read_text()
