"""A team with a training loop of its own, and a model that runs today: flips, churn, a choice."""

from __future__ import annotations

from support.recorded_suite import run, verdicts

TRAINING = """
import torch
from sklearn.datasets import load_digits
from torch import nn

def load():
    X, y = load_digits(return_X_y=True)
    return torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)

def Net(width):
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

def train(width, seed):
    torch.manual_seed(seed)
    X, y = (each[:900] for each in load())
    net = Net(width)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(4):
        for rows in torch.randperm(900).split(64):
            loss = nn.functional.cross_entropy(net(X[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net
"""
CONFTEST = """
import pytest
import pytest_multiplicity as pm
from mytrain import Net, load, train

@pytest.fixture(scope="session")
def digits():
    X, y = load()
    return pm.Data(X[900:], y[900:], {"odd": (y[900:] % 2).numpy()}, name="digits").split(0.5)

@pm.incumbent
def production():
    return pm.load("production.pt", into=Net(32))

@pm.family(default={"width": 32}, vary={"width": [16]}, seeds=2)
def candidate(config):
    return train(config.width, config.seed)
"""
SPECS = """
import pytest_multiplicity as pm

def test_not_worse(candidate, production, digits):
    assert candidate.accuracy(digits.select).not_worse_than(production, by=0.1)

def test_no_negative_flips(candidate, production, digits):
    assert candidate.flips(production, digits.select) <= 0.1

def test_no_negative_flips_of_odd(candidate, production, digits):
    assert candidate.flips(production, digits.select, under=pm.Group("odd == 1")) <= 0.15

def test_churn(candidate, production, digits):
    assert candidate.churn(production, digits.select) <= 0.25

def test_gate(survivors, production, digits):
    assert all(each.churn(production, digits.report) <= 0.25 for each in survivors)
    assert survivors.ambiguity(digits.report, baseline=production) <= 0.5
    assert survivors.pick(digits.report, keep=production).margin >= 0
"""


def test_no_glue_is_needed(pytester):
    pytester.makepyfile(mytrain=TRAINING, conftest=CONFTEST, test_release=SPECS)
    pytester.syspathinsert()
    save = "import torch, mytrain; torch.save(mytrain.train(32, 99).state_dict(), 'production.pt')"
    exec(save, {})
    result, report = run(pytester)
    assert "errors" not in result.parseoutcomes()
    assert verdicts(report)["test_gate"] == "passed"
    (family,) = report["families"]
    assert [each["data"] for each in family["comparisons"]] == [
        "digits-select",
        "digits-select under Group('odd == 1')",
        "digits-report",
    ]
    for each in family["comparisons"]:
        assert 0 < each["flips_floor"] < each["churn_floor"] < 0.3
