"""Tests that take `verdicts`: told of every candidate, after all gates, whoever survives."""

from __future__ import annotations

import json
import re

import pytest

WRITE = """
    import json
    from pathlib import Path

    def test_a_write_back(verdicts):
        told = [
            {"id": v.id, "lr": v.config.lr, "seed": v.config.seed, "status": v.status,
             "rejected_by": list(v.rejected_by), "reasons": dict(v.reasons),
             "scores": dict(v.scores)}
            for v in verdicts
        ]
        Path("told.json").write_text(json.dumps([verdicts.complete, verdicts.partial, told]))
        assert len(verdicts[:2]) == 2
        assert "candidates" in repr(verdicts)
"""

SPECS = """
    def test_accuracy(candidate):
        assert candidate.score("accuracy").within(0.03)

    def test_group(candidate):
        assert candidate.score("group") >= 0.65

    def test_gate(survivors):
        assert len(survivors) == 99
"""


@pytest.fixture
def suite(project, pytester):
    """A family of six, a gate that fails, and a test that writes back; the module comes first."""
    made = project(SPECS)
    pytester.makepyfile(test_a=WRITE)
    return made


def told(pytester):
    return json.loads((pytester.path / "told.json").read_text())


def test_they_are_those_of_the_report_whatever_gates_say(suite, pytester):
    result, report = suite.report("-v")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    complete, partial, found = told(pytester)
    assert (complete, partial) == (True, None)
    known = report["families"][0]["candidates"]
    for each, other in zip(found, known, strict=True):
        for name in ("id", "seed", "status", "rejected_by", "reasons", "scores"):
            assert each[name] == other[name], name
        assert each["lr"] == other["config"]["lr"]
    assert {each["status"] for each in found} == {"survivor", "rejected"}
    lines = [line for line in result.stdout.lines if "::test_" in line]
    assert "test_a_write_back" in next(line for line in lines if "::" in line and "100%" in line)
    assert [gate["name"] for gate in report["gates"]] == ["test_gate"]


@pytest.mark.parametrize("keyword", ["not group", "seed0 or write"])
def test_a_part_is_said_to_be_one(suite, pytester, keyword):
    result = suite.run("-k", keyword)
    complete, partial, found = told(pytester)
    assert complete is False
    assert re.fullmatch(r"\d+ of 12 pairs", partial)
    result.stdout.re_match_lines([r".*test_a_write_back was told of verdicts that are not all"])
    suite.run("-q", "-k", keyword).stdout.re_match_lines([r"test_a_write_back was told of"])
    if "seed0" in keyword:
        assert sum(each["status"] == "not judged" for each in found) == 4


def test_by_itself_it_hears_that_nobody_was_judged(suite, pytester):
    result = suite.run("test_a.py")
    assert result.ret == 0
    complete, partial, found = told(pytester)
    assert not complete
    assert partial == "not all of the root was asked for"
    result.stdout.fnmatch_lines(["*test_a_write_back was told of verdicts that are not all*"])
    assert {each["status"] for each in found} == {"not judged"}


def test_one_that_failed_last_brings_its_family_along(suite, pytester):
    pytester.makepyfile(test_a="def test_write(verdicts):\n    assert 0, verdicts.partial")
    suite.run("--deselect=test_specs.py::test_gate")
    pytester.makepyfile(test_a=WRITE.replace("test_a_write_back", "test_write"))
    result = suite.run("--lf")
    assert result.ret == 0
    result.assert_outcomes(passed=12 - 4 + 1)
    complete, partial, found = told(pytester)
    assert (complete, partial) == (True, None)
    assert sum(each["status"] == "survivor" for each in found) == 2


def test_a_gate_that_failed_last_judges_alone(suite, pytester):
    suite.run()
    (pytester.path / "told.json").unlink()
    suite.run("--lf")
    assert not (pytester.path / "told.json").exists()  # it passed, and isn't run again


FAMILIES = """
    import pandas as pd
    import pytest_multiplicity as pm

    def made(first):
        table = pd.DataFrame({"lr": [0.1, 0.01], "seed": [0, 0], "accuracy": [first, 90.0]})
        return pm.recorded(table, default={"lr": 0.1})

    one, two = made(10.0), made(80.0)
"""
OF_FAMILIES = """
    import pytest

    def test_one(one):
        assert one.score("accuracy") >= 0.5

    def test_two(two):
        assert two.score("accuracy") >= 0.5

    @pytest.mark.family("two")
    def test_of_two(verdicts):
        assert [v.status for v in verdicts] == ["survivor", "survivor"]

    @pytest.mark.family("one")
    def test_of_one(verdicts, survivors):
        assert [v.status for v in verdicts] == ["rejected", "survivor"]
        assert verdicts[0].rejected_by == ("test_one",)
"""


