"""Allocations and cascades that gates ask for: JSON and page have what the gate saw."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import validate
from support.page_numbers import numbers, says

from pytest_multiplicity.report import as_json

SUITE = """
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import pytest_multiplicity as pm

rng = np.random.default_rng(0)
N = 240
TRUTH = rng.random(N) < 0.5
TOWN = np.where(np.arange(N) % 3 == 0, "<b>west</b>", "north")
SURE = np.where(TRUTH, 1.0, -1.0)[None] + rng.normal(size=(4, N)) * np.where(
    TOWN == "north", 0.5, 2.5
)

class Says(nn.Module):
    def __init__(self, sure):
        super().__init__()
        self.sure = nn.Parameter(torch.tensor(sure, dtype=torch.float32))

    def forward(self, x):
        sure = self.sure[x[:, 0].long()]
        return torch.stack([-sure, sure], dim=1)

@pytest.fixture(scope="session")
def people():
    names = np.array(["no", "yes"])[TRUTH.astype(int)]
    about = pd.DataFrame({"town": TOWN})
    return pm.Data(torch.arange(float(N))[:, None], names, about, name="people", bounds=None)

@pm.family(default={"lr": 1}, vary={"lr": [2]}, seeds=2)
def candidate(config):
    return Says(SURE[2 * (config.lr - 1) + config.seed])

def test_accuracy(candidate, people):
    assert candidate.accuracy(people) >= 0.1
    pm.cascade(candidate, people, groups="town")  # of one: not told

def test_allocations(survivors, people):
    found = survivors.allocations(people, k=20, by="yes", groups="town")
    told = {"rows": found.reset_index().to_dict("records"), "attrs": found.attrs}
    Path("allocations.json").write_text(json.dumps(told))

def test_cascade(survivors, people):
    found = pm.cascade(survivors, people, groups="town", under=[pm.OutputNoise(0.5)])
    told = {"rows": found.reset_index().to_dict("records"), "attrs": found.attrs}
    Path("cascade.json").write_text(json.dumps(told))
"""


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    return {}


@pytest.fixture
def seen(pytester: pytest.Pytester, kept: dict[str, Any]) -> dict[str, Any]:
    """What one run wrote, and what its gates saw."""
    if not kept:
        pytester.makepyfile(test_people=SUITE)
        files = ("--multiplicity-json=report.json", "--multiplicity-html=page.html")
        pytester.runpytest_inprocess("-p", "no:randomly", *files).assert_outcomes(passed=6)
        for name in ("report", "allocations", "cascade"):
            kept[name] = json.loads((pytester.path / f"{name}.json").read_text())
        kept["page"] = (pytester.path / "page.html").read_text()
    return kept


def test_allocations_are_told_as_the_gate_saw_them(seen: dict[str, Any]) -> None:
    validate(seen["report"], as_json.schema())
    (told,) = seen["report"]["families"][0]["allocations"]
    saw = seen["allocations"]
    common = {name: value for name, value in saw["attrs"].items() if name != "jaccards"}
    assert {name: told[name] for name in common} == common
    for own, row in zip(told["survivors"], saw["rows"], strict=True):
        assert own["id"] == row["survivor"]
        names = ("qualified", "utility", "tied", "jaccard", "log_equal")
        assert [own[name] for name in names] == [row[name] for name in names]
        assert own["rates"] == {g: row[f"rate {g}"] for g in ("<b>west</b>", "north")}


def test_cascades_of_survivors_are_told_as_the_gate_saw_them(seen: dict[str, Any]) -> None:
    (told,) = seen["report"]["families"][0]["cascades"]
    assert told["rows"] == seen["cascade"]["rows"]
    assert told["behind_for_some"] == seen["cascade"]["attrs"]["behind_for_some"]
    assert told["behind"] == {"<b>west</b>": ["as it is", "OutputNoise(0.5)"]}


def test_the_page_has_their_numbers_and_their_names_stay_text(seen: dict[str, Any]) -> None:
    page = seen["page"]
    found = numbers(page, seen["report"])
    assert [each for each in found if not says(each[1], each[2])] == []
    ways = "\n".join(way for way, _, _ in found)
    for part in ("allocations/0/survivors/0/rates/@", "allocations/0/unchosen", "cascades/0/rows"):
        assert f"/families/0/{part}" in ways
    assert "Who gets it: 20 of 240 on people" in page
    assert "&lt;b&gt;west&lt;/b&gt;: behind whichever survivor ships" in page
    assert "<b>west" not in page
