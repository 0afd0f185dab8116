from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_multiplicity.errors import StoreError
from pytest_multiplicity.store import Looked, entered, find, merged, sketch_of


def hashes(first, count):
    rng = np.random.default_rng(0)
    return rng.integers(0, 2**64, 5000, dtype=np.uint64)[first : first + count]


def looked(first=0, count=500, **known):
    return Looked(sketch_of(hashes(first, count)), "test", count, **known)


@given(st.integers(0, 1000), st.sampled_from([100, 500, 3000]))
def test_two_sets_are_one_where_they_share_half(shift, count):
    shared = max(0, count - shift) / count
    found = find([looked(0, count)], looked(shift, count).sketch)
    if abs(shared / (2 - shared) - 0.5) > 0.15:  # the share of both together, by a sketch
        assert (found is not None) == (shared / (2 - shared) > 0.5) or shared > 0.5


def test_a_sketch_is_of_samples_in_any_order_and_number():
    digests = hashes(0, 1000)
    twice = np.concatenate([digests[::-1], digests])
    assert sketch_of(digests) == sketch_of(twice)
    assert len(sketch_of(digests)) == 256
    assert find([], sketch_of(digests)) is None


def test_the_same_questions_add_no_look():
    first = looked().after({"a", "b"}, 2)
    assert (first.looks, first.answers) == (1, 2)
    assert first.after({"a"}, 1) is first
    second = first.after({"a", "c"}, 3)
    assert (second.looks, second.answers, second.seen) == (2, 5, {"a", "b", "c"})


def test_of_two_ledgers_the_larger_counts():
    one = [looked(looks=3, answers=1, seen=frozenset("a")), looked(2000, looks=1)]
    other = [looked(looks=2, answers=4, seen=frozenset("b"))]
    both = merged(one, other)
    assert [(each.looks, each.answers) for each in both] == [(3, 4), (1, 0)]
    assert both[0].seen == {"a", "b"}
    assert entered(both, replace(both[0], looks=9))[0].looks == 9


def test_it_is_read_as_it_was_written():
    known = looked(looks=3, answers=1, seen=frozenset({"a", "b"}))
    assert Looked.from_json(known.to_json()) == known


@pytest.mark.parametrize("spoilt", [{"sketch": "?"}, {"looks": "many"}, {"seen": None}])
def test_what_is_no_ledger_is_refused(spoilt):
    with pytest.raises(StoreError, match="no ledger of looks"):
        Looked.from_json({**looked().to_json(), **spoilt})
