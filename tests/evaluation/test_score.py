"""Scores and survivors of candidates whose every answer is known."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.score import Score
from pytest_multiplicity.evaluation.survivors import Survivors

RIGHT = (10, 9, 9, 5)  # of 10 samples


class First(nn.Module):
    """Right on the first samples, wrong on the others."""

    def __init__(self, right):
        super().__init__()
        self.right = nn.Parameter(torch.tensor(float(right)))

    def forward(self, batch):
        wrong = (batch[:, 0] >= self.right).float()
        return torch.stack([1 - wrong, wrong], dim=1) * 4


@pytest.fixture
def data():
    attributes = pd.DataFrame({"part": ["a"] * 5 + ["b"] * 5})
    inputs, targets = torch.arange(10.0)[:, None], torch.zeros(10, dtype=torch.int64)
    return pm.Data(inputs, targets, attributes, name="ten", bounds=None)


@pytest.fixture
def population(bench):
    return bench.family(
        lambda config: First(RIGHT[config.seed]), default={}, vary={}, seeds=len(RIGHT)
    )


@pytest.fixture
def scores(population, data):
    return [candidate.accuracy(data) for candidate in population.candidates]


def test_a_score_is_a_float(scores):
    assert [float(score) for score in scores] == [1.0, 0.9, 0.9, 0.5]
    assert scores[3] < 0.6 <= scores[1]
    assert scores[1] == scores[2] == 0.9
    assert sum(scores) == pytest.approx(3.3)


def test_its_repr_explains_a_rejection(scores):
    score = Score(scores[1].metric, 1)
    assert repr(score) == "0.9000 [0.5958, 0.9821] (accuracy on ten)"  # whoever else is trained
    assert score.within(0.1)
    assert repr(score) == "0.9000 [0.5958, 0.9821] (accuracy on ten; best 1.0000)"


def test_elsewhere_it_is_the_number_alone(scores):
    for other in (copy.deepcopy(scores[1]), pickle.loads(pickle.dumps(scores[1]))):
        assert type(other) is float
        assert other == 0.9


def test_within_is_inclusive(scores):
    assert [score.within(0.1) for score in scores] == [True, True, True, False]
    assert [score.within(0) for score in scores] == [True, False, False, False]


@pytest.mark.parametrize("eps", [5, 1.5, np.float64(100)])
def test_a_distance_in_percent_is_refused(scores, eps):
    for compared in (scores[3], scores[3].beyond_doubt):
        with pytest.raises(MeasurementError, match=rf"give a share, such as {eps / 100:g}$"):
            compared.within(eps)
        assert compared.within(1)


def test_a_distance_between_numbers_is_as_large_as_they_are(population, data):
    score = population.candidates[0].measure(lambda z, y: 0.5, data, name="half")
    assert score.within(5)


def test_in_top_keeps_ties(scores):
    assert [score.in_top(0.25) for score in scores] == [True, False, False, False]
    assert [score.in_top(0.5) for score in scores] == [True, True, True, False]


def test_the_interval_is_wilsons(scores):
    low, high = scores[1].interval(0.95)
    assert (low, high) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    narrow = scores[1].interval(confidence=0.5)
    assert low < narrow.low < narrow.high < high
    with pytest.raises(MeasurementError, match="confidence=95"):
        scores[1].interval(95)


def test_what_is_no_share_has_no_interval(population, data):
    score = population.candidates[0].measure(lambda z, y: 0.5, data, name="half")
    with pytest.raises(MeasurementError, match="half on ten has no interval"):
        score.interval()


def test_cells_are_those_of_a_star(bench):
    grid = bench.family(design="grid")
    with pytest.raises(MeasurementError, match="ranks the tables of a star design; this one is gr"):
        grid.candidates[0].accuracy(bench.test).in_top(0.5, cells=True)


def test_candidates_know_themselves(population, data):
    candidate = population.candidates[2]
    assert (candidate.id, candidate.seed, repr(candidate)) == (
        "default-seed2",
        2,
        "<candidate default-seed2>",
    )
    logits = candidate.logits(data)
    assert (logits.dtype, logits.shape) == (torch.float32, (10, 2))
    assert torch.equal(candidate.probabilities(data), logits.softmax(1))
    assert candidate.predictions(data).tolist() == [0] * 9 + [1]
    assert candidate.predictions(data.where("part == 'b'")).tolist() == [0] * 4 + [1]
    assert candidate.predictions(data, under=pm.Group("part == 'b'")).tolist() == [0] * 4 + [1]


def test_survivors_are_a_sequence(population):
    survivors = Survivors(population, [0, 2, 3])
    assert len(survivors) == 3
    assert [each.seed for each in survivors] == [0, 2, 3]
    assert survivors[1] is population.candidates[2]
    assert [each.seed for each in survivors[1:]] == [2, 3]
    assert population.candidates[1] not in survivors
    assert repr(survivors) == "<3 survivors: default-seed0, default-seed2, default-seed3>"


def test_what_survivors_disagree_on(population, data):
    survivors = Survivors(population, [0, 2, 3])  # who answer 1 on none, on 9, on 5 to 9
    assert survivors.ambiguity(data) == 0.5
    assert survivors.discrepancy(data) == 0.5
    assert survivors.disagreement(data) == pytest.approx(10 / 30)
    assert survivors.ambiguity(data, baseline=population.candidates[1]) == 0.5
    assert survivors.spread(data) == 0.5
    assert survivors.ambiguity(data, under=pm.Group("part == 'a'")) == 0.0
    agreement = survivors.self_consistency(data)
    assert agreement.tolist() == pytest.approx([1.0] * 5 + [1 / 3] * 5)
    assert 1 - agreement.mean() == pytest.approx(survivors.disagreement(data))
    limits = survivors.viable_prediction_range(data)
    assert limits.columns.tolist() == ["low", "high"]
    assert (limits["high"] - limits["low"] > 0.5).tolist() == [False] * 5 + [True] * 5
    assert survivors.rashomon_capacity(data).iloc[0] == pytest.approx(1.0, abs=0.01)
    conflicts = survivors.conflicts(data)
    assert conflicts.index.tolist() == [5, 6, 7, 8, 9]
    assert conflicts.columns.tolist() == [
        "target",
        "part",
        "default-seed0",
        "default-seed2",
        "default-seed3",
    ]
    assert conflicts["default-seed2"].tolist() == [0, 0, 0, 0, 1]


def test_the_survivors_sheet(population, data):
    sheet = Survivors(population, [1, 3]).sheet(data)
    assert sheet.count == 2
    assert sheet.delta_all == pytest.approx(0.4)
    assert np.isnan(sheet.scores[[0, 2]]).all()
    assert sheet.noise_floor is not None


def test_nobody_survives(population, data):
    nobody = Survivors(population, [])
    assert repr(nobody) == "<0 survivors>"
    for ask in (nobody.ambiguity, nobody.spread, nobody.conflicts, nobody.rashomon_capacity):
        with pytest.raises(MeasurementError, match=r"gate len\(survivors\) first"):
            ask(data)


def test_a_score_of_a_candidate_is_of_its_column(population, data):
    metric = population.accuracies(data)
    assert [Score(metric, i) for i in range(4)] == [1.0, 0.9, 0.9, 0.5]
    assert metric.outcomes.shape == (10, 4)
    assert metric.predictions.shape == (4, 10)
