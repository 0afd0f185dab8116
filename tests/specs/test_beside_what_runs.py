"""The studies beside what runs today: flips, who is reliable, where survivors disagree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def told_by(pytester, *paths):
    """The JSON report of a run of a study, complete and green."""
    result = pytester.runpytest_inprocess(
        *(str(ROOT / "specs" / path) for path in paths),
        *("-c", str(ROOT / "pyproject.toml"), f"--rootdir={ROOT}", "-p", "no:cacheprovider"),
        *("-n0", "--multiplicity-device=cpu", "--multiplicity-store=store"),
        "--multiplicity-json=out.json",
    )
    told = json.loads(Path("out.json").read_text())
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()[-3000:]
    return {family["name"]: family for family in told["families"]}


def decided(family, share):
    """Of each configuration by name what is decided of a share of its seeds."""
    return {each["name"]: each["reliable"][share] for each in family["configurations"]}


def check_flips(family, incumbent, data):
    """There are flips, as the sheet has them, and retraining alone makes some, too."""
    (on,) = [each for each in family["comparisons"] if each["data"] == data]
    assert on["incumbent"] == incumbent
    name = f"flips against {incumbent} on {data}"
    assert [each["value"] for each in on["flips"]] == [
        candidate["scores"][name] for candidate in family["candidates"]
    ]
    assert 0 < on["flips_floor"] < on["churn_floor"] < 0.15
    assert max(each["value"] for each in on["flips"]) > on["flips_floor"]


def confirmed(family, what):
    """Return the regions of one question: each found on some samples and confirmed by others."""
    found = [each for each in family["regions"] if each["what"] == what]
    for region in found:
        assert region["found_on"] != region["data"]
        assert region["inside"] > 1.5 * region["elsewhere"]
        assert region["p_value"] <= 0.05
    return [region["query"] for region in found]


def test_digits(pytester):
    """The wider network is reliable, slow learning is not; slanted digits are contested."""
    family = told_by(pytester, "digits/test_retraining.py")["monthly"]
    check_flips(family, "production", "select")
    check_flips(family, "production", "report")
    assert decided(family, "0.5")["width32"] is True
    assert decided(family, "0.8")["lr0.01"] is False
    (query,) = confirmed(family, "survivors disagree")
    assert query.startswith("slant >= ")


def test_credit(pytester):
    """Reweighing is reliable, doing nothing is not; other answers go to who has little money."""
    family = told_by(pytester, "credit/test_refitting.py")["refitted"]
    check_flips(family, "bank", "people-select")
    check_flips(family, "bank", "people-report")
    assert decided(family, "0.5")["mitigationreweighing"] is True
    assert decided(family, "0.8")["default"] is False
    assert any(
        "checking_account" in each for each in confirmed(family, "survivors flip against bank")
    )
