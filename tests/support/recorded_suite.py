"""A suite over four recorded candidates, for tests of how pytest is used."""

from __future__ import annotations

import json
from typing import Any

import pytest

FAMILY = """
import pandas as pd
import pytest_multiplicity as pm

scores = pd.DataFrame({"lr": [1, 1, 2, 2], "seed": [0, 1, 0, 1], "a": [50.0, 60.0, 70.0, 80.0]})
candidate = pm.recorded(scores, default={"lr": 1})
"""


def run(pytester: pytest.Pytester, *args: str) -> tuple[pytest.RunResult, dict[str, Any]]:
    """Run pytest, and read the report; an empty one where none was written."""
    path = pytester.path / "report.json"
    path.unlink(missing_ok=True)
    result = pytester.runpytest_inprocess("-p", "no:randomly", f"--multiplicity-json={path}", *args)
    return result, json.loads(path.read_text()) if path.exists() else {}


def verdicts(report: dict[str, Any]) -> dict[str, str]:
    """Return what became of every candidate and gate."""
    (family,) = report["families"]
    candidates = {each["id"]: each["status"] for each in family["candidates"]}
    return candidates | {each["name"]: each["outcome"] for each in report["gates"]}
