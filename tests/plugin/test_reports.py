"""Reports through pytest: written whatever happens, true, and where they were asked for."""

from __future__ import annotations

import json
import os
import re
from html import unescape
from xml.etree import ElementTree

import pytest

from pytest_multiplicity.report import markdown

FILES = (
    "--multiplicity-json=out/run.json",
    "--multiplicity-html=out/run.html",
    "--multiplicity-markdown=out/run.md",
)
ONE = "def test_group(candidate):\n    assert candidate.score('group') >= 0.65\n\n"
GATE = "def test_gate(survivors):\n    assert len(survivors) >= {}\n\n"
NO_TERMINAL = pytest.param(
    ["-p", "no:terminal"],
    marks=pytest.mark.skipif(
        pytest.version_tuple < (9,),
        reason="pytest 8 can't explain an assertion without its terminal plugin",
    ),
)
STOPPED = """
def test_zz_stop(candidate):
    candidate.score("accuracy")
    if candidate.id == "lr0.01-seed0":
        {}

"""


def read(made):
    """The three reports: JSON parsed, the others as text."""
    out = made.pytester.path / "out"
    return (
        json.loads((out / "run.json").read_text()),
        unescape((out / "run.html").read_text()),
        unescape((out / "run.md").read_text()),
    )


@pytest.fixture(autouse=True)
def _no_github(monkeypatch):
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)


def test_a_failed_gate(project):
    made = project(ONE + GATE.format(5))
    assert made.run(*FILES).ret == pytest.ExitCode.TESTS_FAILED
    report, page, text = read(made)
    assert report["complete"]
    assert report["gates"][0]["outcome"] == "failed"
    assert "assert 4 >= 5" in page
    assert "assert 4 >= 5" in text


def test_the_pick_and_how_far_it_is_ahead(project):
    """Two survive, with 93 and 94 by `accuracy`, the first metric that selected."""
    made = project()
    assert made.run(*FILES).ret == 0
    report, page, _ = read(made)
    pick = report["families"][0]["pick"]
    assert (pick["id"], pick["by"], pick["next"]) == ("lr0.01-seed1", "accuracy", "lr0.01-seed0")
    assert pick["margin"] == pytest.approx(0.01)
    assert "1.0</span> points</b> ahead of lr0.01-seed0" in page


def test_an_error_in_one_spec(project):
    made = project(ONE + STOPPED.format("raise RuntimeError('no')") + GATE.format(1))
    result = made.run(*FILES)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes()["failed"] == 1
    report, page, text = read(made)
    assert not report["complete"]
    assert report["partial_reason"] == "11 of 12 pairs"
    (family,) = report["families"]
    assert [each["status"] for each in family["candidates"]].count("failed") == 1
    assert report["gates"][0]["outcome"] == "not evaluated"
    assert "11 of 12 pairs" in page
    assert "11 of 12 pairs" in text


@pytest.mark.parametrize(
    ("stop", "args", "code"),
    [
        ("raise KeyboardInterrupt", [], pytest.ExitCode.INTERRUPTED),
        ("raise RuntimeError", ["-x"], pytest.ExitCode.TESTS_FAILED),
        ("import pytest; pytest.exit('enough')", [], pytest.ExitCode.INTERRUPTED),
    ],
)
def test_an_early_stop(project, stop, args, code):
    made = project(ONE + STOPPED.format(stop) + GATE.format(1))
    result = made.pytester.runpytest_inprocess(
        "-p", "no:randomly", *FILES, *args, no_reraise_ctrlc=True
    )
    assert result.ret == code
    report, page, text = read(made)
    assert not report["complete"]
    done = int(re.fullmatch(r"(\d+) of 12 pairs", report["partial_reason"])[1])
    assert 0 < done < 12
    judged = [spec["judged"] for spec in report["families"][0]["specs"]]
    assert sum(judged) == done
    assert report["gates"][0]["message"] == "the run stopped before this gate"
    assert "partial" in page
    assert "partial" in text


@pytest.mark.parametrize("args", [["-x"], []])
def test_an_error_under_workers(project, args):
    made = project(ONE + STOPPED.format("raise RuntimeError('no')") + GATE.format(1))
    result = made.run(*FILES, "-n2", *args)
    assert result.ret in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
    report, page, text = read(made)
    assert re.fullmatch(r"\d+ of 12 pairs", report["partial_reason"])
    assert report["gates"][0]["outcome"] == "not evaluated"
    assert "partial" in page
    assert "partial" in text


