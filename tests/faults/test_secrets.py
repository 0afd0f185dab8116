"""Secrets in environment variables never reach a report."""

from __future__ import annotations

import pytest

FAMILY = """
    import pandas as pd
    import pytest_multiplicity as pm

    scores = pd.DataFrame({"lr": [0.1, 0.01], "seed": [0, 0], "accuracy": [90.0, 91.0]})
    candidate = pm.recorded(scores, default={"lr": 0.1})
"""
SPECS = """
    def test_accuracy(candidate):
        assert candidate.score("accuracy") >= 0.905

    def test_gate(survivors):
        assert len(survivors) >= 2
"""
SECRET = "s3cr3t-of-the-environment"


def test_secrets_of_the_environment_reach_no_report(pytester, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    pytester.makeconftest(FAMILY)
    pytester.makepyfile(test_specs=SPECS)
    kinds = ("json", "html", "markdown")
    result = pytester.runpytest_inprocess(
        "-v", "-p", "no:randomly", *(f"--multiplicity-{kind}=report.{kind}" for kind in kinds)
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert SECRET not in result.stdout.str() + result.stderr.str()
    for kind in kinds:
        assert SECRET not in (pytester.path / f"report.{kind}").read_text("utf-8")
