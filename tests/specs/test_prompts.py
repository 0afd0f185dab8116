"""The study of prompts: the published table as it is, and the answers that are made beside it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

STUDY = Path(__file__).parents[2] / "specs/prompts"


def test_the_study_holds_and_shows_the_published_figures(pytester):
    for file in STUDY.glob("*.*"):
        shutil.copy(file, pytester.path)
    result = pytester.runpytest_inprocess("-p", "no:randomly", "--multiplicity-json=report.json")
    assert result.ret == pytest.ExitCode.OK
    report = json.loads((pytester.path / "report.json").read_text())
    families = {each["name"]: each for each in report["families"]}
    table = pd.read_csv(STUDY / "published.csv").set_index("model")
    shown = {
        each["config"]["model"]: {name: 100 * score for name, score in each["scores"].items()}
        for each in families["published"]["candidates"]
    }
    assert table.shape == (6, 9)
    for model, row in table.iterrows():
        assert shown[model] == pytest.approx(row.to_dict()), model
    assert [len(each["candidates"]) for each in families.values()] == [5, 6]
    assert {gate["outcome"] for gate in report["gates"]} == {"passed"}
    assert report["warnings"] == []
