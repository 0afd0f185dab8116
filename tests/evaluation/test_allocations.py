"""Allocations of survivors, and a lottery over them, against slow definitions."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.errors import DataError, MeasurementError
from pytest_multiplicity.evaluation.survivors import Survivors

N, K = 30, 8
RNG = np.random.default_rng(0)
SURE = RNG.normal(size=(3, N)).round(1)  # log-odds of the second class, with ties
SURE[2, :10] = 4.0
SURE[2, 10:] = -4.0
TARGETS = (RNG.random(N) < 0.5).astype(int)
TOWN = np.array(["north", "south", "west"])[np.arange(N) % 3]


class Sure(nn.Module):
    """A model that is as sure of the second class as stands in a row."""

    def __init__(self, row: int) -> None:
        super().__init__()
        self.sure = nn.Parameter(torch.tensor(SURE[row], dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sure = self.sure[x[:, 0].long()]
        return torch.stack([torch.zeros_like(sure), sure], dim=1)


def people(targets: Any = None, name: str = "people", **attributes: Any) -> pm.Data:
    attributes = attributes or {"town": TOWN}
    named = np.array(["no", "yes"])[TARGETS] if targets is None else targets
    numbers = torch.arange(float(N))[:, None]
    return pm.Data(numbers, named, pd.DataFrame(attributes), name=name, bounds=None)


@pytest.fixture
def data() -> pm.Data:
    return people()


@pytest.fixture
def three(bench: Any) -> Survivors:
    population = bench.family(
        lambda config: Sure(config.row), default={"row": 0}, vary={"row": [1, 2]}, seeds=1
    )
    return Survivors(population, [0, 1, 2])


def chosen_slowly(row: int, k: int) -> set[int]:
    lots = np.random.default_rng(0).permutation(N)
    sure = SURE[row].astype(np.float32)
    return set(sorted(range(N), key=lambda i: (-sure[i], lots[i]))[:k])


def test_every_number_by_sets(three: Survivors, data: pm.Data) -> None:
    frame = three.allocations(data, K, by="yes", groups="town")
    whom = [chosen_slowly(row, K) for row in range(3)]
    good = set(np.flatnonzero(TARGETS).tolist())
    q = len(good)
    assert list(frame.index) == [each.id for each in three]
    assert frame["qualified"].tolist() == [len(w & good) for w in whom]
    assert frame["utility"].tolist() == [len(w & good) / K for w in whom]
    jac = [[len(a & b) / len(a | b) for b in whom] for a in whom]
    np.testing.assert_allclose(frame.attrs["jaccards"], jac)
    np.testing.assert_allclose(
        frame["jaccard"], [sum(v for j, v in enumerate(r) if j != i) / 2 for i, r in enumerate(jac)]
    )
    assert frame.attrs["jaccard"] == pytest.approx(
        np.mean([jac[i][j] for i, j in combinations(range(3), 2)])
    )
    assert frame.attrs["unchosen"] == len(good - set.union(*whom))
    chance = np.prod([1 - len(w & good) / q for w in whom])
    assert frame.attrs["unchosen_expected"] == pytest.approx(q * chance)
    assert frame.attrs["ever"] == len(set.union(*whom))
    assert frame.attrs["always"] == len(set.intersection(*whom))
    for town in ("north", "south", "west"):
        members = {i for i in range(N) if TOWN[i] == town}
        rates = [len(w & members) / len(members) for w in whom]
        assert frame[f"rate {town}"].tolist() == pytest.approx(rates)
    assert frame.attrs["groups"] == {"north": 10, "south": 10, "west": 10}


def test_ties_are_said_and_broken_by_the_same_lots(three: Survivors, data: pm.Data) -> None:
    frame = three.allocations(data, K, by="yes")
    assert frame["tied"].iloc[2] == 10
    assert "share place 8 in" in frame.attrs["ties"]
    assert "row2" in frame.attrs["ties"]
    assert "by lots, the same for every survivor" in frame.attrs["ties"]
    assert three.allocations(data, 10, by="yes")["tied"].iloc[2] == 0
    assert three[2:].allocations(data, 10, by="yes").attrs["ties"] == ""


def test_a_group_that_gets_nothing_is_named(three: Survivors) -> None:
    never = np.setdiff1d(np.arange(N), list(set.union(*(chosen_slowly(r, K) for r in range(3)))))
    last = ["last" if i in never else "first" for i in range(N)]
    frame = three.allocations(people(rank=last), K, by="yes", groups=["rank"])
    assert frame.attrs["without"] == ["last"]
    assert not frame["rate last"].any()


def test_groups_may_be_many(three: Survivors) -> None:
    """More columns than pandas adds one by one without a warning."""
    numbers = torch.arange(120.0)[:, None] % N
    said = np.array(["no", "yes"])[np.tile(TARGETS, 4)]
    names = pd.DataFrame({"who": [f"p{i}" for i in range(120)]})
    crowd = pm.Data(numbers, said, names, name="crowd", bounds=None)
    frame = three.allocations(crowd, K, by="yes", groups="who")
    assert (frame[[f"rate {who}" for who in names["who"]]].sum(axis=1) == K).all()
    assert frame.attrs["groups"] == dict.fromkeys(names["who"], 1)


def test_copies_count_once(bench: Any, data: pm.Data) -> None:
    family = bench.family(
        lambda config: Sure(config.row), default={"row": 0}, vary={"row": [1]}, seeds=3
    )
    twice = Survivors(family, range(6)).allocations(data, K, by="yes")
    once = Survivors(family, [0, 3]).allocations(data, K, by="yes")
    assert twice.attrs["copies"] == 4
    for name in ("jaccard", "unchosen_expected", "unchosen_sd"):
        assert twice.attrs[name] == once.attrs[name]


def test_under_a_group_it_is_about_these(three: Survivors, data: pm.Data) -> None:
    frame = three.allocations(data, 3, by="yes", under=pm.Group("town == 'west'"))
    assert frame.attrs["people"] == 10
    (one,) = three[:1].allocations(data, 3, "yes", under=pm.Group("town == 'west'"))["jaccard"]
    assert np.isnan(one)


@pytest.mark.parametrize("k", [0, -1, 31, 2.5, True, "3"], ids=str)
def test_k_is_a_number_of_the_samples(three: Survivors, data: pm.Data, k: Any) -> None:
    with pytest.raises(
        MeasurementError, match=r"of the 30 samples of people: give .* from 1 to 30"
    ):
        three.allocations(data, k, by="yes")


def test_somebody_must_be_qualified(three: Survivors) -> None:
    with pytest.raises(MeasurementError, match="nobody is qualified"):
        three.allocations(people(np.zeros(N, int)), K, by=1)


def test_what_cannot_be_asked(three: Survivors, data: pm.Data) -> None:
    with pytest.raises(MeasurementError, match=r"'no', 'yes', got 'maybe': say by="):
        three.allocations(data, K, by="maybe")
    with pytest.raises(DataError, match=r"no attribute 'twon' .did you mean 'town'"):
        three.allocations(data, K, by="yes", groups="twon")
    with pytest.raises(DataError, match="has a value of town: no group"):
        three.allocations(people(town=[None] * N, name="empty"), K, by="yes", groups="town")
    with pytest.raises(MeasurementError, match=r"groups=\[\]: name an attribute"):
        three.allocations(data, K, by="yes", groups=[])
    bare = pm.Data(data.inputs, None, name="bare", bounds=None)
    with pytest.raises(MeasurementError, match="known by targets, and 'bare' has none"):
        three.allocations(bare, K, by=1)
    with pytest.raises(MeasurementError, match="0 survivors"):
        three[:0].allocations(data, K, by="yes")


def test_labels_have_no_order(bench: Any, data: pm.Data) -> None:
    family = bench.family(
        lambda config: lambda x: (x[:, 0] > config.row).long(), default={"row": 0}, vary={}, seeds=1
    )
    with pytest.raises(MeasurementError, match="log-odds need logits"):
        Survivors(family, [0]).allocations(data, K, by="yes")


# --- the lottery


def test_each_sample_is_answered_by_the_survivor_drawn_for_it(
    three: Survivors, data: pm.Data
) -> None:
    lottery = three.lottery(seed=4)
    assert repr(lottery) == "<lottery over 3>"
    who = np.random.default_rng(4).integers(3, size=N)
    own = torch.stack([each.logits(data) for each in three])
    expected = own[torch.from_numpy(who), torch.arange(N)]
    assert torch.equal(lottery.logits(data), expected)
    said = expected.argmax(dim=1)
    assert torch.equal(lottery.predictions(data), said)
    assert lottery.accuracy(data) == pytest.approx((said == data.targets).double().mean().item())
    west = pm.Group("town == 'west'")
    assert torch.equal(lottery.predictions(data, west), said[2::3])
    assert lottery.accuracy(data).metric.name == "accuracy of the lottery over 3 on people"
    assert lottery.coverage(data) == 1
    assert lottery.measure("f1", data) >= 0


def test_an_allocation_by_lot_is_of_k_with_the_survivors_chances(
    three: Survivors, data: pm.Data
) -> None:
    chances = three.lottery().chances(data, K, "yes")
    whom = [chosen_slowly(row, K) for row in range(3)]
    assert chances.tolist() == [sum(i in w for w in whom) / 3 for i in range(N)]
    given = [three.lottery(seed).allocation(data, K, "yes") for seed in range(200)]
    assert all(each.sum() == K for each in given)
    np.testing.assert_allclose(np.mean(given, axis=0), chances, atol=0.15)
    assert given[3].equals(three.lottery(3).allocation(data, K, "yes"))


@pytest.mark.parametrize("seed", [-1, 1.5, True], ids=str)
def test_a_seed_is_a_whole_number(three: Survivors, seed: Any) -> None:
    with pytest.raises(MeasurementError, match="seed="):
        three.lottery(seed)


def test_whole_numbers_of_numpy_are_taken(three: Survivors, data: pm.Data) -> None:
    lottery = three.lottery(np.int64(4))  # type: ignore[arg-type]
    assert lottery.predictions(data).equal(three.lottery(4).predictions(data))
    found = three.gap(data, by="town", minimum=np.int64(5))  # type: ignore[arg-type]
    assert found == three.gap(data, by="town", minimum=5)
    variance = three.viable_prediction_range(data, label=np.int64(1))
    assert variance.equals(three.viable_prediction_range(data, label=1))
