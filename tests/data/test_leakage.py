"""Samples that two data sets share are found by content."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_multiplicity.data import Data
from pytest_multiplicity.data import inputs as sources

rows = st.lists(st.tuples(st.sampled_from([0.0, 0.25, 1.0]), st.booleans()), min_size=1)


def sample_digests(data):
    return data.source.digests


def shared_samples(data, other):
    return np.flatnonzero(np.isin(sample_digests(data), sample_digests(other)))


def pixels(values):
    return Data(torch.tensor(values, dtype=torch.float32), [0] * len(values))


@given(rows, rows)
def test_agrees_with_comparing_every_pair(left, right):
    assert shared_samples(pixels(left), pixels(right)).tolist() == [
        position for position, row in enumerate(left) if row in right
    ]


def test_parts_of_a_split_share_nothing_and_groups_share_all():
    inputs = torch.rand(50, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    data = Data(inputs, [0] * 50, {"age": range(50)})
    select, report = data.split()
    young = report.where("age < 20")

    assert len(shared_samples(select, report)) == 0
    assert len(shared_samples(young, report)) == len(young)
    assert shared_samples(report, young).tolist() == young.rows.tolist()
    assert len(shared_samples(data, select)) == len(select)


def test_finds_a_sample_under_another_label_from_another_source():
    inputs = torch.rand(6, 2, generator=torch.Generator().manual_seed(0))
    train = Data(inputs, [0] * 6)
    streamed = Data.from_dataset([(inputs[4], 1), (inputs[1] / 2, 0)], stream=True)

    assert shared_samples(streamed, train).tolist() == [0]


def test_digests_do_not_depend_on_blocks_and_are_computed_once(monkeypatch):
    inputs = torch.rand(20, 2, generator=torch.Generator().manual_seed(0))
    whole = sample_digests(Data(inputs, [0] * 20))
    monkeypatch.setattr(sources, "BLOCK_BYTES", 3 * 2 * 4)

    data = Data(inputs, [0] * 20, {"age": range(20)})

    assert (sample_digests(data) == whole).all()
    assert sample_digests(data) is sample_digests(data)
    assert (sample_digests(data.where("age > 9")) == whole[10:]).all()
