from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.compute import Machine
from pytest_multiplicity.design import Built
from pytest_multiplicity.evaluation.leakage import Leakage
from pytest_multiplicity.evaluation.model_population import ModelPopulation
from pytest_multiplicity.inference.models import Models
from pytest_multiplicity.store import LocalStore


class _Quiet:
    @contextmanager
    def task(self, description: str, total: int) -> Any:
        yield self

    def advance(self, steps: int = 1) -> None:
        pass


def points(n: int, name: str, seed: int = 0) -> pm.Data:
    """Two classes of 1x2x2 images: the second is brighter. Ages run from 0 to n - 1."""
    rng = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % 2
    inputs = (torch.rand(n, 1, 2, 2, generator=rng) + 0.3 * targets[:, None, None, None]) / 1.3
    return pm.Data(inputs, targets, pd.DataFrame({"age": range(n)}), name=name)


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 2))


class Bench:
    """Builds families without pytest, over one store."""

    fingerprint = "functions that capture the bench are known by their own code"

    def __init__(self, root: Path) -> None:
        self.store = LocalStore(root / "store")
        self.told: list[str] = []
        self.train, self.test = points(60, "train", 1), points(40, "test", 2)

    def recipe(self, config: Any, **settings: Any) -> pm.Recipe:
        return pm.Recipe(
            linear, self.train, **{"epochs": 1, "batch_size": 16, "lr": config.lr, **settings}
        )

    def family(
        self,
        function: Callable[[Any], Any] | None = None,
        *,
        default: dict[str, Any] | None = None,
        vary: dict[str, Any] | None = None,
        seeds: int = 2,
        run_id: str = "run",
        version: str | None = None,
        design: Any = "star",
    ) -> ModelPopulation:
        """Two learning rates and two seeds of a linear model, unless told otherwise."""
        vary = {"lr": [0.05]} if vary is None else vary
        definition = Built(
            function or self.recipe, default or {"lr": 0.1}, vary, seeds, design, version
        )
        expanded = definition.design(None)
        models = Models(
            "candidate",
            definition,
            expanded,
            [definition.function(config) for config in expanded.configs],
            machine=Machine(torch.device("cpu"), self.store, _Quiet()),
            run_id=run_id,
        )
        return ModelPopulation(models, {}, Leakage(self.store, self.told.append))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    with made.store:
        yield made
