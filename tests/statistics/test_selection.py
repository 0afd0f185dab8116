from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_multiplicity.errors import ScoresError
from pytest_multiplicity.statistics.selection import in_top, within
from pytest_multiplicity.statistics.sheet import Sheet
from pytest_multiplicity.statistics.tables import table_counts

TRUSTWORTHY = ["group_asian", "ood_fairface", "output_noise_5", "pgd_0.005"]
UNFORESEEN = ["group_age_59_116", "ood_celeba", "input_noise_1", "pgd_0.01"]
SCORES = st.lists(st.integers(0, 20).map(lambda s: s / 20) | st.just(math.nan), min_size=1)


# the paper


@pytest.fixture(scope="session")
def family(paper_scores, paper_default):
    """Every metric's scores in the design's order, and the cells of every candidate."""
    sheets = {
        metric: Sheet.from_scores(paper_scores, metric=metric, default=paper_default)
        for metric in ["accuracy", *TRUSTWORTHY, *UNFORESEEN]
    }
    scores = {metric: sheet.scores for metric, sheet in sheets.items()}
    return scores, table_counts(sheets["accuracy"].design)


def keep(scores, metrics, k, copies=None):
    return np.all([in_top(scores[metric], k, copies=copies) for metric in metrics], axis=0)


def test_the_papers_selection_over_cells(family):
    scores, copies = family
    assert copies.sum() == 65
    kept = keep(scores, ["accuracy", *TRUSTWORTHY], 0.75, copies)
    assert kept.sum() == 15
    assert copies[kept].sum() == 31
    before_and_after = {
        "group_age_59_116": (3.75, 2.43),
        "ood_celeba": (20.74, 15.13),
        "input_noise_1": (28.81, 24.46),
        "pgd_0.01": (15.75, 5.19),
    }
    for metric, (before, after) in before_and_after.items():
        assert np.ptp(scores[metric]) == pytest.approx(before, abs=0.03)
        assert np.ptp(scores[metric][kept]) == pytest.approx(after, abs=0.03)


def test_the_papers_selection_over_distinct_models(family):
    scores, _ = family
    kept = keep(scores, TRUSTWORTHY, 0.75)
    assert kept.sum() == 19
    assert keep(scores, ["accuracy", *TRUSTWORTHY], 0.75).sum() == 17
    assert np.ptp(scores["pgd_0.01"][kept]) == pytest.approx(5.46, abs=0.005)
    assert np.ptp(scores["group_age_59_116"][kept]) == pytest.approx(2.44, abs=0.005)


def test_half_of_the_papers_models(family):
    scores, copies = family
    assert keep(scores, TRUSTWORTHY, 0.5).sum() == 9
    over_cells = keep(scores, ["accuracy", *TRUSTWORTHY], 0.5, copies)
    assert (over_cells.sum(), copies[over_cells].sum()) == (3, 11)


# rules


@given(SCORES, st.integers(0, 20))
def test_within_by_definition(scores, steps):
    known = [s for s in scores if not math.isnan(s)]
    expected = [
        round(max(known) * 20) - round(s * 20) <= steps if s == s else False for s in scores
    ]
    assert within(np.array(scores), steps / 20).tolist() == expected


@given(SCORES, st.integers(1, 100))
def test_in_top_by_definition(scores, percent):
    known = sorted((s for s in scores if not math.isnan(s)), reverse=True)
    rank = -(-percent * len(known) // 100)  # the exact ceiling
    expected = [bool(known) and s == s and s >= known[rank - 1] for s in scores]
    assert in_top(np.array(scores), percent / 100).tolist() == expected


@given(SCORES, st.integers(0, 20), st.integers(1, 100))
def test_lower_is_better_mirrors_it(scores, steps, percent):
    values = np.array(scores)
    assert (
        within(values, steps / 20, higher_is_better=False).tolist()
        == within(1 - values, steps / 20).tolist()
    )
    assert (
        in_top(values, percent / 100, higher_is_better=False).tolist()
        == in_top(1 - values, percent / 100).tolist()
    )


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), min_size=1), st.integers(1, 100))
def test_copies_rank_as_if_they_stood_there_several_times(rows, percent):
    scores, copies = (np.array(column) for column in zip(*rows, strict=True))
    listed = [score for score, times in rows for _ in range(times)]
    among_all = in_top(np.array(listed, dtype=float), percent / 100)
    first = np.concatenate([[0], np.cumsum(copies)[:-1]])
    found = in_top(scores.astype(float), percent / 100, copies=copies)
    assert found.tolist() == among_all[first].tolist()


def test_inclusive_although_floats_are_not():
    assert within(np.array([0.94, 0.93, 0.9299]), 0.01).tolist() == [True, True, False]
    assert in_top(np.arange(10.0), 0.7).sum() == 7


def test_ties_are_kept():
    assert in_top(np.array([0.9, 0.8, 0.8, 0.7]), 0.5).tolist() == [True, True, True, False]


def test_nobody_with_a_score():
    nobody = np.array([math.nan, math.nan])
    assert not in_top(nobody, 0.5).any()
    assert not within(nobody, 0.5).any()


@pytest.mark.parametrize("eps", [-0.01, math.nan])
def test_distances_that_are_none(eps):
    with pytest.raises(ScoresError, match="eps is a distance"):
        within(np.array([0.5]), eps)


@pytest.mark.parametrize("k", [0, 1.5, -1, math.nan])
def test_shares_that_are_none(k):
    with pytest.raises(ScoresError, match="k is a share"):
        in_top(np.array([0.5]), k)