def test_an_interrupt_by_the_keyboard(project):
    stop = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    made = project(ONE + STOPPED.format(stop) + GATE.format(1))
    made.pytester.runpytest_subprocess("-p", "no:randomly", *FILES)
    report, *_ = read(made)
    assert not report["complete"]
    assert sum(spec["judged"] for spec in report["families"][0]["specs"]) > 0


@pytest.mark.parametrize("plugin", ["terminal", "cacheprovider", "capture", "logging"])
def test_without_other_plugins(project, plugin):
    made = project(ONE + GATE.format(5))
    assert made.run(*FILES, "-p", f"no:{plugin}").ret == pytest.ExitCode.TESTS_FAILED
    report, page, text = read(made)
    assert report["gates"][0]["outcome"] == "failed"
    assert "test_gate" in page
    assert "test_gate" in text


def test_a_module_that_cannot_be_collected(project):
    made = project(ONE + GATE.format(1))
    made.pytester.makepyfile(test_broken="import no_such_module")
    assert made.run(*FILES).ret == pytest.ExitCode.INTERRUPTED
    report, *_ = read(made)
    assert report["partial_reason"] == "a module could not be collected"
    assert {each["status"] for each in report["families"][0]["candidates"]} == {"not judged"}


def test_a_report_of_an_earlier_run_does_not_stay(project):
    made = project(ONE)
    made.run(*FILES)
    made.run(*FILES, "-k", "nothing_is_called_that")
    report, *_ = read(made)
    assert report["partial_reason"] == "0 of 6 pairs"


def test_collecting_writes_nothing(project):
    made = project(ONE)
    made.run(*FILES, "--collect-only")
    assert not list((made.pytester.path / "out").glob("*"))


@pytest.mark.parametrize("kind", ["json", "html", "markdown", "export"])
def test_what_cannot_be_written_is_known_before_training(project, kind):
    made = project(ONE + STOPPED.format("raise RuntimeError"))
    result = made.run(f"--multiplicity-{kind}=conftest.py/x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--multiplicity-{kind}: can't write '*conftest.py/*"])
    assert "test_zz" not in result.stdout.str()


def test_what_cannot_be_written_in_the_end_is_told_and_the_rest_written(project):
    blocked = STOPPED.format("import os; os.mkdir('out/run.json')")
    made = project(ONE + blocked)
    result = made.run(*FILES)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["multiplicity: can't write '*run.json': Is a directory"])
    out = made.pytester.path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["run.html", "run.json", "run.md"]


def test_markdown_fits_a_comment(project, monkeypatch):
    monkeypatch.setattr(markdown, "COMMENT_LIMIT", 1_500)
    made = project()
    made.run(*FILES)
    *_, text = read(made)
    assert "left out here: see" in text
    assert "run.html" in text
    assert (made.pytester.path / "out/run.md").stat().st_size <= 1_500


# --- GitHub


def test_the_step_summary_is_appended_to(project, monkeypatch, tmp_path):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    made = project(ONE + GATE.format(1))
    made.run()
    once = summary.read_text()
    assert once.startswith("before\n")
    assert "4 of 6 candidates survive" in once
    made.run()
    assert summary.read_text().count("4 of 6 candidates survive") == 2
    made.run("--multiplicity-markdown=mine.md")  # asked for elsewhere
    assert summary.read_text().count("4 of 6 candidates survive") == 2
    assert "4 of 6 candidates survive" in (made.pytester.path / "mine.md").read_text()


def test_the_step_summary_is_the_controllers(project, monkeypatch, tmp_path):
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = project(ONE + GATE.format(5)).run("-n2")
    assert summary.read_text().count("4 of 6 candidates survive") == 1
    assert result.stdout.str().count("::error ") == 1


def test_the_step_summary_is_capped_with_what_is_there(project, monkeypatch, tmp_path):
    summary = tmp_path / "summary.md"
    summary.write_text("x" * 999_000)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    made = project(ONE + GATE.format(1))
    assert made.run("--multiplicity-json=run.json").ret == pytest.ExitCode.OK
    added = summary.read_text().removeprefix("x" * 999_000)
    assert 0 < len(added) <= 1_000
    assert "run.json" in unescape(added)
    summary.write_text("x" * 1_000_000)
    assert made.run().ret == pytest.ExitCode.OK
    assert summary.stat().st_size == 1_000_000


def test_a_step_summary_out_of_reach_fails_nobody(project, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", os.devnull + "/no")
    result = project(ONE + GATE.format(1)).run()
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["multiplicity: can't write '/dev/null/no': *"])


