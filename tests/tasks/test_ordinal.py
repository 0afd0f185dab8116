"""A task that is added, and all that works for it: ordinal classes, right within one class."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_multiplicity.tasks import choice

# What a new file in `tasks/` would hold; its line in `tasks/choice.py` stands below it.
TASK = """
    from __future__ import annotations

    from dataclasses import dataclass
    from typing import Any, ClassVar

    from pytest_multiplicity.statistics import Values
    from pytest_multiplicity.tasks import Classification, choice

    @dataclass(frozen=True)
    class Ordinal(Classification):
        "Classes in an order, right within one class."

        name: ClassVar = "ordinal"

        @property
        def identity(self):
            return (self.name, self.names)

        def right(self, predictions: Any, targets: Any) -> Any:
            return abs(predictions - targets) <= 1

        def differ(self, some: Any, others: Any) -> Any:
            return abs(some - others) > 1

        def said(self, predictions, targets=None):
            return Values(predictions[..., None], 1)

    choice.TASKS = (*choice.TASKS, Ordinal)
"""
SUITE = """
    import ordinal
    import pandas as pd
    import pytest
    import torch
    import pytest_multiplicity as pm

    NAMES = ["low", "middle", "high", "top"]

    x = torch.rand(60, 4, generator=torch.Generator().manual_seed(0))
    y = pd.Categorical.from_codes((x.sum(1) * 1.5).long().clamp(0, 3).numpy(), NAMES)
    data = pm.Data(x, y, name="grades", task="ordinal")

    @pm.family(default={"lr": 0.1}, seeds=3)
    def candidate(config):
        return pm.Recipe(lambda: torch.nn.Linear(4, 4), data, epochs=2, lr=config.lr)

    def test_near(candidate):
        said = candidate.predictions(data)
        near = ((said - data.targets).abs() <= 1).double().mean()
        assert candidate.accuracy(data) == near
        assert candidate.accuracy(data).beyond_doubt.within(1)
        assert candidate.consistency(data, under=pm.InputNoise(0.1)) >= 0
        candidate.accuracy(data, under=pm.PGD(0.01))

    def test_gate(survivors):
        said = torch.stack([each.predictions(data) for each in survivors])
        apart = said.amax(0) - said.amin(0) > 1
        assert survivors.ambiguity(data) == apart.double().mean()
        assert set(survivors.conflicts(data)["target"]) <= set(NAMES)
        assert survivors.ensemble().accuracy(data) >= 0
        survivors.viable_prediction_range(data, label="top")
"""


def test_a_task_is_a_file_and_its_line(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "TASKS", choice.TASKS)  # put back afterwards
    monkeypatch.syspath_prepend(pytester.path)
    pytester.makepyfile(ordinal=TASK, test_grades=SUITE)
    result = pytester.runpytest(
        *("--multiplicity-json=out.json", "--multiplicity-html=out.html"),
        *("--multiplicity-lock=out.lock", "--multiplicity-update-lock"),
    )
    assert result.ret == 0, result.stdout.str()
    (family,) = json.loads(Path("out.json").read_text())["families"]
    assert {"ambiguity", "rashomon_capacity"} <= {row["metric"] for row in family["predictive"]}
