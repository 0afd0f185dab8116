"""What can't be compared, and gaps that can't be told: one clear error each, at the user's door."""

from __future__ import annotations

import re

import pytest

CONFTEST = """
    import pandas as pd
    import pytest
    import pytest_multiplicity as pm
    import torch

    INPUTS, FIVE = torch.arange(300.0).reshape(100, 3), torch.arange(100) % 5
    GROUPS = {"sex": ["f", "m"] * 50, "one": ["a"] + ["b"] * 99, "same": ["x"] * 100}

    @pytest.fixture(scope="session")
    def points():
        return pm.Data(INPUTS, FIVE, pd.DataFrame(GROUPS), name="test")

    @pytest.fixture(scope="session")
    def bare():
        return pm.Data(INPUTS, FIVE, name="bare")

    @pytest.fixture(scope="session")
    def unlabelled():
        return pm.Data(INPUTS, None, name="unlabelled")

    @pm.incumbent
    def production():
        return lambda x: torch.arange(len(x)) % 5

    @pm.incumbent
    def other():
        return lambda x: torch.full((len(x),), 9)

    @pm.incumbent
    def table():
        return pd.DataFrame({"customer": range(50), "says": [0] * 50})

    @pm.family(default={"wrong": 2}, vary={"wrong": [3]}, seeds=1)
    def candidate(config):
        def answer(x):
            rows = torch.arange(len(x))
            return torch.where(rows < config.wrong, (rows + 1) % 5, rows % 5)
        return answer
"""
ERRORS = {
    "flips(other, points)": (
        "other says class 9 about 100 samples of 'test', and there are classes 0 to 4: it answers "
        "about other classes than the candidates; map its answers onto these"
    ),
    "churn(table, points)": (
        "table: answers in a table are matched by a column that names samples and is an attribute "
        "of the data, too: the table has customer, says, and 'test' sex, one, same; give both one"
    ),
    "flips(production, unlabelled)": (
        "flips on 'unlabelled': nobody is right or wrong without targets; how many answers change "
        "is candidate.churn(incumbent, data)"
    ),
    "gap(bare, by='sex')": (
        "'bare' has no attributes to be grouped by sex: give it some, as in Data(inputs, targets, "
        "attributes=frame)"
    ),
    "gap(points, by='one')": (
        "accuracy gap by one on test: fewer than 20 samples in a (1): put small groups together in "
        "an attribute of their own (pandas.cut for numbers), collect more, or say minimum="
    ),
    "gap(points, by='same')": (
        "accuracy gap by same on test: a gap is between two groups or more, and there is only 'x'"
    ),
    "gap(points, by='sex', of='true positive rate')": (
        "true positive rate gap by sex on test: there are the classes 0, 1, 2, 3, 4, which of them "
        "is positive isn't said: say positive="
    ),
    "flips(3, points)": (
        "flips compares with an incumbent, and got int: write a function below @pm.incumbent that "
        "returns the model, or a table of its answers"
    ),
}
FINE = "churn(production, unlabelled)"
FIXTURES = "candidate, production, other, table, points, bare, unlabelled"


def test_each_is_one_clear_error(pytester):
    pytester.makeconftest(CONFTEST)
    tests = [
        f"def test_{number}({FIXTURES}):\n    assert candidate.{asked} <= 1\n"
        for number, asked in enumerate([*ERRORS, FINE])
    ]
    pytester.makepyfile(test_asked="\n".join(tests))
    run = pytester.inline_run("-p", "no:randomly", "--multiplicity-store=store")
    failed = {report.nodeid: report.longreprtext for report in run.getfailures()}
    assert len(failed) == 2 * len(ERRORS)  # two candidates
    for number, message in enumerate(ERRORS.values()):
        told = failed[f"test_asked.py::test_{number}[default-seed0]"]
        assert re.sub(r"\s+", " ", told).count(message) == 1, told


@pytest.mark.parametrize("depends_on", ["config", "candidate"])
def test_an_incumbent_that_depends_on_the_family_is_refused_at_collection(pytester, depends_on):
    asked = f"def table({depends_on}):"
    pytester.makeconftest(CONFTEST.replace("def table():", asked))
    pytester.makepyfile(f"def test_it({FIXTURES}):\n    assert candidate.{FINE} <= 1\n")
    result = pytester.runpytest_inprocess("-p", "no:randomly")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "table" in result.stdout.str()
    said = {
        "config": "*which only a family's function*",
        "candidate": "*an incumbent is one model*",
    }
    result.stdout.fnmatch_lines([said[depends_on]])
