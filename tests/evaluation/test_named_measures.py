"""Measures by name, with attributes, and those that capture what they are asked about."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics
from torchmetrics.functional import classification as functional

import pytest_multiplicity as pm
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.measure import is_higher_better
from pytest_multiplicity.tasks import Classification, measure_named

RNG = np.random.default_rng(0)


def three():
    """Logits of three classes, and targets."""
    targets = torch.from_numpy(RNG.integers(3, size=200))
    logits = torch.from_numpy(RNG.normal(size=(200, 3)).astype("f"))
    logits[torch.arange(200), targets] += 1
    return logits, targets


def two():
    logits, targets = three()
    return logits[:, :2], targets.clamp(max=1)


@dataclass(frozen=True)
class Values:
    """What a measure asks of a task of values."""

    name: str = "regression"

    def predictions(self, answers):
        return answers


@dataclass(frozen=True)
class Several:
    name: str = "multilabel"

    def predictions(self, answers):
        return (answers > 0).long()

    def probabilities(self, answers):
        return answers.sigmoid()


@dataclass(frozen=True)
class Dense:
    name: str = "dense"
    ignore: int = -100

    def predictions(self, answers):
        return answers.argmax(1)


SAID = {
    "f1": partial(metrics.f1_score, average="macro"),
    "precision": partial(metrics.precision_score, average="macro"),
    "recall": partial(metrics.recall_score, average="macro"),
    "iou": partial(metrics.jaccard_score, average="macro"),
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "mcc": metrics.matthews_corrcoef,
    "kappa": metrics.cohen_kappa_score,
}


@pytest.mark.parametrize("name", SAID)
def test_measures_of_predictions(name):
    for logits, targets in (three(), two()):
        expected = SAID[name]
        if logits.shape[1] == 2 and name in ("f1", "precision", "recall", "iou"):
            expected = partial(expected.func)  # of the second class
        said = logits.argmax(1)
        measure = measure_named(name, Classification())
        assert measure(logits, targets) == pytest.approx(expected(targets, said), abs=1e-6)
        assert measure(said, targets) == pytest.approx(expected(targets, said), abs=1e-6)
        assert measure.higher_is_better


def test_measures_of_probabilities():
    for logits, targets in (three(), two()):
        classes, sure = logits.shape[1], logits.softmax(1)
        of = {name: measure_named(name, Classification()) for name in ("auroc", "ece", "log_loss")}
        area = functional.multiclass_auroc(sure, targets, num_classes=classes).item()
        assert of["auroc"](logits, targets) == pytest.approx(area, abs=1e-6)
        if classes == 2:
            area = metrics.roc_auc_score(targets, sure[:, 1])
            assert of["auroc"](logits, targets) == pytest.approx(area, abs=1e-6)
        error = functional.multiclass_calibration_error(sure, targets, num_classes=classes).item()
        assert of["ece"](logits, targets) == pytest.approx(error, abs=1e-6)
        loss = torch.nn.functional.cross_entropy(logits, targets).item()
        assert of["log_loss"](logits, targets) == pytest.approx(loss, abs=1e-6)
        assert not of["ece"].higher_is_better
    brier = measure_named("brier", Classification())
    expected = metrics.brier_score_loss(targets, sure[:, 1])
    assert brier(logits, targets) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("width", [None, 2])
def test_measures_of_values(width):
    shape = 50 if width is None else (50, width)
    targets, said = torch.from_numpy(RNG.normal(size=(2, *np.atleast_1d(shape))))
    difference = (said - targets).numpy()
    per = {"mae": np.abs(difference).mean(0), "mse": (difference**2).mean(0)}
    per["rmse"] = np.sqrt(per["mse"])
    per["r2"] = 1 - per["mse"] / targets.numpy().var(0)
    for name, expected in per.items():
        measure = measure_named(name, Values())
        assert measure(said, targets) == pytest.approx(np.mean(expected), abs=1e-6)
        assert measure.higher_is_better == (name == "r2")
        assert ("target" in measure.unit) == (name != "r2")


def test_measures_of_several_labels_and_of_positions():
    answers = torch.from_numpy(RNG.normal(size=(60, 4)))
    targets = torch.from_numpy(RNG.integers(2, size=(60, 4)))
    expected = functional.multilabel_f1_score(answers.sigmoid(), targets, num_labels=4).item()
    assert measure_named("f1", Several())(answers, targets) == pytest.approx(expected, abs=1e-6)
    expected = functional.multilabel_auroc(answers.sigmoid(), targets, num_labels=4).item()
    assert measure_named("auroc", Several())(answers, targets) == pytest.approx(expected, abs=1e-6)
    answers = torch.from_numpy(RNG.normal(size=(6, 3, 5, 5)))
    targets = torch.from_numpy(RNG.integers(3, size=(6, 5, 5)))
    targets[0] = -100
    expected = functional.multiclass_jaccard_index(
        answers, targets, num_classes=3, ignore_index=-100
    ).item()
    assert measure_named("iou", Dense())(answers, targets) == pytest.approx(expected, abs=1e-6)


@pytest.mark.usefixtures("few_exchanges")
def test_a_name_is_measured_for_the_family(bench):
    family = bench.family()
    for candidate in family.candidates:
        area = metrics.roc_auc_score(
            bench.test.targets, candidate.probabilities(bench.test)[:, 1].double()
        )
        score = candidate.measure("auroc", bench.test)
        assert score == pytest.approx(area, abs=1e-6)
    assert score.metric.name == "auroc on test"
    assert score.metric.higher_is_better
    assert candidate.measure("ece", bench.test).metric.higher_is_better is False
    assert candidate.measure("auroc", bench.test, name="area").metric.name == "area on test"
    assert score.metric.sheet().noise_floor > 0
    together = pm.Survivors(family, range(4)).ensemble().measure("auroc", bench.test)
    assert 0 <= together <= 1


def test_names_that_are_none(bench):
    candidate = bench.family().candidates[0]
    with pytest.raises(MeasurementError, match=r"'auc'.*did you mean 'auroc'.*there are f1, "):
        candidate.measure("auc", bench.test)
    with pytest.raises(MeasurementError, match="no measure is named 'mae'"):
        candidate.measure("mae", bench.test)
    assert is_higher_better(lambda z, y: 0, None)
    assert not is_higher_better(lambda z, y: 0, said=False)


@pytest.mark.parametrize(("name", "package"), [("ece", "torchmetrics"), ("f1", "scikit-learn")])
def test_a_package_that_is_not_installed(monkeypatch, bench, name, package):
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    monkeypatch.setitem(__import__("sys").modules, "torchmetrics.functional", None)
    with pytest.raises(MeasurementError, match=rf"{package}'s, .*pip install {package}"):
        bench.family().candidates[0].measure(name, bench.test)


def by_age(logits, targets, attributes):
    assert isinstance(attributes, pd.DataFrame)
    young = torch.tensor((attributes["age"] < 20).tolist())
    return (logits.argmax(1) == targets)[young].double().mean()


def test_a_third_parameter_gets_the_attributes_of_the_samples_measured(bench):
    candidate = bench.family().candidates[0]
    young = candidate.accuracy(bench.test.where("age < 20"))
    assert candidate.measure(by_age, bench.test) == pytest.approx(young)
    group = pm.Group("age >= 10")
    some = candidate.accuracy(bench.test.where("age >= 10 and age < 20"))
    assert candidate.measure(by_age, bench.test, under=group) == pytest.approx(some)
    assert candidate.measure(by_age, bench.test.where("age >= 10")) == pytest.approx(some)
    named = lambda z, y, *, attributes: by_age(z, y, attributes)  # noqa: E731
    assert candidate.measure(named, bench.test, name="named") == pytest.approx(young)
    plain = lambda z, y, scale=2.0: scale  # noqa: E731
    assert candidate.measure(plain, bench.test, name="plain") == 2
    bare = pm.Data(bench.test.inputs, bench.test.targets, name="bare")
    with pytest.raises(MeasurementError, match=r"by_age on bare: the third parameter .* has none"):
        candidate.measure(by_age, bare)
    assert candidate.measure(by_age, bench.test).metric.sheet().noise_floor is not None


def test_what_captures_a_candidate_s_answers_is_told_what_to_use(bench):
    family = bench.family()
    candidate = family.candidates[0]
    said = candidate.predictions(bench.test)
    counted = said.numpy()[::2]

    def same(logits, targets):
        return (logits.argmax(1) == said).double().mean()

    def of_array(logits, targets):
        return float((logits.argmax(1).numpy()[::2] == counted).mean())

    def of_candidate(logits, targets):
        return float(candidate.seed)

    for measure in (same, of_array, of_candidate, partial(torch.ne, said)):
        with pytest.raises(MeasurementError, match=r"use candidate\.consistency\(data, under="):
            candidate.measure(measure, bench.test, name="same")
    with pytest.raises(MeasurementError, match="named 'same default-seed0', after the candidate"):
        candidate.measure(lambda z, y: 0.0, bench.test, name=f"same {candidate.id}")
    truth = bench.test.targets  # what is the same for everybody may be captured
    candidate.measure(lambda z, y: float((z.argmax(1) == truth).sum()), bench.test, name="fine")


def test_consistency_is_the_share_of_predictions_that_stay(bench):
    family = bench.family()
    old = pm.Group("age >= 7")
    for under in (pm.InputNoise(0.3), pm.PGD(0.05), pm.OutputNoise(1), old | pm.PGD(0.05)):
        for candidate in family.candidates:
            before = candidate.predictions(bench.test)
            after = candidate.predictions(bench.test, under=under)
            if len(after) < len(before):
                before = before[7:]
            score = candidate.consistency(bench.test, under=under)
            assert score == pytest.approx((before == after).double().mean().item())
            assert score.metric.name == f"consistency on test under {under!r}"
            assert score.interval().low <= score <= score.interval().high
    assert score.metric.sheet().noise_floor is not None
    again = bench.family().candidates[-1].consistency(bench.test, under=under)
    assert again == score
    worst = pm.Group.worst("half", min_size=5)
    bench.test.attributes["half"] = np.where(np.arange(40) < 20, "first", "second")
    found = candidate.consistency(bench.test, under=worst | pm.PGD(0.05))
    assert found == min(
        candidate.consistency(bench.test, under=pm.Group(f"half == '{half}'") | pm.PGD(0.05))
        for half in ("first", "second")
    )
    for nothing in (None, old):
        with pytest.raises(MeasurementError, match="give one that changes inputs or outputs"):
            candidate.consistency(bench.test, under=nothing)
