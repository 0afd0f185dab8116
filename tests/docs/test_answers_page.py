"""The examples of docs/answers.md run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.recorded_suite import run

PAGE = (Path(__file__).parents[2] / "docs/answers.md").read_text("utf-8")
MEASURES, TABLE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

SUITE = """
import pytest
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
import pytest_multiplicity as pm

X = torch.rand(120, 3, generator=torch.Generator().manual_seed(0))
y = (X[:, 0] > 0.5).long()
frame = pd.DataFrame({"age": range(120), "question": [f"q{i}" for i in range(120)]})

@pytest.fixture(scope="session")
def people():
    return pm.Data(X, y, frame, name="people")
"""
FAMILY = """
@pm.family(default={"C": 1.0}, vary={"C": [0.1]}, seeds=1)
def candidate(config):
    return LogisticRegression(C=config.C).fit(X, y)
"""
SPEC = """
def test_accuracy(candidate, people):
    assert candidate.accuracy(people) >= 0.9
"""


@pytest.mark.usefixtures("few_exchanges")
def test_measures(pytester):
    pytester.makepyfile(test_page=SUITE + FAMILY + MEASURES)
    result, report = run(pytester)
    result.assert_outcomes(passed=2)
    (family,) = report["families"]
    assert [each["metric"] for each in family["sheets"]] == [
        "auroc on people",
        "young_errors on people",
        "consistency on people under OutputNoise(0.01)",
    ]


def test_tables(pytester):
    rows = [f"q{i},{p},{s},{int(i > 60)}" for i in range(120) for p in "ab" for s in (0, 1)]
    table = "\n".join(["question,prompt,seed,said", *rows]).replace(",a,", ",plain,")
    (pytester.path / "said.csv").write_text(table)
    body = SUITE.replace("X[:, 0] > 0.5", "torch.arange(120) > 60") + TABLE + SPEC
    pytester.makepyfile(test_page=body)
    result, report = run(pytester)
    result.assert_outcomes(passed=4)
    (family,) = report["families"]
    (note,) = family["notes"]
    assert note.startswith("the seed has no effect: draw from config.seed")
    assert "4 candidates, 1 distinct on people" in note
