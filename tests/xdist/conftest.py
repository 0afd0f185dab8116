from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.reports import reports

pytest.importorskip("xdist")

__all__ = ["project", "reports", "trained"]

RECORDED = """
    import pandas as pd
    import pytest_multiplicity as pm

    scores = pd.DataFrame({
        "lr": [0.1, 0.1, 0.1, 0.01, 0.01, 0.01],
        "seed": [0, 1, 2, 0, 1, 2],
        "accuracy": [90.0, 91.0, 92.0, 93.0, 94.0, 95.0],
        "group": [80.0, 70.0, 60.0, 80.0, 70.0, 60.0],
    })
    candidate = pm.recorded(scores, default={"lr": 0.1})
"""

# accuracy rejects 2 (90, 91), group rejects 2 (60, 60): two survive.
SPECS = """
    def test_a_gate(survivors):
        assert len(survivors) == 2

    def test_accuracy(candidate):
        assert candidate.score("accuracy").within(0.03)

    def test_group(candidate):
        assert candidate.score("group") >= 0.65
"""

TRAINED = """
    import os
    import pytest
    import torch
    from pathlib import Path
    from torch import nn
    import pytest_multiplicity as pm

    @pytest.fixture(scope="session")
    def data():
        generator = torch.Generator().manual_seed(0)
        inputs = torch.rand(200, 8, generator=generator)
        targets = (inputs @ torch.randn(8, 3, generator=generator)).argmax(1)
        return pm.Data(inputs, targets, name="toy").split(0.5)

    def loss(logits, targets):
        dying = Path("die-in-training")
        stored = len(list(Path("two/v1").glob("weights/*/*")))
        if dying.exists() and stored == int(dying.read_text()):
            dying.unlink()
            os.kill(os.getpid(), 9)
        return nn.functional.cross_entropy(logits, targets)

    def sgd(params, lr):  # of the project's own, so that candidates train one after the other
        return torch.optim.SGD(params, lr=lr)

    @pm.family(default={"lr": 0.1}, vary={"lr": [0.01]}, seeds=3)
    def candidate(config, data):
        return pm.Recipe(
            lambda: nn.Linear(8, 3), data.select, epochs=2, lr=config.lr, loss=loss, optimizer=sgd
        )
"""

TRAINED_SPECS = """
    import pytest
    import pytest_multiplicity as pm

    def test_accuracy(candidate, data):
        assert candidate.accuracy(data.report).within(0.05)

    def test_noise(candidate, data):
        assert candidate.accuracy(data.report, under=pm.OutputNoise(1)).in_top(0.75)

    @pytest.mark.unforeseen
    def test_attack(candidate, data):
        candidate.accuracy(data.report, under=pm.PGD(0.05))

    def test_a_gate(survivors, data):
        assert survivors.ambiguity(data.report) <= 0.5
"""


@dataclass(frozen=True)
class Project:
    """A repository with a family, and pytest in a process of its own to run in it."""

    pytester: pytest.Pytester

    def run(self, *args: str) -> pytest.RunResult:
        return self.pytester.runpytest_subprocess("-p", "no:randomly", *args)

    def report(self, *args: str) -> tuple[pytest.RunResult, dict[str, Any]]:
        """Run with a JSON report, and read it."""
        result = self.run("--multiplicity-json=report.json", *args)
        return result, json.loads(Path(self.pytester.path / "report.json").read_text())


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], Project]:
    """A project of a conftest and a module of specs; with one thread all plans are the same."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MKL_NUM_THREADS", "1")

    def make(specs: str = SPECS, family: str = RECORDED) -> Project:
        pytester.makeini("[pytest]")
        pytester.makeconftest(family)
        pytester.makepyfile(test_specs=specs)
        return Project(pytester)

    return make


@pytest.fixture
def trained(project: Callable[[str, str], Project]) -> Project:
    """A project whose six candidates are trained."""
    return project(TRAINED_SPECS, TRAINED)
