"""The examples of docs/seeds.md and docs/holdout.md run, and do what the pages say."""

from __future__ import annotations

import re
from pathlib import Path

from support.recorded_suite import run

DOCS = Path(__file__).parents[2] / "docs"


def example(page):
    (found,) = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)
    return found


def test_seeds_are_added_until_the_gate_can_be_answered(pytester):
    pytester.makepyfile(test_page=example("seeds.md"))
    result, report = run(pytester)
    result.stdout.fnmatch_lines(["*assert ?? (at 0.5: 0 reliable, * seeds that all pass decide*"])
    assert [gate["outcome"] for gate in report["gates"]] == ["failed", "passed"]
    pytester.makeini("[pytest]\nmultiplicity_reliable = 0.5\n")
    result, report = run(pytester, "--multiplicity-seeds=auto")
    assert [gate["outcome"] for gate in report["gates"]] == ["passed", "passed"]
    result.stdout.fnmatch_lines(["*not needed*"])


def test_the_ledger_counts_changes(pytester):
    page = example("holdout.md")
    pytester.makepyfile(test_page=page)
    for limit, change, looks in ((0, "0.2", 1), (0, "0.2", 1), (0, "0.3", 2), (2, "0.4", None)):
        pytester.makeini(f"[pytest]\nmultiplicity_looks = {limit}\n")
        pytester.makepyfile(test_page=page.replace("<= 0.2", f"<= {change}"))
        result, report = run(pytester)
        if looks is None:
            result.stdout.fnmatch_lines(["*has been looked at 2 times*multiplicity_looks = 2*"])
        else:
            assert set(report["families"][0]["looks"].values()) == {looks}
