"""The same report, gates and exit code with workers as without."""

from __future__ import annotations

import textwrap

import pytest

from pytest_multiplicity.store import LocalStore

GATE = "\n    def test_gate(survivors):\n        assert len(survivors) >= 1000\n"
SPEC = "\n    def test_group(candidate):\n        assert candidate.score('group') >= 0.65\n"


@pytest.fixture(scope="module")
def alone():
    """The report of the first run, which has no workers."""
    return {}


def same(reports, one, other):
    return reports.differences(reports.comparable(one), reports.comparable(other))


@pytest.mark.parametrize(
    "args",
    [
        ["-n0"],
        ["-n2"],
        *(
            pytest.param(["-n2", f"--dist={way}"], marks=pytest.mark.thorough)
            for way in ("worksteal", "loadscope", "loadfile", "loadgroup", "no")
        ),
        ["--tx=2*popen", "--dist=each"],
    ],
    ids=" ".join,
)
def test_however_it_is_distributed_the_report_is_the_same(trained, reports, alone, args):
    result, shared = trained.report(*args)
    assert result.ret == pytest.ExitCode.OK
    assert same(reports, alone.setdefault("report", shared), shared) == []
    assert shared["complete"]
    assert [gate["outcome"] for gate in shared["gates"]] == ["passed"]
    (family,) = shared["families"]
    assert (family["trained"], family["from_store"]) == (6, 0)
    assert [spec["judged"] for spec in family["specs"]] == [6, 6, 6]
    if args != ["-n0"]:
        result.stdout.no_fnmatch_line("collected *")


@pytest.mark.parametrize("stored", [pytest.param(0, marks=pytest.mark.thorough), 2])
def test_each_candidate_is_trained_once_also_when_a_worker_is_killed_in_training(
    trained, reports, stored
):
    _, alone = trained.report("--multiplicity-store=one")
    (trained.pytester.path / "die-in-training").write_text(str(stored))
    result, shared = trained.report("-n2", "--multiplicity-store=two")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["replacing crashed worker gw*", "* 1 rerun*"])
    assert same(reports, alone, shared) == []
    (family,) = shared["families"]
    assert (family["trained"], family["from_store"]) == (6, 0)
    _, again = trained.report("-n2", "--multiplicity-store=two")
    assert (again["families"][0]["trained"], again["families"][0]["from_store"]) == (0, 6)
    assert same(reports, shared, again) == []


def test_a_measure_of_the_users_has_its_noise_floor(trained, reports):
    specs = trained.pytester.path / "test_specs.py"
    measure = """

    from torch.nn import functional as F

    def confidence(logits, targets):
        return F.softmax(logits, dim=1).max(dim=1).values.mean()

    def test_confidence(candidate, data):
        assert candidate.measure(confidence, data.report) >= 0.3
"""
    specs.write_text(specs.read_text() + textwrap.dedent(measure))
    _, alone = trained.report("-k", "confidence")
    _, shared = trained.report("-n2", "-k", "confidence")
    assert same(reports, alone, shared) == []
    sheet = shared["families"][0]["sheets"][0]
    assert sheet["before"]["noise_floor"] > 0
    assert sheet["after"]["noise_floor"] > 0


def test_what_opaque_callables_said_ends_with_the_run(trained, reports):
    conftest = trained.pytester.path / "conftest.py"
    text = conftest.read_text()
    conftest.write_text(
        text[: text.index("return pm.Recipe")]
        + "return lambda batch: batch[:, config.seed : config.seed + 3]\n"
    )
    _, alone = trained.report("-k", "not attack")
    _, shared = trained.report("-n2", "-k", "not attack")
    assert same(reports, alone, shared) == []
    assert alone["families"][0]["sheets"][0]["before"]["noise_floor"] > 0
    with LocalStore(trained.pytester.path / ".multiplicity") as store:
        assert store.entries("logits") == []
        assert len(store.entries("scores")) <= 2  # digests of the data sets


