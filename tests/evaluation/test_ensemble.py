from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.design import Recorded
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.recorded import RecordedPopulation
from pytest_multiplicity.evaluation.survivors import Survivors
from pytest_multiplicity.tasks import Classification

# What three candidates say of eight samples, whose targets are all 0.
SAID = torch.tensor(
    [
        [0, 0, 0, 0, 1, 1, 2, 0],
        [0, 0, 1, 1, 1, 1, 1, 0],
        [0, 1, 1, 2, 1, 0, 0, 0],
    ]
)


class Says(nn.Module):
    """A model that says what stands in a row of a table, by the sample's number."""

    def __init__(self, said: torch.Tensor) -> None:
        super().__init__()
        self.said = nn.Parameter(said.float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 4 * nn.functional.one_hot(self.said[x[:, 0].long()].long(), 3).float()


@pytest.fixture
def data() -> pm.Data:
    attributes = pd.DataFrame(
        {"odd": [False, True] * 4, "divided": (SAID[0] != SAID).any(dim=0).numpy()}
    )
    numbers = torch.arange(8.0)[:, None]
    return pm.Data(numbers, torch.zeros(8, dtype=torch.int64), attributes, name="test", bounds=None)


@pytest.fixture
def three(bench: Any) -> Survivors:
    population = bench.family(
        lambda config: Says(SAID[config.row]), default={"row": 0}, vary={"row": [1, 2]}, seeds=1
    )
    return Survivors(population, [0, 1, 2])


def test_the_majority_says(three: Survivors, data: pm.Data) -> None:
    ensemble = three.ensemble()
    assert repr(ensemble) == "<ensemble of 3>"
    expected = [SAID[:, i].mode().values.item() for i in (0, 1, 2, 4, 5, 7)]
    said = ensemble.predictions(data)
    assert said[[0, 1, 2, 4, 5, 7]].tolist() == expected
    assert ensemble.coverage(data) == 1
    assert ensemble.accuracy(data) == (said == 0).double().mean()


@pytest.mark.parametrize(
    ("abstain", "answered"), [(0.3, 8), (0.6, 6), (0.67, 3), (1.0, 3), (2 / 3, 6)]
)
def test_it_abstains_where_too_few_agree(
    three: Survivors, data: pm.Data, abstain: float, answered: int
) -> None:
    ensemble = three.ensemble(abstain=abstain)
    said = ensemble.predictions(data)
    assert (said != -1).sum() == answered
    assert ensemble.coverage(data) == answered / 8
    assert ensemble.accuracy(data) == (said[said != -1] == 0).double().mean()


def test_its_scores_compare_with_the_family_on_the_same_samples(
    three: Survivors, data: pm.Data
) -> None:
    ensemble = three.ensemble(abstain=1)
    score = ensemble.accuracy(data)
    answered = ensemble.predictions(data) != -1
    family = [(SAID[i][answered] == 0).double().mean().item() for i in range(3)]
    assert score.metric.scores.tolist() == [*family, float(score)]
    assert score.within(0)
    assert score.in_top(0.25)
    assert score.interval().low < score < score.interval().high
    assert bool(score.beyond_doubt >= 0.0)
    assert "accuracy of the ensemble of 3 on test" in repr(score)


def test_groups_and_interventions(three: Survivors, data: pm.Data) -> None:
    ensemble = three.ensemble()
    group = pm.Group("odd")
    said = ensemble.predictions(data)[1::2]
    assert torch.equal(ensemble.predictions(data, group), said)
    assert ensemble.accuracy(data, group) == (said == 0).double().mean()
    worst = min(ensemble.accuracy(data, pm.Group(query)) for query in ("odd", "not odd"))
    assert ensemble.accuracy(data, pm.Group.worst("odd", min_size=4)) == worst


def test_a_measure_sees_the_answered_samples(three: Survivors, data: pm.Data) -> None:
    def error(logits: torch.Tensor, targets: torch.Tensor) -> float:
        assert len(logits) == len(targets) == 3
        return float((logits.argmax(dim=1) != targets).double().mean())

    score = three.ensemble(abstain=1).measure(error, data, higher_is_better=False)
    assert score == pytest.approx(1 / 3)
    assert score.within(0)
    assert len(score.metric.scores) == 4


def test_a_spec_measures_it_as_any_candidate(three: Survivors, data: pm.Data) -> None:
    def test_group(candidate: Any, data: pm.Data, threshold: float) -> None:
        assert candidate.accuracy(data, under=pm.Group("odd")) >= threshold

    test_group(three.ensemble(), data, 0.5)
    with pytest.raises(AssertionError):
        test_group(three.ensemble(), data, 0.9)


def test_without_answers_there_is_no_score(three: Survivors, data: pm.Data) -> None:
    ensemble = three.ensemble(abstain=1)
    divided = data.where("divided")
    assert ensemble.coverage(divided) == 0
    with pytest.raises(MeasurementError, match="the ensemble of 3 abstains on all 5 samples"):
        ensemble.accuracy(divided)


@pytest.mark.parametrize("abstain", [-0.1, 1.5, float("nan")])
def test_abstain_is_a_share(three: Survivors, abstain: float) -> None:
    with pytest.raises(MeasurementError, match="give the share of members"):
        three.ensemble(abstain=abstain)


def test_nobody_makes_no_ensemble(three: Survivors) -> None:
    with pytest.raises(MeasurementError, match="0 survivors: this needs 1"):
        three[:0].ensemble()
    with pytest.raises(MeasurementError, match="0 survivors: this needs 1"):
        three[:0].pick(lambda each: 1.0)


@given(
    st.integers(1, 5).flatmap(
        lambda k: st.lists(
            st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=k, max_size=k
        )
    )
)
def test_votes_against_a_slow_count(said: list[list[int]]) -> None:
    members = [nn.functional.one_hot(torch.tensor(row), 4).float() for row in said]
    vote = Classification().vote(members)
    for sample in range(6):
        votes = [sum(row[sample] == klass for row in said) for klass in range(4)]
        assert votes[int(vote.said[sample])] == max(votes)
        assert float(vote.agreement[sample]) == pytest.approx(max(votes) / len(said))


def test_of_equal_votes_the_more_probable_wins() -> None:
    members = [torch.tensor([[0.6, 0.4, 0.0]]).log(), torch.tensor([[0.1, 0.9, 0.0]]).log()]
    assert Classification().vote(members).said.tolist() == [1]


# --- pick


def test_the_best_is_picked_and_its_lead_told(three: Survivors, data: pm.Data) -> None:
    choice = three.pick(by=data)
    assert choice.candidate.id == "default-seed0"
    assert choice.score == 5 / 8
    assert choice.runner_up is three[2]
    assert choice.margin == pytest.approx(1 / 8)
    assert choice.peers == (three[1], three[2])
    assert str(choice) == (
        "default-seed0 with 0.625 (accuracy on test), 0.125 ahead of row2-seed0; "
        "the data don't tell it from 2 others"
    )


def test_who_is_clearly_worse_is_no_peer(bench: Any) -> None:
    targets = torch.arange(300) % 3
    data = pm.Data(torch.arange(300.0)[:, None], targets, name="test", bounds=None)
    table = torch.stack([targets, (targets + 1) % 3, targets])
    population = bench.family(
        lambda config: Says(table[config.row]), default={"row": 0}, vary={"row": [1, 2]}, seeds=1
    )
    choice = Survivors(population, [0, 1, 2]).pick(by=data)
    assert choice.peers == (population.candidates[2],)
    assert "level with row2-seed0" in str(choice)


def test_a_function_may_choose(three: Survivors, data: pm.Data) -> None:
    assert three.pick(by=lambda c: -c.config.row).candidate is three[0]
    choice = three.pick(by=lambda c: c.accuracy(data, pm.Group("odd")))
    assert choice.metric == "accuracy on test under Group('odd')"
    assert three.pick(data, under=pm.Group("odd")).score == choice.score
    with pytest.raises(MeasurementError, match="the score of default-seed0 is None"):
        three.pick(by=lambda c: None)  # type: ignore[arg-type,return-value]


def test_less_may_be_better(three: Survivors, data: pm.Data) -> None:
    def loss(logits: torch.Tensor, targets: torch.Tensor) -> float:
        return float(nn.functional.cross_entropy(logits, targets))

    choice = three.pick(by=lambda c: c.measure(loss, data, higher_is_better=False))
    assert choice.candidate is three[0]
    assert choice.peers is None


def test_the_only_survivor_wins(three: Survivors, data: pm.Data) -> None:
    choice = three[1:2].pick(data)
    assert (choice.runner_up, choice.margin) == (None, 0.0)
    assert str(choice).endswith(", the only survivor")


def recorded_survivors(make: Callable[..., Any] = pd.DataFrame) -> Survivors:
    frame = make({"lr": [1, 2, 3], "seed": [0, 0, 0], "a": [90.0, 92.0, 91.5]})
    definition = Recorded(frame, {"lr": 1}, "seed", "percent", {}, "here")
    population = RecordedPopulation(definition, definition.design(None))
    return Survivors(population, [0, 1, 2])


def test_names_that_a_terminal_would_obey_are_spelled_out(three: Survivors) -> None:
    zeros = torch.zeros(8, dtype=torch.int64)
    named = pm.Data(torch.arange(8.0)[:, None], zeros, name="\x1b[31m\u202e", bounds=None)
    assert "(accuracy on \\x1b[31m\\u202e)" in str(three.pick(named))
    assert repr(three[0].accuracy(named)).isprintable()


def test_recorded_scores_choose_by_name() -> None:
    choice = recorded_survivors().pick(by="a")
    assert choice.candidate.id == "lr2-seed0"
    assert choice.margin == pytest.approx(0.005)
    assert str(choice) == "lr2-seed0 with 0.92 (a), 0.005 ahead of lr3-seed0"
    assert np.isclose(choice.score, 0.92)
    with pytest.raises(MeasurementError, match="no metric"):
        recorded_survivors().pick(by="b")
    with pytest.raises(MeasurementError, match="no models"):
        recorded_survivors().ensemble().accuracy("a")  # type: ignore[arg-type]
