"""Numbers that belong to a sample, and global generators that are lent."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from pytest_multiplicity.interventions.randomness import Stream, lent


def test_a_samples_numbers_do_not_depend_on_what_was_drawn_before():
    stream = Stream("noise")
    alone = Stream("noise").at(7).random(5)

    stream.at(3).integers(10, size=3, dtype=np.uint8)  # leaves half-used words behind
    stream.at(7).random(2)

    assert (stream.at(7).random(5) == alone).all()
    assert not (stream.at(8).random(5) == alone).any()


def test_streams_differ_by_name_and_seed():
    streams = [Stream("a"), Stream("b"), Stream("a", 1), Stream("b", 1)]

    assert len({stream.seed(0) for stream in streams}) == 4
    assert Stream("a").seed(0) == Stream("a", 0).seed(0)


def test_uniform_noise_fills_the_cube():
    noise = Stream("start").signed_uniform(torch.arange(100), torch.Size([2, 50]))

    assert noise.shape == (100, 2, 50)
    assert noise.min() >= -1
    assert noise.max() < 1
    assert float(noise.mean()) == pytest.approx(0, abs=0.03)
    assert float(noise.var()) == pytest.approx(1 / 3, abs=0.01)


def test_points_in_the_ball_are_uniform_by_volume():
    points = Stream("start").in_unit_ball(torch.arange(4000), torch.Size([3]))

    radii = points.norm(dim=1)
    assert radii.max() <= 1
    for radius in (0.5, 0.8):
        assert float((radii < radius).double().mean()) == pytest.approx(radius**3, abs=0.03)
    assert points.mean(0).abs().max() < 0.05


def draw():
    return torch.rand(1).item(), np.random.random(), random.random()  # noqa: NPY002


def test_lent_generators_are_seeded_and_put_back():
    with lent(torch.device("cpu")) as outer:
        outer.seed(5)
        expected = draw()

        outer.seed(5)
        with lent(torch.device("cpu")) as numbers:
            numbers.seed(6)
            inside = draw()
        assert draw() == expected
        assert not set(inside) & set(expected)


def test_puts_generators_back_after_an_error():
    state = torch.get_rng_state()

    with pytest.raises(ZeroDivisionError), lent(torch.device("cpu")):
        draw()[0] / 0

    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("generator", [torch.rand, np.random.random, lambda _: random.random()])
def test_state_shows_whether_anything_was_drawn(generator):
    with lent(torch.device("cpu")) as numbers:
        numbers.seed(1)
        before = numbers.state
        assert numbers.state == before
        generator(1)
        assert numbers.state != before
