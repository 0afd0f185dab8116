"""The lock through pytest: ``--multiplicity-lock`` and ``--multiplicity-update-lock``."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import jsonschema
import pytest

from pytest_multiplicity.report import as_json

LOCK = "--multiplicity-lock=sheet.lock.json"
UPDATE = "--multiplicity-update-lock"

# Three candidates that say the class in the first column, but for `lr` samples, which they miss.
MODELS = """
    import pytest
    import pytest_multiplicity as pm
    import torch

    @pytest.fixture(scope="session")
    def data():
        targets = torch.arange(100) % 3
        return pm.Data(torch.arange(100.0).reshape(100, 1), targets, name="test", bounds=None)

    class Model(torch.nn.Module):
        def __init__(self, wrong):
            super().__init__()
            self.wrong = torch.nn.Parameter(torch.tensor(float(wrong)))

        def forward(self, x):
            rows = x[:, 0].long()
            said = torch.where(x[:, 0] < self.wrong, (rows + 1) % 3, rows % 3)
            return torch.nn.functional.one_hot(said, 3).float()

    @pm.family(default={"wrong": FIRST}, vary={"wrong": [2, 3]}, seeds=1)
    def candidate(config):
        return Model(config.wrong)
"""
MEASURES = """
    def test_accuracy(candidate, data):
        assert candidate.accuracy(data) >= 0.5
