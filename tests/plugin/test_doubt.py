"""Verdicts beyond doubt, from the spec to the report."""

from __future__ import annotations

import pytest

# Three candidates that are right on 400, 360 and 200 of 400 samples.
FAMILY = """
    import pytest
    import torch
    import pytest_multiplicity as pm

    @pytest.fixture(scope="session")
    def test():
        return pm.Data(torch.arange(400.0)[:, None] / 400, torch.zeros(400, dtype=int), name="test")

    @pm.family(default={"right": 400}, vary={"right": [360, 200]}, seeds=1)
    def candidate(config):
        def model(batch):
            wrong = (batch >= config.right / 400).float()
            return torch.cat([1 - wrong, wrong], dim=1)
        return model
"""
SPEC = """
    def test_accurate(candidate, test):
        assert candidate.accuracy(test).beyond_doubt >= 0.9

    def test_gate(survivors):
        assert len(survivors) >= 1
"""
UNDECIDED = "right360-seed0"
REASON = "0.900 [[]0.867, 0.926[]] of 400: too close for any number of samples to decide"


def statuses(report):
    return {each["id"]: each["status"] for each in report["families"][0]["candidates"]}


def counts(report):
    spec = report["families"][0]["specs"][0]
    return {name: spec[name] for name in ("judged", "kept", "rejected", "undecided")}


def test_undecided_pairs_are_kept_and_say_so(project):
    result, report = project(SPEC, FAMILY).report("-v")
    assert result.ret == 0
    assert result.parseoutcomes() == {"passed": 2, "undecided": 1, "rejected": 1}
    result.stdout.fnmatch_lines([f"*test_accurate[[]{UNDECIDED}[]] UNDECIDED*"])
    assert statuses(report) == {
        "default-seed0": "survivor",
        UNDECIDED: "survivor",
        "right200-seed0": "rejected",
    }
    assert counts(report) == {"judged": 3, "kept": 2, "rejected": 1, "undecided": 1}


def test_letter(project):
    result = project(SPEC, FAMILY).run()
    (line,) = [each for each in result.outlines if each.startswith("test_specs.py")]
    assert line.split()[1] == ".ur."


def test_undecided_pairs_are_rejected_where_the_ini_says_so(project):
    made = project(SPEC, FAMILY)
    made.pytester.makeini("[pytest]\nmultiplicity_undecided = reject\n")
    result, report = made.report("-rx")
    assert result.ret == 0
    assert result.parseoutcomes() == {"passed": 2, "undecided": 1, "rejected": 1}
    assert statuses(report)[UNDECIDED] == "rejected"
    assert counts(report) == {"judged": 3, "kept": 1, "rejected": 2, "undecided": 1}
    result.stdout.fnmatch_lines([f"REJECTED test_accurate[[]{UNDECIDED}[]] {REASON}"])


def test_undecided_pairs_fail_where_the_ini_says_so(project):
    made = project(SPEC, FAMILY)
    made.pytester.makeini("[pytest]\nmultiplicity_undecided = fail\n")
    result, report = made.report()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"passed": 1, "failed": 1, "rejected": 1, "skipped": 1}
    result.stdout.fnmatch_lines([f"E*undecided: {REASON} (multiplicity_undecided = fail)"])
    assert statuses(report)[UNDECIDED] == "failed"
    assert report["gates"][0]["outcome"] == "not evaluated"


def test_a_later_assertion_rejects_an_undecided_pair(project):
    spec = """
    def test_accurate(candidate, test):
        score = candidate.accuracy(test)
        assert score.beyond_doubt >= 0.9
        assert score >= 0.95
    """
    result, report = project(spec, FAMILY).report("-rx")
    assert result.parseoutcomes() == {"passed": 1, "rejected": 2}
    assert counts(report) == {"judged": 3, "kept": 1, "rejected": 2, "undecided": 0}
    result.stdout.fnmatch_lines([f"REJECTED test_accurate[[]{UNDECIDED}[]] *0.9000 *>= 0.95"])


def test_an_unforeseen_spec_counts_and_rejects_nobody(project):
    spec = """
    import pytest

    @pytest.mark.unforeseen
    def test_accurate(candidate, test):
        assert candidate.accuracy(test).beyond_doubt >= 0.9
    """
    made = project(spec, FAMILY)
    made.pytester.makeini("[pytest]\nmultiplicity_undecided = reject\n")
    result, report = made.report()
    assert result.parseoutcomes() == {"measured": 3}
    assert set(statuses(report).values()) == {"survivor"}
    assert counts(report)["rejected"] == 0
    assert counts(report)["undecided"] == 1


def test_within_and_in_top(project):
    spec = """
    def test_within(candidate, test):
        assert candidate.accuracy(test).beyond_doubt.within(0.1)

    def test_in_top(candidate, test):
        assert candidate.accuracy(test).beyond_doubt.in_top(0.5)

    def test_at_most(candidate, test):
        assert candidate.accuracy(test).beyond_doubt <= 1.0
    """
    result, report = project(spec, FAMILY).report()
    assert result.ret == 0
    specs = {each["name"]: each for each in report["families"][0]["specs"]}
    assert [specs["test_within"][name] for name in ("kept", "rejected", "undecided")] == [2, 1, 1]
    assert [specs["test_in_top"][name] for name in ("kept", "rejected", "undecided")] == [2, 1, 0]
    assert specs["test_at_most"]["kept"] == 3


def test_verdicts_do_not_depend_on_which_pairs_ran(project):
    made = project(SPEC, FAMILY)
    result = made.run("-k", "right360")
    assert result.parseoutcomes()["undecided"] == 1


def test_what_has_no_outcomes_per_sample_is_never_beyond_doubt(project):
    spec = """
    def test_spread(candidate, test):
        assert candidate.measure(lambda z, y: z.std(), test, name="spread").beyond_doubt >= 0
    """
    result = project(spec, FAMILY).run()
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["*beyond_doubt needs the outcome of every sample, which spread*"])
