"""Gaps from the spec to all reports."""

from __future__ import annotations

SPECS = """
    import pytest_multiplicity as pm

    def test_fair(candidate, points):
        assert candidate.gap(points.test, by="odd", minimum=10) <= 0.5

    def test_parity(candidate, points):
        gap = pm.Gap("odd", of="positive rate", ratio=True, minimum=10)
        assert candidate.measure(gap, points.test) >= 0.01

    def test_gate(survivors, points):
        spread = survivors.spread(points.test)
        assert all(each.gap(points.test, by="odd", minimum=10) <= 0.9 for each in survivors)
"""
ODD = ('{"age": range(n)}', '{"age": range(n), "odd": [i // 2 % 2 for i in range(n)]}')


def test_reports_tell_gaps_their_intervals_and_floors(trained):
    made = trained(SPECS, ODD)
    options = ("--multiplicity-html=r.html", "--multiplicity-markdown=r.md")
    result, report = made.report("-v", *options)
    result.assert_outcomes(passed=9)
    gap, ratio = report["families"][0]["sheets"]
    assert gap["metric"] == "accuracy gap by odd (minimum 10) on test"
    assert gap["gap"]["groups"] == {"0": 20, "1": 20}
    assert gap["gap"]["null"] == "no gap given the target"
    assert ratio["gap"]["kind"] == "ratio"
    assert ratio["gap"]["null"] == "group and answer independent"
    for each in gap["gap"]["candidates"]:
        assert 0 <= each["low"] <= each["high"] <= 1
    text = " ".join(result.stdout.str().split())
    assert "chance alone (no gap given the target) makes a gap of" in text
    assert "largest minus smallest rate over the groups" in text
    assert "beyond chance" in (made.pytester.path / "r.md").read_text()
    assert "beyond chance" in (made.pytester.path / "r.html").read_text()
