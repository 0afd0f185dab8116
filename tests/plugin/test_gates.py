from __future__ import annotations

import pytest

ONE = "def test_group(candidate):\n    assert candidate.score('group') >= 0.65\n"


def test_a_failed_gate_fails_the_run_and_says_why(project):
    specs = ONE + "def test_gate(survivors):\n    assert len(survivors) >= 1000\n"
    result, report = project(specs).report()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["FAILED test_specs.py::test_gate - assert 4 >= 1000*"])
    result.stdout.fnmatch_lines(["*survivors*4 of 6 candidates survive*"])
    (gate,) = report["gates"]
    assert (gate["name"], gate["outcome"], gate["family"]) == ("test_gate", "failed", "candidate")
    assert "4 >= 1000" in gate["message"]
    assert (gate["path"], gate["line"]) == ("test_specs.py", 4)


def test_gates_run_after_every_spec_wherever_they_stand(project):
    made = project("def test_a_gate(survivors):\n    assert len(survivors) == 4\n")
    made.pytester.makepyfile(test_zzz=ONE)
    result = made.run("-v")
    assert result.ret == pytest.ExitCode.OK
    lines = [line for line in result.outlines if "::test_" in line]
    assert "test_a_gate" in lines[-1]


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["-k", "gate or (group and default)"], "3 of 6 pairs"),
        (["--deselect", "test_specs.py::test_group[default-seed0]"], "5 of 6 pairs"),
        (["-m", "not slow", "-k", "gate or seed0"], "2 of 6 pairs"),
        (["test_specs.py::test_group", "test_specs.py::test_gate"], "not all of the root was*"),
        (["--ignore=other"], "--ignore=other leaves specifications out"),
    ],
)
def test_gates_are_not_evaluated_on_partial_runs(project, args, reason):
    specs = ONE + "def test_gate(survivors):\n    assert len(survivors) == 4\n"
    result, report = project(specs).report(*args)
    assert result.ret == pytest.ExitCode.OK
    assert report["complete"] is False
    (gate,) = report["gates"]
    assert gate["outcome"] == "not evaluated"
    assert gate["message"] == reason or gate["message"].startswith(reason.rstrip("*"))


def test_partial_runs_can_fail(project):
    specs = ONE + "def test_gate(survivors):\n    pass\n"
    made = project(specs)
    made.pytester.makeini("[pytest]\nmultiplicity_partial = fail\n")
    result = made.run("-k", "gate or default")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*partial run: 3 of 6 pairs (multiplicity_partial = fail)*"])


def test_a_collection_error_leaves_gates_unevaluated(project):
    made = project(ONE + "def test_gate(survivors):\n    pass\n")
    made.pytester.makepyfile(test_broken="import no_such_module")
    result, report = made.report("--continue-on-collection-errors")
    assert report["gates"][0]["message"] == "a module could not be collected"
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_an_early_stop_leaves_gates_unevaluated(project):
    specs = "def test_boom():\n    assert 0\n\n" + ONE + "def test_gate(survivors):\n    pass\n"
    result, report = project(specs).report("-x")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert report["gates"][0]["outcome"] == "not evaluated"


def test_a_gate_without_specs_is_not_evaluated(project):
    result, report = project("def test_gate(survivors):\n    pass\n").report()
    assert report["gates"][0]["message"] == "no specification of this family was run"
    result.assert_outcomes(skipped=1)


def test_rejections_dont_stop_x(project):
    specs = ONE + "def test_gate(survivors):\n    assert len(survivors) == 4\n"
    result = project(specs).run("-x")
    assert result.ret == pytest.ExitCode.OK
    assert result.parseoutcomes() == {"passed": 5, "rejected": 2}


def test_lf_reruns_failures_not_rejections(project):
    specs = ONE + "def test_boom():\n    assert 0\n"
    made = project(specs)
    made.run()
    result = made.run("--lf")
    result.assert_outcomes(failed=1)


def test_lf_leaves_out_what_passed_where_something_failed_and_else_nothing(project):
    made = project(ONE + "def test_gate(survivors):\n    assert len(survivors) == 4\n")
    _, report = made.report("--lf")  # and nothing is known to have failed
    assert report["complete"]
    assert report["gates"][0]["outcome"] == "passed"
    _, report = made.report("--lf", "--lfnf=none")
    assert not report["complete"]
    boom = made.pytester.makepyfile(test_other="def test_boom():\n    assert 0\n")
    made.run()
    _, report = made.report("--lf", "test_specs.py")
    assert (report["gates"][0]["outcome"], report["gates"][0]["message"]) == (
        "not evaluated",
        "--lf leaves specifications out",
    )
    boom.unlink()


