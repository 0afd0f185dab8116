"""The table of what acts on what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from support.pages import blocks
from support.recorded_suite import run

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


SUITE = """
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
import pytest_multiplicity as pm

rng = np.random.default_rng(0)
frame = pd.DataFrame({"income": rng.normal(size=240), "age": rng.integers(18, 80, 240)})
train, rest = pm.Data(frame, (frame.income > 0).astype(int), name="applicants").split(0.5)

@pytest.fixture(scope="session")
def applicants():
    return rest.split(0.5)

@pm.family(default={"leaves": 4}, seeds=1)
def candidate(config):
    trees = HistGradientBoostingClassifier(max_leaf_nodes=config.leaves, max_iter=5)
    return trees.fit(train.inputs, train.targets)

"""
CHANGES = """
def test_changes(candidate, applicants):
    assert candidate.consistency(applicants.select, under=pm.Corrupt(without_income)) <= 0.8
    assert shouted(["a"]) == ["A"]
    ids = {"input_ids": torch.ones(2, 3), "attention_mask": torch.ones(2, 3, dtype=torch.bool)}
    assert set(masked(ids)) == set(ids)
"""


def test_the_examples_run(pytester: pytest.Pytester) -> None:
    changes, search = blocks(PAGE)
    search = "@settings(max_examples=3)\n" + search.replace(">= 0.7", ">= 0.3")
    pytester.makepyfile(test_page=SUITE + changes + CHANGES + search)
    result, _ = run(pytester)
    result.assert_outcomes(passed=2)
