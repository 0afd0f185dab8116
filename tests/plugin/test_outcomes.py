from __future__ import annotations

import pytest


def test_a_rejection_is_no_failure(project):
    result = project().run()
    assert result.ret == pytest.ExitCode.OK
    outcomes = result.parseoutcomes()
    # 6 + 6 pairs: 2 + 2 rejected; 6 measured; one gate and one ordinary test pass
    assert outcomes == {"passed": 10, "rejected": 4, "measured": 6}


def test_words_and_letters(project):
    result = project().run("-v")
    result.stdout.fnmatch_lines(
        [
            "*test_accuracy[[]default-seed0[]] REJECTED*",
            "*test_shift[[]lr0.01-seed2[]] MEASURED*",
        ]
    )
    letters = project().run().stdout.str()
    assert letters.count("r") > 0
    assert any(set("r.m") <= set(line) for line in letters.splitlines() if "test_specs.py" in line)


def test_report_counts_what_the_specs_said(project):
    _, report = project().report()
    (family,) = report["families"]
    by_name = {spec["name"]: spec for spec in family["specs"]}
    assert list(by_name) == ["test_accuracy", "test_group", "test_shift"]
    accuracy, group, shift = by_name.values()
    assert (accuracy["judged"], accuracy["kept"], accuracy["rejected"]) == (6, 4, 2)
    assert (accuracy["only_here"], group["only_here"]) == (2, 2)
    assert accuracy["metrics"] == ["accuracy"]
    assert (shift["kind"], shift["rejected"], shift["would_reject"]) == ("unforeseen", 0, 3)
    status = {c["id"]: (c["status"], c["rejected_by"]) for c in family["candidates"]}
    assert status["default-seed0"] == ("rejected", ["test_accuracy"])
    assert status["lr0.01-seed0"] == ("survivor", [])
    assert status["lr0.01-seed2"] == ("rejected", ["test_group"])


def test_rejection_shows_the_score_as_pytest_would(project):
    result = project().run("-rx")
    result.stdout.fnmatch_lines(["REJECTED test_group[[]default-seed2[]] *0.6000*>= 0.65"])


@pytest.mark.parametrize(
    "body",
    [
        "raise RuntimeError('broken')",
        "import pytest; pytest.fail('broken')",
        "candidate.score('no such column')",
    ],
)
def test_other_exceptions_fail(project, body):
    result, report = project(f"def test_spec(candidate):\n    {body}\n").report()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=6)
    assert {c["status"] for c in report["families"][0]["candidates"]} == {"failed"}


def test_a_spec_that_measures_nothing_fails(project):
    result = project("def test_spec(candidate):\n    pass\n").run()
    result.assert_outcomes(failed=6)
    result.stdout.fnmatch_lines(["*test_spec measured nothing: a spec asks its candidate*"])


def test_a_spec_that_the_user_expects_to_fail_rejects_nobody(project):
    specs = """
        import pytest

        @pytest.mark.xfail(strict=False)
        def test_group(candidate):
            assert candidate.score("group") >= 0.65

        def test_gate(survivors):
            assert len(survivors) == 6
    """
    result, report = project(specs).report()
    result.assert_outcomes(xfailed=2, xpassed=4, passed=1)
    assert report["families"][0]["specs"][0]["rejected"] == 0


def test_a_skipped_pair_is_no_verdict(project):
    specs = """
        import pytest

        def test_group(candidate):
            if candidate.seed == 2:
                pytest.skip("not today")
            assert candidate.score("group") >= 0.65

        def test_gate(survivors):
            assert len(survivors) >= 1
    """
    result, report = project(specs).report()
    assert result.parseoutcomes() == {"passed": 4, "skipped": 3}
    assert report["complete"] is False
    assert report["gates"][0]["outcome"] == "not evaluated"
    assert report["gates"][0]["message"] == "4 of 6 pairs"


def test_parametrized_specs_are_specs_of_their_own(project):
    specs = """
        import pytest

        @pytest.mark.parametrize("bound", [0.65, 0.75])
        def test_group(candidate, bound):
            assert candidate.score("group") >= bound
    """
    _, report = project(specs).report()
    specs = report["families"][0]["specs"]
    assert [(s["name"], s["rejected"]) for s in specs] == [
        ("test_group[0.65]", 2),
        ("test_group[0.75]", 4),
    ]


def test_a_spec_may_pick_candidates_by_id(project):
    specs = """
        import pytest

        @pytest.mark.parametrize("candidate", ["lr0.01-seed1"], indirect=True)
        def test_group(candidate):
            assert candidate.config.lr == 0.01 and candidate.seed == 1
            assert candidate.score("group") == 0.7
    """
    project(specs).run().assert_outcomes(passed=1)


def test_a_spec_about_some_candidates_leaves_the_matrix_complete(project):
    specs = """
        import pytest

        @pytest.mark.parametrize("candidate", ["lr0.01-seed1", "default-seed2"], indirect=True)
        def test_group(candidate):
            assert candidate.score("group") >= 0.65

        def test_gate(survivors):
            assert "default-seed2" not in [each.id for each in survivors]
    """
    result, report = project(specs).report()
    assert result.parseoutcomes() == {"passed": 2, "rejected": 1}
    assert report["complete"] is True


def test_a_candidate_that_isnt_there_is_a_clear_error(project):
    specs = """
        import pytest

        @pytest.mark.parametrize("candidate", ["lr0.5-seed1"], indirect=True)
        def test_group(candidate):
            assert candidate.score("group") >= 0.65
    """
    result = project(specs).run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*has no candidate 'lr0.5-seed1'; its ids run from default-seed0*"]
    )


def test_classes_and_unittest_beside(project):
    specs = """
        import unittest

        class TestGroups:
            def test_group(self, candidate):
                assert candidate.score("group") >= 0.65

        class Ordinary(unittest.TestCase):
            def test_one(self):
                self.assertTrue(True)
    """
    assert project(specs).run().parseoutcomes() == {"passed": 5, "rejected": 2}


def test_two_specs_of_one_name_are_told_apart(project):
    made = project("def test_it(candidate):\n    assert candidate.score('group') > 0.65\n")
    made.pytester.makepyfile(
        test_more="def test_it(candidate):\n    assert candidate.score('group') > 0.75\n"
    )
    _, report = made.report()
    names = [spec["name"] for spec in report["families"][0]["specs"]]
    assert names == ["test_more.py::test_it", "test_specs.py::test_it"]
