"""The published table: an accuracy that hardly moves, and answers that do."""

from __future__ import annotations

import pytest

BENCHMARKS = ["truthfulqa", "wikifactor", "medhalt"]


@pytest.mark.parametrize("quiz", BENCHMARKS)
def test_accuracy_hardly_moves(published, quiz):
    """Over prompt structures the accuracy has a deviation of a point and a half at most."""
    assert published.score(f"{quiz}_sd") <= 0.015


@pytest.mark.unforeseen
@pytest.mark.parametrize("quiz", BENCHMARKS)
def test_answers_stay(published, quiz):
    """Nobody selected by it: a fifth of the questions at most is answered in several ways."""
    assert published.score(f"{quiz}_ambiguity") <= 0.2


@pytest.mark.unforeseen
@pytest.mark.parametrize("quiz", BENCHMARKS)
def test_accuracy(published, quiz):
    """Within five points of the best."""
    assert published.score(f"{quiz}_accuracy").within(0.05)


@pytest.mark.family("published")
def test_stable_scores_keep_every_model(survivors):
    """A gate: the deviation tells nothing, all six survive, with ambiguities of 17% to 61%."""
    assert len(survivors) == 6
    found = [each.score(f"{name}_ambiguity") for each in survivors for name in BENCHMARKS]
    assert min(found) == pytest.approx(0.1714)
    assert max(found) == pytest.approx(0.6054)


@pytest.mark.family("published")
def test_who_is_most_accurate_depends_on_the_benchmark(survivors):
    best = {name: survivors.pick(f"{name}_accuracy").candidate.config.model for name in BENCHMARKS}
    assert best == {
        "truthfulqa": "Llama3-8B-Instruct",
        "wikifactor": "Llama2-13B-Chat",
        "medhalt": "Llama2-13B-Chat",
    }
