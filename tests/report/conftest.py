from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from support.modules import module_at


@pytest.fixture(scope="session")
def samples() -> ModuleType:
    return module_at(Path(__file__).with_name("samples.py"), "report_samples")
