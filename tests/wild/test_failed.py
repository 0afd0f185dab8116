"""Every way in which pytest says "failed" reaches the verdict, the report and the exit code."""

from __future__ import annotations

import pytest
from support.recorded_suite import FAMILY, run, verdicts

IDS = ("default-seed0", "default-seed1", "lr2-seed0", "lr2-seed1")
SPEC = "def test_spec(candidate):\n    assert candidate.score('a') >= 0.65\n"
GATE = "def test_gate(survivors):\n    assert len(survivors) == 2\n"
HALF = dict(zip(IDS, ["rejected", "rejected", "survivor", "survivor"], strict=True))
SUBTESTS = """
import pytest

def test_spec(candidate, subtests):
    score = candidate.score("a")
    for least in (0.1, 0.55, 0.65):
        with subtests.test("at least", least=least):
            assert score >= least

@pytest.mark.unforeseen
def test_unforeseen(candidate, subtests):
    with subtests.test():
        assert candidate.score("a") >= 0.75
"""
# as pytest-check: a wrapper around makereport fails what passed, and says of what kind that is
SOFT = """
import pytest

@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_makereport(item, call):
    report = yield
    soft = item.__dict__.pop("soft", []) if call.when == "call" else []
    if soft:
        report.outcome, report.longrepr = "failed", "failed checks: " + ", ".join(soft)
        try:
            raise AssertionError(report.longrepr)
        except AssertionError as error:
            call.excinfo = pytest.ExceptionInfo.from_exception(error)
    return report

@pytest.fixture
def check(request):
    soft = request.node.soft = []
    return lambda holds, text: holds or soft.append(text)
"""


@pytest.fixture
def suite(pytester):
    def make(specs, more="", *args):
        pytester.makeconftest(FAMILY + more)
        pytester.makepyfile(test_a=specs)
        return run(pytester, *args)

    return make


needs_subtests = pytest.mark.skipif(
    tuple(map(int, pytest.__version__.split(".")[:1])) < (9,), reason="subtests came with pytest 9"
)


@needs_subtests
def test_a_failing_subtest_rejects(suite):
    result, report = suite(SUBTESTS + GATE)
    assert verdicts(report) == {**HALF, "test_gate": "passed"}
    assert result.ret == pytest.ExitCode.OK
    assert result.parseoutcomes() == {"passed": 3, "rejected": 2, "measured": 4}
    (family,) = report["families"]
    spec, unforeseen = family["specs"]
    assert (spec["kept"], spec["rejected"], spec["failed"]) == (2, 2, 0)
    assert (unforeseen["would_reject"], unforeseen["rejected"]) == (3, 0)
    assert "0.65" in family["candidates"][0]["reasons"]["test_spec"]


@needs_subtests
def test_an_error_in_a_subtest_is_a_failure(suite):
    result, report = suite(SUBTESTS.replace("assert score >= least", "1 / 0") + GATE)
    assert verdicts(report) == {**dict.fromkeys(IDS, "failed"), "test_gate": "not evaluated"}
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@needs_subtests
def test_a_failing_subtest_of_a_fixture_is_no_verdict(suite):
    more = (
        "import pytest\n\n@pytest.fixture\ndef checked(subtests):\n"
        "    with subtests.test():\n        assert False\n"
    )
    result, report = suite(SPEC.replace("(candidate)", "(candidate, checked)") + GATE, more)
    assert verdicts(report) == {**dict.fromkeys(IDS, "failed"), "test_gate": "not evaluated"}
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@needs_subtests
def test_a_failing_subtest_fails_the_gate(suite):
    gate = (
        "def test_gate(survivors, subtests):\n    with subtests.test('all'):\n"
        "        assert len(survivors) == 4\n"
    )
    result, report = suite(SPEC + gate)
    assert verdicts(report) == {**HALF, "test_gate": "failed"}
    assert "assert 2 == 4" in report["gates"][0]["message"]
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_soft_assertions_reject_and_fail(suite):
    specs = (
        "def test_spec(candidate, check):\n    check(candidate.score('a') >= .65, 'too low')\n"
        "def test_gate(survivors, check):\n    check(len(survivors) == 4, 'somebody is missing')\n"
    )
    result, report = suite(specs, SOFT)
    assert verdicts(report) == {**HALF, "test_gate": "failed"}
    assert "too low" in report["families"][0]["candidates"][0]["reasons"]["test_spec"]
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    "flip",
    [
        "def pytest_runtest_makereport(item, call):\n    report = yield\n    {}\n    return report",
        "def pytest_runtest_logreport(report):\n    {}\n    return (yield)",
        "def pytest_report_teststatus(report):\n    {}\n    return (yield)",
    ],
    ids=["as it is made", "as it is logged", "as it is named"],
)
def test_whatever_another_plugin_fails_has_failed(suite, flip):
    says = "'test_gate' in report.nodeid and report.when == 'call'"
    act = f"if {says}: report.outcome, report.longrepr = 'failed', 'too slow'"
    more = f"import pytest\n\n@pytest.hookimpl(wrapper=True)\n{flip.format(act)}\n"
    _, report = suite(SPEC + GATE, more)
    assert verdicts(report) == {**HALF, "test_gate": "failed"}
    assert report["gates"][0]["message"] == "too slow"


@pytest.mark.parametrize(
    ("body", "fixture"),
    [
        ("    import warnings\n    warnings.warn('old', DeprecationWarning)\n", ""),
        ("", "    yield\n    raise RuntimeError('not closed')\n"),
        ("", "    yield\n    assert False\n"),
        ("", "    assert False\n"),
    ],
    ids=["a warning", "teardown", "assertion in teardown", "assertion in setup"],
)
@pytest.mark.parametrize("where", ["spec", "gate"])
def test_what_fails_beside_the_body_fails(suite, body, fixture, where):
    specs = SPEC.replace("(candidate):\n", "(candidate, held):\n" + body)
    gate = GATE
    if where == "gate":
        specs, gate = SPEC, GATE.replace("(survivors):\n", "(survivors, held):\n" + body)
    more = f"import pytest\n\n@pytest.fixture\ndef held():\n{fixture or '    pass'}\n"
    result, report = suite("import pytest\n" + specs + gate, more, "-W", "error")
    if where == "spec":
        expected = {**dict.fromkeys(IDS, "failed"), "test_gate": "not evaluated"}
    else:
        expected = {**HALF, "test_gate": "failed"}
    assert verdicts(report) == expected
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_debugger_passes_over_what_is_only_measured(pytester):
    pytester.makeconftest(FAMILY)
    specs = SPEC.replace("def", "import pytest\n\n@pytest.mark.unforeseen\ndef") + GATE
    pytester.makepyfile(test_a=specs.replace("== 2", "== 4"))
    stops = "def pytest_exception_interact():\n    raise SystemExit('stopped')\n"
    (pytester.path / "stops.py").write_text(stops)
    pytester.syspathinsert()
    result, report = run(pytester, "-p", "stops")
    assert result.ret == pytest.ExitCode.OK
    assert report["families"][0]["specs"][0]["would_reject"] == 2
