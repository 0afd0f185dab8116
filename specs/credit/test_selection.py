"""What a pipeline must do before it decides on loans. Selected on a quarter of the applicants."""

from __future__ import annotations

import pytest

import pytest_multiplicity as pm


def test_accuracy(pipeline, people):
    """Within four points of the best."""
    assert pipeline.accuracy(people.select).within(0.04)


def test_sexes_get_loans_alike(pipeline, people):
    """Demographic parity between women and men, to fifteen points."""
    assert pipeline.gap(people.select, by="sex", of="positive rate") <= 0.15


def test_the_young_who_repay_get_loans(pipeline, people):
    """Equal opportunity for applicants up to 25."""
    assert pipeline.gap(people.select, by="years", of="true positive rate") <= 0.25


@pytest.mark.unforeseen
def test_amounts_in_another_currency(pipeline, people):
    """Somebody sends amounts that are a tenth higher."""
    pipeline.accuracy(people.report, under=pm.Corrupt(raised, by=1.1))


@pytest.mark.unforeseen
def test_who_gets_another_answer(pipeline, bank, people):
    """Of all applicants those whom today's model judges right and this one wrong."""
    pipeline.flips(bank, people.report)


def raised(frame, by=1.0):
    """The frame with other amounts."""
    return frame.assign(credit_amount=frame["credit_amount"] * by)


@pytest.mark.family("pipeline")
def test_somebody_lends(survivors):
    """There is a pipeline to lend by."""
    assert len(survivors) >= 1


@pytest.mark.family("pipeline")
def test_loans_are_not_a_lottery(survivors, people):
    """Whichever survivor decides, at most half of the applicants depend on which one it is."""
    assert survivors.ambiguity(people.report) <= 0.5