def test_each_of_several_families_has_its_own(project):
    result = project(OF_FAMILIES, FAMILIES).run()
    result.assert_outcomes(passed=3 + 2)
    assert result.parseoutcomes()["rejected"] == 1


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("def test_it(verdicts):", "takes verdicts of one of 2 families, one, two: mark it with"),
        ("def test_it(verdicts, one):", "takes verdicts and the family 'one'"),
        ("@pytest.mark.family('x')\ndef test_it(verdicts):", r"is marked family('x'), which it"),
    ],
)
def test_what_it_can_not_be_told_is_said(project, test, said):
    result = project(f"import pytest\n{test}\n    pass", FAMILIES).run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert [line for line in result.stdout.lines if said in line and "ERROR" not in line]


def test_without_a_family_it_is_told_so(project):
    result = project("def test_it(verdicts):\n    pass", "").run()
    result.stdout.fnmatch_lines(["*test_it takes verdicts but sees no family*"])


def test_a_fixture_of_that_name_that_is_the_suites_own_stays_so(project):
    own = "import pytest\n@pytest.fixture\ndef verdicts(): return 3"
    result = project("def test_it(verdicts):\n    assert verdicts == 3", own).run()
    result.assert_outcomes(passed=1)


TRACKED = """
    import json
    from pathlib import Path

    import pytest
    import torch
    from torch import nn

    import pytest_multiplicity as pm

    STORE = Path(__file__).parent / "mlruns" / "17"

    @pytest.fixture(scope="session")
    def digits():
        inputs = torch.rand(60, 4, generator=torch.Generator().manual_seed(0))
        return pm.Data(inputs, inputs[:, :2].argmax(1), name="digits").split(0.5)

    @pm.family(design=pm.runs("mlruns"))
    def candidate(config):
        file = STORE / config.run / "artifacts" / "model.safetensors"
        return pm.load(file, into=nn.Linear(4, 2))
"""
TRACKED_SPECS = """
    from pathlib import Path

    STORE = Path(__file__).parent / "mlruns" / "17"

    def test_accuracy(candidate, digits):
        assert candidate.accuracy(digits.select).within(0.03)

    def test_agree(survivors, digits):
        assert survivors.ambiguity(digits.report) == 0

    def test_write_back(verdicts):
        for verdict in verdicts:
            tags = STORE / verdict.config.run / "tags"
            tags.mkdir(exist_ok=True)
            (tags / "multiplicity").write_text(verdict.status)
"""


@pytest.fixture
def tracked(pytester):
    """A project whose models MLflow has written: one of three configurations ran twice."""
    import torch
    from safetensors.torch import save_file

    experiment = pytester.path / "mlruns" / "17"
    experiment.mkdir(parents=True)
    (experiment / "meta.yaml").write_text("name: digits\nexperiment_id: '17'\n")
    for begun, (name, width, seed) in enumerate(
        [("d", 3, 0), ("c", 2, 0), ("b", 2, 1), ("a", 2, 1)]
    ):
        run = experiment / name
        (run / "params").mkdir(parents=True)
        (run / "params" / "width").write_text(str(width))
        (run / "params" / "seed").write_text(str(seed))
        (run / "meta.yaml").write_text(
            f"run_id: {name}\nstatus: 3\nlifecycle_stage: active\nstart_time: {begun}\n"
        )
        (run / "artifacts").mkdir()
        weight = torch.zeros(2, 4)
        weight[0, 0] = weight[1, 1] = 1.0 if name != "d" else -1.0
        state = {"weight": weight, "bias": torch.zeros(2)}
        save_file(state, run / "artifacts" / "model.safetensors")
    pytester.makeconftest(TRACKED)
    pytester.makepyfile(test_digits=TRACKED_SPECS)
    return experiment


def test_runs_of_a_tracker_are_judged_and_told(tracked, pytester):
    result = pytester.runpytest_inprocess("-p", "no:randomly", "--multiplicity-json=r.json")
    assert result.ret == 0
    tags = {file.parent.parent.name: file.read_text() for file in tracked.glob("*/tags/*")}
    assert tags == {"d": "rejected", "c": "survivor", "a": "survivor"}
    (family,) = json.loads((pytester.path / "r.json").read_text())["families"]
    assert family["axes"] == {"width": [3, 2]}
    assert [each["run"] for each in family["candidates"]] == ["d", "c", "a"]
    assert [each["id"] for each in family["candidates"]] == [
        "width3-seed0",
        "width2-seed0",
        "width2-seed1",
    ]
    result.stdout.fnmatch_lines(["*1 run of the tracker is left out*"])
