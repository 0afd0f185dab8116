"""Who is behind in several respects: against loops, and what can't be asked."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.errors import DataError, InterventionError, MeasurementError
from pytest_multiplicity.evaluation.survivors import Survivors
from pytest_multiplicity.statistics.doubt import wilson

N = 360
TOWN = np.array(["north", "south", "west"])[np.arange(N) % 3]
CODES = torch.arange(N) % 3


class Unfair(nn.Module):
    """Says the second class where the input says so; in the west it is often wrong, or unsure."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.zeros(len(x)), x[:, 0] + self.bias * x[:, 1]], dim=1)


def people(name: str = "people", seed: int = 0, sure: float = 1.0) -> pm.Data:
    rng = torch.Generator().manual_seed(seed)
    targets = torch.randint(2, (N,), generator=rng)
    sign = 2.0 * targets - 1
    wrong = (CODES == 2) & (torch.rand(N, generator=rng) < 0.5)
    value = sign * torch.where(wrong, -1.0, 1.0) * (0.5 + torch.rand(N, generator=rng) * sure)
    noise = torch.randn(N, generator=rng) * 0.1
    about = {"town": TOWN, "id": np.arange(N), "few": np.where(np.arange(N) < 5, "a", "b")}
    inputs = torch.stack([value, noise], dim=1)
    return pm.Data(inputs, targets, pd.DataFrame(about), name=name, bounds=None)


def dim(batch: torch.Tensor) -> torch.Tensor:
    return batch * 0.5 + 0.02


@pytest.fixture
def family(bench: Any) -> Any:
    return bench.family(
        lambda config: Unfair(config.bias), default={"bias": 0.0}, vary={"bias": [1.0]}, seeds=1
    )


def newcombe(some: list[bool], others: list[bool], rows: int) -> tuple[float, float]:
    confidence = 1 - 0.05 / rows
    (p, q), (n, m) = (sum(some) / len(some), sum(others) / len(others)), (len(some), len(others))
    (l1, u1), (l2, u2) = wilson(p, n, confidence), wilson(q, m, confidence)
    low = p - q - ((p - l1) ** 2 + (u2 - q) ** 2) ** 0.5
    return low, p - q + ((u1 - p) ** 2 + (q - l2) ** 2) ** 0.5


def test_every_cell_by_a_loop(family: Any) -> None:
    data, shaken = people(), pm.Corrupt(dim)
    candidate = family.candidates[1]
    frame = pm.cascade(candidate, data, "town", [shaken])
    assert list(frame.columns) == ["samples", "score", "rest", "gap", "low", "high", "behind"]
    assert len(frame) == 6
    for (town, under), row in zip(frame.index, frame.to_dict("records"), strict=True):
        said = candidate.predictions(data, None if under == "as it is" else shaken)
        right = (said == data.targets).tolist()
        some = [right[i] for i in range(N) if TOWN[i] == town]
        others = [right[i] for i in range(N) if TOWN[i] != town]
        assert row["samples"] == 120
        assert row["score"] == pytest.approx(sum(some) / len(some))
        assert row["rest"] == pytest.approx(sum(others) / len(others))
        assert row["gap"] == pytest.approx(row["score"] - row["rest"])
        low, high = newcombe(some, others, 6)
        assert (row["low"], row["high"]) == pytest.approx((max(-1, low), min(1, high)))
        assert row["behind"] == (high < 0)
    assert frame.attrs["behind"] == {"west": ["as it is", "Corrupt(dim)"]}
    assert frame.attrs["behind_for_some"] == frame.attrs["behind"]


def test_survivors_have_a_row_each(family: Any) -> None:
    data = people()
    frame = pm.cascade(Survivors(family, [1, 0]), data, ["town"], pm.InputNoise(0.3))
    assert frame.index.names == ["candidate", "group", "under"]
    assert list(frame.index.unique("candidate")) == ["bias1.0-seed0", "default-seed0"]
    assert list(frame.index.unique("group")) == ["north", "south", "west"]
    assert frame.attrs["behind"] == {"west": ["as it is", "InputNoise(0.3)"]}
    z = [NormalDist().inv_cdf(1 - 0.025 / rows) for rows in (6, 12)]
    one = pm.cascade(family.candidates[1], data, ["town"], pm.InputNoise(0.3))
    some = frame.loc["bias1.0-seed0"]
    assert some["gap"].tolist() == one["gap"].tolist()
    wider = (some["high"] - some["low"]) / (one["high"] - one["low"])
    assert (wider > 1).all()
    assert (wider < z[1] / z[0] + 0.03).all()


