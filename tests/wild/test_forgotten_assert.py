# ruff: noqa: B015, B018, RET504 - what is forgotten here is forgotten on purpose
"""A test that compares and asserts nothing lets everybody through, and is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recorded_suite import FAMILY, run, verdicts

from pytest_multiplicity.plugin.forgotten import comparison

SPECS = """
def test_spec(candidate):
    candidate.score("a") >= 0.65

def test_gate(survivors):
    len(survivors) == 2
"""


def bare(candidate):
    candidate >= 0.9


def within(candidate):
    candidate.accuracy(1).within(0.1)


def negated(candidate):
    not candidate.accuracy(1) < 2


def in_a_block(candidate, subtests):
    for each in (1, 2):
        with subtests.test():
            candidate > each and candidate < 9


@given(st.integers())
def searched(angle):
    angle < 3


class TestMethod:
    def method(self, candidate):
        assert candidate
        candidate == 2


def asserted(candidate):
    assert candidate >= 0.9


def expected_error(candidate):
    with pytest.raises(TypeError):
        candidate < None


def measured(candidate):
    candidate.accuracy(1)
    kept = candidate > 1
    return kept


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (bare, "candidate >= 0.9"),
        (within, "candidate.accuracy(1).within(0.1)"),
        (negated, "not candidate.accuracy(1) < 2"),
        (in_a_block, "candidate > each and candidate < 9"),
        (searched, "angle < 3"),
        (TestMethod.method, "candidate == 2"),
        (asserted, None),
        (expected_error, None),
        (measured, None),
        (eval("lambda candidate: candidate > 1"), None),
        (len, None),
    ],
)
def test_a_statement_that_compares_is_found(function, found):
    assert comparison(function) == found


def test_the_report_says_so(pytester):
    pytester.makeconftest(FAMILY)
    pytester.makepyfile(test_a=SPECS)
    _, report = run(pytester)
    assert set(verdicts(report).values()) == {"survivor", "passed"}
    assert sorted(report["warnings"], reverse=True) == [
        "test_spec compares and asserts nothing, so nobody is rejected by it: "
        "assert candidate.score('a') >= 0.65",
        "test_gate compares and asserts nothing, so it says nothing of the survivors: "
        "assert len(survivors) == 2",
    ]
