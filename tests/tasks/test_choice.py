"""Which task targets are of, and targets that are of none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import DataError
from pytest_multiplicity.tasks import Classification, Dense, Multilabel, Nothing, Regression

INPUTS = torch.rand(4, 2)


@pytest.mark.parametrize(
    ("targets", "task"),
    [
        ([0, 1, 2, 0], Classification()),
        ([True, False, True, True], Classification((False, True))),
        (torch.tensor([True, False, True, True]), Classification((False, True))),
        (["cat", "ant", "cat", "bee"], Classification(("ant", "bee", "cat"))),
        (np.array(["a", "b", "a", "b"]), Classification(("a", "b"))),
        (pd.Series(["a", "b", "a", "b"]), Classification(("a", "b"))),
        (pd.Categorical(["b", "a", "b", "b"], ["b", "a", "c"]), Classification(("b", "a", "c"))),
        (pd.Categorical([7, 3, 7, 7]), Classification((3, 7))),
        (["only"] * 4, Classification(("only",))),
        ([0.5, 1, 2, 3], Regression()),
        (torch.rand(4, 1), Regression()),
        (np.random.default_rng(0).random((4, 3)), Regression()),
        (torch.eye(4).long(), Multilabel()),
        (torch.eye(4) > 0, Multilabel()),
        (pd.DataFrame({"rain": [0, 1, 1, 0], "wind": [1, 1, 0, 0]}), Multilabel(("rain", "wind"))),
        ([[0, 2], [1, -100], [0, 0], [1, 1]], Dense()),
        (torch.zeros(4, 2, 2).long(), Dense()),
        (None, Nothing()),
    ],
    ids=[
        "ints",
        "bools",
        "bool tensor",
        "names",
        "array of names",
        "series of names",
        "categories",
        "categories of ints",
        "one name",
        "floats",
        "float column",
        "several floats",
        "several labels",
        "several bools",
        "frame of labels",
        "tags",
        "masks",
        "none",
    ],
)
def test_the_task_follows_from_the_targets(targets: Any, task: Any) -> None:
    data = Data(INPUTS, targets)
    assert data.task == task
    assert len(data.targets) == 4
    assert [part.task for part in data.split()] == [task, task]
    assert data.fingerprint != Data(INPUTS, [0, 0, 0, 1]).fingerprint


def test_names_are_kept_in_the_order_of_their_indices() -> None:
    data = Data(INPUTS, pd.Categorical(["b", "a", "b", "c"], ["c", "b", "a"]))
    assert data.targets.tolist() == [1, 2, 1, 0]
    assert [data.task.shown(target) for target in data.targets] == ["b", "a", "b", "c"]
    assert "3 classes" in repr(data)


@pytest.mark.parametrize(
    ("targets", "task"),
    [
        ([0.0, 1, 1, 0], "regression"),
        ([0, 1, 5, 0], "regression"),
        ([0.0, 1, 1, 0], "classification"),
        (torch.eye(4), "multilabel"),
        (torch.eye(4).long(), "dense"),
    ],
)
def test_a_task_may_be_said(targets: Any, task: str) -> None:
    assert Data(INPUTS, targets, task=task).task.name == task


def test_floats_keep_their_width_and_others_get_one() -> None:
    for dtype in (torch.float32, torch.float64):
        assert Data(INPUTS, torch.rand(4, dtype=dtype)).targets.dtype == dtype
    assert Data(INPUTS, torch.rand(4).half()).targets.dtype == torch.float32


def test_the_fingerprint_knows_names_and_tasks_and_no_tolerance() -> None:
    def known(targets: Any, **more: Any) -> str:
        return Data(INPUTS, targets, **more).fingerprint

    assert known(["a", "b", "a", "b"]) != known(["a", "c", "a", "c"])
    assert known([0, 1, 0, 1]) == known([False, True, False, True])
    assert known([0, 1, 0, 1]) != known([0, 1, 0, 1], task="regression")
    assert known([0.5, 1, 2, 3], tolerance=1) == known([0.5, 1, 2, 3], tolerance=2)


OBJECTS = np.array([{}, {}, {}, {}], dtype=object)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["a", 1, "b", 2], r"targets of 'data' are of several kinds \(int, text\)"),
        ([1.0, float("nan"), 2, 3], r"nan or infinite for 1 of 4 samples \(the first is sample 1"),
        ([1.0, float("inf"), 2, 3], "nan or infinite"),
        ([0.0, 1, 1, 0], "are floats, and all 0 or 1: say task="),
        ([1j, 2, 3, 4], "targets of 'data' are complex"),
        ([2**70, 1, 2, 3], "targets of 'data' have ints beyond 64 bits"),
        ([2**63, 1, 2, 3], "targets of 'data' have ints beyond 64 bits"),
        (np.array([2**63, 1, 2, 3], dtype=np.uint64), "beyond 64 bits"),
        (OBJECTS, r"targets of 'data' are objects \(dict\)"),
        (pd.Series([1, 2, 3, 4], dtype=object), r"targets of 'data' .* numbers: convert them"),
        ([[1], [1, 2], [3], [4]], "targets of 'data' are a list of rows of several lengths"),
        (["a", None, "b", "c"], "targets of 'data' are missing for 1 of 4"),
        (pd.Categorical(["a", None, "b", "c"]), "targets of 'data' are missing for 1 of 4"),
        (sparse.eye(4), "targets of 'data' are a sparse matrix: .*toarray"),
        (torch.eye(4).to_sparse(), "targets of 'data' are a tensor of .*to_dense"),
        ([0, -1, 1, 1], "target -1 of sample 1 of 'data' is out of range"),
        ([[0, -1], [1, 5], [0, 0], [1, 1]], "target -1 of 'data' is out of range.*ignore=-1"),
        ([[0], [1], [0], [1]], r"squeeze\(1\)"),
        (torch.full((4, 2), -100), "all targets of 'data' are ignore=-100"),
    ],
)
def test_bad_targets_are_named_with_a_remedy(targets: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Data(INPUTS, targets)


@pytest.mark.parametrize(
    ("targets", "more", "message"),
    [
        ([0, 1, 0, 1], {"task": "guess"}, "task='guess': give one of 'classification'"),
        (None, {"task": "regression"}, "has no targets, and task='regression' needs some"),
        ([0, 1, 0, 1], {"tolerance": 1}, "tolerance=1 is for values"),
        ([0.5, 1, 2, 3], {"tolerance": -1}, "tolerance=-1: give the distance"),
        ([0.5, 1, 2, 3], {"tolerance": "1 m"}, "tolerance='1 m'"),
        ([0.5, 1, 2, 3], {"task": "classification"}, "class indices are ints"),
        ([0.5, 1, 2, 3], {"task": "multilabel"}, "several labels are ints"),
        ([0, 2, 1, 1], {"task": "multilabel"}, "a row of 0 and 1 for each"),
        (torch.full((4, 2), 2), {"task": "multilabel"}, "0 or 1 each"),
        ([0, 2, 1, 1], {"task": "dense"}, "a class for every position"),
        (["a", "b", "a", "b"], {"task": "regression"}, "targets of 'data' are an array of"),
        (torch.rand(4, 2, 2), {}, r"a value for each sample, \[n\]"),
        ([[0, 1], [2, 1], [0, 0], [1, 1]], {"ignore": 0.5}, "ignore=0.5: give the int"),
    ],
)
def test_tasks_that_do_not_fit(targets: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Data(INPUTS, targets, **more)
