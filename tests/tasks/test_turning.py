"""Ways to turn a prediction: they lead where nobody is, by as little as that takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pytest_multiplicity.tasks import Classification, Dense, Multilabel, Nothing, Regression
from pytest_multiplicity.tasks.task import Task

CASES: dict[str, tuple[Any, int]] = {
    "classes": (Classification(), 4),
    "one logit": (Classification(), 1),
    "labels": (Multilabel(), 3),
    "values": (Regression(0.5), 1),
    "several values": (Regression(0.5), 2),
}


def drawn(k: int, seed: int, count: int = 12) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, k, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=25)
@given(seed=st.integers(0, 500))
def test_every_way_just_leads_to_another_answer(name: str, seed: int) -> None:
    task, k = CASES[name]
    turning = task.turning
    outputs = drawn(k, seed)
    said = turning.said(outputs)
    ways = turning.ways(outputs, said[None])
    assert bool((ways.amounts.diff(dim=1) >= 0).all())
    for column in range(ways.which.shape[1]):
        direction = ways.directions[ways.which[:, column]]
        unit = direction / (direction**2).sum(1, keepdim=True)
        far, near = (ways.amounts[:, column, None] * much * unit for much in (1.0001, 0.9999))
        assert bool(turning.differ(turning.said(outputs + far), said).all())
        if column == 0:  # farther ways may pass other answers
            assert not bool(turning.differ(turning.said(outputs + near), said).any())


def test_ways_lead_past_what_others_say() -> None:
    outputs = torch.tensor([[3.0, 2.0, 1.0, 0.0]], dtype=torch.float64)
    ways = Classification().turning.ways(outputs, torch.tensor([[0], [1]]))
    found = ways.directions[ways.which[0]].tolist()
    assert found[:2] == [[-1.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 1.0]]
    assert ways.amounts[0].tolist() == [2.0, 3.0, float("inf")]
    labels = torch.tensor([[0.1, -0.2, 0.3]], dtype=torch.float64)
    own, other = [1, 0, 1], [0, 0, 1]
    ways = Multilabel().turning.ways(labels, torch.tensor([[own], [other]]))
    assert ways.amounts[0].tolist() == pytest.approx([0.2, 0.3, float("inf")])


@pytest.mark.parametrize("count", [1, 3, 5])
@settings(max_examples=25)
@given(seed=st.integers(0, 500), classes=st.integers(1, 6))
def test_classes_are_right_as_predictions_tell(count: int, seed: int, classes: int) -> None:
    task, draw = Classification(), torch.Generator().manual_seed(seed)
    outputs = torch.randint(4, (2, 30, count), generator=draw).float()  # so many tie
    targets = torch.randint(classes, (30,), generator=draw)
    assert task.turning is not None
    right = task.turning.right(outputs, targets)
    expected = task.right(task.turning.said(outputs), targets)
    assert right is None if count == 1 else right is not None or classes > count
    assert right is None or torch.equal(right, expected)


def test_values_are_compared_with_their_own() -> None:
    turning = Regression(0.5).turning
    assert turning is not None
    some, others = torch.tensor([[0.0], [5.0]]), torch.tensor([0.1, 5.1])
    assert turning.differ(some, others).tolist() == [False, False]
    assert turning.differ(some, others + torch.tensor([0.0, 1.0])).tolist() == [False, True]


def test_where_everything_is_said_there_is_no_way() -> None:
    outputs = torch.tensor([[2.0], [-1.0]], dtype=torch.float64)
    both = torch.tensor([[1, 0], [0, 0]])
    ways = Classification().turning.ways(outputs, both)
    assert ways.amounts.isinf().tolist() == [[True], [False]]


@pytest.mark.parametrize("task", [Dense(), Nothing(), Regression()], ids=lambda task: task.name)
def test_some_tasks_have_no_ways(task: Task) -> None:
    assert task.turning is None
