"""Who gets a scarce resource: formulas against slow definitions, enumeration and simulation."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_multiplicity.statistics import allocations

DRAWS = 20_000


def slowly_chosen(scores: list[float], k: int, lots: list[int]) -> set[int]:
    left, found = set(range(len(scores))), set()
    for _ in range(k):
        best = max(scores[i] for i in left)
        first = min((lots[i], i) for i in left if scores[i] == best)[1]
        found.add(first)
        left.remove(first)
    return found


@settings(max_examples=60)
@given(st.lists(st.integers(-2, 2), min_size=1, max_size=8), st.data())
def test_the_first_k_and_ties(scores: list[int], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(scores)))
    lots = data.draw(st.permutations(range(len(scores))))
    found, tied = allocations.choose(np.array(scores, float), k, np.array(lots))
    mine = slowly_chosen([float(s) for s in scores], k, lots)
    assert set(np.flatnonzero(found).tolist()) == mine
    last = min(scores[i] for i in mine)
    sharing = [i for i, s in enumerate(scores) if s == last]
    assert tied == (len(sharing) if set(sharing) - mine else 0)


def test_jaccard_by_sets() -> None:
    rng = np.random.default_rng(0)
    whom = rng.random((5, 12)) < 0.5
    sets = [set(np.flatnonzero(row).tolist()) for row in whom]
    slow = [[len(a & b) / len(a | b) for b in sets] for a in sets]
    np.testing.assert_allclose(allocations.jaccard(whom), slow)


@pytest.mark.parametrize(("people", "q", "k"), [(7, 3, 3), (8, 5, 4), (6, 6, 2), (6, 1, 5)])
def test_equal_allocations_are_counted(people: int, q: int, k: int) -> None:
    served = [sum(i < q for i in some) for some in combinations(range(people), k)]
    for u in set(served):
        found = allocations.log_equal(q, people, k, np.array([u]))[0]
        assert found == pytest.approx(np.log(served.count(u)))


def test_the_example_of_the_paper() -> None:
    """10 of 25 qualified applicants: over 3.2 million ways."""
    found = np.exp(allocations.log_equal(25, 25, 10, np.array([10]))[0])
    assert found == pytest.approx(3_268_760)


@pytest.mark.parametrize(("q", "served"), [(20, [5, 8, 3]), (12, [12, 1]), (1, [0, 0]), (9, [4])])
def test_independence_as_in_a_simulation(q: int, served: list[int]) -> None:
    rng = np.random.default_rng(1)
    ranks = rng.random((DRAWS, len(served), q)).argsort(axis=-1)
    left = (ranks >= np.array(served)[:, None]).all(axis=1).sum(axis=1)
    whom = np.stack([np.arange(q + 3) < u for u in served])
    found = allocations.unchosen(whom, np.arange(q + 3) < q)
    assert found.count == q - max(served)
    error = 4 * found.sd / np.sqrt(DRAWS) + 1e-9
    assert abs(left.mean() - found.expected) <= error
    assert left.std() == pytest.approx(found.sd, rel=0.05, abs=1e-6)


def test_a_drawn_allocation_has_k_and_the_chances() -> None:
    votes, models, k = np.array([3, 0, 1, 2, 3, 1, 2, 0]), 3, 4
    rng = np.random.default_rng(2)
    drawn = np.stack([allocations.drawn(votes, models, rng) for _ in range(5000)])
    assert (drawn.sum(axis=1) == k).all()
    assert drawn[:, [0, 4]].all()
    assert not drawn[:, [1, 7]].any()
    np.testing.assert_allclose(drawn.mean(axis=0), votes / models, atol=0.03)
