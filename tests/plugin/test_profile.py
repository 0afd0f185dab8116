"""Where the time goes: every stage is seen, whoever runs it, and no result depends on it."""

from __future__ import annotations

import json
import time
from types import FrameType
from typing import Any

import pytest

from pytest_multiplicity.findings import STAGES, ProfileReport
from pytest_multiplicity.plugin import profiling
from pytest_multiplicity.report import profile

SPECS = """
    import time
    import pytest_multiplicity as pm

    def test_accurate(candidate, points):
        time.sleep(0.05)
        assert candidate.accuracy(points.test) >= 0.1

    def test_secure(candidate, points):
        assert candidate.accuracy(points.test, under=pm.PGD(0.1, steps=400)) >= 0

    def test_gate(survivors, points):
        assert survivors.ambiguity(points.test) <= 1
"""


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_a_run_says_where_its_time_went(trained, workers):
    made = trained(SPECS)
    options = ("--multiplicity-profile=time.json", "--multiplicity-html=r.html", "-v", *workers)
    start = time.perf_counter()
    result, report = made.report(*options)
    passed = time.perf_counter() - start
    assert result.ret == 0
    found = json.loads((made.pytester.path / "time.json").read_text())
    assert found["schema"] == "pytest-multiplicity-profile/1"
    assert found["processes"] == (3 if workers else 1)
    assert 0 < found["seconds"] < passed * found["processes"]
    assert sum(found["stages"].values()) == pytest.approx(found["seconds"])
    assert set(found["stages"]) <= set(STAGES)
    assert {"train", "attack", "judge"} <= set(found["stages"])
    tests = found["tests"]
    accurate = tests["test_specs.py::test_accurate"]["stages"]
    assert accurate["judge"] > 0.1  # of four candidates, 0.05 s each, some of which overlap
    assert "attack" in tests["test_specs.py::test_secure"]["stages"]
    assert sum(each["seconds"] for each in tests.values()) < found["seconds"]
    if workers:
        assert "wait" in found["stages"]
        assert "added up over 3 processes" in " ".join(result.stdout.str().split())
    assert "test_specs.py::test_secure" in result.stdout.str().partition("\ntime  ")[2]
    page = (made.pytester.path / "r.html").read_text()
    assert "attacking them" in page
    assert "profile" not in report


def test_a_run_that_nobody_times_says_nothing_of_time(trained):
    made = trained(SPECS.replace("400", "1"))
    plain, first = made.report("-v", "--multiplicity-html=r.html")
    assert "\ntime  " not in plain.stdout.str()
    assert "attacking them" not in (made.pytester.path / "r.html").read_text()
    _, second = made.report("--multiplicity-profile=time.json", "--multiplicity-store=elsewhere")
    for report in (first, second):
        report["families"][0] = {**report["families"][0], "looks": 0, "notes": 0, "optimism": 0}
        report.pop("settings")
    assert second == first


def test_a_path_that_cant_be_written_is_said_before_anything_is_trained(trained):
    result = trained(SPECS).run("--multiplicity-profile=test_specs.py/time.json")
    result.stderr.fnmatch_lines(["*--multiplicity-profile: can't write*"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def frames(*files: str) -> FrameType:
    """A stack of functions of such files, the last one innermost."""
    *_, last = files
    space: dict[str, Any] = {}
    calls = [compile("import sys\nframe = sys._getframe()", last, "exec")]
    for file in reversed(files[:-1]):
        code = compile("exec(calls.pop(), space)", file, "exec")
        calls.append(code)
    space |= {"calls": calls, "space": space}
    exec(calls.pop(), space)
    frame: FrameType = space["frame"]
    return frame


HOME = profiling.HOME


@pytest.mark.parametrize(
    ("files", "stage"),
    [
        (("x.py",), "judge"),
        ((f"{HOME}/inference/infer.py", f"{HOME}/training/plain.py", "torch.py"), "train"),
        ((f"{HOME}/training/plain.py", "<frozen importlib._bootstrap>", "torch.py"), "imports"),
        ((f"{HOME}/interventions/pgd.py", f"{HOME}/inference/executors.py"), "attack"),
        ((f"{HOME}/inference/attacked.py", f"{HOME}/inference/at_once.py", "queue.py"), "attack"),
        ((f"{HOME}/inference/attacked.py", f"{HOME}/inference/weights.py"), "train"),
        ((f"{HOME}/inference/infer.py", f"{HOME}/compute/lanes.py"), "infer"),
        ((f"{HOME}/plugin/summary.py", f"{HOME}/findings/sheets.py"), "report"),
    ],
    ids=["spec", "train", "imports", "attack", "waiting", "recalled", "infer", "report"],
)
def test_the_innermost_stage_counts_and_an_attack_in_what_asks(files, stage):
    looking = profiling.Profiler()
    looking.stop()
    looking._around = "judge"
    assert looking._stage(frames(*files)) == stage


def test_rows_stand_in_the_order_of_stages_and_of_their_seconds():
    report = ProfileReport(
        processes=1,
        tests={"": {"imports": 1.0}, "a": {"judge": 0.5}, "b": {"judge": 0.5, "train": 2.0}},
    )
    assert [row.name for row in profile.stages(report)] == ["imports", "train", "judge"]
    assert [(row.name, row.about) for row in profile.tests(report)] == [
        ("b", "train 2.0 s · judge 0.5 s"),
        ("a", "judge 0.5 s"),
    ]
    assert profile.told(report).startswith("4.0 s,")
