"""Where survivors flip and disagree: in all reports, and only what other samples confirm."""

from __future__ import annotations

import json

import jsonschema
import pytest

from pytest_multiplicity.report import as_json

SUITE = """
    import numpy as np
    import pandas as pd
    import pytest
    import torch

    import pytest_multiplicity as pm

    def draw(n, name, seed):
        rng = np.random.default_rng(seed)
        frame = pd.DataFrame({"age": rng.integers(18, 90, n), "sex": rng.choice(["f", "m"], n)})
        own = torch.tensor(np.column_stack([frame.age, rng.random(n)]), dtype=torch.float32)
        return pm.Data(own, torch.zeros(n, dtype=torch.int64), frame, name=name)

    @pytest.fixture(scope="session")
    def select():
        return draw(900, "select", 0)

    @pytest.fixture(scope="session")
    def report():
        return draw(900, "report", 1)

    @pm.incumbent
    def production():
        return lambda x: torch.zeros(len(x), dtype=torch.int64)

    @pm.family(default={"cut": 0.8}, vary={"cut": [0.7]}, seeds=1)
    def candidate(config):
        def labels(x):
            old = x[:, 0] >= 60
            return (torch.where(old, x[:, 1] > config.cut, x[:, 1] > 1.99)).long()
        return labels

    def test_flips(candidate, production, select):
        assert candidate.flips(production, select) <= 0.9
        assert candidate.accuracy(select) >= 0

    def test_gate(survivors, production, report):
        assert survivors.ambiguity(report) <= 1
        assert all(c.flips(production, report) <= 1 for c in survivors)
"""


@pytest.mark.parametrize("confirmed", [True, False])
def test_regions(pytester, confirmed):
    suite = SUITE if confirmed else SUITE.replace('"report", 1)', '"report", 1).where("age < 50")')
    pytester.makepyfile(test_regions=suite)
    options = "json=r.json", "html=r.html", "markdown=r.md"
    result = pytester.runpytest_inprocess(
        "-p", "no:randomly", *(f"--multiplicity-{each}" for each in options)
    )
    result.assert_outcomes(passed=3)
    report = json_of(pytester)
    jsonschema.validate(report, as_json.schema())
    found = report["families"][0]["regions"]
    texts = [result.stdout.str(), *((pytester.path / f"r.{e}").read_text() for e in ("html", "md"))]
    if not confirmed:
        assert found == []
        return
    whats = {each["what"] for each in found}
    assert whats == {"survivors disagree", "survivors flip against production"}
    for each in found:
        assert each["query"].startswith("age >= ")
        assert each["data"] == "report"
        assert each["found_on"] == "select"
        assert each["inside"] > 2 * each["elsewhere"]
        assert each["p_value"] < 0.05
    for text in texts:
        assert "survivors disagree" in text
        assert "elsewhere" in text


def json_of(pytester):

    return json.loads((pytester.path / "r.json").read_text())
