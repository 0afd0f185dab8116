"""Measures of one's own, and their noise floors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional import auroc
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_f1_score

import pytest_multiplicity as pm
from pytest_multiplicity.errors import InterventionError, MeasurementError


def calibration(logits, targets):
    return multiclass_calibration_error(logits.softmax(1), targets, num_classes=2)


def error_rate(logits, targets):
    return (logits.argmax(1) != targets).double().mean()


def test_functionals_of_torchmetrics(bench):
    candidate = bench.family().candidates[0]
    score = candidate.measure(calibration, bench.test, higher_is_better=False)
    logits, targets = candidate.logits(bench.test), bench.test.targets
    assert score == calibration(logits, targets).item()
    assert score.metric.name == "calibration on test"
    assert score.metric.best == np.min(score.metric.scores)
    f1 = candidate.measure(
        lambda logits, targets: multiclass_f1_score(logits, targets, num_classes=2),
        bench.test,
        name="F1",
    )
    assert f1.metric.name == "F1 on test"
    assert repr(f1) == f"{float(f1):.4f} (F1 on test)"
    area = candidate.measure(
        lambda z, y: auroc(z.softmax(1), y, task="multiclass", num_classes=2),
        bench.test.where("age < 20"),
        under=pm.InputNoise(0.1),
        name="AUROC",
    )
    assert area.metric.name == "AUROC on test where age < 20 under InputNoise(0.1)"


def test_accuracy_and_its_complement_agree(bench):
    candidate = bench.family().candidates[0]
    wrong = candidate.measure(error_rate, bench.test, higher_is_better=False)
    assert wrong == pytest.approx(1 - candidate.accuracy(bench.test))
    best = wrong.metric.best
    assert wrong.within(float(wrong) - best)
    assert [bool(pm.Score(wrong.metric, i).within(0)) for i in range(4)] == [
        score == best for score in wrong.metric.scores
    ]


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda z, y: torch.nan, "broken on test is nan for default-seed0"),
        (lambda z, y: torch.tensor(torch.inf), "broken on test is inf"),
        (lambda z, y: z, r"returned a tensor of shape \(40, 2\) for default-seed0"),
        (lambda z, y: "high", "returned 'high' for default-seed0"),
        (lambda z, y: None, "returned None for default-seed0"),
    ],
)
def test_what_is_no_number(bench, fn, message):
    with pytest.raises(MeasurementError, match=message):
        bench.family().candidates[0].measure(fn, bench.test, name="broken")


def test_names(bench):
    candidate = bench.family().candidates[0]
    with pytest.raises(MeasurementError, match="a <lambda> has no name for the sheets"):
        candidate.measure(lambda z, y: 0.0, bench.test)
    candidate.measure(error_rate, bench.test, name="e")
    with pytest.raises(MeasurementError, match="two different measures are named 'e on test'"):
        candidate.measure(calibration, bench.test, name="e")


def test_a_recorded_score_of_a_trained_family(bench):
    with pytest.raises(MeasurementError, match=r"score\('accuracy'\) reads a recorded family"):
        bench.family().candidates[0].score("accuracy")


def test_the_worst_group(bench):
    worst = pm.Group.worst("half", min_size=5)
    bench.test.attributes["half"] = np.where(np.arange(40) < 20, "first", "second")
    candidate = bench.family().candidates[0]
    parts = [bench.test.where(f"half == '{half}'") for half in ("first", "second")]
    found = candidate.accuracy(bench.test, under=worst)
    assert found == min(candidate.accuracy(part) for part in parts)
    wrong = candidate.measure(error_rate, bench.test, under=worst, higher_is_better=False)
    assert wrong == pytest.approx(1 - found)
    assert wrong.metric.name.startswith("error_rate on test under Group")
    with pytest.raises(InterventionError, match="only a score tells which group is the worst"):
        candidate.logits(bench.test, under=worst)


def test_the_only_group_that_is_large_enough(bench):
    bench.test.attributes["odd"] = np.where(np.arange(40) < 37, "most", "few")
    candidate = bench.family().candidates[0]
    with pytest.warns(UserWarning, match="few"):
        found = candidate.accuracy(bench.test, under=pm.Group.worst("odd", min_size=5))
    assert found == candidate.accuracy(bench.test.where("odd == 'most'"))
    assert found.metric.name.startswith("accuracy on test under Group.worst")


def test_noise_of_a_real_valued_metric_is_known_before_and_after(bench):
    """The error rate is a mean over samples, of which the floor is known another way."""
    population = bench.family(vary={"lr": [0.05, 0.02]}, seeds=3)
    one = population.candidates[0]
    wrong = one.measure(error_rate, bench.test, higher_is_better=False).metric.sheet()
    right = one.accuracy(bench.test).metric.sheet()
    assert wrong.delta_all == pytest.approx(right.delta_all)
    assert wrong.noise_floor == pytest.approx(right.noise_floor, rel=0.25)
    after = np.arange(9) < 5
    assert wrong.subset(after).noise_floor == pytest.approx(
        right.subset(after).noise_floor, rel=0.3
    )


def test_noise_costs_a_bounded_number_of_calls(bench):
    calls = []

    def counted(logits, targets):
        calls.append(1)
        return error_rate(logits, targets)

    population = bench.family(vary={}, seeds=30, default={"lr": 0.1})
    sheet = population.candidates[0].measure(counted, bench.test).metric.sheet()
    assert len(calls) == 30  # nothing is known of noise until it is asked for
    assert sheet.noise is not None
    assert len(calls) <= 30 + 30 + 40 * 30


def test_a_measure_without_a_value_on_exchanged_outputs_has_no_floor(bench):
    def only_here(logits, targets):
        return 0.5 if logits.tolist() in known else torch.nan

    population = bench.family()
    known = [candidate.logits(bench.test).tolist() for candidate in population.candidates]
    score = population.candidates[0].measure(only_here, bench.test)
    assert score.metric.sheet().noise is None
