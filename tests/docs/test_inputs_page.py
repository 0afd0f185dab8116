"""The table of what acts on what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import pytest_multiplicity as pm
from pytest_multiplicity.errors import InterventionError
from pytest_multiplicity.interventions import chain

PAGE = (Path(__file__).parents[2] / "docs" / "inputs.md").read_text("utf-8")
ROWS = re.findall(
    r"^\| `(pm\.\w+\(.*\))` \|(.+)\|$", PAGE.partition("## What acts")[2], re.MULTILINE
)
X = torch.rand(4, 2)
KINDS: list[list[Any]] = [
    [X],
    [X.round().int(), X > 0.5],
    [{"x": X, "ids": X.int()}, (X, X.int())],
    [pd.DataFrame({"a": [1.0, None, 2.0, 3.0], "b": list("xyxy")})],
    [["one", "two", "three", "four"]],
]


@pytest.mark.parametrize(("written", "cells"), ROWS, ids=[written for written, _ in ROWS])
def test_what_acts_on_what(written: str, cells: str) -> None:
    step = eval(written, {"pm": pm, "function": abs, "make": abs})
    for said, kinds in zip(cells.split("|"), KINDS, strict=True):
        for inputs in kinds:
            data = pm.Data(inputs, [0, 1, 0, 1], {"age": [50, 60, 70, 80]})
            if said.strip() != "no":
                chain(step).check(data)
                continue
            with pytest.raises(InterventionError, match="what fits them is"):
                chain(step).check(data)


def test_the_table_has_all_of_them() -> None:
    assert len(ROWS) == 6
