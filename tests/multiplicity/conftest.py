from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

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
