"""Inputs of every kind: what is kept, taken, joined, hashed, and refused."""

from __future__ import annotations

import dataclasses
from collections import UserDict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pytest_multiplicity.data import Data, kinds
from pytest_multiplicity.errors import DataError, MeasurementError

N = 6
IDS = torch.arange(N * 3).reshape(N, 3)
FRAME = pd.DataFrame(
    {
        "age": [20.0, np.nan, 40.0, 50.0, 60.0, 70.0],
        "job": ["cook", None, "nurse", "cook", "clerk", "nurse"],
        "home": pd.Categorical(["own", "rent", None, "own", "rent", "own"]),
        "owns": [True, False] * 3,
        "since": pd.date_range("2020-01-01", periods=N),
        "n": pd.array([1, 2, None, 4, 5, 6], dtype="Int64"),
    }
)
TEXTS = ["good film", "bad <b>film</b>", "fine", "poor", "good", "bad film"]
KINDS = {
    "tensor": IDS,
    "dict": {"input_ids": IDS, "attention_mask": IDS > 2},
    "tuple": (torch.rand(N, 2), IDS),
    "frame": FRAME,
    "list": TEXTS,
}


def made(kind, **options):
    return Data(KINDS[kind], [0, 1] * (N // 2), {"row": range(N)}, name=kind, **options)


def plain(batch):
    """Return what is in a batch, comparable."""
    if kinds.is_frame(batch):
        return batch.astype(object).where(batch.notna(), None).to_numpy().tolist()
    if kinds.tensors(batch):
        return {name: tensor.tolist() for name, tensor in kinds.tensors(batch).items()}
    return batch


@pytest.mark.parametrize("kind", KINDS)
def test_each_keeps_its_kind_and_its_samples(kind):
    data = made(kind)

    assert data.kind == kinds.kind(data.take(torch.arange(2))) == kind
    assert len(data) == N
    assert data.bounds is None
    assert plain(data.inputs) == plain(KINDS[kind])
    assert f"'{kind}'" in repr(data)


@pytest.mark.parametrize("kind", KINDS)
@given(rows=st.lists(st.integers(0, N - 1), min_size=1), cut=st.integers(0, N))
def test_what_is_taken_and_joined_is_what_was_there(kind, rows, cut):
    batch = made(kind).inputs
    taken = kinds.take(batch, torch.tensor(rows))

    assert kinds.length(taken) == len(rows)
    one_by_one = [kinds.take(batch, torch.tensor([row])) for row in rows]
    assert plain(kinds.join(one_by_one)) == plain(taken)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_are_of_the_kind_and_known_by_their_rows(kind):
    data = made(kind)
    select, report = data.split(0.5)
    group = data.where("row < 2")

    assert plain(group.inputs) == plain(kinds.take(data.inputs, torch.tensor([0, 1])))
    known = {part.fingerprint for part in (data, select, report, group)}
    assert len(known) == 4
    assert np.isin(select.source.digests, data.source.digests).all()
    assert not np.isin(select.source.digests, report.source.digests).any()


@pytest.mark.parametrize("kind", KINDS)
def test_one_other_value_is_another_fingerprint(kind):
    data = made(kind)
    for name, tensor in kinds.tensors(data.inputs).items():
        other = kinds.copied(data.inputs)
        kinds.tensors(other)[name][3] = ~tensor[3] if tensor.dtype is torch.bool else 99
        differs(data, other)
    if kind == "frame":
        for name, value in {"age": 1.5, "job": "smith", "home": "rent", "n": 9}.items():
            other = data.inputs.copy()
            other.loc[3, name] = value
            differs(data, other)
        differs(data, data.inputs.rename(columns={"age": "years"}), digests=False)
    if kind == "list":
        differs(data, [*TEXTS[:3], "Poor", *TEXTS[4:]])


def differs(data, inputs, *, digests=True):
    other = Data(inputs, data.targets, data.attributes, name="other")
    assert other.source.fingerprint != data.source.fingerprint
    if digests:
        assert (other.source.digests != data.source.digests).tolist() == [False] * 3 + [True] + [
            False
        ] * 2


def test_a_fingerprint_does_not_depend_on_the_layout():
    one = Data(FRAME, [0, 1] * 3).fingerprint
    for other in (
        FRAME.set_axis([f"r{i}" for i in range(N)]),
        pd.concat([FRAME[:2], FRAME[2:]]),
        FRAME.assign(job=FRAME["job"].astype(object)),
        FRAME.assign(job=FRAME["job"].astype("string")),
        pd.DataFrame({name: FRAME[name] for name in FRAME}),
    ):
        assert Data(other, [0, 1] * 3).fingerprint == one
    ids = Data(IDS, [0, 1] * 3).fingerprint
    assert Data(IDS.T.contiguous().T, [0, 1] * 3).fingerprint == ids
    assert Data(IDS.numpy(), [0, 1] * 3).fingerprint == ids
    assert Data(IDS.int(), [0, 1] * 3).fingerprint != ids
    assert Data(np.array(TEXTS), [0, 1] * 3).fingerprint == Data(TEXTS, [0, 1] * 3).fingerprint
    assert Data(pd.Series(TEXTS), [0, 1] * 3).fingerprint == Data(TEXTS, [0, 1] * 3).fingerprint


def test_the_order_of_categories_counts():
    other = FRAME.assign(home=FRAME["home"].cat.reorder_categories(["rent", "own"]))

    assert Data(other, [0, 1] * 3).fingerprint != Data(FRAME, [0, 1] * 3).fingerprint


def test_what_is_like_a_dict_is_one():
    data = Data(UserDict(input_ids=IDS), [0, 1] * 3)

    assert type(data.inputs) is dict


def test_bounds_are_for_images():
    images = torch.rand(2, 3, 4, 4)

    assert Data(images, [0, 1]).bounds == (0, 1)
    assert Data((images * 255).byte(), [0, 1]).bounds is None
    assert Data(images.flatten(1) * 9, [0, 1]).bounds is None
    assert Data(torch.rand(2), [0, 1]).bounds is None


@dataclasses.dataclass
class Sample:
    text: str
    when: tuple[int, ...]


def test_objects_are_known_by_what_they_hold(tmp_path: Path):
    def fingerprint(*objects):
        return Data(list(objects), list(range(len(objects)))).fingerprint

    picture, other = Image.new("RGB", (2, 2)), Image.new("RGB", (2, 2), "red")
    for make in (
        lambda: (Sample("a", (1, 2)), Sample("b", (1, 2))),
        lambda: ({"text": "a", "ids": np.arange(3)}, {"text": "a", "ids": np.arange(1, 4)}),
        lambda: (picture, other),
    ):
        first, second = make()
        assert fingerprint(first, second) == fingerprint(*make())
        assert fingerprint(first, second) != fingerprint(second, first)
    file = tmp_path / "a.txt"
    file.write_text("one")
    before = fingerprint(file)
    file.write_text("two")
    assert fingerprint(file) != before
    with pytest.raises(
        DataError, match=r"sample 0 of inputs of 'data': .* builtins.object .*finge"
    ):
        fingerprint(object(), object())


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["good", ""], "sample 1 of inputs of 'x' is an empty text: drop it"),
        (["good", 3], "several types: sample 0 is str, sample 1 is int"),
        ("good", "are one text, 'good': give a list"),
        ([], r"have shape \(0,\): give at least one sample"),
        ({}, r"are a dict with the keys \[\]"),
        ({1: [0, 1]}, r"are a dict with the keys \[1\]"),
        ({"a": [0, 1], "b": [0]}, r"differ.*inputs\['a'\] has 2, inputs\['b'\] has 1; give as m"),
        ({"a": [0, 1], "b": ["x", "y"]}, r"inputs of 'x'\['b'\] are an array of"),
        ({"a": [[0, 1], [1]]}, r"'x'\['a'\] .* \(row 0 has 2, row 1 has 1\)"),
        ([[0.0, 1.0], [1.0]], "inputs of 'x' are a list of rows of several lengths"),
        ([[2**70, 1]] * 2, "inputs of 'x' have ints beyond 64 bits"),
        ((torch.ones(2), torch.ones(3)), r"inputs\[0\] has 2, inputs\[1\] has 3"),
        (np.array([[1, "a"], [2, "b"]], dtype=object), "'x' are an array of object: .*DataFrame"),
        (np.array([1, 2], dtype=object), "are numbers kept as objects: give them by .astype"),
        (scipy.sparse.csr_matrix(np.eye(2)), r"are a scipy csr_matrix: .*\.toarray\(\)"),
        (scipy.sparse.csr_array(np.eye(2)), r"are a scipy csr_array: .*\.toarray\(\)"),
        (np.array([1j, 2]), "are torch.complex128: give real numbers"),
        (torch.tensor([1.0, torch.nan]), "inputs of 'x' contain nan"),
        ({"a": torch.tensor([1.0, torch.nan])}, r"inputs\['a'\] of 'x' contain nan"),
        (pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), "the column 'a' more than once"),
        (pd.DataFrame(index=[0, 1]), "a DataFrame without columns"),
        (pd.DataFrame({"a": [1j, 2]}), "complex numbers in column 'a'"),
        (pd.DataFrame({"a": []}), "give at least one sample"),
        (np.array([2**63 + 1, 1], dtype="u8"), "beyond 64 bits"),
    ],
)
def test_what_is_refused_says_which_argument(inputs, message):
    with pytest.raises(DataError, match=message):
        Data(inputs, [0, 1], name="x")


def test_bounds_of_a_frame_are_refused():
    with pytest.raises(DataError, match="its inputs are a DataFrame, which has no bounds"):
        Data(FRAME, [0, 1] * 3, bounds=(0, 1))


def test_a_cell_whose_content_cannot_be_told_is_named():
    data = Data(pd.DataFrame({"a": [object(), object()]}), [0, 1], name="x")

    with pytest.raises(DataError, match="column 'a' of inputs of 'x': the content of a"):
        assert data.fingerprint


def test_modules_get_keywords_and_places_and_others_the_batch():
    class Both(torch.nn.Module):
        def forward(self, a, b):
            return a - b

    a, b = torch.rand(N, 2), torch.rand(N, 2)
    assert torch.equal(kinds.call(Both(), {"b": b, "a": a}), a - b)
    assert torch.equal(kinds.call(Both(), (a, b)), a - b)
    assert kinds.call(lambda batch: batch, {"a": a}) == {"a": a}
    with pytest.raises(MeasurementError, match="a module can't compute on a DataFrame"):
        kinds.call(torch.nn.Identity(), FRAME)
