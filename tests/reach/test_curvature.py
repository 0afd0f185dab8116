"""The algebra against autograd, and the three forms of an inverse against each other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.reach import curvature
from pytest_multiplicity.tasks import Classification, Multilabel, Regression

TASKS: dict[str, Any] = {
    "classes": Classification().losses["cross_entropy"],
    "one logit": Classification().losses["binary_cross_entropy"],
    "labels": Multilabel().losses["binary_cross_entropy"],
    "values": Regression(0.1).losses["mse"],
    "robust values": Regression(0.1).losses["huber"],
}


def problem(kind: str, seed: int, n: int = 40, width: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Features, weights and targets of a kind."""
    draw = torch.Generator().manual_seed(seed)
    k = 1 if kind == "one logit" else 3
    features = torch.randn(n, width, generator=draw, dtype=torch.float64)
    weights = torch.randn(k, width, generator=draw, dtype=torch.float64)
    whole = torch.randint(0, 3 if kind == "classes" else 2, (n,), generator=draw)
    targets = {
        "classes": whole,
        "one logit": whole,
        "labels": torch.randint(0, 2, (n, k), generator=draw),
    }
    values = torch.randn(n, k, generator=draw, dtype=torch.float64)
    return features, weights, targets.get(kind, values)


@pytest.mark.parametrize("kind", TASKS)
@settings(max_examples=12)
@given(seed=st.integers(0, 1000), decay=st.sampled_from([0.0, 1e-2]))
def test_gradient_and_hessian_are_autograds(kind: str, seed: int, decay: float) -> None:
    features, weights, targets = problem(kind, seed)
    loss = TASKS[kind].of_batch

    def total(flat: Tensor) -> Tensor:
        each = flat.reshape(weights.shape)
        return loss(features @ each.T, targets) + decay / 2 * (each**2).sum()

    found = curvature.slopes(loss, features @ weights.T, targets)
    gradient = curvature.gradient(found, features, weights, decay)
    hessian = curvature.hessian(found.second, features, decay)
    flat = weights.reshape(-1)
    expected = torch.autograd.functional.hessian(total, flat)
    damping = curvature.DAMPING * torch.eye(len(flat), dtype=torch.float64)
    assert (hessian - expected - damping).abs().max() < 1e-8
    assert (
        gradient.reshape(-1) - torch.autograd.functional.jacobian(total, flat)
    ).abs().max() < 1e-8


@pytest.mark.parametrize("kind", ["classes", "labels", "values"])
def test_all_forms_of_the_inverse_are_one(kind: str) -> None:
    features, weights, targets = problem(kind, 3)
    found = curvature.slopes(TASKS[kind].of_batch, features @ weights.T, targets)
    whole = torch.linalg.inv(curvature.hessian(found.second, features, 0.01))
    asked = features[:5]
    direction = torch.tensor([1.0, -1.0, 0.0]).double()
    several = torch.stack([direction, -direction, direction.roll(1), direction, direction.roll(2)])
    v = (several[:, :, None] * asked[:, None]).reshape(5, -1)
    steps = (v @ whole).reshape(5, 3, -1)
    forms = [curvature.inverse_of(found.second, features, 0.01, "a", most=m) for m in (100, 1)]
    assert [form.said for form in forms] == [
        "the whole Hessian" if kind == "classes" else "the Hessian of each output by itself",
        "conjugate gradients on Hessian products",
    ]
    for form in forms:
        assert torch.allclose(form.steps(asked, several), steps, rtol=1e-6, atol=1e-8)
        expected = (v * steps.reshape(5, -1)).sum(1)
        own = torch.tensor([0, 3])  # those of the first direction
        leverages = form.leverages(asked[own], direction)
        assert torch.allclose(leverages, expected[own], rtol=1e-6)
        squares = form.squares(asked, several != 0)
        if squares is not None:
            of_all = torch.einsum("bk,bkc,bc->b", several, squares, several)
            assert torch.allclose(of_all, expected, rtol=1e-6)


def test_of_very_many_weights_those_of_the_outputs_that_move_change() -> None:
    features, weights, targets = problem("classes", 3)
    found = curvature.slopes(TASKS["classes"].of_batch, features @ weights.T, targets)
    two = torch.tensor([0, 2])
    block = found.second[:, two][:, :, two]
    inverse = torch.linalg.inv(curvature.hessian(block, features, 0.01))
    direction = torch.tensor([1.0, 0.0, -1.0]).double()
    v = (direction[two][None, :, None] * features[:5, None]).reshape(5, -1)
    form = curvature.inverse_of(found.second, features, 0.01, "a", most=1, most_together=1)
    assert form.said == "conjugate gradients on Hessian products of the outputs that move"
    steps = form.steps(features[:5], direction.expand(5, 3))
    assert not steps[:, 1].any()
    assert torch.allclose(steps[:, two], (v @ inverse).reshape(5, 2, -1), rtol=1e-6, atol=1e-8)
    leverages = form.leverages(features[:5], direction)
    assert torch.allclose(leverages, ((v @ inverse) * v).sum(1), rtol=1e-6)


def test_a_singular_hessian_is_an_error_that_says_why() -> None:
    features = torch.full((10, 2), 1e12, dtype=torch.float64)
    second = torch.full((10, 1, 1), 0.25, dtype=torch.float64)
    with pytest.raises(MeasurementError, match=r"the Hessian of a's last layer is singular.*scale"):
        curvature.inverse_of(second, features, 0.0, "a")


def test_too_many_outputs_for_memory_are_refused() -> None:
    outputs = torch.zeros(1, 1, dtype=torch.float64).expand(1 << 14, 1 << 10)
    with pytest.raises(MeasurementError, match="16,384 training samples of 1,024 outputs"):
        curvature.slopes(TASKS["classes"].of_batch, outputs, torch.zeros(1 << 14).long())
