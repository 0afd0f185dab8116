"""Ranked over the 45 distinct models, on the four trustworthy metrics, at k = 50%."""

from __future__ import annotations

import pytest

SELECTING = ["group_asian", "ood_fairface", "output_noise_5", "pgd_0.005"]
UNFORESEEN = ["group_age_59_116", "ood_celeba", "input_noise_1", "pgd_0.01"]


@pytest.mark.parametrize("metric", SELECTING)
def test_selects(distinct_50, metric):
    """Among the best 50% of the models, ties kept."""
    assert distinct_50.score(metric).in_top(0.5)


@pytest.mark.unforeseen
@pytest.mark.parametrize("metric", UNFORESEEN)
def test_unforeseen(distinct_50, metric):
    """Nobody selected by it."""
    assert distinct_50.score(metric) >= 0


@pytest.mark.family("distinct_50")
def test_so_many_survive(survivors):
    """9 of 45 models are among the best 50% in all four."""
    assert len(survivors) == 9
