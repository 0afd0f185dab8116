"""Data from tensors: what is kept, shared, viewed and split."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import DataError


def faces(n: int = 20, **options: object) -> Data:
    values = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    frame = pd.DataFrame({"age": range(n), "race": ["Asian", "Black"] * (n // 2)})
    return Data(values, torch.arange(n) % 3, frame, **{"name": "faces", **options})


def test_keeps_what_it_was_given():
    data = faces()

    assert len(data) == 20
    assert data.shape == (1, 4, 4)
    assert data.task.describe(data.targets) == "3 classes"
    assert data.bounds == (0.0, 1.0)
    assert data.targets.dtype == torch.int64
    assert list(data.attributes.columns) == ["age", "race"]
    assert repr(data) == "Data('faces', 20 samples of (1, 4, 4), 3 classes)"


def test_shares_the_memory_of_tensors_and_arrays():
    tensor = torch.rand(5, 3)
    array = np.random.default_rng(0).random((5, 3), dtype=np.float32)

    assert Data(tensor, [0] * 5).inputs.data_ptr() == tensor.data_ptr()
    assert Data(array, [0] * 5).inputs.data_ptr() == array.ctypes.data


def test_shares_a_read_only_array_without_a_warning():
    array = np.random.default_rng(0).random((5, 3), dtype=np.float32)
    array.flags.writeable = False

    assert Data(array, [0] * 5).inputs.data_ptr() == array.ctypes.data


def test_taken_rows_are_a_copy():
    data = faces()

    data.take(torch.tensor([0, 1])).zero_()

    assert data.inputs[0].any()


def test_other_floats_and_layouts_become_float32():
    values = np.random.default_rng(0).random((6, 2))

    data = Data(values[::-1], np.arange(6, dtype=np.int32), bounds=None)

    assert data.inputs.dtype == torch.float32
    assert np.allclose(data.inputs, values[::-1])


def test_targets_may_be_bools_and_attributes_a_mapping():
    data = Data(torch.rand(4, 2), [True, False, True, True], {"ink": [0.1, 0.2, 0.3, 0.4]})

    assert data.targets.tolist() == [1, 0, 1, 1]
    assert len(data.where("ink > 0.15")) == 3


def test_attributes_are_a_copy_with_their_own_index():
    frame = pd.DataFrame({"age": [5, 6]}, index=["a", "b"])

    data = Data(torch.rand(2, 2), [0, 1], frame)
    frame["age"] = 0

    assert data.attributes["age"].to_dict() == {0: 5, 1: 6}


def test_a_group_is_a_view():
    data = faces()

    group = data.where("race == 'Asian'")

    assert group.name == "faces where race == 'Asian'"
    assert group.root is data
    assert group.rows.tolist() == list(range(0, 20, 2))
    assert torch.equal(group.inputs, data.inputs[::2])
    assert torch.equal(group.targets, data.targets[::2])
    assert group.attributes["age"].tolist() == list(range(0, 20, 2))
    assert group.attributes.index.tolist() == list(range(10))


def test_a_root_is_its_own():
    data = faces()

    assert data.root is data
    assert data.rows.tolist() == list(range(20))


def test_a_missing_value_is_in_no_group():
    ages = pd.array([1, None, 3], dtype="Int64")
    data = Data(torch.rand(3, 2), [0, 1, 0], {"age": ages})

    assert data.where("age > 2").rows.tolist() == [2]
    assert data.where("age <= 2").rows.tolist() == [0]


@given(low=st.integers(0, 9), high=st.integers(10, 19))
def test_a_group_of_a_group_has_the_same_root(low, high):
    data = faces()

    nested = data.where(f"age >= {low}").where(f"age <= {high}")

    assert nested.root is data
    assert nested.rows.tolist() == list(range(low, high + 1))
    assert torch.equal(nested.inputs, data.take(nested.rows))
    assert torch.equal(nested.take(torch.tensor([1])), data.take(torch.tensor([low + 1])))


@given(n=st.integers(2, 40), fraction=st.floats(0.05, 0.95), seed=st.integers(0, 5))
def test_a_split_is_a_partition(n, fraction, seed):
    data = Data(torch.arange(2.0 * n).reshape(n, 2), torch.zeros(n).long(), bounds=None)
    size = round(fraction * n)
    if not 0 < size < n:
        return

    select, report = data.split(fraction, seed=seed)

    assert len(select) == size
    together = torch.cat([select.inputs, report.inputs])
    assert torch.equal(together.sort(dim=0).values, data.inputs)


def test_parts_of_a_split_are_roots_that_share_memory():
    data = faces()

    select, report = data.split(0.5, seed=1)

    assert (select.name, report.name) == ("faces-select", "faces-report")
    assert select.root is select
    assert select.rows.tolist() == list(range(10))
    assert len(report.where("race == 'Asian'")) + len(select.where("race == 'Asian'")) == 10
    assert select.source.source is data.source


def test_a_split_is_random_by_its_seed_alone():
    data = faces()
    state = torch.get_rng_state()

    first = data.split(seed=3).select

    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.inputs, data.split(seed=3).select.inputs)
    assert not torch.equal(first.inputs, data.split(seed=4).select.inputs)


def test_survives_pickling():
    data = faces().where("age < 7")

    again = pickle.loads(pickle.dumps(data))

    assert again.fingerprint == data.fingerprint
    assert torch.equal(again.inputs, data.inputs)


def timed(n=12):
    frame = {"day": [(7 * i) % n for i in range(n)], "who": ["ann", "bob", "cid", "dan"] * (n // 4)}
    return Data(torch.rand(n, 2), torch.arange(n) % 2, frame, name="visits")


@given(share=st.floats(0.1, 0.9))
def test_a_split_in_time_has_the_past_in_front(share):
    select, report = timed().split(share, by="day")

    assert len(select) == round(share * 12)
    assert select.attributes["day"].max() < report.attributes["day"].min()


@given(share=st.floats(0.1, 0.9), seed=st.integers(0, 50))
def test_a_split_by_groups_tears_none_apart(share, seed):
    select, report = timed().split(share, groups="who", seed=seed)

    assert not set(select.attributes["who"]) & set(report.attributes["who"])
    assert sorted([*select.attributes["day"], *report.attributes["day"]]) == list(range(12))
    assert abs(len(select) - 12 * share) <= 3


def test_groups_are_drawn_by_the_seed():
    parts = [timed().split(0.5, groups="who", seed=seed).select for seed in range(9)]
    chosen = {tuple(part.attributes["who"]) for part in parts}

    assert len(chosen) > 1


def test_unfitting_splits():
    gone = Data(torch.rand(3, 2), [0, 1, 0], {"day": [1.0, None, 2.0], "one": ["a"] * 3})
    odd = Data(torch.rand(3, 2), [0, 1, 0], {"day": pd.Series([1, "a", 2.0], dtype=object)})
    for broken, message in (
        (lambda: timed().split(by="week"), "by='week'.*no such attribute; there are 'day', 'who'"),
        (lambda: faces().split(groups="who"), "groups='who'.*there are 'age', 'race'"),
        (lambda: Data(torch.rand(2, 2), [0, 1]).split(by="day"), "there are none: give some"),
        (lambda: timed().split(by="day", groups="who"), "give one of them"),
        (lambda: gone.split(by="day"), "1 of the 3 samples of 'data' have no value there"),
        (lambda: gone.split(groups="one"), "all samples of 'data' are in one group"),
        (lambda: odd.split(by="day"), "have no order"),
    ):
        with pytest.raises(DataError, match=message):
            broken()


def test_a_part_of_a_whole_is_told_from_the_missing_call():
    with pytest.raises(DataError, match=r"no 'select': did you forget \.split\(\)\?"):
        _ = faces().select
    assert not hasattr(faces(), "report")
