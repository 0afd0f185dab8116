from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from support.modules import module_at

PAPER = Path(__file__).parents[2] / "specs" / "paper"


@pytest.fixture(scope="session")
def paper_scores() -> pd.DataFrame:
    """45 UTKFace models and 23 metrics, in percent."""
    return pd.read_csv(PAPER / "utkface_scores.csv")


@pytest.fixture(scope="session")
def paper_sheets() -> list[dict[str, Any]]:
    """The five sheets as printed."""
    return json.loads((PAPER / "utkface_sheets.json").read_text())


@pytest.fixture(scope="session")
def paper_default() -> dict[str, Any]:
    return {
        "learning_rate": 0.1,
        "batch_size": 128,
        "augmentation": "Rand",
        "optimizer": "SGD",
        "architecture": "R18",
    }


@pytest.fixture(scope="session")
def benchmark_module() -> Callable[[str], ModuleType]:
    """A module of benchmarks/, whose simulations run here at a smaller size."""

    def load(name: str) -> ModuleType:
        path = PAPER.parents[1] / "benchmarks" / f"{name}.py"
        return module_at(path, f"benchmarks_{name}")

    return load
