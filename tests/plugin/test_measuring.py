"""Measures of one's own and membership privacy, from the spec to the report."""

from __future__ import annotations


def test_real_valued_metrics_have_sheets_with_a_floor(trained):
    specs = """
    from torchmetrics.functional.classification import multiclass_calibration_error

    def calibration(logits, targets):
        return multiclass_calibration_error(logits.softmax(1), targets, num_classes=2)

    def test_calibrated(candidate, points):
        score = candidate.measure(calibration, points.test, higher_is_better=False)
        assert score.in_top(0.75)

    def test_private(candidate, points):
        assert candidate.privacy(points.train, points.test) >= 0.2

    def test_gate(survivors):
        assert len(survivors) == 3
    """
    made = trained(specs)
    result, report = made.report("-v")
    assert result.parseoutcomes() == {"passed": 8, "rejected": 1}
    calibration, privacy = report["families"][0]["sheets"]
    assert calibration["metric"] == "calibration on test"
    assert privacy["metric"] == "membership privacy on train against test"
    for sheet, count in ((calibration, (4, 3)), (privacy, (4, 3))):
        for when, candidates in zip(("before", "after"), count, strict=True):
            assert sheet[when]["count"] == candidates
            assert 0 < sheet[when]["noise_floor"] <= sheet[when]["noise_95"]
            assert 0 < sheet[when]["p_value"] <= 1
    text = " ".join(result.stdout.str().split())
    assert "calibration of the logits and targets; on test" in text
    assert "one minus the balanced accuracy of an attacker" in text
    _, work = made.work()
    assert (work["trained"], work["inferred"]) == (0, 0)