def test_several_families_need_the_marker(project):
    family = """
        import pandas as pd
        import pytest_multiplicity as pm

        scores = pd.DataFrame({"lr": [1, 2], "seed": [0, 0], "a": [50.0, 60.0]})
        first = pm.recorded(scores, default={"lr": 1})
        second = pm.recorded(scores, default={"lr": 1})
    """
    specs = """
        import pytest

        def test_first(first):
            assert first.score("a") > 0.55

        def test_second(second):
            assert second.score("a") > 0.65

        @pytest.mark.family("first")
        def test_gate_of_first(survivors):
            assert [each.id for each in survivors] == ["lr2-seed0"]

        @pytest.mark.family("second")
        def test_gate_of_second(survivors):
            assert not survivors
    """
    result, report = project(specs, family).report()
    assert result.ret == pytest.ExitCode.OK
    assert [f["name"] for f in report["families"]] == ["first", "second"]
    assert [g["family"] for g in report["gates"]] == ["first", "second"]
    unmarked = project(specs + "\n        def test_which(survivors):\n            pass\n", family)
    unmarked.run().stdout.fnmatch_lines(
        ["*survivors of one of 2 families, first, second: mark it*"]
    )


def test_a_family_in_a_sub_folder_has_a_name_of_its_own(project, pytester):
    made = project(ONE)
    sub = pytester.mkpydir("sub")
    (sub / "conftest.py").write_text(
        "import pandas as pd\nimport pytest_multiplicity as pm\n"
        "table = pd.DataFrame({'lr': [1, 2], 'seed': [0, 0], 'group': [50.0, 90.0]})\n"
        "candidate = pm.recorded(table, default={'lr': 1})\n"
    )
    (sub / "test_sub.py").write_text(
        ONE + "def test_gate(survivors):\n    assert len(survivors) == 1\n"
    )
    result, report = made.report()
    assert result.ret == pytest.ExitCode.OK
    assert {f["name"] for f in report["families"]} == {"candidate", "sub::candidate"}
    assert report["gates"][0]["family"] == "sub::candidate"
    result, report = made.report("sub")
    assert report["gates"][0]["outcome"] == "passed"


def test_a_failed_gate_stays_among_the_last_failed_until_it_passes(project):
    made = project(ONE + "def test_gate(survivors):\n    assert len(survivors) >= 1000\n")
    assert made.run().ret == pytest.ExitCode.TESTS_FAILED
    for _ in range(2):
        result = made.run("--lf")
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        assert result.parseoutcomes() == {"passed": 4, "rejected": 2, "failed": 1}


STRICT = """
    def test_accuracy(candidate):
        assert candidate.score('accuracy') >= 0.925

    def test_group(candidate):
        assert candidate.score('group') >= 0.65

    def test_later():
        pass
"""
RELIABLE = "{'lr': 0.1} in survivors.reliable(at_least=0.5)"


@pytest.mark.parametrize(
    ("asked", "accuracy", "judged"),
    [
        ("len(survivors) >= 5", 0.925, 3),  # two of six are rejected
        ("survivors and len(survivors) > 4", 0.925, 3),
        (RELIABLE, 0.925, 1),  # which three seeds that pass would not decide
        ("len(survivors) == 3", 0.99, 11),  # nobody can survive, whatever is asked
        ("len(survivors) == 3", 0.925, 12),  # known with the last pair alone
        ("len(survivors) <= 1", 0.925, 12),
    ],
)
def test_with_x_a_gate_runs_once_it_is_certain(project, asked, accuracy, judged):
    gate = f"\n    def test_gate(survivors):\n        'Enough.'\n        assert {asked}\n"
    made = project(STRICT.replace("0.925", str(accuracy)) + gate)
    result, report = made.report("-x", "-v")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    lines = [line for line in result.outlines if line.startswith("test_specs.py::")]
    assert len(lines) == judged + 1
    assert lines[-1].startswith("test_specs.py::test_gate FAILED")
    assert report["gates"][0]["outcome"] == "failed"
    assert report["complete"] is (judged == 12)
    said = [line for line in result.outlines if line.startswith("multiplicity: candidate: ")]
    assert len(said) == (judged < 12)
    assert not any(line.startswith("not evaluated") for line in result.outlines)


def test_with_x_gates_that_hold_end_nothing_and_partial_runs_judge_none_early(project):
    gate = "\n    def test_gate(survivors):\n        assert len(survivors) >= 2\n"
    made = project(STRICT + gate)
    assert made.run("-x").parseoutcomes() == {"passed": 9, "rejected": 5}
    result = made.run("-x", "-k", "gate or later or accuracy and default")
    assert result.parseoutcomes() == {"deselected": 9, "passed": 1, "rejected": 3, "skipped": 1}


def test_with_maxfail_each_family_says_what_became_certain_early(project):
    family = """
        import pandas as pd
        import pytest_multiplicity as pm

        scores = pd.DataFrame({"lr": [1, 2, 3], "seed": [0, 0, 0], "a": [0.5, 0.6, 0.7]})
        first = pm.recorded(scores, default={"lr": 1})
        second = pm.recorded(scores, default={"lr": 1})
    """
    specs = """
        import pytest

        def test_first(first):
            assert first.score("a") >= 0.9

        def test_second(second):
            assert second.score("a") >= 0.9

        @pytest.mark.family("first")
        def test_gate_of_first(survivors):
            assert len(survivors) >= 2

        @pytest.mark.family("second")
        def test_gate_of_second(survivors):
            assert len(survivors) >= 2
    """
    result = project(specs, family).run("--maxfail=2")
    said = [line for line in result.outlines if "which are too many" in line]
    assert sorted(line.split(": ")[1] for line in said) == ["first", "second"]
