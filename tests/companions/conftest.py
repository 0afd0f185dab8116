from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FAMILY = """
    import pandas as pd
    import pytest_multiplicity as pm

    scores = pd.DataFrame({
        "lr": [0.1, 0.1, 0.1, 0.01, 0.01, 0.01],
        "seed": [0, 1, 2, 0, 1, 2],
        "accuracy": [90.0, 91.0, 92.0, 93.0, 94.0, 95.0],
    })
    candidate = pm.recorded(scores, default={"lr": 0.1})
"""
# It rejects two candidates of six.
SPEC = """
    def test_accuracy(candidate):
        assert candidate.score("accuracy") >= 0.92
"""
GATE = """
    def test_gate(survivors):
        assert len(survivors) == 4
"""


@dataclass(frozen=True)
class Project:
    """A repository with a family, and pytest in a process of its own to run in it."""

    pytester: pytest.Pytester

    def run(self, *args: str) -> pytest.RunResult:
        return self.pytester.runpytest_subprocess(*args)

    def report(self, *args: str) -> tuple[pytest.RunResult, dict[str, Any]]:
        """Run with a JSON report, and read it."""
        result = self.run("--multiplicity-json=report.json", *args)
        return result, json.loads(Path(self.pytester.path / "report.json").read_text())


@pytest.fixture
def project(pytester: pytest.Pytester) -> Callable[..., Project]:
    """A project of a conftest and a module: a spec, a gate and what a test adds to them."""

    def make(more: str = "", *, gate: str = GATE) -> Project:
        pytester.makeini("[pytest]")
        pytester.makeconftest(FAMILY)
        pytester.makepyfile(test_specs=SPEC + gate + more)
        return Project(pytester)

    return make
