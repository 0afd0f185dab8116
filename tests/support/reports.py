"""What compares two reports, also in scripts that stand alone: `tests/faults/reports.py`."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from support.modules import module_at


@pytest.fixture(scope="session")
def reports() -> ModuleType:
    """What two reports of the same specifications must agree in."""
    return module_at(Path(__file__).parents[1] / "faults" / "reports.py", "faults_reports")
