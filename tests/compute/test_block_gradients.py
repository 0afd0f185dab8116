"""Gradients by images, for blocks of pixels at once, against torch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pytest_multiplicity.compute import block_gradients as pixels
from pytest_multiplicity.compute.fused import FusedModule

LANES = 5


def drawn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=dtype)


def slope(out: Tensor, x: Tensor) -> Tensor:
    """The gradient of a loss that weighs every output by another number."""
    return torch.autograd.grad(out, x, drawn(*out.shape, dtype=out.dtype))[0]


@given(
    groups=st.integers(1, 3),
    inputs=st.integers(1, 4),
    outputs=st.integers(16, 20),
    blocks=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    block=st.sampled_from([2, 4]),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    padding=st.data(),
    biased=st.booleans(),
)
def test_equals_the_gradient_of_torch(
    groups: int,
    inputs: int,
    outputs: int,
    blocks: tuple[int, int],
    block: int,
    kernel: tuple[int, int],
    padding: st.DataObject,
    biased: bool,
) -> None:
    height, width = (block * count for count in blocks)
    pads = tuple(padding.draw(st.integers(0, k - 1)) for k in kernel)
    if height + 2 * pads[0] < kernel[0] or width + 2 * pads[1] < kernel[1]:
        return  # no image is left
    x = drawn(2, groups * inputs, height, width).requires_grad_()
    weight = drawn(groups * outputs, inputs, *kernel)
    bias = drawn(groups * outputs) if biased else None

    assert pixels.suits(x, weight, bias, groups, padding=pads)
    expected = F.conv2d(x, weight, bias, padding=pads, groups=groups)
    found = pixels.convolution(x, weight, bias, groups, padding=pads)

    assert torch.equal(found, expected)
    torch.testing.assert_close(slope(found, x), slope(expected, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"channels": 5}, {}),
        ({"outputs": 8}, {}),
        ({"outputs": 1, "groups": 32}, {}),  # depthwise
        ({"size": 7}, {}),
        ({"learns": True}, {}),
        ({"attacked": False}, {}),
        ({}, {"stride": 2}),
        ({}, {"stride": (1, 2)}),
        ({}, {"dilation": 2}),
        ({}, {"padding": 3}),
        ({}, {"padding": "same"}),
    ],
)
def test_leaves_to_torch_what_it_cannot_do_or_would_not_speed_up(
    changes: dict[str, Any], options: dict[str, Any]
) -> None:
    def verdict(
        *,
        channels: int = 1,
        outputs: int = 16,
        groups: int = 1,
        size: int = 8,
        learns: bool = False,
        attacked: bool = True,
        **rest: Any,
    ) -> bool:
        x = drawn(2, groups * channels, size, size).requires_grad_(attacked)
        weight = drawn(groups * outputs, channels, 3, 3).requires_grad_(learns)
        return pixels.suits(x, weight, None, groups, **rest)

    assert verdict()
    assert not verdict(**changes, **options)


def test_does_not_do_what_is_computed_in_another_precision() -> None:
    x, weight = drawn(2, 1, 8, 8).requires_grad_(), drawn(16, 1, 3, 3)
    assert pixels.suits(x, weight, None)
    with torch.autocast("cpu", torch.bfloat16):
        assert not pixels.suits(x, weight, None)


def networks(count: int) -> list[nn.Module]:
    made: list[nn.Module] = []
    for seed in range(count):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            layers = (
                *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
                *(nn.Conv2d(16, 8, 3), nn.Flatten(), nn.Linear(32, 3)),
            )
            made.append(nn.Sequential(*layers).eval().requires_grad_(False))
    return made


def side_by_side(modules: list[nn.Module], *, channels_last: bool) -> FusedModule:
    fused = FusedModule(modules)
    fused.deck.channels_last = channels_last
    return fused


def test_models_side_by_side_use_it_for_images_only(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[torch.Size] = []

    def spied(x: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        done.append(weight.shape)
        return convolution(x, weight, *args, **kwargs)

    convolution = pixels.convolution
    monkeypatch.setattr(pixels, "convolution", spied)
    modules, x = networks(LANES), drawn(LANES, 6, 1, 8, 8, dtype=torch.float32).requires_grad_()
    expected = [slope(m(own), x)[i] for i, (m, own) in enumerate(zip(modules, x, strict=True))]

    side_by_side(modules, channels_last=False)(x)
    side_by_side(modules, channels_last=True)(x.detach())
    assert not done  # it would be no faster
    logits = side_by_side(modules, channels_last=True)(x)
    assert done == [(LANES * 16, 1, 3, 3)]
    weights = torch.stack([drawn(6, 3, dtype=torch.float32)] * LANES)
    (found,) = torch.autograd.grad(logits, x, weights)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-5)


def test_a_lane_is_bitwise_the_same_beside_any_neighbours() -> None:
    modules, x = networks(9), drawn(32, 1, 8, 8, dtype=torch.float32)

    def found(chosen: list[nn.Module], lane: int) -> Tensor:
        own = x.expand(len(chosen), *x.shape).contiguous().requires_grad_()
        logits = side_by_side(chosen, channels_last=True)(own)
        return torch.autograd.grad(logits.sum(), own)[0][lane]

    reference = found(modules[:5], 0)
    assert torch.equal(reference, found([*modules[5:9], modules[0]], 4))
