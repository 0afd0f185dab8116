from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_multiplicity.errors import RecipeError
from pytest_multiplicity.training.seeds import Seeds, derive, epoch_order, training_rows


def config(**values: Any) -> Any:
    made = SimpleNamespace()
    vars(made).update(values)
    return made


def test_one_seed_drives_all() -> None:
    assert Seeds.of(config(seed=3, lr=0.1)) == Seeds(3, 3, 3, 3, None)


def test_an_axis_sets_one_role_apart() -> None:
    seeds = Seeds.of(config(seed=3, **{"seed.order": 7, "seed.subset": 1}))
    assert seeds == Seeds(init=3, order=7, augmentation=3, noise=3, subset=1)


def test_a_seed_that_is_no_whole_number() -> None:
    with pytest.raises(RecipeError, match=r"'seed.init' holds 'a': a seed is a whole number"):
        Seeds.of(config(seed=3, **{"seed.init": "a"}))


@given(st.integers(), st.text(), st.lists(st.integers(0, 10**6), max_size=3))
def test_derived_seeds_fit_every_generator(seed: int, role: str, counters: list[int]) -> None:
    assert 0 <= derive(seed, role, *counters) < 2**63


def test_derived_seeds_differ_by_seed_role_and_counter() -> None:
    seen = {
        derive(seed, role, epoch, step)
        for seed in range(4)
        for role in ("a", "b")
        for epoch in range(4)
        for step in range(4)
    }
    assert len(seen) == 4 * 2 * 4 * 4
    assert derive(0, "a", 1, 23) != derive(0, "a", 12, 3)


def test_orders_are_permutations_that_change_with_epoch_and_seed() -> None:
    rows = torch.arange(40) * 2
    first, second = (epoch_order(rows, Seeds(0, 0, 0, 0), epoch) for epoch in range(2))
    assert torch.equal(first.sort().values, rows)
    assert not torch.equal(first, second)
    assert not torch.equal(first, epoch_order(rows, Seeds(0, 1, 0, 0), 0))
    assert torch.equal(first, epoch_order(rows, Seeds(1, 0, 1, 1), 0))


def test_a_subset_is_half_of_the_rows() -> None:
    rows = training_rows(11, Seeds(0, 0, 0, 0, subset=4))
    assert len(rows) == 5
    assert torch.equal(rows, rows.unique())
    assert torch.equal(rows, training_rows(11, Seeds(9, 9, 9, 9, subset=4)))
    assert torch.equal(training_rows(11, Seeds(0, 0, 0, 0)), torch.arange(11))
