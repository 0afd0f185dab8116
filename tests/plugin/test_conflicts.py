from __future__ import annotations

import numpy as np
import pandas as pd
import torch

import pytest_multiplicity as pm
from pytest_multiplicity.findings.conflicts import SHOWN, divided
from pytest_multiplicity.findings.examples import LARGEST, STRIP
from pytest_multiplicity.tasks import Classification

TASK = Classification()
IDS = ["a", "b", "c"]


def test_the_most_divided_samples_come_first_with_who_said_what():
    predictions = np.array([[0, 1, 2, 0], [0, 1, 2, 1], [0, 2, 1, 2]])
    found = divided(predictions, IDS, np.array([0, 1, 2, 0]), "test", None, TASK)
    assert found.total == 3
    assert [row.row for row in found.rows] == [3, 1, 2]
    assert found.rows[0].votes == {"0": ["a"], "1": ["b"], "2": ["c"]}
    assert found.rows[1].votes == {"1": ["a", "b"], "2": ["c"]}
    assert found.rows[0].thumbnail is None
    assert found.rows[0].attributes == {}


def test_pictures_and_attributes_come_from_data_that_this_process_knows():
    images = torch.zeros(2, 1, 4, 6)
    images[1] = 0.5
    data = pm.Data(images, torch.tensor([0, 1]), pd.DataFrame({"who": ["x", "y"]}), name="test")
    predictions = np.array([[0, 0], [0, 1], [0, 1]])
    (row,) = divided(predictions, IDS, np.array([0, 1]), "test", data, TASK).rows
    assert row.attributes == {"who": "y"}
    assert (row.thumbnail.width, row.thumbnail.height) == (6, 4)
    assert set(row.thumbnail.pixels) == {128}


def test_large_pictures_are_made_small_and_vectors_are_strips():
    large = pm.Data(torch.rand(1, 3, 2 * LARGEST, LARGEST), torch.tensor([0]), name="large")
    table = pm.Data(torch.rand(1, 5), torch.tensor([0]), name="table", bounds=None)
    known = {"large": large, "table": table}
    for name, expected in (("large", (LARGEST // 2, LARGEST)), ("table", (5, STRIP))):
        predictions, targets = np.array([[0], [1], [1]]), np.array([0])
        (row,) = divided(predictions, IDS, targets, name, known[name], TASK).rows
        shown = row.thumbnail and (row.thumbnail.width, row.thumbnail.height)
        assert shown == expected


def test_only_so_many_are_listed():
    predictions = np.zeros((3, 2 * SHOWN), dtype=int)
    predictions[0] = 1
    found = divided(predictions, IDS, np.zeros(2 * SHOWN, dtype=int), "test", None, TASK)
    assert (found.total, len(found.rows)) == (2 * SHOWN, SHOWN)
