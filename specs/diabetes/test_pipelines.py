"""What a pipeline must do before it may tell patients what to expect.

Specifications look at the patients to select by. Gates, and what nobody asked for, look at those
who selected nobody.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pytest_multiplicity as pm


def test_within_sixty(pipeline, patients):
    """Within eight points of the best: on so few patients less is hardly a difference."""
    assert pipeline.accuracy(patients.select).within(0.08)


def test_average_error(pipeline, patients):
    """Those who are told wrongly aren't told nonsense: the mean error, in the unit of progress."""
    assert pipeline.measure("mae", patients.select) <= 50


@pytest.mark.parametrize("sex", ["one", "other"])
def test_each_sex(pipeline, patients, sex):
    """Neither pays for the other's accuracy."""
    assert pipeline.accuracy(patients.select, under=pm.Group(f"sex == '{sex}'")) >= 0.6


def test_old_patients(pipeline, patients):
    """Those over sixty, too."""
    assert pipeline.accuracy(patients.select, under=pm.Group("age > 60")) >= 0.5


def another_cuff(frame, by):
    """A cuff that reads too high, or too low."""
    return frame.assign(bp=frame["bp"] + by)


@settings(max_examples=8)
@given(by=st.floats(-8, 8))
def test_another_cuff(pipeline, patients, by):
    """Whatever blood pressure was read, up to eight off."""
    under = pm.Corrupt(another_cuff, by=by)
    assert pipeline.accuracy(patients.select, under=under) >= 0.6


@pytest.mark.unforeseen
@settings(max_examples=6)
@given(draw=st.data())
def test_an_empty_column(pipeline, patients, draw):
    """A field of the form is left empty for everybody, whichever it is."""
    under = draw.draw(pm.strategies.missing(patients.report, "bmi", "bp", "s5", "s6"))
    pipeline.accuracy(patients.report, under=under)


@pytest.mark.unforeseen
def test_a_worse_laboratory(pipeline, patients):
    """All that is measured is noisy, by a tenth of its spread: who is told the same?"""
    pipeline.consistency(patients.report, under=pm.InputNoise(0.1))


@pytest.mark.family("pipeline")
def test_somebody_ships(survivors):
    """There is a pipeline to ship."""
    assert len(survivors) >= 1


@pytest.mark.family("pipeline")
def test_choice_is_not_arbitrary(survivors, patients):
    """Whoever ships, at most two patients in five could have been told something else."""
    assert survivors.ambiguity(patients.report) <= 0.4


@pytest.mark.family("pipeline")
def test_half_of_all_know_what_to_expect(survivors, patients):
    """Between the lowest and the highest that a patient can be told lies less than 60."""
    told = survivors.viable_prediction_range(patients.report)
    assert (told["high"] - told["low"]).median() <= 60
