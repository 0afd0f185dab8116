"""What fails while one part of a report is made costs that part, is said, and fails the run."""

from __future__ import annotations

import sys

import pytest
from support.recorded_suite import FAMILY, run, verdicts

from pytest_multiplicity.findings import assemble, sheets
from pytest_multiplicity.plugin import lock
from pytest_multiplicity.report import as_json, html, markdown, terminal

TESTS = """
def test_spec(candidate):
    assert candidate.score("a") >= 0.65

def test_gate(survivors):
    assert len(survivors) == 2
"""
FILES = ("--multiplicity-html=report.html", "--multiplicity-markdown=report.md")


def fail(*args, **kwargs):
    raise ZeroDivisionError("no such\nluck")


@pytest.fixture
def broken(pytester, monkeypatch):
    pytester.makeconftest(FAMILY)
    pytester.makepyfile(test_a=TESTS)

    def make(module, name, *args):
        monkeypatch.setattr(module, name, fail)
        result, report = run(pytester, *FILES, *args)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        if "-qq" not in args:
            assert result.parseoutcomes() == {"passed": 3, "rejected": 2}
        said = " ".join(result.stdout.str().split())
        assert "Traceback" not in said + result.stderr.str()
        assert "ZeroDivisionError: no such luck (test_lost_parts.py:" in said
        return report, said

    return make


def made(pytester):
    return {each.name for each in pytester.path.glob("report.*")}


@pytest.mark.parametrize("verbosity", ["-q", "-qq", "-v"])
def test_a_part_is_lost_alone(broken, pytester, verbosity):
    part = "the sheet of a"
    report, said = broken(sheets, "_pair", verbosity)
    (text,) = report["lost"]
    assert text.startswith(f"candidate: {part} could not be made: ZeroDivisionError: no such luck")
    assert text in said
    assert text in report["warnings"]
    assert verdicts(report)["test_gate"] == "passed"
    assert report["families"][0]["sheets"] == []
    assert made(pytester) == {"report.json", "report.html", "report.md"}
    assert part in (pytester.path / "report.html").read_text()


@pytest.mark.parametrize(
    ("module", "lost"), [(as_json, "json"), (html, "html"), (markdown, "md"), (terminal, None)]
)
def test_a_format_is_lost_alone(broken, pytester, module, lost):
    _, said = broken(module, "render")
    assert made(pytester) == {"report.json", "report.html", "report.md"} - {f"report.{lost}"}
    assert (f"report.{lost}" if lost else "the summary could not be made") in said


def test_without_a_model_the_session_still_ends(broken, pytester):
    broken(sys.modules[assemble.__module__], "_family")
    assert made(pytester) == set()


def test_a_lock_that_cannot_be_compared_fails_the_run(broken, pytester):
    (pytester.path / "lock.toml").touch()
    report, _ = broken(lock, "_read", "--multiplicity-lock=lock.toml", "--multiplicity-update-lock")
    assert verdicts(report)["test_gate"] == "passed"
