"""What is the same option, by hash and by comparison."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_multiplicity.design.distinct import Distinct, DistinctConfigurations, same

OPTIONS = st.one_of(
    st.booleans(), st.integers(-2, 2), st.sampled_from([0.0, 1.0, 0.5, "a", None]),
    st.lists(st.integers(0, 1), max_size=2), st.tuples(st.lists(st.integers(0, 1), max_size=1)),
)  # fmt: skip


@given(st.lists(OPTIONS, max_size=12))
def test_each_option_has_the_place_of_the_first_that_is_the_same(options):
    known, slow = Distinct(), []
    for option in options:
        place = next((i for i, other in enumerate(slow) if same(option, other)), len(slow))
        if place == len(slow):
            slow.append(option)
        assert known.add(option) == place
    assert len(known.options) == len(slow)


@given(st.lists(st.fixed_dictionaries({"lr": OPTIONS, "width": OPTIONS}), max_size=8))
def test_so_has_each_configuration(configurations):
    known, slow = DistinctConfigurations(), []
    for options in configurations:
        alike = (i for i, o in enumerate(slow) if all(same(o[axis], options[axis]) for axis in o))
        place = next(alike, len(slow))
        if place == len(slow):
            slow.append(options)
        assert known.add(dict(reversed(options.items()))) == place


def test_arrays_are_the_same_only_as_themselves():
    array = np.zeros(2)
    known = Distinct([array])
    assert known.add(array) == 0
    assert known.add(np.zeros(2)) == 1