def test_a_spec_that_kills_its_worker_fails_and_no_gate_is_evaluated(project):
    specs = """
    import os

    def test_group(candidate):
        assert candidate.score("group") >= 0.65
        if candidate.id.endswith("seed1"):
            os._exit(3)

    def test_gate(survivors):
        pass
    """
    result, report = project(specs).report("-n2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["FAILED *test_group[[]default-seed1[]]*"])
    assert report["partial_reason"] == "4 of 6 pairs"
    assert report["gates"][0]["message"] == "4 of 6 pairs"
    statuses = [each["status"] for each in report["families"][0]["candidates"]]
    assert statuses == ["survivor", "failed", "rejected"] * 2


def test_an_ordinary_test_that_kills_its_worker_is_not_tried_again(project):
    specs = SPEC + "\n    def test_ordinary():\n        import os\n        os._exit(3)\n"
    result, report = project(specs).report("-n2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "rerun" not in result.parseoutcomes()
    assert report["complete"]


def test_a_failed_gate_fails_the_run_and_says_why(project):
    result, report = project(SPEC + GATE).report("-n2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["FAILED test_specs.py::test_gate - assert 4 >= 1000*"])
    result.stdout.fnmatch_lines(["*4 of 6 candidates survive*"])
    assert [gate["outcome"] for gate in report["gates"]] == ["failed"]


@pytest.mark.parametrize(("args", "failed"), [(["-x"], 1), (["--maxfail=2"], 2)])
def test_the_run_stops_after_failed_gates_as_it_was_told(project, args, failed):
    more = GATE.replace("test_gate", "test_gate_too")
    result, report = project(SPEC + GATE + more).report("-n2", *args)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    outcomes = [gate["outcome"] for gate in report["gates"]]
    assert outcomes == ["failed"] * failed + ["not evaluated"] * (2 - failed)


def test_with_x_a_gate_that_cannot_hold_any_more_ends_the_run(project):
    slow = SPEC + "\n    def test_later():\n        import time\n        time.sleep(120)\n"
    result, report = project(slow + GATE).report("-n2", "-x")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert [gate["outcome"] for gate in report["gates"]] == ["failed"]
    assert "passed" not in {line.split()[-1] for line in result.outlines if "test_later" in line}


def test_an_early_stop_leaves_a_partial_report(project):
    specs = "    def test_boom():\n        assert 0\n" + SPEC + GATE
    result, report = project(specs).report("-n2", "-x")
    assert result.ret in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
    assert [gate["outcome"] for gate in report["gates"]] == ["not evaluated"]


def test_lf_judges_a_failed_gate_again(project):
    specs = SPEC + GATE + "\n    def test_boom():\n        assert 0\n"
    made = project(specs)
    made.run("-n2")
    result, report = made.report("-n2", "--lf")
    assert result.parseoutcomes()["failed"] == 2
    assert report["gates"][0]["outcome"] == "failed"
    assert report["complete"]


def test_a_selection_of_gates_only_is_partial(project):
    result, report = project(SPEC + GATE).report("-n2", "-k", "gate")
    assert result.ret == pytest.ExitCode.OK
    assert report["gates"][0]["message"] == "0 of 6 pairs"


def test_a_module_that_cannot_be_collected_is_reported_once(project):
    made = project(SPEC + GATE)
    made.pytester.makepyfile(test_broken="import no_such_module")
    made.pytester.makepyfile(test_skipped="import pytest\npytest.skip(allow_module_level=True)")
    result, report = made.report("-n2", "--continue-on-collection-errors")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes()["errors"] == 1
    assert report["gates"][0]["message"] == "a module could not be collected"


def test_without_a_family_the_controller_collects_nothing(pytester):
    pytester.makepyfile("def test_ordinary():\n    pass\n")
    pytester.makeconftest("def pytest_collection_finish(session):\n    print('was here')\n")
    result = pytester.runpytest_subprocess("-n2", "-s")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*was here*")


KEEPS = """
    import pandas as pd
    import pytest
    import torch
    from sklearn.tree import DecisionTreeClassifier

    import pytest_multiplicity as pm

    X = torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
    Y = (X[:, 0] > 0.5).long()

    @pytest.fixture(scope="session")
    def points():
        return pm.Data(X, Y, name="points", bounds=None)

    @pm.family(seeds=4, keep=True)
    def candidate(config):
        with open("calls.txt", "a") as stream:
            print(config.seed, file=stream)
        if config.seed == 3:
            pytest.skip("not this one")
        return DecisionTreeClassifier(max_depth=1, max_features=1).fit(X.numpy(), Y.numpy())
"""
ON_POINTS = """
    def test_accuracy(candidate, points):
        assert candidate.accuracy(points).within(1)
"""


def test_a_function_that_keeps_is_called_once_for_each_candidate(pytester, monkeypatch):
    monkeypatch.setenv("MULTIPLICITY_STORE_KEY", "a key of nobody in particular")
    pytester.makeconftest(KEEPS)
    pytester.makepyfile(test_specs=ON_POINTS)
    result = pytester.runpytest_subprocess("-n2", "-p", "no:randomly")
    result.assert_outcomes(passed=3, skipped=1)
    assert sorted((pytester.path / "calls.txt").read_text().split()) == ["0", "1", "2", "3"]


TOLD = """
    def test_a_write_back(verdicts):
        assert verdicts.complete
        with open("told", "a") as file:
            print(*(v.id for v in verdicts if v.status == "survivor"), file=file)

    def test_gate(survivors):
        assert not survivors
"""


def test_who_is_told_of_verdicts_is_told_once_when_all_workers_are_done(project):
    made = project(TOLD + SPEC)
    result = made.run("-n2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes()["failed"] == 1
    told = (made.pytester.path / "told").read_text()
    assert told.split() == [
        f"{name}-seed{seed}" for name in ("default", "lr0.01") for seed in (0, 1)
    ]
