"""What goes to worker processes with its code."""

from __future__ import annotations

import pickle
import sys
import threading
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import cloudpickle  # type: ignore[import-untyped]
import pytest

from pytest_multiplicity.compute.sharing import pickled, project_code_by_value


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


def test_the_interpreters_own_modules_are_nobodys_code() -> None:
    """Also those that it has frozen, which have a file, and that no path finds by their names."""
    with project_code_by_value():
        registered = cloudpickle.list_registry_pickle_by_value()
    own = {name for name in registered if name.split(".")[0] in sys.stdlib_module_names}
    assert own <= {"__main__"}


def test_what_is_importable_depends_on_the_path_of_now(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "somewhere_else.py").write_text("")
    for path, by_value in (sys.path, True), ([*sys.path, str(tmp_path)], False), (sys.path, True):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "path", list(path))
            module = ModuleType("somewhere_else")
            module.__file__ = str(tmp_path / "somewhere_else.py")
            patch.setitem(sys.modules, "somewhere_else", module)
            with project_code_by_value():
                registered = cloudpickle.list_registry_pickle_by_value()
        assert ("somewhere_else" in registered) is by_value


def test_modules_go_with_their_code_and_without_who_loaded_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A test module's loader is pytest's, which knows the whole session."""
    module = ModuleType("test_theirs")
    module.__file__ = str(tmp_path / "test_theirs.py")
    module.__loader__ = threading.Lock()  # type: ignore[assignment]
    module.seven = 7  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "test_theirs", module)
    with project_code_by_value():
        sent = pickled(module)
    monkeypatch.delitem(sys.modules, "test_theirs")
    made = pickle.loads(sent)
    assert made.seven == 7
    assert made.__file__ == module.__file__


def test_families_use_modules_beside_them(pytester: pytest.Pytester) -> None:
    """As `from . import` brings them, in a folder that no path leads to."""
    folder = pytester.mkdir("specs") / "of_theirs"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "fair.py").write_text("def threshold():\n    return 0.5\n")
    (folder / "test_fair.py").write_text(
        dedent(
            """
            import torch

            import pytest_multiplicity as pm
            from . import fair

            @pm.family(seeds=2, keep=True)
            def model(config):
                level = fair.threshold()
                return lambda batch: torch.stack([level - batch[:, 0], batch[:, 0] - level], 1)

            def test_level(model):
                inputs = torch.tensor([[0.0], [1.0]])
                assert model.accuracy(pm.Data(inputs, [0, 1])) == 1
            """
        )
    )
    result = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "--import-mode=importlib", "--multiplicity-device=cpu"
    )
    result.assert_outcomes(passed=2)
