"""The embedded study: the same verdicts on two devices, on one, and on none."""

from __future__ import annotations

import json
import os

import pytest

DIGITS = "specs/digits/test_selection.py"
SEEDS = os.environ.get("SEEDS", "1")  # of five


@pytest.fixture(scope="module")
def verdicts():
    return {}


@pytest.mark.parametrize("devices", [0, 1, 2])
def test_verdicts_are_the_same(devices, process, tmp_path, verdicts):
    report = tmp_path / "report.json"
    process(
        *("-W", "error", "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"),
        *("-c", os.devnull, "--rootdir", "specs/digits", DIGITS),
        *(f"--multiplicity-store={tmp_path / 'store'}", f"--multiplicity-json={report}"),
        f"--multiplicity-seeds={SEEDS}",
        devices=devices,
    )
    told = json.loads(report.read_text())
    assert told["device"] == ("cuda" if devices else "cpu")
    (family,) = told["families"]
    verdicts[devices] = {each["id"]: each["rejected_by"] for each in family["candidates"]}
    assert any(verdicts[devices].values())
    assert verdicts[devices] == verdicts[0]
