"""Beside other plugins, each where it is installed: verdicts, gates and exit code stay right."""

from __future__ import annotations

import pytest

OK, FAILED = pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED
JUDGED = {"passed": 5, "rejected": 2}  # four pairs kept and the gate


def candidates(report):
    return report["families"][0]["candidates"]


def test_cov(project):
    pytest.importorskip("pytest_cov")
    result = project().run("-p", "pytest_cov", "--cov=.", "--cov-report=term")
    assert result.ret == OK
    assert result.parseoutcomes() == JUDGED
    result.stdout.fnmatch_lines(["TOTAL *"])


def test_html(project):
    pytest.importorskip("pytest_html")
    made = project()
    result = made.run("-p", "html", "-p", "metadata", "--html=page.html", "--self-contained-html")
    assert result.ret == OK
    page = (made.pytester.path / "page.html").read_text("utf-8")
    assert "test_accuracy[default-seed0]" in page


def test_randomly_shuffles_specs_and_not_the_report(project):
    pytest.importorskip("pytest_randomly")
    made = project()
    reports = []
    for seed in range(2):
        result, report = made.report("-p", "randomly", f"--randomly-seed={seed}")
        assert result.ret == OK
        assert report["gates"][0]["outcome"] == "passed"
        reports.append(report)
    assert reports[0] == reports[1]


@pytest.mark.usefixtures("all_plugins")
def test_rerunfailures_reruns_failures_and_not_rejections(project):
    pytest.importorskip("pytest_rerunfailures")
    flaky = """
    tries = []

    def test_flaky(candidate):
        tries.append(candidate)
        if len(tries) == 1:
            raise OSError("the first time")
        candidate.score("accuracy")
    """
    result, report = project(flaky).report("-p", "no:randomly", "--reruns=2")
    assert result.ret == OK
    assert result.parseoutcomes() == {"passed": 11, "rejected": 2, "rerun": 1}
    assert report["complete"]
    assert [each["status"] for each in candidates(report)] == ["rejected"] * 2 + ["survivor"] * 4


@pytest.mark.usefixtures("all_plugins")
def test_rerunfailures_reruns_a_gate(project):
    pytest.importorskip("pytest_rerunfailures")
    gate = "\n    def test_gate(survivors):\n        assert len(survivors) >= 1000\n"
    result, report = project(gate=gate).report("-p", "no:randomly", "--reruns=1")
    assert result.ret == FAILED
    assert result.parseoutcomes() == {"passed": 4, "rejected": 2, "rerun": 1, "failed": 1}
    assert [gate["outcome"] for gate in report["gates"]] == ["failed"]


def test_timeout_fails_a_spec_and_rejects_nobody(project):
    pytest.importorskip("pytest_timeout")
    slow = """
    import time

    def test_slow(candidate):
        if candidate.id == "default-seed2":
            time.sleep(60)
        candidate.score("accuracy")
    """
    result, report = project(slow).report(
        "-p", "timeout", "--timeout=2", "-o", "timeout_func_only=true"
    )
    assert result.ret == FAILED
    assert candidates(report)[2]["status"] == "failed"
    assert report["gates"][0]["outcome"] == "not evaluated"


def test_benchmark_in_a_spec_and_beside(project):
    pytest.importorskip("pytest_benchmark")
    more = """
    def test_speed(candidate, benchmark):
        assert benchmark(lambda: candidate.score("accuracy")) >= 0.91

    def test_ordinary_speed(benchmark):
        benchmark(lambda: None)
    """
    result, report = project(more).report("-p", "benchmark", "--benchmark-disable")
    assert result.ret == OK
    assert candidates(report)[0]["rejected_by"] == ["test_accuracy", "test_speed"]
    assert report["gates"][0]["outcome"] == "passed"


def test_syrupy_keeps_the_survivors(project):
    pytest.importorskip("syrupy")
    gate = """
    def test_gate(survivors, snapshot):
        assert [each.id for each in survivors] == snapshot
    """
    made = project(gate=gate)
    assert made.run("-p", "syrupy").ret == FAILED
    assert made.run("-p", "syrupy", "--snapshot-update").ret == OK
    assert made.run("-p", "syrupy").ret == OK


