"""Odd data sets, and what they become: see odd_data.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from faults.odd_data import CASES, IMAGES, Liar, X, Y, inputs, outcome, targets

from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import DataError


@pytest.mark.parametrize("name", CASES)
def test_each_works_or_is_refused_with_a_message(name):
    assert len(outcome(CASES[name])) < 400


def test_values_are_those_given():
    native = Data(X, Y).fingerprint
    for values in (X.astype(">f4"), X.astype(">f8"), np.asfortranarray(X), X[::-1][::-1]):
        assert inputs(values).fingerprint == native
    for kind in ("u1", "u2", "u4", "u8", ">i4", ">u2", ">i8"):
        assert torch.equal(targets(Y.astype(kind)).targets, torch.from_numpy(Y)), kind


def test_masked_values_are_missing():
    values = np.ma.array(X, mask=X > 0.5)
    with pytest.raises(DataError, match=r"24 of the values are masked.*\.filled\(value\)"):
        Data(values, Y)
    assert Data(values.filled(0), Y).inputs.max() <= 0.5


@pytest.mark.parametrize("lies", [1, 6])
def test_what_samples_say_counts(lies):
    data = Data.from_dataset(Liar(lies), name="odd", stream=True)

    said = [(row + (row < lies)) % 3 for row in range(len(Y))]
    assert data.targets.tolist() == said
    whole = Data.from_dataset(Liar(lies), name="odd", stream=False)
    assert whole.targets.tolist() == said
    assert whole.fingerprint == data.fingerprint
    given = Data.from_dataset(Liar(lies), name="odd", stream=True, targets=Y)
    assert len(given.fingerprint) == 64
    assert given.targets.tolist() == Y.tolist()


class Wrapped:
    """A dataset that gives another one's samples backwards, and all else as it is."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __getattr__(self, name):
        return getattr(self.dataset, name)

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, row):
        return self.dataset[len(self) - 1 - row]


def test_a_wrapper_that_lends_targets():
    data = Data.from_dataset(Wrapped(Liar(0)), name="odd", stream=True)
    assert data.targets.tolist() == Y[::-1].tolist()


def test_one_sample_that_says_otherwise():
    class Rare(Liar):
        def __len__(self):
            return 100

        def __getitem__(self, row):
            return IMAGES[0], 2 if row == 52 else row % 3

    rare = Rare(0)
    rare.targets = [row % 3 for row in range(100)]
    data = Data.from_dataset(rare, name="odd", stream=True)
    with pytest.raises(DataError, match=r"sample 52 .* has the target 2, .*dataset say 1"):
        data.take(torch.arange(100))
    given = Data.from_dataset(
        rare, name="odd", stream=True, targets=[rare[row][1] for row in range(100)]
    )
    assert len(given.take(torch.arange(100))) == 100
