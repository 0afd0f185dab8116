"""The table made here: prompts that are equally accurate, and answer differently."""

from __future__ import annotations

import pytest

import pytest_multiplicity as pm


def test_accuracy(prompt, questions):
    """Within five points of the best wording."""
    assert prompt.accuracy(questions.select).within(0.05)


@pytest.mark.unforeseen
@pytest.mark.parametrize("topic", ["history", "health"])
def test_topic(prompt, questions, topic):
    """Nobody selected by it: as accurate on one topic as others are."""
    about = pm.Group(f"topic == '{topic}'")
    assert prompt.accuracy(questions.report, under=about).within(0.05)


@pytest.mark.family("prompt")
def test_wording_hardly_moves_the_accuracy(survivors, questions):
    """A gate: on the other questions the five prompts score the same, but for five points."""
    assert len(survivors) == 5
    assert survivors.spread(questions.report) <= 0.05


@pytest.mark.family("prompt")
def test_wording_decides_many_answers(survivors, questions):
    """A gate that says what is: half of the questions are answered as they are asked."""
    assert 0.4 <= survivors.ambiguity(questions.report) <= 0.65