def test_hypothesis_in_a_spec_and_beside(project):
    pytest.importorskip("hypothesis")
    more = """
    from hypothesis import given, strategies as st

    @given(least=st.floats(0.5, 0.935))
    def test_any(candidate, least):
        assert candidate.score("accuracy") >= least

    @given(st.integers())
    def test_ordinary(number):
        assert number == number
    """
    gate = "\n    def test_gate(survivors):\n        assert len(survivors) == 2\n"
    result, report = project(more, gate=gate).report("-p", "hypothesispytest")
    assert result.ret == OK
    assert candidates(report)[3]["rejected_by"] == ["test_any"]


@pytest.mark.parametrize(
    ("module", "mark", "options"),
    [("anyio", "anyio", ["-p", "anyio"]), ("pytest_asyncio", "asyncio", ["-p", "asyncio"])],
)
def test_an_async_spec_rejects(project, module, mark, options):
    pytest.importorskip(module)
    more = f"""
    import pytest

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    @pytest.mark.{mark}
    async def test_later(candidate):
        assert candidate.score("accuracy") >= 0.91
    """
    result, report = project(more).report(*options)
    assert result.ret == OK
    assert candidates(report)[0]["rejected_by"] == ["test_accuracy", "test_later"]
    assert report["gates"][0]["outcome"] == "passed"


def test_unittest_beside_and_classes_of_specs(project):
    more = """
    import unittest

    class OldTest(unittest.TestCase):
        def test_passes(self):
            self.assertTrue(True)

        def test_fails(self):
            self.assertTrue(False)

        def test_subtests(self):
            for number in range(2):
                with self.subTest(number=number):
                    self.assertGreaterEqual(number, 0)

    class TestSpecs:
        def test_in_a_class(self, candidate):
            assert candidate.score("accuracy") >= 0.91
    """
    result, report = project(more).report()
    assert result.ret == FAILED
    assert result.parseoutcomes()["failed"] == 1
    assert candidates(report)[0]["rejected_by"] == ["test_accuracy", "test_in_a_class"]
    assert report["gates"][0]["outcome"] == "passed"


def test_unittest_can_hold_a_gate_and_no_spec(project):
    more = """
    import pytest
    import unittest

    class SpecTest(unittest.TestCase):
        @pytest.fixture(autouse=True)
        def _take(self, candidate):
            self.candidate = candidate

        def test_it(self):
            self.assertGreater(self.candidate.score("accuracy"), 0.5)
    """
    gate = """
    import pytest
    import unittest

    class GateTest(unittest.TestCase):
        @pytest.fixture(autouse=True)
        def _take(self, survivors):
            self.survivors = survivors

        def test_gate(self):
            self.assertEqual(len(self.survivors), 4)
    """
    result, report = project(more, gate=gate).report()
    assert result.ret == FAILED
    result.stdout.fnmatch_lines(["*takes the family 'candidate', and pytest can't parametrize it*"])
    assert report["gates"][0]["outcome"] == "passed"


def test_junitxml_has_every_verdict(project):
    made = project()
    assert made.run("--junitxml=junit.xml").ret == OK
    text = (made.pytester.path / "junit.xml").read_text("utf-8")
    assert text.count("<testcase") == 7
    assert text.count("rejected: ") == 2


@pytest.mark.usefixtures("all_plugins")
@pytest.mark.parametrize("dist", ["load", pytest.param("worksteal", marks=pytest.mark.thorough)])
def test_all_at_once(project, dist):
    for module in ("xdist", "pytest_randomly", "pytest_rerunfailures", "pytest_html", "pytest_cov"):
        pytest.importorskip(module)
    made = project()
    result, report = made.report(
        "-n2", f"--dist={dist}", "--reruns=1", "--html=page.html", "--cov=.", "--cov-report="
    )
    assert result.ret == OK
    assert report["complete"]
    assert [gate["outcome"] for gate in report["gates"]] == ["passed"]
