"""The studies that need no download, small: every specification judges everybody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUDIES = {
    "diabetes": {"network": (4, 5), "pipeline": (3, 8)},
    "reviews": {"reader": (4, 7)},
}


@pytest.mark.usefixtures("few_exchanges")
@pytest.mark.parametrize("study", STUDIES)
def test_a_study_judges_everybody(pytester: pytest.Pytester, study: str) -> None:
    options = ("store=store", "json=out.json", "seeds=1")
    result = pytester.runpytest_inprocess(
        str(ROOT / "specs" / study),
        *("--smoke", "-p", "no:randomly", "-p", "no:cacheprovider"),
        *(f"--multiplicity-{each}" for each in options),
    )
    told = json.loads(Path("out.json").read_text())
    assert told["complete"]
    counts = {
        family["name"]: (len(family["candidates"]), len(family["specs"]))
        for family in told["families"]
    }
    assert counts == STUDIES[study]
    for family in told["families"]:
        assert all(spec["judged"] == len(family["candidates"]) for spec in family["specs"])
        assert not any(each["status"] == "failed" for each in family["candidates"])
        assert family["predictive"]
    # candidates this small pass or fail by their last bits, which the processor has a part in
    assert all(gate["outcome"] in ("passed", "failed") for gate in told["gates"])
    outcomes = result.parseoutcomes()
    assert not outcomes.get("errors")
    assert outcomes.get("failed", 0) == sum(g["outcome"] == "failed" for g in told["gates"])
