from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from benchmarks.holdout import attack
from pytest_multiplicity.statistics import holdout


def test_scores_fixed_beforehand_are_hardly_ever_better_than_the_bound():
    rng, samples, candidates = np.random.default_rng(0), 200, 20
    bound = holdout.optimism(samples, candidates, 1)
    best = (rng.random((500, candidates, samples)) < 0.6).mean(axis=2).max(axis=1) - 0.6
    assert (best > bound).mean() <= 0.05
    assert bound == pytest.approx(math.sqrt(math.log(2 * candidates / 0.05) / (2 * samples)))


def test_answers_of_yes_or_no_cost_a_bit_each():
    one, two = holdout.optimism(1000, 7, 3), holdout.optimism(1000, 7, 3, answers=10)
    assert two**2 - one**2 == pytest.approx(10 * math.log(2) / 2000)
    assert holdout.optimism(10, 7, 3, answers=400) is None
    assert holdout.optimism(0, 7, 3) is None


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 8), st.integers(2, 30))))
def test_the_ladder_is_that_of_its_paper(losses):
    last, announced, before = None, math.inf, np.zeros(losses.shape[1])
    for row in losses.astype(float):
        last = holdout.ladder(last, row)
        difference = row - before
        spread = math.sqrt(sum((difference - difference.mean()) ** 2) / (len(row) - 1))
        better = announced - spread / math.sqrt(len(row)) - row.mean()
        assume(abs(better) > 1e-9)  # where rounding decides
        if better > 0:
            announced, before = round(row.mean() * len(row)) / len(row), row
        assert last.loss == announced


def test_coin_flips_climb_no_ladder():
    told = attack(400, 1000, np.random.default_rng(0), told_by_ladder=False)
    ladder = attack(400, 1000, np.random.default_rng(0), told_by_ladder=True)
    assert told == pytest.approx(0.36, abs=0.02)
    assert ladder == pytest.approx(0.465, abs=0.02)
