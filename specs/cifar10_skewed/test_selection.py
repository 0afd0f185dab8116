"""Which networks to trust with images of either kind, by five metrics, and what that leaves open.

A network is kept when it is in the top k of every metric, as in the paper: k = 75% in the family
``candidate``, k = 50% in the family ``strict``, which holds the same networks.
"""

from __future__ import annotations

import pytest
from torchvision.transforms import v2

import pytest_multiplicity as pm

GRAYSCALE_MINORITY = pm.Group("minority and grayscale")
GRAYSCALE = pm.Corrupt(v2.Grayscale(3))
OUTPUT_NOISE = pm.OutputNoise(5)
ATTACK = pm.PGD(0.005)

COLOUR_MINORITY = pm.Group("minority and not grayscale")
BLUR = pm.Corrupt("blur", severity=2)
INPUT_NOISE = pm.InputNoise(0.05)
STRONGER_ATTACK = pm.PGD(0.01)


def test_accuracy(candidate, cifar10):
    """Accurate on images that are skewed as those it learned from."""
    assert candidate.accuracy(cifar10.select).in_top(0.75)


def test_grayscale_minority(candidate, cifar10):
    """Fair: knows a bird in grayscale, although it saw nineteen in twenty in colour."""
    assert candidate.accuracy(cifar10.select, under=GRAYSCALE_MINORITY).in_top(0.75)


def test_all_grayscale(candidate, cifar10):
    """Robust: goes on when there is no colour at all."""
    assert candidate.accuracy(cifar10.select, under=GRAYSCALE).in_top(0.75)


def test_private(candidate, cifar10):
    """Private: its answers survive the noise that hides whom it learned from."""
    assert candidate.accuracy(cifar10.select, under=OUTPUT_NOISE).in_top(0.75)


def test_secure(candidate, cifar10):
    """Secure: a change of 1/200 of a pixel's range rarely fools it."""
    assert candidate.accuracy(cifar10.select, under=ATTACK).in_top(0.75)


@pytest.mark.unforeseen
def test_colour_minority(candidate, cifar10):
    """The other minority, which nobody asked about: a ship in colour."""
    candidate.accuracy(cifar10.report, under=COLOUR_MINORITY)


@pytest.mark.unforeseen
def test_blur(candidate, cifar10):
    """Another shift."""
    candidate.accuracy(cifar10.report, under=BLUR)


@pytest.mark.unforeseen
def test_noisy_camera(candidate, cifar10):
    """Noise on the image instead of the answer."""
    candidate.accuracy(cifar10.report, under=INPUT_NOISE)


@pytest.mark.unforeseen
def test_stronger_attack(candidate, cifar10):
    """Twice the change that was asked about."""
    candidate.accuracy(cifar10.report, under=STRONGER_ATTACK)


@pytest.mark.parametrize(
    "under",
    [None, GRAYSCALE_MINORITY, GRAYSCALE, OUTPUT_NOISE, ATTACK],
    ids=["accuracy", "grayscale_minority", "all_grayscale", "private", "secure"],
)
def test_top_half(strict, cifar10, under):
    """In the top 50% of the family."""
    assert strict.accuracy(cifar10.select, under=under).in_top(0.5)


@pytest.mark.unforeseen
@pytest.mark.parametrize(
    "under",
    [COLOUR_MINORITY, BLUR, INPUT_NOISE, STRONGER_ATTACK],
    ids=["colour_minority", "blur", "noisy_camera", "stronger_attack"],
)
def test_unforeseen(strict, cifar10, under):
    """Nobody selected by it."""
    strict.accuracy(cifar10.report, under=under)


@pytest.mark.family("candidate")
def test_somebody_ships(survivors):
    """There is a network that is in the top 75% of everything that was asked."""
    assert len(survivors) >= 1


@pytest.mark.family("candidate")
def test_unforeseen_spread_is_bounded(survivors, cifar10):
    """Survivors may differ under an attack that nobody foresaw, but not by more than 25 points."""
    assert survivors.spread(cifar10.report, under=STRONGER_ATTACK) <= 0.25
