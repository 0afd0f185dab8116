"""Membership inference, against slow references and where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.membership import privacy, relative_to_references
from pytest_multiplicity.tasks import Classification


def half_and_half(n):
    return np.arange(n) < n // 2


def test_log_odds_are_those_of_the_softmax():
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(20, 5)), rng.integers(0, 5, 20)
    p = torch.tensor(logits).softmax(1).numpy()[np.arange(20), targets]
    assert Classification().sureness(logits, targets) == pytest.approx(np.log(p / (1 - p)))
    assert Classification().sureness(np.array([[1000.0, 0.0]]), np.array([0])) == pytest.approx(
        [1000.0]
    )


def test_an_attack_on_nothing_guesses():
    """Best in sample an attack on 50 and 50 samples reads 0.556: it is cross-fitted."""
    rng = np.random.default_rng(1)
    found = [privacy(rng.normal(size=100), half_and_half(100)) for _ in range(300)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.015)


def test_what_is_told_apart_is_not_private():
    members = half_and_half(40)
    assert privacy(np.where(members, 1.0, 0.0), members) == 0.0
    assert privacy(np.zeros(40), members) == 0.5
    # the attack takes the surer for members: the other way round it fails, and no more
    assert privacy(np.where(members, 0.0, 1.0), members) >= 0.5


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_two_normals_are_told_apart_as_theory_says(shift):
    rng = np.random.default_rng(2)
    members = np.arange(40_000) < 30_000  # unbalanced: the accuracy is balanced
    sureness = rng.normal(size=40_000) + shift * members
    normal = torch.distributions.Normal(0.0, 1.0)
    assert privacy(sureness, members) == pytest.approx(
        1 - normal.cdf(torch.tensor(shift / 2)).item(), abs=0.01
    )


def test_too_few_to_attack():
    with pytest.raises(MeasurementError, match="1 members and 9 non-members"):
        privacy(np.zeros(10), np.arange(10) < 1)


def test_references_are_the_others_that_did_not_see_it():
    rng = np.random.default_rng(3)
    sureness, trained = rng.normal(size=(14, 30)), rng.random((14, 30)) < 0.4
    found = relative_to_references(sureness, trained)
    for k in range(14):
        for i in range(30):
            others = [sureness[j, i] for j in range(14) if j != k and not trained[j, i]]
            assert found[k, i] == pytest.approx(sureness[k, i] - np.mean(others))


def test_too_few_references():
    trained = np.zeros((5, 10), dtype=bool)
    assert relative_to_references(np.zeros((5, 10)), trained).shape == (5, 10)
    trained[2, 7] = True
    with pytest.raises(MeasurementError, match="1 of 10 samples have fewer than 4 other"):
        relative_to_references(np.zeros((5, 10)), trained)


def remembers(data):
    """A candidate that is surest of the samples it was trained on, and right on all."""
    known = {tuple(x) for x in data.inputs.flatten(1).tolist()}

    class Memory(nn.Module):
        def forward(self, batch):
            sure = [5.0 if tuple(x) in known else 1.0 for x in batch.flatten(1).tolist()]
            return torch.tensor(sure)[:, None] * torch.tensor([1.0, -1.0])

    return Memory()


def test_a_memory_betrays_its_members(bench):
    targets = torch.zeros(60, dtype=torch.int64)
    members = pm.Data(bench.train.inputs, targets, name="members")
    strangers = pm.Data(bench.test.inputs, targets[:40], name="strangers")
    candidate = bench.family(lambda config: remembers(members)).candidates[0]
    score = candidate.privacy(members, strangers)
    assert score == 0.0
    assert score.metric.name == "membership privacy on members against strangers"
    assert candidate.privacy(strangers, members) >= 0.5


def test_privacy_of_trained_candidates(bench):
    population = bench.family()
    score = population.candidates[0].privacy(bench.train, bench.test)
    assert 0.3 <= score <= 0.7  # a linear model on noise remembers nothing
    assert population.models.counts.inferred == 8
    assert not bench.told  # members were trained on: that is what is asked
    noise = score.metric.sheet().noise
    assert noise.floor > 0.0
    assert noise.within_noise


def overfitted(bench, config):
    return pm.Recipe(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2)),
        noise(bench),
        epochs=40,
        batch_size=30,
        optimizer="adam",
        lr=0.05,
    )


def noise(bench):
    """Labels that can only be remembered."""
    rng = torch.Generator().manual_seed(5)
    return pm.Data(bench.train.inputs, torch.randint(0, 2, (60,), generator=rng), name="noise")


def test_halves_of_the_pool_attack_each_other(bench):
    population = bench.family(
        lambda config: overfitted(bench, config),
        default={"seed.subset": 0},
        vary={"seed.subset": list(range(1, 28))},
        seeds=1,
    )
    plain = population.candidates[0].privacy(noise(bench))
    strong = population.candidates[0].privacy(noise(bench), references=True)
    assert plain.metric.name == "membership privacy on noise"
    assert strong.metric.name == "membership privacy on noise with references"
    assert plain.metric.scores.mean() < 0.45
    assert strong.metric.scores.mean() < plain.metric.scores.mean()
    assert population.models.counts.inferred == 28


def test_what_privacy_must_know(bench):
    candidate = bench.family().candidates[0]
    with pytest.raises(MeasurementError, match="default-seed0 was trained on all of 'train'"):
        candidate.privacy(bench.train)
    with pytest.raises(MeasurementError, match="default-seed0 was not trained on 'test'"):
        candidate.privacy(bench.test)
    with pytest.raises(MeasurementError, match="without non-members"):
        candidate.privacy(bench.train, bench.test, references=True)
    with pytest.raises(MeasurementError, match="beyond_doubt needs the outcome of every sample"):
        _ = candidate.privacy(bench.train, bench.test).beyond_doubt
