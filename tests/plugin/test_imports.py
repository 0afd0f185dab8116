"""What a run imports: a family of estimators no torchvision, recorded scores no torch."""

from __future__ import annotations

import json

import pytest

HEAD = """
import json
import sys
from pathlib import Path

def note(when):
    Path(__file__).with_name(f"{when}.json").write_text(json.dumps(sorted(sys.modules)))

def pytest_collection_finish():
    note("collected")

def pytest_unconfigure():
    note("done")
"""
RECORDED = """
import pandas as pd
import pytest_multiplicity as pm

scores = pd.DataFrame({"lr": [1, 2, 2], "seed": [0, 0, 1], "accuracy": [90.0, 91.0, 92.0]})
candidate = pm.recorded(scores, default={"lr": 1})
"""
SCORED = """
def test_it(candidate):
    assert candidate.score("accuracy").in_top(0.7)

def test_gate(survivors):
    assert survivors.spread("accuracy") <= 0.5
"""
ESTIMATORS = """
import pandas as pd
import pytest
import pytest_multiplicity as pm

@pytest.fixture(scope="session")
def people():
    frame = pd.DataFrame({"age": range(20, 80), "job": ["a", "b", "c"] * 20})
    said = ["old" if age > 40 else "young" for age in frame.age]
    return pm.Data(frame, said, frame, name="people")

@pm.family(default={"C": 1.0}, vary={"C": [0.1]}, seeds=1, keep=True)
def candidate(config, people):
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    coded = make_column_transformer((OneHotEncoder(), ["job"]), remainder="passthrough")
    model = make_pipeline(coded, LogisticRegression(C=config.C, max_iter=1000))
    note("worker")
    return model.fit(people.inputs, people.targets)
"""
MEASURED = """
import pytest_multiplicity as pm

def test_it(candidate, people):
    assert candidate.accuracy(people, under=pm.Group("job == 'a'")) >= 0.5

def test_gate(survivors, people):
    assert survivors.ambiguity(people) <= 0.5
"""


@pytest.fixture
def imported(pytester, monkeypatch, new_interpreters):
    """Return what runs a suite in a process with no other plugin, and what it has imported when."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("MULTIPLICITY_STORE_KEY", "of nobody in particular")

    def run(family: str, specs: str, *reports: str) -> dict[str, set[str]]:
        pytester.makeconftest(HEAD + family)
        pytester.makepyfile(test_it=specs)
        asked = [f"--multiplicity-{kind}=report.{kind}" for kind in reports]
        plugin = "pytest_multiplicity.plugin"
        result = pytester.runpytest_subprocess("-p", plugin, *asked)
        assert result.ret == pytest.ExitCode.OK
        return {
            file.stem: set(json.loads(file.read_text()))
            for file in pytester.path.glob("*.json")
            if file.stem != "report"
        }

    return run


def test_recorded_scores_need_no_torch_and_no_statistics_of_scipy_in_any_report(imported):
    found = imported(RECORDED, SCORED, "json", "html", "markdown")
    unneeded = {"torch", "torchvision", "scipy.stats", "scipy.integrate"}
    assert not unneeded & found["done"]


def test_estimators_need_no_torchvision_and_no_torch_before_a_test_runs(imported):
    found = imported(ESTIMATORS, MEASURED)
    assert set(found) == {"collected", "done", "worker"}
    assert not {"torch", "numpy.testing"} & found["collected"]
    for when in ("done", "worker"):
        unneeded = {"torchvision", "torch._dynamo", "sympy", "matplotlib", "torchmetrics", "ray"}
        assert not unneeded & found[when], when