def test_a_run_without_families_leaves_the_summary_alone(pytester, monkeypatch, tmp_path):
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    pytester.makepyfile("def test_one():\n    pass\n")
    pytester.runpytest_inprocess("-p", "no:randomly")
    assert not summary.exists()


@pytest.mark.parametrize("args", [[], ["-q"], ["-qq"], ["--no-summary"], NO_TERMINAL])
def test_failed_gates_are_annotated_at_their_line(project, monkeypatch, capfd, args):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    made = project(ONE + GATE.format(5) + GATE.format(1).replace("gate", "other"))
    out = made.run(*args).stdout.str()
    lines = [line for line in out.splitlines() if "::error" in line]
    assert len(lines) == 1
    assert lines[0].startswith("::error file=test_specs.py,line=5,title=gate test_gate failed::")


def test_annotations_name_files_from_the_repository(project, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    made = project(ONE + GATE.format(5))
    root = made.pytester.path
    monkeypatch.setenv("GITHUB_WORKSPACE", str(root.parent))
    assert f"::error file={root.name}/test_specs.py,line=5," in made.run().stdout.str()
    monkeypatch.setenv("GITHUB_WORKSPACE", str(root / "elsewhere"))
    assert "::error file=test_specs.py,line=5," in made.run().stdout.str()


def test_nobody_annotates_outside_github(project):
    assert "::error" not in project(ONE + GATE.format(5)).run().stdout.str()


# --- other people's reports


def test_junit(project):
    made = project(ONE + STOPPED.format("raise RuntimeError('no')") + GATE.format(1))
    made.run("--junitxml=junit.xml")
    suite = ElementTree.parse(made.pytester.path / "junit.xml").getroot()[0]
    cases = {case.attrib["name"]: case for case in suite}
    assert len(cases) == len(suite) == 13
    rejected = cases["test_group[default-seed2]"]
    assert rejected.find("skipped").attrib["message"].startswith("rejected: assert 0.6")
    kept = cases["test_group[default-seed0]"]
    assert [child.tag for child in kept] == ["properties"]
    for name, score in (("default-seed0", 0.8), ("default-seed2", 0.6)):
        (item,) = cases[f"test_group[{name}]"].find("properties")
        assert (item.attrib["name"], float(item.attrib["value"])) == ("group", score)
    assert cases["test_zz_stop[lr0.01-seed0]"].find("failure") is not None
    assert cases["test_gate"].find("skipped") is not None


def test_junit_of_a_failed_gate(project):
    made = project(ONE + GATE.format(5))
    made.run("--junitxml=junit.xml")
    suite = ElementTree.parse(made.pytester.path / "junit.xml").getroot()[0]
    assert suite.attrib["failures"] == "1"
    (failed,) = [case for case in suite if case.find("failure") is not None]
    assert failed.attrib["name"] == "test_gate"


def test_pytest_html(project):
    pytest.importorskip("pytest_html")
    made = project(ONE + GATE.format(5))
    assert (
        made.run("-p", "html", "-p", "metadata", "--html=page.html").ret
        == pytest.ExitCode.TESTS_FAILED
    )
    page = (made.pytester.path / "page.html").read_text()
    data = json.loads(
        ElementTree.fromstring(
            re.search(r"<div id=\"data-container\".*?>", page)[0] + "</div>"
        ).attrib["data-jsonblob"]
    )
    results = {name: rows[0]["result"] for name, rows in data["tests"].items()}
    assert results["test_specs.py::test_group[default-seed0]"] == "Passed"
    assert results["test_specs.py::test_group[default-seed2]"] == "XFailed"
    assert results["test_specs.py::test_gate"] == "Failed"


def test_pytest_json_report(project):
    pytest.importorskip("pytest_jsonreport")
    made = project(ONE + GATE.format(5))
    result = made.run(
        "-p", "pytest_jsonreport", "--json-report", "--json-report-file=theirs.json", *FILES
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    theirs = json.loads((made.pytester.path / "theirs.json").read_text())
    outcomes = {test["nodeid"]: test["outcome"] for test in theirs["tests"]}
    assert outcomes["test_specs.py::test_group[default-seed0]"] == "passed"
    assert outcomes["test_specs.py::test_group[default-seed2]"] in {"xfailed", "rejected"}
    assert outcomes["test_specs.py::test_gate"] == "failed"
    assert theirs["exitcode"] == 1
