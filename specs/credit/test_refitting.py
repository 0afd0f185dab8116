"""Every quarter the bank fits its model again, to other applicants: does it stay as fair as it was?

A logistic regression as it is, and with reweighing, each fitted to ten draws: eight decide of one
that passes with all.
"""

from __future__ import annotations

import pytest

import pytest_multiplicity as pm

from .conftest import fitted


@pm.family(default={"mitigation": "none"}, vary={"mitigation": ["reweighing"]}, seeds=10, keep=True)
def refitted(config, people):
    """A logistic regression, fitted to a draw of 400 of the 500."""
    return fitted("logistic", config.mitigation, config.seed, people)


def test_sexes_get_loans_alike(refitted, people):
    """Demographic parity between women and men, to twelve points."""
    assert refitted.gap(people.select, by="sex", of="positive rate") <= 0.12


def test_few_flips(refitted, bank, people):
    """Of the applicants whom today's model judges right it loses one in ten at most."""
    assert refitted.flips(bank, people.select) <= 0.1


@pytest.mark.unforeseen
def test_flips_of_other_applicants(refitted, bank, people):
    """The same of applicants who selected nobody."""
    refitted.flips(bank, people.report)


@pytest.mark.family("refitted")
def test_reweighing_would_pass_again(survivors, smoke):
    """Of reweighing it is decided that half of its draws or more pass."""
    if smoke:
        pytest.skip("two draws decide nothing")
    assert survivors.reliable(at_least=0.5) == [{"mitigation": "reweighing"}]


@pytest.mark.family("refitted")
def test_quarters_agree(survivors, people):
    """From one quarter to another at most one applicant in four is told otherwise."""
    assert survivors.ambiguity(people.report) <= 0.25
