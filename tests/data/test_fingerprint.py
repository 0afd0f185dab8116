"""A data set is known by its content, wherever that comes from."""

from __future__ import annotations

import hashlib

import pandas as pd
import pytest
import torch

from pytest_multiplicity.data import Data, hashing
from pytest_multiplicity.data import inputs as sources

GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.rand(10, 3, generator=GENERATOR)
TARGETS = torch.arange(10) % 2
FRAME = pd.DataFrame({"age": range(10)})


def data(inputs=INPUTS, targets=TARGETS, attributes=FRAME, **options):
    return Data(inputs, targets, attributes, **options)


def changed(tensor):
    other = tensor.clone()
    other[3] = 1 - other[3]
    return other


def test_is_the_content_not_the_name():
    assert data(name="a").fingerprint == data(name="b").fingerprint
    assert data(INPUTS.clone(), TARGETS.tolist()).fingerprint == data().fingerprint


@pytest.mark.parametrize(
    "other",
    [
        data(changed(INPUTS)),
        data(targets=changed(TARGETS)),
        data(attributes=None),
        data(attributes=FRAME + 1),
        data(attributes=FRAME.rename(columns={"age": "years"})),
        data(bounds=(0, 2)),
        data(bounds=(0, 1)),
        data(INPUTS.reshape(10, 3, 1)),
        data(fingerprint="v1"),
        data().where("age >= 0"),
        data().where("age < 5"),
        data().split().select,
        data().split().report,
    ],
)
def test_changes_with_whatever_matters(other):
    assert other.fingerprint != data().fingerprint


def test_all_parts_differ():
    parts = [
        data().split(seed=0).select,
        data().split(seed=0).report,
        data().split(seed=1).select,
        data().where("age < 5"),
        data().where("age < 6"),
    ]

    assert len({part.fingerprint for part in parts}) == len(parts)


def test_of_a_part_is_reproducible():
    assert data().split().select.fingerprint == data().split().select.fingerprint
    assert data().where("age < 5").fingerprint == data().where("age < 5").fingerprint


def test_a_given_one_stands_for_the_inputs_alone():
    given = data(fingerprint="v1").fingerprint

    assert data(changed(INPUTS), fingerprint="v1").fingerprint == given
    assert data(fingerprint="v2").fingerprint != given
    assert data(targets=changed(TARGETS), fingerprint="v1").fingerprint != given
    assert data(fingerprint="v1").split().select.fingerprint != data().split().select.fingerprint


def test_does_not_depend_on_the_block_size(monkeypatch):
    whole = data().fingerprint

    monkeypatch.setattr(sources, "BLOCK_BYTES", 4 * 3 * 4)

    assert data().fingerprint == whole


def test_is_computed_once_for_a_data_set_its_groups_and_parts(monkeypatch):
    calls = []
    monkeypatch.setattr(hashing.hashlib, "sha256", counting(calls))
    source = data()
    assert source.fingerprint == source.fingerprint
    passes = [call for call in calls if call == INPUTS.numel() * 4]

    parts = [source.where("age < 5"), *source.split()]
    assert all(part.fingerprint for part in parts)

    assert len(passes) == 1
    assert [call for call in calls if call == INPUTS.numel() * 4] == passes


def counting(calls):
    """Return a sha256 that notes how many bytes each update brings."""

    class Counted:
        def __init__(self, initial=b""):
            self.digest_of = hashlib.blake2b(initial)

        def update(self, block):
            calls.append(memoryview(block).nbytes)
            self.digest_of.update(block)

        def hexdigest(self):
            return self.digest_of.hexdigest()

    return Counted
