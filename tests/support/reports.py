"""What compares two reports, also in scripts that stand alone: `tests/faults/reports.py`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def reports() -> ModuleType:
    """What two reports of the same specifications must agree in."""
    path = Path(__file__).parents[1] / "faults" / "reports.py"
    spec = importlib.util.spec_from_file_location("faults_reports", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
