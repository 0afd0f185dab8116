"""The examples of docs/frameworks.md run, each by itself."""

from __future__ import annotations

import pytest
from support.pages import blocks, page
from support.recorded_suite import run

EXAMPLES = blocks(page("frameworks.md"))


def test_examples(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(**{f"test_{i}": example for i, example in enumerate(EXAMPLES)})
    result, report = run(pytester)
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    assert len(report["families"]) == len(EXAMPLES) == 4
    assert all(family["specs"][0]["kept"] for family in report["families"])
