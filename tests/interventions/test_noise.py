"""Exponential noise: the closed form against draws, and what every noise must satisfy."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import InterventionError
from pytest_multiplicity.interventions import InputNoise, OutputNoise

N = 50
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def data():
    images = torch.rand(N, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    return Data(images, torch.arange(N) % 3, {"age": range(N)})


def logits(n, classes, spread=3.0, seed=0):
    return spread * torch.randn(n, classes, generator=torch.Generator().manual_seed(seed))


# --- the expected accuracy under output noise


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
@pytest.mark.parametrize("scale", [0.5, 5.0])
def test_expected_correctness_agrees_with_a_million_draws(classes, scale):
    n, draws = 10, 100_000  # for each of the n samples
    z = logits(n, classes)
    targets = torch.arange(n) % classes
    hits = np.zeros(n)
    for _ in range(draws // 10_000):
        noise = RNG.exponential(scale, (10_000, n, classes)) if classes < 100 else None
        hits += drawn_hits(z.numpy(), targets.numpy(), scale, noise, classes)

    expected = OutputNoise(scale).expected_correct(z, targets).numpy()

    error = np.sqrt(expected * (1 - expected) / draws)
    assert (np.abs(hits / draws - expected) <= 4.5 * error + 1e-4).all()


def drawn_hits(z, targets, scale, noise, classes):
    if noise is None:  # in two halves, to spare memory
        halves = [RNG.exponential(scale, (5_000, *z.shape)) for _ in range(2)]
        return sum(drawn_hits(z, targets, scale, half, classes) for half in halves)
    return ((z + noise).argmax(2) == targets).sum(0)


@given(st.floats(-30, 30), st.floats(0.01, 50))
def test_two_classes_have_a_simpler_form(lead, scale):
    expected = OutputNoise(scale).expected_correct(torch.tensor([[lead, 0.0]]), torch.tensor([0]))

    tail = 0.5 * math.exp(-abs(torch.tensor(lead).item()) / scale)
    assert float(expected) == pytest.approx(1 - tail if lead >= 0 else tail, abs=1e-12)


@given(classes=st.integers(2, 80), scale=st.floats(0.01, 100), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_probabilities_of_all_classes_sum_to_1(classes, scale, seed):
    z = logits(1, classes, seed=seed).expand(classes, classes)

    wins = OutputNoise(scale).expected_correct(z, torch.arange(classes))

    assert wins.dtype == torch.float64
    assert float(wins.sum()) == pytest.approx(1, abs=1e-9)
    assert (wins >= 0).all()


@pytest.mark.parametrize("classes", [65, 100, 1000])
@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0, 5.0])
def test_few_nodes_suffice_for_many_classes(classes, spread):
    z = logits(3, classes, spread).double()
    targets = z.argmax(1)
    nodes, weights = np.polynomial.legendre.leggauss(classes // 2 + 1)  # exact for any polynomial
    a = (z - z.amax(1, keepdim=True)).exp().numpy()
    others = a.copy()
    others[range(3), targets] = 0
    exact = sum(
        w / 2 * (1 - (x + 1) / 2 * others).prod(1) for x, w in zip(nodes, weights, strict=True)
    )

    found = OutputNoise(1).expected_correct(z, targets)

    assert np.allclose(found, a[range(3), targets] * exact, rtol=1e-6)


def test_the_extremes():
    z = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1e4, 0.0, 0.0, 0.0], [0.0, 1e4, 0.0, 0.0]])

    wins = OutputNoise(2).expected_correct(z, torch.zeros(3, dtype=torch.int64))

    assert wins.tolist() == pytest.approx([0.25, 1, 0])


@given(scale=st.floats(1e-3, 10))
def test_measures_the_scale_of_the_logits(scale):
    z, targets = logits(20, 5), torch.arange(20) % 5

    at_one = OutputNoise(1).expected_correct(z.double() / scale, targets)

    assert torch.allclose(OutputNoise(scale).expected_correct(z, targets), at_one)


# --- drawn noise


def test_drawn_predictions_agree_with_the_expected_accuracy(data):
    n = 20_000
    many = Data(torch.rand(n, 1), torch.arange(n) % 5)
    z = logits(n, 5)
    noise = OutputNoise(2)

    drawn = (noise.apply(z, many.rows, many).argmax(1) == many.targets).double().mean()

    assert float(drawn) == pytest.approx(
        float(noise.expected_correct(z, many.targets).mean()), abs=4 * 0.5 / math.sqrt(n)
    )


@pytest.mark.parametrize("noise", [InputNoise(0), OutputNoise(0)])
def test_scale_0_is_clean(noise, data):
    assert torch.equal(noise.apply(data.inputs, data.rows, data), data.inputs)


def test_scale_0_counts_what_is_right():
    z, targets = logits(20, 3), torch.arange(20) % 3

    expected = OutputNoise(0).expected_correct(z, targets)

    assert torch.equal(expected, (z.argmax(1) == targets).double())


def test_input_noise_is_exponential_and_clamped():
    zeros = Data(torch.zeros(200, 1000), [0] * 200, bounds=(0, 1))
    free = Data(torch.zeros(200, 1000), [0] * 200, bounds=None)

    noisy = InputNoise(0.5).apply(free.inputs, free.rows, free)

    assert float(noisy.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(noisy.std()) == pytest.approx(0.5, abs=0.01)
    assert float((noisy > 0.5).double().mean()) == pytest.approx(math.exp(-1), abs=0.005)
    assert torch.equal(InputNoise(0.5).apply(zeros.inputs, zeros.rows, zeros), noisy.clamp(0, 1))


def noises():
    """Noise as a function of (values, rows, data)."""
    return [InputNoise(0.1), InputNoise(0.1, seed=1), OutputNoise(3), OutputNoise(3, seed=2)]


@pytest.mark.parametrize("noise", noises(), ids=repr)
@given(rows=st.lists(st.integers(0, N - 1), min_size=1, unique=True))
@settings(max_examples=10)
def test_a_group_under_noise_is_the_noise_of_the_group(noise, rows, data):
    rows = torch.tensor(rows)
    values = data.inputs.flatten(1)
    whole = noise.apply(values, data.rows, data)

    assert torch.equal(noise.apply(values[rows], data.rows[rows], data), whole[rows])


@pytest.mark.parametrize("noise", noises(), ids=repr)
def test_a_view_under_noise_is_the_view_of_the_noise(noise, data):
    view = data.where("age >= 30").where("age < 40")
    whole = noise.apply(data.inputs, data.rows, data)

    assert torch.equal(noise.apply(view.inputs, view.rows, view), whole[30:40])


def test_numbers_differ_between_samples_kinds_and_seeds_not_scales(data):
    zeros = torch.zeros(N, 25)
    free = Data(zeros, data.targets, bounds=None)

    drawn = [noise.apply(zeros, free.rows, free) for noise in noises()]

    assert len({float(value) for noise in drawn for value in noise[:, 0]}) == 4 * N
    twice = InputNoise(0.2).apply(zeros, free.rows, free)
    assert torch.allclose(twice, 2 * drawn[0])


@pytest.mark.parametrize("noise", noises(), ids=repr)
def test_leaves_inputs_and_global_generators_alone(noise, data):
    before = data.inputs.clone()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002

    noise.apply(data.inputs, data.rows, data)

    assert torch.equal(data.inputs, before)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()  # noqa: NPY002


@pytest.mark.parametrize("kind", [InputNoise, OutputNoise])
@pytest.mark.parametrize("scale", [-1, -1e-9, math.nan, math.inf, "loud", None])
def test_unfitting_scales(kind, scale):
    with pytest.raises(InterventionError, match=f"{kind.__name__}: scale=.* give a number, 0 or"):
        kind(scale)
