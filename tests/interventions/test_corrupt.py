"""Corruptions: any transform, the same for every candidate, batch and run."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors
from torchvision.transforms import v2

from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import InterventionError
from pytest_multiplicity.interventions import Corrupt, Group
from pytest_multiplicity.interventions.corruptions import CORRUPTIONS

N = 24


@pytest.fixture(scope="module")
def data():
    """Smooth images, a bit like photographs."""
    coarse = torch.rand(N, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    images = v2.functional.resize(coarse, [32, 32], interpolation=v2.InterpolationMode.BILINEAR)
    return Data(images, torch.arange(N) % 3, {"age": range(N)})


def corrupted(corrupt, data, rows=slice(None)):
    return corrupt.apply(data.inputs[rows], data.rows[rows], data)


def jitter(images):
    """Draw from all three global generators."""
    shift = torch.rand(1).item() + np.random.random() + random.random()  # noqa: NPY002
    return images * shift / 3


RANDOM = [
    Corrupt(v2.GaussianNoise(sigma=0.2)),
    Corrupt(v2.RandomRotation(30)),
    Corrupt(v2.RandomErasing(p=0.5)),
    Corrupt(v2.Compose([v2.ColorJitter(0.3), v2.GaussianBlur(3)])),
    Corrupt(jitter),
    Corrupt("noise", severity=3),
    Corrupt("fog", severity=2),
    Corrupt("shot", severity=5),
    Corrupt("impulse", severity=4),
]


def test_a_functional_with_parameters_is_applied_to_the_batch(data):
    rotated = corrupted(Corrupt(v2.functional.rotate, angle=15), data)

    assert torch.equal(rotated, v2.functional.rotate(data.inputs, angle=15))


def test_a_callable_is_applied_once_to_the_batch_and_not_clamped(data):
    sizes = []

    def doubled(images):
        sizes.append(len(images))
        return images * 2

    assert torch.equal(corrupted(Corrupt(doubled), data), data.inputs * 2)
    assert sizes == [N]


@pytest.mark.parametrize("corrupt", RANDOM, ids=lambda corrupt: repr(corrupt)[:40])
@given(rows=st.lists(st.integers(0, N - 1), min_size=1, max_size=6, unique=True))
@settings(max_examples=5, deadline=None)
def test_a_group_under_a_random_transform_is_the_same_of_the_group(corrupt, rows, data):
    whole = corrupted(corrupt, data)

    assert not torch.equal(whole, data.inputs)
    assert torch.equal(corrupted(corrupt, data, torch.tensor(rows)), whole[rows])


def test_a_view_is_corrupted_as_its_root_is(data):
    view = data.where("age >= 12")
    assert Group("age >= 12").rows(data).tolist() == view.rows.tolist()

    for corrupt in RANDOM[:2]:
        assert torch.equal(corrupted(corrupt, view), corrupted(corrupt, data)[12:])


def test_every_sample_draws_numbers_of_its_own(data):
    same = Data(data.inputs[:1].repeat(N, 1, 1, 1), [0] * N)

    rotated = corrupted(Corrupt(v2.RandomRotation(90)), same)

    assert len({image.sum().item() for image in rotated}) == N


@pytest.mark.parametrize("corrupt", RANDOM, ids=lambda corrupt: repr(corrupt)[:40])
def test_leaves_inputs_and_global_generators_alone(corrupt, data):
    before = data.inputs.clone()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first = corrupted(corrupt, data)
        drawn = torch.rand(1)
        torch.manual_seed(3)
        assert torch.equal(drawn, torch.rand(1))
        assert torch.equal(first, corrupted(corrupt, data))
    assert torch.equal(data.inputs, before)


def test_a_transform_that_writes_to_its_input_does_not_write_to_ours(data):
    before = data.inputs.clone()

    assert not corrupted(Corrupt(torch.Tensor.zero_), data).any()
    assert torch.equal(data.inputs, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_dtype_and_returns_a_plain_tensor(dtype, data):
    wrapped = Corrupt(lambda images: tv_tensors.Image(images.double()))

    result = wrapped.apply(data.inputs.to(dtype), data.rows, data)

    assert type(result) is torch.Tensor
    assert result.dtype == dtype


# --- named corruptions


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_severities_grow_and_stay_in_the_bounds(name, data):
    images = [corrupted(Corrupt(name, severity=severity), data) for severity in range(1, 6)]

    distances = [float((image - data.inputs).square().mean()) for image in images]
    assert 0 < distances[0] < distances[-1]
    assert distances == sorted(distances)
    assert math.sqrt(distances[-1]) < 0.45
    assert all(image.min() >= 0 and image.max() <= 1 for image in images)


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 20, 28)])
def test_other_sizes_and_single_channels_work(name, shape):
    images = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))

    assert corrupted(Corrupt(name, severity=5), Data(images, [0, 1, 0, 1])).shape == images.shape


def test_the_formulas_of_the_simple_ones(data):
    images = data.inputs
    mean = images.mean((2, 3), keepdim=True)

    bright = corrupted(Corrupt("brightness", severity=3), data)
    flat = corrupted(Corrupt("contrast", severity=5), data)
    noisy = corrupted(Corrupt("noise", severity=5), data) - images

    assert torch.allclose(bright, (images + 0.15).clamp(0, 1))
    assert torch.allclose(flat, mean + 0.15 * (images - mean))
    inner = (images > 0.4) & (images < 0.6)
    assert float(noisy[inner].std()) == pytest.approx(0.1, rel=0.05)


# --- bad input


@pytest.mark.parametrize(
    ("arguments", "parameters", "message"),
    [
        (("blurr",), {"severity": 3}, "no corruption named 'blurr': there are 'blur', 'brightne"),
        (("blur",), {}, r"Corrupt\('blur'\) takes severity=1 to severity=5.*got {}"),
        (("blur",), {"severity": 0}, "got {'severity': 0}"),
        (("blur",), {"severity": 6}, "got {'severity': 6}"),
        (("blur",), {"severity": 2.5}, "got {'severity': 2.5}"),
        (("blur",), {"sigma": 1}, "got {'sigma': 1}"),
        ((v2.GaussianBlur,), {}, r"Corrupt\(GaussianBlur\): give a function of a batch"),
        ((3,), {}, r"Corrupt\(3\): give a function"),
    ],
)
def test_unfitting_transforms(arguments, parameters, message):
    with pytest.raises(InterventionError, match=message):
        Corrupt(*arguments, **parameters)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda images: images[1:], r"turned a batch of shape \(24, .* into \(23, .*keep the num"),
        (v2.CenterCrop(16), r"into \(24, 3, 16, 16\)"),
        (lambda images: images[:, :1], "must keep the number of samples and their shape"),
        (lambda images: images / 0, "returned nan or infinity"),
        (lambda images: images - math.inf, "returned nan or infinity"),
        (lambda images: (images * 255).byte(), "returned torch.uint8: return floats"),
        (lambda images: None, "returned NoneType: return the changed batch as a tensor"),
        (lambda images: images.numpy(), "returned ndarray"),
        (lambda images: images[: torch.rand(1).ceil().int() * 0], r"into \(0, "),
    ],
)
def test_unfitting_results(transform, message, data):
    with pytest.raises(InterventionError, match=message):
        corrupted(Corrupt(transform), data)


def test_named_corruptions_are_for_images_in_0_1(data):
    table = Data(torch.rand(4, 5), [0, 1, 0, 1])
    bytes_ = Data(data.inputs * 255, data.targets, bounds=(0, 255))

    for unfitting in (table, bytes_):
        with pytest.raises(InterventionError, match=r"'blur' is for images .* in \[0, 1\]: got"):
            corrupted(Corrupt("blur", severity=1), unfitting)
