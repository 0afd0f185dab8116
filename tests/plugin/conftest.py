from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# Six recorded candidates: two learning rates, three seeds.
FAMILY = """
    import pandas as pd
    import pytest_multiplicity as pm

    scores = pd.DataFrame({
        "lr": [0.1, 0.1, 0.1, 0.01, 0.01, 0.01],
        "seed": [0, 1, 2, 0, 1, 2],
        "accuracy": [90.0, 91.0, 92.0, 93.0, 94.0, 95.0],
        "group": [80.0, 70.0, 60.0, 80.0, 70.0, 60.0],
        "shift": [50.0, 40.0, 30.0, 20.0, 10.0, 5.0],
    })
    candidate = pm.recorded(scores, default={"lr": 0.1})
"""

# accuracy rejects 2 (90, 91), group rejects 2 (60, 60): three survive.
SPECS = """
    import pytest

    def test_accuracy(candidate):
        "Within three points of the best."
        assert candidate.score("accuracy").within(0.03)

    def test_group(candidate):
        assert candidate.score("group") >= 0.65

    @pytest.mark.unforeseen
    def test_shift(candidate):
        assert candidate.score("shift") >= 0.3

    def test_gate(survivors):
        assert len(survivors) >= 1

    def test_ordinary():
        pass
"""


@dataclass(frozen=True)
class Project:
    """A repository with a family, and pytest to run in it."""

    pytester: pytest.Pytester

    def run(self, *args: str) -> pytest.RunResult:
        return self.pytester.runpytest_inprocess("-p", "no:randomly", *args)

    def report(self, *args: str) -> tuple[pytest.RunResult, dict[str, Any]]:
        """Run with a JSON report, and read it."""
        result = self.run("--multiplicity-json=report.json", *args)
        return result, json.loads(Path(self.pytester.path / "report.json").read_text())


@pytest.fixture
def project(pytester: pytest.Pytester) -> Callable[..., Project]:
    """A project of a conftest and a module of specs."""

    def make(specs: str = SPECS, family: str = FAMILY) -> Project:
        pytester.makeconftest(family)
        pytester.makepyfile(test_specs=specs)
        return Project(pytester)

    return make
