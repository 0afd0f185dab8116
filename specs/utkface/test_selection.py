"""What a network must do that tells people apart, as in the paper: be among the best 75% at each.

What rejects is measured on ``faces.select``, and what nobody asked for on ``faces.report``: faces
that selected nobody.
"""

from __future__ import annotations

import pytest

import pytest_multiplicity as pm

K = 0.75


def test_accuracy(candidate, faces):
    """What everybody looks at."""
    assert candidate.accuracy(faces.select).in_top(K)


def test_asian(candidate, faces):
    """Fairness: the group on which networks like these err most."""
    assert candidate.accuracy(faces.select, under=pm.Group("race == 'Asian'")).in_top(K)


def test_private(candidate, faces):
    """Answers stay right when noise is added to hide a person's contribution."""
    assert candidate.accuracy(faces.select, under=pm.OutputNoise(5)).in_top(K)


def test_secure(candidate, faces):
    """A change too small to see doesn't change what a face is taken for."""
    assert candidate.accuracy(faces.select, under=pm.PGD(0.005)).in_top(K)


@pytest.mark.unforeseen
def test_older_people(candidate, faces):
    """A group that nobody asked about."""
    candidate.accuracy(faces.report, under=pm.Group("59 <= age <= 116"))


@pytest.mark.unforeseen
def test_noisy_camera(candidate, faces):
    """A worse camera than any that was bought so far."""
    candidate.accuracy(faces.report, under=pm.InputNoise(0.1))


@pytest.mark.unforeseen
def test_stronger_attack(candidate, faces):
    """Twice the change."""
    candidate.accuracy(faces.report, under=pm.PGD(0.01))


def test_somebody_ships(survivors):
    """There is a network to ship."""
    assert len(survivors) >= 1


def test_choice_is_not_arbitrary(survivors, faces, smoke):
    """Whichever survivor ships, it decides on at most one face in four (a small one: two in three).

    Of faces that the survivors tell apart, nobody can say why one and not the other is right.
    """
    assert survivors.ambiguity(faces.report) <= (2 / 3 if smoke else 1 / 4)