def test_privacy_is_that_of_an_attack_on_the_group(family: Any) -> None:
    candidate, data = family.candidates[1], people()
    members = people("members", 7, sure=4.0)
    frame = pm.cascade(candidate, data, "town", members=members)
    assert list(frame.index.unique("under")) == ["as it is", "membership privacy"]
    for town in ("north", "south", "west"):
        query = f"town == '{town}'"
        alone = candidate.privacy(members.where(query), data.where(query))
        row = frame.xs((town, "membership privacy"))
        assert row["score"] == pytest.approx(float(alone))
        rest = f"town != '{town}'"
        others = candidate.privacy(members.where(rest), data.where(rest))
        assert row["rest"] == pytest.approx(float(others))
        assert row["low"] < row["gap"] < row["high"]
        assert 0.1 < row["high"] - row["low"] < 0.5
    assert family.role == "enforced"


def test_what_combines_survivors_can_be_asked(family: Any) -> None:
    survivors = Survivors(family, [0, 1])
    for whom in (survivors.ensemble(), survivors.lottery()):
        frame = pm.cascade(whom, people(), "town")
        assert frame["score"].tolist() == pytest.approx(
            [float(whom.accuracy(people(), pm.Group(f"town == '{t}'"))) for t in sorted({*TOWN})]
        )
    with pytest.raises(MeasurementError, match="no outcome for every sample"):
        pm.cascade(survivors.ensemble(abstain=1.0), people(), "town", pm.InputNoise(5.0))


def test_expected_outcomes_are_those_of_output_noise(family: Any) -> None:
    frame = pm.cascade(family.candidates[0], people(), "town", pm.OutputNoise(1.0))
    noisy = frame.xs("OutputNoise(1)", level="under")["score"]
    score = family.candidates[0].accuracy(
        people(), pm.OutputNoise(1.0) | pm.Group("town == 'west'")
    )
    assert noisy["west"] == pytest.approx(float(score), abs=1e-6)


def test_what_cannot_be_asked(family: Any) -> None:
    one, data = family.candidates[0], people()
    with pytest.raises(DataError, match=r"fewer than 20 samples in a \(5\)"):
        pm.cascade(one, data, "few")
    with pytest.raises(DataError, match="no attribute 'twon'"):
        pm.cascade(one, data, "twon")
    with pytest.raises(MeasurementError, match="cascade of 0 survivors"):
        pm.cascade(Survivors(family, []), data, "town")
    with pytest.raises(MeasurementError, match="give a candidate, or the survivors"):
        pm.cascade("all", data, "town")  # type: ignore[arg-type]
    with pytest.raises(MeasurementError, match="give a candidate, or the survivors"):
        pm.cascade([one, 3], data, "town")  # type: ignore[arg-type]
    with pytest.raises(MeasurementError, match=r"groups=\[\]: name an attribute"):
        pm.cascade(one, data, [])
    with pytest.raises(MeasurementError, match="minimum=nan: give a number"):
        pm.cascade(one, data, "town", minimum=float("nan"))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"Split\(.* is no pm.Data"):
        pm.cascade(one, data.split(), "town")  # type: ignore[arg-type]
    with pytest.raises(MeasurementError, match=r"InputNoise\(0.1\) stands twice"):
        pm.cascade(one, data, "town", [pm.InputNoise(0.1), pm.InputNoise(0.1)])
    with pytest.raises(InterventionError, match="no intervention"):
        pm.cascade(one, data, "town", ["west"])  # type: ignore[list-item]
    with pytest.raises(MeasurementError, match="no outcome for every sample"):
        pm.cascade(one, data, "town", pm.Group.worst("town"))
    with pytest.raises(DataError, match="nobody of the group 'north', or nobody else"):
        pm.cascade(one, data, "town", pm.Group("town == 'west'"))
    moved = pd.DataFrame({"town": np.where(TOWN == "west", "east", TOWN)})
    others = pm.Data(data.inputs, data.targets, moved, name="others", bounds=None)
    with pytest.raises(DataError, match="'others' has groups by town that 'people' lacks: east"):
        pm.cascade(one, data, "town", members=others)
