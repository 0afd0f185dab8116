"""Worker processes start whatever lies on the user's path."""

from __future__ import annotations

import sys
from collections import deque
from functools import partial
from pathlib import Path

import pytest

from pytest_multiplicity.compute import Done
from pytest_multiplicity.compute.sharing import hidden
from pytest_multiplicity.compute.workers import Workers


def where_from(name: str, reporter: object) -> str:
    return str(__import__(name).__file__)


def ask(name: str) -> str:
    with Workers(1) as workers:
        ((_, outcome),) = workers.perform(deque([name]), lambda each: partial(where_from, each))
    assert isinstance(outcome, Done), outcome
    return str(outcome.value)


@pytest.mark.parametrize("name", ["random", "json", "signal", "numpy", "packaging"])
def test_files_named_as_libraries_are(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{name}.py").write_text("raise ImportError('the project has other plans')")
    (tmp_path / "project_part.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)  # `python -c` puts that first
    file = __import__(name).__file__
    assert name in hidden()
    assert ask(name) == file
    assert ask("project_part") == str(tmp_path / "project_part.py")


@pytest.mark.parametrize("entry", [Path("/nowhere"), b"/nowhere", None, "/now\udc80here"])
def test_entries_of_the_path_that_are_no_text(
    entry: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, entry])
    assert ask("json")


@pytest.mark.parametrize(("name", "value"), [("PYTHONWARNINGS", "error"), ("PYTHONINSPECT", "1")])
def test_environment_that_would_stop_them(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert ask("json")
