"""Infinite logits, as log-odds of trees are, count as the limits that they are."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from support.bench import bench
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.errors import InterventionError, MeasurementError
from pytest_multiplicity.tasks import Classification

__all__ = ["bench"]

pytest_plugins = ["pytester"]

INF = math.inf
ROWS = {
    "certain": ([INF, -INF, -INF], [1, 0, 0]),
    "one is impossible": ([0.0, -INF, 0.0], [0.5, 0, 0.5]),
    "two are certain": ([INF, 3.0, INF], [0.5, 0, 0.5]),
    "none is possible": ([-INF, -INF, -INF], [1 / 3, 1 / 3, 1 / 3]),
    "overflown and not": ([INF, 1.0, 2.0], [1, 0, 0]),
    "finite": ([0.0, 0.0, math.log(2)], [0.25, 0.25, 0.5]),
}


@pytest.mark.parametrize("name", ROWS)
def test_probabilities_are_those_of_the_limit(name):
    row, expected = ROWS[name]
    logits, task = torch.tensor([row, [1.0, 2.0, 3.0]]), Classification()
    found = task.probabilities(logits)
    torch.testing.assert_close(found[0], torch.tensor(expected, dtype=torch.float32))
    assert torch.equal(found[1], logits[1].softmax(0))
    assert int(task.predictions(logits)[0]) == int(np.argmax(row)) == int(found[0].argmax())


@pytest.mark.parametrize("name", ROWS)
def test_noise_on_the_output_is_that_of_the_limit(name):
    row, expected = ROWS[name]
    noise, n = pm.OutputNoise(2), 4000
    logits = torch.tensor(row).expand(n, 3)
    data = pm.Data(torch.rand(n, 1), torch.arange(n) % 3)
    drawn = noise.apply(logits, torch.arange(n), data).argmax(1)
    for target in range(3):
        chance = noise.expected_correct(logits, torch.full((n,), target))[0]
        assert float(chance) == pytest.approx(float((drawn == target).float().mean()), abs=0.03)
        assert float(chance) == 0 if expected[target] == 0 else float(chance) > 0


def test_who_is_certain_is_as_sure_as_numbers_go():
    logits = np.array([[INF, 0.0], [-INF, 0.0], [0.0, -INF], [1.0, 0.0]], dtype=np.float32)
    sure = Classification().sureness(logits, np.zeros(4, dtype=np.int64))
    assert np.isfinite(sure).all()
    assert sure[0] == sure[2] == sure.max() > sure[3] == 1.0 > sure[1] == sure.min()


class Overflowing(nn.Module):
    """As a network in float16 does where its values are too large."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        return (self.layer(x.flatten(1)) * 1e8).half()


def log_odds(batch):
    share = (batch.flatten(1).mean(1) > 0.6).double().numpy()
    with np.errstate(divide="ignore"):
        return np.log(np.stack([1 - share, share], 1) / np.stack([share, 1 - share], 1))


def masked(batch):
    return torch.stack([batch.flatten(1).mean(1), torch.full((len(batch),), -INF)], 1)


@pytest.mark.parametrize("make", [Overflowing, lambda: log_odds, lambda: masked])
def test_all_that_candidates_are_asked_copes(make, bench):
    population = bench.family(lambda config: make())
    for candidate in population.candidates:
        assert candidate.logits(bench.test).isinf().any()
        right = candidate.predictions(bench.test) == bench.test.targets
        assert candidate.accuracy(bench.test) == float(right.double().mean())
        assert 0 <= float(candidate.accuracy(bench.test, under=pm.OutputNoise(1))) <= 1
        assert candidate.probabilities(bench.test).sum(1).allclose(torch.ones(40))
        assert 0 <= float(candidate.privacy(bench.train, bench.test)) <= 1


def test_measures_that_cannot_say_that_they_cannot(bench):
    candidate = bench.family(lambda config: log_odds).candidates[0]
    with pytest.raises(MeasurementError, match=r"cross_entropy on test is (nan|inf) for default"):
        candidate.measure(nn.functional.cross_entropy, bench.test)


def test_an_attack_without_gradients_says_so(bench):
    candidate = bench.family(lambda config: Overflowing()).candidates[0]
    with pytest.raises(InterventionError, match="nan or infinite"):
        candidate.accuracy(bench.test, under=pm.PGD(0.1))


def test_nan_is_refused(bench):
    candidate = bench.family(lambda config: lambda batch: masked(batch) * 0).candidates[0]
    with pytest.raises(MeasurementError, match="returned nan"):
        candidate.accuracy(bench.test)


TREES = """
import numpy as np, pytest
from sklearn.tree import DecisionTreeClassifier
import pytest_multiplicity as pm

X = np.random.default_rng(0).random((200, 4), dtype=np.float32)
Y = (X[:, 0] > 0.5).astype(int)

@pytest.fixture(scope="session")
def d():
    return pm.Data(X, Y, name="d").split(0.5)

@pm.family(default={"depth": 2}, vary={"depth": [3]}, seeds=2)
def candidate(config):
    kept = slice(config.seed, None)
    tree = DecisionTreeClassifier(max_depth=config.depth, random_state=0).fit(X[:50, kept], Y[:50])
    with np.errstate(divide="ignore"):
        return lambda batch: tree.predict_log_proba(batch.numpy()[:, kept])
"""
SPECS = """
import pytest, pytest_multiplicity as pm

def test_accuracy(candidate, d):
    assert candidate.accuracy(d.select) >= 0.5

@pytest.mark.unforeseen
def test_later(candidate, d):
    candidate.accuracy(d.report)

def test_gate(survivors, d):
    assert len(survivors) >= 1
    assert survivors.ambiguity(d.report) <= 1
"""


def test_every_report_is_made(pytester):
    pytester.makeconftest(TREES)
    pytester.makepyfile(test_trees=SPECS)
    result = pytester.runpytest(
        *("-p", "no:randomly", "--multiplicity-json=o.json", "--multiplicity-html=o.html"),
        *("-W", "ignore:divide by zero"),
    )
    assert result.ret == 0
    (family,) = json.loads((pytester.path / "o.json").read_text())["families"]
    found = {each["metric"]: each["before"] for each in family["predictive"]}
    assert found["rashomon_capacity"] is not None
    assert 0 <= found["viable_prediction_range"] <= 1
    assert (pytester.path / "o.html").exists()
