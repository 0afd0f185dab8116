"""What candidates said, compared: against definitions written out pair by pair."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pytest_multiplicity.errors import ScoresError
from pytest_multiplicity.statistics import Codes, Values, ranges, variances, within_samples

Ints = npt.NDArray[np.int64]

CODES = st.tuples(st.integers(1, 5), st.integers(1, 6)).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.integers(0, 3))
)
VALUES = st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 2)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(-4, 4).map(float))
)


def differ(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], tolerance: float) -> bool:
    return any(abs(x - y) > tolerance for x, y in zip(a.tolist(), b.tolist(), strict=True))


@given(VALUES, st.sampled_from([0.0, 1.0, 2.5]))
def test_values_against_pairs(values: npt.NDArray[np.float64], tolerance: float) -> None:
    said, (count, samples, _) = Values(values, tolerance), values.shape
    apart = {
        (a, b, i): differ(values[a, i], values[b, i], tolerance)
        for a, b, i in product(range(count), range(count), range(samples))
    }
    pairs = list(combinations(range(count), 2))
    any_pair = [any(apart[a, b, i] for a, b in pairs) for i in range(samples)]
    assert said.conflicts().tolist() == [float(each) for each in any_pair]
    assert said.ambiguity() == pytest.approx(sum(any_pair) / samples)
    shares = [sum(apart[a, b, i] for i in range(samples)) / samples for a, b in pairs] or [0.0]
    assert said.discrepancy() == pytest.approx(max(shares))
    assert said.disagreement() == pytest.approx(sum(shares) / len(shares))
    agreeing = [
        sum(not apart[a, b, i] for a, b in pairs) / len(pairs) if pairs else 1.0
        for i in range(samples)
    ]
    assert said.self_consistency().tolist() == pytest.approx(agreeing)
    assert said.self_consistency().mean() == pytest.approx(1 - said.disagreement())
    against = [[apart[0, b, i] for i in range(samples)] for b in range(count)]
    assert said.ambiguity(0) == pytest.approx(np.any(against, axis=0).mean())
    assert said.discrepancy(0) == pytest.approx(np.mean(against, axis=1).max())
    for a, b in pairs:
        assert said.agreement()[a, b] == said.agreement()[b, a]
    assert said.agreement().diagonal().tolist() == [1.0] * count


@given(VALUES, st.data())
def test_the_ambiguity_of_fewer_values_is_that_of_all_subsets(
    values: npt.NDArray[np.float64], data: st.DataObject
) -> None:
    m = data.draw(st.integers(1, len(values)))
    found = Values(values, 1.0).expected_ambiguity(m)
    if values.shape[2] > 1:
        assert found is None
        return
    subsets = [
        Values(values[list(s)], 1.0).ambiguity() for s in combinations(range(len(values)), m)
    ]
    assert found == pytest.approx(np.mean(subsets))


def test_more_values_than_there_are_can_not_be_drawn() -> None:
    with pytest.raises(ScoresError, match="m=3 of 2 candidates"):
        Values(np.zeros((2, 1, 1)), 0).expected_ambiguity(3)


@given(CODES)
def test_codes_within_samples_are_equal_where_those_given_are(codes: Ints) -> None:
    small = within_samples(codes * 1000)
    assert small.max() < len(codes)
    for a, b in combinations(range(len(codes)), 2):
        assert ((small[a] == small[b]) == (codes[a] == codes[b])).all()


@given(CODES, st.data())
def test_samples_of_several_units_have_their_mean(codes: Ints, data: st.DataObject) -> None:
    units = codes.shape[1]
    whose = np.array(data.draw(st.lists(st.integers(0, 3), min_size=units, max_size=units)))
    said, alone = Codes(codes, whose, 4), Codes(codes)
    assert said.ambiguity() == alone.ambiguity()
    for sample in range(4):
        mine = whose == sample
        for each, of_units in (
            (said.conflicts(), alone.conflicts()),
            (said.self_consistency(), alone.self_consistency()),
        ):
            assert each[sample] == pytest.approx(of_units[mine].mean() if mine.any() else 0.0)


def test_ranges_and_variances_of_what_candidates_give() -> None:
    values = np.array([[1.0, 5.0], [3.0, 5.0], [2.0, 8.0]])
    assert ranges(values).tolist() == [[1.0, 3.0], [5.0, 8.0]]
    assert variances(values).tolist() == [1.0, 3.0]
    assert variances(values[:1]).tolist() == [0.0, 0.0]
