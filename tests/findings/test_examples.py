"""What readers see of a sample, for each kind of inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from pytest_multiplicity.data import Data
from pytest_multiplicity.findings.examples import LARGEST, STRIP, examples

Y = [0, 1, 0, 1]


def shown(inputs, row=0, attributes=None, rows=(0, 1)):
    return examples(Data(inputs, Y, attributes), rows)(row)


def test_of_a_frame_the_columns_that_matter_come_first():
    frame = pd.DataFrame(
        {
            "same": [1.0, 2.0, 1.0, 2.0],
            "apart": [0.0, 0.1, 99.0, 99.1],
            "job": ["cook", "cook", "nurse", "nurse"],
            "gone": [None, 3.0, None, 3.0],
        }
    )

    example = shown(frame, attributes=frame.assign(row=range(4)))

    assert example.text == "apart 0 · job cook · same 1 · gone missing"
    assert example.attributes == {"row": "0"}


def test_texts_paths_and_objects():
    assert shown(["a\tb"] * 4).text == "a\tb"
    assert len(shown(["x" * 999] * 4).text) == 200
    assert shown([Path("/one/two.png")] * 4).text == "two.png"
    assert shown([{"a": 1}] * 4).text == "{'a': 1}"
    picture = shown([Image.new("L", (300, 100))] * 4)
    assert (picture.text, picture.thumbnail.width) == ("", LARGEST)


def test_of_tensors_values_strips_and_pictures():
    ids = torch.arange(80).reshape(4, 20)

    assert shown(ids, 1).text == "20 21 22 23 24 25 26 27 28 29 30 31 …"
    assert shown({"ids": ids[:, :2], "x": ids[:, :1] / 3}, 1).text == "ids 20 21 · x 6.67"
    assert shown((ids[:, :2], ids[:, :1]), 1).text == "0 20 21 · 1 20"
    strip = shown(torch.linspace(-3, 5, 4 * 100).reshape(4, 100)).thumbnail
    assert (strip.width, strip.height) == (LARGEST, STRIP)
    assert np.frombuffer(strip.pixels, np.uint8)[[0, LARGEST - 1]].tolist() == [0, 255]
    bytes_ = shown(torch.full((4, 3, 2, 2), 255, dtype=torch.uint8)).thumbnail
    assert set(bytes_.pixels) == {255}
    assert shown(torch.zeros(4)).text == "0"
