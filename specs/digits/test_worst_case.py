"""A list of distortions against a search among them.

Each distortion of the list is mild, and every network passes them all. Hypothesis looks at the same
distortions together, between the values that anybody would have listed, and finds who fails.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

import pytest_multiplicity as pm

ENOUGH = 0.785


def distort(images, angle=0.0, scale=1.0, shear=0.0):
    """A page that lies askew, is too small or large, or was written in a slanted hand."""
    smooth = v2.InterpolationMode.BILINEAR
    return v2.functional.affine(images, angle, [0, 0], scale, [shear, 0], smooth)


@pytest.mark.parametrize(
    "listed",
    [{"angle": -10}, {"angle": 10}, {"scale": 0.93}, {"scale": 1.07}, {"shear": -8}, {"shear": 8}],
    ids=lambda listed: "".join(f"{name}{value}" for name, value in listed.items()),
)
def test_listed_distortion(candidate, digits, listed):
    """One distortion at a time, at the values that come to mind."""
    assert candidate.accuracy(digits.select, under=pm.Corrupt(distort, **listed)) >= ENOUGH


@settings(max_examples=20)
@given(angle=st.floats(-10, 10), scale=st.floats(0.93, 1.07), shear=st.floats(-8, 8))
def test_any_distortion(candidate, digits, angle, scale, shear):
    """All three at once, wherever between those values the search goes."""
    under = pm.Corrupt(distort, angle=angle, scale=scale, shear=shear)
    assert candidate.accuracy(digits.select, under=under) >= ENOUGH
