"""What acts on which kind of inputs: each either changes them rightly, or says what would."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_multiplicity.data import Data, kinds
from pytest_multiplicity.errors import InterventionError
from pytest_multiplicity.interventions import (
    PGD,
    Attack,
    Corrupt,
    Group,
    InputNoise,
    OutputNoise,
    chain,
    intervention,
    strategies,
)

N = 6
IDS = torch.arange(N * 3).reshape(N, 3)
FRAME = pd.DataFrame(
    {
        "age": [20.0, np.nan, 40.0, 50.0, 60.0, 70.0],
        "n": [1, 2, 3, 4, 5, 6],
        "visits": pd.array([1, None, 3, 4, 5, 6], dtype="Int64"),
        "home": pd.Categorical(["own", "rent", None, "own", "rent", "own"]),
        "job": ["cook", "nurse", "cook", None, "nurse", "cook"],
        "owns": [True, False] * 3,
    }
)
KINDS = {
    "floats": torch.rand(N, 2),
    "ids": IDS,
    "dict": {"ids": IDS, "x": torch.rand(N, 2)},
    "tokens": {"ids": IDS, "mask": IDS > 2},
    "tuple": (torch.rand(N, 2), IDS),
    "frame": FRAME,
    "words": FRAME[["home", "job"]],
    "texts": ["one", "two", "three", "four", "five", "six"],
}


def made(kind):
    return Data(KINDS[kind], [0, 1] * (N // 2), {"row": range(N)}, name=kind)


def identity(batch):
    return batch


FITS = {
    InputNoise(0.1): {"floats", "dict", "tuple", "frame"},
    PGD(0.1): {"floats"},
    Attack(identity): {"floats"},
    Group("row < 3"): set(KINDS),
    OutputNoise(5): set(KINDS),
    Corrupt(identity): set(KINDS),
    intervention(identity)(): set(KINDS),
}


@pytest.mark.parametrize("step", FITS, ids=repr)
@pytest.mark.parametrize("kind", KINDS)
def test_what_acts_on_what(step, kind):
    if kind in FITS[step]:
        chain(step).check(made(kind))
        return
    fitting = "Group, OutputNoise, Corrupt" + ".*InputNoise" * (kind in FITS[InputNoise(0.1)])
    with pytest.raises(InterventionError, match=f"'{kind}' are .*what fits them is {fitting}"):
        chain(step).check(made(kind))


@pytest.mark.parametrize("kind", ["dict", "tuple"])
def test_noise_is_on_floats_alone(kind):
    data = made(kind)

    noisy = InputNoise(0.5).apply(data.inputs, data.rows, data)

    for name, tensor in kinds.tensors(noisy).items():
        change = tensor - kinds.tensors(data.inputs)[name]
        assert (change > 0).all() if tensor.is_floating_point() else not change.any()


def test_noise_on_columns_is_in_units_of_their_spread():
    inputs = pd.DataFrame({"a": np.linspace(0, 1, 2000), "b": np.linspace(0, 1000, 2000)})
    data = Data(inputs, [0, 1] * 1000, {"row": range(2000)})

    noisy = InputNoise(0.5).apply(data.inputs, data.rows, data)

    for name in inputs:
        change = noisy[name] - inputs[name]
        assert (change >= 0).all()
        assert change.mean() / inputs[name].std() == pytest.approx(0.5, rel=0.1)
    group = data.where("row >= 1990")
    again = InputNoise(0.5).apply(group.inputs, group.rows, group)
    assert np.array_equal(again.to_numpy(), noisy[1990:].to_numpy())


def test_noise_leaves_what_is_missing_and_what_is_no_number():
    data = made("frame")

    noisy = InputNoise(0.5).apply(data.inputs, data.rows, data)

    assert noisy.isna().equals(FRAME.isna())
    assert noisy[["home", "job", "owns"]].equals(FRAME[["home", "job", "owns"]])
    assert (noisy["n"] > FRAME["n"]).all()
    assert InputNoise(0).apply(data.inputs, data.rows, data).equals(FRAME)


def changed(transform, kind):
    data = made(kind)
    before = kinds.copied(data.inputs)
    result = Corrupt(transform).apply(data.inputs, data.rows, data)
    assert repr(data.inputs) == repr(before)
    return result


def test_functions_see_the_batch_and_may_write_to_it():
    def shorter(texts):
        texts[:] = [text[:2] for text in texts]
        return texts

    def older(frame):
        frame["age"] += 1
        return frame

    def masked(batch):
        batch["ids"][:, 0] = 0
        return batch

    assert changed(shorter, "texts") == ["on", "tw", "th", "fo", "fi", "si"]
    assert changed(older, "frame")["age"].tolist()[2:] == [41, 51, 61, 71]
    assert not changed(masked, "dict")["ids"][:, 0].any()
    assert changed(lambda ids: ids + 1, "ids").equal(IDS + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_random_functions_draw_for_each_sample(kind):
    def some(batch):
        if kinds.kind(batch) == "list":
            return [text + str(random.random()) for text in batch]
        if kinds.kind(batch) == "frame":
            return batch.assign(home=np.random.rand(len(batch)))  # noqa: NPY002
        return kinds.mapped(batch, lambda x: x + torch.rand(x.shape).mul(9).to(x))

    data = made(kind)
    whole = Corrupt(some).apply(data.inputs, data.rows, data)
    group = data.where("row >= 2 and row < 4")
    part = Corrupt(some).apply(group.inputs, group.rows, group)
    expected = kinds.take(whole, torch.tensor([2, 3]))
    if kinds.is_frame(part):
        assert part.reset_index(drop=True).equals(expected.reset_index(drop=True))
    elif kinds.tensors(part):
        pairs = zip(kinds.tensors(part).values(), kinds.tensors(expected).values(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)
    else:
        assert part == expected


@pytest.mark.parametrize(
    ("kind", "transform", "message"),
    [
        ("ids", lambda x: x.float(), r"returned torch.float32: return torch.int64, as they came"),
        ("floats", lambda x: x.long(), "returned torch.int64: return floats"),
        ("dict", lambda x: {"ids": x["ids"]}, r"returned a dict with the keys \['ids'\]"),
        ("dict", lambda x: {**x, "x": x["x"] / 0}, r"returned nan or infinity\['x'\]"),
        ("dict", lambda x: {**x, "x": x["x"][:1]}, r"turned a batch\['x'\] of shape \(6, 2\)"),
        ("dict", lambda x: x["ids"], "returned Tensor for"),
        ("tuple", lambda x: x[:1], "returned 1 parts for"),
        ("frame", lambda x: x.to_numpy(), "returned ndarray: return the changed frame"),
        ("frame", lambda x: x.drop(columns="age"), r"other columns \('age'\): keep"),
        ("frame", lambda x: x[list(x)[::-1]], "columns in another order"),
        ("frame", lambda x: x.dropna(), "turned 6 rows into 3: keep each"),
        ("texts", lambda x: " ".join(x), "returned str for a list of 6"),
        ("texts", lambda x: x[1:], "turned 6 samples into 5"),
        ("texts", lambda x: None, "returned NoneType"),
    ],
)
def test_what_functions_may_not_return(kind, transform, message):
    with pytest.raises(InterventionError, match=message):
        changed(transform, kind)


@pytest.mark.parametrize("kind", ["ids", "frame", "texts"])
def test_corruptions_of_images_are_for_images(kind):
    data = made(kind)

    with pytest.raises(InterventionError, match="the corruption 'blur' is for images, floats in"):
        Corrupt("blur", severity=1).apply(data.inputs, data.rows, data)


@given(st.data())
def test_columns_are_shifted_swapped_and_emptied(drawn):
    data = made("frame")
    apply = lambda step: step.apply(data.inputs, data.rows, data)  # noqa: E731

    shift = drawn.draw(strategies.shifted(data, most=2))
    name = shift.parameters["column"]
    assert name in ("age", "n", "visits")
    by = shift.parameters["by"]
    assert abs(by) <= 2 * FRAME[name].std() + 1e-9
    assert (apply(shift)[name] - FRAME[name]).dropna().sub(by).abs().max() < 1e-9
    swap = drawn.draw(strategies.swapped(data))
    name, one, other = (swap.parameters[key] for key in ("column", "one", "other"))
    assert name in ("home", "job", "owns")
    assert one != other
    there = FRAME[name].astype(object).where(FRAME[name].notna(), None)
    swapped = apply(swap)[name]
    expected = [{one: other, other: one}.get(value, value) for value in there]
    assert swapped.astype(object).where(swapped.notna(), None).tolist() == expected
    gone = drawn.draw(strategies.missing(data))
    name = gone.parameters["column"]
    empty = apply(gone)
    assert empty[name].isna().all()
    assert empty.drop(columns=name).equals(FRAME.drop(columns=name))


def test_columns_that_are_not_there():
    for make, message in (
        (lambda: strategies.shifted(made("frame"), "job"), "no column of numbers 'job': there are"),
        (lambda: strategies.missing(made("frame"), "pay"), "no column 'pay': there are 'age'"),
        (lambda: strategies.missing(made("texts")), "are a list of objects, which has no columns"),
        (lambda: strategies.shifted(made("words")), "no columns of numbers to shift"),
        (lambda: strategies.swapped(Data(FRAME[["n"]], [0] * N)), "has two values to swap"),
    ):
        with pytest.raises(InterventionError, match=message):
            make()
    assert repr(Corrupt(identity)).startswith("Corrupt(identity")
