"""Ranked over the 45 distinct models, on the four trustworthy metrics, at k = 75%."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SELECTING = ["group_asian", "ood_fairface", "output_noise_5", "pgd_0.005"]
UNFORESEEN = ["group_age_59_116", "ood_celeba", "input_noise_1", "pgd_0.01"]


@pytest.mark.parametrize("metric", SELECTING)
def test_selects(distinct_75, metric):
    """Among the best 75% of the models, ties kept."""
    assert distinct_75.score(metric).in_top(0.75)


@pytest.mark.unforeseen
@pytest.mark.parametrize("metric", UNFORESEEN)
def test_unforeseen(distinct_75, metric):
    """Nobody selected by it."""
    assert distinct_75.score(metric) >= 0


@pytest.mark.family("distinct_75")
def test_so_many_survive(survivors):
    """19 of 45 models are among the best 75% in all four."""
    assert len(survivors) == 19


@pytest.mark.family("distinct_75")
@pytest.mark.parametrize(
    ("metric", "points", "by_chance", "shrinks"),
    [
        ("group_age_59_116", 2.44, 3.12, False),
        ("ood_celeba", 15.25, 18.06, False),
        ("input_noise_1", 24.46, 27.25, False),
        ("pgd_0.01", 5.46, 12.12, True),
    ],
)
def test_what_shrinks_beyond_chance(survivors, metric, points, by_chance, shrinks):
    """Nineteen models drawn at random differ less, too: only the stronger attack shrinks further.

    The paper finds less multiplicity after selection in all four. Each range here is beside the
    mean of as many random models, and "beyond" means in fewer than 5% of random draws.
    """
    assert 100 * survivors.spread(metric) == pytest.approx(points, abs=0.01)
    assert 100 * survivors.expected_spread(metric) == pytest.approx(by_chance, abs=0.02)
    scores = pd.read_csv(Path(__file__).with_name("utkface_scores.csv"))[metric].to_numpy()
    draws = np.random.default_rng(0)
    ranges = [np.ptp(draws.choice(scores, len(survivors), replace=False)) for _ in range(2000)]
    assert (np.mean(np.array(ranges) <= points) < 0.05) == shrinks