"""


@pytest.fixture
def locked(project):
    """A project with a lock."""
    made = project()
    result = made.run(LOCK, UPDATE)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*sheet.lock.json*", "*written anew: 1 family new*"])
    return made


def path_of(made):
    return made.pytester.path / "sheet.lock.json"


def test_the_same_run_agrees_with_its_lock(locked):
    text = path_of(locked).read_text()
    result, report = locked.report(LOCK)
    assert result.ret == pytest.ExitCode.OK
    gate = report["gates"][-1]
    assert (gate["name"], gate["outcome"]) == ("sheet.lock.json", "passed")
    jsonschema.validate(report, as_json.schema())
    assert gate["message"] == "no drift"
    assert locked.run(LOCK, UPDATE).ret == pytest.ExitCode.OK
    assert path_of(locked).read_text() == text


def test_a_planted_change_of_a_verdict_is_found_and_named(locked):
    text = path_of(locked).read_text()
    planted = text.replace('"lr0.01-seed2": "rejected by test_group"', '"lr0.01-seed2": "survivor"')
    assert planted != text
    path_of(locked).write_text(planted)
    result, report = locked.report(LOCK, "--junitxml=junit.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    line = "lr0.01-seed2: was survivor, is rejected by test_group"
    result.stdout.fnmatch_lines(
        [
            "*= FAILURES =*",
            "1 verdict changed",
            line,
            "if this is meant, run again with --multiplicity-update-lock",
            "*1 failed, 1 passed*",
            "FAILED sheet.lock.json*",
            "*1 failed*",
        ]
    )
    assert line in report["gates"][-1]["message"]
    suite = ElementTree.parse(locked.pytester.path / "junit.xml").getroot()[0]
    assert suite.attrib["failures"] == "1"
    locked.run(LOCK, UPDATE)
    assert path_of(locked).read_text() == text


def test_lf_does_not_take_the_lock_for_a_test(locked):
    path_of(locked).write_text(path_of(locked).read_text().replace('"survivor"', '"rejected by x"'))
    assert locked.run(LOCK).ret == pytest.ExitCode.TESTS_FAILED
    assert "known failure" not in locked.run("--lf").stdout.str()


def test_drift_of_scores_beyond_the_tolerance_fails(locked):
    conftest = locked.pytester.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace("30.0, 20.0", "30.2, 20.0"))
    assert locked.run(LOCK).ret == pytest.ExitCode.OK
    conftest.write_text(conftest.read_text().replace("50.0, 40.0, 30.2", "58.0, 40.0, 38.0"))
    result = locked.run(LOCK)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["shift, all: range grew by 0.08: 0.05 to 0.5 became 0.05 to 0.58"])
    assert locked.run(LOCK, "-o", "multiplicity_lock_tolerance=0.1").ret == pytest.ExitCode.OK


def test_flipped_samples_are_named(project):
    made = project(MEASURES, MODELS.replace("FIRST", "1"))
    made.run(LOCK, UPDATE)
    assert made.run(LOCK).ret == pytest.ExitCode.OK
    made.pytester.makeconftest(MODELS.replace("FIRST", "1").replace("[2, 3]", "[2, 8]"))
    result = made.run(LOCK)
    assert (
        "samples flipped" not in result.stdout.str()
    )  # no majority: only the third candidate moved
    made.pytester.makeconftest(MODELS.replace("FIRST", "5").replace("[2, 3]", "[7, 3]"))
    result = made.run(LOCK)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["test: 3 of 100 samples flipped: 2 (2 to 0), 3 (0 to 1), 4 (1 to 2)"]
    )


def test_another_machine_rounds_otherwise(trained):
    specs = """
        def test_accuracy(candidate, points):
            assert candidate.accuracy(points.test) >= 0.2

        def test_loss(candidate, points):
            from torch.nn.functional import cross_entropy
            candidate.measure(cross_entropy, points.test, higher_is_better=False)
    """
    recipe = "return pm.Recipe(net, points.train, epochs=2, batch_size=16, lr=config.lr)"
    module = """torch.manual_seed(config.seed)
        model = net()
        model[1].weight.data *= {}
        return model"""
    made = trained(specs, (recipe, module.format("1")))
    made.run(LOCK, UPDATE)
    families = json.loads(path_of(made).read_text())["families"]
    made = trained(specs, (recipe, module.format("(1 + 2e-5)")))
    assert made.run(LOCK).ret == pytest.ExitCode.OK
    made.run(LOCK, UPDATE)
    assert json.loads(path_of(made).read_text())["families"] == families


def test_what_a_search_finds_is_not_locked(trained):
    specs = """
        from hypothesis import given, strategies as st
        import pytest_multiplicity as pm

        @given(scale=st.floats(0, 0.1))
        def test_noise(candidate, points, scale):
            candidate.accuracy(points.test, under=pm.InputNoise(scale))
    """
    made = trained(specs)
    made.run(LOCK, UPDATE)
    assert "default-seed0" in path_of(made).read_text()
    assert "worst" not in path_of(made).read_text()


@pytest.mark.parametrize("args", [["-k", "default"], ["-x", "-k", "seed0 or gate"]])
def test_partial_runs_are_not_compared(locked, args):
    path_of(locked).write_text(path_of(locked).read_text().replace('"survivor"', '"rejected by x"'))
    result, report = locked.report(LOCK, *args)
    assert result.ret == pytest.ExitCode.OK
    gate = report["gates"][-1]
    assert gate["outcome"] == "not evaluated"
    assert gate["message"].startswith("not compared: ")
    before = path_of(locked).read_text()
    result = locked.run(LOCK, UPDATE, *args)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert path_of(locked).read_text() == before
    result.stdout.fnmatch_lines(["not written: *", "FAILED sheet.lock.json*"])


def test_partial_runs_can_fail(locked):
    result = locked.run(LOCK, "-k", "default", "-o", "multiplicity_partial=fail")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["partial run: * pairs *", "FAILED sheet.lock.json*"])


@pytest.mark.parametrize(
    ("args", "text", "message"),
    [
        ([LOCK], None, "there is no *sheet.lock.json': write it with --multiplicity-update-lock"),
        ([LOCK], "<<<<<<< HEAD\n{}", "can't read *sheet.lock.json': Expecting value*"),
        ([LOCK], "{}", "can't read *it is no lock of this plugin*"),
        ([UPDATE], None, "--multiplicity-update-lock: say which, with --multiplicity-lock"),
        (["--multiplicity-lock=conftest.py/x", UPDATE], None, "--multiplicity-lock: can't write *"),
        (["-o", "multiplicity_lock_tolerance=2%"], None, "*'2%' is no fraction*"),
    ],
)
def test_what_cannot_be_compared_is_known_before_the_run(project, args, text, message):
    made = project()
    if text is not None:
        path_of(made).write_text(text)
    result = made.run(*args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message}"])


def test_an_unfit_lock_is_written_anew(project):
    made = project()
    path_of(made).write_text("<<<<<<< HEAD\n{}")
    assert made.run(LOCK, UPDATE).ret == pytest.ExitCode.OK
    assert json.loads(path_of(made).read_text())["families"]["candidate"]
    assert made.run(LOCK).ret == pytest.ExitCode.OK


def test_the_file_is_small_and_in_the_order_of_the_run(locked):
    text = path_of(locked).read_text()
    assert re.findall(r'"(\S+-seed\d)"', text) == [
        f"{config}-seed{seed}" for config in ("default", "lr0.01") for seed in range(3)
    ]
    assert len(text.splitlines()) < 30


def test_ini_twins(locked):
    locked.pytester.makeini("[pytest]\nmultiplicity_lock = sheet.lock.json\n")
    _, report = locked.report()
    assert report["gates"][-1]["name"] == "sheet.lock.json"
    locked.pytester.makeini(
        "[pytest]\nmultiplicity_lock = new.lock.json\nmultiplicity_update_lock = true\n"
    )
    assert locked.run().ret == pytest.ExitCode.OK
    assert (locked.pytester.path / "new.lock.json").exists()


def test_without_a_terminal(locked):
    path_of(locked).write_text(path_of(locked).read_text().replace('"survivor"', '"rejected by x"'))
    result = locked.run(LOCK, "-p", "no:terminal")
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_workers_share_one_lock(locked):
    result = locked.run(LOCK, "-n2")
    assert result.ret == pytest.ExitCode.OK
    path_of(locked).write_text(path_of(locked).read_text().replace('"survivor"', '"rejected by x"'))
    result = locked.run(LOCK, "-n2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["2 verdicts changed", "FAILED sheet.lock.json*"])
