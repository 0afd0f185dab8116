"""What a time limit on tests cuts off isn't tried again, for as long, by every candidate."""

from __future__ import annotations

import pytest

from pytest_multiplicity.errors import Attempt

FAMILY = """
import time
from pathlib import Path

import pytest
import torch
import pytest_multiplicity as pm

@pytest.fixture(scope="session")
def d():
    return pm.Data(torch.rand(8, 2), torch.arange(8) % 2, name="d")

@pm.family(seeds=3)
def candidate(config):
    with Path("called.txt").open("a") as file:
        file.write(".")
    time.sleep(30)
"""
SPECS = """
def test_a(candidate, d):
    assert candidate.accuracy(d) >= 0

def test_b(candidate, d):
    assert candidate.accuracy(d) >= 0
"""


def test_who_comes_after_a_timeout_does_not_wait_again(pytester):
    pytest.importorskip("pytest_timeout")
    pytester.makeconftest(FAMILY)
    pytester.makepyfile(test_a=SPECS)
    # a shorter limit may cut off pytest itself on a busy machine
    result = pytester.runpytest_inprocess("-p", "no:randomly", "-p", "timeout", "--timeout=3")
    result.assert_outcomes(errors=6)
    assert (pytester.path / "called.txt").read_text() == "."
    said = result.stdout.str()
    assert said.count("Failed: Timeout") >= 1
    assert "give that test more time" in said
    assert said.count("building candidate failed, see test_a.py::test_a[default-seed0]") >= 5


SLOW = """
import time
from pathlib import Path

import pytest
import torch
import pytest_multiplicity as pm

@pytest.fixture(scope="session")
def d():
    return pm.Data(torch.rand(8, 2), torch.arange(8) % 2, name="d")

@pm.family(seeds=3)
def candidate(config):
    def answers(inputs):
        with Path("called.txt").open("a") as file:
            file.write(".")
        time.sleep(30)
    return answers
"""


def test_who_comes_after_an_evaluation_that_was_cut_off_does_not_wait_again(pytester):
    pytest.importorskip("pytest_timeout")
    pytester.makeconftest(SLOW)
    pytester.makepyfile(test_a=SPECS)
    result = pytester.runpytest_inprocess("-p", "no:randomly", "-p", "timeout", "--timeout=3")
    assert (pytester.path / "called.txt").read_text() == "."
    said = result.stdout.str()
    assert "give that test more time" in said
    assert "evaluating candidate: d failed, see test_a.py::test_a[default-seed0]" in said


def test_after_an_error_an_evaluation_is_tried_again():
    attempt = Attempt("evaluating", again=True)
    with pytest.raises(ValueError, match="nan"), attempt:
        raise ValueError("nan")
    with attempt:
        pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_who_stops_everything_may_begin_again(error):
    attempt = Attempt("training")
    for _ in range(2):
        with pytest.raises(error), attempt:
            raise error
    with attempt:
        pass


@pytest.mark.parametrize("error", [pytest.fail.Exception, pytest.skip.Exception, ValueError])
def test_any_other_end_is_that_of_all(error):
    attempt = Attempt("training")
    for again in ("", " again"):
        with pytest.raises(error) as caught, attempt:
            raise error(f"over{again}")
        assert str(caught.value) == "over"
