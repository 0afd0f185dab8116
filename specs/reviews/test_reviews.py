"""What a reader must do before it sorts what guests write."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pytest_multiplicity as pm

from .texts import DISHES, misspelt


def typos(batch, share):
    """Two letters exchanged in a share of the longer words; other ones for each text."""
    return [misspelt(text, share, random) for text in batch]


def another_dish(batch, dish):
    """Whatever was eaten, it was this."""
    return [" ".join(dish if word in DISHES else word for word in each.split()) for each in batch]


def test_accuracy(reader, reviews):
    """Within three points of the best."""
    assert reader.accuracy(reviews.select).within(0.03)


def test_learners(reader, reviews):
    """Those who don't write in their own language are understood, too."""
    assert reader.accuracy(reviews.select, under=pm.Group("writer == 'learner'")) >= 0.9


def test_negated(reader, reviews):
    """ "Not bad" is praise."""
    assert reader.accuracy(reviews.select, under=pm.Group("negated")) >= 0.9


def test_typos(reader, reviews):
    """One longer word in ten is misspelt."""
    assert reader.accuracy(reviews.select, under=pm.Corrupt(typos, share=0.1)) >= 0.9


@settings(max_examples=4)
@given(dish=st.sampled_from(DISHES))
def test_whatever_was_eaten(reader, reviews, dish):
    """What was eaten says nothing: with another dish a review says the same. No targets needed."""
    assert reader.consistency(reviews.select, under=pm.Corrupt(another_dish, dish=dish)) >= 0.95


@pytest.mark.unforeseen
def test_hasty_learners(reader, reviews):
    """Learners who misspell a third of what they write."""
    under = pm.Group("writer == 'learner'") | pm.Corrupt(typos, share=0.3)
    reader.accuracy(reviews.report, under=under)


@pytest.mark.unforeseen
def test_unsure(reader, reviews):
    """How well opinions are told apart by probability."""
    reader.measure("auroc", reviews.report)


def test_somebody_ships(survivors):
    """There is a reader to ship."""
    assert len(survivors) >= 1


def test_choice_is_not_arbitrary(survivors, reviews):
    """Of a hundred reviews at most ten are read as the choice among survivors has it."""
    assert survivors.ambiguity(reviews.report) <= 0.1


def test_typos_do_not_divide_survivors(survivors, reviews):
    """Where a third is misspelt, who reads it makes at most twenty points: unspecified."""
    assert survivors.spread(reviews.report, under=pm.Corrupt(typos, share=0.3)) <= 0.2
