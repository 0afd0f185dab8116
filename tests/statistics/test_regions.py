"""Regions: found where they are, never where other samples don't confirm them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_multiplicity.statistics import regions


def people(n, seed):
    rng = np.random.default_rng(seed)
    return {
        "age": rng.integers(18, 90, n),
        "device type": rng.choice(np.array(["A", "B", "C"], dtype=object), n),
        "new": rng.choice(np.array([True, False], dtype=object), n),
        "name": np.array([f"n{i}" for i in range(n)], dtype=object),
        "income": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
    }


def happens(columns, seed, inside=0.2, elsewhere=0.02):
    rng = np.random.default_rng(seed)
    where = (columns["age"] >= 60) & (columns["device type"] == "B")
    return (rng.random(len(where)) < np.where(where, inside, elsewhere)).astype(float)


def test_a_region_is_found_and_said_in_words_that_pandas_understands():
    here, there = people(3000, 0), people(3000, 1)
    found = regions.confirmed(happens(here, 2), here, happens(there, 3), there)
    assert found
    best = found[0]
    rows = pd.DataFrame(there).eval(best.query)
    planted = (there["age"] >= 60) & (there["device type"] == "B")
    assert (rows.to_numpy() & planted).sum() > 0.7 * planted.sum()
    assert best.inside > 4 * best.elsewhere
    assert best.samples == rows.sum()
    assert best.of == 3000
    assert "age >=" in best.query
    assert "`device type` == 'B'" in best.query


@pytest.mark.parametrize("new", [True, False])
def test_yes_and_no_are_said_as_they_are(new):
    here, there = people(1000, 0), people(1000, 1)
    planted = [(each["new"] == new).astype(float) for each in (here, there)]
    (found,) = regions.confirmed(planted[0], {"new": here["new"]}, planted[1], there)
    assert found.query == f"new == {new}"
    assert (found.inside, found.elsewhere) == (1, 0)


def test_a_number_that_is_split_twice_is_said_once():
    steps = {"age": np.arange(900) % 90.0}
    happened = np.select([steps["age"] >= 60, steps["age"] >= 30], [1.0, 0.5])
    found = regions.confirmed(happened, steps, happened, steps)
    assert [each.query for each in found] == ["age >= 61"]


def test_shares_are_tested_too():
    here, there = people(2000, 4), people(2000, 5)
    share = [(happens(each, s) + happens(each, s + 9)) / 2 for each, s in ((here, 6), (there, 7))]
    assert regions.confirmed(share[0], here, share[1], there)


def test_what_other_samples_do_not_confirm_is_no_region():
    here, there = people(2000, 0), people(2000, 1)
    flat = (np.random.default_rng(2).random(2000) < 0.03).astype(float)
    assert regions.confirmed(happens(here, 2), here, flat, there) == []
    assert regions.confirmed(happens(here, 2), {}, flat, there) == []
    assert regions.confirmed(np.zeros(2000), here, np.zeros(2000), there) == []


def test_chance_alone_is_confirmed_in_at_most_five_of_a_hundred():
    wrong = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        here, there = people(400, 1000 + seed), people(400, 2000 + seed)
        chance = [(rng.random(400) < 0.15).astype(float) for _ in range(2)]
        wrong += bool(regions.confirmed(chance[0], here, chance[1], there))
    assert wrong <= 11  # of 120 at 5%: 6 are expected at most


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_scipys_by_steps(values):
    found = regions.holm(values)
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate((len(values) - np.arange(len(values))) * np.array(values)[order])
    assert np.array(found)[order] == pytest.approx(np.minimum(steps, 1))


def test_the_test_is_fishers():
    happened = np.array([1.0] * 8 + [0] * 12 + [1] * 3 + [0] * 40)
    rows = np.arange(len(happened)) < 20
    table = [[8, 12], [3, 40]]
    known = stats.fisher_exact(table, alternative="greater").pvalue
    assert regions._p_value(happened, rows) == pytest.approx(known)
