"""What goes to worker processes with its code."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import cloudpickle  # type: ignore[import-untyped]
import pytest

from pytest_multiplicity.compute.sharing import project_code_by_value


def test_as_many_other_modules_are_other_modules(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As where a process runs pytest once more, in another folder."""
    for name in ("one_of_theirs", "another_of_theirs"):
        with monkeypatch.context() as patch:
            module = ModuleType(name)
            module.__file__ = str(tmp_path / f"{name}.py")
            patch.setitem(sys.modules, name, module)
            with project_code_by_value():
                assert name in cloudpickle.list_registry_pickle_by_value()
