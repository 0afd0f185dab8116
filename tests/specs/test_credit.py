"""The German Credit study: its helpers do what they say, and it runs small, and trains once."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "specs/credit"


def study_module(name: str) -> Any:
    """A module of the study, as part of a package that is the study's folder."""
    package = ModuleType("credit")
    package.__path__ = [str(STUDY)]
    sys.modules.setdefault("credit", package)
    return importlib.import_module(f"credit.{name}")


@pytest.fixture(scope="module")
def read() -> tuple[pd.DataFrame, pd.Series, pd.DataFrame]:
    applicants = study_module("applicants")
    found: tuple[pd.DataFrame, pd.Series, pd.DataFrame] = applicants.read()
    return found


def test_the_applicants(read):
    frame, risk, groups = read
    assert risk.value_counts().to_dict() == {"good": 700, "bad": 300}
    assert groups["sex"].value_counts().to_dict() == {"male": 690, "female": 310}
    assert (groups["years"] == "up to 25").equals(frame["age"] <= 25)
    assert frame.isna().sum().to_dict() == dict.fromkeys(frame, 0) | {
        "saving_accounts": 183,
        "checking_account": 394,
    }
    first, second = study_module("applicants").halves(1000)
    assert sorted([*first, *second]) == list(range(1000))


def test_reweighing_makes_sex_and_repaying_independent(read):
    _, risk, groups = read
    weight = study_module("applicants").reweighing(groups["sex"], risk)
    table = pd.crosstab(groups["sex"], risk, weight, aggfunc="sum")
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.to_numpy().sum()
    assert np.allclose(table, expected)
    assert weight.sum() == pytest.approx(1000)


def test_encoded_applicants_have_a_column_for_each_number_and_word(read):
    frame, _, _ = read
    applicants = study_module("applicants")
    inputs = applicants.encoded(frame.iloc[:300], frame)
    words = sum(frame[name].nunique() for name in applicants.WORDS)
    assert inputs["x"].shape == (300, len(applicants.NUMBERS) + words)
    assert inputs["male"].tolist() == (frame["sex"][:300] == "male").astype(float).tolist()
    whole = applicants.encoded(frame, frame)["x"][:, : len(applicants.NUMBERS)]
    assert torch.allclose(whole.mean(0), torch.zeros(4), atol=1e-5)
    assert torch.allclose(whole.std(0), torch.ones(4), atol=1e-5)


def test_thresholds_of_pipelines_accept_both_sexes_as_often(read):
    frame, risk, _ = read
    known = frame[["age", "sex"]].assign(man=(frame["sex"] == "male") * 1.0)
    known["hint"] = (risk == "good") + 0.8 * known["man"]

    class Numbers(StandardScaler):
        def fit(self, X, y=None, sample_weight=None):
            return super().fit(X[["hint", "man"]])

        def transform(self, X, copy=None):
            return super().transform(X[["hint", "man"]])

    made = make_pipeline(Numbers(), LogisticRegression())
    fair = study_module("fair").Thresholds(made).fit(known, risk)
    accepted = pd.Series(fair.predict(known) == "good").groupby(known["sex"]).mean()
    assert accepted["male"] == pytest.approx(accepted["female"], abs=0.15)


def test_thresholds_of_networks_follow_the_rates():
    fair = study_module("fair")
    torch.manual_seed(0)
    network = fair.ScorerWithThresholds(3, 4)
    male = (torch.arange(200) % 2).float()
    x = torch.stack([male, torch.randn(200), torch.randn(200)], 1)
    with torch.no_grad():
        network.layers[0].weight.mul_(3)
    for _ in range(300):
        network(x, male)
    logits = network.eval()(x, male)
    accepted = logits.argmax(1).float()
    assert abs(accepted[male == 1].mean() - accepted[male == 0].mean()) <= 0.1


def test_losses_take_batches_without_a_group():
    fair = study_module("fair")
    logits = torch.randn(8, 2, requires_grad=True)
    targets = torch.arange(8) % 2
    for loss in (fair.parity, fair.odds):
        (grad,) = torch.autograd.grad(loss(logits, targets, {"sex": torch.ones(8)}), logits)
        assert bool(grad.isfinite().all())


@pytest.mark.usefixtures("few_exchanges")
def test_the_study_runs_small_and_trains_once(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MULTIPLICITY_STORE_KEY", "a key of nobody in particular")
    path = pytester.path / "report.json"
    ours = ["-c", str(ROOT / "pyproject.toml"), f"--rootdir={ROOT}", "-p", "no:cacheprovider"]
    mine = [
        "--smoke",
        "-n0",
        "--multiplicity-device=cpu",
        f"--multiplicity-json={path}",
        "--multiplicity-seeds=1",
    ]
    for trained in (20, 9), (0, 0):
        result = pytester.runpytest_inprocess(
            str(STUDY), *ours, *mine, f"--multiplicity-store={pytester.path / 'store'}"
        )
        assert result.ret == pytest.ExitCode.OK, result.stdout.str()[-3000:]
        report = json.loads(path.read_text())
        assert report["complete"]
        found = {each["name"]: each["trained"] for each in report["families"]}
        assert (found["network"], found["pipeline"]) == trained
        outcomes = {gate["name"]: gate["outcome"] for gate in report["gates"]}
        assert outcomes.pop("test_reweighing_would_pass_again") == "not evaluated"
        assert list(outcomes.values()) == ["passed"] * 4
    network, pipeline = report["families"][:2]
    contested = [each for each in pipeline["regions"] if each["what"] == "survivors disagree"]
    assert contested
    for region in contested:
        assert (region["found_on"], region["data"]) == ("people-select", "people-report")
        assert region["inside"] > 1.5 * region["elsewhere"]
    assert network["axes"]["mitigation"] == ["none", "reweighing", "parity", "odds", "thresholds"]
    sheets = {each["metric"]: each["before"] for each in network["sheets"]}
    rates = np.array(
        sheets["positive rate gap by sex on coded-report"]["tables"]["mitigation"]["scores"]
    )
    assert (rates[:, 1:].mean(axis=1) < rates[:, 0]).all()
