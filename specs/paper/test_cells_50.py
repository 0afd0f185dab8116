"""The paper's rule at k = 50%: in the top of every metric, among the cells of its five tables.

The default configuration stands in every table, so it counts five times; plain accuracy is among
the metrics. See ``in_top(cells=True)``.
"""

from __future__ import annotations

import pytest

SELECTING = ["accuracy", "group_asian", "ood_fairface", "output_noise_5", "pgd_0.005"]
UNFORESEEN = ["group_age_59_116", "ood_celeba", "input_noise_1", "pgd_0.01"]


@pytest.mark.parametrize("metric", SELECTING)
def test_selects(cells_50, metric):
    """In the top 50% of the cells, ties kept."""
    assert cells_50.score(metric).in_top(0.5, cells=True)


@pytest.mark.unforeseen
@pytest.mark.parametrize("metric", UNFORESEEN)
def test_unforeseen(cells_50, metric):
    """Nobody selected by it."""
    assert cells_50.score(metric) >= 0


@pytest.mark.family("cells_50")
def test_so_many_survive(survivors):
    """The same rule, twice as strict: three models in 11 cells."""
    cells = sum(5 if each.id.startswith("default") else 1 for each in survivors)
    assert (len(survivors), cells) == (3, 11)


@pytest.mark.family("cells_50")
@pytest.mark.parametrize(
    ("metric", "points"),
    [
        ("group_age_59_116", 0.75),
        ("ood_celeba", 12.49),
        ("input_noise_1", 16.73),
        ("pgd_0.01", 1.69),
    ],
)
def test_multiplicity_that_remains(survivors, metric, points):
    """The ranges that this rule leaves."""
    assert 100 * survivors.spread(metric) == pytest.approx(points, abs=0.03)
