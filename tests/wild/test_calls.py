"""However pytest is called, gates are the same; the script calls.py tries all of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from support.recorded_suite import FAMILY, run, verdicts

SCRIPT = Path(__file__).parents[1] / "faults" / "calls.py"
SOME = ("pyargs", "rootdir is a link", "config elsewhere")
SPEC = "def test_spec(candidate):\n    assert candidate.score('a') >= 0.65\n"
OTHER = "def test_other(candidate):\n    assert candidate.score('a') >= 0.55\n"
GATES = """
def test_small(survivors):
    assert len(survivors) == 2

def test_large(survivors):
    assert len(survivors) == 3
"""


@pytest.fixture
def calls():
    import sys

    spec = importlib.util.spec_from_file_location("calls", SCRIPT)
    module = sys.modules["calls"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["calls"]


def test_there_are_forty_ways(calls):
    names = [call.name for call in calls.CALLS]
    assert len(set(names)) == len(names) >= 40


def test_the_verdict_is_that_of_any_other_call(calls, tmp_path):
    root = tmp_path.resolve() / "project"
    calls.prepare(root)
    for call in calls.CALLS:
        if call.name in SOME:
            assert calls.perform(call, root) == calls.EXPECTED, call.name


@pytest.fixture
def files(pytester):
    pytester.makeconftest(FAMILY)
    pytester.makepyfile(test_a=SPEC, test_b=OTHER, test_gates=GATES)
    return pytester


def test_last_failed_judges_a_failed_gate_again(files):
    run(files, "-p", "cacheprovider")
    result, report = run(files, "--lf")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert report["complete"]
    assert result.parseoutcomes() == {"passed": 5, "rejected": 3, "failed": 1, "deselected": 1}
    files.makepyfile(test_gates=GATES.replace("== 3", "== 2"))
    result, report = run(files, "--lf")
    assert result.ret == pytest.ExitCode.OK
    assert verdicts(report)["test_large"] == "passed"
    # nothing that was brought along counts as failed: all is run again
    _, report = run(files, "--lf")
    assert [gate["outcome"] for gate in report["gates"]] == ["passed", "passed"]


def test_last_failed_knows_a_changed_design_and_one_module(pytester):
    everything = FAMILY + SPEC + GATES.replace("== 3", "== 9")
    pytester.makepyfile(test_all=everything)
    run(pytester)
    pytester.makepyfile(test_all=everything.replace('"seed": [0, 1, 0, 1]', '"seed": [0, 1, 0, 7]'))
    result, report = run(pytester, "--lf")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert report["complete"]
    assert "lr2-seed7" in verdicts(report)
    result, report = run(pytester, "--lf", "-k", "gate or large")
    assert result.ret == pytest.ExitCode.OK
    assert report["gates"][0]["message"] == "0 of 4 pairs"
    result, report = run(pytester, "--lf")  # which has not forgotten it
    assert verdicts(report)["test_large"] == "failed"


@pytest.mark.parametrize("verbosity", ["-q", "-qq", "-v"])
@pytest.mark.parametrize("why", ["skip", "testpaths", "addopts"])
def test_gates_skipped_on_a_whole_run_are_told(files, verbosity, why):
    if why == "skip":
        skip = "import pytest\n\n@pytest.mark.skipif(True, reason='no data here')\n"
        files.makepyfile(test_b=skip + OTHER)
    elif why == "addopts":
        files.makeini("[pytest]\naddopts = -k 'not other'\n")
    else:
        files.makeini("[pytest]\ntestpaths = test_a.py test_gates.py\n")
    result, report = run(files, verbosity)
    assert not report["complete"]
    (warning,) = report["warnings"]
    assert warning.startswith("not evaluated, though the whole suite was asked for: test_small")
    assert "not evaluated, though the" in " ".join(result.stdout.str().split())


@pytest.mark.parametrize("args", [("-k", "spec or small"), ("test_a.py", "test_gates.py")])
def test_who_asks_for_a_part_knows(files, args):
    _, report = run(files, *args)
    assert not report["complete"]
    assert report["warnings"] == []
