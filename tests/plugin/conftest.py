from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_multiplicity.plugin.state import STATE

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


# Four candidates that train in a moment: two learning rates, two seeds.
TRAINED = """
    from typing import NamedTuple

    import pandas as pd
    import pytest
    import torch
    from torch import nn

    import pytest_multiplicity as pm

    class Points(NamedTuple):
        train: pm.Data
        test: pm.Data

    def draw(n, name, seed):
        rng = torch.Generator().manual_seed(seed)
        targets = torch.arange(n) % 2
        inputs = (torch.rand(n, 1, 2, 2, generator=rng) + targets[:, None, None, None]) / 2
        return pm.Data(inputs, targets, pd.DataFrame({"age": range(n)}), name=name)

    @pytest.fixture(scope="session")
    def points():
        return Points(draw(60, "train", 1), draw(40, "test", 2))

    def net():
        return nn.Sequential(nn.Flatten(), nn.Linear(4, 2))

    @pm.family(default={"lr": 0.1}, vary={"lr": [0.05]}, seeds=2)
    def candidate(config, points):
        return pm.Recipe(net, points.train, epochs=2, batch_size=16, lr=config.lr)
"""


class Workbook:
    """A plugin of an inner run that notes what each family's work was."""

    def __init__(self) -> None:
        self.work: dict[str, dict[str, int]] = {}

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        for family in session.config.stash[STATE].families:
            if family.population is not None:
                self.work[family.name] = asdict(family.population.models.counts)


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

    def work(self, *args: str) -> tuple[pytest.RunResult, dict[str, int]]:
        """Run, and count the work for the family ``candidate``."""
        book = Workbook()
        result = self.pytester.runpytest_inprocess("-p", "no:randomly", *args, plugins=[book])
        return result, book.work["candidate"]


@pytest.fixture
def trained(project: Callable[..., Project]) -> Callable[..., Project]:
    """A project of ``TRAINED``, of which parts may be replaced, and of specs."""

    def make(specs: str, *changes: tuple[str, str]) -> Project:
        family = TRAINED
        for old, new in changes:
            assert old in family
            family = family.replace(old, new)
        return project(specs, family)

    return make


@pytest.fixture
def project(pytester: pytest.Pytester) -> Callable[..., Project]:
    """A project of a conftest and a module of specs."""

    def make(specs: str = SPECS, family: str = FAMILY) -> Project:
        pytester.makeconftest(family)
        pytester.makepyfile(test_specs=specs)
        return Project(pytester)

    return make
