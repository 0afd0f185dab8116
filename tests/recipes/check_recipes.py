"""Every recipe of docs/recipes.md, with the library that it is about.

A plain run of pytest doesn't collect this module, whose name doesn't begin with `test_`:
`nox -s recipes` does, where the libraries are. What isn't installed is left out. Each recipe is run
twice, and the second run trains nothing.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs/recipes.md").read_text("utf-8")
NEEDS = {
    "MLflow": ["mlflow"],
    "Weights & Biases offline": ["wandb"],
    "DVC": ["yaml"],
    "A Hugging Face Trainer": ["transformers", "accelerate"],
    "Lightning": ["lightning"],
    "An Accelerate loop": ["accelerate"],
    "XGBoost with early stopping": ["xgboost"],
    "Optuna": ["optuna"],
}
WRITTEN = {
    "MLflow": "mlflow",
    "Weights & Biases offline": "wandb",
    "DVC": "dvc",
    "Optuna": "optuna",
}
COUNTS = {"Optuna": 12}  # candidates, where there aren't four


def blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


PREFACE, *SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)
RECIPES = {text.partition("\n")[0]: blocks(text) for text in SECTIONS}


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what writes a project in the way of a recipe, and runs it."""
    monkeypatch.setenv("MULTIPLICITY_STORE_KEY", "of nobody in particular")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the models are tiny

    def write(name: str) -> None:
        data, specs = blocks(PREFACE)
        for file in HERE.glob("*.py"):
            shutil.copy(file, pytester.path)
        conftest, *told = RECIPES[name]
        (pytester.path / "conftest.py").write_text(f"{data}\n{conftest}")
        (pytester.path / "test_specs.py").write_text(specs)
        for each in told:
            (pytester.path / "test_write.py").write_text(each)
        if name in WRITTEN:
            assert pytester.runpython(f"write_{WRITTEN[name]}.py").ret == 0

    return write


def run(pytester: pytest.Pytester) -> dict[str, Any]:
    result = pytester.runpytest_subprocess(
        "-p", "no:randomly", "-W", "default", "--multiplicity-json=report.json"
    )
    assert result.ret == pytest.ExitCode.OK
    report: dict[str, Any] = json.loads((pytester.path / "report.json").read_text("utf-8"))
    assert report["complete"]
    return report


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe(project: Any, pytester: pytest.Pytester, name: str) -> None:
    if missing := [each for each in NEEDS[name] if find_spec(each) is None]:
        pytest.skip(f"{', '.join(missing)} isn't installed: run `nox -s recipes`")
    project(name)
    count = COUNTS.get(name, 4)
    here = name in WRITTEN and name != "Optuna"  # trained before
    for trained in (0 if here else count, 0):
        report = run(pytester)
        (family,) = report["families"]
        assert len(family["candidates"]) == count
        assert family["trained"] == trained
        assert all(spec["judged"] == count for spec in family["specs"])
        scores = [max(each["scores"].values()) for each in family["candidates"]]
        assert max(scores) > 0.85
    CHECKS.get(name, lambda pytester, statuses: None)(
        pytester, sorted(each["status"] for each in family["candidates"])
    )


def _mlflow(pytester: pytest.Pytester, statuses: list[str]) -> None:
    with closing(sqlite3.connect(pytester.path / "mlflow.db")) as opened:
        told = opened.execute("SELECT value FROM tags WHERE key = 'multiplicity'").fetchall()
        (runs,) = opened.execute("SELECT count(*) FROM runs").fetchone()
    assert sorted(value for (value,) in told) == statuses
    assert runs == len(told) + 1  # one was run again


def _wandb(pytester: pytest.Pytester, statuses: list[str]) -> None:
    ids = {folder.name.rpartition("-")[2] for folder in pytester.path.glob("wandb/offline-run-*")}
    told = {folder.name.rpartition("-")[2] for folder in pytester.path.glob("verdicts/wandb/off*")}
    assert told == ids
    assert len(ids) == len(statuses)


def _dvc(pytester: pytest.Pytester, statuses: list[str]) -> None:
    files = sorted(pytester.path.glob("experiments/*/verdict.json"))
    assert sorted(json.loads(file.read_text())["multiplicity"] for file in files) == statuses


CHECKS = {"MLflow": _mlflow, "Weights & Biases offline": _wandb, "DVC": _dvc}
