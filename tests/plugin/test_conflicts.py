from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch

import pytest_multiplicity as pm
from pytest_multiplicity.findings import SaidValues
from pytest_multiplicity.findings.conflicts import SHOWN, divided
from pytest_multiplicity.findings.examples import LARGEST, STRIP
from pytest_multiplicity.report.html.pictures import scale
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
    table = pm.Data(torch.rand(1, 20), torch.tensor([0]), name="table", bounds=None)
    known = {"large": large, "table": table}
    for name, expected in (("large", (LARGEST // 2, LARGEST)), ("table", (20, STRIP))):
        predictions, targets = np.array([[0], [1], [1]]), np.array([0])
        (row,) = divided(predictions, IDS, targets, name, known[name], TASK).rows
        shown = row.thumbnail and (row.thumbnail.width, row.thumbnail.height)
        assert shown == expected


def test_only_so_many_are_listed():
    predictions = np.zeros((3, 2 * SHOWN), dtype=int)
    predictions[0] = 1
    found = divided(predictions, IDS, np.zeros(2 * SHOWN, dtype=int), "test", None, TASK)
    assert (found.total, len(found.rows)) == (2 * SHOWN, SHOWN)


def test_positions_that_divide_are_coloured_on_the_picture():
    data = pm.Data(torch.zeros(1, 1, 2, 3), [[[0, 1, 0], [1, -100, 0]]], name="masks")
    said = np.array([[[[0, 1, 0], [0, 0, 0]]], [[[0, 1, 0], [1, 1, 0]]]])
    (row,) = divided(said, IDS[:2], data.targets.numpy(), "masks", data, data.task).rows
    pixels = np.frombuffer(row.divided.pixels, np.uint8).reshape(2, 3, 3)
    assert pixels.any(-1).tolist() == [[False] * 3, [True, False, False]]
    (row,) = divided(said, IDS[:2], data.targets.numpy(), "masks", None, data.task).rows
    assert (row.divided.width, row.divided.height) == (8, 8)
    tags = pm.Data(torch.rand(1, 5), [[0, 1, 2, 0, 1]], name="tags")
    said = np.array([[[0, 1, 2, 0, 1]], [[0, 1, 2, 2, 1]]])
    (row,) = divided(said, IDS[:2], tags.targets.numpy(), "tags", tags, tags.task).rows
    assert (row.divided.width, row.divided.height) == (8, 8)


def test_values_stand_on_one_scale_with_the_target():
    data = pm.Data(torch.rand(2, 3), [0.5, 2.0], name="values", tolerance=1)
    said = np.array([[0.5, 1.0], [0.75, 3.0]])
    (row,) = divided(said, IDS[:2], data.targets.numpy(), "values", data, data.task).rows
    assert (row.row, row.divided) == (1, None)
    assert (row.scale.values, row.scale.target) == ([[1.0], [3.0]], [2.0])
    found = scale(row.scale)
    assert (found.low, found.high) == (1, 3)
    assert found.marks == ["M0,8V30", "M100,8V30"]
    assert found.target == "M50,0V30"
    several = scale(SaidValues(values=[[0.0, 1.0], [2.0, math.nan]]))
    assert several.marks == ["M0,30L100,15", "M0,0"]
    assert several.target == ""
    many = scale(SaidValues(values=[[0.0] * 40 + [1.0]] * 99))
    assert len(many.marks) == 9
