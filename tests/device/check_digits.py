"""The embedded study: the same verdicts on two devices and on one, and nearly the same on none."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

DIGITS = "specs/digits/test_selection.py"
SEEDS = os.environ.get("SEEDS", "1")  # of five


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Give each number of devices a folder of its own."""
    return [tmp_path_factory.mktemp("store") for _ in range(3)]


@pytest.fixture(scope="module")
def verdicts():
    return {}


@pytest.fixture
def judged(process, tmp_path):
    """Judge the study with so many devices and a store; return who was rejected, and the report."""

    def run(devices: int, store: Any) -> tuple[dict[str, list[str]], dict[str, Any]]:
        report = tmp_path / "report.json"
        process(
            *("-W", "error", "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"),
            *("-c", os.devnull, "--rootdir", "specs/digits", DIGITS),
            *(f"--multiplicity-store={store}", f"--multiplicity-json={report}"),
            f"--multiplicity-seeds={SEEDS}",
            devices=devices,
        )
        told = json.loads(report.read_text())
        assert told["device"] == ("cuda" if devices else "cpu")
        (family,) = told["families"]
        return {each["id"]: each["rejected_by"] for each in family["candidates"]}, family

    return run


@pytest.mark.parametrize("devices", [0, 1, 2])
def test_verdicts_are_the_same(devices, judged, verdicts, stores):
    verdicts[devices], _ = judged(devices, stores[devices])
    assert any(verdicts[devices].values())
    assert verdicts[devices] == verdicts[min(devices, 1)]
    # other last bits come to other networks, of which one may be on the other side of a threshold
    pairs = [{(i, spec) for i in each for spec in each[i]} for each in verdicts.values()]
    rejected, there = pairs[0], pairs[-1]
    assert len(rejected ^ there) <= max(1, len(rejected) // 10)


def test_what_a_gpu_trained_is_judged_on_a_cpu(judged, stores):
    on_gpu, first = judged(1, stores[1])
    assert first["trained"] == 0 or first["trained"] == len(on_gpu)
    on_cpu, family = judged(0, stores[1])
    assert family["trained"] == 0
    assert on_cpu == on_gpu
