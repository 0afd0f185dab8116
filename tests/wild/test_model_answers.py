"""Models answer in their own way: one logit, labels, probabilities, an estimator itself."""

from __future__ import annotations

import pytest
from support.recorded_suite import run, verdicts

SUITE = """
import numpy as np
import pytest
import torch
from torch import nn
from sklearn.linear_model import LogisticRegression
import pytest_multiplicity as pm

X = torch.rand(200, 4, generator=torch.Generator().manual_seed(0))
y = (X[:, 0] + X[:, 1] > 1).long()

@pytest.fixture(scope="session")
def d():
    return pm.Data(X, y, name="mails").split(0.5)

@pm.family(default={{"C": 1.0}}, vary={{"C": [0.01]}}, seeds=2)
def candidate(config):
    clf = LogisticRegression(C=config.C).fit(X[config.seed::2], y[config.seed::2])
    {body}

def test_accuracy(candidate, d):
    assert candidate.accuracy(d.select) >= 0

def test_agree(survivors, d):
    assert survivors.ambiguity(d.report) <= 1
"""
BODIES = {
    "itself": "return clf",
    "labels": "return lambda x: clf.predict(x.numpy())",
    "bools": "return lambda x: clf.predict(x.numpy()) == 1",
    "one logit": "return lambda x: clf.decision_function(x.numpy())",
    "a column": "return lambda x: clf.decision_function(x.numpy())[:, None]",
    "two logits": "return lambda x: clf.predict_log_proba(x.numpy())",
}


def scores(pytester, body):
    pytester.makepyfile(test_all=SUITE.format(body=body))
    result, report = run(pytester)
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    assert set(verdicts(report).values()) == {"survivor", "passed"}
    assert report["warnings"] == []
    (family,) = report["families"]
    votes = {each["metric"]: each["after"] for each in family["predictive"]}
    said = {name: votes[name] for name in ("ambiguity", "discrepancy")}
    return [each["scores"] for each in family["candidates"]], said


def test_however_a_model_answers_it_scores_the_same(pytester):
    first, *others = [scores(pytester, body) for body in BODIES.values()]
    for each in others:
        assert each == first
    assert len({str(each) for each in first[0]}) > 1


@pytest.mark.parametrize(
    "body",
    [
        "return lambda x: clf.predict_proba(x.numpy())",
        "return lambda x: clf.predict_proba(x.numpy())[:, 1]",
        "return nn.Sequential(nn.Linear(4, 2), nn.Softmax(1))",
    ],
)
def test_probabilities_taken_for_logits_are_an_error_that_says_what_to_return(pytester, body):
    pytester.makepyfile(test_all=SUITE.format(body=body))
    result, _ = run(pytester)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    text = " ".join(result.stdout.str().split())
    assert "answers about 'mails-select' are probabilities" in text
    assert "the fitted estimator itself" in text
